"""Entries of the knowledge that disagree, and entries that may be out of date: found before a customer finds them.

Sentences about the same thing, figures left out, whose figures differ. Rows of tables differ on purpose and are not compared, nor are the
sentences of one entry: whoever wrote them beside each other meant both. What reads alike and is about two things is the usual false alarm,
so the two sentences are shown side by side and a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from frontdesk.domain.knowledge import Passage, PassageKind
from frontdesk.models.protocols import Embedder, Vectors

ALIKE = 0.66
"""Likeness, figures left out, from which two sentences may be about the same thing."""
UNUSED = "no answer has used it in the period"
"""Why an FAQ pair is among the stale ones that says nothing of its age."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+|(?<=;)\s+")
_QUANTITY = re.compile(
    r"(?P<money>[€$£]\s?\d[\d,]*(?:\.\d+)?|\d[\d,]*(?:\.\d+)?\s?(?:€|EUR|USD|GBP|euros?|dollars?|pounds?|cents?|pence)\b)"
    r"|(?P<percent>\d+(?:[.,]\d+)?\s?(?:%|per ?cent))"
    r"|(?P<clock>\b\d{1,2}[:.]\d{2}\s?(?:am|pm)?\b|\b\d{1,2}\s?(?:am|pm)\b)"
    r"|(?P<time>\b(?:\d+(?:[.,]\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fourteen|thirty)[ -](?:working |business |calendar )?(?:second|minute|hour|day|night|week|month|year)s?\b)"
    r"|(?P<size>\b\d+(?:[.,]\d+)?\s?(?:kg|g|km|cm|mm|m|litres?|liters?|l|gb|mb|tb|mbit|kwh|watts?|miles?)\b)"
    r"|(?P<count>(?<![\w.,#/-])\d{1,6}(?![\w/-]|[.,]\d))",
    re.IGNORECASE,
)
_WORDS_AS_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "fourteen": 14, "thirty": 30}  # fmt: skip
_DAYS = {"second": 1 / 86400, "minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "night": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
_YEAR = re.compile(r"\b(20\d\d)\b")
_VALID = re.compile(
    r"\b(until|till|through|valid|ends?|expires?|by|before|up to|as of|from|since|starting|effective|season|offer|new for)\b", re.IGNORECASE
)
_COMMON = frozenset(
    [
        "the",
        "and",
        "for",
        "are",
        "with",
        "you",
        "your",
        "can",
        "not",
        "our",
        "this",
        "that",
        "have",
        "has",
        "from",
        "will",
        "any",
        "all",
        "per",
        "how",
        "what",
        "when",
        "does",
        "was",
        "were",
        "may",
        "must",
        "than",
        "then",
        "them",
        "they",
        "its",
        "out",
        "also",
        "only",
        "within",
        "after",
        "before",
        "who",
        "which",
        "where",
        "there",
        "their",
        "about",
        "into",
        "more",
        "most",
        "other",
        "such",
        "each",
        "one",
        "two",
        "use",
        "used",
        "get",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two entries that disagree."""

    source: str
    title: str
    sentence: str
    figures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Two entries about (it seems) the same thing with different figures. `likeness` in [0, 1], figures left out."""

    one: Side
    other: Side
    likeness: float


@dataclass(frozen=True, kw_only=True)
class Stale:
    """An entry that may be out of date, and why."""

    source: str
    title: str
    sentence: str
    reason: str


async def contradictions(passages: Sequence[Passage], embedder: Embedder, *, limit: int = 100) -> list[Contradiction]:
    """Sentences about the same thing with different figures, the likest first. Raises ModelUnavailable."""
    own = [(n, side) for n, passage in enumerate(passages) for side in _sides(passage)]
    entry, sides = [n for n, _ in own], [side for _, side in own]
    if len(sides) < 2:
        return []
    vectors = await embedder.embed([_masked(s) for s in sides])
    words = [_content(s) for s in sides]
    found = []
    for i, j in _near(vectors):
        if entry[i] == entry[j] or sides[i].sentence == sides[j].sentence or not _differ(sides[i], sides[j]):
            continue
        likeness = float(vectors[i] @ vectors[j]) * _shared(words[i], words[j])
        if likeness >= ALIKE * 0.8 and not _about_others(words[i], words[j]):
            found.append(Contradiction(one=sides[i], other=sides[j], likeness=round(likeness, 3)))
    return sorted(found, key=lambda c: -c.likeness)[:limit]


def stale(passages: Sequence[Passage], *, now: datetime, cited: Mapping[tuple[str, str], datetime] | None = None) -> list[Stale]:
    """Entries that name a year that is over as something to come or to hold; with `cited` (source, title -> when last), unused FAQ pairs too."""
    found = []
    for passage in passages:
        for sentence in sentences_of(passage):
            years = [int(y) for y in _YEAR.findall(sentence)]
            if years and max(years) < now.year and _VALID.search(sentence):
                reason = f"it speaks of {max(years)}, and it is {now.year}"
                found.append(Stale(source=passage.source, title=passage.title, sentence=sentence[:300], reason=reason))
    if cited is not None:
        for passage in passages:
            if passage.kind is PassageKind.FAQ and (passage.source, passage.title) not in cited:
                found.append(Stale(source=passage.source, title=passage.title, sentence=passage.text[:300], reason=UNUSED))
    return found


def sentences_of(passage: Passage) -> list[str]:
    """The sentences and lines of a passage."""
    return [s.strip() for s in _SENTENCE.split(passage.text) if s.strip()]


def words_of(text: str) -> list[str]:
    """The words of a text that say something, in small letters."""
    return [w for w in _WORD.findall(text.lower()) if w not in _COMMON]


def _sides(passage: Passage) -> list[Side]:
    if passage.kind is PassageKind.TABLE:
        return []  # rows differ on purpose
    found = []
    for sentence in sentences_of(passage):
        figures = tuple(m[0] for m in _QUANTITY.finditer(sentence))
        if figures and len(_WORD.findall(sentence)) >= 2:
            found.append(Side(source=passage.source, title=passage.title, sentence=sentence[:400], figures=figures))
    return found


def _masked(side: Side) -> str:
    """The sentence without its figures; an FAQ answer with its question, for "3 days." says nothing alone."""
    bare = _QUANTITY.sub("some", side.sentence)
    return f"{side.title} {bare}" if side.source == "faq" or len(words_of(bare)) < 3 else bare


def _content(side: Side) -> frozenset[str]:
    about = f"{side.title} {side.sentence}" if side.source == "faq" else side.sentence
    return frozenset(_stem(w) for w in words_of(_QUANTITY.sub(" ", about)))


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def _near(vectors: Vectors) -> Iterable[tuple[int, int]]:
    for start in range(0, len(vectors), 512):
        likeness = vectors[start : start + 512] @ vectors.T
        for i, j in zip(*np.nonzero(likeness >= ALIKE), strict=True):
            if start + i < j:
                yield int(start + i), int(j)


def _figures(side: Side) -> dict[str, set[float]]:
    found: dict[str, set[float]] = {}
    for match in _QUANTITY.finditer(side.sentence):
        kind = match.lastgroup or "count"
        text = match[0].lower().replace(",", "")
        number = re.search(r"\d+(?:\.\d+)?", text)
        value = float(number[0]) if number else float(_WORDS_AS_NUMBERS[text.split()[0].split("-")[0]])
        if kind == "time":
            unit = next(u for u in _DAYS if u in text)
            value *= _DAYS[unit]
        elif kind == "clock":
            value += 12 if "pm" in text and value < 12 else 0
        elif kind == "size":
            kind = f"size {re.sub(r'[^a-z]', '', text)}"
        found.setdefault(kind, set()).add(round(value, 4))
    return found


def _differ(one: Side, other: Side) -> bool:
    """Whether they give different figures of the same kind and share none of that kind."""
    a, b = _figures(one), _figures(other)
    return any(not a[kind] & b[kind] for kind in a.keys() & b.keys()) and not any(a[k] & b[k] for k in a.keys() & b.keys() if k != "count")


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return 0.5 + 0.5 * len(one & other) / max(1, min(len(one), len(other)))


def _about_others(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether each names something that the other does not, and they share too little for that to be wording."""
    only_one, only_other, both = one - other, other - one, one & other
    if not only_one or not only_other:
        return False
    return len(both) < 2 * min(len(only_one), len(only_other)) or any(
        (a in group and b in group) for group in _RIVALS for a, b in ((x, y) for x in only_one for y in only_other)
    )


_RIVALS = tuple(
    frozenset(_stem(w) for w in line.split())
    for line in (
        "standard express next economy premium basic plus pro gold silver bronze first second business priority overnight regular",
        "monday tuesday wednesday thursday friday saturday sunday weekday weekdays weekend weekends holiday holidays",
        "small medium large single double twin family adult adults child children student students senior seniors infant infants dog dogs cat cats",
        "online store phone post email counter branch app website card cash cheque transfer paypal invoice",
        "domestic international national abroad overseas europe european island islands mainland",
        "summer winter spring autumn january february march april may june july august september october november december morning evening afternoon night",
        "minimum maximum least most lowest highest open opens close closes start end deposit fee refund arrival departure check-in check-out in out",
        "hand checked hold cabin",
        "new existing old member members guest guests customer business private personal",
        "cancel cancellation change exchange return repair replacement warranty delivery pickup collection",
    )
)
"""Words that set things apart rather than say the same differently."""
