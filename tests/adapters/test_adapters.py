"""The same request through every framework is the same value, and so is the answer."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime

import pytest

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest
from awaitpy.webhooks import StandardWebhooks

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
BODY = b'\x00\xff{"caf\xc3\xa9": 1}\r\n'
WEBHOOKS = StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


async def test_the_whole_request_arrives_as_it_was_sent(send):
    _, seen = await send(
        method="PUT",
        target="/hooks/caf%C3%A9%20au%20lait?a=1&a=%C3%A9&empty=&plus=a+b",
        headers={"content-type": "application/json", "x-trace": "7", "authorization": "hunter2"},
        body=BODY,
        options={"received_at": NOON, "delivery_id": "evt_1"},
    )
    assert seen.method == "PUT"
    assert seen.path == "/hooks/café au lait"
    assert seen.query == (("a", "1"), ("a", "é"), ("empty", ""), ("plus", "a b"))
    assert seen.header("Content-Type") == "application/json"
    assert seen.header("x-trace") == "7"
    assert seen.header("authorization") == "[redacted]"
    assert seen.body == BODY
    assert (seen.received_at, seen.delivery_id) == (NOON, "evt_1")


async def test_a_request_with_neither_query_nor_body_arrives_too(send):
    _, seen = await send(method="GET")
    assert (seen.method, seen.path, seen.query, seen.body) == ("GET", "/hooks/1", (), b"")
    assert seen.delivery_id is None
    assert type(seen) is HookRequest


async def test_header_names_are_lower_case_and_secrets_stay_if_asked_for(send):
    _, seen = await send(headers={"X-Api-Key": "k"}, options={"keep_headers": ["X-API-Key"]})
    assert seen.header("x-api-key") == "k"
    assert all(name == name.lower() for name, _ in seen.headers)


async def test_a_signed_request_is_verified_and_gives_its_delivery_id(send):
    _, seen = await send(
        headers=WEBHOOKS.sign(BODY, webhook_id="msg_1", now=NOON),
        body=BODY,
        options={"signed_by": WEBHOOKS, "received_at": NOON},
    )
    assert seen.delivery_id == "msg_1"
    assert seen.header("webhook-signature") == "[redacted]"


async def test_the_answer_becomes_the_response(send):
    answer = HookAnswer(405, {"status": "method-not-allowed", "é": None}, {"allow": "POST"})
    told, _ = await send(answer=answer)
    assert told.status == 405
    assert told.headers["allow"] == "POST"
    assert told.headers["content-type"].partition(";")[0] == "application/json"
    assert told.content == '{"status":"method-not-allowed","é":null}'.encode()


@pytest.mark.parametrize(
    ("extra", "framework", "package"),
    [
        ("starlette", "Starlette", "starlette.requests"),
        ("flask", "Flask", "flask"),
        ("django", "Django", "django.http"),
        ("aiohttp", "aiohttp", "aiohttp"),
        ("litestar", "Litestar", "litestar"),
    ],
)
def test_without_its_framework_an_adapter_says_how_to_get_it(monkeypatch, extra, framework, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"awaitpy.adapters.{extra}", raising=False)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"awaitpy.adapters.{extra}")
    assert str(caught.value) == (
        f"awaitpy.adapters.{extra} needs {framework}, which is not installed: "
        f"pip install 'awaitpy[{extra}]'."
    )
