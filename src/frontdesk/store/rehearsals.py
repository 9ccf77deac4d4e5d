"""Rehearsals of one tenant: the plan of each run, and every conversation's newest state. Knows nothing of what a talk holds."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import Conflict, NotFound
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

_SQL = load("rehearsals")
PAGE = 200


@dataclass(frozen=True, kw_only=True)
class RehearsalRow:
    """One run. `plan` is what it takes to repeat it; `wanted` how many conversations it has."""

    id: str
    plan: Mapping[str, Any]
    wanted: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TalkRow:
    """One conversation as it stands. `outcome` and `passed` are None while it goes on."""

    number: int
    scenario: str
    outcome: str | None
    passed: bool | None
    faults: tuple[str, ...]
    talk: Mapping[str, Any]
    conversation: str | None = None


class Rehearsals:
    """The rehearsals of one tenant. Every method is one transaction. All raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def begin(self, id: str, plan: Mapping[str, Any], wanted: int) -> None:
        """Record a run before its first conversation. Raises Conflict when the id is taken."""
        try:
            await self._database.run(self._tenant, self._step("begin", id=id, plan=json_text(plan), wanted=wanted))
        except psycopg.errors.UniqueViolation as error:
            raise Conflict(f"there is a rehearsal {id} already: go on with --resume {id}, or choose another name") from error

    async def finish(self, id: str) -> None:
        """Record that a run has all its conversations."""
        await self._database.run(self._tenant, self._step("finish", id=id))

    async def one(self, id: str) -> RehearsalRow:
        """A run. Raises NotFound."""
        (rows,) = await self._database.read(self._tenant, self._step("one", id=id))
        if not rows:
            raise NotFound(f"there is no rehearsal {id!r} of {self._tenant}: `frontdesk rehearse report` without a name lists them")
        return RehearsalRow(**rows[0]._asdict())

    async def list(self, *, limit: int = 50) -> builtins.list[RehearsalRow]:
        """Runs, the newest first."""
        (rows,) = await self._database.read(self._tenant, self._step("list", limit=limit))
        return [RehearsalRow(**row._asdict()) for row in rows]

    async def keep(self, id: str, talks: Sequence[TalkRow]) -> None:
        """Write the newest state of conversations, all in one transaction."""
        rows = [
            {
                "number": t.number,
                "scenario": t.scenario,
                "outcome": t.outcome,
                "passed": t.passed,
                "faults": list(t.faults),
                "conversation": t.conversation,
                "talk": t.talk,
            }
            for t in talks
        ]
        await self._database.run(self._tenant, self._step("keep", id=id, rows=json_text(rows)))

    async def talks(self, id: str, *, open: bool | None = None) -> AsyncIterator[TalkRow]:
        """Conversations in order of number, read page by page; only unfinished or only finished ones when asked."""
        after = -1
        while True:
            (rows,) = await self._database.read(self._tenant, self._step("talks", id=id, after=after, open=open, limit=PAGE))
            for row in rows:
                yield TalkRow(**{**row._asdict(), "faults": tuple(row.faults)})
            if len(rows) < PAGE:
                return
            after = rows[-1].number

    async def ended(self, id: str) -> frozenset[int]:
        """Numbers of the conversations that have an outcome."""
        (rows,) = await self._database.read(self._tenant, self._step("ended", id=id))
        return frozenset(row.number for row in rows)

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}
