"""What an API answered, as text: by the document's response schema where there is one, else by the look of names and values.

Never through a model, and never a value that the API did not give: a number keeps the digits it came with, a date the day it names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any, TypeVar

from rapidfuzz import fuzz

from frontdesk.models.protocols import Embedder
from frontdesk.tools.checking import MONTHS
from frontdesk.tools.lexicon import STOP, words
from frontdesk.tools.operation import Operation, Schema, words_of

Moment = TypeVar("Moment", date, datetime, time)
MAX_ROWS = 10
MAX_FACTS = 400
SYMBOLS = {
    "EUR": "€",
    "GBP": "£",
    "USD": "$",
    "JPY": "¥",
    "CNY": "CN¥",
    "INR": "₹",
    "AUD": "A$",
    "CAD": "C$",
    "NZD": "NZ$",
    "KRW": "₩",
    "ILS": "₪",
    "BRL": "R$",
}
CODES = frozenset(
    {*SYMBOLS, "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "TRY", "ZAR", "MXN", "SGD", "HKD", "AED", "SAR", "THB", "ISK"}
)
_NAMED_MONEY = {
    "euro": "EUR", "euros": "EUR", "pound": "GBP", "pounds": "GBP", "sterling": "GBP", "dollars": "USD", "dollar": "USD", "yen": "JPY",
    "francs": "CHF", "rupees": "INR", "€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR",
}  # fmt: skip
_MONEY_WORDS = words(
    "price amount fee fees total subtotal cost costs balance refund refunded charge charges deposit salary wage pay paid due fare "
    "premium payment instalment installment net gross tax surcharge discount credit debit allowance compensation earnings rent limit "
    "spend spent revenue bill overdraft owed outstanding estimate quote quotation worth"
)
_NOT_MONEY = words(
    "count number days hours minutes weeks months years points percent percentage pct rate ratio id code status type date time at on "
    "day method kg items quantity units nights miles"
)
_NEVER_MONEY = _NOT_MONEY | words(
    "year month number size age version priority rank position quantity people persons guests employees children adults passengers"
)
_STOCK = words("free left available remaining open taken booked")
"""Words of a name that say how many of the things are there, and not what they cost."""
_UNITS = {
    **{
        unit: unit
        for unit in (
            "kg",
            "g",
            "lb",
            "km",
            "m",
            "cm",
            "mm",
            "miles",
            "seconds",
            "minutes",
            "hours",
            "days",
            "weeks",
            "months",
            "knots",
            "mph",
        )
    },
    **{unit: unit for unit in ("years", "nights", "litres", "liters")},
    **{unit.lower(): unit for unit in ("kWh", "kW", "GB", "MB", "TB", "Mbps")},
    **dict.fromkeys(("mins", "min"), "minutes"),
    **dict.fromkeys(("percent", "pct", "percentage"), "%"),
    "celsius": "°C",
}
_RATE = words("pence cents p pounds euros dollars gbp eur usd chf")
_CURRENCY_NAMES = frozenset({*(code.lower() for code in CODES), "pence", "cents", "minor"})
"""Last words of a name that say what its amount is counted in, which the value shows anyway."""
_UNIT_BEFORE = frozenset({"min", "max", "m", "g"})
"""As the only or first word of a name these mean something else (`min_order`)."""
_IDENTITY = (
    *("name", "title", "label", "reference", "ref", "number", "code", "id"),
    *("sku", "product", "plan", "type", "kind", "category", "description", "key"),
)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What a tenant's values are rendered with."""

    currency: str = ""
    """ISO code assumed for money whose record names none; empty: shown without a sign."""
    zone: tzinfo | None = None
    """Times in UTC are shown in this zone; times with another offset as they were written."""

    priced: frozenset[str] = frozenset()
    """Names, in the singular, of what the operation's own words give prices of: numbers by that name are amounts."""

    def for_operation(self, operation: Operation) -> Rendering:
        """This, with the currency that the operation's own words name, and what they speak of prices of."""
        about = f"{operation.summary}. {operation.description}"
        return replace(self, currency=currency_of([about]) or self.currency, priced=priced_in(about))


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One value of an answer. `text` is how it is said, `record` names the list entry it belongs to."""

    path: tuple[str | int, ...]
    label: str
    value: Any
    text: str
    record: str = ""
    within: tuple[str, ...] = ()
    """Names of all entries it lies in, outermost first; the last one is `record`."""
    hint: str = ""
    """What the document says about the field; helps to find it, is never shown."""


def render(data: Any, schema: Schema | None = None, rendering: Rendering | None = None) -> str:
    """The whole answer as short lines: `Label: value.` rows, and lists as bullets. Empty for an empty answer."""
    writer = _Writer(rendering or Rendering())
    return "\n".join(writer.lines(data, schema or {}))


def facts(data: Any, schema: Schema | None = None, rendering: Rendering | None = None) -> list[Fact]:
    """Every value of the answer as a fact, in its order; at most 400. Values that are null are facts too (`not set`)."""
    writer = _Writer(rendering or Rendering())
    return [fact for fact, _ in zip(writer.facts(data, schema or {}), range(MAX_FACTS), strict=False)]


def sentence(chosen: Sequence[Fact]) -> str:
    """The facts as short phrases, one record after the other: `Gate: 102. Status: boarding.`"""
    lines: list[str] = []
    record = ""
    for fact in chosen:
        said = f"{fact.label}: {fact.text}." if fact.label else f"{fact.text}."
        if fact.record and fact.record != record and not _is_identity(fact):
            said = f"{fact.record} – {_lowered(said)}"
        record = fact.record
        lines.append(said.replace("..", "."))
    return " ".join(lines)


async def choose(found: Sequence[Fact], question: str, embedder: Embedder | None = None, *, limit: int = 4) -> list[Fact]:
    """The few facts that the question is about, in the answer's order.

    By meaning (cosine of question and label), by word, and by the kind of value that "when", "how much" or "where" asks for. Asked about
    one entry of a list by its name, only that entry's facts come back. Raises ModelUnavailable from the embedder.
    """
    usable = _of_named_record(found, question)
    if len(usable) <= 1:
        return list(usable)
    scores = await weigh(usable, question, embedder)
    best = max(scores)
    ranked = sorted(range(len(usable)), key=lambda i: -scores[i])
    kept = [i for i in ranked[:limit] if scores[i] >= best - 0.25 and scores[i] > 0.2]
    return [usable[i] for i in sorted(kept)]


async def weigh(found: Sequence[Fact], question: str, embedder: Embedder | None = None) -> list[float]:
    """How much each fact has to do with the question, about -0.2 to 2; from 0.9 on it is what was asked. Raises ModelUnavailable."""
    scores = [_by_word(fact, question) + _by_kind(fact, question) for fact in found]
    if embedder is None or not found:
        return scores
    labels = [f"{fact.label}. {fact.hint}" if fact.hint else fact.label for fact in found]
    distinct = list(dict.fromkeys(labels))
    vectors = await embedder.embed([question, *distinct])
    cosine = dict(zip(distinct, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    return [float(score + 1.2 * cosine[label]) for score, label in zip(scores, labels, strict=True)]


def currency_of(texts: Iterable[str]) -> str:
    """The one currency that texts speak of, as ISO code; empty when they name none or several about as often."""
    counts: dict[str, int] = {}
    for text in texts:
        for sign in re.findall(r"[€£$¥₹](?=\s?\d)|(?<=\d)\s?[€£]", text):
            code = _NAMED_MONEY[sign.strip()]
            counts[code] = counts.get(code, 0) + 1
        for word in re.findall(r"\b(?:in|of|\d)\s+(euros?|pounds?|dollars?|yen|francs|rupees)\b(?!\s+(?:of|weight))", text.lower()):
            counts[_NAMED_MONEY[word]] = counts.get(_NAMED_MONEY[word], 0) + 1
        for code in re.findall(r"\b[A-Z]{3}\b", text):
            if code in CODES:
                counts[code] = counts.get(code, 0) + 1
    if not counts:
        return ""
    code, most = max(counts.items(), key=lambda kv: kv[1])
    return code if most >= 0.8 * sum(counts.values()) else ""


def priced_in(text: str) -> frozenset[str]:
    """What a text speaks of prices of, in the singular: `ticket` for "today's price per ticket"."""
    found = re.findall(r"\b(?:price|fare|fee|cost|charge|rate)s? (?:per|of|for)(?: (?:an?|the|each|every))? ([a-z]+)", text.lower())
    return frozenset(word.rstrip("s") for word in found)


def money(amount: Decimal, code: str) -> str:
    """`£1,204.11`; whole amounts without decimals when they came so; unknown currencies with the code behind."""
    sign = "-" if amount < 0 else ""
    digits = _grouped(abs(amount))
    if not code:
        return sign + digits
    return f"{sign}{SYMBOLS[code]}{digits}" if code in SYMBOLS else f"{sign}{digits} {code}"


def day_text(day: date) -> str:
    """`18 March 2027`."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _grouped(amount: Decimal) -> str:
    exact = format(amount, "f")
    whole, _, cents = exact.partition(".")
    if cents:
        cents = cents.rstrip("0").ljust(2, "0")
    return f"{int(whole):,}" + (f".{cents}" if cents and cents != "00" else "")


