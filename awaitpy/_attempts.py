"""Attempts of a step under its policy: made, timed, counted in the journal, put off to a later time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _hooks, _timers, errors
from awaitpy import _payload as payloads
from awaitpy._leg import Leave
from awaitpy._tasks import place
from awaitpy._wire import POLICY, Entry, Underway, encode
from awaitpy.errors import DuplicateStepKey, JournalError, PendingTimer, StepMisuse, UnexpectedError
from awaitpy.result import Err

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._performing import Call
    from awaitpy._policy import Policy
    from awaitpy._session import Session


_HARMLESS: Final = (
    _hooks.create_hook, _hooks.first_of, _hooks.pending_hook,
    _timers.now, _timers.pending_timer, _timers.random, _timers.uuid,
)  # fmt: skip
"""Functions that do nothing outside of the run: it need not be known whether they were called."""
_NEVER: Final = (JournalError, StepMisuse, DuplicateStepKey)
"""Mistakes in the code: the next attempt would make them again."""


def is_noted(call: Call) -> bool:
    """Whether the journal is told that an attempt begins."""
    if call.policy.on_unknown is None:
        return False
    return not any(call.fn is fn for fn in _HARMLESS)  # by identity, as a function need not be hashable


async def make(session: Session, call: Call, attempt: int) -> tuple[BaseException | None, Any]:
    """Run the function once: give what it raised, or what it gave. It counts as under way from now on."""
    if is_noted(call):
        await _begin(session, call.key, attempt - 1)
    session.journal.tell("step.started", call.key)
    session.active += 1
    token = place.set((session.inside, call.key, attempt))
    try:
        return None, await _given(call)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  sorted out by `settled`
        return error, None
    except BaseException:
        session.done()
        session.journal.tell("step.cut", call.key)
        raise
    finally:
        place.reset(token)


async def _begin(session: Session, key: str, failed: int) -> None:
    """Note that an attempt begins; take that back if it is not to begin after all."""
    try:
        await _note(session, Underway(key, failed, began=True))
    except (asyncio.CancelledError, Leave):
        await _note(session, Underway(key, failed))
        raise
    if session.exit is not None:
        await _note(session, Underway(key, failed))
        await session.leave()


async def _given(call: Call) -> Any:
    given = call.fn(*call.args, **call.kwargs)
    if not hasattr(given.__class__, "__await__"):
        return given
    if call.policy.timeout is None:
        return await given
    limit = asyncio.timeout(call.policy.timeout)
    try:
        async with limit:
            return await given
    except TimeoutError:
        if not limit.expired():
            raise
        return Err(errors.StepTimeout(call.key, call.policy.timeout))


def delay(
    session: Session, policy: Policy, attempt: int, failure: BaseException | None, given: Any
) -> float | None:
    """Give the seconds until the next attempt, None if there is to be none.

    Raises what classes and a source of random bytes of users raise.
    """
    if policy.retry is None or isinstance(failure, (asyncio.CancelledError, *_NEVER)):
        return None
    if failure is None and given.__class__ is not Err:
        return None
    error = given.error if failure is None else failure
    return policy.retry.next(attempt, error, draw=_timers.draw(session.settings.entropy))


async def put_off(session: Session, key: str, attempt: int, seconds: float) -> None:
    """Count a failed attempt, and wait until the next: here, or in a later leg."""
    session.done()
    try:
        until = session.settings.clock() + timedelta(seconds=seconds)
    except Exception as cause:  # noqa: BLE001  a clock of users may raise anything
        await session.stop(UnexpectedError(key, cause))
    await _note(session, Underway(key, attempt, until))
    await _pause(session, PendingTimer(key, until, attempt))


async def _pause(session: Session, pending: PendingTimer) -> None:
    await _timers.pause(session, pending)
    if session.exit is not None:
        await session.leave()


def sleeps(note: Underway) -> bool:
    """Whether a step sleeps: it has a time to go on at, and no attempt of it has failed."""
    return note.until is not None and not note.attempts


async def taken_up(session: Session, note: Underway) -> int:
    """Give the number of the next attempt of a step that is under way since a former leg, at its time."""
    if note.until is not None:
        await _pause(session, PendingTimer(note.key, note.until, note.attempts))
    return note.attempts + 1 + note.began


async def clear(session: Session, key: str) -> None:
    """Take back what is noted of a step: its attempts are over, and the next leg begins anew."""
    if key in session.journal.underway:
        await _note(session, Underway(key))


async def _note(session: Session, note: Underway) -> None:
    """Tell the journal how far a step has come: what goes wrong ends the run."""
    try:
        await session.note(note)
    except Exception as cause:  # noqa: BLE001  a store may raise anything
        await session.stop(UnexpectedError(note.key, cause))


def interrupted(note: Underway) -> errors.StepInterrupted:
    """Give the error of an attempt whose end is not known."""
    return errors.StepInterrupted(note.key, note.attempts + 1)


# --- the errors of a policy in the journal ------------------------------------------------------


def error_entry(key: str, error: Any) -> Entry:
    """Encode an error that a policy gave."""
    return Entry(key, POLICY, msgspec.Raw(encode((type(error).__name__, error))))


def error_of(entry: Entry) -> Any:
    """Read an error that a policy gave. Raises `Misfit`."""
    try:
        name, raw = msgspec.msgpack.decode(entry.payload, type=tuple[str, msgspec.Raw])
        return msgspec.msgpack.decode(raw, type=_NAMED[name]())
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise payloads.misfit_of(error) from error


_NAMED: Final[dict[str, Callable[[], Any]]] = {
    "StepTimeout": lambda: errors.StepTimeout,
    "StepInterrupted": lambda: errors.StepInterrupted,
    "NotUndone": lambda: errors.NotUndone,
}
