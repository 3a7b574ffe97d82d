"""One leg of a run: the workflow goes on until it ends or suspends, and is undone if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from awaitpy import _ending as ending
from awaitpy import _workflow as workflows
from awaitpy._leg import STOPPED, Exit
from awaitpy._session import Session
from awaitpy._state import changed
from awaitpy._step import BoundStep
from awaitpy._tasks import place
from awaitpy._undo import plan, reported, reserved, undo_all
from awaitpy._waits import is_wait_error, unpark
from awaitpy._wire import CUT, UNDOING
from awaitpy.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awaitpy._motion import Host
    from awaitpy._state import ResumeState
    from awaitpy._workflow import Described
    from awaitpy.errors import NotUndone


async def unwound(session: Session, body: Coroutine[Any, Any, Any]) -> Exit:
    """Let the workflow go on until it ends or suspends; leave nothing running."""
    token = place.set(session.mark)
    if session.host is not None:
        session.host.session.hosted[session.root] = session
    try:
        return await ending.completed(session, await body)
    except BaseException as error:
        ended = ending.ended_by(session, error if hasattr(body, "__await__") else ending.not_async(body))
        session.drains = ended is not None
        if ended is None:
            raise
        return ended
    finally:
        place.reset(token)
        ending.uncancel(session)
        try:
            await ending.sweep(session)
        finally:
            if session.host is not None:
                _hand_back(session, session.host)


def _hand_back(session: Session, host: Host) -> None:
    """Leave with the parent what the leg of a child has come to, however it is left."""
    del host.session.hosted[session.root]
    reached = next_state(None, session.state, session, Exit(session.state.status))
    host.session.journal.children[host.key] = reached


async def leg(
    session: Session, flow: Described, body: Coroutine[Any, Any, Any]
) -> tuple[Exit, ResumeState]:
    """Run the workflow over the state until it ends or suspends, and undo what it did if it failed."""
    session.journal.tell("run.started")
    try:
        last, why = session, await unwound(session, body)
        if why.status == "failed" and undoes(session):
            last, why = await undone(session, why)
    except BaseException as error:
        session.journal.tell("run.cut", None, error)
        raise
    if why is STOPPED:
        session.journal.tell("run.cut")
        return why, next_state(flow, session.state, last, Exit(session.state.status))
    state = session.state if session.read_only else next_state(flow, session.state, last, why)
    session.journal.tell_end(why.status, None if is_wait_error(why.error) else why.error)
    return why, state


def undoes(failed: Session) -> bool:
    """Whether there is something to undo after a leg that has failed."""
    if failed.state.undoing:
        return True
    return not failed.read_only and bool(failed.undos() or failed.children_under_way())


async def undone(failed: Session, why: Exit) -> tuple[Session, Exit]:
    """Undo the completed steps of a run that has failed: a leg of its own, over what was journaled."""
    state = msgspec.structs.replace(failed.state, **{**_tables(failed, why), **_of_undo(failed)})
    session = Session(failed.settings, state, failed.working, undoing=True, host=failed.host)
    session.journal.watch = failed.journal.watch  # for whom watches, it is the same leg
    session.journal.tell("run.undoing", None, why.error)
    ended = await unwound(session, _undoing(session, failed, why.error))
    return session, Exit("failed", ended.value) if ended.status == "completed" else ended


def _of_undo(failed: Session) -> dict[str, Any]:
    """Give what the steps of an undo wait for since a former leg; those of the workflow wait no more."""
    hooks, underway = failed.journal.hooks, failed.journal.underway
    return {
        "hooks": {key: hook if _undoes(hook.step_key) else unpark(hook) for key, hook in hooks.items()},
        "underway": {key: note for key, note in underway.items() if _undoes(key)},
    }


def _undoes(key: str | None) -> bool:
    return key is not None and key.startswith(UNDOING)


async def _undoing(session: Session, failed: Session, error: Any) -> Any:
    """Give the error with which the run ends, once all is undone that can be."""
    entries, undos = session.replay.entries, failed.undos()
    if not session.journal.undoing:
        taken = next(filter(_undoes, entries), None)
        if taken is not None:
            await session.stop(UnexpectedError(taken, reserved(taken)))
        await session.keep(plan(entries, undos, failed.children_under_way()))
    keys = session.journal.undoing
    # A step of the plan has completed; a child that was under way, or cut off, has not.
    children = [key for key in keys if key not in entries or entries[key].kind == CUT]
    failures: list[NotUndone] = []
    for key in children:
        failures += await _undone_child(session, key, failed)
    steps = [key for key in keys if key not in children]
    failures += await undo_all(BoundStep(session, UNDOING), steps, entries, undos)
    return reported(error, failures)


async def _undone_child(session: Session, key: str, failed: Session) -> list[NotUndone]:
    children = session.settings.children
    return [] if children is None else await children().undone(session, key, failed.called.get(key))


def next_state(flow: Described | None, before: ResumeState, session: Session, why: Exit) -> ResumeState:
    """Give the state after a leg; the very same one if the leg changed nothing."""
    tables = _tables(session, why)
    if why.status == before.status and len(session.replay.entries) == len(before.entries):
        hooks, underway = tables["hooks"], tables["underway"]
        same = _same(hooks, before.hooks) and _same(underway, before.underway)
        if same and not session.replay.new and _unchanged(tables["children"], before.children):
            return before
    ok = why.status == "completed"
    return changed(
        before,
        status=why.status,
        forgotten=session.replay.forgotten,
        end=workflows.ending(flow, ok, why.value if ok else why.error, session.codecs)
        if flow is not None and why.status in {"completed", "failed"}
        else None,
        trace=session.journal.trace() or before.trace,
        **tables,
    )


def _tables(session: Session, why: Exit) -> dict[str, Any]:
    journal, entries = session.journal, session.replay.entries
    underway = {} if why.status in {"completed", "failed"} else journal.underway
    return {
        "entries": entries,
        "hooks": ending.waits(session, why) if journal.hooks else {},
        "closed": journal.closed,
        "underway": {key: note for key, note in underway.items() if key not in entries} if underway else {},
        "undoing": journal.undoing,
        "children": journal.children,
    }


def _unchanged(one: dict[str, ResumeState], other: dict[str, ResumeState]) -> bool:
    return len(one) == len(other) and all(other.get(key) is child for key, child in one.items())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one == other and list(one) == list(other)
