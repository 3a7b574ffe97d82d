"""The benchmarks measure what they say; how fast it is, no test asks."""

from __future__ import annotations

import msgspec
import pytest

from awaitpy import run
from tests.benchmarks import figures, limits, runs, starts
from tests.benchmarks.__main__ import print_durable_table, print_table
from tests.benchmarks.durable import Extent
from tests.benchmarks.figures import Scale
from tests.benchmarks.orders import ANSWER, ORDER, PLAIN, Approval, Order
from tests.benchmarks.table import Row
from tests.benchmarks.timing import compared, interleaved
from tests.stores import servers
from tests.stores.conftest import running

TINY = Scale(rounds=1, steps=(2, 4), runs=2, items=3, entries=(2, 5), calls=2, starts=1)


def nothing() -> None:
    pass


@pytest.fixture
def postgres():
    yield from running(servers.Postgres)


def test_the_payload_is_an_order_of_twelve_fields_with_five_items():
    data = msgspec.msgpack.encode(ORDER)
    assert len(PLAIN) == 12
    assert len(PLAIN["items"]) == 5
    assert 430 <= len(data) <= 450
    assert msgspec.msgpack.decode(data, type=Order) == ORDER


async def test_the_limit_journals_the_very_bytes_that_awaitpy_journals():
    by_hand = await limits.journal_orders(3)
    outcome = await run(runs.journal_orders, 3)
    ours = {key: bytes(entry.payload) for key, entry in outcome.state.steps.items()}
    assert ours == {key: bytes(entry.payload) for key, entry in by_hand.items()}


async def test_a_run_held_by_hand_ends_as_one_of_awaitpy():
    workflow = runs.approval(at_wait=nothing)
    ours = await runs.resumed(workflow, await runs.suspended(workflow, 3))
    by_hand = await limits.resumed(await limits.suspended(3, "run", nothing))
    assert ours == by_hand == Approval(**ANSWER)


async def test_a_lambda_journals_the_order_as_plain_data():
    outcome = await run(runs.journal_plain, 1)
    payload = outcome.state.steps["step-0"].payload
    assert bytes(payload) == msgspec.msgpack.encode(PLAIN)
    assert msgspec.msgpack.decode(payload) == PLAIN


@pytest.mark.parametrize("measure", [figures.fresh_orders, figures.fresh_plain, figures.round_trips])
async def test_a_figure_has_a_ratio_for_each_number_of_steps(measure):
    family = await measure(TINY)
    assert family.sizes == TINY.steps
    assert all(family.against_limit(index).ratio > 0 for index in range(len(TINY.steps)))
    assert family.growth(0).ours == family.against_limit(-1).ours


async def test_policies_are_measured_as_well():
    outcome = await run(runs.journal_with_options, 2)
    assert list(outcome.state.steps) == ["step-0", "step-1"]
    assert list((await runs.retried(2)).steps) == ["step-0", "step-1"]
    assert (await figures.unused_options(TINY)).ratio > 0
    assert (await figures.retried_replays(TINY)).ratio > 0


async def test_sizes_keep_to_their_bars():
    assert 0 < await figures.overhead_per_step(100) <= 24
    assert 5 * 430 < await figures.suspended_size(5) <= 3_300


def test_importing_awaitpy_loads_no_framework():
    assert starts.loaded_too_early() == []


async def test_blocks_take_turns_and_the_first_round_is_not_counted():
    turns = []

    async def one() -> float:
        turns.append("one")
        return 6.0

    async def other() -> float:
        turns.append("other")
        return 3.0

    times = await interleaved(2, one, other)
    assert turns == ["other", "one", "one", "other", "other", "one"]
    assert times == [[6.0, 6.0], [3.0, 3.0]]
    assert compared(*times).ratio == 2.0


def test_a_row_fails_above_its_bar_and_passes_on_it():
    assert Row("step", 2, 2.0, "× L", "").cells() == ("step", "≤ 2 × L", "2 × L", "pass", "")
    assert Row("size", 24, 25, "bytes", "").cells() == ("size", "≤ 24 bytes", "25 bytes", "FAIL", "")


async def test_the_table_has_a_line_for_each_figure(capsys):
    await print_table(TINY)
    lines = capsys.readouterr().out.splitlines()
    figure_of = [line.split("|")[1].strip() for line in lines[2:]]
    assert figure_of == [
        "fresh step, 2 steps",
        "fresh step, 4 steps",
        "the same per step, 4 against 2",
        "fresh step, untyped lambda, 2 steps",
        "fresh step, untyped lambda, 4 steps",
        "fresh step, with unused retry and undo",
        "replay of a retried step, 4 against 2",
        "suspend to resume, 2 steps",
        "suspend to resume, 4 steps",
        "the same per step, 4 against 2",
        "state size, a step",
        "a suspended run of 5 steps",
        "2 runs of 5 steps, suspended and resumed",
        "step.map, 3 items",
        "the same, replayed, 3 items",
        "import awaitpy against asyncio, msgspec, attrs",
        "modules that it need not load",
        "inject_hook, 5 entries against 2",
        "get_pending_hooks, 5 entries against 2",
    ]


async def test_the_table_of_durable_runs_has_a_line_for_each_figure(capsys, postgres):
    tiny = Extent(rounds=1, steps=(2, 4), together=2, apiece=2, entries=5, runs=(6, 12), calls=2)
    await print_durable_table(tiny, postgres.url)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == [
        "SQLite FULL, one run, 2 steps",
        "SQLite FULL, one run, 4 steps",
        "the same, 4 against 2",
        "SQLite NORMAL, relaxed, one run, 2 steps",
        "SQLite NORMAL, relaxed, one run, 4 steps",
        "the same, 4 against 2",
        "SQLite FULL, 2 runs at once, a step",
        "PostgreSQL, 2 runs at once, a step",
        "resume of 5 entries from SQLite",
        "inject by hook id, 12 runs against 6",
        "next due, 12 runs against 6",
        "event loop held by a save, 99th percentile",
    ]
