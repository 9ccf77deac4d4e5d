"""Numbers of a text given to numeric arguments: by unit, by currency, by the words around; 2 years are 24 for a term in months."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from frontdesk.tools.lexicon import stem, words
from frontdesk.tools.numbers import Number, find_numbers
from frontdesk.tools.operation import Argument, once, words_of
from frontdesk.tools.slots import Candidate, Reader, Span, assign, fitted, is_free, kind_of, open_arguments, words_near

_CONVERSIONS: Mapping[tuple[str, str], Decimal] = {
    ("year", "month"): Decimal(12), ("week", "day"): Decimal(7), ("day", "hour"): Decimal(24), ("hour", "minut"): Decimal(60),
    ("kg", "g"): Decimal(1000), ("km", "m"): Decimal(1000), ("m", "cm"): Decimal(100), ("fortnight", "day"): Decimal(14),
    ("fortnight", "week"): Decimal(2), ("week", "night"): Decimal(7), ("fortnight", "night"): Decimal(14),
}  # fmt: skip
_ALIASES = {
    **dict.fromkeys(("kilo", "kilos", "kilogram"), "kg"),
    **dict.fromkeys(("gram", "gramm"), "g"),
    **dict.fromkeys(("metr", "meter"), "m"),
    **dict.fromkeys(("kilomet", "kilometr"), "km"),
    **dict.fromkeys(("centimet", "centimetr"), "cm"),
    "min": "minut",
    "hr": "hour",
    "yr": "year",
    "mth": "month",
    "wk": "week",
}
_BETWEEN = words("and over for from to in at on per with by of or please then but the a until till through this next")
"""Words behind a number that are no unit."""
_SIZES = frozenset({"kg", "g", "km", "m", "cm", "mm", "mile", "inch", "foot", "feet", "stone", "litr", "degre"})
"""Measures of things: with one of these a number counts nothing."""
_MEASURES = frozenset({u for pair in _CONVERSIONS for u in pair}) | _SIZES
_MONEY = words(
    "price amount fee total cost balance budget payment salary income earnings value deposit loan rent spend spent limit wage principal sum"
)
AGED = re.compile(
    r"\b(?:(?P<noun>kids|children|boys|girls|sons|daughters|twins|grandchildren|grandkids|teenagers|dogs|cats)\s*(?:,\s*|\(\s*)?"
    r"(?:(?:aged|of|are|who are|ages)\s+)?|(?:the(?:y(?:['’]?re| are)|re)|aged|ages)\s+)"
    r"(?P<ages>\d{1,2}(?:\s*(?:,|and|&)\s*\d{1,2})+)(?!\s*(?:%|[£€$]|[a-z]*(?:night|day|week|hour|o'clock)))\b",
    re.IGNORECASE,
)
"""Ages of several, which count nothing: "kids of 7 and 9"."""
WITH_OTHERS = 0.25
"""What a number gains beside another value that the operation needs: of several it is the one that is meant."""


def take_numbers(reader: Reader) -> None:
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "number"]
    if not wanted:
        return
    aged = [m.span("ages") for m in AGED.finditer(reader.text)]
    usable = [n for n in find_numbers(reader.text) if is_free(reader, n.span) and not (n.ordinal and reader.asked == "")]
    usable = [n for n in usable if not any(a <= n.span[0] < b for a, b in aged)]
    usable = [n for n in usable if not n.weak or reader.asked in {a.name for a in wanted} or n.unit]
    usable = [n for n in usable if not (n.value == 1 and _before_a_choice(reader, n.span))]
    candidates = [Candidate(value=n.value, span=n.span, confidence=0.9 if not n.weak else 0.65, number=n) for n in usable]
    if candidates and wanted:
        _assign_numbers(reader, wanted, candidates)


def _before_a_choice(reader: Reader, span: Span) -> bool:
    """Whether a choice is what is counted: "one hut for all" says which kind is meant, not for how many."""
    behind = re.match(r"\s+", reader.text[span[1] :])
    start = span[1] + behind.end() if behind else -1
    chosen = {a.name for a in reader.operation.askable if a.enum}
    return any(name in chosen and found.span[0] == start for name, found in reader.found.items())


def _assign_numbers(reader: Reader, wanted: list[Argument], candidates: list[Candidate]) -> None:
    def floor(argument: Argument, candidate: Candidate) -> float | None:
        number = candidate.number
        suits = None if number is None else _suits(reader, argument, number)
        return suits if suits is None else suits + WITH_OTHERS * _beside_a_value(reader, candidate.span)

    assign(reader, wanted, candidates, floor)
    for name, extracted in list(reader.found.items()):
        argument = reader.operation.argument(name)
        number = next((c.number for c in candidates if c.span == extracted.span), None)
        if argument is not None and number is not None and argument in wanted:
            converted = number.value * factor(argument, number)
            value, reason = fitted(argument, converted)
            reader.found[name] = replace(extracted, value=value, problem=reason)


def _beside_a_value(reader: Reader, span: Span) -> bool:
    """Whether another value of the operation stands in the same sentence: "Gold with 60 users, please. We have asked three firms."."""
    held = (found.span for found in reader.found.values())
    between = (
        reader.text[min(a, b) : max(a, b)] for a, b in ((end, span[0]) if end <= span[0] else (span[1], start) for start, end in held)
    )
    return any(not re.search(r"[.!?](?:\s|$)", said) for said in between)


def _suits(reader: Reader, argument: Argument, number: Number) -> float | None:
    """How well a number's own unit fits an argument; None when it speaks of something else."""
    words = set(words_of(argument.name).split())
    unit = _unit_stem(number.unit)
    money = is_money(argument)
    rate = bool(words & {"rate", "percent", "percentage", "pct", "apr", "interest"}) or "percent" in argument.description.lower()
    if number.currency:
        return 0.6 if money else (None if units_of(argument) or rate else -0.3)
    if number.percent:
        return 0.6 if rate else None
    if _RATE.match(reader.text[number.span[1] :].lower()):
        return 0.5 if money else None if units_of(argument) else 0.0
    units = units_of(argument)
    if unit in _MEASURES:
        if money:
            return None
        if units:
            return 0.8 if factor(argument, number) != 1 or unit in units else None
        counts = argument.type == "integer" and unit in _SIZES and argument.name != reader.asked
        return 0.8 if unit in words_near(argument) else (None if rate or counts else -0.2)
    if number.unit and unit in words_near(argument):
        return 0.7
    foreign = bool(number.unit) and len(number.unit) > 2 and number.unit not in _BETWEEN
    integer = argument.type == "integer"
    if integer and number.value != number.value.to_integral_value():
        return None if argument.name != reader.asked else 0.0
    if foreign and units:
        return APART  # "two dogs" are no nights
    if foreign and reader.asked and integer and not money and _alone_counts(reader, argument):
        return 0.2
    size = abs(number.value)
    if money and len([a for a in reader.operation.askable if kind_of(a) == "number"]) > 1:
        return 0.15 if size >= 100 else -0.2 if foreign else 0.0
    return -0.1 if foreign else 0.1


