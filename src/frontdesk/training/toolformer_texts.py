"""Texts for Toolformer, and results for calls that are not made: questions with replies from a tenant's catalog, answers from its FAQ.

Nothing is called here. A dry run answers from the operation's response schema, always the same for the same arguments, so that a reply that
was written with a result and the result that the pipeline gets later agree. Refuses operations of whose answers nothing is known.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from frontdesk.domain.knowledge import FaqPair
from frontdesk.tools.arithmetic import calculate
from frontdesk.tools.operation import Argument, Operation, Schema
from frontdesk.tools.rendering import Fact, Rendering, facts

MOST_FACTS = 3


@dataclass(frozen=True, kw_only=True)
class Text:
    """A customer's question and the reply to it, which is the text x that gets calls."""

    id: str
    question: str
    text: str
    source: str
    """catalog, faq, or the name of a file."""
    about: str = ""
    """For a text from the catalog: the operation it was written about. Used to measure and in demonstrations, never to annotate."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The same for what it was called with."""


_ASKS = (
    "Can you {wish}{given}?",
    "Please {wish}{given}.",
    "I would like you to {wish}{given}.",
    "Could somebody {wish}{given} for me?",
    "Hi, I need to {wish_own}{given}.",
    "{given_first}what do you find when you {wish}?",
    "{wish_capital}{given}, please.",
    "Is it possible to {wish}{given} now?",
)
_SAYS = (
    "The {label} is {value}.",
    "I see that the {label} is {value}.",
    "Here it says that the {label} is {value}.",
    "For you the {label} is {value}.",
    "At the moment the {label} is {value}.",
)
_JOINS = (" and the {label} is {value}.", ", the {label} {value}.")


def texts_from_catalog(operations: Sequence[Operation], *, count: int, seed: int, today: date) -> list[Text]:
    """`count` questions with replies, each about one operation, its arguments drawn from their schemas. Fewer when answers are unknown."""
    rng = random.Random(seed)  # noqa: S311 - a draw of examples, nothing secret
    known = [o for o in operations if o.response.get("properties") or o.writes]
    found: list[Text] = []
    seen: set[str] = set()
    for number in range(count * 4):
        if len(found) == count or not known:
            break
        operation = known[number % len(known)]
        arguments = {a.name: drawn_value(a.schema, a, rng, today) for a in operation.askable if a.required or rng.random() < 0.3}
        said = told(operation, arguments, dry_run(operation, arguments, today=today))
        if not said:
            continue
        question, text = _question(operation, arguments, rng), _reply(said, rng)
        if (key := f"{question} {text}") not in seen:
            seen.add(key)
            found.append(
                Text(id=f"c{len(found) + 1}", question=question, text=text, source="catalog", about=operation.name, arguments=arguments)
            )
    return found


def texts_from_faq(pairs: Sequence[FaqPair], *, count: int, seed: int) -> list[Text]:
    """FAQ pairs as texts: nothing in them comes from a call, so the filter should leave them alone."""
    rng = random.Random(seed)  # noqa: S311
    chosen = rng.sample(list(pairs), min(count, len(pairs)))
    return [Text(id=f"f{n}", question=p.question, text=" ".join(p.answer.split()), source="faq") for n, p in enumerate(chosen, 1)]


def dry_run(operation: Operation, arguments: Mapping[str, Any], *, today: date) -> Any:
    """An answer as the operation's response schema describes it, drawn from its arguments; None where no schema says. Nothing is sent."""
    if not operation.response.get("properties") and not operation.writes:
        return None
    arguments = {k: int(v) if isinstance(v, float) and v == int(v) else v for k, v in arguments.items()}
    digest = hashlib.sha256(json.dumps([operation.name, arguments], sort_keys=True, default=str).encode()).digest()
    rng = random.Random(digest)  # noqa: S311
    if not operation.response.get("properties") and operation.writes:
        return {"confirmation": f"{operation.name[:2].upper()}-{rng.randrange(10_000, 99_999)}"}
    return _drawn(operation.response, "", rng, today)


def told(operation: Operation, arguments: Mapping[str, Any], data: Any, rendering: Rendering | None = None) -> list[Fact]:
    """The facts of an answer that a reply would state, as the platform renders them; what is derived from them comes first."""
    if data is None:
        return []
    found = [f for f in facts(data, operation.response, (rendering or Rendering()).for_operation(operation)) if f.value not in (None, "")]
    flat = {**arguments, **(data if isinstance(data, Mapping) else {})}
    derived = []
    for one in operation.derived:
        try:
            expression = one.expression.format(**{k: str(v) for k, v in flat.items()})
            value = float(calculate(expression))
        except (KeyError, ValueError, ArithmeticError, TypeError):
            continue
        money = facts(
            {"amount": round(value, 2)}, {"type": "object", "properties": {"amount": {"type": "number", "x-currency": one.currency}}}
        )
        derived.append(Fact(path=("derived",), label=one.label, value=value, text=money[0].text))
    return [*derived, *found]


def normalised(operation: Operation, arguments: Mapping[str, Any], data: Any, rendering: Rendering | None = None) -> str:
    """A result as it stands in a text: `label value; label value`, values written as replies write them."""
    return "; ".join(f"{f.label.lower()} {f.text}" if f.label else f.text for f in told(operation, arguments, data, rendering)[:6])


