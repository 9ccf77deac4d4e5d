"""Accounts of the staff and their sessions, for the whole installation. Knows passwords only as scrypt hashes and sessions as SHA-256.

A session is a random token in a signed cookie (`open_session`, `session`); whoever signs somebody in (a password form, an OpenID Connect
client) ends with `open_session`. Ending a session, disabling an account or changing its role works at once.
"""

from __future__ import annotations

import base64
import builtins
import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frontdesk.domain.staff import Staff, StaffRole
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput, Conflict, NotAuthenticated, NotFound
from frontdesk.store.database import Database, Step
from frontdesk.store.queries import load

EVERYBODY = TenantId("*")
"""Under which accounts and sessions stand; no tenant folder can be called so."""
COOKIE = "frontdesk_staff"
SESSION_SECONDS = 12 * 3600
SHORTEST, LONGEST = 10, 200
"""Characters of a password."""
LOCAL, OIDC = "password", "openid"
"""How somebody signed in."""

_SQL = load("staff")
_WORK = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26}
REFUSED = "The name or the password is not right."


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account without its password. `local`: it has one."""

    name: str
    role: StaffRole
    tenants: tuple[str, ...]
    local: bool
    created_at: datetime
    disabled_at: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who is signed in. `must_change`: the password was given to them and has to be changed first."""

    staff: Staff
    way: str
    expires_at: datetime
    must_change: bool


class StaffAccounts:
    """All methods raise StoreUnavailable. Hashing a password takes a tenth of a second of CPU: call `hashed` and `matches` in a thread."""

    def __init__(self, database: Database, secret: bytes) -> None:
        """`secret` signs cookies."""
        self._database = database
        self._secret = hashlib.sha256(b"frontdesk staff session" + secret).digest()

    async def add(self, name: str, role: StaffRole, *, password: str, tenants: Collection[TenantId] = (), must_change: bool = True) -> None:
        """A local account; `password` is a hash from `hashed`. Raises BadInput and Conflict."""
        row = {"name": checked_name(name), "role": role.value, "tenants": sorted(tenants), "password": password, "must_change": must_change}
        if not (await self._run(self._step("add", **row)))[0]:
            raise Conflict(f"there is an account {name!r} already: choose another name, or give it a new password")

    async def admit(self, name: str, role: StaffRole, *, tenants: Collection[TenantId] = ()) -> None:
        """An account of somebody whom another authority vouches for, made or brought up to date. Local accounts are left as they are.

        Raises Conflict for the name of a local account, NotAuthenticated for a disabled one.
        """
        (rows,) = await self._run(self._step("admit", name=checked_name(name), role=role.value, tenants=sorted(tenants)))
        if not rows:
            raise Conflict(f"{name!r} is a local account with a password: sign in with that, or rename the account")
        if rows[0].disabled_at is not None:
            raise NotAuthenticated("This account is disabled.")

    async def list(self) -> builtins.list[Account]:
        """All accounts, by name."""
        (rows,) = await self._database.read(EVERYBODY, self._step("list"))
        return [Account(**{**r._asdict(), "role": StaffRole(r.role), "tenants": tuple(r.tenants)}) for r in rows]

    async def change(self, name: str, *, role: StaffRole | None = None, tenants: Collection[TenantId] | None = None) -> None:
        """Another role, or other tenants. Raises NotFound."""
        step = self._step("change", name=name, role=role and role.value, tenants=None if tenants is None else sorted(tenants))
        self._must((await self._run(step))[0], name)

    async def set_password(self, name: str, password: str, *, must_change: bool = False) -> None:
        """Another password (a hash from `hashed`); every session of the account ends. Raises NotFound."""
        steps = self._step("password", name=name, password=password, must_change=must_change), self._step("sign_out_everywhere", name=name)
        self._must((await self._run(*steps))[0], name)

    async def disable(self, name: str, *, disabled: bool = True) -> None:
        """Keep somebody out, or let them in again; every session ends. Raises NotFound."""
        steps = self._step("disable", name=name, disabled=disabled), self._step("sign_out_everywhere", name=name)
        self._must((await self._run(*steps))[0], name)

    async def stored(self, name: str) -> str:
        """The password hash of an account; empty when there is none. Compare with `matches`."""
        (rows,) = await self._database.read(EVERYBODY, self._step("find", name=name))
        return str(rows[0].password) if rows else ""

    async def open_session(self, name: str, *, way: str = LOCAL, seconds: float = SESSION_SECONDS) -> str:
        """Sign somebody in; the value of the cookie. Set it HttpOnly, SameSite=Lax, Path=/console, and Secure over HTTPS."""
        token = secrets.token_urlsafe(32)
        step = self._step("open_session", digest=_digest(token), name=name, way=way, seconds=seconds)
        await self._run(self._step("tidy"), self._step("seen", name=name), step)
        return f"{token}.{self._signed(token)}"

    async def session(self, cookie: str | None) -> Session | None:
        """Who is signed in with this cookie; None for nobody, an expired session, a forged cookie, a disabled account."""
        token = self._token(cookie)
        if token is None:
            return None
        (rows,) = await self._database.read(EVERYBODY, self._step("session", digest=_digest(token)))
        if not rows:
            return None
        row = rows[0]
        staff = Staff(name=row.name, role=StaffRole(row.role), tenants=frozenset(TenantId(t) for t in row.tenants))
        return Session(staff=staff, way=row.way, expires_at=row.expires_at, must_change=row.must_change)

    async def close_session(self, cookie: str | None) -> None:
        """Sign out."""
        if (token := self._token(cookie)) is not None:
            await self._run(self._step("close_session", digest=_digest(token)))

    def _token(self, cookie: str | None) -> str | None:
        token, dot, signature = (cookie or "").rpartition(".")
        return token if dot and hmac.compare_digest(signature.encode(), self._signed(token).encode()) else None

    def _signed(self, token: str) -> str:
        return hmac.new(self._secret, token.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    @staticmethod
    def _must(rows: Any, name: str) -> None:
        if not rows:
            raise NotFound(f"there is no account {name!r}: `frontdesk operators list` shows those there are")

    async def _run(self, *steps: Step) -> builtins.list[builtins.list[Any]]:
        return await self._database.run(EVERYBODY, *steps)

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": EVERYBODY, **parameters}


def checked_name(name: str) -> str:
    """A name that can be an account's. Raises BadInput."""
    if not 0 < len(name) <= 100 or not name.isprintable() or name != name.strip():
        raise BadInput("an account's name has 1 to 100 printable characters, such as sam or sam@example.com")
    return name


def hashed(password: str) -> str:
    """What is kept of a password (scrypt, 32 MiB, own salt). Raises BadInput for one that is too short."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"a password has {SHORTEST} to {LONGEST} characters: take a few words")
    salt = secrets.token_bytes(16)
    return f"scrypt${_WORK['n']}${_text(salt)}${_text(_scrypt(password, salt, _WORK['n']))}"


def matches(password: str, stored: str) -> bool:
    """Whether this is the password. Takes as long for an account that does not exist (`stored` empty)."""
    kind, n, salt, digest = stored.split("$") if stored.count("$") == 3 else ("", str(_WORK["n"]), _text(b"no account here!"), "")
    made = _scrypt(password[:LONGEST], base64.urlsafe_b64decode(salt), int(n))
    return kind == "scrypt" and hmac.compare_digest(_text(made), digest)


def one_time_password() -> str:
    """A password to hand over: 80 random bits that can be read aloud."""
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def _scrypt(password: str, salt: bytes, n: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=n, r=_WORK["r"], p=_WORK["p"], maxmem=_WORK["maxmem"], dklen=32)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
