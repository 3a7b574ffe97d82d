"""Steps that were cut off when they ran: in a replay they stay until what cut them off does so again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awaitpy._leg import wait_on, wake
from awaitpy._motion import Motion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType

    from awaitpy._leg import Settings
    from awaitpy._replay import Replay
    from awaitpy.errors import PendingHook, PendingTimer


class Staying(Motion):
    """What moves in a leg, and the steps that stay: no leg suspends or fails while one may be cut off."""

    __slots__ = ("_staying", "_stirred", "parked", "settings")

    def __init__(
        self, settings: Settings, replay: Replay, working: Collection[CodeType], run_id: str
    ) -> None:
        super().__init__(replay, working, run_id)
        self.settings = settings
        self.parked: dict[str, PendingHook | PendingTimer] = {}
        self._staying = 0
        self._stirred: list[asyncio.Future[None]] = []  # who waits for cuts, here and around

    def stir_with(self, parent: Staying) -> None:
        """Let those who wait for cuts in the run around this one hear of what happens here."""
        self._stirred = parent._stirred

    def stir(self) -> None:
        """Let those who wait for cuts look again."""
        if self._stirred:
            wake(self._stirred)

    async def cut_again(self) -> None:
        """Stay at a step that was cut off when it ran, until what cut it off does so again."""
        self._staying += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._staying -= 1
            self.stir()

    async def calm(self, until: Callable[[], bool], *, idle: bool = True) -> None:
        """Wait as `quiet` does, and also for what cuts steps off again: the workflow went on after that."""
        await self.quiet(until, idle=idle)
        while not until() and self.expects_cut():
            self.becalmed = True
            try:
                await wait_on(self._stirred)
            finally:
                self.becalmed = False
            await self.quiet(until, idle=idle)

    def expects_cut(self) -> bool:
        """Whether a step, here or in a child, waits to be cut off, and what does so may come."""
        if self._staying and not any(self._is_known(key) for key in self.parked):
            return True
        return any(child.expects_cut() for child in self.hosted.values())

    def _is_known(self, key: str) -> bool:
        """Whether a wait is for what was given in a former leg: nothing that came of it comes before it."""
        replay, blind = self.replay, self.settings.blind
        return key in replay.forgotten or (blind is not None and key in blind and key in replay.entries)
