"""Sign-in with an OpenID Connect provider: authorization code with PKCE, state and nonce, and an ID token that proves who came back.

Refuses providers that name another issuer than they are configured with, plain http beyond this machine, and ID tokens that were not made
for this client and this very attempt. Keeps no secret of a customer: the attempt travels in an encrypted cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from frontdesk.errors import BadCustomerToken, Unavailable
from frontdesk.server.auth import PublicKeys, Trust, fetch_public_keys, proved, public_algorithms

ATTEMPT_SECONDS = 600
DISCOVERY_SECONDS = 600.0
SCOPE = "openid email profile"
NOT_PROVED = "The sign-in could not be proved: it took too long, was begun elsewhere, or the provider answered something else. Try again."


@dataclass(frozen=True, kw_only=True)
class Client:
    """What a provider knows us as."""

    issuer: str
    client_id: str
    secret: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_url: str = ""
    """Empty: the one that the provider itself names."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One sign-in that was begun. `whose`: the tenant, or the staff; `back`: the path to lead to."""

    whose: str
    back: str
    state: str
    nonce: str
    verifier: str
    redirect: str
    ends: float


class Provider:
    """One provider, asked with one client. `fetch` reads a public document: the provider's description, its keys."""

    def __init__(
        self,
        client: Client,
        *,
        fetch: Callable[[str], Awaitable[bytes]] = fetch_public_keys,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._fetch = fetch
        self._now = now
        self._described: Mapping[str, Any] = {}
        self._read = -math.inf
        self._keys: dict[str, PublicKeys] = {}

    async def begin(self, *, whose: str, back: str, redirect: str) -> tuple[str, Attempt]:
        """Where to send the browser, and what must come back. Raises Unavailable."""
        described = await self._description()
        attempt = Attempt(
            whose=whose,
            back=local(back),
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            redirect=redirect,
            ends=self._now() + ATTEMPT_SECONDS,
        )
        asked = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": redirect,
            "scope": SCOPE,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": create_s256_code_challenge(attempt.verifier),  # type: ignore[no-untyped-call]
            "code_challenge_method": "S256",
        }
        address = str(described["authorization_endpoint"])
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}", attempt

    async def finish(self, attempt: Attempt, *, state: str, code: str, issuer: str = "") -> dict[str, Any]:
        """The claims of whoever came back. `issuer`: what the answer says of itself, where it does. Raises BadCustomerToken, Unavailable."""
        described = await self._description()
        same = hmac.compare_digest(state.encode(), attempt.state.encode())
        if not same or not code or attempt.ends < self._now() or issuer not in ("", self._client.issuer):
            raise BadCustomerToken(NOT_PROVED)
        token = await self._exchanged(str(described["token_endpoint"]), attempt, code)
        claims = await proved(token, self._trust(described), self._now())
        said = str(claims.get("nonce", ""))
        if (
            not hmac.compare_digest(said.encode(), attempt.nonce.encode())
            or claims.get("azp", self._client.client_id) != self._client.client_id
        ):
            raise BadCustomerToken(NOT_PROVED)
        return claims

    async def _exchanged(self, endpoint: str, attempt: Attempt, code: str) -> str:
        _must_be_safe(endpoint)
        client = AsyncOAuth2Client(
            self._client.client_id,
            self._client.secret or None,
            token_endpoint_auth_method="client_secret_basic" if self._client.secret else "none",
            timeout=10.0,
            trust_env=False,
        )
        async with client:
            try:
                answer = await client.fetch_token(
                    endpoint, grant_type="authorization_code", code=code, code_verifier=attempt.verifier, redirect_uri=attempt.redirect
                )
            except (AuthlibBaseError, httpx.HTTPStatusError, ValueError, KeyError) as why:
                raise BadCustomerToken(NOT_PROVED) from why
            except httpx.HTTPError as why:
                raise Unavailable(f"the sign-in at {self._client.issuer} cannot be reached: {type(why).__name__}") from why
        return str(answer.get("id_token", ""))

    def _trust(self, described: Mapping[str, Any]) -> Trust:
        address = self._client.jwks_url or str(described.get("jwks_uri", ""))
        keys = self._keys.setdefault(address, PublicKeys(address, fetch=self._fetch))
        return Trust(
            issuer=self._client.issuer,
            audience=self._client.client_id,
            algorithms=public_algorithms(self._client.algorithms),
            find=keys.find,
        )

    async def _description(self) -> Mapping[str, Any]:
        if self._now() - self._read < DISCOVERY_SECONDS:
            return self._described
        _must_be_safe(self._client.issuer)
        try:
            found = json.loads(await self._fetch(f"{self._client.issuer.rstrip('/')}/.well-known/openid-configuration"))
            right = found["issuer"] == self._client.issuer and all(
                isinstance(found[n], str) for n in ("authorization_endpoint", "token_endpoint")
            )
        except (ValueError, KeyError, TypeError) as why:
            raise Unavailable(f"{self._client.issuer} does not describe itself as OpenID Connect asks: check `issuer`") from why
        if not right:
            raise Unavailable(f"the provider at {self._client.issuer} calls itself something else: write the issuer as it does")
        _must_be_safe(found["authorization_endpoint"])
        self._described, self._read = found, self._now()
        return self._described


class Providers:
    """The providers of all tenants and of the staff, each made once."""

    def __init__(self) -> None:
        self._made: dict[Client, Provider] = {}

    def of(self, client: Client) -> Provider:
        """The provider that this client signs in at."""
        return self._made.setdefault(client, Provider(client))


def sealed(attempt: Attempt, secret: bytes) -> str:
    """The attempt as a cookie that only this installation can read."""
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, json.dumps(asdict(attempt)).encode(), _key(secret))


def unsealed(cookie: str | None, secret: bytes) -> Attempt:
    """What `sealed` made. Raises BadCustomerToken."""
    try:
        return Attempt(**json.loads(jwe.decrypt_compact(cookie or "", _key(secret), algorithms=["dir", "A256GCM"]).plaintext or b""))
    except (JoseError, ValueError, TypeError) as why:
        raise BadCustomerToken(NOT_PROVED) from why


def local(back: str) -> str:
    """A path on this server, else its start: nobody is led away after signing in."""
    fine = back.startswith("/") and not back.startswith("//") and "\\" not in back and back.isprintable() and len(back) <= 500
    return back if fine else "/"


def _key(secret: bytes) -> OctKey:
    return OctKey.import_key(hashlib.sha256(b"frontdesk sign-in attempt" + secret).digest())


def _must_be_safe(address: str) -> None:
    host = httpx.URL(address)
    if host.scheme != "https" and host.host not in ("localhost", "127.0.0.1", "::1"):
        raise Unavailable(f"{address} must use https: plain http is for a provider on this machine only")
