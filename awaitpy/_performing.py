"""What becomes of one asked step: a new one is run and journaled, an old one is given from the journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _hooks, _waiting
from awaitpy import _payload as payloads
from awaitpy._tasks import place
from awaitpy._waits import is_wait
from awaitpy._wire import CUT, CUT_OFF, ERROR, HOOK, TIMEOUT, VALUE, Entry
from awaitpy.errors import UnexpectedError
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from awaitpy._payload import Returns
    from awaitpy._session import Session

_Raw: Final = msgspec.Raw


async def run_new(
    session: Session,
    key: str,
    returns: Returns,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a new step and journal what it gave, unless that is a wait."""
    if session.journal.cuts:
        await session.flush()
    held = session.waiting.pop(key, None)
    if held is not None and (known := _waiting.known(held, fn, returns)) is not None:
        return Err(known)
    if session.settings.blind is not None:
        return await _waiting.rehearsed(session, key, fn, args, kwargs)
    session.journal.tell("step.started", key)
    failure: BaseException | None = None
    given: Any = None
    session.active += 1
    token = place.set(session.inside)
    try:
        given = fn(*args, **kwargs)
        if hasattr(given.__class__, "__await__"):
            given = await given
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  sorted out by keep
        failure = error
    except BaseException:
        session.done()
        raise
    finally:
        place.reset(token)
    if failure is None and is_wait(given):
        session.done()
        return given
    return await keep(session, key, returns, given, failure)


async def keep(
    session: Session, key: str, returns: Returns, given: Any, failure: BaseException | None
) -> Any:
    """Journal what a step gave, while it still counts as under way; end the run if it failed."""
    error: UnexpectedError | None = None
    try:
        if failure is not None:
            raise failure  # noqa: TRY301  the clauses below sort it out, as what journaling raises
        await session.journal.add(_entry(key, given, returns), given)
    except asyncio.CancelledError as cause:
        error = session.cut_or_failed(key, cause)
    except Exception as cause:  # noqa: BLE001  whatever a user's function raises ends the run
        error = UnexpectedError(key, _journal_error(key, cause, returns))
    finally:
        session.done()
    if error is not None:
        await session.stop(error)
    return given


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
    form, data = returns.errors.encode(error)
    return Entry(key, ERROR, _Raw(data), form)


def _journal_error(key: str, cause: Exception, returns: Returns) -> Exception:
    """Give the error for a value that was refused; any other as it is."""
    if isinstance(cause, payloads.Misfit):
        return payloads.journal_error(f"Step {key!r}", cause, named=returns.named)
    return cause


async def replayed(
    session: Session,
    entry: Entry,
    returns: Returns,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Give what the journal has for a step. Raises `Misfit`."""
    if entry.kind == CUT:
        if bytes(entry.payload) != bytes(CUT_OFF):
            raise payloads.Misfit("$", "the entry is damaged")
        # A step that was cut off when it ran is cut off again: it waits for what cancelled it.
        await asyncio.get_running_loop().create_future()
    session.journal.tell("step.replayed", entry.key)
    if entry.kind == VALUE:
        return returns.values.decode(entry.payload, entry.form)
    if entry.kind == ERROR:
        return Err(returns.errors.decode(entry.payload, entry.form))
    if entry.kind == TIMEOUT:
        return Err(_waiting.timed_out(entry))
    if entry.kind == HOOK:
        return _hooks.restored(entry.payload)
    if (blind := session.settings.blind) is not None and not _waiting.told(entry, fn, returns):
        await _waiting.blinded(session, blind, entry.key)
    pending = await _waiting.asked_again(entry, returns, fn, args, kwargs)
    return _waiting.decoded(session, pending, str(entry.hook_id), entry.payload)
