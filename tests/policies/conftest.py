from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awaitpy import Entry, Outcome, ResumeState, Runner, append_entries, next_wakeup
from tests.guard import guarded

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _guard() -> Iterator[None]:
    with guarded(30):
        yield


class World:
    """A clock that only moves when it is slept or told to, a store of entries, and what really ran."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []
        self.stored: list[Entry] = []
        self.log: list[Any] = []

    def runner(self, **settings: Any) -> Runner:
        given: dict[str, Any] = {"run_id": "run", "checkpoint": self.stored.append, **settings}
        return Runner(clock=lambda: self.now, sleep=self.sleep, **given)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_(seconds)
        await asyncio.sleep(0)

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def run(self, flow: Any, *args: Any, **settings: Any) -> Outcome[Any, Any]:
        """Run the first leg, of a state that has been in another process."""
        runner = self.runner(**settings)
        return await runner.resume(flow, carried(runner.start(flow, *args)))

    async def resume(self, flow: Any, state: ResumeState, **settings: Any) -> Outcome[Any, Any]:
        return await self.runner(**settings).resume(flow, carried(state))

    async def on_time(self, flow: Any, outcome: Outcome[Any, Any], **settings: Any) -> Outcome[Any, Any]:
        """Move the clock to the next wakeup of a state, and resume it."""
        due = next_wakeup(outcome.state)
        assert due is not None
        self.now = max(self.now, due)
        return await self.resume(flow, outcome.state, **settings)

    async def to_end(self, flow: Any, *args: Any, **settings: Any) -> Outcome[Any, Any]:
        """Run, and resume whenever it is due, until nothing is."""
        outcome = await self.run(flow, *args, **settings)
        while outcome.state.status == "suspended" and next_wakeup(outcome.state) is not None:
            outcome = await self.on_time(flow, outcome, **settings)
        return outcome

    def step(self, name: Any, *results: Any) -> Callable[..., Any]:
        """A function that notes its name and gives these in turn, the last for ever."""
        left = list(results) or [name]

        def called(*_: Any) -> Any:
            self.log.append(name)
            given = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(given, BaseException):
                raise given
            return given

        return called


def carried(state: ResumeState) -> ResumeState:
    """Send a state through its bytes and its JSON."""
    back = ResumeState.from_json(ResumeState.from_bytes(state.to_bytes()).to_json())
    assert back == state
    assert back.to_bytes() == state.to_bytes()
    return back


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def crashed() -> Callable[..., Any]:
    """Give the state and the world after a crash at the entry of a number, told to the store or not."""

    async def crash(flow: Any, world: World, moment: int, *, stored: bool, **settings: Any) -> ResumeState:
        kept: list[Entry] = []

        def checkpoint(entry: Entry) -> None:
            if len(kept) > moment - (not stored):
                raise ConnectionError("the process is gone")
            kept.append(entry)
            if len(kept) > moment:
                raise ConnectionError("the process is gone")

        state = carried(world.runner().start(flow))
        runner = world.runner(checkpoint=checkpoint, **settings)
        await runner.resume(flow, state)
        return carried(append_entries(state, *kept))

    return crash


@pytest.fixture
def kinds() -> Callable[[ResumeState], dict[str, str]]:
    return lambda state: {key: entry.kind_name for key, entry in state.steps.items()}
