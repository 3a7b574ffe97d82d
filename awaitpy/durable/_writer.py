"""Writes the journal of a leg: each entry before the run goes on, or behind its back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awaitpy.durable import _parts as parts
from awaitpy.durable._patient import DELAYS, patient
from awaitpy.durable._store import LeaseLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from awaitpy._wire import Entry
    from awaitpy.durable._store import Lease, Line, Store


class Writer:
    """Appends lines under a lease. `written` counts those of the whole journal.

    After a failure nothing more is written, so that the journal has no gap: `failure` is raised again.
    """

    def __init__(
        self, store: Store, lease: Lease, written: int, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._store = store
        self._lease = lease
        self._sleep = sleep
        self._buffer: list[Entry] = []
        self._flushing: asyncio.Task[None] | None = None
        self.written = written
        self.failure: Exception | None = None

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken the run over."""
        return isinstance(self.failure, LeaseLost)

    async def each(self, entry: Entry) -> None:
        """Write an entry: when this returns, it is kept."""
        await self._write([parts.line(entry)])

    def relaxed(self, entry: Entry) -> Awaitable[None] | None:
        """Take an entry, to be written soon.

        One that creates a hook is written at once: its id is about to be given away, and who comes
        to it has to find the run.
        """
        if self.failure is not None:
            raise self.failure
        self._buffer.append(entry)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return None if parts.created(entry) is None else self.drain()

    async def drain(self) -> None:
        """Write what was taken and not yet written."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        try:
            while self._buffer and self.failure is None:
                taken, self._buffer = self._buffer, []
                await self._write([parts.line(entry) for entry in taken])
        except Exception:  # noqa: BLE001  it is kept in `failure`, and whoever comes next is told
            self._buffer = []
        finally:
            self._flushing = None

    async def _write(self, lines: Sequence[Line]) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            await self._append(lines)
        except Exception as error:
            self.failure = error
            raise
        self.written += len(lines)

    async def _append(self, lines: Sequence[Line]) -> None:
        try:
            await self._store.append(self._lease, lines)
        except StoreError as error:
            if not error.transient:
                raise
            await self._sleep(DELAYS[0])
            await patient(lambda: self._append_again(lines), self._sleep)

    async def _append_again(self, lines: Sequence[Line]) -> None:
        """Write lines whose first try failed for the moment, or was done and its answer lost."""
        if not await self._is_written(len(lines)):
            await self._store.append(self._lease, lines)

    async def _is_written(self, count: int) -> bool:
        """Whether the journal has grown: only who holds the lease adds to it."""
        found = await self._store.load(self._lease.run_id, tail=True)
        if found is None or found.lease is None or found.lease.token != self._lease.token:
            raise LeaseLost(self._lease.run_id)
        return found.head.settled + len(found.lines) >= self.written + count
