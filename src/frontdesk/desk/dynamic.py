"""Live data: the one door to a tenant's operations. Read in order: proposing, asking, answering, acting, telling.

Acts only on an order, and where the operation says so only on a plain yes to exactly what will happen; speaks of nobody but the signed-in
customer. Values appear only as the platform rendered them. What documents, results and quoted words say can start no call: only the
customer's own message is read for one. Keeps nothing between turns.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from frontdesk.desk.acting import begun_before, idempotency_key
from frontdesk.desk.answering import answered, confirmed
from frontdesk.desk.asking import MOST_TRIES, go_on
from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.drafting import Writer
from frontdesk.desk.elicitation import Gathered, gather, records_of
from frontdesk.desk.guardrails import stem
from frontdesk.desk.identifying import identify
from frontdesk.desk.intent import Intent
from frontdesk.desk.matter import IDENTIFY, SIGN_IN, Attempt, Box, Matter, Proposal, Tools, plain_draft
from frontdesk.desk.modelled import by_model, written
from frontdesk.desk.own import among_own, holds, words_of_result
from frontdesk.desk.proposing import CERTAIN, LIVELY, SURE, built_in, names_another, proposed, wants_translation
from frontdesk.desk.subjects import foreign_id, other_subject
from frontdesk.desk.understanding import Part
from frontdesk.desk.wishes import about_oneself, agrees_to_nothing, asks, asks_somewhere, is_order, reports, speaks_of_own
from frontdesk.domain.conversation import Conversation, Pending, Route, Speaker
from frontdesk.domain.events import Event, SlotRequested
from frontdesk.domain.tenancy import Caller, Tenant, TenantId
from frontdesk.models.protocols import Embedder, LanguageModel, Matcher
from frontdesk.store.store import Store
from frontdesk.tools.addresses import without_address
from frontdesk.tools.builtin import builtin_operations
from frontdesk.tools.calling import ToolCaller
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.consent import Consent, consent, gives_up
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering
from frontdesk.tools.selection import Selector
from frontdesk.tools.strategies import Writing, strategy

DOUBTFUL = 0.6
"""Score of a look-up among the customer's own records up to which others that hold what the message names are as likely."""
Search = Callable[[TenantId, str], Awaitable[Sequence[Mapping[str, Any]]]]
"""A tenant and a question; passages as `{"title", "text", "source"}`."""


