"""What a customer may ask of one tenant's database: see what was derived, and have conversations erased wherever a table holds a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.tenancy import CustomerId, TenantId
from frontdesk.store.database import Database, Step
from frontdesk.store.queries import load

_SQL = load("rights")


class Rights:
    """The rights of one tenant's customers. Every method is one transaction. All raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def conversations(
        self,
        *,
        customer: CustomerId | None = None,
        id: ConversationId | None = None,
        older_than_days: int | None = None,
        limit: int = 200,
    ) -> list[ConversationId]:
        """Conversations of a customer, one by its id, or all without activity for so many days; the oldest first."""
        step = self._step("ids", customer=customer, id=id, days=older_than_days, limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [ConversationId(row.id) for row in rows]

    async def older(self, days: int) -> int:
        """How many conversations had no activity for so many days."""
        (rows,) = await self._database.read(self._tenant, self._step("count_old", days=days))
        return int(rows[0].number)

    async def derived(self, ids: Sequence[ConversationId]) -> list[tuple[str, Mapping[str, Any]]]:
        """What was worked out from conversations: (tone, score, label, ledger or gap; the row)."""
        (rows,) = await self._database.read(self._tenant, self._step("derived", ids=list(ids)))
        return [(row.kind, row.body) for row in rows]

    async def proposed(self, ids: Sequence[ConversationId]) -> list[str]:
        """Questions that were taken from these conversations to learn from."""
        (rows,) = await self._database.read(self._tenant, self._step("proposed", ids=list(ids)))
        return [str(row.question) for row in rows]

    async def erase(self, ids: Sequence[ConversationId]) -> dict[str, int]:
        """Delete conversations for good with everything that copies or describes them; table -> rows that went."""
        names = ("counts", "erase_rehearsed", "erase_proposals", "erase")
        counted, *rest = await self._database.run(self._tenant, *(self._step(name, ids=list(ids)) for name in names))
        rehearsed, proposals, conversations = (int(rows[0].number) for rows in rest)
        places = {row.place: int(row.number) for row in counted}
        return {"conversations": conversations, **places, "rehearsed": rehearsed, "proposals": proposals}

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}
