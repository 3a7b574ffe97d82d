"""The web shop of scenario 1: `start` begins a checkout and exits, `serve` takes the webhooks.

Everything but the workflow is the user's own: the table, the route, the server.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
from contextlib import closing

import attrs
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from awaitpy import (
    Err,
    HookAnswer,
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

DATABASE = os.environ["SHOP_DATABASE"]
HANGS = os.environ.get("SHOP_FULFIL_HANGS") == "yes"


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


async def create_order(total: int) -> Order:
    called("create-order")
    return Order("order-1", total)


async def fulfil(order: Order, payment: Payment) -> Result[str, Declined]:
    called("fulfil")
    if HANGS:
        print("fulfilling", flush=True)
        await asyncio.Event().wait()
    return Ok(f"shipped {order.id}, {payment.status}") if payment.status else Err(Declined("empty"))


async def receipt(tracking: str, signed_by: str) -> str:
    called("receipt")
    return f"{tracking}, received by {signed_by}"


async def checkout(step: Step[Declined | PendingHook], total: int) -> str:
    order = await step("create-order", create_order, total)
    hook = await step("payment-hook", create_hook)
    payment = await step(hook.step_key, pending_hook, hook.hook_id, Payment)
    return await step("fulfil", fulfil, order, payment)


async def checkout_and_receipt(step: Step[Declined | PendingHook], total: int) -> str:
    tracking = await checkout(step, total)
    hook = await step("receipt-hook", create_hook)
    signed_by = await step(hook.step_key, pending_hook, hook.hook_id, str)
    return await step("receipt", receipt, tracking, signed_by)


WORKFLOWS = {flow.__qualname__: flow for flow in (checkout, checkout_and_receipt)}


def execute(sql, *args):
    with closing(sqlite3.connect(DATABASE, timeout=30)) as db, db:
        return db.execute(sql, args).fetchall()


def called(key):
    execute("INSERT INTO calls VALUES (?)", key)


async def start(name):
    state = (await run(WORKFLOWS[name], 4200)).state
    (waiting,) = state.pending
    execute("INSERT INTO rows VALUES (?, ?, ?)", waiting.hook_id, state.revision, state.to_bytes())
    print(waiting.hook_id, flush=True)


async def webhook(request):
    hook_id = request.path_params["hook_id"]
    found = execute("SELECT state FROM rows WHERE hook_id = ?", hook_id)
    if not found:
        return response(HookAnswer(404, {"status": "unknown"}))
    state = ResumeState.from_bytes(found[0][0])
    try:
        sent = await hook_request(request)
        injected = inject_hook(state, hook_id, sent.json())
    except HookError as refused:
        return response(answer(refused))
    outcome = await resume(WORKFLOWS[state.workflow], injected)
    save(hook_id, state.revision, outcome.state)
    match outcome.result:
        case Ok(tracking):
            return response(answer(outcome, body={"fulfilment": tracking}))
        case Err(PendingHook() as pending):
            return response(answer(outcome, body={"next": pending.hook_id}))
        case _:
            return response(answer(outcome))


def save(hook_id, revision, state):
    """Keep the state unless somebody else changed the row meanwhile; a run that is over leaves none."""
    place = "WHERE hook_id = ? AND revision = ?"
    if not state.pending:
        execute(f"DELETE FROM rows {place}", hook_id, revision)
        return
    (waiting,) = state.pending
    new = (waiting.hook_id, state.revision, state.to_bytes())
    sql = f"UPDATE rows SET hook_id = ?, revision = ?, state = ? {place}"
    execute(sql, *new, hook_id, revision)


async def serve():
    app = Starlette(routes=[Route("/hooks/{hook_id}", webhook, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(start(sys.argv[2]) if sys.argv[1] == "start" else serve())
