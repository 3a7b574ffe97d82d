"""The payment provider, a stranger: it speaks HTTP, and calls back until it is told that all is well.

`python -m examples.payment_webhook.provider PORT`. `POST /checkouts` opens a checkout, `POST /pay`
is the customer who pays it, any time later.
"""

from __future__ import annotations

import asyncio
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.payment_webhook.timeline import note

PATIENCE = 300
checkouts: list[dict[str, str]] = []


async def open_checkout(request: Request) -> Response:
    checkouts.append(await request.json())
    note("provider", "a checkout was opened")
    return JSONResponse({"status": "open"}, 201)


async def pay(_: Request) -> Response:
    opened = checkouts[-1]
    payment = {"order_id": opened["order_id"], "status": "paid"}
    note("provider", "the customer paid, calling back")
    answer = await call_back(opened["callback_url"], payment)
    note("provider", f"got the answer {answer.status_code}")
    return JSONResponse(answer.json(), answer.status_code)


async def call_back(url: str, payment: dict[str, str]) -> httpx.Response:
    """Post the payment again and again, until an answer is a success."""
    async with httpx.AsyncClient(timeout=30) as client:
        for attempt in range(PATIENCE):
            try:
                answer = await client.post(url, json=payment)
            except httpx.ConnectError:
                if attempt == 0:
                    note("provider", "nobody answers, trying again")
            else:
                if answer.is_success:
                    return answer
            await asyncio.sleep(0.1)
    return httpx.Response(504, json={"status": "gave up"})


app = Starlette(
    routes=[
        Route("/checkouts", open_checkout, methods=["POST"]),
        Route("/pay", pay, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    note("provider", "is up")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
