"""Live data: which operation a message is about, what it still needs, the call, and the answer. Acts only on an order, and where the
operation says so only on a plain yes to exactly what will happen; speaks of nobody but the signed-in customer. Keeps nothing between turns.

Values appear only as the platform rendered them, never as a model or a customer wrote them. What documents, results and quoted words
say can start no call: only the customer's own message is read for one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.elicitation import (
    Choices,
    Gathered,
    Record,
    choices_from,
    choices_of,
    facet_of,
    field_of,
    fitting,
    gather,
    hint_of,
    label_of,
    listed,
    missing,
    pick_record,
    provider_of,
    records_of,
    said_of,
    shifted,
)
from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.intent import Intent
from frontdesk.desk.subjects import foreign_id, other_subject
from frontdesk.desk.telling import tell
from frontdesk.desk.understanding import Part, clauses_of, leans_on_history
from frontdesk.domain.conversation import Conversation, Pending, Route, Speaker, ToolCall
from frontdesk.domain.events import Event, SlotFilled, SlotRequested, ToolCalled
from frontdesk.domain.tenancy import Caller, Tenant
from frontdesk.errors import BadArguments, SignInRequired
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.builtin import builtin_operations
from frontdesk.tools.calling import Failure, ToolCaller, ToolOutcome, verified
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.checking import fit
from frontdesk.tools.consent import Consent, consent, correction, gives_up
from frontdesk.tools.operation import Argument, Operation, words_of
from frontdesk.tools.rendering import Rendering, facts, money, render
from frontdesk.tools.selection import Choice, Mood, Selector, mood_of
from frontdesk.tools.slots import kind_of

POSSIBLE = 0.25
"""Score from which an operation is thought of at all."""
SETTLED = 0.25
"""What an operation gains when everything it needs is already on the table."""
LEANING = 0.75
"""What a follow-up to an answer from documents counts as a matter of its own."""
SLIGHT = 0.1
"""Lead by which the operation of an earlier turn wins over one that the words alone suggest."""
LIVELY = 0.42
"""Score from which a message counts as being about an operation."""
CLOSE_RIVAL = 1.0
"""Operations this close in rank are told apart by how likely each is the matter at all."""
CERTAIN = 0.9
"""Score from which documents are not even asked."""
SURE = 0.8
"""Score from which a message that was meant to answer a question is taken to be about something else."""
CONFIRM_MINUTES = 10
MOST_TRIES = 3
"""Times that a detail is asked for before a human is offered."""
SIGN_IN = "sign_in"
"""Kind of a pending request to sign in; no words can answer it."""
FEW = 5
"""So many results are shown; more are narrowed down first."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An operation that one part of a message is about. Nothing was called yet."""

    operation: Operation
    score: float
    text: str
    """The customer's words that it is for."""
    known: Mapping[str, Any] = field(default_factory=dict)
    unready: bool = False
    """Nothing can be called yet: somebody has to sign in first, or to say more."""
    rest: str = ""
    """What else the same words ask, for other sources."""
    focus: str = ""
    """The one sentence among them that is about the operation; empty when all are."""
    repeats: bool = False
    """The operation of an earlier turn, with changed arguments."""
    pointing: str = ""
    """The words that say which record is meant, when the question itself is an earlier one."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it: events in their order, and what to say."""

    draft: Draft
    events: tuple[Event, ...] = ()

    @property
    def asks(self) -> bool:
        """True when the customer was asked for something and the desk waits for it."""
        return any(isinstance(e, SlotRequested) for e in self.events)


@dataclass(kw_only=True)
class _Box:
    """One tenant's tools."""

    catalog: Catalog
    selector: Selector
    caller: ToolCaller
    rendering: Rendering


@dataclass(kw_only=True)
class _Turn:
    """One turn's dealings with one operation."""

    box: _Box
    briefing: Briefing
    caller: Caller
    conversation: Conversation
    today: date
    request: str
    events: list[Event] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    pointing: str = ""
    answering: bool = False
    """The message answers something that the desk asked."""

    @property
    def claims(self) -> Mapping[str, Any]:
        return verified(self.caller)

    def say(self, key: str, **values: str) -> str:
        return self.briefing.phrases.say(key, **values)


