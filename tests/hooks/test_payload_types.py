"""A wait restores its payload to whatever it names: a type, or a function that decodes."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from awaitpy import (
    InvalidPayload,
    Ok,
    PayloadMisfit,
    PendingHook,
    Result,
    Step,
    UnreadableEntry,
    create_hook,
    first_of,
    pending_hook,
)

T = TypeVar("T")
UserId = NewType("UserId", int)


class Status(enum.Enum):
    PAID = "paid"
    FAILED = "failed"


@attrs.frozen
class Payment:
    order_id: str
    cents: int
    at: datetime | None = None


@attrs.frozen
class Text:
    text: str


@attrs.frozen
class Image:
    url: str


@attrs.frozen
class Document:
    body: Text | Image
    at: datetime
    pages: list[Text | Image] = attrs.field(factory=list)


@attrs.frozen
class Box(Generic[T]):
    content: T


@attrs.frozen
class Checked:
    status: str = attrs.field(validator=attrs.validators.in_(["paid"]))


@dataclasses.dataclass
class Place:
    city: str
    since: date


class Paid(msgspec.Struct, tag="paid"):
    cents: Annotated[int, msgspec.Meta(ge=0)]


class Failed(msgspec.Struct, tag="failed", rename="camel"):
    the_reason: str


class Guarded(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(f"{self.x} is below zero")


class Rude(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        raise KeyError("nothing is good enough")


class Answer(TypedDict):
    decision: Literal["approved", "rejected"]
    notes: NotRequired[str]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1)
    at: datetime
    tags: dict[str, int] = {}


def shouted(data: Any) -> str:
    return str(data["text"]).upper()


class Decoder:
    def __call__(self, data: Any) -> int:
        return int(data) + 1


JAN = "2024-01-01T00:00:00Z"
FIT: list[tuple[Any, Any, Any]] = [
    (Any, {"a": [1]}, {"a": [1]}),
    (object, "x", "x"),
    (int, 5, 5),
    (float, 5, 5.0),
    (str, "x", "x"),
    (None, None, None),
    (bool, False, False),
    (UserId, 5, UserId(5)),
    (Status, "paid", Status.PAID),
    (UUID, str(UUID(int=1)), UUID(int=1)),
    (Decimal, "1.50", Decimal("1.50")),
    (date, "2024-01-01", date(2024, 1, 1)),
    (datetime, JAN, datetime(2024, 1, 1, tzinfo=UTC)),
    (Literal["a", 1], "a", "a"),
    (Annotated[int, msgspec.Meta(ge=0)], 5, 5),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2], {1, 2}),
    (list[Payment], [{"order_id": "1", "cents": 2}], [Payment("1", 2)]),
    (dict[str, Payment], {"a": {"order_id": "1", "cents": 2}}, {"a": Payment("1", 2)}),
    (Payment, {"order_id": "1", "cents": 2, "more": True}, Payment("1", 2)),
    (Payment, {"order_id": "1", "cents": 2, "at": JAN}, Payment("1", 2, datetime(2024, 1, 1, tzinfo=UTC))),
    (Payment | None, None, None),
    (Box[int], {"content": 5}, Box(5)),
    (Box[Payment], {"content": {"order_id": "1", "cents": 2}}, Box(Payment("1", 2))),
    (Checked, {"status": "paid"}, Checked("paid")),
    (Place, {"city": "Kyiv", "since": "2024-01-01"}, Place("Kyiv", date(2024, 1, 1))),
    (Paid, {"type": "paid", "cents": 5}, Paid(5)),
    (Paid | Failed, {"type": "failed", "theReason": "no"}, Failed("no")),
    (Guarded, {"x": 5}, Guarded(5)),
    (Answer, {"decision": "approved"}, {"decision": "approved"}),
    (int | str, "a", "a"),
    (Text | Image, {"url": "u"}, Image("u")),
    (Text | Image, {"text": "t"}, Text("t")),
    (Text | Image | None, {"text": "t"}, Text("t")),
    (Text | int, 5, 5),
    (list[Text | Image], [{"url": "u"}, {"text": "t"}], [Image("u"), Text("t")]),
    (dict[str, Text | Image], {"a": {"url": "u"}}, {"a": Image("u")}),
    (Document, {"body": {"url": "u"}, "at": JAN, "pages": [{"text": "t"}]},
     Document(Image("u"), datetime(2024, 1, 1, tzinfo=UTC), [Text("t")])),
    (Document | int, {"body": {"text": "t"}, "at": JAN}, Document(Text("t"), datetime(2024, 1, 1,
     tzinfo=UTC))),
    (Model, {"name": "n", "at": JAN, "tags": {"a": 1}}, Model(name="n", at=JAN, tags={"a": 1})),
    (TypeAdapter(list[int]).validate_python, [1, "2"], [1, 2]),
    (shouted, {"text": "hi"}, "HI"),
    (Decoder(), 5, 6),
    (lambda data: data["a"], {"a": 5}, 5),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "value", "restored"), FIT, ids=lambda part: f"{part!r:.50}")
def test_a_payload_that_fits_is_restored_now_and_at_every_replay(story, payload, value, restored):
    async def flow(step: Step[PendingHook]) -> None:
        seen.append(await step("wait", pending_hook, "h", payload))
        await step("again", pending_hook, "gate")

    seen: list[Any] = []
    story.begin(flow)
    story.deliver("h", value, payload=payload)
    story.go_on()
    story.go_on()
    assert seen == [restored, restored]
    assert [type(each) for each in seen] == [type(restored)] * 2


UNFIT: list[tuple[Any, Any, str]] = [
    (int, "5", "$"),
    (int, True, "$"),
    (str, None, "$"),
    (UserId, "abc", "$"),
    (Status, "stolen", "$"),
    (datetime, "yesterday", "$"),
    (Literal["a"], [], "$"),
    (Annotated[int, msgspec.Meta(ge=0)], -1, "$"),
    (tuple[int, str], [1], "$"),
    (list[Payment], [{"order_id": "1"}], "$[0]"),
    (dict[str, int], {"a": "b"}, "$"),
    (dict[int, str], {"a": "b"}, "$"),
    (Payment, None, "$"),
    (Payment, [], "$"),
    (Payment, {}, "$"),
    (Payment, {"order_id": "1", "cents": "2"}, "$.cents"),
    (Checked, {"status": "stolen"}, "$"),
    (Place, {"city": 1, "since": "2024-01-01"}, "$.city"),
    (Paid | Failed, {"type": "other"}, "$.type"),
    (Paid, {"type": "paid", "cents": -1}, "$.cents"),
    (Guarded, {"x": -1}, "$"),
    (Rude, {"x": 1}, "$"),
    (Answer, {"decision": "maybe"}, "$.decision"),
    (Answer, {}, "$"),
    (Text | Image, {"neither": 1}, "$"),
    (Text | Image, 5, "$"),
    (Document, {"body": {"neither": 1}, "at": JAN}, "$"),
    (list[Text | Image], [5], "$"),
    (Model, {"name": "", "at": JAN}, "$.name"),
    (Model, {"at": JAN}, "$.name"),
    (Model, 5, "$"),
    (TypeAdapter(list[int]).validate_python, ["x"], "$.0"),
    (shouted, {}, "$"),
    (Decoder(), "x", "$"),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "value", "path"), UNFIT, ids=lambda part: f"{part!r:.50}")
def test_a_payload_that_does_not_fit_is_refused_with_its_place_at_once_or_on_resume(
    story, payload, value, path
):
    async def flow(step: Step[PendingHook]) -> None:
        await step("wait", pending_hook, "h", payload)

    story.begin(flow)
    before = story.state
    with pytest.raises(InvalidPayload) as caught:
        story.deliver("h", value, payload=payload)
    assert caught.value.path.startswith(path)
    assert caught.value.problem
    assert "`" not in caught.value.path
    assert story.state == before
    story.deliver("h", value)
    error = story.go_on().unwrap_err()
    assert isinstance(error, PayloadMisfit)
    assert (error.path, error.problem) == (caught.value.path, caught.value.problem)
    assert story.state.pending[0].deliveries == 0


class Sent(BaseModel):
    order_id: str = Field(alias="orderId")
    at: datetime
    total: Decimal


@pytest.mark.parametrize("payload", [None, Sent])
def test_a_model_of_pydantic_is_a_value_for_a_hook_too(story, payload):
    """As a route of FastAPI has it, which takes the body by such a model."""

    async def flow(step: Step[PendingHook]) -> None:
        seen.append(await step("wait", pending_hook, "h", Sent))

    seen: list[Sent] = []
    sent = Sent(orderId="o-1", at=datetime(2030, 1, 1, tzinfo=UTC), total=Decimal("4.90"))
    story.begin(flow)
    story.deliver("h", sent, payload=payload)
    assert story.go_on() == Ok(None)
    assert seen == [sent]


class Undumpable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    it: object


def test_a_model_that_is_no_plain_data_is_refused(story):
    async def flow(step: Step[PendingHook]) -> None:
        await step("wait", pending_hook, "h")

    story.begin(flow)
    with pytest.raises(InvalidPayload, match="an Undumpable can't be written as plain data"):
        story.deliver("h", Undumpable(it=object()))


class Odd(Exception):
    def __init__(self, details: Any) -> None:
        super().__init__("a secret of the body")
        self._details = details

    def errors(self) -> Any:
        return self._details


@pytest.mark.parametrize("details", [None, [], [{}], [5], {}, [{"loc": 5, "type": "x"}]])
def test_an_error_that_only_looks_like_one_of_pydantic_is_no_stumbling_block(story, details):
    def decode(data: Any) -> Any:
        raise Odd(details)

    story.begin(wait)
    with pytest.raises(InvalidPayload) as caught:
        story.deliver("h", 1, payload=decode)
    assert "Odd" in str(caught.value)
    assert "secret" not in str(caught.value)


async def wait(step: Step[PendingHook]) -> Any:
    return await step("wait", pending_hook, "h")


# --- the type that a function of the user's names -------------------------------------------------


def approval(hook_id: str) -> Any:
    return pending_hook(hook_id, Payment)


async def approval_later(hook_id: str) -> Any:
    return pending_hook(hook_id, Payment)


@pytest.mark.parametrize("fn", [approval, approval_later])
def test_a_wait_may_be_made_by_a_function_of_the_users(story, fn):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step("wait", fn, "h"), await step("gate", pending_hook, "gate")

    story.begin(flow)
    story.deliver("h", {"order_id": "1", "cents": 2})
    story.go_on()
    story.deliver("gate", None)
    assert story.go_on() == Ok((Payment("1", 2), None))


@attrs.frozen
class Extended(Payment):
    more: int = 0


def named_otherwise(hook_id: str) -> Result[Payment, PendingHook]:
    return pending_hook(hook_id, Extended)


@pytest.mark.parametrize("fn", [approval, approval_later, named_otherwise])
def test_a_wait_gives_the_same_whether_its_value_came_early_or_late_or_is_replayed(story, stories, fn):
    async def flow(step: Step[PendingHook]) -> None:
        await step("open", create_hook, new_id=lambda: "h")
        await step("gate", pending_hook, "gate")
        seen.append(await step("wait", fn, "h"))
        await step("last", pending_hook, "last")

    seen: list[Any] = []
    body = {"order_id": "1", "cents": 2}
    story.begin(flow)
    story.deliver("h", body)
    story.deliver("gate", None)
    story.go_on()
    story.go_on()
    late = stories()
    late.begin(flow)
    late.deliver("gate", None)
    late.go_on()
    late.deliver("h", body)
    late.go_on()
    assert seen == [seen[0]] * 3
    assert [type(each) for each in seen] == [type(seen[0])] * 3


async def waits_for(step: Step[PendingHook], payload: Any, *, hook_id: str = "h") -> None:
    await step("wait", pending_hook, hook_id, payload)
    await step("gate", pending_hook, "gate")


def test_a_wait_whose_type_has_changed_finds_its_answer_unreadable(story):
    async def was(step: Step[PendingHook]) -> None:
        await waits_for(step, Payment)

    async def now(step: Step[PendingHook]) -> None:
        await waits_for(step, Image)

    now.__qualname__ = was.__qualname__
    story.begin(was)
    story.deliver("h", {"order_id": "1", "cents": 2})
    story.go_on()
    error = story.go_on(now).unwrap_err()
    assert isinstance(error, UnreadableEntry)
    assert error.key == "wait"


def test_a_wait_that_has_become_something_else_finds_its_answer_unreadable(story):
    async def was(step: Step[PendingHook]) -> None:
        await waits_for(step, Any)

    async def a_value(step: Step[PendingHook]) -> None:
        await step("wait", lambda: 5)

    async def another_hook(step: Step[PendingHook]) -> None:
        await waits_for(step, Any, hook_id="other")

    for now in (a_value, another_hook):
        now.__qualname__ = was.__qualname__
    story.begin(was)
    story.deliver("h", 5)
    story.go_on()
    for now in (a_value, another_hook):
        error = story.go_on(now).unwrap_err()
        assert isinstance(error, UnreadableEntry)


def test_each_of_several_hooks_that_race_has_its_own_type(story):
    async def flow(step: Step[PendingHook]) -> Any:
        won = await step("first", first_of, pending_hook("a", Text), pending_hook("b", Image))
        hook = await step("create", create_hook)
        assert hook.hook_id
        return won

    story.begin(flow)
    story.deliver("b", {"url": "u"}, payload=Image)
    won = story.go_on().unwrap()
    assert (won.hook_id, won.value) == ("b", Image("u"))
