"""Takes up whatever is due in the store: queued runs, crashed ones, deliveries, deadlines."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from awaitpy._tasks import finish
from awaitpy.durable._errors import DurableClosed
from awaitpy.durable._heart import keep, log, warn
from awaitpy.durable._patient import DELAYS
from awaitpy.durable._resting import serve_one

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Lease
    from awaitpy.durable._work import Works


class Server:
    """One call of `serve`: claims what is due, a bounded number at a time, until it is stopped."""

    def __init__(self, settings: Settings, works: Works, concurrency: int) -> None:
        self._settings = settings
        self._works = works
        self._concurrency = concurrency
        self._legs: set[asyncio.Task[None]] = set()
        self._untouched: set[Lease] = set()
        self._stopping = asyncio.Event()
        self._cancelled = False
        self._ended = asyncio.Event()

    def stop(self) -> None:
        """Let it claim nothing more, and return when what is under way has come to rest."""
        self._stopping.set()

    async def ended(self) -> None:
        """Return when `run` has."""
        await self._ended.wait()

    async def run(self) -> None:
        """Serve. When it is cancelled, so are the legs under way."""
        # In a task of its own: of a claim that is cancelled nobody would know what it leased.
        serving = asyncio.create_task(self._run())
        try:
            await asyncio.wait([serving])
        except asyncio.CancelledError:
            self.stop()
            self._cancelled = True
            self._cancel_legs()
            await finish([serving])
            raise
        serving.result()

    async def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                await self._turn()
            if self._cancelled:
                self._cancel_legs()
            if self._legs:
                await asyncio.wait(self._legs)
            await self._release()
        finally:
            self._ended.set()

    def _cancel_legs(self) -> None:
        for leg in self._legs:
            leg.cancel()

    async def _release(self) -> None:
        """End the leases of runs that no leg has begun with: others need not wait until they run out."""
        try:
            for lease in self._untouched:
                await self._settings.ask(partial(self._settings.store.release, lease))
        except Exception as error:  # noqa: BLE001  a store may raise anything; leases run out by themselves
            warn("The leases of runs that were not begun could not be ended", error)

    async def _turn(self) -> None:
        try:
            if not await self._claim():
                await self._idle()
        except Exception as error:  # noqa: BLE001  a store may raise anything, and the others go on
            warn("The store can't be asked what is due, and will be asked again", error)
            await self._first_of(self._settings.sleep(DELAYS[-1]))

    async def _claim(self) -> bool:
        """Take up what is due; whether there was anything."""
        free = self._concurrency - len(self._legs)
        if free <= 0:
            return False
        now = self._settings.now()
        await keep(self._settings, self._works, now)
        leases = await self._settings.ask(lambda: self._leases(free, now))
        self._untouched.update(leases)
        for lease in leases:
            leg = asyncio.create_task(self._serve(lease))
            self._legs.add(leg)
            leg.add_done_callback(self._legs.discard)
        return bool(leases)

    def _leases(self, free: int, now: float) -> Awaitable[list[Lease]]:
        """Claim so many of those that were free at that time, when the leases held here were looked after.

        The new ones last from when they are asked for, however long that took.
        """
        return self._settings.store.claim(
            self._settings.owner,
            now=now,
            until=self._settings.now() + self._settings.lease,
            limit=free,
            workflows=self._settings.flows.names,
        )

    async def _serve(self, lease: Lease) -> None:
        try:
            await serve_one(self._settings, self._works, lease, begins=self._untouched.discard)
        except DurableClosed:
            self._stopping.set()  # the lease is ended with this
        except Exception:  # noqa: BLE001  whatever it is, the other runs go on
            log.exception("Run %r could not be worked on", lease.run_id)

    async def _idle(self) -> None:
        """Wait until something may be due, or, with as much under way as may be, until a leg is over."""
        if len(self._legs) >= self._concurrency:
            await self._first_of(asyncio.wait(self._legs, return_when=asyncio.FIRST_COMPLETED))
            return
        now = self._settings.now()
        due = await self._settings.ask(
            lambda: self._settings.store.next_due(now=now, workflows=self._settings.flows.names)
        )
        longest = self._settings.longest_wait
        wait = longest if due is None else min(longest, max(0.0, due - now))
        await self._first_of(self._settings.store.changed(wait))

    async def _first_of(self, waiting: Awaitable[object]) -> None:
        """Wait for this, or until it is stopped. Raises what this raises."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not tasks[0].cancelled():
            tasks[0].result()
