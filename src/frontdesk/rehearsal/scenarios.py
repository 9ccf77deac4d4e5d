"""What customers want: scenarios with a goal, facts they know and do not know, criteria and a budget, read strictly from YAML.

Refuses a scenario without a goal, an unknown mood, a criterion nobody can check, before anything is run.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from frontdesk.domain.conversation import Route
from frontdesk.errors import BadInput
from frontdesk.rehearsal.cast import Cast, Role, load_cast
from frontdesk.rehearsal.reading import Prompt, fields, load_prompt, load_yaml, preset, texts

AGENDA, FREE = "agenda", "free"
"""Kinds of customers: one whose agenda decides what is said, and a language model that runs free, as in the article."""
_SLOT = re.compile(r"\{([\w ]+)\}")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a conversation ends whatever it has reached."""

    turns: int = 12
    tokens: int = 4000
    seconds: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that must have been made, and succeeded; `arguments` are those that matter."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Expect:
    """By what events a wish counts as met. Empty: any answer from a source (faq, knowledge or dynamic)."""

    routes: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    """Any one of these sources."""
    calls: tuple[Call, ...] = ()
    handoff: bool = False

    @property
    def takes_handoff(self) -> bool:
        """Whether being passed on to a person meets the wish."""
        return self.handoff or "handoff" in self.routes


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One thing the customer wants. `say` and its other wordings may hold `{fact}`."""

    say: tuple[str, ...]
    expect: Expect = field(default_factory=Expect)


@dataclass(frozen=True, kw_only=True)
class StateCheck:
    """What the tenant's API must say at the end: a GET, a path of field names, the value there."""

    get: str
    path: str
    equals: Any


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the desk must never do in this conversation."""

    never_calls: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()
    """Texts that must not appear in a reply, in any case."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of customer's wish, and how one can tell that it was met."""

    id: str
    goal: str
    asks: tuple[Ask, ...] = ()
    kind: str = AGENDA
    known: Mapping[str, str] = field(default_factory=dict)
    """Facts the customer has; told when asked for."""
    unknown: tuple[str, ...] = ()
    """Facts the customer does not have and says so."""
    topic: str = ""
    belief: str = ""
    """Something false that a mistaken customer was told."""
    consents: bool = True
    """Whether the customer agrees when the desk asks before it acts."""
    attacks: tuple[str, ...] = ()
    customer: str = ""
    """Signed-in customer's id; empty: anonymous."""
    persona: str = ""
    mood: str = ""
    product: str = ""
    language: str = "en"
    budget: Budget = field(default_factory=Budget)
    state: tuple[StateCheck, ...] = ()
    reset: str = ""
    """Path to POST to at the API's address before this conversation; conversations with one go one at a time."""
    policy: Policy = field(default_factory=Policy)
    handoff: str = "allowed"
    """`expected`, `allowed` or `unjustified`: how a handoff in this conversation is judged."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A rehearsal's text files, read: cast, scenarios, and the prompts of free speakers."""

    cast: Cast
    scenarios: tuple[Scenario, ...]
    customer_prompt: Prompt | None = None
    agent_prompt: Prompt | None = None

    def scenario(self, id: str) -> Scenario:
        """The scenario of that id. Raises BadInput."""
        found = next((s for s in self.scenarios if s.id == id), None)
        if found is None:
            raise BadInput(f"there is no scenario {id!r} in this file: it was changed since the run began; start a new run")
        return found


@dataclass(frozen=True, kw_only=True)
class Part:
    """One conversation as drawn: which scenario, who plays it, and the seed of everything further."""

    number: int
    seed: str
    scenario: str
    role: Role


def draw(script: Script, number: int, seed: int) -> Part:
    """The `number`-th conversation of a run (from 0). Scenarios take turns in an order of the seed's, so that each is repeated equally often."""
    own = f"{seed}:{number}"
    scenario = script.scenarios[_order(len(script.scenarios), seed)[number % len(script.scenarios)]]
    role = script.cast.draw(random.Random(own), persona=scenario.persona, mood=scenario.mood, product=scenario.product)  # noqa: S311 - a draw, no secret
    return Part(number=number, seed=own, scenario=scenario.id, role=role)


