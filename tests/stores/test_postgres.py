"""PostgresStore keeps what every store promises, and what PostgreSQL adds: see tests/stores/servers.py."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import sys

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from awaitpy.durable import HookTaken, LeaseLost, Line, StoreError
from awaitpy.stores import PostgresStore
from awaitpy.stores._jobs import Append
from awaitpy.stores._postgres import _store, _tables
from awaitpy.stores._postgres._write import write_plain
from awaitpy.testing import StoreSuite
from awaitpy.testing._suite import NOW, add, born, claim, head, ids, lines, loaded, refused


class TestPostgresStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, in_postgres):
        self.place = in_postgres

    def make_store(self):
        return self.place.store()


@pytest.fixture
def place(in_postgres):
    return in_postgres


@pytest.fixture
async def connection(place):
    """A connection of the application, not in autocommit."""
    async with await psycopg.AsyncConnection.connect(place.server.url) as connection:
        yield connection
        await connection.rollback()


@pytest.fixture
async def watcher(place):
    """A connection that looks at what the others do."""
    async with await psycopg.AsyncConnection.connect(place.server.url, autocommit=True) as connection:
        yield connection


async def somebody_waits(watcher):
    """Return when a connection waits for a lock of another."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        while await (await watcher.execute(waiting)).fetchone() is None:  # noqa: ASYNC110  there is no event
            await asyncio.sleep(0)


async def test_what_is_written_within_a_transaction_counts_when_it_commits(store, connection):
    async with connection.transaction():
        await connection.execute("CREATE TEMP TABLE orders (id text)")
        lease = await store.within(connection).create(
            "a", head(hooks=("h",)), metadata={"order": 1}, now=NOW, lease=("me", NOW + 9)
        )
        await store.within(connection).append(lease, [Line(b"x", hook_id="i"), Line(b"y")])
        done = head(status="completed")
        assert await store.within(connection).save(
            "a", done, revision=1, now=NOW, lease=lease, release=True
        )
        assert await store.load("a") is None
    run = await loaded(store, "a")
    assert (run.lines, run.head.status, run.lease) == ((b"x", b"y"), "completed", None)
    assert [await store.find(hook) for hook in "hi"] == ["a", "a"]
    assert run.metadata == {"order": 1}


async def test_what_is_written_within_a_transaction_is_gone_when_it_rolls_back(store, connection):
    lease = await born(store, "b")
    within = store.within(connection)
    assert await within.create("a", head(), metadata={}, now=NOW) is True
    assert await within.create("a", head(), metadata={}, now=NOW) is False
    await within.append(lease, lines("x"))
    assert await within.save("b", head(state=b"new"), revision=1, now=NOW)
    assert not await within.save("b", head(state=b"new"), revision=1, now=NOW)
    await connection.rollback()
    assert await store.load("a") is None
    assert (await loaded(store, "b")).lines == ()
    await store.append(lease, lines("y"))
    assert (await loaded(store, "b")).lines == (b"y",)


async def test_what_is_refused_within_a_transaction_leaves_it_as_it_was(store, connection):
    await add(store, "a", hooks=("h",))
    lost = await born(store, "b", until=NOW)
    await claim(store, "b", now=NOW)
    async with connection.transaction():
        within = store.within(connection)
        assert await within.create("c", head(), metadata={}, now=NOW)
        await refused(HookTaken, within.create("d", head(hooks=("h",)), metadata={}, now=NOW))
        await refused(LeaseLost, within.append(lost, lines("x")))
        too_long = head(workflow="x" * 10, version=2**70)
        assert not (await refused(StoreError, within.create("e", too_long, metadata={}, now=NOW))).transient
    assert await ids(store) == ["c", "b", "a"]


@pytest.mark.parametrize("kind", [psycopg.Connection, str])
async def test_what_is_no_async_connection_can_not_be_joined(store, kind):
    wrong = kind.__new__(kind)
    with pytest.raises(TypeError, match=rf"AsyncConnection, not a {kind.__name__}\. Give the one"):
        store.within(wrong)


async def test_a_connection_without_a_transaction_is_refused(store, watcher):
    error = await refused(StoreError, store.within(watcher).create("a", head(), metadata={}, now=NOW))
    assert "async with connection.transaction()" in str(error)
    async with watcher.transaction():
        await store.within(watcher).create("a", head(), metadata={}, now=NOW)
    assert await ids(store) == ["a"]


