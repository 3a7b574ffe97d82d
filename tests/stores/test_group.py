"""Group commit: what comes at the same moment is written together, in order, and told to who asked."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy.durable import Lease, LeaseLost
from awaitpy.stores._group import GroupWriter
from awaitpy.stores._jobs import Hold


def job(run_id, number=0):
    return Hold(lease=Lease(run_id, "me", number, 1.0), until=2.0)


class Fake:
    """Writes when it is let, and puts aside the runs that it is told to."""

    def __init__(self, *aside):
        self.aside, self.groups, self.alone = set(aside), [], []
        self.may_write, self.may_write_alone = asyncio.Event(), asyncio.Event()

    async def __call__(self, jobs, *, alone):
        names = [f"{job.run_id}{job.lease.token}" for job in jobs]
        (self.alone if alone else self.groups).append(names)
        await (self.may_write_alone if alone else self.may_write).wait()
        return [None if not alone and job.run_id in self.aside else job.lease.token for job in jobs]


def ask(writer, *names):
    return [asyncio.create_task(writer.do(job(name[0], int(name[1:])))) for name in names]


async def turn():
    for _ in range(9):
        await asyncio.sleep(0)


async def test_what_comes_while_a_group_is_written_is_the_next_group():
    fake = Fake()
    writer = GroupWriter(fake)
    first = ask(writer, "a1")
    await turn()
    rest = ask(writer, "a2", "b1", "a3")
    await turn()
    assert fake.groups == [["a1"]]
    fake.may_write.set()
    assert await asyncio.gather(*first, *rest) == [1, 2, 1, 3]
    assert fake.groups == [["a1"], ["a2", "b1", "a3"]]


async def test_a_group_has_a_limit():
    fake = Fake()
    fake.may_write.set()
    writer = GroupWriter(fake, limit=2)
    await asyncio.gather(*ask(writer, "a1", "a2", "a3", "a4", "a5"))
    assert fake.groups == [["a1", "a2"], ["a3", "a4"], ["a5"]]


async def test_a_run_that_is_put_aside_holds_up_its_own_jobs_only():
    fake = Fake("a")
    fake.may_write.set()
    writer = GroupWriter(fake)
    held = ask(writer, "a1", "a2")
    await asyncio.gather(*ask(writer, "b1"))
    held += ask(writer, "a3")
    await turn()
    await asyncio.gather(*ask(writer, "b2"))
    assert fake.alone == [["a1"]]
    fake.may_write_alone.set()
    assert await asyncio.gather(*held) == [1, 2, 3]
    assert fake.alone == [["a1"], ["a2"], ["a3"]]
    assert fake.groups == [["a1", "a2", "b1"], ["b2"]]


async def test_what_is_raised_is_told_to_each_and_the_next_group_is_written():
    async def broken(jobs, *, alone):
        if len(jobs) > 1:
            raise ZeroDivisionError
        return [LeaseLost("a")]

    writer = GroupWriter(broken)
    told = await asyncio.gather(*ask(writer, "a1", "b1"), return_exceptions=True)
    assert [type(each) for each in told] == [ZeroDivisionError, ZeroDivisionError]
    with pytest.raises(LeaseLost):
        await writer.do(job("a"))


async def test_it_is_finished_when_all_is_written():
    fake = Fake("a")
    writer = GroupWriter(fake)
    asked = ask(writer, "a1", "b1")
    await turn()
    finishing = asyncio.create_task(writer.finish())
    await turn()
    assert not finishing.done()
    fake.may_write.set()
    fake.may_write_alone.set()
    await finishing
    assert all(each.done() for each in asked)
