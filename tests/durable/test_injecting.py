"""Deliveries: of those that race the first wins, and it is kept before its sender is told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from awaitpy import (
    HookAlreadyResolved,
    HookExpired,
    HookRejected,
    InvalidPayload,
    MethodNotAllowed,
    Ok,
    PendingHook,
    UnknownHook,
    create_hook,
    is_err,
    is_ok,
    pending_hook,
)
from awaitpy.durable import UnknownStoredHook, UnknownWorkflow
from awaitpy.result import Err

from .conftest import turns, until


async def test_a_delivery_resumes_its_run_to_its_next_rest(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        outcome = (await durable.inject(hook, "paid")).unwrap()
        assert outcome.result == Ok(["first", "paid", "last 1"])
    assert world.ran == {"first": 1, "last 1": 1}


async def test_the_same_delivery_again_is_answered_with_the_same_outcome(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        first = (await durable.inject(hook, "paid", delivery_id="d1")).unwrap()
        assert (await durable.inject(hook, "other words", delivery_id="d1")).unwrap() == first
        assert isinstance((await durable.inject(hook, "paid", delivery_id="d2")).error, HookAlreadyResolved)
        assert isinstance((await durable.inject(hook, "else")).error, HookAlreadyResolved)
    assert world.ran["last 1"] == 1


async def test_deliveries_to_one_run_that_come_at_once_are_saved_once_each(world):
    """Not each as often as another has won."""

    async def wide(step) -> list[int]:
        async def branch(n):
            hook = await step.scope(str(n))("hook", create_hook)
            return await step.scope(str(n))("wait", pending_hook, hook.hook_id, int)

        return await asyncio.gather(*map(branch, range(20)))

    async with world.durable(workflows=[wide]) as durable:
        state = (await durable.start(wide, run_id="r")).state
        world.store.asked.clear()
        hooks = [each.hook_id for each in state.pending]
        told = await asyncio.gather(*(durable.deliver(hook, n) for n, hook in enumerate(hooks)))
        assert told == [Ok("r")] * 20
        assert world.store.asked.count("save") == 20
        assert (await durable.resume("r")).result == Ok(list(range(20)))


async def test_refusals_are_values_and_change_nothing(world):
    async def strict(step) -> int:
        hook = await step("hook", create_hook)
        wait = {"timeout": 50, "methods": ["PUT"]}
        return await step("wait", pending_hook, hook.hook_id, int, **wait)

    async with world.durable(workflows=[strict]) as durable:
        hook = (await durable.start(strict, run_id="r")).result.error.hook_id
        before = (await durable.state("r")).to_bytes()
        assert isinstance((await durable.inject("no such hook", 1)).error, UnknownStoredHook)
        assert "no such hook" in str((await durable.inject("no such hook", 1)).error)
        assert isinstance((await durable.inject(hook, 1, run_id="no such run")).error, UnknownHook)
        assert isinstance((await durable.inject(hook, "x", payload=int)).error, InvalidPayload)
        assert isinstance((await durable.inject(hook, 1, method="POST")).error, MethodNotAllowed)
        assert isinstance((await durable.deliver(hook, 1, method="POST")).error, MethodNotAllowed)
        world.clock.advance(50)
        assert isinstance((await durable.inject(hook, 1)).error, HookExpired)
        assert (await durable.state("r")).to_bytes() == before


async def test_a_delivery_that_the_workflow_refuses_leaves_the_hook_pending(world):
    async def judging(step) -> int:
        hook = await step("hook", create_hook)
        return await step("wait", pending_hook, hook.hook_id, int, accept=positive)

    def positive(n: int):
        return Ok(n) if n > 0 else Err("too small")

    async with world.durable(workflows=[judging]) as durable:
        hook = (await durable.start(judging, run_id="r")).result.error.hook_id
        assert isinstance((await durable.inject(hook, -1)).unwrap().result.error, HookRejected)
        assert await world.status("r") == "suspended"
        assert (await durable.inject(hook, 1)).unwrap().result == Ok(1)


async def test_who_injects_hears_of_a_refusal_also_if_serve_was_quicker_to_claim_the_run(world):
    async def judging(step) -> int:
        return await step("wait", pending_hook, "h", int, accept=lambda _: Err("too small"))

    claimed, in_vain = asyncio.Event(), asyncio.Event()
    verbs = world.store.store

    async def save(*args, **terms):
        saved = await verbs.save(*args, **terms)
        if "lease" not in terms:  # the delivery
            await claimed.wait()
        return saved

    async def claim(owner, **terms):
        leases = await verbs.claim(owner, **terms)
        if "run_id" in terms:
            in_vain.set()
        elif leases:
            claimed.set()
            await in_vain.wait()
        return leases

    async with world.serving(workflows=[judging]) as durable:
        await durable.start(judging, run_id="r")
        world.store.save, world.store.claim = save, claim
        told = await world.clock.run(asyncio.ensure_future(durable.inject("h", 1)))
    assert isinstance(told.unwrap().result.error, HookRejected)


@pytest.mark.parametrize("count", [2, 3, 8, 64])
@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
@pytest.mark.parametrize("processes", [1, 3])
async def test_of_racing_deliveries_exactly_one_wins(world, count, same, processes):
    async with AsyncExitStack() as stack:
        durables = [
            await stack.enter_async_context(world.durable(world.reopened())) for _ in range(processes)
        ]
        hook = (await durables[0].start(world.pay, 1, run_id="r")).result.error.hook_id
        racing = [
            asyncio.ensure_future(durables[n % processes].inject(hook, "paid" if same else f"paid {n}"))
            for n in range(count)
        ]
        results = await world.clock.run(asyncio.ensure_future(asyncio.wait(racing)))
        results = [each.result() for each in racing]
    taken = [each for each in results if is_ok(each)]
    assert len(taken) == (count if same else 1)
    (value,) = {each.unwrap().result.unwrap()[1] for each in taken}
    assert value.startswith("paid")
    assert all(isinstance(each.error, HookAlreadyResolved) for each in results if is_err(each))
    assert world.ran == {"first": 1, "last 1": 1}


async def test_racing_deliveries_to_a_hook_that_takes_many_are_all_taken_once(world):
    async with world.durable() as one, world.durable(world.reopened()) as other:
        hook = (await one.start(world.many, 16, run_id="r")).result.error.hook_id
        racing = [asyncio.ensure_future((one, other)[n % 2].inject(hook, n)) for n in range(16)]
        await world.clock.run(asyncio.ensure_future(asyncio.wait(racing)))
        assert all(is_ok(each.result()) for each in racing)
        assert sorted((await one.start(world.many, 16, run_id="r")).result.unwrap()) == list(range(16))
    assert world.ran == dict.fromkeys(range(16), 1)


async def test_equal_deliveries_to_a_hook_that_takes_many_count_each(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.many, 2, run_id="r")).result.error.hook_id
        await durable.inject(hook, 7)
        assert (await durable.inject(hook, 7)).unwrap().result == Ok([7, 7])


async def test_a_delivery_during_a_leg_is_taken_by_that_leg(world):
    """The leg can't save over it: it goes on with the delivery, and runs no step again."""

    async def waits_later(step) -> list[str]:
        hook = await step("hook", create_hook)
        await step("b", world.gated, "b")
        return [await step("wait", pending_hook, hook.hook_id, str)]

    async with world.durable(workflows=[waits_later]) as durable:
        started = asyncio.ensure_future(durable.start(waits_later, run_id="r"))
        await until(lambda: world.ran["b begins"])
        (hook,) = (await durable.state("r")).hooks
        injected = asyncio.ensure_future(durable.inject(hook, "early"))
        await until(lambda: "save" in world.store.asked)
        await turns()
        world.gates["b"].set()
        assert (await injected).unwrap().result == Ok(["early"])
        assert (await started).result == Ok(["early"])
    assert world.ran == {"b begins": 1, "b": 1}