async def test_a_run_in_the_hands_of_a_transaction_holds_up_no_other_run(store, connection, watcher):
    lease, other = await born(store, "a"), await born(store, "b")
    await store.within(connection).append(lease, lines("1"))
    first = asyncio.create_task(store.append(lease, lines("2")))
    await somebody_waits(watcher)
    second = asyncio.create_task(store.append(lease, lines("3")))
    await asyncio.gather(store.append(other, lines("x")), store.append(other, lines("y")))
    assert not first.done()
    await connection.commit()
    await asyncio.gather(first, second)
    assert (await loaded(store, "a")).lines == (b"1", b"2", b"3")
    assert (await loaded(store, "b")).lines == (b"x", b"y")


async def test_jobs_of_a_run_in_other_hands_that_came_together_keep_their_order(store, connection, watcher):
    lease, other = await born(store, "a"), await born(store, "b")
    await store.within(connection).append(lease, lines("1"))
    many = [asyncio.create_task(store.append(lease, lines(text))) for text in "2345"]
    await store.append(other, lines("x"))
    await somebody_waits(watcher)
    await connection.commit()
    await asyncio.gather(*many)
    assert (await loaded(store, "a")).lines == (b"1", b"2", b"3", b"4", b"5")


async def test_a_run_that_is_locked_for_long_is_an_error_that_may_pass(place, store, connection):
    lease = await born(store, "a")
    await store.within(connection).append(lease, lines("1"))
    hasty = place.store(patience=0.2)
    await hasty.open()
    for call in (hasty.append(lease, lines("2")), hasty.claim("me", now=NOW + 99, until=NOW, run_id="a")):
        error = await refused(StoreError, call)
        assert "LockNotAvailable" in str(error)
        assert error.transient
    await hasty.close()


async def test_a_process_that_is_stopped_in_a_transaction_holds_a_run_for_its_patience_only(place, store):
    lease = await born(store, "a")
    stopped = place.store(patience=0.2)
    await stopped.open()

    async def stop_half_way():
        async with stopped._link.writing() as cursor:
            await cursor.execute(stopped._statements["lock"], [["a"]])
            await store.append(lease, lines("x"))
            await cursor.execute("SELECT")

    await refused(psycopg.errors.IdleInTransactionSessionTimeout, stop_half_way())
    assert (await loaded(store, "a")).lines == (b"x",)
    await stopped.close()


async def test_an_append_that_a_pooler_hands_on_too_late_is_not_written_again(store):
    lease = await born(store, "a")
    job = Append(lease=lease, lines=tuple(lines("x", "y")))
    for is_first in (True, False):
        async with store._link.cursor() as cursor:
            assert await write_plain(cursor, store._statements, job) is is_first
    assert (await loaded(store, "a")).lines == (b"x", b"y")


@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_of_two_who_create_a_run_at_once_one_does(store, connection, watcher, ending):
    await store.within(connection).create("a", head(), metadata={}, now=NOW)
    creating = asyncio.create_task(store.create("a", head(), metadata={}, now=NOW))
    await somebody_waits(watcher)
    await getattr(connection, ending)()
    assert await creating is (ending == "rollback")


@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_of_two_who_make_a_hook_known_at_once_one_does(store, connection, watcher, ending):
    await store.within(connection).create("a", head(hooks=("h",)), metadata={}, now=NOW)
    creating = asyncio.create_task(store.create("b", head(hooks=("h",)), metadata={}, now=NOW))
    await somebody_waits(watcher)
    await getattr(connection, ending)()
    if ending == "commit":
        await refused(HookTaken, creating)
    else:
        assert await creating


async def test_a_run_that_is_created_while_its_row_is_locked_is_taken(store, connection):
    lease = await born(store, "a")
    await store.within(connection).append(lease, lines("1"))
    creating = asyncio.gather(
        store.create("a", head(), metadata={}, now=NOW), store.create("b", head(), metadata={}, now=NOW)
    )
    await connection.commit()
    assert await creating == [False, True]


