"""Who comes along, counted: "me, my wife and a nine-year-old" are two adults and a child. Counts people of a company's customers, names nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from frontdesk.tools.lexicon import words
from frontdesk.tools.numbers import SMALL as NUMERALS
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.operation import Argument, words_of
from frontdesk.tools.slots import Candidate, Reader, Span, give, is_free, kind_of, open_arguments

GROWN, SMALL = 16, 2
"""Years from which somebody counts as an adult, and up to which as an infant."""
_KINDS: Mapping[str, frozenset[str]] = {
    "adult": words(
        "adult adults grown-up grown-ups grownup grownups wife husband partner spouse friend friends mate mates man men woman women lady ladies "
        "parents mother father mum mom dad sister brother colleague colleagues girlfriend boyfriend grandmother grandfather gran grandma "
        "grandad grandpa aunt uncle pensioner pensioners"
    ),
    "child": words(
        "child children kid kids son sons daughter daughters boy boys girl girls toddler toddlers grandson granddaughter grandchild "
        "grandchildren nephew niece teenager teenagers youngster youngsters"
    ),
    "infant": words("baby babies infant infants newborn newborns"),
    "person": words("people persons person guests guest passengers passenger travellers traveller heads"),
}
_PAIRS = words("parents grandparents")
"""Who "my parents" are: two."""
_COUNTED: Mapping[str, frozenset[str]] = {
    "adult": words("adult adults"),
    "child": words("child children kid kids"),
    "infant": words("infant infants baby babies"),
    "all": words("people persons guests passengers travellers travelers participants visitors attendees party heads"),
}
"""Words of an argument's name that say whom it counts."""
_ONE = r"(?:a|an|one|my|our|his|her|the)"
_HOW = rf"{_ONE}|\d{{1,2}}|{'|'.join(NUMERALS)}"
_MANY = words("children men women ladies")
_AGED = re.compile(
    rf"\b(?P<how>{_HOW})\s+(?P<age>\d{{1,3}}|[a-z]+(?:-[a-z]+)?)[\s-]*(?:years?|yrs?|yo|y/o)(?:[\s-]*olds?)?\b(?:\s+(?P<noun>[a-z-]+))?",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"\b(?:(?:my|our|his|her|the)\s+)?(?P<how>{_HOW})\s+(?:(?:little|small|young|older|younger|big|other|more)\s+)?(?P<noun>[a-z]+(?:-[a-z]+)?)\b",
    re.IGNORECASE,
)
_MYSELF = re.compile(
    r"\b(?:me|myself|i)\s*(?:,|\band\b|\+|&|\bplus\b|\bwith\b)|\b(?:and|plus|&)\s+(?:me|myself|i)\b(?!\s+(?:would|want|need|have|am|can|will|'))",
    re.IGNORECASE,
)


_OF_US = re.compile(rf"\b(?:the )?(?P<how>{_HOW}) of us\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Mention:
    """Some people of one kind (adult, child, infant, or person where nothing more is said), and where they stand in the text."""

    kind: str
    count: int
    span: Span


def mentions(text: str) -> list[Mention]:
    """Everybody whom a text brings along, in order; the speaker only where they are named beside others."""
    found: list[Mention] = []
    for match in _AGED.finditer(text):
        age, how = _number(match["age"]), _count(match["how"])
        if age is not None and how is not None and match["noun"] not in ("account", "house", "car", "dog", "cat"):
            found.append(Mention(kind="infant" if age < SMALL else "child" if age < GROWN else "adult", count=how, span=match.span()))
    for match in _NAMED.finditer(text):
        noun, how = match["noun"].lower(), _count(match["how"])
        kind = next((k for k, names in _KINDS.items() if noun in names), None)
        if how == 1 and (noun in _MANY or noun.endswith("s")) and noun not in _PAIRS:
            continue  # "the children" may be any number
        if kind is not None and how is not None and not any(_overlap(match.span(), m.span) for m in found):
            found.append(Mention(kind=kind, count=2 if noun in _PAIRS and how == 1 else how, span=match.span()))
    for match in _OF_US.finditer(text):
        how = _count(match["how"])
        if how is not None:
            return [Mention(kind="person", count=how, span=match.span())]  # who they are is said apart, and counted in it
    myself = _MYSELF.search(text)
    if myself is not None and found:
        found.append(Mention(kind="adult", count=1, span=myself.span()))
    return sorted(found, key=lambda m: m.span)


def take_people(reader: Reader) -> None:
    """Fills the arguments that count people, where the text says who they are."""
    wanted = {kind: argument for argument in open_arguments(reader) if (kind := _counts(argument)) is not None}
    if not wanted or any("age" in words_of(a.name).split() for a in reader.operation.askable):
        return  # where an age is asked for, a nine-year-old is nine
    who = [m for m in mentions(reader.text) if is_free(reader, m.span)]
    if "infant" not in wanted and "child" in wanted:
        who = [Mention(kind="child", count=m.count, span=m.span) if m.kind == "infant" else m for m in who]
    for kind, argument in wanted.items():
        mine = [m for m in who if kind in ("all", m.kind)]
        if mine:
            give(reader, argument, Candidate(value=sum(m.count for m in mine), span=mine[0].span, confidence=0.85))
            reader.taken += [m.span for m in mine]


def _counts(argument: Argument) -> str | None:
    """Whom a number counts: adult, child, infant, or all."""
    if kind_of(argument) != "number":
        return None
    named = set(words_of(argument.name).split())
    return next((kind for kind, said in _COUNTED.items() if said & named), None)


def _count(word: str) -> int | None:
    return 1 if re.fullmatch(_ONE, word, re.IGNORECASE) else _number(word)


def _number(word: str) -> int | None:
    found = find_numbers(word)
    whole = len(found) == 1 and found[0].span == (0, len(word)) and found[0].value == found[0].value.to_integral_value()
    return int(found[0].value) if whole and not found[0].ordinal else None


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
