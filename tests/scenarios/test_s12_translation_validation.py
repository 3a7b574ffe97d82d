"""S12: a person looks at a translation on a web page, and a click there resumes the run."""

from __future__ import annotations

import html
from datetime import timedelta
from functools import partial

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from awaitpy import (
    Err,
    HookError,
    HookRequest,
    HookTimeout,
    Ok,
    ResumeState,
    Runner,
    answer,
    append_entries,
    create_hook,
    inject_hook,
    next_wakeup,
    pending_hook,
)
from awaitpy.adapters.starlette import hook_request, response
from awaitpy.testing import FakeClock

WORDS = {"good": "guten", "morning": "Morgen"}
PAGE = """<h1>{text}</h1><p id="translation">{translation}</p><form method="post" action="{url}">
<button name="decision" value="validate">Validate</button>
<button name="decision" value="reject">Reject</button></form>"""


def translate(text: str) -> str:
    return " ".join(WORDS.get(word, word) for word in text.split())


def known_decision(request: HookRequest):
    decision = dict(request.form()).get("decision")
    return Ok(decision) if decision in {"validate", "reject"} else Err("no such button")


async def review(step, text: str, *, desk) -> str:
    await step("store-text", desk.store, "text", text)
    translation = await step("translate", translate, text)
    await step("store-translation", desk.store, "translation", translation)
    hook = await step("review-hook", create_hook)
    await step("store-url", desk.store, "url", f"/reviews/{hook.hook_id}")
    click = await step.attempt(
        "click",
        pending_hook,
        hook.hook_id,
        HookRequest,
        timeout=timedelta(hours=1),
        methods=["POST"],
        accept=known_decision,
    )
    match click:
        case Ok(request) if ("decision", "validate") in request.form():
            reviewer, lang = request.header("x-reviewer"), request.query_param("lang")
            return f"{translation} ({lang}, {request.method} by {reviewer})"
        case Ok():
            return await step("ask-a-human", lambda: "rejected, sent to a translator")
        case Err(HookTimeout()):
            return await step("fallback", lambda: f"unreviewed: {translation}")


class Desk:
    """The user's own app: one run at a time, a table of what to show, a page and a scheduler."""

    def __init__(self):
        self.shown = {}
        self.calls = []
        self.entries = []
        self.clock = FakeClock()
        self.workflow = partial(review, desk=self)
        self.runner = Runner(clock=self.clock, on_event=self.watch, checkpoint=self.entries.append)
        routes = [
            Route("/reviews/{hook_id}", self.page, methods=["GET"]),
            Route("/reviews/{hook_id}", self.click, methods=["POST"]),
        ]
        self.client = TestClient(Starlette(routes=routes), headers={"x-reviewer": "Ada"})

    def watch(self, event):
        if event.name == "step.completed":
            self.calls.append(event.key)

    def store(self, name: str, value: str) -> None:
        self.shown[name] = value

    @property
    def state(self):
        return ResumeState.from_json(self.row)

    def keep(self, outcome):
        self.row = outcome.state.to_json()
        self.outcome = outcome

    async def start(self, text):
        self.keep(await self.runner.run(self.workflow, text))

    async def wake(self):
        due = next_wakeup(self.state)
        if due is not None and due <= self.clock.now:
            self.keep(await self.runner.resume(self.workflow, self.state))

    async def page(self, request):
        if request.url.path != self.shown["url"]:
            return HTMLResponse("no such review", status_code=404)
        shown = {name: html.escape(value) for name, value in self.shown.items()}
        return HTMLResponse(PAGE.format(**shown))

    async def click(self, request):
        hook_id = request.path_params["hook_id"]
        sent = await hook_request(request, received_at=self.clock.now)
        try:
            state = inject_hook(
                self.state,
                hook_id,
                sent,
                delivery_id=sent.idempotency_key,
                method=sent.method,
                now=self.clock.now,
            )
        except HookError as refused:
            return response(answer(refused))
        self.keep(await self.runner.resume(self.workflow, state))
        return response(answer(self.outcome))

    def press(self, decision):
        return self.client.post(self.shown["url"] + "?lang=de", data={"decision": decision})


STORED = ["store-text", "translate", "store-translation", "review-hook", "store-url"]


@pytest.fixture
async def desk():
    desk = Desk()
    await desk.start("good morning")
    return desk


async def test_the_page_shows_the_translation_and_looking_at_it_resolves_nothing(desk):
    before = desk.row
    for _ in range(2):
        page = desk.client.get(desk.shown["url"])
        assert page.status_code == 200
        assert '<p id="translation">guten Morgen</p>' in page.text
        assert ">Validate</button>" in page.text
        assert ">Reject</button>" in page.text
    assert desk.client.get("/reviews/another").status_code == 404
    assert desk.row == before
    (waiting,) = desk.state.pending
    assert desk.shown["url"] == f"/reviews/{waiting.hook_id}"
    assert waiting.methods == ("POST",)


async def test_validate_resumes_the_run_with_the_whole_request(desk):
    told = desk.press("validate")
    assert (told.status_code, told.json()) == (200, {"status": "completed"})
    assert desk.outcome.result == Ok("guten Morgen (de, POST by Ada)")
    assert desk.calls == STORED


async def test_a_double_click_counts_once(desk):
    assert [desk.press("reject").status_code for _ in range(2)] == [200, 200]
    assert desk.outcome.result == Ok("rejected, sent to a translator")
    assert desk.calls == [*STORED, "ask-a-human"]


async def test_a_button_that_the_page_does_not_have_is_refused(desk):
    assert desk.press("explode").status_code == 422
    assert desk.press("validate").status_code == 200


async def test_nobody_clicks_for_an_hour_and_the_workflow_takes_its_fallback(desk):
    desk.clock.advance(timedelta(minutes=59))
    await desk.wake()
    assert desk.state.status == "suspended"
    desk.clock.advance(timedelta(minutes=1))
    await desk.wake()
    assert desk.outcome.result == Ok("unreviewed: guten Morgen")
    assert desk.calls == [*STORED, "fallback"]
    assert desk.press("validate").status_code == 410


async def test_a_click_after_creation_but_before_the_wait_needs_no_suspension():
    """The process dies after the URL was stored and before the run came to wait."""
    desk = Desk()
    begun = desk.runner.start(desk.workflow, "good morning")
    await desk.runner.resume(desk.workflow, begun)
    died = append_entries(begun, *desk.entries)
    assert [*died.steps] == STORED
    assert died.pending == ()
    desk.row = died.to_json()

    assert desk.press("validate").status_code == 200
    assert desk.outcome.result == Ok("guten Morgen (de, POST by Ada)")
    assert desk.calls == STORED
