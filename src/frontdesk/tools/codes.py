"""Codes, e-mail addresses and telephone numbers in a text: whatever has the form that a pattern or an example describes.

Refuses to take a plain word for a code only because it has the right length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.operation import Argument, words_of
from frontdesk.tools.slots import (
    Candidate,
    Extracted,
    Reader,
    Span,
    affinity,
    assign,
    compiled,
    give,
    is_free,
    kind_of,
    open_arguments,
    shape_of,
    vocabulary,
    words_before,
    words_near,
)


def take_codes(reader: Reader) -> None:
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "code"]
    wanted.sort(key=lambda a: (a.name != reader.asked, not a.required))
    for argument in wanted:
        matches = [c for c in _codes(reader, argument) if is_free(reader, c.span)]
        if argument.type == "array" and matches:
            partner = next((a for a in wanted if a.each == argument.name and a.type == "array"), None)
            olds, news = _paired(reader, matches) if partner is not None else (matches, [])
            _give_list(reader, argument, olds)
            if partner is not None and news:
                _give_list(reader, partner, news)
        elif matches:
            siblings = [a for a in reader.operation.askable if kind_of(a) == "code"]
            best = max(
                matches,
                key=lambda c: c.confidence + 0.1 * affinity(reader, argument, c, siblings, [m.span for m in matches if m is not c]),
            )
            give(reader, argument, best)


def codes_in(argument: Argument, text: str) -> list[str]:
    """The words of a text that have the form of an argument, in their order."""
    pattern = argument.pattern or shape_of(argument)
    return [m[0] for m in re.finditer(r"[#\w][\w\-]*", text) if pattern and _whole(pattern, m[0])]


def _give_list(reader: Reader, argument: Argument, matches: list[Candidate]) -> None:
    values = list(dict.fromkeys(c.value for c in matches))
    span = (matches[0].span[0], matches[-1].span[1])
    reader.found[argument.name] = Extracted(value=values, span=span, confidence=min(c.confidence for c in matches))
    reader.taken += [c.span for c in matches]


_ANY_CODE = r"^(?!\d+(?i:st|nd|rd|th|am|pm|kg|km|cm|mm|min|mins|yrs?|hrs?|[kmhx])$)(?=\D*\d)[A-Za-z]{0,5}[#-]?\d[\w-]{2,30}$"
"""The form of an identifier of which nothing is known."""
_TURNS = re.compile(r"\b(?:for|to|into|with|by)\b|->|→")


def _paired(reader: Reader, matches: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """What "A for B and C for D" or "A and C for B and D" gives up and gets; all of it on the first side when the words do not pair them."""
    turns = [
        i
        for i, (a, b) in enumerate(pairwise(matches))
        if _TURNS.search(reader.text[a.span[1] : b.span[0]].lower()) and b.span[0] - a.span[1] < 80
    ]
    half = len(matches) // 2
    if len(matches) % 2 == 0 and turns == list(range(0, len(matches), 2)):
        return matches[::2], matches[1::2]
    if len(matches) % 2 == 0 and turns == [half - 1]:
        return matches[:half], matches[half:]
    return matches, []


def _codes(reader: Reader, argument: Argument) -> list[Candidate]:
    """Places in the text that have the form of the argument, in any case and with other spacing, that are codes and not plain words."""
    pattern = argument.pattern or shape_of(argument) or _ANY_CODE
    tokens = [(m.start(), m.end()) for m in re.finditer(r"[#\w][\w#./\-]*", reader.text)]
    tokens = [(s, e - 1 if reader.text[e - 1] in ".-/" else e) for s, e in tokens]
    whole = argument.name == reader.asked
    found: list[Candidate] = []
    for first in range(len(tokens)):
        for last in range(min(first + 4, len(tokens)) - 1, first - 1, -1):
            span = (tokens[first][0], tokens[last][1])
            if span[1] - span[0] > 64 or any(span[0] < f.span[1] and f.span[0] < span[1] for f in found):
                continue
            measured = _MEASURED.match(reader.text[span[1] :]) is not None and reader.text[span[0] : span[1]].isdigit()
            value = None if measured else _formed(pattern, reader.text[span[0] : span[1]], meant=whole or _cued(reader, argument, span))
            if value is None:
                continue
            sure = _code_confidence(reader, argument, span, value, parts=last - first + 1, whole=whole)
            if sure:
                found.append(Candidate(value=value, span=span, confidence=sure))
    return found


def _formed(pattern: str, said: str, *, meant: bool) -> str | None:
    """What was said, in the spelling that the pattern wants; None when no spelling of it fits. `meant`: a fixed prefix may be left out."""
    if pattern == _ANY_CODE:
        return said.upper() if _whole(pattern, said) else None
    joined = re.sub(r"[\s\-./]+", "", said)
    big = joined.upper()
    spaced = re.sub(r"(?<=[A-Z])(?=\d)", " ", big)
    spellings = [said, said.upper(), joined, big, said.lower(), joined.lower(), f"#{big}"]
    spellings += [re.sub(r"[\s-]+", gap, said.upper()) for gap in ("-", " ")] + [spaced, spaced.replace(" ", "-"), spaced.replace(" ", "_")]
    prefix = re.match(r"\^?(#?[A-Za-z]+[- _]?)(?![?*{|])", pattern)
    if meant and prefix and any(c.isdigit() for c in joined):
        spellings += [prefix[1] + joined, prefix[1] + big]
    return next((s for s in spellings if _whole(pattern, s)), None)


@lru_cache(maxsize=4096)
def _whole(pattern: str, text: str) -> bool:
    match = compiled(pattern).search(text)
    return match is not None and match[0] == text


_MEASURED = re.compile(
    r"\s*(?:cm|mm|m|km|kg|g|lbs?|kilos?|stone|miles?|inch(?:es)?|f(?:oo|ee)t|litres?|%|quid|pounds?|euros?|people|persons?|adults?|kids?|children|nights?|"
    r"days?|weeks?|months?|years?|hours?|hrs?|min(?:ute)?s?|steps?|times)\b",
    re.IGNORECASE,
)
"""What stands behind a number that is an amount and no code."""
_CODE_CUES = words("number no nr reference ref code id booking order ticket account tracking serial called is hash")


def _cued(reader: Reader, argument: Argument, span: Span) -> bool:
    """True when a word close before says that a code follows: "reference", "order number is"."""
    named = words_near(argument) | {stem(w) for w in words_of(argument.name).split()} | _CODE_CUES
    return bool({stem(w) for w in words_before(reader.text, span, 3)} & named)


def _code_confidence(reader: Reader, argument: Argument, span: Span, value: str, *, parts: int, whole: bool) -> float:
    said = reader.text[span[0] : span[1]]
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    written_as_code = said == value or (said.isupper() and not reader.text.isupper())
    alone = whole and len(reader.text) - (span[1] - span[0]) <= 25
    cue = _cued(reader, argument, span)
    if parts > 1 and not _joinable(said, value):
        return 0.0
    if not has_digit:
        if said.lower() in STOP or stem(said.lower()) in words_near(argument) or stem(said.lower()) in vocabulary(reader.operation):
            return 0.0
        if said.isupper() and not reader.text.isupper() and len(said) > 1:
            return 0.85
        return 0.7 if (alone or (cue and said.isupper())) and parts == 1 else 0.0
    if not has_letter and not (cue or whole or len(value) >= 5):
        return 0.0
    if parts > 1 and not (written_as_code or cue or whole or _has_fixed_prefix(argument)):
        return 0.0
    return 0.95 if written_as_code or cue or whole else 0.85


def _joinable(said: str, value: str) -> bool:
    """Several words make one code when every part is a piece of it: digits, or letters that are no common words."""
    if re.sub(r"\s+", " ", said).upper() == value.upper():
        return not any(part.lower() in STOP for part in said.split()[:1]) or any(c in value for c in " -")
    parts = re.split(r"[\s\-./]+", said)
    return all(any(c.isdigit() for c in part) or part.isupper() or (len(part) <= 3 and part.lower() not in STOP) for part in parts)


def _has_fixed_prefix(argument: Argument) -> bool:
    return re.match(r"\^?#?[A-Za-z]{2,}", argument.pattern or "") is not None


_EMAIL = re.compile(r"[\w.+\-]{1,64}@[\w\-]+(?:\.[\w\-]+)+")
_PHONE = re.compile(r"(?<![\w.])(?:\+|00)?\(?\d[\d\s().\-/]{5,20}\d(?!\w)")


def take_contacts(reader: Reader) -> None:
    for kind, pattern in (("email", _EMAIL), ("phone", _PHONE)):
        candidates = []
        for match in pattern.finditer(reader.text):
            digits = re.sub(r"\D", "", match[0])
            if kind == "phone" and not 7 <= len(digits) <= 15:
                continue
            if is_free(reader, match.span()) and not (
                kind == "phone" and re.fullmatch(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{4}", match[0])
            ):
                candidates.append(Candidate(value=match[0].rstrip(".").strip(), span=match.span(), confidence=0.95))
        wanted = [a for a in open_arguments(reader) if kind_of(a) == kind]
        if wanted and candidates:
            assign(reader, wanted, candidates, lambda a, c: 0.3)
