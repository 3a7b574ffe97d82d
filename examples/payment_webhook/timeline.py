"""What ran where: a file that all processes append to, a line for each thing that happened."""

from __future__ import annotations

import os
import time
from pathlib import Path

import attrs

FILE = "TIMELINE"


@attrs.frozen
class Event:
    at: float
    pid: int
    who: str
    what: str

    def __str__(self) -> str:
        return f"pid {self.pid:<8}{self.who:<10}{self.what}"


def note(who: str, what: str) -> None:
    """Append a line, if there is a file to append to."""
    if FILE in os.environ:
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(f"{time.monotonic():.3f}\t{os.getpid()}\t{who}\t{what}\n")


def read() -> list[Event]:
    lines = Path(os.environ[FILE]).read_text(encoding="utf-8").splitlines()
    parts = [line.split("\t") for line in lines]
    return [Event(float(at), int(pid), who, what) for at, pid, who, what in parts]
