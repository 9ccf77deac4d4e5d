"""Conversations told as events, short: for the tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, Pending, Route, ToolCall, TurnId
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import TenantId

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAQ = Citation(source="faq", title="How long does delivery take?", quote="Delivery takes 3 days.")


class Tale:
    """One conversation; every method tells one more thing, some seconds later."""

    def __init__(self, conversation: str = "cv_1", *, at: datetime = START, tenant: str = "acme") -> None:
        self.id, self.tenant, self.at = ConversationId(conversation), TenantId(tenant), at
        self.events: list[e.Recorded] = []
        self._turn = 0

    def happens(self, event: e.Event, *, after: float = 1.0) -> Tale:
        self.at += timedelta(seconds=after)
        seq = len(self.events) + 1
        turn = TurnId(f"t{self._turn}")
        self.events.append(e.Recorded(position=seq, tenant=self.tenant, conversation=self.id, turn=turn, seq=seq, at=self.at, event=event))
        return self

    def customer(self, text: str, *, after: float = 10.0, intent: str = "", route: Route = Route.FAQ) -> Tale:
        self._turn += 1
        self.happens(e.MessageReceived(text=text, channel="chat"), after=after)
        return self.happens(e.IntentRecognized(route=route, name=intent or route.value, confidence=0.9), after=0.1) if intent else self

    def desk(self, text: str, *, route: Route = Route.FAQ, citations: Sequence[Citation] = (FAQ,), calls: Sequence[ToolCall] = ()) -> Tale:
        cited = tuple(citations) if route in (Route.FAQ, Route.KNOWLEDGE) else ()
        return self.happens(e.ReplySent(text=text, route=route, confidence=0.9, citations=cited, tool_calls=tuple(calls)))

    def gap(self, question: str) -> Tale:
        return self.happens(e.KnowledgeGapFound(question=question))

    def asks(self, question: str, slot: str = "order_id") -> Tale:
        self.happens(e.SlotRequested(pending=Pending(kind="slot", question=question, slot=slot, operation="getOrder")))
        return self.desk(question, route=Route.ELICIT)

    def calls(self, name: str, result: object = None, *, error: str | None = None, writes: bool = False, text: str = "", **arguments: object) -> Tale:  # fmt: skip
        call = ToolCall(name=name, arguments=arguments, result=result, error=error)
        return self.happens(e.ToolCalled(call=call, milliseconds=40.0, writes=writes, text=text))

    def handoff(self, category: str = "requested", promised: str = "A colleague will call you.") -> Tale:
        return self.happens(e.HandedOff(category=category, summary="Wants a person.", promised=promised))

    def owner(self, owner: str, agent: str = "", *, after: float = 60.0) -> Tale:
        return self.happens(e.OwnerChanged(owner=owner, agent=agent), after=after)

    def agent(self, text: str, name: str = "Dana", *, after: float = 20.0) -> Tale:
        return self.happens(e.AgentReplied(agent=name, text=text), after=after)

    def rated(self, score: int | None = None, *, solved: bool | None = None) -> Tale:
        return self.happens(e.CustomerRated(score=score, solved=solved))
