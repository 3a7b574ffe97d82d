"""The pytest plugin, found by installing awaitpy: fixtures `fake_clock` and `workflow_tester`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

import attrs
import pytest

from awaitpy import Event, ResumeState, Step
from awaitpy.testing import FakeClock, RunnerOptions, WorkflowTester

# An assert of the suite that fails shows the values, as one in the user's own tests does.
_SUITE = tuple(f"awaitpy.testing._suite{part}" for part in ("", "_writes", "_leases", "_queries"))
pytest.register_assert_rewrite(*(name for name in _SUITE if name not in sys.modules))

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")


@attrs.frozen
class MakeTester:
    """What the fixture `workflow_tester` is: it gives a tester for a workflow, on one clock."""

    clock: FakeClock

    def __call__(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *,
        state: ResumeState | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[RunnerOptions],
    ) -> WorkflowTester[P, T, E]:
        """A tester for this workflow; the options are those of `WorkflowTester`."""
        return WorkflowTester(workflow, clock=self.clock, state=state, on_event=on_event, **options)


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
def workflow_tester(fake_clock: FakeClock) -> MakeTester:
    """Makes testers for workflows, all of them on `fake_clock`."""
    return MakeTester(fake_clock)
