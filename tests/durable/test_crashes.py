"""A process that dies at any verb of its store: another goes on, and only the step under way runs again."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import Ok, is_ok
from awaitpy.durable import StoreError

from .conftest import Seen, turns, until


class Dead(BaseException):
    """The process is gone: it can't even clean up."""


class Dying(Seen):
    """A store of a process that dies at its n-th verb, before it is done or after."""

    def __init__(self, store, clock, at, when):
        super().__init__(store, clock)
        self.dead = asyncio.Event()
        self._at, self._when = at, when
        if when == "before":
            self.before = self._die
        else:
            self.after = self._die

    def __getattr__(self, name):
        verb = super().__getattr__(name)

        async def asked(*args, **kwargs):
            if self.dead.is_set() and name != "close":
                await asyncio.Event().wait()
            try:
                return await verb(*args, **kwargs)
            except Dead:
                await asyncio.Event().wait()

        return asked

    def _die(self, verb, n):
        if n == self._at and verb != "close":
            self.dead.set()
            raise Dead


async def play(world, durable):
    """All that a run goes through; gives what it was told."""
    outcome = await durable.start(world.pay, 1, run_id="r")
    taken = await durable.inject(outcome.result.error.hook_id, "paid")
    await durable.enqueue(world.plain, 5, run_id="q")
    return taken


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("checkpoint", ["each", "relaxed"])
async def test_a_process_may_die_at_each_verb_of_its_store(world, when, checkpoint):
    at = 0
    while True:
        at += 1
        world.ran.clear()
        store = Dying(world.reopened().store, world.clock, at, when)
        durable = world.durable(store, checkpoint=checkpoint)
        playing = asyncio.ensure_future(lives(world, durable))
        dying = asyncio.ensure_future(store.dead.wait())
        await asyncio.wait([playing, dying], return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            dying.cancel()
            assert is_ok(await playing)
            break
        under_way = store.asked[-1]
        await kill(playing)
        world.clock.advance(61)
        await recovers(world, under_way, checkpoint)
        for run_id in ("r", "q"):
            await world.disk.delete(run_id)
    assert at > 10


async def lives(world, durable):
    async with durable:
        return await play(world, durable)


async def kill(playing):
    """End all tasks of a process without letting them reach the store."""
    mine = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not mine and "pytest" not in repr(task)]
    for _ in range(5):
        for task in tasks:
            task.cancel()
        await turns(5)


async def recovers(world, under_way, checkpoint):
    async with world.serving(world.reopened()) as other:
        if await world.status("r") is None:
            assert under_way in {"open", "create"}
            await other.start(world.pay, 1, run_id="r")
        outcome = await world.clock.run(asyncio.ensure_future(other.start(world.pay, 1, run_id="r")))
        if outcome.state.status == "suspended":
            hook = await world.hook(other, "r")
            again = asyncio.ensure_future(other.inject(hook, "paid"))
            outcome = (await world.clock.run(again)).unwrap()
        assert outcome.result == Ok(["first", "paid", "last 1"])
    repeated = {what for what, times in world.ran.items() if times > 1}
    # What was under way when the process died: the step whose entry was being written, or, relaxed,
    # those whose entries were still in memory.
    assert len(repeated) <= (1 if checkpoint == "each" else 2)
    assert all(times <= 2 for times in world.ran.values())
    if under_way != "append" and checkpoint == "each":
        assert not repeated


async def test_an_accepted_delivery_is_resumed_by_another_if_the_process_dies_right_then(world):
    async with world.serving(world.reopened()):
        store = Dying(world.reopened().store, world.clock, -1, "after")
        durable = world.durable(store)
        await durable.__aenter__()
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        store.after = lambda verb, n: verb == "save" and store._die(verb, store._at)
        task = asyncio.ensure_future(durable.inject(hook, "paid"))
        await store.dead.wait()
        await until(lambda: world.clock.tick(1) or world.ran["last 1"])
        await world.comes_to("r", "completed")
        task.cancel()
        await asyncio.wait([task])
        durable._heart.cancel()
        await durable._settings.store.store.close()
    assert world.ran == {"first": 1, "last 1": 1}


# --- failures of the store that do not end the process ---------------------------------------------


