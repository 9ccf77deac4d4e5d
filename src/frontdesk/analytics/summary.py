"""What a conversation was about, what was done, how it ended, what is promised, which facts were given: each with the turns that say so.

Built from events alone; a language model may then put it into fewer words, and what it adds (a number, a name, a date, a promise that no
turn holds) throws its version away. Nothing is ever concluded that no event says.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from frontdesk.analytics.folding import fold_rows, spoken
from frontdesk.analytics.metrics import IDLE, Outcome, outcome
from frontdesk.analytics.words import says
from frontdesk.domain.conversation import ConversationId, Route, Speaker, TurnId
from frontdesk.domain.events import (
    AgentReplied,
    CustomerRated,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    OwnerChanged,
    Recorded,
    ReplySent,
    SlotFilled,
    SlotRequested,
    ToolCalled,
    TurnFailed,
    to_json,
)
from frontdesk.domain.folding import as_corrected
from frontdesk.errors import Unavailable
from frontdesk.models.protocols import ChatRequest, LanguageModel, complete

QUOTED = 200
"""Characters of somebody's words that are quoted."""
MOST = 14
"""Things done that are told one by one; of more, the first and the last."""
READ = 5000
"""Events that are read of one conversation: its first tenth and its newest."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_NAME = re.compile(r"(?<![.!?:“\"(] )(?<!^)\b[A-ZÄÖÜ][\w'’-]+")
_CODE = re.compile(
    r"\b(?=[A-Za-z-]*\d)[A-Za-z0-9][A-Za-z0-9-]{3,}\b|[\w.+-]+@[\w-]+\.[\w.]+|(?<!\w)[€$£]\s?\d[\d.,]*|\b\d[\d.,]*\s?(?:€|EUR|USD|GBP|%)"
)
_PLACEHOLDER = "…"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One thing that holds. `turns`: numbers (from 1) of the turns that say so; `seqs`: the events."""

    text: str
    turns: tuple[int, ...] = ()
    seqs: tuple[int, ...] = ()
    kind: str = ""
    """asked, answered, looked_up, done, failed, handed_over, said, gap, refused, open, promise, fact, outcome."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One conversation, short. Every statement names its turns."""

    conversation: ConversationId
    opened_at: datetime | None
    turns: int
    outcome: Outcome
    reason: Statement
    done: tuple[Statement, ...]
    ending: Statement
    promises: tuple[Statement, ...]
    """Promises to the customer that nothing in the log shows as kept."""
    facts: tuple[Statement, ...]
    phrased: str = ""
    """The same in a few sentences, where a model put it so and nothing in it is new."""

    def statements(self) -> list[Statement]:
        """All of them, in reading order."""
        return [self.reason, *self.done, self.ending, *self.promises, *self.facts]

    def text(self) -> str:
        """As plain text, with turn numbers."""
        lines = [line(self.reason), *(line(s) for s in self.done), line(self.ending)]
        lines += [f"Promised: {line(s)}" for s in self.promises]
        lines += [f"Known: {line(s)}" for s in self.facts]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class CustomerSummary:
    """Several conversations of one customer, the newest first."""

    conversations: tuple[Summary, ...]
    outcomes: Mapping[str, int]
    promises: tuple[tuple[ConversationId, Statement], ...]
    recurring: tuple[str, ...]
    """Topics of more than one conversation."""

    def text(self) -> str:
        """As plain text."""
        counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.outcomes.items())
        lines = [f"Conversations: {len(self.conversations)} ({counted})."] if self.conversations else ["No conversations."]
        lines += [f"{s.opened_at:%Y-%m-%d}: {s.reason.text} {s.ending.text}" for s in self.conversations if s.opened_at]
        lines += [f"Still promised ({id}): {line(p)}" for id, p in self.promises]
        return "\n".join([*lines, *(f"Came up more than once: {topic}" for topic in self.recurring)])


