"""One turn, from a message to a proved reply. Read `Desk.turn` first: it is the diagram. Keeps nothing between turns.

message -> intent -> (small talk | refusal | handoff | pending question | each thing asked: live data, FAQ, documents)
        -> guardrails -> sentences -> reply
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from frontdesk.desk import guardrails, languages
from frontdesk.desk.briefing import Briefing, Briefings
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.dynamic import CERTAIN, LIVELY, Attempt, Dynamic, Proposal
from frontdesk.desk.handoff import GIVES_UP, PUT_THROUGH, WANTS_HUMAN, Category, hand_off
from frontdesk.desk.intent import Intent
from frontdesk.desk.lookup import Lookup
from frontdesk.desk.phrasing import Phrasing
from frontdesk.desk.proposing import AT_HAND, POSSIBLE, wants_translation
from frontdesk.desk.quoting import drafted, with_rival
from frontdesk.desk.reading import Evidence, Question, Reader, together
from frontdesk.desk.understanding import Part, clauses_of, parts_of
from frontdesk.desk.wishes import asks, is_order
from frontdesk.domain.conversation import Conversation, Route, Speaker
from frontdesk.domain.events import (
    DraftRejected,
    Event,
    IntentRecognized,
    KnowledgeGapFound,
    PassagesRetrieved,
    QuestionUnderstood,
    ReplySent,
    SentenceReleased,
    SlotRequested,
)
from frontdesk.domain.tenancy import Caller, Tenant, TenantId
from frontdesk.knowledge.library import Library
from frontdesk.tools.selection import described_by

MOST_PARTS = 3
"""Questions of one message that are answered; more are rare and make a reply unreadable."""
OVERRULES = 0.66
"""Evidence this good is an answer even where the router saw no question."""
PERHAPS = 0.24
"""From here up to the reader's own bar the nearest text is shown as what it is: perhaps the answer."""
PERHAPS_ABROAD = 0.65
"""The same for a question in another language than English, which the reader was not trained on."""
SURE = 0.8
"""Confidence of the router from which an odd message is still what the router says."""
ASKED_IN_ANGER = 0.5
"""How sure an answer must be to be given to a complaint that asks something, before a human is fetched."""
DOUBTFUL = 0.5
CHATTY = 0.3
"""The same from which what no source answers in the middle of a conversation is small talk: a name that nobody knows is no greeting."""
SHORT_WISH = 12
"""Words up to which a wish for a human in another language is the matter of a message."""
FORGED = "refuse/forged"
"""Name of the intent of a message that pretends to be the system, the assistant or a tool."""
AGAIN = 0.4
"""What is left of a unit's chance to answer a follow-up when the desk has just said it."""
ALONE = 0.65
"""The same for a unit on its own merit, where many alike share the chance."""
ANGRY = 0.6
"""Anger from which a reply without a good answer would only add to it: then a human takes over."""
UNREADY = 0.65
"""How sure a tool must be where it would have to ask first and documents have an answer."""
ASKING = 0.5
"""The same where they have none."""
OWN_READY = 0.33
"""How sure a look into the records of a customer who is signed in must be, where documents have an answer too."""
OWN_EASE = 0.6
"""So much less (in log-odds) do the documents' chances count against it."""
STRANGER = 0.8
"""The same where a guest would have to sign in for it, and where a part of the message is answered already. A look-up less sure than this
that found nothing may not have been meant."""
LINES_OWN, LINES_LEAD = 0.3, 0.1
"""How like its own sources a message must be to be a line's matter, and how much more so than any other line's."""
RIVALRY = 0.6
"""By how much, in log-odds, live data is preferred to a document that answers about as well."""
_HOW = re.compile(r"\bhow (?:much|many|long|far|often|soon|do|can)\b|\bwhat (?:is|are|do|does|can)\b", re.IGNORECASE)
"""A question in the middle of a clause."""
_LIVELINESS = (Route.ELICIT, Route.DYNAMIC, Route.KNOWLEDGE, Route.FAQ, Route.REFUSE)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one part of a message got: a draft, or none when no source answers it."""

    part: Part
    draft: Draft | None
    nearest: Evidence | None = None


class Desk:
    """Answers one tenant's customer from that tenant's sources."""

    def __init__(
        self,
        *,
        briefings: Briefings,
        reader: Reader,
        library: Library,
        dynamic: Dynamic,
        phrasing: Phrasing,
        tenants: dict[TenantId, Tenant],
    ) -> None:
        self._briefings = briefings
        self._reader = reader
        self._library = library
        self._dynamic = dynamic
        self._tenants = tenants
        self._phrasing = phrasing

    async def turn(self, *, tenant: Tenant, caller: Caller, conversation: Conversation, message: str) -> AsyncGenerator[Event]:
        """The events of one turn; the last is ReplySent.

        Raises StoreUnavailable and ModelUnavailable (embeddings). A language model that is down is no error: the desk quotes.
        """
        strange = languages.unspoken(tenant, message) if conversation.pending is None else None  # a name or an address may be the answer
        language = strange or languages.spoken(tenant, conversation, message)
        briefing = (await self._briefings.of(tenant)).speaking(language)
        turn = self._turn(briefing, caller, conversation, message) if strange is None else self._strange(briefing, conversation, message)
        async with aclosing(turn) as events:
            async for event in events:
                yield replace(event, language=language) if isinstance(event, ReplySent) else event

    async def _strange(self, briefing: Briefing, conversation: Conversation, message: str) -> AsyncGenerator[Event]:
        """The events of a turn whose message is in a language that the tenant does not serve: a human or the emergency services where it
        asks for them, else which languages there are."""
        intent = _as_said(briefing, message, await briefing.recognizer.read(message, self._reader.embedder))
        urgent = intent.route is Route.HANDOFF or intent.name in ("refuse/emergency", FORGED)
        if not urgent:
            intent = replace(intent, route=Route.REFUSE, name="refuse/language", confidence=1.0)
        yield IntentRecognized(route=intent.route, name=intent.name, confidence=intent.confidence, scores=_top(intent))
        if urgent:
            async for event in self._pass_on(briefing, conversation, message, intent):
                yield event
            return
        said = briefing.phrases.say("only_speaks", languages=languages.named(briefing.tenant.languages, briefing.language))
        async for event in _say(_plain(Route.REFUSE, said, confidence=1.0)):
            yield event

    async def _turn(self, briefing: Briefing, caller: Caller, conversation: Conversation, message: str) -> AsyncGenerator[Event]:
        """The events of one turn in the customer's language."""
        intent = _as_said(briefing, message, await briefing.recognizer.read(message, self._reader.embedder))
        yield IntentRecognized(route=intent.route, name=intent.name, confidence=intent.confidence, scores=_top(intent))

        taken = await self._dynamic.resume(briefing, caller, conversation, message, intent) if conversation.pending is not None else None
        if taken is not None and not taken.lost:
            async for event in _carried(briefing, taken):
                yield event
            return
        with Lookup(self._reader, self._library) as lookup:
            decided = intent.name in ("refuse/emergency", FORGED) or _insists(conversation, message, intent)
            if decided or await self._needs_human(briefing, lookup, message, intent):
                async for event in self._pass_on(briefing, conversation, message, intent):
                    yield event
                return

            answers: list[Answer] = []
            asked = False
            async for event in self._answer_parts(briefing, lookup, caller, conversation, message, intent, answers):
                asked = asked or isinstance(event, SlotRequested)
                yield event
        if taken is not None and not asked and not self._answers(answers):
            async for event in _carried(briefing, taken):
                yield event
            return
        line = await self._line(briefing, message) if not any(a.draft for a in answers) else None
        if line is not None:
            said = briefing.phrases.say("other_line", line=line.tenant.name) + line.phrases.team()
            answers = [Answer(part=Part(text=message, readings=(message,)), draft=_plain(Route.REFUSE, said, confidence=0.6))]
        draft, gaps = _compose(briefing, conversation, intent, answers)
        for gap in gaps:
            yield gap
        if _upset(intent, draft, message, self._reader.answerable):
            async for event in self._pass_on(briefing, conversation, message, intent):
                yield event
            return
        async for event in self._reply(briefing, conversation, message, intent, draft, asked=asked):
            yield event

    async def _reply(
        self, briefing: Briefing, conversation: Conversation, message: str, intent: Intent, draft: Draft, *, asked: bool
    ) -> AsyncGenerator[Event]:
        """Words the draft, lets the guardrails look at it, and says it. `asked`: this turn asks for something itself."""
        if not briefing.foreign:
            draft, wording = await self._phrasing.of(message, draft, conversation)
            for event in wording:
                yield event
        if intent.anger > ANGRY and draft.route in _LIVELINESS:
            draft = replace(draft, sentences=(Sentence(text=briefing.phrases.say("sorry_anger"), factual=False), *draft.sentences))
        draft, rejected = _checked(briefing, draft)
        for objection in rejected:
            yield objection
        reminder = self._dynamic.reminder(briefing, conversation.pending) if conversation.pending and not asked else None
        if reminder is not None:
            yield reminder[1]
            draft = replace(draft, sentences=(*draft.sentences, reminder[0]))
        async for event in _say(draft):
            yield event

    async def _answer_parts(
        self,
        briefing: Briefing,
        lookup: Lookup,
        caller: Caller,
        conversation: Conversation,
        message: str,
        intent: Intent,
        answers: list[Answer],
    ) -> AsyncGenerator[Event]:
        """Each thing that the message asks, from live data where that is what it takes, else from FAQ and documents."""
        spelt = message if briefing.foreign else briefing.spelling.corrected(message)
        parts = parts_of(spelt, conversation, briefing.lexicon)[:MOST_PARTS]
        yield QuestionUnderstood(parts=tuple(p.readings[0] for p in parts))
        whole: list[Answer] = []
        async for event in self._look_up_whole(briefing, lookup, spelt, parts, intent, whole):
            yield event
        asked = False
        told: set[str] = set()
        beside: list[Part] = []
        waiting = list(parts)
        plain = self._dynamic.unconnected(briefing, intent) or self._dynamic.still_foreign(briefing, conversation, message)
        if plain is not None:
            answers += [Answer(part=part, draft=plain) for part in parts]
            return
        while waiting:
            part = waiting.pop(0)
            proposal = await self._dynamic.propose(briefing, caller, conversation, part, intent, message)
            read: list[Answer] = []
            repeated = proposal is not None and proposal.operation.name in told
            if proposal is None or proposal.score < CERTAIN or repeated:
                said = " ".join(s.text for a in answers if a.draft for s in a.draft.sentences)
                async for event in self._look_up(briefing, lookup, part, intent, read, alone=len(parts) == 1, said=said):
                    yield event
            if repeated and proposal is not None and proposal.score < CERTAIN and self._answers(read):
                proposal = None  # one answer of an operation is enough where the documents answer the other question
            if proposal is not None and proposal.score >= _bar(read, proposal, answered=bool(answers)):
                attempt = await self._dynamic.carry_out(briefing, caller, conversation, proposal, message)
                attempt = replace(attempt, missed=attempt.missed and proposal.score < STRANGER)
                async for event in self._instead(briefing, lookup, part, intent, attempt, read, alone=len(parts) == 1):
                    yield event
                if not (asked and attempt.asks):  # one open question at a time
                    asked = asked or attempt.asks
                    told.add(proposal.operation.name)
                    for event in attempt.events:
                        yield event
                    answers += self._better(read, Answer(part=part, draft=attempt.draft), attempt, proposal)
                    if proposal.rest and not attempt.asks and part not in beside:
                        beside.append(replace(part, text=proposal.rest, readings=(proposal.rest, f"{proposal.focus} {proposal.rest}")))
                        waiting.insert(0, beside[-1])
                    continue
            held: list[Answer] = []
            if not self._answers(read):
                last = proposal if not repeated and not any(a.draft for a in (*read, *answers)) else None
                async for event in self._otherwise(briefing, caller, conversation, part, intent, last, message, held, asked=asked):
                    asked = asked or isinstance(event, SlotRequested)
                    yield event
            answered = held or [_or_whole(found, whole) for found in read]
            answers += [a for a in answered if a.draft is not None or part not in beside]

    async def _instead(
        self, briefing: Briefing, lookup: Lookup, part: Part, intent: Intent, attempt: Attempt, read: list[Answer], *, alone: bool
    ) -> AsyncGenerator[Event]:
        """Reads the sources too, where a look-up knew nothing of what the customer named."""
        if attempt.missed and not read:
            async for event in self._look_up(briefing, lookup, part, intent, read, alone=alone):
                yield event

    def _better(self, read: list[Answer], live: Answer, attempt: Attempt, proposal: Proposal) -> list[Answer]:
        """What the sources answer, where a look-up missed; else what came of the look-up. Where that only asks for something, what the sources
        answer surely stands before it: who meant a rule need not say more first."""
        if attempt.missed and self._answers(read):
            return read
        open_to_doubt = read and attempt.asks and not proposal.operation.writes and proposal.score < STRANGER
        nearest = read[0].nearest if open_to_doubt else None
        told = read[0].draft if nearest is not None and nearest.probability >= OVERRULES else None
        if told is None or live.draft is None:
            return [live]
        return [read[0], replace(live, draft=replace(live.draft, route=told.route))]

    async def _look_up_whole(
        self, briefing: Briefing, lookup: Lookup, message: str, parts: Sequence[Part], intent: Intent, answers: list[Answer]
    ) -> AsyncGenerator[Event]:
        """Begins all searches; a message of several parts is also read as a whole."""
        lookup.begin(briefing, *([message] if len(parts) > 1 else []), *(p.readings[0] for p in parts))
        if len(parts) > 1:
            async for event in self._look_up(briefing, lookup, Part(text=message, readings=(message,)), intent, answers, alone=False):
                yield event

    async def _otherwise(
        self,
        briefing: Briefing,
        caller: Caller,
        conversation: Conversation,
        part: Part,
        intent: Intent,
        last: Proposal | None,
        message: str,
        held: list[Answer],
        *,
        asked: bool,
    ) -> AsyncGenerator[Event]:
        """What is left where no source answers surely: the customer's own records, then a look-up that is better than nothing."""
        async for event in self._look_among_own(briefing, caller, conversation, part, intent, held):
            yield event
        if not held:
            async for event in self._try_last(briefing, caller, conversation, part, last, message, held, asked=asked):
                yield event

    async def _look_among_own(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent, answers: list[Answer]
    ) -> AsyncGenerator[Event]:
        """What no source answers may stand in the customer's own records."""
        looked, held = await self._dynamic.in_own_records(briefing, caller, conversation, part, intent)
        for event in held.events if held is not None else looked:
            yield event
        if held is not None:
            answers.append(Answer(part=part, draft=held.draft))

    async def _try_last(
        self,
        briefing: Briefing,
        caller: Caller,
        conversation: Conversation,
        part: Part,
        proposal: Proposal | None,
        message: str,
        answers: list[Answer],
        *,
        asked: bool,
    ) -> AsyncGenerator[Event]:
        """A look-up that is better than no answer, where there is none. `asked`: this turn asks for something already."""
        if proposal is None or not proposal.last:
            return
        attempt = await self._dynamic.carry_out(briefing, caller, conversation, proposal, message)
        if not (asked and attempt.asks):
            for event in attempt.events:
                yield event
            answers.append(Answer(part=part, draft=attempt.draft))

    async def _line(self, briefing: Briefing, message: str) -> Briefing | None:
        """The line behind a front door whose matter a message is that nothing answers; None when it is none's, or several's."""
        lines = [await self._briefings.of(self._tenants[t]) for t in briefing.tenant.lines if t in self._tenants]
        covered = [((await line.recognizer.read(message, self._reader.embedder)).covered, line) for line in lines]
        covered.sort(key=lambda pair: -pair[0])
        if not covered or covered[0][0] < LINES_OWN or (len(covered) > 1 and covered[0][0] - covered[1][0] < LINES_LEAD):
            return None
        return covered[0][1]

    def _answers(self, answers: Sequence[Answer]) -> bool:
        """Whether live data or the sources answer something, and not only perhaps."""
        return any(a.draft is not None and (a.nearest is None or a.nearest.probability >= self._reader.answerable) for a in answers)

    async def _pass_on(self, briefing: Briefing, conversation: Conversation, message: str, intent: Intent) -> AsyncGenerator[Event]:
        """Nothing is looked up: the customer needs a human, or the emergency services."""
        if intent.route is Route.REFUSE:
            kind = "injection" if intent.name == FORGED else "emergency"
            async for event in _say(_plain(Route.REFUSE, briefing.phrases.say(kind), confidence=intent.confidence)):
                yield event
            return
        handed = hand_off(briefing.tenant, conversation, message, _category(intent))
        if briefing.foreign:
            handed = replace(handed, promised=briefing.phrases.say("handed"))
        yield handed
        async for event in _say(_plain(Route.HANDOFF, handed.promised, confidence=intent.confidence), handoff=True):
            yield event

    async def _needs_human(self, briefing: Briefing, lookup: Lookup, message: str, intent: Intent) -> bool:
        """Whether the wish for a human is the matter, and not a word in a question that the sources answer."""
        if intent.route is not Route.HANDOFF:
            return False
        if intent.confidence < DOUBTFUL and intent.anger < DOUBTFUL and await self._dynamic.serves(briefing, message):
            return False
        asked = not intent.asks_human and _category(intent) is not Category.POLICY and _asks_something(message)
        plain = intent.confidence >= SURE or intent.anger > 0.5 or len(guardrails.content_words(message)) < 5
        if plain and not asked:
            return True
        ranked = (await lookup.read(briefing, message)).ranked
        return not ranked or ranked[0].probability < (ASKED_IN_ANGER if asked else OVERRULES)

    async def _look_up(
        self, briefing: Briefing, lookup: Lookup, part: Part, intent: Intent, answers: list[Answer], *, alone: bool, said: str = ""
    ) -> AsyncGenerator[Event]:
        """Reads the tenant's sources (and those of the lines behind a front door) for one part of the message; `alone`: it has no other.

        `said`: what answers the parts before it. Two questions of one message seldom have one answer.
        """
        tenant = briefing.tenant
        lines = [briefing, *[await self._briefings.of(self._tenants[t]) for t in tenant.lines if t in self._tenants]]
        best: tuple[Question, list[Evidence]] | None = None
        for reading in (*part.readings, part.continued):
            if not reading or (reading == part.continued and best is not None and best[1][0].probability >= _least(briefing)):
                continue
            ranked: list[Evidence] = []
            for line in lines:
                lookup.begin(line, reading)
            for line in lines:
                found = await lookup.read(line, reading)
                if line is briefing or found.hits:
                    yield PassagesRetrieved(
                        question=reading,
                        passages=tuple(h.passage.id for h in found.hits),
                        scores=tuple(round(h.score, 4) for h in found.hits),
                    )
                ranked += found.ranked
            if tenant.lines:
                ranked = together(ranked)
            if part.follow_up or said:
                known = f"{part.told if part.follow_up else ''} {said}"
                ranked = [replace(e, probability=e.probability * AGAIN) if e.unit.told_in(known) else e for e in ranked]
                # What answers the part before this one, and this one hardly, is not said again in place of an answer.
                ranked = [e for e in ranked if e.probability >= OVERRULES * AGAIN or not e.unit.told_in(said)] if said else ranked
            ranked.sort(key=lambda e: -e.probability)
            ranked = _understood(briefing, ranked)
            if ranked and (best is None or ranked[0].probability > best[1][0].probability + 0.02):
                best = found.question, ranked
        if best is None:
            answers.append(Answer(part=part, draft=None))
            return
        question, ranked = best
        chance = ranked[0].probability
        off_topic = intent.route in (Route.SMALLTALK, Route.REFUSE) or wants_translation(part.text)
        strict = off_topic or briefing.foreign
        if chance < (OVERRULES if off_topic else _least(briefing)) and (strict or ranked[0].alone < ALONE):
            answers.append(Answer(part=part, draft=None, nearest=ranked[0]))
            return
        draft = drafted(question, ranked)
        if alone and not briefing.foreign:
            draft = with_rival(draft, question, ranked, between=briefing.phrases.say("or_this"))
        if (there := briefing.written(ranked[0].unit.passage)) != briefing.language:
            said = briefing.phrases.say("only_in", languages=languages.named([there], briefing.language))
            draft = replace(draft, sentences=(Sentence(text=said, factual=False), *draft.sentences))
        if chance < self._reader.answerable:
            draft = replace(draft, sentences=(Sentence(text=briefing.phrases.say("perhaps"), factual=False), *draft.sentences))
        answers.append(Answer(part=part, draft=draft, nearest=ranked[0]))


