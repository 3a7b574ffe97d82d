from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from awaitpy import PendingHook, Step, pending_hook
from tests.guard import guarded


@pytest.fixture(autouse=True)
def _guard() -> Iterator[None]:
    with guarded(30):
        yield


class Calls(list[str]):
    """What really ran, in order: `step("a", calls, "a", 1)` notes "a" and gives 1."""

    def __call__(self, name: str, value: Any = None) -> Any:
        self.append(name)
        return value

    def undo(self, name: str) -> Any:
        """Give an undo that notes its name."""
        return lambda _: self.append(f"undo {name}")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def reserving(calls):
    """Give a workflow that reserves something, which can be undone, and then waits."""

    async def reserve(step: Step[str | PendingHook], name: str) -> str:
        await step.options(undo=calls.undo(name))("reserve", calls, name)
        return await step("w", pending_hook, f"h-{name}", str)

    return reserve
