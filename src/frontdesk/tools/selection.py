"""Which operation a message is about, if any: by meaning, by words, by the values it holds, and by whether it asks or orders.

Declines by default: a message about a rule, a greeting or another business gets no operation. Refuses to hear an order in a question such
as "can I cancel?" or "what would returning it bring me?".
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np

from frontdesk.models.protocols import Embedder, Matcher, Matching, Vectors
from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.operation import Argument, Operation, Schema, once, words_of
from frontdesk.tools.slots import kind_of
from frontdesk.tools.understanding import extract

SURE = 0.5
"""From this score on a message counts as being about an operation."""
CLEAR = 0.3
"""Lead over the second that makes a choice clear; below it the desk should ask which of the two is meant."""

LOOKED_AT = 4
"""Of the likeliest operations so many are read together with the message."""
HOPELESS = -3.0
"""Log-odds by signs below which nothing is read: of messages about an operation 1 in 40 is then left to the signs, of others nearly half."""
LEAST_READ, MOST_READ = -3.0, 6.0
"""Log-odds beyond which it says nothing more: reading alone is no veto."""
MOST_FIELDS = 8
"""Fields of an answer that describe an operation by a line each."""
DEEPEST = 4
HEAD = "selection_head.npz"
"""What tells questions about how things stand now from questions about rules, by their meaning alone; `bench.tools_selection` makes it."""


class Mood(StrEnum):
    """What a message does: it orders something, asks for something, or asks whether and how something could be done."""

    ORDER = "order"
    ASK = "ask"
    WONDER = "wonder"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An operation that a message may be about. `score`: how likely it is about it at all, calibrated, in [0, 1]; `margin`: lead over the best rival."""

    operation: Operation
    score: float
    margin: float = 0.0
    features: Mapping[str, float] = field(default_factory=dict)

    @property
    def chosen(self) -> bool:
        """True when the message is about this operation, clearly enough to go on with it."""
        return self.score >= SURE


