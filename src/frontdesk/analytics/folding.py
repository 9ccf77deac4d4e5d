"""Follows the log and keeps the ledger and the tones in step with it: incremental, exact after a crash, the same as from scratch.

`fold_row` is the whole of what an event does to a row, and pure. A consumer only reads, folds and writes: its position and what it wrote
are one transaction, so two of them at once do no harm. In a process of its own (Kafka) the same `fold_row` does the work.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import operator
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from frontdesk.analytics.metrics import COLUMNS, Row
from frontdesk.analytics.sentiment import Listener, Sentiment, Tone
from frontdesk.analytics.words import says
from frontdesk.domain.conversation import ConversationId, Route, Speaker
from frontdesk.domain.events import (
    AgentReplied,
    ConversationOpened,
    CustomerRated,
    DraftRejected,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    ModelPhrased,
    OwnerChanged,
    Recorded,
    ReplySent,
    SlotRequested,
    SuggestionJudged,
    ToolCalled,
    TurnFailed,
    kind_of,
)
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import Conflict, FrontdeskError
from frontdesk.models.protocols import Embedder
from frontdesk.store.ledger import RowData, ToneRow
from frontdesk.store.store import Store

log = logging.getLogger(__name__)

LEDGER = "ledger"
TONES = "tones"
BATCH = 20_000
"""Events that are folded in one transaction."""
HEARD = 2_000
"""Utterances whose tone is worked out in one go."""
PAUSE = 1.0
"""Seconds between two looks at the log."""

_TIMES = tuple(f.name for f in dataclasses.fields(Row) if "datetime" in str(f.type))
_VALUES = operator.attrgetter(*COLUMNS)
_SOURCES = {Route.FAQ: "answered", Route.KNOWLEDGE: "answered", Route.DYNAMIC: "answered", Route.ELICIT: "asked", Route.REFUSE: "refused"}


def fold_row(row: Row, recorded: Recorded) -> None:
    """What one event does to its conversation's row. Events of other kinds do nothing."""
    step = _STEPS.get(type(recorded.event))
    if step is None or recorded.seq <= row.seq:
        return
    row.seq = recorded.seq
    row.first_at = row.first_at or recorded.at
    row.last_at = max(row.last_at, recorded.at)
    step(row, recorded.event, recorded.at)


def fold_rows(events: Iterable[Recorded], *, opened: Callable[[ConversationId], Row] | None = None) -> dict[ConversationId, Row]:
    """Rows of all conversations among the events, from nothing: for exports, rehearsals and tests."""
    rows: dict[ConversationId, Row] = {}
    for recorded in events:
        id = recorded.conversation
        if id not in rows:
            rows[id] = opened(id) if opened else Row(conversation=id, opened_at=recorded.at, last_at=recorded.at)
        fold_row(rows[id], recorded)
    return rows


def _opened(row: Row, event: ConversationOpened, _at: datetime) -> None:
    row.desk = event.desk
    row.channel = row.channel or event.channel
    row.customer = row.customer or event.customer


def _received(row: Row, event: MessageReceived, at: datetime) -> None:
    row.messages += 1
    row.last_customer_at = at
    row.channel = row.channel or event.channel
    row.waiting_since = row.waiting_since or at
    row.pending = False
    if says("unsolved", event.text):
        row.said = "unsolved"
    elif says("solved", event.text):
        row.said = "solved"
    elif row.said == "solved":
        row.said = "solved_before"


def _recognized(row: Row, event: IntentRecognized, _at: datetime) -> None:
    if event.route in (Route.SMALLTALK, Route.HANDOFF):
        return
    row.intent = row.intent or event.name
    if row.said == "solved_before":
        row.said = ""  # something else is asked: what was solved was the matter before


def _replied(row: Row, event: ReplySent, at: datetime) -> None:
    row.replies += 1
    if row.waiting_since is not None:
        waited = (at - row.waiting_since).total_seconds()
        row.reply_seconds += waited
        row.first_reply_seconds = waited if row.first_reply_seconds is None else row.first_reply_seconds
        row.waiting_since = None
    row.answered += event.route in (Route.FAQ, Route.KNOWLEDGE, Route.DYNAMIC)
    row.elicited += event.route is Route.ELICIT
    row.refused += event.route is Route.REFUSE
    state = _SOURCES.get(event.route, "")
    if row.state == "gap" and event.route in (Route.REFUSE, Route.SMALLTALK):
        state = "gap"  # the reply that says so
    row.state = state or row.state
    if not row.topic and state == "answered":
        row.topic = _topic(event)


def _topic(event: ReplySent) -> str:
    if event.tool_calls:
        return event.tool_calls[0].name
    if event.citations:
        first = event.citations[0]
        return first.title if first.source == "faq" else first.source
    return ""


