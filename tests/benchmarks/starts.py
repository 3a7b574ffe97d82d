"""What `import awaitpy` costs, measured in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.benchmarks.timing import Ratio, compared

LEFT_OUT: Final = ("cattrs", "sqlite3", "starlette", "aiohttp", "django", "fastapi", "flask", "litestar")
_TIMED: Final = """
from time import perf_counter
began = perf_counter()
import {names}
print(perf_counter() - began)
"""
_LOADED: Final = "import sys, awaitpy; print(*(n for n in {names} if n in sys.modules))"


def import_time(rounds: int) -> Ratio:
    """Compare `import awaitpy` with `import asyncio, msgspec, attrs`, in turns."""
    _seconds("awaitpy")  # writes what compiled files are missing
    pairs = [(_seconds("awaitpy"), _seconds("asyncio, msgspec, attrs")) for _ in range(rounds)]
    ours, limit = zip(*pairs, strict=True)
    return compared(ours, limit)


def loaded_too_early() -> list[str]:
    """Give the modules that `import awaitpy` should leave out and loads."""
    return _printed(_LOADED.format(names=LEFT_OUT)).split()


def _seconds(names: str) -> float:
    return float(_printed(_TIMED.format(names=names)))


def _printed(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
