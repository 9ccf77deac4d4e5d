"""What an API answered, as one or two sentences for what was asked. Chooses and orders; every value stands as the platform rendered it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any

from frontdesk.desk.elicitation import SPAN, Record, amounts_in, dates_meant, pick_record, records_of, sums_in, values_in
from frontdesk.desk.everyday import alike
from frontdesk.models.protocols import Embedder
from frontdesk.tools.dates import find_times
from frontdesk.tools.lexicon import STOP, stem
from frontdesk.tools.operation import Operation, words_of
from frontdesk.tools.rendering import ABOUT_ANSWERS, CODES, Fact, Rendering, facts, is_wrapper, naming, weigh
from frontdesk.tools.slots import role_in, side_of, vocabulary

MOST_ROWS = 8
WHOLE = 4
"""A record of at most so many values is told whole."""
MOST_VALUES = 7
SURE = 0.85
"""Weight from which a value is what was asked."""
UNSURE = 0.35
"""Weight from which the best value for one clause of a question is told too."""
CLOSE = 0.45
"""Values this much behind the best one are told beside it."""
_PARTS_OF_DAY: Mapping[str, tuple[time, time]] = {
    "morning": (time(4), time(12)),
    "midday": (time(11), time(14)),
    "lunchtime": (time(11), time(14)),
    "afternoon": (time(12), time(18)),
    "evening": (time(17), time(23, 59)),
    "night": (time(20), time(23, 59)),
}
_SUPERLATIVE = re.compile(
    r"\b(?:cheap(?:er|est)|least expensive|most expensive|lowest|highest|dearest|earliest|latest|soonest|newest|oldest|most recent|"
    r"shortest|longest|biggest|largest|smallest|fastest|next|last)\b"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What may be said of an answer. `rows`: how many records it held, None when it is a single one."""

    text: str
    rows: int | None = None
    value: str = ""
    """The one value that answers, when it is one."""
    frames: tuple[str, ...] = ()
    """Wordings that may lead up to that value; the desk's own is the first."""


async def tell(
    operation: Operation,
    data: Any,
    question: str,
    *,
    arguments: Mapping[str, Any],
    today: date,
    embedder: Embedder | None,
    rendering: Rendering,
    pointing: str = "",
) -> Told:
    """The answer to `question` from what a call returned. Raises ModelUnavailable.

    `pointing`: the words that say which of several records is meant, when they are not the question's.
    """
    if operation.say is not None and isinstance(data, Mapping):
        return Told(text=operation.say(data))
    tables = _tables(data)
    if len(tables) > 1:
        named = [name for name in tables if _speaks_of(question, name)] or tables
        rest = {k: v for k, v in data.items() if k not in tables}

        async def told(name: str) -> Told:
            one = {**rest, name: data[name]}
            return await tell(
                operation, one, question, arguments=arguments, today=today, embedder=embedder, rendering=rendering, pointing=pointing
            )

        parts = [(name, await told(name)) for name in named]
        return replace(
            parts[0][1], text=" ".join(f"{words_of(name).capitalize()}: {part.text}" for name, part in parts), value="", frames=()
        )
    rendering = rendering.for_operation(operation)
    listing = _is_listing(data, arguments)
    if listing and isinstance(data, Mapping) and (whole := _without_extras(data, question, operation, arguments, today)) is not None:
        data, listing = whole, False
    found = _joined(facts(data, operation.response, rendering), 1 if listing else 0)
    beside = await _beside_list(found, question, operation, embedder, arguments) if listing and isinstance(data, Mapping) else []
    if beside:
        value, frames = _framed(beside, arguments, own=operation.needs_customer)
        return Told(text=_sentence(beside, arguments), value=value, frames=frames)
    if data is None or not found:
        return Told(text="That is done." if operation.writes else f"I find nothing for that: {_matter(operation)}.")
    if not listing:
        chosen = await _about(found, question, operation, embedder, arguments=arguments)
        value, frames = _framed(chosen, arguments, own=operation.needs_customer)
        return Told(text=_sentence(chosen, arguments), value=value, frames=frames)
    rows = [r for r in records_of(data) if r is not data]
    if not rows:
        return Told(text=_nothing(operation, data, arguments, rendering), rows=0)
    kept = narrowed(rows, pointing or question, operation, today)
    if len(kept) == 1:
        own = [f for f in found if f.path and _row_of(f) == _place(rows, kept[0])]
        if not own:
            own = _joined(facts(kept[0], {}, rendering), 0)
        chosen = await _about([f for f in own if f.value is not None], question, operation, embedder, arguments=arguments)
        value, frames = _framed(chosen, arguments, own=operation.needs_customer)
        return Told(text=_sentence(chosen, arguments), rows=len(rows), value=value, frames=frames)
    return Told(text=await _several(found, rows, kept, question, operation, embedder, arguments), rows=len(kept))


