"""Runs the programs of this folder as processes that end with their test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

import awaitpy
from tests.stores.conftest import postgres, redis_server

__all__ = ["postgres", "redis_server"]

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder():
    """A folder in memory where there is such: a killed process loses nothing there, and a test no time."""
    made = Path(tempfile.mkdtemp(prefix="awaitpy-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def program():
    """Run a module of this folder to its end, and give what it printed."""
    return run


def run(module, *words, seconds):
    # A process that is to be killed has no coverage to report.
    env = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
    env["PYTHONPATH"] = str(Path(awaitpy.__file__).parents[1])
    command = [sys.executable, "-m", f"tests.crash.{module}", *map(str, words)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        printed, _ = process.communicate(timeout=seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, f"it ended with {process.returncode}, see what it printed"
    return printed
