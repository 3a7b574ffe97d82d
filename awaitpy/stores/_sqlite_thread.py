"""A thread with a connection: what many tasks ask of it meanwhile, it does in one transaction."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from awaitpy.durable._store import HookTaken, LeaseLost, StoreError
from awaitpy.stores._sqlite_errors import told

T = TypeVar("T")

Work: TypeAlias = Callable[[sqlite3.Connection], Any]
_PER_TURN: Final = 16
"""How many tasks are woken in one turn of the event loop, so that others get in between."""
_REFUSALS: Final = (LeaseLost, HookTaken, StoreError)
"""Raised before anything was written: the transaction can go on."""


class _Job(msgspec.Struct, eq=False):
    work: Work
    writes: bool
    asked: asyncio.Future[Any]
    value: Any = None
    error: Exception | None = None

    def tell(self) -> None:
        """Give the answer to who asked, unless they went away."""
        if self.asked.done():
            return
        if self.error is None:
            self.asked.set_result(self.value)
        else:
            self.asked.set_exception(self.error)


class Thread:
    """A connection in a thread of its own. `ask` is called on the event loop that made it."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], leave: Callable[[sqlite3.Connection], None]
    ) -> None:
        self._connect, self._leave = connect, leave
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Connect. Raises StoreError."""
        # A daemon, so that a program that forgets to close its store can end.
        threading.Thread(target=self._main, name="awaitpy-sqlite", daemon=True).start()
        try:
            await self._opened
        except BaseException:
            self._jobs.put(None)  # who was cancelled leaves no thread behind
            raise

    def ask(self, work: Callable[[sqlite3.Connection], T], *, writes: bool) -> asyncio.Future[T]:
        """Give what the work gives once it is committed; raise what it or the commit raises."""
        asked: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, writes, asked))
        return asked

    async def stop(self) -> None:
        """Let it finish what was asked and close the connection."""
        self._jobs.put(None)
        await asyncio.shield(self._ended)

    def _main(self) -> None:
        try:
            db = self._connect()
        except Exception as error:  # noqa: BLE001  handed to who opens the store
            self._call(_settle, self._opened, told(error))
            return
        self._call(_settle, self._opened)
        while self._turn(db):
            pass
        self._leave(db)
        self._call(_settle, self._ended)

    def _turn(self, db: sqlite3.Connection) -> bool:
        """Do what was asked meanwhile; False if nothing more will be."""
        jobs, going = self._asked()
        transact(db, jobs)
        size = _PER_TURN if going else len(jobs)  # at the end all are told before `stop` returns
        return self._call(_tell, self._loop, jobs, size) and going

    def _asked(self) -> tuple[list[_Job], bool]:
        """Wait for work; give all that is there by then, and whether more may come."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        with suppress(queue.Empty):
            while job is not None:
                jobs.append(job)
                job = self._jobs.get_nowait()
            return jobs, False
        return jobs, True

    def _call(self, function: Callable[..., None], *args: Any) -> bool:
        """Call a function on the loop; False if the loop is closed, and nobody is left to be told."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True


def transact(db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    """Do jobs in one transaction; if it fails, each in one of its own, so that one fails alone."""
    writes = any(job.writes for job in jobs)
    try:
        db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    except sqlite3.Error as error:
        # It waited for the lock already, and the next one would wait as long.
        for job in jobs:
            job.error = told(error)
        return
    try:
        for job in jobs:
            _do(db, job)
        db.execute("COMMIT")
    except Exception as error:  # noqa: BLE001  any error is handed to who asked
        _roll_back(db)
        _one_by_one(db, jobs, error)


def _do(db: sqlite3.Connection, job: _Job) -> None:
    try:
        job.value = job.work(db)
    except _REFUSALS as refusal:
        job.error = refusal


def _one_by_one(db: sqlite3.Connection, jobs: Sequence[_Job], error: Exception) -> None:
    if len(jobs) == 1:
        jobs[0].error = told(error)
        return
    for job in jobs:
        job.error = None
        transact(db, [job])


def _roll_back(db: sqlite3.Connection) -> None:
    # A full disk may have rolled back already. What fails here fails again at the next BEGIN.
    with suppress(sqlite3.Error):
        db.execute("ROLLBACK")


def _tell(loop: asyncio.AbstractEventLoop, jobs: Sequence[_Job], size: int) -> None:
    """Give the answers, so many in one turn of the loop: what they wake all runs in its next turn."""
    for job in jobs[:size]:
        job.tell()
    if len(jobs) > size:
        loop.call_soon(_tell, loop, jobs[size:], size)


def _settle(future: asyncio.Future[None], error: Exception | None = None) -> None:
    if future.done():  # cancelled: nobody waits for it
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