def _lowered(text: str) -> str:
    """The first letter small, unless an abbreviation begins there."""
    return text if len(text) > 1 and text[:2].isupper() else text[:1].lower() + text[1:]


def _is_identity(fact: Fact) -> bool:
    return fact.text == fact.record


def _of_named_record(found: Sequence[Fact], question: str) -> list[Fact]:
    """The facts of the list entries that the question names, by identity or by a value inside; all facts when it names none."""
    asked = question.lower()
    compact = re.sub(r"[\s\-]", "", asked)
    names = {name for fact in found for name in fact.within}
    named = {name for name in names if _stands_in(name.lower(), asked)}
    named |= {name for name in names if len(name) >= 5 and re.sub(r"[\s\-]", "", name.lower()) in compact}
    if not named:
        valued = [f for f in found if f.record and isinstance(f.value, str) and len(f.value) >= 3]
        named = {f.record for f in valued if _stands_in(f.value.lower(), asked)}
    if not named:
        return list(found)
    return [f for f in found if named & set(f.within) and not (_is_identity(f) and len(named) == 1)]


def _stands_in(words: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


_STOP = words(
    "a an the is are was were be my of for to in on at do does i you it have has what which how when where much many get me and or "
    "will would can"
)


def _by_word(fact: Fact, question: str) -> float:
    words = [w for w in re.findall(r"\w+", question.lower()) if w not in _STOP]
    label = [w for w in re.findall(r"\w+", fact.label.lower()) if w not in _STOP]
    if not words or not label:
        return 0.0
    hits = sum(max(_near(w, q) for q in words) for w in label)
    hint = set(re.findall(r"\w+", fact.hint.lower())) - _STOP
    return 0.8 * hits / len(label) + 0.1 * min(3, len(hint & set(words)))


def naming(found: Sequence[Fact], question: str) -> list[Fact]:
    """The facts of a record whose text alone holds a word of the question and tells more: "that heron thing" is `scheme: Heron, until May`."""
    labels = {w for f in found for w in re.findall(r"\w+", f.label.lower())}
    said = set(re.findall(r"[^\W\d_]{4,}", question.lower())) - labels - STOP - _STOP - _PERIODS
    texts = {f.path: set(re.findall(r"[^\W\d_]{4,}", f.text.lower())) for f in found if isinstance(f.value, str) and not _is_identity(f)}
    holding = {path: said & text for path, text in texts.items() if text - said}
    times = Counter(word for words in holding.values() for word in words)
    return [f for f in found if any(times[word] == 1 for word in holding.get(f.path, ()))]


_PERIODS = words("hour hours day days week weeks month months year years")


def _near(word: str, other: str) -> float:
    if word == other or word.rstrip("s") == other.rstrip("s"):
        return 1.0
    if min(len(word), len(other)) >= 4 and (word.startswith(other[:5]) or fuzz.ratio(word, other) >= 85):
        return 0.8
    return 0.0


def _by_kind(fact: Fact, question: str) -> float:
    asked = re.sub(r"\b(when|where|who|what|how|why)s\b", r"\1's", question.lower().replace("’", "'"))
    kind = _kind(fact)
    if re.search(r"\b(?:owe|owing|owed|in debt|in arrears)\b", asked) and kind == "money":
        return 0.9 if re.search(r"\b(owed|due|balance|open|outstanding|arrears|unpaid)\b", fact.label.lower()) else 0.0
    if re.search(r"\b(left|still|remaining|remains?|rest|available)\b", asked) and re.search(
        r"\b(left|remaining|remains|rest|balance|available|open|outstanding)\b", fact.label.lower()
    ):
        return 0.6
    if fact.label.lower() in ("year", "month", "currency", "as of"):
        return -0.6 if not re.search(rf"\b(?:which|what) {fact.label.lower()}\b", asked) else 0.0
    if re.search(r"\bwho(?:'?s|m)?\b", asked) and _is_person(fact):
        return 0.9
    if re.search(r"\b(when|(?:what|which) (day|date|time)|how soon|until when|by when)\b", asked):
        return WHEN if kind in ("date", "time", "moment") else -0.3  # "when do I get my street back?" asks for no street
    if re.search(
        r"\bhow (much|expensive)\b|\b(price|cost|fare|fee)s?\b|\b(?:have|need|got) to pay\b|\bto be paid\b|\b(?:charged|billed)\b", asked
    ):
        return 0.3 if kind == "money" else 0.0
    if re.search(r"\b(?:how|too|very|so|up) early\b|\bearly (?:morning|start|enough)\b|\bwhat time of day\b", asked):
        timely = kind in ("time", "moment") or re.search(r"\b(?:slot|window|time|hour)s?\b", fact.label.lower())
        return WHEN if timely else 0.0
    if re.search(r"\bhow (many|long)\b", asked):
        return 0.2 if kind in ("number", "unit") else -0.1
    if re.search(r"\bhow('s| is| are)\b|\bon time\b|\bstatus\b|\bstate of\b|\bwhere is\b", asked):
        return 0.35 if re.search(r"\b(status|state|stage|progress)\b", fact.label.lower()) else 0.0
    if re.search(r"\bwhat ?(?:'?s| is) (?:going on|happening)\b", asked):
        return 0.4 if re.search(r"\b(?:status|state|stage|progress|reason|cause)\b", fact.label.lower()) else 0.0
    if re.search(r"\bwhy\b|\bwhat ?(?:'?s| is) (?:up|wrong|the (?:matter|problem|trouble|reason|hold-?up))\b", asked):
        return 0.4 if re.search(r"\b(reason|note|cause|comment|message|explanation)\b", fact.label.lower()) else 0.0
    if re.match(r"\s*(is|are|am|did|does|do|has|have|was|were)\b", asked):
        return 0.15 if kind in ("boolean", "status") else 0.0
    return 0.0


WHEN = 0.55
"""What a day or a time gains when a question asks when."""
_PEOPLE = words(
    "agent adviser advisor clinician coach contact dentist doctor driver engineer guide host instructor leader manager nurse person surveyor "
    "teacher technician therapist trainer tutor with"
)
"""Last words of labels of somebody."""
_FULL_NAME = re.compile(r"(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[A-Z][^\W\d_]+(?: [A-Z]\.?)?(?: [A-Z][^\W\d_]*(?:['’-][^\W\d_]+)?){1,2}")


def _is_person(fact: Fact) -> bool:
    """Whether a value names somebody: by its label, or written as first and last name."""
    named = (fact.label.lower().split() or [""])[-1] in _PEOPLE
    return isinstance(fact.value, str) and (named or _FULL_NAME.fullmatch(fact.text) is not None)


def _kind(fact: Fact) -> str:
    if isinstance(fact.value, Mapping):
        return "money"  # the one kind of record that is rendered as a value
    if isinstance(fact.value, bool):
        return "boolean"
    if isinstance(fact.value, (int, float)):
        if re.match(r"-?(\D{1,3}\d|[\d,.]+ [A-Z]{3}$)", fact.text):
            return "money"
        return "number" if re.fullmatch(r"-?[\d.,]+", fact.text) else "unit"
    if re.fullmatch(r"\d{1,2} [A-Z][a-z]+ \d{4}", fact.text):
        return "date"
    if re.search(r"\b\d{1,2}:\d{2}\b", fact.text):
        return "time" if len(fact.text) <= 8 else "moment"
    if isinstance(fact.value, str) and _DAY_INSIDE.search(fact.value):
        return "moment"
    return "status" if "status" in fact.label.lower() else "text"


@dataclass(frozen=True)
class _Context:
    """What the surroundings say about a value: the currency of the record, the name of the list entry."""

    currency: str
    within: tuple[str, ...] = ()
    money: bool = False
    """The value lies below a name such as `prices`, or beside so many amounts that it is one too."""
    priced: bool = False
    """An amount of money stands beside it."""


class _Writer:
    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering

    def facts(self, data: Any, schema: Schema, context: _Context | None = None) -> Iterator[Fact]:
        yield from self._walk(data, schema, (), (), context or _Context(self._rendering.currency))

    def _walk(self, node: Any, schema: Schema, path: tuple[str | int, ...], labels: tuple[str, ...], context: _Context) -> Iterator[Fact]:
        if isinstance(node, Mapping):
            if path and (money_text := self._as_money(node)):
                yield self._fact(path, labels, node, money_text, schema, context)
                return
            inner = replace(
                context,
                currency=_sibling_currency(node) or context.currency,
                money=_holds_money(node, path) or self._is_priced(node, path),
                priced=any(_is_number(v) and _looks_like_money(words_of(str(k)).split()) for k, v in node.items()),
            )
            members = schema.get("properties", {})
            for name, value in node.items():
                if _is_currency_field(name, value):
                    continue
                member = members.get(name, {})
                wraps = not path and isinstance(value, Mapping) and len(value) >= LEAST_WRAPPED and is_wrapper(node, str(name))
                label = () if wraps else (_label(str(name), member, counted=_is_number(value)),)
                yield from self._walk(value, member, (*path, str(name)), (*labels, *label), inner)
        elif isinstance(node, list):
            yield from self._walk_list(node, schema.get("items", {}), path, labels, context)
        else:
            name = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
            yield self._fact(path, labels, node, self._text(name, node, schema, context), schema, context)

    def _is_priced(self, node: Mapping[str, Any], path: tuple[str | int, ...]) -> bool:
        """Whether a record of plain numbers bears the name of what the operation gives prices of."""
        said = set(words_of(path[-1]).split()) if path and isinstance(path[-1], str) else set()
        named = {w.rstrip("s") for w in said} & self._rendering.priced and not said & _STOCK
        return bool(named) and bool(node) and all(_is_number(value) for value in node.values())

    def _walk_list(
        self, rows: list[Any], schema: Schema, path: tuple[str | int, ...], labels: tuple[str, ...], context: _Context
    ) -> Iterator[Fact]:
        if not rows:
            yield self._fact(path, labels, rows, "none", schema, context)
        elif not any(isinstance(row, (Mapping, list)) for row in rows):
            name = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
            text = ", ".join(self._text(name, row, schema, context) for row in rows)
            yield self._fact(path, labels, rows, text, schema, context)
        else:
            for index, row in enumerate(rows):
                inner = replace(context, within=(*context.within, self._identity(row, context) or f"no. {index + 1}"))
                yield from self._walk(row, schema, (*path, index), (), inner)

    def _fact(self, path: tuple[str | int, ...], labels: tuple[str, ...], value: Any, text: str, schema: Schema, context: _Context) -> Fact:
        label = " ".join([*labels[:1], *(_lowered(part) for part in labels[1:])])
        hint = str(schema.get("description", ""))
        return Fact(
            path=path,
            label=label,
            value=value,
            text=text,
            record=context.within[-1] if context.within else "",
            within=context.within,
            hint=hint,
        )

    def lines(self, data: Any, schema: Schema) -> Iterator[str]:
        context = _Context(self._rendering.currency)
        if isinstance(data, Mapping):
            context = replace(context, currency=_sibling_currency(data) or context.currency)
            flat = {k: v for k, v in data.items() if not _is_table(v)}
            said = [f for f in self.facts(flat, schema, context) if f.value is not None and f.value != []]
            if said:
                yield sentence(said)
            for name, rows in data.items():
                if _is_table(rows):
                    member = schema.get("properties", {}).get(name, {})
                    yield f"{_label(str(name), member)}:"
                    yield from self._bullets(rows, member.get("items", {}), context)
                elif rows == []:
                    yield f"{_label(str(name), {})}: none."
        elif _is_table(data):
            yield from self._bullets(data, schema.get("items", {}), context)
        elif data == []:
            yield "Nothing found."
        elif data is not None:
            yield from (f"{fact.text}." for fact in self.facts(data, schema, context))

    def _bullets(self, rows: list[Any], schema: Schema, context: _Context) -> Iterator[str]:
        for row in rows[:MAX_ROWS]:
            yield f"- {self._entry(row, schema, context, ': ')}"
        if len(rows) > MAX_ROWS:
            yield f"and {len(rows) - MAX_ROWS} more"

    def _entry(self, row: Any, schema: Schema, context: _Context, joint: str) -> str:
        """One list entry in a line; a list inside it follows in short, `items Lamp (quantity 2), Rug (quantity 1)`."""
        members = row if isinstance(row, Mapping) else {"": row}
        inner = replace(context, currency=_sibling_currency(members) or context.currency)
        name = self._identity(row, inner)
        flat = {k: v for k, v in members.items() if not _is_table(v)}
        said = [f for f in self.facts(flat, schema, inner) if f.value is not None and f.value != [] and f.text != name]
        parts = [f"{_lowered(f.label)} {f.text}".strip() for f in said]
        for key, rows in members.items():
            if _is_table(rows):
                member = schema.get("properties", {}).get(key, {})
                listed = [self._entry(r, member.get("items", {}), inner, " (") for r in rows[:MAX_ROWS]]
                parts.append(f"{_lowered(_label(str(key), member))} {', '.join(listed)}")
        rest = ", ".join(parts)
        if not name or not rest:
            return name or rest
        return f"{name}{joint}{rest}{')' if joint == ' (' else ''}"

    def _identity(self, row: Any, context: _Context) -> str:
        """The text of the field that names a record: `name` before `reference` before `id`, whole word at the name's end."""
        if not isinstance(row, Mapping):
            return ""
        for wanted in _IDENTITY:
            for name, value in row.items():
                plain = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
                if plain and value != "" and words_of(str(name)).rpartition(" ")[2] == wanted:
                    return self._text(str(name), value, {}, context)
        return ""

    def _as_money(self, node: Mapping[str, Any]) -> str:
        keys = {str(k).lower(): v for k, v in node.items()}
        amount = next((keys[k] for k in ("amount", "value") if _is_number(keys.get(k))), None)
        code = _sibling_currency(node)
        if amount is None or not code or len(node) != 2:
            return ""
        return money(_decimal(amount), code)

    def _text(self, name: str, value: Any, schema: Schema, context: _Context) -> str:
        if value is None:
            return "not set"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (int, float)):
            return self._number(name, value, schema, context)
        labels = schema.get("x-labels", {})
        text = str(labels.get(str(value), value)).strip()
        return self._moment(name, text, schema) or _with_days(_readable(text, schema))

    def _number(self, name: str, value: int | float, schema: Schema, context: _Context) -> str:
        amount = _decimal(value)
        words = words_of(name).split()
        if _RATE & set(words) and "per" in words[1:-1]:
            return self._rate(amount, words)
        code = _field_currency(words, schema)
        unit = _unit(words, schema)
        among_money = context.money and not unit and not _NEVER_MONEY & set(words) and not _counts_things(words, amount)
        among_money = among_money or (context.priced and not unit and len(words) == 1 and words[0] in _OF_MONEY)
        counted = _counts_things(words, amount) and words[-1] in ("total", "limit", "balance")  # `places_total`
        if code or (not schema.get("x-unit") and not counted and (_looks_like_money(words) or among_money)):
            minor = words[-1] in ("cents", "pence", "minor") if words else False
            if minor and (code or context.currency):
                return money(amount / 100, code or context.currency)
            if not minor:
                return money(amount, code or context.currency)
        plain = format(amount.to_integral_value() if amount == amount.to_integral_value() else amount, "f")
        if unit == "%":
            return f"{plain}%"
        if unit.endswith("s") and amount == 1:
            unit = unit[:-1]
        return f"{plain} {unit}".strip()

    def _rate(self, amount: Decimal, words: Sequence[str]) -> str:
        """`pence_per_kwh: 26.9` as `26.9 pence per kWh`, `eur_per_night: 80` as `€80 per night`."""
        at = words.index("per")
        each = " ".join(_UNITS.get(w, w) for w in words[at + 1 :])
        named = words[at - 1]
        code = _NAMED_MONEY.get(named, named.upper())
        said = money(amount, code) if code in CODES and named not in ("pence", "cents", "p") else f"{format(amount, 'f')} {named}"
        return f"{said} per {each}"

    def _moment(self, name: str, text: str, schema: Schema) -> str:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = _parsed(date.fromisoformat, text)
            return day_text(day) if day else ""
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*", text):
            moment = _parsed(datetime.fromisoformat, text.replace("Z", "+00:00"))
            return self._moment_text(moment) if moment else ""
        if re.fullmatch(r"\d{2}:\d{2}:\d{2}", text):
            clock = _parsed(time.fromisoformat, text)
            return text[:5] if clock and clock.second == 0 else text
        month = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
        if month and (
            schema.get("format") == "month" or re.search(r"month|period|date|from|until|expir|valid|since|\bto\b", words_of(name))
        ):
            return f"{MONTHS[int(month[2]) - 1]} {month[1]}"
        return ""

    def _moment_text(self, moment: datetime) -> str:
        suffix = ""
        offset = moment.utcoffset()
        if offset is not None and not offset:
            if self._rendering.zone is not None:
                moment = moment.astimezone(self._rendering.zone)
            else:
                suffix = " UTC"
        seconds = f":{moment.second:02d}" if moment.second else ""
        return f"{day_text(moment.date())}, {moment.hour:02d}:{moment.minute:02d}{seconds}{suffix}"