def _understood(briefing: Briefing, ranked: list[Evidence]) -> list[Evidence]:
    """What is written in the customer's language where that answers, else what is written in others."""
    if len(briefing.tenant.languages) == 1:
        return ranked
    own = [e for e in ranked if briefing.written(e.unit.passage) == briefing.language]
    if own and own[0].probability >= _least(briefing):
        return own
    others = [e for e in ranked if e not in own]
    return others if others and (not own or others[0].probability > own[0].probability) else own


def _least(briefing: Briefing) -> float:
    """How likely an answer must be to be shown."""
    return PERHAPS_ABROAD if briefing.foreign else PERHAPS


def _upset(intent: Intent, draft: Draft, message: str, enough: float) -> bool:
    """An angry customer for whom the desk has no good answer: none at all, or a mere perhaps or a question back to somebody who neither
    asked nor ordered anything."""
    perhaps = draft.route in (Route.FAQ, Route.KNOWLEDGE) and draft.confidence < enough
    besides = perhaps or (draft.route is Route.ELICIT and not is_order(message))
    unanswered = draft.route is Route.REFUSE or (besides and not _asks_something(message))
    return intent.anger > ANGRY and unanswered and intent.route is not Route.REFUSE


def _asks_something(message: str) -> bool:
    """Whether some part of a message is a question, whatever else it vents."""
    return any(asks(clause) or _HOW.search(clause) for clause in clauses_of(message))