def failing(at, when, transient):
    """Let the n-th verb fail, before it was done or when it was."""
    done = []

    def fail(verb, n):
        if n == at and verb not in {"open", "close", "renew"}:
            done.append(verb)
            raise StoreError("the connection is lost", transient=transient)

    return {when: fail}, done


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failure_that_passes_is_not_noticed(world, when):
    """Also where the verb was done and only its answer was lost."""
    for at in range(2, 40):
        store = world.reopened()
        hooks, _ = failing(at, when, transient=True)
        vars(store).update(hooks)
        playing = asyncio.ensure_future(lives(world, world.durable(store)))
        await world.clock.run(playing, step=61)
        taken = playing.result()
        assert taken.unwrap().result == Ok(["first", "paid", "last 1"])
        assert world.ran["last 1"] == 1
        assert world.ran["first"] == 1
        state = await world.disk.load("r")
        assert len(state.lines) == 4
        for run_id in ("r", "q"):
            await world.disk.delete(run_id)
        world.ran.clear()
        if len(store.asked) < at:
            break
    assert at > 8


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failure_that_stays_is_a_typed_error_and_the_run_can_go_on(world, when):
    for at in range(2, 40):
        store = world.reopened()
        hooks, failed = failing(at, when, transient=False)
        vars(store).update(hooks)
        async with world.durable(store) as durable:
            playing = asyncio.ensure_future(play(world, durable))
            await world.clock.run(asyncio.ensure_future(asyncio.wait([playing])))
            if failed and playing.exception() is not None:
                assert isinstance(playing.exception(), StoreError)
            else:
                # Of a leg's save that was done, and only its answer lost, nobody need hear.
                assert failed in ([], ["save"])
                playing.result()
        world.clock.advance(61)
        await recovers(world, *(failed[:1] or ["append"]), "each")
        for run_id in ("r", "q"):
            await world.disk.delete(run_id)
        world.ran.clear()
        if len(store.asked) < at:
            break
    assert at > 8


async def test_a_failed_entry_counts_as_a_try_and_its_traceback_is_kept(world):
    async with world.durable() as durable:
        world.store.before = fails_to("append", StoreError("the row is too large"))
        with pytest.raises(StoreError, match="too large"):
            await durable.start(world.pay, 1, run_id="r")
        record = await durable.get("r")
        assert (record.status, record.tries, record.leased_by) == ("interrupted", 1, None)
        assert "the row is too large" in record.trouble
        assert dict((await durable.state("r")).steps) == {}


async def test_other_runs_go_on_when_one_can_not_be_saved(world):
    async with world.durable() as durable:
        world.store.before = fails_to("append", StoreError("the row is too large"), once=True)
        both = await asyncio.gather(
            durable.start(world.plain, 1, run_id="a"),
            durable.start(world.plain, 2, run_id="b"),
            return_exceptions=True,
        )
        assert {type(each).__name__ for each in both} == {"StoreError", "Outcome"}


def fails_to(verb, error, *, once=False):
    left = [1 if once else 100]

    def fail(asked, n):
        if asked == verb and left[0]:
            left[0] -= 1
            raise error

    return fail


async def test_a_store_that_stays_away_is_given_up_after_a_few_tries(world):
    async with world.durable() as durable:
        world.store.before = fails_to("create", StoreError("gone", transient=True))
        task = asyncio.ensure_future(durable.start(world.pay, 1, run_id="r"))
        with pytest.raises(StoreError, match="gone"):
            await world.clock.run(task)
        assert world.store.asked.count("create") == 4
        world.store.before = fails_to("append", StoreError("gone", transient=True))
        task = asyncio.ensure_future(durable.start(world.pay, 1, run_id="r"))
        with pytest.raises(StoreError, match="gone"):
            await world.clock.run(task)


