"""Types come from the code: from whatever a step's function is, and however it is annotated."""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Awaitable, Coroutine
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import attrs
import pytest
from typing_extensions import TypeAliasType

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    Result,
    ResumeState,
    Runner,
    Step,
    UnexpectedError,
    UnreadableEntry,
    catching,
    make_converter,
    pending_hook,
    rewind,
)

if TYPE_CHECKING:
    from nowhere import Missing

T = TypeVar("T")


@attrs.frozen
class A:
    x: int


@attrs.frozen
class B:
    x: int


@attrs.frozen
class Failed:
    why: str


def sync() -> A:
    return A(1)


async def coroutine() -> A:
    return A(1)


def awaitable() -> Awaitable[A]:
    return coroutine()


def typed_coroutine() -> Coroutine[Any, Any, Result[A, Failed]]:
    async def inner() -> Result[A, Failed]:
        return Ok(A(1))

    return inner()


def annotated() -> Annotated[Result[A, Failed], "twice"]:
    return Ok(A(1))


def quoted() -> "Result[A, 'Failed']":  # noqa: UP037  the quotes are under test
    return Ok(A(1))


def generic(value: T) -> list[T]:
    return [value]


def of_one(x: int, y: int = 0) -> A:
    return A(x + y)


class Service:
    def method(self) -> A:
        return A(1)

    async def coroutine(self) -> A:
        return A(1)

    @classmethod
    def of_class(cls) -> A:
        return A(1)

    @staticmethod
    def static() -> A:
        return A(1)

    def __call__(self) -> A:
        return A(1)


class Quiet:
    def __call__(self) -> list[int]:
        return [1]


@functools.wraps(sync)
def wrapped():
    return sync()


FUNCTIONS = [
    sync,
    coroutine,
    awaitable,
    typed_coroutine,
    annotated,
    quoted,
    functools.partial(of_one, 1),
    functools.partial(functools.partial(of_one, 1), y=2),
    functools.partial(Service().method),
    functools.partial(A, 1),
    Service().method,
    Service().coroutine,
    Service.of_class,
    Service().static,
    Service(),
    wrapped,
    catching(sync, ValueError, into=str),
]


@pytest.mark.parametrize("fn", FUNCTIONS, ids=repr)
def test_the_type_is_found_on_any_kind_of_function(law, fn):
    found = law.step(fn)
    assert type(found.fresh) is A
    assert found.exact()


def test_a_class_is_its_own_return_type(law):
    assert law.step(A, 1).replays == [A(1), A(1)]
    assert law.step(Decimal, "1.50").exact()


@pytest.mark.parametrize("fn", [len, functools.partial(len), Quiet(), typing.cast])
def test_a_function_without_annotation_gives_plain_values(law, fn):
    args = {len: ["ab"], typing.cast: [int, 5]}.get(getattr(fn, "func", fn), [])
    assert law.step(fn, *args).exact()


def test_a_generic_function_gives_what_needs_no_type_of_its_own(law):
    assert law.step(generic, 5).exact()
    assert isinstance(law.step(generic, A(1)), JournalError)
    assert law.step(generic, A(1), returns=list[A]).exact()


def test_a_type_that_only_the_enclosing_function_knows_is_found(law):
    @attrs.frozen
    class Local:
        x: int

    def give() -> Local:
        return Local(1)

    assert law.step(give).exact()


def test_a_name_that_is_bound_later_is_missed_until_then(law):
    def give() -> Later | None:
        return Later and None

    refusal = law.step(give)
    assert isinstance(refusal, JournalError)
    assert "Later" in str(refusal)
    Later = A  # noqa: N806  it is a class
    assert law.step(give).exact()


def unknown() -> Missing:
    return 1


def misspelt() -> Decimal.Wrong:
    return 1


def sentence() -> "the number of things":  # noqa: F722  that it is no expression is the point
    return 1


def added() -> "5 + None":  # noqa: UP037  the quotes are under test
    return 1


@pytest.mark.parametrize("fn", [unknown, misspelt, sentence, added])
def test_an_annotation_that_is_no_type_is_refused_with_its_function_and_the_mend(law, fn):
    refusal = law.step(fn)
    assert isinstance(refusal, JournalError)
    assert fn.__name__ in str(refusal)
    assert "step.options(returns=...)" in refusal.mend
    assert law.step(fn, returns=int).exact()


