"""The servers that the tests of stores share: one of each for the whole session."""

from __future__ import annotations

import os
import uuid

import pytest

from awaitpy.stores import PostgresStore, RedisStore
from tests.stores import servers


def running(kind):
    """Give a server, or skip the test and say how to get one; CI has to have it."""
    try:
        server = kind()
    except servers.Missing as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres():
    yield from running(servers.Postgres)


@pytest.fixture(scope="session")
def redis_server():
    yield from running(servers.Redis)


class Place:
    """An empty place on a server, and stores that keep their runs there."""

    def __init__(self, kind, server):
        self.kind, self.server, self.name = kind, server, uuid.uuid4().hex

    def store(self, **options):
        if self.kind == "postgres":
            return PostgresStore(self.server.url, schema=self.name, **options)
        return RedisStore(self.server.url, prefix=self.name, **options)

    @property
    def words(self):
        """What a child process makes the same store of."""
        return [self.kind, self.server.url, self.name]


@pytest.fixture
def in_postgres(postgres):
    return Place("postgres", postgres)


@pytest.fixture
def in_redis(redis_server):
    return Place("redis", redis_server)


@pytest.fixture(params=["in_postgres", "in_redis"])
def place(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
async def store(place):
    """An open store in that place."""
    store = place.store()
    await store.open()
    yield store
    await store.close()
