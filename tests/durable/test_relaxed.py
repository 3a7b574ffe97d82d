"""Entries that are written behind the back of the run: all of them before the leg ends."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import Ok, create_hook, pending_hook
from awaitpy.durable import StoreError

from .conftest import turns, until


async def steps(step, count: int) -> int:
    for n in range(count):
        await step(f"s{n}", lambda n=n: n)
    return count


async def test_all_entries_are_on_disk_when_the_leg_ends_in_few_writes(world):
    async with world.durable(workflows=[steps], checkpoint="relaxed") as durable:
        assert (await durable.start(steps, 200, run_id="r")).result == Ok(200)
        assert len((await durable.state("r")).steps) == 200
        assert world.store.asked.count("append") <= 2


async def test_a_hook_is_on_disk_before_its_id_is_given_away(world):
    async def gives_away(step) -> str:
        hook = await step("hook", create_hook)
        await step("call", provider, hook.hook_id)
        return await step("wait", pending_hook, hook.hook_id, str)

    async def provider(hook_id: str) -> None:
        assert (await durable.deliver(hook_id, "at once")) == Ok("r")

    async with world.durable(workflows=[gives_away], checkpoint="relaxed") as durable:
        assert (await durable.start(gives_away, run_id="r")).result == Ok("at once")


async def test_a_cancelled_leg_keeps_its_entries(world):
    async with world.durable(checkpoint="relaxed") as durable:
        task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        task.cancel()
        await asyncio.wait([task])
        assert list((await durable.state("r")).steps) == ["a"]


async def test_a_write_that_fails_ends_the_run_at_its_next_step(world):
    async def long(step) -> None:
        for n in range(50):
            await step(f"s{n}", turns, 5)

    def fail(verb, n):
        if verb == "append":
            raise StoreError("the disk is full")

    async with world.durable(workflows=[long], checkpoint="relaxed") as durable:
        world.store.before = fail
        with pytest.raises(StoreError, match="disk is full"):
            await durable.start(long, run_id="r")
        assert world.store.asked.count("append") == 1
        assert (await durable.get("r")).tries == 1


async def test_a_lost_lease_ends_the_run_quietly(world):
    async with world.durable(checkpoint="relaxed") as one, world.durable(world.reopened()) as other:
        task = asyncio.ensure_future(one.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        one._heart.cancel()
        world.clock.advance(61)
        taken = asyncio.ensure_future(other.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"] == 2)
        world.gates["b"].set()
        assert (await world.clock.run(taken)).result == Ok("c")
        assert (await world.clock.run(task)).result == Ok("c")
        assert list((await other.state("r")).steps) == ["a", "b", "c"]
