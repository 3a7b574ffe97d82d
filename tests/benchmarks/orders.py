"""What the benchmarks journal: an order of twelve fields with five items, and the same as plain data."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec


@attrs.frozen
class Item:
    """One line of an order."""

    sku: str
    quantity: int
    price: int


@attrs.frozen
class Order:
    """An order of twelve fields, about 440 bytes of MessagePack."""

    id: str
    total: int
    currency: str
    customer: str
    email: str
    street: str
    city: str
    postcode: str
    country: str
    note: str
    paid: bool
    items: list[Item]


@attrs.frozen
class Approval:
    """What the runs wait for."""

    order_id: str
    approved: bool


ORDER: Final = Order(
    id="order-8241-2207",
    total=14_995,
    currency="EUR",
    customer="Ada Lovelace",
    email="ada@example.com",
    street="12 St James's Square, second floor, on the left",
    city="London",
    postcode="SW1Y 4JH",
    country="GB",
    note="please leave it at the door, not with the neighbours",
    paid=False,
    items=[Item(f"sku-{number}-anvil", number, 1_999) for number in range(1, 6)],
)
PLAIN: Final[dict[str, Any]] = msgspec.msgpack.decode(msgspec.msgpack.encode(ORDER))
HOOK: Final = "approval"
ANSWER: Final[dict[str, Any]] = {"order_id": ORDER.id, "approved": True}


async def fetch_order() -> Order:
    """Give the order."""
    return ORDER
