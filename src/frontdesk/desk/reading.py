"""Reading passages to find the sentence, FAQ answer or table cell that answers a question. Ranks what is written; writes nothing.

The embedding finds what is alike; alike is not an answer. So each unit is also judged by what a careful reader looks at: do the
question's rare words stand there, is it the right row and column, does the customer's "12 kilos" fall into the row "10 to 20 kg",
is an amount there when the question asks how much, does it speak of another group than the customer's. A small model, trained on
companies invented for that purpose (`reading_set/`), weighs these signs; `train_reading.py` makes it.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.quantities import Dimension, Quantity, quantities, spans
from frontdesk.desk.units import Unit, UnitKind, units_of
from frontdesk.domain.knowledge import Passage, PassageKind
from frontdesk.models.protocols import Embedder, Vectors

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


RIVALS = 12
"""Units whose chances are weighed against each other when several tenants are read together."""
REMEMBERED = 50_000
"""Texts whose named alternatives are kept; units are asked about in every turn that finds them."""


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
        return frozenset(content_words(self.text))

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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A unit with the probability that it answers the question."""

    unit: Unit
    probability: float
    """That this unit and no other is the answer."""
    alone: float = 0.0
    """That it is the answer rather than nothing, were it the only unit: does not shrink where a tenant has many alike."""
    signs: Mapping[str, float] = field(default_factory=dict)


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


