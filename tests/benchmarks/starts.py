"""What `import awaitpy` costs, measured in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Final

from tests.benchmarks.timing import Ratio, compared

LEFT_OUT: Final = (
    "cattrs",
    "sqlite3",
    "aiohttp",
    "django",
    "fastapi",
    "flask",
    "litestar",
    "starlette",
)
_TIMED: Final = """
from time import perf_counter
began = perf_counter()
import {names}
print(perf_counter() - began)
"""
_LOADED: Final = "import sys, awaitpy; print(*(n for n in {names} if n in sys.modules))"


def import_time(rounds: int) -> Ratio:
    """Compare `import awaitpy` with `import asyncio, msgspec, attrs`, in turns."""
    with tempfile.TemporaryDirectory() as compiled:
        _seconds("awaitpy", compiled)  # compiles everything, and reads it from the disk once
        pairs = [
            (_seconds("awaitpy", compiled), _seconds("asyncio, msgspec, attrs", compiled))
            for _ in range(rounds)
        ]
    ours, limit = zip(*pairs, strict=True)
    return compared(ours, limit)


def loaded_too_early() -> list[str]:
    """Give the modules that `import awaitpy` should leave out and loads."""
    # Measured by coverage, a child process would load what coverage needs.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")}
    return _printed(_LOADED.format(names=LEFT_OUT), environment).split()


def _seconds(names: str, compiled: str) -> float:
    """Time an import that finds all modules compiled, as in a program that has run before."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return float(_printed(_TIMED.format(names=names), environment))


def _printed(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout
