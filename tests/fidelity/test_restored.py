"""What a type names comes back exactly: equal, of the same type, at every depth."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest

from awaitpy import Err, JournalError, Ok, Result

T = TypeVar("T")
U = TypeVar("U")
UserId = NewType("UserId", int)
PARIS = ZoneInfo("Europe/Paris")
PLUS_TWO = timezone(timedelta(hours=2))


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    YES = "yes"


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Ratio(enum.Enum):
    HALF = 0.5


@attrs.frozen
class Line:
    sku: str
    count: int


@attrs.frozen
class Order:
    id: str
    lines: list[Line]
    paid: bool = False
    note: str | None = None


@attrs.define
class Draft:
    title: str
    tags: set[str] = attrs.field(factory=set)


@attrs.define(slots=False)
class Private:
    _secret: int
    __very: int = 0
    shown: Any = None


@attrs.define
class Counted:
    items: list[int]
    total: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.total = sum(self.items)


@attrs.define
class Later:
    name: str
    hidden: int | None = attrs.field(init=False, default=None)


@attrs.define
class Prepared:
    x: int

    def __attrs_pre_init__(self) -> None:
        self.x = 0


@attrs.define
class PreparedByValue:
    x: int

    def __attrs_pre_init__(self, x: int) -> None:
        assert x


@attrs.define
class Converted:
    amount: Decimal = attrs.field(converter=Decimal)


@attrs.define
class Validated:
    status: str = attrs.field(validator=attrs.validators.in_(["paid"]))


@attrs.frozen
class Animal:
    name: str


@attrs.frozen
class Dog(Animal):
    breed: str


@attrs.frozen
class Cat(Animal):
    lives: int


@attrs.frozen
class Box(Generic[T]):
    content: T


@attrs.frozen
class Bag(Generic[T]):
    items: list[T]
    named: dict[str, T | None]


@attrs.frozen
class Pair(Box[T], Generic[T, U]):
    other: U


@attrs.frozen
class IntBox(Box[int], Generic[T]):
    label: T


@attrs.frozen
class Node:
    value: int
    children: list[Node] = attrs.field(factory=list)


@attrs.frozen
class Tree:
    left: Tree | None
    right: Tree | None
    when: datetime | None = None


@attrs.frozen
class Deep:
    a: dict[str, list[tuple[Box[Box[Box[Box[int]]]], ...]]]


@attrs.frozen
class Event:
    at: datetime
    about: Dog | Cat
    also: list[Dog | Cat | None]
    by: dict[str, Dog | Cat]
    rights: Right = Right.READ


@attrs.frozen
class Loose:
    number: int | str | None
    at: datetime
    lasts: timedelta = timedelta(1)
    at_night: time = time(3)
    costs: Decimal = Decimal("1.0")


@attrs.define
class Constants:
    kind: ClassVar[str] = "constants"
    x: int = 1


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    point: Point
    seen: list[date] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Summed:
    x: int
    twice: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.twice = self.x * 2


@dataclasses.dataclass
class Marked:
    _mark: int
    extra: int | None = dataclasses.field(init=False, default=None)


class Paid(msgspec.Struct, tag="paid", rename="camel", omit_defaults=True, frozen=True):
    order_id: str
    amount_due: int = 0
    parts: list[int] = []


class Refused(msgspec.Struct, tag="refused", array_like=True):
    why: str


class Initialised(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        self.x = abs(self.x)


class Maybe(msgspec.Struct):
    x: int | msgspec.UnsetType = msgspec.UNSET


class Zoned(msgspec.Struct):
    at: datetime
    by: Dog | Cat


class Carton(msgspec.Struct, Generic[T]):
    content: T


class Named(NamedTuple):
    x: int
    y: float = 1.0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Partial(TypedDict, total=False):
    title: Required[str]
    year: int


class Item(TypedDict, Generic[T]):
    item: T


Untyped = collections.namedtuple("Untyped", "x y")  # noqa: PYI024  what older code has

DEEP = Box(Box(Box(Box(1))))

RESTORED: list[tuple[Any, Any]] = [
    (None, None),
    (bool, True),
    (int, 0),
    (int, 2**64 - 1),
    (int, -(2**63)),
    (float, -0.0),
    (float, math.nan),
    (float, -math.inf),
    (str, ""),
    (str, "\x00 ünï \U0001f600"),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"x")),
    (complex, complex(-0.0, math.nan)),
    (Decimal, Decimal("-0")),
    (Decimal, Decimal("1.50")),
    (Decimal, Decimal("1E+5")),
    (Decimal, Decimal("NaN")),
    (UUID, UUID(int=7)),
    (datetime, datetime(2024, 2, 29, 12, 30, 1, 5)),  # noqa: DTZ001  naive on purpose
    (datetime, datetime(2024, 2, 29, tzinfo=UTC)),
    (datetime, datetime.max.replace(tzinfo=UTC)),
    (datetime, datetime(2024, 7, 1, 12, tzinfo=PLUS_TWO)),
    (datetime, datetime(2024, 7, 1, 12, tzinfo=PARIS)),
    (datetime, datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1)),
    (datetime, datetime(2024, 10, 27, 2, 30, fold=1)),  # noqa: DTZ001  naive on purpose
    (datetime, datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("UTC"))),
    (date, date(1, 1, 1)),
    (time, time(23, 59, 59, 999999)),
    (time, time(1, tzinfo=UTC)),
    (time, time(1, fold=1)),
    (timedelta, timedelta.max),
    (timedelta, -timedelta(microseconds=1)),
    (Colour, Colour.RED),
    (Word, Word.YES),
    (Level, Level.LOW),
    (Right, Right.READ | Right.WRITE),
    (Ratio, Ratio.HALF),
    (Literal["a", 1, None], 1),  # noqa: PYI061  written so on purpose
    (Literal["a", 1, None], None),  # noqa: PYI061  written so on purpose
    (Literal[Colour.RED], Colour.RED),
    (UserId, UserId(5)),
    (Annotated[int, "a note"], 5),
    (Annotated[int, msgspec.Meta(ge=0)], 5),
    (Optional[Order], None),  # noqa: UP045  written so on purpose
    (list[Order], [Order("1", [Line("a", 1)], note="n")]),
    (list, [1, "a", None]),
    (list[Any], [{"a": [1.5]}]),
    (dict, {"a": {1: b"x"}}),
    (dict[str, Any], {"a": [None]}),
    (dict[int, str], {1: "a", -1: "b"}),
    (dict[Any, Any], {1: "a", "b": 2}),
    (dict[UUID, int], {UUID(int=1): 1}),
    (dict[Word, int], {Word.YES: 1}),
    (dict[Level, int], {Level.LOW: 1}),
    (dict[Literal["a", "b"], int], {"b": 1}),
    (dict[date, int], {date(2024, 1, 1): 1}),
    (dict[datetime, int], {datetime(2024, 1, 1, tzinfo=UTC): 1}),
    (dict[float, int], {1.5: 1}),
    (dict[bool, int], {True: 1}),
    (dict[Decimal, int], {Decimal("1.0"): 1}),
    (dict[tuple[int, int], str], {(1, 2): "a"}),
    (tuple, (1, "a")),
    (tuple[()], ()),
    (tuple[int, str], (1, "a")),
    (tuple[Line, ...], (Line("a", 1),)),
    (set, {1, "a"}),
    (set[tuple[int, int]], {(1, 2)}),
    (frozenset[Line], frozenset([Line("a", 1)])),
    (Sequence[int], [1]),
    (Sequence[int], (1, 2)),
    (Iterable[int], [1]),
    (Collection[int], [1]),
    (AbstractSet[int], {1}),
    (Mapping[str, Line], {"a": Line("a", 1)}),
    (MutableMapping[str, int], {"a": 1}),
    (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    (collections.Counter[str], collections.Counter("aab")),
    (deque[int], deque([1, 2])),
    (Order, Order("1", [Line("a", 1), Line("b", 2)], True, None)),
    (Draft, Draft("t", {"a"})),
    (Private, Private(1, 2, "x")),
    (Counted, Counted([1, 2])),
    (Later, Later("n")),
    (Prepared, Prepared(1)),
    (PreparedByValue, PreparedByValue(1)),
    (Converted, Converted("1.10")),
    (Validated, Validated("paid")),
    (Constants, Constants(2)),
    (Dog, Dog("rex", "corgi")),
    (Box[int], Box(1)),
    (Box[datetime], Box(datetime(2024, 1, 1, tzinfo=PARIS))),
    (Pair[int, str], Pair(1, "a")),
    (Bag[Line], Bag([Line("a", 1)], {"a": None, "b": Line("b", 2)})),
    (IntBox[str], IntBox(1, "a")),
    (Box[Dog | Cat], Box(Cat("tom", 9))),
    (Node, Node(1, [Node(2, [Node(3)])])),
    (Tree, Tree(Tree(None, None), None, datetime(2024, 1, 1, tzinfo=PARIS))),
    (Deep, Deep({"a": [(DEEP,)]})),
    (Point, Point(1.0)),
    (Place, Place(point=Point(1.0, -0.0), seen=[date(2024, 1, 1)])),
    (Summed, Summed(2)),
    (Marked, Marked(2)),
    (Paid, Paid("1")),
    (Paid, Paid("1", 5, [1])),
    (Refused, Refused("no")),
    (Paid | Refused, Refused("no")),
    (Initialised, Initialised(1)),
    (Maybe, Maybe()),
    (Maybe, Maybe(1)),
    (Zoned, Zoned(datetime(2024, 1, 1, tzinfo=PARIS), Cat("tom", 9))),
    (Carton[int], Carton(1)),
    (Named, Named(1)),
    (Untyped, Untyped(1, "a")),
    (Movie, {"title": "a"}),
    (Movie, {"title": "a", "year": 1}),
    (Partial, {"title": "a"}),
    (Item[int], {"item": 1}),
    (int | str, "a"),
    (int | float, 1),
    (int | float, 1.0),
    (str | bytes | None, b"x"),
    (Decimal | str, Decimal("1.0")),
    (Decimal | str, "1.0"),
    (datetime | date, date(2024, 1, 1)),
    (Dog | Cat, Dog("rex", "corgi")),
    (Dog | Cat | None, None),
    (Animal | Dog, Dog("rex", "corgi")),
    (list[Dog | Cat], [Cat("tom", 9), Dog("rex", "corgi")]),
    (Union[Box[int], Line], Box(1)),  # noqa: UP007  written so on purpose
    (Event, Event(datetime(2024, 1, 1, tzinfo=PARIS), Dog("a", "b"), [None, Cat("c", 1)],
     {"k": Cat("d", 2)})),
    (Loose, Loose(1, datetime(2024, 1, 1, tzinfo=PARIS))),
    (Loose, Loose("1", datetime(2024, 1, 1, tzinfo=UTC))),
    (Loose, Loose(None, datetime(2024, 1, 1, tzinfo=PARIS))),
]  # fmt: skip


@pytest.mark.parametrize(("tp", "value"), RESTORED, ids=lambda part: f"{part!r:.50}")
def test_a_value_of_its_type_comes_back_exactly(law, tp, value):
    law.restores(tp, value)


def test_the_hour_of_a_zoned_datetime_is_the_one_that_was_given(law):
    noon = datetime(2024, 7, 1, 12, tzinfo=PARIS)
    found = law.of(datetime, noon)
    assert [again.hour for again in found.replays] == [12, 12]
    assert [again.tzinfo for again in found.replays] == [PARIS, PARIS]


def test_the_members_of_a_union_are_told_apart_by_class_though_their_fields_are_the_same(law):
    for value in (Dog("a", "b"), Cat("a", 1), Animal("a")):
        law.restores(Animal | Dog | Cat, value)


def test_classes_of_one_name_in_a_union_are_told_apart(law):
    first, second = Line, attrs.make_class("Line", {"other": attrs.field(type=int)}, frozen=True)
    second.__module__ = "another.module"
    for value in (first("a", 1), second(2)):
        law.restores(first | second, value)


def test_a_union_of_lists_is_told_apart_or_refused(law):
    for value in ([1], ["a"], []):
        law.holds(list[int] | list[str], value)


def test_an_alternative_that_cannot_be_tried_hides_no_other(law):
    law.restores(Decimal | str | Dog, Dog("rex", "corgi"))


@pytest.mark.parametrize("value", [1, "a", None, [1], {"a": {"b": [None, 1.5, b"x"]}}, {1: 2}])
def test_plain_values_need_no_type(law, value):
    found = law.step(lambda: value)
    assert found.exact()


def test_the_error_of_a_result_is_restored_too(law):
    async def charge(fails: bool) -> Result[int, Dog | Cat]:
        return Err(Cat("tom", 9)) if fails else Ok(5)

    failed = law.step(charge, True)
    assert failed.fresh == Err(Cat("tom", 9))
    assert failed.exact()
    assert law.step(charge, False).exact()


def test_ok_and_err_are_found_in_any_annotation(law):
    def bare_ok() -> Ok[Line]:
        return Ok(Line("a", 1))

    def bare_err() -> Err[Line]:
        return Err(Line("a", 1))

    def unnamed() -> Ok | Err:
        return Ok({"a": 1})

    def unnamed_error() -> Ok | Err:
        return Err(["a"])

    for fn in (bare_ok, bare_err, unnamed, unnamed_error):
        assert law.step(fn).exact()


def test_a_returned_object_is_restored_as_it_was_when_its_step_ended(law):
    held: list[list[int]] = []

    def give() -> list[list[int]]:
        held[:] = [[1]]
        return held

    found = law.step(give)
    held[0].append(2)
    held.append([3])
    assert found.replays == [[[1]], [[1]]]


def test_one_object_at_two_places_comes_back_equal_at_both(law):
    line = Line("a", 1)
    law.restores(list[Line], [line, line])
    law.restores(list[list[int]], [[1]] * 3)


@pytest.mark.parametrize("depth", [50, 150, 199, 250, 400, 600, 900, 2000])
def test_a_deep_value_comes_back_or_is_refused_and_never_spoils_the_state(law, depth):
    nested: Any = []
    node = Node(0)
    for _ in range(depth):
        nested, node = [nested], Node(0, [node])
    for tp, value in ((list[Any], nested), (Node, node)):
        assert isinstance(law.of(tp, value), JournalError) or depth < 1500
    untyped = law.step(lambda: nested)
    assert isinstance(untyped, JournalError) or depth < 1500
