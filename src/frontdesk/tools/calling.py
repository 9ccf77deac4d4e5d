"""Calls a tenant's API: within a deadline, to one host, for one customer, and never with a secret in a log or an error.

Refuses to follow redirects, to repeat a write, to send an argument that only the verified identity may fill, and to believe anything but
a JSON answer below a size limit. What goes wrong becomes a `ToolOutcome` with a stable sentence; only what must stop a turn is raised.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx
from jsonschema import Draft202012Validator

from frontdesk.domain.conversation import ToolCall
from frontdesk.domain.tenancy import Caller
from frontdesk.errors import BadArguments, BadInput, SignInRequired
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.checking import cast_bound, check, is_finite
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.rendering import Rendering, render

MAX_ANSWER_BYTES = 1_000_000
MAX_DETAIL_CHARS = 300
_RETRIED = frozenset({502, 503, 504})


class Failure(StrEnum):
    """Why a call has no result."""

    DISABLED = "disabled"
    BREAKER = "breaker"
    DOWN = "down"
    SLOW = "slow"
    FAULT = "fault"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    BUSY = "busy"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"


SENTENCES: Mapping[Failure, str] = {
    Failure.DISABLED: "This service is switched off at the moment.",
    Failure.BREAKER: "The service is not answering and is left alone for a moment.",
    Failure.DOWN: "The service could not be reached.",
    Failure.SLOW: "The service did not answer in time.",
    Failure.FAULT: "The service reported a fault of its own.",
    Failure.DENIED: "The service refused the request.",
    Failure.NOT_FOUND: "The service found nothing under these details.",
    Failure.CONFLICT: "The service cannot do this in the present state.",
    Failure.INVALID: "The service did not accept these details.",
    Failure.BUSY: "The service is busy.",
    Failure.REDIRECT: "The service pointed somewhere else, which is not followed.",
    Failure.TOO_LARGE: "The service answered more than can be read.",
    Failure.NOT_JSON: "The service answered in a form that cannot be read.",
}
"""What `ToolCall.error` begins with; the customer-safe detail of the API follows where there is one."""
_BROKEN = frozenset({Failure.DOWN, Failure.SLOW, Failure.FAULT, Failure.NOT_JSON, Failure.TOO_LARGE, Failure.REDIRECT})
"""Failures that speak against the server rather than against the request; they count for the breaker."""


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """What came of one call. `text` is the only form in which the result's values may appear in a reply."""

    call: ToolCall
    milliseconds: float
    text: str = ""
    data: Any = None
    failure: Failure | None = None
    detail: str = ""
    """What the API itself said to a refused request, safe to show: plain, short, without markup or secrets."""
    refused: tuple[str, ...] = ()
    """Arguments that were proposed although only the verified identity fills them; dropped, to be audited."""
    doubts: tuple[str, ...] = ()
    """Where the answer differs from the document's response schema."""
    status: int = 0
    retried: bool = False

    @property
    def ok(self) -> bool:
        """True when there is a result."""
        return self.failure is None


class _Failed(Exception):
    def __init__(self, failure: Failure, *, detail: str = "", status: int = 0, passing: bool = False) -> None:
        super().__init__(failure.value)
        self.failure, self.detail, self.status = failure, detail, status
        self.passing = passing
        """True when the same request may well succeed a moment later."""
        self.retried = False


@dataclass(kw_only=True)
class Breaker:
    """Stops asking a server that fails. Opens after `limit` failures in a row, lets one try through every `rest` seconds."""

    clock: Callable[[], float]
    limit: int = 5
    rest: float = 10.0
    failures: int = field(default=0, init=False)
    closed_at: float = field(default=0.0, init=False)

    def allows(self) -> bool:
        """True when a call may go out now; while open, at most one per rest."""
        if self.failures < self.limit:
            return True
        now = self.clock()
        if now < self.closed_at:
            return False
        self.closed_at = now + self.rest
        return True

    def record(self, *, good: bool) -> None:
        """Counts one outcome."""
        self.failures = 0 if good else self.failures + 1
        if self.failures >= self.limit:
            self.closed_at = self.clock() + self.rest


