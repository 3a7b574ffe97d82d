"""For any type and any value: a step's value comes back exactly, or its step is refused at once."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Typed = tuple[Any, st.SearchStrategy[Any]]

quick = settings(deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


ZONES = [
    None,
    UTC,
    timezone(timedelta(hours=5, minutes=45)),
    timezone(-timedelta(seconds=1)),
    ZoneInfo("Europe/Paris"),
    ZoneInfo("America/New_York"),
    ZoneInfo("UTC"),
]
zoned = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(),
    st.sampled_from(ZONES),
    st.sampled_from([0, 1]),
)
text = st.one_of(st.text(max_size=8), st.sampled_from(["\x00", "$time", "\udfff"]))
LEAVES: list[Typed] = [
    (str, text),
    (int, st.one_of(st.integers(), st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**40]))),
    (float, st.floats()),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=8)),
    (None, st.none()),
    (datetime, zoned),
    (date, st.dates()),
    (
        time,
        st.builds(
            lambda t, z, f: t.replace(tzinfo=z, fold=f),
            st.times(),
            st.sampled_from(ZONES),
            st.sampled_from([0, 1]),
        ),
    ),
    (timedelta, st.timedeltas()),
    (
        Decimal,
        st.one_of(
            st.decimals().filter(lambda d: not d.is_snan()),
            st.sampled_from([Decimal("-0"), Decimal("1E+5"), Decimal("1.50")]),
        ),
    ),
    (UUID, st.uuids()),
    (complex, st.complex_numbers()),
    (Colour, st.sampled_from(Colour)),
    (Word, st.sampled_from(Word)),
    (Level, st.sampled_from(Level)),
    (Right, st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE, Right(0)])),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),  # noqa: PYI061  written so on purpose
    (Any, st.one_of(text, st.integers(), st.tuples(st.integers()), st.dictionaries(text, st.none()))),
]


def listed(item: Typed) -> Typed:
    return list[item[0]], st.lists(item[1], max_size=3)


def tupled(item: Typed) -> Typed:
    return tuple[item[0], ...], st.lists(item[1], max_size=3).map(tuple)


def optional(item: Typed) -> Typed:
    return Optional[item[0]], st.one_of(st.none(), item[1])  # noqa: UP045  written so on purpose


def mapped(item: Typed) -> Typed:
    return dict[str, item[0]], st.dictionaries(text, item[1], max_size=3)


def paired(pair: tuple[Typed, Typed]) -> Typed:
    return tuple[pair[0][0], pair[1][0]], st.tuples(pair[0][1], pair[1][1])


def united(pair: tuple[Typed, Typed]) -> Typed:
    return pair[0][0] | pair[1][0] if pair[0][0] is not None else Optional[pair[1][0]], st.one_of(  # noqa: UP045  written so on purpose
        pair[0][1], pair[1][1]
    )


def gathered(kind: Any) -> Callable[[Typed], Typed]:
    return lambda item: (kind[item[0]], st.lists(item[1], max_size=3).map(kind))


def keyed(item: Typed) -> Typed:
    return dict[item[0], int], st.dictionaries(item[1], st.integers(0, 3), max_size=3)


@attrs.frozen
class Frozen(Generic[T]):
    one: T
    two: int = 0


@attrs.define(slots=False)
class Loose(Generic[T]):
    one: T
    _two: int = 0


@dataclasses.dataclass
class Data(Generic[T]):
    one: T
    two: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenData(Generic[T]):
    one: T
    two: Any = None


class Plain(msgspec.Struct, Generic[T]):
    one: T
    two: str = ""


class Rich(msgspec.Struct, Generic[T], tag="rich", rename="camel", omit_defaults=True, frozen=True):
    one: T
    two_words: str = ""


class Arrayed(msgspec.Struct, Generic[T], array_like=True):
    one: T
    two: int = 1


class Named(NamedTuple, Generic[T]):
    one: T
    two: int = 3


class Total(TypedDict, Generic[T]):
    one: T
    two: int


BOXES: list[Callable[[Any, int], Any]] = [
    Frozen, Loose, lambda one, two: Data(one, float(two)), FrozenData, Arrayed, Named,
    lambda one, two: Plain(one, str(two)),
    lambda one, two: Rich(one, str(two)),
    lambda one, two: {"one": one, "two": two},
]  # fmt: skip
GENERIC: list[Any] = [Frozen, Loose, Data, FrozenData, Arrayed, Named, Plain, Rich, Total]


def boxed(choice: tuple[int, Typed]) -> Typed:
    place, (tp, values) = choice
    return GENERIC[place][tp], st.builds(BOXES[place], values, st.integers(0, 5))


def grown(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    places = st.integers(0, len(GENERIC) - 1)
    return st.one_of(
        st.tuples(places, inner).map(boxed),
        inner.map(listed),
        inner.map(tupled),
        inner.map(optional),
        inner.map(mapped),
        st.tuples(inner, inner).map(paired),
        st.tuples(inner, inner).map(united),
    )


leaves = st.sampled_from(LEAVES)
hashable = leaves.filter(lambda leaf: leaf[0] is not Any)
types = st.recursive(
    st.one_of(leaves, hashable.map(gathered(set)), hashable.map(gathered(frozenset)), hashable.map(keyed)),
    grown,
    max_leaves=4,
)


@quick
@given(types.flatmap(lambda typed: st.tuples(st.just(typed[0]), typed[1])))
def test_a_value_of_its_type_comes_back_exactly_or_is_refused(law, pair):
    event("restored" if law.holds(*pair) else "refused")


@quick
@given(types, types.flatmap(lambda typed: typed[1]))
def test_a_value_of_another_type_comes_back_exactly_or_is_refused(law, typed, value):
    event("restored" if law.holds(typed[0], value) else "refused")


@quick
@given(types.flatmap(lambda typed: typed[1]))
def test_a_value_without_a_type_comes_back_exactly_or_is_refused(law, value):
    found = law.step(lambda: value)
    assert not hasattr(found, "exact") or found.exact()


SIMPLE = [
    leaf for leaf in LEAVES if leaf[0] in {bool, bytes, None, date, timedelta, UUID, Colour, Word, Level}
]


@quick
@given(
    st.recursive(st.sampled_from(SIMPLE), grown, max_leaves=3)
    .filter(lambda typed: "|" not in str(typed[0]) and "Loose" not in str(typed[0]))
    .flatmap(lambda typed: st.tuples(st.just(typed[0]), typed[1]))
    .filter(lambda pair: "udfff" not in repr(pair[1]))
)
def test_what_messagepack_can_carry_is_never_refused(law, pair):
    law.restores(*pair)
