"""Questions that the built-in operations answer by themselves: a sum, a count of days, a weekday, whether somebody can be reached on a day.

Reads only what it understands to the last word; anything else is left to the tenant's own sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from frontdesk.errors import BadInput
from frontdesk.tools.arithmetic import calculate
from frontdesk.tools.dates import Day, find_days
from frontdesk.tools.inline import Call
from frontdesk.tools.numbers import find_numbers

_LEAD = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|and|please|also)\b\W*)*(?:can you (?:tell me|work out|calculate)|could you (?:tell me|work out|calculate)|tell me|"
    r"what(?:'s| is|s| are| does)?|how much (?:is|are|would)|calculate|compute|work out)\b\s*"
)
_TAIL = re.compile(r"(?:\b(?:please|make|come to|be|equal|equals|thanks|thank you)\b|[?=.!\s])+$")
_SPELT = (
    (r"\bper ?cent\b", "%"),
    (r"\bplus\b", "+"),
    (r"\bminus\b|\bless\b", "-"),
    (r"\btimes\b|\bmultiplied by\b|(?<=\d)\s*[x×]\s*(?=\d)", "*"),
    (r"\bdivided by\b", "/"),
    (r"[£$€¥]|\b(?:euros?|pounds?|dollars?|eur|gbp|usd)\b", ""),
)
_SUM = re.compile(r"[\d\s.,+\-*/^%()×÷−]*(?:%\s*of\s*[\d\s.,+\-*/^%()×÷−]+)?")
_LOAN = re.compile(r"\b(?:monthly (?:payment|repayment|instalment|rate)s?|(?:pay|payment|repay(?:ment)?) (?:a|per|each|every) month)\b")
_UNTIL = re.compile(r"\bhow many (?P<work>(?:business|working|work) ?)?days\b.{0,30}?\b(?:until|till|to|before|between|from)\b")
_ADD = re.compile(r"\bwhat (?:date|day) (?:is|will it be|falls)\b.*?\bin (?P<count>\d{1,4}) (?P<work>(?:business|working|work) )?days\b")
_WEEKDAY = re.compile(r"\b(?:what|which) (?:day(?: of the week)?|weekday) (?:is|was|will be|does|falls on|is it on)\b")
_TODAY = re.compile(
    r"^\W*(?:what(?:'s| is|s)? (?:today'?s date|the date(?: today)?|the day today|day is (?:it|today)(?: today)?|date is it(?: today)?))\W*$"
)
_OPEN = re.compile(
    r"\b(?:are you|are they|is (?:the|your) (?:\w+ )?(?:shop|store|office|branch|team|desk|support|line)|will you be) (?:open|there|available|reachable)\b"
)
_WORDS_AROUND_DAYS = re.compile(
    r"\b(?:on|the|of|for|this|next|at|day|is|it|there|are|from|today|and|between|until|till|to|before|in|left|now)\b"
)


@dataclass(frozen=True, kw_only=True)
class Everyday:
    """A call of a built-in operation that answers a message. `sure`: it can be about nothing else."""

    call: Call
    sure: bool = True


def everyday(message: str, today: date) -> Everyday | None:
    """The built-in call that a whole message asks for, or None."""
    said = " ".join(message.lower().replace("’", "'").split())
    if len(said) > 200:
        return None
    return _sum(said) or _days(said, today) or _loan(said)


def _sum(said: str) -> Everyday | None:
    bare = _TAIL.sub("", _LEAD.sub("", said, count=1)).strip()
    for pattern, sign in _SPELT:
        bare = re.sub(pattern, sign, bare)
    bare = " ".join(bare.split())
    asked = bare != said and (_LEAD.match(said) is not None or said.rstrip().endswith("="))
    if not asked or not _SUM.fullmatch(bare) or len(re.findall(r"\d[\d.,]*", bare)) < 2 or not re.search(r"[+*/^%×÷−]|\d\s*-\s*\d", bare):
        return None
    try:
        calculate(bare)
    except BadInput as problem:
        if "divides by zero" not in str(problem):
            return None
    return Everyday(call=Call(name="calculate", arguments={"expression": bare}))


def _loan(said: str) -> Everyday | None:
    """A monthly payment of which amount, yearly rate and years are all given."""
    if not _LOAN.search(said):
        return None
    rate = re.search(r"(\d+(?:\.\d+)?)\s*(?:%|per ?cent)", said)
    years = re.search(r"(\d{1,2})\s*(?:-\s*)?years?\b", said)
    if rate is None or years is None:
        return None
    amounts = [n.value for n in find_numbers(said) if n.value >= 500 and str(n.value) not in (rate[1], years[1])]
    if len(amounts) != 1:
        return None
    expression = f"payment({_plain(amounts[0])}, {rate[1]}, {years[1]})"
    return Everyday(call=Call(name="calculate", arguments={"expression": expression}), sure=False)


def _days(said: str, today: date) -> Everyday | None:
    found = find_days(said, today)
    days = [d.value for d in found if d.value is not None and d.confidence >= 0.7]
    if any(d.value is None for d in found):
        return None
    if _TODAY.match(said):
        return _calendar(ask="today")
    counted = _ADD.search(said)
    if counted:
        return _calendar(ask="add_business_days" if counted["work"] else "add_days", days=int(counted["count"]))
    until = _UNTIL.search(said)
    if until and 1 <= len(days) <= 2 and _nothing_else(said, found, until.span()):
        first, last = (days[0], days[1]) if len(days) == 2 else (today, days[0])
        if until["work"]:
            return _calendar(ask="business_days_between", date=first.isoformat(), until=last.isoformat())
        return _calendar(ask="days_until", date=days[0].isoformat()) if len(days) == 1 else None
    weekday = _WEEKDAY.search(said)
    if weekday and len(days) == 1 and _nothing_else(said, found, weekday.span()):
        return _calendar(ask="weekday", date=days[0].isoformat())
    opened = _OPEN.search(said)
    now = re.search(r"\b(?:now|at the moment|currently)\b", said) is not None
    if opened and (len(days) == 1 or now) and _nothing_else(re.sub(r"\b(?:right|currently|moment)\b", "", said), found, opened.span()):
        if now or days == [today]:
            return _calendar(sure=False, ask="opening_hours")
        return _calendar(sure=False, ask="open_on", date=days[0].isoformat())
    return None


def _nothing_else(said: str, found: Sequence[Day], asked: tuple[int, int]) -> bool:
    """Whether a message says nothing beside the question and its days."""
    spans = [asked, *(d.span for d in found)]
    rest = "".join(" " if any(a <= i < b for a, b in spans) else c for i, c in enumerate(said))
    rest = _WORDS_AROUND_DAYS.sub(" ", _LEAD.sub(" ", rest, count=1))
    return not re.search(r"[^\W\d_]{2,}|\d", re.sub(r"\b(?:and|so|please|hi|hello|christmas)\b", " ", rest))


def _calendar(*, sure: bool = True, **arguments: str | int) -> Everyday:
    return Everyday(call=Call(name="calendar", arguments=arguments), sure=sure)


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")