def _or_whole(found: Answer, whole: Sequence[Answer]) -> Answer:
    """The answer to one part, or that to the message as a whole where it is surer: half a story often misses what the other half says."""
    if not whole or whole[0].nearest is None or whole[0].draft is None:
        return found
    surer = found.draft is None or (found.nearest is not None and whole[0].nearest.probability > found.nearest.probability + 0.15)
    return replace(whole[0], part=found.part) if surer else found


def _bar(read: Sequence[Answer], proposal: Proposal, *, answered: bool) -> float:
    """How sure a tool must be, the surer the better the documents answer the same question.

    `answered`: another part of the message has its answer already; then a question back needs better grounds.
    """
    if not read:
        return 0.0
    if answered and proposal.unready and proposal.score < STRANGER:
        return STRANGER
    nearest = read[0].nearest
    own = proposal.operation.needs_customer
    if (proposal.for_members or proposal.implied) and nearest is not None and nearest.probability >= OVERRULES:
        return CERTAIN
    at_hand = own and not (proposal.unready or proposal.operation.writes or answered)
    if read[0].draft is None or nearest is None:
        return POSSIBLE if at_hand else ASKING if proposal.unready else LIVELY if proposal.operation.writes else AT_HAND
    odds = nearest.probability / max(1e-6, 1 - nearest.probability)
    # Asking for a detail costs less than asking a guest to sign in for what may be a question about the rules.
    least = STRANGER if proposal.unready and own else UNREADY if proposal.unready else OWN_READY if at_hand else LIVELY
    rivalry = RIVALRY + (OWN_EASE if at_hand else 0.0)
    return max(least, 1 / (1 + math.exp(rivalry - 0.5 * math.log(max(odds, 1e-6)))))


