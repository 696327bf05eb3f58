"""The instance secret: made once, read by its owner alone, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from billing.errors import SettingsError
from billing.instance import Instance, default_file
from billing.settings import Settings

NOTHING = SecretStr("")


def test_it_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "state" / "gudok" / "instance.key"
    one = Instance(NOTHING, file)
    assert one.mark("ledger") is None
    one.make()
    text = file.read_text()
    Instance(NOTHING, file).make()
    assert file.read_text() == text
    assert len(bytes.fromhex(text)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["instance.key"]


def test_one_secret_serves_every_ledger_and_marks_each_differently(tmp_path: Path) -> None:
    one = Instance(NOTHING, tmp_path / "key")
    one.make()
    assert one.mark("a") == Instance(NOTHING, tmp_path / "key").mark("a")
    assert one.mark("a") != one.mark("b")
    assert (tmp_path / "key").read_text().strip() not in repr(one) + repr(vars(one)) + str(one.mark("a"))


def test_a_given_secret_wins_over_the_file(tmp_path: Path) -> None:
    given = Instance(SecretStr("x" * 32), tmp_path / "key")
    given.make()
    assert not (tmp_path / "key").exists()
    assert given.mark("a") == Instance(SecretStr("x" * 32), None).mark("a")
    assert given.place == "BILLING_INSTANCE_SECRET"


def test_a_given_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^BILLING_INSTANCE_SECRET: is too short") as caught:
        Settings.from_env(_env_file=None, instance_secret="letmein")
    assert "letmein" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    Instance(NOTHING, file).make()
    file.chmod(mode)
    with pytest.raises(SettingsError, match=rf"^BILLING_INSTANCE_FILE: .*mode {mode:o}.*chmod 600"):
        Instance(NOTHING, file).mark("a")


@pytest.mark.parametrize("text", ["", "short", "z" * 64, "a" * 65, "a" * 10_000])
def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(text)
    for ask in (lambda: Instance(NOTHING, file).mark("a"), Instance(NOTHING, file).make):
        with pytest.raises(SettingsError, match=r"^BILLING_INSTANCE_FILE: .*holds no instance secret"):
            ask()
    assert file.read_text() == text


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^BILLING_INSTANCE_FILE: .*file/instance\.key cannot be"):
        Instance(NOTHING, tmp_path / "file" / "instance.key").make()


def test_its_usual_place_follows_the_xdg_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "gudok" / "instance.key"
    monkeypatch.setenv("HOME", "/home/mina")
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert default_file() == Path("/home/mina/.local/state/gudok/instance.key")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SettingsError, match=r"^BILLING_INSTANCE_FILE: is not set, and this user has no home"):
        Instance(NOTHING, None).mark("a")
