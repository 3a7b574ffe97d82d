"""One connection that hears when another process made a run due."""

from __future__ import annotations

from contextlib import suppress

from psycopg import Error, sql

from awaitpy.stores._bell import Bell
from awaitpy.stores._listener import Listener
from awaitpy.stores._postgres._link import Link


class PostgresListener(Listener):
    """Rings a bell at each notification of a channel."""

    def __init__(self, link: Link, channel: str, bell: Bell) -> None:
        super().__init__()
        self._link, self._bell = link, bell
        self._command = sql.SQL("LISTEN {}").format(sql.Identifier(channel))

    async def _listen(self) -> None:
        with suppress(Error):
            await self._hear()
        with suppress(Error):
            await self._link.pool.check()

    async def _hear(self) -> None:
        """Ring until the connection is lost."""
        async with self._link.pool.connection() as connection:
            try:
                await connection.set_autocommit(True)
                await connection.execute(self._command)
                self._bell.ring()  # what was made due before is not told again
                async for _ in connection.notifies():
                    self._bell.ring()
            finally:
                await connection.close()  # nobody else wants one that listens
