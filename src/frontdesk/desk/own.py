"""The customer's own records, looked into for what a message names: a pet, a boat, an order by what is in it. Reads only, for the verified customer only."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from frontdesk.desk.acting import read
from frontdesk.desk.elicitation import amounts_in, missing, provider_of, records_of, sums_in, values_in
from frontdesk.desk.everyday import alike
from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.matter import Matter
from frontdesk.desk.wishes import AUTHOR, asks_somewhere, is_order
from frontdesk.tools.dates import find_days
from frontdesk.tools.operation import Operation
from frontdesk.tools.selection import Mood, mood_of
from frontdesk.tools.slots import vocabulary

MOST_READS = 4
"""Lists of the customer's that are looked through for one message."""
LIKELY = 0.01
"""How likely a message must be about an operation for its records to be looked into."""
DAY = 0.75
"""Confidence of a day that can tell one record from others."""
LEAST_WORD = 4
"""Letters of a word that can tell one record from others."""
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")
"""A name inside a sentence, perhaps of something that the customer has here."""


async def holds(turn: Matter, operation: Operation, name: str) -> bool:
    """Whether the customer's own records hold a name: then it names no other person. At most the operation's own read and those that it needs."""
    wanted = stem(name.lower())
    for own in _own_reads(turn, operation)[:MOST_READS]:
        outcome = await read(turn, own, {})
        if outcome.ok and wanted in words_of_result(outcome.data):
            return True
    return False


def _own_reads(turn: Matter, operation: Operation) -> list[Operation]:
    """Reads of the customer's own records that have to do with an operation: itself, what gives its arguments, and the profile."""
    catalog = turn.box.catalog
    near = [operation, *(p for a in operation.required if (p := provider_of(catalog, operation, a, {})) is not None)]
    profile = catalog.get(str(turn.briefing.tenant.profile.get("operation", "")))
    others = [o for o in catalog.usable if o.bound]
    wanted = [*near, *([profile] if profile else []), *others]
    return list({o.name: o for o in wanted if o.bound and not o.writes and not o.required and o.run is None}.values())


async def among_own(turn: Matter, text: str, among: Collection[Operation] = ()) -> Operation | None:
    """The read of the customer's own records that holds something which a question names in its own words; None for what is no such question.

    `among`: only these are looked into, in their order. Raises ModelUnavailable.
    """
    if among:
        return await _holding(turn, text, list(among))
    own = AUTHOR.search(text) or _NAME.search(text)
    personal = (
        own is not None and asks_somewhere(text) and not is_order(text) and not (mood_of(text) is Mood.WONDER and AUTHOR.search(text))
    )
    ranked = await turn.box.selector.rank(text, today=turn.today) if personal else []
    lists = [
        c.operation for c in ranked if c.operation.bound and not c.operation.writes and not missing(c.operation, {}) and c.score >= LIKELY
    ]
    return await _holding(turn, text, lists)


async def _holding(turn: Matter, text: str, lists: Sequence[Operation]) -> Operation | None:
    """Whichever read gives the record that shares most with a text; None where none shares anything."""
    best: tuple[int, Operation] | None = None
    days = {d.value.isoformat() for d in find_days(text, turn.today) if d.value and d.confidence >= DAY}
    sums = sums_in(text)
    for operation in lists[:MOST_READS]:
        telling = alike({w for w in content_words(text) if len(w) >= LEAST_WORD} - vocabulary(operation))
        outcome = await read(turn, operation, {}) if telling or days or sums else None
        rows = records_of(outcome.data) if outcome is not None and outcome.ok else []
        shared = max((_shared(row, telling, days, sums) for row in rows), default=0)
        if shared and (best is None or shared > best[0]):
            best = shared, operation
    return best[1] if best is not None else None


def _shared(row: Any, telling: frozenset[str], days: Collection[str], sums: frozenset[Decimal]) -> int:
    """How many of a message's own words, days and amounts of money stand in a record."""
    texts = [v for v in values_in(row) if isinstance(v, str)]
    dated = sum(1 for day in days if any(v.startswith(day) for v in texts))
    return len(telling & alike(words_of_result(texts))) + dated + len(sums & amounts_in(row))


def words_of_result(result: Any) -> frozenset[str]:
    """Stems of the words that stand in an answer."""
    return frozenset(stem(w) for w in re.findall(r"[^\W\d_]+", str(result)[:20_000].lower()))
