"""Arguments that take a list: which of several things are meant, and for each of them what comes in its place.

What can be chosen is read from the operation that the document names, never guessed; where the words leave several, the customer is asked,
one thing at a time. Pure beside those reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frontdesk.desk.acting import read
from frontdesk.desk.elicitation import Choices, Record, field_of, label_of, provider_of
from frontdesk.desk.matter import Matter
from frontdesk.tools.codes import codes_in
from frontdesk.tools.lexicon import STOP, stem
from frontdesk.tools.operation import Argument, Operation, Place, words_of
from frontdesk.tools.slots import vocabulary

MOST_SHOWN = 6
"""Alternatives that are named in a question; others may be chosen all the same."""
_ALL = re.compile(r"\b(?:all|both|every(?:thing)?|each|the (?:whole|entire|lot))\b")
_INSTEAD = re.compile(r"\b(?:instead of|in place of|rather than|not)\s+[^,.;]*", re.IGNORECASE)
_TURNS_INTO = re.compile(r"\b(?:for|to|into|with|by)\b|->|→", re.IGNORECASE)
_OPEN = re.compile(r"\b(?:available|in stock|bookable|orderable|active|open)\b")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Something that can be chosen."""

    value: Any
    record: Record
    label: str

    @property
    def name(self) -> str:
        """What it is called; empty when it has no name of its own."""
        named = (v for k, v in self.record.items() if words_of(str(k)).split()[-1:] in (["name"], ["title"], ["product"]))
        return next((str(v) for v in named if isinstance(v, str)), "")

    @property
    def described(self) -> str:
        """Its value with what it is: `4421 (walnut, small)`."""
        return f"{self.value} ({self.label})" if self.label else str(self.value)


async def list_for(
    turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any], words: str
) -> list[Any] | tuple[list[Any], Choices, str] | None:
    """The whole list; or its beginning with the choices for what is next and the thing they are for; None when no read can tell."""
    if argument.each:
        return await _one_for_each(turn, operation, argument, values, words)
    rows = await _rows(turn, operation, argument, values)
    if not rows:
        return None
    chosen = [rows[0]] if len(rows) == 1 else meant(rows, words, operation)
    if chosen:
        return [r.value for r in chosen]
    return [], _choices(rows), ""


def taken(argument: Argument, message: str, choices: Choices | None, operation: Operation) -> list[Any]:
    """What a reply to "which ones?" names: by number, or by the words of what was offered."""
    codes = codes_in(one_of(argument), message)
    if codes or choices is None:
        return codes
    rows = [Row(value=v, record={"name": _bare(label)}, label=label) for label, v in zip(choices.labels, choices.values, strict=True)]
    return [r.value for r in meant(rows, message, operation)]


def one_of(argument: Argument) -> Argument:
    """A single value of a list."""
    singular = re.sub(r"ies$", "y", argument.name) if argument.name.endswith("ies") else argument.name.removesuffix("s")
    return replace(argument, name=singular, schema=argument.schema.get("items", {}))


def meant(rows: Sequence[Row], text: str, operation: Operation) -> list[Row]:
    """The things that a text speaks of, in their order; empty when it speaks of none, or it is not plain of which."""
    said, whole = _stems(text), text.lower()
    by_code = [r for r in rows if re.search(rf"(?<!\w){re.escape(str(r.value).lower())}(?!\w)", whole)]
    if by_code:
        return sorted(by_code, key=lambda r: whole.index(str(r.value).lower()))
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name.lower() or "", []).append(row)
    idle = vocabulary(operation) | {stem(w) for w in STOP}
    found: list[Row] = []
    for name, same in groups.items():
        if name and not _speaks_of(name, said, idle, groups):
            continue
        if len(same) == 1 or (name and _ALL.search(whole)):
            found += same if name or len(rows) == 1 else []
            continue
        scores = [len((_stems(r.label) - _stems(name) - idle) & said) for r in same]
        best = max(scores)
        if best and scores.count(best) == 1:
            found.append(same[scores.index(best)])
        elif name:
            return []
    if (
        not found
        and _ALL.search(whole)
        and re.search(r"\b(?:all of (?:them|it|these)|everything|both|every item|the (?:whole|entire) \w+)\b", whole)
    ):
        return list(rows)
    return sorted((r for r in rows if r in found), key=lambda r: _place(r, whole))


def exactly(turn: Matter, operation: Operation, values: Mapping[str, Any]) -> dict[str, str]:
    """What stands behind the values of lists and of codes that were chosen, as far as this conversation read it: by argument, for a yes."""
    said: dict[str, str] = {}
    pairs = {a.each: a for a in operation.askable if a.each and a.name in values}
    for argument in operation.askable:
        if argument.name not in values or argument.name not in {*pairs, *(a.name for a in pairs.values())} | _chosen(operation):
            continue
        given = values[argument.name] if isinstance(values[argument.name], list) else [values[argument.name]]
        partner = pairs.get(argument.name)
        if partner is not None:
            news = list(values[partner.name])
            said[argument.name] = "; ".join(f"{_known(turn, v)} for {_known(turn, n)}" for v, n in zip(given, news, strict=False))
            said[partner.name] = ""
        elif argument.name not in said:
            said[argument.name] = "; ".join(_known(turn, v) for v in given)
    return said