def summarise(events: Iterable[Recorded], *, now: datetime | None = None, idle: timedelta = IDLE) -> Summary:
    """The summary of one conversation's events (in order). Empty conversations have one too. `now`: when it is looked at; None: later on."""
    every = as_corrected(events)
    numbers, told = turn_numbers(every), _shortened(every)
    if not told:
        nothing = Statement(text="Nothing was said.", kind="asked")
        return Summary(
            conversation=ConversationId(""), opened_at=None, turns=0, outcome=Outcome.NO_REQUEST, reason=nothing, done=(),
            ending=Statement(text="Nothing happened.", kind="outcome"), promises=(), facts=(),
        )  # fmt: skip
    row = next(iter(fold_rows(told).values()))
    ended = outcome(row, now or row.last_at + idle * 2, idle=idle)
    reading = _Reading(numbers)
    for recorded in told:
        reading.add(recorded)
    return Summary(
        conversation=told[0].conversation,
        opened_at=told[0].at,
        turns=len(numbers),
        outcome=ended,
        reason=reading.reason(),
        done=reading.what_was_done(),
        ending=reading.ending(ended),
        promises=tuple(reading.promises),
        facts=tuple(reading.facts.values())[-MOST:],
    )


def of_customer(summaries: Sequence[Summary]) -> CustomerSummary:
    """What several conversations of one customer amount to."""
    newest = sorted((s for s in summaries if s.opened_at), key=lambda s: str(s.opened_at), reverse=True)
    topics = Counter(m[1] for s in newest for st in {d.text for d in s.done} if (m := re.search(r"from “([^”]+)”", st)))
    return CustomerSummary(
        conversations=tuple(newest),
        outcomes=dict(Counter(s.outcome.value for s in newest)),
        promises=tuple((s.conversation, p) for s in newest for p in s.promises),
        recurring=tuple(t for t, n in topics.most_common(5) if n > 1),
    )


def turn_numbers(events: Iterable[Recorded]) -> dict[TurnId, int]:
    """Turns in order of their first event, from 1. Events of no turn (a change of owner) have none."""
    numbers: dict[TurnId, int] = {}
    for recorded in events:
        if recorded.turn and recorded.turn not in numbers:
            numbers[recorded.turn] = len(numbers) + 1
    return numbers


def untraceable(statements: Iterable[Statement], events: Sequence[Recorded]) -> list[tuple[str, str]]:
    """Numbers, codes and names that a statement holds and none of its turns does, with the statement. Empty: all can be traced."""
    numbers = turn_numbers(events)
    held: dict[int, list[str]] = {}
    for recorded in as_corrected(events):
        held.setdefault(numbers.get(recorded.turn, 0), []).append(evidence(recorded.event))
    texts = {n: _plain(" ".join(parts)) for n, parts in held.items()}
    found = []
    for statement in statements:
        said = " ".join(texts.get(n, "") for n in statement.turns) + " " + texts.get(0, "")
        found += [(token, statement.text) for token in claims(statement.text) if _plain(token) not in said]
    return found


def claims(text: str) -> list[str]:
    """The numbers, codes and names in a text: what must be traced."""
    return [*_NUMBER.findall(text), *(m[0] for m in _NAME.finditer(text) if m[0] not in _OURS)]


def evidence(event: Event) -> str:
    """Everything that an event says, as one text."""
    return json.dumps(to_json(event), ensure_ascii=False, default=str)


async def phrase(summary: Summary, model: LanguageModel | None) -> str:
    """The summary in two or three sentences; empty where there is no model, it is away, or it said something that the summary does not."""
    if model is None or not summary.turns:
        return ""
    asked = "Sum this support conversation up for a colleague in two or three plain sentences. Use only what is written here. No headings."
    messages = [{"role": "system", "content": asked}, {"role": "user", "content": summary.text()[:3000]}]
    try:
        said = " ".join((await complete(model, ChatRequest(messages=messages, max_tokens=140))).split())
    except Unavailable:
        return ""
    return said if said and holds(said, summary) else ""


def holds(said: str, summary: Summary) -> bool:
    """Whether a phrasing says nothing that the summary does not: no new number or name, no new promise, and mostly its words."""
    known = _plain(summary.text())
    if any(_plain(claim) not in known for claim in claims(said)):
        return False
    if not summary.promises and says("promise", said):
        return False
    words = re.findall(r"[a-zà-ÿ]{5,}", said.lower())
    stems = {w[:5] for w in re.findall(r"[a-zà-ÿ]{5,}", known)} | {
        "conve",
        "custo",
        "asked",
        "reque",
        "infor",
        "agent",
        "provi",
        "suppo",
        "about",
    }
    return bool(words) and sum(w[:5] in stems for w in words) >= 0.8 * len(words)


def facts_in(text: str) -> list[str]:
    """Codes, addresses and amounts in somebody's words, verbatim."""
    return list(dict.fromkeys(m[0].strip() for m in _CODE.finditer(text[:4000])))


