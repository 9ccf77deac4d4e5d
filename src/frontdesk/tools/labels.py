"""What the codes of an enum mean, as the document itself says it: `ASH = Ashcombe Quay, BRI = Brinmouth`.

Reads descriptions, and the lists of names that generators write beside an enum. Refuses to guess: every code that is listed has a meaning of
its own, or none has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 8
"""Words of a meaning; more is an explanation and no name."""
_LISTS = ("x-enum-varnames", "x-enumNames", "x-enum-names", "x-enum-descriptions", "x-enumDescriptions")
_MARKS = r"[`'\"“”‘’*]*"
_BEHIND = re.compile(rf"^{_MARKS}\s*(?:=+>?|->|→|:|[–—-](?=\s)|\bfor\b|\bmeans\b|\bis\b|\bstands for\b|\()?\s*", re.IGNORECASE)
_END = re.compile(r"[,;\n|•)]|\.(?:\s|$)|\s\*\s|\s[–—-]\s|\s(?:and|or)\s*$")


def labels_of(values: Sequence[Any], node: Mapping[str, Any], description: str) -> dict[str, str]:
    """The meaning of each value; empty when the document gives none."""
    codes = [str(v) for v in values if v is not None]
    if len(codes) < 2 or len(set(codes)) < len(codes):
        return {}
    for key in _LISTS:
        named = node.get(key)
        if isinstance(named, Mapping) and all(isinstance(named.get(c), str) for c in codes):
            return {c: str(named[c]) for c in codes}
        if isinstance(named, list) and len(named) == len(codes) and all(isinstance(n, str) for n in named):
            return dict(zip(codes, (re.sub(r"[_\W]+", " ", n).strip() for n in named), strict=True))
    return _behind(codes, description) or _before(codes, description)


def _behind(codes: Sequence[str], text: str) -> dict[str, str]:
    """`CODE = meaning` or `CODE meaning`, one after the other."""
    places = _places(codes, text)
    if places is None:
        return {}
    ends = [start for start, _, _ in places[1:]] + [len(text)]
    found = {}
    for (_, end, code), until in zip(places, ends, strict=True):
        said = _BEHIND.sub("", text[end:until], count=1)
        said = re.sub(r"^(?:and|or)\b\s*", "", said)
        cut = _END.search(said)
        found[code] = _plain(said[: cut.start()] if cut else said)
    return found if _tell(found) else {}


def _before(codes: Sequence[str], text: str) -> dict[str, str]:
    """`meaning (CODE)`."""
    found = {}
    for code in codes:
        match = re.search(rf"([^,;.:()\n]+?)\s*\({_MARKS}{re.escape(code)}{_MARKS}\)", text)
        found[code] = _plain(re.sub(r"^\s*(?:and|or)\s+", "", match[1])) if match else ""
    return found if _tell(found) else {}


def _places(codes: Sequence[str], text: str) -> list[tuple[int, int, str]] | None:
    """Where each code stands for the first time, in the order of the text; None when one is not there."""
    found = []
    for code in codes:
        match = re.search(rf"(?<![\w-]){re.escape(code)}(?![\w-])", text)
        if match is None:
            return None
        found.append((match.start(), match.end(), code))
    return sorted(found)


def _plain(text: str) -> str:
    return re.sub(r"\s+(?:and|or)$", "", text.strip(" \t`'\"“”‘’*–—-=:,;.")).strip()


def _tell(found: Mapping[str, str]) -> bool:
    """Whether these are meanings: one for each code, all different, short, and in words."""
    meanings = [m.lower() for m in found.values()]
    return len(set(meanings)) == len(found) and all(re.search(r"[^\W\d_]{2}", m) and len(m.split()) <= LONGEST for m in meanings)
