"""What moves in a leg: steps under way, tasks that the workflow has started, and the legs of children."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _tasks
from awaitpy._leg import QUIET, Exit, wait_on, wake
from awaitpy._pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType

    from awaitpy._replay import Replay
    from awaitpy._session import Session


class Host(msgspec.Struct, frozen=True):
    """Where a child runs: in the leg of its parent, under the key of the step that it is there."""

    session: Session
    key: str
    depth: int


class Motion:
    """What moves in a leg, and how to wait until nothing does."""

    __slots__ = (
        "active",
        "awaited",
        "becalmed",
        "exit",
        "hosted",
        "inside",
        "mark",
        "pacing",
        "replay",
        "settling",
        "working",
    )

    def __init__(self, replay: Replay, working: Collection[CodeType], run_id: str) -> None:
        self.replay = replay
        self.pacing = Pacing(replay)
        self.working = working
        self.active = 0
        self.awaited: list[asyncio.Future[None]] = []
        self.hosted: dict[asyncio.Task[Any], Session] = {}  # the legs of children, by their root task
        self.mark, self.inside = object(), _tasks.Inside(run_id)
        self.exit: Exit | None = None
        self.settling = False
        self.becalmed = False  # nothing moves until a step is cut off again

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
            busy = next((leg for leg in self.hosted.values() if leg.busy), None)
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
            before = self.asked
            await asyncio.sleep(0)
            still = before == self.asked and not (idle and self.busy) and not self.moving
            turns = turns + 1 if still else 0
            if turns >= QUIET:
                # Branches within branches may still be starting: each level takes a turn.
                found = len(self.started())
                if found == tasks:
                    return
                turns, tasks = 0, found

    @property
    def busy(self) -> bool:
        """Whether a step is under way, here or in a child."""
        return self.active > 0 or any(child.busy for child in self.hosted.values())

    @property
    def asked(self) -> int:
        """How many steps were asked for, here and in children."""
        asked = len(self.replay.asked)
        return asked + sum(child.asked for child in self.hosted.values()) if self.hosted else asked

    @property
    def moving(self) -> bool:
        """Whether replayed steps wait for their turn, or a child is about to suspend or to end."""
        return bool(self.pacing) or any(child.turning or child.moving for child in self.hosted.values())

    def has_tasks(self) -> bool:
        """Whether another task may carry the mark: a copy of the context keeps it alive.

        Exact and cheap, where asking asyncio for all tasks costs more the busier the application is.
        """
        _tasks.place.set(None)
        others = self.is_marked()
        _tasks.place.set(self.mark)
        return others

    def others_alive(self) -> bool:
        """Whether the workflow has started a task that is still alive."""
        return self.has_tasks() and bool(self.started())

    def started(self) -> list[asyncio.Task[Any]]:
        """Give the living tasks that the workflow has started, those in which children run included."""
        found = _tasks.started(self.mark, self.inside, self.working)
        current = asyncio.current_task()
        return [*found, *(task for task in self.hosted if task is not current)]

    @property
    def turning(self) -> bool:
        """Whether the leg finds out if it is over, or unwinds."""
        return (self.settling and not self.becalmed) or self.exit is not None

    def is_marked(self) -> bool:
        """Whether something beside this object refers to the mark."""
        return sys.getrefcount(self.mark) > _ALONE


def _alone() -> int:
    """Count what refers to a mark that one object holds, seen as `sys.getrefcount` sees it."""
    holder = _Marked()
    return sys.getrefcount(holder.mark)


class _Marked:
    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark = object()


_ALONE: Final = _alone()
