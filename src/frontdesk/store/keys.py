"""API keys of one tenant. A key is shown once; the database holds its SHA-256, which 256 random bits make safe without a slow hash."""

from __future__ import annotations

import builtins
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frontdesk.domain.tenancy import KeyId, Role, TenantId
from frontdesk.errors import NotAuthenticated, NotFound
from frontdesk.store.database import Database, Step
from frontdesk.store.queries import load

_SQL = load("keys")
_SHAPE = re.compile(r"fd_(?P<tenant>[^\s]{1,120})_(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)
_PREFIX = 8
_REFUSED = "the API key is unknown or revoked: create one with `frontdesk keys create TENANT`"


@dataclass(frozen=True, kw_only=True)
class KeyInfo:
    """A key without its secret."""

    id: KeyId
    role: Role
    label: str
    created_at: datetime
    revoked_at: datetime | None


class Recent:
    """Keys verified a moment ago, by hash. A revoked key lives on here for at most `seconds`."""

    def __init__(self, *, seconds: float = 2.0, size: int = 4096, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._rows: OrderedDict[bytes, tuple[float, tuple[KeyId, Role]]] = OrderedDict()

    def get(self, digest: bytes) -> tuple[KeyId, Role] | None:
        """A key that was verified within `seconds`."""
        found = self._rows.get(digest)
        return found[1] if found is not None and found[0] > self._clock() else None

    def put(self, digest: bytes, key: tuple[KeyId, Role]) -> None:
        """Remember a verified key."""
        self._rows[digest] = (self._clock() + self._seconds, key)
        self._rows.move_to_end(digest)
        while len(self._rows) > self._size:
            self._rows.popitem(last=False)

    def clear(self) -> None:
        """Forget all, after a revocation."""
        self._rows.clear()


def tenant_of(secret: str) -> TenantId:
    """The tenant whose key this claims to be. Raises NotAuthenticated for what has not the shape of a key."""
    match = _SHAPE.fullmatch(secret)
    if match is None:
        raise NotAuthenticated("this is no frontdesk API key: send `Authorization: Bearer fd_…`")
    return TenantId(match["tenant"])


class Keys:
    """The keys of one tenant. All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId, recent: Recent) -> None:
        self._database = database
        self._tenant = tenant
        self._recent = recent

    async def create(self, role: Role, label: str = "") -> str:
        """A new key, `fd_<tenant>_<256 bits>`. It cannot be shown again."""
        random = secrets.token_urlsafe(32)
        secret = f"fd_{self._tenant}_{random}"
        prefix = random[:_PREFIX]
        row = {"id": f"key_{prefix}", "prefix": prefix, "hash": _digest(secret), "role": role.value, "label": label}
        await self._database.run(self._tenant, self._step("create", **row))
        return secret

    async def list(self) -> builtins.list[KeyInfo]:
        """All keys, revoked ones included, oldest first."""
        (rows,) = await self._database.read(self._tenant, self._step("list"))
        return [KeyInfo(**{**row._asdict(), "role": Role(row.role)}) for row in rows]

    async def revoke(self, key_id: KeyId) -> None:
        """End a key: here at once, in other processes within two seconds. Raises NotFound."""
        (rows,) = await self._database.run(self._tenant, self._step("revoke", id=key_id))
        self._recent.clear()
        if not rows:
            raise NotFound("no such key, or it is revoked already")

    async def verify(self, secret: str) -> tuple[KeyId, Role]:
        """The key behind a secret and what it may do. Raises NotAuthenticated."""
        if tenant_of(secret) != self._tenant:
            raise NotAuthenticated(_REFUSED)
        digest = _digest(secret)
        if (known := self._recent.get(digest)) is not None:
            return known
        prefix = secret[-43:][:_PREFIX]
        (rows,) = await self._database.read(self._tenant, self._step("find", prefix=prefix))
        for row in rows:
            if hmac.compare_digest(row.hash, digest):
                known = KeyId(row.id), Role(row.role)
                self._recent.put(digest, known)
                return known
        raise NotAuthenticated(_REFUSED)

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
