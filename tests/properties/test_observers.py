"""What an observer is told of any run, and that nothing it does in return changes the run."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime
from itertools import count

import pytest

from awaitpy.instrumentation import fan_out

RUN_ENDS = {"run.suspended", "run.completed", "run.failed", "run.interrupted", "run.cut"}
STEP_ENDS = {f"step.{end}" for end in ("completed", "failed", "raised", "retried", "cut", "waiting")}
DAWN = datetime(2030, 1, 1, tzinfo=UTC)


class Odd(BaseException):
    """No Exception, and nothing that the interpreter knows."""


@pytest.fixture(autouse=True)
def _known_ids(monkeypatch):
    """Let the hooks of each run have the same ids, so that its states can be compared."""
    monkeypatch.setattr("awaitpy._hooks.os.urandom", lambda size: next(_known_ids.numbers).to_bytes(size))


@pytest.fixture
def legs_of(world):
    """Run to the end from the same time, and give the result and the state of each leg."""

    async def legs(shape, on_event):
        _known_ids.numbers, world.clock.now = count(1), DAWN
        runner = world.runner(on_event=on_event, run_id="run-1")
        outcome = await runner.run(shape)
        found = [(outcome.result, outcome.state.to_bytes())]
        while world.waits(outcome):
            outcome = await runner.resume(shape, world.answer_first(outcome.state))
            found.append((outcome.result, outcome.state.to_bytes()))
        assert outcome.state.status in {"completed", "failed"}
        return found

    return lambda shape, on_event: asyncio.run(legs(shape, on_event))


class Grumbler:
    """An observer that notes what it is told, and raises at the events of some numbers."""

    def __init__(self, error: BaseException | None, at: int | None = None) -> None:
        self.error, self.at = error, at
        self.told = []

    def __call__(self, event) -> None:
        self.told.append(event)
        if self.error is not None and self.at in {None, len(self.told) - 1}:
            raise type(self.error)(*self.error.args)

    def traceparent(self, _: int) -> str:
        if self.error is not None and self.at is None:
            raise type(self.error)(*self.error.args)
        return ""

    @property
    def names(self):
        return [(event.name, event.key) for event in self.told]


@pytest.fixture
def _no_log(monkeypatch):
    """Keep no log: writing tracebacks takes as long as a step of a shape may sleep."""
    monkeypatch.setattr(logging.getLogger("awaitpy"), "disabled", True)


@pytest.mark.usefixtures("_no_log")
@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), GeneratorExit(), Odd()])
def test_an_observer_that_always_raises_changes_nothing(shape, ran, error, legs_of):
    wanted = legs_of(shape, None)
    effects = Counter(ran)
    ran.clear()
    quiet = Grumbler(None)
    assert legs_of(shape, quiet) == wanted
    assert Counter(ran) == effects
    ran.clear()
    loud = Grumbler(error)
    assert legs_of(shape, loud) == wanted
    assert Counter(ran) == effects
    assert loud.names == quiet.names


@pytest.mark.usefixtures("_no_log")
def test_an_observer_that_raises_at_any_one_event_changes_nothing(shape, ran, legs_of):
    quiet = Grumbler(None)
    wanted = legs_of(shape, quiet)
    effects = Counter(ran)
    for moment in range(len(quiet.told)):
        ran.clear()
        loud = Grumbler(LookupError("not now"), moment)
        assert legs_of(shape, loud) == wanted, moment
        assert Counter(ran) == effects, moment
        assert loud.names == quiet.names, moment


def assert_grammar(told) -> None:
    """Each leg has one start and one end, and so has each step of it that runs."""
    for leg in {event.leg for event in told}:
        names = [(event.name, event.key) for event in told if event.leg == leg]
        assert names[0][0] == "run.started"
        assert names[-1][0] in RUN_ENDS
        assert len([name for name, _ in names if name in RUN_ENDS | {"run.started"}]) == 2
        open_steps = set()
        for name, key in names:
            if name == "step.started":
                assert key not in open_steps
                open_steps.add(key)
            elif name in STEP_ENDS:
                open_steps.remove(key)
        assert not open_steps


def test_each_start_of_a_leg_and_of_a_step_has_one_end(shape, legs_of):
    watch = Grumbler(None)
    legs = legs_of(shape, watch)
    assert_grammar(watch.told)
    assert len({e.leg for e in watch.told if e.run_id == "run-1"}) == len(legs)
    assert {(e.run_id, e.workflow) for e in watch.told if "/" not in e.run_id} == {
        ("run-1", shape.__qualname__)
    }


@pytest.mark.parametrize("how", ["cancels", "raises"])
def test_so_it_is_when_the_caller_cancels_or_the_store_fails_at_any_entry_of_any_leg(shape, how, world):
    async def one(moment: int) -> int:
        left = moment
        watch = Grumbler(None)

        async def checkpoint(_) -> None:
            nonlocal left
            left -= 1
            if left == 0 and how == "raises":
                raise ConnectionError
            if left == 0:
                task.cancel()
            await asyncio.sleep(0)

        runner = world.runner(checkpoint=checkpoint, on_event=watch)
        state = runner.start(shape)
        while True:
            task = asyncio.ensure_future(runner.resume(shape, state))
            await asyncio.wait([task])
            if left <= 0 or not world.waits(task.result()):
                break
            state = world.answer_first(task.result().state)
        assert_grammar(watch.told)
        ends = watch.told[-1].name
        if left <= 0:
            assert ends == ("run.cut" if task.cancelled() else f"run.{task.result().state.status}")
        return left

    _known_ids.numbers = count(1)
    moment = 1
    while asyncio.run(one(moment)) <= 0:
        moment += 1


def test_what_it_raises_is_in_the_log_with_its_traceback(caplog, legs_of):
    async def flow(step):
        return await step("a", lambda: 1)

    legs_of(flow, Grumbler(ValueError("no"), 1))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("awaitpy", logging.ERROR)
    assert record.getMessage() == (
        "The observer Grumbler raised ValueError at step.started. The run goes on as if it had not."
    )
    assert "in __call__\n    raise type(self.error)" in caplog.text


def test_a_log_that_raises_changes_nothing_either(monkeypatch, legs_of):
    class Broken(logging.Handler):
        def handle(self, _):
            raise OSError("the disk is full")

    monkeypatch.setattr(logging.getLogger("awaitpy"), "handlers", [Broken()])

    async def flow(step):
        return await step("a", lambda: 1)

    assert legs_of(flow, Grumbler(ValueError("no"))) == legs_of(flow, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_let_through(error, legs_of):
    async def flow(step):
        return await step("a", lambda: 1)

    with pytest.raises(error):
        legs_of(flow, Grumbler(error(), 1))


@pytest.mark.usefixtures("_no_log")
def test_of_several_observers_one_that_raises_does_not_silence_the_others(shape, legs_of):
    first, last = Grumbler(None), Grumbler(None)
    wanted = legs_of(shape, None)
    assert legs_of(shape, fan_out(first, Grumbler(ValueError("no")), last)) == wanted
    assert first.told == last.told
    assert first.told
