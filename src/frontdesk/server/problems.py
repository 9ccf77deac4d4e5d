"""Errors as clients read them: OpenAI's shape below /v1, `{"error": {"code", "message", "request_id"}}` elsewhere. Never echoes input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from frontdesk.errors import BadCustomerToken, BadInput, FrontdeskError, NotAuthenticated, NotFound, RateLimited, TooBusy

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
NOWHERE = "There is no such thing, or it belongs to somebody else."
_WORDS = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    400: ("bad_input", "The request cannot be read: send JSON as the OpenAPI document describes."),
}
INTERNAL = "Something went wrong on our side; it was recorded under this request id."


class ModelNotFound(NotFound):
    """`model` is not the key's tenant. OpenAI's code for it."""

    code = "model_not_found"


class BadField(BadInput):
    """A named field of the body cannot be used."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def problem_body(path: str, request_id: str, why: FrontdeskError) -> Mapping[str, Any]:
    """The JSON body for an error at this path. All that is not there, or not the caller's, reads the same."""
    if type(why) is NotFound:
        why = NotFound(NOWHERE)
    if path.startswith("/v1"):
        return _openai(str(why), why.status, _openai_code(why), _param(why))
    return _native(why.code, str(why), request_id)


def openai_error(why: FrontdeskError) -> Mapping[str, Any]:
    """The error object as a stream carries it."""
    return _openai(str(why), why.status, _openai_code(why), _param(why))


def headers_for(why: FrontdeskError) -> dict[str, str]:
    """Headers that belong to the status: when to come back, how to authenticate."""
    if isinstance(why, TooBusy):
        return {"Retry-After": str(max(1, math.ceil(why.retry_after)))}
    return {"WWW-Authenticate": "Bearer"} if isinstance(why, NotAuthenticated) else {}


def install(app: FastAPI) -> None:
    """Answers every foreseen error in the two shapes."""

    @app.exception_handler(FrontdeskError)
    async def foreseen(request: Request, why: FrontdeskError) -> JSONResponse:
        return JSONResponse(problem_body(request.url.path, request_id(request), why), why.status, headers_for(why))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, why: RequestValidationError) -> JSONResponse:
        field, message = _first(why)
        return await foreseen(request, BadField(message, field))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, why: HTTPException) -> JSONResponse:
        code, message = _WORDS.get(why.status_code, ("error", str(why.detail)))
        path = request.url.path
        shaped = path.startswith("/v1")
        body = _openai(message, why.status_code, code, None) if shaped else _native(code, message, request_id(request))
        return JSONResponse(body, why.status_code, dict(why.headers or {}))


def internal_body(path: str, request_id: str) -> Mapping[str, Any]:
    """The body of a 500; says nothing about what broke."""
    return _openai(INTERNAL, 500, "internal_error", None) if path.startswith("/v1") else _native("internal_error", INTERNAL, request_id)


def request_id(request: Request) -> str:
    """The id this request runs under."""
    return str(getattr(request.state, "request_id", ""))


def _native(code: str, message: str, request_id: str) -> Mapping[str, Any]:
    return {"error": {"code": code, "message": message, "request_id": request_id}}


def _openai(message: str, status: int, code: str, param: str | None) -> Mapping[str, Any]:
    return {"error": {"message": message, "type": _OPENAI_TYPES.get(status, "server_error"), "code": code, "param": param}}


def _openai_code(why: FrontdeskError) -> str:
    if isinstance(why, NotAuthenticated) and not isinstance(why, BadCustomerToken):
        return "invalid_api_key"
    return "rate_limit_exceeded" if isinstance(why, RateLimited) else why.code


def _param(why: FrontdeskError) -> str | None:
    if isinstance(why, ModelNotFound):
        return "model"
    return why.field or None if isinstance(why, BadField) else None


def _first(why: RequestValidationError) -> tuple[str, str]:
    error = why.errors()[0]
    place = ".".join(str(p) for p in error.get("loc", ()) if p not in ("body", "query", "path", "header"))
    if error.get("type") == "json_invalid":
        return "", "The body is not valid JSON."
    return place, f"{place or 'The body'}: {error.get('msg', 'is not usable')}."
