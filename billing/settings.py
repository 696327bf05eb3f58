"""Settings from the environment or `.env`; everything a process must know before it starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from billing.domain.channel import DEFAULTS, Assigned, ChannelId, ChannelUse, assigned, refuse_unfit
from billing.domain.dunning import FinalState
from billing.domain.link import checked_link, is_on_this_machine
from billing.domain.renewal import CatchUp
from billing.errors import RuleError, SettingsError

LIVE_GATEWAY = "https://api.iamport.kr"
LIVE_SDK = "https://cdn.iamport.kr/v1/iamport.js"
SDK_PATH = "/v1/iamport.js"
INSTANCE_SECRET_MIN = 32
Network = IPv4Network | IPv6Network
SANDBOX_KEY, SANDBOX_SECRET = "imp_sandbox_key", "imp_sandbox_secret"
SANDBOX_URL, SANDBOX_MERCHANT = "http://127.0.0.1:8000", "imp00000000"


class Mode(StrEnum):
    """Whose money is moved."""

    SANDBOX = "sandbox"  # nobody's: the fake PG of this package
    TEST = "test"  # test channels at the PG: records say sandbox
    LIVE = "live"


class Settings(BaseSettings):
    """What `BILLING_*` says. Secrets are never shown by repr, str or errors."""

    model_config = SettingsConfigDict(
        env_prefix="BILLING_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    mode: Mode = Mode.SANDBOX
    database_url: SecretStr = SecretStr("sqlite:///billing.db")
    gateway_url: str = ""
    imp_key: SecretStr = SecretStr("")
    imp_secret: SecretStr = SecretStr("")
    pg: str = ""
    channels: str = ""
    public_url: str = ""
    merchant_code: str = ""
    time_zone: str = "Asia/Seoul"
    charge_hours: str = "09:00-22:00"
    concurrency: int = Field(32, ge=1, le=1024)
    lease_seconds: float = Field(180.0, ge=180.0, le=3600.0)
    time_scale: float = Field(1.0, gt=0.0, le=1.0)
    catch_up: CatchUp = CatchUp.LATEST
    dunning_days: str = "1,3,5,7"
    dunning_end: FinalState = FinalState.CANCEL
    webhook_allow: str = ""
    trusted_proxies: str = ""
    webhook_secret: SecretStr = SecretStr("")
    surplus_refund_max: int = Field(1_000_000, ge=0, lt=10**15)
    faults: str = ""
    instance_file: Path | None = None
    instance_secret: SecretStr = SecretStr("")
    sandbox_file: Path = Path("billing-sandbox.db")
    sandbox_faults: str = ""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is not an IANA time zone; write for example Asia/Seoul")
        return value

    @field_validator("charge_hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        parsed_hours(value)
        return value

    @field_validator("dunning_days")
    @classmethod
    def _days(cls, value: str) -> str:
        parsed_days(value)
        return value

    @field_validator("instance_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < INSTANCE_SECRET_MIN:
            raise ValueError(f"is too short; give at least {INSTANCE_SECRET_MIN} characters nobody can guess")
        return value

    @field_validator("webhook_allow", "trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        parsed_networks(value)
        return value

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: str) -> str:
        return _by_rule(value, assigned)

    @field_validator("pg")
    @classmethod
    def _billing_channel(cls, value: str) -> str:
        return _by_rule(value, lambda text: ChannelId.parse(text, "BILLING_PG"))

    @field_validator("public_url")
    @classmethod
    def _mounted(cls, value: str) -> str:
        return _by_rule(value.strip().rstrip("/"), lambda text: checked_link("BILLING_PUBLIC_URL", text, is_base=True))

    @field_validator("merchant_code")
    @classmethod
    def _code_of_the_shop(cls, value: str) -> str:
        if value and not re.fullmatch(r"imp[A-Za-z0-9]{1,30}", value):
            raise ValueError("is not the code of a shop; copy it from the PortOne console, it begins with imp")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _guessable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and (len(text) < 16 or not text.isascii() or not text.replace("-", "").replace("_", "").isalnum()):
            raise ValueError(
                "must be at least 16 letters, digits, - and _; write for example the output of `openssl rand -hex 16`"
            )
        return value

    @model_validator(mode="after")
    def _fits_the_mode(self) -> Settings:
        if self.mode is not Mode.SANDBOX and not (self.imp_key and self.imp_secret):
            missing = "BILLING_IMP_SECRET" if self.imp_key else "BILLING_IMP_KEY"
            raise ValueError(f"{missing}: is missing; mode {self.mode} needs the REST API key and secret of the PortOne console")
        if self.mode is Mode.LIVE:
            for name, is_wrong in {
                "BILLING_FAULTS": bool(self.faults),
                "BILLING_TIME_SCALE": self.time_scale != 1.0,
                "BILLING_GATEWAY_URL": self.gateway_url.startswith("http://"),
            }.items():
                if is_wrong:
                    raise ValueError(f"{name}: is refused in live mode; unset it or leave live mode")
        if self.gateway_url and not self.gateway_url.startswith(("http://", "https://")):
            raise ValueError("BILLING_GATEWAY_URL: must start with https:// (or http:// for a local test server)")
        if any(sign in self.gateway_url for sign in "@?#"):
            raise ValueError("BILLING_GATEWAY_URL: carries a user, a query or a fragment; write the origin alone")
        self._check_channels()
        return self

    def _check_channels(self) -> None:
        """`BILLING_PG` is the short form of one entry of `BILLING_CHANNELS`, and neither may contradict the other."""
        if not self.pg:
            return
        one = Assigned(self.mode, ChannelUse.BILLING, "", ChannelId.parse(self.pg))
        named = [other for other in assigned(self.channels) if other.place == one.place]
        if named and named[0].channel != one.channel:
            raise ValueError(f"BILLING_PG: names another channel than {one.place} in BILLING_CHANNELS; leave one of them out")
        try:
            refuse_unfit(one, "BILLING_PG")
        except RuleError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def from_env(cls, **given: object) -> Settings:
        """Read the environment; `given` wins over it.

        Raises:
            SettingsError: names the variable and what to write instead, never the value.
        """
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            problem = _explained(error)
        except UnicodeDecodeError:
            problem = SettingsError(".env", "is not UTF-8 text", "save it as UTF-8")
        # Raised out here and with nothing in hand: pydantic's error keeps every value it was given.
        del given
        raise problem

    @property
    def is_live(self) -> bool:
        """True where money is real."""
        return self.mode is Mode.LIVE

    @property
    def zone(self) -> ZoneInfo:
        """The merchant's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def hours(self) -> tuple[time, time | None]:
        """First and last local time of automatic charges; None means until midnight."""
        return parsed_hours(self.charge_hours)

    @property
    def ladder_days(self) -> tuple[int, ...]:
        """Local days after a first decline on which it is tried again."""
        return parsed_days(self.dunning_days)

    @property
    def webhook_sources(self) -> tuple[Network, ...]:
        """The networks notices may come from; empty allows everybody.

        The PG's are 52.78.100.19, 52.78.48.223 and 52.78.5.241. Source: PortOne webhook guide V1, FAQ.
        """
        return parsed_networks(self.webhook_allow)

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The proxies of the host's own, whose X-Forwarded-For is believed."""
        return parsed_networks(self.trusted_proxies)

    @property
    def gateway(self) -> str:
        """Base URL of the PG; empty for the in-process sandbox."""
        return self.gateway_url.rstrip("/") or ("" if self.mode is Mode.SANDBOX else LIVE_GATEWAY)

    @property
    def channel_plan(self) -> tuple[Assigned, ...]:
        """Which channel serves what, in every mode: what is configured, and the defaults of sandbox and test."""
        found = {one.place: one for one in (*DEFAULTS, *assigned(self.channels))}
        if self.pg:
            one = Assigned(self.mode, ChannelUse.BILLING, "", ChannelId.parse(self.pg))
            found[one.place] = one
        return tuple(found[place] for place in sorted(found))

    @property
    def billing_channel(self) -> ChannelId:
        """The channel cards are registered on.

        Raises:
            SettingsError: live mode, and none is named.
        """
        return self._channel(ChannelUse.BILLING)

    def pay_channel(self, pay_method: str = "") -> ChannelId:
        """The channel of a window that pays once: the one for this way to pay, or the one for all the others.

        Raises:
            SettingsError: live mode, and none is named.
        """
        return self._channel(ChannelUse.PAY, pay_method)

    @property
    def key_in_channel(self) -> str:
        """The channel of cards that are keyed in: the one for it, else the one for billing; empty leaves it to the PG."""
        plan = self._places
        return str(plan.get(f"{self.mode}/{ChannelUse.KEY_IN}") or plan.get(f"{self.mode}/{ChannelUse.BILLING}") or "")

    def _channel(self, use: ChannelUse, pay_method: str = "") -> ChannelId:
        plan, general = self._places, f"{self.mode}/{use}"
        channel = plan.get(f"{general}/{pay_method}") or plan.get(general)
        if channel is None:
            raise SettingsError("BILLING_CHANNELS", f"names no {general} channel", f"add {general}=provider.MID")
        return channel

    @property
    def _places(self) -> dict[str, ChannelId]:
        return {one.place: one.channel for one in self.channel_plan}

    @property
    def public_base(self) -> str:
        """Where browsers and the PG find our routes, without a slash at the end.

        Raises:
            SettingsError: it is not set, outside of sandbox mode.
        """
        if self.public_url or self.mode is Mode.SANDBOX:
            return self.public_url or SANDBOX_URL
        raise SettingsError(
            "BILLING_PUBLIC_URL", "is not set", "write where the routes are mounted, such as https://shop.example/billing"
        )

    @property
    def merchant(self) -> str:
        """The code of the shop for `IMP.init`. Source: PortOne JavaScript SDK V1 (it begins with imp).

        Raises:
            SettingsError: it is not set, outside of sandbox mode.
        """
        if self.merchant_code or self.mode is Mode.SANDBOX:
            return self.merchant_code or SANDBOX_MERCHANT
        raise SettingsError("BILLING_MERCHANT_CODE", "is not set", "copy the code of the shop from the PortOne console")

    @property
    def browser_sdk(self) -> str:
        """The script that opens windows: the PG's, or the one of a sandbox.

        Raises:
            SettingsError: see `public_base`.
        Source: PortOne JavaScript SDK V1, installation.
        """
        if self.gateway and (self.mode is Mode.SANDBOX or is_on_this_machine(self.gateway)):
            return self.gateway + SDK_PATH
        return LIVE_SDK if self.gateway else f"{self.public_base}/sandbox{SDK_PATH}"

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr]:
        """API key and secret; sandbox mode knows its own."""
        if self.mode is Mode.SANDBOX:
            return self.imp_key or SecretStr(SANDBOX_KEY), self.imp_secret or SecretStr(SANDBOX_SECRET)
        return self.imp_key, self.imp_secret


