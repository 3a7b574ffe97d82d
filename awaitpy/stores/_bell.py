"""What wakes those who wait for a change of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

Caller: TypeAlias = "asyncio.Task[Any] | None"


def caller() -> Caller:
    """Give the task that calls, which is not the one that an awaitable may be wrapped in later."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs yet
        return None


class Seen:
    """Which number of a count each task saw last, so that none misses what another saw meanwhile.

    A task that saw none yet goes by what anybody saw last.
    """

    def __init__(self) -> None:
        self._last = 0
        self._by: Final[WeakKeyDictionary[asyncio.Task[Any], int]] = WeakKeyDictionary()

    def by(self, task: Caller) -> int:
        """Give the number that this task saw last."""
        return self._last if task is None else self._by.get(task, self._last)

    def see(self, task: Caller, number: int) -> None:
        """Let it have seen this number."""
        self._last = number
        if task is not None:
            self._by[task] = number


class Bell:
    """Wakes waiters. A ring that a task does not wait for is kept until it does."""

    def __init__(self) -> None:
        self._rings = 0
        self._heard: Final = Seen()
        self._waiters: Final[set[asyncio.Future[None]]] = set()

    def ring(self) -> None:
        """Wake all who wait, or are about to. Call it on the loop of the waiters."""
        self._rings += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def wait(self, timeout: float) -> Coroutine[Any, Any, None]:
        """Return when it has rung since the task that calls last heard it, or in time."""
        return self._wait(timeout, caller())

    async def _wait(self, timeout: float, task: Caller) -> None:  # noqa: ASYNC109  a wait that ends in time is no error
        await self.rang(timeout, task)

    async def rang(self, timeout: float, task: Caller) -> bool:  # noqa: ASYNC109  the same
        """Whether it has rung since this task last heard it, after at most `timeout` seconds."""
        heard = self._heard.by(task)
        if self._rings == heard:
            await self._sleep(timeout)
        self._heard.see(task, self._rings)
        return self._rings != heard

    async def _sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=max(0.0, seconds))
        finally:
            self._waiters.discard(waiter)