def _chosen(operation: Operation) -> set[str]:
    return {
        a.name for a in operation.askable if a.type == "array" or (words_of(a.name).split()[-1:] == ["id"] and a.where is not Place.PATH)
    }


def _known(turn: Matter, value: Any) -> str:
    """A value with what the newest answer of this conversation that holds it says of it."""
    for call in reversed((*turn.conversation.calls, *turn.calls)):
        for record in _records(call.result):
            if any(v == value for k, v in record.items() if words_of(str(k)).split()[-1:] in (["id"], ["number"], ["no"], ["code"])):
                about = described(record, str(value))
                if about:
                    return f"{value} ({about})"
    return str(value)


def described(record: Record, value: str) -> str:
    """A record in a few words, with what it is called and what sets it apart; numbers of other things are left out."""
    flat = {k: v for k, v in record.items() if not _is_id(str(k)) and not isinstance(v, bool)}
    inner = {ik: iv for v in record.values() if isinstance(v, Mapping) for ik, iv in v.items()}
    plain = {k: v for k, v in {**flat, **inner}.items() if isinstance(v, str)}
    return label_of(plain, leave_out=value, limit=6)


async def _one_for_each(
    turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any], words: str
) -> list[Any] | tuple[list[Any], Choices, str] | None:
    """One value for each of the other list's, in its order."""
    have = list(values.get(argument.name, ()))
    while len(have) < len(values[argument.each]):
        place = await next_place(turn, operation, argument, {**values, argument.name: have})
        if place is None:
            return None
        kept = replacing(place.row, place.found, _segment(words, place.row, place.rows))
        if len(kept) != 1:
            return have, _choices(kept or place.found), place.row.described
        have.append(kept[0].value)
    return have


@dataclass(frozen=True, kw_only=True)
class PlaceOf:
    """The next thing that another takes the place of: among which it stands, and what can be had."""

    row: Row
    rows: Sequence[Row]
    found: Sequence[Row]


async def next_place(turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any]) -> PlaceOf | None:
    """What is next to be chosen for `argument`; None when no read can tell."""
    other = operation.argument(argument.each)
    named = next(
        (o for o in turn.box.catalog.usable if not o.writes and re.search(rf"\b{re.escape(o.name)}\b", argument.description)), None
    )
    if other is None or named is None:
        return None
    rows = await _rows(turn, operation, other, values)
    value = values[other.name][len(values.get(argument.name, ()))]
    row = next((r for r in rows if r.value == value), None)
    own = {a.name: field_of(row.record, a) for a in named.required} if row is not None else {}
    if row is None or any(v is None for v in own.values()):
        return None
    found = [r for r in await _read_rows(turn, named, own, one_of(argument)) if r.value != value and _is_open(r.record)]
    return PlaceOf(row=row, rows=rows, found=found)


def replacing(row: Row, found: Sequence[Row], said: str) -> list[Row]:
    """Which of the found can take a thing's place: those that have all that is said, the one most like the thing where they are several."""
    by_code = [r for r in found if str(r.value) in said]
    if by_code:
        return by_code
    fields = {path for r in found for path in _facets(r.record)}
    wanted: dict[str, str] = {}
    text = _INSTEAD.sub(" ", said).lower()
    for path in fields:
        offered = sorted({_facets(r.record).get(path, "") for r in found} - {""}, key=len, reverse=True)
        said_here = next((v for v in offered if _says(text, v, path)), "")
        wanted |= {path: said_here} if said_here else {}
    now = _facets(row.record)
    fresh = {p: v for p, v in wanted.items() if now.get(p) != v} or wanted
    kept = [r for r in found if all(_facets(r.record).get(p) == v for p, v in wanted.items())]
    kept = kept or [r for r in found if all(_facets(r.record).get(p) == v for p, v in fresh.items())]
    if not wanted or not kept:
        return []
    alike = [sum(now.get(p) == v for p, v in _facets(r.record).items() if p not in wanted) for r in kept]
    best = [r for r, s in zip(kept, alike, strict=True) if s == max(alike)]
    return best if len(best) == 1 else kept


