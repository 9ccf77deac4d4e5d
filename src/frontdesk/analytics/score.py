"""Scores of conversations: a rubric of criteria, each with its evidence and reason. By rules over events; a judge model where one is set.

A criterion that a conversation gives no occasion for has no value and counts for nothing. What is read is what happened: calls and their
results, what was asked again, what a reply's figures rest on, whether a yes came before an act. A language model may judge instead; either
is only as good as people's labels show it to be (`calibrate`).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from frontdesk.analytics.criteria import CRITERIA, MEANING, Evidence, Mark, Talk, said_in
from frontdesk.analytics.metrics import wilson
from frontdesk.analytics.sentiment import Sentiment
from frontdesk.analytics.summary import evidence
from frontdesk.domain.conversation import ConversationId, Speaker
from frontdesk.domain.events import AgentReplied, Event, MessageReceived, Recorded, ReplySent, ToolCalled, kind_of, kinds
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadInput, Unavailable
from frontdesk.models.protocols import ChatRequest, LanguageModel, complete

__all__ = [
    "CRITERIA",
    "MEANING",
    "Calibration",
    "Cut",
    "Evidence",
    "Flag",
    "Mark",
    "Rubric",
    "Score",
    "better_cut",
    "calibrate",
    "flags_in",
    "judge",
    "rubric_of",
    "score",
    "transcript",
]

PASS = 0.85
"""Total from which a conversation passes: with the shipped weights, one whose question nobody answered does not."""
READ = 4000
"""Events of one conversation that are judged, the newest."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A conversation's score. `total` in [0, 1], the weighted mean of what had occasion; None: nothing had."""

    conversation: ConversationId
    seq: int
    rubric: str
    judge: str
    total: float | None
    passed: bool | None
    marks: tuple[Mark, ...]
    flags: tuple[str, ...] = ()

    def criteria(self) -> list[dict[str, Any]]:
        """The marks as JSON values."""
        return [asdict(mark) for mark in self.marks]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Something to look out for: an event of a kind, or words of a speaker."""

    name: str
    event: str = ""
    speaker: str = ""
    says: str = ""
    """Regular expression, any case."""


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What is judged, with what weight, and from where on it passes."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    passes: float = PASS
    flags: tuple[Flag, ...] = ()
    judge: str = "rules"
    """rules or model."""

    @property
    def id(self) -> str:
        """Changes with everything that changes a score."""
        said = json.dumps([sorted(self.weights.items()), self.passes, [asdict(f) for f in self.flags], self.judge, VERSION], sort_keys=True)
        return f"{self.judge}-{_digest(said)}"


VERSION = 2
WEIGHTS: Mapping[str, float] = {
    "communication": 1.0,
    "question_handling": 2.0,
    "forward_motion": 3.0,
    "accuracy": 1.0,
    "policy": 3.0,
    "empathy": 1.0,
    "closing": 0.5,
}


def rubric_of(tenant: Tenant | None) -> Rubric:
    """The rubric in a tenant's `scoring:` section. Raises BadInput with what to change."""
    given = dict(tenant.scoring) if tenant is not None else {}
    where = f"{tenant.id}: scoring" if tenant is not None else "scoring"
    unknown = set(given) - {"pass", "criteria", "flags", "judge"}
    if unknown:
        raise BadInput(f"{where} has the unknown key {sorted(unknown)[0]!r}: use pass, criteria, flags or judge")
    weights = dict(WEIGHTS)
    criteria = given.get("criteria") or {}
    if not isinstance(criteria, Mapping):
        raise BadInput(f"{where}.criteria must be a mapping: write `accuracy: 3` lines below it")
    for name, weight in criteria.items():
        if name not in WEIGHTS:
            raise BadInput(f"{where}.criteria has the unknown criterion {name!r}: choose from {', '.join(WEIGHTS)}")
        if weight is False:
            weight = 0.0
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
            raise BadInput(f"{where}.criteria.{name} must be a weight of 0 or more, or false to leave it out")
        weights[name] = float(weight)
    if not any(weights.values()):
        raise BadInput(f"{where}.criteria leaves nothing to judge: keep at least one criterion")
    passes, judge = given.get("pass", PASS), given.get("judge", "rules")
    if isinstance(passes, bool) or not isinstance(passes, (int, float)) or not 0 < passes <= 1:
        raise BadInput(f"{where}.pass must be above 0 and at most 1, such as 0.7")
    if judge not in ("rules", "model"):
        raise BadInput(f"{where}.judge must be rules or model")
    return Rubric(weights=weights, passes=float(passes), flags=tuple(_flag(f, where) for f in given.get("flags") or ()), judge=judge)


