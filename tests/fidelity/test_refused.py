"""What an annotation hides, and what no annotation tells, is refused the first time, with the mend."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
from collections import defaultdict, deque
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import (
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest

from awaitpy import JournalError

T = TypeVar("T")
UserId = NewType("UserId", int)


class Word(enum.StrEnum):
    YES = "yes"


class Level(enum.IntEnum):
    LOW = 1


class Shape(enum.Enum):
    SQUARE = (1, 1)


class Text(str):
    __slots__ = ()


class Numbers(list):
    pass


@attrs.frozen
class Base:
    x: int


@attrs.frozen
class Derived(Base):
    y: int = 0


@attrs.define
class Holder:
    number: float = 0.0
    whole: int = 0
    anything: Any = None
    table: dict[str, Any] = attrs.field(factory=dict)
    base: Base | None = None
    when: datetime | None = None


@attrs.define(slots=False)
class Open:
    x: int


@attrs.define(on_setattr=[])
class Validated:
    status: str = attrs.field(validator=attrs.validators.in_(["paid"]))


@attrs.frozen
class Outer(Generic[T]):
    x: T


@attrs.frozen
class Inner(Outer[int], Generic[T]):
    y: T


@dataclasses.dataclass
class Point:
    x: float


@dataclasses.dataclass
class Recipe:
    name: dataclasses.InitVar[str]
    length: int = 0

    def __post_init__(self, name: str) -> None:
        self.length = len(name)


class Struct(msgspec.Struct):
    x: float


class Lenient(msgspec.Struct):
    x: int | msgspec.UnsetType = 5


class Named(NamedTuple):
    x: int


class Movie(TypedDict):
    title: str


class Partial(TypedDict, total=False):
    title: Required[str]


class OddZone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=1)


class Plain:
    pass


def deep(core: Any, depth: int) -> Any:
    for _ in range(depth):
        core = [core]
    return core


def closed_in_itself() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def with_extra() -> Open:
    value = Open(1)
    value.note = "kept?"
    return value


def made_invalid() -> Validated:
    value = Validated("paid")
    value.status = "stolen"
    return value


def unset() -> Lenient:
    return Lenient(msgspec.UNSET)


REFUSED: list[tuple[Any, Any, str]] = [
    (Base, Derived(1), "$"),
    (list[Base], [Base(1), Derived(1)], "$[1]"),
    (Base | Holder, Derived(1), "$"),
    (Holder, Holder(base=Derived(1)), "$.base"),
    (float, 1, "$"),
    (Holder, Holder(number=1), "$.number"),
    (Point, Point(1), "$.x"),
    (Struct, Struct(1), "$.x"),
    (list[float], [1.0, 2], "$[1]"),
    (float, True, "$"),
    (int, True, "$"),
    (int, Level.LOW, "$"),
    (UserId, "a", "$"),
    (Holder, Holder(whole=True), "$.whole"),
    (dict[str, int], {"a": False}, "$"),
    (bool, 1, "$"),
    (str, Word.YES, "$"),
    (str, Text("a"), "$"),
    (list[str], ["a", Word.YES], "$[1]"),
    (Word, "yes", "$"),
    (Holder, Holder(anything=(1,)), "$.anything"),
    (Holder, Holder(anything={1}), "$.anything"),
    (Holder, Holder(anything=Base(1)), "$.anything"),
    (Holder, Holder(table={"a": (1,)}), "$.table['a']"),
    (dict[str, Any], {"a": datetime(2024, 1, 1)}, "$['a']"),  # noqa: DTZ001  naive on purpose
    (dict[str, Any], {"a": Word.YES}, "$['a']"),
    (dict[str, Any], {"a": [Decimal(1)]}, "$['a'][0]"),
    (dict, {1.5: (1,)}, "$[1.5]"),
    (Any, (1,), "$"),
    (object, {1}, "$"),
    (list[Any], [UUID(int=1)], "$[0]"),
    (tuple[int, int], Named(1), "$"),
    (tuple[int, ...], Named(1), "$"),
    (Named, (1,), "$"),
    (Named, Named("a"), "$[0]"),
    (tuple[int, int], (1, 2, 3), "$"),
    (tuple[int, int], [1, 2], "$"),
    (list[int], (1, 2), "$"),
    (list[int], Numbers([1]), "$"),
    (list[int], deque([1]), "$"),
    (set[int], frozenset([1]), "$"),
    (frozenset[int], {1}, "$"),
    (set[float], {1}, "$"),
    (set[time], {time(1, tzinfo=ZoneInfo("Europe/Paris"))}, "$"),
    (Literal[[1]], [2], "$"),
    (dict[str, int], collections.OrderedDict(a=1), "$"),
    (dict[str, int], {1: 1}, "$"),
    (dict[int, int], {True: 1}, "$"),
    (dict[float, int], {1: 1}, "$"),
    (Movie, {}, "$"),
    (Literal["a"], "b", "$"),
    (Literal["a"], [], "$"),
    (Literal["a"], {}, "$"),
    (int | None, "a", "$"),
    (datetime, datetime(2024, 1, 1, tzinfo=OddZone()), "$"),
    (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2), "CEST")), "$"),
    (datetime, datetime(2024, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Paris")), "$"),
    (time, time(1, tzinfo=ZoneInfo("Europe/Paris")), "$"),
    (Holder, Holder(when=datetime(2024, 1, 1, tzinfo=OddZone())), "$"),
    (int, 2**64, "$"),
    (list[int], [-(2**63) - 1], "$"),
    (str, "\ud800", "$"),
    (dict[str, int], {"\udfff": 1}, "$"),
    (list[Any], closed_in_itself(), "$"),
    (Any, closed_in_itself(), "$"),
    (Shape, Shape.SQUARE, "$"),
    (Recipe, Recipe("abc"), "$"),
    (Open, with_extra(), "$"),
    (Validated, made_invalid(), "$"),
    (Lenient, unset(), "$.x"),
    (Inner[str], Inner("a", "b"), "$.x"),
    (Outer[T], Outer(Base(1)), "$.x"),
    (deque[float], deque([1]), "$"),
    (deque[int], deque([1], maxlen=3), "$"),
    (deque[int], deque([True]), "$"),
    (defaultdict[str, int], defaultdict(list, a=1), "$"),
    (range, range(3), "$"),
    (type, int, "$"),
    (Plain, Plain(), "$"),
    (Fraction, Fraction(1, 2), "$"),
    (int, Plain(), "$"),
    (Base, Plain(), "$"),
    (Holder, Holder(anything=[Plain()]), "$.anything[0]"),
    (dict[Base, int], {Base(1): 1}, "$"),
]  # fmt: skip


@pytest.mark.parametrize(("tp", "value", "path"), REFUSED, ids=lambda part: f"{part!r:.40}")
def test_what_the_annotation_hides_is_refused_at_its_place(law, tp, value, path):
    refusal = law.refuses(tp, value)
    assert refusal.path.startswith(path)
    assert "annotation names" in refusal.mend
    assert "step.options(returns=...)" in refusal.mend


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ((1, 2), "$"),
        ({1}, "$"),
        (frozenset(), "$"),
        (Base(1), "$"),
        ([Base(1)], "$[0]"),
        ({"a": [1, (2,)]}, "$['a'][1]"),
        ({(1,): 1}, "$[key (1,)]"),
        ({None: 1}, "$[key None]"),
        (Decimal(1), "$"),
        (datetime(2024, 1, 1, tzinfo=UTC), "$"),
        (Word.YES, "$"),
        (Named(1), "$"),
        (Text("a"), "$"),
        (1 + 2j, "$"),
        (2**64, "$"),
        ("\ud800", "$"),
        (closed_in_itself(), "$"),
        (deep((1,), 150), "$[0][0]"),
        (deep((1,), 250), "$"),
        (Plain(), "$"),
    ],
    ids=lambda part: f"{part!r:.40}",
)
def test_without_a_type_what_would_come_back_otherwise_is_refused(law, value, path):
    refusal = law.step(lambda: value)
    assert isinstance(refusal, JournalError)
    assert refusal.path.startswith(path)
    assert "annotate the function's return (a lambda has none)" in refusal.mend
    assert "step.options(returns=...)" in refusal.mend


def test_the_refused_value_takes_the_named_type_as_its_mend_says(law):
    assert isinstance(law.step(lambda: (1, 2)), JournalError)
    assert law.step(lambda: (1, 2), returns=tuple[int, int]).exact()


@pytest.mark.parametrize("key", [math.nan, (1, math.nan)])
def test_keys_that_do_not_equal_themselves_are_no_stumbling_block(law, key):
    tp = tuple[int, float] if isinstance(key, tuple) else float
    law.holds(dict[tp, int], {key: 1})


@pytest.mark.parametrize(
    ("tp", "value"), [(Movie, {"title": "a", "year": 1}), (Partial, {}), (Literal[1], True)]
)
def test_an_extra_key_and_a_bool_among_literals_come_back_or_are_refused(law, tp, value):
    law.holds(tp, value)


@pytest.mark.parametrize("value", [{"a"}, Base(1), ("a",), [1], "a", None])
@pytest.mark.parametrize("other", [Any, object])
def test_a_union_with_any_hides_no_type(law, value, other):
    for member in (set[str], Base, tuple[str, ...]):
        law.holds(member | other, value)
        law.holds(dict[str, other | member], {"a": value})
        law.holds(list[member | other | None], [value])


def test_a_step_that_was_refused_runs_again(law):
    values = [(1, 2), [1, 2]]
    assert isinstance(law.step(lambda: values.pop(0)), JournalError)
    assert law.step(lambda: values.pop(0)).exact()
