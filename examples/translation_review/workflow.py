"""The workflow: it knows nothing of servers, stores and processes."""

# ruff: noqa: D102  # the names of an example are its documentation, those of methods too

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Protocol

import attrs

from awaitpy import (
    Err,
    HookRequest,
    MalformedBody,
    Ok,
    PendingHook,
    Result,
    Step,
    create_hook,
    is_err,
    pending_hook,
    workflow,
)
from examples.translation_review.translator import CannotTranslate, Draft, Translator


@attrs.frozen
class Verdict:
    """What became of a draft, and all that the request of the reviewer told."""

    decision: Literal["validated", "rejected", "unreviewed"]
    note: str = ""
    method: str = ""
    via: str = ""
    browser: str = ""


class Records(Protocol):
    """What the workflow writes down: each of these is the work of one step."""

    def store_text(self, review_id: str, text: str, language: str) -> None: ...
    def store_draft(self, hook_url: str, draft: Draft) -> None: ...
    def publish(self, review_id: str, text: str, verdict: Verdict) -> None: ...
    def send_back(self, review_id: str, verdict: Verdict) -> None: ...


@workflow(name="translation-review")
async def review(
    step: Step[CannotTranslate | PendingHook],
    review_id: str,
    text: str,
    language: str,
    *,
    translator: Translator,
    records: Records,
    patience: timedelta,
) -> Verdict:
    await step("store-text", records.store_text, review_id, text, language)
    draft = await step("translate", translator.translate, text, language)
    hook = await step("review-hook", create_hook)
    await step("store-draft", records.store_draft, hook_url_of(hook.hook_id), draft)
    click = await step.attempt(
        "decision",
        pending_hook,
        hook.hook_id,
        HookRequest,
        timeout=patience,
        methods=["POST"],
        accept=verdict_of,
    )
    if is_err(click):  # a HookTimeout: better unreviewed today than reviewed too late
        verdict = Verdict("unreviewed")
        await step("publish-unreviewed", records.publish, review_id, draft.text, verdict)
        return verdict
    verdict = verdict_of(click.value).unwrap()  # accept= let no other pass
    if verdict.decision == "rejected":
        await step("send-back", records.send_back, review_id, verdict)
    else:
        await step("publish", records.publish, review_id, draft.text, verdict)
    return verdict


def hook_url_of(hook_id: str) -> str:
    """Where the answer to this hook goes."""
    return f"/hooks/{hook_id}"


def verdict_of(request: HookRequest) -> Result[Verdict, str]:
    """What the request says: it is refused, and the hook stays open, for what no button sends."""
    try:
        sent = dict(request.form())
    except MalformedBody as refused:
        return Err(str(refused))
    match sent.get("decision"):
        case ("validated" | "rejected") as decision:
            via = request.query_param("via") or "unknown"
            browser = request.header("user-agent") or "unknown"
            return Ok(Verdict(decision, sent.get("note", "").strip(), request.method, via, browser))
        case _:
            return Err("a decision is validated or rejected")
