"""What one charge costs on the wire: our connection beside `httpx.Client`, one thread, against the fake PG."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx

from bench.fakepg import KEY, SECRET, fake_pg
from billing.gateway.http import Answer, Http
from billing.ports import Token

CHARGES = 3_000
ROUNDS = 3


def _cpu_us(send: Callable[[bytes], object], first: int) -> float:
    bodies = [
        json.dumps({"customer_uid": f"c{n}", "merchant_uid": f"gd{n:030d}", "amount": 9900, "name": "Pro"}).encode()
        for n in range(first, first + CHARGES)
    ]
    began = time.process_time()
    for body in bodies:
        send(body)
    return (time.process_time() - began) / CHARGES * 1e6


def main() -> None:
    """Print CPU per charge of both, round by round."""
    with fake_pg() as pg, Http(pg.url) as http, httpx.Client(base_url=pg.url, trust_env=False) as client:
        pg.reset(0)
        answer = http.call("POST", "/users/getToken", body=json.dumps({"imp_key": KEY, "imp_secret": SECRET}).encode())
        assert isinstance(answer, Answer)
        token = Token(json.loads(answer.body)["response"]["access_token"], "bench")
        headers = {"Authorization": f"Bearer {token.value}", "Content-Type": "application/json"}
        path = "/subscribe/payments/again"
        for number in range(ROUNDS):
            first = number * 2 * CHARGES
            ours = _cpu_us(lambda body: http.call("POST", path, token=token, body=body), first)
            theirs = _cpu_us(lambda body: client.post(path, content=body, headers=headers), first + CHARGES)
            print(f"CPU per charge: ours {ours:.0f} µs, httpx.Client {theirs:.0f} µs, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
