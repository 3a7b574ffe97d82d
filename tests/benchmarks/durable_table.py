"""The lines of the table that are about durable runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks import durable
from tests.benchmarks.table import Row, ratio_row
from tests.benchmarks.timing import compared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.benchmarks.durable import Extent

_MILLI: Final = 1e3


async def durable_rows(extent: Extent, postgres: str) -> AsyncIterator[Row]:
    """Measure, and give each line as soon as it is known."""
    for name, synchronous, checkpoint, bar in (
        ("SQLite FULL, one run", "FULL", "each", 1.6),
        ("SQLite NORMAL, relaxed, one run", "NORMAL", "relaxed", 2),
    ):
        times = await durable.one_run(extent, synchronous, checkpoint)
        for steps, (ours, limit) in zip(extent.steps, times, strict=True):
            yield ratio_row(f"{name}, {steps:,} steps", bar, compared(ours, limit), "× S")
        growth = compared(times[-1][0], times[0][0])
        yield ratio_row(f"the same, {extent.steps[1]:,} against {extent.steps[0]:,}", 1.2, growth, "×")
    together = f"{extent.together} runs at once, a step"
    yield ratio_row(f"SQLite FULL, {together}", 0.2, await durable.many_at_once(extent), "× S")
    there = await durable.many_in_postgres(extent, postgres)
    yield ratio_row(f"PostgreSQL, {together}", 0.3, there, "× INSERT")
    long = await durable.long_resume(extent)
    yield ratio_row(f"resume of {extent.entries:,} entries from SQLite", 1.5, long, "× read")
    few, most = extent.runs
    for name, ratio in (await durable.many_stored(extent)).items():
        yield ratio_row(f"{name}, {most:,} runs against {few:,}", 1.5, ratio, "×")
    held = await durable.loop_held(extent)
    detail = "beyond what the runs themselves take"
    yield Row("event loop held by a save, 99th percentile", 1, held * _MILLI, "ms", detail)