def maker(cls: type[T]) -> Any:
    def give() -> cls:
        return cls(1)

    return give


def both(elsewhere: Runner, law, first: Any, second: Any) -> Any:
    """Journal what `first` gives; replay it where `second` ran before."""

    async def flow(step: Step[PendingHook], fn: Any, seen: list[Any]) -> None:
        seen.append(await step("give", fn))
        await step("wait", pending_hook, "h")

    seen: list[Any] = []
    state = law.wait(Runner().run(functools.partial(flow, fn=first, seen=seen))).state
    law.wait(elsewhere.run(functools.partial(flow, fn=second, seen=seen)))
    state = ResumeState.from_bytes(state.to_bytes())
    law.wait(elsewhere.resume(functools.partial(flow, fn=first, seen=seen), state))
    return seen


def test_closures_of_one_factory_keep_their_own_types(law):
    seen = both(Runner(converter=make_converter()), law, maker(A), maker(B))
    assert [type(value) for value in seen] == [A, B, A]


def test_equal_functions_of_two_modules_keep_their_own_types(law):
    code = "from __future__ import annotations\ndef give() -> C:\n    return C(1)\n"
    functions = []
    for cls in (A, B):
        module = ModuleType(f"made_of_{cls.__name__}")
        module.C = cls
        exec(code, module.__dict__)
        functions.append(module.give)
    seen = both(Runner(converter=make_converter()), law, *functions)
    assert [type(value) for value in seen] == [A, B, A]


def test_partials_of_one_function_may_each_have_their_type(law):
    seen = both(Runner(converter=make_converter()), law, functools.partial(A, 1), functools.partial(B, 1))
    assert [type(value) for value in seen] == [A, B, A]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_type_aliases_and_type_parameters_of_the_new_syntax_are_understood(law):
    module = ModuleType("new_syntax")
    sys.modules["new_syntax"] = module
    source = """
from __future__ import annotations
import attrs
from awaitpy import Ok, Err, Result

@attrs.frozen
class Thing[T]:
    x: T

type Things = list[Thing[int]]
type Either[T] = Thing[T] | str
type Both = Result[Things, Thing[str]]

def aliased() -> Things:
    return [Thing(1)]

def nested() -> dict[str, Things]:
    return {"a": [Thing(1)]}

def applied() -> Either[int]:
    return Thing(1)

def result() -> Both:
    return Err(Thing("a"))

def fine() -> Both:
    return Ok([Thing(1)])

def generic[T](x: T) -> list[T]:
    return [x]

def parametrised[T](x: T) -> Thing[T]:
    return Thing(x)
"""
    exec(source, module.__dict__)
    for fn in (module.aliased, module.nested, module.applied, module.result, module.fine):
        assert law.step(fn).exact()
    assert law.step(module.generic, 1).exact()
    held = law.step(module.parametrised, 1)
    assert isinstance(held, JournalError) or held.exact()


Things = TypeAliasType("Things", list[A])
Either = TypeAliasType("Either", A | B)
Both = TypeAliasType("Both", Result[Things, Failed])


def aliased() -> Things:
    return [A(1)]


def either() -> Either:
    return B(1)


def both_aliased() -> Both:
    return Ok([A(1)])


@pytest.mark.parametrize("fn", [aliased, either, both_aliased])
def test_a_type_alias_means_what_it_stands_for(law, fn):
    assert law.step(fn).exact()


# --- the code changes between the runs ------------------------------------------------------------


def changed(law, was: Any, value: Any, now: Any) -> Any:
    """Journal a value of one type, and give how a run ends that names another."""
    seen: list[Any] = []

    async def flow(step: Step[PendingHook], tp: Any) -> None:
        bound = step if tp is None else step.options(returns=tp)
        seen.append(await bound("give", lambda: value))
        await step("wait", pending_hook, "h")

    first = law.wait(Runner().run(functools.partial(flow, tp=was)))
    assert isinstance(first.result.error, PendingHook)
    state = ResumeState.from_json(first.state.to_json())
    again = law.wait(law.elsewhere.resume(functools.partial(flow, tp=now), state))
    assert again.state.steps == first.state.steps
    return again.result.error if len(seen) == 1 else Ok(seen[1])


@attrs.frozen
class Wide:
    x: int
    y: int


