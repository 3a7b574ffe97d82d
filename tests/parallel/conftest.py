"""What the tests of maps and races share: a clock of their own, and what really ran."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awaitpy import Runner


class World:
    """Counts what ran and how much of it at once; its time passes only when it is told to."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.under_way = self.most = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept: list[float] = []

    async def work(self, item: Any, turns: int = 2) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        self.ran.append(item)
        return item

    def quick(self, item: Any) -> Any:
        self.ran.append(item)
        return item

    async def stuck(self, item: Any = "stuck") -> None:
        self.ran.append(item)
        await asyncio.get_running_loop().create_future()

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def runner(self, **settings: Any) -> Runner:
        return Runner(clock=lambda: self.now, sleep=self.sleep, **settings)

    @property
    def counts(self) -> Counter[Any]:
        return Counter(self.ran)


@pytest.fixture(name="world")
def _world() -> World:
    return World()


def kinds(state: Any) -> dict[str, str]:
    return {key: entry.kind_name for key, entry in state.steps.items()}
