"""For the tests of workflows: a run that the test drives, without a server or a sleep."""

from __future__ import annotations

from awaitpy.testing._clock import FakeClock
from awaitpy.testing._tester import RunnerOptions, WorkflowTester

__all__ = ["FakeClock", "RunnerOptions", "WorkflowTester"]
