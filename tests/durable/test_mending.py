"""Looking at runs, and what a person can do about them."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from awaitpy import Cancelled, Err, HookAlreadyResolved, Ok, UnknownStep, create_hook, pending_hook
from awaitpy.durable import RunExists, StoreError, UnknownRun, UnknownWorkflow
from awaitpy.stores import MemoryStore

from .conftest import turns, until


async def test_a_record_shows_a_run(world):
    async with world.durable() as durable:
        await durable.start(world.timed, run_id="r", metadata={"customer": "c7"})
        record = await durable.get("r")
        now = datetime.fromtimestamp(world.clock.now, UTC)
        assert (record.run_id, record.workflow, record.version) == ("r", "World.timed", 1)
        assert (record.status, record.metadata) == ("suspended", {"customer": "c7"})
        assert (record.created, record.updated) == (now, now)
        assert record.due == now + timedelta(seconds=100)
        assert (record.tries, record.trouble, record.leased_by, record.parked) == (0, None, None, False)
        assert [hook.step_key for hook in record.pending] == ["wait"]
        task = asyncio.ensure_future(durable.start(world.slow, run_id="busy"))
        await until(lambda: world.ran["b begins"])
        owner, lease_ends = (await durable.get("busy")).leased_by
        assert owner.startswith("awaitpy-")
        assert lease_ends == now + timedelta(seconds=60)
        world.gates["b"].set()
        await task


async def test_runs_are_listed_newest_first_and_in_pages(world):
    async with world.durable() as durable:
        for n in range(5):
            await durable.start(world.plain, n, run_id=f"r{n}", metadata={"odd": bool(n % 2)})
            world.clock.advance(1)
        await durable.start(world.pay, 1, run_id="waits")
        first = await durable.list(limit=4)
        rest = await durable.list(limit=4, after=first[-1])
        assert [each.run_id for each in (*first, *rest)] == ["waits", "r4", "r3", "r2", "r1", "r0"]
        assert [each.run_id for each in await durable.list(status="suspended")] == ["waits"]
        assert [each.run_id for each in await durable.list(workflow="World.pay")] == ["waits"]
        assert [each.run_id for each in await durable.list(metadata={"odd": True})] == ["r3", "r1"]


async def test_pending_gives_the_hooks_of_all_runs_over_all_pages(world):
    async with world.durable() as durable:
        for n in range(103):
            await durable.start(world.pay, n, run_id=f"r{n}", metadata={"n": n})
        found = [each async for each in durable.pending()]
        assert {each.run_id for each in found} == {f"r{n}" for n in range(103)}
        assert {each.hook.step_key for each in found} == {"wait"}
        assert [each.run_id async for each in durable.pending(metadata={"n": 7})] == ["r7"]
        assert [each async for each in durable.pending(workflow="other")] == []


async def test_a_rewound_run_runs_again_from_there(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        await durable.inject(hook, "paid")
        state = await durable.rewind("r", "last")
        assert list(state.steps) == ["first", "hook", "wait"]
        assert await world.status("r") == "interrupted"
        assert (await durable.resume("r")).result == Ok(["first", "paid", "last 1"])
        assert list((await durable.state("r")).steps) == ["first", "hook", "wait", "last"]
        with pytest.raises(UnknownStep):
            await durable.rewind("r", "never was")
    assert world.ran == {"first": 1, "last 1": 2}


async def test_a_rewound_wait_takes_another_delivery(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        await durable.inject(hook, "wrong")
        await durable.rewind("r", "wait")
        assert (await durable.resume("r")).state.status == "suspended"
        assert (await durable.inject(hook, "right")).unwrap().result == Ok(["first", "right", "last 1"])


async def test_rewinding_waits_for_whoever_works_on_the_run(world):
    async with world.durable() as durable:
        task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        rewinding = asyncio.ensure_future(durable.rewind("r", "a"))
        await turns()
        assert not rewinding.done()
        world.gates["b"].set()
        await task
        assert list((await world.clock.run(rewinding)).steps) == []


async def test_a_rewind_whose_answer_was_lost_is_done_once(world):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        lost = []

        def lose(verb, n):
            if verb == "rewrite" and not lost:
                lost.append(verb)
                raise StoreError("the connection is lost", transient=True)

        world.store.after = lose
        rewinding = asyncio.ensure_future(durable.rewind("r", "hook"))
        assert list((await world.clock.run(rewinding)).steps) == ["first"]


async def test_a_fork_goes_its_own_way_from_a_step_on(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r", metadata={"a": 1})).result.error.hook_id
        await durable.inject(hook, "paid")
        assert await durable.fork("r", at="hook", new_id="again") == "again"
        outcome = await durable.resume("again")
        other = outcome.result.error.hook_id
        assert other != hook
        assert (await durable.inject(other, "twice")).unwrap().result == Ok(["first", "twice", "last 1"])
        assert (await durable.start(world.pay, 1, run_id="r")).result == Ok(["first", "paid", "last 1"])
        assert (await durable.get("again")).metadata == {"a": 1}
        copied = await durable.fork("r", at="first", metadata={"a": 2})
        assert (await durable.get(copied)).metadata == {"a": 2}
        with pytest.raises(RunExists):
            await durable.fork("r", at="hook", new_id="again")
        with pytest.raises(UnknownRun):
            await durable.fork("never was", at="hook")
    assert world.ran["first"] == 1


async def test_a_fork_shares_the_hooks_that_were_created_before_it(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        await durable.inject(hook, "one")
        fork = await durable.fork("r", at="wait")
        assert (await durable.resume(fork)).state.status == "suspended"
        assert isinstance(await durable.inject(hook, "two"), Err)
        outcome = (await durable.inject(hook, "two", run_id=fork)).unwrap()
        assert outcome.result == Ok(["first", "two", "last 1"])


async def test_a_fork_that_shares_a_hook_can_be_rewound(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        await durable.inject(hook, "one")
        await durable.fork("r", at="last", new_id="fork")
        assert (await durable.resume("fork")).result == Ok(["first", "one", "last 1"])
        await durable.rewind("fork", "wait")
        await durable.resume("fork")
        outcome = (await durable.inject(hook, "two", run_id="fork")).unwrap()
        assert outcome.result == Ok(["first", "two", "last 1"])
        assert isinstance((await durable.inject(hook, "three")).error, HookAlreadyResolved)


async def test_a_fork_that_broke_off_goes_on_when_it_is_asked_for_again(world):
    async with world.durable() as durable:
        await durable.start(world.plain, 1, run_id="r")

        def fail(verb, n):
            if verb == "rewrite":
                raise StoreError("the disk is full")

        world.store.before = fail
        with pytest.raises(StoreError):
            await durable.fork("r", at="one", new_id="fork")
        assert (await durable.get("fork")).due is None
        world.store.before = lambda verb, n: None
        world.clock.advance(5)
        await durable.fork("r", at="one", new_id="fork")
        assert (await durable.resume("fork")).result == Ok(1)


async def test_a_cancelled_run_ends_with_its_reason_and_its_undo(world):
    async def undone(step) -> None:
        await step.options(undo=lambda given: world.do(f"undo {given}"))("a", world.do, "a")
        hook = await step("hook", create_hook)
        await step("wait", pending_hook, hook.hook_id)

    async with world.durable(workflows=[undone]) as durable:
        await durable.start(undone, run_id="r")
        outcome = await durable.cancel("r", "the customer left")
        assert isinstance(outcome.result.error, Cancelled)
        assert outcome.result.error.reason == "the customer left"
        assert (await durable.cancel("r", "again")).result == outcome.result
        assert await world.status("r") == "failed"
    assert world.ran == {"a": 1, "undo a": 1}


async def test_a_run_under_work_is_cancelled_when_its_leg_comes_to_rest(world):
    async def waits_later(step) -> None:
        await step("b", world.gated, "b")
        hook = await step("hook", create_hook)
        await step("wait", pending_hook, hook.hook_id)

    async with world.durable(workflows=[waits_later]) as durable:
        started = asyncio.ensure_future(durable.start(waits_later, run_id="r"))
        await until(lambda: world.ran["b begins"])
        cancelling = asyncio.ensure_future(durable.cancel("r", "enough"))
        await until(lambda: "save" in world.store.asked)
        await turns()
        world.gates["b"].set()
        assert isinstance((await cancelling).result.error, Cancelled)
        assert isinstance((await started).result.error, Cancelled)
    assert world.ran["b"] == 1


async def test_a_run_that_is_tried_again_keeps_its_attempts_over_a_crash(world):
    """Notes of a retry are lines of the journal too, before and behind those that the head accounts for."""
    from awaitpy import Retry

    async def retrying(step) -> str:
        await step("a", world.do, "a")
        retry = Retry(attempts=4, delay=3600)
        return await step.options(retry=retry)("b", world.fail, "b")

    async with world.durable(workflows=[retrying]) as durable:
        await durable.start(retrying, run_id="r")
        for n in range(2, 4):
            world.clock.advance(100_000)
            await durable.start(retrying, run_id="r")
            assert world.ran["b"] == n
        world.fail = world.do
        world.clock.advance(100_000)
        assert (await durable.start(retrying, run_id="r")).result == Ok("b")
        assert list((await durable.state("r")).steps) == ["a", "b"]


async def test_old_runs_are_purged_and_others_stay(world):
    async with world.durable() as durable:
        await durable.start(world.plain, 1, run_id="done")
        await durable.start(world.pay, 1, run_id="waits")
        world.clock.advance(3600)
        await durable.start(world.plain, 1, run_id="fresh")
        assert await durable.purge(older_than=timedelta(hours=2)) == 0
        assert await durable.purge(older_than=1800) == 1
        assert [each.run_id for each in await durable.list()] == ["fresh", "waits"]
        assert await durable.purge(older_than=1800, statuses=["suspended"]) == 1


async def test_verbs_on_runs_that_are_not_there_say_so(world):
    async with world.durable() as durable:
        for asked in (
            durable.resume("none"),
            durable.cancel("none", ""),
            durable.rewind("none", "a"),
            durable.state("none"),
        ):
            with pytest.raises(UnknownRun, match="none"):
                await asked
        assert await durable.get("none") is None
        assert not await durable.delete("none")


async def test_a_run_of_a_workflow_that_is_not_known_here_is_not_mended_here(world):
    """UnknownWorkflow says that nothing was run or written."""
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="waits")
        await durable.start(world.broken, run_id="broken")
        before = [await durable.get(run_id) for run_id in ("waits", "broken")]
        world.clock.advance(5)
        async with world.durable(world.reopened(), workflows=[world.plain]) as other:
            start = other.start(world.plain, 1, run_id="waits")
            for asked in (other.cancel("waits", "enough"), other.resume("broken"), start):
                with pytest.raises(UnknownWorkflow):
                    await asked
        assert [await durable.get(run_id) for run_id in ("waits", "broken")] == before
        assert [each.stored.revision for each in before] == [2, 2]


async def test_a_run_is_queued_within_a_transaction_of_the_caller(world, tmp_path):
    if isinstance(world.disk, MemoryStore):
        async with world.durable() as durable:
            with pytest.raises(TypeError, match="can't join"):
                await durable.enqueue(world.plain, 1, within=object())
        return
    async with world.serving() as durable:
        shop = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        shop.execute("CREATE TABLE orders (id TEXT)")
        for end in ("ROLLBACK", "COMMIT"):
            shop.execute("BEGIN IMMEDIATE")
            shop.execute("INSERT INTO orders VALUES (?)", (end,))
            await durable.enqueue(world.plain, 1, run_id=end, within=shop)
            shop.execute(end)
        await until(lambda: world.clock.tick(1) or world.ran[1])
        await world.comes_to("COMMIT", "completed")
        assert await durable.get("ROLLBACK") is None
        assert shop.execute("SELECT id FROM orders").fetchall() == [("COMMIT",)]
        shop.close()


@pytest.mark.parametrize("verb", ["inject", "rewind", "cancel", "resume"])
async def test_what_is_done_from_outside_is_done_again_if_another_was_faster(world, verb):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        hook = await world.hook(durable, "r")
        if verb == "resume":
            from msgspec.structs import replace

            stored = await world.disk.load("r")
            head = replace(stored.head, status="interrupted", due=None)
            await world.disk.save("r", head, revision=stored.revision, now=world.clock.now)
        save, taken = getattr(world.store.store, "rewrite" if verb == "rewind" else "save"), []

        async def too_late(run_id, head, *args, **kwargs):
            if not taken and "lease" not in kwargs:
                taken.append(1)
                stored = await world.disk.load("r")
                await world.disk.save("r", stored.head, revision=stored.revision, now=world.clock.now)
            return await save(run_id, head, *args, **kwargs)

        setattr(world.store.store, "rewrite" if verb == "rewind" else "save", too_late)
        asked = {
            "inject": lambda: durable.inject(hook, "paid"),
            "rewind": lambda: durable.rewind("r", "first"),
            "cancel": lambda: durable.cancel("r", "enough"),
            "resume": lambda: durable.resume("r"),
        }[verb]
        await world.clock.run(asyncio.ensure_future(asked()))
        assert taken
