"""Hooks: the places where a run waits for the outside world, and how a value gets there."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, overload

import attrs
import msgspec

from awaitpy import _arguments, _tree, _wire
from awaitpy._incoming import as_delivery, check_payload, equal
from awaitpy._payload import misfit_of
from awaitpy._state import ResumeState, changed
from awaitpy._tasks import place
from awaitpy._wait import Wait
from awaitpy._wire import Delivery, OpenHook
from awaitpy.errors import (
    HookAlreadyResolved,
    HookExpired,
    MethodNotAllowed,
    PendingHook,
    RunFinished,
    StepMisuse,
    UnknownHook,
)
from awaitpy.result import Err, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from typing_extensions import TypeForm, TypeIs

    from awaitpy.typing import Decoder, WaitTerms

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Moment = datetime | float


class Hook(msgspec.Struct, frozen=True):
    """A place to wait: give `hook_id` away (in a callback URL), wait under `step_key`."""

    hook_id: str
    step_key: str
    many: bool = False

    journaled_apart: ClassVar[bool] = True
    """A step that gives a hook makes it known to the state, whatever the step's function is."""


class Won(msgspec.Struct, Generic[T_co], frozen=True):
    """The first of several hooks that was answered, and its payload."""

    hook_id: str
    value: T_co


_HOOK_ID: Final = "Give the hook_id that create_hook gave, or one that you keep as text."
_MADE: Final = "Let new_id make a text that nobody else makes, or leave it out."
_DELIVERY_ID: Final = "Give str(the id that the sender sent), or none."
_METHODS: Final = 'Give a list of names, such as methods=["POST", "PUT"].'


def create_hook(*, many: bool = False, new_id: Callable[[], str] | None = None) -> Hook:
    """Give a new hook with an unguessable id (128 random bits, unless `new_id` makes it).

    In a workflow call it by a step, so that the id is the same on every re-run; in its body it raises
    `StepMisuse`. With `many` the hook takes any number of deliveries, and each wait on it the next one.
    """
    where: Any = place.get()
    if where is not None and where.__class__ is not tuple:
        raise StepMisuse(
            "create_hook() was called in the body of a workflow, where each re-run would make another id. "
            "Make it by a step: hook = await step('hook', create_hook)."
        )
    hook_id = os.urandom(16).hex() if new_id is None else _arguments.name("A hook id", new_id(), _MADE)
    return Hook(hook_id, f"hook:{hook_id}", bool(many))


@overload
def pending_hook(hook_id: str, **terms: Unpack[WaitTerms]) -> Result[Any, PendingHook]: ...
@overload
def pending_hook(
    hook_id: str, payload: TypeForm[T], **terms: Unpack[WaitTerms]
) -> Result[T, PendingHook]: ...
@overload
def pending_hook(
    hook_id: str, payload: Decoder[T], **terms: Unpack[WaitTerms]
) -> Result[T, PendingHook]: ...
@overload  # a union or Literal that passes through `step`: mypy sees a value there and no type
def pending_hook(hook_id: str, payload: object, **terms: Unpack[WaitTerms]) -> Result[Any, PendingHook]: ...
def pending_hook(
    hook_id: str,
    payload: Any = Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    timeout: timedelta | float | None = None,
    accept: Callable[[Any], Result[Any, Any]] | None = None,
    methods: Sequence[str] | None = None,
    many: bool = False,
) -> Result[Any, PendingHook]:
    """Wait for hook `hook_id`: the step that returns this suspends the run until a value is there.

    `payload` is the type to restore (attrs, dataclass, Struct, TypedDict, union, ...) or a function
    that decodes plain data. `timeout` (timedelta or seconds) becomes an absolute deadline at the
    first wait. `accept` judges the payload: on `Err(reason)` or `Err(Refusal(...))` the delivery is
    not consumed and the run ends with `HookRejected`. `methods` are the HTTP methods it takes.
    """
    if hook_id.__class__ is not str or not hook_id or not hook_id.isascii():
        hook_id = _arguments.name("A hook id", hook_id, _HOOK_ID)
    wait = Wait(
        payload=payload,
        timeout=seconds(timeout),
        accept=accept,
        methods=None if methods is None else _upper(methods),
        many=bool(many),
    )
    return Err(PendingHook(hook_id, metadata=metadata, wait=wait))


def _upper(methods: Sequence[str]) -> tuple[str, ...]:
    if isinstance(methods, str):
        raise TypeError(f"methods= is {methods!r}, one str. {_METHODS}")
    return tuple(_arguments.name("An HTTP method", method, _METHODS).upper() for method in methods)


