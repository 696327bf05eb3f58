"""What the sandbox does where the PG's documents are silent: one named flag each, at its worst value."""

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Channel:
    """One PG contract of the merchant.

    `bills` is whether it may charge without a browser, `charges_at_issue` whether a window
    that issues a key takes the amount, too (Source: PortOne V1, list of PGs; INICIS does not).
    """

    pg_provider: str
    pg_id: str
    channel_key: str
    name: str
    bills: bool
    charges_at_issue: bool = False


CHANNELS = (
    Channel("html5_inicis", "INIBillTst", "channel-key-sandbox-billing", "sandbox billing", bills=True),
    Channel("html5_inicis", "INIpayTest", "channel-key-sandbox-window", "sandbox one-off", bills=False),
)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The sandbox's character.

    Every flag whose text begins with *Unknown* stands for something no PortOne document
    decides. Its default is the answer that hurts most, as long as a careful engine can
    still work: whoever is safe here is safe wherever the truth lies. A probe on a real
    test channel can answer each and flip it.
    """

    sandbox: bool = True
    """Payments and keys carry this test mark. Source: PortOne REST V1, `PaymentAnnotation.sandbox`."""

    channels: tuple[Channel, ...] = CHANNELS
    """PG contracts; the first that bills is the default. Source: PortOne REST V1, `GET /users/pg`."""

    token_seconds: int = 1800
    """Life of a fresh access token. Source: PortOne REST V1, authentication: 30 minutes."""

    amount_min: int = 100
    """A smaller charge is declined with 550690. Source: INICIS code list, fewer than 100 won."""

    refuses_paid_uid: bool = False
    """Unknown: whether `again` and `onetime` refuse a merchant_uid that was paid before, and whether a window
    that is open looks again before it approves.

    Clients saw such a refusal, the documents promise it only for schedules, vbanks, cvs and
    for opening a window. Worst: the card is charged again.
    """

    dedupes_in_flight: bool = False
    """Unknown: whether a second call is refused while the first with its merchant_uid runs. Worst: both charge."""

    failed_uid_reusable: bool = True
    """Unknown: whether a merchant_uid with only failed records may be charged. Worst: it may, so a late
    twin of a declined request can still be approved.
    """

    uid_ignores_case: bool = True
    """Unknown: whether `A1` and `a1` are one merchant_uid. Worst: they are, and two orders share records."""

    find_lag_seconds: float = 0.0
    """Unknown: how long a fresh record is invisible to look-ups. One shop met a webhook that came earlier
    than the record. Zero here, because time must pass for it to be survived: use the fault `lookup_lag`.
    """

    find_hides_sandbox: bool = False
    """Unknown: whether `find`, `findAll` and the status list hide test payments as `GET /payments/{imp_uid}`
    does. True would leave a test channel without recovery by merchant_uid: no engine could work.
    """

    batch_hides_sandbox: bool = False
    """Unknown: the same for the bulk `GET /payments`, and left False for the same reason."""

    batch_lists_every_record: bool = False
    """Unknown: whether the bulk look-up lists all records of a merchant_uid. Worst: the newest started only,
    so a later failure hides an earlier payment.
    """

    partial_cancel_status: Literal["cancelled", "paid"] = "cancelled"
    """Unknown: the status word after a partial refund. A live sample said `cancelled`, so money that is
    kept hides behind the word.
    """

    token_extended_more_than_once: bool = True
    """Unknown: whether the last-minute extension by 5 minutes repeats. Worst: it does, and an old token
    (with every request that carries it) can live as long as somebody keeps asking.
    """

    several_live_tokens: bool = False
    """Unknown in practice, though the documents say one: whether each `getToken` may give another token
    while the earlier lives on. True breaks the proof by token rotation, and would leave nothing sound.
    """

    charges_per_second_max: int | None = None
    """Unknown: V1 publishes no rate limit. A number here answers 429 to money calls beyond it."""

    rate_limit_body: Literal["html", "envelope"] = "html"
    """Unknown: the shape of a 429. Worst: a proxy's page that is not JSON."""

    approval_seconds: float = 0.0
    """Unknown: how long an approval takes. Zero here, the fault `slow_approval` sets it per call."""

    unknown_customer_is_404: bool = False
    """Unknown: the specification says HTTP 404 for an unknown customer_uid, live clients got 200 with code 1."""

    unauthorized_code: int = -1
    """Unknown: the envelope code beside HTTP 401; clients saw -1 and 1."""

    not_found_code: int = 1
    """Unknown: the envelope code beside HTTP 404; clients saw 1 and -1."""

    schedule_lists_are_pages: bool = True
    """Unknown: the specification lists schedules as an array, live clients read a page object."""

    schedule_accepts_past: bool = True
    """Unknown: what `POST schedule` does with a past time. Worst: it charges at once."""

    schedule_accepts_known_uid: bool = True
    """Unknown: whether a merchant_uid may be scheduled twice. Worst: it may, and it charges twice."""

    deleting_key_revokes_schedules: bool = False
    """Unknown: whether schedules die with their key. Worst: they stay and fail when their time comes."""

    late_card_seconds: float = 60.0
    """How long the magic card `late` looks failed before it turns paid."""

    closed_window_leaves: Literal["ready", "failed", "none"] = "ready"
    """Unknown: what becomes of the record of a window the buyer closed. Worst: it looks unfinished for ever."""

    window_refuses_ready_uid: bool = False
    """Unknown: whether no window opens while an older one of its merchant_uid is unfinished. Worst: it does,
    and both can be paid.
    """

    window_refuses_failed_uid: bool = False
    """Unknown: whether a window opens for a merchant_uid that failed. Worst: it does, and one has several records."""

    vbank_days: int = 7
    """Unknown: until when a virtual account waits if `vbank_due` does not say it; to the end of that day in Korea."""

    webhook_url: str | None = None
    """Where notices go unless a payment names its own `notice_url`. Source: PortOne webhook guide V1."""

    webhook_format: Literal["json", "form"] = "json"
    """Encoding of notices, chosen in the PG's console. Source: PortOne webhook guide V1."""

    webhook_retries: int = 0
    """Repeats after a network error or 5xx, a minute apart; 0 unless support turned them on (then 5).

    Source: PortOne webhook guide V1.
    """

    webhook_allow_remote: bool = False
    """Allow notices to leave this machine. Off: a sandbox must not knock at strangers' doors."""

    def __post_init__(self) -> None:
        if not any(channel.bills for channel in self.channels):
            raise ValueError("channels: at least one must bill, or nothing can be charged")
        if self.webhook_url is not None and not self.may_notify(self.webhook_url):
            raise ValueError(f"webhook_url {self.webhook_url!r}: only http to this machine, or webhook_allow_remote")

    @classmethod
    def friendly(cls) -> "SandboxConfig":
        """Return the sandbox as public clients describe the live server: duplicates and unclear cases refused."""
        return replace(
            cls(),
            refuses_paid_uid=True,
            dedupes_in_flight=True,
            uid_ignores_case=False,
            batch_lists_every_record=True,
            token_extended_more_than_once=False,
            rate_limit_body="envelope",
            schedule_accepts_past=False,
            schedule_accepts_known_uid=False,
            deleting_key_revokes_schedules=True,
            closed_window_leaves="failed",
        )

    @property
    def billing_channel(self) -> Channel:
        """The channel that charges when a request names none."""
        return next(channel for channel in self.channels if channel.bills)

    def may_notify(self, url: str) -> bool:
        """Return whether a notice may be sent to `url`: http(s), and to this machine unless remote is allowed."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return False
        return self.webhook_allow_remote or _is_loopback(parts.hostname)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
