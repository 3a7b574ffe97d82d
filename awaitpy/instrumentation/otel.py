"""Runs as traces of OpenTelemetry: a span for each leg, and one for each step that really runs.

It needs the API package only: without an SDK that exports them, spans cost little and go nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy.events import Event, EventName, Retried
from awaitpy.instrumentation._naming import error_type

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace as traces
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        "awaitpy.instrumentation.otel needs the OpenTelemetry API, which is not installed: "
        "pip install 'awaitpy[otel]'."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

_W3C: Final = TraceContextTextMapPropagator()
_LEG: Final = contexts.create_key("awaitpy-leg")
_OPEN: Final = contexts.create_key("awaitpy-open")


class _Open(msgspec.Struct):
    """A span that goes on: the context that it is current in, its mark there, and what detaches it."""

    span: Span
    context: Context
    mark: object
    token: Token[Context]


class _Leg(msgspec.Struct):
    """A leg that goes on: its span, and those of its steps."""

    run: _Open
    steps: dict[str, _Open] = {}
    replayed: int = 0


class Tracing:
    """An observer that traces runs: `Runner(on_event=Tracing())`.

    A leg is a span `awaitpy.run <workflow>`, in the trace of whoever called `run` or `resume`. It links
    to the leg before it, in whichever process that was: the state carries its `traceparent`. A step
    that really runs is a span `awaitpy.step <key>` within it for each attempt, and current while its
    function runs. Replayed steps have none: the leg counts them. Waits are events of the leg. Errors
    are told by their class; no payload is recorded, neither of a step nor of an exception.

    The tracer comes from `tracer_provider`, or from the global one. One observer serves any number of
    runners, and of runs at the same time.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer: Tracer = traces.get_tracer("awaitpy", tracer_provider=tracer_provider)
        self._legs: dict[int, _Leg] = {}

    def __call__(self, event: Event) -> None:
        """Take what a run tells."""
        if event.name == "run.started":
            self._begin(event)
        elif event.name in _RUN_ENDS:
            self._end(event)
        elif (leg := self._legs.get(event.leg)) is not None:
            _SEEN.get(event.name, _noted)(self._tracer, leg, event)

    def traceparent(self, leg: int) -> str | None:
        """Give the W3C traceparent of a leg that goes on: what the next leg links to."""
        known = self._legs.get(leg)
        carrier: dict[str, str] = {}
        if known is not None:
            _W3C.inject(carrier, known.run.context)
        return carrier.get("traceparent")

    def _begin(self, event: Event) -> None:
        here = contexts.set_value(_LEG, event.leg)
        about: dict[str, str | int] = {
            "awaitpy.run_id": event.run_id,
            "awaitpy.workflow": event.workflow,
            "awaitpy.revision": event.revision,
        }
        span = self._tracer.start_span(
            f"awaitpy.run {event.workflow}", here, attributes=about, links=_links(event.trace)
        )
        self._legs[event.leg] = _Leg(_current(span, here))

    def _end(self, event: Event) -> None:
        leg = self._legs.pop(event.leg, None)
        if leg is None:
            return
        steps, leg.steps = leg.steps, {}
        for left in steps.values():  # what was cut off so hard that it could not say so
            _close(left, "cut")
        leg.run.span.set_attribute("awaitpy.steps.replayed", leg.replayed)
        bad = event.name in {"run.failed", "run.interrupted"}
        _close(leg.run, event.name.removeprefix("run."), event.detail if bad else None)


def _links(trace: str) -> list[Link]:
    """Give the link to the leg before this one; none where the state carries no trace that is one."""
    found = traces.get_current_span(_W3C.extract({"traceparent": trace}))
    before = found.get_span_context()
    return [traces.Link(before)] if before.is_valid else []


def _current(span: Span, context: Context) -> _Open:
    """Make a span the current one of this task."""
    mark = object()
    inside = contexts.set_value(_OPEN, mark, traces.set_span_in_context(span, context))
    return _Open(span, inside, mark, contexts.attach(inside))


def _close(opened: _Open, how: str, error: Any = None) -> None:
    """End a span, and make the one before it the current one again."""
    # A coroutine that is closed from outside ends in another context, with nothing to detach.
    if contexts.get_value(_OPEN) is opened.mark:
        contexts.detach(opened.token)
    opened.span.set_attribute("awaitpy.outcome", how)
    if error is not None:
        named = error_type(error)
        opened.span.set_attribute("error.type", named)
        opened.span.set_status(traces.StatusCode.ERROR, named)
    opened.span.end()


def _started(tracer: Tracer, leg: _Leg, event: Event) -> None:
    here = contexts.get_current()
    if contexts.get_value(_LEG, here) != event.leg:
        here = leg.run.context  # the workflow asks in a task that it did not start
    about = {"awaitpy.run_id": event.run_id, "awaitpy.step.key": str(event.key)}
    span = tracer.start_span(f"awaitpy.step {event.key}", here, attributes=about)
    leg.steps[str(event.key)] = _current(span, here)


def _ended(_: Tracer, leg: _Leg, event: Event) -> None:
    opened = leg.steps.pop(str(event.key), None)
    if opened is not None:
        _close(opened, event.name.removeprefix("step."), event.detail)


def _replayed(_: Tracer, leg: _Leg, __: Event) -> None:
    leg.replayed += 1


def _retried(_: Tracer, leg: _Leg, event: Event) -> None:
    opened, detail = leg.steps.pop(str(event.key), None), event.detail
    if opened is not None and isinstance(detail, Retried):
        opened.span.set_attribute("awaitpy.attempt", detail.attempt)
        opened.span.set_attribute("awaitpy.delay", detail.delay)
        _close(opened, "retried", detail.error)


def _noted(_: Tracer, leg: _Leg, event: Event) -> None:
    leg.run.span.add_event(event.name, None if event.key is None else {"awaitpy.step.key": event.key})


_RUN_ENDS: Final[frozenset[EventName]] = frozenset(
    {"run.suspended", "run.completed", "run.failed", "run.interrupted", "run.cut"}
)
_SEEN: Final[dict[EventName, Callable[[Tracer, _Leg, Event], None]]] = {
    "step.started": _started,
    "step.completed": _ended,
    "step.failed": _ended,
    "step.raised": _ended,
    "step.cut": _ended,
    "step.waiting": _ended,
    "step.replayed": _replayed,
    "step.retried": _retried,
}
