"""Runs of older code under newer code: migrated in the store, before anything of them runs."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import Err, MigrationGap, Ok, create_hook, drop_step, pending_hook, rename_step, workflow
from awaitpy.durable import StoreError, Tries

from .conftest import until


def flows(world):
    """A workflow in versions 1 and 3, and one of version 3 that forgot a migration."""

    @workflow(name="flow", version=1)
    async def first(step) -> str:
        await step("a", world.do, "a")
        await step("gone", world.do, "gone")
        hook = await step("hook", create_hook)
        return await step("wait", pending_hook, hook.hook_id, str)

    async def today(step) -> str:
        await step("begin", world.do, "a")
        hook = await step("hook", create_hook)
        answer = await step("wait", pending_hook, hook.hook_id, str)
        return await step("end", world.do, answer)

    rename = {1: lambda state: rename_step(state, "a", "begin")}
    both = {**rename, 2: lambda state: drop_step(state, "gone")}
    third = workflow(name="flow", version=3, migrations=both)(today)

    async def forgot(step) -> str:
        return await today(step)

    return first, third, workflow(name="flow", version=3, migrations=rename)(forgot)


async def test_a_run_is_migrated_once_and_goes_on(world):
    first, third, _ = flows(world)
    async with world.durable(workflows=[first]) as durable:
        await durable.start(first, run_id="r")
        hook_id = await world.hook(durable, "r")
    async with world.durable(world.reopened(), workflows=[third]) as durable:
        outcome = (await durable.inject(hook_id, "yes")).unwrap()
        assert outcome.result == Ok("yes")
        record = await durable.get("r")
        assert (record.version, record.status) == (3, "completed")
        assert list((await durable.state("r")).steps) == ["begin", "hook", "wait", "end"]
    assert world.ran == {"a": 1, "gone": 1, "yes": 1}


async def test_a_fork_that_shares_a_hook_is_migrated(world):
    first, third, _ = flows(world)
    async with world.durable(workflows=[first]) as durable:
        hook_id = (await durable.start(first, run_id="r")).result.error.hook_id
        await durable.deliver(hook_id, "yes")
        await durable.start(first, run_id="r")
        await durable.fork("r", at="wait", new_id="fork")
    async with world.durable(world.reopened(), workflows=[third]) as durable:
        assert (await durable.resume("fork")).state.status == "suspended"
        assert (await durable.inject(hook_id, "no", run_id="fork")).unwrap().result == Ok("no")
        assert (await durable.resume("r")).result == Ok("yes")


async def test_a_missing_migration_parks_the_run_and_writes_no_journal(world):
    first, third, forgot = flows(world)
    async with world.durable(workflows=[first]) as durable:
        await durable.start(first, run_id="r")
        hook_id = await world.hook(durable, "r")
    async with world.durable(world.reopened(), workflows=[forgot]) as durable:
        outcome = (await durable.inject(hook_id, "yes")).unwrap()
        assert isinstance(outcome.result, Err)
        assert isinstance(outcome.result.error, MigrationGap)
        assert "from version 2 to 3" in (await durable.get("r")).trouble
    async with world.durable(world.reopened(), workflows=[third]) as durable:
        assert (await durable.resume("r")).result == Ok("yes")
    assert world.ran == {"a": 1, "gone": 1, "yes": 1}


@pytest.mark.parametrize("error", [StoreError("the row is too large"), OverflowError("too large")])
async def test_a_migrated_run_that_the_store_will_not_keep_is_tried_again_and_then_parked(world, error):
    first, third, _ = flows(world)
    async with world.durable(workflows=[first]) as durable:
        await durable.start(first, run_id="r")
        await durable.deliver(await world.hook(durable, "r"), "yes")
    store = world.reopened()

    def refuses(verb, n):
        if verb == "rewrite":
            raise error

    store.before = refuses
    async with world.serving(store, workflows=[third], tries=Tries(limit=2, delay=10)) as durable:
        await until(lambda: world.clock.tick(1) or store.asked.count("rewrite") == 2)
        record = await world.parked(durable, "r")
        assert (record.tries, record.version, record.leased_by) == (2, 1, None)
        assert str(error) in record.trouble
    async with world.durable(world.reopened(), workflows=[third]) as durable:
        assert (await durable.resume("r")).result == Ok("yes")
    assert world.ran == {"a": 1, "gone": 1, "yes": 1}


async def test_a_migrated_run_that_can_not_be_kept_for_the_moment_is_migrated_later(world):
    first, third, _ = flows(world)
    async with world.durable(workflows=[first]) as durable:
        await durable.start(first, run_id="r")
        await durable.deliver(await world.hook(durable, "r"), "yes")

    def gone(verb, n):
        if verb == "rewrite":
            raise StoreError("gone", transient=True)

    async with world.durable(world.reopened(), workflows=[third]) as durable:
        durable._settings.store.before = gone
        task = asyncio.ensure_future(durable.start(third, run_id="r"))
        with pytest.raises(StoreError, match="gone"):
            await world.clock.run(task)
        record = await durable.get("r")
        assert (record.status, record.tries, record.version) == ("suspended", 0, 1)
        durable._settings.store.before = lambda verb, n: None
        assert (await durable.start(third, run_id="r")).result == Ok("yes")
