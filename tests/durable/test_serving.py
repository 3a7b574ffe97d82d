"""What `serve` takes up, how it tries again, and how several share the work."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from awaitpy import DuplicateStepKey, Ok, WorkflowDrift, workflow
from awaitpy.durable import Durable, DurableClosed, LegCancelled, StoreError, Tries
from awaitpy.stores import MemoryStore

from .conftest import START, turns, until


async def test_queued_runs_are_run_once_each_by_whoever_serves(world):
    async with world.durable() as durable:
        for n in range(10):
            assert await durable.enqueue(world.plain, n, run_id=f"r{n}", metadata={"n": n}) == f"r{n}"
        assert await durable.enqueue(world.plain, 99, run_id="r0") == "r0"
        assert world.ran == {}
    async with world.serving(world.reopened()):
        for n in range(10):
            await world.comes_to(f"r{n}", "completed")
    assert world.ran == dict.fromkeys(range(10), 1)


async def test_a_run_that_is_queued_while_somebody_serves_is_taken_up_at_once(world):
    async with world.serving() as durable:
        await until(world.clock.asleep)  # it has looked, and waits for a change
        run_id = await durable.enqueue(world.plain, 1)
        await world.comes_to(run_id, "completed")
    assert world.ran == {1: 1}


async def test_two_that_serve_share_the_work(world):
    async def waits_for_both(step, n: int) -> int:
        await step("b", world.gated, f"r{n}")
        return n

    world.flows.append(waits_for_both)
    async with world.serving(concurrency=5), world.serving(world.reopened(), concurrency=5) as durable:
        for n in range(10):
            await durable.enqueue(waits_for_both, n, run_id=f"r{n}")
        # Neither may work on more than five, so that all ten are under way only if both work.
        await until(lambda: world.clock.tick(1) or len(world.gates) == 10)
        for gate in world.gates.values():
            gate.set()
        for n in range(10):
            await world.comes_to(f"r{n}", "completed")
    assert all(count == 1 for count in world.ran.values())


async def test_no_more_runs_than_allowed_are_under_way_at_once(world):
    under_way, most = set(), []

    async def busy(step, n: int) -> None:
        await step("work", work, n)

    async def work(n: int) -> None:
        under_way.add(n)
        most.append(len(under_way))
        await turns(5)
        under_way.remove(n)

    async with world.durable(workflows=[busy]) as durable:
        for n in range(20):
            await durable.enqueue(busy, n, run_id=f"r{n}")
    async with world.serving(world.reopened(), workflows=[busy], concurrency=3):
        for n in range(20):
            await world.comes_to(f"r{n}", "completed")
    assert max(most) == 3


async def test_a_run_of_a_process_that_died_is_taken_over_when_its_lease_is_over(world):
    lease = 60
    store = world.reopened()
    dead = world.durable(store, lease=lease)
    await dead.__aenter__()
    task = asyncio.ensure_future(dead.start(world.slow, run_id="r"))
    await until(lambda: world.ran["b begins"])
    async with world.serving():
        world.clock.sleepers = [
            each for each in world.clock.sleepers if each[0] - world.clock.now != lease / 3
        ]
        world.clock.advance(lease - 1)
        await turns()
        assert world.ran["b begins"] == 1
        world.clock.advance(2)
        await until(lambda: world.clock.tick(0.5) or world.ran["b begins"] == 2)
        world.gates["b"].set()
        await world.comes_to("r", "completed")
        assert (await world.clock.run(task)).result == Ok("c")
    await dead.__aexit__(None, None, None)
    assert world.ran["a"] == world.ran["c"] == 1


async def test_deadlines_are_kept_by_whoever_serves(world):
    async with world.serving() as durable:
        hook = (await durable.start(world.timed, run_id="late")).result.error.hook_id
        await durable.start(world.timed, run_id="never")
        world.clock.advance(99)
        paid = asyncio.ensure_future(durable.inject(hook, "paid"))
        await world.clock.run(paid, step=0.001)
        assert await world.status("never") == "suspended"
        await until(lambda: world.clock.tick(1) or world.ran["too late"])
        await world.comes_to("never", "completed")
    assert world.ran == {"in time": 1, "too late": 1}


async def test_durable_sleep_ends_by_whoever_serves(world):
    async def sleeper(step) -> str:
        await step.sleep("nap", 3600)
        return await step("end", world.do, "awake")

    async with world.serving(workflows=[sleeper]) as durable:
        assert (await durable.start(sleeper, run_id="r")).state.status == "suspended"
        await until(lambda: world.clock.tick(60) or world.ran["awake"])
        await world.comes_to("r", "completed")
    assert world.clock.now >= 1_003_600


async def test_an_unexpected_error_is_tried_again_and_then_parked_with_its_traceback(world):
    tries = Tries(limit=3, delay=10, backoff=2)
    async with world.serving(tries=tries) as durable:
        await durable.enqueue(world.broken, run_id="r")
        seen = []
        for delay in (10, 20):
            record = await tried(world, durable, len(seen) + 1)
            assert record.due - record.updated == timedelta(seconds=delay)
            seen.append((delay, record.tries, record.parked))
        assert seen == [(10, 1, False), (20, 2, False)]
        record = await tried(world, durable, 3)
        assert (record.parked, record.due) == (True, None)
        assert "ConnectionError: b does not answer" in record.trouble
        world.clock.advance(1_000_000)
        await turns()
    assert world.ran == {"a": 1, "b": 3}


async def test_a_run_that_cancels_its_own_task_has_failed_and_is_parked_in_the_end(world):
    async def broken_timeout() -> None:
        world.do("try")
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def flow(step) -> None:
        await step("a", world.do, "a")
        await step("b", broken_timeout)

    async with world.serving(workflows=[flow], tries=Tries(limit=3, delay=10)) as durable:
        outcome = await durable.start(flow, run_id="r")
        assert isinstance(outcome.result.error.cause, LegCancelled)
        assert "'r' was cancelled from within" in str(outcome.result.error)
        record = await tried(world, durable, 3)
        assert record.parked
        assert "in broken_timeout" in record.trouble
        assert "LegCancelled: Run 'r' was cancelled from within" in record.trouble
    assert world.ran == {"a": 1, "try": 3}


async def tried(world, durable, times):
    for _ in range(100_000):
        record = await durable.get("r")
        if record.tries >= times:
            return record
        world.clock.tick(0.5)
        await asyncio.sleep(0)
    raise AssertionError(record)


async def test_a_parked_run_is_tried_again_when_a_person_says_so(world):
    async with world.durable(tries=Tries(limit=1)) as durable:
        await durable.start(world.broken, run_id="r")
        assert (await durable.get("r")).parked
        world.fail = world.do
        outcome = await durable.resume("r")
        assert outcome.result == Ok("b")
        assert (await durable.resume("r")).result == Ok("b")
        record = await durable.get("r")
        assert (record.tries, record.trouble, record.status) == (0, None, "completed")


async def test_what_only_new_code_can_mend_is_parked_at_once(world):
    async def twice(step) -> None:
        await step("a", world.do, "a")
        await step("a", world.do, "a")

    async with world.durable(workflows=[twice]) as durable:
        outcome = await durable.start(twice, run_id="r")
        assert isinstance(outcome.result.error.cause, DuplicateStepKey)
        assert (await durable.get("r")).parked


async def test_drift_is_parked_and_tells_itself(world):
    @workflow(name="flow")
    async def before(step) -> None:
        await step("old", world.do, "old")
        await step("b", world.fail, "b")

    @workflow(name="flow")
    async def after(step) -> None:
        await step("new", world.do, "new")

    async with world.durable(workflows=[before]) as durable:
        await durable.start(before, run_id="r")
    async with world.durable(world.reopened(), workflows=[after]) as durable:
        outcome = await durable.resume("r")
        assert isinstance(outcome.result.error, WorkflowDrift)
        record = await durable.get("r")
        assert record.parked
        assert record.trouble == str(outcome.result.error)
    assert world.ran["new"] == 0


async def test_a_run_of_newer_code_is_left_to_it(world):
    """As in a deployment, when processes of both are up."""

    @workflow(name="flow", version=2)
    async def newer(step) -> str:
        return await step("a", world.do, "newer")

    @workflow(name="flow", version=1)
    async def older(step) -> str:
        return await step("a", world.do, "older")

    async with world.durable(workflows=[newer]) as durable:
        await durable.enqueue(newer, run_id="r")
    async with world.serving(world.reopened(), workflows=[older]) as durable:
        await world.comes_to("r", "interrupted")
        record = await durable.get("r")
        assert (record.tries, record.due.timestamp()) == (0, world.clock.now + 10)
    async with world.serving(world.reopened(), workflows=[newer]):
        await until(lambda: world.clock.tick(1) or world.ran["newer"])
        await world.comes_to("r", "completed")
    assert world.ran == {"newer": 1}


async def test_other_peoples_workflows_are_left_alone(world):
    async with world.durable() as durable:
        await durable.enqueue(world.plain, 1, run_id="r")
    async with world.serving(world.reopened(), workflows=[world.slow]):
        await turns()
        assert await world.status("r") == "running"


async def test_stop_lets_what_is_under_way_come_to_rest(world):
    async with world.durable() as durable:
        serving = asyncio.ensure_future(durable.serve())
        await durable.enqueue(world.slow, run_id="r")
        await until(lambda: world.ran["b begins"])
        durable.stop()
        await durable.enqueue(world.plain, 1, run_id="later")
        await turns()
        assert not serving.done()
        world.gates["b"].set()
        await serving
        assert await world.status("r") == "completed"
        assert await world.status("later") == "running"


async def test_cancelling_serve_cancels_its_legs_and_frees_their_runs(world):
    async with world.durable() as durable:
        serving = asyncio.ensure_future(durable.serve())
        await durable.enqueue(world.slow, run_id="r")
        await until(lambda: world.ran["b begins"])
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        record = await durable.get("r")
        assert (record.status, record.leased_by) == ("running", None)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_cancelling_serve_in_the_middle_of_a_claim_leaves_no_lease(world, moment):
    """Nobody would work under it, and everybody would wait until it runs out."""
    async with world.durable() as durable:
        await durable.enqueue(world.plain, 1, run_id="r")
        serving = asyncio.ensure_future(durable.serve())
        setattr(world.store, moment, lambda verb, n: serving.cancel() if verb == "claim" else None)
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert (await durable.get("r")).leased_by is None
    assert world.ran == {}


async def test_cancelling_serve_while_it_stops_cancels_its_legs(world):
    async with world.durable() as durable:
        serving = asyncio.ensure_future(durable.serve())
        await durable.enqueue(world.slow, run_id="r")
        await until(lambda: world.ran["b begins"])
        durable.stop()
        await turns()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert (await durable.get("r")).leased_by is None


async def test_leaving_a_durable_in_the_middle_of_a_claim_leaves_no_lease(world, caplog):
    left = asyncio.Event()
    world.store.before = lambda verb, n: left.set() if verb == "claim" else None
    async with world.durable() as durable:
        await durable.enqueue(world.plain, 1, run_id="r")
        serving = asyncio.ensure_future(durable.serve())
        await left.wait()
    await serving
    async with world.durable(world.reopened()) as other:
        assert (await other.get("r")).leased_by is None
    assert caplog.records == []


async def test_a_lease_that_can_not_be_ended_runs_out(world, caplog):
    def fail(verb, n):
        if verb == "claim":
            serving.cancel()
        if verb == "release":
            raise StoreError("the disk is full")

    async with world.durable() as durable:
        await durable.enqueue(world.plain, 1, run_id="r")
        serving = asyncio.ensure_future(durable.serve())
        world.store.before = fail
        with pytest.raises(asyncio.CancelledError):
            await serving
        world.store.before = lambda verb, n: None
    assert "the disk is full" in caplog.text
    async with world.serving(world.reopened()):
        await until(lambda: world.clock.tick(10) or world.ran[1])
        await world.comes_to("r", "completed")


async def test_who_waits_for_a_run_still_gets_it_when_serve_is_cancelled(world):
    async with world.durable() as durable:
        serving = asyncio.ensure_future(durable.serve())
        await durable.enqueue(world.slow, run_id="r")
        await until(lambda: world.ran["b begins"])
        task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await turns()
        serving.cancel()
        await asyncio.wait([serving])
        world.gates["b"].set()
        assert (await task).result == Ok("c")
    assert world.ran["b begins"] == 1


async def test_a_stop_is_not_lost_when_serve_has_not_begun(world):
    """As by a signal while the process starts up."""
    durable = world.durable()
    durable.stop()
    async with durable:
        await durable.serve()
        await durable.enqueue(world.plain, 1, run_id="r")
    async with durable:
        serving = asyncio.ensure_future(durable.serve())
        durable.stop()
        await serving
        await durable.serve()
    assert world.ran == {}
    async with durable:
        serving = asyncio.ensure_future(durable.serve())
        await world.comes_to("r", "completed")
        durable.stop()
        await serving
    assert world.ran == {1: 1}


async def test_serving_needs_an_open_durable(world):
    with pytest.raises(DurableClosed):
        await world.durable().serve()


@pytest.mark.parametrize("error", [StoreError("the disk is full"), OSError("the disk is full")])
async def test_serve_outlives_a_store_that_can_not_be_asked(world, caplog, error):
    def down(verb, n):
        raise error

    async with world.serving() as durable:
        await turns()
        world.store.before = down
        await until(lambda: world.clock.tick(1) or "the disk is full" in caplog.text)
        world.store.before = lambda verb, n: None
        await durable.enqueue(world.plain, 1, run_id="r")
        await until(lambda: world.clock.tick(1) or world.ran[1])
        await world.comes_to("r", "completed")
    assert {each.name for each in caplog.records} == {"awaitpy.durable"}


async def test_a_run_that_can_not_be_worked_on_stops_no_other(world, caplog):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="bad")
        stored = await world.disk.load("bad")
        from msgspec.structs import replace

        damaged = replace(stored.head, state=b"no state", due=world.clock.now)
        assert await world.disk.save("bad", damaged, revision=stored.revision, now=world.clock.now)
        await durable.enqueue(world.plain, 1, run_id="good")
    async with world.serving(world.reopened()) as durable:
        await world.comes_to("good", "completed")
        await world.comes_to("bad", "interrupted")
        record = await durable.get("bad")
        assert record.parked
        assert "StateError" in record.trouble
        assert record.pending == ()
        assert (await world.disk.load("bad")).head.state == b"no state"
    assert any(each.levelno == logging.ERROR for each in caplog.records)


async def test_a_run_that_is_due_with_nothing_to_do_is_looked_at_seldom(world):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        from msgspec.structs import replace

        stored = await world.disk.load("r")
        due = replace(stored.head, due=world.clock.now)
        await world.disk.save("r", due, revision=stored.revision, now=world.clock.now)
    store = world.reopened()
    async with world.serving(store):
        await turns(300)
        await until(lambda: store.asked.count("save") == 1)
        await turns(300)
        assert store.asked.count("claim") <= 3


def test_the_policy_is_data():
    from awaitpy import UnexpectedError

    error = UnexpectedError("a", OSError())
    tries = Tries(limit=6, delay=1, backoff=10, max_delay=150)
    assert [tries.next(n, error) for n in range(1, 7)] == [1, 10, 100, 150, 150, None]
    assert Tries(limit=10**9).next(10**8, error) == 300
    assert Tries(limit=10**9, delay=0.0).next(10**8, error) == 0


async def test_a_clock_that_is_put_forward_while_nothing_else_happens_is_noticed():
    now, gone_on = [START], asyncio.Event()

    async def waits(step) -> None:
        await step.sleep("an hour", 3600)
        await step("go on", gone_on.set)

    async with Durable(MemoryStore(), workflows=[waits], clock=lambda: now[0]) as durable:
        await durable.start(waits, run_id="r")
        serving = asyncio.ensure_future(durable.serve())
        await turns()
        now[0] += 3601
        await gone_on.wait()
        durable.stop()
        await serving
        assert (await durable.get("r")).status == "completed"
