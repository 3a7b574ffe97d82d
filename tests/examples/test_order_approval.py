"""The order approval, through its routes and over real HTTP."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from awaitpy import ResumeState
from awaitpy.testing import FakeClock
from examples.order_approval import __main__ as demo
from examples.order_approval import app as shop

ROOT = Path(__file__).parents[2]
APP = ROOT / "examples" / "order_approval" / "app.py"
PAPERS = ("identity", "proof_of_address", "bank_statement")
URLS = {paper: f"https://files.example/{paper}/1" for paper in PAPERS}
YES = {"decision": "approved", "user_id": "manager-123", "notes": "within budget"}
NO = {"decision": "rejected", "user_id": "manager-123", "notes": "too dear"}
DAY = timedelta(hours=24)


def document(kind, version=1):
    return {"kind": kind, "url": f"https://files.example/{kind}/{version}"}


class Order:
    """An order in the app, and the services that post webhooks about it."""

    def __init__(self, client):
        self.client = client
        self.clock = FakeClock()
        self.mails = []
        self._numbers = itertools.count(1)

    def place(self):
        placed = self.client.post("/orders", json={"customer": "Ada", "total": 420})
        assert placed.status_code == 201
        self.id = placed.json()["order"]
        return self

    def with_papers(self):
        for paper in PAPERS:
            assert self.post(document(paper)).status_code == 202
        return self

    def read(self):
        return self.client.get(f"/orders/{self.id}").raise_for_status().json()

    @property
    def wait(self):
        (wait,) = self.read()["waits"]
        return wait

    @property
    def row(self):
        return shop.db.execute("SELECT * FROM runs WHERE id = ?", (self.id,)).fetchone()

    @property
    def steps(self):
        return list(ResumeState.from_bytes(self.row[2]).steps)

    def post(self, value, *, to=None, webhook_id=None, **changes):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        webhook_id = webhook_id or f"msg_{next(self._numbers)}"
        headers = shop.WEBHOOKS.sign(body, webhook_id=webhook_id, now=self.clock.now)
        hook_id = to or self.wait["hook_id"]
        address = f"/orders/{self.id}/hooks/{hook_id}"
        return self.client.post(address, content=changes.pop("body", body), headers=headers | changes)


@pytest.fixture
def order(monkeypatch):
    order = Order(TestClient(shop.app))
    shop.db.execute("DELETE FROM runs")  # orders of other tests would be due too

    def now() -> datetime:
        return order.clock.now

    def tell(who: str, what: str, answer_to: shop.Hook | None = None) -> None:
        order.mails.append((who, what))

    monkeypatch.setattr(shop, "now", now)
    monkeypatch.setattr(shop, "tell", tell)
    return order.place()


@pytest.fixture
def decidable(order):
    return order.with_papers()


def test_the_app_is_no_longer_than_a_recipe():
    assert len(APP.read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("papers", list(itertools.permutations(PAPERS)))
def test_three_documents_in_any_order_reach_the_manager(order, papers):
    inbox = order.wait["hook_id"]
    for paper in papers[:2]:
        assert (order.post(document(paper)).status_code, order.wait["hook_id"]) == (202, inbox)
    assert order.mails == [("Ada", "send three documents")]
    assert order.post(document(papers[2])).status_code == 202
    assert order.mails[1:] == [("manager-123", "approve 420 for Ada")]
    assert order.wait["step_key"] == "decision"


def test_the_same_document_again_replaces_the_former(order):
    order.post(document("identity"))
    order.post(document("identity", version=2))
    assert order.wait["step_key"] == "document-3"
    order.post(document("proof_of_address"))
    order.post(document("bank_statement"))
    order.post(YES)
    papers = {**URLS, "identity": "https://files.example/identity/2"}
    assert order.read()["verdict"]["papers"] == papers


def test_a_document_that_nobody_asked_for_is_400_and_the_next_is_taken(order):
    before = order.steps
    told = order.post({"kind": "passport", "url": "https://files.example/passport"})
    assert (told.status_code, order.steps) == (400, before)
    assert "passport" not in told.text
    assert order.post(document("identity")).status_code == 202


def test_an_approval_releases_the_order_and_says_who_when_and_why(decidable):
    decidable.clock.advance(timedelta(hours=2))
    assert decidable.post(YES).status_code == 200
    assert decidable.mails[2:] == [("warehouse", "release the goods for Ada")]
    assert decidable.read() == {
        "status": "completed",
        "waits": [],
        "verdict": {
            "decision": "approved",
            "approver": "manager-123",
            "notes": "within budget",
            "at": "2025-01-01T02:00:00Z",
            "papers": URLS,
        },
    }


def test_a_rejection_takes_the_other_branch_and_completes(decidable):
    assert decidable.post(NO).status_code == 200
    assert decidable.mails[2:] == [("Ada", "rejected, too dear")]
    verdict = decidable.read()["verdict"]
    assert (verdict["decision"], verdict["notes"]) == ("rejected", "too dear")


@pytest.mark.parametrize(
    ("given", "status"),
    [(YES | {"user_id": "intern-1"}, 403), (YES | {"decision": "maybe"}, 422), ({"decision": 5}, 400)],
    ids=["an intern", "maybe", "no decision at all"],
)
def test_what_the_workflow_refuses_leaves_the_manager_the_decision(decidable, given, status):
    steps, wait, mails = decidable.steps, decidable.wait, list(decidable.mails)
    assert decidable.post(given).status_code == status
    assert (decidable.steps, decidable.wait, decidable.mails) == (steps, wait, mails)
    assert decidable.post(YES).status_code == 200


def test_a_second_before_the_deadline_nobody_is_woken(decidable):
    deadline = decidable.wait["deadline"]
    assert deadline == "2025-01-02T00:00:00Z"
    before = decidable.row
    decidable.clock.advance(DAY - timedelta(seconds=1))
    assert decidable.client.post("/wake").status_code == 200
    assert decidable.row == before
    assert decidable.post(YES).status_code == 200


def test_after_the_deadline_a_decision_is_410_and_the_order_expires(decidable):
    desk = decidable.wait["hook_id"]
    decidable.clock.advance(DAY)
    assert decidable.post(YES, to=desk).status_code == 410
    decidable.client.post("/wake")
    decidable.client.post("/wake")
    assert decidable.mails[2:] == [("Ada", "nobody decided in time")]
    verdict = decidable.read()["verdict"]
    assert (verdict["decision"], verdict["at"]) == ("expired", "2025-01-02T00:00:00Z")
    assert decidable.post(YES, to=desk).status_code == 410


@pytest.mark.parametrize(
    "forged",
    [
        {"body": json.dumps(YES | {"notes": "!"}).encode()},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "%%%"},
        {"webhook-id": "another"},
        {"webhook-timestamp": "1"},
    ],
    ids=["another body", "another key", "malformed", "another id", "long ago"],
)
def test_what_is_not_signed_by_the_senders_is_401_and_changes_nothing(decidable, forged):
    before = decidable.row
    assert decidable.post(YES, **forged).status_code == 401
    assert decidable.row == before


def test_a_webhook_that_comes_again_is_answered_the_same_and_does_nothing(decidable):
    desk = decidable.wait["hook_id"]
    told = [decidable.post(NO, to=desk, webhook_id="msg_no") for _ in range(3)]
    assert [(each.status_code, each.json()) for each in told] == [(200, {"status": "completed"})] * 3
    assert len(decidable.mails) == 3


def test_a_document_that_comes_again_counts_once(order):
    inbox = order.wait["hook_id"]
    for _ in range(2):
        assert order.post(document("identity"), to=inbox, webhook_id="msg_id").status_code == 202
    assert order.wait["step_key"] == "document-2"


def test_another_decision_after_the_first_is_409(decidable):
    desk = decidable.wait["hook_id"]
    decidable.post(YES)
    assert decidable.post(NO, to=desk).status_code == 409
    assert decidable.read()["verdict"]["decision"] == "approved"


def test_what_does_not_exist_is_404(order):
    assert order.post(YES, to="nothing").status_code == 404
    order.id = "nothing"
    assert order.post(YES, to="nothing").status_code == 404
    assert order.client.get("/orders/nothing").status_code == 404


def test_a_body_that_is_no_json_is_400_and_changes_nothing(order):
    before = order.row
    assert order.post(b"no JSON").status_code == 400
    assert order.row == before


def test_while_somebody_else_has_the_claim_a_delivery_is_kept_and_resumed_later(order):
    shop.db.execute("UPDATE runs SET busy_until = ?", (order.clock.now.timestamp() + 60,))
    told = order.post(document("identity"))
    assert (told.status_code, told.json()) == (202, {"status": "taken"})
    assert "document-1" not in order.steps
    order.clock.advance(61)  # the other has died
    order.client.post("/wake")
    assert "document-1" in order.steps


def test_a_step_that_broke_off_is_tried_again_at_the_next_wake(decidable, monkeypatch):
    def no_network(who: str, what: str) -> None:
        raise ConnectionError("the mail server does not answer")

    working = shop.tell
    monkeypatch.setattr(shop, "tell", no_network)
    assert decidable.post(YES).status_code == 500
    assert decidable.read()["status"] == "interrupted"
    monkeypatch.setattr(shop, "tell", working)
    decidable.client.post("/wake")
    assert decidable.read()["verdict"]["decision"] == "approved"
    assert len(decidable.mails) == 3


def test_the_demonstration_shows_each_answer_over_real_http():
    command = [sys.executable, "-m", "examples.order_approval"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.endswith("All as expected.\n")
    for line in (
        "intern-1: 403 forbidden",
        "forged signature: 401",
        "a day passes",
        "'decision': 'expired'",
    ):
        assert line in shown.stdout


def test_the_demonstration_fails_when_an_answer_is_not_as_expected(monkeypatch, capsys):
    monkeypatch.setattr(shop, "now", shop.now)  # the demonstration sets its own clock
    monkeypatch.setattr(demo, "ahead", demo.ahead)
    nobody = shop.Err(shop.Refusal("nobody decides", status=403))
    monkeypatch.setattr(shop, "manager_only", lambda given: nobody)
    assert demo.main() == 1
    assert "<- unexpected" in capsys.readouterr().out
