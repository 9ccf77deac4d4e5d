"""What staff have in hand for one tenant: drafts that survive a reload, and the versions of files that were edited in the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import NotFound
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

_SQL = load("desk_work")


@dataclass(frozen=True, kw_only=True)
class FileVersion:
    """One version of a file of the tenant's folder. `bytes` None: it was taken away."""

    path: str
    version: int
    at: datetime
    actor: str
    note: str
    bytes: int | None


class DeskWork:
    """All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def put_draft(self, name: str, about: str, body: Mapping[str, Any], *, conversation: ConversationId | None = None) -> None:
        """Keep what somebody writes. It goes with the conversation. Raises NotFound when that is gone."""
        text = json_text(dict(body))
        try:
            await self._database.run(self._tenant, self._step("put_draft", name=name, about=about, conversation=conversation, body=text))
        except psycopg.errors.ForeignKeyViolation as error:
            raise NotFound("no such conversation") from error

    async def draft(self, name: str, about: str) -> Mapping[str, Any]:
        """What somebody was writing; empty when nothing."""
        (rows,) = await self._database.read(self._tenant, self._step("get_draft", name=name, about=about))
        return rows[0].body if rows else {}

    async def drop_draft(self, name: str, about: str) -> None:
        """It was sent, published or thrown away."""
        await self._database.run(self._tenant, self._step("drop_draft", name=name, about=about))

    async def add_version(self, path: str, content: bytes | None, *, actor: str, note: str = "") -> int:
        """Record a file's new content (None: taken away); its version, from 1."""
        step = self._step("add_version", path=path, content=content, actor=actor, note=note)
        results = await self._database.run(self._tenant, self._step("lock"), step)
        return int(results[1][0].version)

    async def versions(self, path: str | None = None, *, limit: int = 200) -> list[FileVersion]:
        """Versions of one file, or of all, the newest first."""
        (rows,) = await self._database.read(self._tenant, self._step("versions", path=path, limit=limit))
        return [FileVersion(**row._asdict()) for row in rows]

    async def content(self, path: str, version: int) -> bytes | None:
        """A version's content. Raises NotFound."""
        (rows,) = await self._database.read(self._tenant, self._step("content", path=path, version=version))
        if not rows:
            raise NotFound(f"{path} has no version {version}")
        return None if rows[0].content is None else bytes(rows[0].content)

    async def newest(self, path: str) -> bytes | None:
        """The newest content that was recorded; None when nothing was, or the file was taken away."""
        (rows,) = await self._database.read(self._tenant, self._step("newest", path=path))
        return bytes(rows[0].content) if rows and rows[0].content is not None else None

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}