PLAIN_NOW = None
CHANGES: list[tuple[Any, Any, Any]] = [
    (A, A(1), PLAIN_NOW),
    (tuple[int, int], (1, 2), PLAIN_NOW),
    (set[int], {1}, PLAIN_NOW),
    (datetime, datetime(2024, 1, 1), PLAIN_NOW),  # noqa: DTZ001  naive on purpose
    (A | B, B(1), PLAIN_NOW),
    (A | B, B(1), A),
    (A | B, B(1), A | Failed),
    (A, A(1), A | B),
    (A, A(1), Wide),
    (int, 1, str),
    (list[int], [1], dict[str, int]),
    (Decimal | str, "a", Decimal),
    (complex, 1j, A),
    (PLAIN_NOW, {"x": 1}, Wide),
    (PLAIN_NOW, [1], A | B),
    (Wide, Wide(1, 2), int),
]


@pytest.mark.parametrize(("was", "value", "now"), CHANGES, ids=lambda part: f"{part!r:.40}")
def test_another_annotation_makes_an_entry_unreadable_and_never_a_wrong_value(law, was, value, now):
    error = changed(law, was, value, now)
    assert isinstance(error, UnreadableEntry)
    assert error.key == "give"
    assert "forget(state, 'give')" in str(error)


@pytest.mark.parametrize(
    ("was", "value", "now"),
    [
        (int, 1, PLAIN_NOW),
        (PLAIN_NOW, 1, int),
        (list[str], ["a"], PLAIN_NOW),
        (A, A(1), A),
        (A | B, A(1), B | A | Wide),
    ],
)
def test_an_annotation_that_tells_the_same_reads_the_same(law, was, value, now):
    assert changed(law, was, value, now) == Ok(value)


def test_an_unreadable_error_is_said_to_be_so_too(law):
    async def flow(step: Step[Any], now: Any) -> None:
        def charge() -> Result[int, A]:
            return Err(A(1))

        await step.options(returns=now).attempt("charge", charge)
        await step("wait", pending_hook, "h")

    first = law.wait(Runner().run(functools.partial(flow, now=Result[int, A])))
    again = law.wait(law.elsewhere.resume(functools.partial(flow, now=Result[int, Wide]), first.state))
    assert isinstance(again.result.error, UnreadableEntry)


# --- functions that are not ours ------------------------------------------------------------------


@attrs.frozen
class Declined:
    why: str


def declined(error: ValueError) -> Declined:
    return Declined(str(error))


def parse(text: str) -> A:
    return A(int(text))


async def parse_slowly(text: str) -> A:
    return A(int(text))


@pytest.mark.parametrize(
    "fn", [parse, parse_slowly, functools.partial(parse), functools.partial(parse_slowly)]
)
def test_catching_turns_named_exceptions_into_a_typed_error(law, fn):
    caught = catching(fn, ValueError, KeyError, into=declined)
    assert law.step(caught, "5").replays == [A(5), A(5)]
    failed = law.step(caught, "x")
    assert type(failed.fresh.error) is Declined
    assert failed.exact()
    assert "parse" in caught.__qualname__


@pytest.mark.parametrize("fn", [parse, parse_slowly])
def test_catching_lets_other_exceptions_pass(law, fn):
    async def flow(step: Step[Declined]) -> A:
        return await step("parse", catching(fn, KeyError, into=declined), "x")

    error = law.wait(Runner().run(flow)).result.error
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, ValueError)


@attrs.frozen
class TooMuch:
    what: str


UNREAD = "invalid literal for int() with base 10: 'x'"


async def afford(text: str) -> Result[A, TooMuch]:
    return Ok(A(int(text))) if len(text) < 3 else Err(TooMuch(text))


def afford_untyped(text):
    return Ok(int(text)) if len(text) < 3 else Err("too much")


def test_catching_leaves_a_result_as_it_is_and_knows_the_errors_of_both(law):
    caught = catching(afford, ValueError, into=declined)
    assert law.step(caught, "5").replays == [A(5), A(5)]
    for text, error in (("500", TooMuch("500")), ("x", Declined(UNREAD))):
        failed = law.step(caught, text)
        assert failed.fresh == Err(error)
        assert failed.exact()


