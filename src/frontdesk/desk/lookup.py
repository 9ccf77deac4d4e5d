"""What one turn looks up in the tenant's sources: each text once, and begun before it is needed. Keeps nothing after the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from frontdesk.desk.briefing import Briefing
from frontdesk.desk.reading import Evidence, Reader
from frontdesk.desk.shelf import joined
from frontdesk.desk.signs import Question
from frontdesk.domain.knowledge import Hit
from frontdesk.domain.tenancy import TenantId
from frontdesk.knowledge.library import Library

PASSAGES = 14
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

    def begin(self, briefing: Briefing, *texts: str) -> None:
        """Searches while the desk waits for something else. What goes wrong is raised by `read`."""
        tenant = briefing.tenant.id
        for text in texts:
            if (tenant, text) not in self._searching:
                task = self._searching[tenant, text] = asyncio.create_task(self._search(briefing, text))
                task.add_done_callback(_looked_at)

    async def read(self, briefing: Briefing, text: str) -> Found:
        """What the tenant's sources hold for a text. Raises StoreUnavailable and ModelUnavailable."""
        tenant = briefing.tenant.id
        if (tenant, text) not in self._found:
            self.begin(briefing, text)
            question, hits = await self._searching[tenant, text]
            ranked = await self._reader.read(question, [h.passage for h in hits], briefing.lexicon)
            self._found[tenant, text] = Found(question=question, hits=hits, ranked=ranked)
        return self._found[tenant, text]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._searching.values():
            task.cancel()

    async def _search(self, briefing: Briefing, text: str) -> tuple[Question, list[Hit]]:
        """The question, and the passages that search and shelf find for it. What left the sources meanwhile is on neither."""
        tenant = briefing.tenant.id
        question = await self._reader.question(text)
        near = [Hit(passage=p, score=c, cosine=c, words=0.0) for p, c in briefing.shelf.nearest(question.vector, PASSAGES)]
        found, current = await asyncio.gather(
            self._library.search(tenant, text, limit=PASSAGES, vector=question.search),
            self._library.current(tenant, [hit.passage.id for hit in near]),
        )
        return question, joined([hit for hit in near if hit.passage.id in current], found, lambda hit: hit.passage.id)[:PASSAGES]


def _looked_at(task: asyncio.Task[tuple[Question, list[Hit]]]) -> None:
    """A search that nobody waits for any more may fail in silence."""
    if not task.cancelled():
        task.exception()
