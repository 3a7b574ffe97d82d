"""The servers that the tests of stores share: one of each for the whole session."""

from __future__ import annotations

import os

import pytest

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
