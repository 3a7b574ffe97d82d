"""RedisStore keeps what every store promises, and what Redis adds: see tests/stores/servers.py."""

from __future__ import annotations

import asyncio
import importlib
import sys

import pytest
import redis.exceptions
from redis.asyncio import Redis

from awaitpy.durable import Query, StoreError
from awaitpy.stores import RedisStore
from awaitpy.stores._redis._cancelling import heard
from awaitpy.testing import StoreSuite
from awaitpy.testing._suite import NOW, add, born, claim, head, ids, lines, loaded, refused


class TestRedisStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, in_redis):
        self.place = in_redis

    def make_store(self):
        return self.place.store()


@pytest.fixture
def place(in_redis):
    return in_redis


@pytest.fixture
async def client(place):
    client = Redis.from_url(place.server.url)
    yield client
    await client.aclose()


@pytest.mark.parametrize("decodes", [False, True])
async def test_the_client_of_the_application_is_used_and_stays_open(place, decodes):
    client = Redis.from_url(place.server.url, decode_responses=decodes)
    store = RedisStore(client=client, prefix=place.name)
    await store.open()
    lease = await born(store, "a", state=b"\xff\x00")
    await store.append(lease, lines("x"))
    await store.close()
    await store.close()
    assert await client.ping()
    again = RedisStore(client=client, prefix=place.name)
    await again.open()
    assert (await loaded(again, "a")).lines == (b"x",)
    assert (await loaded(again, "a")).head.state == b"\xff\x00"
    await client.aclose()


async def test_a_cancellation_is_heard_at_whatever_moment_it_comes(place):
    """Before Python 3.12 the driver swallows one that comes as it has sent something."""

    async def ask():
        await store.find("hook")
        assert asyncio.current_task().cancelling() == 0, "it was swallowed"

    for turns in range(40):
        store = place.store()
        await store.open()
        asking = asyncio.ensure_future(ask())
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        (told,) = await asyncio.gather(asking, return_exceptions=True)
        assert told is None or isinstance(told, asyncio.CancelledError)
        await store.close()


@pytest.mark.parametrize("deaf", [0, 1, 2])
async def test_a_call_is_cancelled_as_often_as_it_needs(deaf):
    begun, struck = asyncio.Event(), []

    async def call():
        begun.set()
        while len(struck) < deaf:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                struck.append(error)
        if not deaf:
            await asyncio.Event().wait()

    calling = asyncio.ensure_future(heard(call()))
    await begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert len(struck) == deaf


async def test_a_client_that_tries_again_by_itself_writes_once(place, monkeypatch):
    """Redis has done it, and the connection is lost before it says so."""
    client = Redis.from_url(place.server.url)
    store = RedisStore(client=client, prefix=place.name)
    await store.open()
    lease = await born(store, "a")
    from redis.asyncio.client import Pipeline

    execute, left = Pipeline._execute_pipeline, [1]

    async def lossy(self, *args):
        replies = await execute(self, *args)
        if left:
            left.pop()
            raise redis.exceptions.ConnectionError("lost")
        return replies

    monkeypatch.setattr(Pipeline, "_execute_pipeline", lossy)
    await asyncio.gather(*[store.append(lease, lines(text)) for text in "xyx"])
    assert (await loaded(store, "a")).lines == (b"x", b"y", b"x")
    assert left == []
    await store.close()
    await client.aclose()


async def test_a_wrong_password_is_an_error_that_stays(place):
    store = RedisStore(place.server.url.replace("://", "://me:wrong@"))
    error = await refused(StoreError, store.open())
    assert "Authentication" in str(error)
    assert not error.transient


async def test_a_server_that_is_loading_its_data_is_waited_for(place, monkeypatch):
    store = place.store()
    load, left = store._link._load_scripts, [1, 1]

    async def loading():
        if left:
            left.pop()
            raise redis.exceptions.BusyLoadingError("loading")
        await load()

    monkeypatch.setattr(store._link, "_load_scripts", loading)
    await store.open()
    await add(store, "a")
    await store.close()


async def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(store, client):
    await client.script_flush()
    await add(store, "a")
    assert await ids(store) == ["a"]


async def test_an_error_of_the_server_that_stays_is_no_error_that_may_pass(place, store, client):
    good, bad = await born(store, "good"), await born(store, "bad")
    await client.set(f"{place.name}:lines:bad", "no list")
    answers = await asyncio.gather(
        store.append(good, lines("x")),
        store.append(bad, lines("x")),
        store.append(good, lines("y")),
        return_exceptions=True,
    )
    assert isinstance(answers[1], StoreError)
    assert not answers[1].transient
    assert (await loaded(store, "good")).lines == (b"x", b"y")
    assert not (await refused(StoreError, store.load("bad"))).transient


