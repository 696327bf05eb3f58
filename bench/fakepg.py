"""A fast fake of i'mport V1 for measuring: the few calls a renewal makes, from one process on one core.

It is not the sandbox (`billing.sandbox`), which is hostile on purpose and keeps its state on disk. Here
every charge is approved, answers are complete records, and a charge costs some tens of microseconds, so
that what is measured is the client. What it does keep is the one thing a benchmark of payments must not
lose sight of: who was charged how often. It approves whatever it is asked to, also twice, and counts.

Run by hand: `python -m bench.fakepg --port 8899 --latency-ms 200`. It ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote
from urllib.request import Request, urlopen

from pydantic_core import from_json

KEY, SECRET = "bench_key", "bench_secret"
TOKEN = "b" * 40
TOKEN_LIFE = 1800
NOT_FOUND = "존재하지 않는 결제정보입니다."

# A record as the PG shows it. Source: PortOne REST V1, schema PaymentAnnotation, every documented field.
_RECORD = (
    '{{"imp_uid":"{imp_uid}","merchant_uid":{merchant_uid},"pay_method":"card","channel":"api",'
    '"pg_provider":"html5_inicis","emb_pg_provider":null,"pg_tid":"StdpayBILL{serial:020d}","pg_id":"INIBillTst",'
    '"escrow":false,"apply_num":"{serial:08d}","bank_code":null,"bank_name":null,"card_code":"366",'
    '"card_name":"신한카드","card_issuer_code":"366","card_issuer_name":"신한카드","card_publisher_code":"366",'
    '"card_publisher_name":"신한카드","card_quota":0,"card_number":"429420*********4","card_type":0,'
    '"vbank_code":null,"vbank_name":null,"vbank_num":null,"vbank_holder":null,"vbank_date":0,"vbank_issued_at":0,'
    '"name":{name},"amount":{amount},"cancel_amount":0,"currency":"KRW","buyer_name":{buyer_name},'
    '"buyer_email":{buyer_email},"buyer_tel":{buyer_tel},"buyer_addr":null,"buyer_postcode":null,"custom_data":null,'
    '"user_agent":"sorry_not_supported_anymore","status":"paid","started_at":{paid_at},"paid_at":{paid_at},"failed_at":0,'
    '"cancelled_at":0,"fail_reason":null,"cancel_reason":null,'
    '"receipt_url":"https://iniweb.inicis.com/DefaultWebApp/mall/cr/cm/mCmReceipt_head.jsp?noTid=StdpayBILL{serial:020d}&noMethod=1",'
    '"cancel_history":[],"cancel_receipt_urls":[],"deposit_history":[],"cash_receipt_issued":false,'
    '"customer_uid":{customer_uid},"customer_uid_usage":"payment","promotion":null,"sandbox":true}}'
)
_REASONS = {200: "OK", 207: "Multi-Status", 401: "Unauthorized", 404: "Not Found"}


class Ledger:
    """What was charged to whom, kept small: some hundred bytes a payment."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.serial = 0
        self.records: dict[str, tuple[int, int, str]] = {}
        self.newest: dict[str, str] = {}
        self.uses_of_uid: Counter[str] = Counter()
        self.uses_of_key: Counter[str] = Counter()
        self.amount = 0

    def approve(self, order: dict[str, Any]) -> str:
        """Charge, whatever was charged before, and return the record."""
        self.serial += 1
        imp_uid, now = f"imp_{self.serial:012d}", int(time.time())
        self.records[imp_uid] = (self.serial, now, json.dumps(order))
        self.newest[order["merchant_uid"]] = imp_uid
        self.uses_of_uid[order["merchant_uid"]] += 1
        self.uses_of_key[order["customer_uid"]] += 1
        self.amount += order["amount"]
        return _record(imp_uid, self.serial, now, order)

    def record(self, imp_uid: str) -> str | None:
        """The record of one payment, None where there is none."""
        kept = self.records.get(imp_uid)
        return None if kept is None else _record(imp_uid, kept[0], kept[1], from_json(kept[2]))

    def report(self) -> dict[str, Any]:
        """Calls by kind, and whether anybody paid twice."""
        return {
            "calls": dict(self.calls),
            "payments": len(self.records),
            "amount": self.amount,
            "customers": len(self.uses_of_key),
            "doubled_uids": sum(1 for uses in self.uses_of_uid.values() if uses > 1),
            "doubled_customers": sum(1 for uses in self.uses_of_key.values() if uses > 1),
        }


def _record(imp_uid: str, serial: int, paid_at: int, order: dict[str, Any]) -> str:
    echoed = {
        name: json.dumps(order.get(name), ensure_ascii=False)
        for name in ("merchant_uid", "name", "buyer_name", "buyer_email", "buyer_tel", "customer_uid")
    }
    return _RECORD.format(imp_uid=imp_uid, serial=serial, paid_at=paid_at, amount=order["amount"], **echoed)


