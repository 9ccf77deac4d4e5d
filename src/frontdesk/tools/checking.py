"""Whether proposed arguments fit an operation, before anything is called. Refuses bound names, unknown names and values the schema forbids.

Lenient only in form: `"3"` is 3 for an integer, `cork` is `Cork` when the enum says so. A value is never replaced by another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator

from frontdesk.tools.operation import Argument, Operation, Place, Schema

MAX_TEXT = 2_000
"""Longest string that is sent when the schema sets no limit of its own."""
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`values` fit the schema. `reasons`: what is wrong, by argument. `refused`: names only the verified identity may fill."""

    values: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def check(operation: Operation, arguments: Mapping[str, Any]) -> Checked:
    """Looks at every proposed argument. Raises nothing; a bound name is reported in `refused` and dropped, whatever its value."""
    bound = {_key(a) for a in operation.bound}
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    refused: list[str] = []
    for name, value in arguments.items():
        argument = operation.argument(name)
        if argument is None:
            if name.lower() in bound or name.rsplit(".", 1)[-1].lower() in bound:
                refused.append(name)
            else:
                reasons[name] = "is not something this can take"
            continue
        if value is None or value == "":
            continue
        fitted, reason = fit(argument, value)
        if reason:
            reasons[name] = reason
        else:
            values[name] = fitted
    for argument in operation.required:
        if argument.name not in values and argument.name not in reasons:
            reasons[argument.name] = "is missing"
    return Checked(values=values, reasons=reasons, refused=tuple(refused))


def fit(argument: Argument, value: Any) -> tuple[Any, str]:
    """The value in the argument's own type, and why it does not fit ("" when it does)."""
    fitted, reason = _fit(argument.schema, value)
    if not reason and argument.where is Place.PATH:
        reason = _path_reason(argument.schema, str(fitted))
    if not reason and argument.where is Place.HEADER and not re.fullmatch(r"[\x20-\x7e]*", str(fitted)):
        reason = "holds a character that cannot be sent"
    return fitted, reason


def cast_bound(argument: Argument, value: Any) -> Any:
    """A verified claim in the argument's type. The identity provider is trusted for its value, not for its JSON type."""
    if argument.type == "string":
        return str(value)
    fitted, reason = _fit({"type": argument.type}, value)
    return value if reason else fitted


def _key(argument: Argument) -> str:
    return argument.name.rsplit(".", 1)[-1].lower()


def _fit(schema: Schema, value: Any) -> tuple[Any, str]:
    kind = schema.get("type", "string")
    fitted, reason = _FITS[kind](schema, value)
    if reason:
        return value, reason
    if "const" in schema and fitted != schema["const"]:
        return value, f"must be {schema['const']}"
    return fitted, ""


def _fit_string(schema: Schema, value: Any) -> tuple[Any, str]:
    if isinstance(value, (dict, list, bool)):
        return value, "must be text"
    text = str(value).strip()
    if schema.get("enum"):
        return _fit_enum(schema, text)
    if any(ord(c) < 32 and c not in "\n\t" for c in text) or "\x7f" in text:
        return value, "holds a character that cannot be sent"
    if len(text) > schema.get("maxLength", MAX_TEXT):
        return value, f"must have at most {schema.get('maxLength', MAX_TEXT)} characters"
    if len(text) < schema.get("minLength", 0):
        return value, f"must have at least {schema['minLength']} characters"
    if schema.get("format") in _FORMATS:
        reason = _format_reason(str(schema["format"]), text)
        if reason:
            return value, reason
    if schema.get("pattern") and not _compiled(str(schema["pattern"])).search(text):
        example = f", for example {schema['example']}" if schema.get("example") else ""
        return value, f"does not have the right form{example}"
    return text, ""


def _fit_enum(schema: Schema, value: Any) -> tuple[Any, str]:
    allowed = [v for v in schema["enum"] if v is not None]
    if value in allowed:
        return value, ""
    folded = [v for v in allowed if _fold(v) == _fold(value)]
    if len(folded) == 1:
        return folded[0], ""
    shown = ", ".join(str(schema.get("x-labels", {}).get(str(v), v)) for v in allowed[:12]) + (" …" if len(allowed) > 12 else "")
    return value, f"must be one of {shown}"


def _fold(value: Any) -> str:
    return re.sub(r"[\s_\-]+", " ", str(value)).strip().casefold()


