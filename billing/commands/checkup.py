"""The questions `billing doctor` asks, from the settings inwards; one that fails ends those that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing.commands.door import Door, missing_file
from billing.commands.mishaps import CALL_SOMEONE, DONE, NOT_AS_WISHED, REFUSED, UNAVAILABLE
from billing.domain.channel import ChannelUse
from billing.domain.standing import compared
from billing.errors import BillingError, GatewayError, InvariantBroken, SettingsError

if TYPE_CHECKING:
    from billing.app import Billing
    from billing.settings import Settings

SKEW_SECONDS_MAX = 30

_MARKS = {"ok": ("✓", "green"), "advice": ("·", "dim"), "warning": ("!", "yellow"), "failure": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one question found; `status` is the exit status it asks for."""

    check: str
    verdict: str
    found: str
    cure: str = ""
    status: int = DONE

    @property
    def mark(self) -> str:
        """One sign for the verdict."""
        return _MARKS[self.verdict][0]

    @property
    def style(self) -> str:
        """Its colour."""
        return _MARKS[self.verdict][1]


def examined(door: Door) -> list[Finding]:
    """Every finding, in the order of the questions."""
    try:
        settings = door.settings
    except SettingsError as error:
        return [_failed("settings", f"{error.field}: {error.problem}", error.cure or "see README, Settings", REFUSED)]
    found = [*_settings(settings)]
    missing = missing_file(settings)
    if missing is not None:
        return [*found, _failed("database", f"there is no file {missing}", "run `billing init`, or check BILLING_DATABASE_URL")]
    try:
        app = door.app
    except SettingsError as error:
        return [*found, _failed("settings", f"{error.field}: {error.problem}", error.cure, REFUSED)]
    database = [*_database(app)]
    found += database
    found += _gateway(app)
    if all(one.verdict == "ok" for one in database):
        found += _switches(app)
        found += _attention(app)
    found += _advice(settings)
    return found


def _settings(settings: Settings) -> Iterator[Finding]:
    hours = f"charges {settings.charge_hours} {settings.time_zone}"
    yield Finding("settings", "ok", f"mode {settings.mode}, {hours}")
    if settings.is_live and settings.database_url.get_secret_value().startswith("sqlite"):
        yield _warned(
            "database kind", "SQLite in live mode", "one machine only, and its disk is your ledger: PostgreSQL is safer"
        )
    if settings.time_scale != 1:
        yield _warned("waiting times", f"shortened to {settings.time_scale:g}", "unset BILLING_TIME_SCALE outside of tests")
    if settings.faults:
        yield _warned("fault points", "are armed", "unset BILLING_FAULTS outside of tests")


def _database(app: Billing) -> Iterator[Finding]:
    schema = app.schema
    try:
        here, newest = schema.current(), schema.head()
        if here is None:
            yield _failed("database", f"{schema.place} is not migrated", "run `billing init`")
            return
        if here != newest:
            yield _failed(
                "database", f"{schema.place} is at version {here}, this program needs {newest}", "run `billing db upgrade`"
            )
            return
        yield Finding("database", "ok", f"{schema.place}, version {here}")
        differences = schema.differences()
    except BillingError as error:
        problem, _, cure = str(error).partition("; ")
        yield _failed("database", problem, cure or "check BILLING_DATABASE_URL and that the server runs")
        return
    if differences:
        cure = "run `billing db upgrade`; a guard somebody dropped is restored by hand. Until then nothing is charged"
        yield _failed("guards", "; ".join(differences), cure, CALL_SOMEONE)
    else:
        yield Finding("guards", "ok", "the database refuses double charges, over-refunds and edited ledger rows")
    try:
        identity, place = app.controls.standing()
    except SettingsError as error:
        yield _failed("identity", f"{error.field}: {error.problem}", error.cure, REFUSED)
    except InvariantBroken as error:
        problem, _, cure = str(error).partition("; ")
        yield _failed("identity", problem, cure, CALL_SOMEONE)
    else:
        yield Finding("identity", "ok", f"ledger {identity.ledger_id}, mode {identity.mode}; a copy is told by {place.basis}")


