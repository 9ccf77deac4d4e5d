"""The tail: everything once, in order, whoever commits first, whatever breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.events import tail
from frontdesk.store import Store
from frontdesk.store import log as log_module

SAID = e.SentenceReleased(text="x")


async def take(events: AsyncIterator[e.Recorded], count: int, seconds: float = 20.0) -> list[e.Recorded]:
    async with asyncio.timeout(seconds):
        return [await anext(events) for _ in range(count)]


@pytest.fixture
async def opened(tenant_store) -> ConversationId:
    return await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel="api")


async def say(store: Store, tenant: TenantId, id: ConversationId, count: int = 1) -> list[e.Recorded]:
    return await store.for_tenant(tenant).conversations.append(id, TurnId("t"), [SAID] * count)


async def test_what_happened_comes_first_and_then_what_happens(store: Store, tenant, opened):
    old = await say(store, tenant, opened, 3)
    events = tail(store, tenant=tenant)
    assert await take(events, 3) == old
    assert await take_while(events, say(store, tenant, opened, 2), 2)
    await events.aclose()


async def take_while(events: AsyncIterator[e.Recorded], doing, count: int) -> bool:
    waiting = asyncio.create_task(take(events, count))
    await asyncio.sleep(0.05)
    return await doing == await waiting


async def test_a_tail_goes_on_where_another_ended(store: Store, tenant, opened):
    recorded = await say(store, tenant, opened, 5)
    assert await take(tail(store, after=recorded[1].position, tenant=tenant), 3) == recorded[2:]


async def test_a_long_past_comes_whole(store: Store, tenant, opened):
    recorded = [r for _ in range(3) for r in await say(store, tenant, opened, 400)]
    assert await take(tail(store, tenant=tenant), 1200) == recorded


async def test_a_tail_of_one_tenant_or_conversation_shows_nothing_else(store: Store, tenant, opened, tenant_store):
    other = await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel="api")
    neighbour = TenantId(f"{tenant}-neighbour")
    foreign = await store.for_tenant(neighbour).conversations.open(key=KeyId("k"), customer=None, channel="api")
    of_tenant, of_one = tail(store, tenant=tenant), tail(store, conversation=opened)
    for who, id in ((neighbour, foreign), (tenant, other), (tenant, opened)):
        await say(store, who, id)
    assert [r.conversation for r in await take(of_tenant, 2)] == [other, opened]
    assert [r.conversation for r in await take(of_one, 1)] == [opened]


async def test_a_tail_of_everything_shows_every_tenant_in_order_of_position(store: Store, tenant, opened):
    (mark,) = await say(store, tenant, opened)
    events = tail(store, after=mark.position)
    spaces = [store.for_tenant(TenantId(f"{tenant}-{n}")) for n in range(4)]
    ids = [await space.conversations.open(key=KeyId("k"), customer=None, channel="api") for space in spaces]
    writing = [say(store, space.tenant, id, 3) for _ in range(25) for space, id in zip(spaces, ids, strict=True)]
    await asyncio.gather(*writing)
    got = await take(events, 300)
    assert [r.position for r in got] == sorted({r.position for r in got})
    assert {r.tenant for r in got} == {space.tenant for space in spaces}


async def test_nothing_is_missed_when_writers_commit_in_another_order_than_they_wrote(
    store: Store, tenant, opened, tenant_store, database_url
):
    other = await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel="api")
    (mark,) = await say(store, tenant, opened)
    events = tail(store, after=mark.position, tenant=tenant)
    async with await psycopg.AsyncConnection.connect(database_url) as slow:
        await slow.execute("set search_path = frontdesk")
        await slow.execute("select events_enter()")
        await slow.execute(
            "insert into events (tenant, conversation, turn, seq, kind, body)"
            ' values (%s, %s, \'t\', 1, \'sentence_released\', \'{"kind": "sentence_released", "v": 1, "text": "slow"}\')',
            [tenant, other],
        )
        (later,) = await say(store, tenant, opened)
        waiting = asyncio.create_task(take(events, 2))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await slow.commit()
    got = await waiting
    assert [r.conversation for r in got] == [other, opened]
    assert got[1] == later


async def test_a_writer_that_gives_up_holds_nobody_up(store: Store, tenant, opened, database_url):
    (mark,) = await say(store, tenant, opened)
    async with await psycopg.AsyncConnection.connect(database_url) as slow:
        await slow.execute("set search_path = frontdesk")
        await slow.execute("select events_enter()")
        await slow.execute("select nextval('events_position')")
        (later,) = await say(store, tenant, opened)
        await slow.rollback()
    assert await take(tail(store, after=mark.position, tenant=tenant), 1, seconds=5) == [later]


async def test_a_long_transaction_elsewhere_holds_nobody_up(store: Store, tenant, opened, database_url):
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("create temporary table busy (a int)")
        recorded = await say(store, tenant, opened)
        assert await take(tail(store, tenant=tenant), 1, seconds=5) == recorded


async def test_concurrent_writers_and_a_reader_agree_on_every_event(store: Store, tenant, opened, tenant_store):
    ids = [await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel="api") for _ in range(8)]
    events = tail(store, tenant=tenant)
    reading = asyncio.create_task(take(events, 8 * 40))

    async def write(id: ConversationId) -> list[e.Recorded]:
        return [r for _ in range(40) for r in await say(store, tenant, id)]

    written = [r for rows in await asyncio.gather(*(write(id) for id in ids)) for r in rows]
    assert await reading == sorted(written, key=lambda r: r.position)


async def test_a_reader_that_falls_far_behind_still_gets_everything_once(store: Store, tenant, opened, monkeypatch):
    monkeypatch.setattr(log_module, "KEPT", 20)
    events = tail(store, tenant=tenant)
    first = await asyncio.gather(take(events, 1), say(store, tenant, opened))
    recorded = [r for _ in range(10) for r in await say(store, tenant, opened, 30)]
    await asyncio.sleep(0.3)
    assert await take(events, 300) == recorded
    assert len(first) == 2


async def test_a_tail_survives_the_loss_of_its_connections(store: Store, tenant, opened, database_url):
    events = tail(store, tenant=tenant)
    waiting = asyncio.create_task(take(events, 2))
    before = await say(store, tenant, opened)
    killed = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        async with asyncio.timeout(10):
            while not killed:
                await asyncio.sleep(0.05)
                killed = connection.execute(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'frontdesk_tail'"
                ).fetchone()[0]
    after = await say(store, tenant, opened)
    assert await waiting == before + after


async def test_a_tail_that_ends_leaves_nothing_listening(store: Store, tenant, opened, database_url):
    events = tail(store, tenant=tenant)
    await say(store, tenant, opened)
    await take(events, 1)
    await events.aclose()
    with psycopg.connect(database_url, autocommit=True) as connection:
        async with asyncio.timeout(10):  # the server notices a moment later
            while connection.execute("select count(*) from pg_stat_activity where query ilike 'listen%'").fetchone() != (0,):
                await asyncio.sleep(0.05)
