"""How values that stand in a text are given to the arguments of an operation: by type, by the words around them, each value once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from frontdesk.tools.checking import fit
from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.numbers import Number
from frontdesk.tools.operation import Argument, Operation, once, words_of

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A value for one argument. `span`: where it stands in the text. `problem`: why it cannot be used, then `value` is as said."""

    value: Any
    span: Span
    confidence: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A value of some type at some place, not yet given to an argument."""

    value: Any
    span: Span
    confidence: float
    number: Number | None = None
    problem: str = ""


@dataclass(kw_only=True)
class Reader:
    """One text being read for one operation."""

    operation: Operation
    text: str
    known: Mapping[str, Any]
    today: date
    asked: str
    day_first: bool
    found: dict[str, Extracted] = field(default_factory=dict)
    taken: list[Span] = field(default_factory=list)


@once
def words_near(argument: Argument) -> frozenset[str]:
    """Stems of the words that speak of an argument: its name, title and description."""
    text = f"{words_of(argument.name)} {argument.schema.get('title', '')} {argument.description}"
    return frozenset(stem(w) for w in re.findall(r"[^\W\d_]+", text.lower()) if w not in STOP) - labelled(argument)


@once
def labelled(argument: Argument) -> frozenset[str]:
    """Stems of the words that say what the codes of an enum mean; where these stand in a description they name values, not the argument."""
    labels = argument.schema.get("x-labels", {}) or argument.schema.get("items", {}).get("x-labels", {})
    return frozenset(stem(w) for label in labels.values() for w in re.findall(r"[^\W\d_]+", str(label).lower()))


@once
def names_of(argument: Argument) -> frozenset[str]:
    """Stems of an argument's name and title."""
    title = str(argument.schema.get("title", "")).lower().split()
    return frozenset(stem(w) for w in (*words_of(argument.name).split(), *title))


def open_arguments(reader: Reader) -> list[Argument]:
    return [a for a in reader.operation.askable if a.name not in reader.known and a.name not in reader.found]


def is_free(reader: Reader, span: Span) -> bool:
    return not any(span[0] < end and start < span[1] for start, end in reader.taken)


def give(reader: Reader, argument: Argument, candidate: Candidate, confidence: float | None = None) -> None:
    """Records a value after a look at the schema; one that does not fit is recorded with the reason, so that the customer hears it."""
    sure = candidate.confidence if confidence is None else confidence
    value, reason = (candidate.value, candidate.problem) if candidate.problem else fitted(argument, candidate.value)
    reader.found[argument.name] = Extracted(value=value, span=candidate.span, confidence=sure, problem=reason)
    reader.taken.append(candidate.span)


def fitted(argument: Argument, value: Any) -> tuple[Any, str]:
    """The value as plain JSON in the argument's type, and why it does not fit ("" when it does)."""
    plain = (int(value) if value == value.to_integral_value() else float(value)) if isinstance(value, Decimal) else value
    return fit(argument, plain)


@once
def vocabulary(operation: Operation) -> frozenset[str]:
    """Stems of the words an operation is described with; these name the matter, not a value."""
    return frozenset(
        stem(w) for w in re.findall(r"[^\W\d_]+", f"{operation.summary} {operation.description} {words_of(operation.name)}".lower())
    )


@once
def matter_of(operation: Operation) -> frozenset[str]:
    """Stems of the words of an operation's summary and name: said in a request they name the matter itself."""
    return frozenset(stem(w) for w in re.findall(r"[^\W\d_]+", f"{operation.summary} {words_of(operation.name)}".lower()))


def moved(found: Extracted, by: int) -> Extracted:
    return replace(found, span=(found.span[0] + by, found.span[1] + by))


def is_free_text(argument: Argument | None) -> bool:
    return argument is not None and argument.type == "string" and not (argument.enum or argument.pattern or argument.format)


def words_before(text: str, span: Span, words: int = 4) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:'[a-z]+)?", text[: span[0]].lower())[-words:]


def words_after(text: str, span: Span, words: int = 2) -> list[str]:
    return re.findall(r"[^\W\d_]+", text[span[1] :].lower())[:words]


_START = words(
    "from origin source departure departing depart start starting begin beginning pickup pick min minimum lower old current since "
    "sender sending"
)
_END = words(
    "to destination target arrival arriving arrive end ending until till dropoff drop max maximum upper new recipient receiver return"
)
_STAY = re.compile(r"\bcheck (in|out)\b")


