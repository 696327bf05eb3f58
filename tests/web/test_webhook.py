"""The address the PG sends its notices to, asked over ASGI: what is stored, what is refused, and who learns what."""

from __future__ import annotations

import json
import shutil
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import run, sleep
from fastapi import FastAPI
from sqlalchemy import text

from billing import web
from billing.settings import Settings
from billing.web import limits
from tests.kit.world import World, world_on

URL = "/webhooks/iamport"
NOTICE = {"imp_uid": "imp_1", "merchant_uid": "order-1", "status": "paid"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with world_on(database_url) as one:
        yield one


@pytest.fixture
def small(migrated_sqlite: Path, tmp_path: Path) -> World:
    """A world on SQLite, where the database is not the point."""
    return World(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'billing.db')}")


class Site:
    """Our routes, and somebody who calls them from an address."""

    def __init__(self, world: World, **settings: str) -> None:
        self.billing = world.another_process(**Settings.from_env(_env_file=None, **settings).model_dump(include=set(settings)))
        self.app = web.app(self.billing)

    def post(self, body: Any = NOTICE, *, peer: str = "203.0.113.9", url: str = URL, **given: Any) -> httpx.Response:
        """POST once; a mapping goes as JSON."""
        return self.post_all([(body, peer)], url=url, **given)[0]

    def post_all(self, sent: list[tuple[Any, str]], *, url: str = URL, **given: Any) -> list[httpx.Response]:
        async def go() -> list[httpx.Response]:
            answers = []
            for body, peer in sent:
                async with self._client(peer) as client:
                    what = {"json": body} if isinstance(body, dict) else {"content": body}
                    answers.append(await client.post(url, **what, **given))
            return answers

        return run(go)

    def get(self, url: str) -> httpx.Response:
        async def go() -> httpx.Response:
            async with self._client("203.0.113.9") as client:
                return await client.get(url)

        return run(go)

    def _client(self, peer: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app, client=(peer, 4321)), base_url="http://billing")

    def stored(self) -> list[dict[str, Any]]:
        return self.billing.views.webhooks(limit=1000)


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    one = Site(world)
    yield one
    one.billing.close()


@pytest.fixture
def quick(small: World) -> Iterator[Site]:
    one = Site(small)
    yield one
    one.billing.close()
    small.close()


# --- what is taken in ----------------------------------------------------------------------------------


def test_json_and_form_are_stored_and_answered_alike(site: Site) -> None:
    as_json = site.post()
    as_form = site.post(b"imp_uid=imp_1&merchant_uid=order-1&status=paid", headers={"content-type": FORM})
    assert (as_json.status_code, as_json.json()) == (200, {"status": "ok"})
    assert (as_form.status_code, as_form.content) == (200, as_json.content)
    (one,) = site.stored()
    assert (one["imp_uid"], one["times_received"], one["source_ip"]) == ("imp_1", 2, "203.0.113.9")


def test_a_notice_over_http_settles_through_the_one_road(world: World, site: Site) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=1)
    world.tick()
    world.later(seconds=2)
    for notice in world.pg.sandbox.webhooks:
        assert site.post(notice.body, headers={"content-type": notice.content_type}).status_code == 200
    assert world.tick()["paid"] == 1
    assert world.states(mina) == ["paid", "paid"]


def test_nobody_learns_from_the_answer_whether_a_payment_exists(world: World, site: Site) -> None:
    (known,) = world.attempts(world.subscriber())
    told = [{**NOTICE, "merchant_uid": uid} for uid in (known.merchant_uid, known.merchant_uid[:-1] + "9", "order-7")]
    answers = site.post_all([(one, "203.0.113.9") for one in told])
    assert len({(one.status_code, one.content, str(one.headers)) for one in answers}) == 1


