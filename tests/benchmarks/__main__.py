"""`python -m tests.benchmarks [--quick]` prints the table of docs/performance.md, measured here."""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
from typing import Final

from tests.benchmarks.figures import Scale
from tests.benchmarks.table import HEADER, rows

_QUICK: Final = Scale(rounds=3, entries=(100, 20_000), starts=5)
_WIDTHS: Final = (48, 12, 16, 4, 38)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first impression")
    scale = _QUICK if parser.parse_args().quick else Scale()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}\n")
    gc.freeze()  # what was imported is no garbage, and looking at it again would only add noise
    asyncio.run(print_table(scale))


async def print_table(scale: Scale) -> None:
    """Print each line of the table as soon as it is measured."""
    _print_line(HEADER)
    _print_line(tuple("-" * width for width in _WIDTHS))
    async for row in rows(scale):
        _print_line(row.cells())


def _print_line(cells: tuple[str, ...]) -> None:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    print(f"| {' | '.join(padded)} |", flush=True)


if __name__ == "__main__":
    main()
