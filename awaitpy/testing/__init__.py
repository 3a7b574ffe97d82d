"""For the tests of workflows: a run that the test drives, without a server or a sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitpy.testing._clock import FakeClock
from awaitpy.testing._tester import RunnerOptions, WorkflowTester

if TYPE_CHECKING:
    from awaitpy.testing._store_suite import StoreSuite

__all__ = ["FakeClock", "RunnerOptions", "StoreSuite", "WorkflowTester"]


def __getattr__(name: str) -> object:
    if name != "StoreSuite":
        raise AttributeError(f"module 'awaitpy.testing' has no attribute {name!r}")
    from awaitpy.testing._store_suite import StoreSuite  # noqa: PLC0415  only who writes a store needs it

    return StoreSuite