def _gateway(app: Billing) -> Iterator[Finding]:
    place = app.settings.gateway or "the sandbox in this process"
    try:
        app.gateway.token()
        channels = app.gateway.channels()
    except GatewayError as error:
        problem, _, cure = str(error).partition("; ")
        yield _failed("PG", problem, cure or "check the network, BILLING_IMP_KEY and BILLING_IMP_SECRET")
        return
    yield Finding("PG", "ok", f"{place} answers and accepts the key")
    skew = getattr(app.gateway, "skew_seconds", None)
    if skew is not None and abs(skew) > SKEW_SECONDS_MAX:
        ahead = "ahead of" if skew < 0 else "behind"
        cure = "let NTP set this machine's clock; leases and reconciliation windows depend on it"
        yield _warned("clock", f"this machine is {abs(skew):.0f} s {ahead} the PG", cure)
    elif skew is not None:
        yield Finding("clock", "ok", f"within {max(abs(skew), 1):.0f} s of the PG's")
    wanted = [one for one in app.settings.channel_plan if one.mode == app.settings.mode and one.use is ChannelUse.BILLING]
    if not wanted:
        names = ", ".join(f"{one.pg_provider}.{one.pg_id}" for one in channels)
        cure = f"set BILLING_PG to one of {names}" if names else "make a channel in the PortOne console, then name it"
        yield _warned("channel", "BILLING_PG is not set: the account's default takes every card", cure)
    for one in compared(wanted, channels, mode=app.settings.mode):
        if one.is_right:
            yield Finding("channel", "ok", f"{one.assigned.channel} {one.said}")
        else:
            yield _failed("channel", f"{one.assigned.channel} {one.said}", f"{one.cure}; see `billing channel check`", REFUSED)


def _switches(app: Billing) -> Iterator[Finding]:
    now, test = app.controls.clocks()
    if test is not None:
        cure = "nothing is due before it is moved: `billing clock advance SPAN`, or `billing clock set real`"
        yield _warned("test clock", f"stands at {now.astimezone(app.settings.zone):%Y-%m-%d %H:%M}", cure)
    switch = app.controls.freeze()
    if switch is not None and switch.is_frozen:
        cure = "find out why, then `billing freeze off --reason TEXT`"
        yield _failed("freeze", f"charging is frozen by {switch.actor}: {switch.reason}", cure, CALL_SOMEONE)
    else:
        yield Finding("freeze", "ok", "charging is allowed")


_ATTENTION = {
    "parked_subscriptions": (
        "parked subscriptions",
        "see `billing subscription list`, mend the cause, then `billing subscription resume`",
    ),
    "undecided_attempts": (
        "undecided attempts",
        "`billing renew` or the scheduler asks the PG again; see `billing attempt list --state unknown`",
    ),
    "mismatches": ("paid, but not as asked", "`billing attempt list --state mismatch`, then `billing attempt resolve`"),
    "surplus_payments": (
        "money to give back",
        "its refund was refused; see `billing refund list --state refused`, then `billing refund retry`",
    ),
    "waiting_refunds": (
        "refunds that wait for you",
        "larger than BILLING_SURPLUS_REFUND_MAX; see `billing refund list --state planned`, then `billing refund retry`",
    ),
    "undecided_refunds": (
        "undecided refunds",
        "`billing renew` or the scheduler asks the PG again; see `billing refund list --state unknown`",
    ),
    "refused_refunds": (
        "refused refunds",
        "see `billing refund list --state refused` for the PG's reason; `billing refund retry` repeats one",
    ),
    "unexplained_findings": (
        "differences between the PG and the books",
        "see `billing finding list`; `billing finding explain` once you know what each was",
    ),
    "stuck_invoices": (
        "open invoices nobody tries",
        "`billing invoice list --state open`, then `billing retry` or `billing invoice void`",
    ),
    "pending_keys": ("cards never confirmed", "a registration was cut off; the customer registers the card again"),
    "retired_keys": ("old cards still at the PG", "they are deleted once no charge on them is undecided"),
}


def _attention(app: Billing) -> Iterator[Finding]:
    counts = app.views.attention()
    for name, (what, cure) in _ATTENTION.items():
        if counts[name]:
            yield _warned(what, str(counts[name]), cure)
    yield Finding(
        "books",
        "ok",
        ", ".join(f"{one.replace('_', ' ')} {counts[one]:,}" for one in ("customers", "subscriptions", "open_invoices")),
    )


def _advice(settings: Settings) -> Iterator[Finding]:
    """What no question can find out: it is said where it matters."""
    if settings.mode.value == "sandbox":
        return
    cure = (
        "in the PortOne console switch the recovery of failed payments off, and use no PG schedules: both charge behind our back"
    )
    yield Finding("second engine", "advice", "recovery and schedules must be off", cure)
    if not settings.webhook_allow:
        cure = "set BILLING_WEBHOOK_ALLOW=52.78.100.19,52.78.48.223,52.78.5.241 and name your proxies in BILLING_TRUSTED_PROXIES"
        yield Finding("webhooks", "advice", "notices are taken in from everywhere", cure)
    cure = "allow HTTPS to the PG directly; a proxy or balancer in between must never repeat a POST"
    yield Finding("way out", "advice", "no proxy may repeat a POST", cure)


def _warned(check: str, found: str, cure: str) -> Finding:
    return Finding(check, "warning", found, cure, NOT_AS_WISHED)


def _failed(check: str, found: str, cure: str, status: int = UNAVAILABLE) -> Finding:
    return Finding(check, "failure", found, cure, status)
