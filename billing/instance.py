"""The instance secret: what a copy of the database does not bring along.

Rows can be copied, and a copy would charge the same customers. So a ledger keeps a mark made with a secret that
lies outside of it, one for all ledgers of a machine's user. Randomness is read here and nowhere else.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from billing.errors import SettingsError

SETTING = "BILLING_INSTANCE_FILE"
_BYTES = 32


class Instance:
    """The secret of one machine's user, from the environment or from a file only its owner may read.

    Args:
        secret: given outright (BILLING_INSTANCE_SECRET, for containers); empty to use the file.
        file: where the secret is kept; None for `default_file()`.
    """

    def __init__(self, secret: SecretStr, file: Path | None) -> None:
        self._secret = secret
        self._file = file

    def __repr__(self) -> str:
        return "Instance()"

    @property
    def place(self) -> str:
        """Where the secret comes from, in words."""
        return "BILLING_INSTANCE_SECRET" if self._secret.get_secret_value() else f"{self._path()} ({SETTING})"

    def mark(self, ledger_id: str) -> str | None:
        """What this instance signs a ledger with: 64 hexadecimal digits, None where there is no secret yet.

        Raises:
            SettingsError: others may read the file, or it holds no secret.
        """
        secret = self._secret.get_secret_value() or self._read()
        return hmac.digest(secret.encode(), f"gudok|{ledger_id}".encode(), "sha256").hex() if secret else None

    def key_for(self, purpose: str, ledger_id: str) -> bytes | None:
        """32 bytes to sign with, of this instance, ledger and purpose alone; None where there is no secret yet.

        Not the mark: that one stands in the database.

        Raises:
            SettingsError: others may read the file, or it holds no secret.
        """
        secret = self._secret.get_secret_value() or self._read()
        return hmac.digest(secret.encode(), f"gudok|{purpose}|{ledger_id}".encode(), "sha256") if secret else None

    def make(self) -> None:
        """Make the secret where there is none; of several processes that try, one wins and all use its secret.

        Raises:
            SettingsError: the file cannot be written.
        """
        if self._secret.get_secret_value() or self._read():
            return
        path = self._path()
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # A link never replaces: whoever comes second finds the first one's secret, whole.
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        except OSError as error:
            problem = f"{path} cannot be written: {(error.strerror or str(error)).lower()}"
            raise SettingsError(SETTING, problem, "name a file this user may write, on a disk that stays") from None

    def _read(self) -> str | None:
        path = self._path()
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
                # A traceback that captures locals shows this frame: nothing is read that is then complained about.
                text = "" if mode & 0o077 else file.read(4 * _BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
            raise SettingsError(SETTING, problem, "let this user read it, or name another file") from None
        if mode & 0o077:
            raise SettingsError(SETTING, f"{path} is open to other users (mode {mode:o})", f"run chmod 600 {path}")
        if len(text) != 2 * _BYTES or set(text) - set("0123456789abcdef"):
            del text
            cure = "bring the file back from a backup; without it no ledger of this machine charges before it is adopted"
            raise SettingsError(SETTING, f"{path} holds no instance secret", cure)
        return text

    def _path(self) -> Path:
        return self._file or default_file()


def default_file() -> Path:
    """`gudok/instance.key` in the user's state directory. Source: XDG Base Directory Specification, XDG_STATE_HOME.

    Raises:
        SettingsError: this user has no home.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    try:
        # The specification: a relative path is invalid and ignored.
        state = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        raise SettingsError(SETTING, "is not set, and this user has no home directory", "name a file that stays") from None
    return state / "gudok" / "instance.key"
