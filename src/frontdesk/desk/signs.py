"""What a careful reader looks at: for each unit and a question, the signs that it is the answer. Weighs nothing.

What depends on the unit alone is worked out once (`Study`); a question is then held against all units at once.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.everyday import meanings
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.quantities import Dimension, Quantity, Span, quantities, spans
from frontdesk.desk.units import Unit, UnitKind, units_of
from frontdesk.domain.knowledge import Passage, PassageId
from frontdesk.models.protocols import Vectors

FEATURES = (
    "cos_unit",
    "cos_bare",
    "cos_clause",
    "cos_passage",
    "cos_place",
    "words_unit",
    "words_passage",
    "rarest_word",
    "unit_in_question",
    "expected_there",
    "expected_missing",
    "range_hit",
    "range_miss",
    "group_hit",
    "group_miss",
    "group_generic",
    "cos_row",
    "cos_column",
    "row_words",
    "column_words",
    "row_best",
    "column_best",
    "lead_unit",
    "lead_passage",
    "is_faq",
    "is_sentence",
    "is_cell",
    "yes_no",
    "brevity",
    "unknown_words",
    "best_alike",
    "best_words",
    "second_gap",
)
YEAR = 365.25
"""Days."""
OLDEST = 120
"""A bare number up to this may be somebody's age."""
STUDIED = 2_048
"""Passages of one tenant whose studies are kept, some ten kilobytes each."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as the reader sees it."""

    text: str
    search: NDArray[np.float32]
    """Its vector in the index's encoder."""
    vector: NDArray[np.float32]
    """Its vector in the reader's encoder."""
    clauses: Vectors
    """The reader's vectors of the question's sentences; the whole question's own when there is only one."""

    @cached_property
    def words(self) -> frozenset[str]:
        """Stems of its content words."""
        return frozenset(meanings(self.text))

    @cached_property
    def amounts(self) -> tuple[Quantity, ...]:
        """Amounts that the customer stated."""
        return quantities(self.text)

    @cached_property
    def expected(self) -> frozenset[Dimension]:
        """What kind of amount an answer should hold; empty when the question asks for none."""
        return expected_amounts(self.text)

    @cached_property
    def yes_no(self) -> bool:
        """Whether the question can be answered by yes or no."""
        return bool(_YES_NO.search(self.text)) and not self.expected


_ASKS: tuple[tuple[re.Pattern[str], tuple[Dimension, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), dimensions)
    for pattern, dimensions in (
        (r"\bhow much (?:time|longer|notice)\b", (Dimension.TIME,)),
        (r"\bhow much (?:does|do|can|may) .{0,30}\bweigh", (Dimension.WEIGHT,)),
        (r"\bhow heavy\b|\bweight\b|\bhow many kilos?\b", (Dimension.WEIGHT,)),
        (r"\bhow (?:large|big|tall|wide|deep|high)\b|\b(?:size|dimensions?|measurements?)\b", (Dimension.LENGTH,)),
        (r"\bhow far\b|\bdistance\b", (Dimension.DISTANCE, Dimension.LENGTH)),
        (
            r"\bhow (?:long|soon|quick(?:ly)?|fast|late|early|old)\b|\bhow many (?:\w+ ){0,2}(?:days?|weeks?|months?|years?|hours?|minutes?|mins|hrs|yrs)\b",
            (Dimension.TIME,),
        ),
        (
            r"\b(?:deadline|time limit|notice period|last (?:possible )?minute)\b|\bin advance\b|\bbeforehand\b",
            (Dimension.TIME, Dimension.CLOCK, Dimension.DATE),
        ),
        (
            r"\b(?:when|until when|by when|what time|which day|what day|what date|from which day|at what point)\b",
            (Dimension.TIME, Dimension.CLOCK, Dimension.DATE),
        ),
        (r"\b(?:percent(?:age)?|per cent|share|interest)\b|%", (Dimension.PERCENT,)),
        (
            r"\b(?:how much|price|prices|cost|costs|fees?|charges?|pay|surcharge|fare|dear|cheap(?:er|est)?|expensive|refund(?:ed)?|credit|allowance|worth|owe|fine|penalty|sting)\b",
            (Dimension.MONEY, Dimension.PERCENT),
        ),
        (r"\bhow many\b|\bhow often\b|\bwhat number\b", (Dimension.COUNT,)),
        (
            r"\b(?:rate|limit|maximum|minimum|max|min)\b",
            (Dimension.MONEY, Dimension.PERCENT, Dimension.COUNT, Dimension.WEIGHT, Dimension.TIME),
        ),
    )
)
_YES_NO = re.compile(
    r"(?:^|[.!?,;:]\s*|\b(?:and|but|so|also|or)\s+)(?:(?:hi|hello|hey|so|ok|please|and)[, ]+)*"
    r"(?:can|could|may|must|do|does|did|is|are|am|was|were|will|would|shall|should|has|have|any)\b|\b(?:ok|okay|allowed|possible|alright|right)\b\s*\??$",
    re.IGNORECASE,
)
_FREE = re.compile(
    r"\b(?:free|no (?:extra |additional )?(?:charge|cost|fee)s?|nothing|included|without (?:a )?(?:charge|fee)|half price|full price)\b",
    re.IGNORECASE,
)


