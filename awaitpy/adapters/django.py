"""Django: the same two functions for sync and for async views."""

from __future__ import annotations

from typing import Unpack

from awaitpy._http import HookAnswer
from awaitpy._request import HookRequest, RequestOptions
from awaitpy.adapters._missing import missing

try:
    from django.http import HttpRequest, HttpResponse
except ImportError as error:
    raise missing("Django", "django") from error


def hook_request(request: HttpRequest, **options: Unpack[RequestOptions]) -> HookRequest:
    """The request as a value; the options are those of `HookRequest.of`."""
    return HookRequest.of(
        method=request.method or "GET",
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers=request.headers,
        body=request.body,
        **options,
    )


def response(answer: HookAnswer) -> HttpResponse:
    """The answer as a response of Django."""
    return HttpResponse(
        answer.content,
        status=answer.status,
        headers=dict(answer.headers),
        content_type="application/json",
    )
