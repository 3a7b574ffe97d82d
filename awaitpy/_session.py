"""One leg of a run: what is journaled, who is at work, who is parked, and how the leg ends.

A leg ends in one of two ways. In the root task (the one that awaits `run`) a `Leave` is raised through the
workflow. In any other task the root is cancelled, so that gather, TaskGroup and timeout unwind as they
document, and the task stays parked until that reaches it. Before either, every step that is under
way is awaited and journaled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NoReturn

from awaitpy import _tasks, errors
from awaitpy._journal import Journal, finished
from awaitpy._leg import REACT, STOPPED, Exit, Leave, Settings, wait_on, wake
from awaitpy._staying import Staying
from awaitpy._tables import noted
from awaitpy._tree import waiting
from awaitpy._undo import Undo, no_longer_fails
from awaitpy._waits import first_wait
from awaitpy._wire import ANSWER, ELAPSED, RACE, TIMEOUT, VALUE
from awaitpy.errors import PendingHook, PendingTimer, StepMisuse, UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType

    from awaitpy._motion import Host
    from awaitpy._payload import Returns
    from awaitpy._policy import Policy
    from awaitpy._state import ResumeState
    from awaitpy._wire import Entry, OpenHook, Underway


# Turns in which a cancellation may come to a branch: each group around it takes some.
_PATIENCE: Final = 128
# What a wait or a race gives.
_GIVEN: Final = frozenset({ANSWER, TIMEOUT, ELAPSED, RACE})


class Session(Staying):
    """The mutable middle of one leg, between the state that went in and the one that comes out."""

    __slots__ = (
        "_cancels",
        "_news",
        "_unwatched",
        "called",
        "cancelled",
        "codecs",
        "copies",
        "drains",
        "failing",
        "fresh",
        "holding",
        "host",
        "journal",
        "left",
        "losing",
        "over",
        "quick",
        "read_only",
        "returns",
        "root",
        "root_leaves",
        "spares",
        "state",
        "undoable",
        "undoing",
        "unkept",
        "unwinding",
        "waiting",
    )

    def __init__(
        self,
        settings: Settings,
        state: ResumeState,
        working: Collection[CodeType],
        *,
        undoing: bool = False,
        host: Host | None = None,
    ) -> None:
        self.host = host
        self.called: dict[str, Any] = {}  # the children that this leg has asked for
        self.state = state
        self.codecs = settings.codecs
        self.returns: dict[Any, Returns] = {}  # by function, which it keeps alive for the leg
        self.journal = Journal(settings, state, undoing=undoing)
        super().__init__(settings, self.journal.replay, working, state.run_id)
        self.waiting = _waiting(state) if state.hooks or state.underway else {}
        self.fresh = not (self.waiting or state.entries)
        self.spares: dict[asyncio.Task[Any], Callable[[asyncio.Task[Any]], None]] = {}
        self.losing: set[str] = set()  # keys of steps that a race cuts off: its entry says so
        # By policy, as a step that says how it is undone may cost next to nothing more than another.
        self.undoable: list[tuple[Policy, dict[str, Returns]]] = []
        self.copies: dict[str, Any] = {}
        self.undoing = undoing
        self.cancelled = None if undoing else state.cancelled
        self.left: set[asyncio.Task[Any]] = set()
        self.read_only = state.end is not None
        self.failing: Exit | None = None
        self.over = False
        self.drains = True  # at the end, steps under way are awaited: not if the caller cancels
        self.root = _tasks.current()
        self._unwatched = self._is_usual()
        self.quick = self._unwatched
        self.unkept = settings.checkpoint is None
        self._cancels = self.root.cancelling()
        self.root_leaves = False
        self.unwinding = False
        self.holding = 0  # replayed steps that wait for their turn
        self._news: list[asyncio.Future[None]] = []
        if host is not None:
            self._join(host.session)

    def _is_usual(self) -> bool:
        """Whether nobody is told of anything, and no entry has to come before another."""
        state = self.state
        later = state.forgotten or state.end or state.undoing or self.cancelled is not None
        return not (self.journal.observed or later)

    def _join(self, parent: Session) -> None:
        """Be the leg of a child of that run."""
        self.journal.join(parent.journal)
        self.stir_with(parent)
        if parent.exit is not None:
            self.close(STOPPED)

    # --- the journal ------------------------------------------------------------------------

    async def keep(self, entry: Entry) -> None:
        """Add an entry outside the call of a step's function: what goes wrong ends the run."""
        failure: Exception | None = None
        self.active += 1  # while a store writes it, the branch is not at rest
        try:
            given_away = self.journal.put(entry)
            if given_away is not None:
                await finished(given_away)
        except asyncio.CancelledError:
            if entry.kind in _GIVEN:
                self.cut(entry.key)  # what was journaled never came to the workflow
            raise
        except Exception as cause:  # noqa: BLE001  a store may raise anything
            failure = cause
        finally:
            self.done()
        if failure is not None:
            await self.stop(UnexpectedError(entry.key, failure))

    async def note(self, note: Underway) -> None:
        """Tell the journal how far a step has come. Raises what a store raises."""
        self.active += 1  # as in `keep`
        try:
            await self.journal.add(noted(note))
        except asyncio.CancelledError:
            self.cut(note.key)
            raise
        finally:
            self.done()

    async def flush(self, asked: str | None = None) -> None:
        """Journal the steps that the workflow cut off, now that it has gone on and asked for a step.

        While that may be the cleanup of a run that its caller cancels, it has not gone on: what is asked
        for then would come in front of the steps that were cut off, which run again.
        """
        if asked is not None and self.caller_cancelled():
            self.journal.hold_back(asked)
            return
        try:
            while self.journal.cuts and not self.caller_cancelled():
                await self.keep(self.journal.cuts.pop(0))
            if self.journal.held:
                await self._give_held()
        except asyncio.CancelledError:
            if asked is not None:
                self.cut(asked)
            raise
        self.quick = self._unwatched and self.exit is None and not self.journal.cuts

    async def _give_held(self) -> None:
        key, failure = self.journal.held[0].key, None
        self.active += 1  # as in `keep`
        try:
            await self.journal.give_held()
        except Exception as cause:  # noqa: BLE001  a store may raise anything
            failure = cause
        finally:
            self.done()
        if failure is not None:
            await self.stop(UnexpectedError(key, failure))

    def cut_or_failed(self, key: str, error: asyncio.CancelledError) -> UnexpectedError:
        """Note a step that was cut off, and raise; or give the error of one that raised by itself."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            self.journal.tell("step.raised", key, error)
            return UnexpectedError(key, error)
        self.journal.tell("step.cut", key)
        self.cut(key)
        raise error

    def cut(self, key: str) -> None:
        """Note a step that workflow code cancelled: it is journaled if the workflow goes on."""
        if self.exit is None and key not in self.losing:
            self.journal.cut(key)
            self.quick = False

    # --- work under way ---------------------------------------------------------------------

    async def hold(self, key: str) -> None:
        """Hold a replayed step back until its turn; leave, if the leg ends meanwhile."""
        self.holding += 1
        try:
            await self.pacing.hold(key)
        finally:
            self.holding -= 1
        if self.exit is not None:
            await self.leave()

    async def catch_up(self) -> None:
        """Let tasks that have begun ask for what is journaled of them, and get it, before anything new.

        What the new step gives may cancel them, and they had it by then.
        """
        if not (self.replay.due or self.holding):
            return
        for _ in range(REACT):
            if self.replay.due:
                await asyncio.sleep(0)
        if self.holding:
            await self.quiet(until=lambda: not self.holding, idle=False)
        if self.exit is not None:
            await self.leave()

    # --- the end of the leg -----------------------------------------------------------------

    async def stop(self, error: Any) -> NoReturn:
        """End the run with an error of awaitpy: it is interrupted and can be resumed."""
        await self._end(Exit("interrupted", error))

    def undos(self) -> dict[str, Undo]:
        """Give how each step that has completed is undone, by its key."""
        return {
            key: Undo(key, returns, self.copies.get(key), policy)
            for policy, asked in self.undoable
            for key, returns in asked.items()
            if self._has_completed(key)
        }

    def _has_completed(self, key: str) -> bool:
        """Whether a step gave a value, be it that the workflow was cut off before it got it."""
        entry = self.replay.entries.get(key)
        return entry is not None and (entry.kind == VALUE or key in self.copies)

    async def fail(self, error: Any) -> NoReturn:
        """End the run with a typed error of its own."""
        self.failing = self.failing or Exit("failed", error)
        self.quick = False
        if self.exit is None and not self._all_asked():
            # Other branches first say of all that was done before, or has begun, how it is undone.
            await self.calm(until=self._all_asked, idle=False)
        await self._end(self.failing)

    def _all_asked(self) -> bool:
        """Whether all that may have to be undone was asked for, and given."""
        given = not (self.replay.due or self.holding)
        return given and self.called.keys() >= set(self.children_under_way())

    @property
    def may_begin(self) -> bool:
        """Whether a new step may begin, as the run is not at its end."""
        ends = self.exit is not None or self.failing is not None or self.cancelled is not None
        return not (ends or self.state.undoing)

    async def begin(self, key: str) -> None:
        """Let a new step begin, unless the run is at its end: cancelled, failing, or being undone."""
        if self.cancelled is not None:
            await self.fail(errors.Cancelled(self.cancelled))
        if self.state.undoing and not self.undoing:
            await self.calm(until=self._is_ending)
            if not self._is_ending():
                await self.stop(no_longer_fails(key))
        if self._is_ending():
            await self.fail(None)  # the error that came first counts

    def _is_ending(self) -> bool:
        return self.exit is not None or self.failing is not None

    async def refuse(self, error: Any) -> NoReturn:
        """End the leg because a delivery was refused: the hook is pending again."""
        await self._end(Exit("suspended", error))

    async def _end(self, why: Exit) -> NoReturn:
        if self.exit is None:
            if self.journal.cuts or self.journal.held:
                await self.flush()
            self.close(why)
        await self.leave()

    def close(self, why: Exit) -> None:
        """Say why the leg is over; the first to say so is right. No new step runs after that."""
        self.exit = self.exit or why
        self.quick = False
        self.pacing.over = True
        if self._news:
            wake(self._news)
        self.stir()
        for child in self.hosted.values():
            child.stop_child()

    def stop_child(self) -> None:
        """Let nothing new run in this leg, as that of the parent is over."""
        self.close(STOPPED)

    def children_under_way(self) -> list[str]:
        """Give the keys of the children that have begun and not ended, the first to begin first."""
        if not self.journal.children:
            return []
        return [key for key, child in self.journal.children.items() if child.end is None]

    def nested(self, key: str) -> Leave:
        """End the run because a step was called within the function of another."""
        if self.exit is None:
            problem = (
                f"Step {key!r} was called inside the function of another step, which could be journaled "
                "or run again only as a whole. Call it from the workflow; step.scope(name) keeps the "
                "keys of a sub-workflow apart."
            )
            self.close(Exit("interrupted", UnexpectedError(key, StepMisuse(problem))))
        return Leave()

    async def leave(self) -> NoReturn:
        """Leave the workflow, once all steps under way are journaled."""
        in_root = asyncio.current_task() is self.root
        self.root_leaves = self.root_leaves or in_root
        if self.active or self.hosted:
            await self.idle()
        if in_root:
            raise Leave
        if not (self.root_leaves or self.unwinding or self.over):
            self.unwinding = True
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

    async def park(self, pending: PendingHook | PendingTimer, child: str | None = None) -> NoReturn:
        """Suspend: wait until every branch has come to its wait or its end, then leave.

        The wait is one of a step here, or of the `child` of this key.
        """
        key = child or pending.step_key
        if self.journal.held:
            await self.flush()
        self.parked[key] = pending
        self.stir()
        if child is None:
            self.journal.tell_wait(pending)
        if self.spares and self.exit is None and not self._would_work(pending):
            self._replace()
        in_root = asyncio.current_task() is self.root
        self.root_leaves = self.root_leaves or in_root
        try:
            if in_root and not (self.active or self.hosted or self.has_tasks()):
                self.close(Exit("suspended", pending, settled=True))
                raise Leave
            while self.exit is None:
                await self._settle()
        except asyncio.CancelledError:
            if self.exit is None:
                del self.parked[key]
            raise
        finally:
            self.root_leaves = self.root_leaves and not in_root
        await self.leave()

    @staticmethod
    def _would_work(pending: PendingHook | PendingTimer) -> bool:
        """Whether this is no wait, but where a dry run stays at a step that would be under way."""
        return isinstance(pending, PendingHook) and not pending.hook_id

    def _replace(self) -> None:
        """Let another task take the place of one that parks, where only so many may be at work."""
        task: Any = asyncio.current_task()
        spare = self.spares.pop(task, None)
        if spare is not None:
            spare(task)

    async def _settle(self) -> None:
        if self.settling:
            await wait_on(self._news)
            return
        self.settling = True
        try:
            await self.calm(until=lambda: self.exit is not None)
            self.close(self.exit or self.failing or Exit("suspended", self._first_wait(), settled=True))
        finally:
            self.settling = False
            wake(self._news)

    def _first_wait(self) -> PendingHook | PendingTimer:
        hooks = waiting(self.journal.hooks, self.journal.children, self.replay.entries)
        return first_wait(self.parked.values(), (wait.hook.hook_id for wait in hooks))

    def caller_cancelled(self) -> bool:
        """Whether the task in which the leg runs was cancelled from outside."""
        return self.root.cancelling() > self._cancels


def _waiting(state: ResumeState) -> dict[str, OpenHook | None]:
    """Give the steps that a former leg has come to and not completed, and the hooks that they wait for."""
    hooks = {hook.step_key: hook for hook in state.hooks.values() if hook.step_key is not None}
    return {**hooks, **dict.fromkeys(state.underway)}
