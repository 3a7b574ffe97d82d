"""The clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from awaitpy import Ok, Runner
from awaitpy.testing import FakeClock

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def test_it_stands_still_until_it_is_moved():
    clock = FakeClock(NOON)
    assert clock() == clock.now == NOON
    clock.advance(timedelta(hours=1))
    assert clock() == NOON + timedelta(hours=1)
    clock.advance(30)
    assert clock() == NOON + timedelta(hours=1, seconds=30)
    clock.move_to(NOON + timedelta(days=1))
    assert clock() == NOON + timedelta(days=1)


def test_it_may_be_moved_to_where_it_stands():
    clock = FakeClock(NOON)
    clock.move_to(NOON)
    clock.advance(0)
    assert clock.now == NOON


def test_it_shows_utc_whatever_zone_it_is_given():
    clock = FakeClock(datetime(2025, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert (clock.now, clock.now.tzinfo) == (NOON, UTC)
    assert repr(clock) == "FakeClock(2025-03-01T12:00:00+00:00)"


def test_two_clocks_without_a_start_show_the_same_time():
    assert FakeClock().now == FakeClock().now


def test_time_never_runs_backwards():
    clock = FakeClock(NOON)
    with pytest.raises(ValueError, match="can't go back to 2025-03-01T11:59:59"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="make a FakeClock of its own"):
        clock.move_to(NOON - timedelta(days=1))
    assert clock.now == NOON


def test_a_time_without_a_zone_is_refused():
    naive = datetime(2025, 3, 1)  # noqa: DTZ001  the naive one is under test
    with pytest.raises(ValueError, match="needs a zone"):
        FakeClock(naive)
    with pytest.raises(ValueError, match="needs a zone"):
        FakeClock(NOON).move_to(naive)


async def test_it_is_the_clock_of_a_runner():
    async def workflow(step) -> str:
        return "done"

    outcome = await Runner(clock=FakeClock(NOON)).run(workflow)
    assert outcome.result == Ok("done")
