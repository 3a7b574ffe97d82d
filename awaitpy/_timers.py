"""Time in a workflow: sleeping until a moment, here or in a later leg, and what only runs once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from awaitpy._arguments import in_utc
from awaitpy._policy import in_seconds
from awaitpy._tree import waiting
from awaitpy._wire import ELAPSED, Entry, Underway, encode
from awaitpy.errors import PendingTimer, UnexpectedError
from awaitpy.result import Err, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from awaitpy._leg import Settings
    from awaitpy._session import Session


def pending_timer(
    duration: timedelta | float | None = None, *, until: datetime | None = None
) -> Result[None, PendingTimer]:
    """Sleep: the step that returns this goes on after `duration` (timedelta or seconds), or at `until`.

    A short sleep is slept where the run is; for a longer one it is suspended, see `Runner(hold=)`.
    """
    if (duration is None) == (until is None):
        raise ValueError("pending_timer takes a duration or until=, one of the two.")
    if until is not None:
        return Err(PendingTimer(until=in_utc(until)))
    return Err(PendingTimer(duration=timedelta(seconds=in_seconds(duration or 0))))


async def sleep(session: Session, key: str, asked: PendingTimer) -> None:
    """Sleep until the time of a step, which is noted when it is first asked for, and journal that."""
    try:
        until = await _until(session, key, asked)
    except Exception as cause:  # noqa: BLE001  a clock, a store and a duration of users may be anything
        await session.stop(UnexpectedError(key, cause))
    await pause(session, PendingTimer(key, until))
    await session.keep(Entry(key, ELAPSED, msgspec.Raw(encode(until))))


async def _until(session: Session, key: str, asked: PendingTimer) -> datetime:
    note = session.journal.underway.get(key)
    if note is not None and note.until is not None:
        return note.until
    until = asked.until or session.settings.clock() + (asked.duration or timedelta())
    await session.note(Underway(key, until=until))
    return until


async def pause(session: Session, pending: PendingTimer) -> None:
    """Wait until the time of a step: here if it is near and the leg goes on, else suspend the run."""
    try:
        left = _left(session, pending)
        if left > session.settings.hold or (left > 0 and session.exit is not None):
            await session.park(pending)
        if left > 0:
            await _slept(session, left)
        elif _delivered(session):
            # What was delivered before the time was over comes first, though the leg came later.
            await session.quiet(until=lambda: session.exit is not None)
        else:
            await asyncio.sleep(0)  # attempts without a delay let other branches come in between
        await session.catch_up()
    except asyncio.CancelledError:
        session.cut(pending.step_key)
        raise
    except Exception as cause:  # noqa: BLE001  a clock and a sleep of users may raise anything
        await session.stop(UnexpectedError(pending.step_key, cause))


def _delivered(session: Session) -> bool:
    children = session.state.children
    waits = waiting(session.journal.hooks, children, session.replay.entries)
    return any(hook.deliveries for hook in session.journal.hooks.values()) or (
        bool(children) and any(wait.hook.deliveries for wait in waits)
    )


def _left(session: Session, pending: PendingTimer) -> float:
    until = pending.until
    return 0 if until is None else (until - session.settings.clock()).total_seconds()


async def _slept(session: Session, seconds: float) -> None:
    session.active += 1
    try:
        await session.settings.sleep(seconds)
    finally:
        session.done()


# --- what a workflow may not make itself --------------------------------------------------------


def now(settings: Settings) -> datetime:
    """Give the time of the runner's clock, aware, in UTC."""
    return settings.clock()


def uuid(settings: Settings) -> str:
    """Give a random UUID (RFC 9562, version 4), as text."""
    return str(read_uuid(settings.entropy(16).hex(), version=4))


def read_uuid(text: str, version: int | None = None) -> UUID:
    """Read a UUID."""
    from uuid import UUID  # noqa: PLC0415  most programs need none, and every start would pay for it

    return UUID(text, version=version)


def random(settings: Settings) -> float:
    """Give a random number from 0 up to 1, of 53 bits."""
    return draw(settings.entropy)


_BITS: Final = 53


def draw(entropy: Callable[[int], bytes]) -> float:
    """Make a number from 0 up to 1 of random bytes."""
    return (int.from_bytes(entropy(7), "big") >> 3) / (1 << _BITS)
