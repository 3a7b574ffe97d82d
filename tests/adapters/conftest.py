"""One app per framework: it records what the adapter read, and answers what the test wants."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any

import django
import flask
import httpx
import pytest
import uvicorn
from aiohttp import web
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from fastapi import FastAPI, Request
from litestar import HttpMethod, Litestar
from litestar import Request as LitestarRequest
from litestar.handlers import HTTPRouteHandler
from litestar.testing import AsyncTestClient
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest
from awaitpy.adapters import aiohttp as for_aiohttp
from awaitpy.adapters import django as for_django
from awaitpy.adapters import flask as for_flask
from awaitpy.adapters import litestar as for_litestar
from awaitpy.adapters import starlette as for_starlette

ROUTE = "/hooks/{hook_id}"
METHODS = ["GET", "POST", "PUT"]


@dataclass
class Sent:
    """What a client sends."""

    method: str = "POST"
    target: str = "/hooks/1"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Desk:
    """What the app is to do, and the last request that it saw."""

    options: dict[str, Any] = field(default_factory=dict)
    answer: HookAnswer = field(default_factory=lambda: HookAnswer(200, {"status": "completed"}))
    seen: HookRequest | None = None


@dataclass
class Told:
    """What the client was told."""

    status: int
    headers: dict[str, str]
    content: bytes


def _told(response):
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Told(response.status_code, headers, response.content)


async def _send(client, sent):
    response = await client.request(sent.method, sent.target, headers=sent.headers, content=sent.body)
    return _told(response)


async def _over_http(port, sent):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        return await _send(client, sent)


async def _over_asgi(app, sent):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await _send(client, sent)


def _starlette_app(desk):
    async def hook(request: Request):
        desk.seen = await for_starlette.hook_request(request, **desk.options)
        return for_starlette.response(desk.answer)

    return Starlette(routes=[Route(ROUTE, hook, methods=METHODS)])


async def starlette_under_uvicorn(desk, sent):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(_starlette_app(desk), log_level="error"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            return await _over_http(listener.getsockname()[1], sent)
        finally:
            server.should_exit = True
            await serving


async def starlette_test_client(desk, sent):
    def send():
        return TestClient(_starlette_app(desk)).request(
            sent.method, sent.target, headers=sent.headers, content=sent.body
        )

    return _told(await asyncio.to_thread(send))


async def fastapi_app(desk, sent):
    app = FastAPI()

    @app.api_route(ROUTE, methods=METHODS)
    async def hook(hook_id: str, request: Request):
        desk.seen = await for_starlette.hook_request(request, **desk.options)
        return for_starlette.response(desk.answer)

    return await _over_asgi(app, sent)


async def flask_app(desk, sent):
    app = flask.Flask("hooks")

    @app.route("/hooks/<hook_id>", methods=METHODS)
    def hook(hook_id):
        desk.seen = for_flask.hook_request(flask.request, **desk.options)
        return for_flask.response(desk.answer)

    with app.test_client() as client:
        response = client.open(sent.target, method=sent.method, headers=sent.headers, data=sent.body)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Told(response.status_code, headers, response.data)


_desk_of_django: list[Desk] = []


def _django_view(request: HttpRequest, hook_id: str):
    (desk,) = _desk_of_django
    desk.seen = for_django.hook_request(request, **desk.options)
    return for_django.response(desk.answer)


class Urls:
    urlpatterns = (path("hooks/<hook_id>", _django_view),)


settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, SECRET_KEY="made up")
django.setup()


async def django_test_client(desk, sent):
    def send():
        return Client().generic(
            sent.method,
            sent.target,
            sent.body,
            sent.headers.get("content-type", "application/octet-stream"),
            headers=sent.headers,
        )

    _desk_of_django[:] = [desk]
    return _told(await asyncio.to_thread(send))


async def django_under_asgi(desk, sent):
    _desk_of_django[:] = [desk]
    return await _over_asgi(get_asgi_application(), sent)


async def aiohttp_server(desk, sent):
    async def hook(request):
        desk.seen = await for_aiohttp.hook_request(request, **desk.options)
        return for_aiohttp.response(desk.answer)

    app = web.Application()
    app.router.add_route("*", ROUTE, hook)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await _over_http(runner.addresses[0][1], sent)
    finally:
        await runner.cleanup()


async def litestar_app(desk, sent):
    async def hook(request: LitestarRequest) -> Any:
        desk.seen = await for_litestar.hook_request(request, **desk.options)
        return for_litestar.response(desk.answer)

    methods = [HttpMethod(method) for method in METHODS]
    handler = HTTPRouteHandler("/hooks/{hook_id:str}", http_method=methods, status_code=200)(hook)
    async with AsyncTestClient(Litestar([handler])) as client:
        return await _send(client, sent)


SENDERS = [
    starlette_under_uvicorn,
    starlette_test_client,
    fastapi_app,
    flask_app,
    django_test_client,
    django_under_asgi,
    aiohttp_server,
    litestar_app,
]


@pytest.fixture(params=SENDERS, ids=lambda sender: sender.__name__)
def send(request):
    """What sends a request to an app of each framework, and gives the answer and what was seen."""

    async def send_to(*, answer=None, options=None, **parts):
        desk = Desk(options=options or {})
        desk.answer = answer or desk.answer
        told = await request.param(desk, Sent(**parts))
        return told, desk.seen

    return send_to
