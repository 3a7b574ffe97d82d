"""RedisStore keeps what every store promises, and what a server adds: see tests/stores/servers.py."""

from __future__ import annotations

import uuid

import pytest

from awaitpy.stores import RedisStore
from awaitpy.testing import StoreSuite


class TestRedisStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, redis_server):
        self.server, self.prefix = redis_server, uuid.uuid4().hex

    def make_store(self):
        return RedisStore(self.server.url, prefix=self.prefix)
