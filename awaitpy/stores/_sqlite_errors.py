"""What went wrong in SQLite, as a `StoreError` that says what to do."""

from __future__ import annotations

import sqlite3
from typing import Final

from awaitpy.durable._store import StoreError

_BUSY: Final = (
    "Somebody else held the lock on the file for too long. Keep transactions on it short, or let the "
    "store wait longer: SQLiteStore(..., timeout=30)."
)
_DAMAGED: Final = "Restore the file from a backup, or give the path of a database."
_MENDS: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: "The disk is full: make room, and try again.",
    sqlite3.SQLITE_IOERR: "The disk or the file system failed: look into the system's log.",
    sqlite3.SQLITE_READONLY: "Let this process write to the file and to its folder.",
    sqlite3.SQLITE_CANTOPEN: "The folder has to exist, and to be writable by this process.",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def told(error: Exception) -> Exception:
    """Give the StoreError for an error of SQLite; any other error as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    # An error of the module itself, such as the use of a closed connection, has no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    mend = _MENDS.get(code, "Look whether the connection is open and the tables are those of awaitpy.")
    failed = StoreError(
        f"SQLite could not do what was asked, and wrote nothing: {error}. {mend}",
        transient=code in _PASSING,
    )
    failed.__cause__ = error
    return failed
