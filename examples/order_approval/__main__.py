"""Drives the app over real HTTP and prints what happens: `python -m examples.order_approval`.

Run it from the root of the repository. Exits with 1 if an answer is not the expected one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx
import msgspec
import uvicorn

from examples.order_approval import app as shop

PAPERS = ("bank_statement", "identity", "proof_of_address")
ahead = timedelta()


def main() -> int:
    shop.now = later
    with serving() as address, httpx.Client(base_url=address) as http:
        sender = Sender(http)
        for story in (strangers, rejection, silence):
            print(f"\n{story.__doc__}")
            story(sender)
    print("\nAll as expected." if sender.as_expected else "\nNOT as expected.")
    return 0 if sender.as_expected else 1


def later() -> datetime:
    """The clock that the app is given, which can be put forward."""
    return datetime.now(UTC) + ahead


def strangers(sender: Sender) -> None:
    """An order is approved, after some have tried who may not."""
    order = sender.place("Ada", 420)
    sender.post(order, {"kind": "passport", "url": "https://files.example/1"}, 400)
    for paper in PAPERS:
        sender.post(order, {"kind": paper, "url": f"https://files.example/{paper}"}, 202)
    sender.post(order, {"decision": "approved", "user_id": "intern-1"}, 403)
    sender.post(order, {"decision": "maybe", "user_id": shop.MANAGER}, 422)
    sender.post(order, yes := {"decision": "approved", "user_id": shop.MANAGER}, 401, forged=True)
    sender.post(order, yes, 200)
    sender.expect(order, "approved")


def rejection(sender: Sender) -> None:
    """An order is rejected, and the webhook that says so comes twice."""
    order = sender.place("Bob", 99_000)
    for paper in PAPERS:
        sender.post(order, {"kind": paper, "url": f"https://files.example/{paper}"}, 202)
    no = {"decision": "rejected", "user_id": shop.MANAGER, "notes": "too dear"}
    hook_id = sender.hook(order)
    for _ in range(2):
        sender.post(order, no, 200, hook_id=hook_id, webhook_id="msg_no")
    sender.expect(order, "rejected")


def silence(sender: Sender) -> None:
    """Nobody decides for a day."""
    global ahead  # noqa: PLW0603  # the clock of this program is one
    order = sender.place("Cleo", 7)
    for paper in PAPERS:
        sender.post(order, {"kind": paper, "url": f"https://files.example/{paper}"}, 202)
    hook_id = sender.hook(order)
    ahead += timedelta(hours=24)
    print("  a day passes")
    sender.post(order, {"decision": "approved", "user_id": shop.MANAGER}, 410, hook_id=hook_id)
    sender.http.post("/wake").raise_for_status()
    sender.expect(order, "expired")


@attrs.define
class Sender:
    """Signs and posts webhooks, and compares each answer with what it should be."""

    http: httpx.Client
    as_expected: bool = True
    sent: int = 0

    def place(self, customer: str, total: int) -> str:
        """The id of a new order."""
        placed = self.http.post("/orders", json={"customer": customer, "total": total})
        order: str = placed.raise_for_status().json()["order"]
        return order

    def hook(self, order: str) -> str:
        """The hook that the order waits for."""
        (waits,) = self.http.get(f"/orders/{order}").raise_for_status().json()["waits"]
        hook_id: str = waits["hook_id"]
        return hook_id

    def post(
        self,
        order: str,
        value: dict[str, str],
        status: int,
        *,
        hook_id: str = "",
        webhook_id: str = "",
        forged: bool = False,
    ) -> None:
        """Post a signed webhook, to what the order waits for if no hook is named."""
        self.sent += 1
        body = msgspec.json.encode(value)
        signed = b"something else" if forged else body
        headers = shop.WEBHOOKS.sign(signed, webhook_id=webhook_id or f"msg_{self.sent}", now=shop.now())
        address = f"/orders/{order}/hooks/{hook_id or self.hook(order)}"
        told = self.http.post(address, content=body, headers=headers)
        said = ", ".join(value.values()) + (", with a forged signature" if forged else "")
        self.compare(said, f"{told.status_code} {told.json()['status']}", told.status_code == status)

    def expect(self, order: str, decision: str) -> None:
        """Compare how the order ended with what it should be."""
        told: dict[str, Any] = self.http.get(f"/orders/{order}").raise_for_status().json()
        verdict = told["verdict"] or {"decision": None}
        self.compare(f"the order is {told['status']}", str(verdict), verdict["decision"] == decision)

    def compare(self, what: str, told: str, as_expected: bool) -> None:
        """Print it, and remember whether it was as expected."""
        print(f"  {what}: {told}" + ("" if as_expected else "  <- unexpected"))
        self.as_expected &= as_expected


@contextmanager
def serving() -> Generator[str, None, None]:
    """The app on a free port, in a thread of its own, and its address."""
    server = uvicorn.Server(uvicorn.Config(shop.app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