async def test_a_step_may_deliver_to_its_own_run(world):
    async def calls_back(step) -> str:
        hook = await step("hook", create_hook)
        await step("call", provider, hook.hook_id)
        return await step("wait", pending_hook, hook.hook_id, str)

    async def provider(hook_id: str) -> None:
        assert await durable.deliver(hook_id, "at once") == Ok("r")

    async with world.durable(workflows=[calls_back]) as durable:
        assert (await durable.start(calls_back, run_id="r")).result == Ok("at once")


async def test_a_delivery_is_kept_by_one_and_taken_by_whoever_serves(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        assert await durable.deliver(hook, "paid") == Ok("r")
        assert world.ran["last 1"] == 0
    async with world.serving(world.reopened()):
        await world.comes_to("r", "completed")
    assert world.ran["last 1"] == 1


async def test_a_process_without_the_workflow_keeps_deliveries_and_runs_nothing(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
    async with world.durable(world.reopened(), workflows=[]) as front:
        with pytest.raises(UnknownWorkflow):
            await front.inject(hook, "paid")
        assert (await front.get("r")).pending[0].deliveries == 0
        assert await front.deliver(hook, "paid") == Ok("r")
        with pytest.raises(UnknownWorkflow):
            await front.resume("r")
        assert (await front.get("r")).leased_by is None


@pytest.mark.parametrize("moment", range(12))
async def test_cancelling_who_injects_loses_nothing_that_was_kept(world, moment):
    """Whether the delivery was kept by then or not, to send it again is right, and nothing runs twice."""
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        task = asyncio.ensure_future(durable.inject(hook, "paid"))
        await turns(moment)
        task.cancel()
        await asyncio.wait([task])
        again = asyncio.ensure_future(durable.inject(hook, "paid"))
        assert (await world.clock.run(again)).unwrap().result == Ok(["first", "paid", "last 1"])
    assert world.ran == {"first": 1, "last 1": 1}


async def test_a_hook_of_a_run_that_was_deleted_is_unknown(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        world.store.after = lambda verb, n: None
        find = world.store.store.find

        async def found_too_late(hook_id):
            run_id = await find(hook_id)
            await durable.delete("r")
            return run_id

        world.store.store.find = found_too_late
        assert isinstance((await durable.inject(hook, "paid")).error, UnknownHook)


async def test_a_wait_without_a_created_hook_is_found_by_its_id(world):
    async def known_id(step) -> str:
        return await step("wait", pending_hook, "invoice-7", str)

    async with world.durable(workflows=[known_id]) as durable:
        assert isinstance((await durable.start(known_id, run_id="r")).result.error, PendingHook)
        assert (await durable.inject("invoice-7", "paid")).unwrap().result == Ok("paid")
