"""The resolution ledger: one row per conversation, folded from its events, and the figures that are counted over rows.

A row only holds what happened. What it amounts to (`outcome`) also depends on the time of looking: silence becomes an outcome after a
while, and only then. Silence is never counted as confirmed. Every figure names what it counts and among what, so that it can be
opened down to its conversations; `docs/reference/figures.md` is written from the definitions here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from frontdesk.errors import BadInput

IDLE = timedelta(hours=2)
"""Silence after which a conversation counts as over."""
REHEARSED = "rehearsal"
"""Channel of conversations with AI customers."""
IDLE_REHEARSED = timedelta(minutes=2)
"""The same for those: an AI customer answers within seconds or not at all."""
DAYS = 7
"""Days within which coming back counts as returning."""
HAPPY = 4
"""Rating, of 5, from which a customer counts as satisfied."""


class Outcome(StrEnum):
    """How a conversation ended; exactly one holds."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    VERIFIED = "verified"
    ASSUMED = "assumed"
    UNSOLVED = "unsolved"
    ABANDONED = "abandoned"
    DECLINED = "declined"
    HANDED_OVER = "handed_over"
    NO_REQUEST = "no_request"


MEANING: Mapping[Outcome, str] = {
    Outcome.OPEN: "With the desk, and something happened in it within the last two hours (rehearsed: two minutes). Not judged yet.",
    Outcome.CONFIRMED: "The customer said that it is solved: by the question after the chat or in words. A bare thank-you is not that.",
    Outcome.VERIFIED: "What was asked for was done in the business's own system (a call that acts succeeded), and nothing was open.",
    Outcome.ASSUMED: "The desk answered from a source, and the customer wrote nothing more. Perhaps solved; nobody said so.",
    Outcome.UNSOLVED: "The customer said that it is not solved, and nothing after that took it back.",
    Outcome.ABANDONED: "The customer left while something was open: a question of the desk, no answer found, a failure, no reply at all.",
    Outcome.DECLINED: "The desk refused (not its business, not allowed), and that was the end of it.",
    Outcome.HANDED_OVER: "The conversation went to people, whatever they made of it; those a customer confirmed or denied stand there.",
    Outcome.NO_REQUEST: "Nothing was asked: empty, a greeting, small talk.",
}
RESOLVED = frozenset({Outcome.CONFIRMED, Outcome.VERIFIED, Outcome.ASSUMED})
SETTLED = frozenset(Outcome) - {Outcome.OPEN, Outcome.NO_REQUEST}
"""What rates are taken among: over, and something was asked."""


@dataclass(kw_only=True, slots=True)
class Row:
    """One conversation as counted. Times in UTC, durations in seconds; the names are the columns of the export."""

    conversation: str
    opened_at: datetime
    last_at: datetime
    customer: str | None = None
    channel: str = ""
    first_at: datetime | None = None
    last_customer_at: datetime | None = None
    seq: int = 0
    """The last event that was counted."""
    desk: str = ""
    """Version of the desk that opened it."""
    model: str = ""
    """Language model (or adapter) that phrased last."""
    intent: str = ""
    """What the first real request was about, as the desk recognised it."""
    topic: str = ""
    """The first source or operation that answered: an FAQ question, a document, an operation."""
    messages: int = 0
    replies: int = 0
    agent_messages: int = 0
    answered: int = 0
    """Replies from a source."""
    elicited: int = 0
    refused: int = 0
    gaps: int = 0
    failures: int = 0
    rejected: int = 0
    """Sentences that a guardrail kept back."""
    calls: int = 0
    calls_failed: int = 0
    writes: int = 0
    writes_failed: int = 0
    handoffs: int = 0
    handoff_category: str = ""
    handed_at: datetime | None = None
    """Since when it waits in the queue; None when it does not."""
    claimed_at: datetime | None = None
    """Since when an agent has it; None when none has."""
    queue_seconds: float = 0.0
    human_seconds: float = 0.0
    first_reply_seconds: float | None = None
    first_agent_seconds: float | None = None
    reply_seconds: float = 0.0
    """All waits of the customer for the desk together."""
    waiting_since: datetime | None = None
    """When the message came that nobody answered yet."""
    owner: str = "desk"
    agent: str = ""
    pending: bool = False
    """The desk asked something and the customer has not answered."""
    state: str = ""
    """How the last request stands: answered, asked, gap, refused, failed, done, agent; empty before any."""
    said: str = ""
    """What the customer last said about it: solved, unsolved, solved_before (and then something else), or nothing."""
    rating: int | None = None
    solved: bool | None = None
    """Answer to "did this solve it?"."""
    comment: str = ""
    model_ms: float = 0.0
    tool_ms: float = 0.0
    sampled: int = 0
    """Tokens that the model wrote itself."""
    forced: int = 0
    accepted: int = 0
    """Suggestions that an agent sent as they were."""
    edited: int = 0
    declined: int = 0


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))