class Dynamic:
    """Chooses an operation, finds its arguments, asks for what is missing, calls, and says what came back."""

    def __init__(
        self,
        *,
        store: Store,
        embedder: Embedder,
        encoder: Embedder | None = None,
        matcher: Matcher | None = None,
        http: httpx.AsyncClient,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        model: LanguageModel | None = None,
        search: Search | None = None,
        translator: Callable[[Tenant], LanguageModel | None] = lambda _: None,
    ) -> None:
        """`encoder`: what compares a message with the operations, `embedder` where there is none; `matcher`: what reads both together; `search`: a tenant's knowledge, for models that propose; `translator`: a tenant's model for translating, where there is one."""
        self._encoder = encoder or embedder
        self._matcher = matcher
        self._tools = Tools(store=store, embedder=embedder, http=http, clock=clock)
        self._model = model
        self._search = search
        self._translator = translator
        self._boxes: dict[str, Box] = {}

    def unconnected(self, briefing: Briefing, intent: Intent) -> Draft | None:
        """What to say when live data is asked for and this tenant has no tools that work."""
        if not intent.name.startswith("dynamic/") or briefing.catalog.usable or intent.confidence <= 0.6 or intent.covered >= 0.4:
            return None
        return plain_draft(briefing.phrases.say("not_connected"), Route.DYNAMIC, confidence=intent.confidence)

    def still_foreign(self, briefing: Briefing, conversation: Conversation, message: str) -> Draft | None:
        """A yes to what was refused because it is somebody else's matter is refused once more, whatever "it" might mean."""
        spoken = [u.text for u in conversation.utterances if u.speaker is Speaker.DESK]
        said = briefing.phrases.say("other_person")
        if not spoken or said not in spoken[-1] or not agrees_to_nothing(message):
            return None
        return plain_draft(said, Route.REFUSE, confidence=0.9)

    async def serves(self, briefing: Briefing, message: str) -> bool:
        """Whether a message is surely about an operation. Raises ModelUnavailable."""
        ranked = await self._box(briefing).selector.rank(message, today=self._tools.clock().date())
        return bool(ranked) and ranked[0].score >= SURE

    async def propose(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent, message: str
    ) -> Proposal | None:
        """The operation that a part of a message is about, or None. Raises ModelUnavailable."""
        if intent.name in ("refuse/injection", "refuse/emergency"):
            return None
        turn = self._turn(briefing, caller, conversation)
        foreign = names_another(turn, message)
        if foreign is not None:
            return Proposal(operation=foreign, score=1.0, text=message)
        if turn.box.writer is not None and turn.box.writer.proposes:
            found = await by_model(turn, turn.box.writer, message)
            if found.operation is not None or found.heard:
                return found.proposal
        everyday = await built_in(turn, part)
        if everyday is not None or not briefing.catalog.usable or wants_translation(part.text):
            return everyday
        proposal = await proposed(turn, part)
        elsewhere = intent.route is Route.REFUSE and intent.confidence >= CERTAIN
        return None if proposal is not None and elsewhere and proposal.score < SURE and not proposal.repeats else proposal

    async def carry_out(self, briefing: Briefing, caller: Caller, conversation: Conversation, proposal: Proposal, message: str) -> Attempt:
        """Goes as far with a proposal as is allowed and known. Raises ModelUnavailable and StoreUnavailable; an API's faults are told."""
        turn = self._turn(briefing, caller, conversation)
        turn.events += proposal.events
        turn.modelled, turn.implied = proposal.writing is not None, proposal.implied
        proposal = await _rather_own(turn, proposal)
        refused = await self._refused(turn, proposal.operation, message)
        if refused is not None:
            return refused
        if proposal.writing is not None:
            return await self._written(turn, proposal, proposal.writing, message)
        gathered = Gathered(values=proposal.known)
        turn.pointing, turn.asked = proposal.pointing, proposal.asked
        if not proposal.repeats:
            known, fresh = proposal.known, dict[str, Any]()
            for said in dict.fromkeys(s for s in (proposal.focus, proposal.text) if s):
                gathered = await gather(proposal.operation, said, embedder=self._tools.embedder, today=turn.today, known=known)
                fresh |= gathered.fresh
                known = gathered.values
            gathered = replace(gathered, fresh=fresh)
        return await go_on(turn, proposal.operation, gathered, proposal.text, tries=0)

    async def in_own_records(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent
    ) -> tuple[tuple[Event, ...], Attempt | None]:
        """What the customer's own records say to a question that no source answers, found by a word that they hold; and what was read for it.

        Raises ModelUnavailable.
        """
        elsewhere = intent.route in (Route.REFUSE, Route.HANDOFF, Route.SMALLTALK) or reports(part.text)
        if elsewhere or caller.customer is None or not briefing.catalog.usable:
            return (), None
        turn = self._turn(briefing, caller, conversation)
        operation = await among_own(turn, part.text)
        if operation is None or await self._refused(turn, operation, part.text) is not None:
            return tuple(turn.events), None
        turn.fetched.clear()  # asked once more, so that a follow-up means this one and not the last that was looked into
        return (), await go_on(turn, operation, Gathered(), part.text, tries=0)

    async def resume(self, briefing: Briefing, caller: Caller, conversation: Conversation, message: str, intent: Intent) -> Attempt | None:
        """Takes a message as the answer to the pending question; None when it is about something else."""
        pending = conversation.pending
        operation = self._box(briefing).catalog.get(pending.operation) if pending else None
        if pending is None or operation is None or intent.asks_human or intent.name.startswith(("refuse/emergency", "refuse/forged")):
            return None
        turn = self._turn(briefing, caller, conversation, request=pending.request)
        turn.modelled = pending.proposed
        if pending.kind == "confirm" and consent(message, stated=pending.question) is Consent.YES:
            before = await begun_before(turn, operation, pending.arguments)
            if before is not None:
                return before  # a turn that a crash cut off is finished without the customer's token: what was done is told all the same
        if pending.kind == SIGN_IN:
            agrees = consent(message) is Consent.YES or (agrees_to_nothing(message) and not asks_somewhere(message))
            return turn.sign_in(operation, pending.words) if agrees and caller.customer is None else None
        if pending.kind == IDENTIFY:
            return await self._identified(turn, operation, pending, message)
        refused = await self._refused(turn, operation, message)
        if refused is not None:
            return refused
        if pending.kind == "confirm":
            return await confirmed(turn, operation, pending, message)
        return await answered(turn, operation, pending, message, intent)

    async def _identified(self, turn: Matter, operation: Operation, pending: Pending, message: str) -> Attempt | None:
        """A reply to who they are; with that known, what it was asked for goes on."""
        if gives_up(message):
            return turn.end(turn.say("dropped"), Route.ELICIT, confidence=0.9)
        unknown = await identify(turn, operation, pending.words, message, tries=pending.tries + 1)
        if unknown is not None:
            return None if asks(message) and not turn.calls else unknown
        if operation.identifies:
            return turn.end(turn.say("identified"), Route.DYNAMIC, confidence=0.8)
        gathered = await gather(operation, pending.words, embedder=self._tools.embedder, today=turn.today)
        return await go_on(turn, operation, gathered, pending.words, tries=0)

    def reminder(self, briefing: Briefing, pending: Pending) -> tuple[Sentence, SlotRequested] | None:
        """The open question once more, after a question in between was answered; None when it was repeated often enough."""
        if (
            pending.kind == SIGN_IN
            or pending.tries >= MOST_TRIES - 1
            or (pending.expires_at is not None and pending.expires_at < self._tools.clock())
        ):
            return None
        said = Sentence(text=briefing.phrases.say("back_to", question=pending.question), factual=False)
        return said, SlotRequested(pending=replace(pending, tries=pending.tries + 1))

    async def _written(self, turn: Matter, proposal: Proposal, writing: Writing, message: str) -> Attempt:
        """The proposal of a model through the gates, then what the model writes around the result; each further call goes through the same."""

        async def gated(operation: Operation, values: Mapping[str, Any]) -> Attempt:
            refused = await self._refused(turn, operation, message)
            if refused is not None:
                return refused
            return await go_on(turn, operation, Gathered(values=values, fresh=values), proposal.text, tries=0)

        return await written(turn, proposal, writing, message, gated)

    def _turn(self, briefing: Briefing, caller: Caller, conversation: Conversation, *, request: str = "") -> Matter:
        asked = sum(1 for u in conversation.utterances if u.speaker is Speaker.CUSTOMER)
        today = self._tools.clock().astimezone(ZoneInfo(briefing.tenant.timezone)).date()
        return Matter(
            tools=self._tools,
            box=self._box(briefing),
            briefing=briefing,
            caller=caller,
            conversation=conversation,
            today=today,
            request=request or str(asked),
        )

    def _box(self, briefing: Briefing) -> Box:
        known = self._boxes.get(briefing.tenant.id)
        if known is None or known.briefed is not briefing.catalog or known.rendering.currency != briefing.currency:
            rendering = Rendering(currency=briefing.currency, zone=ZoneInfo(briefing.tenant.timezone))
            catalog = briefing.catalog.beside(self._built_in(briefing.tenant))
            known = Box(
                catalog=catalog,
                briefed=briefing.catalog,
                selector=Selector(briefing.catalog.usable, self._encoder, self._matcher),
                caller=ToolCaller(catalog, http=self._tools.http, rendering=rendering),
                rendering=rendering,
                writer=self._writer(briefing.tenant),
            )
            self._boxes[briefing.tenant.id] = known
        return known

    def _built_in(self, tenant: Tenant) -> tuple[Operation, ...]:
        zone, search = ZoneInfo(tenant.timezone), self._search
        return builtin_operations(
            now=lambda: self._tools.clock().astimezone(zone),
            hours=tenant.handoff.hours,
            search=None if search is None else partial(search, tenant.id),
            translator=self._translator(tenant),
        )

    def _writer(self, tenant: Tenant) -> Writer | None:
        if self._model is None:
            return None
        chosen = strategy(str(tenant.models.get("strategy", "inline")), self._model)
        proposes = tenant.models.get("propose") == "model"
        return Writer(strategy=chosen, proposes=proposes, phrases=bool(tenant.models.get("phrase", True)) and not proposes)

    async def _refused(self, turn: Matter, operation: Operation, message: str) -> Attempt | None:
        """A request to say who one is, or a refusal to speak of somebody else."""
        if operation.identifies:
            unknown = None if turn.customer else await identify(turn, operation, message, message)
            return unknown or turn.end(turn.say("identified"), Route.DYNAMIC, confidence=0.8)
        if not operation.needs_customer:
            return None
        if turn.customer is None:
            identifies = bool(turn.box.catalog.identifying)
            unknown = await identify(turn, operation, message, message) if identifies else turn.sign_in(operation, message)
            if unknown is not None:
                return unknown
        known = turn.briefing.lexicon.frequency
        words = _catalog_words(turn.box.catalog) | _words_of_results(turn)
        names = " ".join(str(v) for c in turn.conversation.calls for r in records_of(c.result) for k, v in r.items() if "name" in str(k))
        names += " ".join(str(v) for c in (*turn.conversation.calls, *turn.calls) for k, v in c.arguments.items() if "name" in str(k))
        said = without_address(message)
        said = said if foreign_id(said, operation, turn.claims) else about_oneself(said)
        other = other_subject(said, operation, turn.claims, known_words={*known, *words}, own_names=names)
        if other is None or (other.name and await holds(turn, operation, other.name)):
            return None
        await self._tools.store.for_tenant(turn.briefing.tenant.id).desk.audit(
            actor=f"customer:{turn.customer}",
            action="tool.other_subject_refused",
            subject=operation.name,
            detail={"conversation": turn.conversation.id, "named": other.text},
        )
        return turn.end(turn.say("other_person"), Route.REFUSE, confidence=0.9)


