"""What a `Durable` is given wrongly is refused by name, before anything is written."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan

import pytest

from awaitpy import UnknownHook
from awaitpy.durable import Durable, UnknownRun
from awaitpy.stores import MemoryStore

HALF = "caf\udce9"
"""A Latin-1 name, as `os.fsdecode` gives it: no text that could be written."""
DEEP = []
DEEP.append(DEEP)


@pytest.mark.parametrize("store", ["runs.db", None, MemoryStore])
def test_what_is_no_store_is_refused(store):
    with pytest.raises(TypeError, match=r"SQLiteStore\('runs.db'\)"):
        Durable(store, workflows=[])


@pytest.mark.parametrize("concurrency", [0, -1])
def test_to_work_on_no_run_at_once_is_refused(concurrency):
    with pytest.raises(ValueError, match=f"concurrency={concurrency} .*1 or more"):
        Durable(MemoryStore(), workflows=[], concurrency=concurrency)


@pytest.mark.parametrize("lease", [0, -1, nan, inf, timedelta(0)])
def test_a_lease_that_is_over_at_once_or_never_is_refused(lease):
    with pytest.raises(ValueError, match=r"lease=.*seconds"):
        Durable(MemoryStore(), workflows=[], lease=lease)


def test_an_unknown_checkpoint_is_refused():
    with pytest.raises(ValueError, match="checkpoint='relaxd' is not 'each' or 'relaxed'"):
        Durable(MemoryStore(), workflows=[], checkpoint="relaxd")


@pytest.mark.parametrize("verb", ["start", "enqueue"])
@pytest.mark.parametrize(
    ("terms", "error", "text"),
    [
        ({"run_id": 7}, TypeError, "run_id=7 is int"),
        ({"run_id": ""}, ValueError, "run_id is empty"),
        ({"run_id": HALF}, ValueError, r"run_id='caf\\udce9' has half of a surrogate pair"),
        ({"metadata": "north"}, TypeError, "metadata='north' is str"),
        ({"metadata": {"shop": object()}}, TypeError, "metadata= is to be plain values"),
        ({"metadata": {"shop": HALF}}, ValueError, r"metadata= has the text 'caf\\udce9'"),
        ({"metadata": {HALF: 1}}, ValueError, r"metadata= has the text 'caf\\udce9'"),
        ({"metadata": {1: "north"}}, TypeError, "metadata= is to be plain values"),
        ({"metadata": {"shop": DEEP}}, ValueError, "metadata= is nested too deep"),
    ],
)
async def test_a_run_that_could_not_be_named_or_found_leaves_no_row(world, verb, terms, error, text):
    async with world.durable() as durable:
        with pytest.raises(error, match=text):
            await getattr(durable, verb)(world.plain, 1, **terms)
        assert await durable.list() == ()


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"new_id": ""}, ValueError),
        ({"new_id": 7}, TypeError),
        ({"new_id": HALF}, ValueError),
        ({"metadata": {"shop": HALF}}, ValueError),
    ],
)
async def test_a_fork_is_named_as_a_run_is(world, terms, error):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        with pytest.raises(error):
            await durable.fork("r", at="hook", **terms)
        assert len(await durable.list()) == 1


@pytest.mark.parametrize(
    ("page", "error", "text"),
    [
        ({"limit": -1}, ValueError, "limit=-1"),
        ({"limit": 0}, ValueError, "limit=0"),
        ({"limit": "10"}, TypeError, "limit='10' is str"),
        ({"after": "r"}, TypeError, r"after='r' is no RunRecord.*get\(run_id\)"),
    ],
)
async def test_a_page_that_is_none_is_refused(world, page, error, text):
    async with world.durable() as durable:
        with pytest.raises(error, match=text):
            await durable.list(**page)


@pytest.mark.parametrize(
    ("query", "error", "text"),
    [
        ({"workflow": lambda step: None}, TypeError, r"workflow=.* is function: it has to be a str"),
        ({"workflow": HALF}, ValueError, "workflow="),
        ({"metadata": "north"}, TypeError, "metadata='north' is str"),
        ({"metadata": {"shop": HALF}}, ValueError, "metadata= has the text"),
    ],
)
async def test_what_runs_are_asked_for_by_is_looked_at(world, query, error, text):
    """No run has a function for its workflow: an empty page would be no answer."""
    async with world.durable() as durable:
        with pytest.raises(error, match=text):
            await durable.list(**query)
        with pytest.raises(error, match=text):
            durable.pending(**query)


async def test_one_status_is_not_taken_for_several(world):
    async with world.durable() as durable:
        with pytest.raises(TypeError, match=r"statuses='completed' is a str: .*\['completed'\]"):
            await durable.purge(older_than=0, statuses="completed")


@pytest.mark.parametrize(("reason", "error"), [(5, TypeError), (None, TypeError), (HALF, ValueError)])
async def test_a_reason_is_a_text(world, reason, error):
    async with world.durable() as durable:
        await durable.start(world.pay, 1, run_id="r")
        with pytest.raises(error, match="reason="):
            await durable.cancel("r", reason)
        assert (await durable.get("r")).status == "suspended"


async def test_a_delivery_is_named_by_texts(world):
    async with world.durable() as durable:
        hook = (await durable.start(world.pay, 1, run_id="r")).result.error.hook_id
        for verb in (durable.inject, durable.deliver):
            with pytest.raises(TypeError, match="delivery_id=5 is int"):
                await verb(hook, "paid", delivery_id=5)
            with pytest.raises(TypeError, match="hook_id=5 is int"):
                await verb(5, "paid")
            with pytest.raises(TypeError, match="run_id=5 is int"):
                await verb(hook, "paid", run_id=5)
        assert (await durable.get("r")).pending[0].deliveries == 0


async def test_an_id_that_is_no_text_is_known_to_no_store(world):
    """It may come with a request: it is answered as any other that nobody made."""
    async with world.durable() as durable:
        assert isinstance((await durable.inject(HALF, 1)).error, UnknownHook)
        assert isinstance((await durable.deliver(HALF, 1, run_id=HALF)).error, UnknownHook)
        assert await durable.get(HALF) is None
        assert not await durable.delete(HALF)
        for asked in (durable.state, durable.resume, durable.cancel):
            with pytest.raises(UnknownRun):
                await asked(HALF)
        with pytest.raises(TypeError, match="run_id=7 is int"):
            await durable.get(7)


def test_a_number_of_tries_is_no_policy():
    with pytest.raises(TypeError, match=r"tries=3 is int: give Tries\(limit=3\)"):
        Durable(MemoryStore(), workflows=[], tries=3)


@pytest.mark.parametrize("workflows", [lambda step: None, "checkout"])
def test_one_workflow_is_not_taken_for_several(workflows):
    with pytest.raises(TypeError, match=r"workflows= is (function|str): give a list"):
        Durable(MemoryStore(), workflows=workflows)


@pytest.mark.parametrize(
    ("terms", "error", "text"),
    [
        ({"workflow": lambda step: None}, TypeError, r"workflow=.* is function: it has to be a str"),
        ({"status": "done"}, ValueError, "status='done' is none: .*'suspended'"),
    ],
)
async def test_a_question_for_what_no_run_can_be_is_refused(world, terms, error, text):
    async with world.durable() as durable:
        with pytest.raises(error, match=text):
            await durable.list(**terms)


async def test_a_purge_of_a_status_that_no_run_can_have_is_refused(world):
    async with world.durable() as durable:
        with pytest.raises(ValueError, match="status='done' is none"):
            await durable.purge(older_than=0, statuses=["done"])
