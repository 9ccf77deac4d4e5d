"""Logs as JSON lines on stderr: request id and tenant on every line, customers' words masked, secrets gone before anything is written."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from frontdesk.domain.privacy import mask_personal_data

_SECRET_NAMES = re.compile(r"authorization|token|secret|password|cookie|api_?key$", re.IGNORECASE)
_SECRETS = re.compile(r"fd_[A-Za-z0-9-]+_[A-Za-z0-9_-]{20,}|eyJ[\w-]+\.[\w-]+\.?[\w-]*|(?i:bearer)\s+\S+|//[^/@\s:]+:[^/@\s]+@")
_IDS = {"request_id", "tenant", "key", "conversation", "turn", "timestamp", "level", "event", "route", "method", "role", "logger", "code"}
_QUIET = ("httpx", "httpcore", "sse_starlette", "uvicorn.access", "asyncio")


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Sends structlog's and the standard library's records through one chain to `stream` (stderr)."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                without_secrets,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides keys and tokens by name and by form, masks personal data in everything that is not an id of ours."""
    for name, value in event.items():
        event[name] = _safe(name, value)
    return event


def _safe(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if _SECRET_NAMES.search(name) and name not in _IDS:
            return "[hidden]"
        text = _SECRETS.sub("[hidden]", value)
        return text if name in _IDS - {"event"} else mask_personal_data(text)
    if isinstance(value, dict):
        return {k: _safe(str(k), v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe(name, v) for v in value]
    return value