async def test_a_hook_of_another_run_parks_the_run_that_claims_it(world):
    from awaitpy import Err, UnexpectedError, create_hook, pending_hook
    from awaitpy.durable import HookTaken

    async def creates(step) -> None:
        hook = await step("hook", create_hook, new_id=lambda: "the same")
        await step("wait", pending_hook, hook.hook_id)

    async def waits(step) -> None:
        await step("wait", pending_hook, "the same")

    async with world.durable(workflows=[creates, waits]) as durable:
        await durable.start(creates, run_id="first")
        for flow in (creates, waits):
            outcome = await durable.start(flow, run_id=flow.__name__)
            assert isinstance(outcome.result, Err)
            assert isinstance(outcome.result.error, UnexpectedError)
            assert isinstance(outcome.result.error.cause, HookTaken)
            record = await durable.get(flow.__name__)
            assert record.parked
            assert "HookTaken" in record.trouble


# --- ends that can not be saved --------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreError("no NUL in an id"), OverflowError("a number is too large")])
async def test_a_run_whose_end_the_store_will_not_keep_is_tried_again_and_then_parked(world, error):
    from awaitpy import pending_hook
    from awaitpy.durable import Tries

    async def waits(step) -> None:
        await step("a", world.do, "a")
        world.ran["legs"] += 1
        await step("wait", pending_hook, "invoice-7")

    def save(run_id, head, **terms):
        if head.hooks:
            raise error
        return real(run_id, head, **terms)

    real, world.store.store.save = world.store.store.save, save
    async with world.serving(workflows=[waits], tries=Tries(limit=2, delay=10)) as durable:
        await durable.enqueue(waits, run_id="r")
        for tries in (1, 2):
            await until(lambda tries=tries: world.clock.tick(1) or world.ran["legs"] == tries)
            await world.comes_to("r", "interrupted")
        record = await world.parked(durable, "r")
        assert (record.tries, record.leased_by) == (2, None)
        assert str(error) in record.trouble
        assert list((await durable.state("r")).steps) == ["a"]
    assert world.ran == {"a": 1, "legs": 2}


async def test_who_started_a_run_whose_end_can_not_be_kept_hears_of_it(world):
    too_large = OverflowError("a number is too large")
    async with world.durable() as durable:
        world.store.before = fails_to("save", StoreError("no NUL in an id"), once=True)
        with pytest.raises(StoreError, match="no NUL"):
            await durable.start(world.plain, 1, run_id="a")
        world.store.before = fails_to("save", too_large, once=True)
        assert (await durable.start(world.plain, 1, run_id="b")).result.error.cause is too_large
        for run_id in "ab":
            record = await durable.get(run_id)
            assert (record.status, record.tries, record.leased_by) == ("interrupted", 1, None)


async def test_a_save_that_fails_for_the_moment_says_nothing_about_the_run(world):
    async with world.durable() as durable:
        world.store.before = fails_to("save", StoreError("gone", transient=True))
        task = asyncio.ensure_future(durable.start(world.plain, 1, run_id="r"))
        with pytest.raises(StoreError, match="gone"):
            await world.clock.run(task)
        world.store.before = lambda verb, n: None
        record = await durable.get("r")
        assert (record.status, record.tries, record.trouble) == ("running", 0, None)
        world.clock.advance(61)
        assert (await durable.start(world.plain, 1, run_id="r")).result == Ok(1)
    assert world.ran == {1: 1}


async def test_a_traceback_is_kept_whatever_it_quotes_and_bounded(world):
    def quotes():
        raise ValueError("no such file: caf\udce9.txt\0" + 200_000 * "x" + "the end")

    async def flow(step) -> None:
        await step("a", quotes)

    async with world.durable(workflows=[flow]) as durable:
        assert isinstance((await durable.start(flow, run_id="r")).result.error.cause, ValueError)
        trouble = (await durable.get("r")).trouble
    assert "caf\\udce9.txt\\x00xxx" in trouble
    assert "characters are left out here" in trouble
    assert trouble.startswith("Traceback")
    assert trouble.endswith("the end\n")
    assert len(trouble) < 70_000


async def test_a_run_is_parked_if_even_its_failure_can_not_be_described(world):
    from awaitpy.durable import Tries

    class Broken(Tries):
        def next(self, *_):
            raise ZeroDivisionError("a policy of the user's own")

    async with world.durable(tries=Broken()) as durable:
        with pytest.raises(ZeroDivisionError):
            await durable.start(world.broken, run_id="r")
        record = await durable.get("r")
        assert record.parked
        assert "a policy of the user's own" in record.trouble
