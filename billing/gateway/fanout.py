"""The threads that wait on the wire: one bounded pool for all charges and look-ups of a gateway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Fanout:
    """Run the same work on many items, `concurrency` at a time.

    With a concurrency of one nothing leaves the caller's thread and the order is the caller's:
    what the simulator and the demo need to repeat themselves exactly.
    """

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"a concurrency of {concurrency} sends nothing")
        self.concurrency = concurrency
        self._pool = ThreadPoolExecutor(concurrency, "billing-wire") if concurrency > 1 else None

    def as_they_come(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        failed: Callable[[Item, BaseException], Result],
        linger: float,
        monotonic: Callable[[], float],
    ) -> Iterator[list[tuple[Item, Result]]]:
        """Yield items with their results in the order they finish, in groups; `failed` stands in for one that raised.

        A group is closed `linger` seconds after its first result, or when nothing is left: the slowest
        keeps nobody waiting, and whoever handles groups handles few.

        Nothing starts before the first group is asked for. When the caller stops early, work under
        way still finishes, its result unseen; work that has not begun never does.
        """
        if self._pool is None:
            yield [(item, _result(work, item, failed)) for item in items]
            return
        done: SimpleQueue[tuple[Item, Result]] = SimpleQueue()

        def report(item: Item, future: Future[Result]) -> None:
            # Called for a cancelled one too, so closing the pool leaves no caller waiting for ever.
            problem = NeverBegun() if future.cancelled() else future.exception()
            done.put((item, failed(item, problem) if problem else future.result()))

        futures: list[Future[Result]] = []
        try:
            for item in items:
                try:
                    future = self._pool.submit(_result, work, item, failed)
                except RuntimeError:  # closed meanwhile
                    done.put((item, failed(item, NeverBegun())))
                    continue
                futures.append(future)
                future.add_done_callback(lambda future, item=item: report(item, future))  # type: ignore[misc]
            missing = len(items)
            while missing:
                group = [done.get()]
                closes = monotonic() + linger
                while len(group) < missing and (left := closes - monotonic()) > 0:
                    try:
                        group.append(done.get(timeout=left))
                    except Empty:
                        break
                missing -= len(group)
                yield group
        finally:
            for future in futures:
                future.cancel()

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in the order of `items`; raise what the first failure raised.

        The calling thread works along. A look-up of one page never waits behind slow charges in the
        pool, and more pages get as much help as there are idle threads.
        """
        numbered = list(enumerate(items))
        todo = deque(numbered)
        results: dict[int, Result] = {}

        def drain() -> None:
            try:
                while True:
                    try:
                        index, item = todo.popleft()
                    except IndexError:
                        return
                    results[index] = work(item)
            finally:
                todo.clear()  # empty already, unless one failed: then nobody asks on in vain

        helpers: list[Future[None]] = []
        if self._pool is not None:
            helpers = [self._pool.submit(drain) for _ in range(min(len(numbered) - 1, self.concurrency))]
        try:
            drain()
        finally:
            for helper in helpers:
                helper.cancel()
        for helper in helpers:
            if not helper.cancelled():
                helper.result()
        return [results[index] for index, _ in numbered]

    def close(self) -> None:
        """Refuse new work, forget what has not begun, wait for what has."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class NeverBegun(Exception):
    """The pool was closed before this item's turn."""


def _result(work: Callable[[Item], Result], item: Item, failed: Callable[[Item, BaseException], Result]) -> Result:
    try:
        return work(item)
    except Exception as problem:  # noqa: BLE001 — one poisoned item must not take the batch with it
        return failed(item, problem)
