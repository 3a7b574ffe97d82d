"""One leg of a stored run: claim, load, run, save."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from awaitpy._runner import Outcome
from awaitpy._state import changed
from awaitpy.durable import _heads as heads
from awaitpy.durable import _migrating as migrating
from awaitpy.durable import _parts as parts
from awaitpy.durable._errors import LegCancelled, UnknownRun, UnknownWorkflow
from awaitpy.durable._store import LeaseLost, StoredRun, StoreError
from awaitpy.durable._work import Rest
from awaitpy.durable._writer import Writer
from awaitpy.errors import UnexpectedError
from awaitpy.result import Err

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from awaitpy._state import ResumeState
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Head, Lease
    from awaitpy.durable._work import Work


@attrs.frozen
class Claimed:
    """A run that is ours to work on, as far as it is known already."""

    lease: Lease
    stored: StoredRun | None = None


async def claim(settings: Settings, run_id: str) -> Claimed | None:
    """Give the run to this process; None if somebody else has it. Raises `UnknownRun`."""
    now = settings.now()
    leases = await settings.ask(
        lambda: settings.store.claim(settings.owner, now=now, until=now + settings.lease, run_id=run_id)
    )
    if leases:
        return Claimed(leases[0])
    if await settings.ask(lambda: settings.store.load(run_id, tail=True)) is None:
        raise UnknownRun(run_id)
    return None


async def create(settings: Settings, state: ResumeState, metadata: Mapping[str, Any]) -> Claimed | None:
    """Add a run that is ours from the start; if there is one of this id, claim that one."""
    now, run_id = settings.now(), state.run_id
    head = heads.begun(state, now)
    lease = await settings.ask(
        lambda: settings.store.create(
            run_id, head, metadata=metadata, now=now, lease=(settings.owner, now + settings.lease)
        )
    )
    if isinstance(lease, bool):
        return await claim(settings, run_id)
    return Claimed(lease, StoredRun(run_id=run_id, revision=1, head=head, created=now, updated=now))


async def work_on(
    settings: Settings, work: Work, claiming: Callable[[], Awaitable[Claimed | None]]
) -> Rest | None:
    """Work on a run until it rests.

    None if it is somebody else's, or the work was called off; the lease ends with it where that can
    still be said to the store.
    """
    claimed = await claiming()
    try:
        while claimed is not None and claimed.stored is None:
            work.lease = claimed.lease
            claimed = await _up_to_date(settings, work, claimed.lease)
        if claimed is None:
            return None
        work.lease = claimed.lease
        return await _legs(settings, work, claimed)
    except LeaseLost:
        return None
    finally:
        work.lease = None


async def _up_to_date(settings: Settings, work: Work, lease: Lease) -> Claimed | None:
    """Load a claimed run. One of an older version is migrated first, and has to be claimed again."""
    stored = await _load(settings, lease)
    state = migrating.migrated(settings.flows, stored)
    if state is None:
        return Claimed(lease, stored)
    try:
        await migrating.rewritten(settings, lease, stored, state)
    except Exception as error:
        again = None if _passes(error) else await claim(settings, lease.run_id)
        if again is not None:
            await _Leg(settings, work, again.lease, stored).failed(error)
        raise
    return await claim(settings, lease.run_id)


async def _legs(settings: Settings, work: Work, claimed: Claimed) -> Rest | None:
    """Run legs until one could be saved: one that could not goes on with what came meanwhile."""
    lease, stored = claimed.lease, claimed.stored
    while not work.over:
        if stored is None:
            stored = await _load(settings, lease)
            continue  # it may have been called off meanwhile
        rest = await _Leg(settings, work, lease, stored).run()
        if rest is not None:
            return rest
        stored = None
    await _release(settings, lease)
    return None


async def _load(settings: Settings, lease: Lease) -> StoredRun:
    """Give a run that is still ours. Raises `UnknownRun`, and `LeaseLost` before a step is run in vain."""
    stored = await settings.ask(lambda: settings.store.load(lease.run_id))
    if stored is None:
        raise UnknownRun(lease.run_id)
    if stored.lease is None or stored.lease.token != lease.token:
        raise LeaseLost(lease.run_id)  # somebody took it over since it was claimed here
    return stored


async def _release(settings: Settings, lease: Lease) -> None:
    await settings.ask(lambda: settings.store.release(lease))


def _passes(error: Exception) -> bool:
    """Whether an error says nothing about the run: the same save may work later, or for somebody else."""
    return isinstance(error, LeaseLost) or (isinstance(error, StoreError) and error.transient)


def _raised(leg: asyncio.Task[Any], run_id: str) -> BaseException | None:
    """Give what a leg raised, or what says that it was cancelled."""
    try:
        return leg.exception()
    except asyncio.CancelledError as error:
        cancelled = LegCancelled(run_id)
        cancelled.__cause__ = error  # it has where the cancellation struck
        return cancelled


class _Leg:
    """One leg, from a run as it was loaded to its next head."""

    def __init__(self, settings: Settings, work: Work, lease: Lease, stored: StoredRun) -> None:
        self._settings = settings
        self._work = work
        self._lease = lease
        self._stored = stored
        self._writer = Writer(settings.store, lease, len(stored.lines), settings.sleep)

    async def run(self) -> Rest | None:
        """Give how the run came to rest; None if the head could not be saved. Raises `LeaseLost`."""
        try:
            state = parts.join(self._stored)
            flow = self._settings.flows.of(self._stored.head.workflow)
        except UnknownWorkflow:
            await _release(self._settings, self._lease)
            raise
        except Exception as error:
            await self._save(heads.damaged(self._stored.head, error))
            raise
        if heads.waits_its_time(self._stored.head, self._settings.now()):
            await _release(self._settings, self._lease)
            return self._rest(heads.as_it_was_left(self._stored.head, state))
        return await self._run(flow, state)

    async def _run(self, flow: Callable[..., Any], state: ResumeState) -> Rest | None:
        writer = self._writer
        runner = self._settings.runner_with(writer.relaxed if self._settings.relaxed else writer.each)
        leg = self._work.leg = asyncio.create_task(runner.resume(flow, state))
        await asyncio.wait([leg])
        self._work.leg = None
        await writer.drain()
        raised = _raised(leg, self._lease.run_id)  # asked in any case: asyncio reports what nobody asks
        if writer.lost:
            raise LeaseLost(self._lease.run_id)
        if leg.cancelled() and self._work.over:
            return None
        failure = writer.failure or raised
        return await (self._kept(leg.result()) if failure is None else self.failed(failure))

    async def _kept(self, outcome: Outcome[Any, Any]) -> Rest | None:
        """Save what the leg gave; or, if that can't be kept, that the leg failed."""
        try:
            return await self._saved(outcome)
        except Exception as error:
            if _passes(error):
                raise
            return await self.failed(error)

    async def _saved(self, outcome: Outcome[Any, Any]) -> Rest | None:
        old = self._stored.head
        head = heads.rested(old, outcome, self._writer.written, self._settings.now(), self._settings.tries)
        if msgspec.structs.replace(head, hooks=()) == old:
            if head.due is None or head.due > self._settings.now():
                await _release(self._settings, self._lease)
                return self._rest(outcome)
            # It is due and yet there was nothing to do: without a pause it would be claimed for ever.
            head = msgspec.structs.replace(head, due=self._settings.now() + self._settings.tries.delay)
        return self._rest(outcome) if await self._save(head) else None

    async def failed(self, failure: BaseException) -> Rest | None:
        """Save that the leg failed in its store, or by its own hand: only what is on disk counts."""
        stored = await self._settings.ask(lambda: self._settings.store.load(self._lease.run_id, tail=True))
        if stored is None:
            raise LeaseLost(self._lease.run_id)
        self._stored, now = stored, self._settings.now()
        try:
            state = changed(parts.join_tail(stored), status="interrupted")
            outcome: Outcome[Any, Any] = Outcome(Err(UnexpectedError(None, failure)), state)
            settled = stored.head.settled + len(stored.lines)
            head = heads.rested(stored.head, outcome, settled, now, self._settings.tries)
        except Exception as error:
            await self._save(heads.damaged(stored.head, error))
            raise
        if not await self._save(msgspec.structs.replace(head, hooks=())):
            return None
        if isinstance(failure, StoreError):
            raise failure
        return self._rest(outcome)

    async def _save(self, head: Head) -> bool:
        return await self._settings.ask(
            lambda: self._settings.store.save(
                self._lease.run_id,
                head,
                revision=self._stored.revision,
                now=self._settings.now(),
                lease=self._lease,
                release=True,
            )
        )

    def _rest(self, outcome: Outcome[Any, Any]) -> Rest:
        return Rest(outcome, self._stored.revision)
