"""One connection that hears when another process made a run due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from redis.exceptions import RedisError

from awaitpy.stores._bell import Bell
from awaitpy.stores._redis._link import Link

PAUSE = 1.0
"""Seconds until it tries again, where it could not listen."""
PATIENCE = 60.0


class Listener:
    """Rings a bell at each message of a channel. It takes its connection when it is started."""

    def __init__(self, link: Link, bell: Bell) -> None:
        self._link, self._bell = link, bell
        self._task: asyncio.Task[None] | None = None
        self.pause: Final = PAUSE

    def start(self) -> None:
        """Listen from now on; nothing if it does."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let go of the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            with suppress(RedisError):
                await self._hear()
            await asyncio.sleep(self.pause)

    async def _hear(self) -> None:
        """Ring until the connection is lost."""
        async with self._link.client.pubsub() as heard:
            await heard.subscribe(f"{self._link.prefix}changed")
            while True:
                # The first message says that it listens: what was made due before is not told again.
                if await heard.get_message(timeout=PATIENCE) is not None:
                    self._bell.ring()