def test_catching_leaves_a_result_without_annotations_as_it_is(law):
    caught = catching(afford_untyped, ValueError, into=lambda error: "no number")
    assert law.step(caught, "5").replays == [5, 5]
    assert law.step(caught, "500").replays == [Err("too much")] * 2
    assert law.step(caught, "x").replays == [Err("no number")] * 2


def test_an_error_of_a_function_under_catching_ends_the_workflow(law):
    async def flow(step: Step[TooMuch | Declined]) -> A:
        return await step("afford", catching(afford, ValueError, into=declined), "500")

    assert law.wait(Runner().run(flow)).result == Err(TooMuch("500"))


@pytest.mark.parametrize("decorated", [functools.cache(parse), functools.lru_cache(maxsize=1)(parse)])
def test_a_cached_function_has_its_annotation(law, decorated):
    assert law.step(decorated, "5").replays == [A(5), A(5)]


def test_catching_without_annotations_takes_plain_values_and_refuses_others(law):
    plain = catching(lambda text: int(text), ValueError, into=lambda error: "no number")  # noqa: PLW0108  a lambda on purpose
    assert law.step(plain, "5").exact()
    assert law.step(plain, "x").fresh == Err("no number")
    assert isinstance(
        law.step(catching(parse, ValueError, into=lambda e: Declined("a")), "x"), JournalError
    )
    assert law.step(catching(lambda text: int(text), ValueError, into=declined), "x").exact()  # noqa: PLW0108  a lambda on purpose


def test_catching_keeps_the_documentation_of_its_function():
    def documented() -> int:
        """Count."""
        return 1

    assert catching(documented, ValueError, into=declined).__doc__ == "Count."


class Container(Generic[T]):
    def first(self) -> T:
        return typing.cast("T", A(1))


def test_a_type_variable_alone_tells_nothing(law):
    assert isinstance(law.step(Container[A]().first), JournalError)


LATE = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
"""Before an annotation that is evaluated late: since Python 3.14 each one is."""


def late(source: str) -> Any:
    """Give a module of functions whose annotations are evaluated when somebody asks."""
    module = ModuleType("late")
    code = compile(LATE + source, "late", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


ONLY_CHECKED = """
async def pay(order: Missing) -> int:
    return 1

async def flow(step: Step[Missing], times: int) -> int:
    paid = await step("pay", pay, "order")
    return times * (paid + (await step.attempt("pay again", pay, "order")).unwrap())
"""


async def test_names_that_only_type_checkers_know_are_no_trouble_where_no_value_needs_them():
    flow = late(ONLY_CHECKED).flow
    outcome = await Runner().run(flow, 2)
    assert outcome.result == Ok(4)
    unfinished = rewind(ResumeState.from_bytes(outcome.state.to_bytes()), "pay again")
    assert (await Runner().resume(flow, unfinished)).result == Ok(4)


@pytest.mark.parametrize("where", ["-> Missing", "-> Result[int, Missing]", "-> list[Missing]"])
async def test_a_name_that_only_type_checkers_know_is_named_where_a_value_needs_it(where):
    module = late(f"from awaitpy import Result\nasync def pay() {where}:\n    return 1\n")

    async def flow(step):
        return await step("pay", module.pay)

    error = (await Runner().run(flow)).result.unwrap_err()
    assert isinstance(error.cause, JournalError)
    assert error.key == "pay"
    assert "name 'Missing' is not defined" in str(error)
    assert "TYPE_CHECKING" in str(error)


async def test_an_argument_whose_type_only_type_checkers_know_is_refused():
    module = late("async def flow(step, order: Missing) -> None: ...")
    with pytest.raises(JournalError, match="name 'Missing' is not defined"):
        await Runner().run(module.flow, 1)


FORWARD = """
import attrs

@attrs.frozen
class Order:
    items: list[Item]

    async def first(self) -> Item:
        return self.items[0]

@attrs.frozen
class Item:
    sku: str

def made():
    @attrs.frozen
    class Local:
        item: Item

    async def give() -> Local:
        return Local(Item("here"))

    return give

async def order() -> Order:
    return Order([Item("a"), Item("b")])
"""


def test_types_that_come_later_in_the_source_are_found(law):
    module = late(FORWARD)
    sys.modules["late"] = module
    assert law.step(module.order).exact()
    assert law.step(module.Order([module.Item("a")]).first).exact()
    assert law.step(module.made()).exact()
