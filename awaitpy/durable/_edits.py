"""What is done to a stored run from outside, by whoever has no lease: each a compare-and-set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict

import attrs
import msgspec

from awaitpy import _tree
from awaitpy._arguments import is_unicode
from awaitpy._hooks import inject_hook
from awaitpy._state import rewind as rewound
from awaitpy.durable import _arguments as arguments
from awaitpy.durable import _heads as heads
from awaitpy.durable import _parts as parts
from awaitpy.durable._errors import RunExists, UnknownRun, UnknownStoredHook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from awaitpy._state import ResumeState
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Head, StoredRun


class DeliveryTerms(TypedDict, total=False):
    """What may come with a value for a hook: see `Durable.inject`."""

    payload: Any
    delivery_id: str | None
    method: str | None
    run_id: str | None


@attrs.frozen(kw_only=True)
class Delivery:
    """A value for a hook, as it came."""

    hook_id: str
    value: Any
    payload: Any = None
    delivery_id: str | None = None
    method: str | None = None
    run_id: str | None = None


async def found(settings: Settings, run_id: str, *, tail: bool = False) -> StoredRun | None:
    """Give a run, if there is one. Not every store can be asked for an id that is no text."""
    if not is_unicode(arguments.check_type("run_id", run_id)):
        return None
    return await settings.ask(lambda: settings.store.load(run_id, tail=tail))


async def loaded(settings: Settings, run_id: str, *, tail: bool = False) -> StoredRun:
    """Give a run. Raises `UnknownRun`."""
    stored = await found(settings, run_id, tail=tail)
    if stored is None:
        raise UnknownRun(run_id)
    return stored


def _any(_: str) -> None:
    """Take the run of any workflow."""


async def deliver(
    settings: Settings, delivery: Delivery, check: Callable[[str], object] = _any
) -> tuple[str, int]:
    """Keep a delivery: give its run, and the revision of the head that has it.

    Raises `HookError`, TypeError, and what `check` raises for the name of the workflow.
    """
    arguments.check_type("hook_id", delivery.hook_id)
    if delivery.delivery_id is not None:
        arguments.check_type("delivery_id", delivery.delivery_id)
    spare_id = os.urandom(16).hex()
    while True:
        run_id = delivery.run_id or await _run_of(settings, delivery.hook_id)
        if run_id is None:
            raise UnknownStoredHook(delivery.hook_id)
        async with settings.turns.of(run_id):
            revision = await _delivered(settings, delivery, run_id, spare_id, check)
        if revision is not None:
            return run_id, revision


async def _delivered(
    settings: Settings, delivery: Delivery, run_id: str, spare_id: str, check: Callable[[str], object]
) -> int | None:
    """Give the revision of the head that has a delivery; None if the run has changed meanwhile."""
    stored = await found(settings, run_id, tail=True)
    if stored is None:
        raise UnknownStoredHook(delivery.hook_id)
    check(stored.head.workflow)
    state, count = parts.join_tail(stored), stored.head.settled + len(stored.lines)
    if delivery.hook_id not in state.hooks:
        # What answered a closed hook, or cut off the child that has it, is in the whole journal.
        stored = await loaded(settings, run_id)
        state, count = parts.join(stored), len(stored.lines)
    new = _injected(settings, state, delivery, spare_id)
    if new is state:
        return stored.revision
    return stored.revision + 1 if await _moved(settings, stored, new, count) else None


async def _run_of(settings: Settings, hook_id: str) -> str | None:
    if not is_unicode(hook_id):
        return None
    return await settings.ask(lambda: settings.store.find(hook_id))


def _injected(settings: Settings, state: ResumeState, delivery: Delivery, spare_id: str) -> ResumeState:
    hook = _tree.open_hook(state, delivery.hook_id)
    # A hook that takes many knows a repeated delivery by its id alone, and the store may be asked twice.
    spare = spare_id if hook is not None and hook.many else None
    return inject_hook(
        state,
        delivery.hook_id,
        delivery.value,
        payload=delivery.payload,
        delivery_id=delivery.delivery_id or spare,
        now=settings.now(),
        method=delivery.method,
    )


async def _moved(settings: Settings, stored: StoredRun, state: ResumeState, count: int) -> bool:
    """Save a state, with so many lines, that was changed from outside; False if the run has changed."""
    return await _saved(settings, stored, heads.moved(stored.head, state, count, settings.now()))


async def _saved(settings: Settings, stored: StoredRun, head: Head) -> bool:
    return await settings.ask(
        lambda: settings.store.save(stored.run_id, head, revision=stored.revision, now=settings.now())
    )


async def change(settings: Settings, run_id: str, verb: Callable[[ResumeState], ResumeState]) -> int:
    """Change the state of a run: give the revision of the head that has it.

    Raises what `verb` raises, and `UnknownWorkflow` before anything is written.
    """
    while True:
        stored = await loaded(settings, run_id, tail=True)
        settings.flows.of(stored.head.workflow)
        state = parts.join_tail(stored)
        new = verb(state)
        if new is state:
            return stored.revision
        if await _moved(settings, stored, new, stored.head.settled + len(stored.lines)):
            return stored.revision + 1


async def delete(settings: Settings, run_id: str) -> bool:
    """Remove a run; False if there is none."""
    if not is_unicode(arguments.check_type("run_id", run_id)):
        return False
    return await settings.ask(lambda: settings.store.delete(run_id))


async def hasten(settings: Settings, run_id: str) -> int:
    """Make a run that is interrupted due at once, as if it had never been tried: give the revision.

    Raises `UnknownWorkflow` before anything is written.
    """
    while True:
        stored = await loaded(settings, run_id, tail=True)
        settings.flows.of(stored.head.workflow)
        if stored.head.status != "interrupted":
            return stored.revision
        head = msgspec.structs.replace(stored.head, due=settings.now(), tries=0)
        if await _saved(settings, stored, head):
            return stored.revision + 1


async def rewind(
    settings: Settings, run_id: str, key: str, busy: Callable[[], Awaitable[None]]
) -> ResumeState:
    """Take a step, and all that came after it, out of a run; `busy` is awaited while it is worked on.

    Raises `UnknownRun`, `UnknownStep` and `StateError`.
    """
    written: tuple[Head, ResumeState] | None = None
    while True:
        stored = await loaded(settings, run_id)
        if written is not None and written[0] == stored.head:
            return written[1]  # it was done, and the store's answer was lost
        state = rewound(parts.join(stored), key)
        now = settings.now()
        head = heads.rewritten(stored.head, state, now)
        if await _rewritten(settings, stored, head, state, now):
            return state
        written = (head, state)
        await busy()


async def _rewritten(
    settings: Settings, stored: StoredRun, head: Head, state: ResumeState, now: float
) -> bool:
    own = parts.lines(state)
    return await settings.ask(
        lambda: settings.store.rewrite(stored.run_id, head, own, revision=stored.revision, now=now)
    )


async def fork(
    settings: Settings, run_id: str, key: str, new_id: str, metadata: Mapping[str, Any] | None
) -> None:
    """Make another run of what came before a step. Raises `RunExists` and what `rewind` raises.

    The run is added before its journal, and due only when it has it: a fork that was interrupted
    between goes on when it is asked for again.
    """
    origin = await loaded(settings, run_id)
    before = _tree.renamed(rewound(parts.join(origin), key), new_id)
    head = heads.rewritten(origin.head, before, None)
    bare = msgspec.structs.replace(head, settled=0)
    now = settings.now()
    given = origin.metadata if metadata is None else metadata
    await settings.ask(lambda: settings.store.create(new_id, bare, metadata=given, now=now))
    made = await loaded(settings, new_id)
    if made.head != bare or not await _filled(settings, made, head, before):
        raise RunExists(new_id)


async def _filled(settings: Settings, made: StoredRun, head: Head, state: ResumeState) -> bool:
    now = settings.now()
    ready = msgspec.structs.replace(head, due=now)
    lines = parts.lines(state)
    return await settings.ask(
        lambda: settings.store.rewrite(made.run_id, ready, lines, revision=made.revision, now=now)
    )
