"""The suite of stores finds what is wrong with a store."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from awaitpy import testing
from awaitpy.stores import MemoryStore
from awaitpy.stores._bell import Bell
from awaitpy.testing import StoreSuite


class ForgetsMetadata(MemoryStore):
    async def create(self, run_id, head, **rest):
        return await super().create(run_id, head, **rest | {"metadata": {}})


class TakesAnIdTwice(MemoryStore):
    async def create(self, run_id, head, **rest):
        await self.delete(run_id)
        return await super().create(run_id, head, **rest)


class LosesLines(MemoryStore):
    async def append(self, lease, lines):
        await super().append(lease, lines[:3])


class DoesNotFence(MemoryStore):
    async def append(self, lease, lines):
        run = self._runs.get(lease.run_id)
        await super().append(run.lease if run and run.lease else lease, lines)


class WritesBeforeItRefuses(MemoryStore):
    async def append(self, lease, lines):
        for line in lines:
            await super().append(lease, [line])


class SavesOverAnything(MemoryStore):
    async def save(self, run_id, head, **rest):
        run = self._runs.get(run_id)
        return await super().save(run_id, head, **rest | {"revision": run.revision if run else 0})


class NeverReleases(MemoryStore):
    async def save(self, run_id, head, **rest):
        return await super().save(run_id, head, **rest | {"release": False})


class ReadsThenWrites(MemoryStore):
    """Lets others in between the look and the write."""

    async def save(self, run_id, head, *, revision, **rest):
        run = self._runs.get(run_id)
        if run is None or run.revision != revision:
            return False
        await asyncio.sleep(0)
        return await super().save(run_id, head, revision=run.revision, **rest)


class ClaimsWhatIsHeld(MemoryStore):
    async def claim(self, owner, *, now, **rest):
        return await super().claim(owner, now=now + 1000, **rest)


class CountsTokensPerRun(MemoryStore):
    async def create(self, run_id, head, **rest):
        self._token = 0
        return await super().create(run_id, head, **rest)


class RenewsTheLost(MemoryStore):
    async def renew(self, leases, *, until):
        return (await super().renew(leases, until=until))[:0]


class ForgetsLeasesInNextDue(MemoryStore):
    async def next_due(self, *, workflows=None, **rest):
        return min((run.head.due for _, run in self._due(workflows)), default=None)


class ListsTheOldestFirst(MemoryStore):
    async def page(self, query):
        return (await super().page(query))[::-1]


class LeavesHooksBehind(MemoryStore):
    async def delete(self, run_id):
        return self._runs.pop(run_id, None) is not None


class PurgesTheRunning(MemoryStore):
    async def purge(self, **rest):
        return await super().purge(**rest | {"statuses": ("done", "failed", "open")})


class MissesChanges(MemoryStore):
    async def changed(self, *timeout):
        self._bell = Bell()
        await asyncio.wait_for(super().changed(*timeout), 0.01)


WRONG = [
    ForgetsMetadata,
    TakesAnIdTwice,
    LosesLines,
    DoesNotFence,
    WritesBeforeItRefuses,
    SavesOverAnything,
    NeverReleases,
    ReadsThenWrites,
    ClaimsWhatIsHeld,
    CountsTokensPerRun,
    RenewsTheLost,
    ForgetsLeasesInNextDue,
    ListsTheOldestFirst,
    LeavesHooksBehind,
    PurgesTheRunning,
    MissesChanges,
]


def every_test(kind, *, shared):
    """The tests of the suite over a kind of store."""

    class Suite(StoreSuite):
        def make_store(self):
            return kind()

    Suite.shared = shared
    suite = Suite()
    return [getattr(suite, name) for name in sorted(dir(suite), reverse=True) if name.startswith("test_")]


def fails(test):
    try:
        test()
    except Exception:  # noqa: BLE001  a wrong store may fail in any way
        return True
    return False


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_store_fails(kind):
    assert any(map(fails, every_test(kind, shared=False)))


def test_a_store_that_shares_nothing_has_to_say_so():
    assert not any(map(fails, every_test(MemoryStore, shared=False)))
    assert any(map(fails, every_test(MemoryStore, shared=True)))


def test_a_store_is_needed():
    with pytest.raises(TypeError, match="make_store"):
        StoreSuite()


def test_a_suite_without_a_store_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match=r"TestMyStore has no make_store\(\).*Define it"):

        class TestMyStore(StoreSuite):
            def make_a_store(self): ...


def test_a_suite_may_be_the_base_of_others():
    class Base(StoreSuite):
        shared = False

    class TestMemory(Base):
        def make_store(self):
            return MemoryStore()

    assert not TestMemory().shared


def test_it_is_imported_by_who_asks_for_it_and_needs_no_pytest():
    program = (
        "import sys, awaitpy.testing as t; assert 'awaitpy.durable' not in sys.modules; "
        "t.StoreSuite; assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="'Storage'"):
        testing.Storage  # noqa: B018  asking is what is tested
