"""The store in an SQLite file."""

from __future__ import annotations

import pytest

from awaitpy.stores import SQLiteStore
from awaitpy.testing import StoreSuite


class TestSQLiteStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, tmp_path):
        self.path = tmp_path / "runs.db"

    def make_store(self):
        return SQLiteStore(self.path, poll=0.01)


class TestSQLiteStoreInMemory(StoreSuite):
    shared = False

    def make_store(self):
        return SQLiteStore(":memory:")
