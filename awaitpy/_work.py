"""What is under way in one leg of a run: steps, tasks and children, and how one waits until they rest."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _tasks
from awaitpy._journal import Journal
from awaitpy._leg import QUIET, Exit, Settings, wait_on, wake
from awaitpy._pacing import Pacing
from awaitpy.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType

    from awaitpy._session import Session
    from awaitpy._state import ResumeState
    from awaitpy._wire import OpenHook


class Host(msgspec.Struct, frozen=True):
    """Where a child runs: in the leg of its parent, under the key of the step that it is there."""

    session: Session
    key: str
    depth: int


class Work:
    """The steps of a leg, as they are asked for, run, and cut off."""

    __slots__ = (
        "_cancels",
        "_unwatched",
        "active",
        "awaited",
        "called",
        "cancelled",
        "codecs",
        "drains",
        "exit",
        "host",
        "hosted",
        "inside",
        "journal",
        "losing",
        "mark",
        "over",
        "pacing",
        "quick",
        "read_only",
        "replay",
        "returns",
        "root",
        "settings",
        "state",
        "undoing",
        "waiting",
        "working",
    )

    def __init__(
        self,
        settings: Settings,
        state: ResumeState,
        working: Collection[CodeType],
        *,
        undoing: bool,
        host: Host | None,
    ) -> None:
        root = asyncio.current_task()
        if root is None:
            raise RuntimeError("A workflow runs in an asyncio task: use asyncio.run(...).")
        self.root = root
        self._cancels = root.cancelling()
        self.settings = settings
        self.working = working
        self.state = state
        self.host = host
        self.hosted: dict[asyncio.Task[Any], Session] = {}  # the legs of children, by their root task
        self.called: dict[str, Any] = {}  # the children that this leg has asked for
        self.codecs = settings.codecs
        self.returns = settings.codecs.for_leg()
        self.journal = Journal(settings, state, undoing=undoing)
        self.replay = self.journal.replay
        self.pacing = Pacing(self.replay)
        self.waiting: dict[str, OpenHook | None] = {
            h.step_key: h for h in state.hooks.values() if h.step_key is not None
        }
        if state.underway:
            self.waiting.update(dict.fromkeys(state.underway))
        self.losing: set[str] = set()  # keys of steps that a race cuts off: its entry says so
        self.undoing = undoing
        self.cancelled = None if undoing else state.cancelled
        self.read_only = state.end is not None
        self.exit: Exit | None = None
        self.over = False
        self.drains = True  # at the end, steps under way are awaited: not if the caller cancels
        self.active = 0
        self.awaited: list[asyncio.Future[None]] = []
        self.mark, self.inside = object(), _tasks.Inside(state.run_id)
        # Whether the usual case is all there is: nobody is told, and no entry has to come before another.
        self._unwatched = not (
            self.journal.observed
            or state.forgotten
            or state.end
            or state.undoing
            or self.cancelled is not None
        )
        self.quick = self._unwatched

    def done(self) -> None:
        """Count a step that is no longer under way."""
        self.active -= 1
        if self.awaited:
            self.wake_idle()

    def wake_idle(self) -> None:
        """Wake those who wait until no step is under way, if that is so."""
        if not self.active:
            wake(self.awaited)

    async def idle(self) -> None:
        """Wait until no step is under way, here and in children."""
        while self.active or self.hosted:
            busy = next(filter(_busy, self.hosted.values()), None)
            if self.active:
                await wait_on(self.awaited)
            elif busy is not None:
                await busy.idle()
            else:
                return

    async def quiet(self, until: Callable[[], bool], *, idle: bool = True) -> None:
        """Wait until nothing moves: no step under way, none asked for in some turns of the loop.

        Without `idle` steps under way are not waited for.
        """
        turns, tasks = 0, 0
        while not until():
            if idle:
                await self.idle()
            before = _asked(self)
            await asyncio.sleep(0)
            still = before == _asked(self) and not (idle and _busy(self)) and not _moving(self)
            turns = turns + 1 if still else 0
            if turns >= QUIET:
                # Branches within branches may still be starting: each level takes a turn.
                found = len(self.started())
                if found == tasks:
                    return
                turns, tasks = 0, found

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

    def has_tasks(self) -> bool:
        """Whether another task may carry the mark: a copy of the context keeps it alive.

        Exact and cheap, where asking asyncio for all tasks costs more the busier the application is.
        """
        _tasks.place.set(None)
        others = sys.getrefcount(self.mark) > _ALONE
        _tasks.place.set(self.mark)
        return others

    def may_have_tasks(self) -> bool:
        """Whether anybody refers to the mark, such as the context of a task, alive or not."""
        return sys.getrefcount(self.mark) > _ALONE

    def others_alive(self) -> bool:
        """Whether the workflow has started a task that is still alive."""
        return self.has_tasks() and bool(self.started())

    def started(self) -> list[asyncio.Task[Any]]:
        """Give the living tasks that the workflow has started, those in which children run included."""
        found = _tasks.started(self.mark, self.inside, self.working)
        current = asyncio.current_task()
        return [*found, *(task for task in self.hosted if task is not current)]

    def caller_cancelled(self) -> bool:
        """Whether the task that awaits the run was cancelled since it began."""
        return self.root.cancelling() > self._cancels


def _busy(session: Work) -> bool:
    """Whether a step is under way, here or in a child."""
    return session.active > 0 or any(map(_busy, session.hosted.values()))


def _asked(session: Work) -> int:
    """Count the steps that were asked for, here and in children."""
    return len(session.replay.asked) + sum(map(_asked, session.hosted.values()))


def _moving(session: Work) -> bool:
    """Whether replayed steps wait for their turn, or a child is about to suspend or to end."""
    return bool(session.pacing) or any(c.turning or _moving(c) for c in session.hosted.values())


def _alone() -> int:
    """Count what refers to a mark that one object holds, seen as `sys.getrefcount` sees it."""
    holder = _Marked()
    return sys.getrefcount(holder.mark)


class _Marked:
    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark = object()


_ALONE: Final = _alone()
