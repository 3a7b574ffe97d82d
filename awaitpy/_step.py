"""What a workflow author holds: `step`, and its variants under a policy or a scope."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from awaitpy import _payload as payloads
from awaitpy import _timers, _waiting, errors
from awaitpy._annotations import MISSING, Unresolved
from awaitpy._performing import Call, keep, replayed, run_new, settled
from awaitpy._policy import DEFAULT, Policy, refined
from awaitpy._tasks import place, within
from awaitpy._undo import reserved as reserved_key
from awaitpy._waits import is_wait
from awaitpy._wire import UNDOING, VALUE, Entry, encode
from awaitpy.errors import AwaitpyError, JournalError, PendingTimer, StepMisuse, UnexpectedError
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from awaitpy._leg import Children
    from awaitpy._payload import Returns
    from awaitpy._race import Branch
    from awaitpy._session import Session

_Raw: Final = msgspec.Raw
_enter: Final = place.set
_leave: Final = place.reset


class BoundStep:
    """The `step` of one run: see `awaitpy.Step` for what it promises."""

    __slots__ = ("_branch", "_policy", "_prefix", "_session", "_special", "_undo")

    def __init__(
        self, session: Session, prefix: str = "", policy: Policy = DEFAULT, branch: Branch | None = None
    ) -> None:
        self._session = session
        self._prefix = prefix
        self._policy = policy
        self._branch = branch
        self._undo: dict[str, Returns] | None = None
        if policy.undo is not None:
            self._undo = {}
            session.undoable.append((policy, self._undo))
        special = policy is not DEFAULT and (policy.watched or policy.returns is not MISSING)
        self._special = special or branch is not None

    async def __call__(  # noqa: C901, PLR0912, PLR0915  written out for speed: nearly every step ends here
        self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run `fn` once, ever; give what it gave. On `Err`, end the workflow with that error.

        Only the usual cases are here: a value that is replayed in its turn, and a new step that gives
        what its type says, in a run that nobody watches. `_take` knows them all.
        """
        session = self._session
        replay = session.replay
        full = f"{self._prefix}{key}" if self._prefix else key
        if not session.quick or self._special or key.__class__ is not str:
            return await self._take(True, key, fn, args, kwargs)
        if session.active and within(session.inside):
            return await self._take(True, key, fn, args, kwargs)
        try:
            returns = session.returns.get(fn) or session.codecs.of_new(fn, session.returns)
            if not session.fresh:
                entry = replay.entries[full] if full == replay.turn else None
                if entry is None or entry.kind != VALUE or entry.form != returns.reads:
                    return await self._take(True, key, fn, args, kwargs)
                value = returns.native(entry.payload)
                replay.turn = next(replay.order, None)
                if self._undo is not None:
                    self._undo[full] = returns
                return value
        except (Unresolved, NameError, *_UNDECODABLE):
            return await self._take(True, key, fn, args, kwargs)
        noted = replay.noted
        if full in noted or not full.isascii() or not key or (full[0] == "u" and full.startswith(UNDOING)):
            return await self._take(True, key, fn, args, kwargs)
        noted.add(full)
        if self._undo is not None:
            self._undo[full] = returns
        failure: BaseException | None = None
        given: Any = None
        session.active += 1
        token = _enter((session.inside, full, 1))
        try:
            given = fn(*args, **kwargs) if args or kwargs else fn()
            kind = given.__class__
            if kind is CoroutineType or (kind not in _SETTLED and hasattr(kind, "__await__")):
                given = await given
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  sorted out by keep
            failure = error
        finally:
            _leave(token)
            del token  # it holds the mark of the run, which has to be free where the run suspends
            session.active -= 1
            if session.awaited:
                session.wake_idle()
        entry = None
        try:
            if failure is None and self._session.quick and returns.check(given):
                entry = Entry(full, VALUE, _Raw(encode(given)), returns.form)
                if session.unkept:
                    replay.entries[full] = entry
                    return given
        except _UNENCODABLE:
            pass  # the slow way says where and why
        call = Call(full, fn, args, kwargs, returns, self._policy)
        if failure is None and is_wait(given):
            return await self._ended(True, call, given)
        session.active += 1
        if failure is None and given.__class__ is not Err:
            return self._value(call, await keep(session, call, given, None, entry))
        return await self._ended(True, call, await settled(session, call, 1, failure, given))

    async def attempt(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave as a `Result`."""
        given = await self._take(False, key, fn, args, kwargs)
        return given if given.__class__ is Err else Ok(given)

    async def child(self, key: str, workflow: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a workflow as a run of its own; give what it gave. On `Err`, end this one with that error."""
        return await self._take(True, key, workflow, args, kwargs, self._children())

    async def attempt_child(
        self, key: str, workflow: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a workflow as a run of its own; give what it gave as a `Result`."""
        given = await self._take(False, key, workflow, args, kwargs, self._children())
        return given if given.__class__ is Err else Ok(given)

    def options(self, **policy: Any) -> BoundStep:
        """Give the same step under a policy: see `awaitpy.Step.options`."""
        return self.under(refined(self._policy, policy))

    def under(self, policy: Policy) -> BoundStep:
        """Give the same step under that very policy."""
        return BoundStep(self._session, self._prefix, policy, self._branch)

    async def sleep(self, key: str, duration: timedelta | float) -> None:
        """Go on after this time."""
        await self(key, _timers.pending_timer, duration)

    async def sleep_until(self, key: str, until: datetime) -> None:
        """Go on at this time."""
        await self(key, _timers.pending_timer, until=until)

    async def now(self, key: str) -> datetime:
        """Give the time, the same in every replay."""
        given: datetime = await self(key, _timers.now, self._session.settings)
        return given

    async def uuid(self, key: str) -> UUID:
        """Give a random UUID, the same in every replay."""
        return _timers.read_uuid(await self(key, _timers.uuid, self._session.settings))

    async def random(self, key: str) -> float:
        """Give a random number from 0 up to 1, the same in every replay."""
        given: float = await self(key, _timers.random, self._session.settings)
        return given

    def scope(self, name: str) -> BoundStep:
        """Give the same step with its keys under `name/`."""
        return BoundStep(self._session, f"{self._prefix}{name}/", self._policy, self._branch)

    async def map(
        self,
        key: str,
        fn: Callable[[Any], Any],
        items: Iterable[Any],
        /,
        *,
        limit: int | None = 10,
        collect: bool = False,
    ) -> list[Any]:
        """Run `fn` for each item, at most `limit` at once; give the results in order."""
        from awaitpy._map import Map  # noqa: PLC0415  most programs have none

        if not self._is_ready(key):
            await _misused(self._session, key)
        name = str.__str__(key)
        scoped = self.scope(name)
        take = scoped.attempt if collect else scoped
        work = Map(self._session, f"{self._prefix}{name}/", take, fn, items, limit)
        return await work.results(self._admit, self._cut, stops=not collect)

    async def race(self, key: str, branches: Mapping[str, Callable[[Any], Awaitable[Any]]], /) -> Any:
        """Let branches run, and give the first that finishes; the others are cancelled."""
        from awaitpy._race import Contest  # noqa: PLC0415  most programs have none

        if not self._is_ready(key):
            await _misused(self._session, key)
        full = self._prefix + str.__str__(key)

        def lane(name: str, branch: Branch) -> BoundStep:
            return BoundStep(self._session, f"{full}/{name}/", self._policy, branch)

        contest = Contest(self._session, full, branches, lane, self._branch)
        try:
            return await contest.winner(self._admit)
        except (AwaitpyError, payloads.Misfit) as error:
            await _untakable(self._session, full, error)

    def _children(self) -> Children | None:
        children = self._session.settings.children
        return None if children is None else children()

    async def _take(
        self,
        ends: bool,
        key: str,
        fn: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        children: Children | None = None,
    ) -> Any:
        """Give the value of a step: replayed, or new and journaled; its error in an `Err`.

        With `ends` an error ends the workflow. With `children` the step is a child.
        """
        session = self._session
        if not self._is_ready(key):
            await _misused(session, key)
        key = self._prefix + str.__str__(key)  # the member of a StrEnum is a key too, by its value
        if key.startswith(UNDOING) and self._prefix != UNDOING:
            await session.stop(UnexpectedError(key, reserved_key(key)))
        if self._branch is not None:
            self._branch.note(key)
        try:
            entry = session.replay.ask(key)
            call = (
                Call(key, fn, args, kwargs, self._returns(key, fn), self._policy)
                if children is None
                else children.call(session, key, fn, args, kwargs, self._policy)
            )
            if self._undo is not None:
                self._undo[key] = call.returns
            if entry is None:
                if not self._is_open():
                    await self._let_in(key)
                given = await (run_new if children is None else children.run_new)(session, call)
            else:
                given = await self._replayed(entry, call)
        except (AwaitpyError, payloads.Misfit) as error:
            await _untakable(session, key, error)
        return await self._ended(ends, call, given)

    async def _replayed(self, entry: Entry, call: Call) -> Any:
        """Give what the journal has for a step, when it is its turn."""
        session, branch = self._session, self._branch
        if branch is not None:
            branch.replays(call.key)
        if session.replay.early:
            await session.hold(call.key)
        given = await replayed(session, entry, call)
        if branch is not None:
            branch.replayed(call.key)
        return given

    def _is_ready(self, key: Any) -> bool:
        """Whether a call does not come too late, inside another step, or without a key."""
        session = self._session
        return session.exit is None and not within(session.inside) and _is_key(self._prefix, key)

    def _is_open(self) -> bool:
        """Whether anything new may begin here."""
        session = self._session
        known = session.replay.due or session.holding or session.read_only
        return session.may_begin and self._branch is None and not known

    async def _let_in(self, key: str) -> None:
        """Do as `_admit` does, and note a step that is cut off meanwhile."""
        try:
            await self._admit(key)
        except asyncio.CancelledError:
            if self._session.may_begin:
                self._cut(key)
            raise

    async def _admit(self, key: str) -> None:
        """End the run, or the branch of a race that is lost, unless something new may begin here."""
        session = self._session
        if self._branch is not None:
            await self._branch.go_on()
        await session.begin(key)
        if self._branch is None and key not in session.waiting:
            await session.catch_up()
            await session.begin(key)  # the run may be at its end by now
        if session.replay.due or session.read_only:
            await self._check_drift(key)

    def _cut(self, key: str) -> None:
        """Note a step that is cut off before it began."""
        if self._branch is None or not self._branch.lost:
            self._session.cut(key)

    async def _ended(self, ends: bool, call: Call, given: Any) -> Any:
        """Give the value; take a wait further; end the workflow with an error, if that `ends` it."""
        session = self._session
        if given.__class__ is Err:
            if is_wait(given):
                if self._branch is not None:
                    await self._branch.wait(given.error)
                given = await _waited(session, call, given.error)
            if given.__class__ is Err:
                if ends:
                    if self._branch is not None:
                        await self._branch.go_on()
                    await session.fail(given.error)
                return given
        return self._value(call, given)

    def _value(self, call: Call, given: Any) -> Any:
        """Give the value of a step that has completed, and keep what its undo will need."""
        session = self._session
        value = given.value if given.__class__ is Ok else given
        if self._undo is not None and session.replay.entries[call.key].kind != VALUE:
            session.copies[call.key] = deepcopy(value)  # nothing but its wait reads it from the journal
        return value

    def _returns(self, key: str, fn: Any) -> Returns:
        """Give the codecs of what `fn` gives. Raises `JournalError` for annotations of no type."""
        codecs, returns = self._session.codecs, self._policy.returns
        try:
            return codecs.of_function(fn) if returns is MISSING else codecs.of_return(returns)
        except (Unresolved, TypeError) as error:
            raise unresolved(key, fn, error) from error

    async def _check_drift(self, key: str) -> None:
        """End the run with drift if this new step can't be one of unchanged code."""
        session, replay, prefix = self._session, self._session.replay, self._prefix
        if session.read_only:
            await session.stop(UnexpectedError(key, _finished(key)))
        if replay.may_run(key, self._policy.since):
            if (blind := session.settings.blind) is not None:
                blind.add(key)
            return
        if self._branch is not None and self._branch.over:
            await session.stop(replay.drift(key))  # this branch has won without that step
        if not replay.due_in(prefix):
            return
        parallel = asyncio.current_task() is not session.root
        if parallel and not prefix:
            return  # another branch may ask for it yet: the end of the run tells
        await session.quiet(until=lambda: not replay.due_in(prefix), idle=parallel)
        if session.expects_cut():
            return  # what is due may come after that
        if replay.due_in(prefix) and (parallel or not session.others_alive()):
            await session.stop(replay.drift(key, prefix))


def _waited(session: Session, call: Call, pending: Any) -> Awaitable[Any]:
    if pending.__class__ is PendingTimer:
        return _timers.sleep(session, call.key, pending)
    return _waiting.wait(session, call.key, _waiting.as_annotated(pending, call.fn, call.returns))


def _is_key(prefix: str, key: Any) -> bool:
    """Whether a key is a string that can be written: not empty, and without lone surrogates."""
    if not isinstance(key, str) or not key:
        return False
    try:
        encode((prefix, key))
    except UnicodeEncodeError:
        return False
    return True


async def _misused(session: Session, key: Any) -> NoReturn:
    """End a call of `step` that comes too late, inside another step, or without a key."""
    if session.over:
        raise StepMisuse(
            f"Step {key!r} was called after its run was over. Await every task in the workflow."
        )
    if within(session.inside):
        raise session.nested(key)
    if session.exit is not None:
        await session.leave()
    problem = (
        f"A step key is a non-empty str of Unicode, not {key!r:.40}. Name the step after what it does."
    )
    await session.stop(UnexpectedError(str(key), StepMisuse(problem)))


async def _untakable(session: Session, key: str, error: Exception) -> NoReturn:
    """End a call of `step` whose key, types or journaled value are in the way."""
    if isinstance(error, payloads.Misfit):
        where = "" if error.path == "$" else f" at {error.path}"
        await session.stop(errors.UnreadableEntry(key, error.problem + where))
    await session.stop(UnexpectedError(key, error))


working: Final = frozenset({run_new.__code__, settled.__code__, keep.__code__, BoundStep.__call__.__code__})
"""The code of the coroutines that run a step: how a run knows its own tasks."""

_UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
_UNENCODABLE: Final = (OverflowError, UnicodeError, RecursionError, TypeError)
# What a sync function gives most often; asking whether one can await it would cost more than the call.
_SETTLED: Final = frozenset({Ok, Err, dict, list, str, int, float, bool, type(None), bytes, tuple})


def _finished(key: str) -> StepMisuse:
    return StepMisuse(
        f"The run is finished, and its code now asks for step {key!r}, which it never ran. Nothing "
        "new runs in a finished run: forget(state, key) or rewind(state, key) opens it again."
    )


def unresolved(key: str, fn: Any, error: Exception) -> JournalError:
    """Describe annotations that give no type."""
    name = getattr(fn, "__qualname__", repr(fn))
    return JournalError(
        f"Step {key!r}",
        "the return annotation",
        f"of {name} gives no type ({error})",
        "Name a type, and import it where the function is defined (not under TYPE_CHECKING only), or "
        "use step.options(returns=...).",
    )
