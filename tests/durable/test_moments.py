"""What comes between two verbs of a store: each of these moments is rare, and each has its law."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from awaitpy import Ok, create_hook, pending_hook
from awaitpy.durable import StoreError, UnknownRun

from .conftest import until


def meddle(store, verb, *, before=None, after=None, when=lambda **_: True):
    """Let something happen once, before or after the next call of a verb."""
    real, done = getattr(store.store, verb), []

    async def meddled(*args, **kwargs):
        mine = not done and when(**kwargs)
        if mine:
            done.append(verb)
        if mine and before is not None:
            await before()
        answer = await real(*args, **kwargs)
        if mine and after is not None:
            await after()
        return answer

    setattr(store.store, verb, meddled)


async def raises(error):
    raise error


async def test_a_run_that_is_deleted_between_claim_and_load_is_unknown(world):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        meddle(world.store, "claim", after=lambda: durable.delete("r"))
        with pytest.raises(UnknownRun):
            await durable.start(world.pay, 1, run_id="r")


async def test_a_delivery_that_comes_when_the_leg_has_just_been_saved_gets_a_leg_of_its_own(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.many, 2, run_id="r")).result.error.hook_id
        late = []

        async def deliver():
            late.append(asyncio.ensure_future(durable.inject(hook, 2)))
            await until(lambda: durable._works._works["r"].waiting == 2)

        meddle(world.store, "save", after=deliver, when=lambda lease=None, **_: lease is not None)
        assert (await durable.inject(hook, 1)).unwrap().state.status == "suspended"
        assert (await late[0]).unwrap().result == Ok([1, 2])


async def test_of_parallel_steps_none_is_written_after_one_that_could_not_be(world):
    async def parallel(step) -> None:
        await asyncio.gather(*(step(name, world.do, name) for name in "abc"))

    async with world.durable(workflows=[parallel]) as durable:
        meddle(world.store, "append", before=lambda: raises(StoreError("the disk is full")))
        with pytest.raises(StoreError, match="disk is full"):
            await durable.start(parallel, run_id="r")
        assert dict((await durable.state("r")).steps) == {}


async def test_a_lease_that_is_lost_while_a_write_is_tried_again_is_noticed(world):
    async with world.durable() as durable:

        async def lost():
            await world.disk.delete("r")
            raise StoreError("the connection is lost", transient=True)

        meddle(world.store, "append", before=lost)
        task = asyncio.ensure_future(durable.start(world.plain, 1, run_id="r"))
        await world.clock.run(asyncio.ensure_future(asyncio.wait([task])))
        # Nobody has it any more; who started it adds it anew.
        with pytest.raises(UnknownRun):
            await task


async def test_a_run_that_is_deleted_when_its_leg_fails_is_gone(world):
    async with world.durable() as durable:

        async def gone():
            await world.disk.delete("r")
            raise StoreError("the disk is full")

        meddle(world.store, "append", before=gone)
        task = asyncio.ensure_future(durable.start(world.plain, 1, run_id="r"))
        await world.clock.run(asyncio.ensure_future(asyncio.wait([task])))
        assert isinstance(task.exception(), UnknownRun)


async def test_a_leg_that_fails_while_a_delivery_comes_is_tried_again_with_it(world):
    async def flow(step) -> str:
        hook = await step("hook", create_hook)
        await step("b", world.do, "b")
        return await step("wait", pending_hook, hook.hook_id, str)

    async with world.durable(workflows=[flow]) as durable:

        async def fails():
            await world.disk.load("r")
            (hook,) = (await durable.state("r")).hooks
            meddle(
                world.store,
                "save",
                before=lambda: durable.deliver(hook, "early"),
                when=lambda lease=None, **_: lease is not None,
            )
            raise StoreError("the row is locked")

        async def second():
            meddle(world.store, "append", before=fails)

        meddle(world.store, "append", after=second)
        outcome = await world.clock.run(asyncio.ensure_future(durable.start(flow, run_id="r")))
        assert outcome.result == Ok("early")
    assert world.ran["b"] == 2


async def test_a_clock_that_is_set_back_during_a_leg_does_not_make_it_spin(world):
    def set_back(event):
        world.clock.now += {"run.started": -50, "run.suspended": 50}.get(event.name, 0)

    async with world.durable() as durable:
        await durable.start(world.timed, run_id="r")
    world.clock.now += 100
    store = world.reopened()
    async with world.serving(store, on_event=set_back):
        await until(lambda: store.asked.count("save") == 1)
        (stored,) = [await world.disk.load("r")]
        while stored.head.due != world.clock.now + 1:
            await asyncio.sleep(0)
            stored = await world.disk.load("r")
        assert store.asked.count("claim") <= 3
    assert replace(stored.head, due=None).status == "suspended"
