"""The key facts of an answer: figures, amounts, times, telephone numbers, addresses and names that a right reply must hold. Guesses nothing.

A reply that reads well and names another amount is wrong; loss and token accuracy do not see that, these do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from frontdesk.desk.quantities import SMALL_NUMBERS

_WORDS = {word: str(n) for word, n in SMALL_NUMBERS.items() if 2 <= n <= 16}
_NUMBER_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(?:[\w.+-]+@)?[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[\w/.-]*\w)?", re.IGNORECASE)
_TIME = re.compile(r"\b(\d{1,2})(?:[:.](\d{2}))? ?([ap])\.? ?m\b\.?|\b([01]?\d|2[0-3]):([0-5]\d)\b", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.,])\+?\d[\d ()/-]{5,16}\d(?![\w])")
_MONEY = re.compile(
    r"([€$£¥])\s?(\d[\d,]*(?:\.\d+)?)|(?<![\w.])(\d[\d,]*(?:\.\d+)?) ?(euros?|dollars?|pounds?|francs?|[€$£]|EUR|USD|GBP|CHF)\b"
)
_PERCENT = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?) ?(?:%|per ?cent\b)")
_PLAIN = re.compile(r"(?<![\w.,/])\d[\d,]*(?:\.\d+)?(?![\w/])(?!\.\d)")
_NAME = re.compile(r"(?<=[\w,;:] )[A-Z][\w'’-]*(?: (?:[A-Z][\w'’-]*|of|and(?= [A-Z])))*")
_SIGNS = {"euro": "€", "euros": "€", "eur": "€", "dollar": "$", "dollars": "$", "usd": "$", "pound": "£", "pounds": "£", "gbp": "£"}
_COMMON = frozenset(["I", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "OK"])


def key_facts(answer: str, *, question: str = "", company: str = "") -> tuple[str, ...]:
    """What a reply must hold, in one spelling each, in order. What the question already names or is the company's own name is left out."""
    given = set(_figures(question))
    found = [fact for fact in _figures(answer) if fact not in given]
    asked, own = _folded(question), _folded(company)
    for match in _NAME.finditer(answer):
        name = re.sub(r"^(?:The|A|An) | (?:of|and)$", "", match[0])
        folded = _folded(name)
        if name in _COMMON or folded in asked or folded in own or not ((" " in name) or name.isupper()) or any(ch.isdigit() for ch in name):
            continue
        found.append(folded)
    return tuple(dict.fromkeys(found))


def missing(facts: Sequence[str], reply: str) -> tuple[str, ...]:
    """The facts that a reply lacks."""
    figures, folded = set(_figures(reply)), f" {_folded(reply)} "
    return tuple(f for f in facts if f not in figures and f" {f} " not in folded)


def recall(facts: Sequence[Sequence[str]], replies: Sequence[str]) -> tuple[float, float]:
    """(share of facts told, share of replies with every fact) over the answers that have facts; (nan, nan) when none has."""
    told = [(len(f) - len(missing(f, r)), len(f)) for f, r in zip(facts, replies, strict=True) if f]
    if not told:
        return float("nan"), float("nan")
    return sum(t for t, _ in told) / sum(n for _, n in told), sum(t == n for t, n in told) / len(told)


def _figures(text: str) -> list[str]:
    """Figures in the order found. A place in the text belongs to the first pattern that takes it."""
    text = _NUMBER_WORD.sub(lambda m: _WORDS[m[1].lower()], text)
    taken: list[tuple[int, str]] = []

    def take(pattern: re.Pattern[str], text: str) -> str:
        def blank(match: re.Match[str]) -> str:
            if value := _spelt(pattern, match):
                taken.append((match.start(), value))
                return "\x01" * len(match[0])
            return match[0]

        return pattern.sub(blank, text)

    for pattern in (_ADDRESS, _TIME, _MONEY, _PERCENT, _PHONE, _PLAIN):
        text = take(pattern, text)
    return [value for _, value in sorted(taken)]


def _spelt(pattern: re.Pattern[str], match: re.Match[str]) -> str:
    if pattern is _ADDRESS:
        return match[0].lower() if re.search(r"[a-z]{2}", match[0], re.IGNORECASE) else ""
    if pattern is _TIME:
        hour, minute = int(match[1] or match[4]), match[2] or match[5] or "00"
        if match[3]:
            hour = hour % 12 + (12 if match[3].lower() == "p" else 0)
        return f"{hour:02d}:{minute}"
    if pattern is _MONEY:
        sign = match[1] or _SIGNS.get(match[4].lower(), match[4])
        return f"{sign}{_number(match[2] or match[3])}"
    if pattern is _PERCENT:
        return f"{_number(match[1])}%"
    if pattern is _PHONE:
        digits = re.sub(r"\D", "", match[0])
        return digits if len(digits) >= 7 else ""
    return _number(match[0])


def _number(text: str) -> str:
    plain = text.replace(",", "").rstrip(".")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _folded(text: str) -> str:
    return " ".join(re.findall(r"[\w'’]+", text.lower()))
