"""Opening hours as companies write them: "Monday to Friday 8:30-18:00, Sat 10am to 2pm". Refuses text that it cannot read in full."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from frontdesk.errors import BadInput

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_CLOCK = r"(?:\d{1,2}(?:[:.h]\d{2})?\s*(?:[ap]\.?m\.?)?|noon|midday|midnight)"
_SPAN = re.compile(rf"({_CLOCK})\s*(?:-|–|—|to|until|till)\s*({_CLOCK})")
_WHEN = re.compile(
    rf"(?P<always>24\s*/\s*7|24 hours(?: a day)?|round the clock|around the clock)|(?P<every>every ?day|daily|all week|each day|7 days(?: a week)?)|"
    rf"(?P<weekdays>weekdays|working days|business days)|(?P<weekend>(?:at |on )?weekends?)|"
    rf"(?P<first>{_NAME})\s*(?:-|–|—|to|till|until|through)\s*(?P<last>{_NAME})|(?P<one>{_NAME})"
)
_NOISE = re.compile(r"[\s,;:.&()|]+|\b(?:and|from|between|open|hours|on|at|the|o'?clock|local time|uk time|gmt|cet|bst|utc)\b|\bclosed\b")

Span = tuple[time, time]


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Open times by weekday, Monday = 0. A closing time of 00:00 is the end of the day."""

    spans: Mapping[int, tuple[Span, ...]]

    def open_at(self, moment: datetime) -> bool:
        """True when it is open at that local moment."""
        today = any(start <= moment.time() and (moment.time() < end or end == time()) for start, end in self._own(moment.weekday()))
        return today or any(moment.time() < end for start, end in self._late(moment.weekday() - 1))

    def next_opening(self, moment: datetime) -> datetime | None:
        """The first moment from now on at which it opens; None when it never does."""
        for step in range(8):
            day = moment.date() + timedelta(days=step)
            for start, _ in sorted(self.spans.get(day.weekday(), ())):
                opening = datetime.combine(day, start, tzinfo=moment.tzinfo)
                if opening >= moment:
                    return opening
        return None

    def closing(self, moment: datetime) -> time | None:
        """When it closes today, if it is open now."""
        for start, end in self._own(moment.weekday()):
            if start <= moment.time() and (moment.time() < end or end == time()):
                return end
        return None

    def _own(self, weekday: int) -> list[Span]:
        return [(start, end if end > start else time()) for start, end in self.spans.get(weekday % 7, ())]

    def _late(self, weekday: int) -> list[Span]:
        """Spans of the day before that reach past midnight."""
        return [(start, end) for start, end in self.spans.get(weekday % 7, ()) if time() < end <= start]


def parse_hours(text: str) -> Hours:
    """Reads opening hours. Raises BadInput when a part is not understood, for half-read hours are wrong hours."""
    said = text.lower().replace("’", "'")
    spans: dict[int, list[Span]] = {}
    days: list[int] = []
    position, fresh = 0, True
    while position < len(said):
        if noise := _NOISE.match(said, position):
            if noise[0] == "closed":
                for day in days:
                    spans.pop(day, None)
            position = noise.end()
        elif span := _SPAN.match(said, position):
            opening = _spans(span[1], span[2], text)
            for day in days or range(7):
                spans.setdefault(day, []).append(opening)
            position, fresh = span.end(), True
        elif when := _WHEN.match(said, position):
            days = _days(when) if fresh else days + _days(when)
            if when["always"]:
                spans = {day: [(time(), time())] for day in (days or range(7))}
            position, fresh = when.end(), False
        else:
            raise BadInput(
                f"the opening hours {text!r} cannot be read from {text[position : position + 20]!r} on: write 'Monday to Friday 9:00-17:00'"
            )
    if not spans:
        raise BadInput(f"the opening hours {text!r} name no time: write 'Monday to Friday 9:00-17:00'")
    return Hours(spans={day: tuple(sorted(rows)) for day, rows in spans.items()})


def business_days_between(first: date, last: date, holidays: frozenset[date] = frozenset()) -> int:
    """Business days after `first` up to and including `last`; negative when `last` lies before."""
    if last < first:
        return -business_days_between(last, first, holidays)
    weeks, rest = divmod((last - first).days, 7)
    count = weeks * 5 + sum(1 for step in range(1, rest + 1) if (first + timedelta(days=step)).weekday() < 5)
    return count - sum(1 for day in holidays if first < day <= last and day.weekday() < 5)


def add_business_days(day: date, count: int, holidays: frozenset[date] = frozenset()) -> date:
    """The business day that lies `count` business days after `day` (before, when negative)."""
    step = 1 if count >= 0 else -1
    left = abs(count)
    while left:
        day += timedelta(days=step)
        if day.weekday() < 5 and day not in holidays:
            left -= 1
    return day


def _days(when: re.Match[str]) -> list[int]:
    if when["weekdays"]:
        return [0, 1, 2, 3, 4]
    if when["weekend"]:
        return [5, 6]
    if when["one"]:
        return [_DAYS.index(when["one"][:3])]
    if when["first"]:
        first, last = _DAYS.index(when["first"][:3]), _DAYS.index(when["last"][:3])
        return [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return list(range(7))


def _spans(first: str, last: str, text: str) -> Span:
    half = re.search(r"([ap])\.?m", last)
    start = _clock(first, text, "" if re.search(r"[ap]\.?m", first) else _same_half(first, last, half[1] if half else ""))
    return start, _clock(last, text, "")


def _same_half(first: str, last: str, half: str) -> str:
    """`9-5pm` begins in the morning, `1-5pm` after noon."""
    if half != "p" or not first[:1].isdigit():
        return half if half == "a" else ""
    return "pm" if int(re.match(r"\d+", first)[0]) < int(re.match(r"\d+", last)[0]) % 12 else "am"  # type: ignore[index]


def _clock(said: str, text: str, half: str) -> time:
    named = {"noon": time(12), "midday": time(12), "midnight": time()}
    said = said.strip()
    if said in named:
        return named[said]
    match = re.match(r"(\d{1,2})(?:[:.h](\d{2}))?\s*(?:([ap])\.?m)?", said)
    assert match is not None  # noqa: S101 - _CLOCK matched before
    hour, minute, own = int(match[1]), int(match[2] or 0), match[3] or half[:1]
    if own and hour <= 12:
        hour = hour % 12 + (12 if own == "p" else 0)
    if hour == 24 and minute == 0:
        return time()
    if hour > 23 or minute > 59:
        raise BadInput(f"the opening hours {text!r} name {said!r}, which is no time: write 'Monday to Friday 9:00-17:00'")
    return time(hour, minute)
