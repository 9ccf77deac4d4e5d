"""Live data: the one door to a tenant's operations. Read in order: proposing, asking, answering, acting, telling.

Acts only on an order, and where the operation says so only on a plain yes to exactly what will happen; speaks of nobody but the signed-in
customer. Values appear only as the platform rendered them. What documents, results and quoted words say can start no call: only the
customer's own message is read for one. Keeps nothing between turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from frontdesk.desk.acting import idempotency_key
from frontdesk.desk.answering import answered, confirmed
from frontdesk.desk.asking import MOST_TRIES, go_on
from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.elicitation import Gathered, gather, records_of
from frontdesk.desk.guardrails import stem
from frontdesk.desk.intent import Intent
from frontdesk.desk.matter import SIGN_IN, Attempt, Box, Matter, Proposal, Tools, plain_draft
from frontdesk.desk.proposing import CERTAIN, LIVELY, SURE, names_another, proposed
from frontdesk.desk.subjects import other_subject
from frontdesk.desk.understanding import Part
from frontdesk.desk.wishes import is_order
from frontdesk.domain.conversation import Conversation, Pending, Route, Speaker
from frontdesk.domain.events import SlotRequested
from frontdesk.domain.tenancy import Caller
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.calling import ToolCaller
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.consent import Consent, consent
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering
from frontdesk.tools.selection import Selector


class Dynamic:
    """Chooses an operation, finds its arguments, asks for what is missing, calls, and says what came back."""

    def __init__(
        self, *, store: Store, embedder: Embedder, http: httpx.AsyncClient, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._tools = Tools(store=store, embedder=embedder, http=http, clock=clock)
        self._boxes: dict[str, Box] = {}

    def unconnected(self, briefing: Briefing, intent: Intent) -> Draft | None:
        """What to say when live data is asked for and this tenant has no tools that work."""
        if not intent.name.startswith("dynamic/") or briefing.catalog.usable or intent.confidence <= 0.6 or intent.covered >= 0.4:
            return None
        return plain_draft(briefing.phrases.say("not_connected"), Route.DYNAMIC, confidence=intent.confidence)

    async def serves(self, briefing: Briefing, message: str) -> bool:
        """Whether a message is surely about an operation. Raises ModelUnavailable."""
        ranked = await self._box(briefing).selector.rank(message, today=self._tools.clock().date())
        return bool(ranked) and ranked[0].score >= SURE

    async def propose(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent, message: str
    ) -> Proposal | None:
        """The operation that a part of a message is about, or None. Raises ModelUnavailable."""
        if not briefing.catalog.usable or intent.name in ("refuse/injection", "refuse/emergency"):
            return None
        turn = self._turn(briefing, caller, conversation)
        foreign = names_another(turn, message)
        if foreign is not None:
            return Proposal(operation=foreign, score=1.0, text=message)
        return await proposed(turn, part)

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
                gathered = await gather(proposal.operation, said, embedder=self._tools.embedder, today=turn.today, known=known)
                fresh |= gathered.fresh
                known = gathered.values
            gathered = replace(gathered, fresh=fresh)
        return await go_on(turn, proposal.operation, gathered, proposal.text, tries=0)

    async def resume(self, briefing: Briefing, caller: Caller, conversation: Conversation, message: str, intent: Intent) -> Attempt | None:
        """Takes a message as the answer to the pending question; None when it is about something else."""
        pending = conversation.pending
        operation = briefing.catalog.get(pending.operation) if pending else None
        if pending is None or operation is None or intent.asks_human or intent.name.startswith(("refuse/emergency", "refuse/forged")):
            return None
        turn = self._turn(briefing, caller, conversation, request=pending.request)
        if pending.kind == SIGN_IN:
            agrees = consent(message) is Consent.YES
            return turn.sign_in(operation, pending.words) if agrees and caller.customer is None else None
        refused = await self._refused(turn, operation, message)
        if refused is not None:
            return refused
        if pending.kind == "confirm":
            return await confirmed(turn, operation, pending, message)
        return await answered(turn, operation, pending, message, intent)

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
        if known is None or known.catalog is not briefing.catalog:
            rendering = Rendering(zone=ZoneInfo(briefing.tenant.timezone))
            known = Box(
                catalog=briefing.catalog,
                selector=Selector(briefing.catalog.usable, self._tools.embedder),
                caller=ToolCaller(briefing.catalog, http=self._tools.http, rendering=rendering),
                rendering=rendering,
            )
            self._boxes[briefing.tenant.id] = known
        return known

    async def _refused(self, turn: Matter, operation: Operation, message: str) -> Attempt | None:
        """A request to sign in, or a refusal to speak of somebody else."""
        if not operation.needs_customer:
            return None
        if turn.caller.customer is None:
            return turn.sign_in(operation, message)
        known = turn.briefing.lexicon.frequency
        words = _catalog_words(turn.box.catalog)
        names = " ".join(str(v) for c in turn.conversation.calls for r in records_of(c.result) for k, v in r.items() if "name" in str(k))
        other = other_subject(message, operation, turn.claims, known_words={*known, *words}, own_names=names)
        if not other:
            return None
        await self._tools.store.for_tenant(turn.briefing.tenant.id).desk.audit(
            actor=f"customer:{turn.caller.customer}",
            action="tool.other_subject_refused",
            subject=operation.name,
            detail={"conversation": turn.conversation.id, "named": other},
        )
        return turn.end(turn.say("other_person"), Route.REFUSE, confidence=0.9)


def _catalog_words(catalog: Catalog) -> set[str]:
    texts = [f"{o.summary} {o.description}" for o in catalog.operations]
    texts += [f"{a.label} {a.description} {' '.join(map(str, a.enum))}" for o in catalog.operations for a in o.askable]
    return {stem(w) for t in texts for w in re.findall(r"[^\W\d_]+", t.lower())}


__all__ = ["CERTAIN", "LIVELY", "Attempt", "Dynamic", "Proposal", "idempotency_key", "is_order"]