async def _beside_list(
    found: Sequence[Fact], question: str, operation: Operation, embedder: Embedder | None, arguments: Mapping[str, Any]
) -> list[Fact]:
    """The values that stand beside the list of an answer, where the question is about one of these and not about the list."""
    given = {str(v).casefold() for v in arguments.values()}
    usable = [f for f in found if f.label.lower() not in ABOUT_ANSWERS | _ABOUT_AMOUNTS and str(f.value).casefold() not in given]
    if all(_row_of(f) >= 0 or f.value is None for f in usable) or all(_row_of(f) < 0 for f in usable):
        return []
    scores = await weigh([replace(f, hint=f.hint or _phrase_for(f, operation)) for f in usable], question, embedder)
    own = [(s, f) for s, f in zip(scores, usable, strict=True) if _row_of(f) < 0 and f.value is not None]
    listed = max(s for s, f in zip(scores, usable, strict=True) if _row_of(f) >= 0)
    best = max(s for s, _ in own)
    return [f for s, f in own if s >= best - CLOSE / 3] if best >= SURE and best > listed else []


_ABOUT_AMOUNTS = frozenset(["per", "each", "every", "currency", "unit"])
"""Labels of what only says how the amounts of a list are meant."""


def _joined(found: Sequence[Fact], depth: int) -> list[Fact]:
    """The facts with each list inside a record as one of them: "Basic 29, extra days 15.30". `depth`: lists around the record itself."""
    whole: dict[tuple[str | int, ...], dict[str | int, list[Fact]]] = {}
    kept: list[Fact] = []
    for fact in found:
        places = [i for i, p in enumerate(fact.path) if isinstance(p, int)]
        if len(places) <= depth:
            kept.append(fact)
            continue
        at = places[depth]
        entries = whole.setdefault(fact.path[:at], {})
        if not entries:
            kept.append(replace(fact, path=fact.path[:at]))  # its place among the others
        entries.setdefault(fact.path[at], []).append(fact)
    return [_as_one(f, whole[f.path]) if f.path in whole else f for f in kept]


def _as_one(fact: Fact, entries: Mapping[str | int, Sequence[Fact]]) -> Fact:
    said = [s for s in (_entry(own) for own in entries.values()) if s]
    label = words_of(str(next((p for p in reversed(fact.path) if isinstance(p, str)), "entries"))).capitalize()
    text = ", ".join(said[:MOST_ROWS]) or "none"
    return replace(fact, label=label, text=text, value=text, within=fact.within[:-1], record="", hint="")


def _entry(own: Sequence[Fact]) -> str:
    """One entry of a list inside a record: its name, and what is said of it."""
    own = [f for f in own if f.value is not None and f.value != []]
    name = next((f for f in own if f.label.lower() in ("name", "label", "title", "description", "product", "article", "item")), None)
    others = [f for f in own if f is not name]
    if name is None:
        return " ".join(f.text if len(own) == 1 else f"{_lower(f.label)} {f.text}" for f in others)
    if len(others) <= 1:
        return f"{name.text} {others[0].text}" if others else name.text
    return f"{name.text} ({', '.join(f'{_lower(f.label)} {f.text}' for f in others)})"


