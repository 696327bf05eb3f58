"""`billing serve`: the engine's HTTP routes behind a socket."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb
from billing.errors import RuleError, SettingsError

if TYPE_CHECKING:
    from billing.app import Billing
    from billing.commands.words import Words


@click.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8000, show_default=True, help="0 takes any that is free."
)
@verb()
def serve(door: Door, host: str, port: int) -> None:
    """Serve the checkout pages and the addresses the PG calls, until it is stopped.

    GET /checkout/TOKEN is the page behind a link of `billing card window` or `billing invoice window`; it opens the PG's
    window, which ends at POST /payments/complete or GET /payments/complete/mobile, and where the PG was told to ask
    first, it asks POST /payments/confirm. POST /webhooks/iamport stores a notice and answers;
    `billing scheduler` looks into it within seconds. GET /health and GET /ready are for a load balancer. In sandbox mode
    without BILLING_GATEWAY_URL the window itself is served, too, below /sandbox: one command is a whole shop.

    The PG and phones reach only public HTTPS addresses, so a proxy of yours stands in front: write its address in
    BILLING_PUBLIC_URL, name it in BILLING_TRUSTED_PROXIES, and the PG's own addresses in BILLING_WEBHOOK_ALLOW:
    52.78.100.19,52.78.48.223,52.78.5.241. It logs JSON lines on stderr.
    """
    from billing.web.health import refuse_unready

    app = door.served(range(256))
    refuse_unready(app)
    with _listening(host, port) as listening:
        name, number = listening.getsockname()[:2]
        url = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"

        def words(out: Words) -> None:
            out.line(f"Notices are taken at {url}/webhooks/iamport; stop it with Ctrl-C.", "bold green")
            if links is None:
                out.line("There are no checkout pages before BILLING_PUBLIC_URL says where browsers find them.", "yellow")
            elif app.own_sandbox is not None and links != url:
                out.line(f"Checkout links lead to {links}, not here: set BILLING_PUBLIC_URL={url}", "yellow")

        links = _links(app)
        door.answer({"url": url, "webhook_url": f"{url}/webhooks/iamport", "links_lead_to": links}, words)
        _serve(app, listening)


def _links(app: Billing) -> str | None:
    """Where browsers find the checkout pages, if anybody has said so."""
    try:
        return app.settings.public_base
    except SettingsError:
        return None


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except socket.gaierror:
        raise RuleError("--host", f"{host} is no address of this machine", "write for example 127.0.0.1 or ::") from None
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise RuleError("--port", f"{host} port {port} cannot be used: {reason}", "choose another, or 0 for any") from None


def _serve(app: Billing, listening: socket.socket) -> None:
    from billing.web.server import serve

    # The address must be readable before the first request is: whoever started us may wait for it.
    sys.stdout.flush()
    for one in (signal.SIGTERM, signal.SIGINT):
        # uvicorn shuts down cleanly and then repeats the signal to whoever was there before: a good end of a server.
        signal.signal(one, lambda *_: None)
    serve(app, listening)
