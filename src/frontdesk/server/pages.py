"""The pages that this server shows: the chat at `/`, the widget, what a demonstration offers, and whom a key belongs to.

Files are read once and served with a tag of their content. Refuses to name tenants to strangers: only a demonstration lists them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from frontdesk.domain.knowledge import PassageKind
from frontdesk.domain.tenancy import CustomerId, Tenant, TenantId
from frontdesk.errors import NotFound
from frontdesk.server.access import AnyCaller, Desk, Shared, desk_of
from frontdesk.server.auth import issue_customer_token
from frontdesk.server.office import Demonstration
from frontdesk.server.problems import NOWHERE, BadField
from frontdesk.server.views import ProblemBody

QUESTIONS = 4
"""Example questions that a demonstration shows for each tenant."""
_LONGEST_QUESTION = 70

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER = "public, max-age=31536000, immutable"
_SOON = "public, max-age=300, stale-while-revalidate=86400"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file as it goes out, whole and packed. `tag` is a hash of its content."""

    content: bytes
    packed: bytes
    tag: str
    media_type: str

    @classmethod
    def of(cls, content: bytes, suffix: str) -> Asset:
        """An asset with this content; `suffix` names its type."""
        tag = hashlib.sha256(content).hexdigest()[:16]
        return cls(content=content, packed=gzip.compress(content, mtime=0), tag=tag, media_type=_TYPES[suffix])

    def answer(self, request: Request, **headers: str) -> Response:
        """The file, or 304 when the browser has it."""
        head = {"ETag": f'"{self.tag}"', "Vary": "Accept-Encoding", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.tag in re.findall(r'"([^"]*)"', request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=head)
        packed = "gzip" in request.headers.get("accept-encoding", "")
        if packed:
            head["Content-Encoding"] = "gzip"
        return Response(self.packed if packed else self.content, media_type=self.media_type, headers=head)


class Reach(BaseModel):
    """How a customer reaches a person of this tenant."""

    email: str
    phone: str
    hours: str


class About(BaseModel):
    """Whom a key belongs to, as far as a customer may know, and who is signed in."""

    tenant: str
    name: str
    description: str
    languages: list[str]
    handoff: Reach
    sign_in_url: str
    max_message_chars: int
    customer: str | None
    voice: bool
    """Whether one can call."""


class DemoCustomer(BaseModel):
    """An invented customer as whom one may try the desk."""

    id: str
    name: str
    questions: list[str] = []
    """What is worth asking as this customer."""


class DemoTenant(BaseModel):
    """What the page needs to let somebody try one tenant."""

    id: str
    name: str
    description: str
    key: str
    questions: list[str]
    customers: list[DemoCustomer]


router = APIRouter()


@router.get("/api/me", tags=["own data"], responses={"4XX": {"model": ProblemBody}, "5XX": {"model": ProblemBody}})
async def about_me(caller: AnyCaller, desk: Shared) -> About:
    """The tenant that this key talks to, how its people are reached, and the signed-in customer."""
    tenant = desk.office.tenants[caller.tenant]
    contact = tenant.handoff
    return About(
        tenant=tenant.id,
        name=tenant.name,
        description=tenant.description,
        languages=list(tenant.languages),
        handoff=Reach(email=contact.email, phone=contact.phone, hours=contact.hours),
        sign_in_url=tenant.identity.sign_in_url or (f"/sign-in/{tenant.id}" if tenant.identity.client_id else ""),
        max_message_chars=desk.office.settings.max_message_chars,
        customer=caller.customer,
        voice=bool(desk.office.settings.audio_url),
    )


async def page(request: Request) -> Response:
    """The chat page. Nothing on it may come from elsewhere, run inline, or turn text into markup."""
    return _PAGE.answer(request, Cache_Control="no-cache", Content_Security_Policy=PAGE_POLICY)


async def widget(request: Request) -> Response:
    """The script that other sites include; readable from anywhere so that they can pin its hash."""
    return _ASSETS["widget.js"].answer(
        request, Cache_Control=_SOON, Access_Control_Allow_Origin="*", Cross_Origin_Resource_Policy="cross-origin"
    )


async def microphone(request: Request) -> Response:
    """The part of the widget that runs beside a page's own scripts while one calls."""
    return _ASSETS["microphone.js"].answer(
        request, Cache_Control=_SOON, Access_Control_Allow_Origin="*", Cross_Origin_Resource_Policy="cross-origin"
    )


async def asset(request: Request) -> Response:
    """A file of the page; kept for ever under the version that the page names."""
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        raise NotFound(NOWHERE)
    return found.answer(request, Cache_Control=_FOREVER if request.query_params.get("v") == found.tag else _SOON)


async def demo_tenants(request: Request) -> Response:
    """The tenants of a demonstration, each with a widget key; none on a server that is not one."""
    desk = await desk_of(request)
    offered = await _demo_keys(desk)
    people = _demo_customers(desk)
    shown = [
        DemoTenant(
            id=tenant.id,
            name=tenant.name,
            description=tenant.description,
            key=offered[tenant.id],
            questions=await _questions(desk, tenant),
            customers=[DemoCustomer.model_validate(c) for c in people.get(tenant.id, ())],
        )
        for tenant in desk.office.tenants.values()
        if tenant.id in offered
    ]
    front_doors_first = sorted(shown, key=lambda t: not desk.office.tenants[TenantId(t.id)].lines)
    return JSONResponse({"demo": bool(offered), "tenants": [t.model_dump() for t in front_doors_first]})


async def demo_token(request: Request) -> Response:
    """A customer token for one of the demonstration's invented customers. 404 for everybody else and everywhere else."""
    desk = await desk_of(request)
    try:
        body = await request.json()
        tenant, customer = TenantId(str(body["tenant"])), CustomerId(str(body["customer"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadField('Send {"tenant": …, "customer": …}.', "customer") from None
    if customer not in {c["id"] for c in _demo_customers(desk).get(tenant, ())}:
        raise NotFound(NOWHERE)
    return JSONResponse({"token": issue_customer_token(await desk.office.store.signing_secret(), tenant, customer, time.time())})


# Plain routes: files and a demonstration's offers are no part of the API's document.
router.add_route("/", page, ["GET"])
router.add_route("/widget.js", widget, ["GET"])
router.add_route("/microphone.js", microphone, ["GET"])
router.add_route("/static/{name}", asset, ["GET"])
router.add_route("/demo/tenants", demo_tenants, ["GET"])
router.add_route("/demo/token", demo_token, ["POST"])


async def _demo_keys(desk: Desk) -> Mapping[TenantId, str]:
    return await cast("Demonstration", desk.office).demo_keys() if hasattr(desk.office, "demo_keys") else {}


def _demo_customers(desk: Desk) -> Mapping[TenantId, Sequence[Mapping[str, Any]]]:
    return cast("Demonstration", desk.office).demo_customers() if hasattr(desk.office, "demo_customers") else {}


async def _questions(desk: Desk, tenant: Tenant) -> list[str]:
    """Some of the tenant's own FAQ questions, spread over all of them; a front door asks for its lines."""
    found: list[str] = []
    for line in (tenant.id, *tenant.lines):
        knowledge = desk.office.store.for_tenant(line).knowledge
        pairs = sorted((p for p, _ in await knowledge.all_passages(kinds=[PassageKind.FAQ])), key=lambda p: p.ordinal)
        short = [p.title for p in pairs if len(p.title) <= _LONGEST_QUESTION]
        found += short[len(short) // (2 * QUESTIONS) :: max(1, len(short) // QUESTIONS)][:QUESTIONS]
    return found[:: max(1, len(found) // QUESTIONS)][:QUESTIONS]


def _load() -> tuple[Asset, Mapping[str, Asset]]:
    files = {p.name: Asset.of(p.read_bytes(), p.suffix) for p in _STATIC.iterdir() if p.suffix in _TYPES and p.suffix != ".html"}
    html = (_STATIC / "page.html").read_text(encoding="utf-8")
    for name, file in files.items():
        html = html.replace(f'"/static/{name}"', f'"/static/{name}?v={file.tag}"')
    return Asset.of(html.encode(), ".html"), files


_PAGE, _ASSETS = _load()
