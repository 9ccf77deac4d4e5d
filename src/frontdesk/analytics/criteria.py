"""What the rules of a rubric look at: each criterion reads a conversation's events and says how well it does, why, and where.

What happened is read, not what was meant. Whether an act was allowed stands in no event, so acting costs certainty: a conversation in
which nothing was done to anybody's records can be scored surely, one with five bookings cannot. A criterion without occasion has no value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from frontdesk.analytics.grounds import Grounds, count
from frontdesk.analytics.sentiment import Sentiment
from frontdesk.analytics.summary import evidence, turn_numbers
from frontdesk.analytics.words import says
from frontdesk.domain.conversation import Route, Speaker
from frontdesk.domain.events import (
    AgentReplied,
    DraftRejected,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    Recorded,
    ReplySent,
    SlotRequested,
    ToolCalled,
    TurnFailed,
)

UPSET = -0.35
"""Tone of a message from which a word of understanding is due."""
ACT = 0.15
"""What an act costs in certainty."""
FEW = 8
"""One odd figure among few says less than the share would; so many are added to those there are."""
EASY_MESSAGES, EASY_CALLS, EASY_READING = 4, 6, 1500
"""Messages, calls and characters to read up to which nothing is lost."""
_WORD = re.compile(r"[a-zà-ÿ]{4,}")
_YES = re.compile(
    r"\b(yes|yeah|yep|sure|ok(ay)?|please do|go ahead|confirm\w*|proceed|correct|right|do it|sounds good|ja|oui|sí|si|agree)\b",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"\bthank|\bthanks\b|\b(?:that's|that is|that was|that will be) (?:all|everything)\b|\b(?:good ?bye|bye|take care)\b|\bdanke\b|\bmerci\b|\bgracias\b|\bbedankt\b",
    re.IGNORECASE,
)
_WANTS_HUMAN = re.compile(
    r"\b(?:(?:speak|talk|transfer|connect|pass|put)\w*\b[^.?!]{0,30}\b(?:human|person|agent|representative|somebody|someone|supervisor|manager)|real person|human agent)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where a criterion's value comes from. `turn` from 1, 0: none."""

    turn: int
    quote: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One criterion of one conversation. `value` in [0, 1]; None: no occasion."""

    name: str
    value: float | None
    reason: str
    evidence: tuple[Evidence, ...] = ()
    weight: float = 1.0


# --- the conversation as the rules read it ---


@dataclass(frozen=True, kw_only=True)
class Said:
    turn: int
    speaker: Speaker
    text: str
    place: int
    """Index of the event."""
    route: Route | None = None


class Talk:
    def __init__(self, events: Sequence[Recorded], sentiment: Sentiment | None, known: str = "") -> None:
        self.events = events
        self.known = known
        numbers = turn_numbers(events)
        self.turn = [numbers.get(r.turn, 0) for r in events]
        self.said = [s for i, r in enumerate(events) if (s := said_in(r.event, i, self.turn[i])) is not None]
        self.asked = [s for s in self.said if s.speaker is Speaker.CUSTOMER]
        self.told = [s for s in self.said if s.speaker is not Speaker.CUSTOMER]
        self.calls = [(i, r.event) for i, r in enumerate(events) if isinstance(r.event, ToolCalled)]
        tones = sentiment.of([s.text for s in self.asked]) if sentiment is not None and self.asked else []
        self.tones = [t.score for t in tones]
        small = {self.turn[i] for i, r in enumerate(events) if isinstance(r.event, IntentRecognized) and r.event.route is Route.SMALLTALK}
        self.requests = [s for s in self.asked if s.turn not in small and len(_WORD.findall(s.text.lower())) > 1 and not _is_reply(s.text)]

    def of(self, *kinds_: type[Event]) -> list[int]:
        return [i for i, r in enumerate(self.events) if isinstance(r.event, kinds_)]

    def show(self, place: int, quote: str) -> Evidence:
        return Evidence(turn=self.turn[place], quote=" ".join(quote.split())[:200])


def said_in(event: Event, place: int, turn: int) -> Said | None:
    match event:
        case MessageReceived():
            return Said(turn=turn, speaker=Speaker.CUSTOMER, text=event.text, place=place)
        case ReplySent():
            return Said(turn=turn, speaker=Speaker.DESK, text=event.text, place=place, route=event.route)
        case AgentReplied():
            return Said(turn=turn, speaker=Speaker.AGENT, text=event.text, place=place)
    return None


def _is_reply(text: str) -> bool:
    """A yes, a thank-you, a goodbye: not a request of its own."""
    if "?" in text:
        return False
    return (len(text) < 60 and bool(_YES.search(text))) or (len(text) < 200 and bool(_THANKS.search(text)) and not _ORDER.search(text))


# --- criteria: each reads a conversation and says how well it does, why, and where ---


def _communication(talk: Talk) -> Mark:
    if not talk.asked:
        return Mark(name="communication", value=None, reason="The customer said nothing.")
    found: list[tuple[float, str, Evidence]] = []
    silent = [s for s in talk.asked if not any(t.place > s.place for t in talk.told) and not _is_reply(s.text) and not talk.of(HandedOff)]
    found += [(0.5, "a message got no reply", talk.show(s.place, s.text)) for s in silent[:1]]
    found += [(0.25, "a reply repeats the one before", talk.show(b.place, b.text)) for a, b in pairwise(talk.told) if _same(a.text, b.text)]
    read = sum(len(t.text) for t in talk.told)
    if read > EASY_READING:
        found.append(
            (
                min(0.4, 0.15 * (read / EASY_READING - 1)),
                "the customer has much to read",
                talk.show(talk.told[-1].place, talk.told[-1].text),
            )
        )
    found += [
        (0.4, "a reply blames the customer", talk.show(t.place, w))
        for t in talk.told
        if (w := says("blame", t.text) or says("insult", t.text))
    ]
    found += [(0.3, "a turn failed", talk.show(i, "the desk failed to answer")) for i in talk.of(TurnFailed)]
    return _less("communication", found, "Every message got a reply of its own.")


def _question_handling(talk: Talk) -> Mark:
    if not talk.requests:
        return Mark(name="question_handling", value=None, reason="Nothing was asked.")
    found: list[tuple[float, str, Evidence]] = []
    share = 1.0 / len(talk.requests)
    found += [
        (max(0.35, share), "no source answered", talk.show(i, getattr(talk.events[i].event, "question", "")))
        for i in talk.of(KnowledgeGapFound)
    ]
    found += [
        (0.35, "the customer says that it is not the answer", talk.show(s.place, w)) for s in talk.asked if (w := says("unsolved", s.text))
    ]
    found += [
        (0.25, "the customer has to ask again", talk.show(b.place, b.text))
        for a, b in pairwise(talk.requests)
        if _alike(a.text, b.text) > 0.75
    ]
    return _less("question_handling", found, "What was asked was answered.")


def _forward_motion(talk: Talk) -> Mark:
    if not talk.told:
        return Mark(name="forward_motion", value=None, reason="Nobody answered.")
    found: list[tuple[float, str, Evidence]] = []
    found += [(0.2, f"{c.call.name} failed", talk.show(i, c.call.error or "")) for i, c in talk.calls if c.call.error is not None]
    seen: Counter[str] = Counter()
    for i, c in talk.calls:
        made = f"{c.call.name} {json.dumps(c.call.arguments, sort_keys=True, default=str)}"
        if seen[made]:
            found.append((0.1, f"{c.call.name} was called again in the same way", talk.show(i, made)))
        seen[made] += 1
    asked = Counter(
        e.pending.slot or e.pending.question for i in talk.of(SlotRequested) if isinstance(e := talk.events[i].event, SlotRequested)
    )
    found += [(0.2, f"{slot} was asked for {n} times", Evidence(turn=0, quote=slot)) for slot, n in asked.items() if n > 1]
    if len(talk.asked) > EASY_MESSAGES:
        found.append(
            (
                min(0.4, 0.05 * (len(talk.asked) - EASY_MESSAGES)),
                f"it took {len(talk.asked)} messages",
                Evidence(turn=talk.asked[-1].turn, quote=""),
            )
        )
    if len(talk.calls) > EASY_CALLS:
        found.append((min(0.3, 0.03 * (len(talk.calls) - EASY_CALLS)), f"it took {len(talk.calls)} calls", Evidence(turn=0, quote="")))
    return _less("forward_motion", found, "Every step got closer.")


def _accuracy(talk: Talk) -> Mark:
    grounds = Grounds()
    grounds.learn(talk.known)
    found: list[tuple[str, Evidence]] = []
    figures = 0
    for i, recorded in enumerate(talk.events):
        event = recorded.event
        if isinstance(event, ToolCalled) and event.writes and event.call.error is None:
            given = [(n, v) for n, v in _leaves(event.call.arguments) if len(v) > 2 and any(c.isdigit() for c in v)]
            figures += len(given)
            found += [(f"{n} of {event.call.name} comes from nowhere", talk.show(i, v)) for n, v in given if not grounds.holds_code(v)]
        if isinstance(event, ReplySent):
            for held in (*(c.quote for c in event.citations), *(json.dumps(c.result, default=str) for c in event.tool_calls)):
                grounds.learn(held)
        if isinstance(event, ReplySent | AgentReplied):
            figures += count(event.text)
            found += [("a figure stands in no source", talk.show(i, _around(event.text, n))) for n in grounds.unheld(event.text)]
        elif not isinstance(event, DraftRejected):
            grounds.learn(evidence(event))
    if not figures:
        return Mark(name="accuracy", value=None, reason="No figure was given.")
    reasons = sorted({reason for reason, _ in found})
    return Mark(
        name="accuracy",
        value=round(max(0.0, 1 - len(found) / (figures + FEW)), 3),
        reason=f"{max(0, figures - len(found))} of {figures} figures have a source"
        + (f": {'; '.join(reasons[:3])}" if reasons else "")
        + ".",
        evidence=tuple(e for _, e in found[:4]),
    )


def _policy(talk: Talk) -> Mark:
    found: list[tuple[float, str, Evidence]] = []
    for i, call in talk.calls:
        if call.writes:
            before = [s for s in talk.asked if s.place < i]
            found.append((ACT, "an act, whose permission stands in no event", talk.show(i, call.call.name)))
            if not before or not (_YES.search(before[-1].text) or _is_order(before[-1].text)):
                found.append((0.25, f"{call.call.name} without a yes before", talk.show(i, before[-1].text if before else "")))
    found += [(0.3, "a reply guarantees", talk.show(t.place, w)) for t in talk.told if (w := says("absolute", t.text))]
    human = [s for s in talk.asked if _WANTS_HUMAN.search(s.text)]
    if human and not talk.of(HandedOff) and not any(t.speaker is Speaker.AGENT for t in talk.told):
        found.append((0.3, "the customer asked for a person and got none", talk.show(human[0].place, human[0].text)))
    if not talk.told:
        return Mark(name="policy", value=None, reason="Nobody answered.")
    return _less("policy", found, "Nothing was done without a yes, and nothing promised that cannot be.")


def _empathy(talk: Talk) -> Mark:
    upset = [s for s, tone in zip(talk.asked, talk.tones, strict=False) if tone <= UPSET]
    if not upset:
        return Mark(name="empathy", value=None, reason="Nobody was upset.")
    answered = [(s, next((t for t in talk.told if t.place > s.place), None)) for s in upset]
    missed = [s for s, reply in answered if reply is None or not says("empathy", reply.text)]
    value = 1 - len(missed) / (len(upset) + 1)  # one message may have been misheard
    reason = f"{len(upset) - len(missed)} of {len(upset)} upset messages got a word of understanding."
    return Mark(name="empathy", value=round(value, 3), reason=reason, evidence=tuple(talk.show(s.place, s.text) for s in missed[:3]))


def _closing(talk: Talk) -> Mark:
    if not talk.told:
        return Mark(name="closing", value=None, reason="Nobody answered.")
    if talk.of(HandedOff) and talk.of(HandedOff)[-1] > talk.said[-1].place - 3:
        return Mark(name="closing", value=None, reason="It went on with people.")
    last = talk.told[-1]
    found: list[tuple[float, str, Evidence]] = []
    if talk.asked and talk.asked[-1].place > last.place and not _is_reply(talk.asked[-1].text):
        found.append((0.5, "the last message got no reply", talk.show(talk.asked[-1].place, talk.asked[-1].text)))
    if last.route is Route.ELICIT or (last.text.rstrip().endswith("?") and not says("closing", last.text)):
        found.append((0.4, "a question is still open", talk.show(last.place, last.text[-200:])))
    if not any(says("closing", t.text) for t in talk.told[-2:]):
        found.append((0.2, "no closing word", talk.show(last.place, last.text[-200:])))
    return _less("closing", found, "It ended with nothing open.")


MEANING: Mapping[str, str] = {
    "communication": "Every message is answered, nothing is said twice in the same words, replies can be read, nobody is blamed.",
    "question_handling": "What the customer asks is answered from a source or done; the customer need not ask again.",
    "forward_motion": "Each step gets closer: calls succeed, none is made again in vain, no detail is asked for twice.",
    "accuracy": "Every figure in a reply stands in a source, in a result or in the customer's words; so does every argument of an act.",
    "policy": "An act comes after a yes; nothing is guaranteed; who asks for a person gets one.",
    "empathy": "An upset message gets a word of understanding.",
    "closing": "The end is an end: nothing open, and a friendly last word.",
}
CRITERIA: Mapping[str, Callable[[Talk], Mark]] = {
    "communication": _communication,
    "question_handling": _question_handling,
    "forward_motion": _forward_motion,
    "accuracy": _accuracy,
    "policy": _policy,
    "empathy": _empathy,
    "closing": _closing,
}


def _less(name: str, found: Sequence[tuple[float, str, Evidence]], fine: str) -> Mark:
    value = max(0.0, 1 - sum(cost for cost, *_ in found))
    reasons = [f"{reason}{f' ({n} times)' if n > 1 else ''}" for reason, n in Counter(reason for _, reason, _ in found).items()]
    worst = sorted(found, key=lambda f: -f[0])[:4]
    reason = f"{'; '.join(reasons[:4])}." if reasons else fine
    return Mark(name=name, value=round(value, 3), reason=reason[0].upper() + reason[1:], evidence=tuple(e for *_, e in worst))


_ORDER = re.compile(
    r"\b(please|i want|i'd like|i would like|can you|could you|cancel|change|book|order|update|send|return|refund|exchange|add|remove)\b",
    re.IGNORECASE,
)


def _is_order(text: str) -> bool:
    return bool(_ORDER.search(text)) and "?" not in text


def _same(a: str, b: str) -> bool:
    return " ".join(a.lower().split()) == " ".join(b.lower().split())


def _alike(a: str, b: str) -> float:
    one, two = set(_WORD.findall(a.lower())), set(_WORD.findall(b.lower()))
    return len(one & two) / max(1, min(len(one), len(two))) if min(len(one), len(two)) > 2 else 0.0


def _leaves(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [leaf for k, v in value.items() for leaf in _leaves(v, str(k))]
    if isinstance(value, list | tuple):
        return [leaf for v in value for leaf in _leaves(v, name)]
    return [(name, str(value))] if value is not None and not isinstance(value, bool) else []


def _around(text: str, number: str) -> str:
    place = text.find(number)
    return text[max(0, place - 60) : place + len(number) + 40]
