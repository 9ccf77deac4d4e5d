"""Days, months and times of day in free words, seen from a given today: `20 April`, `next Tuesday`, `in two weeks`, `half past three`.

A day that does not exist is reported as such, never moved to the nearest one. Refuses periods ("next week") where a day is wanted.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from functools import lru_cache

from rapidfuzz import fuzz

from frontdesk.tools.checking import MONTHS
from frontdesk.tools.numbers import ORDINALS, SMALL

_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_DAY_SHORT = {"mon": 0, "tue": 1, "tues": 1, "wed": 2, "weds": 2, "thu": 3, "thur": 3, "thurs": 3, "fri": 4, "sat": 5, "sun": 6}
_DAY_NUMBERS = {name: i for i, name in enumerate(_DAYS)} | _DAY_SHORT
_SPELLED = [*(m.lower() for m in MONTHS if len(m) > 4), *_DAYS, "tomorrow", "yesterday", "today", "tonight"]
_HOLIDAYS = {
    "christmas day": (12, 25),
    "christmas eve": (12, 24),
    "boxing day": (12, 26),
    "new year's day": (1, 1),
    "new year's eve": (12, 31),
}

MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_ORDINAL_WORDS = "|".join(re.escape(w).replace(r"\-", "[- ]") for w in sorted(ORDINALS, key=len, reverse=True))
_DAY = rf"(?P<day>\d{{1,2}}|{_ORDINAL_WORDS})(?:st|nd|rd|th)?"
_DAY2 = _DAY.replace("<day>", "<day2>")
_YEAR = r"(?:,?\s+(?P<year>\d{4})\b|\s+'?(?P<year2>\d{2})(?![\d:.]|\s*[ap]\.?m))?"
_WEEKDAY = r"(?P<weekday>monday|tuesday|wednesday|thursday|friday|saturday|sunday|mon|tues?|weds?|thurs?|thu|fri|sat|sun)"
_COUNT = r"(?P<count>\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|a couple of|couple of)"
_PERIOD = r"(?P<period>day|week|fortnight|month|year)s?"
READ_TEXTS = 128
"""Texts whose days and times are kept: one message is read for every operation of a tenant."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day that a text names. `value` is None when there is no such day, then `problem` says so."""

    value: date | None
    span: tuple[int, int]
    confidence: float = 0.9
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Month:
    """A month that a text names, `YYYY-MM`."""

    value: str
    span: tuple[int, int]
    confidence: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A time of day that a text names."""

    value: time
    span: tuple[int, int]
    confidence: float = 0.9


class _NoSuchDay(Exception):
    pass


def find_days(text: str, today: date, *, past: bool = False, day_first: bool = True) -> list[Day]:
    """All days of a text in their order. Without a year it is the next such day, or with `past` the latest one.

    `day_first`: how `3/4/2027` is read when both readings exist.
    """
    return list(_days_in(text, today, past, day_first))


@lru_cache(maxsize=READ_TEXTS)
def _days_in(text: str, today: date, past: bool, day_first: bool) -> tuple[Day, ...]:
    clean, back = _respelled(text)
    found: list[Day] = []
    for pattern, read in _READERS:
        for match in pattern.finditer(clean):
            if any(match.start() < _at(back, d.span, clean)[1] and _at(back, d.span, clean)[0] < match.end() for d in found):
                continue
            found += _read_match(match, read, _Reading(today=today, past=past, day_first=day_first), back)
    days = _together(text.lower(), sorted(found, key=lambda d: d.span), today)
    return tuple(days if past else _going_on(text.lower(), days))


def _together(text: str, days: list[Day], today: date) -> list[Day]:
    """One day for a weekday and the date beside it: "Tuesday 30 March" is that date; of "Tuesday the 30th" the next 30th on a Tuesday."""
    kept: list[Day] = []
    for day in days:
        before = kept[-1] if kept else None
        if before is None or before.value is None or day.value is None or not _APART.fullmatch(text[before.span[1] : day.span[0]]):
            kept.append(day)
            continue
        name, other = (before, day) if _DAY_NAME.fullmatch(text[slice(*before.span)]) else (day, before)
        if not _DAY_NAME.fullmatch(text[slice(*name.span)]) or _DAY_NAME.fullmatch(text[slice(*other.span)]):
            kept.append(day)
            continue
        value, weekday = other.value or today, (name.value or today).weekday()
        if value.weekday() != weekday and _BARE_DAY.fullmatch(text[slice(*other.span)]):
            coming = (_nth(today, step, value.day) for step in range(18))
            value = next((d for d in coming if d is not None and d >= today and d.weekday() == weekday), value)
        span = (min(before.span[0], day.span[0]), max(before.span[1], day.span[1]))
        kept[-1] = Day(value=value, span=span, confidence=max(before.confidence, day.confidence))
    return kept


def _going_on(text: str, days: list[Day]) -> list[Day]:
    """A bare day behind a whole date is the next such day after it: "in on 23 October 2027 and out on the 27th" ends in October 2027."""
    found: list[Day] = []
    before: date | None = None
    for day in days:
        bare = day.value is not None and _BARE_DAY.fullmatch(text[slice(*day.span)]) is not None
        if bare and before is not None and day.value is not None:
            coming = (_nth(before, step, day.value.day) for step in range(3))
            day = replace(day, value=next((d for d in coming if d is not None and d > before), day.value))
        elif not bare:
            before = day.value if _WHOLE.search(text[slice(*day.span)]) else None
        found.append(day)
    return found


_WHOLE = re.compile(rf"\d.*\b{MONTH}|\b{MONTH.replace('<month>', '<other>')}.*\d|\d[-/.]\d", re.DOTALL)
"""A date with its month."""


def _nth(today: date, step: int, day: int) -> date | None:
    year, month = _shift(today.year, today.month, step)
    return date(year, month, day) if day <= monthrange(year, month)[1] else None


_APART = re.compile(r"[\s,(]*(?:the\s+)?")
_DAY_NAME = re.compile(r"(?:on )?(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?")
_BARE_DAY = re.compile(r"(?:on )?(?:the )?\d{1,2}(?:st|nd|rd|th)?")


def find_months(text: str, today: date, *, past: bool = False) -> list[Month]:
    """All months of a text: `April`, `April 2027`, `2027-04`, `04/2027`, `last month`."""
    return list(_months_in(text, today, past))


@lru_cache(maxsize=READ_TEXTS)
def _months_in(text: str, today: date, past: bool) -> tuple[Month, ...]:
    clean, back = _respelled(text)
    found = []
    for match in re.finditer(r"\b(?P<y>\d{4})-(?P<m>0[1-9]|1[0-2])\b(?!-)|\b(?P<m2>0?[1-9]|1[0-2])/(?P<y2>\d{4})\b", clean):
        year, month = int(match["y"] or match["y2"]), int(match["m"] or match["m2"])
        found.append(Month(value=f"{year:04d}-{month:02d}", span=_span(match, back)))
    for match in re.finditer(
        r"\b(?P<which>this|the current|last|the previous|previous|next|the coming)\s+month\b|\bthe month before last\b", clean
    ):
        which = match["which"]
        step = -2 if which is None else -1 if "last" in which or "prev" in which else 1 if "next" in which or "coming" in which else 0
        year, month = _shift(today.year, today.month, step)
        found.append(Month(value=f"{year:04d}-{month:02d}", span=_span(match, back)))
    for match in re.finditer(rf"\b(?:(?P<which>last|next|this)\s+)?{MONTH}(?:,?\s+(?P<year>\d{{4}}))?", clean):
        name = match["month"]
        if name in ("may", "mar") and not (match["which"] or match["year"]) and not _named_like_month(text, back, match):
            continue
        month = _month_number(name)
        past_wanted = past or match["which"] == "last"
        year = int(match["year"]) if match["year"] else _year_for(month, today, past=past_wanted)
        found.append(Month(value=f"{year:04d}-{month:02d}", span=_span(match, back)))
    return tuple(sorted(found, key=lambda m: m.span))


def find_times(text: str) -> list[Clock]:
    """All times of day: `15:05`, `3pm`, `half past three`, `noon`, `9 05 in the morning`. A bare `at 7` is uncertain."""
    return list(_times_in(text))


@lru_cache(maxsize=READ_TEXTS)
def _times_in(text: str) -> tuple[Clock, ...]:
    clean, back = _respelled(text)
    found: list[Clock] = []
    for pattern, confidence in _TIMES:
        for match in pattern.finditer(clean):
            span = _span(match, back)
            if any(span[0] < c.span[1] and c.span[0] < span[1] for c in found):
                continue
            value = _clock(match)
            if value is not None:
                found.append(Clock(value=value, span=span, confidence=confidence))
    return tuple(sorted(found, key=lambda c: c.span))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    today: date
    past: bool
    day_first: bool


@lru_cache(maxsize=READ_TEXTS)
def _respelled(text: str) -> tuple[str, list[int]]:
    """Lower case with misspelt month and day names mended, and for each character where it stood."""
    pieces: list[str] = []
    back: list[int] = []
    position = 0
    for match in re.finditer(r"[^\W\d_]{5,}", text):
        word = match[0].lower()
        mended = _mended(word)
        pieces.append(text[position : match.start()].lower())
        back += range(position, match.start())
        pieces.append(mended)
        back += [match.start() + min(i, len(word) - 1) for i in range(len(mended))]
        position = match.end()
    tail = text[position:]
    pieces.append(tail.lower() if len(tail.lower()) == len(tail) else tail)
    back += range(position, len(text) + 1)
    joined = "".join(pieces).replace("’", "'")
    return (joined, back) if len(joined) + 1 == len(back) else (text.replace("’", "'"), list(range(len(text) + 1)))


@lru_cache(maxsize=4096)
def _mended(word: str) -> str:
    if word in _SPELLED or not word.isascii():
        return word
    best = max(_SPELLED, key=lambda s: fuzz.ratio(word, s))
    close = fuzz.ratio(word, best) >= 84 and word[0] == best[0] and abs(len(word) - len(best)) <= 2
    return best if close and word not in ("mondays", "sundays", "fridays", "marches") else word


def _span(match: re.Match[str], back: list[int]) -> tuple[int, int]:
    return back[match.start()], back[match.end() - 1] + 1 if match.end() else 0


def _at(back: list[int], span: tuple[int, int], clean: str) -> tuple[int, int]:
    start = next((i for i in range(len(clean)) if back[i] >= span[0]), 0)
    end = next((i for i in range(len(clean), 0, -1) if back[i - 1] < span[1]), len(clean))
    return start, end


def _read_match(
    match: re.Match[str], read: Callable[[re.Match[str], _Reading], list[tuple[date, float]]], how: _Reading, back: list[int]
) -> list[Day]:
    span = _span(match, back)
    try:
        days = read(match, how)
    except _NoSuchDay as error:
        return [Day(value=None, span=span, confidence=0.9, problem=str(error))]
    except (ValueError, OverflowError):
        return []
    if len(days) == 2:
        middle = back[match.start("day2")]
        spans = [(span[0], middle), (middle, span[1])]
        return [Day(value=d, span=s, confidence=c) for (d, c), s in zip(days, spans, strict=True)]
    return [Day(value=d, span=span, confidence=c) for d, c in days]


def _make(year: int, month: int, day: int) -> date:
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise ValueError
    if day > monthrange(year, month)[1]:
        shown = f"{day} {MONTHS[month - 1]}" + (f" {year}" if month == 2 and day == 29 else "")
        raise _NoSuchDay(f"{shown} does not exist")
    return date(year, month, day)


def _month_number(name: str) -> int:
    return next(i for i, full in enumerate(MONTHS, 1) if full.lower().startswith(name[:3]))


def _day_number(text: str) -> int:
    return int(text) if text.isdigit() else ORDINALS[text.replace(" ", "-")]


def _year_of(match: re.Match[str]) -> int | None:
    groups = match.groupdict()
    if groups.get("year"):
        return int(groups["year"])
    return 2000 + int(groups["year2"]) if groups.get("year2") else None


def _year_for(month: int, today: date, *, past: bool) -> int:
    if past:
        return today.year if month <= today.month else today.year - 1
    return today.year if month >= today.month else today.year + 1


def _nearest(month: int, day: int, how: _Reading) -> date:
    """That day of the year, the next one or with `past` the latest one."""
    years = range(how.today.year, how.today.year - 9, -1) if how.past else range(how.today.year, how.today.year + 9)
    for year in years:
        if day <= monthrange(year, month)[1]:
            found = date(year, month, day)
            if (found <= how.today) if how.past else (found >= how.today):
                return found
    return _make(how.today.year, month, day)


def _shift(year: int, month: int, step: int) -> tuple[int, int]:
    index = year * 12 + month - 1 + step
    return index // 12, index % 12 + 1


def _plus_months(day: date, step: int) -> date:
    year, month = _shift(day.year, day.month, step)
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _spelled(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    month, day, year = _month_number(match["month"]), _day_number(match["day"]), _year_of(match)
    return [(_make(year, month, day) if year else _nearest(month, day, how), 0.95)]


def _spelled_range(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    month, year = _month_number(match["month"]), _year_of(match)
    days = [_day_number(match["day"]), _day_number(match["day2"])]
    return [(_make(year, month, d) if year else _nearest(month, d, how), 0.9) for d in days]


def _iso(match: re.Match[str], _: _Reading) -> list[tuple[date, float]]:
    return [(_make(int(match["y"]), int(match["m"]), int(match["d"])), 1.0)]


def _numeric(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    first, second, year = int(match["a"]), int(match["b"]), _year_of(match)
    day, month = (first, second) if how.day_first else (second, first)
    sure = first == second or max(first, second) > 12
    if month > 12 and day <= 12:
        day, month = month, day
    made = _make(year, month, day) if year else _nearest(month, day, how)
    return [(made, 0.95 if sure else 0.8)]


def _relative(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    word = match[0]
    steps = {"day after tomorrow": 2, "day before yesterday": -2, "tomorrow": 1, "yesterday": -1, "last night": -1}
    step = next((s for key, s in steps.items() if key in word), 0)
    weeks = 7 if re.match(r"(a|one) week", word) else 14 if "fortnight" in word else 0
    return [(how.today + timedelta(days=step + weeks), 0.95)]


def _weekday(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    wanted = _DAY_NUMBERS[match["weekday"]]
    which, after = (match["which"] or "").strip(), (match["after"] or "").strip()
    ahead = (wanted - how.today.weekday()) % 7
    if which in ("last", "this past", "past") or (how.past and which not in ("next", "this", "coming") and not after):
        return [(how.today - timedelta(days=(-ahead) % 7 or 7), 0.85)]
    if which in ("last week", "next week"):
        step = -7 if which == "last week" else 7
        return [(how.today + timedelta(days=step - how.today.weekday() + wanted), 0.9)]
    if after in ("next week", "of next week"):
        return [(how.today + timedelta(days=7 - how.today.weekday() + wanted), 0.9)]
    if after == "week":
        return [(how.today + timedelta(days=(ahead or 7) + 7), 0.85)]
    if which == "next":
        within_this_week = bool(ahead) and how.today.weekday() + ahead < 7
        return [(how.today + timedelta(days=ahead or 7), 0.65 if within_this_week else 0.85)]
    return [(how.today + timedelta(days=ahead if which == "this" else ahead or 7), 0.85)]


def _counted(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    raw = match["count"]
    count = int(raw) if raw.isdigit() else 2 if "couple" in raw else 1 if raw in ("a", "an") else SMALL[raw]
    count = -count if match.groupdict().get("ago") else count
    period = match["period"]
    if period in ("month", "year"):
        return [(_plus_months(how.today, count * (12 if period == "year" else 1)), 0.85)]
    return [(how.today + timedelta(days=count * {"day": 1, "week": 7, "fortnight": 14}[period]), 0.9)]


def _edge(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    step = {"next": 1, "last": -1}.get(match["which"] or "", 0)
    year, month = _shift(how.today.year, how.today.month, step)
    if match["edge"] in ("end", "last day"):
        return [(date(year, month, monthrange(year, month)[1]), 0.8)]
    return [(date(year, month, 1), 0.8)]


def _day_only(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    day = _day_number(match["day"])
    if not 1 <= day <= 31:
        raise ValueError
    for step in range(13):
        year, month = _shift(how.today.year, how.today.month, -step if how.past else step)
        if day <= monthrange(year, month)[1]:
            found = date(year, month, day)
            if (found <= how.today) if how.past else (found >= how.today):
                return [(found, 0.7)]
    raise ValueError


def _holiday(match: re.Match[str], how: _Reading) -> list[tuple[date, float]]:
    month, day = _HOLIDAYS[match["holiday"].replace("years", "year's")]
    year = _year_of(match)
    return [(_make(year, month, day) if year else _nearest(month, day, how), 0.9)]


_Reader = Callable[[re.Match[str], _Reading], list[tuple[date, float]]]
_READERS: list[tuple[re.Pattern[str], _Reader]] = [
    (re.compile(r"\b(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})\b"), _iso),
    (re.compile(rf"\b{_DAY}\s*(?:-|–|to|until|till?|through|and)\s*(?:the\s+)?{_DAY2}\s+(?:of\s+)?{MONTH}{_YEAR}"), _spelled_range),
    (re.compile(rf"\b(?:the\s+)?{_DAY}\s*(?:of\s+)?{MONTH}{_YEAR}"), _spelled),
    (re.compile(rf"\b{MONTH}\s+(?:the\s+)?{_DAY}\b(?![:/])(?!\s*(?:am|pm)\b){_YEAR}"), _spelled),
    (re.compile(r"(?<![\d/.])(?<!\d\s)(?P<a>\d{1,2})[/](?P<b>\d{1,2})(?:/(?P<year>\d{4})|/(?P<year2>\d{2}))?(?![\d/])"), _numeric),
    (re.compile(r"(?<![\d.])(?P<a>\d{1,2})[.\-](?P<b>\d{1,2})[.\-](?:(?P<year>\d{4})|(?P<year2>\d{2}))(?!\d)"), _numeric),
    (re.compile(rf"\b(?P<holiday>{'|'.join(_HOLIDAYS)}|new years day|new years eve)\b{_YEAR}"), _holiday),
    (
        re.compile(
            r"\b(?:(?:a|one) week |a fortnight )?(?:the )?day after tomorrow\b|\b(?:the )?day before yesterday\b"
            r"|\b(?:(?:a|one) week |a fortnight )?(?:from )?(?:today|tomorrow)\b|\byesterday\b|\btonight\b|\blast night\b"
            r"|\bthis (?:morning|afternoon|evening)\b|\btmrw\b|\bright now\b"
        ),
        _relative,
    ),
    (
        re.compile(
            rf"\b(?:(?P<which>last week|next week|next|this past|past|last|this|coming)\s+)?{_WEEKDAY}\b"
            r"(?:\s+(?P<after>next week|of next week|week)\b)?"
        ),
        _weekday,
    ),
    (re.compile(rf"\bin\s+{_COUNT}\s+{_PERIOD}(?:'s)?(?:\s+time)?\b"), _counted),
    (re.compile(rf"\b{_COUNT}\s+{_PERIOD}\s+(?:from (?:now|today)|later|hence)\b"), _counted),
    (re.compile(rf"\b{_COUNT}\s+{_PERIOD}\s+(?P<ago>ago|back)\b"), _counted),
    (
        re.compile(
            r"\b(?:the\s+)?(?P<edge>end|last day|beginning|start|first day|first)\s+of\s+(?:the\s+|this\s+)?(?P<which>next|last)?\s*month\b"
        ),
        _edge,
    ),
    (re.compile(r"\b(?:the\s+)?(?P<day>\d{1,2})(?:st|nd|rd|th)\b(?!\s+(?:one|option|item|choice|floor|class|time|day))"), _day_only),
    (
        re.compile(
            rf"\bthe\s+(?P<day>{'|'.join(w for w in _ORDINAL_WORDS.split('|') if w not in ('first', 'second', 'third'))})\b"
            r"(?!\s+(?:one|option|item|choice|floor|class|time|day))"
        ),
        _day_only,
    ),
]

_HOUR = r"(?P<h>\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_HALF = r"(?:\s*(?P<half>a\.?m\b\.?|p\.?m\b\.?)|\s+(?:in the\s+|at\s+)?(?P<part>morning|afternoon|evening|night)\b)?"
_TIMES: list[tuple[re.Pattern[str], float]] = [
    (re.compile(r"(?<![\d:.])(?P<h>\d{1,2})[:h](?P<m>\d{2})(?::\d{2})?(?!\d)" + _HALF), 0.95),
    (re.compile(r"(?<![\d:.])(?P<h>\d{1,2})[. ](?P<m>[0-5]\d)(?![\d%])" + _HALF.removesuffix("?")), 0.9),
    (
        re.compile(
            r"\b(?P<past>half past|quarter past|(?P<mins>[0-5]?[05]|five|ten|twenty|twenty[- ]five)(?: minutes?)? past|quarter to|"
            r"(?P<minsto>[0-5]?[05]|five|ten|twenty|twenty[- ]five)(?: minutes?)? to|half)\s+" + _HOUR + r"\b" + _HALF
        ),
        0.9,
    ),
    (re.compile(r"(?<![\d:.,£€$])\b" + _HOUR + _HALF.removesuffix("?")), 0.95),
    (re.compile(r"\b" + _HOUR + r"\s+o'?clock\b" + _HALF), 0.9),
    (re.compile(r"\b(?P<named>noon|midday|midnight)\b"), 0.95),
    (re.compile(r"\b(?:at|by|from|until|till|before|after|around)\s+(?P<h>\d{1,2})(?![\d:/.,%]|st|nd|rd|th|\s*[a-z£€$])"), 0.5),
    (re.compile(r"\bat\s+(?P<h>\d{1,2})[.](?P<m>[0-5]\d)(?!\d)"), 0.7),
]


def _clock(match: re.Match[str]) -> time | None:
    groups = match.groupdict()
    if groups.get("named"):
        return time(0 if groups["named"] == "midnight" else 12)
    hour, minute = _word_number(groups["h"]), int(groups.get("m") or 0)
    phrase = groups.get("past") or ""
    if phrase:
        step = 30 if phrase.startswith("half") else 15 if phrase.startswith("quarter") else _word_number(groups["mins"] or groups["minsto"])
        minute = step
        if phrase.endswith("to"):
            hour, minute = hour - 1 or 12, 60 - step
    hour = _in_half(hour, (groups.get("half") or "").replace(".", ""), groups.get("part") or "")
    return time(hour, minute) if 0 <= hour <= 23 and 0 <= minute <= 59 else None


def _in_half(hour: int, half: str, part: str) -> int:
    if hour > 12:
        return hour
    if half == "am" or part == "morning":
        return hour % 12
    if half == "pm" or part in ("afternoon", "evening"):
        return hour % 12 + 12
    if part == "night":
        return hour % 12 + 12 if hour % 12 >= 6 else hour % 12
    return hour


def _word_number(text: str) -> int:
    if text.isdigit():
        return int(text)
    return sum(SMALL[part] for part in re.split(r"[- ]", text))


def _named_like_month(text: str, back: list[int], match: re.Match[str]) -> bool:
    """`May` is a word too: only with a capital inside a sentence or behind a preposition is it a month."""
    start = back[match.start()]
    before = text[:start].rstrip().lower()
    behind_preposition = re.search(r"\b(in|for|of|until|by|since|from|to|during|month|end of)$", before) is not None
    return behind_preposition or (text[start : start + 1].isupper() and bool(before)) or text.strip(" .!?").lower() == match["month"]


def days_between(first: date, last: date) -> Iterator[date]:
    """Every day after `first` up to and including `last`."""
    for step in range(1, (last - first).days + 1):
        yield first + timedelta(days=step)
