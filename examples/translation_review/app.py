"""The routes, and the scheduler that runs beside them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from awaitpy import HookError, answer
from awaitpy.adapters.starlette import hook_request, response
from examples.translation_review import page
from examples.translation_review.desk import Desk
from examples.translation_review.store import Run
from examples.translation_review.view import View, view_of

PAUSE = 0.2  # seconds between two looks of the scheduler at the table
LONGEST = 500
STATIC = Path(__file__).parent / "static"
log = logging.getLogger(__name__)


def create_app(desk: Desk) -> Starlette:
    """The web app of a desk."""
    routes = Routes(desk)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        scheduler = asyncio.create_task(schedule(desk))
        yield
        scheduler.cancel()
        with suppress(asyncio.CancelledError):
            await scheduler

    return Starlette(
        routes=[
            Route("/", routes.front, methods=["GET"]),
            Route("/reviews", routes.open, methods=["POST"]),
            Route("/reviews/{review_id}", routes.review, methods=["GET"]),
            Route("/reviews/{review_id}/panel", routes.panel, methods=["GET"]),
            Route("/hooks/{hook_id}", routes.look, methods=["GET"]),
            Route("/hooks/{hook_id}", routes.deliver, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HookError: malformed},
        lifespan=lifespan,
    )


async def schedule(desk: Desk) -> None:
    """Resume, for ever, what is due. A slow run holds up no other."""
    async with asyncio.TaskGroup() as legs:
        while True:
            legs.create_task(wake(desk))
            await asyncio.sleep(PAUSE)


async def wake(desk: Desk) -> None:
    try:
        await desk.wake_due()
    except sqlite3.Error:
        log.exception("The table can't be read or written now; the next look is in %s seconds.", PAUSE)


class Routes:
    """Requests in, responses out; what they are about is the desk's business."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def front(self, _: Request) -> Response:
        """The form, and the latest reviews."""
        latest = [await view_of(self._desk, run) for run in self._desk.store.latest()]
        return html(page.front(latest))

    async def open(self, request: Request) -> Response:
        """Start a run, and go to its page, which tells how it goes on."""
        form = dict((await hook_request(request)).form())
        text = form.get("text", "").strip()
        if not 0 < len(text) <= LONGEST:
            raise HTTPException(422, f"The text needs 1 to {LONGEST} characters.")
        review_id = self._desk.open(text, form.get("language", ""))
        return RedirectResponse(f"/reviews/{review_id}", 303)

    async def review(self, request: Request) -> Response:
        """The page, at any point of the run; reloading it changes nothing."""
        return html(page.review(await self._view(request)))

    async def panel(self, request: Request) -> Response:
        """The part of the page that changes, which its script fetches again and again."""
        return html(page.panel(await self._view(request)))

    async def look(self, request: Request) -> Response:
        """What the hook waits for. People, mail programs and crawlers look at URLs: it does nothing."""
        run = self._desk.store.waiting_at(request.url.path)
        if run is None:
            raise HTTPException(404)
        return JSONResponse((await view_of(self._desk, run)).of_hook())

    async def deliver(self, request: Request) -> Response:
        """The reviewer's click. A script gets the answer; a form without one goes back to the page."""
        sent = await hook_request(request)
        told = await self._desk.deliver(request.path_params["hook_id"], sent)
        run = self._desk.store.waiting_at(request.url.path)
        if run is None or "text/html" not in (sent.header("accept") or ""):
            return response(told)
        if told.status < 400:
            return RedirectResponse(f"/reviews/{run.review_id}", 303)
        view = await view_of(self._desk, run)
        return html(page.review(view, problem=told.body["detail"]), told.status)

    async def _view(self, request: Request) -> View:
        run: Run | None = self._desk.store.load(request.path_params["review_id"])
        if run is None:
            raise HTTPException(404)
        return await view_of(self._desk, run)


def malformed(_: Request, error: Exception) -> Response:
    """The answer to a form that is none."""
    return response(answer(error))


def html(content: str, status: int = 200) -> HTMLResponse:
    """A page that loads nothing from elsewhere, and that nobody keeps."""
    headers = {"content-security-policy": "default-src 'self'", "cache-control": "no-store"}
    return HTMLResponse(content, status, headers)
