"""Puts the console into the server's application: the gate in front, the forms, the pages. The only place that knows how it is served.

The component framework keeps its pages per process, so one process shows one console.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from nicegui import app as framework
from nicegui import ui
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from frontdesk.console import conversation, inbox, knowledge, live, overview, quality, rehearsals, settings, training  # noqa: F401 - register pages
from frontdesk.console.feed import Feeds
from frontdesk.console.frame import PAGES, Page, first_page, framed
from frontdesk.console.gate import BASE, PASSWORD, SESSION, SIGN_IN, SIGN_OUT, Gate, SignIn, Way, cookie_of
from frontdesk.console.office import Office
from frontdesk.console.panels import load_panels, panel_page
from frontdesk.console.visiting import Console, Visit, tenant_for, tenants_of
from frontdesk.errors import FrontdeskError, NotFound
from frontdesk.server.access import Desk
from frontdesk.store.staff import Session

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_ASSETS = {"form.css": "text/css", "console.css": "text/css"}
BUILD_SECONDS = 30.0
AWAY_SECONDS = 120.0
"""How long a browser may sleep or lose its line and still find its page as it left it."""


def mount(app: FastAPI, office: Office, *, ways: Callable[[], Sequence[Way]] = tuple, demo: bool = False) -> Console:
    """Adds the console at /console. Call it before the application starts. `ways`: other ways to sign in.

    Raises BadInput for a panel that cannot be loaded.
    """
    desk: Desk = app.state.desk
    console = Console(
        office=office,
        analytics=desk.analytics,
        feeds=Feeds(office.store),
        panels=load_panels(office.settings.panels),
        demo=demo,
    )
    sign_in = SignIn(office.store, ways=ways)
    app.add_route(SIGN_IN, sign_in.form, ["GET", "POST"])
    app.add_route(SIGN_OUT, sign_in.out, ["POST"])
    app.add_route(PASSWORD, sign_in.password, ["GET", "POST"])
    app.add_route(f"{BASE}/assets/{{name}}", _asset, ["GET"])
    # Innermost, so that the server's own layers (request ids, limits, logs) stand around the gate too.
    app.user_middleware.append(Middleware(Gate, staff=office.store.staff, most_bytes=office.settings.max_upload_bytes + 65_536))
    _serve_pages(console)
    framework.middleware_stack = None
    framework.user_middleware.clear()
    ui.run_with(
        app,
        mount_path=BASE,
        title="frontdesk",
        favicon=Path(__file__).parent.parent / "server/static/mark.svg",
        language="en-US",
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=AWAY_SECONDS,
        show_welcome_message=False,
    )
    _end_with(app, console)
    return console


def _serve_pages(console: Console) -> None:
    @ui.page("/")
    async def start(request: Request) -> Any:
        session: Session = request.scope[SESSION]
        return Response(status_code=303, headers={"Location": first_page(console, tenants_of(console.office.tenants, session.staff))})

    for one in PAGES:
        _serve(console, one)
    _serve(console, Page(path="panels/{name}", title="Panel", build=panel_page))


def _serve(console: Console, one: Page) -> None:
    @ui.page("/{tenant}/" + one.path, response_timeout=BUILD_SECONDS)
    async def built(request: Request, tenant: str) -> None:
        ui.add_head_html(f'<link rel="stylesheet" href="{BASE}/assets/console.css?v={_version()}">')
        session: Session = request.scope[SESSION]
        try:
            served = tenant_for(console.office.tenants, session.staff, tenant)
            session.staff.require(one.right, served.id)
            visit = Visit(console=console, request=request, session=session, cookie=cookie_of(request.scope), tenant=served)
            framed(visit, one)
            await one.build(visit, **{k: v for k, v in request.path_params.items() if k != "tenant"})
            ui.element("span").classes("drawn")
        except FrontdeskError as problem:
            _problem(str(problem))
        except Exception:
            # One page that breaks must say so and leave the others alone.
            log.exception("a page of the console broke")
            _problem("This page broke. It is in the log; the other pages are not affected.")


def _problem(sentence: str) -> None:
    with ui.column().classes("box problem"):
        ui.html(f'<h1>That did not work</h1><p>{escape(sentence)}</p><p><a href="{BASE}/">To the first page</a></p>', sanitize=False)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise NotFound("There is nothing here.")
    return FileResponse(_STATIC / name, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


def _version() -> int:
    return int((_STATIC / "console.css").stat().st_mtime)


def _end_with(app: FastAPI, console: Console) -> None:
    """The console's tasks end when the application stops."""
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Any]:
        async with before(served) as state:
            try:
                yield state
            finally:
                await console.feeds.close()
                for task in [t for t in console.running.values() if hasattr(t, "cancel")]:
                    task.cancel()

    app.router.lifespan_context = lifespan
