"""Everyday English words of one meaning brought together, so that a customer's "telly" is a rule's "television set". Knows no company's words.

Only for finding and comparing: what proves a sentence is read word for word (see `guardrails.objection`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files

from frontdesk.desk.guardrails import content_words, stem


@lru_cache(maxsize=50_000)
def meanings(text: str) -> tuple[str, ...]:
    """Stems of the words that carry meaning, in order, with repeats; of several words for one thing always the same one."""
    known, phrases = _known()
    plain = phrases.sub(lambda m: known[_phrase(m[0])], text) if phrases.search(text) else text
    return tuple(known.get(word, word) for word in content_words(plain))


def alike(stems: Iterable[str]) -> frozenset[str]:
    """Stems with those of several words for one thing made the same."""
    known, _ = _known()
    return frozenset(known.get(s, s) for s in stems)


@cache
def _known() -> tuple[dict[str, str], re.Pattern[str]]:
    """Stems and phrases with the stem that stands for their group, and what finds the phrases."""
    lines = (files("frontdesk.desk") / "everyday.txt").read_text(encoding="utf-8").splitlines()
    groups = [line.split() for line in lines if line and not line.startswith("#")]
    known = {(_phrase(word) if "_" in word else stem(word)): stem(first) for first, *others in groups for word in (first, *others)}
    phrases = sorted((_phrase(word) for group in groups for word in group if "_" in word), key=len, reverse=True)
    return known, re.compile(r"\b(?:" + "|".join(phrase.replace(" ", r"\s+") for phrase in phrases) + r")\b", re.IGNORECASE)


def _phrase(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())
