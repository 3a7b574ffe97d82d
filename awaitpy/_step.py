"""What a workflow author holds: `step`, and its variants under a policy or a scope."""

from __future__ import annotations

import asyncio
import inspect
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import msgspec

from awaitpy import _hooks, _incoming, _waits, _wire
from awaitpy import _payload as payloads
from awaitpy._annotations import MISSING, class_of
from awaitpy._tasks import place
from awaitpy._wait import Wait
from awaitpy._wire import ANSWER, CUT, ERROR, HOOK, TIMEOUT, VALUE, Entry
from awaitpy.errors import (
    DuplicateStepKey,
    HookRejected,
    JournalError,
    PayloadMisfit,
    PendingHook,
    StepMisuse,
    UnexpectedError,
    UnreadableEntry,
)
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._payload import Returns
    from awaitpy._session import Session
    from awaitpy._wire import Delivery, OpenHook

Raw: Final = msgspec.Raw


@attrs.frozen
class Policy:
    """What `step.options` said."""

    returns: Any = MISSING
    since: int | None = None


@attrs.frozen
class Refusal:
    """Why `accept` says no, and the HTTP status of that: 422, or 403 for the wrong person."""

    reason: str
    status: int = 422


class BoundStep:
    """The `step` of one run: see `awaitpy.Step` for what it promises."""

    __slots__ = ("_owner", "_policy", "_prefix", "_session")

    def __init__(self, session: Session, prefix: str = "", policy: Policy = Policy()) -> None:
        self._session = session
        self._prefix = prefix
        self._policy = policy
        self._owner: Any = None

    async def __call__(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave. On `Err`, end the workflow with that error."""
        given = await self._take(key, fn, args, kwargs)
        if type(given) is Err:
            await self._session.fail(given.error)
        return given

    async def attempt(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn` once, ever; give what it gave as a `Result`."""
        given = await self._take(key, fn, args, kwargs)
        return given if type(given) is Err else Ok(given)

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
        entry = await self._asked(key)
        key = self._prefix + key
        try:
            policy = self._policy
            codecs = session.codecs
            returns = (
                codecs.of_function(fn)
                if policy.returns is MISSING
                else codecs.of_return(policy.returns)
            )
        except NameError as error:
            await session.stop(UnexpectedError(key, _unresolved(key, fn, error)))
        if entry is None:
            return await self._run(key, fn, args, kwargs, returns)
        if entry.kind == VALUE:
            try:
                return returns.values.decode(entry.payload, entry.form)
            except payloads.Misfit as misfit:
                await self._unreadable(key, misfit)
        return await self._replayed(entry, fn, args, kwargs, returns)

    async def _asked(self, key: str) -> Entry | None:
        """Look the key up; end the run where asking for it is a mistake, or is drift."""
        session = self._session
        if session.exit is not None:
            await self._too_late(key)
        if place.get() is session.inside:
            raise session.nested(key)
        if type(key) is not str or not key:
            problem = (
                f"A step key is a non-empty str, not {key!r:.40}. Name the step after what it does."
            )
            await session.stop(UnexpectedError(str(key), StepMisuse(problem)))
        full = self._prefix + key
        try:
            entry = session.replay.ask(full)
        except DuplicateStepKey as error:
            await session.stop(UnexpectedError(full, error))
        if entry is None and (session.replay.due or session.read_only):
            await self._check_drift(full)
        return entry

    async def _too_late(self, key: str) -> NoReturn:
        if self._session.over:
            raise StepMisuse(
                f"Step {key!r} was called after its run was over. Await every task in the workflow."
            )
        await self._session.leave()

    async def _check_drift(self, key: str) -> None:
        """End the run with drift if this new step can't be one of unchanged code."""
        session, replay = self._session, self._session.replay
        if session.read_only:
            await session.stop(UnexpectedError(key, _finished(key)))
        if replay.may_run(key, self._policy.since) or not replay.due_in(self._prefix):
            return
        parallel = asyncio.current_task() is not session.root
        if parallel and not self._prefix:
            return  # another branch may ask for it yet: the end of the run tells
        await session.quiet(until=lambda: not replay.due_in(self._prefix))
        if replay.due_in(self._prefix) and (
            parallel or not session.others_alive(BoundStep.working)
        ):
            await session.stop(replay.drift(key, self._prefix))

    # --- new steps --------------------------------------------------------------------------

    async def _run(
        self, key: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], returns: Returns
    ) -> Any:
        """Run a new step and journal what it gave; a wait is taken further."""
        session = self._session
        held = session.waiting.get(key) if session.waiting else None
        if held is not None and (pending := _known_wait(held, fn, returns)) is not None:
            return await self._wait(key, pending)
        session.begin()
        try:
            given = await self._work(session, key, fn, args, kwargs, returns)
        except asyncio.CancelledError:
            session.cut(Entry(key, CUT, _wire.NIL))
            raise
        except Exception as cause:
            failure = cause
        else:
            if type(given) is not Err or type(given.error) is not PendingHook:
                return given
            failure = None
        finally:
            session.finish()
        if failure is not None:
            await session.stop(UnexpectedError(key, failure))
        return await self._wait(key, given.error)

    async def _work(
        self,
        session: Session,
        key: str,
        fn: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        returns: Returns,
    ) -> Any:
        """Call the function, encode what it gave and journal that, while the step counts as under way."""
        watched = session.settings.on_event is not None
        if watched:
            session.tell("step.started", key)
        token = place.set(session.inside)
        try:
            given = fn(*args, **kwargs)
            if type(given) is CoroutineType or inspect.isawaitable(given):
                given = await given
        finally:
            place.reset(token)
        entry = _entry(key, given, returns)
        if entry is None:
            return given
        await session.journal(entry)
        if watched:
            self._tell(session, key, entry, given)
        return given.value if type(given) is Ok else given

    def _tell(self, session: Session, key: str, entry: Entry, given: Any) -> None:
        if entry.kind == ERROR:
            session.tell("step.failed", key, given.error)
        else:
            session.tell("step.completed", key)

    working = _run.__code__

    # --- replayed steps ---------------------------------------------------------------------

    async def _replayed(
        self, entry: Entry, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], returns: Returns
    ) -> Any:
        """Give what the journal has for a step that is no plain value."""
        try:
            if entry.kind == ERROR:
                return Err(returns.errors.decode(entry.payload, entry.form))
            if entry.kind == TIMEOUT:
                return Err(_waits.timed_out(entry))
            if entry.kind == HOOK:
                return _hooks.restored(entry.payload)
            if entry.kind == ANSWER:
                return await self._answered(entry, fn, args, kwargs, returns)
        except payloads.Misfit as misfit:
            await self._unreadable(entry.key, misfit)
        # A step that was cut off when it ran is cut off again: it waits for what cancelled it.
        await asyncio.get_running_loop().create_future()
        return None

    async def _answered(
        self, entry: Entry, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], returns: Returns
    ) -> Any:
        pending = _typed_wait(str(entry.hook_id), fn, returns)
        if pending is None:
            given = fn(*args, **kwargs)
            given = await given if inspect.isawaitable(given) else given
            if type(given) is not Err or type(given.error) is not PendingHook:
                raise payloads.Misfit(
                    "$", "the journal has the answer of a hook, and the step waits for none"
                )
            pending = given.error
        return self._decoded(pending, str(entry.hook_id), entry.payload)

    def _decoded(self, pending: PendingHook, hook_id: str, raw: msgspec.Raw) -> Any:
        """Decode an answer as the wait wants it."""
        race = pending.wait is not None and bool(pending.wait.race)
        chosen = next((p for p in _waits.alternatives(pending) if p.hook_id == hook_id), None)
        if chosen is None:
            raise payloads.Misfit(
                "$", f"the journal has the answer of hook {hook_id!r}, another one"
            )
        payload = chosen.wait.payload if chosen.wait is not None else Any
        value = _incoming.decode_payload(raw, payload, self._session.codecs)
        return _hooks.Won(hook_id, value) if race else value

    async def _unreadable(self, key: str, misfit: payloads.Misfit) -> NoReturn:
        problem = misfit.problem if misfit.path == "$" else f"{misfit.problem} at {misfit.path}"
        await self._session.stop(UnreadableEntry(key, problem))

    # --- waits ------------------------------------------------------------------------------

    async def _wait(self, key: str, pending: PendingHook) -> Any:
        """Give the answer of a hook, its timeout in an `Err`, or suspend the run."""
        session = self._session
        now = session.settings.clock()
        hooks = await self._armed(key, pending, now)
        found = _waits.first_delivery(hooks)
        if found is not None:
            return await self._taken(key, pending, *found)
        deadline = _waits.expired(hooks, now)
        if deadline is not None:
            entry = _waits.timeout(key, hooks[0], deadline)
            await session.journal(entry)
            session.tell("hook.expired", key, hooks[0].hook_id)
            return Err(_waits.timed_out(entry))
        first = hooks[0]
        shown = attrs.evolve(pending, hook_id=first.hook_id, step_key=key, deadline=first.deadline)
        try:
            await session.park(shown)
        except asyncio.CancelledError:
            session.cut(Entry(key, CUT, _wire.NIL))
            raise

    async def _armed(self, key: str, pending: PendingHook, now: Any) -> list[OpenHook]:
        """Make the hooks of a wait wait, and give them; end the run if one is closed."""
        session = self._session
        options = _waits.alternatives(pending)
        race = tuple(option.hook_id for option in options)
        for option in options:
            if option.hook_id in session.closed:
                why, by = session.closed[option.hook_id]
                error = _waits.closed_before(option.hook_id, why, by)
                await session.stop(UnexpectedError(key, error))
            await self._arm(key, option, now, race)
        return [session.hooks[option.hook_id] for option in options]

    async def _arm(self, key: str, option: PendingHook, now: Any, race: tuple[str, ...]) -> None:
        session = self._session
        before = session.hooks.get(option.hook_id)
        try:
            hook = _waits.arm(before, option, key, now, race)
        except payloads.Misfit as misfit:
            problem = f"The metadata of the wait {key!r}"
            await session.stop(
                UnexpectedError(key, payloads.journal_error(problem, misfit, named=False))
            )
        if hook is not before:
            # The order of the hooks is the order in which the run came to wait for them.
            session.hooks.pop(option.hook_id, None)
            session.hooks[option.hook_id] = hook

    async def _taken(
        self, key: str, pending: PendingHook, hook: OpenHook, delivery: Delivery
    ) -> Any:
        """Judge a delivery, journal it as the answer, and give its value."""
        session = self._session
        try:
            value = self._decoded(pending, hook.hook_id, delivery.value)
        except payloads.Misfit as misfit:
            session.hooks[hook.hook_id] = _waits.drop(hook)
            await session.refuse(PayloadMisfit(hook.hook_id, key, misfit.path, misfit.problem))
        await self._judge(key, pending, hook, value)
        await session.journal(_waits.answer(key, hook, delivery))
        session.tell("hook.answered", key, hook.hook_id)
        return value

    async def _judge(self, key: str, pending: PendingHook, hook: OpenHook, value: Any) -> None:
        """Ask the wait's `accept`; on its Err un-consume the delivery and end the leg."""
        session = self._session
        chosen = next(p for p in _waits.alternatives(pending) if p.hook_id == hook.hook_id)
        accept = chosen.wait.accept if chosen.wait is not None else None
        if accept is None:
            return
        try:
            verdict = accept(value.value if type(value) is _hooks.Won else value)
        except Exception as cause:
            await session.stop(UnexpectedError(key, cause))
        if type(verdict) is Err:
            session.hooks[hook.hook_id] = _waits.drop(hook)
            why: Any = verdict.error
            why = why if isinstance(why, Refusal) else Refusal(str(why))
            await session.refuse(HookRejected(hook.hook_id, key, why.reason, why.status))


