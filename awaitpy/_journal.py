"""The journal of a leg as it is written: entries, what they do to the hooks, and who is told of them."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from awaitpy._leg import Steadfast, wake
from awaitpy._observing import Watch
from awaitpy._replay import Replay
from awaitpy._tables import Tables
from awaitpy._tasks import finish, place
from awaitpy._wire import (
    CUT,
    CUT_OFF,
    ELAPSED,
    ERROR,
    HOOK,
    NOTE,
    POLICY,
    RACE,
    VALUE,
    Entry,
    Status,
)
from awaitpy.errors import PendingHook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from awaitpy._leg import Settings
    from awaitpy._state import ResumeState
    from awaitpy.errors import PendingTimer
    from awaitpy.events import EventName

_ENDS: Final[dict[Status, EventName]] = {
    "suspended": "run.suspended",
    "completed": "run.completed",
    "failed": "run.failed",
    "interrupted": "run.interrupted",
}
_TOLD: Final[dict[int, EventName]] = {
    VALUE: "step.completed",
    HOOK: "step.completed",
    ELAPSED: "timer.elapsed",
    RACE: "race.won",
}


class Journal(Tables):
    """Adds entries, does to the hooks what they say, tells the observer, and awaits the checkpoint."""

    __slots__ = ("_cleaning", "_line", "_settings", "cuts", "given", "held", "observed", "replay", "watch")

    def __init__(self, settings: Settings, state: ResumeState, *, undoing: bool = False) -> None:
        super().__init__(state)
        self._settings = settings
        self.replay = Replay(state, settings.retired, undoing=undoing)
        self.watch = None if settings.on_event is None else Watch(settings.on_event, state)
        self.observed = self.watch is not None
        self.cuts: list[Entry] = []
        self._cleaning: frozenset[str] = frozenset()
        self.held: list[Entry] = []  # not given to `checkpoint`, as it may be the caller who cancels
        self._line: Journal | None = None  # that of the parent, with whose entries ours stand in line
        self.given: asyncio.Future[None] | None = None

    def join(self, parent: Journal) -> None:
        """Give entries away in one order with the journal of the run in which this one runs."""
        self._line = parent._line or parent

    async def pass_on(self, entry: Entry) -> None:
        """Give an entry to `checkpoint` that is none of this journal, but of a child."""
        if self._settings.checkpoint is not None:
            given_away = self._give(entry, self._settings.checkpoint)
            if given_away is not None:
                await finished(given_away)

    async def add(self, entry: Entry, given: Any = None) -> None:
        """Add an entry, tell of it, and give it to `checkpoint`, whose exceptions are raised."""
        given_away = self.put(entry, given)
        if given_away is not None:
            await finished(given_away)

    def put(self, entry: Entry, given: Any = None) -> asyncio.Future[None] | None:
        """Do the same, but for what `checkpoint` takes time for: that has to be `finished`."""
        if entry.kind != NOTE:
            self.replay.add(entry)
        if entry.hook_id is not None or entry.kind >= NOTE or self.underway:
            self.settle(entry)
        if self.watch is not None:
            self._tell_entry(entry, given)
        checkpoint = self._settings.checkpoint
        return None if checkpoint is None else self._give(entry, checkpoint)

    def hold_back(self, key: str) -> None:
        """Give what this step comes to away only with `give_held`, or never."""
        if self._settings.checkpoint is not None:
            self._cleaning |= {key}

    def holds_back(self, key: str) -> bool:
        """Whether what this step comes to is held back."""
        return key in self._cleaning

    async def give_held(self) -> None:
        """Give away what was held back, as if it had come only now."""
        self._cleaning = frozenset()
        while self.held:
            entry = self.held.pop(0)
            if (kept := self.replay.entries.pop(entry.key, None)) is not None:
                self.replay.entries[entry.key] = kept
            await self.pass_on(entry)

    def _tell_entry(self, entry: Entry, given: Any) -> None:
        if entry.kind in {ERROR, POLICY}:
            self.tell("step.failed", entry.key, given.error)
        elif entry.kind in _TOLD:
            self.tell(_TOLD[entry.kind], entry.key)

    def _give(
        self, entry: Entry, checkpoint: Callable[[Entry], Awaitable[None] | None]
    ) -> asyncio.Future[None] | None:
        """Give the entry away, in the order of the journal and whole, even when the run is cancelled.

        A plain function has done so when this returns; for one that is awaited a future is given, which
        a cancellation of the run does not reach.
        """
        if self._cleaning and self.holds_back(entry.key):
            self.held.append(entry)
            return None
        line = self._line or self
        before = line.given
        if before is not None and before.__class__ is not Steadfast and not before.done():
            giving: Coroutine[Any, Any, None] = _given_after(before, checkpoint, entry)
        else:
            token = place.set(None)  # what a store starts, such as a pool, is not of this run
            try:
                waited = checkpoint(entry)
            finally:
                place.reset(token)
            if waited is None:
                return None
            if isinstance(waited, Steadfast):
                line.given = waited
                return waited
            giving = _awaited(waited)
        context = copy_context()
        context.run(place.set, None)
        given = line.given = asyncio.create_task(giving, context=context)
        return given

    def cut(self, key: str) -> None:
        """Note a step that workflow code cancelled: it is journaled if the workflow goes on."""
        self.cuts.append(Entry(key, CUT, CUT_OFF))

    def tell(self, name: EventName, key: str | None = None, detail: Any = None) -> None:
        """Tell the observer, if there is one."""
        if self.watch is not None:
            self.watch.tell(name, key, detail)

    def tell_wait(self, pending: PendingHook | PendingTimer) -> None:
        """Tell the observer what a step waits for."""
        if isinstance(pending, PendingHook):
            self.tell("hook.waiting", pending.step_key, pending.hook_id)
        else:
            self.tell("timer.waiting", pending.step_key, pending.until)

    def tell_end(self, status: Status, error: Any) -> None:
        """Tell the observer how the leg ended."""
        self.tell(_ENDS[status], None, error)

    def trace(self) -> str:
        """Give the trace of this leg, or "" if nobody keeps one."""
        return "" if self.watch is None else self.watch.trace()


async def finished(task: asyncio.Future[None]) -> None:
    """Wait until an entry was given away, as `finish` does, but cheaper: this is paid per entry."""
    if isinstance(task, Steadfast):
        await task
        return
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.add_done_callback(lambda _: wake([waiter]))
    try:
        await waiter
    except asyncio.CancelledError:
        try:
            await finish([task])  # which raises, if the cancellation comes again
        finally:
            if not task.cancelled():
                task.exception()  # who cancels is not told of it; asking keeps asyncio from reporting it
        raise
    task.result()


async def _awaited(waited: Awaitable[None]) -> None:
    await waited


async def _given_after(
    before: asyncio.Future[None], checkpoint: Callable[[Entry], Awaitable[None] | None], entry: Entry
) -> None:
    await asyncio.wait([before])
    waited = checkpoint(entry)
    if waited is not None:
        await waited
