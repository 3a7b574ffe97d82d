"""One leg of a run: the workflow goes on until it ends or suspends, and is undone if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from awaitpy import _workflow as workflows
from awaitpy._leg import STOPPED, Exit
from awaitpy._session import Session
from awaitpy._state import changed
from awaitpy._step import BoundStep
from awaitpy._tasks import place
from awaitpy._undo import plan, reported, undo_all
from awaitpy._waits import is_wait_error

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awaitpy._session import Host
    from awaitpy._state import ResumeState
    from awaitpy._workflow import Described
    from awaitpy.errors import NotUndone


async def unwound(session: Session, body: Coroutine[Any, Any, Any]) -> Exit:
    """Let the workflow go on until it ends or suspends; leave nothing running."""
    token = place.set(session.mark)
    if session.host is not None:
        session.host.session.hosted[session.root] = session
    try:
        return await session.completed(await body)
    except BaseException as error:
        ended = session.ended_by(error)
        session.drains = ended is not None
        if ended is None:
            raise
        return ended
    finally:
        place.reset(token)
        session.uncancel()
        try:
            await session.sweep()
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
    todo = failed.state.undoing or failed.undos or failed.children_under_way()
    return bool(todo) and not failed.read_only


async def undone(failed: Session, why: Exit) -> tuple[Session, Exit]:
    """Undo the completed steps of a run that has failed: a leg of its own, over what was journaled."""
    state = msgspec.structs.replace(failed.state, **_tables(failed, why))
    session = Session(failed.settings, state, failed.working, undoing=True, host=failed.host)
    session.journal.watch = failed.journal.watch  # for whom watches, it is the same leg
    session.journal.tell("run.undoing", None, why.error)
    ended = await unwound(session, _undoing(session, failed, why.error))
    return session, Exit("failed", ended.value) if ended.status == "completed" else ended


async def _undoing(session: Session, failed: Session, error: Any) -> Any:
    """Give the error with which the run ends, once all is undone that can be."""
    if not session.journal.undoing:
        children = [key for key in failed.children_under_way() if key not in failed.undos]
        await session.keep(plan(session.replay.entries, failed.undos, children))
    keys, entries = session.journal.undoing, session.replay.entries
    failures: list[NotUndone] = []
    children = [key for key in keys if key in session.journal.children and key not in failed.undos]
    for key in children:
        failures += await _undone_child(session, key, failed)
    steps = [key for key in keys if key not in children]
    failures += await undo_all(BoundStep(session), steps, entries, failed.undos)
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
    underway = journal.underway
    return {
        "entries": entries,
        "hooks": session.waits(why) if journal.hooks else {},
        "closed": journal.closed,
        "underway": {key: note for key, note in underway.items() if key not in entries} if underway else {},
        "undoing": journal.undoing,
        "children": journal.children,
    }


def _unchanged(one: dict[str, ResumeState], other: dict[str, ResumeState]) -> bool:
    return len(one) == len(other) and all(other.get(key) is child for key, child in one.items())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one == other and list(one) == list(other)