class Selector:
    """Ranks a tenant's operations for messages. Make one per catalog; `prepare` embeds the operations once."""

    def __init__(self, operations: Sequence[Operation], embedder: Embedder, matcher: Matcher | None = None) -> None:
        """`matcher` reads a message together with what describes an operation; without one, the signs decide alone."""
        self._operations = tuple(operations)
        self._embedder = embedder
        self._matcher = matcher
        self._head = _head() if _head().fits(embedder) else None
        self._lines: list[Vectors] = []
        self._stems = [_stems_of(o) for o in self._operations]
        seen = Counter(s for stems in self._stems for s in stems)
        self._rarity = {s: math.log((1 + len(self._operations)) / n) for s, n in seen.items()}

    async def prepare(self) -> None:
        """Embeds what describes the operations. Raises ModelUnavailable."""
        lines = [lines_of(o) for o in self._operations]
        flat = [line for rows in lines for line in rows]
        vectors = await self._embedder.embed(flat) if flat else np.zeros((0, self._embedder.dimensions), np.float32)
        starts = np.cumsum([0, *(len(rows) for rows in lines)])
        self._lines = [vectors[a:b] for a, b in pairwise(starts)]

    async def rank(self, message: str, *, today: date, vector: Any = None) -> list[Choice]:
        """All operations, best first. `vector`: the message's embedding, when the caller has it. Raises ModelUnavailable."""
        if not self._operations:
            return []
        if not self._lines:
            await self.prepare()
        if vector is None:
            vector = (await self._embedder.embed([message]))[0]
        features = self._features(message, vector, today)
        fit = [_weighted(RANK, f) for f in features]
        ahead = _leads(fit)
        known = [{**f, "gap": max(-3.0, min(3.0, lead))} for f, lead in zip(features, ahead, strict=True)]
        about = [_weighted(ABOUT, k) for k in known]
        if self._matcher is not None and max(about) >= HOPELESS:
            read = await self._read(message, fit, self._matcher)
            known = [{**k, "read": r} for k, r in zip(known, read, strict=True)]
            fit = [_weighted(RANK_READ, {"signs": f, "read": r}) for f, r in zip(fit, read, strict=True)]
            ahead = _leads(fit)
            about = [
                _weighted(ABOUT_READ, {"signs": a, "read": r, "lead": max(-3.0, min(3.0, lead))})
                for a, r, lead in zip(about, read, ahead, strict=True)
            ]
        return [
            Choice(operation=self._operations[i], score=1 / (1 + math.exp(-about[i])), margin=ahead[i], features=known[i])
            for i in sorted(range(len(fit)), key=lambda i: -fit[i])
        ]

    async def _read(self, message: str, fit: Sequence[float], matcher: Matcher) -> list[float]:
        """What reading the message together with an operation's description says of each; of the unlikely ones no more than of the others."""
        likeliest = sorted(range(len(fit)), key=lambda i: -fit[i])[:LOOKED_AT]
        told = await matcher.scores(message, [description_of(self._operations[i]) for i in likeliest], Matching.OPERATION)
        seen = dict(zip(likeliest, (max(LEAST_READ, min(MOST_READ, float(s))) for s in told), strict=True))
        return [seen.get(i, min(seen.values())) for i in range(len(fit))]

    async def choose(self, message: str, *, today: date, vector: Any = None) -> Choice | None:
        """The operation a message is about, or None when it is about none."""
        ranked = await self.rank(message, today=today, vector=vector)
        return ranked[0] if ranked and ranked[0].chosen else None

    def _features(self, message: str, vector: Any, today: date) -> list[dict[str, float]]:
        said = {_meant(w) for w in re.findall(r"[^\W\d_]+", message.lower()) if w not in _IDLE}
        mood, deeds = mood_of(message), _deeds_in(message)
        nearest = [float(np.sort(rows @ vector)[-1]) if len(rows) else 0.0 for rows in self._lines]
        middle = [float(np.sort(rows @ vector)[-3:].mean()) if len(rows) else 0.0 for rows in self._lines]
        shared = [self._shared(said, stems) for stems in self._stems]
        standing = self._head.value(vector) if self._head is not None else 0.0
        general, out = _generality(message), []
        for index, operation in enumerate(self._operations):
            others = [n for i, n in enumerate(nearest) if i != index] or [0.0]
            rivals = [s for i, s in enumerate(shared) if i != index] or [0.0]
            values, codes, spans = _values(operation, message, today)
            told = _explained(message, self._stems[index], spans)
            out.append(
                {
                    "nearest": nearest[index],
                    "middle": middle[index],
                    "lead": max(-0.3, min(0.3, nearest[index] - max(others))),
                    "words": shared[index],
                    "word_lead": max(-0.5, min(0.5, shared[index] - max(rivals))),
                    "values": values,
                    "codes": codes,
                    **told,
                    "open": min(3, sum(1 for _ in operation.required) * (1 - values)) / 3,
                    **general,
                    "short": general["short"] * (1 - told["explained"]),  # "points balance?" says little, but all of it is meant
                    **_ownership(operation, message, mine=general["mine"] > 0),
                    "standing": standing,
                    **_mood_features(operation, mood, message, deeds),
                }
            )
        return out

    def _shared(self, said: set[str], stems: frozenset[str]) -> float:
        """Share of a message's telling words that describe the operation, rare ones counting more."""
        weight = sum(self._rarity.get(s, _UNKNOWN) for s in said)
        return sum(self._rarity[s] for s in said & stems) / weight if weight else 0.0


RANK: Mapping[str, float] = {
    "nearest": 2.206, "middle": 2.252, "lead": 3.063, "words": 0.933, "word_lead": 1.082, "values": 1.124, "codes": 0.605,
    "personal": 0.575, "order_write": 0.287, "order_read": -0.287, "wonder_write": -0.124, "wonder_read": 0.124, "ask_write": -0.16,
    "own_verb": 0.468, "other_verb": -0.068,
}  # fmt: skip
"""Which operation, given that it is one. Fitted by `python -m bench.tools_selection`."""
ABOUT: Mapping[str, float] = {
    "bias": -7.86, "nearest": 6.024, "middle": 6.833, "lead": 0.313, "words": 1.895, "word_lead": -0.548, "values": 2.247, "codes":
    1.287, "defines": -0.16, "live": 0.236, "mine": -0.103, "short": -1.711, "personal": 0.587, "order_write": -1.025, "order_read":
    -1.758, "wonder_write": -0.484, "wonder_read": 0.217, "ask_write": 0.019, "own_verb": 0.468, "other_verb": -0.424, "gap":
    -0.002, "explained": 0.427, "open": 1.489, "rule": -0.043, "owned": 0.684, "acts": -1.49, "owned_unsaid": 0.098, "standing":
    0.072,
}  # fmt: skip
"""Whether a message is about its best operation at all. Fitted by the same."""


