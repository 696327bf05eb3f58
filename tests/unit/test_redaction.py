"""What a log line and an error message never show, and what they must not lose."""

import json
import logging

import pytest

from billing.logs import for_process
from billing.redaction import HIDDEN, one_line, redacted


@pytest.mark.parametrize(
    "secret",
    [
        "4242424242424242",
        "4242-4242-4242-4242",
        "4242 4242 4242 4242",
        "371449635398431",
        "3714-496353-98431",
        "6304000000000000000",
    ],
)
@pytest.mark.parametrize("around", ["{}", "card {}.", "({})", "'{}'", '{{"n": "{}"}}', "x={};"])
def test_card_numbers_are_hidden_however_they_are_written(secret: str, around: str) -> None:
    assert redacted(around.format(secret)) == around.format(HIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "01a1fe09-1c64-75d4-8368-4ca9cd49f31a",
        "01234567-8901-7234-8567-890123456789",
        "imp_1234567890123456",
        "gd461pj9b4kks6x19csgdnn7n4jxa01",
        "2026-11-21T12:16:15.683733Z",
        "₩1,000,000,000,000",
        "invoice 1234567",
    ],
)
def test_ids_times_and_amounts_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    ["imp_secret=abc123", '"access_token": "abc123"', "Authorization: abc123", "pwd_2digit='abc123'", "password = abc123"],
)
def test_values_of_secret_names_are_hidden(text: str) -> None:
    assert "abc123" not in redacted(text)
    assert HIDDEN in redacted(text)


def test_a_line_stays_one_line() -> None:
    assert one_line('Mina\n{"level": "critical"}\r\x1b[2J') == 'Mina\\n{"level": "critical"}\\r\\x1b[2J'


def test_a_process_logs_one_redacted_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    for_process()
    try:
        said = 'paid by "Mina\n{"level": "critical"}" with 4242-4242-4242-4242'
        logging.getLogger("billing.test").info(
            said, extra={"merchant_uid": "gd1a01", "card_number": "4242", "inner": {"token": "t"}}
        )
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            logging.getLogger("billing.test").exception("broke")
    finally:
        top = logging.getLogger()
        for handler in [one for one in top.handlers if getattr(one, "is_ours", False)]:
            top.removeHandler(handler)
        top.setLevel(logging.WARNING)
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["merchant_uid"], first["level"], first["logger"]) == ("gd1a01", "info", "billing.test")
    assert (first["card_number"], first["inner"]) == (HIDDEN, {"token": HIDDEN})
    assert "4242-4242" not in first["event"]
    assert "Traceback" in second["exception"]
    assert "hunter2" not in second["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "카드4242424242424242은 정지", "card4242424242424242", "1 4242424242424242", "4242.4242.4242.4242", "4242/4242/4242/4242",
        "1234 5678 9012 4242 4242 4242 4242", "４２４２４２４２４２４２４２４２", "card-4242424242424242", "4242–4242–4242–4242",
    ],
)  # fmt: skip
def test_a_card_number_among_other_signs_is_hidden_whole(text: str) -> None:
    assert "4242" not in redacted(text)
    assert "４２４２" not in redacted(text)


def test_the_password_of_a_url_and_a_bearer_token_are_hidden() -> None:
    assert redacted("postgresql://shop:hunter2@db/billing") == f"postgresql://shop:{HIDDEN}@db/billing"
    assert redacted("Authorization: Bearer abc.def") == f"Authorization: {HIDDEN}"