APART = -0.4
"""What a number loses that counts something else than its argument is counted in."""


def _alone_counts(reader: Reader, argument: Argument) -> bool:
    """Whether no other number that is still wanted counts things that have no measure: "two cats", when nights and animals are asked for."""
    others = [a for a in open_arguments(reader) if kind_of(a) == "number" and a.name != argument.name]
    return bool(others) and all(units_of(a) or is_money(a) for a in others)


_RATE = re.compile(r"\s*(?:a|an|per|each|every|/)\s*(?:hour|day|week|fortnight|month|year|annum|head|person|night|piece|unit)\b")
"""What follows an amount that recurs: "30 a month" is no number of months."""


@once
def is_money(argument: Argument) -> bool:
    named = bool(set(words_of(argument.name).split()) & _MONEY)
    return named or re.search(r"\bin (?:pounds|euros?|dollars)|\bcurrency\b|\bmoney\b", argument.description.lower()) is not None


def _unit_stem(unit: str) -> str:
    root = stem(unit) if unit else ""
    return _ALIASES.get(unit, _ALIASES.get(root, root))


@once
def units_of(argument: Argument) -> set[str]:
    """Units an argument is counted in, as stems: from `x-unit`, its name's words, "in months" in its description."""
    named = str(argument.schema.get("x-unit", ""))
    if not named and is_money(argument):
        return set()  # "weekly earnings" are money, not weeks
    words = [
        *words_of(argument.name).split(),
        *(["years"] if "age" in words_of(argument.name).split() else []),
        named,
        *re.findall(r"\bin (\w+)", argument.description.lower()),
        *re.findall(r"number of (\w+)", argument.description.lower()),
    ]
    return {_unit_stem(w.lower()) for w in words if w} & _MEASURES


def factor(argument: Argument, number: Number) -> Decimal:
    """What a number of one unit is multiplied with to count in the argument's: 2 years for a term in months -> 12."""
    unit = _unit_stem(number.unit)
    units = units_of(argument)
    if not unit or not units or unit in units:
        return Decimal(1)
    for own in units:
        if (unit, own) in _CONVERSIONS:
            return _CONVERSIONS[(unit, own)]
        if (own, unit) in _CONVERSIONS:
            return 1 / _CONVERSIONS[(own, unit)]
    return Decimal(1)
