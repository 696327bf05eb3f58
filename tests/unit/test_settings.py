"""Where windows are opened: channels by mode and use, our own address, the code of the shop, the script."""

from __future__ import annotations

from typing import Any

import pytest

from billing.errors import SettingsError
from billing.settings import Settings

KEYS = {"imp_key": "k", "imp_secret": "s"}
CHANNELS = (
    "live/billing=html5_inicis.MOIbill, live/pay=html5_inicis.MOIpay, live/pay/kakaopay=kakaopay.CID, "
    "test/billing=channel-key-abc, test/pay/phone=danal.T1"
)


def settings(mode: str = "sandbox", **given: Any) -> Settings:
    return Settings.from_env(_env_file=None, mode=mode, **({} if mode == "sandbox" else KEYS), **given)


@pytest.mark.parametrize(
    ("mode", "billing", "pay", "by_phone", "by_kakaopay"),
    [
        ("live", "html5_inicis.MOIbill", "html5_inicis.MOIpay", "html5_inicis.MOIpay", "kakaopay.CID"),
        ("test", "channel-key-abc", "html5_inicis.INIpayTest", "danal.T1", "html5_inicis.INIpayTest"),
        ("sandbox", "html5_inicis.INIBillTst", "html5_inicis.INIpayTest", "html5_inicis.INIpayTest", "html5_inicis.INIpayTest"),
    ],
)
def test_each_mode_has_its_channels(mode: str, billing: str, pay: str, by_phone: str, by_kakaopay: str) -> None:
    one = settings(mode, channels=CHANNELS)
    channels = (one.billing_channel, one.pay_channel(), one.pay_channel("phone"), one.pay_channel("kakaopay"))
    assert tuple(map(str, channels)) == (billing, pay, by_phone, by_kakaopay)
    assert one.key_in_channel == billing


def test_keyed_in_cards_may_have_a_channel_of_their_own() -> None:
    one = settings("live", channels="live/billing=html5_inicis.MOIbill, live/key-in=inicis.MOIbill")
    assert (str(one.billing_channel), one.key_in_channel) == ("html5_inicis.MOIbill", "inicis.MOIbill")
    assert settings("live", channels="live/key-in=inicis.MOIbill").key_in_channel == "inicis.MOIbill"
    assert settings("test", channels="live/key-in=inicis.MOIbill").key_in_channel == "html5_inicis.INIBillTst"


def test_live_mode_has_no_channel_nobody_named() -> None:
    one = settings("live")
    assert one.key_in_channel == "", "the account's default, as the PG sees it"
    for asked in (lambda: one.billing_channel, one.pay_channel):
        with pytest.raises(SettingsError, match=r"^BILLING_CHANNELS: names no live/(billing|pay) channel; add live/"):
            asked()


def test_billing_pg_is_the_short_form_of_this_modes_billing_channel() -> None:
    assert str(settings("live", pg="html5_inicis.MOIbill").billing_channel) == "html5_inicis.MOIbill"
    assert str(settings("live", pg="html5_inicis.MOIbill", channels=CHANNELS).billing_channel) == "html5_inicis.MOIbill"
    places = [one.place for one in settings("test", pg="nice_v2.T").channel_plan]
    assert places == ["sandbox/billing", "sandbox/pay", "test/billing", "test/pay"]


def test_our_own_address_is_where_browsers_see_it() -> None:
    assert settings().public_base == "http://127.0.0.1:8000"
    assert settings("live", public_url="https://shop.example/billing/").public_base == "https://shop.example/billing"
    assert settings("test", public_url="http://localhost:9000").public_base == "http://localhost:9000"
    assert settings("test", public_url="http://[::1]:9000").public_base == "http://[::1]:9000"
    with pytest.raises(SettingsError, match=r"^BILLING_PUBLIC_URL: is not set; write where the routes are mounted"):
        settings("live").public_base  # noqa: B018


