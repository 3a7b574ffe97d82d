"""Who in this process changes a run from outside: one after the other."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """Gives a lock for each run.

    Each change is a compare-and-set, which needs no lock. But of a thousand that come at once one would
    win, and all others would load the run again, a thousand times over.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, run_id: str) -> asyncio.Lock:
        """Give the lock for a run, which is there as long as somebody has it."""
        return self._locks.setdefault(run_id, asyncio.Lock())
