"""Operations that every tenant has beside its own: `calculate`, `calendar`, `search`, and `translate` where a model does it.

They read, they never act.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

from frontdesk.errors import BadInput, ModelUnavailable, TooBusy
from frontdesk.models.protocols import ChatRequest, LanguageModel, complete
from frontdesk.tools.arithmetic import calculate, shown
from frontdesk.tools.hours import Hours, add_business_days, business_days_between, parse_hours
from frontdesk.tools.inline import neutralise
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.rendering import day_text

Search = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""A question in; passages as `{"title", "text", "source"}` out."""
Now = Callable[[], datetime]
"""The moment in the tenant's zone."""

_ASKS = ("today", "weekday", "days_until", "add_days", "business_days_between", "add_business_days", "opening_hours", "open_on")


def builtin_operations(
    *, now: Now, hours: str = "", search: Search | None = None, translator: LanguageModel | None = None
) -> tuple[Operation, ...]:
    """The built-in operations of a tenant.

    `hours`: when its people can be reached, in words, may be empty or unreadable; `search`: its knowledge; `translator`: a model that
    translates, without which there is no `translate`.
    """

    async def reckon(arguments: Mapping[str, Any]) -> Any:
        expression = str(arguments["expression"])
        return {"expression": expression, "result": shown(calculate(expression))}

    async def look(arguments: Mapping[str, Any]) -> Any:
        return _calendar(arguments, now(), hours)

    found = [_CALCULATE_AS(reckon), _CALENDAR_AS(look)]
    if search is not None:

        async def seek(arguments: Mapping[str, Any]) -> Any:
            rows = await search(str(arguments["query"]))
            return [{"title": r.get("title", ""), "text": r.get("text", ""), "source": r.get("source", "")} for r in rows]

        found.append(_SEARCH_AS(seek))
    if translator is not None:

        async def put(arguments: Mapping[str, Any]) -> Any:
            language = str(arguments["language"])
            return {"language": language, "translation": await translated(translator, str(arguments["text"]), language)}

        found.append(_TRANSLATE_AS(put))
    return tuple(found)


def _calendar(arguments: Mapping[str, Any], now: datetime, hours: str) -> Mapping[str, Any]:
    today = now.date()
    first = _day(arguments.get("date"), today)
    ask = arguments["ask"]
    if ask == "today":
        return {"date": today.isoformat(), "weekday": f"{today:%A}", "time": f"{now:%H:%M}"}
    if ask == "weekday":
        return {"date": first.isoformat(), "weekday": f"{first:%A}"}
    if ask == "opening_hours":
        return _openings(now, hours)
    if ask == "open_on":
        return _open_on(first, hours)
    if ask in ("add_days", "add_business_days"):
        if "days" not in arguments:
            raise BadInput("calendar needs `days` to count from a day: say how many")
        count = int(arguments["days"])
        landed = first + timedelta(days=count) if ask == "add_days" else add_business_days(first, count)
        return {"date": landed.isoformat(), "weekday": f"{landed:%A}"}
    last = _day(arguments.get("until"), first)
    start, end = (today, first) if ask == "days_until" else (first, last)
    days = (end - start).days if ask == "days_until" else business_days_between(start, end)
    return {"from": start.isoformat(), "until": end.isoformat(), "days" if ask == "days_until" else "business_days": days}


def _openings(now: datetime, hours: str) -> Mapping[str, Any]:
    if not hours:
        raise BadInput("no opening hours are known: set `handoff.hours` in tenant.yaml")
    parsed: Hours = parse_hours(hours)
    opening = parsed.next_opening(now)
    closing = parsed.closing(now)
    answer: dict[str, Any] = {"opening_hours": hours, "open_now": parsed.open_at(now)}
    if closing is not None:
        answer["closes"] = f"{closing:%H:%M}"
    elif opening is not None:
        answer["opens"] = f"{opening:%A}, {day_text(opening.date())}, {opening:%H:%M}"
    return answer


def _open_on(day: date, hours: str) -> Mapping[str, Any]:
    if not hours:
        raise BadInput("no opening hours are known: set `handoff.hours` in tenant.yaml")
    spans = parse_hours(hours).spans.get(day.weekday(), ())
    said = [f"{start:%H:%M} to {end:%H:%M}" if (start, end) != (time(), time()) else "the whole day" for start, end in spans]
    return {"date": day.isoformat(), "weekday": f"{day:%A}", "open": bool(spans), "hours": " and ".join(said)}