def narrowed(rows: Sequence[Record], question: str, operation: Operation, today: date) -> list[Record]:
    """The records that the question means: by place, by the words and days in them, by part of day, by the cheapest and the like."""
    index = pick_record(rows, question, today)
    if index is not None:
        return [rows[index]]
    kept = _by_words(list(rows), question, operation, today)
    kept = _by_hour(kept, question)
    return _next_of(kept, question, today) or _by_extreme(kept, question)


def _tables(data: Any) -> list[str]:
    """Names of the lists of records in an answer that holds several."""
    return [str(k) for k, v in data.items() if isinstance(v, list) and v and isinstance(v[0], Mapping)] if isinstance(data, Mapping) else []


def _speaks_of(question: str, name: str) -> bool:
    said = {stem(w) for w in re.findall(r"[^\W\d_]+", question.lower())}
    telling = {stem(w) for w in words_of(name).split()} - {stem(w) for w in STOP}
    return len(telling & said) * 2 >= max(1, len(telling))


_AMOUNT = re.compile(r"\b(?:price|cost|total|amount|fee|charge|premium|payment|balance|monthly|yearly|rent|fare|rate|due)\b")


def _without_extras(
    data: Mapping[str, Any], question: str, operation: Operation, arguments: Mapping[str, Any], today: date
) -> dict[str, Any] | None:
    """An answer without its list, where the list only breaks down or adds to an amount that the answer gives itself; None elsewhere.

    Of a list that the question speaks of by a field or a value ("any left in green") the entries meant stay, beside the amount.
    """
    tables = _tables(data)
    own = {k: v for k, v in data.items() if not isinstance(v, (list, Mapping)) and str(k) not in arguments}
    plain = [k for k, v in own.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and _AMOUNT.search(words_of(str(k)))]
    amounts = plain or [
        k for k, v in data.items() if isinstance(v, Mapping) and len(v) == 2 and any(x in CODES for x in v.values() if isinstance(x, str))
    ]
    if len(tables) != 1 or not amounts or _speaks_of(question, tables[0]):
        return None
    rows = [r for r in data[tables[0]] if isinstance(r, Mapping)]
    said = {stem(w) for w in re.findall(r"[^\W_]+", question.lower())} - {stem(w) for w in STOP} - _PRICED
    named = {stem(w) for k in own for w in words_of(str(k)).split()}
    fields = {stem(w) for r in rows for k in r for w in words_of(str(k)).split()} - named
    kept = narrowed(rows, question, operation, today)
    if said & fields or len(kept) < len(rows):
        return {**data, tables[0]: kept}
    return {k: v for k, v in data.items() if k not in tables}


_PRICED = frozenset(stem(w) for w in ("price", "cost", "costs", "amount", "total", "fee", "currency", "each", "name"))
"""Words of a question about an amount, which say nothing of its breakdown."""


def _is_listing(data: Any, arguments: Mapping[str, Any]) -> bool:
    if isinstance(data, list):
        return not data or isinstance(data[0], Mapping)
    if not isinstance(data, Mapping):
        return False
    lists = [v for v in data.values() if isinstance(v, list)]
    tables = [v for v in lists if v and isinstance(v[0], Mapping)]
    inner = [v for k, v in data.items() if isinstance(v, Mapping) and is_wrapper(data, str(k))]
    if len(inner) == 1 and not tables:
        return _is_listing(inner[0], arguments)
    plain = [
        v
        for k, v in data.items()
        if not isinstance(v, (list, Mapping)) and words_of(str(k)) not in ABOUT_ANSWERS and str(k) not in arguments
    ]
    counts = all(v in CODES or (isinstance(v, (int, float, type(None))) and not isinstance(v, bool)) for v in plain)
    nested = any(
        isinstance(v, Mapping) and v and words_of(str(k)) not in ABOUT_ANSWERS for k, v in data.items()
    )  # beside a record of its own an empty list is one of its fields
    return (bool(tables) and len(plain) <= 6) or (bool(lists) and not any(lists) and counts and not nested and len(plain) <= 6)


