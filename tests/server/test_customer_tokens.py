"""Customer tokens: what verifies, and the many ways in which nothing else does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from frontdesk.domain.tenancy import Caller, CustomerId, Identity, KeyId, Tenant, TenantId
from frontdesk.errors import BadCustomerToken, NotAuthenticated, Unavailable
from frontdesk.server.auth import Authenticator, PublicKeys, fetch_public_keys, issue_customer_token

NOW = 1_800_000_000.0
SECRET = b"a signing secret of thirty-two b"
ACME = TenantId("acme")
ISSUER = "https://login.acme.example"
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1"})
OUTSIDER = ECKey.generate_key("P-256", {"kid": "e1"})
GOOD = {"iss": "frontdesk", "sub": "cust-7", "aud": "acme", "iat": int(NOW), "exp": int(NOW) + 600}


class OneKey:
    """A store that knows one key and one signing secret."""

    async def verify(self, secret: str) -> Caller:
        if secret != "fd_acme_key":
            raise NotAuthenticated("no such key")
        return Caller(tenant=ACME, key=KeyId("k1"))

    async def signing_secret(self) -> bytes:
        return SECRET


class Issuer:
    """What the identity provider publishes, and how often it was asked."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.asked = 0

    async def fetch(self, _url: str) -> bytes:
        self.asked += 1
        return json.dumps({"keys": [k.as_dict(private=False) for k in self.keys]}).encode()


def authenticator(identity: Identity | None = None, issuer: Issuer | None = None, now: float = NOW) -> Authenticator:
    tenant = Tenant(id=ACME, name="Acme", identity=identity or Identity())
    return Authenticator(OneKey(), lambda: {ACME: tenant}, now=lambda: now, fetch=(issuer or Issuer()).fetch)  # type: ignore[arg-type]


async def who(token: str, **given: Any) -> CustomerId | None:
    return (await authenticator(**given).caller("Bearer fd_acme_key", token)).customer


def signed(claims: Mapping[str, Any] = GOOD, header: Mapping[str, Any] | None = None, key: Any = SECRET, alg: str = "HS256") -> str:
    key = OctKey.import_key(key) if isinstance(key, bytes) else key
    return jwt.encode({"alg": alg, **(header or {})}, dict(claims), key, algorithms=[alg])


def raw(header: Any, claims: Any, signature: str = "AAAA") -> str:
    return ".".join([_b64(header), _b64(claims), signature])


def _b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def but(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**GOOD, **changes}.items() if v is not ...}


def flipped(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


BAD = {
    "alg none": raw({"alg": "none"}, GOOD, ""),
    "alg none with a signature": raw({"alg": "none"}, GOOD),
    "alg None in capitals": raw({"alg": "NONE"}, GOOD),
    "no alg": raw({"typ": "JWT"}, GOOD),
    "alg is a list": raw({"alg": ["HS256"]}, GOOD),
    "another secret": signed(key=b"another secret of thirty-two byt"),
    "an empty secret": raw({"alg": "HS256"}, GOOD, "thbYZ3uhBcQSnEfDd2C6Ey7NzQU6dgWlHFRNb7WyDFM"),
    "a stronger algorithm than pinned": signed(alg="HS512"),
    "expired": signed(but(exp=int(NOW) - 31)),
    "no expiry": signed(but(exp=...)),
    "expiry as text": signed(but(exp="2999-01-01")),
    "expiry true": signed(but(exp=True)),
    "expiry not a number": signed(but(exp=float("nan"))),
    "expiry infinite": signed(but(exp=float("inf"))),
    "expiry null": signed(but(exp=None)),
    "not yet": signed(but(nbf=int(NOW) + 60)),
    "issued in the future": signed(but(iat=int(NOW) + 60)),
    "another tenant's": signed(but(aud="other")),
    "no audience": signed(but(aud=...)),
    "audience null": signed(but(aud=None)),
    "audience empty list": signed(but(aud=[])),
    "audience of somebody else's list": signed(but(aud=["x", "y"])),
    "for two parties, issued to the other": signed(but(aud=["acme", "x"], azp="x")),
    "no subject": signed(but(sub=...)),
    "subject empty": signed(but(sub=" ")),
    "subject a number": signed(but(sub=7)),
    "subject with control characters": signed(but(sub="a\u0000b")),
    "subject very long": signed(but(sub="x" * 257)),
    "no issuer": signed(but(iss=...)),
    "another issuer": signed(but(iss="https://evil.example")),
    "an embedded key": signed(header={"jwk": {"kty": "oct", "k": "AAAA"}}),
    "a key address": signed(header={"jku": "https://evil.example/jwks"}),
    "a certificate address": signed(header={"x5u": "https://evil.example/c"}),
    "critical extensions": raw({"alg": "HS256", "crit": ["exp"], "exp": 1}, GOOD),
    "unencoded payload": raw({"alg": "HS256", "b64": False}, GOOD),
    "another kind of token": signed(header={"typ": "logout+jwt"}),
    "kid a number": raw({"alg": "HS256", "kid": 1}, GOOD),
    "kid an object": raw({"alg": "HS256", "kid": {"$ne": 1}}, GOOD),
    "trailing junk": signed() + "x",
    "trailing dot": signed() + ".",
    "trailing newline": signed() + "\n",
    "leading space": " " + signed(),
    "a fourth part": signed() + ".AAAA",
    "two parts": signed().rsplit(".", 1)[0],
    "no signature": signed().rsplit(".", 1)[0] + ".",
    "a changed signature": flipped(signed()),
    "padding": signed() + "=",
    "standard base64": signed().replace("-", "+").replace("_", "/") + "+",
    "claims a list": raw({"alg": "HS256"}, [1]),
    "claims not json": raw({"alg": "HS256"}, b"\xff\xfe"),
    "header not json": raw(b"{", GOOD),
    "header deeply nested": raw(b"[" * 5000, GOOD),
    "not a token": "hello",
    "only dots": "..",
    "very long": "a" * 9000 + ".b.c",
    "encrypted": jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, json.dumps(GOOD), OctKey.import_key(SECRET)),
}


