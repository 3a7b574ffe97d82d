"""Runs a step, suspends, sends the state through bytes and JSON, and gives what the replays say."""

from __future__ import annotations

import asyncio
import enum
import math
from collections import deque
from datetime import datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    ResumeState,
    Runner,
    Step,
    UnexpectedError,
    make_converter,
    pending_hook,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNNAMED: Any = object()


def through_bytes(state: ResumeState) -> ResumeState:
    return ResumeState.from_bytes(state.to_bytes())


def through_json(state: ResumeState) -> ResumeState:
    return ResumeState.from_json(state.to_json())


TRIPS = (through_bytes, through_json)


def picture(value: Any) -> Any:
    """Everything that tells a value from another, at every depth: judges without awaitpy's help."""
    kind: Any = type(value)
    if kind is float:
        return kind, "nan" if math.isnan(value) else value.hex()
    if kind is complex:
        return kind, picture(value.real), picture(value.imag)
    if isinstance(value, enum.Enum):
        return kind, value.name, repr(value)
    if kind is Decimal:
        return kind, value.as_tuple()
    if isinstance(value, (datetime, time)):
        zone: Any = value.tzinfo
        return kind, value.isoformat(), value.fold, type(zone), repr(zone), value.tzname()
    if isinstance(value, dict):
        extra = getattr(value, "default_factory", None)
        return kind, [(picture(k), picture(v)) for k, v in value.items()], extra
    if isinstance(value, (list, tuple)):
        return kind, [picture(item) for item in value]
    if isinstance(value, deque):
        return kind, [picture(item) for item in value], value.maxlen
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(picture(item)) for item in value)
    held = _held(value)
    return (kind, {name: picture(v) for name, v in held.items()}) if held else (kind, repr(value))


def _held(value: Any) -> dict[str, Any]:
    own = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__struct_fields__", cls.__dict__.get("__slots__", ()))
        if isinstance(slots, (tuple, list)):
            own.update({s: getattr(value, s) for s in slots if hasattr(value, s)})
    return {name: v for name, v in own.items() if name not in {"__weakref__", "__orig_class__"}}


@attrs.frozen
class Replayed:
    """What a step gave when it ran, and what the replays gave."""

    fresh: Any
    replays: list[Any]
    state: ResumeState

    def exact(self) -> bool:
        return all(picture(again) == picture(self.fresh) for again in self.replays)


class Law:
    """Law 2, ready to be asked about one step."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self._loop = loop
        self.here = Runner(run_id="here")
        # Another set of codecs, as another process has them.
        self.elsewhere = Runner(converter=make_converter())

    def wait(self, coroutine: Any) -> Any:
        return self._loop.run(coroutine)

    def step(
        self,
        fn: Callable[..., Any],
        *args: Any,
        returns: Any = UNNAMED,
        here: Runner | None = None,
        elsewhere: Runner | None = None,
    ) -> Replayed | JournalError:
        """Run `fn` as a step and replay it twice; give the refusal if the step was refused."""
        seen: list[Any] = []

        async def flow(step: Step[PendingHook]) -> None:
            bound = step if returns is UNNAMED else step.options(returns=returns)
            given = await bound.attempt("give", fn, *args)
            seen.append(given.value if isinstance(given, Ok) else given)
            await step("wait", pending_hook, "h")

        outcome = self.wait((here or self.here).run(flow))
        if isinstance(outcome.result.error, UnexpectedError):
            refusal = outcome.result.error.cause
            assert isinstance(refusal, JournalError), repr(refusal)
            assert outcome.result.error.key == "give"
            assert not outcome.state.steps
            assert "'give'" in str(refusal)
            assert refusal.path in str(refusal)
            assert refusal.mend in str(refusal)
            return refusal
        assert isinstance(outcome.result, Err)
        assert isinstance(outcome.result.error, PendingHook), outcome.result
        for trip in TRIPS:
            again = self.wait((elsewhere or self.elsewhere).resume(flow, trip(outcome.state)))
            assert isinstance(again.result.error, PendingHook), str(again.result.error)
        return Replayed(seen[0], seen[1:], outcome.state)

    def of(self, tp: Any, value: Any) -> Replayed | JournalError:
        """The same for a value that a step of this return type gives."""
        return self.step(lambda: value, returns=tp)

    def restores(self, tp: Any, value: Any) -> None:
        """Assert that a value comes back exactly."""
        before = picture(value)
        found = self.of(tp, value)
        assert isinstance(found, Replayed), str(found)
        assert len(found.replays) == 2
        for again in found.replays:
            assert picture(again) == before

    def refuses(self, tp: Any, value: Any) -> JournalError:
        """Assert that a value is refused the first time, and give the refusal."""
        found = self.of(tp, value)
        assert isinstance(found, JournalError), found
        assert found.path.startswith("$")
        return found

    def holds(self, tp: Any, value: Any) -> bool:
        """Assert that a value comes back exactly or is refused; say which."""
        found = self.of(tp, value)
        if isinstance(found, JournalError):
            assert found.path.startswith("$")
            return False
        assert found.exact(), (found.fresh, found.replays)
        return True


@pytest.fixture(scope="session")
def law() -> Iterator[Law]:
    with asyncio.Runner() as loop:
        yield Law(loop)
