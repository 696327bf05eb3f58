"""Decline texts of every shape the PGs use; what nobody knows is never hard."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.evidence import DeclineClass as D
from billing.gateway.declines import DeclineTable, codes_in

TABLE = DeclineTable()

CASES = [
    # [CODE]message
    ("nice", "[F113]비밀번호틀림", "F113", D.NEEDS_NEW_CARD),
    ("kcp", "[CC43] 도난카드", "CC43", D.HARD),
    ("kcp_billing", "[CC10]잔액부족", "CC10", D.SOFT),
    # a prefix before it
    ("nice", "카드정보 인증 및 빌키 발급에 실패하였습니다. [F112]유효하지않은 카드번호 (bin 없음)", "F112", D.NEEDS_NEW_CARD),
    # wrapped: the inner code counts, the HTTP status in brackets does not
    ("nice_v2", "결제에 실패하였습니다. [400]Error From NICEPAY. (message: 비밀번호틀림, code:F113)", "F113", D.NEEDS_NEW_CARD),
    ("nice_v2", "[400].issueCard.password2Digits:Invalid value", None, D.UNKNOWN),
    ("tosspayments", "[400]Error (message: 한도초과, code:EXCEED_MAX_AMOUNT)", "EXCEED_MAX_AMOUNT", D.SOFT),
    # CODE|message, with and without a row
    ("html5_inicis", "120054|잔액부족", "120054", D.SOFT),
    ("html5_inicis", "500503|간편결제 부분취소 제한 가맹점", "500503", D.CONFIG),
    # both forms of an Inicis code, also when only one of them has a row
    ("html5_inicis", "[120054]잔액부족", "120054", D.SOFT),
    ("inicis", "[1254]잔액부족", "1254", D.SOFT),
    ("html5_inicis.INIBillTst", "[120026]도난, 분실카드", "120026", D.HARD),
    ("inicis", "[550997]조회되는 빌키 없음", "550997", D.HARD),
    ("html5_inicis", "[120010]카드사 거래 TIMEOUT", "120010", D.TRANSIENT),
    # one code, several meanings: the text decides
    ("nice", "[F113]해당카드 사용불가 가맹점", "F113", D.CONFIG),
    ("nice", "[F113]처음 보는 말", "F113", D.NEEDS_NEW_CARD),
    # negative codes
    ("kakaopay", "[-751]", "-751", D.HARD),
    ("kakaopay", "-752|한도", "-752", D.SOFT),
    # danal: all of its tables
    ("danal_tpay", "[1121]유효하지 않은 결제키입니다.", "1121", D.HARD),
    ("danal_tpay", "[8101]VAN사와의 통신 타임아웃입니다.", "8101", D.TRANSIENT),
    # toss: the current list before the old one
    ("tosspayments", "[INVALID_STOPPED_CARD]정지된 카드", "INVALID_STOPPED_CARD", D.HARD),
    ("tosspayments", "[105]등록되지않은사용자", "105", D.NEEDS_NEW_CARD),
    # no code: the message, whatever its spaces and signs
    ("html5_inicis", "카드사에서 거절되었습니다: 잔액 부족!", None, D.SOFT),
    ("html5_inicis", "결제 실패 (도난,분실 카드)", None, D.HARD),
    ("html5_inicis", "카드사에서 거절", None, D.UNKNOWN),
    # the same code at another PG, an unknown PG, nothing at all
    ("kcp", "[120026]", "120026", D.UNKNOWN),
    ("somebody_new", "[CC43]도난카드", "CC43", D.UNKNOWN),
    ("", "[120026]도난, 분실카드", "120026", D.UNKNOWN),
    ("html5_inicis", "", None, D.UNKNOWN),
    ("html5_inicis", "[ZZ99]", "ZZ99", D.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("pg", "reason", "code", "of"), CASES)
def test_a_decline_text_has_a_code_and_a_class(pg, reason, code, of):
    assert TABLE.classify(pg, reason) == (code, of)


def test_the_missing_form_of_an_inicis_code_is_found_through_the_other():
    only = DeclineTable("pg,code,message_ko,class\ninicis,1299,,hard\ninicis,120098,,soft-retry-later\n")
    assert only.classify("inicis", "[120099]")[1] is D.HARD
    assert only.classify("inicis", "[1298]")[1] is D.SOFT


def test_rows_that_contradict_each_other_about_a_text_know_nothing():
    torn = DeclineTable("pg,code,message_ko,class\nkcp,A1,거래 거절됨,hard\nkcp,A2,거래거절됨,transient\n")
    assert torn.classify("kcp", "거래 거절됨") == (None, D.UNKNOWN)


def test_codes_are_tried_in_the_order_of_how_much_they_tell():
    assert codes_in("[500][X1] (code:Y2)") == ["Y2", "X1"]
    assert codes_in("AB12|말") == ["AB12"]


@given(
    st.sampled_from(["html5_inicis", "nice", "kcp", "", "x.y"]) | st.text(max_size=8),
    st.text(max_size=80) | st.from_regex(r"(\[[A-Z0-9_-]{0,9}\]|code:\w{0,5}|\w{0,9}\|).{0,20}"),
)
def test_the_parser_never_raises_and_invents_no_code(pg, reason):
    code, of = TABLE.classify(pg, reason)
    assert isinstance(of, D)
    assert code is None or code in reason


@given(st.text(max_size=80))
def test_an_unknown_pg_never_declines_hard(reason):
    assert TABLE.classify("nobody", reason)[1] is not D.HARD or "등록" in reason


def test_the_table_is_not_read_on_import():
    read = "import billing.gateway.declines as d, csv; c = csv.DictReader; csv.DictReader = None; d.DeclineTable(); print('ok')"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"
