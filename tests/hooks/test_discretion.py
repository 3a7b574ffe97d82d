"""No message repeats the body: not its values, not its keys, wherever in it they are."""

from __future__ import annotations

import enum
from typing import Any, Literal, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from awaitpy import (
    InvalidPayload,
    PayloadMisfit,
    PendingHook,
    Runner,
    Step,
    inject_hook,
    pending_hook,
    resume,
)

SECRET = "hunter2secret"
NUMBER = 4242424242


class Status(enum.Enum):
    PAID = "paid"


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Card:
    number: int
    holder: str
    kind: Literal["visa", "other"] = "other"
    status: Status = Status.PAID
    level: Level = Level.LOW


@attrs.frozen
class Checked:
    holder: str = attrs.field(validator=attrs.validators.in_(["me"]))
    number: int = attrs.field(default=0, validator=attrs.validators.lt(5))


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    number: int = 0
    table: dict[str, int] = {}
    keyed: dict[int, int] = {}


class One(msgspec.Struct, tag=1):
    x: int = 0


class Two(msgspec.Struct, tag=2):
    x: int = 0


class Named(msgspec.Struct, tag="named"):
    x: int = 0


class Other(msgspec.Struct, tag="other"):
    x: int = 0


class Entry(TypedDict):
    number: int


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int
    table: dict[str, int] = {}
    kind: Literal["a"] = "a"


def decode(data: Any) -> int:
    raise ValueError(f"this is no number: {data}")


def decode_oddly(data: Any) -> int:
    raise msgspec.ValidationError(f"{data} is wrong - at `$.x`")


def decode_by_lookup(data: Any) -> int:
    return {}[str(data)]


PAYLOADS: list[Any] = [
    int, str, Status, Level, Literal["a", 1], Card, Checked, Strict, One | Two, Named | Other, Entry, Model,
    list[int], dict[str, int], dict[int, str], list[Card | Checked], Card | Checked,
    list[Strict], tuple[int, int],
    decode, decode_oddly, decode_by_lookup,
]  # fmt: skip

names = st.sampled_from(["number", "holder", "kind", "status", "level", "table", "keyed", "type", "x"])
hidden = st.sampled_from(
    [SECRET, f"it's {SECRET}", f"\"{SECRET}'", f"`{SECRET}` not allowed", f"a\n{SECRET}", NUMBER, [SECRET]]
)
bodies = st.recursive(
    st.one_of(hidden, st.sampled_from([None, True, 1, 1.5, "a", "me", "visa", {"number": 1}])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.one_of(names, st.just(SECRET), st.just(NUMBER)), inner, max_size=3),
    ),
    max_leaves=5,
)


def says_nothing(error: object) -> None:
    for text in (str(error), repr(error)):
        assert SECRET not in text
        assert str(NUMBER) not in text


def refusal(state: Any, body: Any, payload: Any) -> InvalidPayload | None:
    """The refusal of a body, which says nothing, nor does what it was raised from."""
    try:
        inject_hook(state, "h", body, payload=payload)
    except InvalidPayload as error:
        refused = error
    else:
        return None
    says_nothing(refused)
    assert refused.__cause__ is None
    assert refused.__suppress_context__
    return refused


async def ask(step: Step[PendingHook], place: int) -> Any:
    return await step("wait", pending_hook, "h", PAYLOADS[place])


@settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, len(PAYLOADS) - 1), body=bodies)
def test_a_secret_in_the_body_shows_in_no_error(loop, place, body):
    runner = Runner()
    state = loop.run(runner.run(ask, place)).state
    checked = refusal(state, body, PAYLOADS[place])
    unchecked = inject_hook(state, "h", body)
    misfit = getattr(loop.run(resume(ask, unchecked)).result, "error", None)
    assert isinstance(misfit, PayloadMisfit) == (checked is not None)
    says_nothing(misfit)


@pytest.mark.parametrize(
    "value",
    [
        {SECRET: {1}},
        {SECRET: 2**70},
        [{SECRET: object()}],
        {(SECRET,): 1},
        {1: (SECRET,)},
        f"{SECRET}\ud800",
        {f"{SECRET}\ud800": 1},
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_a_secret_in_what_no_state_can_hold_shows_in_no_error(loop, value):
    state = loop.run(Runner().run(ask, 0)).state
    with pytest.raises(InvalidPayload) as caught:
        inject_hook(state, "h", value)
    says_nothing(caught.value)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: f"{p!r:.40}")
@pytest.mark.parametrize(
    "body",
    [SECRET, NUMBER, {SECRET: 1}, {"number": SECRET}, {"kind": SECRET, "number": 1, "holder": "a"},
     {"status": SECRET, "number": 1, "holder": "a"}, {"level": NUMBER, "number": 1, "holder": "a"},
     {"holder": SECRET}, {"holder": "me", "number": NUMBER}, {"table": {SECRET: "x"}, "number": 1},
     {"keyed": {SECRET: 1}}, {"type": SECRET}, {"type": NUMBER}, {"number": 1, SECRET: 2},
     [SECRET], [{SECRET: 1}]],
    ids=lambda body: f"{body!r:.60}",
)  # fmt: skip
def test_every_refusal_of_a_body_is_discreet(loop, payload, body):
    state = loop.run(Runner().run(ask, 0)).state
    refused = refusal(state, body, payload)
    assert refused is None or refused.path.startswith("$")
