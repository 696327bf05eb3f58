"""Who is really asking. Anybody can write `X-Forwarded-For`; only our own proxies are believed, and only what they added."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import Request

from billing.settings import Network

Address = IPv4Address | IPv6Address

PG_ADDRESSES = tuple(ip_address(text) for text in ("52.78.100.19", "52.78.48.223", "52.78.5.241"))
"""Where the PG's notices come from. Source: PortOne webhook guide V1, FAQ."""


def client_of(request: Request, proxies: Sequence[Network]) -> Address | None:
    """The address that asked: the peer, or the one the nearest of our own proxies names.

    `X-Forwarded-For` is read from the right, where our proxies write; the first address that is not one of ours is
    the client, and what stands left of it is hearsay. None where the server names no peer (a Unix socket).
    """
    asking = parsed_address(request.client.host if request.client else "")
    if asking is None or not is_in(asking, proxies):
        return asking
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for hop in reversed(hops):
        named = parsed_address(hop.strip())
        if named is None:
            break
        asking = named
        if not is_in(asking, proxies):
            break
    return asking


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """True when one of the networks holds the address."""
    return any(address.version == one.version and address in one for one in networks)


def neighbourhood(address: Address | None) -> str:
    """What counts as one sender: an IPv4 address, or the /64 one IPv6 customer commonly has all of."""
    if address is None:
        return ""
    return str(address) if address.version == 4 else address.exploded[:19]


def parsed_address(text: str) -> Address | None:
    """An address as proxies write it, with or without port and brackets; an IPv4 one in IPv6 clothes is the IPv4 one.

    None for anything else.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
