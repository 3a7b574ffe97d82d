"""The shop: its workflow, its table, its routes. `python -m examples.payment_webhook.app PORT`."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from uuid import uuid4

import attrs
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from awaitpy import (
    Err,
    HookError,
    Ok,
    PendingHook,
    Result,
    ResumeState,
    Step,
    answer,
    create_hook,
    inject_hook,
    pending_hook,
    resume,
    run,
)
from awaitpy.adapters.starlette import hook_request, response
from examples.payment_webhook.timeline import note

# --- the workflow: it knows nothing of servers, stores and processes ------------------------------


@attrs.frozen
class Order:
    id: str
    total: int


@attrs.frozen
class Payment:
    order_id: str
    status: str


@attrs.frozen
class Declined:
    reason: str


async def checkout(step: Step[Declined | PendingHook], total: int) -> str:
    order = await step("create-order", create_order, total)
    hook = await step("payment-hook", create_hook)
    await step("start-checkout", start_checkout, order, f"{SHOP}/hooks/{hook.hook_id}")
    payment = await step(hook.step_key, pending_hook, hook.hook_id, Payment)
    return await step("fulfil", fulfil, order, payment)


async def create_order(total: int) -> Order:
    note("shop", "ran create-order")
    return Order(f"order-{uuid4().hex[:8]}", total)


async def start_checkout(order: Order, callback_url: str) -> None:
    note("shop", "ran start-checkout")
    opening = {"order_id": order.id, "amount": order.total, "callback_url": callback_url}
    async with httpx.AsyncClient() as provider:
        (await provider.post(f"{PROVIDER}/checkouts", json=opening)).raise_for_status()


async def fulfil(order: Order, payment: Payment) -> Result[str, Declined]:
    note("shop", "ran fulfil")
    if payment != Payment(order.id, "paid"):
        return Err(Declined(f"the payment of {payment.order_id} is {payment.status}"))
    return Ok(f"{order.id} is on its way")


# --- the table ------------------------------------------------------------------------------------

SHOP = os.environ.get("SHOP_URL", "http://127.0.0.1:8000")
PROVIDER = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8001")

database = sqlite3.connect(os.environ.get("SHOP_DATABASE", ":memory:"), isolation_level=None)
database.execute("CREATE TABLE IF NOT EXISTS runs (hook_id TEXT PRIMARY KEY, revision INTEGER, state BLOB)")


def insert(hook_id: str, state: ResumeState) -> None:
    database.execute("INSERT INTO runs VALUES (?, ?, ?)", (hook_id, state.revision, state.to_bytes()))


def load(hook_id: str) -> ResumeState | None:
    found = database.execute("SELECT state FROM runs WHERE hook_id = ?", (hook_id,)).fetchone()
    return None if found is None else ResumeState.from_bytes(found[0])


def replace(hook_id: str, old: ResumeState, new: ResumeState) -> bool:
    """Whether the row was still as it was read, and is now the new one."""
    updated = database.execute(
        "UPDATE runs SET revision = ?, state = ? WHERE hook_id = ? AND revision = ?",
        (new.revision, new.to_bytes(), hook_id, old.revision),
    )
    return updated.rowcount == 1


# --- the routes -----------------------------------------------------------------------------------

TRY_AGAIN = {"status": "try again"}
delivering = asyncio.Lock()
log = logging.getLogger("shop")


async def place_order(request: Request) -> Response:
    total: int = (await request.json())["total"]
    outcome = await run(checkout, total)
    match outcome.result:
        case Err(PendingHook() as pending):
            insert(pending.hook_id, outcome.state)
            note("shop", f"the run is suspended, at revision {outcome.state.revision}")
        case ended:
            log.warning("The run ended before its payment: %s", ended)
    return response(answer(outcome))


async def deliver(request: Request) -> Response:
    hook_id: str = request.path_params["hook_id"]
    # One delivery at a time in this process; among processes the revision decides whose result counts.
    async with delivering:
        state = load(hook_id)
        if state is None:
            return JSONResponse({"status": "unknown"}, 404)
        try:
            payment = (await hook_request(request)).json()
            injected = inject_hook(state, hook_id, payment, payload=Payment)
        except HookError as refused:
            return response(answer(refused))
        if not replace(hook_id, state, injected):
            return JSONResponse(TRY_AGAIN, 503)
        outcome = await resume(checkout, injected)
        if not replace(hook_id, injected, outcome.state):
            return JSONResponse(TRY_AGAIN, 503)
    note("shop", f"the run is {outcome.state.status}, at revision {outcome.state.revision}")
    match outcome.result:
        case Ok(fulfilment):
            return response(answer(outcome, body={"fulfilment": fulfilment}))
        case Err(error):
            log.warning("The run ended without a fulfilment: %s", error)
            return response(answer(outcome))


app = Starlette(
    routes=[
        Route("/orders", place_order, methods=["POST"]),
        Route("/hooks/{hook_id}", deliver, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    note("shop", "is up")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
