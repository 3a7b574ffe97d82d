"""Runs as traces, seen by the exporter in memory of the real SDK."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import subprocess
import sys
from pathlib import Path

import attrs
import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from awaitpy import Err, Event, Ok, Result, ResumeState, Retry, Runner, inject_hook, pending_hook, run
from awaitpy.events import Retried
from awaitpy.instrumentation import fan_out, otel
from awaitpy.instrumentation.otel import Tracing
from awaitpy.testing import WorkflowTester

CARD = "4111-1111"


@attrs.frozen
class Declined:
    card: str


def charge(card: str) -> Result[str, Declined]:
    return Err(Declined(card))


class Process:
    """What one process has of tracing: a provider, an exporter in memory, and the observer."""

    def __init__(self, *processors: SpanProcessor) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        for processor in processors:
            self.provider.add_span_processor(processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("of the application")
        self.tracing = Tracing(self.provider)
        self.runner = Runner(on_event=self.tracing, run_id="run-1")

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def __getitem__(self, name: str):
        """The one span of this name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def parents(self) -> dict[str, str | None]:
        names = {span.context.span_id: span.name for span in self.spans}
        return {span.name: span.parent and names[span.parent.span_id] for span in self.spans}

    def outcomes(self) -> dict[str, object]:
        found = {span.name: span.attributes.get("awaitpy.outcome") for span in self.spans}
        return {name.removeprefix("awaitpy."): how for name, how in found.items() if how}


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """No test leaves a span current."""
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
def process():
    made = Process()
    yield made
    assert made.tracing._legs == {}


def moved(state: ResumeState, **values: object) -> ResumeState:
    """Send a state to another process, and answer hooks of it there."""
    state = ResumeState.from_bytes(state.to_bytes())
    for hook_id, value in values.items():
        state = inject_hook(state, hook_id, value)
    return state


async def waits(step):
    await step("first", lambda: 1)
    return await step("wait", pending_hook, "h")


async def test_a_leg_is_a_span_and_each_step_of_it_one_within(process):
    async def flow(step):
        await step("a", lambda: 1)
        return await step.scope("sub")("b", lambda: 2)

    assert (await process.runner.run(flow)).result == Ok(2)
    flow_name = f"awaitpy.run {flow.__qualname__}"
    assert process.parents() == {
        "awaitpy.step a": flow_name,
        "awaitpy.step sub/b": flow_name,
        flow_name: None,
    }
    leg = process[flow_name]
    assert dict(leg.attributes) == {
        "awaitpy.run_id": "run-1",
        "awaitpy.workflow": flow.__qualname__,
        "awaitpy.revision": 0,
        "awaitpy.steps.replayed": 0,
        "awaitpy.outcome": "completed",
    }
    assert dict(process["awaitpy.step a"].attributes) == {
        "awaitpy.run_id": "run-1",
        "awaitpy.step.key": "a",
        "awaitpy.outcome": "completed",
    }
    assert {span.status.status_code for span in process.spans} == {StatusCode.UNSET}
    assert {span.kind for span in process.spans} == {SpanKind.INTERNAL}
    assert leg.instrumentation_scope.name == "awaitpy"


async def test_the_span_of_a_step_is_current_while_its_function_runs(process):
    def spans(name: str) -> str:
        with process.tracer.start_as_current_span(f"in {name}"):
            return name

    async def later(name: str) -> str:
        await asyncio.sleep(0)
        spans(f"a task of {name}")
        return await asyncio.to_thread(spans, name)

    async def flow(step):
        await step("sync", spans, "sync")
        spans("the workflow")
        await asyncio.gather(step("x", later, "x"), step("y", later, "y"))
        async with asyncio.TaskGroup() as group:
            group.create_task(step("z", later, "z"))

    await process.runner.run(flow)
    parents = process.parents()
    assert parents["in sync"] == "awaitpy.step sync"
    assert parents["in the workflow"] == f"awaitpy.run {flow.__qualname__}"
    for name in "xyz":
        assert parents[f"in {name}"] == f"awaitpy.step {name}"
        assert parents[f"in a task of {name}"] == f"awaitpy.step {name}"
        assert parents[f"awaitpy.step {name}"] == f"awaitpy.run {flow.__qualname__}"


async def test_a_leg_is_in_the_trace_of_its_caller_and_steps_are_in_spans_of_the_workflow(process):
    async def flow(step):
        with process.tracer.start_as_current_span("chapter"):
            await step("a", lambda: 1)

    with process.tracer.start_as_current_span("request") as request:
        await process.runner.run(flow)
        assert trace.get_current_span() is request
    assert process.parents() == {
        "awaitpy.step a": "chapter",
        "chapter": f"awaitpy.run {flow.__qualname__}",
        f"awaitpy.run {flow.__qualname__}": "request",
        "request": None,
    }


