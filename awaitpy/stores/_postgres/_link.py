"""Connections, transactions and second tries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from psycopg import AsyncConnection, AsyncCursor, Error
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool

from awaitpy.durable._store import StoreError
from awaitpy.stores._postgres._errors import is_worth_another_try, store_error
from awaitpy.stores._postgres._statements import GUARD

T = TypeVar("T")
Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[Any]]
TRIES = 5


class Link:
    """The way to the server, by the application's pool or one that is made when it is opened.

    `patience` is how many seconds to wait for a lock or a connection.
    """

    def __init__(self, pool: Pool | None, make_pool: Callable[[], Pool], patience: float) -> None:
        self._pool, self._make_pool, self._is_own = pool, make_pool, pool is None
        # A process that is stopped in the middle of a transaction holds nobody up for longer.
        self._guard = [f"{round(patience * 1000)}ms"] * 2
        self._patience = patience

    @property
    def pool(self) -> Pool:
        """The connections. Raises StoreError if there are none yet, or no longer."""
        if self._pool is None:
            raise StoreError("The PostgresStore is not open: await `store.open()` before its other verbs.")
        return self._pool

    async def open(self) -> None:
        """Have a pool. A second call does nothing."""
        if self._pool is None:
            self._pool = self._make_pool()
            await self._pool.open()

    async def close(self) -> None:
        """Close the pool, unless it is the application's. A second call does nothing."""
        if self._is_own and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @asynccontextmanager
    async def cursor(self) -> AsyncGenerator[AsyncCursor[TupleRow]]:
        """A cursor for one statement."""
        async with self.pool.connection(self._patience) as connection:
            yield AsyncCursor(connection, row_factory=tuple_row)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncCursor[TupleRow]]:
        """A cursor in a transaction, which commits where the block ends."""
        async with self.pool.connection(self._patience) as connection, connection.transaction():
            cursor = AsyncCursor(connection, row_factory=tuple_row)
            await cursor.execute(GUARD, self._guard)
            yield cursor

    async def tried(self, work: Callable[[bool], Awaitable[T]]) -> T:
        """What the work gives, told whether it was tried before. Raises StoreError if it can't be done."""
        for count in range(TRIES - 1):
            try:
                return await work(count > 0)
            except Error as error:
                if not is_worth_another_try(error):
                    raise store_error(error) from error
                await self.pool.check()
        try:
            return await work(True)
        except Error as error:
            raise store_error(error) from error

    async def rows(self, statement: Any, values: Any) -> list[TupleRow]:
        """What one statement that only reads selects."""

        async def read(_again: bool) -> list[TupleRow]:
            async with self.cursor() as cursor:
                await cursor.execute(statement, values, binary=True)
                return await cursor.fetchall()

        return await self.tried(read)
