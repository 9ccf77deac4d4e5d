"""Signing in through a provider: customers of a tenant whose `identity:` names a client, and the staff of this installation.

A customer gets the desk's own short token, which their page fetches once after coming back; a member of the staff gets a session of the
console. Whoever comes back without proof gets one sentence and nothing else. Members of the staff are those that the settings list.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import CustomerId, Tenant, TenantId
from frontdesk.errors import BadCustomerToken, FrontdeskError, NotAllowed, NotFound
from frontdesk.server.access import Desk, desk_of
from frontdesk.server.auth import issue_customer_token
from frontdesk.server.openid import NOT_PROVED, Attempt, Client, sealed, unsealed
from frontdesk.server.problems import NOWHERE
from frontdesk.settings import Settings, expand
from frontdesk.store.staff import COOKIE, EVERYBODY, OIDC, SESSION_SECONDS

STAFF = "staff"
CONSOLE = "/console"
ATTEMPT_COOKIE, TOKEN_COOKIE = "frontdesk_attempt", "frontdesk_token"
PICK_UP_SECONDS = 60
_REGISTERED = frozenset(
    {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "at_hash", "c_hash", "auth_time", "acr", "amr", "sid"}
)

router = APIRouter()


async def begin(request: Request) -> Response:
    """Sends the browser to the provider."""
    desk = await desk_of(request)
    whose = request.path_params["whose"]
    try:
        provider = desk.providers.of(_client(desk, whose))
        redirect = f"{_public(request, desk.office.settings)}/sign-in/{whose}/back"
        url, attempt = await provider.begin(whose=whose, back=request.query_params.get("to", "/"), redirect=redirect)
    except NotFound:
        raise
    except FrontdeskError as problem:
        return _told(problem)
    answer = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
    secret = await desk.office.store.signing_secret()
    _set(answer, request, ATTEMPT_COOKIE, sealed(attempt, secret), seconds=600, path="/sign-in")
    return answer


async def back(request: Request) -> Response:
    """Takes whoever comes back from the provider."""
    desk = await desk_of(request)
    whose, given = request.path_params["whose"], request.query_params
    try:
        attempt = unsealed(request.cookies.get(ATTEMPT_COOKIE), await desk.office.store.signing_secret())
        if attempt.whose != whose:
            raise BadCustomerToken(NOT_PROVED)
        provider = desk.providers.of(_client(desk, whose))
        claims = await provider.finish(attempt, state=given.get("state", ""), code=given.get("code", ""), issuer=given.get("iss", ""))
        answer = await (_staff(desk, request, claims) if whose == STAFF else _customer(desk, request, attempt, claims))
    except NotFound:
        raise
    except FrontdeskError as problem:
        answer = _told(problem)
    answer.delete_cookie(ATTEMPT_COOKIE, path="/sign-in")
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def token(request: Request) -> Response:
    """The token of a sign-in that has just succeeded, once, for our own page."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise NotAllowed("A token is given to this server's own page only.")
    found = request.cookies.get(TOKEN_COOKIE, "")
    answer = JSONResponse({"token": found or None}, headers={"Cache-Control": "no-store"})
    answer.delete_cookie(TOKEN_COOKIE, path="/sign-in")
    return answer


# Plain routes: a browser follows them, no client of the API does.
router.add_route("/sign-in/token", token, ["POST"])
router.add_route("/sign-in/{whose}", begin, ["GET"])
router.add_route("/sign-in/{whose}/back", back, ["GET"])


async def _customer(desk: Desk, request: Request, attempt: Attempt, claims: Mapping[str, Any]) -> Response:
    tenant = TenantId(attempt.whose)
    more = {k: v for k, v in claims.items() if k not in _REGISTERED and isinstance(v, str | int | bool)}
    secret, now = await desk.office.store.signing_secret(), time.time()
    own = issue_customer_token(secret, tenant, CustomerId(claims["sub"]), now, more=more, ends=float(claims["exp"]))
    answer = RedirectResponse(f"{attempt.back}{'&' if '?' in attempt.back else '?'}signed_in={tenant}", 303)
    _set(answer, request, TOKEN_COOKIE, own, seconds=PICK_UP_SECONDS, path="/sign-in")
    return answer


async def _staff(desk: Desk, request: Request, claims: Mapping[str, Any]) -> Response:
    name = str(claims.get("email") or claims["sub"]).lower()
    if claims.get("email") and claims.get("email_verified") is False:
        raise NotAllowed("The provider has not verified this e-mail address, so it opens no door here.")
    role = member_role(desk.office.settings.staff_members, name)
    if role is None:
        raise NotAllowed(f"{name} is not among FRONTDESK_STAFF_MEMBERS: ask who runs this desk.")
    accounts = desk.office.store.staff
    await accounts.admit(name, role)
    session = await accounts.open_session(name, way=OIDC)
    await desk.office.store.for_tenant(EVERYBODY).desk.audit(actor=name, action="staff.sign_in", subject=name, detail={"way": OIDC})
    answer = RedirectResponse(f"{CONSOLE}/", 303)
    _set(answer, request, COOKIE, session, seconds=SESSION_SECONDS, path=CONSOLE)
    return answer


def member_role(listed: str, name: str) -> StaffRole | None:
    """The role of a name in `anna@acme.example=operator, *@acme.example=agent`: the exact entry before that of the whole domain."""
    entries = dict(part.strip().lower().partition("=")[::2] for part in listed.split(",") if "=" in part)
    said = entries.get(name, entries.get(f"*@{name.rpartition('@')[2]}") if "@" in name else None)
    return StaffRole(said) if said in set(StaffRole) else None


def _client(desk: Desk, whose: str) -> Client:
    """How we are known at the provider. Raises NotFound where signing in that way is not set up."""
    settings = desk.office.settings
    if whose == STAFF:
        if not settings.staff_issuer or not settings.staff_client_id:
            raise NotFound(NOWHERE)
        return Client(issuer=settings.staff_issuer, client_id=settings.staff_client_id, secret=settings.staff_client_secret)
    tenant: Tenant | None = desk.office.tenants.get(TenantId(whose))
    if tenant is None or not tenant.identity.client_id or not tenant.identity.issuer:
        raise NotFound(NOWHERE)
    own = tenant.identity
    secret, missing = expand("${" + own.client_secret_env + "}") if own.client_secret_env else ("", ())
    if missing:
        raise NotFound(NOWHERE)
    algorithms = own.algorithms or Client.algorithms
    return Client(issuer=own.issuer, client_id=own.client_id, secret=secret, algorithms=algorithms, jwks_url=own.jwks_url)


def _public(request: Request, settings: Settings) -> str:
    return settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")


def _set(answer: Response, request: Request, name: str, value: str, *, seconds: int, path: str) -> None:
    # Lax: the browser comes back from another site, and must bring the cookie along.
    answer.set_cookie(name, value, max_age=seconds, path=path, secure=request.url.scheme == "https", httponly=True, samesite="lax")


def _told(problem: FrontdeskError) -> Response:
    return PlainTextResponse(f"You are not signed in. {problem}", problem.status)