def _by_words(rows: list[Record], question: str, operation: Operation, today: date) -> list[Record]:
    """Rows that share a telling word, a code, a day or an amount of money with the question, when some do and others do not."""
    idle = (
        vocabulary(operation) | {stem(w) for w in STOP} | {stem(words_of(str(k)).split()[-1]) for r in rows for k in r if words_of(str(k))}
    )
    said = alike({stem(w) for w in re.findall(r"[^\W_]+", question.lower()) if len(w) > 2} - idle)
    meant, sums = dates_meant(question, today, sure=0.75), sums_in(question)
    scores: list[float] = []
    for row in rows:
        values = [v for v in values_in(row) if isinstance(v, str)]
        words = alike(stem(w) for v in values for w in re.findall(r"[^\W_]+", v.lower()))
        scores.append(len(words & said) + sum(2 for v in values if meant(v)) + 2 * len(sums & amounts_in(row)) + _ways(row, question))
    best = max(scores, default=0)
    if best == 0:
        return rows
    return [r for r, s in zip(rows, scores, strict=True) if s == best]


def _ways(row: Record, question: str) -> float:
    """Half a word for each place that the question goes to or comes from as the record does, and against it for the other way about."""
    score = 0.0
    for name, value in row.items():
        role = role_in(words_of(str(name)))
        place = re.search(rf"\b{re.escape(value)}\b", question, re.IGNORECASE) if role and isinstance(value, str) and value else None
        side = side_of(question, place.span()) if place is not None else ""
        score += (0.5 if side == role else -0.5) if side else 0.0
    return score


def _by_hour(rows: list[Record], question: str) -> list[Record]:
    said = question.lower()
    span = next((v for k, v in _PARTS_OF_DAY.items() if re.search(rf"\b(?<!good ){k}\b", said)), None)
    if span is None:
        return rows
    kept = []
    for row in rows:
        moments = [t.value for v in row.values() if isinstance(v, str) for t in find_times(v)]
        if moments and span[0] <= moments[0] <= span[1]:
            kept.append(row)
    return kept or rows


def _next_of(rows: list[Record], question: str, today: date) -> list[Record]:
    """The row that comes next, where it is asked for and each row stands under one day; empty elsewhere."""
    if len(rows) < 2 or not _NEXT.search(SPAN.sub(" ", question.lower())):
        return []
    shared = [k for k in rows[0] if all(isinstance(r.get(k), str) and _DAY.match(r[k]) for r in rows)]
    coming = [
        r
        for r in rows
        if shared and r[shared[0]][:10] >= today.isoformat() and not _CALLED_OFF.search(" ".join(map(str, values_in(r))).lower())
    ]
    first = min((r[shared[0]] for r in coming), default="")
    return [r for r in coming if r[shared[0]] == first]


_NEXT = re.compile(r"\b(?:next|soonest|earliest|upcoming)\b")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:$|[T ])")
_CALLED_OFF = re.compile(r"\b(?:cancel+ed|called off|void|over|done|finished)\b")


def _by_extreme(rows: list[Record], question: str) -> list[Record]:
    match = _SUPERLATIVE.search(question.lower())
    if match is None or len(rows) < 2:
        return rows
    index = pick_record(rows, f"the {match[0]} one", date(2000, 1, 1))
    priced = _least(rows, match[0])
    if priced is not None:
        return [rows[priced]]
    return [rows[index]] if index is not None else rows


