"""One leg of a run: the workflow goes on until it ends or suspends, and is undone if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from awaitpy import _workflow as workflows
from awaitpy._leg import Exit
from awaitpy._session import Session
from awaitpy._state import changed
from awaitpy._step import BoundStep
from awaitpy._tasks import place
from awaitpy._undo import plan, reported, reserved, undo_all
from awaitpy._waits import unpark
from awaitpy._wire import UNDOING
from awaitpy.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awaitpy._state import ResumeState
    from awaitpy._workflow import Described


async def unwound(session: Session, body: Coroutine[Any, Any, Any]) -> Exit:
    """Let the workflow go on until it ends or suspends; leave nothing running."""
    token = place.set(session.mark)
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
        await session.sweep()


def undoes(failed: Session) -> bool:
    """Whether there is something to undo after a leg that has failed."""
    return bool(failed.state.undoing or (failed.undos() and not failed.read_only))


async def undone(failed: Session, why: Exit) -> tuple[Session, Exit]:
    """Undo the completed steps of a run that has failed: a leg of its own, over what was journaled."""
    state = msgspec.structs.replace(failed.state, **{**_tables(failed, why), **_of_undo(failed)})
    session = Session(failed.settings, state, failed.working, undoing=True)
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
        await session.keep(plan(entries, undos))
    step = BoundStep(session, UNDOING)
    return reported(error, await undo_all(step, session.journal.undoing, entries, undos))


def next_state(flow: Described, before: ResumeState, session: Session, why: Exit) -> ResumeState:
    """Give the state after a leg; the very same one if the leg changed nothing."""
    tables = _tables(session, why)
    if why.status == before.status and len(session.replay.entries) == len(before.entries):
        hooks, underway = tables["hooks"], tables["underway"]
        if _same(hooks, before.hooks) and _same(underway, before.underway) and not session.replay.new:
            return before
    finished = why.status in {"completed", "failed"}
    ok = why.status == "completed"
    return changed(
        before,
        status=why.status,
        forgotten=session.replay.forgotten,
        end=workflows.ending(flow, ok, why.value if ok else why.error, session.codecs)
        if finished
        else None,
        trace=session.journal.trace() or before.trace,
        **tables,
    )


def _tables(session: Session, why: Exit) -> dict[str, Any]:
    journal, entries = session.journal, session.replay.entries
    underway = {} if why.status in {"completed", "failed"} else journal.underway
    return {
        "entries": entries,
        "hooks": session.waits(why) if journal.hooks else {},
        "closed": journal.closed,
        "underway": {key: note for key, note in underway.items() if key not in entries} if underway else {},
        "undoing": journal.undoing,
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one == other and list(one) == list(other)
