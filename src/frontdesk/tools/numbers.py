"""Numbers in free words: `1,400`, `about 250k`, `two hundred and fifty thousand`, `£23.90`, `half a dozen`. Exact, and refuses to guess:
a lone `one` is marked weak, because people say "the second one".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: value for value, word in enumerate(_UNITS.split(" "))} | {word: 20 + 10 * i for i, word in enumerate(_TENS.split(" "))}
_SCALES = {"hundred": 100, "thousand": 1_000, "grand": 1_000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
_SUFFIXES = {"k": 1_000, "thousand": 1_000, "grand": 1_000, "hundred": 100, "m": 1_000_000, "mn": 1_000_000, "mio": 1_000_000}
_SUFFIXES |= {"million": 1_000_000, "bn": 1_000_000_000, "billion": 1_000_000_000, "dozen": 12}
_ORDINAL_STEMS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12, "twentieth": 20, "thirtieth": 30}
_ODD = ("fiveth", "eightth", "nineth", "twelveth")
_ORDINAL_ONES = _ORDINAL_STEMS | {"fourth": 4, "sixth": 6, "seventh": 7}
ORDINALS = _ORDINAL_STEMS | {f"{word}th": value for word, value in SMALL.items() if 3 < value < 20 and f"{word}th" not in _ODD}
ORDINALS |= {f"{tens}-{one}": SMALL[tens] + n for tens in ("twenty", "thirty") for one, n in _ORDINAL_ONES.items() if n < 10}
"""Ordinal words up to thirty-ninth, with a hyphen."""
_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR"}
_CURRENCY_WORDS = {
    "euro": "EUR", "euros": "EUR", "eur": "EUR", "pound": "GBP", "pounds": "GBP", "quid": "GBP", "gbp": "GBP", "sterling": "GBP",
    "dollar": "USD", "dollars": "USD", "bucks": "USD", "usd": "USD", "yen": "JPY", "jpy": "JPY", "francs": "CHF", "chf": "CHF",
    "rupees": "INR", "inr": "INR", "kr": "SEK", "sek": "SEK", "nok": "NOK", "dkk": "DKK", "zł": "PLN", "pln": "PLN",
}  # fmt: skip

_DIGITS = re.compile(
    r"(?<![\w.,])(?<![^\W\d_]-)(?P<sign>[-−](?=[\d€£$]))?(?P<front>[€£$¥₹]|\b(?:EUR|GBP|USD|CHF)\b)?\s?"
    r"(?P<num>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:['  ]\d{3})+(?!\d)|\d+(?:[.,]\d+)?)"
    r"(?P<mag>\s?(?:k|mn|mio|bn|million|billion|thousand|grand|hundred|dozen)\b|m\b)?",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\s?(?P<pct>%|percent\b|per cent\b)|(?P<ord>st|nd|rd|th)\b|\s?(?P<back>[€£$])|[\s-]*(?P<unit>[^\W\d_]+)?", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*|\d+(?:\.\d+)?")


_NO_NUMBER = re.compile(
    r"\b(?:(?:all )?in one go|(?:all )?at one time|one by one|one another|no one|one day(?= (?:i|we|you|he|she|it|they|my|our|when|soon|maybe)\b)|one of|one more thing|for one(?! \w+s?\b)|(?:the|this|that|which|any|every|each) one(?! (?:year|month|week|day|hour|night|person|adult|child)))\b",
    re.IGNORECASE,
)
"""Turns of phrase whose "one" counts nothing."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number as it stands in a text; `span` covers what names the amount, sign and unit word aside."""

    value: Decimal
    span: tuple[int, int]
    unit: str = ""
    """The word behind it, lower case: `years`, `kg`, `people`."""
    currency: str = ""
    percent: bool = False
    ordinal: bool = False
    weak: bool = False
    """True for a lone `one`, which is a pronoun as often as a number."""


def find_numbers(text: str) -> list[Number]:
    """All numbers of a text in their order, without overlaps."""
    return list(_numbers_in(text))


@lru_cache(maxsize=128)
def _numbers_in(text: str) -> tuple[Number, ...]:
    found = [*_in_digits(text), *_single_periods(text)]
    for number in _in_words(text):
        if not any(number.span[0] < other.span[1] and other.span[0] < number.span[1] for other in found):
            found.append(number)
    return tuple(sorted((replace(n, value=_shortest(n.value)) for n in found), key=lambda n: n.span))


def _single_periods(text: str) -> Iterator[Number]:
    """A length of time: "for a week", and "a fortnight, please" as an answer; "30 a week" and "once a month" are none."""
    for match in _SINGLE_PERIOD.finditer(text):
        yield Number(value=Decimal(1), span=match.span("one"), unit=match["unit"].lower())


