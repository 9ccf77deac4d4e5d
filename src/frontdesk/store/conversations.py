"""Conversations of one tenant and the events they are made of. Events are only ever added; who may read one is decided here."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from frontdesk.domain.conversation import Conversation, ConversationId, Owner, TurnId
from frontdesk.domain.events import (
    Event,
    HandedOff,
    KnowledgeGapFound,
    MessageReceived,
    OwnerChanged,
    Recorded,
    ReplySent,
    TurnFailed,
    TurnMerged,
    from_json,
    to_json,
)
from frontdesk.domain.folding import STATE_KINDS, TALK_KINDS, fold
from frontdesk.domain.tenancy import CustomerId, KeyId, TenantId
from frontdesk.errors import Conflict, NotFound
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

NO_TURN = TurnId("")
"""Turn of events that belong to no message, such as a change of owner."""
LOADED = 400
"""Newest things said or done that a loaded conversation holds; its slots, owner and pending question are always whole."""

_SQL = load("conversations")
_ENDS = (ReplySent, TurnFailed, TurnMerged, HandedOff)
_NOT_FOUND = "no such conversation"


@dataclass(frozen=True, kw_only=True)
class ConversationSummary:
    """One row of a list. `preview` is the customer's last message, `messages` how many there were."""

    conversation_id: ConversationId
    customer: CustomerId | None
    channel: str
    owner: Owner
    agent: str
    opened_at: datetime
    updated_at: datetime
    messages: int
    preview: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a conversation stands for one of its turns."""

    conversation: Conversation
    waiting: tuple[Recorded, ...]
    """Messages whose turn has no end yet, oldest first."""
    claimed: bool
    """Whether the turn's lease was taken."""

    def awaits(self, turn: TurnId) -> bool:
        """Whether this turn has no end yet."""
        return any(message.turn == turn for message in self.waiting)


@dataclass(frozen=True, kw_only=True)
class FinishedTurn:
    """A turn that somebody else had to its end. `opens`: key, customer and channel, when its conversation begins with it."""

    id: ConversationId
    turn: TurnId
    events: tuple[Event, ...]
    opens: tuple[KeyId, CustomerId | None, str] | None = None


