"""A card number typed where words belong is refused before it is kept: books are never edited again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from billing.domain.invoice import InvoiceState
from billing.errors import RuleError
from billing.flow.adjudication import Ruling
from billing.gateway.card import Card
from billing.redaction import holds_card_number
from billing.sandbox import MAGIC_CARDS
from plans import parse_plan
from tests.e2e.conftest import Shell, card_json
from tests.kit.world import PLANS, World, world_on
from tests.leak.kit.sinks import every_row

CARD = "4242 4242-4242 4242"
DIGITS = "4242424242424242"


@pytest.mark.parametrize(
    "typed",
    [
        "4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242", "3782 822463 10005", "5555555555554444",
        "2223003122003222", "3530111333300000", "6200000000000005", "카드4242424242424242은 분실", "card4242424242424242",
        "2026-11-21 4242 4242 4242 4242 approved 9900", "12 4242424242424242", "4242–4242–4242–4242", "4242.4242.4242.4242",
        "４２４２４２４２４２４２４２４２",
    ],
)  # fmt: skip
def test_what_passes_for_a_card_number_however_it_is_written(typed: str) -> None:
    assert holds_card_number(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "", "order 20261121-000123", "20261121123456789", "010-1234-5678", "+82 10 1234 5678, +82 10 8765 4321",
        "4242424242424241", "1700000000000000", "1732190400000", "imp_448280090638", "01a1fe09-1c64-75d4-8368-4ca9cd49f31a",
        "42424242-4242-4242-8242-424242424242", "510510******5100", "4242", "110-81-12345", "₩9,900 2024-01-31 → 2024-02-29",
    ],
)  # fmt: skip
def test_order_numbers_phone_numbers_ids_and_masked_cards_do_not(typed: str) -> None:
    assert not holds_card_number(typed)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with world_on(database_url) as one:
        yield one


def _card() -> Card:
    return Card(number=MAGIC_CARDS["approves"].number, expiry="2040-12", birth="900101")


def _open_invoice(world: World) -> str:
    return world.invoice(world.subscriber(card="balance")).id


def _add(world: World, **changed: Any) -> Any:
    return world.app.customers.add(**{"external_id": "mina", "actor": "test", **changed})


# where it is typed · the field that is named · the verb
LIBRARY: list[tuple[str, str, Callable[[World], Any]]] = [
    *((f"customer {field}", field, lambda w, field=field: _add(w, **{field: CARD})) for field in ("external_id", "name", "tel")),
    ("customer email", "email", lambda w: _add(w, email=f"{DIGITS}@example.com")),
    ("customer actor", "actor", lambda w: _add(w, actor=CARD)),
    ("freeze reason", "reason", lambda w: w.app.controls.set_freeze(is_frozen=True, reason=f"see {CARD}", actor="test")),
    ("freeze actor", "actor", lambda w: w.app.controls.set_freeze(is_frozen=True, reason="x", actor=CARD)),
    ("clock actor", "actor", lambda w: w.app.controls.set_clock(w.clock.now(), actor=CARD)),
    (
        "invoice reason", "reason",
        lambda w: w.app.invoices.close(_open_invoice(w), InvoiceState.VOID, reason=f"card {CARD}", actor="test"),
    ),
    (
        "attempt reason", "reason",
        lambda w: w.app.attempts.resolve(_parked(w), Ruling.SURPLUS, reason=f"paid by {CARD}", actor="test"),
    ),
    ("card actor", "actor", lambda w: w.app.cards.add(w.customer(None), _card(), actor=CARD)),
    ("retry actor", "actor", lambda w: w.app.retry([_open_invoice(w)], actor=CARD)),
    ("subscription actor", "actor", lambda w: w.app.subscriptions.cancel(w.subscriber(), at_period_end=True, actor=CARD)),
    ("start actor", "actor", lambda w: w.app.subscriptions.start(w.customer(), "pro-monthly", actor=CARD)),
    ("plan name", "plan.name", lambda w: w.app.plans.apply(parse_plan(PLANS.replace('"Pro"', f'"{CARD}"'), "p"), actor="test")),
]  # fmt: skip


def _parked(world: World) -> str:
    world.pg.fault("wrong_amount", times=1)
    attempt = world.attempts(world.subscriber())[-1]
    return attempt.id


@pytest.mark.parametrize(("field", "verb"), [row[1:] for row in LIBRARY], ids=[row[0] for row in LIBRARY])
def test_a_host_that_passes_one_on_is_told_which_field(world: World, field: str, verb: Callable[[World], Any]) -> None:
    with pytest.raises(RuleError, match=r"card number.*; leave it out") as caught:
        verb(world)
    assert caught.value.field == field
    assert "4242" not in str(caught.value)
    for where, value in every_row(world.app.engine):
        assert CARD not in value, where
        assert DIGITS not in value, where


COMMANDS = [
    (["customer", "add", "jun", "--name", CARD], "name"),
    (["customer", "add", "jun", "--tel", CARD], "tel"),
    (["customer", "add", f"user {DIGITS}"], "external_id"),
    (["customer", "add", "jun", "--actor", CARD], "actor"),
    (["freeze", "on", "--reason", f"lost {CARD}"], "reason"),
    (["freeze", "on", "--reason", "lost", "--actor", DIGITS], "actor"),
    (["card", "add", "mina", "--actor", DIGITS], "actor"),
]


@pytest.mark.parametrize(("words", "field"), COMMANDS)
@pytest.mark.parametrize("shape", [[], ["--json"]], ids=["words", "json"])
def test_at_the_terminal_it_is_refused_in_one_line(shop: Shell, words: list[str], field: str, shape: list[str]) -> None:
    said = shop(*words, *shape, stdin=card_json())
    assert said.status == 2, said
    assert f"{field}: holds what looks like a card number; leave it out" in said.out + said.err
    assert "4242" not in said.out + said.err
    assert DIGITS.encode() not in b"".join(shop.files().values())


def test_a_row_written_past_the_verbs_is_still_seen_by_the_sinks(world: World) -> None:
    """The check above reads every column: were a number kept, it would be found."""
    with world.app.engine.begin() as conn:
        conn.execute(text("INSERT INTO billing_counter (name, value) VALUES (:name, 1)"), {"name": DIGITS})
    assert any(DIGITS in value for _, value in every_row(world.app.engine))
