"""The server of aiohttp."""

from __future__ import annotations

from typing import Unpack

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest, RequestOptions
from awaitpy.adapters._missing import missing

try:
    from aiohttp import web
except ImportError as error:
    raise missing("aiohttp", "aiohttp") from error


async def hook_request(request: web.Request, **options: Unpack[RequestOptions]) -> HookRequest:
    """The request as a value; the options are those of `HookRequest.of`."""
    return HookRequest.of(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        headers=request.headers.items(),
        body=await request.read(),
        **options,
    )


def response(answer: HookAnswer) -> web.Response:
    """The answer as a response of aiohttp."""
    return web.Response(
        body=answer.content,
        status=answer.status,
        headers=dict(answer.headers),
        content_type="application/json",
    )
