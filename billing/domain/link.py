"""Addresses that browsers and the PG are sent to: absolute, over TLS, and nothing in them but an address."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from billing.errors import RuleError

LINK_MAX = 2000
_CURE = "write an absolute address such as https://shop.example/billing"


def checked_link(field: str, text: str, *, is_base: bool = False) -> str:
    """`text`, an absolute http(s) address; plain http only where it stays on this machine.

    Args:
        field: what the caller passed, in the caller's words.
        is_base: other paths are hung below it, so it has no query, and a slash at its end is cut.

    Raises:
        RuleError: names the field and what is wrong, never the text: it may hold a password.
    """
    link = _split(text)
    if link is None or link.scheme not in ("http", "https") or not link.hostname:
        raise RuleError(field, "is not an absolute http(s) address", _CURE)
    if link.username is not None or link.password is not None:
        raise RuleError(field, "carries a user or a password", "leave them out")
    if "#" in text or (is_base and "?" in text):
        raise RuleError(field, "carries a query or a fragment" if is_base else "carries a fragment", "leave it out")
    if link.scheme == "http" and not is_loopback(link.hostname):
        raise RuleError(field, "is not https", "plain http is for 127.0.0.1 and localhost; " + _CURE)
    return text.rstrip("/") if is_base else text


def is_loopback(host: str) -> bool:
    """True where a host name or address is this machine itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_on_this_machine(link: str) -> bool:
    """True where an address leads to this machine itself; False for what is no address."""
    parts = _split(link)
    return parts is not None and is_loopback(parts.hostname or "")


def _split(text: str) -> SplitResult | None:
    # `urlsplit` drops line breaks silently and takes a backslash for a path: browsers do other things with both.
    if not 0 < len(text) <= LINK_MAX or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None
