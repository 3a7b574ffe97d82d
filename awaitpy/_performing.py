"""What becomes of one asked step: a new one is run and journaled, an old one is given from the journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _attempts, _hooks, _timers, _waiting, errors
from awaitpy import _payload as payloads
from awaitpy._arguments import kind
from awaitpy._journal import finished
from awaitpy._policy import DEFAULT
from awaitpy._value import PolicyError
from awaitpy._waits import is_wait
from awaitpy._wire import ANSWER, CUT, CUT_OFF, ELAPSED, ERROR, HOOK, POLICY, TIMEOUT, VALUE, Entry
from awaitpy.errors import PendingHook, PendingTimer, StepMisuse, UnexpectedError
from awaitpy.events import Retried
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._payload import Returns
    from awaitpy._policy import Policy
    from awaitpy._session import Session

_Raw: Final = msgspec.Raw


class Call(msgspec.Struct):
    """One asked step: its full key, its function, and how it is carried out and journaled."""

    key: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    returns: Returns
    policy: Policy = DEFAULT


async def run_new(session: Session, call: Call) -> Any:
    """Run a new step, under its policy, and journal what it gave, unless that is a wait."""
    if session.journal.cuts or session.journal.held:
        await session.flush(call.key)
    held = session.waiting.pop(call.key, None)
    session.fresh = not (session.waiting or session.replay.due)
    if held is not None and (known := _waiting.known(held, call.fn, call.returns)) is not None:
        return Err(known)
    if held is not None and call.policy.settles and not (held.judged or held.race):
        return Err(PendingHook(held.hook_id))  # an undo that waits is not called again
    attempt = 1
    note = session.journal.underway.get(call.key)
    if note is not None:
        if _attempts.sleeps(note):
            return Err(PendingTimer(call.key, note.until))
        if note.began and call.policy.on_unknown == "fail":
            session.active += 1
            return await keep(session, call, Err(_attempts.interrupted(note)), None)
        attempt = await _attempts.taken_up(session, note)
    if session.settings.blind is not None:
        return await _rehearsed(session, call)
    failure, given = await _attempts.make(session, call, attempt)
    return await settled(session, call, attempt, failure, given)


async def _rehearsed(session: Session, call: Call) -> Any:
    """Give the wait that a new step is for; stay at any other step, which would run."""
    if not _waiting.tells(call.fn) and call.fn is not _timers.pending_timer:
        await session.park(PendingHook("", call.key))
    try:
        return call.fn(*call.args, **call.kwargs)
    except Exception as cause:  # noqa: BLE001  as where it runs: what is raised ends the run
        await session.stop(UnexpectedError(call.key, cause))


async def settled(
    session: Session, call: Call, attempt: int, failure: BaseException | None, given: Any
) -> Any:
    """Journal what an attempt gave, which still counts as under way, or make another."""
    fn: object = call.fn
    if failure is not None and not callable(fn):
        failure = _uncalled(call.key, fn)
    while failure is not None or not is_wait(given):
        try:
            delay = _attempts.delay(session, call.policy, attempt, failure, given)
        except Exception as cause:  # noqa: BLE001  what users hand in may raise anything
            session.journal.tell("step.raised", call.key, cause)
            session.done()
            await session.stop(UnexpectedError(call.key, cause))
        if delay is None:
            return await keep(session, call, given, failure)
        error = given.error if failure is None else failure
        session.journal.tell("step.retried", call.key, Retried(attempt, delay, error))
        await _attempts.put_off(session, call.key, attempt, delay)
        attempt += 1
        failure, given = await _attempts.make(session, call, attempt)
    session.journal.tell("step.waiting", call.key)
    session.done()
    if call.key in session.journal.underway:
        await _attempts.clear(session, call.key)
    return given


def _uncalled(key: str, given: object) -> StepMisuse:
    return StepMisuse(
        f"Step {key!r} was given {kind(given)}, which can't be called. Hand over the function, and its "
        "arguments after it: step(key, fn, argument), not step(key, fn(argument))."
    )


async def keep(
    session: Session, call: Call, given: Any, failure: BaseException | None, entry: Entry | None = None
) -> Any:
    """Journal what a step gave, while it still counts as under way; end the run if it failed.

    Some know the entry already.
    """
    error: UnexpectedError | None = None
    key, returns = call.key, call.returns
    if call.policy.settles:
        failure, given = _undone(key, failure, given)
    try:
        if failure is not None:
            raise failure  # noqa: TRY301  the clauses below sort it out, as what journaling raises
        given_away = session.journal.put(entry or _entry(key, given, returns), given)
        if given_away is not None:
            await finished(given_away)
    except asyncio.CancelledError as cause:
        error = session.cut_or_failed(key, cause)
    except Exception as cause:  # noqa: BLE001  whatever a user's function raises ends the run
        error = UnexpectedError(key, _journal_error(key, cause, returns))
        session.journal.tell("step.raised", key, error.cause)
    finally:
        session.done()
    if error is not None:
        await _attempts.clear(session, key)
        await session.stop(error)
    return given


def _undone(key: str, failure: BaseException | None, given: Any) -> tuple[BaseException | None, Any]:
    """Make of a failed undo an error to journal: it is reported, and must not stop the others."""
    if isinstance(failure, Exception):
        return None, Err(errors.NotUndone(key, f"{type(failure).__name__}: {failure}"))
    if given.__class__ is Err and not isinstance(given.error, PolicyError):
        return failure, Err(errors.NotUndone(key, str(given.error)))
    return failure, given if given.__class__ is Err else None


def _entry(key: str, given: Any, returns: Returns) -> Entry:
    """Encode what a step gave. Raises `Misfit`."""
    if given.__class__ is Err:
        return _error_entry(key, given.error, returns)
    value = given.value if given.__class__ is Ok else given
    if value.__class__ is _hooks.Hook:
        form, data = _hooks.created(value)
        return Entry(key, HOOK, _Raw(data), form, value.hook_id)
    form, data = returns.values.encode(value)
    return Entry(key, VALUE, _Raw(data), form)


def _error_entry(key: str, error: Any, returns: Returns) -> Entry:
    if isinstance(error, PolicyError):
        return _attempts.error_entry(key, error)
    form, data = returns.errors.encode(error)
    return Entry(key, ERROR, _Raw(data), form)


def _journal_error(key: str, cause: Exception, returns: Returns) -> Exception:
    """Give the error for a value that was refused; any other as it is."""
    if isinstance(cause, payloads.Misfit):
        return payloads.journal_error(f"Step {key!r}", cause, named=returns.named)
    return cause


_ERRORS: Final = frozenset({ERROR, TIMEOUT, POLICY})


def _error_of(entry: Entry, returns: Returns) -> Any:
    """Read the error of a step. Raises `Misfit`."""
    if entry.kind == POLICY:
        return _attempts.error_of(entry)
    if entry.kind == TIMEOUT:
        return _waiting.timed_out(entry)
    return returns.errors.decode(entry.payload, entry.form)


async def replayed(session: Session, entry: Entry, call: Call) -> Any:
    """Give what the journal has for a step. Raises `Misfit`."""
    returns = call.returns
    if entry.kind == CUT:
        if bytes(entry.payload) != bytes(CUT_OFF):
            raise payloads.Misfit("$", "the entry is damaged")
        # A step that was cut off when it ran is cut off again: it waits for what cancelled it.
        await session.cut_again()
    session.journal.tell("step.replayed", entry.key)
    if entry.kind == VALUE:
        return returns.values.decode(entry.payload, entry.form)
    if entry.kind in _ERRORS:
        return Err(_error_of(entry, returns))
    if entry.kind == HOOK:
        return _hooks.restored(entry.payload)
    if entry.kind == ELAPSED or (entry.kind == ANSWER and call.policy.settles):
        return None  # an undo that waited is over, and is not asked for its terms again
    if entry.hook_id is None:
        raise payloads.Misfit("$", f"the entry is a {entry.kind_name}, which no step gives")
    return await _answered(session, entry, call, entry.hook_id)


async def _answered(session: Session, entry: Entry, call: Call, hook_id: str) -> Any:
    """Give the value of a wait that was answered. Raises `Misfit`."""
    if (blind := session.settings.blind) is not None and not _waiting.told(entry, call.fn, call.returns):
        await _waiting.blinded(session, blind, entry.key)
    pending = await _waiting.asked_again(entry, call.returns, call.fn, call.args, call.kwargs)
    return _waiting.decoded(session, pending, hook_id, entry.payload)
