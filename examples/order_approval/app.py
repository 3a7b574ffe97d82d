"""Orders that need papers and a manager's word: `uvicorn examples.order_approval.app:app`."""

from __future__ import annotations

import itertools
import os
import secrets
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import attrs
from fastapi import Body, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

import awaitpy
from awaitpy import Err, Hook, HookAnswer, Ok, PendingHook, Refusal, Result, ResumeState, Runner, Step
from awaitpy.adapters.starlette import hook_request, response
from awaitpy.webhooks import StandardWebhooks

app = FastAPI()
MANAGER = "manager-123"
WEBHOOKS = StandardWebhooks(os.environ.get("WEBHOOK_SECRET", "whsec_" + secrets.token_hex(24)))


# --- the recipe: three documents, then the manager, who has a day to decide -----------------------
class Document(BaseModel):
    kind: Literal["identity", "proof_of_address", "bank_statement"]
    url: str


class Decision(BaseModel):
    decision: str
    user_id: str
    notes: str = ""


@attrs.frozen
class Verdict:
    decision: Literal["approved", "rejected", "expired"]
    at: datetime
    papers: dict[str, str]
    approver: str = ""
    notes: str = ""


async def approval(step: Step[PendingHook], customer: str, total: int) -> Verdict:
    inbox = await step("inbox", awaitpy.create_hook, many=True)
    await step("ask-customer", tell, customer, "send three documents", inbox)
    papers, numbers = dict[str, str](), itertools.count(1)
    while len(papers) < 3:
        document = await step(f"document-{next(numbers)}", awaitpy.pending_hook, inbox.hook_id, Document)
        papers[document.kind] = document.url  # the same document again replaces the former

    desk = await step("desk", awaitpy.create_hook)
    await step("ask-manager", tell, MANAGER, f"approve {total} for {customer}", desk)
    wait, day = awaitpy.pending_hook, timedelta(hours=24)
    match await step.attempt("decision", wait, desk.hook_id, Decision, accept=manager_only, timeout=day):
        case Err(late):
            await step("apologise", tell, customer, "nobody decided in time")
            return Verdict("expired", late.deadline, papers)
        case Ok(Decision(decision="approved") as yes):
            await step("release", tell, "warehouse", f"release the goods for {customer}")
            return Verdict("approved", await step("approved-at", now), papers, yes.user_id, yes.notes)
        case Ok(no):
            await step("decline", tell, customer, f"rejected, {no.notes}")
            return Verdict("rejected", await step("rejected-at", now), papers, no.user_id, no.notes)


def manager_only(given: Decision) -> Result[Decision, Refusal]:
    if given.user_id != MANAGER:
        return Err(Refusal("only the manager decides", status=403))
    known = given.decision in {"approved", "rejected"}
    return Ok(given) if known else Err(Refusal("a decision is approved or rejected"))


def tell(who: str, what: str, answer_to: Hook | None = None) -> None:
    print(f"  mail to {who}: {what}" + (f" (hook {answer_to.hook_id})" if answer_to else ""))


def now() -> datetime:
    return datetime.now(UTC)


# --- the table: a row changes by compare-and-set, and only who has claimed it resumes it ----------
db = sqlite3.connect(os.environ.get("ORDERS", ":memory:"), isolation_level=None, check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS runs (id PRIMARY KEY, revision, state, due, busy_until)")
CLAIM = "UPDATE runs SET busy_until = ? + 60 WHERE id = ? AND busy_until < ?"
SAVE = "UPDATE runs SET revision=?, state=?, due=?, busy_until=busy_until*? WHERE id=? AND revision=?"


def load(order: str) -> ResumeState:
    for (state,) in db.execute("SELECT state FROM runs WHERE id = ?", (order,)):
        return ResumeState.from_bytes(state)
    raise HTTPException(404)


def save(old: ResumeState, new: ResumeState, *, busy: bool = True) -> bool:  # whether nobody came between
    due = now() if new.status == "interrupted" else awaitpy.next_wakeup(new)
    row = (new.revision, new.to_bytes(), due and due.timestamp(), busy, old.run_id, old.revision)
    return db.execute(SAVE, row).rowcount == 1


async def go_on(order: str) -> HookAnswer:
    """Resume the run, unless somebody is at it already, who will find what has come since."""
    if db.execute(CLAIM, (now().timestamp(), order, now().timestamp())).rowcount == 0:
        return HookAnswer(202, {"status": "taken"})
    entries: list[awaitpy.Entry] = []  # what ran stays known if a delivery wins the compare-and-set
    runner = Runner(clock=now, checkpoint=entries.append)
    while True:
        state = load(order)
        outcome = await runner.resume(approval, awaitpy.append_entries(state, *entries))
        if save(state, outcome.state, busy=False):
            return awaitpy.answer(outcome)


# --- the routes -----------------------------------------------------------------------------------
@app.post("/orders", status_code=201)
async def place(customer: Annotated[str, Body()], total: Annotated[int, Body()]) -> dict[str, str]:
    state = Runner().start(approval, customer, total)
    db.execute("INSERT INTO runs VALUES (?, 0, ?, 0, 0)", (state.run_id, state.to_bytes()))
    await go_on(state.run_id)
    return {"order": state.run_id}


@app.get("/orders/{order}")
async def show(order: str) -> Response:
    state = load(order)
    end = await awaitpy.resume(approval, state) if state.status == "completed" else None  # runs nothing
    told = {"status": state.status, "waits": state.pending, "verdict": end and end.result.unwrap()}
    return response(HookAnswer(200, told))


@app.post("/orders/{order}/hooks/{hook_id}")
async def deliver(order: str, hook_id: str, request: Request) -> Response:
    try:
        sent = await hook_request(request, signed_by=WEBHOOKS, received_at=now())
        value, sent_id, at = sent.json(), sent.delivery_id, sent.received_at
        while True:
            new = awaitpy.inject_hook(old := load(order), hook_id, value, delivery_id=sent_id, now=at)
            if save(old, new):
                return response(await go_on(order))
    except awaitpy.HookError as refused:
        return response(awaitpy.answer(refused))


@app.post("/wake")  # by cron, each minute: for deadlines that passed, and what a crash has left
async def wake() -> None:
    for (order,) in db.execute("SELECT id FROM runs WHERE due <= ?", (now().timestamp(),)).fetchall():
        await go_on(order)