async def test_a_write_that_can_not_be_kept_takes_no_other_with_it(store):
    good, bad = await born(store, "good"), await born(store, "bad")
    too_large = head(version=2**70)
    answers = await asyncio.gather(
        store.append(good, lines("x")),
        store.save("bad", too_large, revision=1, now=NOW, lease=bad),
        store.append(good, lines("y")),
        return_exceptions=True,
    )
    assert isinstance(answers[1], StoreError)
    assert not answers[1].transient
    assert (await loaded(store, "good")).lines == (b"x", b"y")


async def test_an_id_that_is_too_long_takes_no_other_with_it(store):
    """It may be that of somebody who calls, as the ids of orders are."""
    long = secrets.token_hex(4000)
    good = await born(store, "good")
    answers = await asyncio.gather(
        store.append(good, lines("x")),
        store.create(long, head(), metadata={}, now=NOW),
        store.create("other", head(), metadata={}, now=NOW),
        store.append(good, [Line(b"y", long)]),
        return_exceptions=True,
    )
    assert (answers[0], answers[2]) == (None, True)
    for error in (answers[1], answers[3]):
        assert isinstance(error, StoreError)
        assert "some hundred characters" in str(error)
        assert not error.transient
    assert (await loaded(store, "good")).lines == (b"x",)


async def test_a_claim_whose_answer_was_lost_gives_the_same_runs(store, monkeypatch):
    for run_id in "abc":
        await add(store, run_id, due=1.0)
    execute, left = _store.PostgresStore._claimed, [1]

    async def lossy(self, *args):
        rows = await execute(self, *args)
        if left:
            left.pop()
            raise psycopg.OperationalError("lost")
        return rows

    monkeypatch.setattr(PostgresStore, "_claimed", lossy)
    first = await store.claim("me", now=1.0, until=2.0, limit=2)
    assert len(first) == 2
    assert len(await store.claim("me", now=1.0, until=2.0, limit=2)) == 1
    left.append(1)
    assert await store.claim("me", now=1.0, until=2.0, limit=2) == []


@pytest.mark.parametrize("autocommit", [False, True])
async def test_the_pool_of_the_application_is_used_and_stays_open(place, autocommit):
    settings = {"autocommit": autocommit, "row_factory": dict_row}
    async with AsyncConnectionPool(place.server.url, kwargs=settings, max_size=4, open=False) as pool:
        store = PostgresStore(pool=pool, schema=place.name)
        await store.open()
        lease = await born(store, "a")
        await store.append(lease, lines("x"))
        await store.changed(60)
        await store.close()
        await store.close()
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT 1 AS one")).fetchone() == {"one": 1}
        again = PostgresStore(pool=pool, schema=place.name)
        await again.open()
        assert (await loaded(again, "a")).lines == (b"x",)
    error = await refused(StoreError, again.load("a"))
    assert "closed" in str(error)


async def test_tables_of_a_newer_version_are_left_alone(place, store, watcher):
    newer = len(_tables.MIGRATIONS) + 1
    await watcher.execute(_tables.NEXT_VERSION.format(
        s=psycopg.sql.Identifier(place.name), version=psycopg.sql.Literal(newer)
    ))  # fmt: skip
    late = place.store()
    with pytest.raises(StoreError, match=f"have version {newer}, and this awaitpy knows"):
        await late.open()
    await late.close()


async def test_tables_are_brought_on_from_the_version_that_they_have(place, store, watcher, monkeypatch):
    await add(store, "a")
    step = psycopg.sql.SQL("CREATE TABLE {s}.more (id text)")
    monkeypatch.setattr(_tables, "MIGRATIONS", (*_tables.MIGRATIONS, step))
    stores = [place.store() for _ in range(4)]
    await asyncio.gather(*[each.open() for each in stores])
    await watcher.execute(
        psycopg.sql.SQL("SELECT id FROM {}.more").format(psycopg.sql.Identifier(place.name))
    )
    assert await ids(stores[0]) == ["a"]
    for each in stores:
        await each.close()


async def test_a_schema_that_is_there_is_used(place, watcher):
    await watcher.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier(place.name)))
    store = place.store()
    await store.open()
    await add(store, "a")
    found = await watcher.execute(
        psycopg.sql.SQL("SELECT run_id FROM {}.runs").format(psycopg.sql.Identifier(place.name))
    )
    assert await found.fetchall() == [("a",)]
    await store.close()