async def _carried(briefing: Briefing, attempt: Attempt) -> AsyncGenerator[Event]:
    """What an attempt led to, as events up to the reply."""
    for event in attempt.events:
        yield event
    draft, rejected = _checked(briefing, attempt.draft)
    for objection in rejected:
        yield objection
    async for event in _say(draft):
        yield event


def _compose(
    briefing: Briefing, conversation: Conversation, intent: Intent, answers: Sequence[Answer]
) -> tuple[Draft, list[KnowledgeGapFound]]:
    """One draft for the whole message, and what no source answered."""
    drafts = _distinct([a.draft for a in answers if a.draft is not None])
    open_parts = [a for a in answers if a.draft is None]
    if not drafts:
        begun = any(u.speaker is Speaker.DESK for u in conversation.utterances)
        chatty = intent.route is Route.SMALLTALK and (intent.confidence >= CHATTY or not begun)
        if intent.route is Route.REFUSE or chatty:
            kind = intent.name.split("/")[-1]
            key = kind if briefing.phrases.has(kind) else intent.route.value
            return _plain(intent.route, briefing.phrases.say(key), confidence=intent.confidence), []
        key = "unknown_again" if conversation.failures + 1 >= GIVES_UP else "unknown"
        gaps = [_gap(a) for a in open_parts]
        nearest = max((a.nearest.probability for a in open_parts if a.nearest), default=0.0)
        return _plain(Route.REFUSE, briefing.phrases.say(key) + briefing.elsewhere(), confidence=1.0 - nearest), gaps
    gaps = [_gap(a) for a in open_parts if len(guardrails.content_words(a.part.text)) >= 2] if intent.route is not Route.SMALLTALK else []
    sentences = [s for d in drafts for s in d.sentences]
    sentences += [
        Sentence(text=briefing.phrases.say("partly_unknown", question=g.question[:120].rstrip(" ?")), factual=False) for g in gaps[:1]
    ]
    return (
        Draft(
            route=min((d.route for d in drafts), key=_LIVELINESS.index),
            sentences=tuple(sentences),
            confidence=min(d.confidence for d in drafts),
            citations=tuple(dict.fromkeys(c for d in drafts for c in d.citations)),
            calls=tuple(c for d in drafts for c in d.calls),
        ),
        gaps,
    )


