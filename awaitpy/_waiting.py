"""What a step does at a wait: arm its hooks, take a delivery and judge it, time out, or suspend."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import msgspec

from awaitpy import _hooks, _incoming, _waits, errors
from awaitpy import _payload as payloads
from awaitpy._annotations import class_of
from awaitpy._wait import Wait
from awaitpy._waits import timed_out
from awaitpy.errors import PendingHook, UnexpectedError
from awaitpy.result import Err

if TYPE_CHECKING:
    from datetime import datetime

    from awaitpy._payload import Returns
    from awaitpy._session import Session
    from awaitpy._wire import Delivery, Entry, OpenHook

__all__ = [
    "Refusal",
    "as_annotated",
    "asked_again",
    "blinded",
    "decoded",
    "known",
    "timed_out",
    "told",
    "wait",
]


class Refusal(msgspec.Struct, frozen=True):
    """Why `accept` says no, and the HTTP status of that: 422, or 403 for the wrong person."""

    reason: str
    status: int = 422


async def wait(session: Session, key: str, pending: PendingHook) -> Any:
    """Give the answer of a hook, its timeout in an `Err`, or suspend the run."""
    try:
        now = session.settings.clock()
        hooks = _armed(session, key, pending, now)
    except Exception as cause:  # noqa: BLE001  a clock, metadata and times of users may be anything
        await session.stop(UnexpectedError(key, cause))
    found, deadline = _waits.first_delivery(hooks), _waits.expired(hooks, now)
    if found is not None or deadline is not None:
        await session.catch_up()
    if found is not None:
        return await _taken(session, key, pending, *found)
    if deadline is not None:
        return await _timeout(session, key, hooks[0], deadline)
    first = hooks[0]
    shown = PendingHook(first.hook_id, key, pending.metadata, first.deadline)
    try:
        await session.park(shown)
    except asyncio.CancelledError:
        session.cut(key)
        raise


async def _timeout(session: Session, key: str, hook: OpenHook, deadline: datetime) -> Any:
    entry = _waits.timeout(key, hook, deadline)
    await session.keep(entry)
    session.journal.tell("hook.expired", key, hook.hook_id)
    return Err(timed_out(entry))


def _armed(session: Session, key: str, pending: PendingHook, now: datetime) -> list[OpenHook]:
    """Make the hooks of a wait wait, and give them. Raises what ends the run as an unexpected error."""
    options = _waits.alternatives(pending)
    race = tuple(option.hook_id for option in options)
    for option in options:
        if option.hook_id in session.journal.closed:
            why, by = session.journal.closed[option.hook_id]
            raise _waits.closed_before(option.hook_id, why, by)
        _arm(session.journal.hooks, key, option, now, race)
    return [session.journal.hooks[hook_id] for hook_id in race]


def _arm(
    hooks: dict[str, OpenHook], key: str, option: PendingHook, now: datetime, race: tuple[str, ...]
) -> None:
    before = hooks.get(option.hook_id)
    try:
        hook = _waits.arm(before, option, key, now, race)
    except payloads.Misfit as misfit:
        what = f"The metadata of the wait {key!r}"
        mend = "Metadata are plain data: give the fields that people need."
        raise errors.JournalError(what, misfit.path, misfit.problem, mend) from None
    if hook is not before:
        # The order of the hooks is the order in which the run came to wait for them.
        hooks.pop(option.hook_id, None)
        hooks[option.hook_id] = hook


async def _taken(
    session: Session, key: str, pending: PendingHook, hook: OpenHook, delivery: Delivery
) -> Any:
    """Judge a delivery, journal it as the answer, and give its value."""
    try:
        value = decoded(session, pending, hook.hook_id, delivery.value)
    except payloads.Misfit as misfit:
        session.journal.hooks[hook.hook_id] = _waits.drop(hook)
        await session.refuse(errors.PayloadMisfit(hook.hook_id, key, misfit.path, misfit.problem))
    terms = _chosen(pending, hook.hook_id).wait
    if terms is not None and terms.accept is not None:
        if (blind := session.settings.blind) is not None:
            await blinded(session, blind, key, hook.hook_id)
        await _judge(session, key, terms.accept, hook, value)
    await session.keep(_waits.answer(key, hook, delivery))
    session.journal.tell("hook.answered", key, hook.hook_id)
    return value


async def _judge(session: Session, key: str, accept: Any, hook: OpenHook, value: Any) -> None:
    """Ask the wait's `accept`; on its Err un-consume the delivery and end the leg."""
    try:
        verdict: Any = accept(value.value if value.__class__ is _hooks.Won else value)
    except Exception as cause:  # noqa: BLE001  whatever a user's function raises ends the run
        await session.stop(UnexpectedError(key, cause))
    if verdict.__class__ is Err:
        session.journal.hooks[hook.hook_id] = _waits.drop(hook)
        why = verdict.error if isinstance(verdict.error, Refusal) else Refusal(str(verdict.error))
        await session.refuse(errors.HookRejected(hook.hook_id, key, why.reason, why.status))


