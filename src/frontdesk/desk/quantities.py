"""Amounts, times and ranges as they stand in text, comparable across notations. Knows units, never meanings; refuses to guess a unit.

quantities("4 and a half months")       -> (Quantity(value=136.97, dimension=TIME, ...),)
spans("6 days to 12 hours before")     -> (Span(low=0.5, high=6.0, dimension=TIME),)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Dimension(StrEnum):
    """What kind of amount a number is."""

    MONEY = "money"
    PERCENT = "percent"
    TIME = "time"
    CLOCK = "clock"
    DATE = "date"
    WEIGHT = "weight"
    LENGTH = "length"
    VOLUME = "volume"
    DATA = "data"
    DISTANCE = "distance"
    COUNT = "count"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One amount. `value` is in the dimension's base unit: days, kilograms, metres, litres, megabytes, currency units."""

    value: float
    dimension: Dimension
    unit: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """A range of amounts; `low` and `high` are inclusive unless the text says otherwise; either may be infinite."""

    low: float
    high: float
    dimension: Dimension
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies within the range."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below


_UNITS: dict[str, tuple[Dimension, float]] = {
    **dict.fromkeys(("second", "seconds", "sec", "secs"), (Dimension.TIME, 1 / 86400)),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), (Dimension.TIME, 1 / 1440)),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), (Dimension.TIME, 1 / 24)),
    **dict.fromkeys(("day", "days", "night", "nights"), (Dimension.TIME, 1.0)),
    **dict.fromkeys(("week", "weeks", "wk", "wks"), (Dimension.TIME, 7.0)),
    **dict.fromkeys(("fortnight", "fortnights"), (Dimension.TIME, 14.0)),
    **dict.fromkeys(("month", "months", "mth", "mths"), (Dimension.TIME, 30.4375)),
    **dict.fromkeys(("year", "years", "yr", "yrs"), (Dimension.TIME, 365.25)),
    **dict.fromkeys(("g", "gram", "grams"), (Dimension.WEIGHT, 0.001)),
    **dict.fromkeys(("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms"), (Dimension.WEIGHT, 1.0)),
    **dict.fromkeys(("tonne", "tonnes"), (Dimension.WEIGHT, 1000.0)),
    **dict.fromkeys(("lb", "lbs"), (Dimension.WEIGHT, 0.45359237)),
    **dict.fromkeys(("mm", "millimetre", "millimetres"), (Dimension.LENGTH, 0.001)),
    **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), (Dimension.LENGTH, 0.01)),
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), (Dimension.LENGTH, 1.0)),
    **dict.fromkeys(("inch", "inches"), (Dimension.LENGTH, 0.0254)),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), (Dimension.DISTANCE, 1.0)),
    **dict.fromkeys(("mile", "miles"), (Dimension.DISTANCE, 1.609344)),
    **dict.fromkeys(("ml", "millilitre", "millilitres"), (Dimension.VOLUME, 0.001)),
    **dict.fromkeys(("litre", "litres", "liter", "liters", "l"), (Dimension.VOLUME, 1.0)),
    **dict.fromkeys(("mb", "megabyte", "megabytes"), (Dimension.DATA, 1.0)),
    **dict.fromkeys(("gb", "gigabyte", "gigabytes", "gig", "gigs"), (Dimension.DATA, 1024.0)),
    **dict.fromkeys(("tb", "terabyte", "terabytes"), (Dimension.DATA, 1048576.0)),
    **dict.fromkeys(("%", "percent", "per cent", "percentage points"), (Dimension.PERCENT, 1.0)),
    **dict.fromkeys(
        ("£", "gbp", "pound", "pounds", "quid", "€", "eur", "euro", "euros", "$", "usd", "dollar", "dollars"), (Dimension.MONEY, 1.0)
    ),
    **dict.fromkeys(("chf", "sek", "nok", "dkk", "pln", "jpy", "¥", "inr", "₹"), (Dimension.MONEY, 1.0)),
    **dict.fromkeys(("p", "pence", "cent", "cents"), (Dimension.MONEY, 0.01)),
}
UNIT_WORDS = frozenset(_UNITS)
"""Units as they stand in text, in lower case."""
SMALL_NUMBERS = {
    w: i
    for i, w in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
"""Numbers below twenty, by their words."""
_TENS = {w: 10 * i for i, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2)}
_BIG = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join([*SMALL_NUMBERS, *_TENS])
_WORDED = rf"(?:(?:{_WORD})(?:[ -](?:and )?(?:{_WORD}|hundred|thousand|million))*|(?:a|half a) (?:hundred|thousand|million|dozen|couple of|few)|dozen)"
_DIGITS = r"\d{1,3}(?:[,\u202f\u00a0]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d{1,2}(?!\d))?|\d+"
_UNIT = "|".join(sorted((re.escape(u) for u in _UNITS if u[0].isalpha()), key=len, reverse=True))
_NUMBER = re.compile(
    rf"(?P<pre>[£€$¥₹]|\b(?:EUR|GBP|USD|CHF|SEK|NOK|DKK|PLN)\b)?\s?"
    rf"(?P<num>\b(?:{_WORDED})\b|(?<![\w.])(?:{_DIGITS}))(?P<k>k\b)?"
    rf"(?P<half> and a half|½| and a quarter)?"
    rf"(?:\s?[- ]?\s?(?:(?:working|calendar|full|complete|business|consecutive|whole) )?(?P<unit>%|per ?cent\b|£|€|(?:{_UNIT})\b))?"
    rf"(?:(?<=h)(?P<minutes>[0-5]\d)\b|(?P<tail> and a half\b))?",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"\b(?:[01]?\d|2[0-3])[:.][0-5]\d(?![\d%]| ?%)(?: ?[ap]\.?m\b)?|\b(?:1[0-2]|0?[1-9]) ?[ap]\.?m\b|\b(?:noon|midnight|midday)\b",
    re.IGNORECASE,
)
_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DATE = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b(?: \d{{4}})?|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b|\b\d{{4}}-\d\d-\d\d\b",
    re.IGNORECASE,
)
_COLLOQUIAL = re.compile(r"\b(?P<n>\d+)\s?h\s?(?P<m>[0-5]?\d)\b", re.IGNORECASE)
_ARTICLE = re.compile(rf"\b(?:an?|half an?|one) (?P<unit>{_UNIT})\b(?P<half> and a half)?", re.IGNORECASE)