async def test_a_step_in_a_task_of_another_context_is_in_the_leg_all_the_same(process):
    async def flow(step):
        task = asyncio.create_task(step("a", lambda: 1), context=contextvars.Context())
        return await task

    await process.runner.run(flow)
    assert process.parents()["awaitpy.step a"] == f"awaitpy.run {flow.__qualname__}"


async def test_a_run_in_a_step_of_a_run_is_in_the_span_of_that_step(process):
    async def inner(step):
        return await step("inner", lambda: 1)

    async def starts_inner() -> int:
        return (await process.runner.run(inner)).result.unwrap()

    async def outer(step):
        return await step("outer", starts_inner)

    assert (await process.runner.run(outer)).result == Ok(1)
    assert process.parents() == {
        "awaitpy.step inner": f"awaitpy.run {inner.__qualname__}",
        f"awaitpy.run {inner.__qualname__}": "awaitpy.step outer",
        "awaitpy.step outer": f"awaitpy.run {outer.__qualname__}",
        f"awaitpy.run {outer.__qualname__}": None,
    }


async def test_a_leg_links_to_the_one_before_it_in_another_process():
    before, after, at_last = Process(), Process(), Process()
    state = (await before.runner.run(waits)).state
    first = before["awaitpy.run waits"]
    assert first.links == ()
    assert state.trace.startswith(f"00-{first.context.trace_id:032x}-{first.context.span_id:016x}-0")
    state = moved(state)
    assert (await after.runner.resume(waits, state)).state is state
    state = (await at_last.runner.resume(waits, moved(state, h=1))).state
    for process in after, at_last:
        (link,) = process["awaitpy.run waits"].links
        assert link.context.trace_id == first.context.trace_id
        assert link.context.span_id == first.context.span_id
        assert link.context.is_remote
        assert process["awaitpy.run waits"].context.trace_id != first.context.trace_id
    assert state.trace[3:35] == f"{at_last['awaitpy.run waits'].context.trace_id:032x}"


ELSEWHERE = """
import asyncio, sys
from opentelemetry.sdk.trace import TracerProvider
from awaitpy import Runner, pending_hook
from awaitpy.instrumentation.otel import Tracing

async def waits(step):
    await step("first", lambda: 1)
    return await step("wait", pending_hook, "h")
waits.__qualname__ = "waits"

runner = Runner(on_event=Tracing(TracerProvider()))
sys.stdout.buffer.write(asyncio.run(runner.run(waits)).state.to_bytes())
"""


async def test_so_it_does_where_that_is_a_process_indeed(process):
    made = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ELSEWHERE],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    state = ResumeState.from_bytes(made.stdout)
    await process.runner.resume(waits, moved(state, h=1))
    (link,) = process["awaitpy.run waits"].links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" == state.trace[3:52]


@pytest.mark.parametrize("trace_", ["", "nonsense", f"00-{'0' * 32}-{'0' * 16}-01", "\x00" * 60])
async def test_a_state_whose_trace_is_none_gives_no_link(process, trace_):
    state = msgspec.structs.replace(Runner().start(waits), trace=trace_)
    with process.tracer.start_as_current_span("request"):
        await process.runner.resume(waits, moved(state))
    assert process["awaitpy.run waits"].links == ()
    assert otel._links(trace_) == []


async def test_replayed_steps_have_no_spans_and_are_counted(process):
    state = (await process.runner.run(waits)).state
    process.exporter.clear()
    await process.runner.resume(waits, moved(state, h=1))
    assert process.outcomes() == {"step wait": "waiting", "run waits": "completed"}
    assert process["awaitpy.run waits"].attributes["awaitpy.steps.replayed"] == 1
    assert process["awaitpy.run waits"].attributes["awaitpy.revision"] == 2


async def test_waits_are_events_of_the_leg(process):
    state = (await process.runner.run(waits)).state
    leg = process["awaitpy.run waits"]
    assert [(event.name, dict(event.attributes)) for event in leg.events] == [
        ("hook.waiting", {"awaitpy.step.key": "wait"})
    ]
    assert leg.attributes["awaitpy.outcome"] == "suspended"
    assert leg.status.status_code is StatusCode.UNSET
    process.exporter.clear()
    await process.runner.resume(waits, moved(state, h=1))
    assert [event.name for event in process["awaitpy.run waits"].events] == ["hook.answered"]


