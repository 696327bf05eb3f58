"""What a browser may do with a page of ours: the headers that say so."""

from __future__ import annotations

from urllib.parse import urlsplit

from billing.settings import LIVE_SDK, Mode, Settings

SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
"""On everything a checkout answers: it is one customer's, and its address is the key to it."""

FOR_EVER = {"x-content-type-options": "nosniff", "cache-control": "public, max-age=31536000, immutable"}
"""On files whose name changes with what is in them."""


def page_headers(settings: Settings) -> dict[str, str]:
    """The headers of a page: our own files and the PG's SDK run in it, and nothing else does.

    Frames and forms stay open to any https origin outside of sandbox mode: behind the SDK stand the windows of some
    thirty PGs and their card companies, and nobody publishes a list of their addresses.

    Raises:
        SettingsError: nobody has said where we are mounted.
    """
    sdk = settings.browser_sdk
    origin = _origin(sdk)
    asked = f"{origin} https://*.iamport.kr" if sdk == LIVE_SDK else origin
    windows = origin if settings.mode is Mode.SANDBOX else f"https: {origin}"
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' {origin}",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": f"'self' {asked}",
        "frame-src": f"'self' {windows}",
        "form-action": f"'self' {windows}",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return SAFE | {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cross-origin-opener-policy": "same-origin-allow-popups",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), usb=()",
        "x-robots-tag": "noindex, nofollow",
    }


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
