"""Values of an enum that a text names: in any case, plural or spelling, by label, by the one word that sets them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rapidfuzz import fuzz

from frontdesk.tools.consent import correction
from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.operation import Argument, words_of
from frontdesk.tools.slots import (
    Candidate,
    Extracted,
    Reader,
    Span,
    affinity,
    assign,
    is_free,
    kind_of,
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
    return words_of(str(labels.get(str(value), value)))


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NEGATED = re.compile(r"\b(?:not|no|without|except|instead of|rather than|isn't|don't want|never)\s+(?:the\s+|a\s+|an\s+|to\s+|from\s+)?$")


def _named(reader: Reader, argument: Argument) -> list[Candidate]:
    """Values of an enum that the text names, longest first, without overlaps."""
    tokens = [(m[0].lower(), m.start(), m.end()) for m in _WORD.finditer(reader.text)]
    hits: list[Candidate] = []
    for value in argument.enum:
        for form in {str(value), shown(argument, value)}:
            hits += _hits(reader, argument, value, form, tokens)
    hits += _heads(argument, tokens, words_near(argument) | vocabulary(reader.operation))
    hits.sort(key=lambda c: (-c.confidence, -(c.span[1] - c.span[0])))
    kept: list[Candidate] = []
    for hit in hits:
        clash = any(hit.span[0] < k.span[1] and k.span[0] < hit.span[1] for k in kept)
        if not clash and is_free(reader, hit.span) and not _NEGATED.search(reader.text[: hit.span[0]].lower()):
            kept.append(hit)
    return sorted(kept, key=lambda c: c.span)


def _hits(reader: Reader, argument: Argument, value: Any, form: str, tokens: list[tuple[str, int, int]]) -> list[Candidate]:
    wanted = re.sub(r"[^\w]", "", form.lower()).replace("_", "")
    stems = [stem(w.lower()) for w in _WORD.findall(form.replace("_", " "))]
    if not wanted:
        return []
    found = []
    for first in range(len(tokens)):
        for size in range(1, min(len(stems) + 2, len(tokens) - first + 1)):
            words = [t[0] for t in tokens[first : first + size]]
            span = (tokens[first][1], tokens[first + size - 1][2])
            sure = _likeness(words, wanted, stems)
            if not sure:
                continue
            if (len(wanted) <= 2 or form.lower() in STOP or form.lower() in _COMMON) and not _plainly_meant(reader, argument, span, form):
                continue
            found.append(Candidate(value=value, span=span, confidence=sure))
    return found


_COMMON = words("other all any none no yes on off in out open free new next last first")


def _likeness(words: list[str], wanted: str, stems: list[str]) -> float:
    joined = re.sub(r"['’]s?$", "", "".join(words)).replace("'", "")
    if joined == wanted or "".join(words) == wanted:
        return 0.97
    if len(words) == len(stems) and [stem(re.sub(r"['’]s$", "", w)) for w in words] == stems:
        return 0.93
    if any(c.isdigit() for c in wanted + joined) or min(len(wanted), len(joined)) < 5 or joined[0] != wanted[0]:
        return 0.0
    limit = 88 if len(wanted) <= 6 else 84
    ratio = fuzz.ratio(joined, wanted)
    if ratio >= limit and abs(len(joined) - len(wanted)) <= 2:
        return round(0.6 + 0.3 * ratio / 100, 3)
    swapped = len(joined) == len(wanted) and sorted(joined) == sorted(wanted)
    return 0.85 if swapped else 0.0


def _plainly_meant(reader: Reader, argument: Argument, span: Span, form: str) -> bool:
    """A value that is also an everyday word or a letter counts only as the answer itself, in its own spelling, or behind its name."""
    said = reader.text[span[0] : span[1]]
    if argument.name == reader.asked and len(_WORD.findall(reader.text)) <= 4:
        return True
    cue = {stem(w) for w in words_before(reader.text, span, 2)} | {stem(w) for w in words_after(reader.text, span, 1)}
    named = bool(cue & {stem(w) for w in words_of(argument.name).split()})
    return named or (len(said) <= 2 and said == form and said.isupper() and not reader.text.isupper() and said != "I" and said != "A")


def _heads(argument: Argument, tokens: list[tuple[str, int, int]], common: frozenset[str]) -> list[Candidate]:
    """Values named by the one word that sets them apart: "upon Tyne" aside, `Newcastle` is enough."""
    owners: dict[str, set[int]] = {}
    for index, value in enumerate(argument.enum):
        for word in _WORD.findall(shown(argument, value)):
            owners.setdefault(stem(word.lower()), set()).add(index)
    found = []
    for word, start, end in tokens:
        holders = owners.get(stem(word), set())
        value = argument.enum[next(iter(holders))] if len(holders) == 1 else None
        if value is None or len(word) < 4 or word in STOP or stem(word) in common:
            continue
        parts = len(_WORD.findall(shown(argument, value)))
        if parts > 1:
            found.append(Candidate(value=value, span=(start, end), confidence=0.72))
    return found
