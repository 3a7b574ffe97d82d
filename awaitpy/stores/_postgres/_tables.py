"""The tables, and how they come to the version of this code: forward only."""

from __future__ import annotations

from typing import Final

from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import TupleRow, tuple_row

from awaitpy.durable._store import StoreError

# Each is done once, in this order. Never edit one that was released: add another.
# No foreign keys: an append would lock its run a second time for each of them.
MIGRATIONS: Final[tuple[sql.SQL, ...]] = (
    sql.SQL("""
CREATE TABLE {s}.runs (
    run_id text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL,
    workflow text NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL,
    state bytea NOT NULL,
    settled bigint NOT NULL,
    due double precision,
    tries bigint NOT NULL,
    trouble text,
    metadata text NOT NULL,  -- JSON
    items text[] NOT NULL,   -- a digest of each of its items, to search by
    created double precision NOT NULL,
    updated double precision NOT NULL,
    owner text,              -- who has the lease; NULL if nobody has it
    token bigserial,         -- the fencing token of the last lease
    until double precision,
    mark bigint NOT NULL,    -- which save this is
    claimed bigint           -- which claim this is
);
CREATE INDEX runs_due ON {s}.runs (due) WHERE due IS NOT NULL;
CREATE INDEX runs_leased ON {s}.runs (until) WHERE owner IS NOT NULL;
CREATE INDEX runs_created ON {s}.runs (created, run_id);
CREATE INDEX runs_status ON {s}.runs (status, created, run_id);
CREATE INDEX runs_updated ON {s}.runs (status, updated);
CREATE INDEX runs_items ON {s}.runs USING gin (items);
CREATE TABLE {s}.lines (
    run_id text COLLATE "C",
    seq bigint,
    data bytea NOT NULL,
    mark bigint NOT NULL,    -- which append this is
    PRIMARY KEY (run_id, seq)
);
CREATE TABLE {s}.hooks (
    hook_id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL
);
CREATE INDEX hooks_run ON {s}.hooks (run_id);
"""),
)
# Not by to_regclass: it may look into a cache from before the lock was ours.
HAS_VERSION = """
SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relname = 'version'
"""
VERSION_TABLE = sql.SQL("CREATE TABLE {s}.version (version bigint NOT NULL)")
VERSION = sql.SQL("SELECT version FROM {s}.version")
FIRST_VERSION = sql.SQL("INSERT INTO {s}.version VALUES (0)")
NEXT_VERSION = sql.SQL("UPDATE {s}.version SET version = {version}")


async def migrate(connection: AsyncConnection[object], schema: str) -> None:
    """Bring the tables of this schema to the version of this code, whoever else is about to."""
    cursor = AsyncCursor(connection, row_factory=tuple_row)
    if await _version(cursor, schema) != len(MIGRATIONS):
        async with connection.transaction():
            await cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"awaitpy:{schema}"]
            )
            await _migrate(cursor, schema)


async def _migrate(cursor: AsyncCursor[TupleRow], schema: str) -> None:
    names = {"s": sql.Identifier(schema)}
    version = await _version(cursor, schema)
    if version is None:
        version = 0
        await _make_schema(cursor, schema)
        await cursor.execute(VERSION_TABLE.format(**names))
        await cursor.execute(FIRST_VERSION.format(**names))
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The tables in schema {schema!r} have version {version}, and this awaitpy knows "
            f"{len(MIGRATIONS)}: a newer one was here. Upgrade awaitpy in this process."
        )
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        await cursor.execute(step.format(**names))
        await cursor.execute(NEXT_VERSION.format(**names, version=sql.Literal(number)))


async def _version(cursor: AsyncCursor[TupleRow], schema: str) -> int | None:
    """The version of the tables; None if there are none."""
    await cursor.execute(HAS_VERSION, [schema])
    if await cursor.fetchone() is None:
        return None
    await cursor.execute(VERSION.format(s=sql.Identifier(schema)))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def _make_schema(cursor: AsyncCursor[TupleRow], schema: str) -> None:
    """Make the schema unless it is there: who may not make one can be given one."""
    await cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema])
    if await cursor.fetchone() is None:
        await cursor.execute(sql.SQL("CREATE SCHEMA {s}").format(s=sql.Identifier(schema)))