def _distinct(drafts: Sequence[Draft]) -> list[Draft]:
    """Drafts without repeats: two parts that led to the same answer are one."""
    kept: list[Draft] = []
    for draft in drafts:
        said = {s.text for d in kept for s in d.sentences}
        fresh = tuple(s for s in draft.sentences if s.text not in said)
        if fresh:
            kept.append(replace(draft, sentences=fresh))
    return kept


def _checked(briefing: Briefing, draft: Draft) -> tuple[Draft, list[DraftRejected]]:
    """The draft without the sentences that the guardrails object to; an honest line when none is left."""
    kept: list[Sentence] = []
    rejected: list[DraftRejected] = []
    for sentence in draft.sentences:
        reason = guardrails.objection(sentence.text, sentence.proofs) if sentence.factual else None
        if reason is None and sentence.factual and guardrails.repeats_prompt(sentence.text, briefing.tenant.persona):
            reason = "repeats the desk's own instructions"
        if reason is None:
            kept.append(sentence)
        else:
            rejected.append(DraftRejected(sentence=sentence.text, objection=reason))
    if not rejected:
        return draft, []
    if not any(s.factual for s in kept):
        return _plain(Route.REFUSE, briefing.phrases.say("unknown"), confidence=0.5), rejected
    return replace(draft, sentences=tuple(kept)), rejected


