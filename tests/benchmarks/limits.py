"""L and R: what a program without awaitpy has to do at the least, written by hand.

No check, no drift, no errors, no parallel branches: what is here, nobody who keeps a run can leave out.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tests.benchmarks.orders import ANSWER, HOOK, Approval, Order, fetch_order

if TYPE_CHECKING:
    from collections.abc import Callable

_Raw: Final = msgspec.Raw
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_order: Final = msgspec.msgpack.Decoder(Order).decode
_decode_approval: Final = msgspec.msgpack.Decoder(Approval).decode
_decode_arguments: Final = msgspec.msgpack.Decoder(tuple[int]).decode


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A completed step."""

    key: str
    kind: int
    payload: msgspec.Raw


class OpenHook(msgspec.Struct, frozen=True):
    """A hook that the run waits for, and its answer."""

    step_key: str
    since: datetime
    answer: msgspec.Raw | None = None


class Held(msgspec.Struct, frozen=True):
    """A suspended run: which one, of what, with which arguments, what it did, what it waits for."""

    run_id: str
    workflow: str
    arguments: msgspec.Raw
    entries: list[Entry]
    hooks: dict[str, OpenHook]


_decode_held: Final = msgspec.msgpack.Decoder(Held).decode


class Waiting(BaseException):
    """Unwinds a run that has come to its hook."""


# --- L ------------------------------------------------------------------------------------------


async def journal_orders(steps: int) -> dict[str, Entry]:
    """Await the function, encode its value, keep an entry."""
    entries: dict[str, Entry] = {}
    for number in range(steps):
        key = f"step-{number}"
        value = await fetch_order()
        entries[key] = Entry(key, 0, _Raw(_encode(value)))
    return entries


# --- R ------------------------------------------------------------------------------------------


async def suspended(steps: int, run_id: str, at_wait: Callable[[], None]) -> bytes:
    """Journal the orders, come to the hook, leave, and keep the run as bytes."""
    entries: dict[str, Entry] = {}

    async def body() -> None:
        entries.update(await journal_orders(steps))
        at_wait()
        raise Waiting

    with suppress(Waiting):
        await body()
    hooks = {HOOK: OpenHook("approve", datetime.now(UTC))}
    arguments = _Raw(_encode((steps,)))
    return _encode(Held(run_id, "approved", arguments, list(entries.values()), hooks))


def answered(held: Held, hook_id: str, answer: dict[str, Any]) -> Held:
    """Give the run with the answer of its hook."""
    hook = msgspec.structs.replace(held.hooks[hook_id], answer=_Raw(_encode(answer)))
    return msgspec.structs.replace(held, hooks={**held.hooks, hook_id: hook})


async def resumed(data: bytes, answer: dict[str, Any] = ANSWER) -> Approval:
    """Read the run, put the answer in, and go through its steps to the end."""
    held = answered(_decode_held(data), HOOK, answer)
    entries = {entry.key: entry for entry in held.entries}

    async def step(key: str) -> Order:
        return _decode_order(entries[key].payload)

    (steps,) = _decode_arguments(held.arguments)
    for number in range(steps):
        await step(f"step-{number}")
    return _decode_approval(held.hooks[HOOK].answer or b"")
