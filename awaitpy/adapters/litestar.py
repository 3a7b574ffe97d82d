"""Litestar."""

from __future__ import annotations

from typing import Any, Unpack

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest, RequestOptions
from awaitpy.adapters._missing import missing

try:
    from litestar import Request, Response
except ImportError as error:
    raise missing("Litestar", "litestar") from error


async def hook_request(request: Request[Any, Any, Any], **options: Unpack[RequestOptions]) -> HookRequest:
    """The request as a value; the options are those of `HookRequest.of`."""
    return HookRequest.of(
        method=request.method,
        path=request.scope["path"],
        query=request.scope["query_string"],
        headers=request.headers.multi_items(),
        body=await request.body(),
        **options,
    )


def response(answer: HookAnswer) -> Response[bytes]:
    """The answer as a response of Litestar."""
    return Response(
        answer.content,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type="application/json",
    )
