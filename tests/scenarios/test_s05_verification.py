"""S5: a third party's score decides what becomes of a customer."""

from __future__ import annotations

from enum import Enum

import attrs
import pytest

from awaitpy import Ok, create_hook, pending_hook
from awaitpy.testing import WorkflowTester

VERIFIED, BAD, FLAGS = 80, 50, 3


class Outcome(Enum):
    VERIFIED = "verified"
    MANUAL_REVIEW = "manual-review"
    FAILED = "failed"


@attrs.frozen
class Report:
    status: str
    score: int
    flags: list[str]


def judge(report: Report) -> Outcome:
    verified = report.status == "verified"
    if verified and report.score >= VERIFIED:
        return Outcome.VERIFIED
    if report.score < BAD or (not verified and len(report.flags) >= FLAGS):
        return Outcome.FAILED
    return Outcome.MANUAL_REVIEW


async def verification(step, customer: str) -> Outcome:
    hook = await step("hook", create_hook)
    report = await step(hook.step_key, pending_hook, hook.hook_id, Report)
    return await step("judge", judge, report)


def report(status, score, flags):
    return {"status": status, "score": score, "flags": [f"flag-{i}" for i in range(flags)]}


@pytest.mark.parametrize(
    ("status", "score", "flags", "outcome"),
    [
        ("verified", 80, 0, Outcome.VERIFIED),
        ("verified", 80, 3, Outcome.VERIFIED),
        ("verified", 79, 0, Outcome.MANUAL_REVIEW),
        ("verified", 50, 2, Outcome.MANUAL_REVIEW),
        ("pending", 80, 0, Outcome.MANUAL_REVIEW),
        ("verified", 49, 0, Outcome.FAILED),
        ("pending", 90, 3, Outcome.FAILED),
    ],
)
async def test_a_report_decides(status, score, flags, outcome):
    tester = WorkflowTester(verification)
    await tester.start("Ada")
    assert (await tester.deliver(report(status, score, flags), payload=Report)).status == 200
    assert tester.result == Ok(outcome)
    assert tester.calls == {"hook": 1, "judge": 1}


async def test_a_score_in_words_is_a_400_and_changes_nothing():
    tester = WorkflowTester(verification)
    await tester.start("Ada")
    before = tester.state.to_bytes()
    told = await tester.deliver(report("verified", "high", 0), payload=Report)
    assert told.status == 400
    assert "$.score" in told.body["detail"]
    assert tester.state.to_bytes() == before
    assert (await tester.deliver(report("verified", 80, 0), payload=Report)).status == 200
