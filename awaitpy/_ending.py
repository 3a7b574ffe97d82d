"""How a leg ends: why, what is swept up after it, and which hooks wait then."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from awaitpy import _tasks
from awaitpy._arguments import kind
from awaitpy._leg import Exit, leaves
from awaitpy._undo import no_longer_fails
from awaitpy._waits import unpark
from awaitpy.errors import StepMisuse, SuspensionSwallowed, UnexpectedError

if TYPE_CHECKING:
    from awaitpy._session import Session
    from awaitpy._wire import OpenHook

_COMPLETED: Final = Exit("completed")
_INTERRUPTED: Final = Exit("interrupted")


async def completed(session: Session, value: Any) -> Exit:
    """Give the exit of a workflow that returned."""
    if session.exit is not None:
        return _swallowed(session) if session.exit.status == "suspended" else session.exit
    if value.__class__ is CoroutineType:
        value.close()
        raise StepMisuse(
            "The workflow returned a coroutine that nobody has awaited, so what it stands for has not run. "
            "Write `return await step(...)`."
        )
    if session.journal.cuts or session.journal.held:
        await session.flush()
    session.root_leaves = True  # a branch that goes on need not unwind it
    session.close(_COMPLETED)
    if session.active or session.hosted:
        await session.idle()
    if session.replay.due and session.replay.due_in(""):
        return Exit("interrupted", session.replay.drift(None))
    if session.state.undoing and not session.undoing:
        return Exit("interrupted", no_longer_fails(None))
    return Exit("completed", value=value)


def _swallowed(session: Session) -> Exit:
    waits = tuple(getattr(pending, "hook_id", pending.step_key) for pending in session.parked.values())
    return Exit("interrupted", UnexpectedError(None, SuspensionSwallowed(waits)))


def ended_by(session: Session, error: BaseException) -> Exit | None:
    """Give the exit of a workflow that raised; None if the error is the caller's, to be raised."""
    if isinstance(error, asyncio.CancelledError):
        return _ended_by_cancel(session, error)
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return None
    why = session.exit
    if why is None or (why.status == "suspended" and not leaves(error)):
        why = session.exit = Exit("interrupted", UnexpectedError(None, error))
    return why


def not_async(body: object) -> StepMisuse:
    """Say that the workflow gave no coroutine."""
    return StepMisuse(
        f"The workflow gave {kind(body)}, which can't be awaited. Write it as `async def`, without `yield`."
    )


def _ended_by_cancel(session: Session, error: asyncio.CancelledError) -> Exit | None:
    uncancel(session)
    if session.caller_cancelled():
        return None
    if session.exit is None:
        session.exit = Exit("interrupted", UnexpectedError(None, error))
    return session.exit


def uncancel(session: Session) -> None:
    """Take back the cancellation by which a leg unwound its own root."""
    if session.unwinding:
        session.unwinding = False
        session.root.uncancel()


async def sweep(session: Session) -> None:
    """Let nothing go on behind the caller's back: end every task that the workflow left."""
    session.root_leaves = True
    session.close(_INTERRUPTED)
    try:
        if session.drains and (session.active or session.hosted):
            await session.idle()
    finally:  # the caller may cancel meanwhile
        session.over = True
        await _end_tasks(session)


async def _end_tasks(session: Session) -> None:
    # The copy of a context may outlive its task, so this may look in vain; it never looks away.
    while session.is_marked():
        tasks = session.started()
        if not tasks:
            return
        await _tasks.end(tasks, session.left)


def waits(session: Session, why: Exit) -> dict[str, OpenHook]:
    """Give the hooks as the next state has them: after a settled leg, only the parked wait."""
    hooks = session.journal.hooks
    if why.status in {"completed", "failed"}:
        return {key: unpark(hook) for key, hook in hooks.items()}
    if not why.settled:
        return hooks
    return {key: hook if hook.step_key in session.parked else unpark(hook) for key, hook in hooks.items()}
