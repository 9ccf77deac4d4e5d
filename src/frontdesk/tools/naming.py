"""Values of an enum that a text names: in any case, plural or spelling, by label, by the one word that sets them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz

from frontdesk.tools.amounts import factor
from frontdesk.tools.consent import correction
from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.operation import Argument, once, words_of
from frontdesk.tools.slots import (
    Candidate,
    Extracted,
    Reader,
    Span,
    affinity,
    assign,
    give,
    is_free,
    kind_of,
    labelled,
    matter_of,
    open_arguments,
    vocabulary,
    words_after,
    words_before,
    words_near,
)


def take_choices(reader: Reader) -> None:
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "choice" and a.type != "boolean"]
    for group in _sharing(wanted):
        matches = {a.name: _named(reader, a) for a in group}
        lists = [a for a in group if a.type == "array"]
        for argument in lists:
            members = matches[argument.name]
            if members:
                values = list(dict.fromkeys(c.value for c in members))
                reader.found[argument.name] = Extracted(value=values, span=members[0].span, confidence=min(c.confidence for c in members))
                reader.taken += [c.span for c in members]
        single = [a for a in group if a.type != "array"]
        candidates = list({c.span: c for a in single for c in matches[a.name]}.values())
        candidates.sort(key=lambda c: c.span)
        if len(single) == 1 and len(candidates) > 1:
            candidates = _best_named(reader, single[0], candidates)
        fitting = {a.name: {c.span: c for c in matches[a.name]} for a in single}
        if single and candidates:
            assign(reader, single, candidates, lambda a, c, fitting=fitting: 0.25 if c.span in fitting[a.name] else None)  # type: ignore[misc]
        _take_counted(reader, [a for a in single if a.type in ("integer", "number") and a.name not in reader.found])


def _take_counted(reader: Reader, arguments: Sequence[Argument]) -> None:
    """Choices that are amounts, said in another measure: "two years" for 24 months."""
    for argument in arguments:
        for number in find_numbers(reader.text):
            value = number.value * factor(argument, number)
            fits = number.unit and value in [Decimal(str(v)) for v in argument.enum]
            if fits and is_free(reader, number.span) and argument.name not in reader.found:
                give(reader, argument, Candidate(value=value, span=number.span, confidence=0.85))


def _sharing(arguments: Sequence[Argument]) -> list[list[Argument]]:
    """Arguments grouped by shared values: these compete for the same words."""
    groups: list[list[Argument]] = []
    for argument in arguments:
        values = {str(v) for v in argument.enum}
        home = next((g for g in groups if any(values & {str(v) for v in other.enum} for other in g)), None)
        if home is None:
            groups.append([argument])
        else:
            home.append(argument)
    return groups


def _best_named(reader: Reader, argument: Argument, candidates: list[Candidate]) -> list[Candidate]:
    """Of several values named for one argument the surest; of equals none, unless the later one corrects the earlier."""
    best = max(c.confidence for c in candidates)
    top = [c for c in candidates if c.confidence >= best - 0.05]
    if len({c.value for c in top}) == 1 or correction(reader.text):
        return top[-1:]
    scored = sorted(top, key=lambda c: affinity(reader, argument, c, [argument], []), reverse=True)
    first, second = (affinity(reader, argument, c, [argument], []) for c in scored[:2])
    return scored[:1] if first > second + 0.2 else []


def shown(argument: Argument, value: Any) -> str:
    labels = argument.schema.get("x-labels", {}) or argument.schema.get("items", {}).get("x-labels", {})
    return re.sub(r"(?<=[a-z]{3})(?=\d)", " ", words_of(str(labels.get(str(value), value))))


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NEGATED = re.compile(r"\b(?:not|no|without|except|instead of|rather than|isn't|don't want|never)\s+(?:the\s+|a\s+|an\s+|to\s+|from\s+)?$")


def _named(reader: Reader, argument: Argument) -> list[Candidate]:
    """Values of an enum that the text names, longest first, without overlaps."""
    said = windows(reader.text)
    hits: list[Candidate] = []
    for form in _forms(argument):
        hits += _hits(reader, argument, form, said)
    common = words_near(argument) | (vocabulary(reader.operation) - labelled(argument)) | matter_of(reader.operation)
    hits += [*_heads(argument, said.tokens, common), *_shortened(argument, said.tokens, common)]
    hits.sort(key=lambda c: (-c.confidence, -(c.span[1] - c.span[0])))
    kept: list[Candidate] = []
    for hit in hits:
        clash = any(hit.span[0] < k.span[1] and k.span[0] < hit.span[1] for k in kept)
        if not clash and is_free(reader, hit.span) and not _NEGATED.search(reader.text[: hit.span[0]].lower()):
            kept.append(hit)
    return sorted(kept, key=lambda c: c.span)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One way to write a value of an enum."""

    value: Any
    text: str
    joined: str
    """Its letters and digits, lower case."""
    stems: tuple[str, ...]
    everyday: bool
    """It is also a common word, or a letter or two."""


