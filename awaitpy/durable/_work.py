"""Which runs this process is at: one task for each, and all who want the run wait for that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Generator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from awaitpy._tasks import finish, place
from awaitpy.durable._errors import DurableClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitpy._runner import Outcome
    from awaitpy.durable._store import Lease


@attrs.frozen
class Rest:
    """How a run came to rest, in a leg that began at this revision of its head."""

    outcome: Outcome[Any, Any]
    revision: int


@attrs.define(eq=False)
class Work:
    """What this process does about one run. It ends early if it is called off."""

    run_id: str
    task: asyncio.Task[Rest | None] = attrs.field(init=False)
    leg: asyncio.Task[Any] | None = None
    lease: Lease | None = None
    waiting: int = 0
    over: bool = False
    """Nobody waits for it, or the run is somebody else's by now."""

    def call_off(self) -> None:
        """Let it end: the leg is cancelled, and what it has journaled is kept."""
        self.over = True
        if self.leg is not None:
            self.leg.cancel()


Begin = Callable[[Work], Coroutine[Any, Any, Rest | None]]


class Works:
    """All that is under way in this process."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._listeners: dict[str, list[list[Rest]]] = {}
        self.closed = True

    def check_open(self) -> None:
        """Raise `DurableClosed` unless it is open."""
        if self.closed:
            raise DurableClosed

    def leases(self) -> list[Lease]:
        """Give the leases that are to be kept."""
        return [work.lease for work in self._works.values() if work.lease is not None and not work.over]

    def renewed(self, leases: Sequence[Lease], until: float, lost: Collection[str]) -> None:
        """Note until when leases last; end the work under those that are lost."""
        for lease in leases:
            work = self._works.get(lease.run_id)
            if work is None or work.lease is None or work.lease.token != lease.token:
                continue  # it has come to rest meanwhile
            if lease.run_id in lost:
                work.call_off()
            else:
                work.lease = msgspec.structs.replace(lease, until=until)

    def of(self, run_id: str) -> Work | None:
        """Give what is under way for this run."""
        return self._works.get(run_id)

    def lose(self, run_id: str) -> None:
        """End the work on a run that was taken over, or is gone."""
        if run_id in self._works:
            self._works[run_id].call_off()

    async def ended(self, run_id: str) -> None:
        """Return when nothing is under way for this run."""
        while run_id in self._works:
            await asyncio.wait([self._works[run_id].task])

    @contextmanager
    def listening(self, run_id: str) -> Generator[list[Rest]]:
        """Give the list of how the run comes to rest here meanwhile, whoever has it worked on."""
        heard: list[Rest] = []
        listeners = self._listeners.setdefault(run_id, [])
        listeners.append(heard)
        try:
            yield heard
        finally:
            listeners[:] = [each for each in listeners if each is not heard]
            if not listeners:
                self._listeners.pop(run_id, None)

    async def join(
        self, run_id: str, begin: Callable[[Work], Coroutine[Any, Any, Rest | None]]
    ) -> Rest | None:
        """Wait for the work on a run, which is begun if there is none; None if it ended early.

        Work that was called off is over first. When the last one who waits is cancelled, so is the
        work, and it has ended when this raises. Raises what the work raised, and `DurableClosed`.
        """
        while run_id in self._works and self._works[run_id].over:
            await asyncio.wait([self._works[run_id].task])
        self.check_open()
        work = self._works.get(run_id) or self._begin(run_id, begin)
        work.waiting += 1
        try:
            await asyncio.wait([work.task])
        except asyncio.CancelledError:
            if work.waiting == 1:
                work.call_off()
                await finish([work.task])
            raise
        finally:
            work.waiting -= 1
        return work.task.result()

    def _begin(self, run_id: str, begin: Begin) -> Work:
        work = Work(run_id)
        context = copy_context()
        context.run(place.set, None)  # started from within a workflow, it is still not of that run
        work.task = asyncio.create_task(begin(work), context=context)
        self._works[run_id] = work
        work.task.add_done_callback(lambda task: self._end(run_id, task))
        return work

    def _end(self, run_id: str, task: asyncio.Task[Rest | None]) -> None:
        del self._works[run_id]
        if task.cancelled() or task.exception() is not None:
            return  # those who wait are told; asking keeps asyncio from reporting it too
        rest = task.result()
        if rest is not None:
            for heard in self._listeners.get(run_id, ()):
                heard.append(rest)

    async def close(self) -> None:
        """Call everything off, and return when it has ended."""
        self.closed = True
        works = list(self._works.values())
        for work in works:
            work.call_off()
        if works:
            await finish([work.task for work in works])
