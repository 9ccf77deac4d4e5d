"""What a rehearsal says about the desk: goals by events and end state, policy, slots, turns, time, reliability over repeats, and comparison.

Conversations in which the simulator was at fault are left out of every score and counted by themselves.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from frontdesk.rehearsal.audit import faults
from frontdesk.rehearsal.cast import Cast
from frontdesk.rehearsal.referee import breaches
from frontdesk.rehearsal.scenarios import Scenario, Script
from frontdesk.rehearsal.talk import AGENT, CUSTOMER, FAILED, Reason, Talk

RESAMPLES = 2000
LOSING = 2
"""Disappointments after which a handoff is justified by itself."""
MOST_REPEATS = 8
"""Largest k of pass^k that is reported."""


class Tone(Protocol):
    """How a text sounds; `score` runs from -1 to 1."""

    @property
    def score(self) -> float: ...


class Sentiment(Protocol):
    """Scores texts, one tone each, as `analytics.sentiment.Sentiment` does."""

    def of(self, texts: Sequence[str]) -> Sequence[Tone]:
        """One tone per text, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """One conversation judged. `passed` needs the goal (or the attack held off) and the policy; times in seconds."""

    number: int
    scenario: str
    seed: str
    """What the customer was drawn by: the same in two runs of the same conversations."""
    reason: str
    passed: bool
    reached: bool
    breaches: tuple[str, ...]
    faults: tuple[str, ...]
    handoff: str
    """`justified`, `unjustified`, `missed`, or empty when there was none and none was due."""
    slots_right: bool | None
    """Whether every call carried the customer's own details; None without such a call."""
    turns: int
    messages: int
    seconds: float
    agent_seconds: tuple[float, ...]
    lines: int
    slot_lines: int
    mood: str
    """The customer's mood at the end."""
    last_words: str
    in_order: bool
    phrased: int


def score(cast: Cast, scenario: Scenario, talk: Talk) -> Score:
    """The judgement of one finished conversation."""
    outcome = talk.outcome
    broken = breaches(scenario.policy, talk.lines)
    handed = any(line.handoff for line in talk.lines)
    handoff = _handoff(scenario, talk, handed)
    attacked = not scenario.asks and bool(scenario.attacks)
    reached = outcome is not None and (outcome.reached or (attacked and outcome.reason is not Reason.ERROR))
    said = [line for line in talk.lines if line.role == CUSTOMER]
    return Score(
        number=talk.number,
        scenario=talk.scenario,
        seed=talk.seed,
        reason=outcome.reason.value if outcome else "",
        passed=reached and not broken and handoff in ("", "justified"),
        reached=reached,
        breaches=broken,
        faults=faults(cast, scenario, talk),
        handoff=handoff,
        slots_right=_slots_right(scenario, talk),
        turns=talk.turns,
        messages=len(talk.lines),
        seconds=talk.seconds,
        agent_seconds=tuple(line.seconds for line in talk.lines if line.role == AGENT and line.by != FAILED),
        lines=len(said),
        slot_lines=sum(bool(line.slots or line.planned) for line in said),
        mood=said[-1].mood if said else talk.role.mood,
        last_words=said[-1].text if said else "",
        in_order=_in_order(talk),
        phrased=sum(line.by == "model" for line in said),
    )


def _handoff(scenario: Scenario, talk: Talk, handed: bool) -> str:
    if not handed:
        return "missed" if scenario.handoff == "expected" else ""
    if scenario.handoff == "expected" or (talk.outcome is not None and talk.outcome.reached):
        return "justified"
    # Allowed: justified when the desk could not answer or the customer was losing patience, not as a first resort.
    losing = talk.mind.tries > 1 or talk.role.patience - talk.mind.patience > LOSING
    return "justified" if scenario.handoff == "allowed" and losing else "unjustified"


def _slots_right(scenario: Scenario, talk: Talk) -> bool | None:
    """Every argument of a call that answers to one of the customer's facts holds that fact's value, in the last call of each name."""
    wanted = {(c.name, k): str(v) for ask in scenario.asks for c in ask.expect.calls for k, v in c.arguments.items()}
    calls = {str(c["name"]): c for line in talk.lines for c in line.calls if not c.get("error")}
    found = [str(calls[name]["arguments"].get(k, "")).casefold() == v.casefold() for (name, k), v in wanted.items() if name in calls]
    return all(found) if found else None


def _in_order(talk: Talk) -> bool:
    return all(line.role == (AGENT if n % 2 else CUSTOMER) for n, line in enumerate(talk.lines[:-1]))