def test_nor_from_the_time_it_takes(small: World, quick: Site) -> None:
    (known,) = small.attempts(small.subscriber())
    times: dict[str, list[float]] = {"known": [], "unknown": []}

    async def go() -> None:
        async with quick._client("52.78.100.19") as client:
            for number in range(150):
                for name, uid in (("known", known.merchant_uid), ("unknown", f"order-{number}")):
                    began = time.perf_counter()
                    answer = await client.post(URL, json={**NOTICE, "imp_uid": f"imp_{number}", "merchant_uid": uid})
                    times[name].append(time.perf_counter() - began)
                    assert answer.status_code == 200

    run(go)
    medians = {name: statistics.median(some) for name, some in times.items()}
    assert abs(medians["known"] - medians["unknown"]) < 0.005, medians


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"imp_uid":"a/../b","merchant_uid":"m","status":"paid"}', "application/json", 400),
        (b'{"imp_uid":"a","imp_uid":"b","merchant_uid":"m","status":"paid"}', "application/json", 400),
        (b'{"x":' + b"[" * 9 + b"]" * 9 + b"}", "application/json", 400),
        (b"imp_uid=a&imp_uid=b&merchant_uid=m&status=paid", FORM, 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=euc-kr", 415),
        (b"{}", "multipart/form-data; boundary=x", 415),
        (b"x" * 17_000, "application/json", 413),
    ],
)
def test_what_can_never_be_a_notice_is_refused_in_one_line_that_repeats_nothing(
    quick: Site, body: bytes, content_type: str, status: int
) -> None:
    answer = quick.post(body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert "../" not in answer.text
    assert "Traceback" not in answer.text
    assert quick.stored() == []


def test_other_methods_and_missing_content_types_are_refused(quick: Site) -> None:
    assert quick.get(URL).status_code == 405
    assert quick.post(b"{}", headers={}).status_code == 415


def test_more_headers_than_anybody_needs_are_refused(quick: Site) -> None:
    assert quick.post(headers={f"x-{number}": "1" for number in range(120)}).status_code == 431


def test_ten_megabytes_are_given_up_after_sixteen_kibibytes(quick: Site) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(10 * 1024):
            read += 1024
            yield b" " * 1024

    async def go() -> tuple[int, int]:
        async with quick._client("203.0.113.9") as client:
            await client.post(URL, json=NOTICE)
            tracemalloc.start()
            answer = await client.post(URL, content=endless(), headers={"content-type": "application/json"})
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return answer.status_code, peak

    status, peak = run(go)
    assert status == 413
    assert read < 100 * 1024
    assert peak < 2_000_000


def test_a_body_that_trickles_is_given_up(quick: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await sleep(0.05)

    began = time.monotonic()
    assert quick.post(trickle(), headers={"content-type": "application/json"}).status_code == 408
    assert time.monotonic() - began < 2


def test_a_sender_that_floods_is_told_when_to_come_again_and_shuts_nobody_else_out(quick: Site) -> None:
    flood = [({"bad": "1"}, "203.0.113.9")] * 520
    statuses = [one.status_code for one in quick.post_all(flood)]
    assert statuses.count(429) >= 1
    assert statuses[0] == 400
    refused = quick.post()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert quick.post(peer="198.51.100.7").status_code == 200


def test_a_flood_from_everywhere_does_not_shut_the_pg_out(quick: Site) -> None:
    crowd = [({"bad": "1"}, f"198.51.{number // 250}.{number % 250}") for number in range(2_100)]
    assert [one.status_code for one in quick.post_all(crowd)].count(429) >= 50
    assert quick.post(peer="52.78.100.19").status_code == 200


def test_a_database_that_is_away_asks_for_a_repetition(quick: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with quick.billing.store.begin() as tx:
        tx.connection.execute(text("ALTER TABLE billing_webhook_inbox RENAME TO away"))
    answer = quick.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "sqlite" not in answer.text.lower()


# --- who may ask ---------------------------------------------------------------------------------------

PG, PROXY, STRANGER = "52.78.100.19", "10.0.0.7", "198.51.100.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "status", "source"),
    [
        (PG, None, 200, PG),
        (STRANGER, None, 403, None),
        (STRANGER, PG, 403, None),  # anybody can write a header
        (PROXY, PG, 200, PG),
        (PROXY, f"{STRANGER}, {PG}", 200, PG),  # what stands left of the client is hearsay
        (PROXY, f"{PG}, {STRANGER}", 403, None),  # the client lied to our proxy about who it is
        (PROXY, f"{PG}, 10.0.0.8", 200, PG),  # two proxies of our own
        (PROXY, f"{STRANGER}, {PG}, 10.0.0.8, 10.0.0.9", 200, PG),
        (PROXY, f"{PG}:52144", 200, PG),
        (PROXY, f"[::ffff:{PG}]:443", 200, PG),
        (PROXY, "unknown", 403, None),
        (PROXY, f"{PG}, unknown", 403, None),
        (PROXY, None, 403, None),
        (f"::ffff:{PG}", None, 200, PG),
    ],
)
def test_the_allow_list_sees_through_our_own_proxies_and_nobody_elses(
    small: World, peer: str, forwarded: str | None, status: int, source: str | None
) -> None:
    site = Site(small, webhook_allow=f"{PG}, 52.78.48.223,52.78.5.241/32", trusted_proxies="10.0.0.0/8")
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    answer = site.post(peer=peer, headers=headers)
    assert answer.status_code == status
    assert [one["source_ip"] for one in site.stored()] == ([] if source is None else [source])
    site.billing.close()
    small.close()


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (URL, 403),
        (f"{URL}/wrong-wrong-wrong-wrong", 403),
        (f"{URL}?token=wrong", 403),
        (f"{URL}?token=%ff%fe", 403),
        (f"{URL}/0123456789abcdef", 200),
        (f"{URL}?token=0123456789abcdef", 200),
    ],
)
def test_a_secret_in_the_address_keeps_strangers_out(small: World, url: str, status: int) -> None:
    site = Site(small, webhook_secret="0123456789abcdef")
    answer = site.post(url=url)
    assert answer.status_code == status
    assert "0123456789abcdef" not in answer.text + repr(site.billing.settings)
    site.billing.close()
    small.close()


