"""The shop over Durable, as its customers and its payment provider see it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from examples.durable_checkout.app import make_app


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "shop.db")


def waiting(shop, order):
    """The hook for which the order waits, once the run that serve starts has come to it."""
    for _ in range(10_000):
        body = shop.get(f"/orders/{order}").json()
        if body["status"] == "suspended":
            return body["hooks"][0]
    raise AssertionError(body)


def test_an_order_is_paid_and_fulfilled_once_over_two_lives_of_the_shop(path, capsys):
    with TestClient(make_app(path)) as shop:
        placed = shop.post("/orders", json={"total": 4200})
        order = placed.json()["order"]
        assert placed.status_code == 202
        hook = waiting(shop, order)
    with TestClient(make_app(path)) as shop:
        paid = {"order_id": order, "status": "paid"}
        headers = {"webhook-id": "msg_1"}
        for _ in range(2):
            assert shop.post(f"/hooks/{hook}", json=paid, headers=headers).status_code == 200
        other = {"order_id": order, "status": "refunded"}
        assert shop.post(f"/hooks/{hook}", json=other, headers={"webhook-id": "msg_2"}).status_code == 409
        assert shop.get(f"/orders/{order}").json()["status"] == "completed"
    said = capsys.readouterr().out
    assert said.count("provider:") == said.count("warehouse:") == 1


def test_what_does_not_fit_is_refused_and_the_order_still_waits(path):
    with TestClient(make_app(path)) as shop:
        order = shop.post("/orders", json={"total": 4200}).json()["order"]
        hook = waiting(shop, order)
        assert shop.post(f"/hooks/{hook}", json={"status": "paid"}).status_code == 400
        assert shop.post(f"/hooks/{hook}", content=b"{").status_code == 400
        for body in (b"{", b"4200", b'{"total": "much"}', b'{"total": true}', b"{}", b"\xff"):
            assert shop.post("/orders", content=body).status_code == 400
        assert shop.post("/hooks/unknown", json={"order_id": order, "status": "paid"}).status_code == 404
        assert shop.get("/orders/unknown").status_code == 404
        declined = shop.post(f"/hooks/{hook}", json={"order_id": order, "status": "declined"})
        assert declined.json() == {"status": "failed"}


def test_an_order_that_can_not_be_stored_starts_no_run(path, monkeypatch):
    with TestClient(make_app(path), raise_server_exceptions=False) as shop:
        with closing(sqlite3.connect(path)) as database:
            database.execute("DROP TABLE orders")
        assert shop.post("/orders", json={"total": 4200}).status_code == 500
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM awaitpy_runs").fetchone() == (0,)