class Desk:
    """Answers requests; the same for every connection."""

    def __init__(self, latency: float) -> None:
        self.ledger = Ledger()
        self.latency = latency

    def answer(self, method: str, target: str, head: bytes, body: bytes) -> tuple[int, str]:
        """Status and body of one request."""
        path, _, query = target.partition("?")
        if path.startswith("/_bench/"):
            return self._control(path, dict(parse_qsl(query)))
        if path == "/users/getToken":
            return self._token(body)
        if b"bearer " + TOKEN.encode() not in head.lower():
            return 401, _frame(-1, "Unauthorized", "null")
        calls = self.ledger.calls
        if method == "POST" and path == "/subscribe/payments/again":
            calls["again"] += 1
            return 200, _frame(0, None, self.ledger.approve(from_json(body)))
        if method == "GET" and path == "/payments":
            calls["bulk"] += 1
            return self._bulk(query)
        if method == "GET" and path.startswith("/payments/find/"):
            calls["find"] += 1
            uid = unquote(path.split("/")[3])
            return _one(self.ledger.record(self.ledger.newest.get(uid, "")))
        if method == "GET" and path.startswith("/payments/"):
            calls["payment"] += 1
            return _one(self.ledger.record(unquote(path.split("/")[2])))
        calls["unknown"] += 1
        return 404, _frame(-1, "Not Found", "null")

    def _token(self, body: bytes) -> tuple[int, str]:
        self.ledger.calls["token"] += 1
        given = json.loads(body)
        if (given.get("imp_key"), given.get("imp_secret")) != (KEY, SECRET):
            return 401, _frame(-1, "인증에 실패하였습니다. API키와 secret을 확인하세요.", "null")
        now = int(time.time())
        return 200, _frame(0, None, json.dumps({"access_token": TOKEN, "now": now, "expired_at": now + TOKEN_LIFE}))

    def _bulk(self, query: str) -> tuple[int, str]:
        """Source: PortOne REST V1, GET /payments: 200 all found, 207 some, 404 none; the newest record of a number."""
        ledger = self.ledger
        asked = parse_qsl(query)
        uids = [ledger.newest.get(value, "") if name == "merchant_uid[]" else value for name, value in asked]
        found = [record for record in map(ledger.record, uids) if record]
        if not found:
            return 404, _frame(-1, NOT_FOUND, "null")
        return 200 if len(found) == len(asked) else 207, _frame(0, None, f"[{','.join(found)}]")

    def _control(self, path: str, given: dict[str, str]) -> tuple[int, str]:
        if path == "/_bench/reset":
            self.ledger = Ledger()
            self.latency = float(given.get("latency_ms", 0)) / 1000
        return 200, json.dumps(self.ledger.report() | {"cpu": time.process_time()})


def _frame(code: int, message: str | None, response: str) -> str:
    return f'{{"code":{code},"message":{json.dumps(message, ensure_ascii=False)},"response":{response}}}'


def _one(record: str | None) -> tuple[int, str]:
    return (404, _frame(-1, NOT_FOUND, "null")) if record is None else (200, _frame(0, None, record))


class Connection(asyncio.Protocol):
    """One keep-alive connection: reads a request, waits the latency, answers, reads the next."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = _content_length(head)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            if self._desk.latency and b"/_bench/" not in head[:40]:
                asyncio.get_running_loop().call_later(self._desk.latency, self._answer, head, rest[:length])
            else:
                self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        status, text = self._desk.answer(method, target, head, body)
        if self._transport is None:
            return  # hung up while the PG was thinking: what was approved stays approved
        content = text.encode()
        self._transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
            % (status, _REASONS[status].encode(), len(content))
            + content
        )


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(lower[at + 17 :].split(b"\r\n", 1)[0])


# --- its process ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FakePg:
    """A running fake: where it is, and its controls."""

    url: str

    def reset(self, latency_ms: int) -> None:
        """Forget everything and answer from now on after `latency_ms`."""
        self._control(f"/_bench/reset?latency_ms={latency_ms}")

    def report(self) -> dict[str, Any]:
        """See `Ledger.report`, and `cpu`: seconds this process has used."""
        return self._control("/_bench/report")

    def _control(self, target: str) -> dict[str, Any]:
        with urlopen(Request(self.url + target), timeout=30) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


@contextmanager
def fake_pg() -> Iterator[FakePg]:
    """Run the fake in a process of its own, on a free port of this machine alone."""
    process = subprocess.Popen([sys.executable, "-m", "bench.fakepg"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield FakePg(f"http://127.0.0.1:{port}")
    finally:
        process.stdin.close()
        process.wait()


async def serve(port: int, latency: float) -> None:
    """Answer until standard input ends."""
    loop = asyncio.get_running_loop()
    desk = Desk(latency)
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.fakepg", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(given.port, given.latency_ms / 1000))


if __name__ == "__main__":
    main()
