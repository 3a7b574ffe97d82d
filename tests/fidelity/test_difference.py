"""The exact judge, where no public call leads to: what a converter might do to a set."""

from __future__ import annotations

import attrs

from awaitpy import Ok, run
from awaitpy._fidelity import difference


@attrs.frozen
class Node:
    name: str
    children: dict[str, Node]


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
