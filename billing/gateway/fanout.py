"""The threads that wait on the wire: one bounded pool for all charges and look-ups of a gateway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Generic, TypeVar

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
        self._is_closed = False
        self._pool = ThreadPoolExecutor(concurrency, "billing-wire") if concurrency > 1 else None

    def as_they_come(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        failed: Callable[[Item, BaseException], Result],
        linger: float,
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
        crew = _Crew(work, items, failed, lambda: self._is_closed)
        crew.start(self._pool, min(self.concurrency, len(items)))
        try:
            yield from crew.groups(linger)
        finally:
            crew.dismiss()

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
        self._is_closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class _Crew(Generic[Item, Result]):
    """The threads that work on one batch, and the caller who waits for them.

    A future per item would wake the caller for every single result, and each waking is a fight for the
    interpreter: at 0 ms of latency that cost a third of the throughput. So a few hands take items from one
    pile, and the caller is woken at the first result of a group and when everything is done.
    """

    def __init__(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        failed: Callable[[Item, BaseException], Result],
        is_closed: Callable[[], bool],
    ) -> None:
        self._work, self._failed, self._is_closed = work, failed, is_closed
        self._todo = deque(items)
        self._done: deque[tuple[Item, Result]] = deque()
        self._missing = len(items)
        self._finished = count(1)
        self._left = count(1)
        self._first, self._last = Event(), Event()
        self._size = len(items)
        self._hands: list[Future[None]] = []

    def start(self, pool: ThreadPoolExecutor, hands: int) -> None:
        """Put `hands` threads of the pool to work."""
        try:
            for _ in range(hands):
                self._hands.append(pool.submit(self._drain))
        except RuntimeError:  # closed meanwhile: whoever began finishes, the rest never begins
            pass
        if not self._hands:
            self._give_up()
        for hand in self._hands:
            hand.add_done_callback(self._hand_left)

    def groups(self, linger: float) -> Iterator[list[tuple[Item, Result]]]:
        """Yield results in groups until none is missing."""
        while self._missing:
            self._first.wait()
            self._last.wait(linger)
            self._first.clear()
            group = []
            while self._done:
                group.append(self._done.popleft())
            self._missing -= len(group)
            if group:
                yield group

    def dismiss(self) -> None:
        """Nobody waits any more: what has not begun never does."""
        self._todo.clear()
        for hand in self._hands:
            hand.cancel()

    def _drain(self) -> None:
        while not self._is_closed():
            try:
                item = self._todo.popleft()
            except IndexError:
                return
            self._report(item, _result(self._work, item, self._failed))

    def _hand_left(self, _hand: Future[None]) -> None:
        """The last hand to leave, or to be sent away unused, answers for what nobody took."""
        if next(self._left) == len(self._hands):
            self._give_up()

    def _give_up(self) -> None:
        while self._todo:
            item = self._todo.popleft()
            self._report(item, self._failed(item, NeverBegun()))

    def _report(self, item: Item, result: Result) -> None:
        self._done.append((item, result))
        if next(self._finished) == self._size:
            self._last.set()
        self._first.set()


class NeverBegun(Exception):
    """The pool was closed before this item's turn."""


def _result(work: Callable[[Item], Result], item: Item, failed: Callable[[Item, BaseException], Result]) -> Result:
    try:
        return work(item)
    except Exception as problem:  # noqa: BLE001 — one poisoned item must not take the batch with it
        return failed(item, problem)
