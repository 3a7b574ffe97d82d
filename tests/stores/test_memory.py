"""The store in memory keeps what every store promises."""

from __future__ import annotations

from awaitpy.stores import MemoryStore
from awaitpy.testing import StoreSuite


class TestMemoryStore(StoreSuite):
    shared = False

    def make_store(self):
        return MemoryStore()
