"""Which PG module can do what, how a channel is named, and which channel serves what."""

from __future__ import annotations

import pytest

from billing.domain.channel import DEFAULTS, MODULES, PAY_METHODS, Assigned, ChannelId, ChannelUse, OnIssue, assigned, inability
from billing.domain.evidence import Channel
from billing.domain.standing import Standing, compared
from billing.errors import RuleError

# pg_provider · the window issues billing keys · REST with card data does. Source: PortOne V1, PGs and billing keys.
TABLE = [
    ("html5_inicis", True, False), ("inicis", False, True), ("nice", False, True), ("nice_v2", False, True),
    ("tosspayments", True, True), ("kcp_billing", True, False), ("kcp", False, True), ("danal_tpay", True, False),
    ("danal", True, True), ("settle", False, True), ("settle_acc", True, False), ("kicc", True, False), ("daou", False, True),
    ("mobilians", True, False), ("ksnet", False, True), ("smartro_v2", True, False), ("welcome", True, True),
    ("kakaopay", True, False), ("naverpay", True, False), ("payco", True, False), ("tosspay_v2", True, False),
    ("paymentwall", True, False), ("paypal_v2", True, False), ("smilepay", True, False), ("uplus", False, False),
    ("smartro", False, False), ("paypal", False, False), ("tosspay", False, False), ("eximbay", False, False),
    ("naverco", False, False),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "by_window", "by_key_in"), TABLE)
def test_who_issues_billing_keys_and_how(provider: str, by_window: bool, by_key_in: bool) -> None:
    module = MODULES[provider]
    assert (bool(module.issues), module.keys_in) == (by_window, by_key_in)


@pytest.mark.parametrize(
    ("provider", "method", "charges"),
    [
        ("html5_inicis", "card", OnIssue.NEVER),
        ("tosspayments", "card", OnIssue.NEVER),
        ("kcp_billing", "card", OnIssue.NEVER),
        ("welcome", "card", OnIssue.NEVER),
        ("welcome", "phone", OnIssue.ALWAYS),
        ("danal", "phone", OnIssue.ALWAYS),
        ("mobilians", "phone", OnIssue.ALWAYS),
        ("paymentwall", "card", OnIssue.ALWAYS),
        ("smilepay", "card", OnIssue.ALWAYS),  # not documented: the answer that could hurt
        ("kakaopay", "card", OnIssue.ABOVE_ZERO),
        ("danal_tpay", "card", OnIssue.ABOVE_ZERO),
        ("settle_acc", "trans", OnIssue.ABOVE_ZERO),
    ],
)
def test_whether_issuing_takes_money(provider: str, method: str, charges: OnIssue) -> None:
    assert MODULES[provider].issues[method] is charges


def test_every_way_to_pay_in_the_table_is_one_the_pg_knows() -> None:
    for module in MODULES.values():
        assert (module.windows or frozenset()) <= PAY_METHODS
        assert set(module.issues) <= PAY_METHODS


@pytest.mark.parametrize(
    "text",
    ["html5_inicis.INIBillTst", "kakaopay", "settle.portone_nxca_jt_il", "channel-key-6a1f0d5e-0000-4c3e-9f9a-aaaaaaaaaaaa"],
)
def test_a_channel_is_read_and_written_alike(text: str) -> None:
    assert str(ChannelId.parse(f" {text} ")) == text


def test_a_window_is_told_the_channel_by_its_key_or_by_its_module() -> None:
    assert ChannelId.parse("channel-key-abc").params == {"channelKey": "channel-key-abc"}
    assert ChannelId.parse("html5_inicis.MOIshop").params == {"pg": "html5_inicis.MOIshop"}
    assert ChannelId.parse("channel-key-abc").module is None


@pytest.mark.parametrize(
    ("text", "problem", "cure"),
    [
        ("", "does not begin with a pg_provider", "write for example html5_inicis.MID"),
        ("html5_inicsi.MOI", "does not begin with a pg_provider", "did you mean html5_inicis?"),
        ("HTML5_INICIS.MOI", "does not begin with a pg_provider", ""),
        ("html5_inicis.", "followed by what is no MID", "write html5_inicis.MID"),
        ("html5_inicis.MOI shop", "followed by what is no MID", ""),
        ("html5_inicis.<b>", "followed by what is no MID", ""),
        ("html5_inicis." + "a" * 80, "followed by what is no MID", ""),
        ("channel-key-", "is not a channel key", "copy it from the PortOne console"),
        ("channel-key-" + "a" * 60, "is not a channel key", ""),
        ("channel-key-a b", "is not a channel key", ""),
    ],
)
def test_what_is_no_channel(text: str, problem: str, cure: str) -> None:
    with pytest.raises(RuleError) as refused:
        ChannelId.parse(text, "--channel")
    assert refused.value.field == "--channel"
    assert problem in refused.value.problem
    assert cure in refused.value.cure