def _fit_number(schema: Schema, value: Any) -> tuple[Any, str]:
    whole = schema.get("type") == "integer"
    wrong = "must be a whole number" if whole else "must be a number"
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return value, wrong
    try:
        number = Decimal(str(value).strip().replace(",", ""))
    except InvalidOperation:
        return value, wrong
    if not number.is_finite() or abs(number) > Decimal(10) ** 18:
        return value, wrong
    if whole and number != number.to_integral_value():
        return value, wrong
    reason = _bounds_reason(schema, number)
    if reason:
        return value, reason
    fitted: int | float = int(number) if number == number.to_integral_value() else float(number)
    return _fit_enum(schema, fitted) if schema.get("enum") else (fitted, "")


def _bounds_reason(schema: Schema, number: Decimal) -> str:
    limits: tuple[tuple[str, Callable[[Decimal, Decimal], bool], str], ...] = (
        ("minimum", lambda n, b: n >= b, "must be at least"),
        ("maximum", lambda n, b: n <= b, "must be at most"),
        ("exclusiveMinimum", lambda n, b: n > b, "must be more than"),
        ("exclusiveMaximum", lambda n, b: n < b, "must be less than"),
    )
    for key, holds, words in limits:
        if key in schema and not holds(number, Decimal(str(schema[key]))):
            return f"{words} {schema[key]}"
    step = schema.get("multipleOf")
    if step and number % Decimal(str(step)) != 0:
        return f"must be a multiple of {step}"
    return ""


def _fit_boolean(schema: Schema, value: Any) -> tuple[Any, str]:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value, ""
    found = words.get(str(value).strip().lower())
    return (value, "must be yes or no") if found is None else (found, "")


def _fit_array(schema: Schema, value: Any) -> tuple[Any, str]:
    members = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(members) < schema.get("minItems", 0):
        return value, f"must name at least {schema['minItems']}"
    if len(members) > schema.get("maxItems", 200):
        return value, f"must name at most {schema.get('maxItems', 200)}"
    fitted = []
    for member in members:
        one, reason = _fit(schema["items"], member)
        if reason:
            return value, reason
        fitted.append(one)
    return fitted, ""


def _fit_object(schema: Schema, value: Any) -> tuple[Any, str]:
    if not isinstance(value, Mapping):
        return value, "must be a record"
    known = schema.get("properties", {})
    unknown = [k for k in value if k not in known]
    if unknown:
        return value, f"must not hold {unknown[0]}"
    error = next(Draft202012Validator(dict(schema)).iter_errors(dict(value)), None)
    return value, f"does not fit: {error.message[:120]}" if error else ""


_FITS: Mapping[str, Callable[[Schema, Any], tuple[Any, str]]] = {
    "string": _fit_string,
    "integer": _fit_number,
    "number": _fit_number,
    "boolean": _fit_boolean,
    "array": _fit_array,
    "object": _fit_object,
}


def _path_reason(schema: Schema, text: str) -> str:
    """A path segment must stay one segment, on every server and proxy: some decode `%2F` before they route."""
    if not text:
        return "is missing"
    if text in (".", "..") or re.search(r"(^|[/\\])\.\.?([/\\]|$)", text):
        return "does not have the right form"
    if re.search(r"[/\\]", text) and not (schema.get("pattern") or schema.get("enum")):
        return "must not hold a slash"
    return ""


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _format_reason(kind: str, text: str) -> str:
    try:
        ok = _FORMATS[kind](text)
    except ValueError:
        ok = False
    if ok:
        return ""
    if kind == "date":
        parts = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text)
        if parts and 1 <= int(parts[2]) <= 12 and 1 <= int(parts[3]) <= 31:
            return f"names a day that does not exist: {int(parts[3])} {MONTHS[int(parts[2]) - 1]} {parts[1]}"
    return f"must be {_FORMAT_WORDS[kind]}"


def _is_date(text: str) -> bool:
    return len(text) == 10 and bool(date.fromisoformat(text))


def _is_datetime(text: str) -> bool:
    return "T" in text.upper() and bool(datetime.fromisoformat(text))


def _is_time(text: str) -> bool:
    return time.fromisoformat(text) is not None


def _is_uuid(text: str) -> bool:
    return bool(UUID(text))


def _is_email(text: str) -> bool:
    return bool(re.fullmatch(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+", text))


_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date": _is_date,
    "date-time": _is_datetime,
    "time": _is_time,
    "uuid": _is_uuid,
    "email": _is_email,
}
_FORMAT_WORDS = {
    "date": "a day",
    "date-time": "a day and a time",
    "time": "a time",
    "uuid": "an identifier",
    "email": "an e-mail address",
}


def is_finite(value: Any) -> bool:
    """True unless a number in `value` is infinite or not a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(is_finite(v) for v in value.values())
    return all(is_finite(v) for v in value) if isinstance(value, list) else True