def expected_amounts(text: str) -> frozenset[Dimension]:
    """Kinds of amounts that would answer `text`: "how much" wants money, "how long" wants a time."""
    found: set[Dimension] = set()
    for pattern, dimensions in _ASKS:
        if pattern.search(text):
            found.update(dimensions)
    return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What can be said of a unit before any question: the texts it is compared under, its words and what they weigh, its amounts."""

    unit: Unit
    faces: tuple[str, str, str, str, str]
    words: frozenset[str]
    weight: float
    """Rarity of all its words together; so are `row_weight` and `column_weight`."""
    around: frozenset[str]
    """Words of its passage."""
    row_words: frozenset[str]
    row_weight: float
    column_words: frozenset[str]
    column_weight: float
    held: frozenset[Dimension]
    """Kinds of amounts it states."""
    free: bool
    """It says that something costs nothing."""
    ranges: tuple[Span, ...]
    mentioned: frozenset[str]
    """Names of alternatives."""


class Studies:
    """The studies of one tenant's passages in one state of its knowledge, each made when it is first read."""

    def __init__(self) -> None:
        self._known: OrderedDict[PassageId, tuple[Passage, tuple[Study, ...]]] = OrderedDict()

    def of(self, passages: Iterable[Passage], lexicon: Lexicon) -> list[Study]:
        """The studies of all units of the passages, in order."""
        found: list[Study] = []
        for passage in passages:
            known = self._known.get(passage.id)
            if known is None or known[0] != passage:
                known = self._known[passage.id] = passage, tuple(study(unit, lexicon) for unit in units_of(passage))
            self._known.move_to_end(passage.id)
            found += known[1]
        while len(self._known) > STUDIED:
            self._known.popitem(last=False)
        return found


def study(unit: Unit, lexicon: Lexicon) -> Study:
    """What can be said of a unit before any question."""
    cell = unit.kind is UnitKind.CELL
    about = f"{unit.context} {unit.row} {unit.column} {unit.value}" if cell else f"{unit.context} {unit.quote}"
    said = unit.value if cell else unit.quote
    words, row, column = (frozenset(meanings(text)) for text in (about, unit.row, unit.column))
    return Study(
        unit=unit,
        faces=faces(unit),
        words=words,
        weight=lexicon.weight(words),
        around=frozenset(meanings(f"{place_text(unit.passage)} {unit.passage.text}")),
        row_words=row,
        row_weight=lexicon.weight(row),
        column_words=column,
        column_weight=lexicon.weight(column),
        held=frozenset(q.dimension for q in quantities(said)),
        free=bool(_FREE.search(said)),
        ranges=_ranges(unit),
        mentioned=lexicon.alternatives(about),
    )