@dataclass(kw_only=True)
class Tally:
    """Scores added up one by one: of a conversation only what a score holds is kept, never its text."""

    scores: list[Score] = field(default_factory=list)

    def add(self, one: Score) -> None:
        """Count one conversation."""
        self.scores.append(one)

    @property
    def clean(self) -> list[Score]:
        """Those without a fault of the simulator."""
        return [s for s in self.scores if not s.faults]

    def summary(self, sentiment: Sentiment | None = None) -> dict[str, Any]:
        """All figures of a run, as plain values."""
        clean, total = self.clean, len(self.scores)
        passed = [s.passed for s in clean]
        times = sorted(t for s in clean for t in s.agent_seconds)
        reasons = {r.value: sum(s.reason == r.value for s in self.scores) for r in Reason}
        slots = [s.slots_right for s in clean if s.slots_right is not None]
        handoffs = [s.handoff for s in clean if s.handoff]
        lines = sum(s.lines for s in self.scores)
        return {
            "conversations": total,
            "judged": len(clean),
            "passed": sum(passed),
            "pass_rate": _share(passed),
            "pass_rate_interval": wilson(sum(passed), len(passed)),
            "goal_reached": _share([s.reached for s in clean]),
            "policy_kept": _share([not s.breaches for s in clean]),
            "slots_right": _share(slots),
            "handoffs_justified": _share([h == "justified" for h in handoffs]),
            "reasons": {k: v for k, v in reasons.items() if v},
            "stuck": sum(not s.reason for s in self.scores),
            "self_replies": sum(not s.in_order for s in self.scores),
            "fault_rate": 1 - len(clean) / total if total else 0.0,
            "faults": _counts(f.split(":")[0].split(" (")[0] for s in self.scores for f in s.faults),
            "turns": float(np.mean([s.turns for s in clean])) if clean else 0.0,
            "messages": sum(s.messages for s in self.scores),
            "seconds_median": _at(times, 0.5),
            "seconds_p95": _at(times, 0.95),
            "phrased_by_model": sum(s.phrased for s in self.scores) / lines if lines else 0.0,
            "moods_at_end": _counts(s.mood for s in clean),
            "sentiment_at_end": _sentiment(sentiment, [s.last_words for s in clean]),
            "reliability": reliability(clean),
            "scenarios": self._by_scenario(clean),
        }

    def _by_scenario(self, clean: Sequence[Score]) -> dict[str, Any]:
        rows: dict[str, list[Score]] = defaultdict(list)
        for one in clean:
            rows[one.scenario].append(one)
        return {
            name: {"judged": len(own), "passed": sum(s.passed for s in own), "turns": float(np.mean([s.turns for s in own]))}
            for name, own in sorted(rows.items())
        }


async def tally(script: Script, talks: AsyncIterable[Talk]) -> Tally:
    """Scores of all talks, read one after another."""
    found = Tally()
    async for talk in talks:
        found.add(score(script.cast, script.scenario(talk.scenario), talk))
    return found


def reliability(scores: Iterable[Score]) -> dict[str, Any]:
    """pass^k: the chance that k repeats of a scenario all pass, averaged over scenarios, with a bootstrap interval over scenarios."""
    rows: dict[str, list[bool]] = defaultdict(list)
    for one in scores:
        rows[one.scenario].append(one.passed)
    found: dict[str, Any] = {}
    for k in range(1, MOST_REPEATS + 1):
        own = [(sum(r), len(r)) for r in rows.values() if len(r) >= k]
        if len(own) < len(rows) or not own:
            break
        shares = np.array([math.comb(c, k) / math.comb(n, k) for c, n in own])
        found[f"pass^{k}"] = {"value": float(shares.mean()), "interval": _bootstrap(shares), "scenarios": len(own)}
    return found


def compare(first: Sequence[Score], second: Sequence[Score]) -> dict[str, Any]:
    """Two runs of the same conversations, pair by pair: which changed, by how much, and whether that may be chance.

    Only pairs in which neither run's simulator was at fault count. `significant` means p below 0.05 by McNemar's exact test.
    """
    from scipy import stats  # a second to load, which every start would pay

    others = {(s.number, s.scenario, s.seed): s for s in second if not s.faults}
    pairs = [(a, others[same]) for a in first if not a.faults and (same := (a.number, a.scenario, a.seed)) in others]
    lost = [a.number for a, b in pairs if a.passed and not b.passed]
    won = [a.number for a, b in pairs if b.passed and not a.passed]
    p = float(stats.binomtest(len(won), len(won) + len(lost), 0.5).pvalue) if won or lost else 1.0
    difference = np.array([float(b.passed) - float(a.passed) for a, b in pairs])
    turns = np.array([float(b.turns - a.turns) for a, b in pairs])
    seconds = np.array([float(b.seconds - a.seconds) for a, b in pairs])
    return {
        "pairs": len(pairs),
        "passed_before": sum(a.passed for a, _ in pairs),
        "passed_after": sum(b.passed for _, b in pairs),
        "newly_passing": won,
        "newly_failing": lost,
        "difference": float(difference.mean()) if pairs else 0.0,
        "difference_interval": _bootstrap(difference),
        "p": p,
        "significant": p < 0.05,
        "turns_difference": float(turns.mean()) if pairs else 0.0,
        "turns_interval": _bootstrap(turns),
        "seconds_difference": float(seconds.mean()) if pairs else 0.0,
        "seconds_interval": _bootstrap(seconds),
    }


def wilson(passed: int, total: int) -> list[float]:
    """95 % interval of a share."""
    if not total:
        return [0.0, 1.0]
    from scipy import stats  # a second to load, which every start would pay

    found = stats.binomtest(passed, total).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]


def _bootstrap(values: Any) -> list[float]:
    """95 % interval of a mean, resampled with a fixed seed."""
    if not len(values):
        return [0.0, 0.0]
    chance = np.random.default_rng(7)
    means = [float(np.mean(chance.choice(values, len(values)))) for _ in range(RESAMPLES)]
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _sentiment(sentiment: Sentiment | None, texts: Sequence[str]) -> float | None:
    if sentiment is None or not texts:
        return None
    return float(np.mean([tone.score for tone in sentiment.of(list(texts))]))


def _share(values: Sequence[Any]) -> float | None:
    return sum(map(bool, values)) / len(values) if values else None


def _counts(names: Iterable[str]) -> Mapping[str, int]:
    found: dict[str, int] = defaultdict(int)
    for name in names:
        found[name] += 1
    return dict(sorted(found.items(), key=lambda x: (-x[1], x[0])))


def _at(times: Sequence[float], share: float) -> float:
    return float(times[min(len(times) - 1, int(share * len(times)))]) if times else 0.0