@lru_cache(maxsize=8)
def _order(count: int, seed: int) -> list[int]:
    return random.Random(f"{seed}:order").sample(range(count), count)  # noqa: S311 - a draw, no secret


def load_script(source: str | Path) -> Script:
    """A scenario file, or a preset by name. Raises BadInput naming file, scenario and remedy."""
    path = preset(f"{source}/scenarios.yaml") if isinstance(source, str) else source
    return read_script(load_yaml(path), path)


def read_script(given: Any, path: Path) -> Script:
    """A script from what its file holds; other files it names lie beside it."""
    row = {"scenarios": given} if isinstance(given, Sequence) and not isinstance(given, str) else given
    row = fields(str(path), row, ("cast", "scenarios", "customer", "agent", "defaults"), required=("scenarios",))
    if not isinstance(row["scenarios"], Sequence) or isinstance(row["scenarios"], str):
        raise BadInput(f"{path}: scenarios: must be a list of scenarios")
    cast = _cast_of(path, row.get("cast"))
    defaults = dict(fields(f"{path}: defaults", row.get("defaults") or {}, _SCENARIO))
    scenarios = tuple(
        _scenario(f"{path}: scenario {n}", {**defaults, **_mapping(path, n, s)}) for n, s in enumerate(row["scenarios"], start=1)
    )
    for scenario in scenarios:
        _cast_fits(f"{path}: scenario {scenario.id}", scenario, cast)
    ids = [s.id for s in scenarios]
    if twice := next((i for i in ids if ids.count(i) > 1), None):
        raise BadInput(f"{path}: two scenarios are called {twice!r}: give each an id of its own")
    customer, agent = (load_prompt(path.parent / str(row[k])) if row.get(k) else None for k in ("customer", "agent"))
    script = Script(cast=cast, scenarios=scenarios, customer_prompt=customer, agent_prompt=agent)
    if customer is None and any(s.kind == FREE for s in scenarios):
        raise BadInput(f"{path}: a scenario of kind free needs a prompt: name its file under `customer:`")
    for prompt in (customer, agent):
        if prompt is not None:
            prompt.check(VARIABLES)
    return script


def script_to_json(script: Script) -> str:
    """The whole script as JSON text: with it a run can be resumed and judged when the files have changed.

    Text, since a database's JSON forgets the order of names, and draws go by order.
    """
    return TypeAdapter(Script).dump_json(script).decode()


def script_from_json(text: str) -> Script:
    """The script that `script_to_json` wrote."""
    return TypeAdapter(Script).validate_json(text)


VARIABLES = ("history", "input", "mood", "manner", "product", "name", "agent", "company", "goal")
"""What prompt files may ask for."""


