"""What the stores on servers promise beside the suite: several processes, restarts, lost connections."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import awaitpy
from awaitpy.durable import Durable, Lease, LeaseLost, Line, StoreError
from awaitpy.stores import PostgresStore, RedisStore
from awaitpy.stores._jobs import DOUBTS, Doubts
from awaitpy.testing._suite import NOW, add, born, claim, head, ids, lines, loaded, refused
from tests.stores import servers
from tests.stores.conftest import running

ANOTHER = Path(__file__).with_name("another.py")
SOON = 60.0
"""Seconds that only a failure takes."""


async def another(place, *words):
    """Start another process that uses the same place."""
    command = [sys.executable, ANOTHER, *place.words, *words]
    env = {**os.environ, "PYTHONPATH": str(Path(awaitpy.__file__).parents[1])}
    return await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)


async def told(process):
    """Give the words that a process printed, once it has ended well."""
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().split()


def broken_after(work, error, times=1):
    """Do the same, but lose what it gives, the first times."""
    left = [error] * times

    async def lossy(*args, **kwargs):
        given = await work(*args, **kwargs)
        if left:
            raise left.pop()
        return given

    return lossy


def missing():
    raise servers.Missing("needs a server: install one")


def test_without_a_server_a_test_is_skipped_and_says_how_to_get_one(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install one"):
        next(running(missing))


def test_without_a_server_a_test_fails_where_ci_is_set(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(servers.Missing, match="install one"):
        next(running(missing))


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_where_no_server_is_found_it_is_told_how_to_get_one(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(servers, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(servers.Missing, match=r"apt-get install .*, or pip install"):
        getattr(servers, f"find_{kind}")()


async def test_two_processes_share_what_is_due_and_neither_gets_what_the_other_has(place, store):
    runs = [f"run-{number}" for number in range(100)]
    await asyncio.gather(*[add(store, run_id, due=1.0) for run_id in runs])
    one, other = await asyncio.gather(another(place, "claim", "one"), another(place, "claim", "other"))
    claimed = [*await told(one), *await told(other)]
    assert sorted(claimed) == sorted(runs)


async def test_a_change_by_another_process_wakes_who_waits(place, store):
    await store.changed(SOON)  # it listens now
    waiting = asyncio.create_task(store.changed(SOON))
    assert await told(await another(place, "create", "new")) == ["True"]
    async with asyncio.timeout(SOON / 2):
        await waiting
    assert await ids(store) == ["new"]


async def test_nothing_is_lost_or_doubled_when_the_server_is_restarted_under_way(place):
    store = place.store(patience=SOON)  # a busy disk takes its time over a restart
    await store.open()
    leases = [await born(store, f"run-{number}") for number in range(10)]
    begun = asyncio.Semaphore(0)

    async def work(lease):
        for number in range(40):
            await store.append(lease, lines(str(number)))
            begun.release()

    tasks = [asyncio.create_task(work(lease)) for lease in leases]
    for kill in (False, True):
        for _ in range(20):
            await begun.acquire()
        await asyncio.to_thread(place.server.restart, kill=kill)
    await asyncio.gather(*tasks)
    for lease in leases:
        run = await loaded(store, lease.run_id)
        assert run.lines == tuple(str(number).encode() for number in range(40))
        assert run.lease == lease
    await store.close()


async def test_who_waits_hears_of_changes_after_a_restart_too(place, store):
    await store.changed(SOON)
    await asyncio.to_thread(place.server.restart)
    async with asyncio.timeout(SOON / 2):
        await store.changed(SOON)  # it listens again
        waiting = asyncio.create_task(store.changed(SOON))
        await told(await another(place, "create", "new"))
        await waiting


async def test_many_processes_can_open_a_store_at_once(place):
    stores = [place.store() for _ in range(8)]
    await asyncio.gather(*[store.open() for store in stores])
    await add(stores[0], "a")
    assert await ids(stores[7]) == ["a"]
    for store in stores:
        await store.close()


async def test_a_server_that_is_gone_is_an_error_that_may_pass(place):
    store = place.store(patience=0.5)
    await store.open()
    lease = await born(store, "a")
    place.server.stop()
    try:
        for call in (store.load("a"), store.append(lease, lines("x")), store.claim("me", now=1, until=2)):
            error = await refused(StoreError, call)
            assert (error.transient, error.waited) == (True, True)
            assert "onnect" in str(error), "and not only that it was waited for"
    finally:
        place.server.start()
    with suppress(StoreError):  # it takes longer to connect again than this store's patience
        await store.append(lease, lines("x"))
    await store.close()


def elsewhere(kind, port, **options):
    """A store on a server that is at this port, or that is not there."""
    if kind == "postgres":
        return PostgresStore(f"postgresql://x@127.0.0.1:{port}/x", **options)
    return RedisStore(f"redis://127.0.0.1:{port}/0", **options)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


KINDS = pytest.mark.parametrize("kind", ["postgres", "redis"])


@KINDS
async def test_a_server_that_refuses_is_told_at_once_with_the_cause_and_leaves_nothing(kind):
    before = asyncio.all_tasks()
    store = elsewhere(kind, free_port())
    async with asyncio.timeout(SOON / 10):
        error = await refused(StoreError, store.open())
    assert re.search("refused|Connect call failed", str(error))
    assert (error.transient, error.waited) == (True, False)
    assert asyncio.all_tasks() == before
    await refused(StoreError, store.load("a"))


@KINDS
async def test_a_server_that_does_not_answer_is_told_after_the_patience_and_not_asked_again(
    kind, monkeypatch
):
    monkeypatch.setattr("awaitpy.stores._postgres._link.LEAST", 0.01)
    monkeypatch.setattr("awaitpy.stores._redis._link.LEAST", 0.01)
    asked, done = [], asyncio.Event()

    async def silent(reader, writer):
        asked.append(1)
        await done.wait()
        writer.close()

    before = asyncio.all_tasks()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        store = elsewhere(kind, server.sockets[0].getsockname()[1], patience=0.01)
        with pytest.raises(StoreError, match=r"did not answer within 0\.01 seconds") as error:
            async with Durable(store, workflows=[]):
                pass
        done.set()
    assert (error.value.transient, error.value.waited) == (True, True)
    assert len(asked) <= 1
    while asyncio.all_tasks() != before:  # noqa: ASYNC110  the server's own tasks end
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("store", "text"),
    [
        (PostgresStore("not a url"), "ProgrammingError"),
        (RedisStore("not a url"), "can't read its url"),
    ],
)
async def test_an_address_that_is_none_is_an_error_that_stays(store, text):
    error = await refused(StoreError, store.open())
    assert text in str(error)
    assert not error.transient


async def test_a_store_that_is_opened_again_stays_open_if_that_fails(place):
    store = place.store(patience=0.5)
    await store.open()
    await store.open()
    await add(store, "a")
    await asyncio.to_thread(place.server.stop)
    try:
        assert (await refused(StoreError, store.open())).transient
    finally:
        await asyncio.to_thread(place.server.start)
    async with asyncio.timeout(SOON):
        while True:
            with suppress(StoreError):
                assert await ids(store) == ["a"]
                break
    await store.close()


async def test_a_store_that_is_not_open_says_so(place):
    store = place.store()
    with pytest.raises(StoreError, match=r"not open: await `store.open\(\)`"):
        await store.load("a")
    await store.close()


def lossy(place, store, monkeypatch, times=1):
    """Let the connection be lost just after a write."""
    if place.kind == "redis":
        from redis.exceptions import ConnectionError as Lost

        monkeypatch.setattr(store._link, "_send", broken_after(store._link._send, Lost("lost"), times))
    else:
        from psycopg import OperationalError

        work = broken_after(store._write_once, OperationalError("lost"), times)
        monkeypatch.setattr(store, "_write_once", work)


async def test_an_append_whose_answer_was_lost_is_not_written_twice(place, store, monkeypatch):
    lease = await born(store, "a")
    await store.append(lease, lines("x"))
    lossy(place, store, monkeypatch)
    await store.append(lease, [Line(b"x", hook_id="h")])
    await store.append(lease, lines("x", "x"))
    assert (await loaded(store, "a")).lines == (b"x",) * 4


async def test_a_group_whose_answers_were_lost_is_written_once_and_in_order(place, store, monkeypatch):
    leases = [await born(store, f"run-{number}") for number in range(3)]
    lossy(place, store, monkeypatch)
    await asyncio.gather(*[store.append(lease, lines(text)) for text in "abcab" for lease in leases])
    for lease in leases:
        assert (await loaded(store, lease.run_id)).lines == (b"a", b"b", b"c", b"a", b"b")


async def test_a_save_whose_answer_was_lost_is_told_as_done(place, store, monkeypatch):
    lease = await born(store, "a", due=1.0)
    lossy(place, store, monkeypatch)
    done = head(status="completed")
    assert await store.save("a", done, revision=1, now=NOW, lease=lease, release=True)
    assert not await store.save("a", done, revision=1, now=NOW)
    assert (await loaded(store, "a")).revision == 2
    lossy(place, store, monkeypatch)
    assert await store.rewrite("a", head(status="queued"), lines("x"), revision=2, now=NOW)
    assert (await loaded(store, "a")).lines == (b"x",)
    assert (await loaded(store, "a")).revision == 3


async def test_a_run_whose_creation_was_not_answered_is_created_once_and_leased(place, store, monkeypatch):
    lossy(place, store, monkeypatch)
    lease = await born(store, "a")
    assert (await loaded(store, "a")).lease == lease
    lossy(place, store, monkeypatch)
    await add(store, "b")
    assert await store.create("b", head(), metadata={}, now=NOW) is False


async def test_a_failed_append_can_be_asked_for_again(place, monkeypatch):
    store = place.store(patience=0.0) if place.kind == "redis" else place.store()
    await store.open()
    lease = await born(store, "a")
    lossy(place, store, monkeypatch, times=5)
    error = await refused(StoreError, store.append(lease, lines("x")))
    assert error.transient
    monkeypatch.undo()
    await store.append(lease, lines("x"))
    await store.append(lease, lines("x"))
    assert (await loaded(store, "a")).lines == (b"x", b"x")
    await store.close()


def test_the_oldest_of_many_failed_appends_is_forgotten():
    doubts, lease = Doubts(), Lease("a", "me", 1, 2.0)
    jobs = [doubts.append(lease, (Line(str(number).encode()),)) for number in range(DOUBTS + 1)]
    for job in jobs:
        doubts.keep(job)
    assert not doubts.append(lease, jobs[0].lines).again
    assert doubts.append(lease, jobs[1].lines).mark == jobs[1].mark


async def test_a_renewal_is_for_leases_that_are_not_lost(place, store):
    old = await born(store, "a", until=NOW)
    kept = await born(store, "b")
    new = await claim(store, "a", now=NOW + 1)
    assert await store.renew([old, kept, new], until=NOW + 99) == ["a"]
    await refused(LeaseLost, store.append(old, lines("x")))


async def test_closing_waits_for_what_was_asked_for(place, store):
    lease = await born(store, "a")
    leaving = place.store()
    await leaving.open()
    writing = asyncio.create_task(leaving.append(lease, lines("x")))
    await asyncio.sleep(0)
    await leaving.close()
    await writing
    assert (await loaded(store, "a")).lines == (b"x",)


async def test_what_was_asked_for_is_written_also_if_who_asked_is_cancelled(place, store):
    lease = await born(store, "a")
    writing = asyncio.create_task(store.append(lease, lines("x")))
    await asyncio.sleep(0)
    writing.cancel()
    await store.append(lease, lines("y"))
    assert writing.cancelled()
    assert (await loaded(store, "a")).lines == (b"x", b"y")
