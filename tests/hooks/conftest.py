"""A run with a clock of its own, whose state goes through bytes or JSON between any two legs."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from awaitpy import Outcome, ResumeState, Runner, inject_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = datetime(2030, 1, 1, tzinfo=UTC)


class Story:
    """One run of one workflow, told leg by leg."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self._loop = loop
        self._trips = itertools.cycle([self._by_bytes, self._by_json])
        self.now = START
        self.runner = Runner(clock=lambda: self.now, run_id="story")
        self.flow: Any = None
        self.state: Any = None

    def _by_bytes(self, state: ResumeState) -> ResumeState:
        return ResumeState.from_bytes(state.to_bytes())

    def _by_json(self, state: ResumeState) -> ResumeState:
        return ResumeState.from_json(state.to_json())

    def travel(self) -> ResumeState:
        """The state as another process reads it."""
        trip = next(self._trips)
        again = trip(self.state)
        assert again == self.state
        return again

    def begin(self, flow: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run from the start; give the result."""
        self.flow = flow
        return self._kept(self._loop.run(self.runner.run(flow, *args, **kwargs)))

    def go_on(self, flow: Callable[..., Any] | None = None) -> Any:
        """Resume from what was stored; give the result."""
        self.state = self.travel()
        return self._kept(self._loop.run(self.runner.resume(flow or self.flow, self.state)))

    def _kept(self, outcome: Outcome[Any, Any]) -> Any:
        self.state = outcome.state
        return outcome.result

    def deliver(self, hook_id: str, value: Any, **how: Any) -> ResumeState:
        """Inject into the stored state, at the time of this story's clock."""
        before = self.travel()
        as_stored = before.to_bytes()
        try:
            self.state = inject_hook(before, hook_id, value, **{"now": self.now, **how})
        finally:
            assert before.to_bytes() == as_stored
        return self.state

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture
def story(loop: asyncio.Runner) -> Story:
    return Story(loop)


@pytest.fixture
def stories(loop: asyncio.Runner) -> Callable[[], Story]:
    return lambda: Story(loop)