@once
def _forms(argument: Argument) -> tuple[_Form, ...]:
    found = []
    for value in argument.enum:
        for text in dict.fromkeys(
            (str(value), shown(argument, value), *_turned(argument, value), *_sized(argument, value), *_meant_by(argument, value))
        ):
            joined = re.sub(r"[^\w]", "", text.lower()).replace("_", "")
            if joined:
                stems = tuple(stem(w.lower()) for w in _WORD.findall(text.replace("_", " ")))
                everyday = len(joined) <= 2 or text.lower() in STOP or text.lower() in _COMMON
                found.append(_Form(value=value, text=text, joined=joined, stems=stems, everyday=everyday))
    return tuple(found)


_SIZES = {"XS": "extra small", "S": "small", "M": "medium", "L": "large", "XL": "extra large", "XXL": "double extra large"}
"""What the letters of sizes stand for."""


def _sized(argument: Argument, value: Any) -> list[str]:
    """How a size by its letter is said, where all values are such letters."""
    sizes = [str(v).upper() for v in argument.enum]
    return [_SIZES[str(value).upper()]] if len(sizes) > 1 and all(v in _SIZES for v in sizes) else []


def _turned(argument: Argument, value: Any) -> list[str]:
    """How else a name with a number is said: `disc200` is "200 disc", and "the 200" where no other value has that number."""
    parts = re.fullmatch(r"([a-z ]{3,}?) ?(\d{2,})", shown(argument, value))
    if parts is None:
        return []
    alone = sum(parts[2] in re.findall(r"\d+", str(v)) for v in argument.enum) == 1
    return [f"{parts[2]} {parts[1]}", *([f"the {parts[2]}", f"{parts[2]} one"] if alone else [])]


