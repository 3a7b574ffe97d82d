"""Ends a test that would hang, be it in a deadlock or in a busy loop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def _too_long(*_: object) -> None:
    raise TimeoutError("the test hangs: what it waits for does not come")


@contextmanager
def guarded(seconds: float, again: float = 0) -> Iterator[None]:
    """Raise TimeoutError after so many seconds, and then, if asked to, again and again."""
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
