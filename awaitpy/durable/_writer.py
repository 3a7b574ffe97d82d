"""Writes the journal of a leg: each entry before the run goes on, or behind its back."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from awaitpy._leg import Steadfast
from awaitpy.durable import _parts as parts
from awaitpy.durable._patient import DELAYS, patient
from awaitpy.durable._store import LeaseLost, Line, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from awaitpy._wire import Entry
    from awaitpy.durable._store import Lease, Store


class _Batch(msgspec.Struct):
    """Lines that are appended together, and who waits until they are."""

    lines: list[Line]
    kept: Steadfast


class Writer:
    """Appends lines under a lease, one append at a time; what comes meanwhile makes up the next.

    `written` counts the lines of the whole journal. After a failure nothing more is written, so that
    the journal has no gap: `failure` is raised again.
    """

    def __init__(
        self, store: Store, lease: Lease, written: int, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._store = store
        self._lease = lease
        self._sleep = sleep
        self._coming: _Batch | None = None
        self._under_way: _Batch | None = None
        self._append: asyncio.Future[None] | None = None
        self.written = written
        self.failure: BaseException | None = None

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken the run over."""
        return isinstance(self.failure, LeaseLost)

    def each(self, entry: Entry) -> Steadfast:
        """Write an entry: when what this gives is done, it is kept."""
        kept = self._take(parts.line(entry))
        if self._under_way is None:
            self._write_on()
        return kept

    def relaxed(self, entry: Entry) -> Steadfast | None:
        """Take an entry, to be written soon.

        One that creates a hook is waited for: its id is about to be given away, and who comes to it has
        to find the run.
        """
        line = parts.line(entry)
        if self._coming is None and self._under_way is None:
            asyncio.get_running_loop().call_soon(self._write_on)
        kept = self._take(line)
        return None if line.hook_id is None else kept

    async def drain(self) -> None:
        """Write what was taken and not yet written."""
        while (batch := self._coming or self._under_way) is not None:
            await asyncio.wait([batch.kept])

    def _take(self, line: Line) -> Steadfast:
        if self.failure is not None:
            raise self.failure
        if self._coming is None:
            self._coming = _Batch([], Steadfast())
        self._coming.lines.append(line)
        return self._coming.kept

    def _write_on(self) -> None:
        batch = self._under_way = self._coming
        self._coming = None
        if batch is not None:
            self._begin(self._store.append, self._lease, batch.lines, end=partial(self._first_end, batch))

    def _begin(
        self,
        verb: Callable[..., Awaitable[None]],
        *args: Any,
        end: Callable[[asyncio.Future[None]], None],
    ) -> None:
        try:
            self._append = asyncio.ensure_future(verb(*args))
        except Exception as error:  # noqa: BLE001  a store may raise before anything is awaited
            self._append = asyncio.get_running_loop().create_future()
            self._append.set_exception(error)
        self._append.add_done_callback(end)

    def _first_end(self, batch: _Batch, append: asyncio.Future[None]) -> None:
        error = _error(append)
        if isinstance(error, StoreError) and error.transient:
            self._begin(self._again, batch.lines, end=partial(self._end, batch))
        else:
            self._end(batch, append)

    def _end(self, batch: _Batch, append: asyncio.Future[None]) -> None:
        """Tell who waits how an append ended, and begin the next."""
        self.failure = _error(append)
        batch.kept.tell(self.failure)
        if self.failure is None:
            self.written += len(batch.lines)
        elif self._coming is not None:
            self._coming.kept.tell(self.failure)
            self._coming = None
        self._write_on()

    async def _again(self, lines: Sequence[Line]) -> None:
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


def _error(append: asyncio.Future[None]) -> BaseException | None:
    if append.cancelled():
        return StoreError("An entry was not written, as its event loop has come to an end.")
    return append.exception()