def score(events: Iterable[Recorded], rubric: Rubric | None = None, *, sentiment: Sentiment | None = None, known: str = "") -> Score:
    """The score of one conversation's events (in order), by rules. `sentiment`: hears who is upset; None: without empathy.

    `known`: text that whoever answered worked from and no event quotes, such as the policy that agents have before them; its figures have a source.
    """
    rubric = rubric or Rubric()
    told = list(events)[-READ:]
    talk = Talk(told, sentiment, known)
    marks = tuple(replace(check(talk), weight=weight) for name, check in CRITERIA.items() if (weight := rubric.weights.get(name, 0.0)) > 0)
    return _total(told, marks, rubric, "rules", flags_in(told, rubric.flags))


async def judge(
    events: Sequence[Recorded], model: LanguageModel, rubric: Rubric | None = None, *, sentiment: Sentiment | None = None
) -> Score:
    """The score by a language model, criterion by criterion; where it does not answer in form, the rule stands. Evidence stays the rules'."""
    rubric = rubric or Rubric()
    ruled = score(events, rubric, sentiment=sentiment)
    told = transcript(events)
    marks = []
    for mark in ruled.marks:
        marks.append(await _judged(mark, told, model) if mark.value is not None else mark)
    return _total(list(events), tuple(marks), rubric, f"model:{model.name}", ruled.flags)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share with bounds (95 %)."""

    value: float
    low: float
    high: float
    count: int
    among: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The total from which conversations would have to pass to fit people's labels best. Chosen on the labels it is shown with."""

    passes: float
    false_pass: Rate
    false_fail: Rate


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A judge held against people's labels, and what that makes of the share it passes."""

    labelled: int
    false_pass: Rate | None
    """Of the conversations that people fail, the share that the judge passes."""
    false_fail: Rate | None
    """Of the conversations that people pass, the share that the judge fails."""
    apparent: Rate | None
    """The share that the judge passes, of all it judged."""
    corrected: Rate | None
    """The share that people would pass; None while the judge is no better than a coin, or too little is labelled."""
    advice: str = ""
    cut: Cut | None = None
    """A better total to pass from, where the labels know one."""


ENOUGH = 50
"""Labels from which a correction is worth something."""
DRAWS = 2000
WORTH_SAYING = 0.1
"""Gain (share told apart) from which another total to pass from is worth a change of the rubric."""


def calibrate(labels: Sequence[tuple[bool, bool]], judged: Sequence[bool], *, seed: int = 7) -> Calibration:
    """`labels`: (what a person says, what the judge says) of conversations drawn by lot; `judged`: what the judge says of all.

    The correction is Rogan and Gladen's (1978): (apparent - false_pass) / (1 - false_fail - false_pass), its interval by drawing
    labels and verdicts again with replacement.
    """
    good, bad = [j for p, j in labels if p], [j for p, j in labels if not p]
    false_pass = _rate(sum(bad), len(bad))
    false_fail = _rate(sum(not j for j in good), len(good))
    apparent = _rate(sum(judged), len(judged))
    corrected, advice = None, ""
    if len(labels) < ENOUGH:
        advice = f"Label {ENOUGH - len(labels)} more conversations, drawn by lot, for a correction that means something."
    if not good or not bad:
        advice = f"All labels say {'passed' if good else 'failed'}: label on until both kinds are there." if labels else advice
    elif apparent is not None and false_pass is not None and false_fail is not None:
        if 1 - false_fail.value - false_pass.value <= 0.05:
            advice = advice or "The judge is hardly better than a coin on these labels: change the rubric before its figures are used."
        else:
            corrected = _corrected(good, bad, list(judged), apparent, random.Random(seed))  # noqa: S311 - a repeatable interval, nothing secret
    return Calibration(
        labelled=len(labels), false_pass=false_pass, false_fail=false_fail, apparent=apparent, corrected=corrected, advice=advice
    )


def better_cut(labels: Sequence[tuple[bool, float]], passes: float) -> Cut | None:
    """`labels`: (what a person says, the judge's total). None with too few labels, with one kind only, or where `passes` does as well."""
    good, bad = [t for p, t in labels if p], [t for p, t in labels if not p]
    if len(labels) < ENOUGH or not good or not bad:
        return None

    def worth(cut: float) -> float:
        return sum(t >= cut for t in good) / len(good) - sum(t >= cut for t in bad) / len(bad)

    best = max((n / 100 for n in range(1, 101)), key=lambda cut: (worth(cut), -cut))
    false_pass, false_fail = _rate(sum(t >= best for t in bad), len(bad)), _rate(sum(t < best for t in good), len(good))
    if false_pass is None or false_fail is None or worth(best) - worth(passes) < WORTH_SAYING:
        return None
    return Cut(passes=best, false_pass=false_pass, false_fail=false_fail)