def _least(rows: Sequence[Record], word: str) -> int | None:
    """The row with the lowest (or highest) price, when every row has prices."""
    if not re.match(r"cheap|least exp|most exp|lowest|highest|dearest", word):
        return None
    prices = [_prices(row) for row in rows]
    if not all(prices):
        return None
    high = re.match(r"most|highest|dearest", word) is not None
    values = [max(p) if high else min(p) for p in prices]
    best = max(values) if high else min(values)
    return values.index(best) if values.count(best) == 1 else None


def _prices(node: Any, name: str = "") -> list[float]:
    if isinstance(node, Mapping):
        if any(isinstance(v, str) and v in CODES for v in node.values()) and len(node) == 2:
            name = f"{name} price"  # an amount with its currency
        return [p for k, v in node.items() for p in _prices(v, f"{name} {words_of(str(k))}")]
    money = re.search(r"\b(?:price|cost|fare|fee|amount|total|rate|premium)s?\b", name) is not None
    return [float(node)] if money and isinstance(node, (int, float)) and not isinstance(node, bool) else []


def _place(rows: Sequence[Record], row: Record) -> int:
    return next(i for i, r in enumerate(rows) if r is row)


def _row_of(fact: Fact) -> int:
    return next((p for p in fact.path if isinstance(p, int)), -1)


async def _about(
    found: Sequence[Fact],
    question: str,
    operation: Operation,
    embedder: Embedder | None,
    *,
    arguments: Mapping[str, Any],
) -> list[Fact]:
    """The values of one record that answer the question, led by the one that names the record; more of them when it is unclear which."""
    usable = [f for f in found if f.value is not None and f.value != [] and f.label.lower().rpartition(" ")[2] not in _FOR_MACHINES]
    if not usable:
        return list(found)[:WHOLE]
    given = {str(v).casefold() for v in arguments.values()}
    usable = [f for f in usable if not _is_default(f, operation, arguments)] or usable
    head = next((f for f in usable if _is_title(f)), None) or next(
        (f for f in usable if _names(f) or (str(f.value).casefold() in given and f.label.lower() not in _ENDS)), None
    )
    rest = [f for f in usable if f is not head and str(f.value).casefold() not in given]
    if len(rest) <= (MOST_VALUES if operation.derived else WHOLE):
        return [*([head] if head else []), *rest]
    hinted = [replace(f, hint=f.hint or _phrase_for(f, operation)) for f in found if f is not head and str(f.value).casefold() not in given]
    scores = await _weights(hinted, question, embedder)
    best = max(scores)
    chosen = [f for f, s in zip(hinted, scores, strict=True) if s >= max(best - CLOSE, best * 0.5)]
    chosen = [f for f in hinted if f in chosen or any(_belong(f, c) for c in chosen)]
    sure = best >= SURE and any(f.value is not None for f in chosen) and _ALL_WELL.search(question) is None
    chosen += [f for f in naming(hinted, question) if f not in chosen]
    top = hinted[scores.index(best)]
    chosen = [f for f in chosen if f.value is not None or f is top] if sure else chosen
    if not sure:
        states = [f for f in hinted if f not in chosen and f.value is not None and _is_state(f)]
        by_weight = sorted(zip(hinted, scores, strict=True), key=lambda pair: -pair[1])
        others = [f for f, _ in by_weight if f not in chosen and f not in states and f.value is not None]
        chosen = [*chosen, *[*states, *others][: MOST_VALUES - len(chosen)]]
        chosen = [f for f in hinted if f in chosen and f.value is not None] or chosen
    elif re.match(r"\s*(?:is|are|has|have|did|does|do|was|were|will|can)\b|.*\b(?:still|yet|already)\b", question.lower()):
        chosen += [f for f in hinted if f not in chosen and f.value is not None and _is_state(f)][:1]
    if any(_is_state(f) for f in chosen) and not any(_is_coming(f) for f in chosen):
        chosen += [f for f in hinted if f.value is not None and _is_coming(f)][:1]
    return [*([head] if head else []), *chosen[:MOST_VALUES]]