async def _say(draft: Draft, *, handoff: bool = False) -> AsyncGenerator[Event]:
    """Releases the sentences one by one, then the reply."""
    for i, sentence in enumerate(draft.sentences):
        yield SentenceReleased(text=sentence.text if i == 0 else f"{sentence.gap}{sentence.text}")
    yield ReplySent(
        text=draft.text,
        route=draft.route,
        confidence=round(min(1.0, max(0.0, draft.confidence)), 3),
        citations=draft.citations,
        tool_calls=draft.calls,
        handoff=handoff,
    )


def _plain(route: Route, text: str, *, confidence: float) -> Draft:
    return Draft(route=route, sentences=(Sentence(text=text, factual=False),), confidence=confidence)


def _gap(answer: Answer) -> KnowledgeGapFound:
    near = answer.nearest
    return KnowledgeGapFound(
        question=answer.part.text,
        best_source=near.unit.passage.source if near else "",
        best_score=round(near.probability, 3) if near else 0.0,
    )


def _category(intent: Intent) -> Category:
    if intent.asks_human:
        return Category.REQUESTED
    named = {"complaint": Category.COMPLAINT, "incident": Category.EMERGENCY, "legal": Category.POLICY}.get(intent.name.split("/")[-1])
    if named is not None:
        return named
    return Category.ANGER if intent.anger > 0.5 else Category.REQUESTED


