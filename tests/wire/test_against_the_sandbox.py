"""The client against the fake PG that was written from the documents by other hands: do the two agree on the wire?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from billing.domain.evidence import (
    Answered,
    CancelOrder,
    DeclineClass,
    PaymentStatus,
    Refusal,
    RefusalKind,
    Silence,
    Unauthorized,
)
from billing.gateway.card import Card
from billing.gateway.http import Http
from billing.gateway.iamport import IamportGateway
from billing.sandbox import MAGIC_CARDS, ConnectionLost, ConnectionRefused, Sandbox
from tests.wire.worlds import clock, order


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    on = clock()
    sandbox = Sandbox(seed=1, now=lambda: on.now().timestamp(), imp_key="imp-key", imp_secret="s")
    yield sandbox
    sandbox.close()


@pytest.fixture
def pg(sandbox: Sandbox) -> Iterator[IamportGateway]:
    def handle(method, target, headers, body):
        try:
            return sandbox.handle(method, target, headers, body)
        except ConnectionRefused:
            raise ConnectionRefusedError from None
        except ConnectionLost:
            raise ConnectionResetError from None

    http = Http("http://pg.test", handler=handle)
    with IamportGateway(
        http, key=SecretStr("imp-key"), secret=SecretStr("s"), clock=clock(), is_live=False, concurrency=1
    ) as made:
        yield made


def register(pg: IamportGateway, customer_uid: str, name: str):
    number = MAGIC_CARDS[name].number
    return pg.issue_key(customer_uid, Card(number=number, expiry="2031-07", birth="880101", pwd_2digit="12"))


def charge(pg: IamportGateway, *orders):
    return [reply for group in pg.charge(orders, token=pg.token(), gate=lambda: True) for _, reply in group]


def test_register_charge_look_up_and_refund(pg):
    key = register(pg, "cu1", "approves")
    assert not isinstance(key, Refusal)
    assert pg.get_key("cu1") == key
    assert pg.get_keys(["cu1", "cu2"]) == {"cu1": key}

    [reply] = charge(pg, order("gd1a01"))
    assert isinstance(reply, Answered)
    fact = reply.fact
    assert (fact.status, fact.amount, fact.customer_uid, fact.sandbox) == (PaymentStatus.PAID, 9900, "cu1", True)

    assert pg.find_payments(["gd1a01", "gd1a02"], canary=fact.imp_uid).facts == {"gd1a01": (fact,)}
    assert pg.find_payments(["gd1a02"], canary=fact.imp_uid).canary_seen is True
    assert pg.find_payments(["gd1a02"], canary="imps_of_nobody").canary_seen is False
    assert pg.find_paid(["gd1a01", "gd1a02"]) == {"gd1a01": fact}
    assert pg.find_all("gd1a01") == [fact]
    assert pg.find_all("gd1a02") == []
    assert pg.get_payment(fact.imp_uid) == fact
    assert pg.get_payment("imps_of_nobody") is None
    assert pg.list_payments().facts == (fact,)

    half = CancelOrder(fact.imp_uid, 3000, 9900, "반품")
    reply = pg.cancel(half, token=pg.token(), gate=lambda: True)
    assert isinstance(reply, Answered)
    assert (reply.fact.status, reply.fact.amount, reply.fact.cancel_amount) == (PaymentStatus.CANCELLED, 9900, 3000)
    (entry,) = reply.fact.cancel_history
    assert (entry.amount, entry.reason, bool(entry.cancellation_id)) == (3000, "반품", True)
    assert isinstance(pg.cancel(half, token=pg.token(), gate=lambda: True), Refusal)  # the checksum is stale

    assert pg.delete_key("cu1", reason="새 카드") is True
    assert pg.delete_key("cu1", reason="새 카드") is False
    assert pg.get_key("cu1") is None


@pytest.mark.parametrize(
    ("card", "of"),
    [
        ("balance", DeclineClass.SOFT),
        ("daily_limit", DeclineClass.SOFT),
        ("lost", DeclineClass.HARD),
        ("expired", DeclineClass.NEEDS_NEW_CARD),
        ("maintenance", DeclineClass.TRANSIENT),
    ],
)
def test_each_declining_card_declines_for_its_reason(pg, card, of):
    register(pg, "cu1", card)
    [reply] = charge(pg, order())
    assert isinstance(reply, Answered)
    assert (reply.fact.status, reply.fact.decline_class) == (PaymentStatus.FAILED, of)
    assert reply.fact.fail_code == MAGIC_CARDS[card].code


def test_a_key_nobody_registered_and_a_card_that_is_none_are_refusals(pg):
    [reply] = charge(pg, order())
    assert isinstance(reply, Refusal)
    assert reply.kind is RefusalKind.FINAL
    refused = register(pg, "cu1", "wrong_number")
    assert isinstance(refused, Refusal)
    assert MAGIC_CARDS["wrong_number"].number not in refused.message


def test_a_lost_reply_is_silence_and_the_look_up_finds_the_money(pg, sandbox):
    register(pg, "cu1", "approves")
    sandbox.add_fault("lost_reply", times=1)
    [reply] = charge(pg, order())
    assert reply == Silence(True, "the connection broke")
    assert pg.find_paid(["gd1a01"])["gd1a01"].amount == 9900


def test_a_revoked_token_is_reported_once_and_a_new_one_is_another(pg, sandbox):
    register(pg, "cu1", "approves")
    token = pg.token()
    sandbox.add_fault("token_revoked", times=1)
    [[(_, reply)]] = pg.charge([order()], token=token, gate=lambda: True)
    assert reply == Unauthorized()
    pg.discard_token(token.fingerprint)
    assert pg.token().fingerprint != token.fingerprint
    assert isinstance(charge(pg, order())[0], Answered)


def test_prepared_amounts_and_channels(pg):
    assert pg.prepared("gd1a01") is None
    pg.prepare("gd1a01", 9900)
    assert pg.prepared("gd1a01") == 9900
    assert any(channel.pg_provider == "html5_inicis" for channel in pg.channels())
