"""What an operation still needs: from the words, from earlier turns, from what a read of the customer's own records finds; last, asked.

Pure: calls nothing. Asks for one thing at a time and refuses to guess: a value that fits nothing is told, several that fit are offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from frontdesk.domain.conversation import ToolCall
from frontdesk.models.protocols import Embedder
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.checking import fit
from frontdesk.tools.consent import correction
from frontdesk.tools.dates import find_days, find_months
from frontdesk.tools.lexicon import STOP, stem
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.offers import pick
from frontdesk.tools.operation import Argument, Operation, Place, words_of
from frontdesk.tools.rendering import Fact, Rendering, facts, is_wrapper
from frontdesk.tools.slots import kind_of, vocabulary
from frontdesk.tools.understanding import SURE, Offer, corrections, extract, otherwise_of, understand

Record = Mapping[str, Any]
MOST_CHOICES = 8
"""Choices that are listed; more would be read by nobody."""
ABOUT_IDS = frozenset({"id", "ids", "ref", "reference", "no", "number", "code", "key", "nr"})
_BEFORE = re.compile(
    r"\b(?:before (?:that|this|it|then)|previous|prior|preceding|the one before|one (?:month|day|week|year) earlier|earlier one)\b"
)
_AFTER = re.compile(r"\b(?:after (?:that|this|it)|following|subsequent|the one after|the next one|one (?:month|day|week|year) later)\b")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Arguments of an operation as far as they are known. `problems`: what is wrong with what was said, by argument."""

    values: Mapping[str, Any] = field(default_factory=dict)
    fresh: Mapping[str, Any] = field(default_factory=dict)
    """Those that the words just read gave or changed."""
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a customer may choose from: labels as shown, and the values they stand for."""

    labels: tuple[str, ...]
    values: tuple[Any, ...]


async def gather(
    operation: Operation,
    text: str,
    *,
    embedder: Embedder | None,
    today: date,
    known: Mapping[str, Any] | None = None,
    asked: str = "",
    choices: Choices | None = None,
) -> Gathered:
    """What the text gives, on top of what is known; a correction in it changes what is known. Raises ModelUnavailable."""
    have = {n: v for n, v in (known or {}).items() if operation.argument(n) is not None}
    changed = corrections(operation, text, known=have, today=today) if have else {}
    kept = {n: v for n, v in have.items() if n not in changed}
    offers = [Offer(label=label, value=value) for label, value in zip(choices.labels, choices.values, strict=True)] if choices else []
    found = {
        **await understand(operation, text, embedder=embedder, known={**kept, **changed}, today=today, choices=offers, asked=asked),
        **changed,
    }
    if asked in found and found[asked].span == (0, len(text)) and not found[asked].problem:
        # A whole message that names a choice may name other things beside it.
        beside = await understand(operation, text, embedder=embedder, known={**kept, **changed, asked: found[asked].value}, today=today)
        found.update(beside)
    taken_back = correction(text)
    if taken_back is not None and taken_back.start > 0:
        before = extract(operation, text[: taken_back.start], known=kept, today=today, asked=asked)
        said = {n: e.value for n, e in before.items() if not e.problem}
        found.update(before)
        found.update(corrections(operation, text[taken_back.start :], known={**said, **kept}, today=today))
    values, fresh, problems = dict(kept), {}, {}
    for name, value in found.items():
        argument = operation.argument(name)
        if argument is None or value.confidence < (SURE if argument.required or name == asked else 0.7):
            continue
        if value.problem:
            if argument.required or name == asked:  # else nobody was asked for it, and nothing needs it
                problems[name] = value.problem
        else:
            values[name] = fresh[name] = value.value
    return Gathered(values=values, fresh=fresh, problems=problems)


def is_telling(operation: Operation, name: str) -> bool:
    """Whether an argument takes something more definite than free words."""
    argument = operation.argument(name)
    return argument is not None and kind_of(argument) != "words"


def missing(operation: Operation, values: Mapping[str, Any]) -> list[Argument]:
    """Required arguments without a value, in the order in which they are asked for: what narrows the matter down before amounts."""
    return [a for a in operation.required if a.name not in values or (a.each and len(values[a.name]) < len(values.get(a.each, ())))]


def shifted(operation: Operation, text: str, call: ToolCall) -> dict[str, Any]:
    """The month or day that "the one before that" means, counted from the earlier call's own; empty when nothing is meant so."""
    said = text.lower()
    step = -1 if _BEFORE.search(said) else 1 if _AFTER.search(said) else 0
    if not step:
        return {}
    for argument in operation.askable:
        if kind_of(argument) not in ("month", "day"):
            continue
        before = call.arguments.get(argument.name) or next((v for r in records_of(call.result) if (v := field_of(r, argument))), None)
        moved = _moved(str(before or ""), step)
        if moved and not fit(argument, moved)[1]:
            return {argument.name: moved}
    return {}


