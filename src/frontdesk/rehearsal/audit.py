"""Whether the played customer behaved: contradicted or invented facts, leaked goals, role slips, repeated lines, broken slots, cross-talk.

A conversation with a fault says nothing about the desk: it is marked and left out of scores.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache

from frontdesk.rehearsal.cast import Cast
from frontdesk.rehearsal.reading import load_yaml, preset, texts
from frontdesk.rehearsal.scenarios import Scenario
from frontdesk.rehearsal.talk import CUSTOMER, FAREWELLS, Line, Talk

_FIGURE = re.compile(r"\w*\d[\w.,:/-]*\w|\d")
_WORD = re.compile(r"[a-z']+")
LEAKED = 6
"""So many words of the goal in a row are a leak."""


def faults(cast: Cast, scenario: Scenario, talk: Talk) -> tuple[str, ...]:
    """The simulator's faults in a conversation, each as `kind: what`."""
    found: list[str] = []
    heard: set[str] = set()
    """Figures of all messages before the one at hand."""
    given = _given(scenario, talk)
    for number, line in enumerate(talk.lines):
        if number and talk.lines[number - 1].role == line.role and line.acts[:1] not in FAREWELLS:
            found.append(f"self-reply: {line.role} spoke twice in a row")
        if line.role == CUSTOMER:
            found += [f"{fault} (message {number + 1})" for fault in _line_faults(cast, scenario, talk, line, heard | given)]
        heard |= figures(line.text)
    found += _repeats(talk)
    found += [f"contradicted fact: {name} is {scenario.known[name]}, said was {value}" for name, value in _contradicted(scenario, talk)]
    return tuple(dict.fromkeys(found))


def slipped(text: str) -> str:
    """The kind of slip that a customer's words show; empty when there is none."""
    return next((f"{kind} slip" if kind == "role" else "leaked goal" for kind, p in _slips() if p.search(text)), "")


def figures(text: str) -> set[str]:
    """Everything in a text that holds a digit, as it stands there."""
    return {f.casefold().strip(".,:") for f in _FIGURE.findall(text)}


@cache
def _slips() -> tuple[tuple[str, re.Pattern[str]], ...]:
    rows: Mapping[str, object] = load_yaml(preset("slips.yaml"))
    return tuple((kind, re.compile(p, re.IGNORECASE)) for kind, patterns in rows.items() for p in texts(kind, patterns))


def _line_faults(cast: Cast, scenario: Scenario, talk: Talk, line: Line, known: Collection[str]) -> Iterator[str]:
    """`known`: every figure that this customer has from the scenario or from an earlier message."""
    for value in (*line.slots, *line.planned):
        if value.casefold() not in line.text.casefold():
            yield f"broken slot: {value!r} is missing"
    if kind := slipped(line.text):
        yield kind
    if _shares_a_run(line.text, scenario.goal) and line.draft != line.text:
        yield "leaked goal"
    for figure in sorted(figures(line.text).difference(known, *map(figures, (line.draft, *line.planned)))):
        yield f"invented fact: {figure}"
    for product in cast.products:
        if product != talk.role.product and product not in scenario.goal and _names(line.text, product) and not _names(line.draft, product):
            yield f"cross-talk: {product}"


def _given(scenario: Scenario, talk: Talk) -> set[str]:
    """The figures of every text from which this customer may take one."""
    own = (scenario.belief, scenario.topic, scenario.goal, talk.role.product, *scenario.known.values(), *scenario.attacks)
    return {figure for text in (*own, *(wording for ask in scenario.asks for wording in ask.say)) for figure in figures(text)}


def _repeats(talk: Talk) -> list[str]:
    said = [" ".join(line.text.casefold().split()) for line in talk.lines if line.role == CUSTOMER]
    return ["repeated line"] if len(set(said)) < len(said) else []


def _contradicted(scenario: Scenario, talk: Talk) -> Iterator[tuple[str, str]]:
    """Details told wrongly and left so: planned slips that were corrected do not count."""
    for name, value in talk.mind.told.items():
        corrected = any(a.kind == "correct" and a.fact == name for a in talk.mind.pending)
        ended = talk.outcome is not None and any(value in line.planned for line in talk.lines)
        if name in scenario.known and value != scenario.known[name] and not corrected and not ended:
            yield name, value


def _shares_a_run(text: str, goal: str) -> bool:
    said, wanted = _WORD.findall(text.casefold()), _WORD.findall(goal.casefold())
    runs = {tuple(said[i : i + LEAKED]) for i in range(len(said) - LEAKED + 1)}
    return any(tuple(wanted[i : i + LEAKED]) in runs for i in range(len(wanted) - LEAKED + 1))


def _names(text: str, product: str) -> bool:
    # The plain look comes first: nearly every line names no product, and this is asked for each line and product.
    return product.casefold() in text.casefold() and re.search(rf"(?<!\w){re.escape(product)}(?!\w)", text, re.IGNORECASE) is not None