def _gap(row: Row, _event: KnowledgeGapFound, _at: datetime) -> None:
    row.gaps += 1
    row.state = "gap"


def _requested(row: Row, _event: SlotRequested, _at: datetime) -> None:
    row.pending = True


def _called(row: Row, event: ToolCalled, _at: datetime) -> None:
    row.calls += 1
    row.calls_failed += event.call.error is not None
    row.writes += event.writes
    row.writes_failed += event.writes and event.call.error is not None
    row.tool_ms += event.milliseconds


def _phrased(row: Row, event: ModelPhrased, _at: datetime) -> None:
    row.model = event.model
    row.model_ms += event.milliseconds
    row.sampled += event.sampled
    row.forced += event.forced


def _rejected(row: Row, _event: DraftRejected, _at: datetime) -> None:
    row.rejected += 1


def _failed(row: Row, _event: TurnFailed, _at: datetime) -> None:
    row.failures += 1
    row.state = "failed"


def _handed_off(row: Row, event: HandedOff, at: datetime) -> None:
    row.handoffs += 1
    row.handoff_category = row.handoff_category or event.category
    row.pending = False
    if row.owner == "desk":
        row.owner = "queue"
        row.handed_at = at


def _changed(row: Row, event: OwnerChanged, at: datetime) -> None:
    if row.owner == "agent" and row.claimed_at is not None and event.owner != "agent":
        row.human_seconds += (at - row.claimed_at).total_seconds()
        row.claimed_at = None
    if row.owner == "queue" and row.handed_at is not None and event.owner != "queue":
        row.queue_seconds += (at - row.handed_at).total_seconds()
        row.handed_at = None
    if event.owner == "agent":
        row.claimed_at = row.claimed_at or at
        row.agent = event.agent
    elif event.owner == "queue" and row.owner != "queue":
        row.handed_at = at
        row.handoffs += 1
        row.handoff_category = row.handoff_category or "requeued"
    row.owner = event.owner
    row.pending = False


def _agent_replied(row: Row, event: AgentReplied, at: datetime) -> None:
    row.agent_messages += 1
    row.agent = event.agent
    if row.waiting_since is not None:
        waited = (at - row.waiting_since).total_seconds()
        row.first_agent_seconds = waited if row.first_agent_seconds is None else row.first_agent_seconds
        row.first_reply_seconds = waited if row.first_reply_seconds is None else row.first_reply_seconds
        row.waiting_since = None
    row.state = "agent"


def _rated(row: Row, event: CustomerRated, _at: datetime) -> None:
    row.rating = event.score if event.score is not None else row.rating
    row.solved = event.solved if event.solved is not None else row.solved
    row.comment = event.comment or row.comment


def _judged(row: Row, event: SuggestionJudged, _at: datetime) -> None:
    row.accepted += event.outcome == "accepted"
    row.edited += event.outcome == "edited"
    row.declined += event.outcome == "rejected"


_STEPS: Mapping[type[Event], Callable[[Row, Any, datetime], None]] = {
    ConversationOpened: _opened,
    MessageReceived: _received,
    IntentRecognized: _recognized,
    ReplySent: _replied,
    KnowledgeGapFound: _gap,
    SlotRequested: _requested,
    ToolCalled: _called,
    ModelPhrased: _phrased,
    DraftRejected: _rejected,
    TurnFailed: _failed,
    HandedOff: _handed_off,
    OwnerChanged: _changed,
    AgentReplied: _agent_replied,
    CustomerRated: _rated,
    SuggestionJudged: _judged,
}
COUNTED = tuple(kind_of(event) for event in _STEPS)
SPOKEN = tuple(kind_of(event) for event in (MessageReceived, ReplySent, AgentReplied))


def row_from(data: RowData) -> Row:
    """A row as the store keeps it (JSON values)."""
    values = {name: data[name] for name in COLUMNS if name in data}
    for name in _TIMES:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    values.setdefault("last_at", values["opened_at"])
    return Row(**values)


def row_data(row: Row) -> dict[str, Any]:
    """A row as JSON values; times as ISO 8601."""
    values = dict(zip(COLUMNS, _VALUES(row), strict=True))
    for name in _TIMES:
        if values[name] is not None:
            values[name] = values[name].isoformat()
    return values


def spoken(event: Event) -> tuple[Speaker, str] | None:
    """Who says what in an event, if anybody says something."""
    match event:
        case MessageReceived():
            return Speaker.CUSTOMER, event.text
        case ReplySent():
            return Speaker.DESK, event.text
        case AgentReplied():
            return Speaker.AGENT, event.text
    return None