def _ranges(unit: Unit) -> tuple[Span, ...]:
    """The ranges that a unit is about. A row "5 to 11" below the header "Age" or "Weight (kg)" counts years or kilograms."""
    if unit.kind is not UnitKind.CELL:
        return spans(unit.quote)
    found = spans(f"{unit.row} ; {unit.column}")
    measure = _measure(unit.passage.table.header[0]) if unit.passage.table else None
    if measure is None:
        return found
    of_row = spans(unit.row)
    return tuple(
        replace(s, low=s.low * measure.value, high=s.high * measure.value, dimension=measure.dimension)
        if s.dimension is Dimension.COUNT and s in of_row
        else s
        for s in found
    )


def _measure(header: str) -> Quantity | None:
    """One of what the header of a column counts; None when it names no measure."""
    if re.search(r"\bage[ds]?\b", header, re.IGNORECASE):
        header = f"{header} years"
    for word in re.findall(r"[^\W\d_]+", header):
        of_one = [q for q in quantities(f"1 {word}") if q.dimension is not Dimension.COUNT]
        if of_one:
            return of_one[0]
    return None


def _same_kind(stated: Quantity, span: Span) -> float | None:
    """The amount in the measure of the range; None when they cannot be compared. "My lad is nine" and "9 years" are both an age."""
    if stated.dimension is span.dimension:
        return stated.value
    ends = [v for v in (span.low, span.high) if math.isfinite(v)]
    if stated.dimension is Dimension.COUNT and span.dimension is Dimension.TIME and stated.value <= OLDEST:
        years = all(abs(v / YEAR - round(v / YEAR)) < 1e-6 and v >= YEAR for v in ends)
        return stated.value * YEAR if years else None
    return None


def signs_of(question: Question, studies: Sequence[Study], alike: NDArray[np.float32], lexicon: Lexicon) -> NDArray[np.float64]:
    """The signs of each unit, shape (len(studies), len(FEATURES)), columns in the order of FEATURES.

    `alike` (len(studies), 5, 1 + c): how near each face of each unit is to the question (first) and to its c clauses.
    """
    whole, clause = alike[:, :, 0].tolist(), alike[:, :, 1:].max(axis=2).tolist()
    worded = _Wording(question, lexicon)
    found = np.array([worded.signs(s, w, c) for s, w, c in zip(studies, whole, clause, strict=True)], dtype=np.float64)
    return _relative(found, [s.unit for s in studies])


