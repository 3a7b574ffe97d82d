"""The desk: starts runs, hands them deliveries, and wakes those that are due. No HTTP in here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import attrs

from awaitpy import (
    Event,
    HookAnswer,
    HookError,
    HookRequest,
    Outcome,
    PendingHook,
    Result,
    ResumeState,
    RunError,
    Runner,
    Step,
    UnknownHook,
    answer,
    inject_hook,
    next_wakeup,
)
from examples.translation_review.store import Run, Store
from examples.translation_review.translator import CannotTranslate, Translator
from examples.translation_review.workflow import Verdict, hook_url_of, review

LEASE = timedelta(seconds=30)  # after that a leg counts as dead, and the run is somebody else's
RETRY = timedelta(seconds=10)  # before a run that an exception interrupted is tried again

WATCHED = {"step.completed", "hook.waiting", "hook.answered", "hook.expired"}
Errors = CannotTranslate | PendingHook
Flow = Callable[[Step[Errors], str, str, str], Coroutine[Any, Any, Verdict]]
log = logging.getLogger(__name__)


def now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class Desk:
    """What the routes and the scheduler have in common."""

    store: Store
    translator: Translator
    patience: timedelta = timedelta(hours=1)
    clock: Callable[[], datetime] = now

    def open(self, text: str, language: str) -> str:
        """The id of a new review. Its run is stored before anything of it ran, and is due at once."""
        review_id = uuid4().hex
        state = self._runner(review_id).start(self._workflow, review_id, text, language)
        self.store.insert(review_id, state, self._in(timedelta()))
        return review_id

    async def deliver(self, hook_id: str, sent: HookRequest) -> HookAnswer:
        """What to tell the sender, after the run went on with what was sent."""
        while True:
            run = self.store.waiting_at(hook_url_of(hook_id))
            if run is None:
                return answer(UnknownHook(hook_id, ""))
            try:
                state = self._injected(run, hook_id, sent)
            except HookError as refused:
                return answer(refused)
            if state == run.state:
                return HookAnswer.duplicate()
            # From here on the delivery is safe: should this process die, the scheduler goes on.
            taken = self.store.replace(run, state, self._in(LEASE))
            if taken is not None:
                return answer(await self.go_on(taken))

    async def wake_due(self) -> list[Outcome[Verdict, Errors]]:
        """Go on with each run that is due and that nobody else takes."""
        due = self.store.due(self._in(timedelta()))
        claims = [self.store.replace(run, run.state, self._in(LEASE)) for run in due]
        return await asyncio.gather(*(self.go_on(run) for run in claims if run is not None))

    async def go_on(self, run: Run) -> Outcome[Verdict, Errors]:
        """How the next leg of a run ended, once that is stored. Of a finished run nothing runs."""
        outcome = await self._runner(run.review_id).resume(self._workflow, run.state)
        if self.store.replace(run, outcome.state, self._wakeup(outcome.state)) is None:
            log.warning("Review %s took longer than its lease: another process has it.", run.review_id)
        return outcome

    async def verdict(self, run: Run) -> Result[Verdict, Errors | RunError]:
        """How a run ended: a finished one tells, and runs nothing."""
        return (await self._runner(run.review_id).resume(self._workflow, run.state)).result

    @property
    def _workflow(self) -> Flow:
        """The workflow with what it needs of this process, none of which is recorded in a state."""
        return partial(review, translator=self.translator, records=self.store, patience=self.patience)

    def _runner(self, review_id: str) -> Runner:
        def watch(event: Event) -> None:
            if event.name in WATCHED:
                self.store.note(review_id, event)

        return Runner(clock=self.clock, on_event=watch)

    def _injected(self, run: Run, hook_id: str, sent: HookRequest) -> ResumeState:
        return inject_hook(
            run.state,
            hook_id,
            sent,
            delivery_id=sent.idempotency_key,
            method=sent.method,
            now=self.clock(),
        )

    def _wakeup(self, state: ResumeState) -> float | None:
        """When the scheduler has to look after this state."""
        if state.status == "interrupted":
            return self._in(RETRY)
        due = next_wakeup(state)
        return None if due is None else due.timestamp()

    def _in(self, delay: timedelta) -> float:
        return (self.clock() + delay).timestamp()