def _says(text: str, value: str, path: str) -> bool:
    """Whether the text names a value; short ones and plain yes or no only behind or before the field's own name."""
    plain = value.lower()
    if plain in ("yes", "no", "none"):
        field = re.escape(path.rpartition(".")[2].lower())
        return bool(
            re.search(rf"\b{field}\b\W{{1,3}}(?:is )?{plain}\b|\b{'no' if plain != 'yes' else 'with'} {field}\b|\b{plain} {field}\b", text)
        )
    return re.search(rf"(?<![\w]){re.escape(plain)}(?![\w])", text) is not None


def _segment(words: str, row: Row, rows: Sequence[Row]) -> str:
    """The words about one thing: from its mention up to that of the next, behind "for" or "to" where something is to come in its place."""
    text, names = words, [r.name for r in rows if r.name]
    if len({n.lower() for n in names}) <= 1 or not row.name:
        return _behind(text)
    head = _head(row.name)
    starts = [m.start() for m in re.finditer(rf"\b{re.escape(head)}", text.lower())]
    if not starts:
        codes = [m.start() for m in re.finditer(re.escape(str(row.value)), text)]
        starts = codes or [0]
    start = starts[0]
    others = [
        m.start() for n in names if _head(n) != head for m in re.finditer(rf"\b{re.escape(_head(n))}", text.lower()) if m.start() > start
    ]
    return _behind(text[start : min(others, default=len(text))])


def _behind(text: str) -> str:
    split = _TURNS_INTO.search(text)
    return text[split.end() :] if split and text[split.end() :].strip() else text


def _place(row: Row, text: str) -> int:
    """Where a text first speaks of a thing: what was named first comes first."""
    places = [text.find(w) for w in (row.name.lower(), _head(row.name)) if w] if row.name else []
    return min((p for p in places if p >= 0), default=len(text))


def _head(name: str) -> str:
    """The word that a thing is called by for short: `Desk Lamp` -> `lamp`."""
    return name.lower().split()[-1]


def _speaks_of(name: str, said: set[str], idle: frozenset[str] | set[str], groups: Mapping[str, Any]) -> bool:
    """The text names a thing: all its words, or the one it is called by for short when nothing else is called so."""
    own = _stems(name)
    if own <= said:
        return True
    head = stem(_head(name))
    others = [n for n in groups if n != name and stem(_head(n)) == head] if name else []
    telling = own - idle - {s for n in groups if n != name for s in _stems(n)}
    return (head in said and head not in idle and not others) or bool(telling & said)


def _stems(text: str) -> set[str]:
    return {stem(w) for w in re.findall(r"[^\W_]+", text.lower())}


def _facets(record: Record, outer: str = "") -> dict[str, str]:
    """What sets things of one kind apart: their plain values, numbers of things and prices aside."""
    found: dict[str, str] = {}
    for key, value in record.items():
        path = f"{outer}{key}"
        if isinstance(value, Mapping):
            found |= _facets(value, f"{path}.")
        elif isinstance(value, str) and not _is_id(str(key)):
            found[path] = value
    return found


def _is_id(key: str) -> bool:
    return words_of(key).split()[-1:] in (["id"], ["ids"])


def _is_open(record: Record) -> bool:
    """False when the record itself says that it cannot be had."""
    return all(v is not False for k, v in record.items() if isinstance(v, bool) and _OPEN.search(words_of(str(k))))


async def _rows(turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any]) -> list[Row]:
    provider = provider_of(turn.box.catalog, operation, argument, values)
    if provider is None or (provider.needs_customer and turn.customer is None):
        return []
    return await _read_rows(turn, provider, {a.name: values[a.name] for a in provider.required}, one_of(argument))


async def _read_rows(turn: Matter, provider: Operation, own: Mapping[str, Any], one: Argument) -> list[Row]:
    """The records of an answer that can fill the argument; an answer that this turn has already is not fetched again."""
    known = next((c for c in turn.calls if c.name == provider.name and c.arguments == own and c.error is None), None)
    data = known.result if known else (await read(turn, provider, own)).data
    best: list[Row] = []
    for records in _lists(data):
        rows = [Row(value=v, record=r, label=described(r, str(v))) for r in records if (v := field_of(r, one)) is not None]
        best = rows if len(rows) > len(best) else best
    return best


def _lists(node: Any) -> Iterator[list[Record]]:
    if isinstance(node, list) and node and all(isinstance(r, Mapping) for r in node):
        yield node
    for value in node.values() if isinstance(node, Mapping) else ():
        yield from _lists(value)


def _records(node: Any) -> Iterator[Record]:
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from _records(value)
    elif isinstance(node, list):
        for value in node:
            yield from _records(value)


def _choices(rows: Sequence[Row]) -> Choices:
    return Choices(labels=tuple(r.described for r in rows), values=tuple(r.value for r in rows))


def _bare(label: str) -> str:
    """The name at the head of an offered label: `4421 (Desk lamp, black)` -> `Desk lamp`."""
    inside = re.search(r"\(([^,()]+)", label)
    return inside[1] if inside else label