class Conversations:
    """The conversations of one tenant. Every method is one transaction and one round trip. All raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId, *, open_hours: float) -> None:
        self._database = database
        self._tenant = tenant
        self._open_seconds = open_hours * 3600

    async def open(self, *, key: KeyId, customer: CustomerId | None, channel: str) -> ConversationId:
        """A new conversation, without any event yet. The id is unguessable (144 bits)."""
        id = new_conversation_id()
        await self._run(self._step("open", id=id, key=key, customer=customer, channel=channel))
        return id

    async def load(
        self, id: ConversationId, *, key: KeyId | None = None, customer: CustomerId | None = None, any_caller: bool = False
    ) -> Conversation:
        """The conversation as its events tell it. Raises NotFound when it is missing or belongs to another key or customer."""
        rows, events = await self._database.read(self._tenant, *self._whole(id))
        if not rows or not (any_caller or (rows[0].key == key and rows[0].customer == customer)):
            raise NotFound(_NOT_FOUND)
        return fold(
            (recorded(row, self._tenant) for row in events),
            id=id,
            tenant=self._tenant,
            customer=rows[0].customer,
            opened_at=rows[0].opened_at,
        )

    async def begin(
        self,
        id: ConversationId | None,
        turn: TurnId,
        events: Sequence[Event],
        *,
        key: KeyId,
        customer: CustomerId | None,
        channel: str,
        seconds: float,
    ) -> tuple[builtins.list[Recorded], Standing] | None:
        """Add a caller's message in one round trip; None when it carries an idempotency key that this caller used before.

        Without `id` a conversation is opened for it. With `seconds` above 0 the lease is claimed for the turn as well. Raises NotFound when
        the conversation is missing or somebody else's, Conflict when it is closed.
        """
        steps: builtins.list[Step] = []
        target = id or new_conversation_id()
        if id is None:
            steps.append(self._step("open", id=target, key=key, customer=customer, channel=channel))
        steps.append(self._step("enter"))
        steps += self._append(target, turn, events, caller=(key, customer), seconds=seconds)
        steps += self._whole(target) if id is not None else ()
        try:
            results = await self._run(*steps, after=self._step("notify", id=target))
        except psycopg.errors.UniqueViolation:
            return None
        if id is None:
            first = self._recorded(target, turn, results[2], events)
            fresh = fold(first, id=target, tenant=self._tenant, customer=customer, opened_at=first[0].at)
            return first, Standing(conversation=fresh, waiting=_waiting(first), claimed=seconds > 0)
        added, (rows, said) = results[1], results[-2:]
        if not rows or rows[0].key != key or rows[0].customer != customer:
            raise NotFound(_NOT_FOUND)
        if not added:
            raise Conflict("this conversation is closed: start a new one")
        return self._recorded(target, turn, added, events), self._standing(target, rows, said, claimed=rows[0].holder == turn)

    async def take(self, id: ConversationId, *, turn: TurnId, holder: str, seconds: float) -> Standing:
        """Claim the lease, as `claim` does, and see where the conversation stands. Raises NotFound.

        The lease of another attempt at the same turn (its holder begins with the turn) counts as run out when half of it is over.
        """
        claims, rows, said = await self._run(self._step("claim", id=id, turn=turn, holder=holder, seconds=seconds), *self._whole(id))
        if not rows:
            raise NotFound(_NOT_FOUND)
        return self._standing(id, rows, said, claimed=bool(claims))

    async def resume(self, *, key: KeyId, customer: CustomerId | None, fingerprint: str) -> ConversationId | None:
        """The newest open conversation of this caller whose last fingerprint is this one."""
        step = self._step("resume", key=key, customer=customer, fingerprint=fingerprint, seconds=self._open_seconds)
        (rows,) = await self._database.read(self._tenant, step)
        return ConversationId(rows[0].id) if rows else None

    async def append(
        self,
        id: ConversationId,
        turn: TurnId,
        events: Sequence[Event],
        *,
        fingerprint: str | None = None,
        if_owner: Owner | None = None,
        holder: str | None = None,
        release: bool = False,
    ) -> builtins.list[Recorded]:
        """Add events of one turn, all or none; they are durable when this returns. `fingerprint` is what `resume` will look for.

        With `holder`, nothing is added and the result is empty when that holder's lease was taken over by another; `release` gives it back.

        With `if_owner`, nothing is added and the result is empty when somebody else owns the conversation by now. Raises NotFound without
        such a conversation, and Conflict when a message carries an idempotency key that this caller used before.
        """
        if not events:
            return []
        steps = self._append(id, turn, events, fingerprint=fingerprint, expected=if_owner, holder=holder, release=release)
        try:
            results = await self._run(self._step("enter"), *steps, after=self._step("notify", id=id))
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("this idempotency key was used before: read the reply it got") from error
        if not results[1]:
            await self.key_of(id)
        return self._recorded(id, turn, results[1], events)

    async def write(self, turns: Sequence[FinishedTurn]) -> builtins.list[bool]:
        """Add turns of any conversations in one round trip, durable when this returns; False for each whose conversation is missing.

        Raises Conflict when a message carries an idempotency key that its caller used before; nothing is written then.
        """
        steps, added = [self._step("enter")], list[int]()
        for turn in turns:
            if turn.opens is not None:
                key, customer, channel = turn.opens
                steps.append(self._step("open", id=turn.id, key=key, customer=customer, channel=channel))
            added.append(len(steps))
            steps += self._append(turn.id, turn.turn, turn.events)
        try:
            results = await self._run(*steps, after=self._step("notify", id=turns[-1].id))
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("an idempotency key was used before: read the reply it got") from error
        return [bool(results[place]) for place in added]

    async def events(self, id: ConversationId, *, after: int = 0, limit: int = 1000) -> builtins.list[Recorded]:
        """Events with a `seq` above `after`, in order. Empty for an unknown conversation."""
        (rows,) = await self._database.read(self._tenant, self._step("events", id=id, after=after, limit=limit))
        return [recorded(row, self._tenant) for row in rows]

    async def turn(self, id: ConversationId, turn: TurnId) -> builtins.list[Recorded]:
        """Events of one turn, in order. Empty for an unknown one."""
        (rows,) = await self._database.read(self._tenant, self._step("turn", id=id, turn=turn))
        return [recorded(row, self._tenant) for row in rows]

    async def remember(self, id: ConversationId, *, fingerprint: str) -> None:
        """What `resume` will look for from now on."""
        await self._run(self._step("remember", id=id, fingerprint=fingerprint))

    async def claim(self, id: ConversationId, *, holder: str, seconds: float) -> bool:
        """Take the lease on this conversation's turn, or lengthen one's own. False while another holder's lease runs."""
        (rows,) = await self._run(self._step("claim", id=id, turn=None, holder=holder, seconds=seconds))
        return bool(rows)

    async def renew(self, id: ConversationId, *, holder: str, seconds: float) -> bool:
        """Lengthen one's lease from now. False when it ran out or was taken over."""
        (rows,) = await self._run(self._step("renew", id=id, holder=holder, seconds=seconds))
        return bool(rows)

    async def release(self, id: ConversationId, *, holder: str) -> None:
        """Give one's lease back; nothing happens when it is another's by now."""
        await self._run(self._step("release", id=id, holder=holder))

    async def reply_for(
        self, id: ConversationId | None, *, key: KeyId, customer: CustomerId | None = None, idempotency_key: str
    ) -> tuple[ConversationId, TurnId, ReplySent | None] | None:
        """The turn that a message with this idempotency key started, and its reply once there is one. None when it is new."""
        (rows,) = await self._database.read(
            self._tenant, self._step("reply_for", id=id, key=key, customer=customer, idempotency_key=idempotency_key)
        )
        if not rows:
            return None
        reply = from_json(rows[0].body) if rows[0].body else None
        return ConversationId(rows[0].conversation), TurnId(rows[0].turn), reply if isinstance(reply, ReplySent) else None

    async def set_owner(self, id: ConversationId, owner: Owner, *, expected: Owner | None = None, agent: str = "", note: str = "") -> None:
        """Change who speaks to the customer and record OwnerChanged. Raises Conflict unless the owner was `expected`, NotFound."""
        change = OwnerChanged(owner=owner.value, agent=agent, note=note)
        if not await self.append(id, NO_TURN, (change,), if_owner=expected):
            raise Conflict("the conversation changed hands meanwhile: load it again")

    async def list(
        self,
        *,
        owner: Owner | None = None,
        customer: CustomerId | None = None,
        limit: int = 50,
        before: datetime | None = None,
    ) -> builtins.list[ConversationSummary]:
        """Conversations, the latest activity first; `before` is the `updated_at` of the last row seen."""
        step = self._step("list", owner=owner and owner.value, customer=customer, limit=limit, before=before)
        (rows,) = await self._database.read(self._tenant, step)
        return [ConversationSummary(**{**row._asdict(), "owner": Owner(row.owner)}) for row in rows]

    async def key_of(self, id: ConversationId) -> KeyId:
        """The key that opened a conversation. Raises NotFound."""
        (rows,) = await self._database.read(self._tenant, self._step("key_of", id=id))
        if not rows:
            raise NotFound(_NOT_FOUND)
        return KeyId(rows[0].key)

    async def unfinished(
        self, *, older_seconds: float = 0.0, patience_seconds: float = 0.0
    ) -> builtins.list[tuple[ConversationId, TurnId]]:
        """Turns that got a message so long ago but no end, oldest first, where the desk owns the conversation and nobody is at it.

        One that came behind another turn of its conversation counts only after `patience_seconds`: until then its sender may be waiting.
        """
        (rows,) = await self._database.read(self._tenant, self._step("unfinished", seconds=older_seconds, patience=patience_seconds))
        return [(ConversationId(row.conversation), TurnId(row.turn)) for row in rows]

    async def erase(self, *, customer: CustomerId | None = None, id: ConversationId | None = None) -> int:
        """Delete everything of a customer, or one conversation, for good; how many conversations went."""
        (rows,) = await self._run(self._step("erase", customer=customer, id=id))
        return int(rows[0].erased)

    def _append(
        self,
        id: ConversationId,
        turn: TurnId,
        events: Sequence[Event],
        *,
        fingerprint: str | None = None,
        expected: Owner | None = None,
        holder: str | None = None,
        release: bool = False,
        caller: tuple[KeyId, CustomerId | None] | None = None,
        seconds: float = 0.0,
    ) -> builtins.list[Step]:
        message = next((e for e in events if isinstance(e, MessageReceived)), None)
        owner, agent = _owner_after(events)
        append = self._step(
            "append",
            id=id,
            turn=turn,
            count=len(events),
            # One JSON text: PostgreSQL takes it apart faster than a driver quotes an array of texts.
            said=f"[{','.join(encode(e) for e in events)}]",
            fingerprint=fingerprint,
            owner=owner,
            agent=agent,
            expected=expected and expected.value,
            holder=holder,
            release=release,
            seconds=seconds,
            guarded=caller is not None,
            key=caller and caller[0],
            customer=caller and caller[1],
            received=message is not None,
            idempotency_key=message.idempotency_key if message else None,
            ended=any(isinstance(e, _ENDS) for e in events),
        )
        return [append, *(self._gap(id, e) for e in events if isinstance(e, KnowledgeGapFound))]

    def _whole(self, id: ConversationId) -> builtins.list[Step]:
        return [
            self._step("row", id=id),
            self._step("fold", id=id, state=list(STATE_KINDS), talk=list(TALK_KINDS), limit=LOADED),
        ]

    def _standing(self, id: ConversationId, rows: Sequence[Any], said: Sequence[Any], *, claimed: bool) -> Standing:
        records = [recorded(row, self._tenant) for row in said]
        return Standing(
            conversation=fold(records, id=id, tenant=self._tenant, customer=rows[0].customer, opened_at=rows[0].opened_at),
            waiting=_waiting(records),
            claimed=claimed,
        )

    def _recorded(self, id: ConversationId, turn: TurnId, rows: Sequence[Any], events: Sequence[Event]) -> builtins.list[Recorded]:
        return [
            Recorded(position=row.position, tenant=self._tenant, conversation=id, turn=turn, seq=row.seq, at=row.at, event=event)
            for row, event in zip(sorted(rows, key=lambda row: row.seq), events, strict=bool(rows))
        ]

    def _gap(self, id: ConversationId, event: KnowledgeGapFound) -> Step:
        return self._step(
            "gap",
            id=id,
            gap=f"gap_{secrets.token_urlsafe(9)}",
            question=event.question,
            folded=" ".join(event.question.casefold().split()).strip(" ?!.")[:500],
            best_source=event.best_source,
            best_score=event.best_score,
        )

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}

    async def _run(self, *steps: Step, after: Step | None = None) -> builtins.list[builtins.list[Any]]:
        return await self._database.run(self._tenant, *steps, after=after)