def _corrected(good: Sequence[bool], bad: Sequence[bool], judged: Sequence[bool], apparent: Rate, rng: random.Random) -> Rate:
    def share(passed: float, right: float, wrong: float) -> float | None:
        worth = right - wrong
        return min(1.0, max(0.0, (passed - wrong) / worth)) if worth > 0.02 else None

    def again(values: Sequence[bool]) -> float:
        # The number of yeses when as many are drawn again is binomial; for large numbers a normal draw is as good and quick.
        p, n = sum(values) / len(values), len(values)
        if n > 500:
            return min(1.0, max(0.0, rng.gauss(p, (p * (1 - p) / n) ** 0.5)))
        return sum(rng.random() < p for _ in range(n)) / n

    drawn = [share(again(judged), again(good), again(bad)) for _ in range(DRAWS)]
    kept = sorted(d for d in drawn if d is not None)
    value = share(apparent.value, sum(good) / len(good), sum(bad) / len(bad)) or 0.0
    low, high = (kept[int(0.025 * len(kept))], kept[int(0.975 * len(kept)) - 1]) if kept else (0.0, 1.0)
    return Rate(value=value, low=min(low, value), high=max(high, value), count=apparent.count, among=apparent.among)


def _rate(count: int, among: int) -> Rate | None:
    if not among:
        return None
    low, high = wilson(count, among)
    return Rate(value=count / among, low=low, high=high, count=count, among=among)


def flags_in(events: Iterable[Recorded], flags: Sequence[Flag]) -> tuple[str, ...]:
    """The names of the flags that a conversation raises."""
    told = list(events)
    return tuple(f.name for f in flags if any(_raises(f, r.event) for r in told))


def transcript(events: Iterable[Recorded], limit: int = 6000) -> str:
    """Who said what and what was called, one line each; the newest when it is too long."""
    lines = []
    for recorded in events:
        match recorded.event:
            case MessageReceived(text=text):
                lines.append(f"Customer: {' '.join(text.split())}")
            case ReplySent(text=text):
                lines.append(f"Desk: {' '.join(text.split())}")
            case AgentReplied(text=text, agent=agent):
                lines.append(f"Agent {agent}: {' '.join(text.split())}")
            case ToolCalled(call=call):
                lines.append(f"Call: {call.name} {'failed' if call.error else 'ok'}")
    return "\n".join(lines)[-limit:]


def _total(events: Sequence[Recorded], marks: tuple[Mark, ...], rubric: Rubric, judge: str, flags: tuple[str, ...]) -> Score:
    counted = [(m.value, m.weight) for m in marks if m.value is not None]
    weight = sum(w for _, w in counted)
    total = round(sum(v * w for v, w in counted) / weight, 4) if weight else None
    return Score(
        conversation=events[0].conversation if events else ConversationId(""),
        seq=events[-1].seq if events else 0,
        rubric=rubric.id,
        judge=judge,
        total=total,
        passed=None if total is None else total >= rubric.passes,
        marks=marks,
        flags=flags,
    )


async def _judged(mark: Mark, told: str, model: LanguageModel) -> Mark:
    schema = {
        "type": "object",
        "properties": {"points": {"type": "integer", "minimum": 0, "maximum": 4}, "reason": {"type": "string", "maxLength": 200}},
        "required": ["points", "reason"],
    }
    asked = f"Judge one criterion of a support conversation: {MEANING[mark.name]} Give 0 (not at all) to 4 (fully) points and a reason in one sentence."
    messages = [{"role": "system", "content": asked}, {"role": "user", "content": told}]
    try:
        said = json.loads(await complete(model, ChatRequest(messages=messages, max_tokens=120, json_schema=schema)))
        points, reason = int(said["points"]), str(said["reason"])[:200]
    except (ValueError, KeyError, TypeError, Unavailable):
        return mark
    return replace(mark, value=max(0, min(4, points)) / 4, reason=reason)


def _flag(given: Any, where: str) -> Flag:
    if not isinstance(given, Mapping) or not given.get("name"):
        raise BadInput(f"{where}.flags: each needs a name; write `- name: refund` and `says:` or `event:` below it")
    unknown = set(given) - {"name", "event", "speaker", "says"}
    if unknown:
        raise BadInput(f"{where}.flags.{given['name']} has the unknown key {sorted(unknown)[0]!r}: use event, speaker or says")
    made = Flag(**{k: str(v) for k, v in given.items()})
    if not made.event and not made.says:
        raise BadInput(f"{where}.flags.{made.name} never holds: add `says:` (words) or `event:` (a kind of event)")
    if made.event and made.event not in kinds():
        raise BadInput(f"{where}.flags.{made.name}: there is no event {made.event!r}; see the reference of events")
    if made.speaker not in ("", *(s.value for s in Speaker)):
        raise BadInput(f"{where}.flags.{made.name}: speaker must be customer, desk or agent")
    try:
        re.compile(made.says)
    except re.error as e:
        raise BadInput(f"{where}.flags.{made.name}: says is no regular expression ({e}): correct it") from None
    return made


def _raises(flag: Flag, event: Event) -> bool:
    if flag.event and kind_of(event) != flag.event:
        return False
    if not flag.says:
        return True
    said = said_in(event, 0, 0)
    text, speaker = (said.text, said.speaker.value) if said is not None else (evidence(event), "")
    return (not flag.speaker or flag.speaker == speaker) and re.search(flag.says, text[:4000], re.IGNORECASE) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