def seconds(timeout: timedelta | float | None) -> timedelta | None:
    """Read a timeout: a timedelta, or seconds. Raises ValueError for what is neither, or no number."""
    if timeout is None or isinstance(timeout, timedelta):
        return timeout
    try:
        return timedelta(seconds=timeout)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"timeout= is a timedelta or seconds, not {timeout!r:.40}.") from error


def first_of(*waits: Result[T, PendingHook]) -> Result[Won[T], PendingHook]:
    """Wait for the first of several hooks: `step("reply", first_of, pending_hook(a), pending_hook(b))`.

    Gives `Won(hook_id, value)`. The winner is journaled; the others are closed, and a later delivery
    to them is `HookAlreadyResolved`.
    """
    other = next(
        (wait for wait in waits if not isinstance(getattr(wait, "error", None), PendingHook)), None
    )
    if other is not None:
        raise TypeError(f"first_of takes pending_hook(...) for each hook, not {_arguments.kind(other)}.")
    pending = tuple(wait.error for wait in waits if isinstance(wait, Err))
    if not pending:
        raise ValueError("first_of needs at least one pending_hook(...) to wait for.")
    return Err(attrs.evolve(pending[0], wait=Wait(race=pending)))


def system_time() -> datetime:
    """Give the time of the system's clock."""
    return datetime.now(UTC)


def moment(time: Moment) -> datetime:
    """Read a time: an aware datetime or epoch seconds. Raises ValueError for what is neither."""
    try:
        if isinstance(time, datetime):
            return _arguments.in_utc(time)
        return datetime.fromtimestamp(time, UTC)
    except (TypeError, OverflowError, OSError) as error:
        raise ValueError(f"A time is an aware datetime or epoch seconds, not {time!r:.40}.") from error


_LOST: Final = "lost to another hook, whose answer came first and is kept"


def inject_hook(
    state: ResumeState,
    hook_id: str,
    value: Any,
    *,
    payload: Any = None,
    delivery_id: str | None = None,
    now: Moment | None = None,
    method: str | None = None,
) -> ResumeState:
    """Give the state in which hook `hook_id` has `value`; resume that one.

    Pure: `state` is not changed. `payload` is the type to check the value against there and then. The
    same delivery again (same `delivery_id`, or without one an equal value) gives an equal state.
    Raises `UnknownHook`, `MethodNotAllowed`, `InvalidPayload`, `HookAlreadyResolved`, `HookExpired`
    or `RunFinished`.
    """
    if state.__class__ is not ResumeState:
        raise _arguments.no_state(state)
    if delivery_id is not None and delivery_id.__class__ is not str:
        delivery_id = _arguments.plain("delivery_id", delivery_id, _DELIVERY_ID)
    key = _tree.child_with(state, hook_id)
    if key is not None:
        given = inject_hook(
            state.children[key],
            hook_id,
            value,
            payload=payload,
            delivery_id=delivery_id,
            now=now,
            method=method,
        )
        return _grafted(state, key, given, hook_id)
    raw = as_delivery(hook_id, value, delivery_id)
    hook = state.hooks.get(hook_id)
    if hook is None:
        return _late(state, hook_id, raw, delivery_id)
    if _repeated(hook, raw, delivery_id):
        return state
    at = system_time() if now is None else moment(now)
    _refuse(state, hook, at, method)
    if payload is not None:
        check_payload(hook_id, raw, payload)
    delivered = Delivery(raw, at, delivery_id)
    updated = msgspec.structs.replace(hook, deliveries=(*hook.deliveries, delivered))
    return changed(state, hooks={**state.hooks, hook_id: updated})


def _grafted(state: ResumeState, key: str, child: ResumeState, hook_id: str) -> ResumeState:
    """Give the state with its child of this key after a delivery."""
    if child is state.children[key]:
        return state
    if state.end is not None:
        raise RunFinished(hook_id, state.run_id, state.status)
    if key in state.entries:  # cut off by its parent: nobody will take the delivery
        raise RunFinished(hook_id, child.run_id, child.status)
    return changed(state, children={**state.children, key: child})


def _repeated(hook: OpenHook, raw: msgspec.Raw, delivery_id: str | None) -> bool:
    if delivery_id is not None and delivery_id in hook.taken:
        return True
    if hook.many and delivery_id is None:
        return False
    return any(_same(raw, delivery_id, d.value, d.delivery_id) for d in hook.deliveries)


def _same(raw: msgspec.Raw, given: str | None, had: msgspec.Raw, had_id: str | None) -> bool:
    if given is not None and had_id is not None:
        return given == had_id
    return equal(raw, had)