def _role(argument: Argument, siblings: Sequence[Argument]) -> str:
    """`start` or `end` when the argument is one side of a pair among its siblings, else ""."""
    if len(siblings) < 2:
        return ""
    stay = _STAY.search(words_of(argument.name).replace("checkin", "check in").replace("checkout", "check out"))
    if stay:
        return "start" if stay[1] == "in" else "end"
    names = {s.name: set(words_of(s.name).split()) for s in siblings}
    own = names[argument.name]
    all_words = set().union(*names.values())
    if argument.format == "date" and {"arrival", "departure"} <= all_words and not {"return"} & all_words:
        return "start" if "arrival" in own else "end"  # a stay begins with the arrival, a journey with the departure
    return role_in(" ".join(own))


def role_in(name: str) -> str:
    """`start` or `end` where the words of a name say that it is one side of a pair: `from`, `destination`; else ""."""
    own = set(name.split())
    if own & _START:
        return "start"
    return "end" if own & _END else ""


_BEFORE_START = re.compile(
    r"\b(?:check(?:ing)?[ -]?in(?: on)?|from|leaving|out of|departing|starting|between|since|after|over|above|at least|more than|minimum|min|not under)"
    r"\s*(?:the\s+)?[€£$]?$"
)
_BEFORE_END = re.compile(
    r"(?:\b(?:check(?:ing)?[ -]?out(?: on)?|to|into|until|till?|towards?|through|arriving (?:in|at)|up to|at most|under|below|less than|max(?:imum)?|cheaper than|"
    r"no more than|before)|->|→)\s*(?:the\s+)?[€£$]?$"
)
_ARRIVING = re.compile(
    r"\b(?:arriv(?:e|es|ing)|coming|(?:drop(?:ping)?|check(?:ing)?|book(?:ing)?|moving) (?:\w+ )?(?:in|off)|in|there)(?: on)?\s*(?:the\s+)?$"
)
_LEAVING = re.compile(
    r"\b(?:leav(?:e|es|ing)|depart(?:ing|s)?|going|gone|back|home|out|pick(?:ing)? (?:\w+ )?up|collect(?:ing)?)(?: again)?(?: on)?\s*(?:the\s+)?$"
)
"""A stay begins with the arrival and ends with the departure, while a journey begins with the latter."""
_THEN = re.compile(r"\s*(?:-|–|—|->|→|to|and|till?|until|>|/)\s*(?:the\s+)?[€£$]?")


def side_of(text: str, span: Span) -> str:
    """Which side of a pair the words before a value put it on: `start` behind "from", `end` behind "to", else ""."""
    return _side(text, span, ())


def _side(text: str, span: Span, others: Sequence[Span]) -> str:
    """Which side of a pair the words around a value put it on: "from X" start, "to X" end, "X to Y" and "X - Y" by order."""
    before = text[: span[0]].lower()
    if _LEAVING.search(before) and any(o[1] <= span[0] and _ARRIVING.search(text[: o[0]].lower()) for o in others):
        return "end"
    if _ARRIVING.search(before) and any(o[0] >= span[1] and _LEAVING.search(text[: o[0]].lower()) for o in others):
        return "start"
    if _BEFORE_START.search(before):
        return "start"
    if _BEFORE_END.search(before):
        return "end"
    for other in others:
        if other[0] >= span[1] and _THEN.fullmatch(text[span[1] : other[0]].lower()):
            return "start"
        if other[1] <= span[0] and _THEN.fullmatch(text[other[1] : span[0]].lower()):
            return "end"
    return ""


def affinity(reader: Reader, argument: Argument, candidate: Candidate, siblings: Sequence[Argument], others: Sequence[Span]) -> float:
    """How well the words around a value fit an argument, about -1 to 2."""
    own, name_stems = words_near(argument), names_of(argument)
    score = 0.0
    for distance, word in enumerate(reversed(words_before(reader.text, candidate.span))):
        if stem(word) in name_stems - {""} and word not in STOP:
            score += 0.8 - 0.12 * distance
        elif stem(word) in own:
            score += 0.35 - 0.07 * distance
    for distance, word in enumerate(words_after(reader.text, candidate.span)):
        if stem(word) in name_stems and word not in STOP:
            score += 0.8 - 0.2 * distance + (0.3 if name_stems <= {stem(word), ""} else 0.0)
        elif stem(word) in own:
            score += 0.35 - 0.15 * distance
    role, side = _role(argument, siblings), _side(reader.text, candidate.span, others)
    if role and side:
        score += 1.0 if role == side else -1.0
    if argument.name == reader.asked:
        score += 0.5
    return score


