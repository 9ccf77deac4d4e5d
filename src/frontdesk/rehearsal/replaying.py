"""Stored conversations again: their events at any speed, or their customers' messages to another version of the tenant, answer by answer.

A trial of a new version has a database of its own, thrown away afterwards, so that nothing is published by looking. The tenant's API is left
out unless it is asked for: an old "yes" must not act twice.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import AgentReplied, ConversationOpened, MessageReceived, Recorded, ReplySent, kind_of, to_json
from frontdesk.domain.tenancy import Caller, CustomerId, Role, TenantId
from frontdesk.errors import BadInput, NotFound
from frontdesk.rehearsal.commands import Stage
from frontdesk.rehearsal.speakers import CHANNEL, KEY
from frontdesk.settings import Settings

PAGE = 500
LONGEST = 60.0
"""Seconds of a pause at most, whatever the speed: nobody waits a night for the next message."""
NEEDS_API = frozenset({"dynamic", "elicit"})
Sleep = Callable[[float], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One stored turn: what the customer wrote and what the desk answered."""

    conversation: str
    customer: str
    turn: str
    message: str
    before: Mapping[str, Any]


async def replay(
    store: Any, tenant: TenantId, *, conversation: str = "", after: int = 0, speed: float = 0.0, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Recorded]:
    """Events after a position, in order, with their pauses divided by `speed`; 0 for none at all. Raises NotFound when there are none."""
    last, found = None, False
    async for record in _log(store, tenant, after):
        if conversation and record.conversation != conversation:
            continue
        if last is not None and speed > 0:
            await sleep(min(LONGEST, max(0.0, (record.at - last).total_seconds()) / speed))
        last, found = record.at, True
        yield record
    if not found:
        what = f"conversation {conversation}" if conversation else "event"
        raise NotFound(f"there is no {what} of {tenant} after position {after}: `frontdesk export` lists what there is")


def shown(record: Recorded, *, as_json: bool) -> str:
    """One event as a line for a program or for people; empty for people when nothing was said."""
    said = record.event
    if as_json:
        place = {"position": record.position, "conversation": record.conversation, "turn": record.turn, "seq": record.seq}
        return json.dumps({**place, "at": record.at.isoformat(), "kind": kind_of(said), "event": to_json(said)}, ensure_ascii=False)
    if not isinstance(said, MessageReceived | ReplySent | AgentReplied):
        return ""
    who = "customer" if isinstance(said, MessageReceived) else f"desk ({said.route.value})" if isinstance(said, ReplySent) else "agent"
    return f"{record.at:%Y-%m-%d %H:%M:%S}  {record.conversation[:8]}  {who}: {said.text}"


async def asked(store: Any, tenant: TenantId, *, conversation: str = "", after: int = 0) -> list[Asked]:
    """Stored turns that the desk answered, conversation by conversation."""
    customers: dict[str, str] = {}
    messages: dict[tuple[str, str], str] = {}
    found: dict[str, list[Asked]] = {}
    async for record in _log(store, tenant, after):
        said, place = record.event, (record.conversation, record.turn)
        if conversation and record.conversation != conversation:
            continue
        if isinstance(said, ConversationOpened):
            customers[record.conversation] = said.customer or ""
        elif isinstance(said, MessageReceived):
            messages[place] = said.text
        elif isinstance(said, ReplySent) and place in messages:
            one = Asked(
                conversation=record.conversation,
                customer=customers.get(record.conversation, ""),
                turn=record.turn,
                message=messages[place],
                before=answer_of(said),
            )
            found.setdefault(record.conversation, []).append(one)
    return [one for of in found.values() for one in of]


async def against(stage: Stage, settings: Settings, tenant: TenantId, new: Path, *, with_api: bool, **which: Any) -> list[dict[str, Any]]:
    """Every stored message, what the desk answered then, and what this version answers. Raises NotFound, BadInput and BadTenant."""
    if not new.is_dir():  # noqa: ASYNC240 - one look before anything runs
        raise BadInput(f"{new} is no folder of tenants: name the folder that holds the new version's {tenant}/")
    async with stage.store(settings) as store:
        turns = await asked(store, tenant, **which)
    if not turns:
        raise NotFound(f"no stored turn of {tenant} was answered by the desk: there is nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="frontdesk-against-") as folder:
        tenants = new if with_api else without_api(new, Path(folder) / "tenants")
        trial = replace(settings, data=Path(folder) / "data", tenants=tenants, database_url="")
        async with stage.desk(trial, tenant) as desk:
            return [row async for row in compared(desk.front_office, tenant, turns, with_api=with_api)]


async def compared(front_office: Any, tenant: TenantId, turns: Iterable[Asked], *, with_api: bool) -> AsyncIterator[dict[str, Any]]:
    """One row per turn: `before`, `after` and what `differs`. An answer that needed the API and has none is `skipped`."""
    places: dict[str, ConversationId | None] = {}
    for one in turns:
        row = {"conversation": one.conversation, "turn": one.turn, "message": one.message, "before": dict(one.before)}
        if not with_api and one.before["route"] in NEEDS_API:
            yield {**row, "after": None, "differs": [], "skipped": "needs the tenant's API: see --with-api"}
            continue
        customer = CustomerId(one.customer) if one.customer else None
        caller = Caller(tenant=tenant, key=KEY, role=Role.SERVER, customer=customer, claims={"sub": one.customer} if customer else {})
        reply: ReplySent | None = None
        known = places.get(one.conversation)
        stream = front_office.talk(caller=caller, message=one.message, conversation=known, channel=CHANNEL)
        async with aclosing(stream) as events:
            async for record in events:
                places[one.conversation] = record.conversation
                reply = record.event if isinstance(record.event, ReplySent) else reply
        now = answer_of(reply) if reply else {"text": "", "route": "handoff", "cites": [], "handoff": True}
        yield {**row, "after": now, "differs": [k for k, v in now.items() if v != one.before[k]], "skipped": ""}


def answer_of(reply: ReplySent) -> dict[str, Any]:
    """What of an answer is compared."""
    cites = sorted({c.source for c in reply.citations})
    return {"text": reply.text, "route": reply.route.value, "cites": cites, "handoff": reply.handoff}


def without_api(tenants: Path, out: Path) -> Path:
    """A copy of a folder of tenants whose desks call nothing."""
    shutil.copytree(tenants, out)
    for path in out.glob("*/tenant.yaml"):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.pop("tools", None) is not None:
            path.write_text(yaml.safe_dump(found, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return out


async def _log(store: Any, tenant: TenantId, after: int) -> AsyncIterator[Recorded]:
    while True:
        events, reached = await store.log.read(after=after, tenant=tenant, limit=PAGE)
        for event in events:
            yield event
        if not events or reached <= after:
            return
        after = max(reached, events[-1].position)
