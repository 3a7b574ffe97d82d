"""S11: a callback endpoint that says 200 with a message, or 400 with what is wrong."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from awaitpy import (
    HookError,
    ResumeState,
    Runner,
    answer,
    create_hook,
    inject_hook,
    pending_hook,
)
from awaitpy.adapters.starlette import hook_request, response
from awaitpy.testing import WorkflowTester

VALID = {"status": "shipped", "data": {"parcels": 2}}


@attrs.frozen
class Message:
    status: str
    data: dict[str, object] | None = None


def validate(message: Message) -> None:
    """Would look the order up."""


def process(message: Message) -> str:
    parcels = (message.data or {}).get("parcels", "no")
    return f"order {message.status}, {parcels} parcels"


async def callback(step) -> str:
    hook = await step("hook", create_hook)
    message = await step(hook.step_key, pending_hook, hook.hook_id, Message, methods=["POST"])
    await step("validate", validate, message)
    return await step("process", process, message)


class Endpoint:
    """One run, held as bytes, behind a route of Starlette."""

    def __init__(self):
        self.calls = []
        self.runner = Runner(on_event=self.watch)
        state = asyncio.run(self.runner.run(callback)).state
        (waiting,) = state.pending
        self.row = state.to_bytes()
        self.hook_id = waiting.hook_id
        self.url = f"/callback/{waiting.hook_id}"
        route = Route("/callback/{hook_id}", self.deliver, methods=["POST"])
        self.client = TestClient(Starlette(routes=[route]))

    def watch(self, event):
        if event.name == "step.completed":
            self.calls.append(event.key)

    async def deliver(self, request):
        state = ResumeState.from_bytes(self.row)
        try:
            sent = await hook_request(request)
            injected = inject_hook(
                state,
                request.path_params["hook_id"],
                sent.json(),
                payload=Message,
                method=sent.method,
            )
        except HookError as refused:
            return response(answer(refused))
        outcome = await self.runner.resume(callback, injected)
        self.row = outcome.state.to_bytes()
        return response(answer(outcome, body={"message": outcome.result.unwrap()}))


@pytest.fixture
def endpoint():
    return Endpoint()


def test_a_valid_message_is_a_200_and_each_step_ran_once(endpoint):
    told = endpoint.client.post(endpoint.url, json=VALID)
    assert (told.status_code, told.json()) == (200, {"message": "order shipped, 2 parcels"})
    assert endpoint.calls == ["hook", "validate", "process"]


def test_data_may_be_left_out(endpoint):
    told = endpoint.client.post(endpoint.url, json={"status": "lost"})
    assert (told.status_code, told.json()) == (200, {"message": "order lost, no parcels"})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "status"),
        (b'{"status":5}', "$.status"),
        (b'{"status":"hunter2","data":[]}', "$.data"),
        (b"", "empty"),
        (b"hunter2", "malformed"),
        (b'{"status":"hunter2"', "truncated"),
    ],
)
def test_anything_else_is_a_400_that_says_where_and_a_valid_retry_still_works(endpoint, body, named):
    before = endpoint.row
    told = endpoint.client.post(endpoint.url, content=body)
    assert told.status_code == 400
    assert named in told.json()["detail"]
    assert "hunter2" not in told.text
    assert endpoint.row == before
    assert endpoint.client.post(endpoint.url, json=VALID).status_code == 200
    assert endpoint.calls == ["hook", "validate", "process"]


def test_a_get_is_a_405_and_resolves_nothing(endpoint):
    before = endpoint.row
    told = endpoint.client.get(endpoint.url)
    assert (told.status_code, told.headers["allow"]) == (405, "POST")
    assert endpoint.row == before
    assert endpoint.client.post(endpoint.url, json=VALID).status_code == 200


async def test_the_hook_itself_knows_which_method_it_takes():
    tester = WorkflowTester(callback)
    await tester.start()
    told = await tester.send(b"", method="get")
    assert (told.status, told.headers["allow"]) == (405, "POST")
    assert tester.waiting.methods == ("POST",)