async def test_a_development_token_names_its_customer_for_an_hour():
    token = issue_customer_token(SECRET, ACME, CustomerId("cust-7"), NOW)
    assert await who(token) == "cust-7"
    assert await who(token, now=NOW + 3600 + 29) == "cust-7"
    with pytest.raises(BadCustomerToken):
        await who(token, now=NOW + 3600 + 31)


async def test_verified_claims_reach_the_caller():
    caller = await authenticator().caller("bearer fd_acme_key", signed(but(plan="gold")))
    assert caller.claims["plan"] == "gold"


@pytest.mark.parametrize("name", BAD)
async def test_a_token_that_is_not_ours_is_refused(name: str):
    with pytest.raises(BadCustomerToken):
        await who(BAD[name])


async def test_all_refusals_read_the_same():
    said = set()
    for token in BAD.values():
        with pytest.raises(BadCustomerToken) as refused:
            await who(token)
        said.add(str(refused.value))
    assert len(said) == 1


@pytest.mark.parametrize(
    "header", [None, "", "fd_acme_key", "Basic fd_acme_key", "Bearer", "Bearer ", "Bearer other", "Bearer fd_acmé_key"]
)
async def test_without_its_key_a_good_token_is_worth_nothing(header: str | None):
    with pytest.raises(NotAuthenticated):
        await authenticator().caller(header, signed())


async def test_a_key_of_a_tenant_that_is_not_served_any_more_is_refused():
    alone = Authenticator(OneKey(), dict, now=lambda: NOW)  # type: ignore[arg-type]
    with pytest.raises(NotAuthenticated):
        await alone.caller("Bearer fd_acme_key")


# --- a tenant's own sign-in ---------------------------------------------------------------------------------------------------------

OWN = Identity(issuer=ISSUER, audience="desk", jwks_url=f"{ISSUER}/jwks")
THEIRS = {**GOOD, "iss": ISSUER, "aud": "desk"}


@pytest.mark.parametrize(("key", "alg", "kid"), [(RSA, "RS256", "r1"), (EC, "ES256", "e1"), (RSA, "RS256", None)])
async def test_a_token_of_the_tenants_issuer_verifies(key: Any, alg: str, kid: str | None):
    token = signed(THEIRS, {"kid": kid} if kid else {}, key, alg)
    assert await who(token, identity=OWN, issuer=Issuer(RSA, EC)) == "cust-7"


async def test_development_tokens_go_on_working_beside_a_tenants_issuer():
    assert await who(signed(), identity=OWN, issuer=Issuer(RSA)) == "cust-7"


