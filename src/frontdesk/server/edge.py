"""The outermost layer of every request: its id, its log line and count, the security headers, cross-origin rules, and the last catch."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.server.access import origins_of
from frontdesk.server.metrics import Metrics
from frontdesk.server.problems import internal_body

_CALLER_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")
_FOR_WIDGETS = re.compile(r"/v1/chat/completions|/api/conversations(/.*)?|/api/me(/.*)?")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(self), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_ALLOWED_HEADERS = "authorization, content-type, x-customer-token, idempotency-key, last-event-id, x-request-id"
_EXPOSED_HEADERS = "X-Conversation-Id, X-Request-Id, Retry-After"

log = structlog.get_logger(__name__)


class Edge:
    """Pure ASGI, so that streams and disconnects pass through untouched."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tenants: Callable[[], Mapping[TenantId, Tenant]]) -> None:
        self._app = app
        self._metrics = metrics
        self._tenants = tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _CALLER_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(scope, send, self._cross_origin(scope, headers))
        started = time.perf_counter()
        if headers.get("origin") and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(scope, headers, answer)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Exception:  # the process must survive whatever one request does; the log keeps what happened
            log.exception("request_broke", path_length=len(scope["path"]))
            if not answer.status:
                await answer.json(500, internal_body(scope["path"], request_id))
        self._count(scope, answer, started)

    def _cross_origin(self, scope: Scope, headers: Headers) -> Callable[[], str]:
        """The origin that may read this answer, known only once the caller is."""
        origin = headers.get("origin", "")

        def allowed() -> str:
            if not origin or not _FOR_WIDGETS.fullmatch(scope["path"]):
                return ""
            tenants = self._tenants()
            known = scope.get("state", {}).get("tenant")
            named = [tenants[known]] if known in tenants else list(tenants.values())
            return origin if any(origin in origins_of(t) for t in named) else ""

        return allowed

    async def _preflight(self, scope: Scope, headers: Headers, answer: _Answer) -> None:
        more = {}
        if answer.origin():
            more = {
                "Access-Control-Allow-Methods": "GET, POST, DELETE",
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Max-Age": "600",
            }
        await answer.empty(204, more)

    def _count(self, scope: Scope, answer: _Answer, started: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = (answer.began or time.perf_counter()) - started
        self._metrics.requests.labels(scope["method"] if scope["method"] in _METHODS else "other", route, answer.status or 499).inc()
        self._metrics.latency.labels(route).observe(seconds)
        if route not in _UNLOGGED and not route.startswith("/_nicegui/"):
            log.info("request", method=scope["method"], route=route, status=answer.status or 499, milliseconds=round(seconds * 1000, 1))


_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
_UNLOGGED = {"/healthz", "/readyz", "/metrics"}


class _Answer:
    """What goes out: adds the headers that every answer carries, and remembers its status."""

    def __init__(self, scope: Scope, send: Send, origin: Callable[[], str]) -> None:
        self._scope = scope
        self._send = send
        self.origin = origin
        self.status = 0
        self.began = 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.began = message["status"], time.perf_counter()
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._scope["state"]["request_id"]
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
            if self._scope["scheme"] == "https":
                headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            if origin := self.origin():
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            headers.add_vary_header("Origin")
        await self._send(message)

    async def json(self, status: int, body: Mapping[str, object]) -> None:
        """A whole JSON answer."""
        content = json.dumps(body).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": head})
        await self.send({"type": "http.response.body", "body": content})

    async def empty(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer without a body."""
        head = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": head})
        await self.send({"type": "http.response.body", "body": b""})
