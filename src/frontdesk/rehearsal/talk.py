"""A rehearsed conversation as plain values: who plays, what was said, what the customer has in mind, how it ended. Pure, and JSON both ways.

Every step of a conversation takes a `Talk` and gives another, so that a stream service can run it message by message from its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from frontdesk.rehearsal.cast import Role
from frontdesk.rehearsal.scenarios import Part, Scenario

CUSTOMER, AGENT = "customer", "agent"
CHARS_PER_TOKEN = 4
FAILED = "error"
"""`by` of an agent's line that stands for a turn that failed."""
FAREWELLS = (("close",), ("leave",))
"""Acts of a customer's last word, which nobody answers."""


class Reason(StrEnum):
    """Why a conversation ended."""

    GOAL_REACHED = "goal_reached"
    GAVE_UP = "gave_up"
    HANDED_OVER = "handed_over"
    TURN_BUDGET = "turn_budget"
    TOKEN_BUDGET = "token_budget"  # noqa: S105 - a count of tokens
    TIME_BUDGET = "time_budget"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing to be said: what kind, in which words, with which values that must come through unchanged."""

    kind: str
    text: str
    slots: tuple[str, ...] = ()
    fact: str = ""
    wrong: bool = False
    """A detail given wrongly on purpose, to be corrected later."""


@dataclass(frozen=True, kw_only=True)
class Mind:
    """The agenda: what is still to be said, what was told, how patience and mood stand."""

    pending: tuple[Act, ...] = ()
    asking: int = -1
    """Which of the scenario's asks is being put; -1 before the first."""
    tries: int = 0
    patience: int = 0
    shift: float = 0.0
    told: Mapping[str, str] = field(default_factory=dict)
    met: tuple[int, ...] = ()
    finished: bool = False
    gave_up: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One message. What only a desk can say (route, calls, sources) is empty for a customer, and the other way round."""

    role: str
    text: str
    seconds: float = 0.0
    route: str = ""
    handoff: bool = False
    calls: tuple[Mapping[str, Any], ...] = ()
    cites: tuple[str, ...] = ()
    mood: str = ""
    acts: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    draft: str = ""
    """What the agenda decided; the text may be a model's wording of it."""
    heard: str = ""
    """What the model answered, whether it was used or not; with it a run can be repeated."""
    by: str = "template"
    planned: tuple[str, ...] = ()
    """Values in the text that are wrong on purpose."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it ended, and what the referee saw."""

    reason: Reason
    evidence: str
    reached: bool = False


@dataclass(frozen=True, kw_only=True)
class Talk:
    """One conversation between a played customer and an agent."""

    id: str
    number: int
    seed: str
    scenario: str
    role: Role
    mind: Mind = field(default_factory=Mind)
    lines: tuple[Line, ...] = ()
    agent: Mapping[str, Any] = field(default_factory=dict)
    """The agent speaker's own state."""
    retries: int = 0
    failures: tuple[str, ...] = ()
    """Failed tries, each with what went wrong."""
    outcome: Outcome | None = None

    @property
    def turns(self) -> int:
        """Messages of the customer that wanted an answer."""
        return sum(line.role == CUSTOMER and line.acts[:1] not in FAREWELLS for line in self.lines)

    @property
    def tokens(self) -> int:
        """Estimated tokens of everything said."""
        return sum(-(-len(line.text) // CHARS_PER_TOKEN) for line in self.lines)

    @property
    def seconds(self) -> float:
        """Time both sides took."""
        return sum(line.seconds for line in self.lines)

    @property
    def expects(self) -> str:
        """Whose message is next."""
        return AGENT if self.lines and self.lines[-1].role == CUSTOMER else CUSTOMER

    def said(self, line: Line) -> Talk:
        """The talk with one more message. Raises ValueError when it is the other side's turn: nobody answers himself."""
        if line.role != self.expects:
            raise ValueError(f"{line.role} spoke out of turn in {self.id}")
        return replace(self, lines=(*self.lines, line))


def begin(run: str, part: Part, scenario: Scenario) -> Talk:
    """A conversation before its first word."""
    return Talk(
        id=f"{run}-{part.number}",
        number=part.number,
        seed=part.seed,
        scenario=scenario.id,
        role=part.role,
        mind=Mind(patience=part.role.patience),
    )


def to_plain(talk: Talk) -> dict[str, Any]:
    """The talk as JSON values. Shares what it holds with the talk: to be written, not to be changed."""
    mind = {**vars(talk.mind), "pending": [vars(act) for act in talk.mind.pending]}
    outcome = vars(talk.outcome) if talk.outcome else None
    return {**vars(talk), "role": vars(talk.role), "mind": mind, "lines": [vars(line) for line in talk.lines], "outcome": outcome}


def from_plain(data: Mapping[str, Any]) -> Talk:
    """The talk that `to_plain` wrote."""
    mind = data["mind"]
    outcome = data["outcome"]
    return Talk(
        **{k: data[k] for k in ("id", "number", "seed", "scenario", "agent", "retries")},
        failures=tuple(data["failures"]),
        role=Role(**{**data["role"], "traits": tuple(data["role"]["traits"])}),
        mind=Mind(**{**mind, "pending": tuple(_act(a) for a in mind["pending"]), "met": tuple(mind["met"])}),
        lines=tuple(_line(row) for row in data["lines"]),
        outcome=Outcome(**{**outcome, "reason": Reason(outcome["reason"])}) if outcome else None,
    )


def _act(row: Mapping[str, Any]) -> Act:
    return Act(**{**row, "slots": tuple(row["slots"])})


def _line(row: Mapping[str, Any]) -> Line:
    return Line(**{**row, **{k: tuple(row[k]) for k in ("calls", "cites", "acts", "slots", "planned")}})
