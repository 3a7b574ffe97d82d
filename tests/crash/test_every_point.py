"""A process may be killed at any moment: another goes on, and only steps that were under way run again."""

from __future__ import annotations

import json

import pytest

from tests.crash.shapes import SHAPES

SERVED = ["serial", "gathered", "two_hooks", "many_hook", "raced", "undone"]
CASES = [
    *([name] for name in SHAPES),
    *([name, "--mode", "serve"] for name in SERVED),
    ["early_exit", "--empty"],
]


@pytest.mark.parametrize("words", CASES, ids="".join)
def test_a_run_that_is_killed_at_any_point_ends_as_if_it_had_not_been(words, folder, program):
    told = json.loads(program("exhaustive", *words, folder, seconds=120))
    wrong = [found for found in told["found"] if found["wrong"]]
    assert not wrong
    assert len(told["found"]) == len(told["points"])
    killed = [found["target"] for found in told["found"] if found["killed"]]
    # How many entries of parallel branches share a commit is chance, so that its last commits may not come.
    missed = [name for name in told["points"] if name not in killed and "commit" not in name]
    assert not missed
    for moment in ("before commit", "after commit", "before hearing of", "after hearing of"):
        assert any(name.startswith(moment) for name in killed)