async def test_a_store_without_tables_says_what_makes_them(place, connection):
    store = place.store()
    async with connection.transaction():
        error = await refused(
            StoreError, store.within(connection).create("a", head(), metadata={}, now=NOW)
        )
    assert "store.open()" in str(error)
    assert not error.transient


async def test_metadata_may_be_longer_than_an_index_admits(store):
    long = {"text": "".join(map(chr, range(256, 20_000)))}
    await store.create("a", head(), metadata=long, now=NOW)
    await store.create("b", head(), metadata={"text": "short"}, now=NOW)
    assert await ids(store, metadata=long) == ["a"]


async def test_a_listener_that_is_not_let_in_tries_again(place, store, monkeypatch):
    hear, left = store._listener._hear, [1, 1]

    async def refused_at_first():
        if left:
            left.pop()
            raise psycopg.OperationalError("no")
        await hear()

    monkeypatch.setattr(store._listener, "_hear", refused_at_first)
    store._listener.pause = 0
    async with asyncio.timeout(60):
        await store.changed(60)
    assert left == []


async def test_who_is_cancelled_while_it_opens_leaves_no_tasks(place, monkeypatch):
    before, opening = asyncio.all_tasks(), asyncio.Event()
    open_pool = AsyncConnectionPool.open

    async def slow(pool):
        await open_pool(pool)
        opening.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AsyncConnectionPool, "open", slow)
    task = asyncio.create_task(place.store().open())
    await opening.wait()
    assert len(asyncio.all_tasks() - before) > 1
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == before


async def test_a_connection_that_is_lost_while_the_tables_are_made_is_made_again(place, monkeypatch):
    migrate, left = _store.migrate, [1]

    async def lossy(connection, schema):
        if left:
            left.pop()
            raise psycopg.OperationalError("lost")
        await migrate(connection, schema)

    monkeypatch.setattr(_store, "migrate", lossy)
    store = place.store()
    await store.open()
    await add(store, "a")
    assert await ids(store) == ["a"]
    await store.close()


async def test_tables_that_can_not_be_made_leave_no_tasks(place, monkeypatch):
    before = asyncio.all_tasks()
    monkeypatch.setattr(_tables, "MIGRATIONS", (psycopg.sql.SQL("no SQL"),))
    assert "SyntaxError" in str(await refused(StoreError, place.store().open()))
    assert asyncio.all_tasks() == before


async def test_that_all_connections_are_in_use_is_told_with_the_mend(place):
    store = place.store(connections=1, patience=0.1)
    await store.open()
    async with store._link.cursor():
        error = await refused(StoreError, store.load("a"))
    assert "for 0.1 seconds the store had no connection free" in str(error)
    assert "connections=20" in str(error)
    assert (error.transient, error.waited) == (True, True)
    await store.close()


async def test_the_only_connection_is_not_taken_to_listen(place):
    """Nobody could work, and nothing would be told but that all connections are in use."""
    store = place.store(connections=1, patience=0.1)
    await store.open()
    with pytest.raises(StoreError, match="connections=2"):
        store.changed(60)
    assert await store.load("a") is None
    await store.close()


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_store_that_listened_gives_its_connection_back_without_a_warning(place, caplog, is_own):
    async with AsyncConnectionPool(place.server.url, min_size=2, open=False) as pool:
        store = place.store() if is_own else PostgresStore(pool=pool, schema=place.name)
        await store.open()
        await store.changed(60)
        await store.close()
        async with pool.connection() as one, pool.connection() as other:
            for connection in (one, other):
                heard = await connection.execute("SELECT pg_listening_channels()")
                assert await heard.fetchall() == []
                assert not connection.autocommit
    assert caplog.messages == []


def test_without_psycopg_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    monkeypatch.delitem(sys.modules, "awaitpy.stores._postgres._store")
    with pytest.raises(ImportError) as caught:
        importlib.import_module("awaitpy.stores._postgres._store")
    assert str(caught.value) == (
        "PostgresStore needs psycopg 3 with its pool, which is not installed: "
        "pip install 'awaitpy[postgres]'."
    )