_ALL_WELL = re.compile(
    r"\b(?:everything|anything|things?|all) (?:still |else )?(?:ok(?:ay)?|all right|alright|right|well|fine|normal|as usual|wrong|amiss|the matter)\b|"
    r"\bany (?:problems?|issues?|troubles?|disruptions?)\b|\bhow (?:are things|is everything|does it look)\b",
    re.IGNORECASE,
)
"""Asks how things are altogether, and for no value."""

_FOR_MACHINES = frozenset(["slug", "uuid", "guid", "href", "etag", "checksum"])
"""Last words of labels of what no customer reads."""


def _is_default(fact: Fact, operation: Operation, arguments: Mapping[str, Any]) -> bool:
    """A nothing that merely echoes what was not asked for: no children, because none were named."""
    name = str(fact.path[-1]) if fact.path else ""
    return fact.value in (0, False, "") and operation.argument(name) is not None and name not in arguments


async def _weights(found: Sequence[Fact], question: str, embedder: Embedder | None) -> list[float]:
    """The weight of each value for the question, or for that of its clauses which it answers best."""
    scores = await weigh(found, question, embedder)
    clauses = [c for c in re.split(r"[?.;,]\s+|\band\b|\bplus\b", question) if len(c.split()) >= 2 or _ASKED.fullmatch(c)]
    if not 2 <= len(clauses) <= 5:
        return scores
    best = max(SURE, *scores)
    for clause in clauses:
        own = await weigh(found, clause, embedder)
        top = max(own)
        if top >= UNSURE:
            scores = [max(s, best if o >= top - CLOSE / 3 else s) for s, o in zip(scores, own, strict=True)]
    return scores


_ASKED = re.compile(r"\W*(?:when|where|who)\W*", re.IGNORECASE)
"""A question of one word, behind another: "what is it and when?"."""


def _belong(fact: Fact, chosen: Fact) -> bool:
    """Values of one thing in parts, such as `opening day` and `opening hours`, or two members of one record inside the answer."""
    nested = len(fact.path) > 2 and fact.path[:-1] == chosen.path[:-1] and isinstance(fact.path[-2], str)
    return nested or bool(_roots(fact) & _roots(chosen))


def _roots(fact: Fact) -> set[str]:
    words = fact.label.lower().split()
    return {w[:5] for w in words if len(w) >= 5} if len(words) > 1 else set()


def _is_state(fact: Fact) -> bool:
    return re.search(r"\b(?:status|state|stage|progress)\b", fact.label.lower()) is not None


def _is_coming(fact: Fact) -> bool:
    """The day on which something is to happen: with how a matter stands, people want to know when it moves on."""
    dated = isinstance(fact.value, str) and re.match(r"\d{4}-\d{2}-\d{2}", fact.value) is not None
    label = fact.label.lower()
    past = re.search(r"\b(?:first|last|previous|original\w*|ordered|created|updated|since|paid|sent)\b", label)
    return (
        dated
        and past is None
        and re.search(r"\b(?:expected|estimated|deliver\w*|arriv\w*|eta|due|ready|planned|back)\b", label) is not None
    )


def _phrase_for(fact: Fact, operation: Operation) -> str:
    """The words with which the operation's description speaks of a field: `net pay` for `net`."""
    own = {stem(w) for w in re.findall(r"[^\W\d_]+", fact.label.lower())} - {stem(w) for w in STOP}
    for phrase in re.split(r"[,;.:()]|\band\b|\bor\b", operation.description):
        words = {stem(w) for w in re.findall(r"[^\W\d_]+", phrase.lower())}
        if own and own & words and len(words) <= 8:
            return phrase.strip()
    return ""