def test_channels_are_assigned_by_mode_use_and_way_to_pay() -> None:
    text = "live/billing=html5_inicis.MOIbill, live/pay=html5_inicis.MOIpay,live/pay/kakaopay=kakaopay.CID ,"
    assert assigned(text) == (
        Assigned("live", ChannelUse.BILLING, "", ChannelId("html5_inicis", "MOIbill")),
        Assigned("live", ChannelUse.PAY, "", ChannelId("html5_inicis", "MOIpay")),
        Assigned("live", ChannelUse.PAY, "kakaopay", ChannelId("kakaopay", "CID")),
    )
    assert assigned("") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("html5_inicis.MOI", "entry 1 does not begin with MODE/billing="),
        ("live=html5_inicis.MOI", "entry 1 does not begin"),
        ("live/pay=html5_inicis.MOI, prod/pay=html5_inicis.MOI", "entry 2 does not begin"),
        ("live/sell=html5_inicis.MOI", "entry 1 does not begin"),
        ("live/pay/=html5_inicis.MOI", "entry 1 does not begin"),
        ("live/billing/card=html5_inicis.MOI", "entry 1 does not begin"),
        ("live/pay/cards=html5_inicis.MOI", "entry 1 names no pay_method"),
        ("live/pay=html5_inicis.A, live/pay=html5_inicis.B", "live/pay stands there twice"),
        ("live/pay=", "live/pay: does not begin with a pg_provider"),
        ("live/billing=eximbay.MID", "live/billing: eximbay.MID registers no cards"),
        ("live/pay=kcp_billing.MID", "has no window to pay in"),
        ("live/pay=inicis.MID", "has no window to pay in"),
        ("live/pay/phone=payco.MID", "does not take phone"),
        ("live/key-in=html5_inicis.MID", "takes no card data by REST"),
        ("live/key-in/card=inicis.MID", "entry 1 does not begin"),
        ("live/key-in=inicis.INIBillTst", "is the public test shop of INICIS"),
        ("live/billing=html5_inicis.INIBillTst", "is the public test shop of INICIS"),
        ("live/pay=html5_inicis.inipaytest", "is the public test shop of INICIS"),
        ("live/pay/card=inicis.INIpayTest", "is the public test shop of INICIS"),
    ],
)
def test_an_assignment_that_cannot_be_meant_is_refused(text: str, says: str) -> None:
    with pytest.raises(RuleError) as refused:
        assigned(text)
    assert says in str(refused.value)
    assert refused.value.cure


def test_words_it_does_not_know_are_not_repeated_for_they_could_be_a_secret() -> None:
    for text in ("hunter2=hunter2", "live/pay=hunter2", "live/pay/hunter2=kcp", "hunter2", "live/pay=kcp.hunter2 hunter2"):
        with pytest.raises(RuleError) as refused:
            assigned(text)
        assert "hunter2" not in str(refused.value)


def test_without_assignments_sandbox_and_test_use_the_test_shops_of_inicis_and_live_has_none() -> None:
    assert [(one.place, str(one.channel)) for one in DEFAULTS] == [
        ("sandbox/billing", "html5_inicis.INIBillTst"),
        ("sandbox/pay", "html5_inicis.INIpayTest"),
        ("test/billing", "html5_inicis.INIBillTst"),
        ("test/pay", "html5_inicis.INIpayTest"),
    ]
    assert not any(inability(one) for one in DEFAULTS)


# assigned · is a test channel at the PG · how it stands in its own mode
@pytest.mark.parametrize(
    ("text", "is_test", "standing", "said"),
    [
        ("live/pay=html5_inicis.MOI", False, Standing.FOUND, ""),
        ("live/pay=html5_inicis.MOI", True, Standing.WRONG_MODE, "what it takes is given back"),
        ("live/pay=channel-key-abc", True, Standing.WRONG_MODE, "what it takes is given back"),
        ("test/pay=html5_inicis.MOI", False, Standing.WRONG_MODE, "it takes real money"),
        ("test/pay=html5_inicis.MOI", True, Standing.FOUND, ""),
        ("test/pay=html5_inicis", True, Standing.FOUND, ""),
        ("test/pay=html5_inicis.moi", True, Standing.MISSING, "would silently take another"),
        ("test/pay=channel-key-xyz", True, Standing.MISSING, "would silently take another"),
    ],
)
def test_how_a_channel_stands_beside_the_pgs_own_list(text: str, is_test: bool, standing: Standing, said: str) -> None:
    listed = [Channel("html5_inicis", "MOI", is_test, key="channel-key-abc")]
    (one,) = compared(assigned(text), listed, mode=text.partition("/")[0])
    assert (one.standing, said in one.said, bool(one.cure)) == (standing, True, standing is not Standing.FOUND)


def test_a_module_with_several_shops_is_not_named_by_its_name_alone() -> None:
    listed = [Channel("html5_inicis", mid, True) for mid in ("B", "A")]
    (one,) = compared(assigned("test/pay=html5_inicis"), listed, mode="test")
    assert (one.standing, one.said) == (Standing.AMBIGUOUS, "may be any of the shops A, B")


def test_only_this_modes_channels_are_compared() -> None:
    assert compared(assigned("live/pay=html5_inicis.MOI"), [], mode="test") == []
    (one,) = compared(assigned("live/pay=html5_inicis.MOI"), [], mode="live")
    assert one.cure == "make a channel in the PortOne console"
