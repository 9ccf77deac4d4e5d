"""Which of the offered choices a customer means: "the second one", "2", "the cheaper", "Friday's". None when it is not plain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from rapidfuzz import fuzz

from frontdesk.tools.dates import find_days, find_times
from frontdesk.tools.lexicon import words
from frontdesk.tools.numbers import ORDINALS, find_numbers

_PLACES = {**{w: n for w, n in ORDINALS.items() if n <= 12}, "former": 1, "top": 1, "latter": -1, "last": -1, "final": -1, "bottom": -1}
_SUPERLATIVES: tuple[tuple[str, str, int], ...] = (
    (r"cheap(?:er|est)|least expensive|less expensive|lowest price|lower price|lowest|lower|least", "amount", -1),
    (r"(?:most|more) expensive|dear(?:er|est)|pric(?:ier|iest)|highest|higher|most", "amount", 1),
    (r"earl(?:ier|iest)|soon(?:er|est)|oldest|older|first available", "moment", -1),
    (r"lat(?:er|est)|newest|newer|most recent|last", "moment", 1),
    (r"small(?:er|est)|short(?:er|est)|light(?:er|est)|fewer|fewest|slowest", "number", -1),
    (r"big(?:ger|gest)|larg(?:er|est)|long(?:er|est)|heav(?:ier|iest)|fastest", "number", 1),
)
_STOP = words("the a an one option choice number please i would like want take it with go for that this of on at in to my ok okay yes let")


def pick(text: str, offered: Sequence[str], *, today: date | None = None) -> int | None:
    """Index of the one offered choice that the text names, by place, by comparison or by its words; None when none or several fit."""
    said = text.lower().strip()
    if not offered or not said:
        return None
    by_words = _by_words(said, offered)
    if by_words is not None and _is_whole(said, offered[by_words]):
        return by_words
    by_code = _by_code(said, offered)
    if by_code is not None:
        return by_code
    for find in (_by_comparison, _by_place, _by_value):
        index = find(_LAST_TIME.sub(" ", said), offered, today)
        if index is not None:
            return index
    return by_words


def _is_whole(said: str, choice: str) -> bool:
    return re.sub(r"\W", "", said) == re.sub(r"\W", "", choice.lower())


def _by_code(said: str, offered: Sequence[str]) -> int | None:
    """The one choice that has a code of the text, such as `b214`: whatever else is said beside it."""
    codes = set(_CODE.findall(said))
    fitting = [i for i, choice in enumerate(offered) if codes & set(_CODE.findall(choice.lower()))]
    return fitting[0] if len(fitting) == 1 else None


_CODE = re.compile(r"(?<!\w)(?=[\w-]*[^\W\d_])(?=[\w-]*\d)[^\W_][\w-]{2,}(?!\w)")
_LAST_TIME = re.compile(r"\b(?:last|final)\s+(?:minute|hour|day|night|week|weekend|month|year|time)s?\b")
"""Speaks of time: the last day is no last choice."""


def _by_place(said: str, offered: Sequence[str], _: date | None) -> int | None:
    count = len(offered)
    match = re.search(r"\b(?:the\s+)?(" + "|".join(map(re.escape, _PLACES)) + r")\b(?:\s+(one|option|choice|two))?", said)
    digits = re.search(
        r"(?:\b(?:option|number|choice|no\.?|nr)\s*|#)(\d{1,2})\b|\b(\d{1,2})(?:st|nd|rd|th)(?:\s+(?:one|option|choice))?\b", said
    )
    bare = re.fullmatch(r"\(?(\d{1,2})[).]?(?:\s+please)?", said)
    if digits:
        place = int(digits[1] or digits[2])
    elif bare and not any(re.search(rf"(?<!\d){bare[1]}(?!\d)", choice) for choice in offered):
        place = int(bare[1])
    elif match:
        place = _PLACES[match[1]]
    else:
        return None
    if place == -1:
        return count - 1
    return place - 1 if 1 <= place <= count else None


def _by_comparison(said: str, offered: Sequence[str], today: date | None) -> int | None:
    for pattern, kind, direction in _SUPERLATIVES:
        if not re.search(rf"\b(?:{pattern})\b", said):
            continue
        measure = _MEASURES[kind]
        values = [measure(choice, today) for choice in offered]
        if any(v is None for v in values):
            continue
        best = max(values) if direction > 0 else min(values)
        if values.count(best) == 1:
            return values.index(best)
    return None


def _by_value(said: str, offered: Sequence[str], today: date | None) -> int | None:
    """A day, time or number in the text that exactly one choice also names."""
    day = today or date(2000, 1, 1)
    readers: tuple[Callable[[str], list[Any]], ...] = (
        lambda t: [d.value for d in find_days(t, day) if d.value],
        lambda t: [c.value for c in find_times(t)],
        lambda t: [n.value for n in find_numbers(t) if not n.weak and not n.ordinal],
    )
    for read in readers:
        named = set(read(said))
        if named:
            fitting = [i for i, choice in enumerate(offered) if named & set(read(choice))]
            if len(fitting) == 1:
                return fitting[0]
    return None


def _by_words(said: str, offered: Sequence[str]) -> int | None:
    words = [w for w in re.findall(r"\w+", said) if w not in _STOP]
    if not words:
        return None
    scores = []
    for choice in offered:
        own = re.findall(r"\w+", choice.lower())
        hits = sum(max((_alike(w, o) for o in own), default=0.0) for w in words)
        scores.append(hits / len(words) + (0.5 if re.search(rf"(?<!\w){re.escape(choice.lower())}(?!\w)", said) else 0.0))
    best = max(scores)
    if best < 0.5 or sum(1 for s in scores if s > best - 0.15) > 1:
        return None
    return scores.index(best)


def _alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    close = min(len(one), len(other)) >= 5 and not any(c.isdigit() for c in one + other) and fuzz.ratio(one, other) >= 84
    return 0.9 if close else 0.0


def _amount(choice: str, _: date | None) -> Decimal | None:
    numbers = find_numbers(choice)
    priced = [n.value for n in numbers if n.currency]
    return priced[-1] if priced else (numbers[-1].value if numbers else None)


def _number(choice: str, _: date | None) -> Decimal | None:
    plain = [n.value for n in find_numbers(choice) if not n.currency and not n.ordinal]
    return plain[0] if plain else None


def _moment(choice: str, today: date | None) -> datetime | None:
    days = [d.value for d in find_days(choice, today or date(2000, 1, 1)) if d.value]
    times = [c.value for c in find_times(choice)]
    if not days and not times:
        return None
    return datetime.combine(days[0] if days else date(2000, 1, 1), times[0] if times else time())


_MEASURES: dict[str, Callable[[str, date | None], Any]] = {"amount": _amount, "number": _number, "moment": _moment}
