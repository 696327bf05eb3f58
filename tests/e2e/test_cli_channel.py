"""`billing channel`: which contract serves what, and whether the PG has them so."""

from __future__ import annotations

import pytest

from billing.sandbox import Sandbox, SandboxConfig
from billing.sandbox.config import CHANNELS, Channel
from tests.contract.served import served
from tests.e2e.conftest import Shell

LIVE = "live/billing=html5_inicis.MOIbill, live/pay=html5_inicis.MOIpay, live/pay/kakaopay=kakaopay.CID"


def test_the_list_shows_every_mode_and_asks_nobody(shell: Shell) -> None:
    document = shell.does("channel", "list")
    assert document["mode"] == "sandbox"
    assert [(one["mode"], one["use"], one["channel"]) for one in document["channels"]] == [
        ("sandbox", "billing", "html5_inicis.INIBillTst"), ("sandbox", "pay", "html5_inicis.INIpayTest"),
        ("test", "billing", "html5_inicis.INIBillTst"), ("test", "pay", "html5_inicis.INIpayTest"),
    ]  # fmt: skip
    assert set(shell.files()) == {"pro.toml"}, "no database is needed, and none is made"


def test_the_list_says_what_each_channel_is_for(shell: Shell) -> None:
    shell.env = {"BILLING_CHANNELS": LIVE + ", test/billing=channel-key-abc, test/pay=settle_acc.S"}
    said = shell("channel", "list")
    assert said.status == 0
    for words in (
        "register cards, charge them", "pay once by kakaopay", "kakaopay.CID", "registers cards by a window", "takes trans",
        "channel-key-abc", "is seen with `billing channel check`",
    ):  # fmt: skip
        assert words in said.out
    by_place = {(one["mode"], one["use"], one["pay_method"]): one for one in shell.does("channel", "list")["channels"]}
    assert by_place["live", "pay", "kakaopay"]["pays_by"] == ["card", "kakaopay"]
    assert by_place["test", "billing", None]["registers_by_window"] is None, "behind a key the module is not seen"
    keyed = shell("channel", "list", env={"BILLING_CHANNELS": "live/billing=welcome.M, live/key-in=nice_v2.M"}).out
    assert "registers cards by a window and key-in, taking money (phone always)" in keyed
    assert "take keyed-in cards" in keyed


def test_the_sandboxs_channels_are_what_its_engine_expects(shell: Shell) -> None:
    shell.does("init")
    document = shell.does("channel", "check")
    assert document["is_right"] is True
    assert [(one["channel"], one["standing"]) for one in document["channels"]] == [
        ("html5_inicis.INIBillTst", "found"), ("html5_inicis.INIpayTest", "found"),
    ]  # fmt: skip
    assert {one["channel"] for one in document["at_pg"]} == {"html5_inicis.INIBillTst", "html5_inicis.INIpayTest"}
    assert "is sandbox billing" in shell("channel", "check").out


@pytest.mark.parametrize(
    ("channels", "standing", "said", "cure"),
    [
        (
            "sandbox/pay=html5_inicis.nothere",
            "missing",
            "is none of this account's channels",
            "assign one of html5_inicis.INIBillTst",
        ),
        ("sandbox/pay=channel-key-nothere", "missing", "is none of this account's channels", "assign one of"),
        ("sandbox/pay=html5_inicis", "ambiguous", "may be any of the shops INIBillTst, INIpayTest", "write html5_inicis.MID"),
        ("sandbox/pay=channel-key-kcp", "unfit", "is kcp_billing, which has no window to pay in", "assign another channel"),
        ("sandbox/pay/phone=channel-key-kakao", "unfit", "is kakaopay, which does not take phone", "assign another channel"),
        ("sandbox/pay=channel-key-kakao", "found", "is wallet", ""),
    ],
)
def test_what_differs_from_the_pgs_list_is_named(shell: Shell, channels: str, standing: str, said: str, cure: str) -> None:
    shell.does("init")
    more = (
        Channel("kcp_billing", "S6729", "channel-key-kcp", "kcp", bills=True),
        Channel("kakaopay", "CID", "channel-key-kakao", "wallet", bills=False),
    )
    with served(Sandbox(config=SandboxConfig(channels=(*CHANNELS, *more)))) as url:
        shell.env = {"BILLING_CHANNELS": channels, "BILLING_GATEWAY_URL": url}
        answer = shell("channel", "check", "--json")
        plain = shell("channel", "check")
    is_right = standing == "found"
    assert (answer.status, plain.status) == ((0, 0) if is_right else (1, 1))
    one = next(one for one in answer.document["channels"] if one["channel"] == channels.partition("=")[2])
    assert (one["standing"], said in one["said"], one["cure"].startswith(cure)) == (standing, True, True), one
    assert said in plain.out
    assert (cure or said) in plain.out


def test_a_live_channel_in_test_mode_is_not_right(shell: Shell) -> None:
    with served(Sandbox(config=SandboxConfig(sandbox=False), imp_key="k", imp_secret="s")) as url:
        shell.env = {"BILLING_MODE": "test", "BILLING_IMP_KEY": "k", "BILLING_IMP_SECRET": "s", "BILLING_GATEWAY_URL": url}
        shell.does("init")
        said = shell("channel", "check")
        assert said.status == 1
        assert "it takes real money" in said.out


def test_doctor_speaks_of_the_billing_channel(shell: Shell) -> None:
    shell.does("init")
    assert ("channel", "html5_inicis.INIBillTst is sandbox billing") in [
        (one["check"], one["found"]) for one in shell.does("doctor")["findings"]
    ]
    wrong = shell("doctor", env={"BILLING_PG": "html5_inicis"})
    assert wrong.status == 2
    assert "write html5_inicis.MID; see `billing channel check`" in wrong.out


@pytest.mark.parametrize(
    ("words", "env", "status", "says"),
    [
        (
            "channel list",
            {"BILLING_CHANNELS": "live/pay=html5_inicis.INIpayTest"},
            2,
            "is the public test shop of INICIS; write",
        ),
        ("channel list", {"BILLING_CHANNELS": "live"}, 2, "BILLING_CHANNELS: entry 1 does not begin with MODE/billing="),
        ("channel check", {"BILLING_PG": "inicsi"}, 2, "BILLING_PG: does not begin with a pg_provider; did you mean inicis?"),
        ("channel check", {}, 3, "there is no database billing.db here; run `billing init`"),
        ("channel check --nope", {}, 2, "No such option"),
        ("channel what", {}, 2, "No such command"),
    ],
)
def test_wrong_inputs_end_in_one_line(shell: Shell, words: str, env: dict[str, str], status: int, says: str) -> None:
    said = shell(*words.split(), env=env)
    assert (said.status, said.out) == (status, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_a_pg_that_cannot_be_asked_ends_in_one_line(shell: Shell) -> None:
    shell.does("init")
    said = shell("channel", "check", env={"BILLING_GATEWAY_URL": "http://127.0.0.1:1"})
    assert (said.status, len(said.err.splitlines())) == (3, 1)