def _moved(text: str, step: int) -> str:
    month = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if month:
        count = int(month[1]) * 12 + int(month[2]) - 1 + step
        return f"{count // 12:04d}-{count % 12 + 1:02d}"
    try:
        return (date.fromisoformat(text) + timedelta(days=step)).isoformat()
    except ValueError:
        return ""


def records_of(result: Any) -> list[Record]:
    """The records of an answer: its list of records, alone or below one name, else the answer itself."""
    if isinstance(result, list):
        return [r for r in result if isinstance(r, Mapping)]
    if not isinstance(result, Mapping):
        return []
    lists: list[list[Record]] = [v for v in result.values() if isinstance(v, list) and v and all(isinstance(r, Mapping) for r in v)]
    if lists:
        return max(lists, key=len)
    inner = [v for k, v in result.items() if isinstance(v, Mapping) and is_wrapper(result, str(k))]
    if len(inner) == 1 and any(isinstance(v, list) for v in inner[0].values()):
        return records_of(inner[0])
    empty = any(v == [] for v in result.values()) and not any(isinstance(v, (int, float)) and v for v in result.values())
    return [] if empty else [result]


def field_of(record: Record, argument: Argument, *, named: bool = False) -> Any:
    """The field of a record that can fill an argument: of the same name, else one that names the same thing in short (`id` for `order_id`).

    `named`: the record is of what the argument is called after; then its name is meant.
    """
    if named and (called := next((record[k] for k in ("name", "label", "title") if isinstance(record.get(k), str)), None)) is not None:
        return fit(argument, called)[0]
    wanted = words_of(argument.name.rpartition(".")[2]).split()
    by_name = {
        tuple(words_of(str(k)).split()): v for k, v in record.items() if isinstance(v, (str, int, float)) and not isinstance(v, bool)
    }
    exact = by_name.get(tuple(wanted))
    if exact is not None and not fit(argument, exact)[1]:
        return fit(argument, exact)[0]
    close = []
    for name, value in by_name.items():
        shared = len(set(name) & set(wanted))
        inside = set(name) <= set(wanted) or set(wanted) <= set(name)
        both_ids = bool(set(name) & ABOUT_IDS) and bool(set(wanted) & ABOUT_IDS)
        if (inside or (both_ids and set(name) <= ABOUT_IDS)) and not fit(argument, value)[1]:
            close.append((shared + both_ids, value))
    close.sort(key=lambda pair: -pair[0])
    return fit(argument, close[0][1])[0] if close else None


def provider_of(catalog: Catalog, operation: Operation, argument: Argument, values: Mapping[str, Any]) -> Operation | None:
    """The read that can find an argument's value out: one that its description names, the list above it in the path, or one that returns it."""
    best: tuple[int, Operation] | None = None
    news = operation.writes and argument.where is not Place.PATH and kind_of(argument) != "code"
    for other in catalog.usable:
        if (
            other.name == operation.name
            or other.writes
            or other.run is not None
            or any(a.name not in values or a.name == argument.name for a in other.required)
        ):
            continue
        fitness = _provides(other, operation, argument)
        if not fitness and lists_by_name(other, operation, argument):
            best = best or (1, other)
            continue
        if news and fitness < 4 and not set(words_of(argument.name).split()) & ABOUT_IDS:
            continue  # what something is to become stands in no record of how it is
        if other.needs_customer and not operation.needs_customer and fitness in (2, 3):
            continue  # a public question is about the customer's own records only where the document or the thing itself says so
        if fitness and (best is None or fitness > best[0]):
            best = fitness, other
    return best[1] if best else None