def _chosen(pending: PendingHook, hook_id: str) -> PendingHook:
    for option in _waits.alternatives(pending):
        if option.hook_id == hook_id:
            return option
    raise payloads.Misfit("$", f"the journal has the answer of hook {hook_id!r}, another one")


def decoded(session: Session, pending: PendingHook, hook_id: str, raw: msgspec.Raw) -> Any:
    """Decode an answer as the wait wants it. Raises `Misfit`."""
    wait_ = _chosen(pending, hook_id).wait
    value = _incoming.decode_payload(raw, wait_.payload if wait_ else Any, session.codecs)
    race = pending.wait is not None and bool(pending.wait.race)
    return _hooks.Won(hook_id, value) if race else value


# --- waits that are known from the state --------------------------------------------------------


def known(held: OpenHook | None, fn: Any, returns: Returns) -> PendingHook | None:
    """Give the wait of a step whose function need not run again to tell its terms.

    pending_hook itself is asked each time: it has no effect, and knows the terms. So is a function
    that says nothing of its payload's type, or whose wait has a judge.
    """
    if held is None or held.judged or held.race:
        return None
    return _typed(held.hook_id, fn, returns)


async def asked_again(
    entry: Entry, returns: Returns, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> PendingHook:
    """Give the terms of a wait that was answered. Raises `Misfit` if the step waits for none."""
    typed = _typed(str(entry.hook_id), fn, returns)
    if typed is not None:
        return typed
    given = fn(*args, **kwargs)
    given = await given if inspect.isawaitable(given) else given
    if not _waits.is_wait(given):
        raise payloads.Misfit("$", "the journal has the answer of a hook, the step waits for none")
    pending: PendingHook = given.error
    return pending


def as_annotated(pending: PendingHook, fn: Any, returns: Returns) -> PendingHook:
    """Give the wait with the type that the function's annotation names, as replays will read it."""
    if fn is _hooks.pending_hook:
        return pending
    typed = _typed(pending.hook_id, fn, returns)
    if typed is None or typed.wait is None or pending.wait is None:
        return pending
    return attrs.evolve(pending, wait=msgspec.structs.replace(pending.wait, payload=typed.wait.payload))


def _typed(hook_id: str, fn: Any, returns: Returns) -> PendingHook | None:
    tp = returns.values.type
    if tells(fn) or not returns.named or tp is Any or class_of(tp) is _hooks.Won:
        return None
    return PendingHook(hook_id, wait=Wait(payload=tp))


# --- dry runs -----------------------------------------------------------------------------------


def tells(fn: Any) -> bool:
    """Whether a step's function only tells the terms of a wait, and has no effect."""
    return fn is _hooks.pending_hook or fn is _hooks.first_of


def told(entry: Entry, fn: Any, returns: Returns) -> bool:
    """Whether the terms of a wait that was answered are known without calling a function of a user."""
    return tells(fn) or _typed(str(entry.hook_id), fn, returns) is not None


async def blinded(session: Session, blind: set[str], key: str, hook_id: str = "") -> NoReturn:
    """Stay at a step of which only a function of the workflow's could say how it goes on."""
    blind.add(key)
    await session.park(PendingHook(hook_id, key))
