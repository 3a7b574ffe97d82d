"""How entries come to a store: in order, one append at a time, whole also where the run is cut off."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import Ok
from awaitpy.durable import Durable, StoreError
from awaitpy.stores import MemoryStore, SQLiteStore

from .conftest import turns, until


class Slow(MemoryStore):
    """A store whose appends take until the gate is open; it remembers what each had."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()
        self.appends = []

    async def append(self, lease, lines):
        self.appends.append(len(lines))
        await self.gate.wait()
        await super().append(lease, lines)


async def branches(step, count: int) -> list[int]:
    return await asyncio.gather(*(step(f"s{n}", lambda n=n: n) for n in range(count)))


async def test_entries_of_branches_that_come_while_one_is_written_are_written_together():
    store = Slow()
    async with Durable(store, workflows=[branches]) as durable:
        run = asyncio.ensure_future(durable.start(branches, 20, run_id="r"))
        await turns()
        assert store.appends == [1]
        store.gate.set()
        assert (await run).result == Ok(list(range(20)))
        assert store.appends == [1, 19]
        assert list((await durable.state("r")).steps) == [f"s{n}" for n in range(20)]


async def test_no_branch_goes_on_before_its_entry_is_written():
    store, went_on = Slow(), []

    async def goes_on(step) -> None:
        async def branch(n):
            await step(f"s{n}", lambda: n)
            went_on.append(n)

        await asyncio.gather(*map(branch, range(5)))

    async with Durable(store, workflows=[goes_on]) as durable:
        run = asyncio.ensure_future(durable.start(goes_on))
        await turns()
        assert went_on == []
        store.gate.set()
        await run
        assert sorted(went_on) == list(range(5))


async def test_what_the_workflow_cuts_off_while_it_is_written_is_written_whole():
    store = Slow()

    async def hurried(step) -> str:
        try:
            async with asyncio.timeout(0):
                await step("written", lambda: "value")
        except TimeoutError:
            return await step("after", lambda: "late")
        return "in time"

    async with Durable(store, workflows=[hurried]) as durable:
        run = asyncio.ensure_future(durable.start(hurried, run_id="r"))
        await until(lambda: store.appends)
        await turns()
        assert not run.done()
        store.gate.set()
        assert (await run).result == Ok("late")
        assert list((await durable.state("r")).steps) == ["written", "after"]


@pytest.mark.parametrize("checkpoint", ["each", "relaxed"])
async def test_a_store_that_refuses_at_once_ends_the_run_like_one_that_takes_its_time(tmp_path, checkpoint):
    class Refusing(SQLiteStore):
        def append(self, *_):
            raise StoreError("it is not open")

    async with Durable(
        Refusing(tmp_path / "runs.db"), workflows=[branches], checkpoint=checkpoint
    ) as durable:
        with pytest.raises(StoreError, match="not open"):
            await durable.start(branches, 3, run_id="r")
        assert (await durable.get("r")).tries == 1


async def test_an_append_that_is_cancelled_is_no_written_entry():
    store = Slow()

    async def cancelled(lease, lines):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    store.append = cancelled
    async with Durable(store, workflows=[branches]) as durable:
        with pytest.raises(StoreError, match="event loop has come to an end"):
            await durable.start(branches, 1, run_id="r")
        assert not (await durable.state("r")).steps
