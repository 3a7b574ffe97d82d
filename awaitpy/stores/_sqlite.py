"""Runs in an SQLite file, which any number of processes of one machine share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Literal, TypeVar

from awaitpy.durable._store import StoreError
from awaitpy.stores import _sqlite_queries as queries
from awaitpy.stores._bell import Bell, Caller, Seen, caller
from awaitpy.stores._sqlite_errors import told
from awaitpy.stores._sqlite_lent import Loan, check_kind, plain_rows
from awaitpy.stores._sqlite_schema import configure, migrate
from awaitpy.stores._sqlite_thread import Thread
from awaitpy.stores._sqlite_verbs import Verbs

T = TypeVar("T")


class SQLiteStore(Verbs):
    """A store in an SQLite file, in WAL mode. Needs nothing but the standard library.

    What all tasks ask at the same time is committed together, by a thread: the event loop never waits
    for the disk. With `synchronous="FULL"` what a verb wrote survives a power cut. With "NORMAL" it
    survives the end of the process, but a power cut may take back the last commits.

    `timeout` is how many seconds to wait for the lock of another process; after `poll` seconds at most,
    `changed` sees what other processes did. Instead of a path, `connection` may be one that you opened
    with `check_same_thread=False`: it is the store's own until `close`, which leaves it open and sets it to
    what it was. `open` refuses one that is in a transaction.

    Raises ValueError for a path and a connection, or neither, or a path that is no file, and TypeError for
    a connection that is none of `sqlite3`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        connection: sqlite3.Connection | None = None,
        synchronous: Literal["EXTRA", "FULL", "NORMAL"] = "FULL",
        timeout: float = 5.0,
        poll: float = 0.2,
    ) -> None:
        if (path is None) is (connection is None):
            raise ValueError("An SQLiteStore needs either the path of a file or a connection=.")
        if connection is not None:
            check_kind("connection=", connection)
        if isinstance(path, sqlite3.Connection):
            raise TypeError("A connection is given by name: SQLiteStore(connection=...).")
        if path in {"", ":memory:"}:
            raise ValueError("An SQLiteStore is kept in a file; in memory there is the MemoryStore.")
        if synchronous not in {"EXTRA", "FULL", "NORMAL"}:
            raise ValueError(f"synchronous={synchronous!r} is not 'FULL', 'NORMAL' or 'EXTRA'.")
        self._path: Final = os.fspath(path or "")
        self._connection: Final = connection
        self._loan: Loan | None = None
        self._synchronous: Final = synchronous
        self._timeout: Final = timeout
        self._poll: Final = poll
        self._bell: Final = Bell()
        self._writer: Thread | None = None
        self._reader: Thread | None = None
        self._seen: Final = Seen()

    async def open(self) -> None:
        """Open the file, make it if there is none, and bring its tables to this version.

        Raises `StoreError`, also for tables that a later awaitpy has made.
        """
        if self._writer is not None:
            return
        writer = await _started(Thread(self._connect, self._leave))
        try:
            # Reads don't wait for the disk on a connection of their own. Of a given one there is no other.
            alone = self._connection is not None
            reader = writer if alone else await _started(Thread(self._connect_reader, _close))
        except BaseException:
            await writer.stop()
            raise
        self._writer, self._reader = writer, reader

    async def close(self) -> None:
        """Finish what was asked, close the file and end the threads. A second call does nothing."""
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        if writer is not None and reader is not None:
            await writer.stop()
            if reader is not writer:
                await reader.stop()

    def changed(self, timeout: float) -> Coroutine[Any, Any, None]:
        """Return when a run may have become due, or in time; see `Store.changed`."""
        return self._changed(timeout, caller())

    async def _changed(self, timeout: float, task: Caller) -> None:  # noqa: ASYNC109  a wait that ends in time is no error
        seen = self._seen.by(task)
        while not await self._bell.rang(min(timeout, self._poll), task):
            timeout -= self._poll
            version = await self._read(queries.data_version)
            self._seen.see(task, version)
            if version != seen or timeout <= 0:
                return

    def within(self, connection: sqlite3.Connection) -> Verbs:
        """The verbs of this store in a transaction of yours, on a connection of yours to the same file.

        They run at once, in the thread that calls, and nothing is committed: your commit keeps what you
        and they wrote, and your rollback takes back both. If a verb fails it has written nothing, and
        your transaction goes on. Raises TypeError for what is no connection of `sqlite3`.
        """
        check_kind("within()", connection, "Give the one that your transaction is on.")
        return _Joined(connection)

    def _write(self, work: Callable[[sqlite3.Connection], T], *, rings: bool = False) -> Awaitable[T]:
        answer = _open(self._writer).ask(work, writes=True)
        return self._rung(answer) if rings else answer

    async def _rung(self, answer: Awaitable[T]) -> T:
        given = await answer
        self._bell.ring()
        return given

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await _open(self._reader).ask(work, writes=False)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        else:
            db, self._loan = self._connection, Loan(self._connection)
        try:
            if self._loan is not None:
                self._loan.take()
            configure(db, self._synchronous, self._timeout)
            migrate(db)
        except BaseException:
            self._leave(db)
            raise
        return db

    def _connect_reader(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        db.execute("PRAGMA cache_size = -16000")
        return db

    def _leave(self, db: sqlite3.Connection) -> None:
        if self._loan is None:
            _close(db)
        else:
            self._loan.give_back()


class _Joined(Verbs):
    """The verbs in a transaction of the user's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db: Final = connection

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, rings: bool = False) -> T:  # noqa: ARG002  nothing is due before the user's commit
        try:
            with plain_rows(self._db):
                self._begin()
                return _saved(self._db, work)
        except sqlite3.Error as error:
            raise told(error) from None

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with plain_rows(self._db):
                return work(self._db)
        except sqlite3.Error as error:
            raise told(error) from None

    def _begin(self) -> None:
        """Be in a transaction: the user's, or the one that `sqlite3` would begin for their next write."""
        if self._db.in_transaction:
            return
        if self._db.isolation_level is None:
            raise StoreError(
                "The connection given to within() has no transaction to join and begins none by itself "
                "(isolation_level=None): execute BEGIN IMMEDIATE first."
            )
        self._db.execute("BEGIN IMMEDIATE")


def _saved(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Give what the work gives; if it fails, what it wrote is taken back and no more."""
    db.execute("SAVEPOINT awaitpy")
    try:
        answer = work(db)
    except BaseException:
        if db.in_transaction:  # a full disk may have rolled all of it back
            db.execute("ROLLBACK TO awaitpy")
            db.execute("RELEASE awaitpy")
        raise
    db.execute("RELEASE awaitpy")
    return answer


async def _started(thread: Thread) -> Thread:
    await thread.start()
    return thread


def _open(thread: Thread | None) -> Thread:
    if thread is None:
        raise StoreError(
            "The store is not open: use it inside `async with Durable(...)`, or await its open() first."
        )
    return thread


def _close(db: sqlite3.Connection) -> None:
    db.close()
