"""Conversations: what is appended stays, in order, and only its caller sees it."""

from __future__ import annotations

import asyncio

import pytest

from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, Owner, Pending, Route, TurnId
from frontdesk.domain.tenancy import CustomerId, KeyId, TenantId
from frontdesk.errors import Conflict, NotFound
from frontdesk.settings import Settings
from frontdesk.store import Conversations, Store, TenantStore
from frontdesk.store.conversations import FinishedTurn, new_conversation_id

KEY = KeyId("key_a")
ANNA = CustomerId("anna")
T1, T2 = TurnId("t1"), TurnId("t2")
REPLY = e.ReplySent(text="hello", route=Route.FAQ, confidence=0.9)


@pytest.fixture
def conversations(tenant_store: TenantStore) -> Conversations:
    return tenant_store.conversations


@pytest.fixture
async def opened(conversations: Conversations) -> ConversationId:
    return await conversations.open(key=KEY, customer=None, channel="api")


async def test_what_was_appended_is_loaded_as_a_conversation(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi"), REPLY])
    loaded = await conversations.load(opened, key=KEY)
    assert [u.text for u in loaded.utterances] == ["hi", "hello"]


async def test_sequence_numbers_have_no_gaps_even_when_many_append_at_once(conversations, opened):
    await asyncio.gather(*(conversations.append(opened, TurnId(str(n)), [e.SentenceReleased(text="x")] * 3) for n in range(20)))
    assert [r.seq for r in await conversations.events(opened)] == list(range(1, 61))


async def test_the_recorded_events_are_those_in_the_log(conversations, opened):
    added = await conversations.append(opened, T1, [e.MessageReceived(text="hi"), REPLY])
    assert added == await conversations.events(opened)


async def test_events_can_be_read_from_a_sequence_number_on(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi"), e.SentenceReleased(text="hello"), REPLY])
    assert [r.seq for r in await conversations.events(opened, after=1, limit=1)] == [2]


async def test_appending_to_an_unknown_conversation_is_not_found(conversations):
    with pytest.raises(NotFound):
        await conversations.append(ConversationId("cv_none"), T1, [REPLY])


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\\u0000", "\x1b[31m", "😀" * 10, ""])
async def test_any_text_a_customer_can_send_is_stored(conversations, opened, text):
    await conversations.append(opened, T1, [e.MessageReceived(text=text), e.SlotFilled(slot="s", value={text: [text]})])
    stored = (await conversations.events(opened))[0].event
    assert isinstance(stored, e.MessageReceived)
    assert stored.text == text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")


async def test_another_key_does_not_find_the_conversation(conversations, opened):
    with pytest.raises(NotFound):
        await conversations.load(opened, key=KeyId("key_b"))


async def test_another_customer_of_the_same_key_does_not_find_the_conversation(conversations):
    annas = await conversations.open(key=KEY, customer=ANNA, channel="api")
    for other in (None, CustomerId("ben")):
        with pytest.raises(NotFound):
            await conversations.load(annas, key=KEY, customer=other)


async def test_a_foreign_and_an_unknown_conversation_fail_with_the_same_words(conversations, opened):
    with pytest.raises(NotFound) as foreign:
        await conversations.load(opened, key=KeyId("key_b"))
    with pytest.raises(NotFound) as unknown:
        await conversations.load(ConversationId("cv_none"), key=KEY)
    assert str(foreign.value) == str(unknown.value)


async def test_staff_load_a_conversation_of_any_caller(conversations, opened):
    assert (await conversations.load(opened, any_caller=True)).id == opened


async def test_a_conversation_of_another_tenant_is_not_found(store: Store, opened):
    with pytest.raises(NotFound):
        await store.for_tenant(TenantId("somebody-else")).conversations.load(opened, any_caller=True)


async def test_a_pending_question_and_slots_survive_any_amount_of_talk(conversations, opened):
    pending = Pending(kind="slot", question="Which order?", slot="order_id")
    await conversations.append(opened, T1, [e.SlotFilled(slot="name", value="Anna"), e.SlotRequested(pending=pending)])
    await conversations.append(opened, T1, [e.MessageReceived(text=str(n)) for n in range(500)])
    loaded = await conversations.load(opened, key=KEY)
    assert (loaded.pending, loaded.known) == (pending, {"name": "Anna"})
    assert loaded.utterances[-1].text == "499"


async def test_a_resent_history_resumes_the_newest_open_conversation_of_its_caller(conversations):
    first, second = [await conversations.open(key=KEY, customer=ANNA, channel="api") for _ in range(2)]
    for id in (first, second):
        await conversations.append(id, T1, [REPLY], fingerprint="f1")
    assert await conversations.resume(key=KEY, customer=ANNA, fingerprint="f1") == second


@pytest.mark.parametrize(("key", "customer"), [(KeyId("key_b"), ANNA), (KEY, CustomerId("ben")), (KEY, None)])
async def test_nobody_else_resumes_a_conversation(conversations, key, customer):
    id = await conversations.open(key=KEY, customer=ANNA, channel="api")
    await conversations.append(id, T1, [REPLY], fingerprint="f1")
    assert await conversations.resume(key=key, customer=customer, fingerprint="f1") is None


async def test_an_older_fingerprint_resumes_nothing(conversations, opened):
    await conversations.append(opened, T1, [REPLY], fingerprint="f1")
    await conversations.append(opened, T2, [REPLY], fingerprint="f2")
    assert await conversations.resume(key=KEY, customer=None, fingerprint="f1") is None


async def test_a_closed_conversation_is_not_resumed(conversations, opened):
    await conversations.append(opened, T1, [REPLY], fingerprint="f1")
    await conversations.set_owner(opened, Owner.CLOSED)
    assert await conversations.resume(key=KEY, customer=None, fingerprint="f1") is None


async def test_a_conversation_idle_for_too_long_is_not_resumed(database_settings: Settings, tenant, opened, conversations):
    await conversations.append(opened, T1, [REPLY], fingerprint="f1")
    hasty = await Store.open(Settings(data=database_settings.data, conversation_hours=0.0))
    try:
        assert await hasty.for_tenant(tenant).conversations.resume(key=KEY, customer=None, fingerprint="f1") is None
    finally:
        await hasty.close()


async def test_one_holder_at_a_time_holds_the_turn(conversations, opened):
    claims = await asyncio.gather(*(conversations.claim(opened, holder=f"h{n}", seconds=30) for n in range(10)))
    assert claims.count(True) == 1


async def test_a_lease_that_ran_out_can_be_taken_over_and_not_be_renewed(conversations, opened):
    assert await conversations.claim(opened, holder="a", seconds=0.0)
    assert await conversations.claim(opened, holder="b", seconds=30)
    assert not await conversations.renew(opened, holder="a", seconds=30)
    assert await conversations.renew(opened, holder="b", seconds=30)


async def test_only_the_holder_releases_the_turn(conversations, opened):
    await conversations.claim(opened, holder="a", seconds=30)
    await conversations.release(opened, holder="b")
    assert not await conversations.claim(opened, holder="b", seconds=30)
    await conversations.release(opened, holder="a")
    assert await conversations.claim(opened, holder="b", seconds=30)


async def test_a_retry_finds_its_turn_and_then_its_reply(conversations, opened):
    assert await conversations.reply_for(None, key=KEY, idempotency_key="k1") is None
    await conversations.append(opened, T1, [e.MessageReceived(text="hi", idempotency_key="k1")])
    assert await conversations.reply_for(None, key=KEY, idempotency_key="k1") == (opened, T1, None)
    await conversations.append(opened, T1, [REPLY])
    assert await conversations.reply_for(opened, key=KEY, idempotency_key="k1") == (opened, T1, REPLY)


async def test_two_attempts_with_one_idempotency_key_start_one_turn(conversations, opened):
    async def attempt(n: int) -> bool:
        try:
            await conversations.append(opened, TurnId(f"t{n}"), [e.MessageReceived(text="hi", idempotency_key="k1")])
        except Conflict:
            return False
        return True

    assert (await asyncio.gather(*(attempt(n) for n in range(5)))).count(True) == 1
    assert len(await conversations.events(opened)) == 1


async def test_an_idempotency_key_belongs_to_one_customer(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi", idempotency_key="k1"), REPLY])
    assert await conversations.reply_for(None, key=KEY, customer=ANNA, idempotency_key="k1") is None
    annas = await conversations.open(key=KEY, customer=ANNA, channel="api")
    assert await conversations.append(annas, T1, [e.MessageReceived(text="hi", idempotency_key="k1")])


def finished(id: ConversationId, turn: str, *, opens: bool = False, key: str | None = None) -> FinishedTurn:
    events = (e.MessageReceived(text=f"hi {turn}", idempotency_key=key), REPLY)
    return FinishedTurn(id=id, turn=TurnId(turn), events=events, opens=(KEY, ANNA, "rehearsal") if opens else None)


async def test_finished_turns_of_several_conversations_are_written_together(conversations, opened):
    new = new_conversation_id()
    assert await conversations.write([finished(new, "a", opens=True), finished(opened, "b"), finished(new, "c")]) == [True] * 3
    loaded = await conversations.load(new, key=KEY, customer=ANNA)
    assert [u.text for u in loaded.utterances] == ["hi a", "hello", "hi c", "hello"]
    assert await conversations.unfinished() == []


async def test_a_finished_turn_that_was_written_before_keeps_all_that_came_with_it_out(conversations, opened):
    await conversations.write([finished(opened, "a", key="k1")])
    new = new_conversation_id()
    with pytest.raises(Conflict):
        await conversations.write([finished(new, "b", opens=True), finished(opened, "c", key="k1")])
    with pytest.raises(NotFound):
        await conversations.load(new, any_caller=True)
    assert len(await conversations.events(opened)) == 2


async def test_a_finished_turn_of_a_missing_conversation_is_told_and_the_others_are_written(conversations, opened):
    assert await conversations.write([finished(ConversationId("cv_none"), "a"), finished(opened, "b")]) == [False, True]
    assert len(await conversations.events(opened)) == 2


async def test_the_owner_changes_only_from_the_expected_one(conversations, opened):
    await conversations.set_owner(opened, Owner.AGENT, expected=Owner.DESK, agent="Dana")
    with pytest.raises(Conflict):
        await conversations.set_owner(opened, Owner.AGENT, expected=Owner.DESK, agent="Eli")
    loaded = await conversations.load(opened, any_caller=True)
    assert (loaded.owner, loaded.agent) == (Owner.AGENT, "Dana")


async def test_of_two_agents_who_take_a_conversation_one_gets_it(conversations, opened):
    taking = (conversations.set_owner(opened, Owner.AGENT, expected=Owner.DESK, agent=name) for name in ("Dana", "Eli"))
    results = await asyncio.gather(*taking, return_exceptions=True)
    assert sorted(type(r) for r in results if r is not None) == [Conflict]


async def test_the_owner_of_an_unknown_conversation_is_not_found(conversations):
    with pytest.raises(NotFound):
        await conversations.set_owner(ConversationId("cv_none"), Owner.QUEUE)


async def test_the_desks_words_are_dropped_once_a_human_took_over(conversations, opened):
    await conversations.set_owner(opened, Owner.AGENT, agent="Dana")
    assert await conversations.append(opened, T1, [REPLY], if_owner=Owner.DESK) == []
    assert [type(r.event) for r in await conversations.events(opened)] == [e.OwnerChanged]


async def test_a_turn_without_an_end_is_unfinished_until_it_gets_one(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi")])
    await conversations.append(opened, T2, [e.MessageReceived(text="ho"), REPLY])
    assert await conversations.unfinished() == [(opened, T1)]
    await conversations.append(opened, T1, [e.TurnFailed(reason="late")])
    assert await conversations.unfinished() == []


async def test_a_message_that_waits_behind_another_is_its_senders_for_as_long_as_they_wait(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi")])
    await conversations.append(opened, T2, [e.MessageReceived(text="ho")])
    assert await conversations.unfinished(patience_seconds=30) == [(opened, T1)]
    await conversations.append(opened, T1, [REPLY])
    assert await conversations.unfinished(patience_seconds=30) == []
    assert await conversations.unfinished() == [(opened, T2)]


async def test_a_message_that_took_others_along_is_unfinished_at_once(conversations, opened):
    await conversations.append(opened, T1, [e.MessageReceived(text="hi")])
    await conversations.append(opened, T2, [e.MessageReceived(text="ho")])
    await conversations.append(opened, T1, [e.TurnMerged(into=T2)])
    assert await conversations.unfinished(patience_seconds=30) == [(opened, T2)]


async def test_a_second_attempt_takes_the_lease_of_the_first_only_when_that_one_stopped_renewing(conversations, opened):
    assert (await conversations.take(opened, turn=T1, holder=T1, seconds=30)).claimed
    assert not (await conversations.take(opened, turn=T1, holder=f"{T1} again", seconds=30)).claimed
    assert not (await conversations.take(opened, turn=T2, holder=f"{T2} again", seconds=70)).claimed
    assert (await conversations.take(opened, turn=T1, holder=f"{T1} again", seconds=70)).claimed
    assert not await conversations.renew(opened, holder=T1, seconds=30)


async def test_what_a_human_dealt_with_is_not_unfinished_when_the_desk_gets_the_conversation_back(conversations, opened):
    await conversations.set_owner(opened, Owner.AGENT, agent="Dana")
    await conversations.append(opened, T1, [e.MessageReceived(text="hi")])
    assert await conversations.unfinished() == []
    await conversations.set_owner(opened, Owner.DESK)
    assert await conversations.unfinished() == []


async def test_the_list_shows_the_latest_activity_first_and_goes_on_from_a_row(conversations):
    ids = [await conversations.open(key=KEY, customer=None, channel="api") for _ in range(3)]
    await conversations.append(ids[0], T1, [e.MessageReceived(text="newest")])
    rows = await conversations.list()
    assert [row.conversation_id for row in rows] == [ids[0], ids[2], ids[1]]
    assert (rows[0].preview, rows[0].messages) == ("newest", 1)
    assert [row.conversation_id for row in await conversations.list(before=rows[0].updated_at)] == [ids[2], ids[1]]


async def test_the_list_can_show_one_owner_only(conversations, opened):
    other = await conversations.open(key=KEY, customer=None, channel="api")
    await conversations.append(other, T1, [e.HandedOff(category="requested", summary="")])
    assert [row.conversation_id for row in await conversations.list(owner=Owner.QUEUE)] == [other]


async def test_erasing_a_customer_leaves_nothing_of_theirs_and_everything_of_others(conversations, opened):
    annas = await conversations.open(key=KEY, customer=ANNA, channel="api")
    for id in (annas, opened):
        await conversations.append(id, T1, [e.MessageReceived(text="hi")])
    assert await conversations.erase(customer=ANNA) == 1
    assert await conversations.events(annas) == []
    assert len(await conversations.events(opened)) == 1
    with pytest.raises(NotFound):
        await conversations.load(annas, any_caller=True)


async def test_the_key_that_opened_a_conversation_is_known(conversations, opened):
    assert await conversations.key_of(opened) == KEY