def number_from_words(text: str) -> float | None:
    """The value of an English number in words, such as "two hundred and fifty"; None when it is none."""
    total = current = 0.0
    seen = False
    for word in re.split(r"[\s-]+", text.lower().strip()):
        if word in ("and", "of", "a", "an"):
            continue
        if word in SMALL_NUMBERS or word in _TENS:
            current += SMALL_NUMBERS.get(word, _TENS.get(word, 0))
        elif word in _BIG:
            current = (current or 1) * _BIG[word]
            if word != "hundred":
                total, current = total + current, 0.0
        elif word in ("dozen", "couple", "few"):
            current = (current or 1) * {"dozen": 12, "couple": 2, "few": 3}[word]
        elif word == "half":
            total -= 0.5
        else:
            return None
        seen = True
    return total + current if seen else None


def _digits(text: str) -> float:
    text = text.replace("\u202f", "").replace("\u00a0", "")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def _money(match: re.Match[str]) -> Quantity | None:
    unit = (match["pre"] or "").lower()
    if not unit:
        return None
    value = _digits(match["num"]) if match["num"][0].isdigit() else number_from_words(match["num"])
    if value is None:
        return None
    value *= 1000 if match["k"] else 1
    end = match.end("k") if match["k"] else match.end("num")
    return Quantity(
        value=value, dimension=Dimension.MONEY, unit=unit, text=match.string[match.start() : end].strip(), start=match.start(), end=end
    )


def _plain(match: re.Match[str]) -> Quantity | None:
    raw = match["num"]
    value = _digits(raw) if raw[0].isdigit() else number_from_words(raw)
    if value is None:
        return None
    value *= 1000 if match["k"] else 1
    value += {" and a half": 0.5, "½": 0.5, " and a quarter": 0.25}.get((match["half"] or match["tail"] or "").lower(), 0.0)
    unit = (match["unit"] or "").lower().replace("per cent", "percent")
    dimension, factor = _UNITS.get(unit, (Dimension.COUNT, 1.0))
    end = match.end()
    return Quantity(value=value * factor, dimension=dimension, unit=unit, text=match[0].strip(), start=match.start("num"), end=end)


