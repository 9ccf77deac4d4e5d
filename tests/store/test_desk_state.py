"""Gaps, the queue for humans, the audit trail, trained heads."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from frontdesk.domain import events as e
from frontdesk.domain.conversation import Owner, TurnId
from frontdesk.domain.tenancy import KeyId
from frontdesk.errors import StoreUnavailable

T1 = TurnId("t1")


@pytest.fixture
async def opened(tenant_store):
    return await tenant_store.conversations.open(key=KeyId("key_a"), customer=None, channel="api")


async def ask(tenant_store, opened, question: str) -> None:
    await tenant_store.conversations.append(opened, T1, [e.KnowledgeGapFound(question=question, best_source="a.md", best_score=0.2)])


async def test_a_question_asked_again_in_other_case_is_one_gap_that_counts(tenant_store, opened):
    for question in ("Do you ship to Malta?", "do you ship  to malta", "Is there parking?"):
        await ask(tenant_store, opened, question)
    assert [(gap.question, gap.count) for gap in await tenant_store.desk.gaps()] == [("Do you ship to Malta?", 2), ("Is there parking?", 1)]


async def test_a_closed_gap_opens_again_when_it_is_asked_again(tenant_store, opened):
    await ask(tenant_store, opened, "Do you ship to Malta?")
    (gap,) = await tenant_store.desk.gaps()
    assert await tenant_store.desk.close_gap(gap.id, note="written")
    assert await tenant_store.desk.gaps() == []
    assert [g.note for g in await tenant_store.desk.gaps(closed=True)] == ["written"]
    await ask(tenant_store, opened, "Do you ship to Malta?")
    assert len(await tenant_store.desk.gaps()) == 1


async def test_an_unknown_gap_cannot_be_closed(tenant_store):
    assert not await tenant_store.desk.close_gap("gap_none")


async def test_a_handed_off_conversation_waits_in_the_queue_until_it_is_closed(tenant_store, opened):
    handed = e.HandedOff(category="anger", summary="Wants a refund.", facts={"order": "A-17"}, promised="a call")
    await tenant_store.conversations.append(opened, T1, [handed])
    (waiting,) = await tenant_store.desk.handoffs()
    assert (waiting.conversation_id, waiting.owner, waiting.summary, waiting.facts) == (opened, Owner.QUEUE, handed.summary, handed.facts)
    await tenant_store.conversations.set_owner(opened, Owner.CLOSED)
    assert await tenant_store.desk.handoffs() == []


async def test_who_an_agent_took_from_the_desk_is_in_the_queue_and_ai_customers_come_last(tenant_store):
    made = [await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel=c) for c in ("rehearsal", "chat", "chat")]
    played, waiting, taken = made
    for id in (played, waiting):
        await tenant_store.conversations.append(id, T1, [e.HandedOff(category="anger", summary="Wants a refund.")])
    await tenant_store.conversations.set_owner(taken, Owner.AGENT, agent="ari")
    rows = {h.conversation_id: h for h in await tenant_store.desk.handoffs()}
    assert set(list(rows)[:2]) == {waiting, taken}
    assert list(rows)[2] == played
    assert (rows[taken].agent, rows[taken].category, rows[taken].channel) == ("ari", "", "chat")
    assert [h.conversation_id for h in await tenant_store.desk.handoffs(limit=2)].count(played) == 0


async def test_audit_entries_come_in_order_with_what_was_done(tenant_store):
    for n in range(3):
        await tenant_store.desk.audit(actor="key_a", action="key.create", subject=f"s{n}\0", detail={"label": "x\0"})
    trail = await tenant_store.desk.audit_trail(after=1)
    assert [(entry.seq, entry.subject, entry.detail) for entry in trail] == [
        (2, "s1\ufffd", {"label": "x\ufffd"}),
        (3, "s2\ufffd", {"label": "x\ufffd"}),
    ]


async def test_many_audit_entries_at_once_make_one_chain(tenant_store):
    await asyncio.gather(*(tenant_store.desk.audit(actor="a", action="b", subject=str(n)) for n in range(20)))
    check = await tenant_store.desk.audit_verify()
    assert (check.entries, check.intact) == (20, True)


@pytest.mark.parametrize(
    "tamper",
    [
        "update frontdesk.audit set actor = 'nobody' where tenant = %(t)s and seq = 3",
        "update frontdesk.audit set at = at + interval '1 second' where tenant = %(t)s and seq = 3",
        "update frontdesk.audit set detail = '{}' where tenant = %(t)s and seq = 3",
        "delete from frontdesk.audit where tenant = %(t)s and seq = 3",
        "delete from frontdesk.audit where tenant = %(t)s and seq <= 2",
        "update frontdesk.audit set seq = case seq when 2 then 102 else 103 end where tenant = %(t)s and seq in (2, 3)",
        "update frontdesk.audit set hash = sha256('x') where tenant = %(t)s and seq = 5",
        "update frontdesk.audit set actor = subject, subject = actor where tenant = %(t)s and seq = 3",
    ],
)
async def test_any_change_of_the_audit_trail_is_found(tenant_store, tenant, database_url, tamper):
    for n in range(5):
        await tenant_store.desk.audit(actor="a", action="b", subject=str(n), detail={"n": n})
    with psycopg.connect(database_url) as connection:
        assert connection.execute(tamper, {"t": tenant}).rowcount
    assert not (await tenant_store.desk.audit_verify()).intact


async def test_cutting_off_the_end_of_the_audit_trail_is_found_with_a_head_kept_elsewhere(tenant_store, tenant, database_url):
    for n in range(5):
        head = await tenant_store.desk.audit(actor="a", action="b", subject=str(n))
    assert (await tenant_store.desk.audit_verify(head=head)).intact
    with psycopg.connect(database_url) as connection:
        connection.execute("delete from frontdesk.audit where tenant = %s and seq = 5", [tenant])
    assert not (await tenant_store.desk.audit_verify(head=head)).intact


async def test_a_blob_comes_back_byte_for_byte_and_is_replaced_by_the_next(tenant_store):
    assert await tenant_store.desk.get_blob("head") is None
    await tenant_store.desk.put_blob("head", b"old")
    await tenant_store.desk.put_blob("head", bytes(range(256)))
    assert await tenant_store.desk.get_blob("head") == bytes(range(256))


async def test_a_damaged_blob_is_refused_with_a_remedy(tenant_store, tenant, database_url):
    await tenant_store.desk.put_blob("head", b"data")
    with psycopg.connect(database_url) as connection:
        connection.execute("update frontdesk.blobs set data = 'other' where tenant = %s", [tenant])
    with pytest.raises(StoreUnavailable, match="knowledge sync"):
        await tenant_store.desk.get_blob("head")
