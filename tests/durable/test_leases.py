"""Exactly one process works on a run, and one that has lost its lease writes nothing more."""

from __future__ import annotations

import asyncio
import gc

import pytest

from awaitpy import Ok, create_hook, pending_hook
from awaitpy.durable import StoreError, UnknownRun
from awaitpy.durable._resting import serve_one

from .conftest import turns, until


async def begun(world, durable):
    """A run whose step b is under way."""
    task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
    before = world.ran["b begins"]
    await until(lambda: world.ran["b begins"] > before)
    return task


def stop_the_heart(durable):
    """As when the process is paused: nobody renews its leases."""
    durable._heart.cancel()


async def test_a_heartbeat_keeps_the_lease_of_a_long_step(world):
    async with world.durable(lease=60) as one, world.serving(world.reopened(), lease=60):
        task = await begun(world, one)
        for n in range(1, 20):
            await until(lambda: world.clock.asleep() == 3)  # both hearts, and the one who serves
            world.clock.advance(20)
            await until(lambda n=n: world.store.asked.count("renew") == n)
        assert world.ran["b begins"] == 1
        world.gates["b"].set()
        assert (await task).result == Ok("c")
    assert world.ran["b"] == 1


async def test_a_process_that_was_paused_ends_its_leg_quietly_and_hears_what_became_of_the_run(world):
    async with world.durable() as paused, world.durable(world.reopened()) as other:
        task = await begun(world, paused)
        stop_the_heart(paused)
        world.clock.advance(61)
        taken = await begun(world, other)
        world.gates["b"].set()
        assert (await world.clock.run(taken)).result == Ok("c")
        assert (await world.clock.run(task)).result == Ok("c")
        assert list((await other.state("r")).steps) == ["a", "b", "c"]
        assert len((await world.disk.load("r")).lines) == 3
    assert world.ran["c"] == 1


async def test_a_leg_whose_lease_is_lost_is_cancelled_by_the_next_heartbeat(world):
    async with world.durable(lease=60) as paused:
        task = await begun(world, paused)
        await world.disk.claim(
            "somebody else", now=world.clock.now + 61, until=world.clock.now + 1000, run_id="r"
        )
        ended = []
        gated, world.gated = world.gated, None
        world.clock.advance(20)
        await until(lambda: "renew" in world.store.asked)
        await until(lambda: world.clock.tick(0.1) or world.store.asked.count("claim") > 1)
        world.gated = gated
        assert not task.done()
        assert ended == []
        task.cancel()
        await asyncio.wait([task])
    stored = await world.disk.load("r")
    assert stored.lease.owner == "somebody else"
    assert len(stored.lines) == 1


@pytest.mark.parametrize("error", [StoreError("gone", transient=True), ConnectionError("gone")])
async def test_a_heartbeat_that_fails_is_tried_again(world, caplog, error):
    async with world.durable(lease=60) as durable:
        task = await begun(world, durable)

        def down(verb, n):
            if verb == "renew":
                raise error

        world.store.before = down
        world.clock.advance(20)
        await until(lambda: "could not be renewed" in caplog.text)
        world.store.before = lambda verb, n: None
        await turns()
        world.clock.advance(20)
        await until(lambda: world.store.asked.count("renew") == 2)
        world.gates["b"].set()
        assert (await task).result == Ok("c")


async def test_a_process_does_not_take_over_a_run_from_itself(world):
    """As after a step that has held the event loop, and the heart with it, for longer than the lease."""
    async with world.serving() as durable:
        task = await begun(world, durable)
        stop_the_heart(durable)
        for n in range(1, 4):
            await until(lambda: world.clock.asleep() == 1)
            world.clock.advance(61)
            await until(lambda n=n: world.store.asked.count("renew") == n)
        world.gates["b"].set()
        assert (await world.clock.run(task)).result == Ok("c")
    assert world.ran == {"a": 1, "b begins": 1, "b": 1, "c": 1}


async def test_a_lease_lasts_from_its_claim_however_long_the_renewing_of_others_took(world):
    claim, lasts = world.store.store.claim, []

    async def noted(*args, until, **kwargs):
        lasts.append(until - world.clock.now)
        return await claim(*args, until=until, **kwargs)

    def take_long(verb, n):
        if verb == "renew":
            world.store.before = lambda verb, n: None
            world.clock.advance(61)

    async with world.durable() as durable:
        task = await begun(world, durable)
        stop_the_heart(durable)
        world.clock.advance(61)
        await durable.enqueue(world.slow, run_id="other")
        world.store.store.claim, world.store.before = noted, take_long
        serving = asyncio.ensure_future(durable.serve())
        await until(lambda: world.ran["b begins"] == 2)
        world.gates["b"].set()
        await world.clock.run(task)
        durable.stop()
        await world.clock.run(serving)
    assert set(lasts) == {60}


async def test_a_leg_whose_run_is_claimed_anew_here_ends_before_the_run_goes_on(world):
    async with world.durable() as durable:
        task = await begun(world, durable)
        now = world.clock.now
        (lease,) = await world.disk.claim("here", now=now + 61, until=now + 122, run_id="r")
        again = asyncio.ensure_future(serve_one(durable._settings, durable._works, lease))
        await until(lambda: world.ran["b begins"] == 2)
        world.gates["b"].set()
        await again
        assert (await world.clock.run(task)).result == Ok("c")
    assert world.ran["c"] == 1
    assert world.ran["b"] == 1