def _refuse(state: ResumeState, hook: OpenHook, at: datetime, method: str | None) -> None:
    if state.end is not None:
        raise RunFinished(hook.hook_id, state.run_id, state.status)
    if method is not None and hook.methods is not None and method.upper() not in hook.methods:
        raise MethodNotAllowed(hook.hook_id, method.upper(), hook.methods)
    if hook.deliveries and not hook.many:
        raise HookAlreadyResolved(hook.hook_id)
    for other in hook.race:
        rival = state.hooks.get(other)
        if rival is not None and rival.deliveries:
            raise HookAlreadyResolved(hook.hook_id, _LOST)
    if hook.deadline is not None and at >= hook.deadline:
        raise HookExpired(hook.hook_id, hook.deadline)


def _late(state: ResumeState, hook_id: str, raw: msgspec.Raw, delivery_id: str | None) -> ResumeState:
    """Answer a delivery to a hook that is not open: the same again, another, or none of ours."""
    if hook_id not in state.closed:
        raise UnknownHook(hook_id, state.run_id)
    why, key = state.closed[hook_id]
    if why == "expired":
        raise HookExpired(hook_id)
    if why == "lost":
        raise HookAlreadyResolved(hook_id, _LOST)
    entry = state.entries.get(key)
    if entry is not None and _same(raw, delivery_id, entry.payload, entry.delivery_id):
        return state
    raise HookAlreadyResolved(hook_id)


def _waits(hook: OpenHook, hooks: Mapping[str, OpenHook]) -> bool:
    return hook.step_key is not None and not hook.deliveries and not _rival_answered(hook, hooks)


def _rival_answered(hook: OpenHook, hooks: Mapping[str, OpenHook]) -> bool:
    rivals = (hooks.get(other) for other in hook.race)
    return any(rival is not None and rival.deliveries for rival in rivals)


def get_pending_hooks(state: ResumeState) -> list[str]:
    """Give the ids of the hooks that the run waits for, in the order in which it came to wait.

    Those that its children wait for are among them.
    """
    if state.__class__ is not ResumeState:
        raise _arguments.no_state(state)
    return [wait.hook.hook_id for wait in _tree.waits(state) if _waits(wait.hook, wait.hooks)]


def has_pending_hook(state: ResumeState, hook_id: str) -> bool:
    """Whether the run, or a child of it, waits for this hook."""
    if state.children:
        return hook_id in get_pending_hooks(state)
    hook = state.hooks.get(hook_id)
    return hook is not None and _waits(hook, state.hooks)


def is_pending_hook(error: object) -> TypeIs[PendingHook]:
    """Whether an error says that the run is suspended at a hook."""
    return isinstance(error, PendingHook)


def next_wakeup(state: ResumeState) -> datetime | None:
    """Give the time (aware, UTC) at which the state next needs a `resume`; None for never.

    At once if a delivery waits to be taken or the run was cancelled, else at the first deadline or timer;
    a child counts as the run does.
    """
    if state.__class__ is not ResumeState:
        raise _arguments.no_state(state)
    if state.end is not None:
        return None
    if state.cancelled is not None and not state.undoing:
        return datetime.fromtimestamp(0, UTC)
    waits = list(_tree.waits(state))
    ready = [wait.hook.deliveries[0].at for wait in waits if wait.hook.deliveries]
    ends = (_end_of_wait(wait.hook, wait.hooks) for wait in waits)
    timers = (note.until for _, note in _tree.notes(state))
    return min(ready or [end for end in (*ends, *timers) if end is not None], default=None)


def _end_of_wait(hook: OpenHook, hooks: Mapping[str, OpenHook]) -> datetime | None:
    """Give the time at which a wait is over: that of a race when the last of its hooks is."""
    rivals = [hooks[other] for other in hook.race if other in hooks]
    deadlines = [each.deadline for each in (hook, *rivals)]
    ends = [deadline for deadline in deadlines if deadline is not None]
    return max(ends) if len(ends) == len(deadlines) else None


_CLASSES: Final = (str, str, bool)


def created(hook: Hook) -> tuple[_wire.Form, bytes]:
    """Encode a hook for the journal. Raises TypeError or ValueError for one that can't be waited for."""
    if (
        not hook.hook_id
        or (hook.hook_id.__class__, hook.step_key.__class__, hook.many.__class__) != _CLASSES
    ):
        raise TypeError(f"{hook!r} has a field of another class than Hook says. Make it by create_hook.")
    return _wire.PLAIN, _wire.encode(hook)


_DECODER = msgspec.msgpack.Decoder(Hook).decode


def restored(payload: msgspec.Raw) -> Hook:
    """Read a hook from the journal. Raises `Misfit`."""
    try:
        return _DECODER(payload)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise misfit_of(error) from error