def outcome(row: Row, now: datetime, *, idle: timedelta = IDLE) -> Outcome:
    """How the conversation ended, seen from `now`: a table of cases, the first that holds."""
    if row.owner == "desk" and now - row.last_at < (min(idle, IDLE_REHEARSED) if row.channel == REHEARSED else idle):
        return Outcome.OPEN
    if row.solved is False or (row.solved is None and row.said == "unsolved"):
        return Outcome.UNSOLVED
    if row.solved or row.said.startswith("solved"):
        return Outcome.CONFIRMED
    if row.handoffs or row.agent_messages:
        return Outcome.HANDED_OVER
    if row.waiting_since is not None or row.pending or row.state in ("gap", "failed", "asked"):
        return Outcome.ABANDONED
    if row.state == "refused":
        return Outcome.DECLINED
    if not row.state:
        return Outcome.NO_REQUEST
    return Outcome.VERIFIED if row.writes > row.writes_failed else Outcome.ASSUMED


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A row with what depends on the time of looking and on the customer's other conversations."""

    row: Row
    outcome: Outcome
    returned: bool | None
    """Whether the customer opened another conversation within the days; None: not known (anonymous, or the days are not over)."""

    @property
    def settled(self) -> bool:
        """Over, and something was asked."""
        return self.outcome in SETTLED

    @property
    def human(self) -> bool:
        """People took part, or were asked for."""
        return bool(self.row.handoffs or self.row.agent_messages)


