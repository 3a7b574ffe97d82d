"""A shop: an order is placed, a payment provider calls back, the order is fulfilled.

The order row and the start of its run commit together. Kill the process at any time and start it again,
or start several: each run goes on where it was, and no step runs twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from uuid import uuid4

import attrs
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from awaitpy import Err, HookError, Ok, PendingHook, Result, Step, answer, create_hook, pending_hook
from awaitpy.adapters.starlette import hook_request, response
from awaitpy.durable import Durable
from awaitpy.stores import SQLiteStore

# --- the workflow: it knows nothing of servers, stores and processes ------------------------------


@attrs.frozen
class Payment:
    order_id: str
    status: str


@attrs.frozen
class Declined:
    reason: str


async def checkout(step: Step[Declined | PendingHook], order_id: str, total: int) -> str:
    hook = await step("payment-hook", create_hook)
    await step("start-checkout", start_checkout, order_id, total, f"/hooks/{hook.hook_id}")
    payment = await step(hook.step_key, pending_hook, hook.hook_id, Payment)
    return await step("fulfil", fulfil, order_id, payment)


async def start_checkout(order_id: str, total: int, callback_url: str) -> None:
    print(f"provider: order {order_id} costs {total}; when it is paid, call {callback_url}")


async def fulfil(order_id: str, payment: Payment) -> Result[str, Declined]:
    if payment != Payment(order_id, "paid"):
        return Err(Declined(f"the payment of {payment.order_id} is {payment.status}"))
    print(f"warehouse: order {order_id} leaves")
    return Ok(f"{order_id} is on its way")


# --- the application ------------------------------------------------------------------------------


class Cart(msgspec.Struct):
    total: int


class Shop:
    """The routes, over the application's own table and the runs beside it in the same file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._durable = Durable(SQLiteStore(path), workflows=[checkout])

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Serve runs for as long as the shop answers requests."""
        with closing(sqlite3.connect(self._path)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, total INTEGER)")
        async with self._durable:
            serving = asyncio.create_task(self._durable.serve())
            yield
            self._durable.stop()
            await serving

    async def place_order(self, request: Request) -> Response:
        """Keep the order, and queue its run in the same transaction; 400 for what is no order."""
        try:
            total = msgspec.json.decode(await request.body(), type=Cart).total
        except msgspec.DecodeError as malformed:
            return JSONResponse({"error": str(malformed)}, 400)
        order_id = f"order-{uuid4().hex[:8]}"
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute("INSERT INTO orders VALUES (?, ?)", (order_id, total))
            await self._durable.enqueue(checkout, order_id, total, run_id=order_id, within=database)
        return JSONResponse({"order": order_id}, 202)

    async def show_order(self, request: Request) -> Response:
        """Tell how far the order is, and which hooks it waits for."""
        record = await self._durable.get(request.path_params["order_id"])
        if record is None:
            return JSONResponse({"status": "unknown"}, 404)
        return JSONResponse({"status": record.status, "hooks": [hook.hook_id for hook in record.pending]})

    async def deliver(self, request: Request) -> Response:
        """Take the call of the payment provider, and tell it what became of it."""
        delivery = await hook_request(request)
        try:
            payment = delivery.json()
        except HookError as malformed:
            return response(answer(malformed))
        hook_id: str = request.path_params["hook_id"]
        match await self._durable.inject(
            hook_id, payment, payload=Payment, delivery_id=delivery.delivery_id
        ):
            case Ok(outcome):
                return response(answer(outcome))
            case Err(refused):
                return response(answer(refused))


def make_app(path: str) -> Starlette:
    shop = Shop(path)
    routes = [
        Route("/orders", shop.place_order, methods=["POST"]),
        Route("/orders/{order_id}", shop.show_order),
        Route("/hooks/{hook_id}", shop.deliver, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=shop.lifespan)
