"""One connection that hears when another process made a run due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from psycopg import Error, sql

from awaitpy.stores._bell import Bell
from awaitpy.stores._postgres._link import Link

PAUSE = 1.0
"""Seconds until it tries again, where it could not listen."""


class Listener:
    """Rings a bell at each notification of a channel. It takes its connection when it is started."""

    def __init__(self, link: Link, channel: str, bell: Bell) -> None:
        self._link, self._bell = link, bell
        self._listen = sql.SQL("LISTEN {}").format(sql.Identifier(channel))
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
            with suppress(Error):
                await self._hear()
            with suppress(Error):
                await self._link.pool.check()
            await asyncio.sleep(self.pause)

    async def _hear(self) -> None:
        """Ring until the connection is lost."""
        async with self._link.pool.connection() as connection:
            try:
                await connection.set_autocommit(True)
                await connection.execute(self._listen)
                self._bell.ring()  # what was made due before is not told again
                async for _ in connection.notifies():
                    self._bell.ring()
            finally:
                await connection.close()  # nobody else wants one that listens