@lru_cache(maxsize=50_000)
def quantities(text: str) -> tuple[Quantity, ...]:
    """All amounts in `text`, left to right, without overlaps. A number without a unit has dimension COUNT."""
    found: list[Quantity] = []
    taken: list[tuple[int, int]] = []

    def free(start: int, end: int) -> bool:
        return all(end <= a or start >= b for a, b in taken)

    def take(quantity: Quantity | None) -> None:
        if quantity and free(quantity.start, quantity.end):
            found.append(quantity)
            taken.append((quantity.start, quantity.end))

    for m in _COLLOQUIAL.finditer(text):
        value = int(m["n"]) / 24 + int(m["m"]) / 1440
        take(Quantity(value=value, dimension=Dimension.TIME, unit="h", text=m[0], start=m.start(), end=m.end()))
    for pattern, dimension in ((_CLOCK, Dimension.CLOCK), (_DATE, Dimension.DATE)):
        for m in pattern.finditer(text):
            take(Quantity(value=0.0, dimension=dimension, unit=m[0].lower(), text=m[0], start=m.start(), end=m.end()))
    for m in _NUMBER.finditer(text):
        take(_money(m) or _plain(m))
    for m in _ARTICLE.finditer(text):
        dimension, factor = _UNITS[m["unit"].lower()]
        value = (0.5 if m[0].lower().startswith("half") else 1.0) + (0.5 if m["half"] else 0.0)
        take(Quantity(value=value * factor, dimension=dimension, unit=m["unit"].lower(), text=m[0], start=m.start(), end=m.end()))
    return tuple(sorted(found, key=lambda q: q.start))


_BELOW = re.compile(
    r"\b(?:up to|at most|no more than|not more than|maximum(?: of)?|max\.?|within|until|to)\s*(?:the )?(?:first )?$", re.IGNORECASE
)
_UNDER = re.compile(
    r"\b(?:under|below|less than|fewer than|shorter than|younger than|lighter than|before|smaller than|lower than)\s*$|<\s*$", re.IGNORECASE
)
_OVER = re.compile(
    r"\b(?:over|above|more than|longer than|older than|heavier than|after|beyond|exceeding|later than|larger than|higher than)\s*$|>\s*$",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:from|at least|minimum(?: of)?|min\.?|no less than|not less than|starting at)\s*$", re.IGNORECASE)
_PLUS = re.compile(
    r"^\s*(?:\+|or (?:more|over|above|older|longer|later|heavier)|and (?:over|above|more|older|up)|plus\b|upwards)", re.IGNORECASE
)
_LESS = re.compile(r"^\s*(?:or (?:less|under|younger|fewer|shorter|lighter)|and (?:under|below|less|younger))", re.IGNORECASE)
_BETWEEN = re.compile(r"^\s*(?:-|–|—|to|and|until|up to)\s*$", re.IGNORECASE)
_INFINITY = float("inf")


@lru_cache(maxsize=20_000)
def spans(text: str) -> tuple[Span, ...]:
    """The ranges that `text` states: "2 to 5 years", "over £300", "up to 48 hours", "10 or more". Plain amounts are no ranges."""
    amounts = quantities(text)
    result: list[Span] = []
    skip = -1
    for i, q in enumerate(amounts):
        if i <= skip or q.dimension in (Dimension.CLOCK, Dimension.DATE):
            continue
        before, after = text[: q.start].rstrip("£€$ "), text[q.end :]
        if i + 1 < len(amounts) and _BETWEEN.match(text[q.end : amounts[i + 1].start].rstrip("£€$ ") or "x"):
            span = _between(q, amounts[i + 1])
            if span:
                result.append(span)
                skip = i + 1
                continue
        result.extend(_one_sided(q, before, after))
    return tuple(result)


def _between(a: Quantity, b: Quantity) -> Span | None:
    """A range from two neighbours; the first borrows the unit of the second ("2 to 5 years")."""
    if a.dimension is Dimension.COUNT and b.dimension is not Dimension.COUNT:
        factor = _UNITS.get(b.unit, (b.dimension, 1.0))[1]
        a = Quantity(value=a.value * factor, dimension=b.dimension, unit=b.unit, text=a.text, start=a.start, end=a.end)
    if a.dimension is not b.dimension:
        return None
    low, high = sorted((a.value, b.value))
    return Span(low=low, high=high, dimension=b.dimension)


def _one_sided(q: Quantity, before: str, after: str) -> list[Span]:
    if _UNDER.search(before):
        return [Span(low=-_INFINITY, high=q.value, dimension=q.dimension, high_open=True)]
    if _OVER.search(before):
        return [Span(low=q.value, high=_INFINITY, dimension=q.dimension, low_open=True)]
    if _PLUS.match(after) or _FROM.search(before):
        return [Span(low=q.value, high=_INFINITY, dimension=q.dimension)]
    if _LESS.match(after) or _BELOW.search(before):
        return [Span(low=-_INFINITY, high=q.value, dimension=q.dimension)]
    return []
