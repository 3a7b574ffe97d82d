"""A cattrs converter carries what MessagePack can't, and no hook can change a value in silence."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest

from awaitpy import (
    JournalError,
    Ok,
    PendingHook,
    ResumeState,
    Runner,
    Step,
    UnreadableEntry,
    inject_hook,
    make_converter,
    pending_hook,
)


class Money:
    """A class that only its own hooks can carry."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.cents == other.cents

    def __hash__(self) -> int:
        return hash(self.cents)


@attrs.frozen
class Invoice:
    id: str
    total: Money
    at: datetime


class Quarrelsome:
    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None


def knowing(cls: type, write: Any, read: Any) -> Runner:
    converter = make_converter()
    converter.register_unstructure_hook(cls, write)
    converter.register_structure_hook(cls, read)
    return Runner(converter=converter)


def money() -> Runner:
    return knowing(Money, lambda m: m.cents, lambda raw, _: Money(raw))


def test_hooks_of_a_user_carry_a_class_alone_and_in_fields(law):
    invoice = Invoice("1", Money(5), datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")))
    for tp, value in (
        (Money, Money(5)),
        (list[Money], [Money(1), Money(2)]),
        (Invoice, invoice),
        (dict[str, Invoice], {"a": invoice}),
        (Money | None, Money(1)),
        (Money | str, Money(1)),
        (Money | Invoice, invoice),
    ):
        found = law.step(lambda v=value: v, returns=tp, here=money(), elsewhere=money())
        assert found.exact()


def test_fractions_are_carried_by_two_lines(law):
    runner = knowing(Fraction, str, lambda raw, _: Fraction(raw))
    assert law.step(lambda: Fraction(1, 3), returns=Fraction, here=runner, elsewhere=runner).exact()


LIARS = {
    "writes another value": (lambda m: m.cents + 1, lambda raw, _: Money(raw)),
    "reads another value": (lambda m: m.cents, lambda raw, _: Money(0)),
    "reads another type": (lambda m: m.cents, lambda raw, _: raw),
    "reads a bool for an int": (lambda m: m.cents, lambda raw, _: bool(raw)),
    "writes what has no bytes": (lambda m: object(), lambda raw, _: Money(5)),
    "writes itself": (lambda m: m, lambda raw, _: Money(5)),
    "fails to write": (lambda m: 1 / 0, lambda raw, _: Money(5)),
    "fails to read": (lambda m: m.cents, lambda raw, _: {}["missing"]),
}


@pytest.mark.parametrize("lie", LIARS, ids=str)
def test_a_lying_hook_is_refused(law, lie):
    write, read = LIARS[lie]
    runner = knowing(Money, write, read)
    for tp, value in ((Money, Money(5)), (list[Money], [Money(5)])):
        refusal = law.step(lambda v=value: v, returns=tp, here=runner)
        assert isinstance(refusal, JournalError)


def test_a_value_that_will_not_be_compared_is_refused(law):
    runner = knowing(Quarrelsome, lambda _: 1, lambda raw, _: Quarrelsome())
    refusal = law.step(Quarrelsome, returns=Quarrelsome, here=runner)
    assert isinstance(refusal, JournalError)


def test_a_hook_is_asked_once_for_each_replay_and_never_for_what_messagepack_carries(law):
    asked: list[int] = []
    runner = knowing(Money, lambda m: asked.append(m.cents) or m.cents, lambda raw, _: Money(raw))
    assert law.step(lambda: [1, 2], returns=list[int], here=runner).exact()
    assert asked == []


async def pay(step: Step[PendingHook], price: Money) -> Money:
    await step.options(returns=Money)("price", lambda: price)
    await step("wait", pending_hook, "h")
    return price


def test_the_same_hooks_carry_arguments_and_results(law):
    runner = money()
    first = law.wait(runner.run(pay, Money(7)))
    state = ResumeState.from_json(first.state.to_json())
    last = law.wait(money().resume(pay, inject_hook(state, "h", 1)))
    assert last.result == Ok(Money(7))
    assert law.wait(money().resume(pay, ResumeState.from_bytes(last.state.to_bytes()))).result == Ok(
        Money(7)
    )


def test_a_runner_without_the_hooks_says_what_it_cannot_read(law):
    state = law.wait(money().run(pay, Money(7))).state
    error = law.wait(Runner().resume(pay, state)).result.error
    assert isinstance(error, UnreadableEntry)
    assert error.key == "the arguments"


def test_an_error_of_a_hook_at_replay_is_an_unreadable_entry(law):
    async def flow(step: Step[PendingHook]) -> None:
        await step.options(returns=Money)("price", lambda: Money(1))
        await step("wait", pending_hook, "h")

    def broken(raw: Any, _: Any) -> Money:
        raise KeyError(raw)

    state = law.wait(money().run(flow)).state
    error = law.wait(knowing(Money, lambda m: m.cents, broken).resume(flow, state)).result.error
    assert isinstance(error, UnreadableEntry)
    assert error.key == "price"


def test_a_zone_that_is_known_no_more_makes_the_entry_unreadable(law, monkeypatch):
    async def flow(step: Step[PendingHook]) -> None:
        await step.options(returns=datetime)(
            "at", lambda: datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris"))
        )
        await step("wait", pending_hook, "h")

    state = law.wait(Runner().run(flow)).state
    damaged = state.to_bytes().replace(b"Europe/Paris", b"Europe/Atlas")
    error = law.wait(Runner().resume(flow, ResumeState.from_bytes(damaged))).result.error
    assert isinstance(error, UnreadableEntry)


class Written(msgspec.Struct, rename="camel"):
    first_name: str
    price: Any


def test_a_struct_with_a_field_that_messagepack_cannot_carry_names_the_place(law):
    refusal = law.refuses(Written, Written("a", Money(1)))
    assert refusal.path == "$.price"
    assert "Money" in refusal.problem