def _meant_by(argument: Argument, value: Any) -> list[str]:
    """Words that a description puts behind a value: `large = sofa, bed, wardrobe; small = chair` makes a bed large."""
    others = "|".join(re.escape(str(v)) for v in argument.enum)
    told = re.search(
        rf"(?<!\w){re.escape(str(value))}\s*(?:=|:|means|is for)\s*(.+?)(?=[;.]|(?:,|\band)?\s*\b(?:{others})\s*(?:=|:)|$)",
        argument.description,
    )
    if told is None:
        return []
    listed = [t.strip() for t in re.split(r"[,()/]|\bor\b|\band\b|\be\.g\.", told[1])]
    return [t for t in listed if 1 <= len(t.split()) <= 3 and len(t) > 2 and t.lower() not in STOP]


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Some words of a text that stand together."""

    place: tuple[int, int]
    """Number of the first word, and how many they are."""
    span: Span
    joined: str
    """The words as one, without the apostrophe and the possessive."""


class _Windows:
    """The words of one text and all their runs, to be looked up by how they are written; one text is read for many arguments."""

    def __init__(self, text: str) -> None:
        self.tokens = [(m[0].lower(), m.start(), m.end()) for m in _WORD.finditer(text)]
        self._stems = [stem(re.sub(r"['’]s$", "", t[0])) for t in self.tokens]
        self._by_writing: dict[int, dict[str, list[_Window]]] = {}
        self._by_stems: dict[int, dict[tuple[str, ...], list[_Window]]] = {}
        self._by_letter: dict[int, dict[str, list[_Window]]] = {}

    def named(self, form: _Form) -> list[tuple[_Window, float]]:
        """The runs that name a form, in their order, and how surely each does."""
        found: dict[tuple[int, int], tuple[_Window, float]] = {}
        for size in range(1, min(len(form.stems) + 1, len(self.tokens)) + 1):
            if size not in self._by_writing:
                self._index(size)
            for window in self._by_writing[size].get(form.joined, ()):
                found[window.place] = window, 0.97
            if size == len(form.stems):
                for window in self._by_stems[size].get(form.stems, ()):
                    found.setdefault(window.place, (window, 0.93))
            for window in self._by_letter[size].get(form.joined[0], ()):
                if window.place not in found and (sure := _misspelt(window.joined, form.joined)):
                    found[window.place] = window, sure
        return [found[place] for place in sorted(found)]

    def _index(self, size: int) -> None:
        written, stemmed, lettered = self._by_writing.setdefault(size, {}), self._by_stems.setdefault(size, {}), dict[str, list[_Window]]()
        self._by_letter[size] = lettered
        for first in range(len(self.tokens) - size + 1):
            run = self.tokens[first : first + size]
            whole = "".join(t[0] for t in run)
            joined = re.sub(r"['’]s?$", "", whole).replace("'", "")
            window = _Window(place=(first, size), span=(run[0][1], run[-1][2]), joined=joined)
            for writing in dict.fromkeys((joined, whole)):
                written.setdefault(writing, []).append(window)
            stemmed.setdefault(tuple(self._stems[first : first + size]), []).append(window)
            if len(joined) >= _LEAST_MISSPELT and not any(c.isdigit() for c in joined):
                lettered.setdefault(joined[0], []).append(window)


@lru_cache(maxsize=16)
def windows(text: str) -> _Windows:
    """The words of a text, indexed; kept while one message is read."""
    return _Windows(text)


def _hits(reader: Reader, argument: Argument, form: _Form, said: _Windows) -> list[Candidate]:
    matter = set(form.stems) <= matter_of(reader.operation)
    return [
        Candidate(value=form.value, span=window.span, confidence=sure)
        for window, sure in said.named(form)
        if not (form.everyday or (matter and not _as_a_name(reader.text, window.span, form.text)))
        or _plainly_meant(reader, argument, window.span, form.text)
    ]


def _as_a_name(text: str, span: Span, form: str) -> bool:
    """Whether a value is written as the document writes it, with its capital, and not merely at the beginning of a sentence."""
    inside = re.search(r"[\w,;:]\s*$", text[: span[0]]) is not None
    return inside and text[span[0] : span[1]] == form and form[:1].isupper() and not text.isupper()


_COMMON = words("other all any none no yes on off in out open free new next last first")


_LEAST_MISSPELT = 5
"""Letters from which a word that is nearly another may be a misspelling of it."""


def _misspelt(said: str, wanted: str) -> float:
    """How surely two writings with the same first letter are one word; 0 when they are not. Without digits, five letters or more."""
    apart = abs(len(said) - len(wanted))
    if apart > 2 or len(wanted) < _LEAST_MISSPELT or any(c.isdigit() for c in wanted):
        return 0.0
    ratio = fuzz.ratio(said, wanted)
    if ratio >= (88 if len(wanted) <= 6 else 84):
        return round(0.6 + 0.3 * ratio / 100, 3)
    return 0.85 if not apart and sorted(said) == sorted(wanted) else 0.0


def _plainly_meant(reader: Reader, argument: Argument, span: Span, form: str) -> bool:
    """A value that is also an everyday word or a letter counts only as the answer itself, in its own spelling, or behind its name."""
    said = reader.text[span[0] : span[1]]
    if argument.name == reader.asked and len(_WORD.findall(reader.text)) <= 4:
        return True
    if _STRESSED.search(reader.text[: span[0]]) or _STANDING_FOR.match(reader.text[span[1] :]):
        return True
    cue = {stem(w) for w in words_before(reader.text, span, 2)} | {stem(w) for w in words_after(reader.text, span, 1)}
    named = bool(cue & {stem(w) for w in words_of(argument.name).split()})
    return named or (len(said) <= 2 and said == form and said.isupper() and not reader.text.isupper() and said != "I" and said != "A")


_STRESSED = re.compile(r"\bbrand[\s-]+$", re.IGNORECASE)
_STANDING_FOR = re.compile(r"\s+ones?\b", re.IGNORECASE)
"""Around an everyday word these say that it is meant as a choice: "brand new", "the open ones"."""
_MEASURES = frozenset(
    stem(w) for w in ("minute", "hour", "day", "night", "week", "month", "year", "kilo", "metre", "mile", "person", "people")
)
"""What is counted tells no choice from another: "month to month" is no `twelve months`."""


def _heads(argument: Argument, tokens: Sequence[tuple[str, int, int]], common: frozenset[str]) -> list[Candidate]:
    """Values named by the one word that sets them apart: "upon Tyne" aside, `Newcastle` is enough."""
    found = []
    owners = _owners(argument)
    for word, start, end in tokens:
        value = owners.get(stem(word))
        if value is not None and len(word) >= 4 and word not in STOP and stem(word) not in common and stem(word) not in _MEASURES:
            found.append(Candidate(value=value, span=(start, end), confidence=0.72))
    return found


def _shortened(argument: Argument, tokens: Sequence[tuple[str, int, int]], common: frozenset[str]) -> list[Candidate]:
    """Values of one word named by its beginning, as people shorten it: `physio`; only where no other value begins so."""
    heads = [(value, re.sub(r"[\W_]+", " ", shown(argument, value).lower()).split()) for value in argument.enum]
    found = []
    for word, start, end in tokens:
        if len(word) < _LEAST_SHORT or word in STOP or stem(word) in common or stem(word) in _MEASURES:
            continue
        begun = [value for value, parts in heads if len(parts) == 1 and parts[0].startswith(word) and len(parts[0]) >= len(word) + 2]
        if len(begun) == 1 and not any(word in parts for _, parts in heads):
            found.append(Candidate(value=begun[0], span=(start, end), confidence=0.72))
    return found


_LEAST_SHORT = 5
"""Letters from which the beginning of a word may stand for it."""


@once
def _owners(argument: Argument) -> dict[str, Any]:
    """Words that stand in one value only, as stems, and that value; values of a single word are no part of this."""
    holders: dict[str, set[int]] = {}
    lengths = []
    for index, value in enumerate(argument.enum):
        parts = _WORD.findall(shown(argument, value))
        lengths.append(len(parts))
        for word in parts:
            holders.setdefault(stem(word.lower()), set()).add(index)
    alone = {word: next(iter(indices)) for word, indices in holders.items() if len(indices) == 1}
    return {word: argument.enum[index] for word, index in alone.items() if lengths[index] > 1}
