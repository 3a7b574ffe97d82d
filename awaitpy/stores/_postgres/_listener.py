"""One connection that hears when another process made a run due."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from psycopg import Error, sql

from awaitpy.stores._bell import Bell
from awaitpy.stores._listener import Listener
from awaitpy.stores._postgres._link import LEAST, Connection, Link


class PostgresListener(Listener):
    """Rings a bell at each notification of a channel."""

    def __init__(self, link: Link, channel: str, bell: Bell) -> None:
        super().__init__()
        self._link, self._bell = link, bell
        name = sql.Identifier(channel)
        self._begin, self._end = sql.SQL("LISTEN {}").format(name), sql.SQL("UNLISTEN {}").format(name)

    async def _listen(self) -> None:
        with suppress(Error):
            await self._hear()
        with suppress(Error):
            await self._link.pool.check()

    async def _hear(self) -> None:
        """Ring until the connection is lost."""
        async with self._link.pool.connection() as connection:
            commits = connection.autocommit
            try:
                await connection.set_autocommit(True)
                await connection.execute(self._begin)
                self._bell.ring()  # what was made due before is not told again
                async for _ in connection.notifies():
                    self._bell.ring()
            finally:
                await self._hush(connection, commits)

    async def _hush(self, connection: Connection, commits: bool) -> None:
        """Let it go back to the pool as it was: nobody else wants one that listens."""
        # It may be lost, and who cancelled this waits for it: nothing else is raised, and not for long.
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(LEAST):
                await connection.execute(self._end)
                await connection.set_autocommit(commits)
