"""Blocks timed in turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import gc
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Block = Callable[[], Awaitable[float]]


class Stopwatch:
    """Adds up the seconds between `start` and `stop`; a start while it runs is none."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._seconds = 0.0

    def start(self) -> None:
        """Go on counting."""
        if self._since is None:
            self._since = perf_counter()

    def stop(self) -> None:
        """Pause."""
        now = perf_counter()
        if self._since is not None:
            self._seconds += now - self._since
            self._since = None

    def taken(self) -> float:
        """Give the seconds so far, and go back to zero."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@attrs.frozen
class Ratio:
    """The medians of two blocks, in seconds, and the median of their ratios in each round."""

    ours: float
    limit: float
    ratio: float


def compared(ours: Sequence[float], limit: Sequence[float]) -> Ratio:
    """Compare the times of two blocks that ran in the same rounds."""
    ratios = [one / other for one, other in zip(ours, limit, strict=True)]
    return Ratio(median(ours), median(limit), median(ratios))


async def interleaved(rounds: int, *blocks: Block) -> list[list[float]]:
    """Give the seconds of each block in each round, after a round to warm up.

    Every other round runs backwards. The garbage of what came before is collected before each block;
    the collector stays on, as it is in the programs that this is about.
    """
    times: list[list[float]] = [[] for _ in blocks]
    for turn in range(rounds + 1):
        order = list(enumerate(blocks))
        for index, block in order if turn % 2 else reversed(order):
            gc.collect()
            seconds = await block()
            if turn:
                times[index].append(seconds)
    return times
