"""What a page shows of a run: one value, taken from the state and from what the steps stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import attrs

from awaitpy import Err, Ok
from examples.translation_review.desk import Desk
from examples.translation_review.store import Activity, Review, Run
from examples.translation_review.translator import CannotTranslate
from examples.translation_review.workflow import Verdict

Standing = Literal[
    "working", "waiting", "answered", "validated", "rejected", "unreviewed", "failed", "interrupted"
]

TOLD: dict[Standing, str] = {
    "working": "Translating …",
    "waiting": "Waiting for your review.",
    "answered": "Your answer is here, the run goes on …",
    "validated": "Validated. The translation is published.",
    "rejected": "Rejected. The draft went back, nothing is published.",
    "unreviewed": "Not reviewed in time. The draft is published as unreviewed.",
    "failed": "This text can’t be translated.",
    "interrupted": "Something went wrong. It will be tried again by itself.",
}


@attrs.frozen
class View:
    review_id: str
    standing: Standing
    review: Review | None
    hook_url: str | None
    deadline: datetime | None
    verdict: Verdict | None
    problem: str
    activity: list[Activity]
    revision: int

    @property
    def version(self) -> str:
        """Another one whenever there is something else to show."""
        return f"{self.revision}.{len(self.activity)}"

    @property
    def told(self) -> str:
        """The state of things in one sentence."""
        return TOLD[self.standing]

    def of_hook(self) -> dict[str, Any]:
        """What somebody learns who only looks at the hook's URL."""
        waits = self.standing == "waiting"
        return {
            "status": self.standing,
            "review": f"/reviews/{self.review_id}",
            "takes": ["POST"] if waits else [],
            "until": self.deadline.isoformat() if self.deadline else None,
        }


async def view_of(desk: Desk, run: Run) -> View:
    """What there is to show of this run now."""
    standing, verdict, problem = await _standing(desk, run)
    (deadline,) = [waiting.deadline for waiting in run.state.pending] or [None]
    return View(
        run.review_id,
        standing,
        desk.store.review(run),
        run.hook_url,
        deadline,
        verdict,
        problem,
        desk.store.activity(run.review_id),
        run.state.revision,
    )


async def _standing(desk: Desk, run: Run) -> tuple[Standing, Verdict | None, str]:
    match run.state.status:
        case "running":
            return "working", None, ""
        case "suspended":
            here = any(waiting.deliveries for waiting in run.state.pending)
            return "answered" if here else "waiting", None, ""
        case "interrupted":
            return "interrupted", None, ""
        case "completed" | "failed":
            return _ended(await desk.verdict(run))


def _ended(result: object) -> tuple[Standing, Verdict | None, str]:
    match result:
        case Ok(Verdict() as verdict):
            return verdict.decision, verdict, ""
        case Err(CannotTranslate(reason)):
            return "failed", None, reason
        case _:
            return "failed", None, ""