class Dynamic:
    """Chooses an operation, finds its arguments, asks for what is missing, calls, and says what came back."""

    def __init__(
        self, *, store: Store, embedder: Embedder, http: httpx.AsyncClient, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._http = http
        self._clock = clock
        self._boxes: dict[str, _Box] = {}

    def unconnected(self, briefing: Briefing, intent: Intent) -> Draft | None:
        """What to say when live data is asked for and this tenant has no tools that work."""
        if not intent.name.startswith("dynamic/") or briefing.catalog.usable or intent.confidence <= 0.6 or intent.covered >= 0.4:
            return None
        return _draft(briefing.phrases.say("not_connected"), Route.DYNAMIC, confidence=intent.confidence)

    async def serves(self, briefing: Briefing, message: str) -> bool:
        """Whether a message is surely about an operation. Raises ModelUnavailable."""
        ranked = await self._box(briefing).selector.rank(message, today=self._clock().date())
        return bool(ranked) and ranked[0].score >= SURE

    async def propose(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent, message: str
    ) -> Proposal | None:
        """The operation that a part of a message is about, or None. Raises ModelUnavailable."""
        if not briefing.catalog.usable or intent.name in ("refuse/injection", "refuse/emergency"):
            return None
        turn = self._turn(briefing, caller, conversation)
        foreign = self._names_another(turn, message)
        if foreign is not None:
            return Proposal(operation=foreign, score=1.0, text=message)
        text = part.readings[-1] if part.follow_up else part.readings[0]
        again = await self._again(turn, part.text)
        fresh = await self._fresh(turn, text, part, conversation)
        if again is None:
            return fresh
        if fresh is None or again.score >= fresh.score + SLIGHT or again.operation.name == fresh.operation.name:
            return again
        return fresh

    async def carry_out(self, briefing: Briefing, caller: Caller, conversation: Conversation, proposal: Proposal, message: str) -> Attempt:
        """Goes as far with a proposal as is allowed and known. Raises ModelUnavailable and StoreUnavailable; an API's faults are told."""
        turn = self._turn(briefing, caller, conversation)
        refused = await self._refused(turn, proposal.operation, message)
        if refused is not None:
            return refused
        gathered = Gathered(values=proposal.known)
        turn.pointing = proposal.pointing
        if not proposal.repeats:
            known, fresh = proposal.known, dict[str, Any]()
            for said in dict.fromkeys(s for s in (proposal.focus, proposal.text) if s):
                gathered = await gather(proposal.operation, said, embedder=self._embedder, today=turn.today, known=known)
                fresh |= gathered.fresh
                known = gathered.values
            gathered = replace(gathered, fresh=fresh)
        return await self._go_on(turn, proposal.operation, gathered, proposal.text, tries=0)

    async def resume(self, briefing: Briefing, caller: Caller, conversation: Conversation, message: str, intent: Intent) -> Attempt | None:
        """Takes a message as the answer to the pending question; None when it is about something else."""
        pending = conversation.pending
        operation = briefing.catalog.get(pending.operation) if pending else None
        if pending is None or operation is None or intent.asks_human or intent.name.startswith(("refuse/emergency", "refuse/forged")):
            return None
        turn = self._turn(briefing, caller, conversation, request=pending.request)
        if pending.kind == SIGN_IN:
            agrees = consent(message) is Consent.YES
            return self._sign_in(turn, operation, pending.words) if agrees and caller.customer is None else None
        refused = await self._refused(turn, operation, message)
        if refused is not None:
            return refused
        if pending.kind == "confirm":
            return await self._confirmed(turn, operation, pending, message)
        return await self._answered(turn, operation, pending, message, intent)

    def reminder(self, briefing: Briefing, pending: Pending) -> tuple[Sentence, SlotRequested] | None:
        """The open question once more, after a question in between was answered; None when it was repeated often enough."""
        if (
            pending.kind == SIGN_IN
            or pending.tries >= MOST_TRIES - 1
            or (pending.expires_at is not None and pending.expires_at < self._clock())
        ):
            return None
        said = Sentence(text=briefing.phrases.say("back_to", question=pending.question), factual=False)
        return said, SlotRequested(pending=replace(pending, tries=pending.tries + 1))

    def _turn(self, briefing: Briefing, caller: Caller, conversation: Conversation, *, request: str = "") -> _Turn:
        asked = sum(1 for u in conversation.utterances if u.speaker is Speaker.CUSTOMER)
        today = self._clock().astimezone(ZoneInfo(briefing.tenant.timezone)).date()
        return _Turn(
            box=self._box(briefing),
            briefing=briefing,
            caller=caller,
            conversation=conversation,
            today=today,
            request=request or str(asked),
        )

    def _box(self, briefing: Briefing) -> _Box:
        known = self._boxes.get(briefing.tenant.id)
        if known is None or known.catalog is not briefing.catalog:
            rendering = Rendering(zone=ZoneInfo(briefing.tenant.timezone))
            known = _Box(
                catalog=briefing.catalog,
                selector=Selector(briefing.catalog.usable, self._embedder),
                caller=ToolCaller(briefing.catalog, http=self._http, rendering=rendering),
                rendering=rendering,
            )
            self._boxes[briefing.tenant.id] = known
        return known

    # -- which operation ---------------------------------------------------------------------------------------------------------

    async def _fresh(self, turn: _Turn, text: str, part: Part, conversation: Conversation) -> Proposal | None:
        """The best operation for the words, or for the one sentence of them that is about one; one that acts only when they are an order."""
        idle = _agrees_to_nothing(part.text)
        orders = (is_order(part.text) or is_order(text)) and not idle
        best: Choice | None = None
        focus = ""
        for said in _sentences(text):
            ranked = await turn.box.selector.rank(said, today=turn.today)
            ranked = [c for c in ranked if not c.operation.writes or orders or (not idle and _wishes(part.text, c))]
            close = [c for c in ranked[:3] if c.margin >= -CLOSE_RIVAL or c is ranked[0]]
            found = max(close, key=lambda c: c.score, default=None)
            if found is not None and (best is None or found.score > best.score):
                best, focus = found, said if said != text else ""
        if best is None or best.score < POSSIBLE:
            return None
        known = self._from_earlier(turn, best.operation, part.text)
        pending = turn.conversation.pending
        at_hand = pending is not None and bool(best.operation.required) and not missing(best.operation, known)
        score = min(SURE, best.score + SETTLED) if at_hand else best.score
        score = max(score, CERTAIN) if best.operation.writes and score >= LIVELY else score  # an order is no question for documents
        if part.follow_up and not _was_live(turn.conversation):
            score *= LEANING
        unsigned = best.operation.needs_customer and turn.caller.customer is None
        given = best.features.get("open", 0.0) == 0
        return Proposal(
            unready=unsigned or not (given or best.operation.needs_customer),
            rest=self._rest(text, focus),
            operation=best.operation,
            score=score,
            text=text,
            known=known,
            focus=focus,
        )

    def _rest(self, text: str, focus: str) -> str:
        """The other clauses that ask something, when one clause is the operation's matter."""
        others = [c for c in clauses_of(text) if c not in focus and focus not in c and _asks(c)] if focus else []
        return " ".join(others)

    async def _again(self, turn: _Turn, text: str) -> Proposal | None:
        """The last read once more, for "and for ...?", "the one before", "and now?" or another value of the same record."""
        last = _last_read(turn)
        if last is None:
            return None
        call, operation, recent = last
        said = text.lower()
        moved = shifted(operation, text, call)
        on_top = await gather(operation, text, embedder=None, today=turn.today, known=call.arguments)
        changed = {n: v for n, v in on_top.fresh.items() if call.arguments.get(n) != v}
        if not any(n in call.arguments for n in changed):
            anew = await gather(operation, text, embedder=None, today=turn.today)
            changed |= {n: v for n, v in anew.fresh.items() if call.arguments.get(n) != v and kind_of(_argument(operation, n)) != "words"}
        changed |= moved
        leaning = leans_on_history(text)
        if not recent or is_order(text):
            return None
        question = f"{_question_before(turn)} {text}"
        known = dict(call.arguments)
        again = Proposal(operation=operation, score=0.0, text=question, known=known, repeats=True, pointing=text)
        if changed and (leaning or len(content_words(text)) <= 3 or correction(text) is not None):
            return replace(again, score=0.9, known={**known, **changed})
        if _REPEAT.search(said) and not changed and len(content_words(text)) <= 10:
            return replace(again, score=0.85)
        if leaning and pick_record(records_of(call.result), text, turn.today) is not None:
            return replace(again, score=LIVELY, text=text)
        if leaning and _names_a_field(text, operation, call, turn.box.rendering):
            return replace(again, score=0.7, text=text)
        return None

    def _from_earlier(self, turn: _Turn, operation: Operation, text: str) -> dict[str, Any]:
        """Arguments that earlier turns settle: the record that is pointed at, and the one that was last spoken of."""
        known: dict[str, Any] = {}
        points = leans_on_history(text) or _POINTS.search(text.lower()) is not None
        earlier = [c for c in turn.conversation.calls if c.error is None][-3:]
        for argument in operation.askable:
            for call in reversed(earlier):
                records = records_of(call.result)
                index = pick_record(records, text, turn.today)
                value = field_of(records[index], argument) if index is not None else None
                if value is None and points and argument.name in call.arguments:
                    value = call.arguments[argument.name]
                if value is None and points and argument.required and len(records) == 1 and kind_of(argument) == "code":
                    value = field_of(records[0], argument)
                if value is not None:
                    known[argument.name] = value
                    break
        pending = turn.conversation.pending
        if pending is not None:
            same = {a.name for a in operation.askable if kind_of(a) != "words"}
            known.update({n: v for n, v in pending.arguments.items() if n in same and n not in known})
        return known

    def _names_another(self, turn: _Turn, message: str) -> Operation | None:
        """The operation whose bound identifier the message gives, for somebody else than the signed-in customer."""
        if turn.caller.customer is None:
            return None
        return next((o for o in turn.box.catalog.usable if o.bound and foreign_id(message, o, turn.claims)), None)

    # -- may it be done ----------------------------------------------------------------------------------------------------------

    async def _refused(self, turn: _Turn, operation: Operation, message: str) -> Attempt | None:
        """A request to sign in, or a refusal to speak of somebody else."""
        if not operation.needs_customer:
            return None
        if turn.caller.customer is None:
            return self._sign_in(turn, operation, message)
        known = turn.briefing.lexicon.frequency
        words = _catalog_words(turn.box.catalog)
        names = " ".join(str(v) for c in turn.conversation.calls for r in records_of(c.result) for k, v in r.items() if "name" in str(k))
        other = other_subject(message, operation, turn.claims, known_words={*known, *words}, own_names=names)
        if not other:
            return None
        await self._store.for_tenant(turn.briefing.tenant.id).desk.audit(
            actor=f"customer:{turn.caller.customer}",
            action="tool.other_subject_refused",
            subject=operation.name,
            detail={"conversation": turn.conversation.id, "named": other},
        )
        return self._end(turn, turn.say("other_person"), Route.REFUSE, confidence=0.9)

    def _sign_in(self, turn: _Turn, operation: Operation, words: str) -> Attempt:
        link = turn.briefing.tenant.identity.sign_in_url
        said = turn.say("sign_in", link=f" {turn.say('sign_in_link', url=link)}" if link else "")
        turn.events.append(SlotRequested(pending=Pending(kind=SIGN_IN, question=said, operation=operation.name, words=words[-600:])))
        return self._end(turn, said, Route.ELICIT, confidence=0.9)

    # -- step by step ------------------------------------------------------------------------------------------------------------

    async def _go_on(self, turn: _Turn, operation: Operation, gathered: Gathered, words: str, *, tries: int) -> Attempt:
        """Asks for the next thing that is missing, asks for a yes, or calls."""
        turn.events += [SlotFilled(slot=n, value=v) for n, v in gathered.fresh.items()]
        values = dict(gathered.values)
        problem = next(((n, why) for n, why in gathered.problems.items() if n not in values), None)
        if problem is not None:
            return self._ask_again(turn, operation, values, problem, words, tries=tries + 1)
        if missing(operation, values):
            values.update(await self._of_profile(turn, operation, values))
        for argument in missing(operation, values):
            found = await self._by_reading(turn, operation, argument, values, words)
            if isinstance(found, Attempt):
                return found
            if found is None or isinstance(found, Choices):
                told = {n: v for n, v in gathered.fresh.items() if operation.argument(n)} if turn.answering else {}
                lead = turn.say("noted", details=_details(operation, told, turn.box.rendering)) if told else ""
                return self._ask(turn, operation, argument, values, words, choices=found, tries=tries, lead=lead)
            values[argument.name] = found
            turn.events.append(SlotFilled(slot=argument.name, value=found, source="earlier"))
        if operation.confirm:
            return await self._ask_consent(turn, operation, values, words)
        return await self._call(turn, operation, values, words)

    async def _of_profile(self, turn: _Turn, operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the customer's own record gives, of the same name; it is fetched once in a conversation."""
        profile = turn.box.catalog.get(str(turn.briefing.tenant.profile.get("operation", "")))
        if profile is None or profile.writes or profile.required or profile.name == operation.name or turn.caller.customer is None:
            return {}
        before = next((c for c in reversed(turn.conversation.calls) if c.name == profile.name and c.error is None), None)
        data = before.result if before else (await self._read(turn, profile, {})).data
        named = {words_of(str(k)): v for k, v in data.items()} if isinstance(data, Mapping) else {}
        open_now = [a for a in missing(operation, values) if words_of(a.name) in named]
        return {a.name: fit(a, named[words_of(a.name)])[0] for a in open_now if not fit(a, named[words_of(a.name)])[1]}

    async def _by_reading(
        self, turn: _Turn, operation: Operation, argument: Argument, values: Mapping[str, Any], words: str
    ) -> Any | Choices | Attempt | None:
        """What a read finds out about a missing argument: its value, the choices there are, or None when no read knows."""
        provider = provider_of(turn.box.catalog, operation, argument, values)
        if provider is None or (provider.needs_customer and turn.caller.customer is None):
            return None
        own = {a.name: values[a.name] for a in provider.required}
        outcome = await self._read(turn, provider, own)
        if not outcome.ok:
            return None
        listed_records = records_of(outcome.data)
        records = [r for r in listed_records if field_of(r, argument) is not None]
        if listed_records and not records:
            return None
        if not records:
            named = provider.summary.partition(" ")[2].lower() or provider.summary.lower()
            return self._end(turn, turn.say("none_of_those", what=_plainly(named)), Route.DYNAMIC, confidence=0.8)
        kept, _ = fitting(records, operation, words, turn.today)
        choices = choices_from(kept, argument, turn.box.rendering)
        return choices.values[0] if len(choices.values) == 1 else choices

    def _ask(
        self,
        turn: _Turn,
        operation: Operation,
        argument: Argument,
        values: Mapping[str, Any],
        words: str,
        *,
        choices: Choices | None = None,
        tries: int = 0,
        lead: str = "",
    ) -> Attempt:
        """One short question for one detail."""
        offered = choices or choices_of(argument)
        thing = said_of(argument)
        if offered is not None and len(offered.labels) <= 12:
            question = turn.say("ask_choice", what=thing, choices=listed(offered.labels))
        elif argument.type == "boolean":
            question = turn.say("ask_yes_no", what=thing)
        else:
            question = turn.say("ask_slot", what=thing, hint=hint_of(argument))
        if tries >= MOST_TRIES:
            return self._end(turn, turn.say("ask_gave_up", what=thing), Route.ELICIT, confidence=0.6)
        pending = Pending(
            kind="slot",
            question=question,
            operation=operation.name,
            slot=argument.name,
            arguments=dict(values),
            choices=offered.labels if offered else (),
            values=offered.values if offered else (),
            words=words[-600:],
            request=turn.request,
            tries=tries,
        )
        turn.events.append(SlotRequested(pending=pending))
        return self._end(turn, f"{lead} {question}".strip(), Route.ELICIT, confidence=0.8)

    def _ask_again(
        self, turn: _Turn, operation: Operation, values: Mapping[str, Any], problem: tuple[str, str], words: str, *, tries: int
    ) -> Attempt:
        """Says what is wrong with a value and asks for it again."""
        argument = operation.argument(problem[0])
        assert argument is not None  # noqa: S101 - only values for askable arguments are read
        said = said_of(argument)
        lead = turn.say("slot_problem", what=f"{said[:1].upper()}{said[1:]}", why=problem[1])
        return self._ask(turn, operation, argument, values, words, tries=tries, lead=lead)

    async def _ask_consent(self, turn: _Turn, operation: Operation, values: Mapping[str, Any], words: str, *, lead: str = "") -> Attempt:
        """States exactly what will happen and waits for a yes."""
        unknown = await self._unknown_record(turn, operation, values)
        if unknown is not None:
            return unknown
        question = turn.say("confirm", what=_action(operation), details=_details(operation, values, turn.box.rendering))
        pending = Pending(
            kind="confirm",
            question=question,
            operation=operation.name,
            arguments=dict(values),
            expires_at=self._clock() + timedelta(minutes=CONFIRM_MINUTES),
            words=words[-600:],
            request=turn.request,
        )
        turn.events.append(SlotRequested(pending=pending))
        return self._end(turn, f"{lead} {question}".strip(), Route.ELICIT, confidence=0.9)

    async def _unknown_record(self, turn: _Turn, operation: Operation, values: Mapping[str, Any]) -> Attempt | None:
        """What to say when the customer's own list does not hold the record that is to be acted on."""
        for argument in operation.required:
            if argument.name not in values or kind_of(argument) != "code" or argument.where.value != "path":
                continue
            provider = provider_of(turn.box.catalog, operation, argument, values)
            if provider is None or not provider.needs_customer or any(c.name == provider.name for c in turn.calls):
                continue
            outcome = await self._read(turn, provider, {a.name: values[a.name] for a in provider.required})
            held = [field_of(r, argument) for r in records_of(outcome.data)] if outcome.ok else []
            if outcome.ok and values[argument.name] not in held:
                said = turn.say("not_yours", what=f"{argument.label} {values[argument.name]}")
                return self._end(turn, said, Route.REFUSE, confidence=0.85)
        return None

    # -- answers to what the desk asked ------------------------------------------------------------------------------------------

    async def _confirmed(self, turn: _Turn, operation: Operation, pending: Pending, message: str) -> Attempt | None:
        """A reply to "shall I?"."""
        gathered = await gather(operation, message, embedder=None, today=turn.today, known=pending.arguments)
        changed = {n: v for n, v in gathered.values.items() if pending.arguments.get(n) != v}
        answer = consent(message, stated=pending.question)
        if answer is Consent.YES and not changed:
            if pending.expires_at is None or pending.expires_at < self._clock():
                return await self._ask_consent(turn, operation, pending.arguments, pending.words, lead=turn.say("confirm_expired"))
            return await self._call(turn, operation, pending.arguments, pending.words)
        if gives_up(message) and not changed:
            return self._end(turn, turn.say("nothing_done"), Route.ELICIT, confidence=0.9)
        loose = changed or await self._replaced(turn, operation, pending, message)
        if loose:
            values = {**pending.arguments, **loose}
            return await self._ask_consent(turn, operation, values, f"{pending.words} {message}")
        if answer is Consent.NO:
            return self._end(turn, turn.say("nothing_done"), Route.ELICIT, confidence=0.9)
        if _asks(message):
            return None
        if gathered.values and await self._restated(turn, operation, pending, message):
            return await self._ask_consent(turn, operation, pending.arguments, pending.words)
        turn.events.append(SlotRequested(pending=pending))
        return self._end(turn, turn.say("nothing_done_yet"), Route.ELICIT, confidence=0.7)

    async def _restated(self, turn: _Turn, operation: Operation, pending: Pending, message: str) -> bool:
        """The reply names what is to be confirmed, without a yes."""
        said = (await gather(operation, message, embedder=None, today=turn.today)).fresh
        return bool(said) and all(pending.arguments.get(n) == v for n, v in said.items())

    async def _replaced(self, turn: _Turn, operation: Operation, pending: Pending, message: str) -> dict[str, Any]:
        """Values in the reply that differ from those to be confirmed: "yes but at 10", "it was 13.20"."""
        if _agrees_to_nothing(message) and not re.search(r"\b(?:but|except|only|instead)\b", message.lower()):
            return {}
        if "?" in message and not re.search(r"\b(?:but|instead|make|change)\b", message.lower()):
            return {}
        fresh = (await gather(operation, message, embedder=None, today=turn.today)).fresh
        return {
            n: v
            for n, v in fresh.items()
            if pending.arguments.get(n) != v
            and (n in pending.arguments)
            and kind_of(operation.argument(n) or operation.askable[0]) != "words"
        }

    async def _answered(self, turn: _Turn, operation: Operation, pending: Pending, message: str, intent: Intent) -> Attempt | None:
        """A reply to a question for a detail."""
        if _ANYTHING.search(message.lower()) and not missing(operation, pending.arguments) and not operation.writes:
            return await self._call(turn, operation, pending.arguments, f"{pending.words} {message}")
        refuses = consent(message) is Consent.NO and not any(c.isdigit() for c in message) and not _is_flag(operation, pending.slot)
        if gives_up(message) or refuses:
            return self._end(turn, turn.say("dropped"), Route.ELICIT, confidence=0.9)
        turn.answering = True
        labels = Choices(labels=pending.choices, values=pending.values or pending.choices) if pending.choices else None
        argument = operation.argument(pending.slot)
        asked = pending.slot
        if argument is not None and kind_of(argument) == "words" and _asks(message):
            asked = ""
        gathered = await gather(
            operation, message, embedder=self._embedder, today=turn.today, known=pending.arguments, asked=asked, choices=labels
        )
        words = f"{pending.words} {message}"
        loose = {} if gathered.fresh else await self._replaced(turn, operation, pending, message)
        if loose:
            gathered = Gathered(values={**gathered.values, **loose}, fresh=loose)
        side = _asks(message) and pending.slot not in gathered.values and pending.slot not in gathered.problems
        if gathered.fresh or gathered.problems:
            if side and not leans_on_history(message) and not gathered.problems:
                return None
            tries = 0 if gathered.fresh else pending.tries
            return await self._go_on(turn, operation, gathered, words, tries=tries)
        if labels is not None:
            kept = [v for label, v in zip(labels.labels, labels.values, strict=True) if _mentions(label, message)]
            if len(kept) == 1:
                chosen = {**pending.arguments, pending.slot: kept[0]}
                return await self._go_on(turn, operation, Gathered(values=chosen, fresh={pending.slot: kept[0]}), words, tries=0)
        switched = await self._switched(turn, operation, pending, message)
        if switched is not None:
            return await self._go_on(turn, switched[0], switched[1], words, tries=0)
        if side or intent.route is Route.HANDOFF or _is_courtesy(intent) or await self._elsewhere(turn, operation, message):
            return None
        argument = operation.argument(pending.slot)
        if argument is None:
            return None
        return self._ask(
            turn, operation, argument, pending.arguments, words, choices=labels, tries=pending.tries + 1, lead=turn.say("not_understood")
        )

    async def _switched(self, turn: _Turn, operation: Operation, pending: Pending, message: str) -> tuple[Operation, Gathered] | None:
        """Another read that the answer fits much better than the one the desk took it for: it holds several of its values, and none of ours."""
        for choice in (await turn.box.selector.rank(message, today=turn.today))[:2]:
            other = choice.operation
            if (
                other.name == operation.name
                or other.writes
                or choice.score < POSSIBLE
                or (other.needs_customer and not turn.caller.customer)
            ):
                continue
            before = await gather(other, pending.words, embedder=None, today=turn.today, known=pending.arguments)
            gathered = await gather(other, message, embedder=None, today=turn.today, known=before.values)
            if sum(1 for n in gathered.fresh if kind_of(_argument(other, n)) != "words") >= 2:
                return other, gathered
        return None

    async def _elsewhere(self, turn: _Turn, operation: Operation, message: str) -> bool:
        """The message is about another operation by itself."""
        if len(content_words(message)) < 3:
            return False
        best = (await turn.box.selector.rank(message, today=turn.today))[:1]
        return bool(best) and best[0].operation.name != operation.name and best[0].score >= SURE

    # -- calls -------------------------------------------------------------------------------------------------------------------

    async def _read(self, turn: _Turn, operation: Operation, values: Mapping[str, Any]) -> ToolOutcome:
        outcome = await turn.box.caller.call(operation, values, turn.claims)
        self._note(turn, operation, outcome)
        return outcome

    def _note(self, turn: _Turn, operation: Operation, outcome: ToolOutcome, key: str = "") -> None:
        turn.calls.append(outcome.call)
        turn.events.append(
            ToolCalled(call=outcome.call, milliseconds=round(outcome.milliseconds, 1), writes=operation.writes, text=outcome.text, key=key)
        )

    async def _call(self, turn: _Turn, operation: Operation, values: Mapping[str, Any], words: str) -> Attempt:
        """Makes the call and says what came of it."""
        try:
            if operation.writes:
                return await self._act(turn, operation, values, words)
            outcome = await self._read(turn, operation, values)
        except SignInRequired:
            return self._sign_in(turn, operation, words)
        except BadArguments as wrong:
            name, why = next(iter(wrong.reasons.items()))
            if operation.argument(name) is None:
                raise
            kept = {n: v for n, v in values.items() if n not in wrong.reasons}
            return self._ask_again(turn, operation, kept, (name, why), words, tries=1)
        if not outcome.ok:
            return self._failed(turn, operation, outcome)
        narrower = facet_of(operation, outcome.data, values)
        rows = records_of(outcome.data)
        if narrower is not None and len(rows) > FEW and not _ANYTHING.search(words.lower()):
            count = turn.say("narrow", count=str(_count(outcome.data, rows)))
            return self._ask(turn, operation, narrower[0], values, words, choices=narrower[1], lead=count)
        return await self._tell(turn, operation, await self._worked_out(turn, operation, outcome), outcome.call, words)

    async def _worked_out(self, turn: _Turn, operation: Operation, outcome: ToolOutcome) -> Any:
        """The answer with the values that are calculated from it, each by a call of its own."""
        data = outcome.data
        if not operation.derived or not isinstance(data, Mapping):
            return data
        known = {**outcome.call.arguments, **{k: v for k, v in data.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}}
        calculate = builtin_operations(now=self._clock)[0]
        for derived in operation.derived:
            names = re.findall(r"\{([\w.-]+)\}", derived.expression)
            if any(name not in known for name in names):
                continue
            expression = re.sub(r"\{([\w.-]+)\}", lambda m: str(known[m[1]]), derived.expression)
            worked = await turn.box.caller.call(calculate, {"expression": expression}, {})
            self._note(turn, calculate, worked)
            if worked.ok:
                amount = Decimal(str(worked.data["result"]))
                shown = money(amount, derived.currency) if derived.currency else str(worked.data["result"])
                data = {**data, derived.label: shown}
        return data

    async def _act(self, turn: _Turn, operation: Operation, values: Mapping[str, Any], words: str) -> Attempt:
        """Acts once: the same request, repeated by a crash or a retry, is only told again."""
        key = idempotency_key(turn.conversation.id, turn.request, operation.name, values)
        done = turn.conversation.acted.get(key)
        if done is not None and done.error is None:
            turn.calls.append(done)
            return await self._tell(turn, operation, done.result, done, words)
        desk = self._store.for_tenant(turn.briefing.tenant.id).desk
        actor = f"customer:{turn.caller.customer}" if turn.caller.customer else "customer:anonymous"
        about = {"conversation": turn.conversation.id, "arguments": dict(values), "key": key}
        await desk.audit(actor=actor, action="tool.act", subject=operation.name, detail=about)
        outcome = await turn.box.caller.call(operation, values, turn.claims, idempotency_key=key)
        self._note(turn, operation, outcome, key)
        came = "done" if outcome.ok else str(outcome.failure)
        await desk.audit(actor=actor, action="tool.acted", subject=operation.name, detail={**about, "outcome": came})
        if not outcome.ok:
            return self._failed(turn, operation, outcome)
        return await self._tell(turn, operation, outcome.data, outcome.call, words)

    def _failed(self, turn: _Turn, operation: Operation, outcome: ToolOutcome) -> Attempt:
        """One clear sentence on why there is no answer; the cause is in the event."""
        detail = outcome.detail.strip().rstrip(".")
        details = ", ".join(f"{operation.argument(n).label} {v}" for n, v in outcome.call.arguments.items() if operation.argument(n))  # type: ignore[union-attr]
        if outcome.failure is Failure.NOT_FOUND:
            key = "not_yours" if operation.needs_customer else "not_found"
            said = turn.say(key, what=details or _plainly(operation.summary.lower()))
        elif outcome.failure in (Failure.CONFLICT, Failure.INVALID) and detail:
            said = turn.say("not_possible_act" if operation.writes else "not_possible", why=detail)
        elif operation.writes and outcome.failure in _UNSURE:
            said = turn.say("act_unsure")
        else:
            said = turn.say("trouble")
        return self._end(turn, said, Route.DYNAMIC, confidence=0.5)

    async def _tell(self, turn: _Turn, operation: Operation, data: Any, call: ToolCall, words: str) -> Attempt:
        told = await tell(
            operation,
            data,
            words,
            arguments=call.arguments,
            today=turn.today,
            embedder=self._embedder,
            rendering=turn.box.rendering,
            pointing=turn.pointing,
        )
        text = told.text
        if operation.writes:
            details = _details(operation, call.arguments, turn.box.rendering)
            text = f"{turn.say('done', what=_action(operation), details=f' ({details})' if details else '')} {told.text}"
        proofs = (text, render(data, operation.response, turn.box.rendering.for_operation(operation)))
        sentence = Sentence(text=text, proofs=proofs, factual=not operation.writes)
        return Attempt(
            draft=Draft(route=Route.DYNAMIC, sentences=(sentence,), confidence=0.9, calls=tuple(turn.calls)), events=tuple(turn.events)
        )

    def _end(self, turn: _Turn, text: str, route: Route, *, confidence: float) -> Attempt:
        return Attempt(draft=_draft(text, route, confidence=confidence, calls=tuple(turn.calls)), events=tuple(turn.events))


def _argument(operation: Operation, name: str) -> Argument:
    found = operation.argument(name)
    assert found is not None  # noqa: S101 - only askable arguments are gathered
    return found


def is_order(text: str) -> bool:
    """Whether a message orders something to be done: no question about whether or how, no "what if"."""
    whole = text.lower().replace("’", "'").strip()
    if re.search(r"\b(?:if i|what if|suppose|would i|could i|can i|may i|am i|how (?:do|can|would|could|to)|hypothetical\w*)\b", whole):
        return False
    return any(_orders(clause) for clause in (text, *re.split(r"[,.;!]\s+|\band\b", text)))


def _orders(clause: str) -> bool:
    said = clause.lower().strip()
    if mood_of(clause) is Mood.ORDER:
        return True
    first = re.match(r"^(?:(?:hi|hello|hey|ok|okay|so|and|then|please|pls|just|also|yes|now)\b[\s,!.]*)*(\w+)\s+me\b", said)
    return first is not None and first[1] not in _SHOWS and not said.endswith("?")


def idempotency_key(conversation: str, request: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """What makes an act the same act: conversation, the message that asked for it, operation, exact arguments."""
    said = json.dumps([conversation, request, operation, arguments], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:40]


_SHOWS = frozenset(
    [
        "show",
        "tell",
        "give",
        "get",
        "let",
        "excuse",
        "forgive",
        "trust",
        "believe",
        "for",
        "to",
        "is",
        "was",
        "about",
        "on",
        "at",
        "with",
        "of",
        "and",
        "did",
        "does",
        "has",
        "cost",
        "costs",
    ]
)
_REPEAT = re.compile(
    r"\b(?:again|now|still|any (?:change|news|update)s?|changed|once more|re-?check|check (?:it )?again|look again|same|latest|update)\b"
)
_POINTS = re.compile(
    r"\b(?:it|that|this|those|these|the (?:first|second|third|fourth|last|other|same|latter|former)|same|there|he|she|they|one)\b"
)
_UNSURE = frozenset({Failure.SLOW, Failure.DOWN, Failure.FAULT, Failure.NOT_JSON, Failure.TOO_LARGE})
_ASKING = re.compile(
    r"^\W*(?:(?:and|but|so|ok|okay|wait|hmm+|first|also|sorry)\W+)*(?:what|how|when|where|which|who|why|is|are|can|could|do|does|did|will|would|should|am|has|have)\b"
)


_ANYTHING = re.compile(
    r"\b(?:show (?:me|them|all|everything)|list (?:them|all)|any(?:thing)? (?:will do|is fine|goes)?|no preference|don['’]?t (?:mind|care)|does(?:n['’]?t| not) matter|all of them|"
    r"whatever|whichever|just show)\b"
)


def _count(data: Any, rows: Sequence[Record]) -> int:
    """How many results there are, by the answer's own count where it has one."""
    counts = (
        [v for k, v in data.items() if isinstance(v, int) and str(k) in ("count", "total", "found")] if isinstance(data, Mapping) else []
    )
    return counts[0] if counts else len(rows)


def _agrees_to_nothing(text: str) -> bool:
    """A yes where the desk waits for none: it orders nothing."""
    return re.match(r"^\W*(?:yes|yeah|yep|yup|sure|i confirm|confirmed?|i agree|agreed|go ahead|do it)\b", text.lower()) is not None


def _sentences(text: str) -> list[str]:
    """The text, and each of its sentences that asks or orders when it has several; a statement beside a question starts nothing."""
    found = [c for c in clauses_of(text) if len(content_words(c)) >= 2]
    wants = [s for s in found if _asks(s) or is_order(s) or re.search(r"\bplease\b", s.lower())]
    return [text, *(wants or found)[:6]] if len(found) > 1 else [text]


def _asks(message: str) -> bool:
    said = message.lower().strip()
    return said.endswith("?") or _ASKING.match(said) is not None


def _wishes(text: str, choice: Choice) -> bool:
    """A clause that begins with the operation's own verb: "freeze it"."""
    if _asks(text) or re.search(r"\bif i\b", text.lower()):
        return False
    verb = stem(re.split(r"\W+", choice.operation.summary.lower())[0])
    for clause in re.split(r"[,.;!]\s+|\band\b", text.lower()):
        first = re.match(r"^\s*(?:(?:hi|hello|hey|ok|okay|so|please|pls|just|also)\b[\s,!.]*)*(\w+)", clause)
        if first is not None and stem(first[1]) == verb:
            return True
    return False


def _is_courtesy(intent: Intent) -> bool:
    return intent.route is Route.SMALLTALK and intent.confidence >= SURE


def _is_flag(operation: Operation, name: str) -> bool:
    argument = operation.argument(name)
    return argument is not None and argument.type == "boolean"


def _mentions(label: str, message: str) -> bool:
    said = {stem(w) for w in re.findall(r"[^\W_]+", message.lower()) if len(w) > 2}
    return bool(said & {stem(w) for w in re.findall(r"[^\W_]+", label.lower()) if len(w) > 2})


def _last_read(turn: _Turn) -> tuple[ToolCall, Operation, bool] | None:
    """The latest call that only read, its operation, and whether the desk's last answer came from it."""
    spoken = [u for u in turn.conversation.utterances if u.speaker is Speaker.DESK]
    recent = bool(spoken) and any(u.route in (Route.DYNAMIC, None) for u in spoken[-2:])
    for call in reversed(turn.conversation.calls):
        operation = turn.box.catalog.get(call.name)
        if operation is not None and not operation.writes and call.name != turn.briefing.tenant.profile.get("operation"):
            return call, operation, recent
    return None


def _was_live(conversation: Conversation) -> bool:
    spoken = [u for u in conversation.utterances if u.speaker is Speaker.DESK]
    return bool(spoken) and spoken[-1].route in (Route.DYNAMIC, Route.ELICIT)


def _question_before(turn: _Turn) -> str:
    asked = [u.text for u in turn.conversation.utterances if u.speaker is Speaker.CUSTOMER]
    return asked[-1][-300:] if asked else ""


def _names_a_field(text: str, operation: Operation, call: ToolCall, rendering: Rendering) -> bool:
    """Whether a short follow-up names something that the last answer held."""
    said = set(content_words(text))
    if not said or len(said) > 4 or call.error is not None:
        return False
    labels = {w for f in facts(call.result, operation.response, rendering) for w in content_words(f.label)}
    return bool(said & labels)


def _catalog_words(catalog: Catalog) -> set[str]:
    texts = [f"{o.summary} {o.description}" for o in catalog.operations]
    texts += [f"{a.label} {a.description} {' '.join(map(str, a.enum))}" for o in catalog.operations for a in o.askable]
    return {stem(w) for t in texts for w in re.findall(r"[^\W\d_]+", t.lower())}


def _action(operation: Operation) -> str:
    """The operation as something to do: `cancel a booking`."""
    return _plainly(operation.summary[:1].lower() + operation.summary[1:])


def _plainly(text: str) -> str:
    said = re.sub(r"\b(?:of|for) the (?:signed-in )?(?:customer|member|person|patient|user|client)\b", "", text)
    said = re.sub(r"\bthe (?:signed-in )?(?:customer|member|person|patient|user|client)(?:'s|’s)", "your", said)
    return " ".join(said.split()).rstrip(".")


def _details(operation: Operation, values: Mapping[str, Any], rendering: Rendering) -> str:
    """The exact values, as they will be sent: ` (seat 9A, day 3 March 2027)`."""
    schema = {"properties": {a.name: {**a.schema, "description": a.description} for a in operation.askable}}
    said = [f"{f.label[:1].lower()}{f.label[1:]} {f.text}" for f in facts(dict(values), schema, rendering.for_operation(operation))]
    return ", ".join(said)


def _draft(text: str, route: Route, *, confidence: float, calls: Sequence[ToolCall] = ()) -> Draft:
    return Draft(route=route, sentences=(Sentence(text=text, factual=False),), confidence=confidence, calls=tuple(calls))


__all__ = ["CERTAIN", "LIVELY", "Attempt", "Dynamic", "Proposal", "Record", "Tenant", "idempotency_key", "is_order", "label_of"]