RANK_READ: Mapping[str, float] = {"signs": 1.65, "read": 0.737}
"""The same when message and operation are also read together: weights of the score by signs and of that by reading."""
ABOUT_READ: Mapping[str, float] = {"bias": 0.212, "signs": 0.832, "read": 0.531, "lead": -0.178}
"""The same for whether the message is about it at all; `lead`: over the best rival, by both."""


@dataclass(frozen=True, slots=True)
class Head:
    """How much a message sounds like one about how things stand now. Made for one embedder: with another it says nothing."""

    direction: Vectors
    bias: float
    embedder: str

    def fits(self, embedder: Embedder) -> bool:
        """Whether the head was made for this embedder's vectors."""
        return self.embedder in embedder.name.casefold() and embedder.dimensions == len(self.direction)

    def value(self, vector: Any) -> float:
        """Log-odds, held within [-4, 4]. `vector`: (dimensions,), unit length."""
        return max(-4.0, min(4.0, float(self.direction @ vector) + self.bias))

    def to_bytes(self) -> bytes:
        """The head as an npz archive."""
        out = io.BytesIO()
        np.savez_compressed(
            out,
            allow_pickle=False,
            direction=self.direction.astype(np.float16),
            bias=np.float32(self.bias),
            embedder=np.array(self.embedder),
        )
        return out.getvalue()


@lru_cache(maxsize=1)
def _head() -> Head:
    with np.load(io.BytesIO((resources.files(__package__) / HEAD).read_bytes()), allow_pickle=False) as kept:
        return Head(direction=kept["direction"].astype(np.float32), bias=float(kept["bias"]), embedder=str(kept["embedder"]))


def _leads(fit: Sequence[float]) -> list[float]:
    """How far each is ahead of the best of the others; one alone leads by 3."""
    return [f - max((other for k, other in enumerate(fit) if k != i), default=f - 3.0) for i, f in enumerate(fit)]


def _weighted(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    return weights.get("bias", 0.0) + sum(weights.get(name, 0.0) * value for name, value in features.items())


_UNKNOWN = 1.0
"""Weight of a word that describes no operation: it speaks against all of them."""
_IDLE = STOP | words(
    "do does did can could will can't have has had get got want need like much many any some hi hello thanks now today up out about go am"
)
_PERSONAL = re.compile(r"\b(?:my|mine|i|i'm|i've|me|our|we)\b")
_WONDER = re.compile(
    r"^\W*(?:so |and |but |also |hi |hello |please tell me )*(?:can|could|may|might|am|are|is it|do|does|would|should|what|how|when|where|why|which|who|if)\b"
)
_ORDER = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|and|then|yes|now)\W+)*(?:please\s+|just\s+|kindly\s+)*"
    r"(?:(?:can|could|would|will) (?:you|somebody|someone|anybody|anyone) (?:please |kindly |just |come and |come to )*|i(?:'d| would) like (?:you )?to |i (?:want|need|wish|have) (?:you )?to |"
    r"i wanna |let's |help me (?:to )?|i(?:'d| would) like (?:a|an|another|my|the) |i (?:want|need) (?:a|an|another|more|my|the|some) )?(\w+)"
)
_SHOWING = words("show list tell give get check find look see know what which when where how display read send")
_DOING = words(
    "cancel book change move order buy pay block freeze stop renew extend reserve report submit switch transfer send update remove delete "
    "add create open close make file register subscribe unsubscribe return exchange replace reschedule upgrade downgrade start end set put "
    "turn activate deactivate apply claim confirm request settle lock unlock reset schedule arrange prolong swap modify correct refund "
    "approve rate scrap drop pause push rebook withdraw terminate hire join enrol enroll forward mail sign note postpone shift amend alter "
    "suspend void enter record log announce notify stick pop bung fetch collect redirect"
)
_DEEDS: tuple[frozenset[str], ...] = (
    words("cancel scrap withdraw revoke void terminate end quit drop annul call_off get_rid_of take_off opt_out not_come"),
    words(
        "move change shift reschedule postpone delay rebook push modify amend alter adjust update correct edit bring_forward push_back put_off"
    ),
    words("collect fetch pick_up"),
    words("redirect divert send_on reroute"),
    words("book reserve schedule arrange make get_me_in put_me_down sign_up sign_me_up enrol enroll register join hire apply announce"),
    words("order buy purchase request place check_out get"),
    words("pay settle clear"),
    words("return refund money_back send_back give_back bring_back hand_back take_back"),
    words("replace exchange swap switch change"),
    words("block freeze lock suspend pause hold stop on_hold deactivate disable"),
    words("unblock unfreeze unlock resume reactivate activate enable"),
    words("report notify announce tell file claim submit"),
    words("send submit record note enter log read forward mail"),
    words("renew extend prolong keep"),
    words("add put create open start set_up"),
    words("transfer send move"),
    words("remove delete erase close unsubscribe"),
    words("approve accept agree confirm"),
    words("rate review score"),
    words("set limit cap"),
    words("upgrade downgrade switch change move"),
)
"""Words for the same deed, phrases joined by `_`: a customer who wants to call something off means the operation that cancels it."""


