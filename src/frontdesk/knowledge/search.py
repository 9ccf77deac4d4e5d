"""From a customer's message to queries, and from hits to what stands around them. Ranks nothing by itself: the store does.

A long message says many things; one vector of all of it is near to nothing. It is asked sentence by sentence as well, and the ranks
are fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from frontdesk.domain.knowledge import Hit, Passage, PassageId, PassageKind
from frontdesk.knowledge.sentences import sentences
from frontdesk.knowledge.splitting import token_estimate
from frontdesk.store.knowledge import KnowledgeStore

LONG_TOKENS: Final = 60
"""From this length on a message is also asked in parts."""
_PART_TOKENS: Final = 12
DEPTH: Final = 50
"""Passages that each part hands to the fusion."""
_RANK: Final = 60


def parts(message: str) -> list[str]:
    """The message itself, and, when it is long, its sentences (very short ones together with the next)."""
    if token_estimate(message) < LONG_TOKENS:
        return [message]
    found: list[str] = []
    open_part = ""
    for sentence in sentences(message):
        open_part = f"{open_part} {sentence}".strip()
        if token_estimate(open_part) >= _PART_TOKENS:
            found.append(open_part)
            open_part = ""
    if open_part:
        found.append(open_part)
    return [message, *dict.fromkeys(found)]


def fused(rankings: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """One ranking out of one per part: reciprocal ranks added up; of each passage the best cosine and words are kept."""
    if len(rankings) == 1:
        return list(rankings[0][:limit])
    scores: dict[PassageId, float] = {}
    best: dict[PassageId, Hit] = {}
    for ranking in rankings:
        for place, hit in enumerate(ranking):
            id = hit.passage.id
            scores[id] = scores.get(id, 0.0) + 1.0 / (_RANK + place + 1)
            known = best.setdefault(id, hit)
            best[id] = replace(known, cosine=max(known.cosine, hit.cosine), words=max(known.words, hit.words))
    order = sorted(scores, key=lambda id: (-scores[id], id))
    return [replace(best[id], score=scores[id]) for id in order[:limit]]


async def surroundings(knowledge: KnowledgeStore, passage: Passage, *, around: int = 1) -> list[Passage]:
    """The passage with what belongs to it, in reading order: neighbours below the same heading, all parts of the same table.

    FAQ pairs stand alone.
    """
    if passage.kind is PassageKind.FAQ:
        return [passage]
    reach = around
    while True:
        near = await knowledge.neighbours(passage, around=reach)
        if passage.table is None or not _table_goes_on(near, passage, reach) or reach > 64:
            return _kin(near, passage, around)
        reach *= 4


def _table_goes_on(near: Sequence[Passage], passage: Passage, reach: int) -> bool:
    ends = [p for p in near if abs(p.ordinal - passage.ordinal) == reach]
    return any(_same_table(p, passage) for p in ends)


def _same_table(one: Passage, other: Passage) -> bool:
    if one.table is None or other.table is None or one.headings != other.headings:
        return False
    return one.table.header == other.table.header and one.table.caption == other.table.caption


def _kin(near: Iterable[Passage], passage: Passage, around: int) -> list[Passage]:
    section = [p for p in near if p.headings == passage.headings]
    whole = [p.ordinal for p in section if p.ordinal == passage.ordinal or _same_table(p, passage)]
    first, last = min(whole, default=passage.ordinal), max(whole, default=passage.ordinal)
    return [p for p in section if first - around <= p.ordinal <= last + around]
