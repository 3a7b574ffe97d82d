"""The tables of `SQLiteStore`, and how older ones become these: forward only, one process at a time."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Final

from awaitpy.durable._store import StoreError

# Names begin with awaitpy_, and the version stands in a table of its own: the file may be the user's,
# with tables and a `PRAGMA user_version` of the user's.
_FIRST: Final = (
    "CREATE TABLE awaitpy_store (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER, token INTEGER)",
    "INSERT INTO awaitpy_store VALUES (1, 0, 0)",
    # What is short stands in front of what may be long, so that it is read without the overflow pages.
    """
    CREATE TABLE awaitpy_runs (
        id INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL,
        token INTEGER,
        until REAL,
        owner TEXT,
        workflow TEXT NOT NULL,
        version INTEGER NOT NULL,
        status TEXT NOT NULL,
        settled INTEGER NOT NULL,
        due REAL,
        tries INTEGER NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        metadata TEXT NOT NULL,
        trouble TEXT,
        state BLOB NOT NULL
    )
    """,
    "CREATE INDEX awaitpy_runs_due ON awaitpy_runs (workflow, due) WHERE due IS NOT NULL",
    "CREATE INDEX awaitpy_runs_leased ON awaitpy_runs (until) WHERE until IS NOT NULL",
    "CREATE INDEX awaitpy_runs_listed ON awaitpy_runs (status, workflow, created, run_id)",
    # place is awaitpy_runs.id << 32 | the number of the line: the journal of a run lies together, in order.
    "CREATE TABLE awaitpy_lines (place INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE awaitpy_hooks (hook_id TEXT PRIMARY KEY, run INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX awaitpy_hooks_run ON awaitpy_hooks (run)",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
"""What makes version n + 1 of the tables out of version n. Never edit one that was released: add one."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables to this version, unless they are. Raises StoreError for those of a later one."""
    if _version(db) == len(MIGRATIONS):
        return
    db.execute("BEGIN EXCLUSIVE")
    try:
        _forward(db)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _forward(db: sqlite3.Connection) -> None:
    found = _version(db)  # again, under the lock: somebody may have come first
    if found > len(MIGRATIONS):
        raise StoreError(
            f"The tables of this database have version {found}, made by a later awaitpy; this one "
            f"knows version {len(MIGRATIONS)}. Upgrade awaitpy here: pip install -U awaitpy."
        )
    for number, migration in enumerate(MIGRATIONS[found:], found + 1):
        for statement in migration:
            db.execute(statement)
        db.execute("UPDATE awaitpy_store SET version = ?", (number,))


def _version(db: sqlite3.Connection) -> int:
    """Give the version of the tables, 0 where there are none."""
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'awaitpy_store'"
    if db.execute(there).fetchone() is None:
        return 0
    version: int = db.execute("SELECT version FROM awaitpy_store").fetchone()[0]
    return version


def configure(db: sqlite3.Connection, synchronous: str, timeout: float) -> None:
    """Set up a connection that writes: WAL, how safe a commit is, how long to wait for others."""
    db.execute("PRAGMA busy_timeout = 0")
    _use_wal(db, timeout)
    db.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA cache_size = -16000")  # KiB: the upper levels of the indexes of a million runs


def _use_wal(db: sqlite3.Connection, timeout: float) -> None:
    """Turn WAL on. SQLite does not always wait for others who do so at this moment: we do."""
    until = time.monotonic() + timeout
    while True:
        try:
            with closing(db.execute("PRAGMA journal_mode = WAL")) as told:
                told.fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