def _entry(key: str, given: Any, returns: Returns) -> Entry | None:
    """Encode what a step gave: its entry, or None for a wait. Raises `JournalError`."""
    kind = VALUE
    codec = returns.values
    if type(given) is Ok:
        given = given.value
    elif type(given) is Err:
        given = given.error
        if type(given) is PendingHook:
            return None
        kind, codec = ERROR, returns.errors
    if type(given) is _hooks.Hook:
        form, data = _hooks.created(given)
        return Entry(key, HOOK, Raw(data), form, given.hook_id)
    try:
        form, data = codec.encode(given)
    except payloads.Misfit as misfit:
        raise payloads.journal_error(f"Step {key!r}", misfit, returns.named) from None
    return Entry(key, kind, Raw(data), form)


def _known_wait(held: OpenHook, fn: Any, returns: Returns) -> PendingHook | None:
    """Give the wait of a step that is known from the state, so that its function need not run again.

    pending_hook itself is asked each time: it has no effect, and knows the terms. So is a function that
    says nothing of its payload's type, or whose wait has a judge.
    """
    return None if held.judged or held.race else _typed_wait(held.hook_id, fn, returns)


def _typed_wait(hook_id: str, fn: Any, returns: Returns) -> PendingHook | None:
    tp = returns.values.type
    waits = fn is _hooks.pending_hook or fn is _hooks.first_of
    if waits or not returns.named or class_of(tp) is _hooks.Won:
        return None
    return PendingHook(hook_id, wait=Wait(payload=tp))


def _finished(key: str) -> StepMisuse:
    return StepMisuse(
        f"The run is finished, and its code now asks for step {key!r}, which it never ran. Nothing new "
        "runs in a finished run: forget(state, key) or rewind(state, key) opens it again."
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
