"""The fixtures that installing awaitpy gives to pytest."""

from __future__ import annotations

import tomllib
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "awaitpy.testing.plugin"
TESTS = """
import asyncio
from datetime import timedelta

from awaitpy import Ok, create_hook, pending_hook
from awaitpy.testing import FakeClock

async def approval(step) -> str:
    hook = await step("ask", create_hook)
    answer = await step.attempt("answer", pending_hook, hook.hook_id, str, timeout=60)
    return answer.unwrap_or("nothing")

def test_it_is_approved(workflow_tester):
    async def tried():
        approvals = workflow_tester(approval, run_id="run-1")
        await approvals.start()
        assert approvals.state.run_id == "run-1"
        await approvals.deliver("approved")
        assert approvals.result == Ok("approved")
    asyncio.run(tried())

def test_all_testers_of_a_test_share_its_clock(workflow_tester, fake_clock):
    async def tried():
        first, second = workflow_tester(approval), workflow_tester(approval)
        assert first.clock is second.clock is fake_clock
        await first.start()
        again = workflow_tester(approval, state=first.state, on_event=print)
        fake_clock.advance(60)
        await again.resume()
        assert again.result == Ok("nothing")
    asyncio.run(tried())

def test_the_next_test_has_a_clock_of_its_own(fake_clock):
    assert fake_clock.now == FakeClock().now
"""


@pytest.fixture
def run_pytest(pytester):
    """Runs pytest, which finds the plugin by itself where awaitpy is installed."""
    found = entry_points(group="pytest11", value=PLUGIN)
    told = () if found else ("-p", PLUGIN)
    return partial(pytester.runpytest_inprocess, "-p", "no:asyncio", *told)


def test_the_fixtures_drive_a_workflow(pytester, run_pytest):
    pytester.makepyfile(TESTS)
    run_pytest().assert_outcomes(passed=3)


def test_pytest_lists_the_fixtures_with_what_they_give(run_pytest):
    listed = run_pytest("--fixtures").stdout
    listed.fnmatch_lines(["fake_clock*", "*A clock that stands still until the test moves it."])
    listed.fnmatch_lines(["workflow_tester*", "*Makes testers for workflows, all of them on*"])


def test_a_fixture_of_the_users_own_clock_is_taken(pytester, run_pytest):
    pytester.makepyfile("""
        from datetime import UTC, datetime
        import pytest
        from awaitpy.testing import FakeClock

        @pytest.fixture
        def fake_clock():
            return FakeClock(datetime(2031, 1, 1, tzinfo=UTC))

        async def workflow(step) -> None: ...

        def test_the_year(workflow_tester):
            assert workflow_tester(workflow).clock.now.year == 2031
    """)
    run_pytest().assert_outcomes(passed=1)


def test_installing_awaitpy_is_all_that_it_takes():
    pyproject = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    declared = pyproject["project"]["entry-points"]["pytest11"]
    assert declared == {"awaitpy": PLUGIN}
    assert import_module(PLUGIN).workflow_tester
