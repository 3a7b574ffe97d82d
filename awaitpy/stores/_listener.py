"""The task that hears when another process made a run due."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

PAUSE = 1.0
"""Seconds until it tries again, where it could not listen."""


class Listener(ABC):
    """Listens on one connection, which it takes when it is started, and again when that is lost."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.pause: Final = PAUSE

    @abstractmethod
    async def _listen(self) -> None:
        """Ring a bell at each change, until the connection is lost, which raises nothing."""

    def start(self) -> None:
        """Listen from now on; nothing if it does."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let go of the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._listen()
            await asyncio.sleep(self.pause)
