"""The store in an SQLite file."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing

import pytest

from awaitpy import stores
from awaitpy.durable import Head, HookTaken, Lease, Line, Query, StoreError
from awaitpy.stores import MemoryStore, SQLiteStore
from awaitpy.stores._sqlite_schema import MIGRATIONS, configure
from awaitpy.stores._sqlite_thread import _Job
from awaitpy.testing import StoreSuite

HEAD = Head(workflow="order", version=1, status="queued", state=b"state")
LARGE = Head(workflow="order", version=1, status="queued", state=b"x" * 1_000_000)


class TestSQLiteStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def storage(self, tmp_path):
        self.path = tmp_path / "runs.db"

    def make_store(self):
        return SQLiteStore(self.path, poll=0.01)


class TestSQLiteStoreOnAConnection(StoreSuite):
    shared = False

    @pytest.fixture(autouse=True)
    def storage(self):
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as self.connection:
            yield

    def make_store(self):
        return SQLiteStore(connection=self.connection)

    # Only one store at a time can have a connection.
    test_many_may_open_at_once = None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@asynccontextmanager
async def opened(path, **options):
    store = SQLiteStore(path, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(path):
    async with opened(path, timeout=0.01) as store:
        yield store


@pytest.fixture
def mine(path):
    """A connection of the user's, with a table of the user's, and a store's tables in the same file."""
    asyncio.run(prepared(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT)")
        yield connection


async def prepared(path):
    async with opened(path):
        pass


async def new(store, run_id, head=HEAD):
    return await store.create(run_id, head, metadata={}, now=1.0)


@asynccontextmanager
async def held_back(store):
    """Lets what is asked meanwhile pile up, so that it is one batch."""
    gate = threading.Event()
    waiting = asyncio.ensure_future(store._writer.ask(lambda db: gate.wait(10), writes=True))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        gate.set()
        await waiting


async def batch(store, *calls):
    async with held_back(store):
        told = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    return await told


# Many at once


async def test_what_is_asked_at_the_same_time_is_one_transaction(store):
    said = []
    await store._writer.ask(lambda db: db.set_trace_callback(said.append), writes=False)
    told = await batch(store, *(new(store, f"run-{n}") for n in range(50)))
    assert told == [True] * 50
    assert said.count("COMMIT") <= 3, "who set the trace, who held back, and the fifty"
    assert len(await store.page(Query())) == 50


async def test_a_large_batch_does_not_keep_the_loop_to_itself(store):
    seen = []

    async def work(run_id):
        seen.append(await new(store, run_id))

    async def tick():
        while seen.count(True) < 50:
            seen.append("tick")
            await asyncio.sleep(0)

    async with held_back(store):
        tasks = [asyncio.ensure_future(work(f"run-{n}")) for n in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(tick(), *tasks)
    assert "tick" in seen[seen.index(True) :], "between the first and the last that is told"


async def test_a_read_does_not_wait_for_a_write(store):
    await new(store, "run")
    async with held_back(store):
        assert (await store.load("run")).head == HEAD


async def test_a_refusal_leaves_the_others_of_its_batch_alone(store):
    taken = Head(workflow="w", version=1, status="s", state=b"", hooks=("hook",))
    told = await batch(store, new(store, "a", taken), new(store, "b", taken), new(store, "c"))
    assert (told[0], type(told[1]), told[2]) == (True, HookTaken, True)


async def test_what_fails_in_the_middle_fails_alone_and_writes_nothing(store):
    lease = await store.create("run", HEAD, metadata={}, now=1.0, lease=("me", 9.0))
    half = [Line(b"a", "hook"), Line("no bytes at all \ud800")]
    told = await batch(store, new(store, "a"), store.append(lease, half), new(store, "b"))
    assert (told[0], type(told[1]), told[2]) == (True, UnicodeEncodeError, True)
    assert (await store.load("run")).lines == ()
    assert await store.find("hook") is None


async def test_who_is_cancelled_disturbs_nobody(store):
    async with held_back(store):
        calls = [asyncio.ensure_future(new(store, run_id)) for run_id in "abc"]
        await asyncio.sleep(0)
        calls[1].cancel()
        await asyncio.sleep(0)
    assert await asyncio.gather(calls[0], calls[2]) == [True, True]
    assert calls[1].cancelled()


async def test_a_poll_that_sees_no_change_goes_on_waiting(path, monkeypatch):
    async with opened(path, poll=0.001) as store:
        await store.changed(0)
        polls, look = [], store._read

        def counted(work):
            polls.append(work)
            return look(work)

        monkeypatch.setattr(store, "_read", counted)
        await store.changed(0.01)
    assert len(polls) >= 10


class Polls:
    """Lets a test say when which task looks into the file."""

    def __init__(self, store, monkeypatch):
        self.due = {}
        monkeypatch.setattr(store._bell, "rang", self.rang)

    async def rang(self, _, task):
        self.due[task] = asyncio.Event()
        await self.due[task].wait()
        return False

    async def let(self, task):
        """Let a task look that waits."""
        while task not in self.due:  # noqa: ASYNC110  it is about to
            await asyncio.sleep(0)
        self.due.pop(task).set()

    async def look(self, task):
        """Let a task look that waits, and return when it waits again or is done."""
        await self.let(task)
        async with asyncio.timeout(60):
            while not task.done() and task not in self.due:  # noqa: ASYNC110  there is no event
                await asyncio.sleep(0)


async def test_each_who_waits_sees_what_another_process_did_whoever_looks_first(store, path, monkeypatch):
    async def wait():
        await store.changed(60)

    await store.changed(0)
    polls = Polls(store, monkeypatch)
    waiting = [asyncio.create_task(wait()) for _ in range(2)]
    for task in waiting:
        await polls.look(task)
    assert not any(task.done() for task in waiting)
    async with opened(path) as other:
        await new(other, "run")
    for task in waiting:
        await polls.look(task)
        assert task.done()


async def test_what_another_saw_between_two_waits_is_not_missed(store, path, monkeypatch):
    away, back = asyncio.Event(), asyncio.Event()

    async def wait_twice():
        await store.changed(0)
        away.set()
        await back.wait()
        await store.changed(60)

    async def wait():
        await store.changed(60)

    polls = Polls(store, monkeypatch)
    task, other_task = asyncio.create_task(wait_twice()), asyncio.create_task(wait())
    await polls.let(task)
    await away.wait()
    async with opened(path) as other:
        await new(other, "run")
    await polls.look(other_task)
    back.set()
    await polls.look(task)
    assert task.done()
    await other_task


def test_a_wait_may_be_made_before_there_is_a_loop():
    asyncio.run(MemoryStore().changed(0))


async def test_changes_of_one_moment_ring_once(store):
    due = Head(workflow="order", version=1, status="queued", state=b"state", due=1.0)
    await store.changed(0)
    waiting = asyncio.ensure_future(store.changed(60))
    await asyncio.sleep(0)
    assert await batch(store, new(store, "a", due), new(store, "b", due)) == [True, True]
    await waiting


# Trouble


async def test_a_full_disk_is_an_error_that_says_so_and_others_go_on(path):
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        async with opened(None, connection=connection) as store:
            connection.execute("PRAGMA max_page_count = 40")
            told = await batch(store, new(store, "a"), new(store, "large", LARGE), new(store, "b"))
            assert (told[0], told[2]) == (True, True)
            assert isinstance(told[1], StoreError)
            assert "The disk is full: make room" in str(told[1])
            assert not told[1].transient
            assert await store.load("large") is None
            connection.execute("PRAGMA max_page_count = 4000")
            assert await new(store, "large", LARGE) is True


async def test_a_locked_file_is_an_error_that_may_pass(store, path):
    await new(store, "run")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        told = await asyncio.gather(*(new(store, run) for run in "abc"), return_exceptions=True)
        assert [each.transient for each in told] == [True] * 3
        assert (await store.load("run")).head == HEAD, "reading goes on"
        with pytest.raises(StoreError, match=r"database is locked.*timeout=30") as failed:
            await store.save("run", LARGE, revision=1, now=2.0)
    assert failed.value.transient
    assert await store.save("run", LARGE, revision=1, now=2.0) is True


async def test_a_file_that_is_locked_at_the_start_is_waited_for_and_then_told(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE mine (a)")
        other.execute("BEGIN EXCLUSIVE")
        store = SQLiteStore(path, timeout=0.05)
        with pytest.raises(StoreError, match="locked") as failed:
            await store.open()
        assert failed.value.transient
        other.execute("ROLLBACK")
    await store.open()
    assert await new(store, "run") is True
    await store.close()


async def test_who_else_turns_wal_on_at_this_moment_is_waited_for(path, monkeypatch):
    with closing(sqlite3.connect(path)) as other, closing(sqlite3.connect(path, timeout=0)) as db:
        other.execute("CREATE TABLE mine (a)")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("time.sleep", lambda seconds: other.rollback())
        configure(db, "FULL", 60)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_damaged_file_is_an_error(path):
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match=r"not a database.*backup") as failed:
        await SQLiteStore(path).open()
    assert not failed.value.transient


async def test_a_file_in_no_folder_is_an_error(path):
    with pytest.raises(StoreError, match="folder has to exist"):
        await SQLiteStore(path / "nowhere" / "runs.db").open()


async def test_a_reader_that_cannot_open_leaves_no_writer(path, monkeypatch):
    def fail(store):
        raise sqlite3.OperationalError("no more files")

    monkeypatch.setattr(SQLiteStore, "_connect_reader", fail)
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="no more files"):
        await store.open()
    assert store._writer is None


async def test_tables_that_are_gone_are_an_error(store, path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE awaitpy_hooks")
    with pytest.raises(StoreError, match=r"no such table: awaitpy_hooks.*those of awaitpy"):
        await store.find("hook")


async def test_a_store_that_is_not_open_says_so(path):
    store = SQLiteStore(path)
    for call in (store.load("run"), new(store, "run")):
        with pytest.raises(StoreError, match=r"not open.*await its open\(\)"):
            await call
    await store.close()
    await store.open()
    await store.open()
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.find("hook")


async def test_a_given_connection_stays_open(path):
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        async with opened(None, connection=connection) as store:
            await new(store, "run")
        assert connection.execute("SELECT run_id FROM awaitpy_runs").fetchall() == [("run",)]


async def test_a_given_connection_that_is_closed_is_an_error(path):
    connection = sqlite3.connect(path, check_same_thread=False)
    async with opened(None, connection=connection) as store:
        connection.close()
        with pytest.raises(StoreError, match="closed database"):
            await store.find("hook")


async def test_a_given_connection_of_one_thread_is_an_error(path):
    with closing(sqlite3.connect(path)) as connection:
        before = settings(connection)
        with pytest.raises(StoreError, match="same thread"):
            await SQLiteStore(connection=connection).open()
        assert settings(connection) == before


@pytest.fixture
def given(path):
    """A connection of the user's that a store may have, and a table with a row of the user's."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT)")
        yield connection


async def test_a_given_connection_in_a_transaction_is_refused_and_nothing_is_committed(given):
    given.execute("INSERT INTO orders VALUES ('order-1')")
    with pytest.raises(StoreError, match=r"in a transaction.*Commit it or roll it back") as refused:
        await SQLiteStore(connection=given).open()
    assert not refused.value.transient
    given.rollback()
    assert given.execute("SELECT * FROM orders").fetchall() == []


class AlwaysInATransaction(sqlite3.Connection):
    """As with `autocommit=False`, which Python 3.11 has not."""

    autocommit = False


async def test_a_given_connection_that_is_always_in_a_transaction_is_refused(path):
    opening = sqlite3.connect(path, check_same_thread=False, factory=AlwaysInATransaction)
    with closing(opening) as connection, pytest.raises(StoreError, match="without autocommit=False"):
        await SQLiteStore(connection=connection).open()


def as_dict(cursor, row):
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


PRAGMAS = ("busy_timeout", "synchronous", "cache_size")


def settings(connection):
    asked = {name: connection.execute(f"PRAGMA {name}").fetchone() for name in PRAGMAS}
    return asked, connection.isolation_level, connection.row_factory, connection.text_factory


@pytest.mark.parametrize("factories", [(None, str), (as_dict, str), (sqlite3.Row, bytes), (None, bytes)])
async def test_a_given_connection_is_used_whatever_its_factories_and_given_back_as_it_was(given, factories):
    given.row_factory, given.text_factory = factories
    given.execute("PRAGMA synchronous = OFF")
    before = settings(given)
    async with opened(None, connection=given, timeout=60) as store:
        await new(store, "run", Head(workflow="w", version=1, status="s", state=b"", hooks=("hook",)))
        assert await store.find("hook") == "run"
        assert [run.run_id for run in await store.page(Query())] == ["run"]
    assert settings(given) == before
    given.execute("INSERT INTO orders VALUES ('order-1')")
    given.rollback()
    assert list(given.execute("SELECT * FROM orders")) == []


async def test_a_given_connection_is_given_back_as_it_was_when_the_store_can_not_open(given, path):
    await prepared(path)
    with given:
        given.execute("UPDATE awaitpy_store SET version = 99")
    given.row_factory = sqlite3.Row
    before = settings(given)
    with pytest.raises(StoreError, match="version 99"):
        await SQLiteStore(connection=given).open()
    assert settings(given) == before


def test_what_is_no_connection_is_refused(path):
    with pytest.raises(
        TypeError, match=r"is an sqlite3.Connection, not a str. Open one by sqlite3.connect"
    ):
        SQLiteStore(connection="runs.db")
    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(TypeError, match=r"by name: SQLiteStore\(connection=...\)"),
    ):
        SQLiteStore(connection)


@pytest.mark.parametrize("wrong", [{}, {"path": "a", "connection": 1}, {"path": ":memory:"}])
def test_a_store_is_over_a_file_or_a_connection(wrong):
    with pytest.raises(ValueError, match="An SQLiteStore"):
        SQLiteStore(**wrong)


def test_a_commit_that_is_not_safe_at_all_is_not_offered():
    with pytest.raises(ValueError, match="synchronous='OFF' is not 'FULL'"):
        SQLiteStore("runs.db", synchronous="OFF")


async def test_a_commit_is_as_safe_as_asked(path):
    for synchronous, number in (("NORMAL", 1), ("FULL", 2), ("EXTRA", 3)):
        async with opened(path, synchronous=synchronous) as store:
            asked = store._writer.ask(lambda db: db.execute("PRAGMA synchronous").fetchone(), writes=False)
            assert await asked == (number,)


async def test_who_is_cancelled_while_it_opens_leaves_no_thread(path):
    before = threads()
    for where in (path, path / "nowhere" / "runs.db"):
        opening = asyncio.ensure_future(SQLiteStore(where).open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
    await asyncio.to_thread(end, threads() - before)


def test_a_loop_that_is_gone_ends_the_threads(path):
    before = threads()
    loop = asyncio.new_event_loop()
    store = SQLiteStore(path)
    loop.run_until_complete(store.open())
    started = threads() - before
    jobs = [_Job(lambda db: None, False, loop.create_future()) for _ in range(2)]
    loop.close()
    for thread, job in zip((store._writer, store._reader), jobs, strict=True):
        thread._jobs.put(job)
    end(started)


def threads():
    return {thread for thread in threading.enumerate() if thread.name == "awaitpy-sqlite"}


def end(started):
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


# Tables


async def test_the_file_may_be_the_users(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
        connection.execute("CREATE TABLE runs (id TEXT)")
        async with opened(path) as store:
            await new(store, "run")
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)
        names = {
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    assert {name for name in names if not name.startswith("awaitpy_")} == {"runs"}


async def test_tables_of_a_later_version_are_refused(path):
    await prepared(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE awaitpy_store SET version = 99")
    with pytest.raises(StoreError, match=r"version 99.*knows version 1.*pip install -U awaitpy") as failed:
        await SQLiteStore(path).open()
    assert not failed.value.transient


async def test_a_migration_that_fails_leaves_the_tables_as_they_were(path, monkeypatch):
    async with opened(path) as store:
        await new(store, "run")
    broken = (*MIGRATIONS, ("CREATE TABLE awaitpy_new (a)", "no SQL"))
    with monkeypatch.context() as patched:
        patched.setattr("awaitpy.stores._sqlite_schema.MIGRATIONS", broken)
        with pytest.raises(StoreError, match="syntax error"):
            await SQLiteStore(path).open()
    async with opened(path) as store:
        assert (await store.load("run")).head == HEAD


async def test_a_migration_goes_forward_from_where_the_tables_are(path, monkeypatch):
    async with opened(path) as store:
        await new(store, "run")
    more = (*MIGRATIONS, ("CREATE TABLE awaitpy_new (a)",))
    monkeypatch.setattr("awaitpy.stores._sqlite_schema.MIGRATIONS", more)
    for _ in range(2):
        async with opened(path) as store:
            assert (await store.load("run")).head == HEAD
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM awaitpy_store").fetchone() == (2,)
        assert connection.execute("SELECT * FROM awaitpy_new").fetchall() == []


# Within a transaction of the user's


async def test_a_run_and_a_row_of_the_user_commit_together(mine, store):
    with mine:
        mine.execute("INSERT INTO orders VALUES ('order-1')")
        assert await new(store.within(mine), "order-1") is True
        assert await store.load("order-1") is None, "nobody sees it before the commit"
    assert (await store.load("order-1")).head == HEAD


async def test_a_run_and_a_row_of_the_user_are_rolled_back_together(mine, store):
    joined = store.within(mine)
    assert await new(joined, "order-1") is True
    mine.execute("INSERT INTO orders VALUES ('order-1')")
    (lease,) = await joined.claim("me", now=1.0, until=9.0, run_id="order-1")
    await joined.append(lease, [Line(b"a", "hook")])
    assert await joined.save("order-1", HEAD, revision=1, now=2.0, lease=lease)
    assert (await joined.load("order-1")).lines == (b"a",)
    assert await joined.find("hook") == "order-1"
    mine.rollback()
    assert await joined.load("order-1") is await store.load("order-1") is None
    assert mine.execute("SELECT * FROM orders").fetchall() == []


async def test_a_verb_that_fails_leaves_the_transaction_of_the_user(mine, store):
    joined = store.within(mine)
    lease = await store.create("run", HEAD, metadata={}, now=1.0, lease=("me", 9.0))
    with mine:
        mine.execute("INSERT INTO orders VALUES ('order-1')")
        with pytest.raises(UnicodeEncodeError):
            await joined.append(lease, [Line(b"a", "hook"), Line("\ud800")])
    assert mine.execute("SELECT * FROM orders").fetchall() == [("order-1",)]
    assert (await store.load("run")).lines == ()
    assert await store.find("hook") is None


async def test_a_full_disk_in_a_transaction_of_the_user_is_an_error(mine, store):
    mine.execute("PRAGMA max_page_count = 40")
    mine.execute("INSERT INTO orders VALUES ('order-1')")
    with pytest.raises(StoreError, match="The disk is full"):
        await new(store.within(mine), "run", LARGE)
    mine.rollback()
    mine.execute("DROP TABLE awaitpy_hooks")
    with pytest.raises(StoreError, match="no such table"):
        await store.within(mine).find("hook")


async def test_a_verb_that_rolls_everything_back_tells_its_own_error(mine, store):
    """SQLite may end the whole transaction when the disk is full; here a trigger does."""
    mine.execute(
        "CREATE TRIGGER end BEFORE INSERT ON awaitpy_runs BEGIN SELECT raise(ROLLBACK, 'ended'); END"
    )
    with pytest.raises(StoreError, match="wrote nothing: ended"):
        await new(store.within(mine), "run")
    assert not mine.in_transaction


@pytest.mark.parametrize("factories", [(as_dict, str), (sqlite3.Row, bytes)])
async def test_the_factories_of_the_user_matter_to_the_user_alone(mine, store, factories):
    mine.row_factory, mine.text_factory = factories
    joined = store.within(mine)
    with mine:
        assert await new(joined, "order-1") is True
        (lease,) = await joined.claim("me", now=1.0, until=9.0, run_id="order-1")
        await joined.append(lease, [Line(b"a", "hook")])
        assert await joined.find("hook") == "order-1"
    assert (mine.row_factory, mine.text_factory) == factories
    assert (await store.load("order-1")).lines == (b"a",)


@pytest.mark.parametrize("wrong", ["runs.db", None])
async def test_what_is_no_connection_can_not_be_joined(store, wrong):
    with pytest.raises(
        TypeError, match=r"within\(\) is an sqlite3.Connection, not a .* your transaction is on"
    ):
        store.within(wrong)


async def test_there_has_to_be_a_transaction_to_join(mine, store):
    mine.isolation_level = None
    with pytest.raises(StoreError, match="execute BEGIN IMMEDIATE first"):
        await new(store.within(mine), "run")
    mine.execute("BEGIN IMMEDIATE")
    assert await new(store.within(mine), "run") is True
    mine.execute("COMMIT")
    assert (await store.load("run")).head == HEAD


# Several processes

WORK = """
import asyncio, json, sys
from awaitpy.durable import Head
from awaitpy.stores import SQLiteStore

HEAD = Head(workflow="order", version=1, status="queued", state=b"state", due=1.0)

async def work(path, me):
    store = SQLiteStore(path, timeout=60, synchronous="NORMAL")
    await store.open()
    print("open", flush=True)
    sys.stdin.readline()
    leases, saved = [], 0
    while got := await store.claim(me, now=2.0, until=1000.0, limit=3):
        leases += got
    while (run := await store.load("counter")).head.tries < 100:
        head = Head(workflow="count", version=1, status="s", state=b"", tries=run.head.tries + 1)
        saved += await store.save("counter", head, revision=run.revision, now=3.0)
    await store.close()
    print(json.dumps([[lease.run_id for lease in leases], [lease.token for lease in leases], saved]))

asyncio.run(work(*sys.argv[1:]))
"""


@pytest.fixture
def processes(path):
    """Four processes that open the store at the same time."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    yield started
    for process in started:
        process.kill()
        process.communicate()


async def test_processes_that_start_together_make_the_tables_once_and_share_the_work(path, processes):
    assert [process.stdout.readline() for process in processes] == ["open\n"] * 4
    async with opened(path, timeout=60) as store:
        due = Head(workflow="order", version=1, status="queued", state=b"state", due=1.0)
        await asyncio.gather(*(new(store, f"run-{n}", due) for n in range(100)))
        await new(store, "counter", Head(workflow="count", version=1, status="s", state=b""))
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
        counter = await store.load("counter")
    assert sorted(run for runs, _, _ in told for run in runs) == sorted(f"run-{n}" for n in range(100))
    assert len({token for _, tokens, _ in told for token in tokens}) == 100
    assert sum(saved for _, _, saved in told) == counter.head.tries >= 100
    assert counter.revision == counter.head.tries + 1


def test_the_module_without_the_extras_can_be_imported_with_a_star():
    program = (
        "import sys; sys.modules['psycopg'] = sys.modules['redis'] = None\n"
        "from awaitpy.stores import *\n"
        "MemoryStore, SQLiteStore\n"
        "import awaitpy.stores\n"
        "try: awaitpy.stores.PostgresStore\n"
        "except ImportError as error: assert 'awaitpy[postgres]' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_module_has_the_stores_and_no_more():
    assert {"MemoryStore", "SQLiteStore", "PostgresStore", "RedisStore"} <= set(dir(stores))
    assert isinstance(Lease("run", "me", 1, 2.0), Lease)
    with pytest.raises(AttributeError, match="'OracleStore'"):
        stores.OracleStore  # noqa: B018  asking is what is tested