async def _rather_own(turn: Matter, proposal: Proposal) -> Proposal:
    """The customer's own records instead of a public look-up that would have to ask, or of other records that are as likely, where they
    hold what the message speaks of as the customer's."""
    operation = proposal.operation
    public = bool(operation.required) and not operation.needs_customer
    doubtful = operation.bound and not operation.required and proposal.score < DOUBTFUL
    settled = operation.writes or operation.run is not None or proposal.repeats or proposal.writing is not None
    if turn.customer is None or settled:
        return proposal
    if proposal.rivals:
        own = await among_own(turn, proposal.focus or proposal.text, (operation, *proposal.rivals))
    elif (public or doubtful) and speaks_of_own(proposal.text):
        own = await among_own(turn, proposal.text)
    else:
        return proposal
    turn.fetched.clear()
    return proposal if own is None or own.name == operation.name else replace(proposal, operation=own, known={}, focus="", rest="")


def _words_of_results(turn: Matter) -> frozenset[str]:
    """Words that the API itself used in this conversation: products and places are no people."""
    return frozenset(w for c in (*turn.conversation.calls[-6:], *turn.calls) for w in words_of_result(c.result))


def _catalog_words(catalog: Catalog) -> set[str]:
    texts = [f"{o.summary} {o.description}" for o in catalog.operations]
    texts += [f"{a.label} {a.description} {' '.join(map(str, a.enum))}" for o in catalog.operations for a in o.askable]
    return {stem(w) for t in texts for w in re.findall(r"[^\W\d_]+", t.lower())}


__all__ = ["CERTAIN", "LIVELY", "Attempt", "Dynamic", "Proposal", "idempotency_key", "is_order"]
