"""The order in which parallel branches get what they replay: that in which it came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awaitpy._leg import QUIET, REACT

if TYPE_CHECKING:
    from awaitpy._replay import Replay


class Pacing:
    """Holds replayed steps back until those that were journaled before them were asked for.

    So that the first of several branches is first again. Each held step costs some turns of the
    event loop, however many are held.
    """

    __slots__ = ("_calm", "_held", "_paces", "_replay", "_seen", "over")

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self.over = False
        self._held: dict[str, asyncio.Future[None]] = {}
        self._paces = False
        self._calm = self._seen = 0

    def __bool__(self) -> bool:
        return self._paces

    async def hold(self, key: str) -> None:
        """Wait for the turn of a step. One that nobody asks for any more is not waited for."""
        loop = asyncio.get_running_loop()
        self._held[key] = loop.create_future()
        if not self._paces:
            self._paces = True
            self._calm = 0
            loop.call_soon(self._pace, loop)
        try:
            await self._held[key]
        finally:
            self._held.pop(key, None)
            self._replay.pass_early(key)

    def _pace(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the step go on whose turn it is, or the first of all when no other can come any more."""
        asked, turn = len(self._replay.asked), self._replay.next_turn
        self._calm = self._calm + 1 if asked == self._seen else 0
        self._seen = asked
        if self.over:
            for key in list(self._held):
                self._release(key)
        elif self._calm >= REACT and turn in self._held:
            self._release(turn)
        elif self._calm >= QUIET and self._held:
            first = min(self._held, key=self._replay.position)
            self._replay.skip_to(first)
            self._release(first)
        self._paces = bool(self._held)
        if self._paces:
            loop.call_soon(self._pace, loop)

    def _release(self, key: str) -> None:
        future = self._held.pop(key)
        self._calm = 0
        if not future.done():
            future.set_result(None)
