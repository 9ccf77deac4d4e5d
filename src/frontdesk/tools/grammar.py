"""What a model may write, as grammars for constrained decoding: GBNF for inline calls, JSON schemas for tool calls.

Only real operations and only their askable arguments can be written; enums, small ranges and simple patterns are held by the grammar, the
rest by the check before the call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from frontdesk.errors import BadInput
from frontdesk.tools.operation import Operation, Schema

_ENUMERATED = 200
"""Integer ranges up to this many values are written out."""
_BASE = r"""char ::= [^\[]
string ::= "\"" [^"\\\[\]\x00-\x1f]{1,200} "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,14})
number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,6})?
boolean ::= "true" | "false"
date ::= "\"" ("19" | "20") [0-9] [0-9] "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) "\""
time ::= "\"" ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] "\""
"""


def gbnf(operations: Sequence[Operation], *, calls_only: bool = False) -> str:
    """GBNF for text with inline calls to these operations; with `calls_only` for exactly one call head. Ends each call behind `->`.

    Raises BadInput without operations, for then there is nothing to constrain.
    """
    if not operations:
        raise BadInput("a grammar needs at least one operation")
    rules = [_BASE]
    for index, operation in enumerate(operations):
        rules += _operation_rules(f"op{index}", operation)
    names = " | ".join(f"op{index}" for index in range(len(operations)))
    root = "root ::= call\n" if calls_only else "root ::= (char | call)*\n"
    return root + f'call ::= "[" ({names}) " ->"\n' + "".join(rules)


def react_gbnf(operations: Sequence[Operation]) -> str:
    """GBNF for one step of ReAct: a thought, then one action or the answer, each on its line.

    Raises BadInput without operations.
    """
    if not operations:
        raise BadInput("a grammar needs at least one operation")
    names = " | ".join(f"op{index}" for index in range(len(operations)))
    rules = [rule for index, operation in enumerate(operations) for rule in _operation_rules(f"op{index}", operation)]
    root = 'root ::= "Thought: " line "\\n" ("Action: " call "\\n" | "Answer: " line)\nline ::= [^\\n\\[\\]]{2,300}\n'
    return root + _BASE + f"call ::= {names}\n" + "".join(rules)


def tool_schemas(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """The operations as OpenAI `tools`. Bound arguments do not appear."""
    return [
        {
            "type": "function",
            "function": {"name": o.name, "description": f"{o.summary}. {o.description}".strip(), "parameters": parameters(o)},
        }
        for o in operations
    ]


def call_schema(operations: Sequence[Operation]) -> dict[str, Any]:
    """JSON schema of one call, `{"name": ..., "arguments": {...}}`, for servers that take a schema and no grammar."""
    alternatives = [
        {
            "type": "object",
            "properties": {"name": {"const": o.name}, "arguments": parameters(o)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for o in operations
    ]
    return {"anyOf": alternatives}


def parameters(operation: Operation) -> dict[str, Any]:
    """JSON schema of an operation's askable arguments."""
    properties = {}
    for argument in operation.askable:
        plain = {k: v for k, v in argument.schema.items() if not k.startswith("x-") and k not in ("nullable", "example", "readOnly")}
        properties[argument.name] = {**plain, **({"description": argument.description} if argument.description else {})}
    return {
        "type": "object",
        "properties": properties,
        "required": [a.name for a in operation.required],
        "additionalProperties": False,
    }


def _operation_rules(rule: str, operation: Operation) -> list[str]:
    lines: list[str] = []
    required: list[str] = []
    optional: list[str] = []
    for index, argument in enumerate(operation.askable):
        name = f"{rule}a{index}"
        lines.append(f"{name} ::= {terminal(argument.name + '=')} {_value(argument.schema)}\n")
        (required if argument.required else optional).append(name)
    body = ' ", " '.join(required)
    if required:
        body += "".join(f' (", " {name})?' for name in optional)
    elif optional:
        chains = [name + "".join(f' (", " {later})?' for later in optional[i + 1 :]) for i, name in enumerate(optional)]
        body = f"({' | '.join(chains)})?"
    lines.insert(0, " ".join(f"{rule} ::= {terminal(operation.name + '(')} {body} {terminal(')')}".split(" ")) + "\n")
    return lines


def _value(schema: Schema) -> str:
    kind = schema.get("type", "string")
    if "const" in schema:
        return terminal(json.dumps(schema["const"], ensure_ascii=False))
    if schema.get("enum"):
        values = [v for v in schema["enum"] if v is not None and not re.search(r"[\[\]]", str(v))]
        return "(" + " | ".join(terminal(json.dumps(v, ensure_ascii=False)) for v in values) + ")" if values else "string"
    if kind == "array":
        item = _value(schema.get("items", {}))
        return f'"[" {item} (", " {item}){{0,{min(9, schema.get("maxItems", 10) - 1)}}} "]"'
    if kind in ("integer", "number"):
        return _numeric(schema)
    if kind == "boolean":
        return "boolean"
    if schema.get("format") in ("date", "time"):
        return str(schema["format"])
    if schema.get("pattern"):
        inner = pattern_rule(str(schema["pattern"]))
        return f'"\\"" {inner} "\\""' if inner else "string"
    return "string"


