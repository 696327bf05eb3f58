"""`billing sandbox`: the fake PG behind a socket."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich_click as click

from billing.commands.door import Door, verb
from billing.errors import RuleError, SettingsError

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.sandbox import Sandbox, SandboxConfig

_HOST = "127.0.0.1"


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8600, show_default=True, help="0 takes any that is free."
)
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Keep its state here. [default: in memory]")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=VALUE", help="What goes wrong, and how often; see above. Repeatable."
)
@click.option("--webhook", metavar="URL", help="Send notices there, such as http://127.0.0.1:8000/webhooks/iamport.")
@click.option(
    "--webhook-format", type=click.Choice(("json", "form")), default="json", show_default=True, help="How notices are encoded."
)
@click.option("--seed", type=int, metavar="N", help="Make ids and the fate of calls repeatable.")
@verb()
def sandbox(
    door: Door,
    port: int,
    file: Path | None,
    faults: tuple[str, ...],
    webhook: str | None,
    webhook_format: Literal["json", "form"],
    seed: int | None,
) -> None:
    """Serve the fake PG on this machine until it is interrupted.

    Point an engine at it with BILLING_GATEWAY_URL. To a page it gives /v1/iamport.js: IMP.request_pay opens a window in
    which a buyer pays or registers a card, in an overlay, or on a phone by redirect. A fault is
    NAME=HOW_OFTEN[,KEY=VALUE]…: lost_reply=0.05 (5 %), slow_approval=1,value=70s (once, 70 seconds),
    decline=always,value=120054,card=4242. Faults can be changed while it runs: POST /_sandbox/faults; a deposit to a
    virtual account is POST /_sandbox/vbank/deposit; GET /_sandbox/ledger is everything it recorded.
    """
    from billing.sandbox import MAGIC_CARDS

    made = _made(door, file, faults, _config(webhook, webhook_format), seed)
    listening = None
    try:
        listening = _listening(port)
        url = f"http://{_HOST}:{listening.getsockname()[1]}"
        cards = [{"name": name, "number": card.number, "what": card.what} for name, card in MAGIC_CARDS.items()]
        switched_on = made.faults()

        def words(out: Words) -> None:
            out.line(f"The sandbox serves {url}; stop it with Ctrl-C.", "bold green")
            out.hint(f"BILLING_MODE=sandbox BILLING_GATEWAY_URL={url} billing init")
            out.line()
            out.table(["!card", "what it does"], [(card["number"], card["what"]) for card in cards])
            for fault in switched_on:
                out.line(f"fault: {fault['name']}", "yellow")

        door.answer({"url": url, "cards": cards, "faults": switched_on}, words)
        _serve(made, listening)
    finally:
        if listening is not None:
            listening.close()
        made.close()


def _config(webhook: str | None, webhook_format: Literal["json", "form"]) -> SandboxConfig:
    from billing.sandbox import SandboxConfig

    try:
        return SandboxConfig(webhook_url=webhook, webhook_format=webhook_format)
    except ValueError:
        raise RuleError(
            "--webhook", "is not an address on this machine", "write for example http://127.0.0.1:8000/webhooks/iamport"
        ) from None


def _made(door: Door, file: Path | None, faults: tuple[str, ...], config: SandboxConfig, seed: int | None) -> Sandbox:
    from billing.sandbox import Sandbox, parse_fault

    parsed = []
    for text in faults:
        try:
            parsed.append(parse_fault(text))
        except ValueError as error:
            raise RuleError("--fault", str(error), "see `billing sandbox --help`") from None
    if door.settings.mode.value != "sandbox":
        raise SettingsError("BILLING_MODE", f"is {door.settings.mode}", "a sandbox takes only sandbox credentials: unset it here")
    key, secret = door.settings.credentials
    made = Sandbox(
        str(file) if file else None,
        seed=seed,
        config=config,
        imp_key=key.get_secret_value(),
        imp_secret=secret.get_secret_value(),
    )
    for fault in parsed:
        made.add_fault(fault)
    return made


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RuleError("--port", f"{port} cannot be used: {reason}", "choose another, or 0 for any") from None


def _serve(made: Sandbox, listening: socket.socket) -> None:
    import uvicorn

    from billing.sandbox import asgi

    # The address must be readable before the first request is: whoever started us may wait for it.
    sys.stdout.flush()
    for one in (signal.SIGTERM, signal.SIGINT):
        # uvicorn shuts down cleanly and then repeats the signal to whoever was there before: a good end of a server.
        signal.signal(one, lambda *_: None)
    uvicorn.Server(uvicorn.Config(asgi(made), log_level="warning", lifespan="on")).run(sockets=[listening])
