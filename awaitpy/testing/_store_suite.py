"""The suite that proves a store."""

from __future__ import annotations

from awaitpy.testing._suite_leases import Leases
from awaitpy.testing._suite_queries import Queries
from awaitpy.testing._suite_writes import Writes


class StoreSuite(Writes, Leases, Queries):
    """Tests of every promise of `Store`: subclass it and say how to make your store.

    `make_store()` gives a store that is not open yet. Each test calls it twice and gets two objects
    over one storage, which has to be empty at the start of the test. A store whose objects can't
    share a storage says so by `shared = False`. Each test runs on an event loop of its own, so that
    no plugin for async tests is needed.

    The storage of a test is best made by an autouse fixture::

        class TestMyStore(StoreSuite):
            @pytest.fixture(autouse=True)
            def storage(self, tmp_path):
                self.path = tmp_path / "runs.db"

            def make_store(self):
                return MyStore(self.path)
    """
