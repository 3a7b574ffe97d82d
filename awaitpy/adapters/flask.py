"""Flask."""

from __future__ import annotations

from typing import Unpack

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest, RequestOptions
from awaitpy.adapters._missing import missing

try:
    from flask import Request, Response
except ImportError as error:
    raise missing("Flask", "flask") from error


def hook_request(request: Request, **options: Unpack[RequestOptions]) -> HookRequest:
    """The request as a value; the options are those of `HookRequest.of`."""
    return HookRequest.of(
        method=request.method,
        path=request.root_path + request.path,
        query=request.query_string,
        headers=request.headers.items(),
        body=request.get_data(),
        **options,
    )


def response(answer: HookAnswer) -> Response:
    """The answer as a response of Flask."""
    return Response(
        answer.content,
        status=answer.status,
        headers=dict(answer.headers),
        content_type="application/json",
    )
