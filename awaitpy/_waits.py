"""Decisions at a wait: what arms it, which delivery answers it, whether its time is over. All pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from awaitpy import _arguments as arguments
from awaitpy import _fidelity, _wire, errors
from awaitpy import _payload as payloads
from awaitpy._wait import Wait
from awaitpy._wire import ANSWER, TIMEOUT, Delivery, Entry, OpenHook
from awaitpy.errors import PendingHook, PendingTimer, StepMisuse
from awaitpy.result import Err

_WAITS: Final = frozenset({PendingHook, PendingTimer})


def is_wait(given: Any) -> bool:
    """Whether a step gave what `pending_hook` or `pending_timer` gives."""
    return given.__class__ is Err and is_wait_error(given.error)


def is_wait_error(error: Any) -> bool:
    """Whether an error says that a run waits."""
    return error.__class__ in _WAITS


def first_wait(
    parked: Iterable[PendingHook | PendingTimer], hook_ids: Iterable[str]
) -> PendingHook | PendingTimer:
    """Name the wait whose hook is first in this order, or else the timer that is over first."""
    parked = list(parked)
    hooks = {pending.hook_id: pending for pending in parked if isinstance(pending, PendingHook)}
    first = next((hooks[hook_id] for hook_id in hook_ids if hook_id in hooks), None)
    timers = (pending for pending in parked if isinstance(pending, PendingTimer))
    # A dry run is also parked where a step would run, which no hook is for.
    return first or min(timers, key=_until, default=None) or parked[0]


def _until(timer: PendingTimer) -> Any:
    return timer.until


def alternatives(pending: PendingHook) -> tuple[PendingHook, ...]:
    """Give the hooks that a wait is for: one, or those that race."""
    race = pending.wait.race if pending.wait is not None else ()
    return race or (pending,)


def arm(
    hook: OpenHook | None, pending: PendingHook, key: str, now: datetime, race: tuple[str, ...]
) -> OpenHook:
    """Give the hook as the wait `key` needs it. A wait that stays keeps its time and its deadline."""
    arguments.text("The hook_id of a wait", pending.hook_id, "Wait for a hook by pending_hook(hook_id).")
    hook = hook or OpenHook(pending.hook_id)
    wait = pending.wait or Wait()
    if hook.step_key == key:
        return hook
    again = hook.many and hook.since is not None
    deadline = None if wait.timeout is None else now + wait.timeout
    return msgspec.structs.replace(
        hook,
        step_key=key,
        since=hook.since if again else now,
        deadline=hook.deadline if again else deadline,
        metadata=_metadata(pending),
        methods=wait.methods,
        many=hook.many or wait.many,
        race=tuple(other for other in race if other != hook.hook_id),
        judged=wait.accept is not None,
    )


def _metadata(pending: PendingHook) -> msgspec.Raw:
    if pending.metadata is None:
        return _wire.NIL
    data = dict(pending.metadata)
    if (found := _fidelity.offender(data)) is not None:
        raise payloads.Misfit(*found)
    return msgspec.Raw(_wire.encode(data))


def first_delivery(hooks: list[OpenHook]) -> tuple[OpenHook, Delivery] | None:
    """Give the delivery that answers: of several hooks, the one that came first."""
    ready = [(hook, hook.deliveries[0]) for hook in hooks if hook.deliveries]
    return min(ready, key=lambda pair: pair[1].at) if ready else None


def expired(hooks: list[OpenHook], now: datetime) -> datetime | None:
    """Give the deadline that ended the wait: the last one, when every hook is past its own."""
    deadlines = [hook.deadline for hook in hooks if hook.deadline is not None]
    if len(deadlines) < len(hooks) or not deadlines or now < max(deadlines):
        return None
    return max(deadlines)


def answer(key: str, hook: OpenHook, delivery: Delivery) -> Entry:
    """Give the entry for a wait that was answered."""
    return Entry(key, ANSWER, delivery.value, _wire.PLAIN, hook.hook_id, delivery.delivery_id)


def timeout(key: str, hook: OpenHook, deadline: datetime) -> Entry:
    """Give the entry for a wait whose time is over."""
    return Entry(key, TIMEOUT, msgspec.Raw(_wire.encode(deadline)), _wire.NATIVE, hook.hook_id)


def timed_out(entry: Entry) -> errors.HookTimeout:
    """Read the error of a wait whose time was over. Raises `Misfit`."""
    try:
        deadline = msgspec.msgpack.decode(entry.payload, type=datetime)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise payloads.misfit_of(error) from error
    return errors.HookTimeout(str(entry.hook_id), entry.key, deadline)


def drop(hook: OpenHook) -> OpenHook:
    """Give the hook without its first delivery, which was refused."""
    return msgspec.structs.replace(hook, deliveries=hook.deliveries[1:])


def unpark(hook: OpenHook) -> OpenHook:
    """Give the hook that nobody waits for any more; what it knows of its time stays."""
    return hook if hook.step_key is None else msgspec.structs.replace(hook, step_key=None)


def closed_before(hook_id: str, why: str, by: str) -> StepMisuse:
    """Describe a wait for a hook that is closed already."""
    return StepMisuse(
        f"Hook {hook_id!r} is waited for again, but it was {why} in step {by!r} and takes no more. Create "
        "a hook for each wait, or one with create_hook(many=True) for several deliveries."
    )