async def test_errors_are_told_by_their_class_and_hold_no_payload(process):
    def breaks(card: str) -> int:
        return int(card)

    async def flow(step, card: str):
        await step.attempt("charge", charge, card)
        await step("breaks", breaks, card)

    async def fails(step, card: str):
        await step("charge-at-last", charge, card)

    await process.runner.run(flow, CARD)
    await process.runner.run(fails, CARD)
    seen = {
        span.name.split(".")[-1]: (span.status.status_code, span.status.description)
        for span in process.spans
    }
    unexpected = "UnexpectedError(ValueError)"
    assert list(seen.values()) == [
        (StatusCode.ERROR, "Declined"),
        (StatusCode.ERROR, "ValueError"),
        (StatusCode.ERROR, unexpected),
        (StatusCode.ERROR, "Declined"),
        (StatusCode.ERROR, "Declined"),
    ]
    assert process.spans[2].attributes["error.type"] == unexpected
    assert [span.attributes["awaitpy.outcome"] for span in process.spans] == [
        "failed", "raised", "interrupted", "failed", "failed",
    ]  # fmt: skip
    assert not [span for span in process.spans if CARD in span.to_json()]


async def test_each_attempt_of_a_step_is_a_span(process):
    tries = iter([ConnectionError(CARD), ConnectionError(CARD), "there"])

    def flaky() -> str:
        given = next(tries)
        if isinstance(given, Exception):
            raise given
        return given

    async def flow(step):
        return await step.options(retry=Retry(attempts=3, delay=1.5, jitter=0))("a", flaky)

    runner = Runner(on_event=process.tracing, sleep=lambda _: asyncio.sleep(0))
    assert (await runner.run(flow)).result == Ok("there")
    attempts = [span for span in process.spans if span.parent is not None]
    assert [span.attributes["awaitpy.outcome"] for span in attempts] == ["retried", "retried", "completed"]
    assert [span.attributes.get("awaitpy.attempt") for span in attempts] == [1, 2, None]
    assert attempts[0].attributes["awaitpy.delay"] == 1.5
    assert attempts[0].attributes["error.type"] == "ConnectionError"
    assert not [span for span in process.spans if CARD in span.to_json()]


async def test_undoing_is_of_the_leg_that_failed_and_each_undo_is_a_step(process):
    async def flow(step):
        await step.options(undo=lambda _: None)("a", lambda: 1)
        await step("charge", charge, CARD)

    outcome = await process.runner.run(flow)
    assert outcome.state.status == "failed"
    name = f"awaitpy.run {flow.__qualname__}"
    assert [event.name for event in process[name].events] == ["run.undoing"]
    assert list(process.parents().values()) == [name, name, name, None]
    assert outcome.state.trace[36:52] == f"{process[name].context.span_id:016x}"


async def test_a_cancelled_run_ends_its_spans_as_cut(process):
    async def flow(step):
        await asyncio.gather(step("a", asyncio.Event().wait), step("b", asyncio.Event().wait))

    task = asyncio.ensure_future(process.runner.run(flow))
    await asyncio.sleep(0.001)
    assert process.spans == ()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    name = f"run {flow.__qualname__}"
    assert process.outcomes() == {"step a": "cut", "step b": "cut", name: "cut"}
    assert {span.status.status_code for span in process.spans} == {StatusCode.UNSET}


async def test_runs_at_the_same_time_keep_their_spans_apart(process):
    async def flow(step, n: int):
        await step("a", asyncio.sleep, 0)
        return await step("b", lambda: n)

    async def one(n: int) -> None:
        await Runner(on_event=process.tracing, run_id=f"run-{n}").run(flow, n)

    await asyncio.gather(*(one(n) for n in range(3)))
    legs = {span.context.span_id: span for span in process.spans if span.parent is None}
    steps = [span for span in process.spans if span.parent is not None]
    assert (len(legs), len(steps)) == (3, 6)
    for step in steps:
        leg = legs[step.parent.span_id]
        assert step.attributes["awaitpy.run_id"] == leg.attributes["awaitpy.run_id"]
        assert leg.start_time <= step.start_time <= step.end_time <= leg.end_time


class Failing(SpanExporter):
    def export(self, _):
        raise ConnectionError("no collector")

    def shutdown(self):
        pass