class ToolCaller:
    """Makes the calls of one tenant's catalog. Safe for many turns at once; holds no customer's data between calls."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        http: httpx.AsyncClient,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = 5.0,
        rendering: Rendering | None = None,
    ) -> None:
        self._catalog = catalog
        self._http = http
        self._clock = clock
        self._seconds = seconds
        self._rendering = rendering or Rendering()
        self._breakers: dict[str, Breaker] = {}
        self._shapes = {o.name: Draft202012Validator(_shape(o.response)) for o in catalog if o.response}

    async def call(
        self, operation: Operation, arguments: Mapping[str, Any], claims: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ToolOutcome:
        """One call with checked arguments and the caller's verified `claims` (see `verified`).

        Raises SignInRequired and BadArguments, before anything is sent. Everything that the API does wrong is in the outcome.
        """
        bound = bound_values(operation, claims)
        checked = check(operation, arguments)
        if checked.reasons:
            named = "; ".join(f"{name} {reason}" for name, reason in checked.reasons.items())
            raise BadArguments(f"{operation.name} cannot be called: {named}", reasons=checked.reasons)
        start = self._clock()
        try:
            data, status, retried = await self._guarded(operation, checked.values, bound, idempotency_key)
        except _Failed as failed:
            error = SENTENCES[failed.failure] + (f" {failed.detail}" if failed.detail else "")
            call = ToolCall(name=operation.name, arguments=dict(checked.values), error=error)
            return ToolOutcome(
                call=call,
                milliseconds=(self._clock() - start) * 1000,
                failure=failed.failure,
                detail=failed.detail,
                refused=checked.refused,
                status=failed.status,
                retried=failed.retried,
            )
        elapsed = (self._clock() - start) * 1000
        doubts = self._doubts(operation, data)
        return ToolOutcome(
            call=ToolCall(name=operation.name, arguments=dict(checked.values), result=data),
            milliseconds=elapsed,
            text=render(data, operation.response if not doubts else {}, self._rendering.for_operation(operation)),
            data=data,
            refused=checked.refused,
            doubts=doubts,
            status=status,
            retried=retried,
        )

    def _doubts(self, operation: Operation, data: Any) -> tuple[str, ...]:
        """Where the answer differs from the document in shape. Lenient: unknown fields, missing fields and formats are no matter."""
        shape = self._shapes.get(operation.name)
        found = islice(shape.iter_errors(data), 3) if shape is not None else ()
        return tuple(f"{error.json_path}: expected {error.validator_value}" for error in found)

    async def _guarded(
        self, operation: Operation, values: Mapping[str, Any], bound: Mapping[tuple[Place, str], Any], key: str | None
    ) -> tuple[Any, int, bool]:
        if operation.run is not None:
            return await self._built_in(operation, values), 200, False
        if self._catalog.disabled:
            raise _Failed(Failure.DISABLED)
        breaker = self._breakers.setdefault(operation.server.url, Breaker(clock=self._clock))
        if not breaker.allows():
            raise _Failed(Failure.BREAKER)
        try:
            async with asyncio.timeout(self._seconds):
                result = await self._with_retry(operation, values, bound, key)
        except TimeoutError:
            breaker.record(good=False)
            raise _Failed(Failure.SLOW) from None
        except _Failed as failed:
            breaker.record(good=failed.failure not in _BROKEN)
            raise
        breaker.record(good=True)
        return result

    async def _built_in(self, operation: Operation, values: Mapping[str, Any]) -> Any:
        assert operation.run is not None  # noqa: S101 - only called for built-in operations
        try:
            async with asyncio.timeout(self._seconds):
                return await operation.run(values)
        except TimeoutError:
            raise _Failed(Failure.SLOW) from None
        except BadInput as error:
            raise _Failed(Failure.INVALID, detail=safe_detail(str(error))) from None

    async def _with_retry(
        self, operation: Operation, values: Mapping[str, Any], bound: Mapping[tuple[Place, str], Any], key: str | None
    ) -> tuple[Any, int, bool]:
        try:
            return (*await self._once(operation, values, bound, key), False)
        except _Failed as failed:
            if operation.writes or not failed.passing:
                raise
        try:
            return (*await self._once(operation, values, bound, key), True)
        except _Failed as failed:
            failed.retried = True
            raise

    async def _once(
        self, operation: Operation, values: Mapping[str, Any], bound: Mapping[tuple[Place, str], Any], key: str | None
    ) -> tuple[Any, int]:
        request = self._request(operation, values, bound, key)
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except httpx.TimeoutException:
            raise _Failed(Failure.SLOW, passing=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise _Failed(Failure.DOWN, passing=True) from None
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        text = _without_secrets(body.decode("utf-8", errors="replace"), operation)
        return _judge(response, text, operation.method), response.status_code

    def _request(
        self, operation: Operation, values: Mapping[str, Any], bound: Mapping[tuple[Place, str], Any], key: str | None
    ) -> httpx.Request:
        path, query, headers = operation.path, list[str](), dict(operation.server.headers)
        body: dict[str, Any] = {}
        for argument, value in _sent(operation, values, bound):
            if argument.where is Place.PATH:
                path = path.replace(f"{{{argument.name}}}", quote(_flat(value), safe=""))
            elif argument.where is Place.QUERY:
                parts = value if isinstance(value, list) and argument.explode else [value]
                query += [f"{quote(argument.name, safe='')}={quote(_flat(part), safe='')}" for part in parts]
            elif argument.where is Place.HEADER:
                headers[argument.name] = _flat(value)
            else:
                _nest(body, argument.name.split("."), value)
        headers["Accept"] = "application/json"
        if operation.writes and key:
            headers["Idempotency-Key"] = key
        content = None
        if operation.writes and (body or any(a.where is Place.BODY for a in operation.arguments)):
            content = json.dumps(body, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        # The client is shared by all customers: a cookie that the API set for one must never travel with another's call.
        self._http.cookies.clear()
        address = operation.server.url + path + ("?" + "&".join(query) if query else "")
        return self._http.build_request(operation.method.upper(), address, headers=headers, content=content)


def http_client(*, connections: int = 100) -> httpx.AsyncClient:
    """The client that all tenants' calls go through. It follows no redirect and takes nothing from the environment, proxies included."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=20)
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=limits, timeout=httpx.Timeout(10.0, connect=3.0))