def _insists(conversation: Conversation, message: str, intent: Intent) -> bool:
    """The desk offered a human after repeated failure, and the customer says yes."""
    offered = conversation.failures >= GIVES_UP
    return offered and intent.name == "smalltalk/acknowledgement" and len(message.split()) <= 4


def _as_said(briefing: Briefing, message: str, intent: Intent) -> Intent:
    """The intent, unless the message itself shows a greeting or a forgery."""
    if guardrails.plays_a_role(message):
        return replace(intent, route=Route.REFUSE, name=FORGED, confidence=1.0)
    if briefing.foreign:
        return _abroad(briefing, message, intent)
    tries = intent.name in ("refuse/injection", "refuse/emergency")
    if (tries and WANTS_HUMAN.search(message)) or PUT_THROUGH.search(message):
        return replace(intent, route=Route.HANDOFF, name="handoff/requested", confidence=max(SURE, intent.confidence), asks_human=True)
    return _greeted(briefing, message, intent)


def _abroad(briefing: Briefing, message: str, intent: Intent) -> Intent:
    """The intent of a message that the router, which knows English, can hardly read: the words of its language, else a question."""
    for kind in ("greeting", "thanks", "goodbye"):
        if languages.asks(kind, briefing.language, message):
            return replace(intent, route=Route.SMALLTALK, name=f"smalltalk/{kind}", confidence=1.0, anger=0.0)
    if languages.asks("emergency", briefing.language, message):
        return replace(intent, route=Route.REFUSE, name="refuse/emergency", confidence=1.0)
    if languages.asks("human", briefing.language, message) and len(message.split()) <= SHORT_WISH:
        return replace(intent, route=Route.HANDOFF, name="handoff/requested", confidence=1.0, anger=0.0)
    if intent.name == "refuse/injection" and intent.confidence >= SURE:
        return intent
    return replace(intent, route=Route.KNOWLEDGE, name="knowledge", anger=0.0)


def _greeted(briefing: Briefing, message: str, intent: Intent) -> Intent:
    """A greeting for a few words that neither ask, nor count, nor name anything this tenant knows: a hello in another language."""
    words = guardrails.content_words(message)
    known = any(briefing.lexicon.frequency.get(w) for w in words)
    strange = (
        not known
        and not languages.shows(languages.ENGLISH, message)
        and not any(described_by(operation, words) for operation in briefing.catalog.usable)
    )
    few = len(message.split()) <= 4 and "?" not in message and not any(c.isdigit() for c in message)
    unsure = intent.route not in (Route.HANDOFF, Route.SMALLTALK) and intent.name not in ("refuse/emergency", "refuse/injection")
    if briefing.phrases.is_greeting(message) or (words and strange and few and unsure and intent.confidence < SURE):
        return replace(intent, route=Route.SMALLTALK, name="smalltalk/greeting")
    return intent


def _top(intent: Intent) -> dict[str, float]:
    return {name: round(p, 3) for name, p in sorted(intent.scores.items(), key=lambda item: -item[1])[:5]}
