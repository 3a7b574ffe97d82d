from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from awaitpy import ResumeState, inject_hook
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

    async def after(self, event: asyncio.Event, name: str, value: Any = None) -> Any:
        """Note the name twice, before and after the event, and give the value."""
        self.append(f"{name} begins")
        await event.wait()
        self.append(f"{name} ends")
        return value


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def again() -> Callable[[ResumeState], ResumeState]:
    """Send a state through its bytes, as to another process."""
    return lambda state: ResumeState.from_bytes(state.to_bytes())


@pytest.fixture
def answered() -> Callable[..., ResumeState]:
    """Send a state through its bytes and answer hooks of it: `answered(state, a=1)`."""

    def answer(state: ResumeState, **values: Any) -> ResumeState:
        state = ResumeState.from_bytes(state.to_bytes())
        for hook_id, value in values.items():
            state = inject_hook(state, hook_id, value)
        return state

    return answer
