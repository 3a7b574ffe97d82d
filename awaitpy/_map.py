"""`step.map`: one step for each item, a bounded number of them under way, results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from awaitpy._wire import CUT, ERROR, POLICY, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from awaitpy._replay import Replay
    from awaitpy._session import Session

_FAILURES: Final = frozenset({ERROR, POLICY, TIMEOUT})


class Map:
    """The items of one `step.map`: those that are journaled are given, the others are worked off."""

    __slots__ = ("_fn", "_group", "_items", "_limit", "_prefix", "_results", "_session", "_take", "_todo")

    def __init__(
        self,
        session: Session,
        prefix: str,
        take: Callable[..., Awaitable[Any]],
        fn: Callable[[Any], Any],
        items: Iterable[Any],
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"step.map(limit=) is how many items may be under way, and is {limit!r}.")
        self._session, self._prefix = session, prefix
        self._take, self._fn = take, fn
        self._items = list(items)
        self._limit = limit
        self._results: list[Any] = [None] * len(self._items)
        self._todo: deque[int] = deque()
        self._group: asyncio.TaskGroup | None = None

    async def results(
        self, admit: Callable[[str], Awaitable[None]], cut: Callable[[str], None], *, stops: bool
    ) -> list[Any]:
        """Give the results in the order of the items.

        `admit` judges whether a new one may run here, and `cut` is told which one never began.
        """
        replay = self._session.replay
        done, cut_off = self._journaled(replay)
        known = set(done)
        self._todo.extend(cut_off or (i for i in range(len(self._items)) if i not in known))
        self._pace(replay, done, stops=stops)
        for i in done:
            self._results[i] = await self._take(str(i), self._fn, self._items[i])
        new = (f"{self._prefix}{i}" for i in self._todo) if replay.due else ()
        for key in new:
            if key not in replay.entries and not replay.may_run(key, None):
                await admit(key)
                break
        if self._todo:
            await self._work_off(cut)
        return self._results

    def _journaled(self, replay: Replay) -> tuple[list[int], list[int]]:
        """Give the items that only need to be given, as they were journaled, and those cut off.

        Where the workflow cut items off, those that had not begun never do: it went on without them.
        """
        entries = replay.due
        if not entries:
            return [], []
        keys = [f"{self._prefix}{i}" for i in range(len(self._items))]
        due = [i for i, key in enumerate(keys) if key in entries]
        cut_off = [i for i in due if entries[keys[i]].kind == CUT]
        done = due if not cut_off else [i for i in due if entries[keys[i]].kind != CUT]
        return sorted(done, key=lambda i: replay.position(keys[i])), cut_off

    def _pace(self, replay: Replay, done: list[int], *, stops: bool) -> None:
        """Let items be given before their turn, but for the one that was the end of the map."""
        for i in done if self._todo else done[:-1]:
            key = f"{self._prefix}{i}"
            if not stops or replay.entries[key].kind not in _FAILURES:
                replay.unpaced.add(key)

    async def _work_off(self, cut: Callable[[str], None]) -> None:
        workers = len(self._todo) if self._limit is None else min(self._limit, len(self._todo))
        try:
            async with asyncio.TaskGroup() as self._group:
                for _ in range(workers):
                    self._group.create_task(self._work())
        except asyncio.CancelledError:
            if self._todo:  # so that a replay is cut off here too, also if nothing was under way
                cut(f"{self._prefix}{self._todo[0]}")
            raise
        finally:
            self._group = None

    async def _work(self) -> None:
        task: Any = asyncio.current_task()
        self._session.spares[task] = self._replace
        try:
            while self._todo and not task.cancelling():
                i = self._todo.popleft()
                self._results[i] = await self._take(str(i), self._fn, self._items[i])
        finally:
            self._session.spares.pop(task, None)

    def _replace(self, task: asyncio.Task[Any]) -> None:
        """Start a worker for one that is parked at a wait, and so has nothing under way."""
        if self._todo and self._group is not None and not task.cancelling():
            self._group.create_task(self._work())