_SINGLE_PERIOD = re.compile(
    r"(?:^\W*|\b(?:for|just|only|about|maybe|say|make it|over)\s+)(?P<one>an?)\s+(?:whole |full )?(?P<unit>night|day|week|fortnight|month|year)\b"
    r"(?!\s+(?:ago|earlier|later|before|after|from|on|in|off)\b)",
    re.IGNORECASE,
)


def _shortest(value: Decimal) -> Decimal:
    """`2500000.0` as `2500000`; digits behind the point that were said stay."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value


def _in_digits(text: str) -> Iterator[Number]:
    for match in _DIGITS.finditer(text):
        front = (match["front"] or "").upper()
        magnitude = (match["mag"] or "").strip().lower()
        if magnitude == "m" and not front:
            magnitude = ""  # metres or minutes; a million only behind a currency sign
        end = match.end() if magnitude or not match["mag"] else match.start("mag")
        value = _plain(match["num"]) * _SUFFIXES.get(magnitude, 1)
        if match["sign"]:
            value = -value
        number = Number(value=value, span=(match.start(), end), currency=_SIGNS.get(front, front))
        yield _with_surroundings(text, number, own_words=False)


def _with_surroundings(text: str, number: Number, *, own_words: bool) -> Number:
    after = _AFTER.match(text, number.span[1])
    if after is None:
        return number
    unit = (after["unit"] or "").lower()
    currency = number.currency or _SIGNS.get(after["back"] or "", "") or _CURRENCY_WORDS.get(unit, "")
    ordinal = bool(after["ord"]) and not own_words
    return replace(number, unit="" if unit in _CURRENCY_WORDS else unit, currency=currency, percent=bool(after["pct"]), ordinal=ordinal)


def _plain(digits: str) -> Decimal:
    digits = re.sub(r"['  ]", "", digits)
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        return Decimal(digits.replace(",", ""))
    return Decimal(digits.replace(",", "."))


def _in_words(text: str) -> Iterator[Number]:
    tokens = [(m[0].lower(), m.start(), m.end()) for m in _WORD.finditer(text)]
    index = 0
    while index < len(tokens):
        used, value = _read(tokens, index)
        if not used:
            index += 1
            continue
        span = (tokens[index][1], tokens[index + used - 1][2])
        if used == 1 and tokens[index][0] == "one" and any(m.start() <= span[0] < m.end() for m in _NO_NUMBER.finditer(text)):
            index += 1
            continue
        number = Number(value=value, span=span, weak=used == 1 and tokens[index][0] == "one")
        yield _with_surroundings(text, number, own_words=True)
        index += used


def _read(tokens: list[tuple[str, int, int]], start: int) -> tuple[int, Decimal]:
    """How many tokens from `start` make a number, and which. (0, 0) when they do not."""
    words = [w for token in tokens[start : start + 12] for w in [token[0]]]
    for phrase, value in (("half a dozen", 6), ("half a million", 500_000), ("a couple", 2), ("half a thousand", 500)):
        parts = phrase.split(" ")
        if words[: len(parts)] == parts:
            return len(parts), Decimal(value)
    total, current, used, seen = Decimal(0), Decimal(0), 0, False
    for position, word in enumerate(words):
        small = _small(word)
        if small is not None:
            if seen and current % 100 and not (current % 10 == 0 and small < 10 and current % 100 >= 20):
                break
            current += small
        elif word in _SCALES and (seen or words[:1] in (["a"], ["an"])):
            scale = _SCALES[word]
            current = (current or Decimal(1)) * scale
            if scale >= 1_000:
                total, current = total + current, Decimal(0)
        elif (word in ("a", "an") and position == 0 and len(words) > 1 and words[1] in _SCALES) or (
            word == "and" and seen and position + 1 < len(words) and (_small(words[position + 1]) is not None) and (total or current >= 100)
        ):
            continue
        elif word == "and" and seen and words[position + 1 : position + 3] == ["a", "half"]:
            scale_word = words[position + 3] if position + 3 < len(words) and words[position + 3] in _SCALES else ""
            extra = 4 if scale_word else 3
            return position + extra, (total + current + Decimal("0.5")) * _SCALES.get(scale_word, 1)
        elif word == "point" and seen and position + 1 < len(words) and (SMALL.get(words[position + 1], 99) < 10):
            digits = ""
            while position + 1 + len(digits) < len(words) and SMALL.get(words[position + 1 + len(digits)], 99) < 10:
                digits += str(SMALL[words[position + 1 + len(digits)]])
            return position + 1 + len(digits), total + current + Decimal(f"0.{digits}")
        else:
            break
        seen, used = True, position + 1
    return (used, total + current) if seen else (0, Decimal(0))


def _small(word: str) -> int | None:
    if word in SMALL:
        return SMALL[word]
    tens, _, rest = word.partition("-")
    if rest and SMALL.get(tens, 0) >= 20 and 0 < SMALL.get(rest, 0) < 10:
        return SMALL[tens] + SMALL[rest]
    return None
