"""Every error this program raises on purpose, as one tree. Foreign errors are translated into these at the border, once.

FrontdeskError
├── BadInput                 somebody gave us something wrong; the message says what to do   (HTTP 400, exit 2)
│   ├── BadTenant            a tenant folder is invalid; names file, line and remedy
│   ├── BadDocument          a knowledge file cannot be read; names file and reason
│   ├── BadToolSpec          an OpenAPI document is ambiguous or unsupported; names the JSON path
│   └── BadArguments         arguments do not fit an operation's schema; one reason per argument
├── NotAuthenticated         no key, a wrong key or a token that does not verify             (HTTP 401)
│   ├── SignInRequired       an operation needs a verified customer and there is none
│   └── BadCustomerToken     the customer token does not verify
├── NotAllowed               a valid key without the role that this needs                    (HTTP 403)
├── NotFound                 does not exist, or belongs to somebody else                     (HTTP 404)
├── Conflict                 the thing changed hands or is already done                      (HTTP 409)
├── TooLarge                 above a stated limit                                            (HTTP 413)
├── TooBusy                  our own queue is full; says when to come back                   (HTTP 429)
│   └── RateLimited          this key sent more than it may                              (HTTP 429)
├── Unavailable              something we need is down                                       (HTTP 503, exit 1)
│   ├── StoreUnavailable     the database cannot be reached or written
│   ├── ModelUnavailable     the language or embedding model did not answer in time
│   ├── ModelMissing         a model file cannot be fetched; names every source tried
│   └── ToolUnavailable      a tenant's API is down, slow or answers nonsense
├── TrainingFailed           a training run cannot go on; says why and what to change        (exit 1)
└── PortInUse                the address is taken                                            (exit 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class FrontdeskError(Exception):
    """Something went wrong that the program foresaw."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class BadInput(FrontdeskError):
    """What was given cannot be used."""

    code = "bad_input"
    status = 400
    exit_code = 2


class BadTenant(BadInput):
    """A tenant folder is invalid."""

    code = "bad_tenant"


class BadDocument(BadInput):
    """A knowledge file cannot be read."""

    code = "bad_document"


class BadToolSpec(BadInput):
    """An OpenAPI document is ambiguous or uses something unsupported."""

    code = "bad_tool_spec"


class BadArguments(BadInput):
    """Arguments do not fit an operation's schema; nothing was called."""

    code = "bad_arguments"

    def __init__(self, message: str, *, reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reasons = reasons
        """One short reason per argument name."""


class NotAuthenticated(FrontdeskError):
    """No key, a wrong key, or a customer token that does not verify."""

    code = "not_authenticated"
    status = 401


class SignInRequired(NotAuthenticated):
    """An operation is about the customer's own records, and no customer is signed in; nothing was called."""

    code = "sign_in_required"


class BadCustomerToken(NotAuthenticated):
    """A customer token was sent and does not verify."""

    code = "invalid_customer_token"


class NotAllowed(FrontdeskError):
    """The key is valid, but its role does not include this."""

    code = "not_allowed"
    status = 403


class NotFound(FrontdeskError):
    """It does not exist, or it belongs to somebody else; the two look the same on purpose."""

    code = "not_found"
    status = 404


class Conflict(FrontdeskError):
    """It changed hands or was done already."""

    code = "conflict"
    status = 409


class TooLarge(FrontdeskError):
    """Above a stated limit."""

    code = "too_large"
    status = 413


class TooBusy(FrontdeskError):
    """Our own queue is full."""

    code = "too_busy"
    status = 429

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a retry makes sense."""


class RateLimited(TooBusy):
    """This key sent more in a minute than it may."""

    code = "rate_limited"


class Unavailable(FrontdeskError):
    """Something this program needs is down."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The database cannot be reached or written."""

    code = "store_unavailable"


class ModelUnavailable(Unavailable):
    """A model did not answer in time, or not at all."""

    code = "model_unavailable"


class ModelRefused(ModelUnavailable):
    """A model server works, but does not take this request: a grammar it does not know, a prompt too long for it."""

    code = "model_refused"


class ModelMissing(Unavailable):
    """A model file cannot be fetched or does not match its checksum."""

    code = "model_missing"


class ToolUnavailable(Unavailable):
    """A tenant's API is down, slow, or answers something that its document does not allow."""

    code = "tool_unavailable"


class TrainingFailed(FrontdeskError):
    """A training run cannot go on: the loss is no number, memory or disk ran out, a worker died."""

    code = "training_failed"


class PortInUse(FrontdeskError):
    """The address is taken by another program."""

    code = "port_in_use"
