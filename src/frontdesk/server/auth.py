"""Who is calling: tenant keys and customer tokens. The tenant comes from the key alone; anything that does not verify is a 401.

Refuses what a token says about its own verification: its algorithm must be one that the tenant's configuration pins, its key is looked up
in the configured place only, and headers that carry or point at keys are turned away unread.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from frontdesk.domain.tenancy import Caller, CustomerId, Tenant, TenantId
from frontdesk.errors import BadCustomerToken, NotAuthenticated, Unavailable
from frontdesk.settings import expand
from frontdesk.store.store import Store

ISSUER = "frontdesk"
TOKEN_SECONDS = 3600
LEEWAY_SECONDS = 30
JWKS_COOL_DOWN = 30.0
JWKS_MAX_AGE = 600.0
JWKS_MAX_BYTES = 262_144
MAX_TOKEN_CHARS = 8192

_BAD_KEY = "This API key is not valid. Send `Authorization: Bearer <key>`; `frontdesk keys create TENANT` makes one."
_UNVERIFIED = "The customer token does not verify: it is malformed, expired, or not meant for this desk. Sign in again."
_FOREIGN_HEADERS = {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "zip", "b64", "enc"}
_PUBLIC_ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
_SECRET_ALGORITHMS = {"HS256", "HS384", "HS512"}
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Key = OctKey | RSAKey | ECKey | OKPKey
log = structlog.get_logger(__name__)


def issue_customer_token(
    secret: bytes, tenant: TenantId, customer: CustomerId, now: float, *, more: Mapping[str, Any] | None = None, ends: float = math.inf
) -> str:
    """The desk's own token for one customer of one tenant, good for an hour from `now` (seconds since the epoch), at most until `ends`.

    `more`: claims beside the registered ones, which it cannot replace.
    """
    own = {"iss": ISSUER, "sub": str(customer), "aud": str(tenant), "iat": int(now), "exp": int(min(now + TOKEN_SECONDS, ends))}
    claims = {**(more or {}), **own}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret), algorithms=["HS256"])


@dataclass(frozen=True, kw_only=True)
class Trust:
    """One way in which a token may prove itself."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    find: Callable[[str | None, str], Awaitable[Key | None]]
    """The key for a `kid` and an algorithm, or None."""


