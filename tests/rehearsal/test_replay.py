"""Stored conversations again: at any speed, from any position, and against another version of the tenant."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from frontdesk.domain.conversation import ConversationId, Route, TurnId
from frontdesk.domain.events import ConversationOpened, MessageReceived, Recorded, ReplySent
from frontdesk.errors import NotFound
from frontdesk.rehearsal.replaying import asked, compared, replay, shown, without_api
from frontdesk.rehearsal.speakers import KEY
from frontdesk.store.store import Store, TenantStore


async def stored(space: TenantStore, *turns: tuple[str, str, Route]) -> ConversationId:
    known = await space.conversations.open(key=KEY, customer=None, channel="api")
    await space.conversations.append(known, TurnId("t0"), [ConversationOpened(channel="api", customer=None)])
    for number, (message, answer, route) in enumerate(turns, start=1):
        said = [MessageReceived(text=message, channel="api"), ReplySent(text=answer, route=route, confidence=1.0)]
        await space.conversations.append(known, TurnId(f"t{number}"), said)
    return known


async def test_replay_gives_what_was_said_in_order_and_from_any_position(store: Store, tenant_store: TenantStore):
    known = await stored(tenant_store, ("May I swap it?", "Yes.", Route.FAQ), ("When?", "Today.", Route.FAQ))
    await stored(tenant_store, ("Other?", "No.", Route.FAQ))
    events = [r async for r in replay(store, tenant_store.tenant, conversation=known)]
    lines = [line for r in events if (line := shown(r, as_json=False))]
    assert [line.split("  ")[-1] for line in lines] == [
        "customer: May I swap it?",
        "desk (faq): Yes.",
        "customer: When?",
        "desk (faq): Today.",
    ]
    later = [r async for r in replay(store, tenant_store.tenant, conversation=known, after=events[2].position)]
    assert [json.loads(shown(r, as_json=True))["position"] for r in later] == [r.position for r in events[3:]]


async def test_replay_pauses_as_the_speed_says(store: Store, tenant_store: TenantStore):
    await stored(tenant_store, ("May I swap it?", "Yes.", Route.FAQ))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    events = [r async for r in replay(store, tenant_store.tenant, speed=4.0, sleep=sleep)]
    assert sum(pauses) == pytest.approx((events[-1].at - events[0].at).total_seconds() / 4)


async def test_a_replay_of_nothing_says_so(store: Store, tenant_store: TenantStore):
    with pytest.raises(NotFound, match="conversation nobody"):
        _ = [r async for r in replay(store, tenant_store.tenant, conversation="nobody")]


NOW = datetime(2026, 3, 1, tzinfo=UTC)


class NewVersion:
    """A front office that answers everything in one way."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    async def talk(self, *, message: str, conversation: Any = None, **_more: Any) -> Any:
        self.heard.append((message, conversation))
        reply = ReplySent(text="Yes.", route=Route.FAQ, confidence=1.0)
        yield Recorded(position=1, tenant="t", conversation=ConversationId("new"), turn=TurnId("x"), seq=1, at=NOW, event=reply)


async def test_a_new_version_is_compared_answer_by_answer_without_acting(store: Store, tenant_store: TenantStore):
    await stored(tenant_store, ("May I swap it?", "Yes.", Route.FAQ), ("Cancel it", "Done.", Route.DYNAMIC), ("When?", "Today.", Route.FAQ))
    office = NewVersion()
    turns = await asked(store, tenant_store.tenant)
    rows = [r async for r in compared(office, tenant_store.tenant, turns, with_api=False)]
    assert [(r["message"], r["differs"], bool(r["skipped"])) for r in rows] == [
        ("May I swap it?", [], False),
        ("Cancel it", [], True),
        ("When?", ["text"], False),
    ]
    assert office.heard == [("May I swap it?", None), ("When?", "new")]


def test_a_trial_of_a_new_version_calls_no_api(tmp_path: Path):
    folder = tmp_path / "new" / "shop"
    folder.mkdir(parents=True)
    (folder / "tenant.yaml").write_text("id: shop\nname: Shop\ntools:\n- {openapi: api.yaml}\n")
    assert "tools" not in (without_api(tmp_path / "new", tmp_path / "out") / "shop/tenant.yaml").read_text()
    assert "tools" in (folder / "tenant.yaml").read_text()