def _names(fact: Fact) -> bool:
    """Whether a value says which record this is."""
    last = words_of(str(next((p for p in reversed(fact.path) if isinstance(p, str)), ""))).split()
    return bool(last) and last[-1] in (
        "name",
        "title",
        "no",
        "number",
        "reference",
        "ref",
        "code",
        "month",
        "plan",
        "product",
        "kind",
        "id",
    )


def _is_title(fact: Fact) -> bool:
    return fact.label.lower() in ("name", "title") and isinstance(fact.value, str)


def _sentence(chosen: Sequence[Fact], arguments: Mapping[str, Any]) -> str:
    """Values in a sentence: `For parcel 12, the shelf is 4 and the status is arrived.`"""
    head = chosen[0] if len(chosen) > 1 else None
    led = head is not None and (_names(head) or str(head.value).casefold() in {str(v).casefold() for v in arguments.values()})
    said = [_clause(f) for f in (chosen[1:] if head else chosen)]
    joined = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    if head is not None and led:
        return f"For {head.text if _is_title(head) else f'{_lower(head.label)} {head.text}'}, {joined}."
    if head is not None:
        said = [_clause(head), *said]
        joined = f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{joined[:1].upper()}{joined[1:]}."


def _framed(chosen: Sequence[Fact], arguments: Mapping[str, Any], *, own: bool) -> tuple[str, tuple[str, ...]]:
    """The one value of an answer, and sentences that may lead up to it; nothing when it has several or reads otherwise."""
    if not 1 <= len(chosen) <= 2 or chosen[-1].value is None or "\n" in chosen[-1].text:
        return "", ()
    head, fact = (chosen[0] if len(chosen) == 2 else None), chosen[-1]
    value = fact.text.rstrip(".")
    plain = _sentence(chosen, arguments)
    lead = plain.removesuffix(f"{value}.").strip()
    verb = re.search(r"\bthe (.+) (is|are)$", lead)
    if not plain.endswith(f" {value}.") or verb is None or (head is not None and not lead.startswith("For ")):
        return "", ()
    what = f"{verb[1]}{f' of {_lower(head.label)} {head.text}' if head else ''}"
    frames = [lead, f"The {what} {verb[2]}", *([f"Your {verb[1]} {verb[2]}"] if own and head is None else [])]
    return value, tuple(dict.fromkeys(frames))


_HAPPENS = frozenset(
    ["ends", "starts", "begins", "expires", "opens", "closes", "leaves", "departs", "arrives", "renews", "lapses", "runs", "finishes"]
)
"""Last words of labels that say what happens at a time: `deal ends`."""
_WHEN = re.compile(r"(\d{1,2}:\d{2}\b)|\d{1,2} [A-Z][a-z]+ \d{4}\b|[A-Z][a-z]+day, ")
_ENDS = ("from", "to")
_ADJECTIVES = frozenset(["left", "net", "gross", "due", "ready", "free", "open", "paid"])


def _clause(fact: Fact) -> str:
    label = _lower(fact.label) or "the answer"
    if isinstance(fact.value, bool):
        return f"{label}: {fact.text}"
    if fact.value is None:
        return f"the {label} is not set"
    if fact.label.lower() in ("per", "each", "every"):
        return f"it is {label} {fact.text.rstrip('.')}"
    if fact.label.lower() in _ENDS:
        return f"it is {_lower(fact.label)} {fact.text}"
    if label.split()[-1] in _ADJECTIVES or re.fullmatch(r"[a-z]+(?:ed|en)", label):
        return f"{label}: {fact.text}"
    if re.fullmatch(r"(?:available|free|left|due|owed|outstanding) to \w+", label):
        return f"{fact.text.rstrip('.')} is {label}"
    if label.split()[-1] in _HAPPENS and (when := _WHEN.match(fact.text)):
        return f"{f'the {label}' if ' ' in label else f'it {label}'} {'at' if when[1] else 'on'} {fact.text.rstrip('.')}"
    if re.search(r"\b(?:on|until|till|at|by|from|since|for)$", label):
        return f"{label} {fact.text.rstrip('.')}"
    many = re.search(r"(?<!s)s$", label) is not None and not re.search(r"\b(?:status|address|gas|basis|bonus|is)$", label)
    return f"the {label} {'are' if many else 'is'} {fact.text.rstrip('.')}"