_DEFINES = re.compile(
    r"^\W*(?:what (?:is|are) (?:an? )(?!\w+ (?:price|cost|balance|status))|what does .{1,40} mean|what do you mean|how (?:do|does) .{1,40} work|who (?:is|are|owns|wrote|runs)|"
    r"what kind of|do you (?:have to|take|accept|treat|charge|offer|allow|support)|is (?:your|it) (?!\w+ (?:open|free|available))|are you\b)"
)
_LIVE = re.compile(
    r"\b(?:now|right now|today|tonight|tomorrow|currently|at (?:the|this) moment|presently|these days|nowadays|just now|so far|latest|last|next|"
    r"this (?:morning|afternoon|evening|week|weekend|month|year)|yet|still|left|already|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b|\d"
)


_RULE = re.compile(
    r"\b(?:if i|if you|if my|if it|if we|can i|can we|could i|can my|can you (?!please|just|kindly|calculate|work out|tell|show|check|see|look|find|give|get|send|put|note|log|ping)|may i|may we|must i|should i|do i (?:have to|need|get|pay)|am i allowed|allowed|"
    r"is it (?:ok|possible|too late)|what (?:does|do|will|would) .{1,40}(?:cover|include|entitle|mean)|possible|ok to|what happens|how (?:do|can|long|early|late|far|often|soon|big|heavy|old) |how many \w+ (?:may|can)|"
    r"do you (?:charge|pay|take|do|offer|cover|allow)|does it|would (?:it|they|i (?:need|have to|lose))|will (?:i|you|they|it)|what do i|who (?:can|may|has)|fee|charge|rule|"
    r"discount|compensation|deadline|in advance|before i|after i|once i|whats the (?:deal|point))\b"
)


def _generality(message: str) -> dict[str, float]:
    """Whether a message speaks of a thing in general or of how it stands now."""
    said = message.lower().replace("’", "'")
    return {
        "defines": float(_DEFINES.search(said) is not None),
        "live": float(_LIVE.search(said) is not None),
        "mine": float(re.search(r"\b(?:my|mine|have i|do i have|i have|did i|i owe|for me|send me|show me)\b", said) is not None),
        "short": float(len(said.split()) <= 2),
        "rule": float(_RULE.search(said) is not None),
    }


def _ownership(operation: Operation, message: str, *, mine: bool) -> dict[str, float]:
    """Whether an operation is about the customer's own records or changes something, and whether the message speaks of its author at all."""
    own = operation.needs_customer
    personal = own and bool(_PERSONAL.search(message.lower()))
    return {
        "personal": float(personal),
        "owned": float(own),
        "acts": float(operation.writes),
        "owned_unsaid": float(own and not mine and not personal),
    }


def mood_of(message: str) -> Mood:
    """ORDER for "cancel it", "please book", "can you block my card"; WONDER for "can I cancel?", "how do I..."; ASK for the rest."""
    said = re.sub(r"\b(?:u|ye|ya|yous?)\b", "you", message.lower().replace("’", "'"))
    order = _ORDER.match(said)
    if order and order[1] in _DOING and not re.match(r"^\W*(?:how|what|when|where|why|which|who)\b", said):
        return Mood.ORDER
    if re.search(r"\bplease (?:" + "|".join(sorted(_DOING)) + r")\b", said):
        return Mood.ORDER
    if order and order[0].rstrip().endswith(order[1]) and re.search(r"\bi(?:'d like| would like| want| need)\b", order[0]):
        return Mood.ORDER
    wonders = re.search(
        r"^\W*(?:can|could|may|am|are|do|does|should|would|is|what|how)\b.{0,40}\b(?:i|we|you|one|someone|it possible|allowed|happens?|if|to)\b",
        said,
    )
    asks_how = re.match(
        r"^\W*(?:how (?:do|can|could|does|to|long does)|can (?:i|we)|may i|am i (?:allowed|able)|do (?:i|you)|is it possible|what (?:happens|is an?|if))\b",
        said,
    )
    return Mood.WONDER if wonders and asks_how else Mood.ASK


