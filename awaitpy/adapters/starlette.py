"""Starlette and FastAPI."""

from __future__ import annotations

from typing import Unpack

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest, RequestOptions
from awaitpy.adapters._missing import missing

try:
    from starlette.requests import Request
    from starlette.responses import Response
except ImportError as error:
    raise missing("Starlette", "starlette") from error


async def hook_request(request: Request, **options: Unpack[RequestOptions]) -> HookRequest:
    """The request as a value; the options are those of `HookRequest.of`."""
    return HookRequest.of(
        method=request.method,
        path=request.scope["path"],
        query=request.scope["query_string"],
        headers=request.headers.items(),
        body=await request.body(),
        **options,
    )


def response(answer: HookAnswer) -> Response:
    """The answer as a response of Starlette, which FastAPI takes as it is."""
    return Response(
        answer.content,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type="application/json",
    )