def _parsed(read: Callable[[str], Moment], text: str) -> Moment | None:
    try:
        return read(text)
    except ValueError:
        return None


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(row, Mapping) for row in value)


def is_wrapper(node: Mapping[str, Any], name: str) -> bool:
    """Whether a member of an answer only holds the answer: `{"contract": {…}}`, `{"data": {…}, "meta": {…}}`."""
    if words_of(name) in ("data", "result", "item", "record", "payload", "response"):
        return True
    others = [k for k in node if k != name and words_of(str(k)) not in ABOUT_ANSWERS]
    return not others


LEAST_WRAPPED = 4
"""Values from which a record is the answer itself; fewer are one value of it in parts."""
ABOUT_ANSWERS = words("meta metadata links link pagination paging page pages status success ok code message errors error self timestamp")
"""Members of an answer that speak of the answer itself."""


def _is_currency_field(name: Any, value: Any) -> bool:
    return isinstance(value, str) and value.upper() in CODES and words_of(str(name)).endswith(("currency", "currency code"))


def _sibling_currency(node: Mapping[str, Any]) -> str:
    return next((str(v).upper() for k, v in node.items() if _is_currency_field(k, v)), "")


_OF_MONEY = words("open outstanding unpaid owed overdue paid")
"""What is said of money where an amount stands beside it: an invoice's `open: 40`."""


