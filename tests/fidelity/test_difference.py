"""The exact judge, where no public call leads to: what a converter might do to a set."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

import attrs

from awaitpy import Err, JournalError, Ok, UnexpectedError, run
from awaitpy._check import exact
from awaitpy._fidelity import difference

T = TypeVar("T")


@attrs.frozen
class Box(Generic[T]):
    content: T


@attrs.frozen
class Node:
    name: str
    children: dict[str, Node]


@attrs.frozen
class Deep:
    a: list[list[list[list[list[list[Deep]]]]]]


def deep(depth: int) -> Deep:
    value = Deep([])
    for _ in range(depth):
        value = Deep([[[[[[value]]]]]])
    return value


def nested(depth: int) -> Node:
    node = Node("leaf", {})
    for _ in range(depth):
        node = Node("branch", {"only": node})
    return node


def test_a_set_with_other_members_is_another():
    assert difference({1}, {2}) == ("$", "a set would come back with other members")
    assert difference({1, 2}, {1}) == ("$", "a set would come back with other members")


def test_equal_members_of_another_type_are_others():
    assert difference({1}, {True}) == ("${}", "an int would come back as a bool")


async def test_a_type_that_holds_itself_is_restored_up_to_the_depth_that_states_have():
    def tree(depth: int) -> Node:
        return nested(depth)

    async def flow(step, depth: int) -> str:
        return (await step("tree", tree, depth)).name

    assert (await run(flow, 10)).result == Ok("branch")


async def test_what_only_a_converter_carries_can_not_be_told_from_another_of_its_class():
    def boxed() -> Box[datetime] | Box[str]:
        return Box(datetime(2030, 1, 1, tzinfo=ZoneInfo("Europe/Paris")))

    async def flow(step):
        await step("box", boxed)

    result = (await run(flow)).result
    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    assert isinstance(result.error.cause, JournalError)


async def test_a_type_that_comes_round_to_itself_far_below_has_its_depth_bounded_too():
    def give(depth: int) -> Deep:
        return deep(depth)

    async def flow(step, depth: int) -> bool:
        return isinstance(await step("deep", give, depth), Deep)

    assert (await run(flow, 5)).result == Ok(value=True)
    assert exact(Deep)(deep(5))
    assert not exact(Deep)(deep(40))