class Analyst:
    """Keeps what is worked out from the log up to date. Methods raise StoreUnavailable and ModelUnavailable."""

    def __init__(self, store: Store, embedder: Embedder | None = None, sentiment: Listener | None = None) -> None:
        """Without an embedder only the ledger is kept, no tones."""
        self._store = store
        self._embedder = embedder
        self._sentiment = sentiment

    async def catch_up(self, tenant: TenantId, *, batch: int = BATCH) -> int:
        """Fold what was recorded since the last time into the ledger; how many events that were."""
        return await self._advance(tenant, batch)

    async def rebuild(self, tenant: TenantId, *, batch: int = BATCH) -> int:
        """Fold the whole log again from nothing; how many events that were."""
        await self._store.for_tenant(tenant).ledger.clear(LEDGER)
        return await self.catch_up(tenant, batch=batch)

    async def listen(self, tenant: TenantId, *, batch: int = HEARD) -> int:
        """Work out the tone of what was said since the last time; how many utterances that were. Nothing without an embedder."""
        if self._embedder is None:
            return 0
        ledger = self._store.for_tenant(tenant).ledger
        after, heard = await ledger.position(TONES), 0
        while True:
            events, upto = await self._store.log.read(after=after, tenant=tenant, kinds=SPOKEN, limit=batch)
            tones = await self._tones(events)
            if upto > after:
                await ledger.hear(TONES, upto, tones)
            heard += len(tones)
            if len(events) < batch:
                return heard
            after = upto

    async def run(self, tenants: Callable[[], Sequence[TenantId]], *, pause: float = PAUSE) -> None:
        """For ever: keeps all tenants up to date. A database or a model that is away delays, nothing more."""
        behind, seen = set(tenants()), 0
        while True:
            try:
                seen = seen or await self._end()
                for tenant in sorted(behind):
                    await self.catch_up(tenant)
                    await self.listen(tenant)
                    behind.discard(tenant)
                events, seen = await self._store.log.read(after=seen, kinds=COUNTED)
                behind = {event.tenant for event in events} & set(tenants())
            except FrontdeskError as problem:
                log.warning("analytics: %s", problem)
            except Exception:
                # Figures must never take the desk down with them.
                log.exception("analytics stumbled and goes on")
            if not behind:
                await asyncio.sleep(pause)

    async def _end(self) -> int:
        """The log's last position. What is written meanwhile is found by each tenant's own position."""
        _, reached = await self._store.log.read(after=2**62, kinds=(), limit=1)
        return reached

    async def _advance(self, tenant: TenantId, batch: int) -> int:
        reached, folded = await self._store.for_tenant(tenant).ledger.position(LEDGER), 0
        async with aclosing(self._batches(tenant, reached, batch)) as batches:
            async for events, upto in batches:
                if events or upto - reached > batch:  # a quiet tenant's position need not be written at every look
                    await self._count(tenant, events, upto)
                    folded, reached = folded + len(events), upto
        return folded

    async def _batches(self, tenant: TenantId, after: int, batch: int) -> AsyncGenerator[tuple[list[Recorded], int], None]:
        """The log in batches, up to its end; the database looks for the next one while this one is worked on."""

        def read(after: int) -> asyncio.Task[tuple[list[Recorded], int]]:
            return asyncio.create_task(self._store.log.read(after=after, tenant=tenant, kinds=COUNTED, limit=batch))

        coming: asyncio.Task[tuple[list[Recorded], int]] | None = read(after)
        try:
            while coming is not None:
                events, upto = await coming
                coming = read(upto) if len(events) == batch else None
                yield events, upto
        finally:
            if coming is not None:
                coming.cancel()

    async def _count(self, tenant: TenantId, events: Sequence[Recorded], upto: int) -> None:
        def change(reached: int, known: Sequence[RowData]) -> list[RowData]:
            rows = {data["conversation"]: row_from(data) for data in known}
            for event in events:
                if event.position > reached and event.conversation in rows:
                    fold_row(rows[event.conversation], event)
            return [row_data(row) for row in rows.values() if row.seq]

        ids = list(dict.fromkeys(event.conversation for event in events))
        for attempt in range(5):
            try:
                await self._store.for_tenant(tenant).ledger.advance(LEDGER, upto, ids, change)
            except Conflict:
                if attempt == 4:
                    raise
            else:
                return

    async def _tones(self, events: Sequence[Recorded]) -> list[ToneRow]:
        said = [(event, words) for event in events if (words := spoken(event.event)) is not None]
        if not said or self._embedder is None:
            return []
        if self._sentiment is None:
            self._sentiment = await asyncio.to_thread(Sentiment.load)
        tones: Sequence[Tone] = await self._sentiment.read([text for _, (_, text) in said], self._embedder)
        return [
            ToneRow(conversation=e.conversation, seq=e.seq, at=e.at, speaker=speaker.value, label=tone.label, score=tone.score)
            for (e, (speaker, _)), tone in zip(said, tones, strict=True)
        ]
