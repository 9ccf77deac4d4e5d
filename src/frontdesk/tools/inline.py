"""The one grammar of calls inside text, as in the Toolformer paper: `[name(arg="v", n=3) -> result]`. Serving and training both use it.

Strict: what is not exactly a call is plain text. Only a model's own output is ever read for calls; `neutralise` makes the same tags inert in
what customers, documents and APIs say, before it goes into a prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from frontdesk.tools.operation import Operation

MAX_HEAD = 2_000
"""Longest call head in characters; a longer one is text."""

_NAME = r"[A-Za-z_][\w.\-]*"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_SCALAR = rf"(?:{_STRING}|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)"
_VALUE = rf"(?:{_SCALAR}|\[(?:{_SCALAR}(?:, ?{_SCALAR})*)?\])"
_ARGUMENT = re.compile(rf"({_NAME})=({_VALUE})", re.ASCII)
_HEAD = re.compile(rf"\[({_NAME})\(((?:{_NAME}={_VALUE}(?:, ?{_NAME}={_VALUE})*)?)\) ->", re.ASCII)
_RESULT = re.compile(r" ((?:[^\[\]\\\n]|\\.)*)\]")
_OPENER = re.compile(rf"\[(?=\s*(?:{_NAME})?\s*(?:\(|$))", re.ASCII)
_NAME_START = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_NAME_REST = _NAME_START | frozenset("0123456789.-")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call as a model wrote it; not yet checked against any catalog."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Inline:
    """A call and the result that stands in the text behind it."""

    call: Call
    result: str


def head(call: Call) -> str:
    """The part that a model writes: `[name(arg="v", n=3) ->`."""
    return f"[{call.name}({', '.join(f'{name}={_literal(value)}' for name, value in call.arguments.items())}) ->"


def render(call: Call, result: str) -> str:
    """The whole tag with its result, escaped so that `parse` gives the same back whatever the result holds."""
    return f"{head(call)}{tail(result)}"


def tail(result: str) -> str:
    """The part that is forced into the text behind a call: ` result]`."""
    escaped = result.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("\n", "\\n")
    return f" {escaped}]"


def parse(text: str) -> list[str | Inline]:
    """The text in pieces: plain strings and complete calls with results. Joining them back gives the same text."""
    pieces: list[str | Inline] = []
    plain_from, position = 0, text.find("[")
    while position >= 0:
        found = _HEAD.match(text, position)
        result = _RESULT.match(text, found.end()) if found else None
        if found is None or result is None:
            position = text.find("[", position + 1)
            continue
        if position > plain_from:
            pieces.append(text[plain_from:position])
        pieces.append(Inline(call=_call(found), result=_unescaped(result[1])))
        plain_from = result.end()
        position = text.find("[", plain_from)
    if plain_from < len(text):
        pieces.append(text[plain_from:])
    return pieces


def read(text: str) -> Call | None:
    """The call that `name(arg="v", n=3)` writes, without brackets and arrow; None when it is not exactly one."""
    found = _HEAD.fullmatch(f"[{text} ->") if len(text) <= MAX_HEAD else None
    return _call(found) if found else None


def neutralise(text: str) -> str:
    """The same text with every bracket that could open a call made full-width, which no parser here takes for one."""
    return _OPENER.sub("［", text)


@dataclass(frozen=True, kw_only=True)
class Spliced:
    """A stretch of the transcript. `forced`: put in by the platform, not sampled from the model."""

    text: str
    forced: bool


class InlineReader:
    """Reads a model's output piece by piece and stops at each call.

    `feed` gives back text that is certain to be text, and a `Call` as soon as its `->` is there. Then the model is to be stopped: what it
    wrote beyond is dropped and further pieces are ignored until `resume` puts the result in. `names`: the operations there are; a bracket
    before any other name is text at once.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = frozenset(names) if names is not None else None
        self._held = ""
        self._state = _scan_name
        self._depth = 0
        self._waiting = False
        self._spans: list[Spliced] = []
        self._sampled: list[str] = []

    @property
    def waiting(self) -> bool:
        """True between a call and its result."""
        return self._waiting

    @property
    def transcript(self) -> tuple[Spliced, ...]:
        """All text so far in order, what was sampled and what was forced apart; joined it is what the model is to go on from."""
        rest = "".join(self._sampled)
        return (*self._spans, Spliced(text=rest, forced=False)) if rest else tuple(self._spans)

    def feed(self, piece: str) -> list[str | Call]:
        """The next piece of the model's output."""
        if self._waiting or not piece:
            return []
        if not self._held and "[" not in piece:
            self._sampled.append(piece)
            return [piece]
        return self._merged(self._read(self._held + piece, len(self._held)))

    def resume(self, result: str) -> str:
        """The result of the call that was found. Gives the forced text with which the prompt continues."""
        forced = tail(result)
        self._spans += [Spliced(text="".join(self._sampled), forced=False), Spliced(text=forced, forced=True)]
        self._sampled.clear()
        self._waiting = False
        return forced

    def close(self) -> list[str | Call]:
        """The model has ended; what was held back as a possible call is text after all."""
        rest, self._held, self._state = self._held, "", _scan_name
        self._sampled.append(rest)
        return [rest] if rest else []

    def _read(self, text: str, seen: int) -> Iterator[str | Call]:
        """Walks on from `seen` characters of a held call, or from the start of plain text."""
        position = 0
        while True:
            if not self._held:
                start = text.find("[", position)
                if start < 0:
                    yield text[position:]
                    return
                yield text[position:start]
                position, seen, self._state, self._depth = start, start + 1, _scan_name, 0
            outcome, seen = self._scan(text, seen)
            if outcome == "open" and len(text) - position <= MAX_HEAD:
                self._held = text[position:]
                return
            self._held = ""
            call = self._complete(text[position:seen]) if outcome == "done" else None
            if call is not None:
                self._waiting = True
                yield call
                self._sampled.append(text[position:seen])
                return
            yield "["
            position += 1

    def _scan(self, text: str, at: int) -> tuple[str, int]:
        """`open` when a call may still come of it, `done` behind its arrow, `broken` when it is none."""
        end = len(text)
        while at < end:
            step = self._state(self, text[at])
            if step is None:
                return "broken", at
            at += 1
            if step is _DONE:
                return "done", at
            self._state = step
        if self._state is _scan_name and self._names is not None and not self._may_be_named(text):
            return "broken", at
        return "open", at

    def _may_be_named(self, text: str) -> bool:
        written = text[text.rindex("[") + 1 :]
        return any(name.startswith(written) for name in self._names or ())

    def _complete(self, text: str) -> Call | None:
        found = _HEAD.fullmatch(text)
        if found is None or (self._names is not None and found[1] not in self._names):
            return None
        return _call(found)

    def _merged(self, pieces: Iterator[str | Call]) -> list[str | Call]:
        """Neighbouring text in one piece, recorded in the transcript."""
        out: list[str | Call] = []
        for piece in pieces:
            if isinstance(piece, Call):
                out.append(piece)
            elif piece:
                self._sampled.append(piece)
                if out and isinstance(out[-1], str):
                    out[-1] += piece
                else:
                    out.append(piece)
        return out