def _holds_money(node: Mapping[str, Any], path: tuple[str | int, ...]) -> bool:
    """Whether plain numbers in a record are amounts: the record is one of prices, or names its currency and holds amounts for the most part."""
    name = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
    if path and path[-1] == name and {w.rstrip("s") for w in words_of(name).split()} & _MONEY_WORDS:
        return True
    numbers = [words_of(str(k)).split() for k, v in node.items() if _is_number(v)]
    numbers = [n for n in numbers if not _NEVER_MONEY & set(n)]
    return bool(_sibling_currency(node)) and sum(_looks_like_money(n) for n in numbers) >= 2


def _field_currency(words: Sequence[str], schema: Schema) -> str:
    """The currency a field itself names: by `x-currency`, by its name's last word, by its description."""
    named = str(schema.get("x-currency", "")).upper()
    if named in CODES:
        return named
    if words and (words[-1].upper() in CODES or words[-1] in ("euros", "euro", "pounds", "dollars", "pence")):
        return "GBP" if words[-1] == "pence" else _NAMED_MONEY.get(words[-1], words[-1].upper())
    return currency_of([str(schema.get("description", ""))])


def _looks_like_money(words: Sequence[str]) -> bool:
    named = words[: words.index("per")] if "per" in words[1:] else words  # `price_per_day`
    other = _NOT_MONEY & set(named[-2:])
    return bool(_MONEY_WORDS & set(named)) and (not other or (other == {"day"} and named[-1] != "day"))  # `day_price`


