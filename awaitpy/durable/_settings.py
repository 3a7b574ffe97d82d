"""What all that works on the runs of a `Durable` shares."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import attrs
import msgspec

from awaitpy.durable._patient import patient
from awaitpy.durable._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awaitpy._runner import Runner
    from awaitpy._wire import Entry
    from awaitpy.durable._flows import Flows
    from awaitpy.durable._policy import Tries
    from awaitpy.durable._store import Store

T = TypeVar("T")


@attrs.frozen
class Settings:
    """The store, the workflows, and how to work on their runs. Times are epoch seconds."""

    store: Store
    flows: Flows
    runner: Runner
    owner: str
    lease: float
    tries: Tries
    relaxed: bool
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    longest_wait: float
    """Seconds after which the store is asked even if it has rung no bell."""
    turns: Turns = attrs.field(factory=Turns)

    async def ask(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Give what a verb of the store gives, patiently. Raises `StoreError`."""
        return await patient(verb, self.sleep)

    def runner_with(self, checkpoint: Callable[[Entry], Awaitable[None] | None]) -> Runner:
        """Give the runner of one leg, which shares its codecs with all others."""
        runner = copy.copy(self.runner)
        settings = runner._settings  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  one house
        runner._settings = msgspec.structs.replace(settings, checkpoint=checkpoint)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the same
        return runner
