"""The life of a token: one for all, used to its end, dead before the next."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import SecretStr

from billing.clock import ManualClock
from billing.errors import CredentialsRefused, GatewayUnavailable
from billing.gateway.http import Http
from billing.gateway.token import TokenKeeper
from tests.wire.scripted import Arrival, Say, ok, refused, token_answer
from tests.wire.worlds import SECRET, clock, handler


class DocumentedPg:
    """getToken exactly as documented, on the test's clock: same token, five more minutes in the last one."""

    def __init__(self, clock: ManualClock, *, life: int = 1800, wall: int = 1_700_000_000) -> None:
        self.clock, self.life, self.wall = clock, life, wall
        self.issued = 0
        self.end = -1.0
        self.asked_at: list[float] = []

    def __call__(self, arrival: Arrival) -> Say:
        now = self.clock.monotonic()
        self.asked_at.append(now)
        if now > self.end:
            self.issued += 1
            self.end = now + self.life
        elif self.end - now <= 60:
            self.end += 300
        return token_answer(f"token-{self.issued}", now=self.wall + int(now), life=int(self.end) - int(now))


class Watch(ManualClock):
    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        super().sleep(seconds)


def keeper(script, on: ManualClock, *, key: str = "imp-key", secret: str = SECRET) -> TokenKeeper:
    return TokenKeeper(
        Http("http://pg.test", handler=handler(script, [])), key=SecretStr(key), secret=SecretStr(secret), clock=on
    )


def world() -> tuple[Watch, DocumentedPg, TokenKeeper]:
    on = Watch(clock().now())
    pg = DocumentedPg(on)
    return on, pg, keeper(pg, on)


def test_one_token_is_asked_for_once_and_used_by_all():
    on, pg, tokens = world()
    assert {tokens.get().value for _ in range(50)} == {"token-1"}
    on.sleep(1790)
    assert tokens.get().value == "token-1"
    assert pg.asked_at == [0.0]


def test_it_is_used_to_its_last_seconds_then_left_to_die_then_replaced():
    on, pg, tokens = world()
    tokens.get()
    on.sleep(1795.5)
    on.slept = 0.0

    assert tokens.get().value == "token-2"
    assert on.slept == pytest.approx(5.5)  # until one second after its end
    assert pg.asked_at == [0.0, 1801.0]


def test_a_day_of_use_never_prolongs_a_token():
    on, pg, tokens = world()
    seen = []
    for _ in range(24 * 60):
        seen.append(tokens.get().value)
        on.sleep(60)

    assert len(set(seen)) == pg.issued >= 47
    assert pg.issued == len(pg.asked_at)  # every question brought another token: each is dead-proof for the last


def test_whoever_asks_in_the_last_minute_keeps_the_token_alive_for_ever():
    """The trap the policy exists for, shown on the PG itself."""
    on, pg, _ = world()
    for _ in range(100):
        pg(Arrival("POST", "/users/getToken", {}, b""))
        on.sleep(max(1.0, pg.end - on.monotonic() - 30))
    assert pg.issued == 1


def test_when_other_software_prolonged_it_the_new_end_is_believed_and_outlived_in_turn():
    on, pg, tokens = world()
    first = tokens.get()
    on.sleep(1760)
    pg(Arrival("POST", "/users/getToken", {}, b""))  # somebody else, in the last minute
    on.sleep(37)
    assert tokens.get().value == first.value
    on.sleep(300)
    assert tokens.get() != first


def test_a_short_lived_token_has_a_short_margin():
    on = Watch(clock().now())
    pg = DocumentedPg(on, life=10)
    tokens = keeper(pg, on)
    tokens.get()
    on.sleep(8.9)
    assert tokens.get().value == "token-1"
    on.sleep(0.2)
    on.slept = 0.0
    assert tokens.get().value == "token-2"
    assert on.slept <= 2.0


@pytest.mark.parametrize("wall", [0, 1_700_000_000, 4_000_000_000])
def test_life_is_counted_from_the_answer_so_a_wrong_wall_clock_changes_nothing(wall):
    on = Watch(clock().now())
    tokens = keeper(DocumentedPg(on, wall=wall + 1), on)
    tokens.get()
    on.sleep(1794)
    assert tokens.get().value == "token-1"


def test_a_discarded_token_is_replaced_at_once_and_only_if_it_is_the_one_in_use():
    on, pg, tokens = world()
    token = tokens.get()
    tokens.discard("another")
    assert tokens.get() is token
    tokens.discard(token.fingerprint)
    tokens.get()
    assert pg.asked_at == [0.0, 0.0]
    assert on.slept == 0.0


def test_of_many_threads_that_need_a_token_one_asks():
    on = clock()
    asked = []

    def slow(arrival):
        asked.append(1)
        time.sleep(0.05)
        return token_answer()

    tokens = keeper(slow, on)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(tokens.get().value)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["token-1"] * 16
    assert len(asked) == 1


def test_the_fingerprint_tells_tokens_apart_and_needs_the_secret():
    def of(value: str, secret: str) -> str:
        return keeper(lambda _: token_answer(value), clock(), secret=secret).get().fingerprint

    assert of("t1", "s1") == of("t1", "s1")
    assert len({of("t1", "s1"), of("t2", "s1"), of("t1", "s2")}) == 3
    assert len(of("t1", "s1")) == 16
    assert int(of("t1", "s1"), 16) >= 0


def test_a_refused_key_names_the_settings_and_not_their_values():
    with pytest.raises(CredentialsRefused, match=r"BILLING_IMP_KEY.*BILLING_IMP_SECRET") as caught:
        keeper(lambda _: refused("Unauthorized", code=-1, status=401), clock()).get()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("key", "secret"), [("", SECRET), ("imp-key", "")])
def test_a_missing_key_is_said_without_asking(key, secret):
    def never(arrival):
        raise AssertionError

    with pytest.raises(CredentialsRefused, match="BILLING_IMP_SECRET"):
        keeper(never, clock(), key=key, secret=secret).get()


@pytest.mark.parametrize(
    "say",
    [
        Say(500),
        Say(200, b"<html>"),
        Say(429, b""),
        refused("어려움", code=-1),
        ok(None),
        ok({"access_token": "", "now": 1, "expired_at": 2}),
        ok({"access_token": "a\nb", "now": 1, "expired_at": 2}),
        ok({"access_token": "토큰", "now": 1, "expired_at": 2}),
        ok({"access_token": "t", "now": 2, "expired_at": 2}),
        ok({"access_token": "t"}),
    ],
)
def test_an_unusable_answer_is_a_pg_that_could_not_be_asked(say):
    with pytest.raises(GatewayUnavailable, match=r"^pg\.test: getToken: "):
        keeper(lambda _: say, clock()).get()