def drawn_value(schema: Schema, argument: Argument | None, rng: random.Random, today: date) -> Any:
    """A value that fits a schema: an enum's, an example's neighbour, a number in range, a code of the pattern's shape, a coming day."""
    if schema.get("enum"):
        return rng.choice([v for v in schema["enum"] if v is not None])
    kind, example = schema.get("type", "string"), schema.get("example", argument.example if argument else None)
    if kind in ("integer", "number"):
        return _number(schema, example, rng)
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return [drawn_value(schema.get("items", {}), None, rng, today)]
    if schema.get("format") in ("date", "date-time"):
        day = today + timedelta(days=rng.randrange(2, 90))
        return day.isoformat() if schema["format"] == "date" else f"{day.isoformat()}T{rng.randrange(8, 18):02}:30:00"
    if example is not None:
        return re.sub(r"\d", lambda _: str(rng.randrange(1, 10)), str(example))
    shape = str(schema.get("pattern", ""))
    if shape:
        return _of_pattern(shape, rng)
    return rng.choice(("Harper Street", "Linton", "Maple Court", "Oakfield", "Sanders"))


def _number(schema: Schema, example: Any, rng: random.Random) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    centre = float(example) if isinstance(example, (int, float)) else None
    least = float(low) if low is not None else (centre or 2) / 2
    most = float(high) if high is not None else max(least * 4, (centre or 40) * 2)
    if centre is not None:
        least, most = max(least, centre / 3), min(most, centre * 3)
    if schema.get("type") == "integer":
        return rng.randint(int(least), max(int(least), int(most)))
    value = rng.uniform(least, most)
    return round(value / 1000) * 1000 if value > 10_000 else round(value, 2)


def _of_pattern(pattern: str, rng: random.Random) -> str:
    text = pattern.strip("^$")
    text = re.sub(r"(\\d|\[0-9\])\{(\d+)(?:,\d*)?\}", lambda m: "".join(str(rng.randrange(1, 10)) for _ in range(int(m[2]))), text)
    text = re.sub(r"\[A-Z\]\{(\d+)(?:,\d*)?\}", lambda m: "".join(rng.choice("ABCDEFGHKLMNPRSTWX") for _ in range(int(m[1]))), text)
    return re.sub(r"\\d|\[0-9\]", lambda _: str(rng.randrange(1, 10)), text)


def _drawn(schema: Schema, name: str, rng: random.Random, today: date) -> Any:
    if schema.get("type") == "object" or schema.get("properties"):
        return {k: _drawn(v, k, rng, today) for k, v in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_drawn(schema.get("items", {}), name, rng, today) for _ in range(2)]
    if name == "currency" and not schema.get("enum"):
        return "GBP"
    if schema.get("type") in ("number", "integer") and not {"minimum", "maximum", "example", "enum"} & set(schema):
        if "rate" in name or schema.get("x-unit") == "%":
            return round(rng.uniform(2, 8), 2)
        return rng.randrange(2, 60) if schema["type"] == "integer" else float(rng.randrange(20, 2000))
    return drawn_value(schema, None, rng, today)


def _question(operation: Operation, arguments: Mapping[str, Any], rng: random.Random) -> str:
    wish = operation.summary[:1].lower() + operation.summary[1:].rstrip(".")
    own = re.sub(r"\bthe (?:signed-in )?(?:customer|member|patient|person|user)'?s\b", "my", wish)
    labels = {a.name: a.label for a in operation.askable}
    shown = [f"{labels.get(n, n)} {_shown(v)}" for n, v in arguments.items()]
    rng.shuffle(shown)
    given = f" ({', '.join(shown)})" if shown and rng.random() < 0.3 else f" with {' and '.join(shown)}" if shown else ""
    first = f"For {' and '.join(shown)}: " if shown else "So, "
    asked = rng.choice(_ASKS).format(wish=own, wish_own=own, wish_capital=own[:1].upper() + own[1:], given=given, given_first=first)
    return asked[:1].upper() + asked[1:]


def _shown(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) and value >= 1000 else str(value)


def _reply(said: Sequence[Fact], rng: random.Random) -> str:
    chosen = [f for f in said if f.label][:MOST_FACTS] or list(said)[:1]
    count = rng.randint(1, min(2, len(chosen)))
    first = chosen[0]
    text = rng.choice(_SAYS).format(label=first.label.lower() or "answer", value=first.text)
    if count > 1:
        second = chosen[1]
        text = text.rstrip(".") + rng.choice(_JOINS).format(label=second.label.lower(), value=second.text)
    return text


def places(text: str, *, most: int = 8) -> Iterator[int]:
    """Where a result could begin: before each word that holds a digit, a sign of money, or a capital inside a sentence."""
    found = 0
    for match in re.finditer(r"(?:^|(?<=\s))\S+", text):
        word = match[0]
        telling = bool(re.search(r"[\d£$€%]", word)) or (match.start() > 0 and word[:1].isupper() and text[match.start() - 2] not in ".!?")
        if telling and len(text[match.start() :].split()) >= 1:
            yield match.start()
            found += 1
            if found == most:
                return