def _provides(other: Operation, operation: Operation, argument: Argument) -> int:
    if re.search(rf"\b{re.escape(other.name)}\b", f"{argument.description} {operation.description}"):
        return 4
    listed = operation.path.partition("{" + argument.name + "}")[0].rstrip("/")
    if listed != operation.path and listed and other.path.rstrip("/") == listed:
        return 3
    returned = {tuple(words_of(n).split()) for n in _fields(other.response)}
    if tuple(words_of(argument.name).split()) in returned and (other.needs_customer or kind_of(argument) != "choice"):
        return 2
    return 1 if _speaks_of_its_own(other, argument) else 0


def _fields(schema: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Names of fields in a response schema, list entries included."""
    for name, member in schema.get("properties", {}).items():
        yield str(name)
        if depth < 2:
            yield from _fields(member.get("items", {}), depth + 1)
    if schema.get("items") and depth < 2:
        yield from _fields(schema["items"], depth + 1)


def lists_by_name(other: Operation, operation: Operation, argument: Argument) -> bool:
    """Whether a read lists the customer's own things of the kind that an argument in free words is called after: their boats, for `boat`.

    What the operation itself is about is new: to register a boat wants no boat that there is already.
    """
    things = {stem(w) for w in words_of(argument.name).split()} - {"name"}
    if kind_of(argument) != "words" or not things or things & _TOLD or not other.needs_customer or not operation.needs_customer:
        return False
    if things & {stem(w) for w in re.findall(r"[a-z]+", operation.summary.lower())}:
        return False
    rows = [s for s in (other.response, *other.response.get("properties", {}).values()) if s.get("type") == "array" or s.get("items")]
    told = [r["items"]["properties"] for r in rows if r.get("items", {}).get("properties")]
    named = not told or any(set(fields) & {"name", "label", "title"} for fields in told)  # a document may not say what a list holds
    return named and things <= {stem(w) for w in re.findall(r"[a-z]+", f"{other.summary} {words_of(other.name)}".lower())}


_TOLD = frozenset(stem(w) for w in ("note", "reason", "message", "comment", "remark", "description", "text", "address", "contact"))
"""What free words tell, and no list of names holds."""


def _speaks_of_its_own(other: Operation, argument: Argument) -> bool:
    """A list of the customer's own records whose description names the thing that the argument identifies."""
    things = {stem(w) for w in words_of(argument.name).split()} - {stem(w) for w in ABOUT_IDS}
    said = vocabulary(other)
    if not set(words_of(argument.name).split()) & ABOUT_IDS:
        return False
    return bool(things) and other.needs_customer and kind_of(argument) == "code" and things <= said


def fitting(records: Sequence[Record], operation: Operation, text: str, today: date) -> tuple[list[Record], bool]:
    """The records that the text means, and whether it said anything about one of them. All when it says nothing."""
    if not records:
        return [], False
    index = pick_record(records, text, today)
    if index is not None:
        return [records[index]], True
    idle = vocabulary(operation) | {stem(w) for w in STOP}
    said = {stem(w) for w in re.findall(r"[^\W_]+", text.lower())} - idle
    meant = dates_meant(text, today, sure=0.7)
    scores = [_agrees(record, said, meant) + _sides(record, text.lower()) for record in records]
    best = max(scores)
    if best == 0:
        return list(records), False
    return [r for r, s in zip(records, scores, strict=True) if s == best], True


def _agrees(record: Record, said: set[str], meant: Callable[[str], bool]) -> int:
    score = 0
    for value in values_in(record):
        if isinstance(value, str) and meant(value):
            score += 2
        elif isinstance(value, str) and not re.match(r"\d{4}-\d{2}-\d{2}", value):  # a year in common says nothing
            score += len({stem(w) for w in re.findall(r"[^\W_]+", value.lower()) if len(w) > 2} & said)
    return score


def dates_meant(text: str, today: date, *, sure: float) -> Callable[[str], bool]:
    """What tells whether a value is a day that the text names, or, where it names none, a day (as ISO date) of a month that it names.

    `sure`: confidence from which a day counts as named.
    """
    days = {d.value.isoformat() for d in find_days(text, today) if d.value and d.confidence >= sure}
    months = {m.value[5:] for m in find_months(text, today)} if not days else set()

    def meant(value: str) -> bool:
        return value[:10] in days or (value[5:7] in months and re.match(r"\d{4}-\d{2}-\d{2}(?:$|[T ])", value) is not None)

    return meant


_SIDES = {"from": frozenset({"from", "origin", "departure", "start", "source"}), "to": frozenset({"to", "destination", "arrival", "end"})}


def _sides(record: Record, text: str) -> int:
    """Values that the text puts on the same side as their field: "to Leeds" for `destination: Leeds`."""
    score = 0
    for name, value in record.items():
        field_words = set(words_of(str(name)).split())
        for word, names in _SIDES.items():
            if isinstance(value, str) and value and field_words & names and re.search(rf"\b{word} {re.escape(value.lower())}\b", text):
                score += 1
    return score


def values_in(node: Any) -> Iterator[Any]:
    """All plain values of a record, nested ones too."""
    if isinstance(node, Mapping):
        for value in node.values():
            yield from values_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from values_in(value)
    else:
        yield node


def amounts_in(record: Record) -> frozenset[Decimal]:
    """The plain numbers of a record."""
    return frozenset(Decimal(str(v)) for v in values_in(record) if re.fullmatch(r"\d+(?:\.\d+)?", str(v)))


def sums_in(text: str) -> frozenset[Decimal]:
    """The amounts of money that a text names."""
    return frozenset(n.value for n in find_numbers(text) if n.currency)


_PLACE = re.compile(
    r"\b(?:(?:the|my|that) )?(?:first|second|third|fourth|fifth|last|former|latter|other|1st|2nd|3rd|4th|5th|"
    r"newest|oldest|latest|earliest|cheapest|most recent) (?:one|of|\w+)?|\b(?:number|no\.?|option) \d\b|#\d\b"
)


SPAN = re.compile(
    r"\b(?:last|next|first|this) (?:time|year|month|week|weekend|night|day|evening|morning|afternoon|spring|summer|autumn|fall|winter|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|november|december)s?\b"
)
"""Times, which are no places in a list."""


def pick_record(records: Sequence[Record], text: str, today: date, rendering: Rendering | None = None) -> int | None:
    """Which of the records "the second one" or "the cheapest" points at; None when the text points at no place in a list."""
    place = _PLACE.search(SPAN.sub(" ", text.lower()))
    if place is None or len(records) < 2:
        return None
    return pick(place[0], [label_of(r, rendering) for r in records], today=today)


def choices_from(records: Sequence[Record], argument: Argument, rendering: Rendering | None = None, *, named: bool = False) -> Choices:
    """The values of an argument that records hold, each with a short description of its record; `named`: see `field_of`."""
    labels: list[str] = []
    values: list[Any] = []
    for record in records:
        value = field_of(record, argument, named=named)
        if value is None or value in values:
            continue
        values.append(value)
        about = label_of(record, rendering, leave_out=str(value))
        labels.append(f"{value} ({about})" if about else str(value))
    return Choices(labels=tuple(labels), values=tuple(values))


def label_of(record: Record, rendering: Rendering | None = None, *, leave_out: str = "", limit: int = 4) -> str:
    """A record in a few words: its first plain values, as the platform renders them."""
    plain = {k: v for k, v in record.items() if isinstance(v, (str, int, float)) and not isinstance(v, bool) and str(v) != leave_out}
    lists = {k: v for k, v in record.items() if isinstance(v, list) and v and all(isinstance(x, str) for x in v)}
    said = [_value_text(f) for f in facts({**lists, **plain}, {}, rendering)]
    return ", ".join([s for s in said if s and len(s) <= 60][:limit])


def _value_text(fact: Fact) -> str:
    bare = isinstance(fact.value, (int, float)) and re.fullmatch(r"[\d.,]+", fact.text)
    return f"{fact.label.lower()} {fact.text}" if bare else fact.text


def choices_of(argument: Argument) -> Choices | None:
    """The choices that a document's enum gives."""
    if not argument.enum or argument.type == "boolean":
        return None
    labels = argument.schema.get("x-labels", {}) or argument.schema.get("items", {}).get("x-labels", {})
    shown = tuple(
        str(labels.get(str(v), words_of(str(v)) if re.fullmatch(r"[a-z0-9_]+|[a-z]{2,}(?:[A-Z][a-z0-9]+)+", str(v)) else v))
        for v in argument.enum
    )
    return Choices(labels=shown, values=argument.enum)


def facet_of(operation: Operation, data: Any, values: Mapping[str, Any]) -> tuple[Argument, Choices] | None:
    """The next argument that would narrow many results down, with the choices that the answer's own `facets` leave."""
    left = data.get("facets") if isinstance(data, Mapping) else None
    if not isinstance(left, Mapping):
        return None
    for argument in operation.askable:
        options = left.get(argument.name)
        if argument.name in values or not isinstance(options, list):
            continue
        plain = [o.get("value") if isinstance(o, Mapping) else o for o in options]
        fitted = [fit(argument, o)[0] for o in plain if o is not None and not fit(argument, o)[1]]
        if 2 <= len(fitted) <= 12:
            return argument, Choices(labels=tuple(words_of(str(v)) if "_" in str(v) else str(v) for v in fitted), values=tuple(fitted))
    return None


def listed(labels: Sequence[str], joint: str = "or") -> str:
    """`A, B or C`."""
    shown = list(labels[:MOST_CHOICES])
    if len(labels) > MOST_CHOICES:
        return ", ".join(shown) + ", …"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {joint} {shown[-1]}"


def hint_of(argument: Argument) -> str:
    """An example of how the answer may look, as ` (for example 12)`; empty where none helps."""
    example = argument.example
    if kind_of(argument) in ("phone", "email") or re.search(
        r"\b(?:phone|mobile|e-?mail|address|name)\b", f"{argument.label} {argument.description}".lower()
    ):
        return ""  # an invented contact must not look like one of ours
    if example is None or isinstance(example, (list, Mapping)) or argument.format in ("date", "date-time", "month"):
        return ""
    return f" (for example {example})"


def condition_of(argument: Argument) -> str:
    """What is the case when a flag is true, where its description says so: "True if the goods are fragile." -> "the goods are fragile"."""
    other = otherwise_of(argument)
    described = argument.description[: other.start()] if other is not None else argument.description
    first = re.split(r"[.;]\s|\.$", described.strip())[0]
    told = re.match(r"(?i:(?:set (?:to )?)?true (?:if|when|where)|if true,?|whether)\s+(?!or not\b|to\b)(.+)$", first)
    return told[1] if told and len(told[1].split()) <= LONGEST_CONDITION else ""


LONGEST_CONDITION = 16
"""Words up to which a condition can be asked for in one breath."""


def said_of(argument: Argument) -> str:
    """What an argument is, in the document's own words where those are short: "the city of departure", "the wanted document"."""
    first = re.split(r"[.;,:–—-]\s|\s[-–]\s|\.$", argument.description.strip())[0].strip()
    first = re.sub(r"\s+as (?:YYYY|HH|an? ISO)\S*.*$|\s*\((?:ISO|YYYY)[^)]*\)", "", first)
    first = re.sub(
        r"\s+(?:as|from|in|of|by) (?:the )?(?:[a-z]+[A-Z]\w*|\w+_\w+)\b.*$", "", first
    )  # a name of the API's own is for nobody's eyes
    if argument.enum and (" or " in first or any(words_of(str(v)) in first.lower() for v in argument.enum)):
        return f"the {argument.label}"  # it tells of the choices, which follow anyway
    if 1 <= len(first.split()) <= 9 and first.split()[-1].lower() != "only" and not re.search(r"[`{}\[\]]|https?:", first):
        plain = first[:1].lower() + first[1:] if not first[:2].isupper() else first
        return plain if re.match(r"(?:the|an?|your|which|what|how)\b", plain) else f"the {plain}"
    kind, label = kind_of(argument), argument.label
    if kind in ("day", "moment") and (said := _DAYS.get(label.lower().rpartition(" ")[2])) is not None:
        return said
    counts = kind == "number" and " " not in label and re.search(r"(?<![su])s$|^(?:people|children)$", label) is not None
    return f"the number of {label}" if counts else f"the {label}"


_DAYS = {
    **dict.fromkeys(("arrive", "arrival", "arriving"), "the day of arrival"),
    **dict.fromkeys(("depart", "departure", "leave", "leaving"), "the day of departure"),
    **dict.fromkeys(("from", "start", "begin", "starting"), "the first day"),
    **dict.fromkeys(("to", "until", "end", "ending"), "the last day"),
    **dict.fromkeys(("date", "day", "on", "when"), "the day"),
}
"""How days are called whose argument says nothing but its name."""