def _lower(text: str) -> str:
    return text if len(text) > 1 and text[:2].isupper() else text[:1].lower() + text[1:]


async def _several(
    found: Sequence[Fact],
    rows: Sequence[Record],
    kept: Sequence[Record],
    question: str,
    operation: Operation,
    embedder: Embedder | None,
    arguments: Mapping[str, Any],
) -> str:
    """Rows, one after the other, each with its name and the values that the question is about."""
    places = [_place(rows, r) for r in kept]
    given = {str(v).casefold() for v in arguments.values()}
    sample = [
        replace(f, hint=f.hint or _phrase_for(f, operation))
        for f in found
        if _row_of(f) == places[0] and f.text != _row_name(f) and str(f.value).casefold() not in given
    ]
    scores = await weigh(sample, question, embedder) if len(sample) > WHOLE else [1.0] * len(sample)
    best = max(scores, default=0.0)
    matter = vocabulary(operation)
    # "which visits are booked?" asks for no visit number: what merely names a row, in the operation's own words, is no field that is asked for.
    asked = max((s for f, s in zip(sample, scores, strict=True) if not (_names(f) and _roots_in(f, matter))), default=0.0)
    close = CLOSE if best >= SURE and asked >= best - CLOSE / 3 else 2.0
    labels = [f.label for f, s in zip(sample, scores, strict=True) if s >= best - close][:MOST_VALUES]
    labels += [f.label for f in sample if _is_state(f) and f.label not in labels]
    labels += [f.label for f in sample if _names(f)][:1]  # or nobody could say which row is which
    lines = []
    for place in places[:MOST_ROWS]:
        own = [f for f in found if _row_of(f) == place and f.value is not None]
        name = next((_row_name(f) for f in own if f.within), "")
        said = ", ".join(_short(f) for f in own if f.label in labels and f.text != name)
        lines.append(f"{name} ({said})" if name and said and not name.startswith("no. ") else said or name)
    more = f"; and {len(places) - MOST_ROWS} more" if len(places) > MOST_ROWS else ""
    return f"I find {len(places)}: {'; '.join(lines)}{more}."


def _roots_in(fact: Fact, matter: Collection[str]) -> bool:
    """Whether the words of a label, but for what calls it a number or a name, are all of a matter."""
    return all(stem(w) in matter for w in fact.label.lower().split()[:-1])


def _row_name(fact: Fact) -> str:
    return fact.within[0] if fact.within else ""


def _short(fact: Fact) -> str:
    if isinstance(fact.value, str) and len(fact.label) > 0 and not re.fullmatch(r"[\w ]+", fact.text):
        return f"{_lower(fact.label)} {fact.text}"
    return f"{_lower(fact.label)} {fact.text}".strip()


def _matter(operation: Operation) -> str:
    verb, _, rest = operation.summary.partition(" ")
    return (rest or verb).rstrip(".").lower()


def _nothing(operation: Operation, data: Any, arguments: Mapping[str, Any], rendering: Rendering) -> str:
    """That a list is empty, with what it was asked for."""
    name = next((words_of(str(k)) for k, v in data.items() if v == []), "") if isinstance(data, Mapping) else ""
    for_what = ", ".join(f.text for f in facts(dict(arguments), {}, rendering))
    return f"There are no {name or _things(operation)}{f' for {for_what}' if for_what else ''}."


def _things(operation: Operation) -> str:
    words = re.sub(
        r"\b(?:the|a|an|of|for|in|your|my|(?:signed-in )?(?:customer|member|person|patient|user)(?:'s)?)\b", " ", _matter(operation)
    )
    return " ".join(words.split()) or "entries"
