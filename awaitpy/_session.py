"""One leg of a run: what is journaled, who is at work, who is parked, and how the leg ends.

A leg ends in one of two ways. In the root task (the one that awaits `run`) a `Leave` is raised through the
workflow. In any other task the root is cancelled, so that gather, TaskGroup and timeout unwind as they
document, and the task stays parked until that reaches it. Before either, every step that is under
way is awaited and journaled.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec

from awaitpy import _tasks
from awaitpy._replay import Replay
from awaitpy._state import settle
from awaitpy._waits import unpark
from awaitpy._wire import CUT, CUT_OFF, ERROR, HOOK, VALUE, Entry, Status
from awaitpy.errors import PendingHook, StepMisuse, SuspensionSwallowed, UnexpectedError
from awaitpy.events import Event, EventName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from datetime import datetime
    from types import CodeType

    from awaitpy._payload import Codecs
    from awaitpy._state import ResumeState
    from awaitpy._wire import OpenHook

# Turns of the event loop that code needs to react to the result of a step in another task.
_REACT: Final = 4
# Turns of the event loop without any step asked for or under way, after which nothing more can come
# by itself: enough for gathers within gathers to start and to finish.
_QUIET: Final = 16


# Turns in which a cancellation may come to a branch: each group around it takes some.
_PATIENCE: Final = 128


_ENDS: Final[dict[Status, EventName]] = {
    "suspended": "run.suspended",
    "completed": "run.completed",
    "failed": "run.failed",
    "interrupted": "run.interrupted",
}


class Leave(BaseException):
    """Unwinds a workflow whose leg is over. Not an Exception: `except Exception` must not see it."""


class Exit(msgspec.Struct, frozen=True):
    """Why a leg is over. `settled` says that every branch had come to its wait or its end."""

    status: Literal["suspended", "failed", "interrupted", "completed"]
    error: Any = None
    value: Any = None
    settled: bool = False


class Settings(msgspec.Struct, frozen=True):
    """What a leg needs of its runner."""

    codecs: Codecs
    clock: Callable[[], datetime]
    checkpoint: Callable[[Entry], Awaitable[None] | None] | None = None
    on_event: Callable[[Event], None] | None = None
    retired: frozenset[str] = frozenset()


class Session:
    """The mutable middle of one leg, between the state that went in and the one that comes out."""

    __slots__ = (
        "_cancels",
        "_cuts",
        "_lock",
        "_news",
        "_pacing",
        "_root_leaves",
        "_settling",
        "_unwatched",
        "_unwinding",
        "active",
        "awaited",
        "closed",
        "codecs",
        "drains",
        "exit",
        "held",
        "hooks",
        "inside",
        "left",
        "mark",
        "observed",
        "over",
        "parked",
        "quick",
        "read_only",
        "replay",
        "returns",
        "root",
        "settings",
        "state",
        "waiting",
        "working",
    )

    def __init__(self, settings: Settings, state: ResumeState, working: Collection[CodeType]) -> None:
        self.settings = settings
        self.working = working
        self.state = state
        self.codecs = settings.codecs
        self.returns = settings.codecs.for_leg()
        self.replay = Replay(state, settings.retired)
        self.hooks = dict(state.hooks)
        self.closed = dict(state.closed)
        self.waiting = {h.step_key: h for h in state.hooks.values() if h.step_key is not None}
        self.parked: dict[str, PendingHook] = {}
        self.held: dict[str, asyncio.Future[None]] = {}
        self.left: set[asyncio.Task[Any]] = set()
        self.read_only = state.end is not None
        self.exit: Exit | None = None
        self.over = False
        self.drains = True  # at the end, steps under way are awaited: not if the caller cancels
        self.active = 0
        self.awaited: list[asyncio.Future[None]] = []
        self.mark, self.inside = object(), object()
        root = asyncio.current_task()
        if root is None:
            raise RuntimeError("A workflow runs in an asyncio task: use asyncio.run(...).")
        self.root = root
        self.observed = settings.on_event is not None
        # Whether an entry need only be added: nobody is told, nothing is to be journaled before it.
        self._unwatched = not (self.observed or settings.checkpoint or state.forgotten or state.end)
        self.quick = self._unwatched
        self._cancels = root.cancelling()
        self._root_leaves = False
        self._unwinding = False
        self._settling = False
        self._pacing = False
        self._cuts: list[Entry] = []
        self._news: list[asyncio.Future[None]] = []
        self._lock: asyncio.Lock | None = None

    # --- the journal ------------------------------------------------------------------------

    async def journal(self, entry: Entry, given: Any = None) -> None:
        """Add an entry, and the cut steps that came before it; give each to `checkpoint`."""
        self.replay.add(entry)
        if entry.hook_id is not None:
            settle(entry, self.hooks, self.closed)
        if entry.kind == ERROR:
            self.tell("step.failed", entry.key, given.error)
        elif entry.kind in {VALUE, HOOK}:
            self.tell("step.completed", entry.key)
        if self.settings.checkpoint is not None:
            await self._checkpoint(entry, self.settings.checkpoint)

    async def keep(self, entry: Entry) -> None:
        """Add an entry outside the call of a step's function: what goes wrong ends the run."""
        try:
            await self.journal(entry)
        except Exception as cause:  # noqa: BLE001  a store may raise anything
            await self.stop(UnexpectedError(entry.key, cause))

    async def flush(self) -> None:
        """Journal the steps that the workflow cut off, now that it has gone on after that."""
        if self._cuts and not self._caller_cancelled():
            cuts, self._cuts, self.quick = self._cuts, [], self._unwatched
            for cut in cuts:
                await self.keep(cut)

    async def _checkpoint(
        self, entry: Entry, checkpoint: Callable[[Entry], Awaitable[None] | None]
    ) -> None:
        """Give the entry away, in the order of the journal and whole, even when the run is cancelled."""
        self._lock = self._lock or asyncio.Lock()
        context = copy_context()
        context.run(_tasks.place.set, None)  # what a store starts, such as a pool, is not of this run
        task = asyncio.create_task(_given(self._lock, checkpoint, entry), context=context)
        await _tasks.finish([task])
        task.result()

    def cut_or_failed(self, key: str, error: asyncio.CancelledError) -> UnexpectedError:
        """Note a step that was cut off, and raise; or give the error of one that raised by itself."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            return UnexpectedError(key, error)
        self.cut(key)
        raise error

    def cut(self, key: str) -> None:
        """Note a step that workflow code cancelled: it is journaled if the workflow goes on."""
        if self.exit is None:
            self._cuts.append(Entry(key, CUT, CUT_OFF))
            self.quick = False

    def tell(self, name: EventName, key: str | None = None, detail: Any = None) -> None:
        """Tell the observer, if there is one."""
        if self.settings.on_event is not None:
            self.settings.on_event(Event(name, self.state.run_id, key, detail))

    def tell_end(self, status: Status, error: Any) -> None:
        """Tell the observer how the leg ended."""
        self.tell(_ENDS[status], None, error)

    # --- work under way ---------------------------------------------------------------------

    def done(self) -> None:
        """Count a step that is no longer under way."""
        self.active -= 1
        if self.awaited:
            self.wake_idle()

    def wake_idle(self) -> None:
        """Wake those who wait until no step is under way, if that is so."""
        if not self.active:
            _wake(self.awaited)

    async def idle(self) -> None:
        """Wait until no step is under way."""
        while self.active:
            await _wait(self.awaited)

    async def quiet(self, until: Callable[[], bool], *, idle: bool = True) -> None:
        """Wait until nothing moves: no step under way, none asked for in some turns of the loop.

        Without `idle` steps under way are not waited for.
        """
        turns, tasks = 0, 0
        while not until():
            if idle:
                await self.idle()
            before = len(self.replay.asked)
            await asyncio.sleep(0)
            still = before == len(self.replay.asked) and not (idle and self.active) and not self.held
            turns = turns + 1 if still else 0
            if turns >= _QUIET:
                # Branches within branches may still be starting: each level takes a turn.
                found = len(_tasks.started(self.mark, self.working))
                if found == tasks:
                    return
                turns, tasks = 0, found

    async def hold(self, key: str) -> None:
        """Hold a replayed step back until those that were journaled before it were asked for.

        So that parallel branches get their results in the order in which these came, and the first
        of them is first again. A step that nobody asks for any more is not waited for.
        """
        loop = asyncio.get_running_loop()
        if not self._pacing:
            self._pacing = True
            loop.call_soon(self._pace, loop, 0, len(self.replay.asked))
        self.held[key] = loop.create_future()
        try:
            await self.held[key]
        finally:
            del self.held[key]
            self.replay.pass_early(key)
        if self.exit is not None:
            await self.leave()

    def _pace(self, loop: asyncio.AbstractEventLoop, calm: int, before: int) -> None:
        """Let a held step go on when its turn has come, or when no other can come any more."""
        waiting = [key for key, future in self.held.items() if not future.done()]
        self._pacing = bool(waiting)
        if not waiting:
            return
        now = len(self.replay.asked)
        calm = calm + 1 if now == before else 0
        turn = self.replay.turn
        if self.exit is not None:
            _wake(list(self.held.values()))
        elif calm >= _REACT and turn in self.held:
            _wake([self.held[turn]])
            calm = 0
        elif calm >= _QUIET:
            _wake([self.held[min(waiting, key=self.replay.position)]])
            calm = 0
        loop.call_soon(self._pace, loop, calm, now)

    # --- the end of the leg -----------------------------------------------------------------

    async def stop(self, error: Any) -> NoReturn:
        """End the run with an error of awaitpy: it is interrupted and can be resumed."""
        await self._end(Exit("interrupted", error))

    async def fail(self, error: Any) -> NoReturn:
        """End the run with a typed error of its own."""
        await self._end(Exit("failed", error))

    async def refuse(self, error: Any) -> NoReturn:
        """End the leg because a delivery was refused: the hook is pending again."""
        await self._end(Exit("suspended", error))

    async def _end(self, why: Exit) -> NoReturn:
        if self.exit is None:
            await self.flush()
            self._close(why)
        await self.leave()

    def _close(self, why: Exit) -> None:
        """Say why the leg is over; the first to say so is right. No new step runs after that."""
        self.exit = self.exit or why
        self.quick = False
        _wake(self._news)

    def nested(self, key: str) -> Leave:
        """End the run because a step was called within the function of another."""
        if self.exit is None:
            problem = (
                f"Step {key!r} was called inside the function of another step, which could be journaled "
                "or run again only as a whole. Call it from the workflow; step.scope(name) keeps the "
                "keys of a sub-workflow apart."
            )
            self._close(Exit("interrupted", UnexpectedError(key, StepMisuse(problem))))
        return Leave()

    async def leave(self) -> NoReturn:
        """Leave the workflow, once all steps under way are journaled."""
        in_root = asyncio.current_task() is self.root
        self._root_leaves = self._root_leaves or in_root
        await self.idle()
        if in_root:
            raise Leave
        if not (self._root_leaves or self._unwinding or self.over):
            self._unwinding = True
            self.root.cancel()
        await self._unwound()
        raise asyncio.CancelledError

    async def _unwound(self) -> None:
        """Wait for what unwinds this task, or until it is clear that nothing will.

        The cancellation comes by the gather or the group that holds the task, some turns later; if
        the task left before, that one would strike its cleanup.
        """
        task: Any = asyncio.current_task()
        for _ in range(_PATIENCE):
            cancelled = task.cancelling()
            await asyncio.sleep(0)  # a cancellation that is on its way is raised here
            if cancelled:
                return
            if self.over:
                break
        self.left.add(task)

    async def park(self, pending: PendingHook) -> NoReturn:
        """Suspend: wait until every branch has come to its wait or its end, then leave."""
        await self.flush()
        self.parked[pending.step_key] = pending
        self.tell("hook.waiting", pending.step_key, pending.hook_id)
        in_root = asyncio.current_task() is self.root
        self._root_leaves = self._root_leaves or in_root
        try:
            if in_root and not self.active and not self._has_tasks():
                self._close(self._suspended())
            while self.exit is None:
                await self._settle()
        except asyncio.CancelledError:
            if self.exit is None:
                del self.parked[pending.step_key]
            raise
        finally:
            self._root_leaves = self._root_leaves and not in_root
        await self.leave()

    async def _settle(self) -> None:
        if self._settling:
            await _wait(self._news)
            return
        self._settling = True
        try:
            await self.quiet(until=lambda: self.exit is not None)
            self._close(self.exit or self._suspended())
        finally:
            self._settling = False
            _wake(self._news)

    def _suspended(self) -> Exit:
        waits = {pending.hook_id: pending for pending in self.parked.values()}
        first = next(hook_id for hook_id in self.hooks if hook_id in waits)
        return Exit("suspended", waits[first], settled=True)

    def _has_tasks(self) -> bool:
        """Whether another task may carry the mark: a copy of the context keeps it alive.

        Exact and cheap, where asking asyncio for all tasks costs more the busier the application is.
        """
        _tasks.place.set(None)
        others = sys.getrefcount(self.mark) > _ALONE
        _tasks.place.set(self.mark)
        return others

    def others_alive(self) -> bool:
        """Whether the workflow has started a task that is still alive."""
        return self._has_tasks() and bool(_tasks.started(self.mark, self.working))

    def _caller_cancelled(self) -> bool:
        return self.root.cancelling() > self._cancels

    # --- seen from the runner ---------------------------------------------------------------

    async def completed(self, value: Any) -> Exit:
        """Give the exit of a workflow that returned."""
        if self.exit is not None:
            return self._swallowed() if self.exit.status == "suspended" else self.exit
        await self.flush()
        self._close(Exit("completed"))
        await self.idle()
        if self.replay.due_in(""):
            return Exit("interrupted", self.replay.drift(None))
        return Exit("completed", value=value)

    def _swallowed(self) -> Exit:
        waits = tuple(pending.hook_id for pending in self.parked.values())
        return Exit("interrupted", UnexpectedError(None, SuspensionSwallowed(waits)))

    def ended_by(self, error: BaseException) -> Exit | None:
        """Give the exit of a workflow that raised; None if the error is the caller's, to be raised."""
        if isinstance(error, asyncio.CancelledError):
            return self._ended_by_cancel(error)
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            return None
        if self.exit is None or (self.exit.status == "suspended" and not _leaves(error)):
            self.exit = Exit("interrupted", UnexpectedError(None, error))
        return self.exit

    def _ended_by_cancel(self, error: asyncio.CancelledError) -> Exit | None:
        self.uncancel()
        if self._caller_cancelled():
            return None
        if self.exit is None:
            self.exit = Exit("interrupted", UnexpectedError(None, error))
        return self.exit

    def uncancel(self) -> None:
        """Take back the cancellation by which this session unwound its own root."""
        if self._unwinding:
            self._unwinding = False
            self.root.uncancel()

    async def sweep(self) -> None:
        """Let nothing go on behind the caller's back: end every task that the workflow left."""
        self._close(Exit("interrupted"))
        if self.drains:
            await self.idle()
        self.over = True
        # The copy of a context may outlive its task, so this may look in vain; it never looks away.
        while sys.getrefcount(self.mark) > _ALONE:
            tasks = _tasks.started(self.mark, self.working)
            if not tasks:
                return
            await _tasks.end(tasks, self.left)

    def waits(self, why: Exit) -> dict[str, OpenHook]:
        """Give the hooks as the next state has them: after a settled leg, only the parked wait."""
        if why.status in {"completed", "failed"}:
            return {key: unpark(hook) for key, hook in self.hooks.items()}
        if not why.settled:
            return self.hooks
        return {
            key: hook if hook.step_key in self.parked else unpark(hook) for key, hook in self.hooks.items()
        }


# What refers to a mark that no task carries: the session, and the call that counts.
_ALONE: Final = 2


async def _given(
    lock: asyncio.Lock, checkpoint: Callable[[Entry], Awaitable[None] | None], entry: Entry
) -> None:
    async with lock:
        waited = checkpoint(entry)
        if waited is not None:
            await waited


async def _wait(waiters: list[asyncio.Future[None]]) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    await future


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(None)
    waiters.clear()


def _leaves(error: Any) -> bool:
    parts: tuple[Any, ...] = getattr(error, "exceptions", ())
    return isinstance(error, Leave) or any(_leaves(part) for part in parts)