def verified(caller: Caller) -> Mapping[str, Any]:
    """The claims that `bind` may read: those of the verified token, with the customer as `sub`; empty when nobody is signed in."""
    return {**caller.claims, "sub": caller.customer} if caller.customer else {}


def bound_values(operation: Operation, claims: Mapping[str, Any]) -> dict[tuple[Place, str], Any]:
    """Values of the bound arguments, from verified claims only. Raises SignInRequired when one is absent."""
    if operation.needs_customer and not claims.get("sub"):
        raise SignInRequired(f"{operation.name} is about the customer's own records: sign in first")
    values = {}
    for argument in operation.bound:
        claim = claim_of(claims, argument.bound or "")
        if claim is None:
            raise SignInRequired(f"{operation.name} needs {argument.bound}, which the sign-in does not give: sign in again")
        if argument.where is Place.PATH and re.search(r"[/\\]|^\.\.?$", str(claim)):
            raise SignInRequired(f"{operation.name} cannot use this {argument.bound}, which would change the address: sign in otherwise")
        values[(argument.where, argument.name)] = cast_bound(argument, claim)
    return values


def claim_of(claims: Mapping[str, Any], path: str) -> str | int | None:
    """The claim behind `customer.id` (the token's subject) or `customer.<claim>`; None when absent, empty or not a plain value."""
    path = path.removeprefix("customer.")
    if path == "id":
        path = "sub"
    node: Any = claims
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, bool) or not isinstance(node, (str, int)) or node == "":
        return None
    return None if isinstance(node, str) and re.search(r"[\x00-\x1f\x7f]", node) else node