class Breaks(SpanProcessor):
    """A processor that raises at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, *_, **__):
        if self.at == "start":
            raise ConnectionError("no collector")

    def on_end(self, _):
        if self.at == "end":
            raise ConnectionError("no collector")


@pytest.mark.parametrize(
    "broken",
    [SimpleSpanProcessor(Failing()), Breaks("start"), Breaks("end")],
    ids=["export", "start", "end"],
)
async def test_an_exporter_that_raises_changes_nothing(broken):
    broken_one, good = Process(broken), Process()
    wanted = await Runner(on_event=good.tracing, run_id="run-1").run(waits)
    both = Runner(on_event=fan_out(broken_one.tracing, good.tracing), run_id="run-1")
    good.exporter.clear()
    outcome = await both.run(waits)
    assert outcome.result == wanted.result
    assert outcome.state.steps == wanted.state.steps
    assert good.outcomes() == {"step first": "completed", "step wait": "waiting", "run waits": "suspended"}
    assert broken_one.tracing._legs == {}


async def test_of_several_observers_the_first_that_traces_says_in_which_trace_a_leg_is():
    told, one, other = [], Process(), Process()
    observer = fan_out(told.append, Tracing(NoOpTracerProvider()), one.tracing, other.tracing)
    state = (await Runner(on_event=observer).run(waits)).state
    assert state.trace[3:35] == f"{one['awaitpy.run waits'].context.trace_id:032x}"
    assert told
    assert (await Runner(on_event=fan_out(told.append)).run(waits)).state.trace == ""


async def test_without_an_sdk_nothing_is_traced_and_nothing_is_changed(caplog):
    runner = Runner(on_event=Tracing(NoOpTracerProvider()), run_id="run-1")
    outcome = await runner.run(waits)
    assert outcome.state.trace == ""
    assert outcome.state.steps == (await run(waits)).state.steps
    assert caplog.records == []


async def test_a_tester_traces_too(process):
    flow = WorkflowTester(waits, on_event=process.tracing)
    await flow.start()
    await flow.deliver(1)
    first, second = (span for span in process.spans if span.parent is None)
    assert second.links[0].context.span_id == first.context.span_id
    assert flow.calls == {"first": 1}


# --- what is told, event by event ---------------------------------------------------------------


def event(name, key=None, detail=None, leg=7) -> Event:
    return Event(name, "run-1", key, detail, "flow", leg)


def test_what_is_told_of_steps_that_are_not_under_way_makes_no_span(process):
    again = Retried(2, 1.5, ConnectionError(CARD))
    process.tracing(event("run.started"))
    process.tracing(event("step.retried", "not started", again))
    process.tracing(event("step.completed", "journaled, and never started"))
    process.tracing(event("run.completed"))
    assert process.outcomes() == {"run flow": "completed"}


def test_a_step_that_never_told_its_end_ends_with_its_leg(process):
    for name, key in [("run.started", None), ("step.started", "a"), ("run.cut", None)]:
        process.tracing(event(name, key))
    assert process.outcomes() == {"step a": "cut", "run flow": "cut"}


def test_a_step_that_is_ended_from_another_context_leaves_that_one_alone(process, caplog):
    process.tracing(event("run.started"))
    contextvars.copy_context().run(process.tracing, event("step.started", "a"))
    with process.tracer.start_as_current_span("of somebody else") as other:
        process.tracing(event("step.cut", "a"))
        assert trace.get_current_span() is other
    process.tracing(event("run.cut"))
    assert process.outcomes() == {"step a": "cut", "run flow": "cut"}
    assert caplog.records == []


def test_a_function_that_leaves_its_own_span_current_does_not_shift_what_comes_after(process):
    from opentelemetry import context

    process.tracing(event("run.started"))
    process.tracing(event("step.started", "a"))
    context.attach(trace.set_span_in_context(process.tracer.start_span("left open")))
    process.tracing(event("step.completed", "a"))
    process.tracing(event("step.started", "b"))
    process.tracing(event("step.completed", "b"))
    process.tracing(event("run.completed"))
    assert process.parents()["awaitpy.step b"] == "awaitpy.run flow"


def test_a_step_that_is_asked_for_within_another_leg_is_in_its_own(process):
    process.tracing(event("run.started"))
    process.tracing(event("run.started", leg=8))
    process.tracing(event("step.started", "a"))
    process.tracing(event("step.completed", "a"))
    process.tracing(event("run.completed", leg=8))
    process.tracing(event("run.completed"))
    step, inner, outer = process.spans
    assert step.parent.span_id == outer.context.span_id
    assert inner.parent.span_id == outer.context.span_id


def test_a_leg_of_which_nothing_is_known_is_let_go(process):
    process.tracing(event("step.started", "a"))
    process.tracing(event("run.completed"))
    assert process.tracing.traceparent(7) is None
    assert process.spans == ()


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "awaitpy.instrumentation.otel")
    with pytest.raises(ImportError) as caught:
        importlib.import_module("awaitpy.instrumentation.otel")
    assert str(caught.value) == (
        "awaitpy.instrumentation.otel needs the OpenTelemetry API, which is not installed: "
        "pip install 'awaitpy[otel]'."
    )
