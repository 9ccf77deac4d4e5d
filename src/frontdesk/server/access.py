"""What a route may ask for: the caller in a role, a place among the running turns. Refuses before the route's own code runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, cast
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from frontdesk.analytics.assist import Finder
from frontdesk.analytics.service import Analytics
from frontdesk.domain.tenancy import Caller, Role, Tenant, TenantId
from frontdesk.errors import NotAllowed, NotAuthenticated
from frontdesk.models.speech import Voice
from frontdesk.rights.erasing import Eraser
from frontdesk.server.auth import Authenticator
from frontdesk.server.limits import RateLimits, Slot, Slots
from frontdesk.server.metrics import Metrics
from frontdesk.server.office import Office
from frontdesk.server.openid import Providers
from frontdesk.server.turns import Turns

_key = HTTPBearer(auto_error=False, scheme_name="Key", description="A tenant's key: `fd_<tenant>_…`.")
_token = APIKeyHeader(name="X-Customer-Token", auto_error=False, scheme_name="Customer", description="A signed-in customer's JWT.")


class Desk:
    """Everything the routes share; one per app, in `app.state.desk`."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.metrics = Metrics()
        self.authenticator = Authenticator(office.store, lambda: office.tenants)
        self.rates = RateLimits(office.settings.rate_per_minute)
        self.turns = Turns(office.front_office, Slots(office.settings.turn_slots, "places for a turn"), self.metrics)
        self.streams = Slots(office.settings.stream_slots, "event streams")
        self.stopping = asyncio.Event()
        """Set when the server is told to stop; event streams end then."""
        self.analytics = Analytics(
            office.store,
            office.tenants,
            embedder=getattr(office, "embedder", None),
            model=getattr(office, "model", None),
            sentiment=office.settings.sentiment,
            library=cast("Finder | None", office.library if hasattr(office.library, "search") else None),
        )
        """What the log says; an office without models has figures and no tones."""
        self.eraser: Eraser = getattr(office, "eraser", None) or Eraser(office.settings.data)
        """Forgets customers wherever their words went."""
        self.providers = Providers()
        """Where customers and staff sign in."""
        self.voice = Voice()
        """What hears and speaks, where the settings name something."""
        self.syncs: dict[TenantId, asyncio.Lock] = {}


async def desk_of(request: Request) -> Desk:  # a plain function would be run in a thread, for every request
    """The app's shared parts."""
    desk: Desk = request.app.state.desk
    return desk


Shared = Annotated[Desk, Depends(desk_of)]


async def turn_slot(desk: Shared) -> AsyncIterator[Slot]:
    """A place for a turn, taken before anything is awaited and given back unless a turn keeps it. Raises TooBusy."""
    slot = desk.turns.slot()
    try:
        yield slot
    finally:
        if not slot.kept:
            slot.release()


async def any_caller(request: Request, desk: Shared, _key: object = Security(_key), token: str | None = Security(_token)) -> Caller:
    """The authenticated caller. Raises NotAuthenticated; NotAllowed for a browser on an origin that the tenant does not list."""
    caller = await desk.authenticator.caller(request.headers.get("authorization"), token)
    request.state.tenant = caller.tenant
    structlog.contextvars.bind_contextvars(tenant=caller.tenant, key=caller.key, role=caller.role.value)
    origin = request.headers.get("origin")
    if origin and not may_call(desk.office.tenants[caller.tenant], origin, request.headers.get("host", "")):
        raise NotAllowed("This web page's origin is not listed in the tenant's guardrails.origins.")
    return caller


async def chatting(desk: Shared, caller: Annotated[Caller, Depends(any_caller)]) -> Caller:
    """A caller who is about to send a message; counts against the key's rate. Raises RateLimited."""
    desk.rates.spend(caller.key)
    return caller


async def signed_in(caller: Annotated[Caller, Depends(any_caller)]) -> Caller:
    """A caller with a verified customer. Raises NotAuthenticated."""
    if caller.customer is None:
        raise NotAuthenticated("Send the customer's token in X-Customer-Token: this is about one customer's own data.")
    return caller


def operator_only() -> Callable[..., Awaitable[Caller]]:
    """A caller with an operator's key. Raises NotAllowed."""

    async def operator(caller: Annotated[Caller, Depends(any_caller)]) -> Caller:
        if caller.role is not Role.OPERATOR:
            raise NotAllowed("This needs an operator's key: `frontdesk keys create TENANT --role operator`.")
        return caller

    return operator


AnyCaller = Annotated[Caller, Depends(any_caller)]
Chatting = Annotated[Caller, Depends(chatting)]
SignedIn = Annotated[Caller, Depends(signed_in)]
Operator = Annotated[Caller, Depends(operator_only())]
TurnSlot = Annotated[Slot, Depends(turn_slot)]
RetryKey = Annotated[str | None, Header(alias="Idempotency-Key", description="Sending the same key again gives the same reply.")]


def may_call(tenant: Tenant, origin: str, host: str) -> bool:
    """Whether a page on `origin` may call for this tenant: the server's own pages, and the origins that the tenant lists."""
    return urlsplit(origin).netloc == host or origin in origins_of(tenant)


def origins_of(tenant: Tenant) -> frozenset[str]:
    """Origins in `guardrails.origins`, as browsers send them."""
    listed = tenant.guardrails.get("origins") or ()
    return frozenset(str(o).rstrip("/") for o in ([listed] if isinstance(listed, str) else listed))
