"""What a workflow author holds: `step`, and its variants under a policy or a scope."""

from __future__ import annotations

import asyncio
import inspect
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import msgspec

from awaitpy import _hooks, _waiting
from awaitpy import _payload as payloads
from awaitpy._annotations import MISSING
from awaitpy._tasks import place
from awaitpy._waits import is_wait
from awaitpy._wire import CUT, ERROR, HOOK, NIL, TIMEOUT, VALUE, Entry
from awaitpy.errors import (
    DuplicateStepKey,
    JournalError,
    StepMisuse,
    UnexpectedError,
    UnreadableEntry,
)
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._payload import Returns
    from awaitpy._session import Session

_Raw: Final = msgspec.Raw


@attrs.frozen
class Policy:
    """What `step.options` said."""

    returns: Any = MISSING
    since: int | None = None


_DEFAULT: Final = Policy()


class BoundStep:
    """The `step` of one run: see `awaitpy.Step` for what it promises."""

    __slots__ = ("_policy", "_prefix", "_session")

    def __init__(self, session: Session, prefix: str = "", policy: Policy = _DEFAULT) -> None:
        self._session = session
        self._prefix = prefix
        self._policy = policy

    async def __call__(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave. On `Err`, end the workflow with that error."""
        given = await self._take(key, fn, args, kwargs)
        if given.__class__ is Err:
            await self._session.fail(given.error)
        return given

    async def attempt(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave as a `Result`."""
        given = await self._take(key, fn, args, kwargs)
        return given if given.__class__ is Err else Ok(given)

    def options(self, *, returns: Any = MISSING, since: int | None = None) -> BoundStep:
        """Give the same step under a policy: see `awaitpy.Step.options`."""
        policy = Policy(
            self._policy.returns if returns is MISSING else returns,
            self._policy.since if since is None else since,
        )
        return BoundStep(self._session, self._prefix, policy)

    def scope(self, name: str) -> BoundStep:
        """Give the same step with its keys under `name/`."""
        return BoundStep(self._session, f"{self._prefix}{name}/", self._policy)

    async def _take(self, key: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give the value of a step, or its error in an `Err`: replayed, or new and journaled."""
        session = self._session
        if session.exit is not None or place.get() is session.inside or not _is_key(key):
            await _misused(session, key)
        key = self._prefix + key
        try:
            entry = session.replay.ask(key)
            returns = self._returns(fn)
            if entry is not None and entry.kind == VALUE:
                session.tell("step.replayed", key)
                return returns.values.decode(entry.payload, entry.form)
        except DuplicateStepKey as error:
            await session.stop(UnexpectedError(key, error))
        except NameError as error:
            await session.stop(UnexpectedError(key, _unresolved(key, fn, error)))
        except payloads.Misfit as misfit:
            await _unreadable(session, key, misfit)
        if entry is not None:
            return await _replayed(session, entry, returns, fn, args, kwargs)
        if session.replay.due or session.read_only:
            await self._check_drift(key)
        return await _run(session, key, returns, fn, args, kwargs)

    def _returns(self, fn: Any) -> Returns:
        codecs, returns = self._session.codecs, self._policy.returns
        return codecs.of_function(fn) if returns is MISSING else codecs.of_return(returns)

    async def _check_drift(self, key: str) -> None:
        """End the run with drift if this new step can't be one of unchanged code."""
        session, replay, prefix = self._session, self._session.replay, self._prefix
        if session.read_only:
            await session.stop(UnexpectedError(key, _finished(key)))
        if replay.may_run(key, self._policy.since) or not replay.due_in(prefix):
            return
        parallel = asyncio.current_task() is not session.root
        if parallel and not prefix:
            return  # another branch may ask for it yet: the end of the run tells
        await session.quiet(until=lambda: not replay.due_in(prefix))
        if replay.due_in(prefix) and (parallel or not session.others_alive(working)):
            await session.stop(replay.drift(key, prefix))


def _is_key(key: Any) -> bool:
    return type(key) is str and key != ""


async def _misused(session: Session, key: Any) -> NoReturn:
    """End a call of `step` that comes too late, inside another step, or without a key."""
    if session.over:
        raise StepMisuse(
            f"Step {key!r} was called after its run was over. Await every task in the workflow."
        )
    if session.exit is not None and place.get() is not session.inside:
        await session.leave()
    if place.get() is session.inside:
        raise session.nested(key)
    problem = f"A step key is a non-empty str, not {key!r:.40}. Name the step after what it does."
    await session.stop(UnexpectedError(str(key), StepMisuse(problem)))


async def _unreadable(session: Session, key: str, misfit: payloads.Misfit) -> NoReturn:
    problem = misfit.problem if misfit.path == "$" else f"{misfit.problem} at {misfit.path}"
    await session.stop(UnreadableEntry(key, problem))


# --- new steps ----------------------------------------------------------------------------------


async def _run(
    session: Session,
    key: str,
    returns: Returns,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a new step and journal what it gave; a wait is taken further."""
    held = session.waiting.get(key) if session.waiting else None
    if held is not None and (known := _waiting.known(held, fn, returns)) is not None:
        return await _waiting.wait(session, key, known)
    session.active += 1
    given: Any = None
    failure: UnexpectedError | None = None
    try:
        given = await _called(session, key, fn, args, kwargs)
        entry = _entry(key, given, returns)
        if entry is not None:
            await session.journal(entry, given)
    except asyncio.CancelledError:
        session.cut(Entry(key, CUT, NIL))
        raise
    except Exception as cause:  # noqa: BLE001  whatever a user's function raises ends the run
        failure = UnexpectedError(key, cause)
    finally:
        session.finish()
    if failure is not None:
        await session.stop(failure)
    if is_wait(given):
        return await _waiting.wait(session, key, given.error)
    return given.value if given.__class__ is Ok else given


async def _called(
    session: Session, key: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    session.tell("step.started", key)
    token = place.set(session.inside)
    try:
        given = fn(*args, **kwargs)
        if given.__class__ is CoroutineType or inspect.isawaitable(given):
            given = await given
        return given
    finally:
        place.reset(token)


working: Final = _run.__code__
"""The code of a coroutine that runs a step: how a run knows its own tasks."""


def _entry(key: str, given: Any, returns: Returns) -> Entry | None:
    """Encode what a step gave: its entry, or None for a wait. Raises `JournalError`."""
    try:
        if given.__class__ is Err:
            if is_wait(given):
                return None
            form, data = returns.errors.encode(given.error)
            return Entry(key, ERROR, _Raw(data), form)
        value = given.value if given.__class__ is Ok else given
        if value.__class__ is _hooks.Hook:
            form, data = _hooks.created(value)
            return Entry(key, HOOK, _Raw(data), form, value.hook_id)
        form, data = returns.values.encode(value)
        return Entry(key, VALUE, _Raw(data), form)
    except payloads.Misfit as misfit:
        raise payloads.journal_error(f"Step {key!r}", misfit, named=returns.named) from None


def _finished(key: str) -> StepMisuse:
    return StepMisuse(
        f"The run is finished, and its code now asks for step {key!r}, which it never ran. Nothing "
        "new runs in a finished run: forget(state, key) or rewind(state, key) opens it again."
    )


def _unresolved(key: str, fn: Any, error: NameError) -> JournalError:
    name = getattr(fn, "__qualname__", repr(fn))
    return JournalError(
        f"Step {key!r}",
        "the return annotation",
        f"of {name} a name can't be found ({error})",
        "Import the type where the function is defined (not under TYPE_CHECKING only), or use "
        "step.options(returns=...).",
    )


# --- replayed steps -----------------------------------------------------------------------------


async def _replayed(
    session: Session,
    entry: Entry,
    returns: Returns,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Give what the journal has for a step that is no plain value."""
    if entry.kind == CUT:
        # A step that was cut off when it ran is cut off again: it waits for what cancelled it.
        await asyncio.get_running_loop().create_future()
    session.tell("step.replayed", entry.key)
    try:
        if entry.kind == ERROR:
            return Err(returns.errors.decode(entry.payload, entry.form))
        if entry.kind == TIMEOUT:
            return Err(_waiting.timed_out(entry))
        if entry.kind == HOOK:
            return _hooks.restored(entry.payload)
        pending = await _waiting.asked_again(entry, returns, fn, args, kwargs)
        return _waiting.decoded(session, pending, str(entry.hook_id), entry.payload)
    except payloads.Misfit as misfit:
        await _unreadable(session, entry.key, misfit)
