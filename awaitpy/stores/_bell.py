"""What wakes those who wait for a change of a store."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes waiters. A ring that nobody waits for is kept for the next who does."""

    def __init__(self) -> None:
        self._rung = False
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all who wait, or else the next one to come. Call it on the loop of the waiters."""
        self._rung = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109  a wait that ends in time is no error
        """Whether it rang since somebody last heard it, after at most `timeout` seconds."""
        if not self._rung:
            await self._sleep(timeout)
        rung, self._rung = self._rung, False
        return rung

    async def _sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=max(0.0, seconds))
        finally:
            self._waiters.discard(waiter)
