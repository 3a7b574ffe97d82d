"""`PostgresStore`: the verbs of a store, on a pool of connections."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from awaitpy.durable._store import Lease, Query, StoredRun, StoreError
from awaitpy.stores._bell import Bell
from awaitpy.stores._jobs import Answer, Job
from awaitpy.stores._missing import missing

try:
    from psycopg import AsyncConnection
    from psycopg.errors import LockNotAvailable
    from psycopg.rows import TupleRow
    from psycopg_pool import AsyncConnectionPool
except ImportError as error:
    raise missing("PostgresStore", "psycopg 3 with its pool", "postgres") from error

from awaitpy.stores._postgres._errors import copied
from awaitpy.stores._postgres._link import Link
from awaitpy.stores._postgres._listener import PostgresListener
from awaitpy.stores._postgres._rows import conditions, stored_run
from awaitpy.stores._postgres._statements import Statements
from awaitpy.stores._postgres._tables import migrate
from awaitpy.stores._postgres._within import Within, check_kind
from awaitpy.stores._postgres._write import plain_append, write, write_plain
from awaitpy.stores._texts import are_texts, check_texts, is_text
from awaitpy.stores._writes import GroupedWrites

PURGED_AT_ONCE = 1_000


class PostgresStore(GroupedWrites):
    """A store in PostgreSQL 13 or newer, for any number of processes.

    `conninfo` is what psycopg connects with: a URL, or `"host=db dbname=shop"`; without it libpq's
    environment variables say where. `pool` is an open `psycopg_pool.AsyncConnectionPool` of the
    application instead, which stays open; the store takes one of its connections for good as soon as
    somebody waits in `changed`. The tables are made in a `schema` of their own. `connections` is how
    many the store's own pool has at most, and `patience` for how many seconds it waits for one, or for a
    lock that somebody else holds.

    What is written is as durable as the server's `synchronous_commit` says; at its default, `on`, it is on
    disk when the verb returns. What several tasks write at the same moment shares a commit.
    """

    def __init__(
        self,
        conninfo: str = "",
        *,
        pool: AsyncConnectionPool[Any] | None = None,
        schema: str = "awaitpy",
        connections: int = 5,
        patience: float = 10.0,
    ) -> None:
        super().__init__()
        self._schema: Final = schema
        self._statements: Final = Statements(schema)
        self._link: Final = Link(conninfo, connections, pool, patience)
        self._bell: Final = Bell()
        self._listener: Final = PostgresListener(self._link, self._statements.channel, self._bell)

    async def open(self) -> None:
        """Connect, and bring the tables to this version; see `Store.open`.

        A server that refuses is told at once, and one that does not answer after `patience` seconds.
        """
        await self._link.open(lambda connection: migrate(connection, self._schema))

    async def close(self) -> None:
        """Write what was asked for, and let go of the connections; see `Store.close`."""
        await self._writer.finish()
        await self._listener.stop()
        await self._link.close()

    def within(self, connection: AsyncConnection[Any]) -> Within:
        """`create`, `append` and `save` in the open transaction of this connection, without a commit.

        So the rows of the application and the run count together or not at all. The tables have to be
        in the database of that connection. Raises TypeError for what is no `psycopg.AsyncConnection`.
        """
        check_kind(connection)
        return Within(connection, self._statements)

    async def load(self, run_id: str, *, tail: bool = False) -> StoredRun | None:
        """Give a run with its lines; see `Store.load`."""
        if not is_text(run_id):
            return None
        values = {"run_id": run_id, "tail": tail}
        rows = await self._link.rows(self._statements["load"], values)
        return stored_run(rows[0]) if rows else None

    async def claim(
        self,
        owner: str,
        *,
        now: float,
        until: float,
        limit: int = 1,
        run_id: str | None = None,
        workflows: Sequence[str] | None = None,
    ) -> list[Lease]:
        """Lease runs; see `Store.claim`."""
        if run_id is not None and not is_text(run_id):
            return []
        check_texts(owner)
        statement = self._statements["claim_due" if run_id is None else "claim_one"]
        values: dict[str, Any] = {
            "owner": owner,
            "now": now,
            "until": until,
            "limit": limit,
            "run_id": run_id,
        }
        values |= {"workflows": _texts(workflows), "mark": secrets.randbits(63)}

        rows = await self._link.tried(lambda again: self._claimed(statement, values, again))
        return [Lease(found, owner, token, until) for found, token, _ in sorted(rows, key=_due)]

    async def find(self, hook_id: str) -> str | None:
        """Give the run of a hook; see `Store.find`."""
        if not is_text(hook_id):
            return None
        rows = await self._link.rows(self._statements["find"], [hook_id])
        return rows[0][0] if rows else None

    async def next_due(self, *, now: float, workflows: Sequence[str] | None = None) -> float | None:  # noqa: ARG002  the index has both times
        """Give the time of the next run to claim; see `Store.next_due`."""
        rows = await self._link.rows(self._statements["next_due"], {"workflows": _texts(workflows)})
        soonest: float | None = rows[0][0]
        return soonest

    async def page(self, query: Query) -> list[StoredRun]:
        """Give a page of runs; see `Store.page`."""
        if not are_texts(query.workflow, query.status):
            return []
        parts, values = conditions(query)
        rows = await self._link.rows(self._statements.page(parts), values)
        return [stored_run(row) for row in rows]

    async def delete(self, run_id: str) -> bool:
        """Remove a run; see `Store.delete`."""
        return is_text(run_id) and await self._delete("delete", [[run_id]]) > 0

    async def purge(self, *, before: float, statuses: Sequence[str]) -> int:
        """Remove old runs, a thousand in a transaction; see `Store.purge`."""
        values = [_texts(statuses), before, PURGED_AT_ONCE]
        count = purged = await self._delete("purge", values)
        while purged == PURGED_AT_ONCE:
            purged = await self._delete("purge", values)
            count += purged
        return count

    def changed(self, timeout: float) -> Coroutine[Any, Any, None]:
        """Return when a run may have become due, or in time; see `Store.changed`.

        It hears it by `LISTEN`. Through a pooler that shares sessions, such as PgBouncer in transaction
        mode, nothing is heard, and it always takes the whole time. Raises StoreError where the pool has
        one connection: nobody could work beside it.
        """
        self._link.check_spare()
        self._listener.start()
        return self._bell.wait(timeout)

    async def _write(self, jobs: list[Job], *, alone: bool) -> list[Answer | None]:
        async def work(again: bool) -> list[Answer | None]:
            for job in jobs:
                job.again = job.again or again
            return await self._write_once(jobs, alone=alone)

        try:
            return await self._link.tried(work)
        except StoreError as error:
            # One of them may be to blame, or wait for somebody: it should not hold up the others.
            if not alone and (not error.transient or isinstance(error.__cause__, LockNotAvailable)):
                return [None for _ in jobs]
            return [copied(error) for _ in jobs]

    async def _write_once(self, jobs: list[Job], *, alone: bool) -> list[Answer | None]:
        if (plain := plain_append(jobs)) is not None:
            async with self._link.cursor() as cursor:
                if await write_plain(cursor, self._statements, plain):
                    return [True]
        async with self._link.writing() as cursor:
            return await write(cursor, self._statements, jobs, waits=alone)

    async def _claimed(self, statement: bytes, values: dict[str, Any], again: bool) -> list[TupleRow]:
        async with self._link.writing() as cursor:
            if again:  # the try before may have got through
                await cursor.execute(self._statements["claimed"], values)
                if rows := await cursor.fetchall():
                    return rows
            await cursor.execute(statement, values)
            return await cursor.fetchall()

    async def _delete(self, statement: str, values: Sequence[object]) -> int:
        """Delete what the statement deletes, with all that belongs to it; give how many runs."""

        async def work(_again: bool) -> int:
            async with self._link.writing() as cursor:
                await cursor.execute(self._statements[statement], values)
                ids = [run_id for (run_id,) in await cursor.fetchall()]
                await cursor.execute(self._statements["erase"], [ids])
                await cursor.execute(self._statements["forget"], [ids])
            return len(ids)

        return await self._link.tried(work)


def _due(row: TupleRow) -> float:
    return 0.0 if row[2] is None else float(row[2])


def _texts(texts: Sequence[str] | None) -> list[str] | None:
    """Those of them that may be in a table."""
    return None if texts is None else list(filter(is_text, texts))
