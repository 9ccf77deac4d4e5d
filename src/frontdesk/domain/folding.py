"""What a conversation's events amount to. Pure: the same events always give the same conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Route, Speaker, TurnId, Utterance
from frontdesk.domain.events import (
    AgentReplied,
    ConversationOpened,
    Event,
    HandedOff,
    KnowledgeGapFound,
    MessageCorrected,
    MessageReceived,
    OwnerChanged,
    Recorded,
    ReplySent,
    SlotFilled,
    SlotRequested,
    ToolCalled,
    TurnFailed,
    TurnMerged,
    kind_of,
)
from frontdesk.domain.tenancy import CustomerId, TenantId

STATE: tuple[type[Event], ...] = (
    ConversationOpened,
    SlotRequested,
    SlotFilled,
    OwnerChanged,
    HandedOff,
    KnowledgeGapFound,
    TurnFailed,
    TurnMerged,
)
"""Few and small; a fold needs all of them."""
TALK: tuple[type[Event], ...] = (MessageReceived, MessageCorrected, ReplySent, AgentReplied, ToolCalled)
"""What was said and done; a fold of a long conversation may leave out old ones."""
STATE_KINDS = tuple(kind_of(event) for event in STATE)
TALK_KINDS = tuple(kind_of(event) for event in TALK)

_ANSWERED = (Route.FAQ, Route.KNOWLEDGE, Route.DYNAMIC)


def as_corrected(events: Iterable[Recorded]) -> list[Recorded]:
    """The events of any conversations with their customers' messages as these put them right; corrections themselves stay among them."""
    every = list(events)
    texts = {(r.conversation, r.event.turn): r.event.text for r in every if isinstance(r.event, MessageCorrected)}
    if not texts:
        return every
    return [
        replace(r, event=replace(r.event, text=texts[r.conversation, r.turn]))
        if isinstance(r.event, MessageReceived) and (r.conversation, r.turn) in texts
        else r
        for r in every
    ]


def fold(
    events: Iterable[Recorded], *, id: ConversationId, tenant: TenantId, customer: CustomerId | None, opened_at: datetime
) -> Conversation:
    """The conversation that `events` (in order of `seq`) tell. Events of other kinds than STATE and TALK change nothing.

    A pending question lives until a later turn sends its reply without asking again, or the conversation changes hands. A turn that
    failed leaves it pending, so that the customer's next try still answers it. `failures` counts turns in a row that ended in a failure
    or a knowledge gap; an answer from a source, or a human, sets it back.
    """
    folding = _Folding(Conversation(id=id, tenant=tenant, customer=customer, opened_at=opened_at))
    for recorded in events:
        folding.add(recorded)
    return folding.conversation()


class _Folding:
    def __init__(self, start: Conversation) -> None:
        self._start = start
        self._owner = start.owner
        self._agent = ""
        self._utterances: list[Utterance] = []
        self._calls: list[Any] = []
        self._acted: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._pending: tuple[TurnId, Any] | None = None
        self._gap: TurnId | None = None
        self._failures = 0
        self._merged: set[TurnId] = set()
        self._steps: dict[type[Event], Callable[[Recorded, Any], None]] = {
            MessageReceived: lambda r, e: self._say(r, Speaker.CUSTOMER, e.text),
            MessageCorrected: lambda _, e: self._corrected(e),
            AgentReplied: lambda r, e: self._say(r, Speaker.AGENT, e.text),
            ReplySent: self._replied,
            SlotRequested: self._requested,
            SlotFilled: lambda _, e: self._known.__setitem__(e.slot, e.value),
            ToolCalled: self._called,
            KnowledgeGapFound: self._gap_found,
            TurnFailed: self._failed,
            TurnMerged: lambda r, _: self._merged.add(r.turn),
            HandedOff: self._handed_off,
            OwnerChanged: self._changed,
        }

    def add(self, recorded: Recorded) -> None:
        step = self._steps.get(type(recorded.event))
        if step is not None:
            step(recorded, recorded.event)

    def conversation(self) -> Conversation:
        return replace(
            self._start,
            owner=self._owner,
            agent=self._agent,
            utterances=tuple(self._utterances),
            pending=self._pending[1] if self._pending else None,
            known=self._known,
            calls=tuple(self._calls),
            acted=self._acted,
            failures=self._failures,
            merged=frozenset(self._merged),
        )

    def _say(self, recorded: Recorded, speaker: Speaker, text: str, **more: Any) -> None:
        self._utterances.append(Utterance(speaker=speaker, text=text, turn=recorded.turn, at=recorded.at, **more))

    def _corrected(self, event: MessageCorrected) -> None:
        for place, said in enumerate(self._utterances):
            if said.turn == event.turn and said.speaker is Speaker.CUSTOMER:
                self._utterances[place] = replace(said, text=event.text)

    def _called(self, recorded: Recorded, event: ToolCalled) -> None:
        self._calls.append(event.call)
        if event.key:
            self._acted[event.key] = event.call

    def _requested(self, recorded: Recorded, event: SlotRequested) -> None:
        self._pending = (recorded.turn, event.pending)

    def _gap_found(self, recorded: Recorded, event: KnowledgeGapFound) -> None:
        self._gap = recorded.turn

    def _replied(self, recorded: Recorded, event: ReplySent) -> None:
        self._say(recorded, Speaker.DESK, event.text, route=event.route, citations=event.citations)
        if self._pending is not None and self._pending[0] != recorded.turn:
            self._pending = None
        if self._gap == recorded.turn:
            self._failures += 1
        elif event.route in _ANSWERED:
            self._failures = 0

    def _failed(self, recorded: Recorded, event: TurnFailed) -> None:
        if event.apology:
            self._say(recorded, Speaker.DESK, event.apology)
        self._failures += 1

    def _handed_off(self, recorded: Recorded, event: HandedOff) -> None:
        self._pending = None
        if self._owner is Owner.DESK:
            self._owner = Owner.QUEUE

    def _changed(self, recorded: Recorded, event: OwnerChanged) -> None:
        self._owner = Owner(event.owner)
        self._agent = event.agent if self._owner is Owner.AGENT else ""
        self._pending = None
        self._failures = 0
