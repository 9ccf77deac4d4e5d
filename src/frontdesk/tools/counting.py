"""How many of something a text speaks of when it calls it by another name: two dogs are two animals, "our cat" is one.

Compares the nouns by meaning, so it needs an encoder. Refuses measures ("ten nights" are no animals), money, and a noun that is hardly alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from frontdesk.models.protocols import Embedder
from frontdesk.tools.amounts import AGED, is_money, units_of
from frontdesk.tools.lexicon import STOP, words
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.operation import Argument, once, words_of
from frontdesk.tools.slots import Extracted, Span, fitted, kind_of

ALIKE = 0.4
"""Likeness (cosine) of two nouns from which one is a kind of the other; what counts time or distance is .36 at most like what counts beings."""
SURE, SINGLE = 0.75, 0.65
"""Confidence of a number with its noun, and of "my dog" for one."""
MOST_MENTIONS = 6
FURTHEST = 3
"""Words behind a number among which its noun stands: "two big old dogs"."""
_ONE = re.compile(r"\b(?:an?|my|our|his|her|their|the one|just the|one)\s+(?=[a-z])", re.IGNORECASE)
_BOTH = re.compile(r"\bboth\s+(?:of\s+)?(?:(?:my|our|the|his|her|their|these|those)\s+)?(?=[a-z])", re.IGNORECASE)
_PERSONS = words("people persons person guest passenger adult traveller traveler participant visitor player diner attendee")
_ALONE = re.compile(r"\b(?:just|only) (?:me|myself)\b|\b(?:on my own|by myself|alone)\b", re.IGNORECASE)
_PAIR = re.compile(
    r"\b(?:my|the)\s+\w+\s+and (?:me|i|myself)\b|\b(?:me|myself|i) (?:and|plus|&) (?:my \w+|the (?:wife|husband|missus|mrs|boyfriend|girlfriend))\b(?!\s+and\b)",
    re.IGNORECASE,
)
_ENDS = STOP | words("aged that which who from until till each per and with for please then but so")


@dataclass(frozen=True)
class Mention:
    """One thing that a text counts: how many, the words of which one is its noun, and where."""

    count: int
    nouns: tuple[str, ...]
    span: Span
    single: bool = False


async def count_by_noun(arguments: Sequence[Argument], text: str, *, taken: Sequence[Span], embedder: Embedder) -> dict[str, Extracted]:
    """The counts that a text gives for arguments which count things, each mention to the one whose noun it is most like.

    Several mentions of one kind add up: "a dog and two cats" are three animals. Raises ModelUnavailable.
    """
    counted = {a.name: noun for a in arguments if (noun := counted_noun(a))}
    if not counted:
        return {}
    alone = _of_persons(counted, text)
    mentions = [m for m in mentions_in(text) if not any(m.span[0] < end and start < m.span[1] for start, end in taken)][:MOST_MENTIONS]
    if not mentions:
        return _fit(arguments, alone)
    nouns = list(dict.fromkeys(n for m in mentions for n in m.nouns))
    kinds = list(dict.fromkeys(counted.values()))
    vectors = await embedder.embed([*kinds, *nouns])
    likeness = vectors[: len(kinds)] @ vectors[len(kinds) :].T
    found: dict[str, list[Mention]] = {}
    for mention in mentions:
        best = {
            name: max(float(likeness[kinds.index(kind), nouns.index(noun)]) for noun in mention.nouns) for name, kind in counted.items()
        }
        nearest = max(best, key=lambda name: best[name])
        if best[nearest] >= ALIKE:
            found.setdefault(nearest, []).append(mention)
    return _fit(arguments, {**alone, **{name: _together(those) for name, those in found.items()}})


@once
def counted_noun(argument: Argument) -> str:
    """What a whole number counts, by its description or its name; empty for measures, money and what counts nothing."""
    if kind_of(argument) != "number" or argument.type != "integer" or is_money(argument) or units_of(argument):
        return ""
    told = re.search(
        r"\b(?:number of|how many)\s+((?:[a-z]+\s+){0,2}?[a-z]+)(?=\s+(?:that|which|who|to|in|for|on|at|of|with|are|will|you|is)\b|[,.;(]|$)",
        argument.description.lower(),
    )
    if told and not set(told[1].split()) & _ENDS:
        return told[1]
    named = words_of(argument.name)
    return named if re.search(r"(?<![su])s$|^(?:people|children)$", named) and not set(named.split()) & _NO_THINGS else ""


_NO_THINGS = words("address status class times days")


def mentions_in(text: str) -> Iterator[Mention]:
    """What a text counts: "two big dogs", "both our cats", "my dog"."""
    spans: list[Span] = []
    for match in AGED.finditer(text):  # "kids of 7 and 9" are two
        spans.append(match.span())
        noun = (match["noun"] or "children").lower()
        yield Mention(count=len(re.findall(r"\d+", match["ages"])), nouns=(noun,), span=match.span())
    for number in find_numbers(text):
        if any(number.span[0] < end and start < number.span[1] for start, end in spans):
            continue
        whole = number.value == number.value.to_integral_value() and 0 < number.value < 1000
        if number.currency or number.percent or number.ordinal or not whole:
            spans.append(number.span)
            continue
        nouns = _nouns_behind(text, number.span[1])
        if nouns:
            spans.append(number.span)
            yield Mention(count=int(number.value), nouns=nouns, span=number.span, single=number.weak)
    for count, match in (*((2, m) for m in _BOTH.finditer(text)), *((1, m) for m in _ONE.finditer(text))):
        if any(match.start() < end and start < match.end() for start, end in spans):
            continue
        nouns = tuple(n for n in _nouns_behind(text, match.end()) if count == 2 or not _is_plural(n))
        if nouns:
            spans.append(match.span())
            yield Mention(count=count, nouns=nouns, span=match.span(), single=count == 1)


def _nouns_behind(text: str, at: int) -> tuple[str, ...]:
    """The words of which one is the noun of a number that ends at `at`."""
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?]", text[at : at + 60].lower()):
        if not word[0].isalpha() or word in _ENDS:
            break
        found.append(word)
    return tuple(found[:FURTHEST])


def _is_plural(noun: str) -> bool:
    return re.search(r"(?<![sui])s$", noun) is not None


def _together(mentions: Sequence[Mention]) -> tuple[int, Span, float]:
    """Their sum; one thing said twice counts once."""
    distinct = list({m.nouns[-1].rstrip("s"): m for m in mentions}.values())
    span = min(m.span[0] for m in distinct), max(m.span[1] for m in distinct)
    return sum(m.count for m in distinct), span, SINGLE if all(m.single for m in distinct) else SURE


def _of_persons(counted: Mapping[str, str], text: str) -> dict[str, tuple[int, Span, float]]:
    """For what counts persons: one for "just me", two for "me and my sister"."""
    name = next((n for n, noun in counted.items() if {w.rstrip("s") for w in noun.split()} & {p.rstrip("s") for p in _PERSONS}), "")
    told = (_PAIR.search(text), 2) if _PAIR.search(text) else (_ALONE.search(text), 1)
    return {name: (told[1], told[0].span(), SURE)} if name and told[0] is not None else {}


def _fit(arguments: Sequence[Argument], counts: Mapping[str, tuple[int, Span, float]]) -> dict[str, Extracted]:
    by_name = {a.name: a for a in arguments}
    out = {}
    for name, (count, span, sure) in counts.items():
        value, problem = fitted(by_name[name], count)
        out[name] = Extracted(value=value, span=span, confidence=sure, problem=problem)
    return out
