"""Links into a browser: signed, bound to one checkout, and good for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from itsdangerous import BadSignature, Signer

from billing.domain.checkout import Checkout
from billing.errors import RuleError

TOKEN_MAX = 512


class LinkRefused(RuleError):
    """The link is not one of ours, was changed, or is too old. Whoever followed it needs a new one."""

    def __init__(self, problem: str, *, is_expired: bool = False) -> None:
        super().__init__("link", problem, "ask for a new one")
        self.is_expired = is_expired


class Claim(NamedTuple):
    """What a link says, once its signature was found right."""

    checkout_id: str
    customer_id: str
    purpose: str
    expires_at: datetime


class Links:
    """Writes and reads the tokens of checkout links.

    The token is all it takes to use the checkout, so it is shown to its customer alone and never logged.

    Args:
        key: what signs; a token signed with another key is a stranger's.
        base: where the router is mounted, without a slash at the end.
    """

    def __init__(self, key: bytes, base: str) -> None:
        self._signer = Signer(key, salt="gudok.checkout", key_derivation="hmac", digest_method=sha256)
        self._base = base

    def token(self, one: Checkout) -> str:
        """The token of a checkout: letters, digits, `.`, `-` and `_`, under 200 of them, and never a `.` at its beginning.

        Plain, because a packed one begins with a dot, and web servers are often told to serve nothing that does.
        """
        claim = f"{one.id}_{one.customer_id}_{one.purpose.value}_{int(one.expires_at.timestamp())}"
        return self._signer.sign(claim).decode()

    def url(self, token: str) -> str:
        """The link that carries a token."""
        return f"{self._base}/checkout/{token}"

    def read(self, token: str) -> Claim:
        """What a token says. Its age is for the caller to judge, who knows what time it is.

        Raises:
            LinkRefused: it was not signed here.
        """
        try:
            claim = self._signer.unsign(token[:TOKEN_MAX]).decode()
        except (BadSignature, UnicodeEncodeError):
            raise LinkRefused("is not valid") from None
        checkout_id, customer_id, purpose, expires_at = claim.split("_")
        return Claim(checkout_id, customer_id, purpose, datetime.fromtimestamp(int(expires_at), UTC))