Test = Callable[[Seen], bool]
Value = Callable[[Seen], float | None]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure. A share has `counts`; an average or median has `value` and no `counts`."""

    name: str
    title: str
    unit: str
    """share, count, seconds, score, tokens, money."""
    told: str
    """What is counted among what, in one sentence."""
    among: Test
    counts: Test | None = None
    value: Value | None = None
    median: bool = False


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A figure over some rows. `low` and `high` bound a share (Wilson, 95 %)."""

    figure: Figure
    value: float | None
    """None when there is nothing to count among."""
    count: int
    among: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures over some rows."""

    conversations: int
    outcomes: Mapping[str, int]
    readings: Sequence[Reading]

    def __getitem__(self, name: str) -> Reading:
        """The reading of that name."""
        return next(r for r in self.readings if r.figure.name == name)


def _ended(*outcomes: Outcome) -> Test:
    wanted = frozenset(outcomes)
    return lambda s: s.outcome in wanted


def _settled(s: Seen) -> bool:
    return s.settled


def _everything(_: Seen) -> bool:
    return True


def _rate(name: str, title: str, told: str, counts: Test, among: Test = _settled) -> Figure:
    return Figure(name=name, title=title, unit="share", told=told, counts=counts, among=among)


def _average(name: str, title: str, unit: str, told: str, value: Value, *, median: bool = False) -> Figure:
    return Figure(name=name, title=title, unit=unit, told=told, value=value, among=lambda s: value(s) is not None, median=median)


_OF = "of the conversations that are over and asked something"
FIGURES: tuple[Figure, ...] = (
    *(
        _rate(o.value, o.value.replace("_", " ").capitalize(), f"{MEANING[o]} Share {_OF}.", _ended(o))
        for o in Outcome
        if o in SETTLED
    ),
    _rate(
        "returned",
        "Returned",
        "The same customer opened another conversation within the days. Share of the conversations that are over, whose customer is known "
        "and whose days have passed (or who came back already).",
        lambda s: bool(s.returned),
        lambda s: s.settled and s.returned is not None,
    ),
    _rate("containment", "Containment", f"No human took part and none was asked for. Says nothing about solved. Share {_OF}.", lambda s: not s.human),
    _rate(
        "deflection",
        "Deflection",
        f"No human took part, and the outcome is confirmed, verified or assumed. Share {_OF}.",
        lambda s: not s.human and s.outcome in RESOLVED,
    ),
    _rate(
        "proved_resolution",
        "Resolution without assumptions",
        f"Confirmed or verified. Share {_OF}.",
        _ended(Outcome.CONFIRMED, Outcome.VERIFIED),
    ),
    _rate(
        "first_contact",
        "First-contact resolution",
        "Confirmed, verified or assumed, and the customer did not come back within the days. Share of the conversations that are over, whose "
        "customer is known and whose days have passed (or who came back already).",
        lambda s: s.outcome in RESOLVED and s.returned is False,
        lambda s: s.settled and s.returned is not None,
    ),
    _rate(
        "satisfaction",
        "CSAT",
        f"The customer gave {HAPPY} or 5 of 5. Share of the conversations that were rated; see how many that is.",
        lambda s: (s.row.rating or 0) >= HAPPY,
        lambda s: s.row.rating is not None,
    ),
    _rate("rated", "Answered the survey", "The customer gave a rating. Share of the conversations with a message.", lambda s: s.row.rating is not None, lambda s: s.row.messages > 0),
    _rate("gap_rate", "Knowledge gaps", f"At least one question had no answer in any source. Share {_OF}.", lambda s: s.row.gaps > 0),
    _rate("failed", "Failures", f"At least one turn ended in a failure of the desk. Share {_OF}.", lambda s: s.row.failures > 0),
    _average("rating", "Average rating", "score", "Mean of the ratings, 1 to 5.", lambda s: float(s.row.rating) if s.row.rating else None),
    _average("first_response", "First response", "seconds", "Median wait from a customer's first message to the first reply, of the desk or a human.", lambda s: s.row.first_reply_seconds, median=True),
    _average("response", "Response", "seconds", "Mean wait for a reply of the desk, per conversation.", lambda s: s.row.reply_seconds / s.row.replies if s.row.replies else None),
    _average("queue", "Wait for a human", "seconds", "Median time in the queue of conversations that an agent took.", lambda s: s.row.queue_seconds if s.row.handoffs and s.row.human_seconds else None, median=True),
    _average("handle_time", "Handle time (human)", "seconds", "Mean time that agents had a conversation, from claiming it to giving it back or closing it.", lambda s: s.row.human_seconds or None),
    _average("duration", "Duration", "seconds", "Median time from the first to the last event of a conversation with a message.", lambda s: (s.row.last_at - s.row.first_at).total_seconds() if s.row.first_at and s.row.messages else None, median=True),
    _average("messages", "Messages", "count", "Mean number of a customer's messages in a conversation.", lambda s: float(s.row.messages) if s.row.messages else None),
    _average("model_seconds", "Model time", "seconds", "Mean seconds of the language model in a conversation with a message.", lambda s: s.row.model_ms / 1000 if s.row.messages else None),
    _average("tool_seconds", "Tool time", "seconds", "Mean seconds of calls to the business's API in a conversation with a message.", lambda s: s.row.tool_ms / 1000 if s.row.messages else None),
    _average("tokens", "Tokens", "tokens", "Mean tokens that the language model wrote in a conversation with a message.", lambda s: float(s.row.sampled) if s.row.messages else None),
    _rate(
        "suggestions_used",
        "Suggestions used",
        "An agent sent a suggestion, as it was or edited. Share of the conversations in which an agent dealt with one.",
        lambda s: s.row.accepted + s.row.edited > 0,
        lambda s: s.row.accepted + s.row.edited + s.row.declined > 0,
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Figure] = {f.name: f for f in FIGURES}


def figure(name: str) -> Figure:
    """The figure of that name. Raises BadInput with the names there are."""
    if name not in BY_NAME:
        raise BadInput(f"there is no figure {name[:60]!r}: choose from {', '.join(BY_NAME)}")
    return BY_NAME[name]


def seen(rows: Iterable[Row], *, now: datetime, days: int = DAYS, later: Iterable[Row] = (), idle: timedelta = IDLE) -> list[Seen]:
    """Rows as they stand at `now`, in the order given. `later`: rows after the period, needed to see who came back."""
    rows = list(rows)
    visits: dict[str, list[tuple[datetime, str]]] = {}
    for row in {r.conversation: r for r in (*rows, *later)}.values():
        if row.customer is not None:
            visits.setdefault(row.customer, []).append((row.opened_at, row.conversation))
    following: dict[str, datetime] = {}
    for opened in visits.values():
        opened.sort()
        following.update({this[1]: following_[0] for this, following_ in pairwise(opened)})
    within = timedelta(days=days)
    return [
        Seen(row=r, outcome=outcome(r, now, idle=idle), returned=_returned(r, following.get(r.conversation), now, within)) for r in rows
    ]


def _returned(row: Row, again: datetime | None, now: datetime, within: timedelta) -> bool | None:
    if row.customer is None:
        return None
    if again is not None and again - row.last_at <= within:
        return True
    return False if now - row.last_at > within else None


def read(figure: Figure, rows: Sequence[Seen]) -> Reading:
    """One figure over some rows."""
    among = [s for s in rows if figure.among(s)]
    if figure.counts is not None:
        count = sum(map(figure.counts, among))
        if not among:
            return Reading(figure=figure, value=None, count=0, among=0)
        low, high = wilson(count, len(among))
        return Reading(figure=figure, value=count / len(among), count=count, among=len(among), low=low, high=high)
    assert figure.value is not None  # noqa: S101 - a figure counts or measures
    values = sorted(v for s in among if (v := figure.value(s)) is not None)
    if not values:
        return Reading(figure=figure, value=None, count=0, among=0)
    middle = len(values) // 2
    value = (
        (values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2) if figure.median else sum(values) / len(values)
    )
    return Reading(figure=figure, value=value, count=len(values), among=len(values))


def figures(rows: Sequence[Seen]) -> Report:
    """Every figure over some rows."""
    outcomes = dict.fromkeys((o.value for o in Outcome), 0)
    for s in rows:
        outcomes[s.outcome.value] += 1
    return Report(conversations=len(rows), outcomes=outcomes, readings=[read(f, rows) for f in FIGURES])


def behind(figure: Figure, rows: Sequence[Seen], *, counted: bool = True) -> list[Seen]:
    """The conversations that a figure counts, or (`counted=False`) those it is taken among, the newest first."""
    chosen = [s for s in rows if figure.among(s) and (not counted or figure.counts is None or figure.counts(s))]
    return sorted(chosen, key=lambda s: s.row.opened_at, reverse=True)


def series(figure: Figure, rows: Sequence[Seen], *, bucket: timedelta) -> list[tuple[datetime, Reading]]:
    """The figure over time, by when conversations were opened; buckets begin at whole multiples since 1970 (UTC). Empty ones are left out."""
    if bucket < timedelta(minutes=1):
        raise BadInput("a series needs buckets of at least a minute: give a longer one")
    parts: dict[int, list[Seen]] = {}
    for s in rows:
        parts.setdefault(int(s.row.opened_at.timestamp() // bucket.total_seconds()), []).append(s)
    return [(datetime.fromtimestamp(n * bucket.total_seconds(), UTC), read(figure, parts[n])) for n in sorted(parts)]


def wilson(count: int, among: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of a share, honest for small numbers too. Source: Wilson 1927."""
    if among <= 0:
        return 0.0, 1.0
    share = count / among
    middle = (share + z * z / (2 * among)) / (1 + z * z / among)
    half = z / (1 + z * z / among) * math.sqrt(share * (1 - share) / among + z * z / (4 * among * among))
    return max(0.0, middle - half), min(1.0, middle + half)


def cost(row: Row, budget: Mapping[str, Any]) -> float | None:
    """What the model cost in this conversation, in the tenant's money: `budget: {per_million_tokens: ..., per_model_hour: ...}`; None unset."""
    tokens, hour = budget.get("per_million_tokens"), budget.get("per_model_hour")
    if tokens is None and hour is None:
        return None
    return float(tokens or 0) * row.sampled / 1e6 + float(hour or 0) * row.model_ms / 3.6e6