def safe_detail(text: str) -> str:
    """Foreign text that may be shown to a customer: one line, no markup, no inline call, at most 300 characters."""
    plain = re.sub(r"<[^>]*>?", " ", html.unescape(text))
    plain = re.sub(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069]+", " ", plain).replace("[", "(").replace("]", ")")
    plain = " ".join(plain.split())
    return plain if len(plain) <= MAX_DETAIL_CHARS else plain[: MAX_DETAIL_CHARS - 1].rsplit(" ", 1)[0] + "…"


def _sent(operation: Operation, values: Mapping[str, Any], bound: Mapping[tuple[Place, str], Any]) -> list[tuple[Argument, Any]]:
    rows = []
    for argument in operation.arguments:
        if argument.bound is not None:
            rows.append((argument, bound[(argument.where, argument.name)]))
        elif "const" in argument.schema and argument.required:
            rows.append((argument, argument.schema["const"]))
        elif argument.name in values:
            rows.append((argument, values[argument.name]))
    return rows


def _flat(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_flat(v) for v in value)
    return str(value)


def _nest(body: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        body = body.setdefault(part, {})
    body[path[-1]] = value


async def _read(response: httpx.Response) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_ANSWER_BYTES:
        raise _Failed(Failure.TOO_LARGE, status=response.status_code)
    body = bytearray()
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise _Failed(Failure.TOO_LARGE, status=response.status_code)
    except httpx.TimeoutException:
        raise _Failed(Failure.SLOW, passing=True) from None
    except (httpx.HTTPError, OSError):
        raise _Failed(Failure.DOWN, passing=True) from None
    return bytes(body)


def _without_secrets(text: str, operation: Operation) -> str:
    """The answer with our own credentials blanked, should the API echo them."""
    for secret in operation.server.secrets:
        text = text.replace(secret, "•••")
    return text


def _judge(response: httpx.Response, text: str, method: str) -> Any:
    status = response.status_code
    if 300 <= status < 400:
        raise _Failed(Failure.REDIRECT, status=status)
    if status >= 500:
        raise _Failed(Failure.FAULT, status=status, passing=status in _RETRIED)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if status >= 400:
        failure = {401: Failure.DENIED, 403: Failure.DENIED, 404: Failure.NOT_FOUND, 410: Failure.NOT_FOUND, 409: Failure.CONFLICT}.get(
            status, Failure.BUSY if status == 429 else Failure.INVALID
        )
        # 401 and 403 speak about our own access: that is the operator's business, not the customer's.
        detail = _detail_of(text) if is_json and failure is not Failure.DENIED else ""
        raise _Failed(failure, detail=detail, status=status)
    if not text.strip() or method == "head":
        return None
    if not is_json:
        raise _Failed(Failure.NOT_JSON, status=status)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise _Failed(Failure.NOT_JSON, status=status) from None
    if not is_finite(data):
        raise _Failed(Failure.NOT_JSON, status=status)
    return data


def _detail_of(text: str) -> str:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for key in ("detail", "message", "error_description", "error", "title"):
        found = data.get(key) if isinstance(data, Mapping) else None
        if isinstance(found, Mapping):
            found = found.get("message") or found.get("detail")
        if isinstance(found, list):
            found = "; ".join(str(row["msg"]) for row in found[:3] if isinstance(row, Mapping) and "msg" in row)
        if isinstance(found, str) and found.strip():
            return safe_detail(found)
    return ""


def _shape(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema reduced to types, with null allowed everywhere."""
    shape: dict[str, Any] = {}
    if schema.get("type"):
        shape["type"] = [schema["type"], "null"]
    if "properties" in schema:
        shape["properties"] = {name: _shape(member) for name, member in schema["properties"].items()}
    if "items" in schema:
        shape["items"] = _shape(schema["items"])
    return shape