class _Wording:
    """What a question's words look for, worked out once for all units."""

    def __init__(self, question: Question, lexicon: Lexicon) -> None:
        words = question.words
        self._lexicon = lexicon
        self._words = words
        self._weight = lexicon.weight(words)
        self._rarest = max(words, key=lexicon.rarity, default="")
        self._unknown = lexicon.unknown(words)
        self._named = lexicon.alternatives(question.text)
        self._others = lexicon.siblings(self._named)
        self._expects = question.expected
        self._amounts = [q for q in question.amounts if q.dimension not in (Dimension.CLOCK, Dimension.DATE)]
        self._yes_no = float(question.yes_no)

    def signs(self, unit: Study, whole: Sequence[float], clause: Sequence[float]) -> list[float]:
        """The signs of one unit; `whole` and `clause`: how near its faces are to the question and to its nearest clause."""
        kind = unit.unit.kind
        cell = kind is UnitKind.CELL
        expects, named, others = self._expects, self._named, self._others
        there = bool(expects & unit.held) or (Dimension.MONEY in expects and unit.free)
        hit, miss = self._range(unit.ranges)
        shared = self._lexicon.weight(self._words & unit.words)
        return [
            whole[0],
            whole[1],
            clause[0],
            whole[2],
            clause[2],
            _share(shared, self._weight),
            _share(self._lexicon.weight(self._words & unit.around), self._weight),
            float(self._rarest in unit.words or self._rarest in unit.around),
            _share(shared, unit.weight),
            float(there),
            float(bool(expects) and not there),
            hit,
            miss,
            float(bool(named & unit.mentioned)),
            float(bool(others & unit.mentioned) and not named & unit.mentioned),
            float(bool(named) and not unit.mentioned),
            whole[3] if cell else 0.0,
            whole[4] if cell else 0.0,
            _share(self._lexicon.weight(self._words & unit.row_words), unit.row_weight) if cell else 0.0,
            _share(self._lexicon.weight(self._words & unit.column_words), unit.column_weight) if cell else 0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            float(kind is UnitKind.FAQ),
            float(kind is UnitKind.SENTENCE),
            float(cell),
            self._yes_no,
            1.0 / (1.0 + len(unit.unit.quote) / 100.0),
            self._unknown,
            *(0.0,) * (len(FEATURES) - FEATURES.index("best_alike")),
        ]

    def _range(self, ranges: Sequence[Span]) -> tuple[float, float]:
        """Whether an amount of the customer's falls into one of the ranges, and whether one of the same kind falls outside all of them."""
        hit = miss = False
        for q in self._amounts:
            same = [(s, value) for s in ranges if (value := _same_kind(q, s)) is not None]
            if same:
                inside = any(s.holds(value) for s, value in same)
                hit, miss = hit or inside, miss or not inside
        return float(hit), float(miss and not hit)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def face(unit: Unit) -> str:
    """The text under which a unit is mainly compared: what it says, in its context."""
    return faces(unit)[0]


def faces(unit: Unit) -> tuple[str, str, str, str, str]:
    """The texts under which a unit is compared: in context, bare, its place, its row, its column."""
    place = " > ".join((unit.passage.title, *unit.passage.headings)) if unit.kind is not UnitKind.FAQ else unit.passage.title
    if unit.kind is UnitKind.CELL:
        return (
            f"{unit.context}: {unit.row}, {unit.column}: {unit.value}",
            f"{unit.row}, {unit.column}: {unit.value}",
            place,
            unit.row,
            unit.column,
        )
    if unit.kind is UnitKind.FAQ:
        return f"{unit.passage.title} {unit.passage.text}", unit.quote, place, place, place
    return unit.matter, unit.quote, place, place, place


def place_text(passage: Passage) -> str:
    """Where a passage stands, in words."""
    return " ".join((passage.title, *passage.headings, passage.table.caption if passage.table else ""))


def _relative(rows: NDArray[np.float64], units: Sequence[Unit]) -> NDArray[np.float64]:
    """Fills the signs that compare a unit with its rivals: best row and column of its table, lead over all others."""
    at = {name: i for i, name in enumerate(FEATURES)}
    tables: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        if unit.kind is UnitKind.CELL:
            tables.setdefault(str(unit.passage.id), []).append(i)
    for members in tables.values():
        for cosine, words, target in (("cos_row", "row_words", "row_best"), ("cos_column", "column_words", "column_best")):
            strength = rows[members, at[cosine]] + 0.5 * rows[members, at[words]]
            if target == "row_best":
                strength = strength + 0.6 * rows[members, at["range_hit"]] - 0.6 * rows[members, at["range_miss"]]
            rows[members, at[target]] = strength - strength.max()
    for source, target in (("cos_unit", "lead_unit"), ("cos_passage", "lead_passage")):
        rows[:, at[target]] = rows[:, at[source]] - rows[:, at[source]].max()
    alike = np.sort(rows[:, at["cos_unit"]])[::-1]
    rows[:, at["best_alike"]] = alike[0]
    rows[:, at["best_words"]] = rows[:, at["words_unit"]].max()
    rows[:, at["second_gap"]] = alike[0] - alike[min(4, len(alike) - 1)]
    return rows