class Lexicon:
    """The words of one tenant: how rare each is, and which names stand for alternatives (plans, tiers, routes).

    Alternatives are learnt from the shape of documents: the headers of a table are alternatives to each other, and so are its row names
    and the bold or colon-led beginnings of the items of one list. Nothing is known about any company beforehand.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self.size = 0
        self.frequency: dict[str, int] = {}
        self.groups: list[frozenset[str]] = []
        self.aliases: dict[str, set[str]] = {}
        self._rarity: dict[str, float] = {}
        self._named: dict[str, frozenset[str]] = {}
        kept = list(passages)
        for passage in kept:
            self._count(passage)
        self._members = {name for group in self.groups for name in group}
        for passage in kept:
            self._learn_aliases(passage)

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a stem, at least 0."""
        known = self._rarity.get(word)
        if known is None:
            known = self._rarity[word] = math.log(1 + (self.size + 0.5) / (self.frequency.get(word, 0) + 0.5))
        return known

    def unknown(self, words: frozenset[str]) -> float:
        """Share of the words' total rarity that stands nowhere in the tenant's knowledge, in [0, 1]."""
        held = {w for w in words if w in self.frequency}
        return 1.0 - self.coverage(words, frozenset(held)) if words else 0.0

    def coverage(self, words: Iterable[str], within: frozenset[str]) -> float:
        """Share of the words' total rarity that stands in `within`, in [0, 1]."""
        weights = [(self.rarity(w), w in within) for w in words]
        total = sum(weight for weight, _ in weights)
        return sum(weight for weight, there in weights if there) / total if total else 0.0

    def alternatives(self, text: str) -> frozenset[str]:
        """Names of alternatives that `text` mentions, or implies by a word that the documents place under a name."""
        known = self._named.get(text)
        if known is None:
            if len(self._named) > REMEMBERED:
                self._named.clear()
            known = self._named[text] = self._alternatives(text)
        return known

    def _alternatives(self, text: str) -> frozenset[str]:
        words = content_words(text)
        flat = set(words)
        joined = " ".join(words)
        named = {name for name in self._members if (name in flat if " " not in name else name in joined)}
        for word in flat:
            named |= self.aliases.get(word, set())
        return frozenset(named)

    def siblings(self, names: frozenset[str]) -> frozenset[str]:
        """The other members of all groups that hold one of `names`."""
        others: set[str] = set()
        for group in self.groups:
            if group & names:
                others |= group - names
        return frozenset(others - names)

    def _count(self, passage: Passage) -> None:
        self.size += 1
        text = " ".join((passage.title, *passage.headings, passage.text, passage.table.caption if passage.table else ""))
        for word in set(content_words(text)):
            self.frequency[word] = self.frequency.get(word, 0) + 1
        if passage.table is not None:
            self._group(passage.table.header[1:])
            self._group([row[0] for row in passage.table.rows])
        self._group(re.findall(r"(?:^|\n)\s*[-*•]\s*([^:\n.]{2,30}):", passage.text))

    def _group(self, names: Iterable[str]) -> None:
        group = {" ".join(content_words(name)) for name in names if name.strip() and not spans(name)}
        group = {g for g in group if g and len(g.split()) <= 3}
        if len(group) >= 2:
            self.groups.append(frozenset(group))

    def _learn_aliases(self, passage: Passage) -> None:
        """A sentence such as "X routes link A with B and C" places the names A, B and C under X, when it names one member only."""
        if passage.kind is PassageKind.FAQ or passage.table is not None:
            return
        for unit in units_of(passage):
            words = " ".join(content_words(unit.quote))
            named = {m for m in self._members if re.search(rf"(?:^| ){re.escape(m)}(?: |$)", words)}
            proper = {stem(w) for w in re.findall(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]{2,}\b", unit.quote)}
            if len(named) == 1 and len(proper) >= 3:
                for name in proper - set(next(iter(named)).split()):
                    self.aliases.setdefault(name, set()).update(named)


class Reader:
    """Ranks the units of passages against a question."""

    def __init__(
        self, embedder: Embedder, weights: ReadingModel | None = None, *, encoder: Embedder | None = None, cache: int = 60_000
    ) -> None:
        """`encoder` compares questions with units (see `training.reading_encoder`); without one, `embedder` does both jobs."""
        self._embedder = embedder
        self._encoder = encoder or embedder
        self._model = weights or ReadingModel.shipped()
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._limit = cache

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self._embedder

    @property
    def knows(self) -> Callable[[str], bool] | None:
        """Whether the encoder's dictionary holds a word; None when it has no dictionary."""
        return getattr(self._encoder, "knows", None)

    @property
    def answerable(self) -> float:
        """Probability from which a unit counts as an answer."""
        return self._model.answerable

    async def question(self, text: str, context: str = "") -> Question:
        """The question with its vectors. `context` is what the customer said around it."""
        whole = f"{context} {text}".strip()
        clauses = [c.strip() for c in re.split(r"(?<=[.!?;\n])\s+", whole) if len(content_words(c)) >= 2][:6] or [whole]
        vectors = await self.vectors([whole, *clauses])
        base = vectors[0] if self._encoder is self._embedder else (await self._embedder.embed([whole]))[0]
        return Question(text=whole, search=base, vector=vectors[0], clauses=vectors[1:])

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """The reader's vectors, from the cache where they are known; shape (len(texts), dimensions)."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._cache))
        if missing:
            for text, row in zip(missing, await self._encoder.embed(missing), strict=True):
                self._cache[text] = row
        rows = np.stack([self._cache[t] for t in texts])
        for text in texts:
            self._cache.move_to_end(text)
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)
        return rows

    async def read(self, question: Question, passages: Sequence[Passage], lexicon: Lexicon) -> list[Evidence]:
        """All units of the passages, the likeliest answer first."""
        units = [unit for passage in passages for unit in units_of(passage)]
        if not units:
            return []
        signs = await self.signs(question, units, lexicon)
        chances = self._model.probabilities(signs)
        nothing = 1.0 - float(chances.sum())
        ranked = [
            Evidence(
                unit=u,
                probability=float(p),
                alone=float(p / max(1e-9, p + nothing)),
                signs=dict(zip(FEATURES, map(float, row), strict=True)),
            )
            for u, p, row in zip(units, chances, signs, strict=True)
        ]
        return sorted(ranked, key=lambda e: -e.probability)

    async def signs(self, question: Question, units: Sequence[Unit], lexicon: Lexicon) -> NDArray[np.float64]:
        """The signs of each unit, shape (len(units), len(FEATURES)), columns in the order of FEATURES."""
        faces = [_faces(u) for u in units]
        flat = [text for group in faces for text in group]
        vectors = await self.vectors(flat)
        by_text = dict(zip(flat, vectors, strict=True))
        named = lexicon.alternatives(question.text)
        others = lexicon.siblings(named)
        rows = [_signs_of(question, u, f, by_text, lexicon, named, others) for u, f in zip(units, faces, strict=True)]
        return _relative(np.array(rows, dtype=np.float64), units)


def face(unit: Unit) -> str:
    """The text under which a unit is mainly compared: what it says, in its context."""
    return _faces(unit)[0]


def _faces(unit: Unit) -> tuple[str, str, str, str, str]:
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


def _signs_of(
    question: Question,
    unit: Unit,
    faces: tuple[str, str, str, str, str],
    vectors: Mapping[str, NDArray[np.float32]],
    lexicon: Lexicon,
    named: frozenset[str],
    others: frozenset[str],
) -> list[float]:
    matter, bare, place, row, column = (vectors[f] for f in faces)
    cell = unit.kind is UnitKind.CELL
    about = f"{unit.context} {unit.row} {unit.column} {unit.value}" if cell else f"{unit.context} {unit.quote}"
    unit_words = frozenset(content_words(about))
    around = frozenset(content_words(f"{place_text(unit.passage)} {unit.passage.text}"))
    row_words = frozenset(content_words(unit.row))
    column_words = frozenset(content_words(unit.column))
    held = {q.dimension for q in quantities(unit.value if cell else unit.quote)}
    free = bool(_FREE.search(unit.value if cell else unit.quote))
    expects = question.expected
    there = bool(expects & held) or (Dimension.MONEY in expects and free)
    hit, miss = _range(question, f"{unit.row} ; {unit.column}" if cell else unit.quote)
    mentioned = lexicon.alternatives(about)
    rarest = max(question.words, key=lexicon.rarity, default="")
    asked = lexicon.coverage(unit_words, question.words)
    return [
        float(question.vector @ matter),
        float(question.vector @ bare),
        float(np.max(question.clauses @ matter)),
        float(question.vector @ place),
        float(np.max(question.clauses @ place)),
        lexicon.coverage(question.words, unit_words),
        lexicon.coverage(question.words, around),
        float(rarest in unit_words or rarest in around),
        asked,
        float(there),
        float(bool(expects) and not there),
        hit,
        miss,
        float(bool(named & mentioned)),
        float(bool(others & mentioned) and not named & mentioned),
        float(bool(named) and not mentioned),
        float(question.vector @ row) if cell else 0.0,
        float(question.vector @ column) if cell else 0.0,
        lexicon.coverage(row_words, question.words) if cell else 0.0,
        lexicon.coverage(column_words, question.words) if cell else 0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        float(unit.kind is UnitKind.FAQ),
        float(unit.kind is UnitKind.SENTENCE),
        float(cell),
        float(question.yes_no),
        1.0 / (1.0 + len(unit.quote) / 100.0),
        lexicon.unknown(question.words),
        0.0,
        0.0,
        0.0,
    ]


def place_text(passage: Passage) -> str:
    """Where a passage stands, in words."""
    return " ".join((passage.title, *passage.headings, passage.table.caption if passage.table else ""))


def _range(question: Question, text: str) -> tuple[float, float]:
    """Whether an amount of the customer's falls into a range of `text`, and whether one of the same kind falls outside all of them."""
    stated = [q for q in question.amounts if q.dimension not in (Dimension.CLOCK, Dimension.DATE)]
    ranges = spans(text)
    hit = miss = False
    for q in stated:
        same = [s for s in ranges if s.dimension is q.dimension]
        if same:
            inside = any(s.holds(q.value) for s in same)
            hit, miss = hit or inside, miss or not inside
    return float(hit), float(miss and not hit)


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


@dataclass(frozen=True, kw_only=True)
class ReadingModel:
    """A small feed-forward network over the signs, as plain numbers."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    answerable: float = 0.5
    """Probability from which the best unit counts as an answer."""

    @classmethod
    def shipped(cls) -> ReadingModel:
        """The model that comes with the package."""
        return cls.from_json((files("frontdesk.desk") / "reading_model.json").read_text(encoding="utf-8"))

    @classmethod
    def from_json(cls, text: str) -> ReadingModel:
        """The model that `to_json` wrote."""
        data = json.loads(text)
        return cls(
            mean=np.array(data["mean"]),
            scale=np.array(data["scale"]),
            layers=tuple((np.array(w), np.array(b)) for w, b in data["layers"]),
            answerable=float(data["answerable"]),
        )

    def to_json(self) -> str:
        """Plain JSON, six significant digits."""
        plain = [[np.vectorize(lambda v: float(f"{v:.6g}"))(part).tolist() for part in layer] for layer in self.layers]
        data = {
            "features": FEATURES,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "layers": plain,
            "answerable": self.answerable,
        }
        return json.dumps(data) + "\n"

    def probabilities(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that each unit is the answer, shape (n,); what is missing to 1 is the probability that none of them is."""
        x = (signs - self.mean) / self.scale
        for i, (weights, bias) in enumerate(self.layers):
            x = x @ weights + bias
            if i + 1 < len(self.layers):
                x = np.maximum(x, 0.0)
        return choice(x[:, 0])[:-1]


def together(ranked: Sequence[Evidence]) -> list[Evidence]:
    """Evidence from several tenants as if it had been read at once: each unit's own merit, against all the others and nothing."""
    odds = [e.alone / max(1e-9, 1.0 - e.alone) for e in ranked]
    # As many rivals as one tenant has, or a front door would never be sure of anything.
    total = 1.0 + sum(sorted(odds, reverse=True)[:RIVALS])
    return [replace(e, probability=o / total) for e, o in zip(ranked, odds, strict=True)]


def choice(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over scores and, as the last entry, "none of them" with score zero."""
    all_ = np.append(scores, 0.0)
    powers = np.exp(all_ - all_.max())
    return np.asarray(powers / powers.sum())
