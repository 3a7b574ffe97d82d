"""PostgresStore keeps what every store promises, and what a server adds: see tests/stores/servers.py."""

from __future__ import annotations

import uuid

import pytest

from awaitpy.stores import PostgresStore
from awaitpy.testing import StoreSuite


class TestPostgresStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, postgres):
        self.server, self.schema = postgres, uuid.uuid4().hex

    def make_store(self):
        return PostgresStore(self.server.url, schema=self.schema)
