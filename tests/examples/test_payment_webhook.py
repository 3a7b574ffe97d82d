"""The payment webhook, run as the README says: real processes, a real kill, real HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.payment_webhook import __main__ as demo
from examples.payment_webhook.timeline import FILE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished():
    command = [sys.executable, "-m", "examples.payment_webhook"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def timeline(finished):
    """What happened: (pid, who, what), in order."""
    found = re.findall(r"^ +[\d.]+ s +pid (\d+) +(\w+) +(.+)$", finished.stdout, re.MULTILINE)
    assert found, finished.stdout + finished.stderr
    return found


def test_it_exits_with_zero_and_says_that_the_proof_holds(finished):
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Proven: no step ran twice, in 2 processes." in finished.stdout
    assert finished.stderr == ""


def test_each_step_really_ran_once(timeline):
    ran = Counter(what for _, _, what in timeline if what.startswith("ran "))
    assert ran == {"ran create-order": 1, "ran start-checkout": 1, "ran fulfil": 1}


def test_the_process_that_fulfilled_is_not_the_one_that_was_killed(timeline):
    pid_of = {what: pid for pid, _, what in timeline}
    killed = pid_of["ran create-order"]
    assert f"killed the shop, pid {killed}" in pid_of
    assert pid_of["ran start-checkout"] == killed
    assert pid_of["ran fulfil"] != killed


def test_the_provider_called_while_nobody_answered_and_got_200_later_twice(timeline):
    told = [what for _, who, what in timeline if who == "provider"]
    assert told[-5:] == [
        "the customer paid, calling back",
        "nobody answers, trying again",
        "got the answer 200",
        "the customer paid, calling back",
        "got the answer 200",
    ]


def test_the_provider_is_told_of_the_fulfilment_each_time(finished):
    bodies = re.findall(r'\{"fulfilment":"order-[0-9a-f]{8} is on its way"\}', finished.stdout)
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


def test_the_stored_run_is_shown_as_readable_json(finished):
    assert '"workflow": "checkout"' in finished.stdout
    assert '"status": "suspended"' in finished.stdout
    assert '"total": 4200' in finished.stdout


GOOD = ("ran create-order", "ran start-checkout", "ran fulfil", "got the answer 200", "got the answer 200")


def told(happened, monkeypatch, tmp_path):
    """The exit code for this timeline, in which the first two lines come from another process."""
    lines = [f"{i}.0\t{7 if i < 2 else 8}\tshop\t{what}\n" for i, what in enumerate(happened)]
    file = tmp_path / "timeline.tsv"
    file.write_text("".join(lines), encoding="utf-8")
    monkeypatch.setenv(FILE, str(file))
    return demo.report()


def test_the_proof_accepts_a_timeline_in_which_all_happened_once(monkeypatch, tmp_path):
    assert told(GOOD, monkeypatch, tmp_path) == 0


@pytest.mark.parametrize(
    "happened",
    [
        pytest.param((*GOOD, "ran fulfil"), id="a step ran twice"),
        pytest.param((*GOOD, "ran something-else"), id="an unknown step ran"),
        pytest.param(GOOD[:1] + GOOD[2:], id="a step never ran"),
        pytest.param((*GOOD[:4], "got the answer 500"), id="the provider got an error"),
        pytest.param(GOOD[:4], id="the provider was answered once"),
    ],
)
def test_the_proof_fails_for_any_other_timeline(happened, monkeypatch, tmp_path):
    assert told(happened, monkeypatch, tmp_path) == 1


def test_the_proof_fails_if_one_process_did_it_all(monkeypatch, tmp_path):
    assert told(("is up", "is up", *GOOD), monkeypatch, tmp_path) == 1
