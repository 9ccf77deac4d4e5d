"""Conversations with customers of two invented trades, played from outside: replies by pattern, calls by the API's own log."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.desk.counter import Visit
from tests.desk.library_api import served
from tests.desk.trades import Marina, Trade, Vets

from frontdesk.desk.briefing import Briefings
from frontdesk.desk.desk import Desk
from frontdesk.desk.dynamic import Dynamic
from frontdesk.desk.phrasing import Phrasing
from frontdesk.desk.reading import Reader
from frontdesk.desk.recording import FrontOffice
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, HandoffContact, Identity, KeyId, Role, Tenant, TenantId, ToolSource
from frontdesk.knowledge.library import Library as Knowledge
from frontdesk.models import registry
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.tools.calling import http_client
from frontdesk.tools.catalog import load_catalog

FOLDER = Path(__file__).parent / "trades"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""A Friday."""
TRADES: Mapping[str, tuple[type[Trade], str, str]] = {
    "marina": (Marina, "Saltmarsh Marinas", "X-Berth-Holder"),
    "vets": (Vets, "Fernhollow Vets", "owner_id"),
}


def conversations() -> dict[str, dict[str, Any]]:
    found = {}
    for trade in TRADES:
        for row in yaml.safe_load((FOLDER / trade / "conversations.yaml").read_text(encoding="utf-8")):
            found[f"{trade}-{row['id']}"] = {**row, "trade": trade}
    return found


PLAYED = conversations()


@dataclass(kw_only=True)
class Shop:
    """One trade with its desk and its API."""

    office: FrontOffice
    api: Trade
    tenant: TenantId
    key: KeyId


@pytest.fixture(scope="module")
async def shops(store: Store, models_cache: Path, encoder: SentenceEncoder, matcher: CrossEncoder) -> AsyncIterator[dict[str, Shop]]:
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", models_cache), threads=1)
    async with AsyncExitStack() as stack:
        yield {name: await _opened(name, store, embedder, encoder, matcher, stack) for name in TRADES}
    embedder.close()


async def _opened(
    name: str, store: Store, embedder: SentenceEncoder, encoder: SentenceEncoder, matcher: CrossEncoder, stack: AsyncExitStack
) -> Shop:
    kind, company, bound = TRADES[name]
    api = kind()
    url = await stack.enter_async_context(served(api))
    http = await stack.enter_async_context(http_client())
    tenant = TenantId(f"t{secrets.token_hex(6)}")
    place = Tenant(
        id=tenant,
        name=company,
        tools=(ToolSource(openapi="openapi.yaml", server=url, bind={bound: "customer.id"}),),
        folder=FOLDER / name,
        handoff=HandoffContact(email=f"team@{name}.example", hours="Monday to Friday 9:00-17:00"),
        identity=Identity(sign_in_url=f"https://{name}.example/in"),
    )
    knowledge = Knowledge(store, embedder)
    await knowledge.sync(place)
    keys = store.for_tenant(tenant).keys
    await keys.create(Role.SERVER, "test")
    reader = Reader(embedder, encoder=encoder, matcher=matcher)
    desk = Desk(
        briefings=Briefings(store=store, embedder=embedder, reader=reader, catalogs={tenant: load_catalog(place)}),
        reader=reader,
        library=knowledge,
        dynamic=Dynamic(store=store, embedder=embedder, encoder=encoder, matcher=matcher, http=http, clock=lambda: NOW),
        phrasing=Phrasing(None),
        tenants={tenant: place},
    )
    office = FrontOffice(store=store, desk=desk, tenants={tenant: place}, settings=Settings(burst_seconds=0.0))
    return Shop(office=office, api=api, tenant=tenant, key=(await keys.list())[0].id)


@pytest.mark.parametrize("name", PLAYED)
async def test_a_customer_gets_what_they_came_for(shops: dict[str, Shop], store: Store, name: str) -> None:
    played = PLAYED[name]
    shop = shops[played["trade"]]
    fresh = TRADES[played["trade"]][0]()
    shop.api.set(vars(fresh))
    who = played.get("as")
    caller = Caller(
        tenant=shop.tenant,
        key=shop.key,
        role=Role.SERVER,
        customer=CustomerId(who) if who else None,
        claims={"sub": who} if who else {},
    )
    visit = Visit(office=shop.office, store=store, caller=caller)
    heard: list[str] = []
    for turn in played["turns"]:
        shop.api.set(turn.get("set", {}))
        before = len(shop.api.acts())
        reply = await visit.say(turn["say"])
        heard.append(f"  > {turn['say']}\n  < [{reply.route}] {reply.text} {[(c.name, dict(c.arguments)) for c in reply.tool_calls]}")
        wrong = list(_wrong(turn, reply, len(shop.api.acts()) - before))
        assert not wrong, "\n".join([*wrong, *heard])
    if who is not None:
        others = {"SM-2041", "SM-3055", "O-61", "O-72"} - {who}
        assert not [row for row in shop.api.log if any(o in str(row) for o in others)]


def _wrong(turn: Mapping[str, Any], reply: ReplySent, acts: int) -> Iterator[str]:
    for pattern in turn.get("holds", ()):
        if not re.search(pattern, reply.text):
            yield f"does not hold {pattern!r}"
    for pattern in turn.get("lacks", ()):
        if re.search(pattern, reply.text):
            yield f"holds {pattern!r}"
    routes = turn.get("route")
    if routes and reply.route not in ([routes] if isinstance(routes, str) else routes):
        yield f"route {reply.route}, not {routes}"
    if acts != turn.get("acts", 0):
        yield f"{acts} acts, not {turn.get('acts', 0)}"
    if "calls" in turn:
        done = {c.name: c.arguments for c in reply.tool_calls if c.error is None}
        for call in turn["calls"]:
            name, _, rest = call.rstrip(")").partition("(")
            if name not in done:
                yield f"did not call {name}"
                continue
            for pair in filter(None, rest.split(", ")):
                argument, _, value = pair.partition("=")
                if str(done[name].get(argument)) != value:
                    yield f"{name} with {argument} {done[name].get(argument)!r}, not {value!r}"
        if not turn["calls"] and done:
            yield f"called {', '.join(done)}"
