"""Signing in through an OpenID Connect provider: what gets in, and everything that does not."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import Identity, Role, Tenant
from frontdesk.errors import BadCustomerToken, FrontdeskError, Unavailable
from frontdesk.server.openid import Attempt, Client, Provider, local, sealed, unsealed
from frontdesk.server.signing_in import member_role
from frontdesk.settings import Settings

from .conftest import ACME, Served

PEOPLE = (
    oidc_provider_mock.User(sub="cust-7", claims={"email": "ann@shop.example", "club": "gold"}),
    oidc_provider_mock.User(sub="u-anna", claims={"email": "anna@acme.example"}),
    oidc_provider_mock.User(sub="u-eve", claims={"email": "eve@elsewhere.example"}),
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread(user_claims=PEOPLE) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def desk(database_settings: Settings, issuer: str) -> Iterator[Served]:
    ours = dataclasses.replace(
        database_settings, staff_issuer=issuer, staff_client_id="console", staff_client_secret="s", staff_members="*@acme.example=agent"
    )
    tenants = (
        Tenant(id=ACME, name="Acme", identity=Identity(issuer=issuer, client_id="acme-desk", client_secret_env="TEST_DESK_SECRET")),
        Tenant(id=ACME.__class__("plain"), name="Plain"),
    )
    with pytest.MonkeyPatch.context() as environment, Served(ours, tenants) as running:
        environment.setenv("TEST_DESK_SECRET", "known to the provider")
        yield running


@pytest.fixture
def browser(desk: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=desk.url, timeout=20) as client:
        yield client


def at_provider(browser: httpx.Client, whose: str = "acme", to: str = "/", sub: str = "cust-7") -> str:
    """Begins at the desk and agrees at the provider; the address that the browser is sent back to."""
    begun = browser.get(f"/sign-in/{whose}", params={"to": to})
    assert begun.status_code == 303
    agreed = httpx.post(begun.headers["location"], data={"sub": sub})
    return agreed.headers["location"]


def signs_in(browser: httpx.Client, **how: Any) -> httpx.Response:
    return browser.get(at_provider(browser, **how))


def test_a_customer_who_signs_in_is_known_to_the_desk(desk: Served, browser: httpx.Client):
    back = signs_in(browser, to="/?x=1")
    assert (back.status_code, back.headers["location"]) == (303, "/?x=1&signed_in=acme")
    token = browser.post("/sign-in/token").json()["token"]
    head = {"Authorization": f"Bearer {desk.key(role=Role.WIDGET)}", "X-Customer-Token": token}
    assert browser.get("/api/me", headers=head).json()["customer"] == "cust-7"


def test_the_token_is_picked_up_once(browser: httpx.Client):
    signs_in(browser)
    assert browser.post("/sign-in/token").json()["token"]
    assert browser.post("/sign-in/token").json()["token"] is None


def test_the_token_is_not_given_to_another_site(browser: httpx.Client):
    signs_in(browser)
    assert browser.post("/sign-in/token", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_the_chat_page_learns_where_to_sign_in(desk: Served, browser: httpx.Client):
    assert browser.get("/api/me", headers={"Authorization": f"Bearer {desk.key()}"}).json()["sign_in_url"] == "/sign-in/acme"


def test_the_request_carries_state_nonce_and_a_hashed_verifier(browser: httpx.Client):
    asked = parse_qs(urlsplit(browser.get("/sign-in/acme").headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert all(len(asked[n][0]) >= 43 for n in ("state", "nonce", "code_challenge"))


@pytest.mark.parametrize("spoilt", ["state", "code", "no cookie", "twice", "another tenant"])
def test_whoever_comes_back_without_proof_is_not_signed_in(browser: httpx.Client, spoilt: str):
    address = at_provider(browser)
    if spoilt in ("state", "code"):
        address = re.sub(rf"\b{spoilt}=[^&]+", f"{spoilt}=forged", address)
    if spoilt == "no cookie":
        browser.cookies.clear()
    if spoilt == "twice":
        browser.get(address)
    if spoilt == "another tenant":
        address = address.replace("/sign-in/acme/", "/sign-in/staff/")
    browser.cookies.delete("frontdesk_token") if "frontdesk_token" in browser.cookies else None
    answer = browser.get(address)
    assert answer.status_code == 401
    assert answer.text.startswith("You are not signed in.")
    assert browser.post("/sign-in/token").json()["token"] is None


def test_a_tenant_without_a_client_has_no_sign_in(browser: httpx.Client):
    assert browser.get("/sign-in/plain").status_code == 404
    assert browser.get("/sign-in/unknown").status_code == 404


def test_a_member_of_the_staff_gets_a_session_of_the_console(desk: Served, browser: httpx.Client):
    back = signs_in(browser, whose="staff", sub="u-anna")
    assert (back.status_code, back.headers["location"]) == (303, "/console/")
    cookie = back.cookies["frontdesk_staff"]
    session = desk.do(desk.office.store.staff.session(cookie))
    assert session is not None
    assert (session.staff.name, session.staff.role) == ("anna@acme.example", StaffRole.AGENT)


def test_somebody_who_is_not_of_the_staff_gets_no_session(browser: httpx.Client):
    back = signs_in(browser, whose="staff", sub="u-eve")
    assert back.status_code == 403
    assert "frontdesk_staff" not in back.cookies


def test_the_exact_entry_comes_before_the_domain():
    listed = "*@acme.example=viewer, anna@acme.example=operator, broken, x@acme.example=king"
    found = [member_role(listed, n) for n in ("anna@acme.example", "bo@acme.example", "x@acme.example", "a@b.example", "acme.example")]
    assert found == [StaffRole.OPERATOR, StaffRole.VIEWER, None, None, None]


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_nobody_is_led_away(to: str):
    assert local(to) == "/"


# The provider's answers, one by one

NOW = 1_800_000_000.0
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
HERE = "https://login.acme.example"


async def finished(
    claims: dict[str, Any], *, key: RSAKey = KEY, alg: str = "RS256", made: Callable[[str], str] = str, **described: Any
) -> Any:
    """What becomes of an ID token with these claims. The exchange of the code is answered by a small provider of our own."""
    token = made(jwt.encode({"alg": alg, "kid": "k1"}, claims, key, algorithms=[alg]))
    about = {"issuer": HERE, "authorization_endpoint": f"{HERE}/a", "token_endpoint": f"{HERE}/t", "jwks_uri": f"{HERE}/k", **described}

    async def fetch(url: str) -> bytes:
        return json.dumps({"keys": [KEY.as_dict(private=False)]} if url.endswith("/k") else about).encode()

    class Answering(Provider):
        async def _exchanged(self, *_: Any) -> str:
            return token

    provider = Answering(Client(issuer=HERE, client_id="desk"), fetch=fetch, now=lambda: NOW)
    _, attempt = await provider.begin(whose="acme", back="/", redirect="https://desk/back")
    attempt = dataclasses.replace(attempt, nonce="n" * 43)
    return await provider.finish(attempt, state=attempt.state, code="c")


GOOD = {"iss": HERE, "aud": "desk", "sub": "cust-7", "exp": int(NOW) + 60, "iat": int(NOW), "nonce": "n" * 43}
BAD: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "someone"},
    "no audience": {"aud": None},
    "issued to another party": {"azp": "someone"},
    "several audiences and another party": {"aud": ["desk", "x"], "azp": "x"},
    "expired": {"exp": int(NOW) - 60},
    "no expiry": {"exp": None},
    "expiry as text": {"exp": "tomorrow"},
    "not yet": {"nbf": int(NOW) + 600},
    "issued in the future": {"iat": int(NOW) + 600},
    "another nonce": {"nonce": "m" * 43},
    "no nonce": {"nonce": None},
    "no subject": {"sub": None},
    "empty subject": {"sub": " "},
    "subject a number": {"sub": 7},
}


async def test_a_good_id_token_is_proof():
    assert (await finished(GOOD))["sub"] == "cust-7"


@pytest.mark.parametrize("name", BAD)
async def test_an_id_token_that_was_not_made_for_this_is_no_proof(name: str):
    claims = {k: v for k, v in {**GOOD, **BAD[name]}.items() if v is not None}
    with pytest.raises(BadCustomerToken):
        await finished(claims)


@pytest.mark.parametrize("how", ["another key", "flipped", "empty"])
async def test_an_id_token_with_a_wrong_signature_is_no_proof(how: str):
    spoil: dict[str, Callable[[str], str]] = {
        "flipped": lambda t: t[:-6] + ("AAAAAA" if t[-6:] != "AAAAAA" else "BBBBBB"),
        "empty": lambda _: "",
    }
    with pytest.raises(BadCustomerToken):
        await finished(GOOD, key=OTHER if how == "another key" else KEY, made=spoil.get(how, str))


@pytest.mark.parametrize(
    "described", [{"issuer": "https://evil.example"}, {"token_endpoint": None}, {"authorization_endpoint": "http://evil.example/a"}]
)
async def test_a_provider_that_describes_itself_wrongly_is_not_used(described: dict[str, Any]):
    with pytest.raises(Unavailable):
        await finished(GOOD, **described)


async def test_a_plain_http_issuer_is_refused_beyond_this_machine():
    with pytest.raises(Unavailable, match="https"):
        await Provider(Client(issuer="http://login.example", client_id="d")).begin(whose="a", back="/", redirect="https://d/b")


async def test_an_attempt_ends_after_ten_minutes():
    clock = [NOW]

    async def fetch(_: str) -> bytes:
        return json.dumps({"issuer": HERE, "authorization_endpoint": f"{HERE}/a", "token_endpoint": f"{HERE}/t"}).encode()

    provider = Provider(Client(issuer=HERE, client_id="d"), fetch=fetch, now=lambda: clock[0])
    _, attempt = await provider.begin(whose="a", back="/", redirect="https://d/b")
    clock[0] += 601
    with pytest.raises(FrontdeskError):
        await provider.finish(attempt, state=attempt.state, code="c")


def test_the_attempts_cookie_is_unreadable_and_cannot_be_changed():
    attempt = Attempt(whose="a", back="/", state="s" * 43, nonce="n", verifier="v" * 64, redirect="r", ends=1.0)
    cookie = sealed(attempt, b"secret")
    assert "v" * 64 not in cookie
    assert unsealed(cookie, b"secret") == attempt
    for wrong in (cookie[:-4] + "AAAA", "", None, "a.b.c"):
        with pytest.raises(BadCustomerToken):
            unsealed(wrong, b"secret")
    with pytest.raises(BadCustomerToken):
        unsealed(cookie, b"another")