def _mapping(path: Path, number: int, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise BadInput(f"{path}: scenario {number}: must be a mapping with id, goal and asks")
    return given


def _cast_of(path: Path, named: Any) -> Cast:
    if not named:
        return load_cast(preset("cast.yaml"))
    beside = path.parent / str(named)
    return load_cast(beside if beside.is_file() else str(named))


def _cast_fits(place: str, scenario: Scenario, cast: Cast) -> None:
    try:
        if scenario.mood:
            cast.mood(scenario.mood)
        if scenario.persona:
            cast.persona(scenario.persona)
    except BadInput as why:
        raise BadInput(f"{place}: {why}") from None


_SCENARIO = ("id", "goal", "asks", "kind", "known", "unknown", "topic", "belief", "consents", "attacks", "customer", "persona", "mood", "product",
             "language", "budget", "state", "reset", "policy", "handoff")  # fmt: skip


def _scenario(place: str, given: Mapping[str, Any]) -> Scenario:
    place = f"{place} ({given['id']})" if given.get("id") else place
    row = fields(place, given, _SCENARIO, required=("id", "goal"))
    kind = str(row.get("kind", AGENDA))
    if kind not in (AGENDA, FREE):
        raise BadInput(f"{place}: kind must be {AGENDA} or {FREE}, not {kind!r}")
    known = {str(k): str(v) for k, v in fields(f"{place}: known", row.get("known") or {}, list(row.get("known") or {})).items()}
    asks = tuple(_ask(f"{place}: asks {n}", a, known) for n, a in enumerate(_list(f"{place}: asks", row.get("asks")), start=1))
    attacks = texts(f"{place}: attacks", row.get("attacks"))
    if kind == AGENDA and not asks and not attacks:
        raise BadInput(f"{place}: has nothing to ask: add `asks` (or `attacks`), or make it `kind: free`")
    handoff = str(row.get("handoff", "allowed"))
    if handoff not in ("expected", "allowed", "unjustified"):
        raise BadInput(f"{place}: handoff must be expected, allowed or unjustified, not {handoff!r}")
    return Scenario(
        id=str(row["id"]),
        goal=" ".join(str(row["goal"]).split()),
        asks=asks,
        kind=kind,
        known=known,
        unknown=texts(f"{place}: unknown", row.get("unknown")),
        belief=str(row.get("belief") or ""),
        consents=bool(row.get("consents", True)),
        attacks=attacks,
        budget=_budget(f"{place}: budget", row.get("budget")),
        state=tuple(_state(f"{place}: state", s) for s in _list(f"{place}: state", row.get("state"))),
        policy=_policy(f"{place}: policy", row.get("policy")),
        handoff=handoff,
        **{name: str(row.get(name) or "") for name in ("topic", "customer", "persona", "mood", "product", "reset")},
        language=str(row.get("language") or "en"),
    )


def _ask(place: str, given: Any, known: Mapping[str, str]) -> Ask:
    row = {"say": given} if isinstance(given, str) else given
    row = fields(place, row, ("say", "expect"), required=("say",))
    said = texts(f"{place}: say", row["say"])
    for wording in said:
        for name in _SLOT.findall(wording):
            if name not in known:
                raise BadInput(f"{place}: {{{name}}} is no fact that this customer knows: add it under `known`")
    return Ask(say=said, expect=_expect(f"{place}: expect", row.get("expect")))


def _expect(place: str, given: Any) -> Expect:
    row = fields(place, given or {}, ("routes", "cites", "calls", "handoff"))
    routes = texts(f"{place}: routes", row.get("routes"))
    for route in routes:
        if route not in set(Route):
            raise BadInput(f"{place}: there is no route {route!r}: use {', '.join(Route)}")
    return Expect(
        routes=routes,
        cites=texts(f"{place}: cites", row.get("cites")),
        calls=tuple(_call(f"{place}: calls", c) for c in _list(f"{place}: calls", row.get("calls"))),
        handoff=bool(row.get("handoff", False)),
    )


def _call(place: str, given: Any) -> Call:
    row = fields(place, {"name": given} if isinstance(given, str) else given, ("name", "arguments"), required=("name",))
    arguments = row.get("arguments") or {}
    return Call(name=str(row["name"]), arguments=dict(fields(f"{place}: arguments", arguments, list(arguments))))


def _budget(place: str, given: Any) -> Budget:
    row = fields(place, given or {}, ("turns", "tokens", "seconds"))
    try:
        found = Budget(**{**dataclasses.asdict(Budget()), **{k: float(v) if k == "seconds" else int(v) for k, v in row.items()}})
    except (TypeError, ValueError):
        raise BadInput(f"{place}: turns, tokens and seconds are numbers") from None
    if min(found.turns, found.tokens, found.seconds) <= 0:
        raise BadInput(f"{place}: turns, tokens and seconds must be above 0")
    return found


def _state(place: str, given: Any) -> StateCheck:
    row = fields(place, given, ("get", "path", "equals"), required=("get", "path"))
    return StateCheck(get=str(row["get"]), path=str(row["path"]), equals=row.get("equals"))


def _policy(place: str, given: Any) -> Policy:
    row = fields(place, given or {}, ("never_calls", "never_says"))
    return Policy(never_calls=texts(place, row.get("never_calls")), never_says=texts(place, row.get("never_says")))


def _list(place: str, given: Any) -> Sequence[Any]:
    if given is None:
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise BadInput(f"{place}: must be a list")
    return given
