"""One look at one page by somebody of the staff: whose it is, of which tenant, and the only way from a page to a change.

A page may be open for hours. So whoever acts is looked up again for each act (`act`): a session that ended or a role that was taken away
holds at once. Every change is in the audit trail before it is made.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nicegui import ui
from starlette.requests import Request

from frontdesk.analytics.service import Analytics
from frontdesk.console.feed import Feeds
from frontdesk.console.gate import BASE, SIGN_IN
from frontdesk.console.office import Office
from frontdesk.domain.staff import Right, Staff
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import FrontdeskError, NotAuthenticated, NotFound
from frontdesk.store.staff import Session
from frontdesk.store.store import TenantStore

log = logging.getLogger(__name__)


class Panel(Protocol):
    """A panel of one's own: builds itself into the page. See docs/how-to/add-a-panel.md."""

    title: str

    async def __call__(self, visit: Visit) -> None:
        """Draws the panel."""
        ...


@dataclass(kw_only=True)
class Console:
    """What all pages share; one per application."""

    office: Office
    analytics: Analytics
    feeds: Feeds
    panels: Sequence[Any] = ()
    demo: bool = False
    running: dict[str, Any] = field(default_factory=dict)
    """Rehearsals that this process has in progress, by name."""


@dataclass(kw_only=True)
class Visit:
    """One page view."""

    console: Console
    request: Request
    session: Session
    cookie: str
    tenant: Tenant

    @property
    def office(self) -> Office:
        """The running program."""
        return self.console.office

    @property
    def analytics(self) -> Analytics:
        """Figures, summaries, scores."""
        return self.console.analytics

    @property
    def staff(self) -> Staff:
        """Who looked when the page was opened. For what is shown; what is done asks again."""
        return self.session.staff

    @property
    def space(self) -> TenantStore:
        """The tenant's data, for reading."""
        return self.office.store.for_tenant(self.tenant.id)

    def may(self, right: Right) -> bool:
        """Whether the page should offer this."""
        return self.staff.may(right, self.tenant.id)

    def path(self, *parts: str) -> str:
        """Where a page of this tenant is."""
        return "/".join((BASE, self.tenant.id, *parts))

    async def who(self, right: Right) -> Staff:
        """Who acts now. Raises NotAuthenticated when the session ended meanwhile, NotAllowed without the right."""
        session = await self.office.store.staff.session(self.cookie)
        if session is None:
            raise NotAuthenticated("Your session has ended: sign in again. What you wrote is kept.")
        session.staff.require(right, self.tenant.id)
        return session.staff

    async def act(self, right: Right, action: str, subject: str, **detail: Any) -> TenantStore:
        """The tenant's data, for a change that is now in the audit trail. Raises NotAuthenticated and NotAllowed."""
        staff = await self.who(right)
        await self.space.desk.audit(actor=f"staff:{staff.name}", action=action, subject=subject, detail=detail)
        return self.space

    def doing(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Coroutine[Any, Any, None]]:
        """A handler that does `work` and says what went wrong in one sentence on the screen."""

        async def handler(*arguments: Any) -> None:
            # What is drawn or said belongs to the page, not to the part of it that the button is in: that may be drawn anew meanwhile.
            with ui.context.client:
                await tried(*arguments)

        async def tried(*arguments: Any) -> None:
            try:
                await work(*arguments)
            except NotAuthenticated as problem:
                ui.notify(str(problem), type="warning")
                lead_to(f"{SIGN_IN}?to={self.request.url.path}")
            except FrontdeskError as problem:
                ui.notify(str(problem), type="negative", multi_line=True, timeout=8000, close_button="OK")
            except Exception:
                # One press of a button must not take the page away; the log keeps what happened.
                log.exception("an action in the console broke")
                ui.notify("Something broke here. It is in the log; nothing else is affected.", type="negative")

        return handler


def lead_to(address: str) -> None:
    """Leads the browser to a page of the console; the framework puts its own place before the address again."""
    ui.navigate.to(address.removeprefix(BASE))


def tenants_of(tenants: Mapping[TenantId, Tenant], staff: Staff) -> list[Tenant]:
    """The tenants that somebody may see, by name."""
    return sorted((t for t in tenants.values() if staff.serves(t.id)), key=lambda t: t.name.casefold())


def tenant_for(tenants: Mapping[TenantId, Tenant], staff: Staff, wanted: str) -> Tenant:
    """The tenant of that id. Raises NotFound for one that does not exist or is not theirs; the two look the same."""
    tenant = tenants.get(TenantId(wanted))
    if tenant is None or not staff.serves(tenant.id):
        raise NotFound("There is no such page, or it is not yours to see.")
    return tenant