PUBLIC_PEM = RSA.as_pem(private=False)
THEIR_BAD = {
    "signed with the public key as a secret": signed(THEIRS, {"kid": "r1"}, OctKey.import_key(base64.b64encode(PUBLIC_PEM)), "HS256"),
    "signed by an outsider under a stolen kid": signed(THEIRS, {"kid": "e1"}, OUTSIDER, "ES256"),
    "an outsider's own key embedded": raw({"alg": "ES256", "kid": "e1", "jwk": OUTSIDER.as_dict(private=False)}, THEIRS),
    "unknown kid": signed(THEIRS, {"kid": "zz"}, RSA, "RS256"),
    "kid of a key of another kind": signed(THEIRS, {"kid": "e1"}, RSA, "RS256"),
    "kid as a path": signed(THEIRS, {"kid": "../../dev/null"}, RSA, "RS256"),
    "kid as a query": signed(THEIRS, {"kid": "r1' OR '1'='1"}, RSA, "RS256"),
    "an algorithm that is not pinned": signed(THEIRS, {"kid": "r1"}, RSA, "PS256"),
    "for another audience": signed({**THEIRS, "aud": "acme"}, {"kid": "r1"}, RSA, "RS256"),
    "from another issuer": signed({**THEIRS, "iss": ISSUER + "/"}, {"kid": "r1"}, RSA, "RS256"),
    "our issuer's name with their key": signed(GOOD, {"kid": "r1"}, RSA, "RS256"),
    "their issuer's name with our key": signed(THEIRS),
    "expired": signed({**THEIRS, "exp": int(NOW) - 31}, {"kid": "r1"}, RSA, "RS256"),
}


@pytest.mark.parametrize("name", THEIR_BAD)
async def test_a_token_that_is_not_the_issuers_is_refused(name: str):
    with pytest.raises(BadCustomerToken):
        await who(THEIR_BAD[name], identity=OWN, issuer=Issuer(RSA, EC))


async def test_a_configuration_cannot_mix_public_keys_with_shared_secret_algorithms():
    mixed = Identity(issuer=ISSUER, audience="desk", jwks_url=f"{ISSUER}/jwks", algorithms=("HS256", "none"))
    with pytest.raises(BadCustomerToken):
        await who(THEIR_BAD["signed with the public key as a secret"], identity=mixed, issuer=Issuer(RSA))


async def test_a_flood_of_unknown_kids_asks_the_issuer_once():
    issuer = Issuer(RSA)
    desk = authenticator(OWN, issuer)
    tokens = [signed(THEIRS, {"kid": f"k{i}"}, RSA, "RS256") for i in range(50)]
    await desk.caller("Bearer fd_acme_key", signed(THEIRS, {"kid": "r1"}, RSA, "RS256"))
    got = await asyncio.gather(*(desk.caller("Bearer fd_acme_key", t) for t in tokens), return_exceptions=True)
    assert all(isinstance(g, BadCustomerToken) for g in got)
    assert issuer.asked == 1


async def test_a_thousand_unknown_kids_cause_one_fetch_in_thirty_seconds_at_most():
    clock = [0.0]
    issuer = Issuer(RSA)
    keys = PublicKeys("https://x.example", fetch=issuer.fetch, clock=lambda: clock[0])
    for n in range(1000):
        clock[0] = n * 0.3  # five minutes
        assert await keys.find(f"unknown-{n}", "RS256") is None
    assert issuer.asked == 10


async def test_a_new_key_of_the_issuer_is_taken_up_after_the_cool_down():
    clock = [0.0]
    issuer = Issuer(RSA)
    keys = PublicKeys("https://x.example", fetch=issuer.fetch, clock=lambda: clock[0])
    assert await keys.find("r1", "RS256") is not None
    issuer.keys = [EC]
    assert await keys.find("e1", "ES256") is None
    clock[0] = 31.0
    assert await keys.find("e1", "ES256") is not None
    assert await keys.find("r1", "RS256") is None


async def test_an_issuer_that_is_away_refuses_new_tokens_and_keeps_old_keys():
    clock, issuer = [0.0], Issuer(RSA)
    down = False

    async def fetch(url: str) -> bytes:
        if down:
            raise Unavailable("away")
        return await issuer.fetch(url)

    keys = PublicKeys("https://x.example", fetch=fetch, clock=lambda: clock[0])
    await keys.find("r1", "RS256")
    clock[0], down = 700.0, True
    assert await keys.find("r1", "RS256") is not None
    assert await keys.find("r2", "RS256") is None


async def test_public_keys_are_not_fetched_over_plain_http():
    with pytest.raises(Unavailable, match="https"):
        await fetch_public_keys("http://login.acme.example/jwks")


async def test_a_shared_secret_comes_from_the_environment_or_not_at_all(monkeypatch: pytest.MonkeyPatch):
    shared = Identity(issuer=ISSUER, audience="desk", secret_env="ACME_SIGN_IN_SECRET")
    token = signed(THEIRS, key=b"the shared secret of acme, long.")
    with pytest.raises(BadCustomerToken):
        await who(token, identity=shared)
    monkeypatch.setenv("ACME_SIGN_IN_SECRET", "the shared secret of acme, long.")
    assert await who(token, identity=shared) == "cust-7"
