"""Writes in a transaction of the application's own."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Error
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from awaitpy.durable._store import StoreError
from awaitpy.stores._jobs import Answer, Job
from awaitpy.stores._postgres._errors import store_error
from awaitpy.stores._postgres._statements import Statements
from awaitpy.stores._postgres._write import write
from awaitpy.stores._writes import Writes


def check_kind(given: object) -> None:
    """Raise TypeError for what is no async connection of psycopg."""
    if not isinstance(given, AsyncConnection):
        raise TypeError(
            f"within() is a psycopg.AsyncConnection, not a {type(given).__name__}. Give the one that your "
            "transaction is on, opened by psycopg.AsyncConnection.connect or an AsyncConnectionPool."
        )


class Within(Writes):
    """The verbs that write, in the open transaction of a connection: they count when it commits.

    Each is a savepoint: one that fails leaves the transaction as it was. Until the commit, other
    processes that want the same run wait; so commit soon.
    """

    def __init__(self, connection: AsyncConnection[Any], statements: Statements) -> None:
        self._connection, self._statements = connection, statements

    async def _write_job(self, job: Job) -> Answer | None:
        try:
            await self._begin()
            async with self._connection.transaction():
                cursor = AsyncCursor(self._connection, row_factory=tuple_row)
                (answer,) = await write(cursor, self._statements, [job], waits=True)
        except Error as error:
            raise store_error(error) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _begin(self) -> None:
        """Let the savepoint be one: outside a transaction it would commit."""
        if self._connection.info.transaction_status != TransactionStatus.IDLE:
            return
        if self._connection.autocommit:
            raise StoreError(
                "store.within() got a connection without an open transaction: nothing would commit "
                "together. Call it inside `async with connection.transaction():`."
            )
        await self._connection.execute("SELECT")
