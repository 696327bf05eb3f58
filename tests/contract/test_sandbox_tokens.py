"""Access tokens of the sandbox. Source: PortOne REST V1, authentication."""

import pytest

from billing.sandbox import SandboxConfig
from tests.contract.sandbox_merchant import Merchant, merchant


@pytest.fixture
def shop():
    return merchant(logged_in=False)


def test_a_token_lives_for_thirty_minutes(shop):
    answer = shop.log_in()

    assert (answer.status, answer.code, answer.message) == (200, 0, None)
    assert answer.response["expired_at"] - answer.response["now"] == 1800


def test_a_living_token_is_handed_out_again_with_the_same_expiry(shop):
    first = shop.log_in().response
    shop.clock.move(1700)
    second = shop.log_in().response

    assert second["access_token"] == first["access_token"]
    assert second["expired_at"] == first["expired_at"]
    assert second["now"] == first["now"] + 1700


def test_in_its_last_minute_a_token_is_extended_by_five_minutes_and_again(shop):
    first = shop.log_in().response
    shop.clock.move(1740)
    second = shop.log_in().response
    shop.clock.move(300)
    third = shop.log_in().response

    assert second["access_token"] == third["access_token"] == first["access_token"]
    assert second["expired_at"] == first["expired_at"] + 300
    assert third["expired_at"] == first["expired_at"] + 600


def test_a_friendly_sandbox_extends_a_token_only_once():
    shop = merchant(config=SandboxConfig.friendly())
    shop.clock.move(1750)
    once = shop.log_in().response["expired_at"]
    shop.clock.move(299)

    assert shop.log_in().response["expired_at"] == once


def test_after_its_expiry_another_token_is_issued_and_the_old_one_is_dead(shop):
    old = shop.log_in().response["access_token"]
    shop.clock.move(1800)
    assert shop.get("/users/pg").status == 401

    new = shop.log_in().response["access_token"]

    assert new != old
    assert shop.get("/users/pg").status == 200
    assert Merchant(shop.sandbox, shop.clock, old).get("/users/pg").status == 401


@pytest.mark.parametrize("header", ["{}", "Bearer {}", "bearer {}"])
def test_the_token_is_accepted_bare_and_as_bearer(shop, header):
    token = shop.log_in().response["access_token"]

    assert shop.sandbox.handle("GET", "/users/pg", {"authorization": header.format(token)}, b"").status == 200


@pytest.mark.parametrize("header", [{}, {"Authorization": "nonsense"}, {"Authorization": "Basic nonsense"}])
def test_without_a_living_token_every_call_answers_401(shop, header):
    answer = shop.sandbox.handle("GET", "/users/pg", header, b"")

    assert answer.status == 401
    assert "Unauthorized" in answer.body.decode()


def test_a_wrong_pair_is_401_and_a_missing_half_is_named(shop):
    wrong = shop.post("/users/getToken", imp_key="imp_sandbox_key", imp_secret="no")
    missing = shop.post("/users/getToken", imp_key="imp_sandbox_key")

    assert (wrong.status, wrong.code, wrong.message, wrong.response) == (401, -1, "Unauthorized", None)
    assert missing.message == '["imp_secret"] 파라메터는 필수입니다.'


def test_several_live_tokens_only_where_configured():
    shop = merchant(config=SandboxConfig(several_live_tokens=True))
    first = shop.token

    assert shop.log_in().response["access_token"] != first
    assert Merchant(shop.sandbox, shop.clock, first).get("/users/pg").status == 200