def _counts_things(words: Sequence[str], amount: Decimal) -> bool:
    """Whether a whole number says how many of something there are: `visits_left`, `seats`."""
    things = [w for w in words if len(w) > 3 and w.endswith("s") and not w.endswith(("ss", "us", "is"))]
    return amount == amount.to_integral_value() and any(w not in _MONEY_WORDS and w[:-1] not in _MONEY_WORDS for w in things)


def _unit(words: Sequence[str], schema: Schema) -> str:
    if schema.get("x-unit"):
        return str(schema["x-unit"])
    if len(words) > 1 and words[-1] in _UNITS and words[0] not in _UNITS:
        return _UNITS[words[-1]]
    if len(words) == 1 and words[0] in _UNITS and words[0] not in _UNIT_BEFORE:
        return _UNITS[words[0]] if _UNITS[words[0]] == "%" else ""
    named = re.search(
        r"\bin (kg|km|cm|mm|kWh|GB|MB|minutes|hours|days|weeks|months|years|percent|miles|litres)\b", str(schema.get("description", ""))
    )
    return _UNITS[named[1].lower()] if named else ""


def _label(name: str, schema: Schema, *, counted: bool = False) -> str:
    """The field's name in words; with a `counted` value without the unit or currency that the value shows anyway."""
    title = str(schema.get("title", "")).strip()
    if title and words_of(title) != words_of(name):
        return title
    words = words_of(name).split()
    if counted and _RATE & set(words) and "per" in words[1:-1]:
        words = words[: words.index("per") - 1] or ["price"]
    each = "per" in words[1:] and _looks_like_money(words)  # the unit says what the amount is for
    while counted and len(words) > 1 and (words[-1] in _CURRENCY_NAMES or (words[-1] in _UNITS and not each)):
        words.pop()
    if len(words) > 1 and words[-1] == "at":
        words.pop()
    shown = [w.upper() if w in ("id", "url", "iban", "vat", "pin", "imei", "sku") else w for w in words] or [name]
    return shown[0][:1].upper() + shown[0][1:] + "".join(f" {w}" for w in shown[1:])


def _with_days(text: str) -> str:
    """A text of several words with the days in it written out: `until 2028-02-11` as `until 11 February 2028`."""

    def written(found: re.Match[str]) -> str:
        day = _parsed(date.fromisoformat, found[0])
        return day_text(day) if day else found[0]

    return _DAY_INSIDE.sub(written, text) if " " in text else text


_DAY_INSIDE = re.compile(r"(?<![\w-])\d{4}-\d{2}-\d{2}(?![\w-])")


def _readable(text: str, schema: Schema) -> str:
    """A code word such as `in_transit` or `inTransit` in words; anything with digits, capitals or spaces stays as it is."""
    is_code = re.fullmatch(r"[a-z]+(?:_[a-z]+)+|[a-z]{2,}(?:[A-Z][a-z]+)+", text) is not None
    return words_of(text) if is_code and not schema.get("format") else text
