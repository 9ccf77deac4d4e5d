"""Draws random sentences from the GBNF that this project writes, to hold grammars against the parser and the schema check."""

from __future__ import annotations

import random
import re

_TOKEN = re.compile(
    r'\s*(?:(?P<literal>"(?:[^"\\]|\\.)*")|(?P<class>\[(?:[^\]\\]|\\.)*\])|(?P<rule>[a-z][a-z0-9]*)|(?P<op>[()|?*]|\{\d+(?:,\d+)?\}))'
)
_UNESCAPED = {"n": "\n", "t": "\t"}


class Sampler:
    def __init__(self, grammar: str, seed: int) -> None:
        self.rules = dict(re.match(r"(\w+) ::= (.*)", line).groups() for line in grammar.strip().split("\n"))  # type: ignore[union-attr]
        self.random = random.Random(seed)

    def draw(self, rule: str = "root") -> str:
        tokens = [(m.lastgroup, m[m.lastgroup]) for m in _TOKEN.finditer(self.rules[rule])]  # type: ignore[index]
        assert "".join(t[1] for t in tokens).replace(" ", "") == self.rules[rule].replace(" ", ""), self.rules[rule]
        text, end = self._alternatives(tokens, 0)
        assert end == len(tokens)
        return text

    def _alternatives(self, tokens, at):  # type: ignore[no-untyped-def]
        options = []
        while True:
            text, at = self._sequence(tokens, at)
            options.append(text)
            if at < len(tokens) and tokens[at][1] == "|":
                at += 1
            else:
                return self.random.choice(options), at

    def _sequence(self, tokens, at):  # type: ignore[no-untyped-def]
        text = ""
        while at < len(tokens) and tokens[at][1] not in ("|", ")"):
            start = at
            if tokens[at][1] == "(":
                _, at = self._alternatives(tokens, at + 1)
            at += 1
            least, most = 1, 1
            if at < len(tokens) and tokens[at][0] == "op" and tokens[at][1][0] in "?*{":
                least, most = {"?": (0, 1), "*": (0, 5)}.get(tokens[at][1]) or self._counts(tokens[at][1])
                at += 1
            for _ in range(self.random.randint(least, min(most, least + 8))):
                text += self._one(tokens, start)
        return text, at

    @staticmethod
    def _counts(text: str) -> tuple[int, int]:
        low, _, high = text[1:-1].partition(",")
        return int(low), int(high or low)

    def _one(self, tokens, at):  # type: ignore[no-untyped-def]
        kind, text = tokens[at]
        if kind == "literal":
            return re.sub(r"\\(.)", lambda m: _UNESCAPED.get(m[1], m[1]), text[1:-1])
        if kind == "rule":
            return self.draw(text)
        if kind == "class":
            return self._char(text[1:-1])
        return self._alternatives(tokens, at + 1)[0]

    def _char(self, inside: str) -> str:
        if inside.startswith("^"):
            return self.random.choice('aZ9 ,.é(-="]' if '"' not in inside else "aZ9 ,.é(-=>)")
        chars = ""
        for low, high, one in re.findall(r"(\w)-(\w)|\\?(.)", inside):
            chars += one or "".join(chr(c) for c in range(ord(low), ord(high) + 1))
        return self.random.choice(chars)