def _numeric(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if schema["type"] == "integer" and low is not None and high is not None and high - low < _ENUMERATED:
        step = schema.get("multipleOf", 1)
        allowed = [n for n in range(int(low), int(high) + 1) if n % step == 0]
        allowed = [n for n in allowed if n > schema.get("exclusiveMinimum", n - 1) and n < schema.get("exclusiveMaximum", n + 1)]
        if allowed:
            return "(" + " | ".join(terminal(str(n)) for n in allowed) + ")"
    kind = "integer" if schema["type"] == "integer" else "number"
    if low is not None and low >= 0:
        return '("0" | [1-9] [0-9]{0,14})' + (' ("." [0-9]{1,6})?' if kind == "number" else "")
    return kind


def terminal(text: str) -> str:
    """Exactly this text, as GBNF writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# --- patterns -------------------------------------------------------------------------------------------------------------------------

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}
_UNSAFE = frozenset('"\\[]')
_LONGEST = 20
"""Most repetitions that `*` and `+` stand for in a grammar."""


def pattern_rule(pattern: str) -> str:
    """A simple anchored regular expression as a GBNF expression; empty when it is not simple enough to be sure."""
    if not (pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$")):
        return ""
    reader = _Pattern(pattern[1:-1])
    try:
        rule = reader.sequence()
    except (_NotSimple, IndexError):
        return ""
    return rule if reader.ended else ""  # a bare `|` is left over here: `^a|b$` anchors each side once


class _NotSimple(Exception):
    pass


class _Pattern:
    """Literals, classes, groups, alternatives and counted repetition. Anything else, or a character that ends a tag, is not simple."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._text)

    def alternatives(self) -> str:
        options = [self.sequence()]
        while not self.ended and self._text[self._at] == "|":
            self._at += 1
            options.append(self.sequence())
        return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"

    def sequence(self) -> str:
        parts = []
        while not self.ended and self._text[self._at] not in "|)":
            parts.append(self._atom() + self._repeat())
        if not parts:
            raise _NotSimple
        return " ".join(parts)

    def _atom(self) -> str:
        char = self._text[self._at]
        self._at += 1
        if char == "(":
            if self._text.startswith("?:", self._at):
                self._at += 2
            elif self._text[self._at] == "?":
                raise _NotSimple
            inner = self.alternatives()
            if self._text[self._at] != ")":
                raise _NotSimple
            self._at += 1
            return f"({inner})"
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escaped()
        if char in ".^$*+?{}" or char in _UNSAFE or char < " ":
            raise _NotSimple
        return terminal(char)

    def _escaped(self) -> str:
        char = self._text[self._at]
        self._at += 1
        if char in _CLASSES:
            return f"[{_CLASSES[char]}]"
        if char.isalnum() or char in _UNSAFE:
            raise _NotSimple
        return terminal(char)

    def _class(self) -> str:
        end = self._text.index("]", self._at) if "]" in self._text[self._at :] else -1
        inside = self._text[self._at : end]
        if end < 0 or not inside or inside[0] == "^" or re.search(r'["\[\x00-\x1f]', inside):
            raise _NotSimple
        self._at = end + 1
        parts = re.findall(r"\\([dws])|\\([^A-Za-z0-9\\])|([^\\]-[^\\])|([^\\])", inside)
        if "".join(f"\\{a}" if a else f"\\{b}" if b else c or d for a, b, c, d in parts) != inside:
            raise _NotSimple
        written = [_CLASSES[a] if a else c or (b or d).replace("-", "\\-") for a, b, c, d in parts]
        if any(w in ("^", "]") for w in written):
            raise _NotSimple
        return f"[{''.join(written)}]"

    def _repeat(self) -> str:
        if self.ended:
            return ""
        char = self._text[self._at]
        if char in "?*+":
            self._at += 1
            return {"?": "?", "*": f"{{0,{_LONGEST}}}", "+": f"{{1,{_LONGEST}}}"}[char]
        counted = re.match(r"\{(\d{1,3})(,(\d{1,3})?)?\}", self._text[self._at :])
        if counted is None:
            return ""
        self._at += counted.end()
        least = int(counted[1])
        most = least if counted[2] is None else int(counted[3]) if counted[3] else least + _LONGEST
        return f"{{{least},{most}}}" if most != least else f"{{{least}}}"