def lines_of(operation: Operation) -> list[str]:
    """What describes an operation, as lines to compare messages with: summary, sentences, name, and questions made of its arguments."""
    sentences = [s.strip() for s in re.split(r"(?<=[.!?;])\s+", operation.description) if len(s.strip()) > 3]
    lines = [operation.summary, *sentences[:6], words_of(operation.name), *_as_said(operation)]
    enums = [a for a in operation.askable if a.enum]
    for argument in enums[:2]:
        shown = [words_of(str(v)) for v in argument.enum[:4]]
        lines += [f"{operation.summary}: {value}" for value in shown[:2]]
    asked = [a.label for a in operation.askable]
    if asked:
        lines.append(f"{operation.summary} by {', '.join(asked[:4])}")
    told = _fields_of(operation)[:MOST_FIELDS]
    if told:
        lines.append(f"{operation.summary}: {', '.join(told[:8])}")
        whose = "my" if operation.needs_customer else "the"
        lines += [] if operation.writes else [f"{whose} {name}" for name in told]
    return list(dict.fromkeys(line for line in lines if line))[: 14 + MOST_FIELDS]


@once
def description_of(operation: Operation) -> str:
    """An operation in one text: what it does, what it needs, what it tells."""
    asked, told = [a.label for a in operation.askable], _fields_of(operation)[:MOST_FIELDS]
    parts = [f"{operation.summary.rstrip('.')}.", operation.description]
    parts += [f"Needs {', '.join(asked[:4])}."] * bool(asked) + [f"Tells {', '.join(told)}."] * bool(told)
    return " ".join(" ".join(parts).split())


@once
def _fields_of(operation: Operation) -> tuple[str, ...]:
    """What an answer tells, however deep it lies: the description of a field where that is short, else its name in words."""
    return tuple(dict.fromkeys(_told_by(operation.response)))


def _told_by(schema: Schema, depth: int = 0) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        inner = member.get("items", member)
        if inner.get("properties") and depth < DEEPEST:
            yield from _told_by(inner, depth + 1)
            continue
        said = re.sub(r"\W+$", "", str(member.get("description", "")))
        yield said.lower() if 0 < len(said.split()) <= 5 and "," not in said else words_of(str(name))
    if schema.get("items") and depth < DEEPEST:
        yield from _told_by(schema["items"], depth + 1)


def _as_said(operation: Operation) -> list[str]:
    """The summary as a customer would put it: "List the open claims" -> "what are my open claims?"."""
    verb, _, rest = operation.summary.partition(" ")
    own = re.sub(r"^(?:the|a|an)\s+|\bthe (?:signed-in )?(?:customer|member|patient|person|user)'?s?\s+", "", rest.strip(". "))
    own = re.sub(r"\s+of (?:the )?(?:signed-in )?(?:customer|member|patient|person|user|account)\b", "", own)
    if not own:
        return []
    whose = "my" if operation.needs_customer else "the"
    if operation.writes:
        return [f"please {verb.lower()} {whose} {own}", f"I want to {verb.lower()} {own}"]
    return [f"what is {whose} {own}?", f"tell me {whose} {own}"]


def described_by(operation: Operation, said: Iterable[str]) -> bool:
    """Whether one of these words describes the operation."""
    stems = _stems_of(operation)
    return any(_meant(word) in stems for word in said)


@once
def _stems_of(operation: Operation) -> frozenset[str]:
    parts = [operation.summary, operation.description, words_of(operation.name), *(_argument_words(a) for a in operation.askable)]
    parts += _fields_of(operation)
    return frozenset(_meant(w) for w in re.findall(r"[^\W\d_]+", " ".join(parts).lower()) if w not in _IDLE)


