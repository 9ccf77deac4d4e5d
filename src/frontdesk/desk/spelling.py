"""Customers' typing errors, put right before a message is looked up. Touches only words that no dictionary holds; never names or numbers.

Candidates are the tenant's own words first (a bank's customer means "cheque", a lift company's means "chair"), then everyday words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from frontdesk.desk.guardrails import STOP
from frontdesk.desk.intent import support_set
from frontdesk.desk.quantities import UNIT_WORDS

Knows = Callable[[str], bool]
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_EVERYDAY = 4
"""Times a word must stand in the support set to count as an everyday word; typing errors stand there once."""
_SHORTEST = 3
_ENDINGS = ("ed", "ing")
_BEGINS = 5
"""Letters up to which a mistyped word begins as it should."""


class Spelling:
    """Puts words right for one tenant. `knows` says whether a word is in the encoder's dictionary."""

    def __init__(self, texts: Iterable[str], knows: Knows | None) -> None:
        self._knows = knows
        counted = Counter(w.lower() for text in texts for w in _WORD.findall(text))
        self._own = frozenset(w for w in counted if len(w) >= _SHORTEST)
        self._candidates = sorted(self._own | _everyday())
        self._found: dict[str, str] = {}

    def corrected(self, text: str) -> str:
        """The text with its mistyped words replaced; the same text when there is no dictionary."""
        return _WORD.sub(lambda m: self._word(m[0]), text) if self._knows is not None else text

    def _word(self, word: str) -> str:
        low = word.lower()
        if len(low) < _SHORTEST or "'" in low or "’" in low or (word[0].isupper() and not word.isupper()) or self._is_word(low):
            return word
        if low not in self._found:
            self._found[low] = self._nearest(low)
        return self._found[low]

    def _is_word(self, low: str) -> bool:
        """Whether a word needs no mending: one that somebody knows, in the plural and as a form of a verb too ("nicked"), and a unit
        however it is cut short ("mins")."""
        roots = [low.removesuffix(end) for end in _ENDINGS if low.endswith(end) and len(low) - len(end) >= _BEGINS - 1]
        return low in UNIT_WORDS or any(
            w in self._own or w in _everyday() or bool(self._knows and self._knows(w)) for w in (low, low.removesuffix("s"), *roots)
        )

    def _nearest(self, low: str) -> str:
        """The nearest candidate: one slip, two in a long word; its first letter counts, and so do its length and the tenant's words."""
        slips = 1 if len(low) <= 5 else 2
        found = process.extract(low, self._candidates, scorer=OSA.distance, score_cutoff=slips, limit=12)
        near = [(str(word), float(distance)) for word, distance, _ in found]
        if len(low) == _SHORTEST:
            near = [n for n in near if sorted(n[0]) == sorted(low)]
        if len(low) <= _BEGINS:  # a name such as "nook" is no mistyped "book"
            near = [n for n in near if n[0][0] == low[0] or sorted(n[0]) == sorted(low)]
        if not near:
            return low
        near.sort(key=lambda n: n[1])
        words = [n[0] for n in near if n[1] == near[0][1]]
        return min(words, key=lambda w: (w[0] != low[0], sorted(w) != sorted(low), w not in self._own, len(w) != len(low)))


@cache
def _everyday() -> frozenset[str]:
    counted = Counter(w.lower() for u in support_set() if u.text.isascii() for w in _WORD.findall(u.text))
    return frozenset(w for w, n in counted.items() if n >= _EVERYDAY and len(w) >= _SHORTEST) | {w for w in STOP if len(w) >= _SHORTEST}