def assign(
    reader: Reader, arguments: Sequence[Argument], candidates: Sequence[Candidate], floor: Callable[[Argument, Candidate], float | None]
) -> None:
    """Gives candidates to arguments of one kind, best fit first. `floor` adds to the fit, or forbids the pair with None."""
    siblings = [a for a in reader.operation.askable if kind_of(a) == kind_of(arguments[0])] if arguments else []
    spans = [c.span for c in candidates]
    scored = []
    for position, argument in enumerate(arguments):
        for place, candidate in enumerate(candidates):
            extra = floor(argument, candidate)
            if extra is None:
                continue
            others = [s for s in spans if s != candidate.span]
            fitness = extra + affinity(reader, argument, candidate, siblings, others)
            in_order = 0.05 if position == place else 0.0
            required = 0.1 if argument.required else 0.0
            scored.append((fitness + in_order + required, -place, -position, argument, candidate))
    scored.sort(key=lambda row: row[:3], reverse=True)
    alone = len(arguments) == 1 and len(candidates) == 1
    for fitness, _, _, argument, candidate in scored:
        if argument.name in reader.found or not is_free(reader, candidate.span):
            continue
        even = len(arguments) == len(candidates)
        if fitness < (-0.5 if alone else 0.0 if even else 0.12):
            continue
        certain = candidate.confidence * (1.0 if fitness >= 0.3 or alone or argument.name == reader.asked else 0.75)
        give(reader, argument, candidate, round(min(0.99, certain), 3))


@once
def kind_of(argument: Argument) -> str:
    """What is looked for in a text: flag, choice, number, day, moment, time, month, email, phone, code, words or other."""
    if argument.type == "boolean":
        return "flag"
    if argument.enum:
        return "choice"
    if argument.type in ("integer", "number"):
        return "number"
    if argument.type == "array":
        return "code" if argument.pattern else "other"
    return _BY_FORMAT.get(argument.format) or _kind_of_string(argument)


_BY_FORMAT = {"date": "day", "date-time": "moment", "time": "time", "email": "email", "month": "month"}


def _kind_of_string(argument: Argument) -> str:
    if argument.pattern:
        found = (k for k, is_of in (("month", _is_month), ("day", _is_day_pattern), ("time", _is_time_pattern)) if is_of(argument.pattern))
        return next(found, "code")
    if _CLOCK.fullmatch(str(argument.example or argument.schema.get("example") or "")) or re.search(r"\bHH:MM\b", argument.description):
        return "time"
    named = set(words_of(argument.name).split())
    if named & {"phone", "mobile", "telephone", "tel", "msisdn", "cell"}:
        return "phone"
    if named & {"email", "mail"}:
        return "email"
    return "code" if shape_of(argument) or named & _IDS else "words"


_IDS = words("id ids no number ref reference")
"""What an identifier is called. Without a form of its own it is anything with digits, and never a word."""


def _is_month(pattern: str) -> bool:
    return _matches(pattern, "2027-04") and not any(_matches(pattern, other) for other in ("2027-04-01", "ABCD-04"))


def _is_day_pattern(pattern: str) -> bool:
    return _matches(pattern, "2027-04-01") and not _matches(pattern, "2027-ab-01") and not _matches(pattern, "20270401")


def _is_time_pattern(pattern: str) -> bool:
    return _matches(pattern, "09:15") and not _matches(pattern, "ab:cd") and not _matches(pattern, "0915")


_CLOCK = re.compile(r"(?:[01]?\d|2[0-3]):[0-5]\d")
"""A time of day as an example shows it."""


def _matches(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=512)
def _shape_of(example: str) -> str:
    """The form of an example with digits, as a pattern: `#W0123456` -> `^#W\\d{7}$`. Empty when it has none."""
    if not 3 <= len(example) <= 40 or not any(c.isdigit() for c in example) or re.search(r"\s{2}|[^\w#\-_/. ]", example):
        return ""
    runs = re.findall(r"\d+|[A-Z]+|[a-z]+|.", example)
    if sum(1 for r in runs if r.isdigit()) == 1 and len(runs) == 1 and len(example) < 4:
        return ""
    parts = []
    for run in runs:
        if run.isdigit():
            parts.append(rf"\d{{{len(run)}}}")
        elif run.isalpha() and len(run) <= 4 and len(runs) > 3:
            parts.append(f"[{'A-Z' if run.isupper() else 'a-z'}]{{{len(run)}}}")
        else:
            parts.append(re.escape(run))
    return f"^{''.join(parts)}$"


@once
def shape_of(argument: Argument) -> str:
    """A pattern from the example or from "such as '...'" in the description, for identifiers that come without one."""
    if argument.type != "string" or argument.enum or argument.format:
        return ""
    words = set(words_of(argument.name).split())
    if not words & {"id", "number", "no", "ref", "reference", "code", "zip", "postcode", "sku", "iban", "key", "serial"}:
        return ""
    quoted = re.search(r"(?:such as|e\.g\.|for example|like)\s+['\"`‘]?([#\w\-]{3,40})['\"`’]?", argument.description)
    example = argument.example if isinstance(argument.example, (str, int)) else quoted[1] if quoted else ""
    return _shape_of(str(example)) if example else ""
