"""Which tasks a run has started: found when a run ends and something of it may still be alive.

A run marks its context by a context variable, and every task copies the context in which it was made.
"""

from __future__ import annotations

import asyncio
import gc
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import CodeType

_GRACE: Final = 5.0
"""Seconds for the cleanup of a task that was cancelled before its run ended."""

place: Final[ContextVar[object]] = ContextVar("awaitpy_place", default=None)
"""Where the code runs: a run's mark in the body of its workflow, and within a step's function the run's
`Inside`, the key of the step and the number of its attempt."""


class Inside:
    """That the code runs within the function of a step of this run."""

    __slots__ = ("run_id",)

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id


def current() -> asyncio.Task[Any]:
    """Give the task in which a leg begins. Raises RuntimeError outside of any."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # there is not even a loop
        task = None
    if task is None:
        raise RuntimeError("A workflow runs in an asyncio task: use asyncio.run(...).")
    return task


def within(inside: Inside) -> bool:
    """Whether the code runs within the function of a step of that run."""
    where: Any = place.get()
    return where.__class__ is tuple and where[0] is inside


def started(mark: object, inside: Inside, working: Collection[CodeType]) -> list[asyncio.Task[Any]]:
    """Give the living tasks of a run, other than the current one: that carry its mark, or run its steps."""
    current = asyncio.current_task()
    return [
        task for task in asyncio.all_tasks() if task is not current and _of_run(task, mark, inside, working)
    ]


def _of_run(task: asyncio.Task[Any], mark: object, inside: Inside, working: Collection[CodeType]) -> bool:
    places: list[Any] = [context.get(place) for context in _contexts(task)]
    if places and all(where is mark for where in places):
        return True
    steps = any(where.__class__ is tuple and where[0] is inside for where in places)
    return steps and _runs(task.get_coro(), working)


def _contexts(task: asyncio.Task[Any]) -> list[Context]:
    """Give the contexts that a task refers to: its own, and those of its callbacks.

    Python 3.11 has no other way to ask. A task that we only await has its own, unmarked, among them.
    """
    return [found for found in gc.get_referents(task) if isinstance(found, Context)]


def _runs(coroutine: Any, working: Collection[CodeType]) -> bool:
    """Whether a coroutine is, at some depth, awaiting a step of a run."""
    while coroutine is not None:
        if getattr(coroutine, "cr_code", None) in working:
            return True
        coroutine = getattr(coroutine, "cr_await", None)
    return False


async def end(tasks: list[asyncio.Task[Any]], leaving: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, even when the waiting task is cancelled itself.

    A task that is being cancelled already, or leaves by itself, is let finish its cleanup; one that
    has swallowed its cancellation is cancelled again after a while.
    """
    under_way = [task for task in tasks if task in leaving or task.cancelling()]
    if not under_way:
        _cancel(tasks)
    again = asyncio.get_running_loop().call_later(_GRACE, _cancel, tasks)
    try:
        await finish(under_way or tasks)
    finally:
        again.cancel()
    for task in under_way or tasks:
        if not task.cancelled():
            task.exception()  # it is of no use to anyone now; asking keeps asyncio from reporting it


def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


async def finish(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Wait until all tasks are done; a cancellation that comes meanwhile is raised after that."""
    cancelled: asyncio.CancelledError | None = None
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