def quoted(text: str, limit: int = QUOTED) -> str:
    """Somebody's words in quotation marks, on one line, cut at a word."""
    flat = " ".join(text.split()).replace("“", "'").replace("”", "'")
    return f"“{flat if len(flat) <= limit else flat[:limit].rsplit(' ', 1)[0] + _PLACEHOLDER}”"


class _Reading:
    """Reads one conversation's events in order."""

    def __init__(self, numbers: Mapping[TurnId, int]) -> None:
        self._numbers = numbers
        self._asked: list[tuple[Recorded, str]] = []
        self._first_request: tuple[Recorded, str] | None = None
        self._done: list[Statement] = []
        self._last: dict[str, Statement] = {}
        self._open: Statement | None = None
        self.promises: list[Statement] = []
        self.facts: dict[str, Statement] = {}

    def add(self, recorded: Recorded) -> None:  # noqa: C901 - one case for each kind of event
        event = recorded.event
        said = spoken(event)
        match event:
            case MessageReceived():
                self._asked.append((recorded, event.text))
                self._open = None
                for fact in facts_in(event.text):
                    self.facts.setdefault(fact.casefold(), self._say(recorded, f"The customer gave {fact}.", "fact"))
            case IntentRecognized() if event.route not in (Route.SMALLTALK,) and self._first_request is None and self._asked:
                self._first_request = self._asked[-1]
            case SlotFilled():
                self.facts[f"slot {event.slot}"] = self._say(recorded, f"{event.slot}: {_value(event.value)}.", "fact")
            case ToolCalled():
                self._done.append(self._call(recorded, event))
            case ReplySent():
                self._reply(recorded, event)
            case KnowledgeGapFound():
                self._done.append(self._say(recorded, f"No source answered {quoted(event.question)}.", "gap"))
            case SlotRequested():
                self._open = self._say(recorded, f"The desk asked {quoted(event.pending.question)} and waits for it.", "open")
            case HandedOff():
                self._done.append(self._say(recorded, f"Handed over to people ({event.category.replace('_', ' ')}).", "handed_over"))
            case AgentReplied():
                self._done.append(self._say(recorded, f"{event.agent} said {quoted(event.text)}.", "said"))
            case TurnFailed():
                self._done.append(self._say(recorded, "The desk failed to answer.", "failed"))
            case OwnerChanged() | CustomerRated():
                self._last[type(event).__name__] = self._say(recorded, _owner_or_rating(event), "outcome")
        if isinstance(event, HandedOff) and event.promised:
            self._promised(recorded, event.promised)
        elif said is not None and said[0] is not Speaker.CUSTOMER:
            self._promised(recorded, said[1])

    def reason(self) -> Statement:
        chosen = self._first_request or next(((r, t) for r, t in self._asked if re.search(r"\w", t)), None)
        if chosen is None:
            return Statement(text="The customer said nothing.", kind="asked")
        recorded, text = chosen
        sentences = [s for s in _SENTENCE.split(text) if s.strip()]
        asking = next((s for s in sentences if "?" in s), None)
        return self._say(recorded, f"The customer wrote {quoted(asking if asking and len(text) > QUOTED else text)}.", "asked")

    def what_was_done(self) -> tuple[Statement, ...]:
        if len(self._done) <= MOST:
            return tuple(self._done)
        head, tail = self._done[: MOST // 3], self._done[-(MOST - MOST // 3) :]
        return (*head, Statement(text="Then more of the same.", kind="said"), *tail)

    def ending(self, ended: Outcome) -> Statement:
        about = self._last.get("CustomerRated") or self._last.get("OwnerChanged")
        last = self._done[-1] if self._done else self.reason()
        where = self._asked[-1][0] if self._asked and ended in (Outcome.CONFIRMED, Outcome.UNSOLVED) else None
        turns = (self._numbers[where.turn],) if where is not None and where.turn in self._numbers else last.turns
        if ended in (Outcome.CONFIRMED, Outcome.UNSOLVED) and about is not None and "rated" in about.text:
            return Statement(text=about.text, turns=about.turns, seqs=about.seqs, kind="outcome")
        if ended is Outcome.ABANDONED and self._open is not None:
            return Statement(text=f"{_ENDINGS[ended]} {self._open.text}", turns=self._open.turns, seqs=self._open.seqs, kind="outcome")
        return Statement(text=_ENDINGS[ended], turns=turns, seqs=last.seqs, kind="outcome")

    def _reply(self, recorded: Recorded, event: ReplySent) -> None:
        if event.route is Route.SMALLTALK or event.route is Route.HANDOFF:
            return
        if event.citations:
            first = event.citations[0]
            where = f"“{first.title}”" if first.source == "faq" else f"“{first.source}”"
            self._done.append(self._say(recorded, f"Answered from {where}: {quoted(event.text)}.", "answered"))
        elif event.route is Route.REFUSE:
            self._done.append(self._say(recorded, f"Declined: {quoted(event.text)}.", "refused"))
        elif event.route is Route.ELICIT:
            self._done.append(self._say(recorded, f"Asked {quoted(event.text)}.", "open"))
        else:
            self._done.append(self._say(recorded, f"Answered {quoted(event.text)}.", "answered"))

    def _call(self, recorded: Recorded, event: ToolCalled) -> Statement:
        given = ", ".join(f"{k} {_value(v)}" for k, v in list(event.call.arguments.items())[:4])
        what = f"{event.call.name} ({given})" if given else event.call.name
        if event.call.error is not None:
            return self._say(recorded, f"Tried {what}: {quoted(event.call.error)}.", "failed")
        verb, kind = ("Did", "done") if event.writes else ("Looked up", "looked_up")
        return self._say(recorded, f"{verb} {what}{': ' + quoted(event.text) if event.text else ''}.", kind)

    def _promised(self, recorded: Recorded, text: str) -> None:
        if isinstance(recorded.event, AgentReplied):
            # What was promised at the handoff was that somebody answers: somebody did.
            self.promises = [p for p in self.promises if p.kind != "handoff"]
        handoff = isinstance(recorded.event, HandedOff)
        for sentence in [text] if handoff else _SENTENCE.split(text[:4000]):
            if (
                (handoff or says("promise", sentence))
                and "?" not in sentence
                and not any(quoted(sentence) in p.text for p in self.promises)
            ):
                self.promises.append(self._say(recorded, f"{quoted(sentence)}.", "handoff" if handoff else "promise"))
        self.promises = self.promises[-MOST:]

    def _say(self, recorded: Recorded, text: str, kind: str) -> Statement:
        number = self._numbers.get(recorded.turn)
        return Statement(text=text, turns=(number,) if number else (), seqs=(recorded.seq,), kind=kind)


_ENDINGS: Mapping[Outcome, str] = {
    Outcome.OPEN: "Still going on.",
    Outcome.CONFIRMED: "The customer said that it is solved.",
    Outcome.UNSOLVED: "The customer said that it is not solved.",
    Outcome.VERIFIED: "What was asked for was done.",
    Outcome.ASSUMED: "It was answered, and the customer wrote nothing more.",
    Outcome.ABANDONED: "The customer left while something was open.",
    Outcome.DECLINED: "The desk declined, and that was the end of it.",
    Outcome.HANDED_OVER: "People took it over.",
    Outcome.NO_REQUEST: "Nothing was asked.",
}
_OURS = frozenset(
    word
    for text in (
        *_ENDINGS.values(),
        "The customer wrote gave said nothing. Looked up Did Tried Answered from Declined Asked No source answered Handed over The desk failed "
        "Then more of the same It What People I A An In On At He She They We You Yes Thanks Thank Hello Customer Promised Known Support Agent",
    )
    for word in re.findall(r"[A-Z]\w*", text)
)
"""Capitalised words that the templates bring along."""


def _owner_or_rating(event: OwnerChanged | CustomerRated) -> str:
    if isinstance(event, OwnerChanged):
        return f"It went to {event.agent or event.owner}."
    answer = {True: "said that it is solved", False: "said that it is not solved", None: "rated it"}[event.solved]
    return f"The customer rated the conversation: {answer}{f', score {event.score}' if event.score else ''}."


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60].rsplit(" ", 1)[0] + _PLACEHOLDER


def line(statement: Statement) -> str:
    """A statement with its turns."""
    where = f" [turn {', '.join(map(str, statement.turns))}]" if statement.turns else ""
    return f"{statement.text}{where}"


def _plain(text: str) -> str:
    return " ".join(text.replace("\\n", " ").replace('\\"', "'").replace("“", "'").replace("”", "'").casefold().split())


def _shortened(events: list[Recorded]) -> list[Recorded]:
    return events if len(events) <= READ else [*events[: READ // 10], *events[-(READ - READ // 10) :]]
