"""The queries of docs/operations.md find what they say, in the tables that the stores make."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psycopg

from awaitpy.durable import Lease
from awaitpy.stores import SQLiteStore
from awaitpy.testing._suite import head

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
FOUND = {
    "parked": [("parked", "order")],
    "overdue by five minutes, and nobody at work": [(2,)],
    "running, and their process died more than a minute ago": [("died", "me")],
    "how many of what": [("order", "interrupted", 2), ("order", "queued", 1), ("order", "running", 2)],
}


def queries(database):
    """Give each query of the page for this database, by what it is said to find."""
    (block,) = re.findall(
        rf"^In {database}:\n\n```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return dict(re.findall(r"-- (.*?)\n(.*?);\n", block, re.DOTALL))


async def filled(store):
    """Let there be a run of each kind that is asked for."""
    now = time.time()
    runs = {
        "parked": (head(status="interrupted", due=None), None),
        "again": (head(status="interrupted", due=now + 99), None),
        "overdue": (head(status="queued", due=now - 999), None),
        "died": (head(status="running", due=now - 999), now - 99),
        "at work": (head(status="running", due=now - 999), now + 99),
    }
    await store.open()
    for run_id, (begun, until) in runs.items():
        lease = None if until is None else ("me", until)
        made = await store.create(run_id, begun, metadata={}, now=now, lease=lease)
        assert isinstance(made, Lease) is (until is not None)
    await store.close()


async def test_the_queries_for_sqlite_find_what_they_say(tmp_path):
    await filled(SQLiteStore(tmp_path / "runs.db"))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        said = {
            what: sorted(connection.execute(query).fetchall()) for what, query in queries("SQLite").items()
        }
    assert said == FOUND


async def test_the_queries_for_postgresql_find_what_they_say(in_postgres):
    await filled(in_postgres.store())
    said = {}
    async with await psycopg.AsyncConnection.connect(in_postgres.server.url) as connection:
        for what, query in queries("PostgreSQL").items():
            assert "awaitpy.runs" in query
            here = query.replace("awaitpy.runs", f'"{in_postgres.name}".runs')
            said[what] = sorted(await (await connection.execute(here)).fetchall())
    assert said == FOUND
