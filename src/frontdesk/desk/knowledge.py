"""Answers from documents: the sentence that says it, with what it leans on; or the cell of a table, with its row and column named.

Quotes word for word. A cell is said as "row, column: value", since a table has no sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.quantities import Dimension, quantities
from frontdesk.desk.reading import Evidence, Question
from frontdesk.desk.units import Unit, UnitKind, units_of
from frontdesk.domain.conversation import Route
from frontdesk.domain.knowledge import Citation, Passage

COMPANION = 0.2
"""Share of the best probability from which another unit of the same place is said too."""
LEAST = 0.05
FAINT = 0.004
"""Below this the next sentence is about something else."""
SHORT = 60
"""Characters below which a sentence rarely says all: the next one is looked at."""
MOST_AMOUNTS = 5
"""More amounts than that are a list to search in, not an answer."""
_LEANS = re.compile(
    r"^(?:it|they|this|that|these|those|he|she|later|otherwise|anything|then|both|such|in (?:that|this|each|either) case|"
    r"there (?:is|are) no such|the (?:same|limit|credit|fee|charge|amount|price|form|rest|latter|former)|after (?:that|this)|before (?:that|this)|in addition|"
    r"however|but|or|and|also|nor|neither)\b",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+")
_COUNTED = re.compile(
    r"^(?:then )?(?:seconds|minutes|hours|days|nights|weeks|months|years|points|miles|kilometres|people|guests|users|seats|pieces|items|pages)\b",
    re.IGNORECASE,
)
"""Headers that name a unit: "Weeks of rest" over "6" is said as "6 weeks of rest"."""
_PLAIN_COLUMN = re.compile(r"^(?:amount|price|value|fee|cost|charge|rule|details?|description|limit|notes?|answer|what)$", re.IGNORECASE)


def from_documents(question: Question, ranked: Sequence[Evidence]) -> Draft:
    """A draft from the best evidence and what belongs to it. `ranked` holds only units of documents, the likeliest first."""
    best = ranked[0]
    chosen = _cells(question, ranked) if best.unit.kind is UnitKind.CELL else _sentences(question, ranked)
    sentences = tuple(_sentence(text, proof, unit) for text, proof, unit in chosen)
    return Draft(route=Route.KNOWLEDGE, sentences=sentences, confidence=best.probability, citations=tuple(_citations(chosen)))


Chosen = list[tuple[str, str, Unit]]


def _sentence(text: str, proof: str, unit: Unit) -> Sentence:
    stiff = unit.kind is UnitKind.CELL
    return Sentence(text=text, proofs=(proof,), stiff=stiff, needed=f"{unit.row} {unit.column} {unit.value}" if stiff else "")


def _sentences(question: Question, ranked: Sequence[Evidence]) -> Chosen:
    best = ranked[0]
    siblings = {u.place: u for u in units_of(best.unit.passage) if u.kind is UnitKind.SENTENCE}
    chances = {
        e.unit.place: e.probability for e in ranked if e.unit.passage.id == best.unit.passage.id and e.unit.kind is UnitKind.SENTENCE
    }
    wanted = [best.unit.place]
    likely = sorted((p for p in chances if p != best.unit.place), key=lambda p: -chances[p])
    wanted += [p for p in likely if chances[p] >= max(LEAST, COMPANION * best.probability)][:1]
    following = best.unit.place + 1
    unfinished = question.expected - _held(best.unit.quote) if question.expected else len(best.unit.quote) < SHORT
    if following in siblings and following not in wanted and unfinished and chances.get(following, 0.0) > FAINT:
        wanted.append(following)
    places = _with_support(siblings, [p for p in wanted if p in siblings])
    while len(places) > 1 and sum(len(quantities(siblings[p].quote)) for p in places) > MOST_AMOUNTS:
        places.remove(max((p for p in places if p != best.unit.place), key=lambda p: abs(p - best.unit.place)))
    return [(_MARKER.sub("", siblings[p].quote).strip(), siblings[p].quote, siblings[p]) for p in places]


def _with_support(siblings: Mapping[int, Unit], wanted: Sequence[int]) -> list[int]:
    """The wanted sentences and, before one that leans on its neighbour ("It costs …"), that neighbour."""
    places: set[int] = set(wanted)
    for place in wanted:
        at = place
        while at > 0 and _LEANS.match(_MARKER.sub("", siblings[at].quote).strip()) and place - at < 2:
            at -= 1
            places.add(at)
    return sorted(places)


def _cells(question: Question, ranked: Sequence[Evidence]) -> Chosen:
    best = ranked[0]
    table = best.unit.passage.table
    same_row = [
        e for e in ranked if e.unit.kind is UnitKind.CELL and e.unit.passage.id == best.unit.passage.id and e.unit.place == best.unit.place
    ]
    wide = table is not None and len(table.header) > 4
    kinds = [_held(e.unit.value) for e in same_row]
    attributes = len(same_row) > 1 and not wide and len({frozenset(k) for k in kinds}) == len(kinds)
    said = same_row if attributes else [e for e in same_row if e is best or e.probability >= max(0.12, 0.35 * best.probability)][:2]
    said = sorted(said, key=lambda e: table.header.index(e.unit.column) if table and e.unit.column in table.header else 0)
    written = [_value(e.unit, alone=len(same_row) == 1) for e in said]
    values = "; ".join(written)
    about = best.unit.context
    row = best.unit.row
    lead = f"{about} – {row}" if about and about.lower() not in row.lower() else row
    found: Chosen = [(f"{lead}: {values}{'' if values.endswith('.') else '.'}", _proof(best.unit, written), best.unit)]
    others = [
        e
        for e in ranked[1:6]
        if e.unit.kind is UnitKind.SENTENCE and e.probability >= max(0.1, 0.3 * best.probability) and _is_near(e, best)
    ][:1]
    found += [(_MARKER.sub("", e.unit.quote).strip(), e.unit.quote, e.unit) for e in others]
    return found


def _value(unit: Unit, *, alone: bool) -> str:
    counted = _COUNTED.match(unit.column)
    if counted and re.fullmatch(r"\d[\d.,]*", unit.value):
        return f"{unit.value} {unit.column[:1].lower()}{unit.column[1:]}"
    return unit.value if (alone and _PLAIN_COLUMN.match(unit.column)) or not unit.column else f"{unit.column}: {unit.value}"


def _proof(unit: Unit, said: Sequence[str]) -> str:
    """What proves the said cells of a row: where the table stands, the row's name, and those cells. The others say other things."""
    return f"{unit.context} {unit.passage.title} {' '.join(unit.passage.headings)} {unit.row}: {'; '.join(said)}"


def _is_near(one: Evidence, other: Evidence) -> bool:
    a, b = one.unit.passage, other.unit.passage
    return a.document == b.document and a.headings[:1] == b.headings[:1]


def _held(text: str) -> frozenset[Dimension]:
    return frozenset(q.dimension for q in quantities(text))


def _citations(chosen: Chosen) -> list[Citation]:
    quotes: dict[str, tuple[Passage, list[str]]] = {}
    for _, _, unit in chosen:
        quotes.setdefault(str(unit.passage.id), (unit.passage, []))[1].append(unit.quote.strip())
    return [
        Citation(source=p.source, title=p.title, quote=q, passage=p.id, version=p.version) for p, found in quotes.values() for q in found
    ]
