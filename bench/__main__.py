"""`python -m bench`: engine and naive loop side by side, in one run, on one PostgreSQL, against one fake PG."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench import naive, world
from bench.fakepg import FakePg, fake_pg
from tests.kit.postgres import fresh_database, name_of, postgres_server

# What an installation of this size would be given; the same for everybody here. Durability stays as it is delivered.
SERVER = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


class MoneyLost(Exception):
    """A run charged somebody twice, or not at all, or the books disagree with the PG: no figure of it counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each run is made."""

    rounds: int
    at_0: dict[str, int]
    at_200: dict[str, int]
    batches: int
    clean: int
    sizes: tuple[int, ...]


FULL = Plan(
    rounds=3,
    at_0={"sequential": 500, "threads": 1500, "engine": 12_000},
    at_200={"sequential": 25, "threads": 600, "engine": 8000},
    batches=1600,
    clean=1000,
    sizes=(10_000, 100_000, 1_000_000),
)
QUICK = Plan(
    rounds=1,
    at_0={"sequential": 200, "threads": 600, "engine": 2000},
    at_200={"sequential": 8, "threads": 250, "engine": 3000},
    batches=800,
    clean=1000,
    sizes=(10_000, 50_000),
)


@dataclass(slots=True)
class Report:
    """Everything measured, as it goes into the JSON document."""

    machine: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def of(self, who: str, latency_ms: int) -> list[dict[str, Any]]:
        """The runs of one contender at one latency."""
        return [one for one in self.runs if (one["who"], one["latency_ms"]) == (who, latency_ms)]

    def median(self, who: str, latency_ms: int, figure: str) -> float:
        """The middle value of one figure over the rounds."""
        return statistics.median(one[figure] for one in self.of(who, latency_ms))


class Bench:
    """Makes runs: fresh database, empty fake, own process, and afterwards the count of the money."""

    def __init__(self, server: str, pg: FakePg, report: Report) -> None:
        self._server = server
        self._pg = pg
        self._report = report
        self._template = ""

    @contextmanager
    def founded(self) -> Iterator[None]:
        """Migrate once; every database of the engine is a copy."""
        with fresh_database(self._server) as url:
            world.found(url, self._pg.url)
            self._template = name_of(url)
            yield

    def naive(self, who: str, count: int, latency_ms: int, threads: int) -> dict[str, Any]:
        """One run of the loop."""
        with fresh_database(self._server) as url:
            naive.found(url, count)
            measured = self._run("bench.naive", url, count, latency_ms, "--threads", str(threads))
            books = naive.booked(url)
            is_right = (books["payments"], books["subscriptions"], books["due"]) == (count, count, 0)
            return self._checked(who, measured, is_right and books["amount"] == count * naive.AMOUNT, books)

    def engine(self, who: str, count: int, latency_ms: int, **shape: int) -> dict[str, Any]:
        """One run of the engine."""
        given = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
        with fresh_database(self._server, self._template) as url:
            world.populate(url, 1, count, due=True)
            measured = self._run("bench.engine", url, count, latency_ms, *given)
            books = world.books(url)
            is_right = books == world.Books(count, count, count * world.AMOUNT, undecided=0, still_due=0)
            return self._checked(who, measured, is_right, asdict(books))

    def claims(self, sizes: tuple[int, ...]) -> None:
        """Time the claims."""
        with fresh_database(self._server) as url:
            self._report.claims = _output_of("bench.claims", "--database", url, "--sizes", *map(str, sizes))

    def _run(self, module: str, url: str, count: int, latency_ms: int, *more: str) -> dict[str, Any]:
        self._pg.reset(latency_ms)
        before = self._pg.report()["cpu"]
        measured = _output_of(module, "--database", url, "--gateway", self._pg.url, "--count", str(count), *more)
        pg = self._pg.report()
        calls = {kind: number for kind, number in pg["calls"].items() if kind != "token"}
        facts = {"latency_ms": latency_ms, "calls": round(sum(calls.values()) / count, 4), "pg": pg}
        return measured | facts | {"pg_cpu_us": round((pg["cpu"] - before) / count * 1e6)}

    def _checked(self, who: str, measured: dict[str, Any], books_are_right: bool, books: dict[str, int]) -> dict[str, Any]:
        count, pg = measured["renewals"], measured["pg"]
        once = (pg["payments"], pg["customers"], pg["doubled_uids"], pg["doubled_customers"]) == (count, count, 0, 0)
        if not books_are_right or not once:
            raise MoneyLost(f"{who}: {count} were due; books {books}, PG {pg}")
        one = {"who": who} | measured
        self._report.runs.append(one)
        print(f"  {who:<22} {measured['latency_ms']:>3} ms  {measured['per_second']:>8.1f}/s  {count} paid once each", flush=True)
        return one


def _output_of(module: str, *words: str) -> Any:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MoneyLost(f"{module} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- what is run ----------------------------------------------------------------------------------

# With an instant PG few calls need to be under way and rows travel best in large batches; with a slow one
# the engine takes the shape it gives itself for 256 calls in flight.
AT_0 = {"concurrency": 64, "lanes": 2, "batch": 512}
AT_200 = {"concurrency": 256}
THREADS = 32
BATCHES = (50, 200, 800)


def measure(bench: Bench, plan: Plan, report: Report) -> None:
    """All runs, contenders in turn so that a slow minute of the machine meets all of them."""
    with bench.founded():
        for _ in range(plan.rounds):
            for latency, counts, shape in ((0, plan.at_0, AT_0), (200, plan.at_200, AT_200)):
                bench.naive("loop, 32 threads", counts["threads"], latency, THREADS)
                bench.engine("engine", counts["engine"], latency, **shape)
        for latency, counts in ((0, plan.at_0), (200, plan.at_200)):
            bench.naive("loop, sequential", counts["sequential"], latency, 1)
        bench.engine("engine, clean", plan.clean, 0)
        for batch in BATCHES:
            bench.engine(f"engine, batch {batch}", plan.batches, 0, concurrency=16, lanes=1, batch=batch)
    print(f"  claims among {', '.join(f'{size:,}' for size in plan.sizes)} subscriptions", flush=True)
    bench.claims(plan.sizes)
    report.targets = judged(report)


def judged(report: Report) -> list[dict[str, Any]]:
    """The targets of `make bench`, each with what was reached."""

    def ratio(latency: int) -> float:
        pairs = zip(report.of("engine", latency), report.of("loop, 32 threads", latency), strict=True)
        return statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)

    (clean,) = report.of("engine, clean", 0)
    statements = [report.median(f"engine, batch {batch}", 0, "statements") for batch in BATCHES]
    slowest = max(one[kind]["claim_ms"] / report.claims[0][kind]["claim_ms"] for one in report.claims for kind in CLAIMS)
    growths = [one["rss_thirds_mib"][2] / one["rss_thirds_mib"][0] for one in report.of("engine", 0)]
    growth = statistics.median(growths)
    return [
        _target("200 ms, 256 in flight: × loop with 32 threads", ratio(200), lambda it: it >= 10, "≥ 10"),
        _target("0 ms: × loop with 32 threads", ratio(0), lambda it: it >= 6, "≥ 6"),
        _target(f"gateway calls per renewal, clean run of {clean['renewals']}", clean["calls"], lambda it: it <= 1.1, "≤ 1.1"),
        _target(
            f"statements per renewal, batch {BATCHES[-1]} ÷ batch {BATCHES[0]}",
            statements[-1] / statements[0],
            lambda it: it < 0.5 and statements == sorted(statements, reverse=True),
            "falls, < 0.5",
        ),
        _target(f"claim of 500, slowest ÷ among {report.claims[0]['size']:,}", slowest, lambda it: it < 1.5, "< 1.5"),
        _target("memory, at the end of a run ÷ after its first third", growth, lambda it: it < 1.1, "< 1.1"),
    ]


CLAIMS = ("subscriptions", "invoices")


def _target(what: str, reached: float, is_met: Callable[[float], bool], wanted: str) -> dict[str, Any]:
    return {"target": what, "wanted": wanted, "reached": round(reached, 3), "is_met": is_met(reached)}


# --- what is printed ------------------------------------------------------------------------------

COLUMNS = (
    ("renewals/s", "per_second", "{:,.0f}"),
    ("calls", "calls", "{:.3f}"),
    ("SQL", "statements", "{:.3f}"),
    ("commits", "commits", "{:.3f}"),
    ("CPU µs", "cpu_us", "{:,.0f}"),
    ("HTTP", "cpu_http_us", "{:,.0f}"),
    ("SQL µs", "cpu_sql_us", "{:,.0f}"),
    ("Python", "cpu_python_us", "{:,.0f}"),
    ("peak MiB", "peak_mib", "{:.0f}"),
)


def show(report: Report) -> None:
    """Print the tables."""
    print(f"\n{report.machine}\n\nper renewal; CPU of the client process by layer; medians of the rounds")
    print(f"{'PG latency':<11}{'':<22}" + "".join(f"{title:>11}" for title, _, _ in COLUMNS) + f"{'× 32 thr.':>11}")
    for latency in (0, 200):
        base = report.median("loop, 32 threads", latency, "per_second")
        for who in dict.fromkeys(one["who"] for one in report.runs if one["latency_ms"] == latency):
            cells = "".join(f"{form.format(report.median(who, latency, key)):>11}" for _, key, form in COLUMNS)
            print(f"{latency:>4} ms    {who:<22}{cells}{report.median(who, latency, 'per_second') / base:>11.2f}")
    print("\nclaim of 500 due rows, ms (statement alone)")
    for one in report.claims:
        cells = "".join(f"{kind:>15} {one[kind]['claim_ms']:>6.1f} ({one[kind]['statement_ms']:.1f})" for kind in CLAIMS)
        print(f"{one['size']:>11,} subscriptions{cells}")
    last = report.of("engine", 0)[-1]
    print(f"\nmemory after 1/3, 2/3, 3/3 of {last['renewals']:,} renewals of the engine: {last['rss_thirds_mib']} MiB\n")
    for one in report.targets:
        word = "reached" if one["is_met"] else "MISSED"
        print(f"{word:<8} {one['target']:<58} {one['reached']:>8.2f}   wanted {one['wanted']}")


def _machine(server: str) -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    with psycopg.connect(server) as connection:
        version = connection.info.server_version // 10000
        durable = connection.execute("SELECT current_setting('fsync') || '/' || current_setting('synchronous_commit')").fetchone()
    assert durable is not None
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    return f"{cores} cores, {model}; Python {python}; PostgreSQL {version}, fsync/synchronous_commit {durable[0]}"


def main() -> int:
    """0 when every run paid everybody exactly once, whatever the speed; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer renewals, one round, smaller tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    given = parser.parse_args()
    began = time.monotonic()
    with postgres_server(settings=SERVER) as server, fake_pg() as pg:
        report = Report(_machine(server))
        try:
            measure(Bench(server, pg, report), QUICK if given.quick else FULL, report)
        except MoneyLost as error:
            print(f"FAILED {error}", file=sys.stderr)
            return 1
    show(report)
    print(f"\n{time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
