"""Processes that race, are killed, stopped and disturbed lose nothing; `nox -s soak` does it for longer."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from tests.stores import servers


def where(kind, folder, request):
    """The words for a store of this kind, and its server if it has one."""
    if kind == "memory":
        return [kind]
    if kind == "sqlite":
        return [kind, folder / "runs.db"]
    server = request.getfixturevalue("postgres" if kind == "postgres" else "redis_server")
    return [kind, server.url, uuid.uuid4().hex]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_of_all_who_come_to_a_hook_at_once_one_wins(kind, folder, request, program):
    assert int(program("racing", folder, "2x8,8x4,64x2", *where(kind, folder, request), seconds=100)) == 352


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_two_who_serve_share_the_work_and_one_finishes_it_alone(kind, how, folder, request, program):
    told = json.loads(program("sharing", folder, 200, how, *where(kind, folder, request), seconds=100))
    assert told["gone"] > 0
    assert told["other"] > 0


def test_a_short_soak_in_sqlite(folder, program):
    told = json.loads(program("soak", "--kills", 40, "--store", "sqlite", "--folder", folder, seconds=100))
    assert told["kills"] == 40
    assert told["runs"] > 40


def test_a_short_soak_in_postgres(folder, program):
    try:
        servers.find_postgres()
    except servers.Missing as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))
    told = json.loads(
        program("soak", "--kills", 10, "--store", "postgres", "--folder", folder, seconds=200)
    )
    assert (told["kills"], told["restarts"]) == (10, 1)