_SAME = {
    stem(w): stem(line.partition(" ")[0])
    for line in (
        "owe owed owes owing balance outstanding arrears debt unpaid",
        "price cost costs fee charge fare tariff",
        "bill invoice invoices statement",
        "appointment booking reservation slot",
        "parcel package delivery shipment consignment",
        "expire expires expiry ends end runs",
        "vaccination jab shot",
        "busy crowded queue full waiting wait",
        "car vehicle van",
        "lesson class course",
    )
    for w in line.split()
}
"""Words that customers and documents use for the same thing."""


def _meant(word: str) -> str:
    return _SAME.get(stem(word), stem(word))


def _argument_words(argument: Argument) -> str:
    return f"{argument.label} {argument.description} {' '.join(words_of(str(v)) for v in argument.enum[:30])}"


def _explained(message: str, stems: frozenset[str], spans: Sequence[tuple[int, int]]) -> dict[str, float]:
    """How much of what a message says the operation's words and the values found in it account for, and how much is left over."""
    told = left = 0
    for match in re.finditer(r"[^\W_]+", message.lower()):
        if match[0] in _IDLE or len(match[0]) < 2:
            continue
        known = _meant(match[0]) in stems or any(a < match.end() and match.start() < b for a, b in spans)
        told, left = told + known, left + (not known)
    return {
        "explained": told / (told + left) if told + left else 0.0,
        "left": min(10, left) / 10,
    }


def _values(operation: Operation, message: str, today: date) -> tuple[float, float, list[tuple[int, int]]]:
    """Share of the required arguments that the message gives, whether it holds a code of the operation's own form, and where."""
    if not operation.askable:
        return 0.0, 0.0, []
    read = extract(operation, message, today=today)
    found = {n: f for n, f in read.items() if f.confidence >= 0.7}
    needed = operation.required or operation.askable
    named = [a for a in needed if a.name in found and kind_of(a) != "flag"]
    codes = any(kind_of(a) == "code" and any(c.isdigit() for c in str(found[a.name].value)) for a in operation.askable if a.name in found)
    return len(named) / len(needed), float(codes), [f.span for f in read.values()]


def _deeds_in(text: str) -> frozenset[int]:
    """Which deeds a text speaks of with a verb; "my order" and "the change" are things."""
    said = re.sub(r"[’']", "", text.lower())
    found: set[int] = set()
    for match in re.finditer(r"[^\W\d_]+", said):
        if not re.search(r"\b(?:my|the|an?|your|our|his|her|their|this|that|of|any|last|next|no|in|on|with)\s+$", said[: match.start()]):
            found |= _DEED_OF.get(stem(match[0]), frozenset())
    flat = "_".join(re.findall(r"[^\W\d_]+", said))
    return frozenset(found | {i for phrase, i in _PHRASES if phrase in flat})


def ways_to_say(operation: Operation) -> frozenset[str]:
    """Verbs for what an operation does, its own among them: `cancel`, `scrap`, `call off`; also the one that begins its description."""
    begins = operation.description.strip().partition(" ")[0].lower()
    plain = frozenset({begins, begins.removesuffix("s")} - {""})
    return plain | frozenset(verb.replace("_", " ") for deed in _deeds_of(operation) | _deeds_in(begins) for verb in _DEEDS[deed])


_DEED_OF: Mapping[str, frozenset[int]] = {
    stem(w): frozenset(i for i, deed in enumerate(_DEEDS) if stem(w) in {stem(x) for x in deed})
    for deed in _DEEDS
    for w in deed
    if "_" not in w
}
_PHRASES = tuple((w, i) for i, deed in enumerate(_DEEDS) for w in deed if "_" in w)


@once
def _deeds_of(operation: Operation) -> frozenset[int]:
    """What an operation does, by the first word of its summary; by all of them where that says nothing ("Ask for a refund")."""
    first = operation.summary.partition(" ")[0]
    return _deeds_in(first) or _deeds_in(f"{words_of(operation.name)}") or _deeds_in(operation.summary)


def _mood_features(operation: Operation, mood: Mood, message: str, deeds: frozenset[int]) -> dict[str, float]:
    does = operation.writes
    own = does and bool(_deeds_of(operation) & deeds)
    return {
        "order_write": float(does and mood is Mood.ORDER),
        "order_read": float(not does and mood is Mood.ORDER),
        "wonder_write": float(does and mood is Mood.WONDER),
        "wonder_read": float(not does and mood is Mood.WONDER),
        "ask_write": float(does and mood is Mood.ASK),
        "own_verb": float(own),
        "other_verb": float(does and bool(deeds) and not own),
    }
