"""What one turn looks up in the tenant's sources: each text once, and begun before it is needed. Keeps nothing after the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.reading import Evidence, Reader
from frontdesk.desk.signs import Question
from frontdesk.domain.knowledge import Hit
from frontdesk.domain.tenancy import TenantId
from frontdesk.knowledge.library import Library

PASSAGES = 12
"""Passages that are read for one question."""
_Key = tuple[TenantId, str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a tenant's sources hold for one text, the likeliest answer first."""

    question: Question
    hits: Sequence[Hit]
    ranked: Sequence[Evidence]


class Lookup:
    """The searches of one turn, for a `with`: what is still being searched for at its end is needed no more."""

    def __init__(self, reader: Reader, library: Library) -> None:
        self._reader = reader
        self._library = library
        self._searching: dict[_Key, asyncio.Task[tuple[Question, list[Hit]]]] = {}
        self._found: dict[_Key, Found] = {}

    def begin(self, tenant: TenantId, *texts: str) -> None:
        """Searches while the desk waits for something else. What goes wrong is raised by `read`."""
        for text in texts:
            if (tenant, text) not in self._searching:
                task = self._searching[tenant, text] = asyncio.create_task(self._search(tenant, text))
                task.add_done_callback(_looked_at)

    async def read(self, tenant: TenantId, text: str, lexicon: Lexicon) -> Found:
        """What the tenant's sources hold for a text. Raises StoreUnavailable and ModelUnavailable."""
        if (tenant, text) not in self._found:
            self.begin(tenant, text)
            question, hits = await self._searching[tenant, text]
            ranked = await self._reader.read(question, [h.passage for h in hits], lexicon)
            self._found[tenant, text] = Found(question=question, hits=hits, ranked=ranked)
        return self._found[tenant, text]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._searching.values():
            task.cancel()

    async def _search(self, tenant: TenantId, text: str) -> tuple[Question, list[Hit]]:
        question = await self._reader.question(text)
        return question, await self._library.search(tenant, text, limit=PASSAGES, vector=question.search)


def _looked_at(task: asyncio.Task[tuple[Question, list[Hit]]]) -> None:
    """A search that nobody waits for any more may fail in silence."""
    if not task.cancelled():
        task.exception()
