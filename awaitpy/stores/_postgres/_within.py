"""Writes in a transaction of the application's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Error
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from awaitpy.durable._store import Head, Lease, Line, StoreError
from awaitpy.stores import _metadata
from awaitpy.stores._jobs import Answer, Append, Create, Job, Save
from awaitpy.stores._postgres._errors import store_error
from awaitpy.stores._postgres._statements import Statements
from awaitpy.stores._postgres._write import write
from awaitpy.stores._texts import check_texts


class Within:
    """The verbs that write, in the open transaction of a connection: they count when it commits.

    Each is a savepoint: one that fails leaves the transaction as it was. Until the commit, other
    processes that want the same run wait; so commit soon.
    """

    def __init__(self, connection: AsyncConnection[Any], statements: Statements) -> None:
        self._connection, self._statements = connection, statements

    async def create(
        self,
        run_id: str,
        head: Head,
        *,
        metadata: Mapping[str, Any],
        now: float,
        lease: tuple[str, float] | None = None,
    ) -> Lease | bool:
        """Add a run; see `Store.create`."""
        kept = _metadata.encode(metadata)
        job = Create(run_id=run_id, head=head, metadata=kept, now=now, lease=lease)
        answer = await self._do(job, head.workflow, head.status)
        return answer if isinstance(answer, Lease) else answer is True

    async def append(self, lease: Lease, lines: Sequence[Line]) -> None:
        """Add lines to a journal; see `Store.append`."""
        await self._do(Append(lease=lease, lines=tuple(lines)))

    async def save(
        self,
        run_id: str,
        head: Head,
        *,
        revision: int,
        now: float,
        lease: Lease | None = None,
        release: bool = False,
    ) -> bool:
        """Replace the head of a run; see `Store.save`."""
        job = Save(run_id=run_id, head=head, revision=revision, now=now, lease=lease, release=release)
        return await self._do(job, head.workflow, head.status) is True

    async def _do(self, job: Job, *texts: str) -> Answer | None:
        check_texts(job.run_id, *job.hooks, *texts)
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