async def test_a_claim_whose_answer_was_lost_gives_the_same_runs(store, monkeypatch):
    for run_id in "abc":
        await add(store, run_id, due=1.0)
    send, left = store._link._send, [1]

    async def lossy(calls):
        replies = await send(calls)
        if left:
            left.pop()
            raise redis.exceptions.TimeoutError("lost")
        return replies

    monkeypatch.setattr(store._link, "_send", lossy)
    assert len(await store.claim("me", now=1.0, until=2.0, limit=2)) == 2
    assert len(await store.claim("me", now=1.0, until=2.0, limit=2)) == 1


async def test_a_write_to_a_replica_is_tried_again_until_it_is_the_primary(store, client, monkeypatch):
    lease = await born(store, "a")
    send, seen = store._link._send, []

    async def promoted_after_the_first_try(calls):
        replies = await send(calls)
        if not seen:
            seen.append(replies)
            await client.execute_command("REPLICAOF", "NO", "ONE")
        return replies

    monkeypatch.setattr(store._link, "_send", promoted_after_the_first_try)
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    await store.append(lease, lines("x"))
    assert isinstance(seen[0][0], redis.exceptions.ReadOnlyError)
    assert (await loaded(store, "a")).lines == (b"x",)


async def test_tokens_grow_also_when_the_server_has_lost_the_last(place, store, client):
    old = await born(store, "a", until=NOW)
    await client.delete(f"{place.name}:token")
    new = await claim(store, "a", now=NOW)
    assert new.token > old.token
    await client.set(f"{place.name}:token", "9000000000000000")
    assert (await born(store, "b")).token == 9_000_000_000_000_001


async def test_a_process_whose_clock_is_behind_gets_no_run_that_is_leased(store):
    await born(store, "a", due=1.0, until=50.0)
    assert await store.claim("ahead", now=60.0, until=70.0, workflows=["none"]) == []
    assert await store.claim("ahead", now=60.0, until=70.0, limit=0) == []
    assert await store.claim("behind", now=40.0, until=50.0) == []
    assert await store.next_due(now=40.0) == 50.0
    assert [lease.run_id for lease in await store.claim("ahead", now=60.0, until=70.0)] == ["a"]


async def test_a_page_goes_on_behind_a_run_that_is_gone(store):
    for run_id in "abcd":
        await add(store, run_id)
    (_, last) = await store.page(Query(limit=2))
    await store.delete(last.run_id)
    assert await ids(store, after=last) == ["b", "a"]
    assert await store.delete(last.run_id) is False


async def test_a_page_finds_what_is_rare_among_many(store):
    head_ = head()
    await store.create("rare", head_, metadata={"is": "rare"}, now=NOW - 1)
    many = [store.create(f"{number:03}", head_, metadata={}, now=NOW) for number in range(450)]
    await asyncio.gather(*many)
    assert await ids(store, metadata={"is": "rare"}) == ["rare"]
    assert await ids(store, metadata={"is": "rare"}, workflow="order", limit=1) == ["rare"]
    assert await ids(store, metadata={"is": "rare"}, workflow="other") == []
    assert len(await ids(store, limit=200)) == 200
    assert await store.purge(before=NOW, statuses=["queued"]) == 1
    assert await store.purge(before=NOW + 1, statuses=["queued", "none"]) == 450


async def test_nothing_is_left_of_runs_that_are_deleted(place, store, client):
    lease = await born(store, "a", due=1.0, hooks=("h",))
    await store.append(lease, lines("x"))
    assert await store.delete("a")
    left = {key async for key in client.scan_iter(f"{place.name}:*")}
    assert left == {f"{place.name}:{name}".encode() for name in ("token", "workflows")}


async def test_a_listener_that_is_not_let_in_tries_again(store, monkeypatch):
    hear, left = store._listener._hear, [1, 1]

    async def refused_at_first():
        if left:
            left.pop()
            raise redis.exceptions.ConnectionError("no")
        await hear()

    monkeypatch.setattr(store._listener, "_hear", refused_at_first)
    store._listener.pause = 0
    async with asyncio.timeout(60):
        await store.changed(60)
    assert left == []


async def test_a_long_silence_is_no_change(place, store, monkeypatch):
    from redis.asyncio.client import PubSub

    get_message, left = PubSub.get_message, [1, 1]

    async def silent_at_first(self, **options):
        if left:
            left.pop()
            return None
        return await get_message(self, **options)

    monkeypatch.setattr(PubSub, "get_message", silent_at_first)
    async with asyncio.timeout(60):
        await store.changed(60)
    assert left == []


def test_without_redis_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "awaitpy.stores._redis._store")
    with pytest.raises(ImportError) as caught:
        importlib.import_module("awaitpy.stores._redis._store")
    assert str(caught.value) == (
        "RedisStore needs redis-py, which is not installed: pip install 'awaitpy[redis]'."
    )