async def proved(token: str, trust: Trust, now: float) -> dict[str, Any]:
    """The claims of a token that proves itself in this one way. Raises BadCustomerToken; never says why."""
    try:
        header, _ = _look_at(token)
        key = await trust.find(header.get("kid"), header["alg"]) if header["alg"] in trust.algorithms else None
        return _verified(token, key, trust, now)
    except (JoseError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as why:
        log.info("token_refused", issuer=trust.issuer, reason=type(why).__name__)
        raise BadCustomerToken(_UNVERIFIED) from None


def public_algorithms(wanted: Collection[str]) -> frozenset[str]:
    """Those of the wanted algorithms that verify with a public key."""
    return frozenset(wanted) & _PUBLIC_ALGORITHMS


class Authenticator:
    """Turns the two headers of a request into a `Caller`."""

    def __init__(
        self,
        store: Store,
        tenants: Callable[[], Mapping[TenantId, Tenant]],
        *,
        now: Callable[[], float] = time.time,
        fetch: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._now = now
        self._fetch = fetch or fetch_public_keys
        self._issuers: dict[str, PublicKeys] = {}

    async def caller(self, authorization: str | None, customer_token: str | None = None) -> Caller:
        """The caller behind the headers. Raises NotAuthenticated (key) or BadCustomerToken (token); never says why."""
        caller = await self._key(authorization)
        if not customer_token:
            return caller
        claims = await self._claims(self._tenants()[caller.tenant], customer_token)
        return replace(caller, customer=CustomerId(claims["sub"]), claims=claims)

    async def _key(self, authorization: str | None) -> Caller:
        scheme, _, secret = (authorization or "").partition(" ")
        bearer = secret.strip() if scheme.lower() == "bearer" and secret.isascii() else ""
        try:
            caller = await self._store.verify(bearer)
        except NotAuthenticated:
            caller = None
        if caller is None or caller.tenant not in self._tenants():
            # Garbled, unknown, revoked, or of a tenant that is no longer served: nobody learns which.
            raise NotAuthenticated(_BAD_KEY)
        return caller

    async def _claims(self, tenant: Tenant, token: str) -> dict[str, Any]:
        try:
            header, issuer = _look_at(token)
            trust = await self._trust(tenant, issuer)
            key = await trust.find(header.get("kid"), header["alg"]) if header["alg"] in trust.algorithms else None
            return _verified(token, key, trust, self._now())
        except (JoseError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as why:
            log.info("customer_token_refused", tenant=tenant.id, reason=type(why).__name__)
            raise BadCustomerToken(_UNVERIFIED) from None

    async def _trust(self, tenant: Tenant, issuer: str) -> Trust:
        """The unverified issuer only chooses between the ways this tenant's folder allows; each way then demands its own issuer."""
        identity = tenant.identity
        if identity.issuer and issuer == identity.issuer:
            audience = identity.audience or str(tenant.id)
            if identity.jwks_url:
                allowed = frozenset(identity.algorithms or ("RS256", "ES256")) & _PUBLIC_ALGORITHMS
                keys = self._issuers.setdefault(identity.jwks_url, PublicKeys(identity.jwks_url, fetch=self._fetch))
                return Trust(issuer=issuer, audience=audience, algorithms=allowed, find=keys.find)
            allowed = frozenset(identity.algorithms or ("HS256",)) & _SECRET_ALGORITHMS
            return Trust(issuer=issuer, audience=audience, algorithms=allowed, find=_shared_secret(identity.secret_env))

        async def own(_kid: str | None, _algorithm: str) -> Key | None:
            return OctKey.import_key(await self._store.signing_secret())

        return Trust(issuer=ISSUER, audience=str(tenant.id), algorithms=frozenset({"HS256"}), find=own)


class PublicKeys:
    """The signing keys of one issuer, fetched at most once per half minute however many unknown key ids arrive."""

    def __init__(self, url: str, *, fetch: Callable[[str], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: tuple[Key, ...] = ()
        self._tried = -math.inf
        self._fetched = -math.inf

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key with this id that may verify this algorithm; without an id only when the issuer has a single key for it."""
        found = self._pick(kid, algorithm)
        stale = self._clock() - self._fetched > JWKS_MAX_AGE
        if (found is None or stale) and self._clock() - self._tried >= JWKS_COOL_DOWN:
            await self._refresh()
            found = self._pick(kid, algorithm)
        return found

    def _pick(self, kid: str | None, algorithm: str) -> Key | None:
        usable = [k for k in self._keys if _may_verify(k, algorithm)]
        if kid is not None:
            usable = [k for k in usable if k.get("kid") == kid]
        return usable[0] if len(usable) == 1 else None

    async def _refresh(self) -> None:
        async with self._lock:
            if self._clock() - self._tried < JWKS_COOL_DOWN:
                return
            self._tried = self._clock()
            try:
                read = KeySet.import_key_set(json.loads(await self._fetch(self._url)))
            except (JoseError, ValueError, KeyError, TypeError, RecursionError, Unavailable) as why:
                log.warning("issuer_keys_unavailable", url=self._url, reason=str(why))
                return
            self._keys = tuple(k for k in read.keys if not isinstance(k, OctKey))
            self._fetched = self._clock()


async def fetch_public_keys(url: str) -> bytes:
    """The body at `url`, at most 256 KiB. Raises Unavailable. Plain http is for this machine only."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise Unavailable(f"identity.jwks_url {url} must use https")
    try:
        async with httpx.AsyncClient(timeout=5.0, follow_redirects=False) as client, client.stream("GET", url) as answer:
            answer.raise_for_status()
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > JWKS_MAX_BYTES:
                    raise Unavailable(f"identity.jwks_url {url} answers more than {JWKS_MAX_BYTES} bytes")
            return body
    except httpx.HTTPError as why:
        raise Unavailable(f"identity.jwks_url {url} cannot be read: {type(why).__name__}") from why


def _look_at(token: str) -> tuple[dict[str, Any], str]:
    """Header and claimed issuer of a token that has exactly the canonical compact form. Raises ValueError."""
    if len(token) > MAX_TOKEN_CHARS or not _SHAPE.fullmatch(token):
        raise ValueError("not a compact token")
    head, body, signature = (_canonical(part) for part in token.split("."))
    header, claims = json.loads(head), json.loads(body)
    if not isinstance(header, dict) or not isinstance(claims, dict) or not signature:
        raise ValueError("header and claims must be objects")
    if _FOREIGN_HEADERS & header.keys():
        raise ValueError("the header tries to choose its own key")
    kid = header.get("kid")
    if not isinstance(header.get("alg"), str) or not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= 256)):
        raise ValueError("alg and kid must be texts")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise ValueError("not an identity or access token")
    return header, str(claims.get("iss"))


def _canonical(part: str) -> bytes:
    raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return raw


def _verified(token: str, key: Key | None, trust: Trust, now: float) -> dict[str, Any]:
    if key is None:
        raise ValueError("no key for this token")
    claims = dict(jwt.decode(token, key, algorithms=sorted(trust.algorithms)).claims)
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name} is not a time")
    rules = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": trust.issuer},
        aud={"essential": True, "value": trust.audience},
        sub={"essential": True},
        exp={"essential": True},
    )
    rules.validate(claims)
    if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp", trust.audience) != trust.audience:
        raise ValueError("the token was issued to another party")
    if not claims["sub"].strip() or len(claims["sub"]) > 256 or _CONTROL.search(claims["sub"]):
        raise ValueError("sub is not a usable id")
    return claims


def _shared_secret(variable: str) -> Callable[[str | None, str], Awaitable[Key | None]]:
    async def find(_kid: str | None, _algorithm: str) -> Key | None:
        secret, missing = expand("${" + variable + "}") if variable else ("", ("",))
        if missing or len(secret) < 16:
            log.warning("identity_secret_missing", variable=variable)
            return None
        return OctKey.import_key(secret.encode())

    return find


def _may_verify(key: Key, algorithm: str) -> bool:
    if key.get("use") not in (None, "sig") or key.get("alg") not in (None, algorithm):
        return False
    kinds = {"R": "RSA", "P": "RSA", "E": "OKP" if algorithm.startswith("Ed") else "EC"}
    return key.key_type == kinds.get(algorithm[0])
