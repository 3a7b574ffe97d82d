"""What a workflow author holds: `step`, and its variants under a policy or a scope."""

from __future__ import annotations

import asyncio
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import msgspec

from awaitpy import _hooks, _waiting
from awaitpy import _payload as payloads
from awaitpy._annotations import MISSING, Unresolved
from awaitpy._tasks import place
from awaitpy._waits import is_wait
from awaitpy._wire import CUT, ERROR, HOOK, TIMEOUT, VALUE, Entry, encode
from awaitpy.errors import (
    AwaitpyError,
    JournalError,
    StepMisuse,
    UnexpectedError,
    UnreadableEntry,
)
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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

    def __call__(
        self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Run `fn` once, ever; give what it gave. On `Err`, end the workflow with that error."""
        return self._take(True, key, fn, args, kwargs)

    async def attempt(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave as a `Result`."""
        given = await self._take(False, key, fn, args, kwargs)
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

    async def _take(  # noqa: C901  written out for speed: every step passes here
        self, ends: bool, key: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Give the value of a step: replayed, or new and journaled; its error in an `Err`.

        With `ends` an error ends the workflow.
        """
        session = self._session
        if session.exit is not None or place.get() is session.inside or not key or type(key) is not str:
            await _misused(session, key)
        key = self._prefix + key
        try:
            entry = session.replay.ask(key)
            returns = session.returns.get(fn) if fn.__class__ is FunctionType else None
            if returns is None or self._policy is not _DEFAULT:
                returns = self._returns(key, fn)
            if entry is None:
                if session.replay.due or session.read_only:
                    await self._check_drift(key)
                given = await _run(session, key, returns, fn, args, kwargs)
            else:
                if session.replay.early or session.held:
                    await session.hold(key)
                if entry.kind == VALUE and not session.observed:
                    return returns.values.decode(entry.payload, entry.form)
                given = await _replayed(session, entry, returns, fn, args, kwargs)
        except (AwaitpyError, payloads.Misfit) as error:
            await _untakable(session, key, error)
        if given.__class__ is Err:
            if is_wait(given):
                given = await _waiting.wait(session, key, given.error)
            if ends and given.__class__ is Err:
                await session.fail(given.error)
        return given

    def _returns(self, key: str, fn: Any) -> Returns:
        """Give the codecs of what `fn` gives. Raises `JournalError` for annotations of no type."""
        session, returns = self._session, self._policy.returns
        try:
            if returns is not MISSING:
                return session.codecs.of_return(returns)
            found = session.codecs.of_function(fn)
        except Unresolved as error:
            raise _unresolved(key, fn, error) from error
        if found.named:  # one that is not named is mostly a lambda, made anew at each call
            session.returns[fn] = found
        return found

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


async def _misused(session: Session, key: Any) -> NoReturn:
    """End a call of `step` that comes too late, inside another step, or without a key."""
    if session.over:
        raise StepMisuse(
            f"Step {key!r} was called after its run was over. Await every task in the workflow."
        )
    if place.get() is session.inside:
        raise session.nested(key)
    if session.exit is not None:
        await session.leave()
    problem = f"A step key is a non-empty str, not {key!r:.40}. Name the step after what it does."
    await session.stop(UnexpectedError(str(key), StepMisuse(problem)))


async def _untakable(session: Session, key: str, error: Exception) -> NoReturn:
    """End a call of `step` whose key, types or journaled value are in the way."""
    if isinstance(error, payloads.Misfit):
        where = "" if error.path == "$" else f" at {error.path}"
        await session.stop(UnreadableEntry(key, error.problem + where))
    await session.stop(UnexpectedError(key, error))


# --- new steps ----------------------------------------------------------------------------------


async def _run(  # noqa: C901, PLR0912  written out for speed: every new step passes here
    session: Session,
    key: str,
    returns: Returns,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a new step and journal what it gave, unless that is a wait."""
    if session.waiting and (known := _waiting.known(session.waiting.get(key), fn, returns)):
        return Err(known)
    if session.observed:
        session.tell("step.started", key)
    failure: UnexpectedError | None = None
    given: Any = None
    token = place.set(session.inside)
    session.active += 1
    try:
        given = fn(*args, **kwargs)
        cls = given.__class__
        if cls is CoroutineType or (cls not in _SETTLED and hasattr(cls, "__await__")):
            given = await given
        place.reset(token)
        codec = returns.values
        if codec.check(given):
            entry: Entry | None = Entry(key, VALUE, _Raw(encode(given)), codec.form)
        else:
            entry = _entry(key, given, returns)
        if session.direct and entry is not None and entry.hook_id is None:
            session.replay.entries[key] = entry
        elif entry is not None:
            await session.journal(entry, given)
    except asyncio.CancelledError as cause:
        failure = session.cut_or_failed(key, cause)
    except Exception as cause:  # noqa: BLE001  whatever a user's function raises ends the run
        failure = UnexpectedError(key, _journal_error(key, cause, returns))
    finally:
        if place.get() is session.inside:
            place.reset(token)
        session.active -= 1
        if session.awaited:
            session.wake_idle()
    if failure is not None:
        await session.stop(failure)
    return given.value if given.__class__ is Ok else given


working: Final = _run.__code__
"""The code of a coroutine that runs a step: how a run knows its own tasks."""

# What a sync function gives most often; asking whether one can await it would cost more than the call.
_SETTLED: Final = frozenset({Ok, Err, dict, list, str, int, float, bool, type(None), bytes, tuple})


def _entry(key: str, given: Any, returns: Returns) -> Entry | None:
    """Encode what a step gave: its entry, or None for a wait. Raises `Misfit`."""
    if given.__class__ is Err:
        return None if is_wait(given) else _error_entry(key, given.error, returns)
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


def _finished(key: str) -> StepMisuse:
    return StepMisuse(
        f"The run is finished, and its code now asks for step {key!r}, which it never ran. Nothing "
        "new runs in a finished run: forget(state, key) or rewind(state, key) opens it again."
    )


def _unresolved(key: str, fn: Any, error: Unresolved) -> JournalError:
    name = getattr(fn, "__qualname__", repr(fn))
    return JournalError(
        f"Step {key!r}",
        "the return annotation",
        f"of {name} gives no type ({error})",
        "Name a type, and import it where the function is defined (not under TYPE_CHECKING only), or "
        "use step.options(returns=...).",
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
    """Give what the journal has for a step. Raises `Misfit`."""
    if entry.kind == CUT:
        # A step that was cut off when it ran is cut off again: it waits for what cancelled it.
        await asyncio.get_running_loop().create_future()
    session.tell("step.replayed", entry.key)
    if entry.kind == VALUE:
        return returns.values.decode(entry.payload, entry.form)
    if entry.kind == ERROR:
        return Err(returns.errors.decode(entry.payload, entry.form))
    if entry.kind == TIMEOUT:
        return Err(_waiting.timed_out(entry))
    if entry.kind == HOOK:
        return _hooks.restored(entry.payload)
    pending = await _waiting.asked_again(entry, returns, fn, args, kwargs)
    return _waiting.decoded(session, pending, str(entry.hook_id), entry.payload)