def _by_rule(value: str, rule: Callable[[str], object]) -> str:
    """`value`, unless a rule of the domain refuses it; its problem and cure become the setting's."""
    try:
        if value:
            rule(value)
    except RuleError as error:
        # The rule may name what stands inside of the setting: `BILLING_CHANNELS: live/pay`.
        inside = error.field.partition(": ")[2]
        raise ValueError(f"{inside}: {error.problem}; {error.cure}" if inside else f"{error.problem}; {error.cure}") from None
    return value


def parsed_hours(value: str) -> tuple[time, time | None]:
    """`09:00-22:00` as two times; `24:00` at the end is None."""
    problem = "must be two times of day like 09:00-22:00, the earlier first"
    try:
        first, last = (part.strip() for part in value.split("-"))
        opens, closes = time.fromisoformat(first), None if last == "24:00" else time.fromisoformat(last)
    except ValueError:
        raise ValueError(problem) from None
    if closes is not None and opens >= closes:
        raise ValueError(problem)
    return opens, closes


def parsed_networks(value: str) -> tuple[Network, ...]:
    """`52.78.100.19, 10.0.0.0/8` as networks. A network written by one of its hosts is refused: it allows more than it says."""
    networks: list[Network] = []
    for text in filter(None, (part.strip() for part in value.split(","))):
        try:
            networks.append(ip_network(text))
        except ValueError:
            try:
                meant = ip_network(text, strict=False)
            except ValueError:
                raise ValueError("must be addresses or networks like 52.78.100.19 or 10.0.0.0/8, separated by commas") from None
            host = text.partition("/")[0]
            problem = f"{text} has host bits set: as a network it is {meant}, {meant.num_addresses:,} addresses"
            raise ValueError(f"{problem}; write {host} for that one, or {meant} for all of them") from None
    return tuple(networks)


def parsed_days(value: str) -> tuple[int, ...]:
    """`1,3,5,7` as growing day counts; empty means no retry."""
    problem = "must be growing day counts like 1,3,5,7, each at most 60, at most ten of them"
    try:
        days = tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError(problem) from None
    if list(days) != sorted(set(days)) or any(not 1 <= day <= 60 for day in days) or len(days) > 10:
        raise ValueError(problem)
    return days


def _explained(error: ValidationError) -> SettingsError:
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        name, _, problem = message.partition(": ")
        problem, _, cure = problem.partition("; ")
        return SettingsError(name, problem, cure)
    problem, _, cure = message.partition("; ")
    return SettingsError(f"BILLING_{str(first['loc'][0]).upper()}", problem, cure or "see README, Settings")