def test_the_code_of_the_shop() -> None:
    assert settings().merchant == "imp00000000"
    assert settings("live", merchant_code="imp12345678").merchant == "imp12345678"
    with pytest.raises(SettingsError, match=r"^BILLING_MERCHANT_CODE: is not set; copy"):
        settings("test").merchant  # noqa: B018


@pytest.mark.parametrize(
    ("mode", "given", "script"),
    [
        ("live", {}, "https://cdn.iamport.kr/v1/iamport.js"),
        ("live", {"gateway_url": "https://relay.example"}, "https://cdn.iamport.kr/v1/iamport.js"),
        ("test", {}, "https://cdn.iamport.kr/v1/iamport.js"),
        ("test", {"gateway_url": "http://127.0.0.1:8081/"}, "http://127.0.0.1:8081/v1/iamport.js"),
        ("sandbox", {"gateway_url": "http://10.0.0.7:8081"}, "http://10.0.0.7:8081/v1/iamport.js"),
        ("sandbox", {}, "http://127.0.0.1:8000/sandbox/v1/iamport.js"),
        ("sandbox", {"public_url": "https://shop.example/b"}, "https://shop.example/b/sandbox/v1/iamport.js"),
    ],
)
def test_the_script_that_opens_windows(mode: str, given: dict[str, str], script: str) -> None:
    assert settings(mode, **given).browser_sdk == script


@pytest.mark.parametrize(
    ("mode", "given", "says"),
    [
        ("test", {"pg": "nice_v2.T", "channels": CHANNELS}, "BILLING_PG: names another channel than test/billing"),
        ("live", {"pg": "html5_inicis.INIBillTst"}, "BILLING_PG: live/billing: html5_inicis.INIBillTst is the public test shop"),
        ("live", {"pg": "eximbay.M"}, "BILLING_PG: live/billing: eximbay.M registers no cards"),
        ("live", {"pg": "inicsi.M"}, "BILLING_PG: does not begin with a pg_provider; did you mean inicis?"),
        ("test", {"channels": "live/pay=html5_inicis.INIpayTest"}, "BILLING_CHANNELS: live/pay: html5_inicis.INIpayTest is"),
        ("test", {"channels": "test/pay=nope.M"}, "BILLING_CHANNELS: test/pay: does not begin with a pg_provider"),
        ("test", {"channels": "nonsense"}, "BILLING_CHANNELS: entry 1 does not begin with"),
        ("live", {"public_url": "http://shop.example"}, "BILLING_PUBLIC_URL: is not https"),
        ("live", {"public_url": "shop.example/billing"}, "BILLING_PUBLIC_URL: is not an absolute http"),
        ("live", {"public_url": "https://shop.example/?a=b"}, "BILLING_PUBLIC_URL: carries a query or a fragment"),
        ("live", {"public_url": "https://shop.example/#top"}, "BILLING_PUBLIC_URL: carries a query or a fragment"),
        ("live", {"public_url": "https://me:hunter2@shop.example"}, "BILLING_PUBLIC_URL: carries a user or a password"),
        ("live", {"public_url": "https://shop.example:99999"}, "BILLING_PUBLIC_URL: is not an absolute http"),
        ("live", {"public_url": "https://shop.example/a\n.example"}, "BILLING_PUBLIC_URL: is not an absolute http"),
        ("live", {"public_url": "https://shop.example\\@evil.example"}, "BILLING_PUBLIC_URL: is not an absolute http"),
        ("live", {"public_url": "javascript:alert(1)"}, "BILLING_PUBLIC_URL: is not an absolute http"),
        ("live", {"merchant_code": "store-1234"}, "BILLING_MERCHANT_CODE: is not the code of a shop"),
        ("live", {"merchant_code": "imp'1"}, "BILLING_MERCHANT_CODE: is not the code of a shop"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_to_write_instead(mode: str, given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(mode, **given)
    assert says in str(refused.value)
    assert refused.value.cure
    assert "hunter2" not in str(refused.value)
