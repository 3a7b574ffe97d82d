"""Connections, transactions and second tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from psycopg import AsyncConnection, AsyncCursor, Error
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from awaitpy.durable._store import StoreError
from awaitpy.stores._postgres._errors import is_worth_another_try, store_error
from awaitpy.stores._postgres._statements import GUARD

T = TypeVar("T")
Connection: TypeAlias = AsyncConnection[Any]
Pool: TypeAlias = AsyncConnectionPool[Connection]
TRIES = 5
LEAST = 1.0
"""Seconds within which a server has to take a connection, however impatient the store is."""


class Link:
    """The way to the server, by the application's pool or one of so many `connections` that `open` makes.

    `patience` is how many seconds to wait for a lock or a connection.
    """

    def __init__(self, conninfo: str, connections: int, pool: Pool | None, patience: float) -> None:
        self._conninfo, self._connections = conninfo, connections
        self._pool, self._is_own = pool, pool is None
        # A process that is stopped in the middle of a transaction holds nobody up for longer.
        self._guard = [f"{round(patience * 1000)}ms"] * 2
        self._patience = patience

    @property
    def pool(self) -> Pool:
        """The connections. Raises StoreError if there are none yet, or no longer."""
        if self._pool is None:
            raise StoreError("The PostgresStore is not open: await `store.open()` before its other verbs.")
        return self._pool

    def check_spare(self) -> None:
        """Raise StoreError if a connection that is taken for good would be the only one."""
        if self.pool.max_size == 1:
            raise StoreError(
                "The pool of the PostgresStore has one connection, and would need it to listen for work: "
                "let it have two or more, as by PostgresStore(..., connections=2)."
            )

    async def open(self, prepare: Callable[[Connection], Awaitable[None]]) -> None:
        """Prepare the database, and have a pool. A second call prepares it again."""

        async def prepared(_again: bool) -> None:
            async with self._first() as connection:
                await prepare(connection)

        await self.tried(prepared)
        if self._pool is None:
            self._pool = await self._opened()

    async def close(self) -> None:
        """Close the pool, unless it is the application's. A second call does nothing."""
        if self._is_own and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @asynccontextmanager
    async def _first(self) -> AsyncGenerator[Connection]:
        """A connection of the pool, or before there is one a connection alone: that says what is wrong."""
        if self._pool is not None:
            async with self._pool.connection(self._patience) as connection:
                yield connection
        else:
            async with await self._alone(self._patience) as connection:
                yield connection

    async def _alone(self, seconds: float) -> Connection:
        seconds = max(seconds, LEAST)
        try:
            async with asyncio.timeout(seconds):
                return await AsyncConnection.connect(self._conninfo, autocommit=True)
        except Error as error:
            raise store_error(error) from error
        except TimeoutError:
            raise StoreError(
                f"PostgreSQL could not do it: the server did not answer within {seconds:g} seconds. Look "
                "whether it runs, and whether a firewall is between.",
                transient=True,
                waited=True,
            ) from None

    async def _opened(self) -> Pool:
        pool: Pool = AsyncConnectionPool(
            self._conninfo,
            open=False,
            min_size=1,
            max_size=self._connections,
            kwargs={"autocommit": True},
            name="awaitpy",
        )
        try:
            await pool.open()
        except BaseException:
            await pool.close()  # who was cancelled leaves no tasks behind
            raise
        return pool

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
                    raise await self._explained(error) from error
            if self._pool is not None:
                await self._pool.check()
        try:
            return await work(True)
        except Error as error:
            raise await self._explained(error) from error

    async def _explained(self, error: Error) -> StoreError:
        """The error of the protocol. That no connection was to be had has a cause, which the pool keeps."""
        if not (self._is_own and isinstance(error, PoolTimeout)):
            return store_error(error)
        try:
            await (await self._alone(LEAST)).close()
        except StoreError as cause:
            cause.waited = True
            return cause
        return StoreError(
            f"PostgreSQL could not do it: for {self._patience:g} seconds the store had no connection free. "
            f"Its {self._connections} are in use, or were lost and are being made again: if this happens "
            "while the server runs, give it more: PostgresStore(..., connections=20).",
            transient=True,
            waited=True,
        )

    async def rows(self, statement: Any, values: Any) -> list[TupleRow]:
        """What one statement that only reads selects."""

        async def read(_again: bool) -> list[TupleRow]:
            async with self.cursor() as cursor:
                await cursor.execute(statement, values, binary=True)
                return await cursor.fetchall()

        return await self.tried(read)
