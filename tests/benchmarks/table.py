"""The table: each figure, its bar, what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from tests.benchmarks import figures, starts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.benchmarks.figures import Family, Scale
    from tests.benchmarks.timing import Ratio

_MICRO: Final = 1e6
_MILLI: Final = 1e3


@attrs.frozen
class Row:
    """One line of the table. `number` must not exceed `bar`."""

    figure: str
    bar: float
    number: float
    unit: str
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to its bar."""
        return self.number <= self.bar

    def cells(self) -> tuple[str, ...]:
        """Give the line as texts."""
        number = f"{self.number:,.2f}".removesuffix(".00")
        mark = "pass" if self.holds else "FAIL"
        return self.figure, f"≤ {self.bar:g} {self.unit}", f"{number} {self.unit}", mark, self.detail


HEADER: Final = ("figure", "bar", "measured", "", "medians")


async def rows(scale: Scale) -> AsyncIterator[Row]:
    """Measure, and give each line as soon as it is known."""
    orders = await figures.fresh_orders(scale)
    for row in _fresh(orders):
        yield row
    plain = await figures.fresh_plain(scale)
    for row in _against_limit(plain, "fresh step, untyped lambda", 3, "× L"):
        yield row
    unused = await figures.unused_options(scale)
    yield ratio_row("fresh step, with unused retry and undo", 1.05, unused, "× without")
    replays = await figures.retried_replays(scale)
    before, last = scale.steps[-2:]
    yield ratio_row(f"replay of a retried step, {last:,} against {before:,}", 1.4, replays, "×")
    for row in _round_trips(await figures.round_trips(scale)):
        yield row
    yield await _overhead(scale.steps[0])
    yield await _suspended_size()
    many = await figures.many_runs(scale)
    yield ratio_row(f"{scale.runs:,} runs of 5 steps, suspended and resumed", 1.5, many, "× by hand")
    for name, ratio in (await figures.mapped(scale)).items():
        yield ratio_row(f"{name}, {scale.items:,} items", 1.5, ratio, "× gather")
    for row in _starts(scale):
        yield row
    few, most = scale.entries
    for name, ratio in (await figures.hook_calls(scale)).items():
        yield ratio_row(f"{name}, {most:,} entries against {few:,}", 1.25, ratio, "×")


def _fresh(family: Family) -> Iterator[Row]:
    yield from _against_limit(family, "fresh step", 2, "× L")
    first, last = family.sizes[0], family.sizes[-1]
    yield ratio_row(f"the same per step, {last:,} against {first:,}", 1.5, family.growth(0), "×")


def _round_trips(family: Family) -> Iterator[Row]:
    yield from _against_limit(family, "suspend to resume", 1.3, "× R")
    before, last = family.sizes[-2:]
    yield ratio_row(f"the same per step, {last:,} against {before:,}", 1.4, family.growth(-2), "×")


def _against_limit(family: Family, name: str, bar: float, unit: str) -> Iterator[Row]:
    for index, size in enumerate(family.sizes):
        yield ratio_row(f"{name}, {size:,} steps", bar, family.against_limit(index), unit)


async def _overhead(steps: int) -> Row:
    overhead = await figures.overhead_per_step(steps)
    detail = f"over {steps:,} steps, beside keys and payloads"
    return Row("state size, a step", 24, overhead, "bytes", detail)


async def _suspended_size() -> Row:
    size = await figures.suspended_size()
    return Row("a suspended run of 5 steps", 3.3, size / 1_000, "KB", f"{size:,} bytes")


def _starts(scale: Scale) -> Iterator[Row]:
    time = starts.import_time(scale.starts)
    detail = f"{time.ours * _MILLI:.1f} ms to {time.limit * _MILLI:.1f} ms"
    yield Row("import awaitpy against asyncio, msgspec, attrs", 1.2, time.ratio, "×", detail)
    early = starts.loaded_too_early()
    detail = ", ".join(early) or "no cattrs, sqlite3 or web framework"
    yield Row("modules that it need not load", 0, len(early), "modules", detail)


def ratio_row(figure: str, bar: float, ratio: Ratio, unit: str) -> Row:
    """Give the line of a ratio."""
    detail = f"{ratio.ours * _MICRO:,.2f} µs to {ratio.limit * _MICRO:,.2f} µs"
    return Row(figure, bar, ratio.ratio, unit, detail)
