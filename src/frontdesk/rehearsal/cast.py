"""Who plays: moods with their patience and manner of speaking, names, products, personas. Every draw comes from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontdesk.errors import BadInput
from frontdesk.rehearsal.reading import fields, load_yaml, preset, texts

TRAITS = ("plain", "vague", "contradictory", "mistaken", "rude", "hurried", "off_topic", "hostile")
"""What a persona may do on top of wanting something."""
MOVED = 0.45
"""Treatment has to add up to this much before a mood gives way to the next one."""


@dataclass(frozen=True, kw_only=True)
class Mood:
    """A mood. `temper` runs from -1 (grim) to 1 (sunny); `patience` is how many disappointments it bears."""

    name: str
    patience: int
    temper: float
    manner: str
    opens: tuple[str, ...] = ()
    presses: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Persona:
    """A way of being a customer: traits and, when not any mood will do, the moods it may have."""

    name: str
    about: str = ""
    traits: tuple[str, ...] = ("plain",)
    moods: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Role:
    """One drawn customer. Only values, so that it travels as JSON."""

    name: str
    mood: str
    persona: str
    traits: tuple[str, ...]
    patience: int
    product: str = ""
    agent: str = ""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Everything that can be drawn. `adds` are sentences of a trait; `attacks` and `asides` what hostile and idle customers say."""

    moods: Mapping[str, Mood]
    customers: tuple[str, ...]
    agents: tuple[str, ...]
    personas: Mapping[str, Persona]
    products: tuple[str, ...] = ()
    company: str = ""
    adds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attacks: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()

    def draw(self, rng: random.Random, *, persona: str = "", mood: str = "", product: str = "") -> Role:
        """One customer; what is named is taken as it is. Raises BadInput for an unknown mood or persona."""
        ways = list(self.personas.values())
        way = self.persona(persona) if persona else rng.choices(ways, [p.weight for p in ways])[0]
        feeling = self.mood(mood or rng.choice(way.moods or tuple(self.moods)))
        patience = max(1, feeling.patience - ("hurried" in way.traits) - ("rude" in way.traits))
        return Role(
            name=rng.choice(self.customers),
            mood=feeling.name,
            persona=way.name,
            traits=way.traits,
            patience=patience,
            product=product or (rng.choice(self.products) if self.products else ""),
            agent=rng.choice(self.agents),
        )

    def mood(self, name: str) -> Mood:
        """The mood of that name. Raises BadInput."""
        if name not in self.moods:
            raise BadInput(f"there is no mood {name!r} in this cast: use one of {', '.join(self.moods)}")
        return self.moods[name]

    def persona(self, name: str) -> Persona:
        """The persona of that name. Raises BadInput."""
        if name not in self.personas:
            raise BadInput(f"there is no persona {name!r} in this cast: use one of {', '.join(self.personas)}")
        return self.personas[name]

    def shifted(self, mood: str, shift: float) -> Mood:
        """The mood somebody is in who began in `mood` and was treated so that it moved by `shift`."""
        start = self.mood(mood)
        if abs(shift) < MOVED:
            return start
        wanted = start.temper + shift
        return min(self.moods.values(), key=lambda m: (abs(m.temper - wanted), m.name))


def load_cast(source: str | Path) -> Cast:
    """A cast from a file or a preset's name; what a file leaves out comes from the general cast. Raises BadInput."""
    path = preset(f"{source}/cast.yaml") if isinstance(source, str) else source
    general = preset("cast.yaml")
    base: dict[str, Any] = dict(load_yaml(general))
    allowed = ("moods", "customers", "agents", "personas", "products", "company", "adds", "attacks", "asides")
    given = {k: v for k, v in fields(str(path), load_yaml(path), allowed).items() if v is not None} if path != general else {}
    row = {**base, **given}
    moods = {str(n): _mood(f"{path}: moods: {n}", str(n), m) for n, m in _map(f"{path}: moods", row["moods"]).items()}
    personas = {str(n): _persona(f"{path}: personas: {n}", str(n), p, moods) for n, p in _map(f"{path}: personas", row["personas"]).items()}
    adds = {str(k): texts(f"{path}: adds: {k}", v) for k, v in _map(f"{path}: adds", row.get("adds") or {}).items()}
    for trait in adds:
        _trait(f"{path}: adds", trait)
    return Cast(
        moods=moods,
        personas=personas,
        customers=_some(f"{path}: customers", row["customers"]),
        agents=_some(f"{path}: agents", row["agents"]),
        products=texts(f"{path}: products", row.get("products")),
        company=str(row.get("company") or ""),
        adds=adds,
        attacks=texts(f"{path}: attacks", row.get("attacks")),
        asides=texts(f"{path}: asides", row.get("asides")),
    )


def _mood(place: str, name: str, given: Any) -> Mood:
    row = fields(place, given, ("patience", "temper", "manner", "opens", "presses", "closes", "tails"), required=("patience", "manner"))
    try:
        patience, temper = int(row["patience"]), float(row.get("temper", 0.0))
    except (TypeError, ValueError):
        raise BadInput(f"{place}: patience must be a whole number and temper a number from -1 to 1") from None
    if patience < 1 or not -1.0 <= temper <= 1.0:
        raise BadInput(f"{place}: patience must be at least 1 and temper lie between -1 and 1")
    said = {k: texts(f"{place}: {k}", row.get(k)) for k in ("opens", "presses", "closes", "tails")}
    return Mood(name=name, patience=patience, temper=temper, manner=str(row["manner"]), **said)


def _persona(place: str, name: str, given: Any, moods: Mapping[str, Mood]) -> Persona:
    row = fields(place, given or {}, ("about", "traits", "moods", "weight"))
    traits = texts(f"{place}: traits", row.get("traits")) or ("plain",)
    for trait in traits:
        _trait(place, trait)
    allowed = texts(f"{place}: moods", row.get("moods"))
    for mood in allowed:
        if mood not in moods:
            raise BadInput(f"{place}: there is no mood {mood!r}: use one of {', '.join(moods)}")
    return Persona(name=name, about=str(row.get("about") or ""), traits=traits, moods=allowed, weight=float(row.get("weight", 1.0)))


def _trait(place: str, trait: str) -> None:
    if trait not in TRAITS:
        raise BadInput(f"{place}: there is no trait {trait!r}: use one of {', '.join(TRAITS)}")


def _map(place: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise BadInput(f"{place}: must be a mapping with at least one entry")
    return given


def _some(place: str, given: Any) -> tuple[str, ...]:
    found = texts(place, given)
    if not found:
        raise BadInput(f"{place}: needs at least one name")
    return found
