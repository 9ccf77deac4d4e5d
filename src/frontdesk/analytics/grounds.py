"""What the figures of a conversation rest on: everything said and fetched before, in other notations too, and sums of it.

Knows that 19:00 is 7 pm and 1,400 is 1400, that $295 is $105 + $190 when both stand beside it. Says nothing about whether the right
figure was given.
"""

from __future__ import annotations

import re
from itertools import combinations

NUMBER = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w,])\d+(?:\.\d+)?")
"""Numbers as they stand in sentences; not the digits inside a code."""
_TOKEN = re.compile(r"[\w@.+-]*\d[\w@.+-]*")
_RUN = re.compile(r"\d+(?:\.\d+)?")
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})(?::\d{2})?\b")
_MOST = 24
"""Figures of one reply that are added up."""


class Grounds:
    """Grows as the conversation does."""

    def __init__(self) -> None:
        self._numbers: set[float] = set()
        self._tokens: set[str] = set()

    def learn(self, text: str) -> None:
        """Take in something that was said or fetched."""
        self._tokens.update(token.casefold().strip(".-+") for token in _TOKEN.findall(text))
        plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
        self._numbers.update(float(run) for run in _RUN.findall(plain) if len(run) < 16)
        for hour, _ in _CLOCK.findall(text):
            self._numbers.update({float(int(hour) % 12), float(int(hour) % 12 or 12), float(int(hour) % 12 + 12)})

    def holds_code(self, value: str) -> bool:
        """Whether a code, date or number was said or fetched, whole or as part of something longer."""
        folded = value.casefold()
        if folded in self._tokens or folded.replace(",", "") in self._tokens:
            return True
        try:
            return float(value.replace(",", "")) in self._numbers
        except ValueError:
            return any(folded in token or (len(token) > 3 and token in folded) for token in self._tokens)

    def unheld(self, text: str) -> list[str]:
        """The figures in a reply, of two digits and more, that rest on nothing."""
        figures = [(f, float(f.replace(",", ""))) for f in NUMBER.findall(text) if len(f) > 1 and len(f) < 16]
        held = list(dict.fromkeys(n for _, n in figures if n in self._numbers))[:_MOST]
        sums = {round(a + sign * b, 2) for a, b in combinations(held, 2) for sign in (1, -1)}
        sums |= {round(abs(a - b), 2) for a, b in combinations(held, 2)} | {round(a * k, 2) for a in held for k in range(2, 7)}
        sums |= {round(a + b + c, 2) for a, b, c in combinations(held[:12], 3)}
        rest = [(f, n) for f, n in figures if n not in self._numbers]
        # What was added up may itself be added up: a total of subtotals.
        more = {
            round(a + sign * b, 2) for a in [n for _, n in rest if n in sums] for b in [*held, *(n for _, n in rest)] for sign in (1, -1)
        }
        return [f for f, n in rest if n not in sums and n not in more]


def count(text: str) -> int:
    """How many figures of two digits and more a reply has."""
    return sum(len(f) > 1 for f in NUMBER.findall(text))