def new_conversation_id() -> ConversationId:
    """An id that nobody can guess (144 bits)."""
    return ConversationId(f"cv_{secrets.token_urlsafe(18)}")


def encode(event: Event) -> str:
    """The event as JSON text that PostgreSQL can hold: what is no character becomes U+FFFD."""
    return json_text(to_json(event))


def recorded(row: Any, tenant: TenantId) -> Recorded:
    """A row of the log (position, conversation, turn, seq, at, body) as it was recorded."""
    return Recorded(
        position=row.position,
        tenant=tenant,
        conversation=ConversationId(row.conversation),
        turn=TurnId(row.turn),
        seq=row.seq,
        at=row.at,
        event=from_json(row.body),
    )


def _waiting(records: Sequence[Recorded]) -> tuple[Recorded, ...]:
    """Messages without an end; a human who gave the conversation back dealt with all before."""
    ended = {r.turn for r in records if isinstance(r.event, _ENDS)}
    waiting: list[Recorded] = []
    for record in records:
        if isinstance(record.event, OwnerChanged) and record.event.owner == Owner.DESK.value:
            waiting.clear()
        elif isinstance(record.event, MessageReceived) and record.turn not in ended:
            waiting.append(record)
    return tuple(waiting)


def _owner_after(events: Sequence[Event]) -> tuple[str | None, str | None]:
    """Owner and agent as the conversation's row must show them after these events; None: unchanged."""
    owner: str | None = None
    agent: str | None = None
    for event in events:
        if isinstance(event, HandedOff):
            owner = Owner.QUEUE.value
        elif isinstance(event, OwnerChanged):
            owner, agent = event.owner, event.agent if event.owner == Owner.AGENT.value else ""
    return owner, agent