def _done(reader: InlineReader, char: str) -> Any:  # pragma: no cover - a marker, never called
    raise AssertionError


_DONE = _done


def _scan_name(reader: InlineReader, char: str) -> Any:
    if char in _NAME_REST:
        return _scan_name
    return _scan_arguments if char == "(" else None


def _scan_arguments(reader: InlineReader, char: str) -> Any:
    if char == '"':
        return _scan_string
    if char == ")" and not reader._depth:  # noqa: SLF001 - the states are the reader, split in functions
        return _scan_space
    if char in "[]":
        reader._depth += 1 if char == "[" else -1  # noqa: SLF001
        return _scan_arguments if 0 <= reader._depth <= 1 else None  # noqa: SLF001
    return None if char < " " else _scan_arguments


def _scan_string(_: InlineReader, char: str) -> Any:
    if char == "\\":
        return _scan_escape
    if char < " ":
        return None
    return _scan_arguments if char == '"' else _scan_string


def _scan_escape(_: InlineReader, char: str) -> Any:
    return _scan_string


def _scan_space(_: InlineReader, char: str) -> Any:
    return _scan_dash if char == " " else None


def _scan_dash(_: InlineReader, char: str) -> Any:
    return _scan_arrow if char == "-" else None


def _scan_arrow(_: InlineReader, char: str) -> Any:
    return _DONE if char == ">" else None


_LOOSE = re.compile(rf"\[?\s*({_NAME})\s*\(\s*(.*?)\s*\)\s*(?:->|=>|→|\]|$)", re.ASCII | re.DOTALL)
_LOOSE_ARGUMENT = re.compile(
    r"\s*[\"']?([A-Za-z_][\w.\-]*)[\"']?\s*[=:]\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\[[^\[\]]*\]|[^,\"']+)\s*(?:,|$)", re.ASCII
)


def repair(text: str, operations: Sequence[Operation]) -> Call | None:
    """One attempt at a call that a model without constrained decoding got nearly right (`getX(id: 'a')`, other arrows, no quotes).

    Only operations that exist are seen; the values still go through the usual check. None when it cannot be read without guessing.
    """
    names = {o.name.lower(): o.name for o in operations}
    for found in _LOOSE.finditer(text):
        name = names.get(found[1].lower())
        if name is None:
            continue
        inside, arguments, position = found[2].strip().strip("{}").strip(), {}, 0
        while position < len(inside):
            argument = _LOOSE_ARGUMENT.match(inside, position)
            if argument is None:
                return None
            arguments[argument[1]] = _loose_value(argument[2].strip())
            position = argument.end()
        return Call(name=name, arguments=arguments)
    return None


def _loose_value(raw: str) -> Any:
    if raw[:1] == "'" and raw[-1:] == "'":
        return raw[1:-1].replace("\\'", "'")
    try:
        value = json.loads(raw)
    except ValueError:
        return raw
    return raw if isinstance(value, dict) else value


def _call(found: re.Match[str]) -> Call:
    return Call(name=found[1], arguments={name: json.loads(value) for name, value in _ARGUMENT.findall(found[2])})


def _literal(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(v) for v in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text) if "\\" in text else text
