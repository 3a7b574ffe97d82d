"""`python -m tests.benchmarks [--quick]` prints the table of docs/performance.md, measured here."""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
from typing import Final

from tests.benchmarks.durable import Extent
from tests.benchmarks.durable_table import durable_rows
from tests.benchmarks.figures import Scale
from tests.benchmarks.table import HEADER, rows
from tests.stores import servers

_SHORT: Final = Extent(rounds=3, runs=(1_000, 20_000))
_QUICK: Final = Scale(rounds=3, entries=(100, 20_000), starts=5)
_WIDTHS: Final = (48, 12, 16, 4, 38)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first impression")
    parser.add_argument("--core", action="store_true", help="only what needs no store")
    options = parser.parse_args()
    scale = _QUICK if options.quick else Scale()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}\n")
    gc.freeze()  # what was imported is no garbage, and looking at it again would only add noise
    asyncio.run(print_table(scale))
    if not options.core:
        with servers.Postgres() as server:
            asyncio.run(print_durable_table(_SHORT if options.quick else Extent(), server.url))


async def print_table(scale: Scale) -> None:
    """Print each line of the table as soon as it is measured."""
    _print_line(HEADER)
    _print_line(tuple("-" * width for width in _WIDTHS))
    async for row in rows(scale):
        _print_line(row.cells())


async def print_durable_table(extent: Extent, postgres: str) -> None:
    """Print the lines about durable runs, each as soon as it is measured. `postgres` is a server's URL."""
    async for row in durable_rows(extent, postgres):
        _print_line(row.cells())


def _print_line(cells: tuple[str, ...]) -> None:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    print(f"| {' | '.join(padded)} |", flush=True)


if __name__ == "__main__":
    main()