# --- health --------------------------------------------------------------------------------------------


def test_health_asks_nothing_and_ready_asks_the_database(quick: Site) -> None:
    assert quick.get("/health").json() == {"status": "ok"}
    assert quick.get("/ready").json() == {"status": "ready"}


def test_a_database_that_cannot_store_a_notice_is_not_ready(quick: Site) -> None:
    with quick.billing.store.begin() as tx:
        tx.connection.execute(text("ALTER TABLE billing_identity RENAME TO away"))
    answer = quick.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
    assert quick.get("/health").status_code == 200


def test_notices_are_taken_in_while_charging_is_frozen(quick: Site) -> None:
    quick.billing.controls.set_freeze(is_frozen=True, reason="drill", actor="test")
    assert quick.get("/ready").status_code == 200
    assert quick.post().status_code == 200


# --- in a host's own app -------------------------------------------------------------------------------


def lived(app: FastAPI, url: str) -> httpx.Response:
    """A whole life of an app: started, asked once, stopped."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            return await client.post(url, json=NOTICE)

    return run(go)


def test_a_host_mounts_the_router_and_keeps_its_engine(small: World) -> None:
    host = FastAPI()
    host.include_router(web.router(small.app), prefix="/billing")
    assert lived(host, f"/billing{URL}").status_code == 200
    assert len(small.app.views.webhooks()) == 1, "the host's engine is still open"
    small.close()


def test_an_app_mounted_below_another_hears_of_no_lifespan_and_works(small: World) -> None:
    host = FastAPI()
    host.mount("/billing", web.app(small.app))
    assert lived(host, f"/billing{URL}").status_code == 200
    assert len(small.app.views.webhooks()) == 1
    small.close()


def test_without_an_engine_the_environment_describes_one(small: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BILLING_DATABASE_URL", f"sqlite:///{tmp_path / 'billing.db'}")
    assert lived(web.app(), URL).json() == {"status": "ok"}
    assert len(small.app.views.webhooks()) == 1
    small.close()


def test_a_host_of_another_kind_calls_the_engine_itself(world: World) -> None:
    receipt = world.app.receive_webhook(json.dumps(NOTICE).encode(), content_type="application/json", source_ip=PG)
    again = world.app.receive_webhook(NOTICE)
    assert (receipt.notice.imp_uid, receipt.times_received, again.times_received) == ("imp_1", 1, 2)
    assert receipt.id == again.id