async def translated(model: LanguageModel, text: str, language: str) -> str:
    """The text in another language. Raises BadInput where the model is away or changes a number: such a translation is none."""
    asked = f"Translate into {language}. Answer with the translation only.\n\n{neutralise(text)}"
    try:
        found = (await complete(model, ChatRequest(messages=[{"role": "user", "content": asked}], max_tokens=600))).strip()
    except (ModelUnavailable, TooBusy):
        raise BadInput("the translation is not available at the moment") from None
    if not found or sorted(re.findall(r"\d+", found)) != sorted(re.findall(r"\d+", text)):
        raise BadInput("there is no translation of this that keeps its numbers")
    return neutralise(found)


def _day(raw: Any, otherwise: date) -> date:
    return date.fromisoformat(str(raw)) if raw else otherwise


def _argument(name: str, schema: Mapping[str, Any], description: str, *, required: bool = False, example: Any = None) -> Argument:
    return Argument(name=name, where=Place.BODY, required=required, schema=schema, description=description, example=example)


def _calculated(data: Mapping[str, Any]) -> str:
    loan = re.fullmatch(r"payment\(([\d.]+), ([\d.]+), (\d+)\)", str(data["expression"]))
    if loan:
        return f"{_grouped(loan[1])} at {loan[2]}% a year over {loan[3]} years is {_grouped(data['result'])} a month."
    return f"{data['expression']} is {_grouped(data['result'])}."


def _grouped(number: Any) -> str:
    whole, point, rest = str(number).partition(".")
    return f"{int(whole):,}{point}{rest}" if re.fullmatch(r"-?\d+", whole) and whole != "-0" else str(number)


def _dated(data: Mapping[str, Any]) -> str:
    """An answer of the calendar as a sentence."""
    if "opening_hours" in data:
        lead = "Yes, our team can be reached now" if data["open_now"] else "No, our team cannot be reached now"
        then = f", until {data['closes']}" if "closes" in data else f"; next from {data['opens']}" if "opens" in data else ""
        return f"{lead}{then}. The hours are: {data['opening_hours']}."
    if "until" in data:
        kind, count = ("business days", data.get("business_days")) if "business_days" in data else ("days", data.get("days"))
        start, end = (day_text(date.fromisoformat(data[k])) for k in ("from", "until"))
        return f"From {start} to {end} it is {count} {kind if count != 1 else kind[:-1]}."
    day = f"{data['weekday']}, {day_text(date.fromisoformat(data['date']))}"
    if "open" in data:
        return f"On {day} our team can be reached from {data['hours']}." if data["open"] else f"On {day} our team cannot be reached."
    return f"It is {day}{', ' + data['time'] if 'time' in data else ''}."


def _operation(
    name: str, summary: str, description: str, *arguments: Argument, say: Callable[[Mapping[str, Any]], str] | None = None
) -> Callable[[Callable[..., Awaitable[Any]]], Operation]:
    shape = Operation(name=name, summary=summary, description=description, arguments=arguments, say=say)
    return lambda run: replace(shape, run=run)


_CALCULATE_AS = _operation(
    "calculate",
    "Calculate with exact decimals",
    "The value of an arithmetic expression: sums, percentages such as 12% of 80, payment(amount, yearly rate in percent, years) for the "
    "monthly payment of a loan, compound(amount, yearly rate in percent, years).",
    _argument("expression", {"type": "string", "maxLength": 300}, "The expression.", required=True, example="payment(250000, 4.5, 25)"),
    say=_calculated,
)
_CALENDAR_AS = _operation(
    "calendar",
    "Look at the calendar and the opening hours",
    "Today's date, the weekday of a date, days until a date, a date some days or business days later, and whether we are open now.",
    _argument("ask", {"type": "string", "enum": list(_ASKS)}, "What to look up.", required=True, example="today"),
    _argument("date", {"type": "string", "format": "date"}, "The day to start from; today when left out."),
    _argument("until", {"type": "string", "format": "date"}, "The last day."),
    _argument("days", {"type": "integer", "minimum": -3660, "maximum": 3660}, "How many days."),
    say=_dated,
)
_SEARCH_AS = _operation(
    "search",
    "Search the company's documents",
    "Passages of the company's documents and questions and answers that speak about a question.",
    _argument("query", {"type": "string", "minLength": 2, "maxLength": 300}, "What to look for, in words.", required=True),
)
_TRANSLATE_AS = _operation(
    "translate",
    "Translate a text",
    "The text in another language.",
    _argument("text", {"type": "string", "minLength": 1, "maxLength": 1000}, "What to translate.", required=True),
    _argument(
        "language", {"type": "string", "minLength": 2, "maxLength": 40}, "The language to translate into.", required=True, example="German"
    ),
    say=lambda data: f"In {data['language']}: {data['translation']}",
)