async def test_nothing_is_reported_of_a_leg_that_lost_its_lease_and_raises(world):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def stubborn(step) -> None:
        try:
            await step("b", world.gated, "b")
        finally:
            raise GeneratorExit

    world.flows.append(stubborn)
    async with world.durable() as durable:
        task = asyncio.ensure_future(durable.start(stubborn, run_id="r"))
        await until(lambda: world.ran["b begins"])
        assert await world.disk.delete("r")
        world.gates["b"].set()
        await world.clock.run(asyncio.ensure_future(asyncio.wait([task])))
    gc.collect()
    assert isinstance(task.exception(), UnknownRun)
    assert reported == []


async def test_a_heartbeat_that_comes_late_ends_no_newer_work(world):
    """What came to rest while it was asked is not lost."""
    async with world.durable(lease=60) as durable:
        task = await begun(world, durable)
        old = durable._works.leases()
        world.gates["b"].set()
        await task
        durable._works.renewed(old, world.clock.now + 60, ["r"])
        world.gates.clear()
        await durable.rewind("r", "b")
        again = await begun(world, durable)
        durable._works.renewed(old, world.clock.now + 60, ["r"])
        await turns()
        world.gates["b"].set()
        assert (await again).result == Ok("c")
    assert world.ran["b begins"] == 2


async def test_a_run_that_is_deleted_under_work_may_be_started_anew_at_once(world):
    async with world.durable() as durable:
        first = await begun(world, durable)
        assert await durable.delete("r")
        again = await begun(world, durable)
        world.gates["b"].set()
        assert (await again).result == Ok("c")
        await world.clock.run(asyncio.ensure_future(asyncio.wait([first])))
        assert first.result().result == Ok("c")  # the same id is the same run
    assert world.ran == {"a": 2, "b begins": 2, "b": 1, "c": 1}


async def test_who_waits_for_a_run_that_is_deleted_and_made_anew_hears_of_the_new_one(world):
    """Its revisions begin anew, so that of the delivery may never come."""
    async with world.durable() as durable, world.durable(world.reopened()) as other:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        now = world.clock.now
        await world.disk.claim("elsewhere", now=now, until=now + 60, run_id="r")
        delivery = asyncio.ensure_future(other.inject(hook, "paid"))
        await until(lambda: world.clock.asleep() == 3)  # both hearts, and who waits for "elsewhere"
        await durable.delete("r")
        new = await durable.start(world.pay, 2, run_id="r")
        assert (await world.clock.run(delivery)).unwrap() == new


async def test_a_leg_that_is_called_off_while_its_run_is_loaded_again_runs_no_step(world):
    async def twice(step) -> None:
        hook = await step("hook", create_hook)
        await step("b", world.gated, "b")
        await step("wait", pending_hook, hook.hook_id, str)
        await step("c", world.gated, "c")

    world.flows.append(twice)
    async with world.durable() as durable, world.durable(world.reopened()) as other:
        task = asyncio.ensure_future(durable.start(twice, run_id="r"))
        await until(lambda: world.ran["b begins"])
        (hook,) = (await other.state("r")).hooks
        await other.deliver(hook, "so that what the leg gives can't be saved")
        world.store.before = lambda verb, n: task.cancel() if verb == "load" else None
        world.gates["b"].set()
        await until(task.done)
        assert (await other.get("r")).leased_by is None
    assert task.cancelled()
    assert world.ran["c begins"] == 0


async def test_a_run_that_is_deleted_under_work_ends_quietly(world):
    async with world.durable() as durable:
        task = await begun(world, durable)
        assert await durable.delete("r")
        assert not await durable.delete("r")
        world.gates["b"].set()
        with pytest.raises(UnknownRun, match="'r'"):
            await world.clock.run(task)
    assert world.ran["c"] == 0


async def test_a_delivery_while_another_process_works_is_taken_there(world):
    async def waits_later(step) -> str:
        hook = await step("hook", create_hook)
        await step("b", world.gated, "b")
        return await step("wait", pending_hook, hook.hook_id, str)

    world.flows.append(waits_later)
    store = world.reopened()
    async with world.durable() as one, world.durable(store) as other:
        task = asyncio.ensure_future(one.start(waits_later, run_id="r"))
        await until(lambda: world.ran["b begins"])
        (hook,) = (await other.state("r")).hooks
        delivery = asyncio.ensure_future(other.inject(hook, "hello"))
        await until(lambda: "claim" in store.asked)
        world.gates["b"].set()
        assert (await world.clock.run(delivery)).unwrap().result == Ok("hello")
        assert (await world.clock.run(task)).result == Ok("hello")
    assert world.ran["b"] == 1


async def test_a_process_that_was_stopped_after_its_claim_runs_no_step_in_vain(world):
    async with world.durable() as durable:
        await durable.enqueue(world.plain, 1, run_id="r")
        now = world.clock.now
        (old,) = await world.disk.claim("stopped", now=now, until=now + 60, run_id="r")
        await world.disk.claim("other", now=now + 61, until=now + 121, run_id="r")
        await serve_one(durable._settings, durable._works, old)
    assert world.ran == {}
