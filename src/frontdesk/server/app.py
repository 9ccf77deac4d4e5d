"""The HTTP application: puts the rooms of the server together. Answers nothing itself but whether it is alive, ready, and how it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

import frontdesk
from frontdesk.errors import FrontdeskError
from frontdesk.server import assisting, calling, completions, insight, live, native, pages, problems, signing_in, staff, voice
from frontdesk.server.access import Desk
from frontdesk.server.edge import Edge
from frontdesk.server.limits import BodyLimit
from frontdesk.server.office import Office
from frontdesk.server.views import OpenAIProblemBody, ProblemBody

_NATIVE_ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ProblemBody}, "5XX": {"model": ProblemBody}}
_OPENAI_ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": OpenAIProblemBody}, "5XX": {"model": OpenAIProblemBody}}

CONSOLE_UPLOADS = "/console/_nicegui/client/"
"""Below which the console takes documents from those who are signed in; its gate limits them."""


class Alive(BaseModel):
    """The process answers."""

    status: str
    version: str


class Ready(BaseModel):
    """Whether customers can be served, and what stands in the way, in words."""

    ready: bool
    problems: list[str]
    tenants: dict[str, Any]


def create_app(office: Office) -> FastAPI:
    """The application over a running office. It owns nothing that the office must close."""
    desk = Desk(office)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.turns.close()
        await desk.voice.close()

    app = FastAPI(
        title="frontdesk",
        version=frontdesk.__version__,
        summary="A customer-support desk: ask it, watch it, hand over to people.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.desk = desk
    problems.install(app)
    app.include_router(completions.router, responses=_OPENAI_ERRORS)
    app.include_router(native.router, responses=_NATIVE_ERRORS)
    app.include_router(voice.router, responses=_NATIVE_ERRORS)
    app.include_router(calling.router)
    app.include_router(staff.router, responses=_NATIVE_ERRORS)
    app.include_router(insight.router, responses=_NATIVE_ERRORS)
    app.include_router(assisting.router, responses=_NATIVE_ERRORS)
    app.include_router(pages.router)
    app.include_router(signing_in.router)
    app.include_router(live.router)
    app.add_middleware(BodyLimit, limit=office.settings.max_body_bytes, streaming=staff.UPLOADS, below=(CONSOLE_UPLOADS,))
    app.add_middleware(Edge, metrics=desk.metrics, tenants=lambda: office.tenants)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Alive:
        """The process is alive."""
        return Alive(status="ok", version=frontdesk.__version__)

    @app.get("/readyz", tags=["health"], response_model=Ready, responses={503: {"model": Ready}})
    async def readyz() -> Response:
        """Tenants are synced and models are up; 503 and the problems in words until then."""
        try:
            state = dict(await office.readiness())
        except FrontdeskError as why:
            state = {"ready": False, "problems": [str(why)], "tenants": {}}
        return JSONResponse(Ready(**state).model_dump(), 200 if state["ready"] else 503)

    @app.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(desk.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    return app
