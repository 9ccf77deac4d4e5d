"""What a conversation's events amount to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from frontdesk.domain import events as e
from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Pending, Route, Speaker, ToolCall, TurnId
from frontdesk.domain.folding import as_corrected, fold
from frontdesk.domain.tenancy import TenantId

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PENDING = Pending(kind="slot", question="Which order?", slot="order_id")


def folded(*turns: tuple[str, e.Event]) -> Conversation:
    recorded = [
        e.Recorded(
            position=seq,
            tenant=TenantId("acme"),
            conversation=ConversationId("c1"),
            turn=TurnId(turn),
            seq=seq,
            at=START + timedelta(seconds=seq),
            event=event,
        )
        for seq, (turn, event) in enumerate(turns, 1)
    ]
    return fold(recorded, id=ConversationId("c1"), tenant=TenantId("acme"), customer=None, opened_at=START)


def said(text: str = "hi") -> e.MessageReceived:
    return e.MessageReceived(text=text)


def reply(text: str = "hello", route: Route = Route.FAQ) -> e.ReplySent:
    return e.ReplySent(text=text, route=route, confidence=0.9)


def test_what_was_said_comes_in_order_with_its_speaker_and_turn():
    conversation = folded(("1", said()), ("1", reply()), ("", e.AgentReplied(agent="Dana", text="I take over")))
    assert [(u.speaker, u.text, u.turn) for u in conversation.utterances] == [
        (Speaker.CUSTOMER, "hi", "1"),
        (Speaker.DESK, "hello", "1"),
        (Speaker.AGENT, "I take over", ""),
    ]


def test_an_asked_question_is_pending_after_its_own_reply():
    assert folded(("1", said()), ("1", e.SlotRequested(pending=PENDING)), ("1", reply(route=Route.ELICIT))).pending == PENDING


def test_a_pending_question_is_still_there_while_the_next_turn_runs():
    assert folded(("1", e.SlotRequested(pending=PENDING)), ("1", reply()), ("2", said("A-17"))).pending == PENDING


def test_the_reply_of_the_next_turn_ends_a_pending_question():
    assert folded(("1", e.SlotRequested(pending=PENDING)), ("1", reply()), ("2", said("A-17")), ("2", reply())).pending is None


def test_a_question_asked_again_stays_pending():
    events = (("1", e.SlotRequested(pending=PENDING)), ("1", reply()), ("2", said("eh?")), ("2", e.SlotRequested(pending=PENDING)))
    assert folded(*events, ("2", reply())).pending == PENDING


def test_a_failed_turn_leaves_the_question_pending():
    failed = e.TurnFailed(reason="the database was away")
    assert folded(("1", e.SlotRequested(pending=PENDING)), ("1", reply()), ("2", said("A-17")), ("2", failed)).pending == PENDING


def test_a_handoff_ends_a_pending_question_and_queues_the_conversation():
    conversation = folded(("1", e.SlotRequested(pending=PENDING)), ("2", e.HandedOff(category="anger", summary="")))
    assert (conversation.pending, conversation.owner) == (None, Owner.QUEUE)


def test_the_last_value_of_a_slot_is_known():
    conversation = folded(("1", e.SlotFilled(slot="size", value="M")), ("2", e.SlotFilled(slot="size", value="L")))
    assert conversation.known == {"size": "L"}


def test_calls_that_were_made_are_kept():
    call = ToolCall(name="getOrder", arguments={}, result={"status": "shipped"})
    assert folded(("1", e.ToolCalled(call=call))).calls == (call,)


def test_failures_count_gaps_and_failed_turns_in_a_row():
    gap = e.KnowledgeGapFound(question="?")
    assert folded(("1", gap), ("1", reply(route=Route.REFUSE)), ("2", e.TurnFailed(reason="late", apology="sorry"))).failures == 2


def test_an_answer_from_a_source_sets_failures_back():
    assert folded(("1", e.TurnFailed(reason="late")), ("2", said()), ("2", reply(route=Route.KNOWLEDGE))).failures == 0


def test_small_talk_leaves_failures_as_they_are():
    assert folded(("1", e.TurnFailed(reason="late")), ("2", reply(route=Route.SMALLTALK))).failures == 1


def test_an_apology_is_something_that_was_said():
    assert [u.text for u in folded(("1", e.TurnFailed(reason="late", apology="Sorry!"))).utterances] == ["Sorry!"]


def test_an_agent_is_named_only_while_one_owns_the_conversation():
    taken = ("", e.OwnerChanged(owner="agent", agent="Dana"))
    assert folded(taken).agent == "Dana"
    assert folded(taken, ("", e.OwnerChanged(owner="desk", agent="Dana"))).agent == ""


def test_a_closed_conversation_stays_closed_whatever_is_handed_off_later():
    assert folded(("", e.OwnerChanged(owner="closed")), ("1", e.HandedOff(category="anger", summary=""))).owner is Owner.CLOSED


def test_merged_turns_are_remembered():
    assert folded(("1", said()), ("1", e.TurnMerged(into=TurnId("2")))).merged == {"1"}


def test_a_message_reads_as_the_customer_put_it_right_and_only_in_its_own_conversation():
    def log(conversation: str) -> list[e.Recorded]:
        told = [("t1", said("my code is A-1")), ("t1", reply()), ("", e.MessageCorrected(turn="t1", text="my code is B-2"))]
        return [
            e.Recorded(
                position=n,
                tenant=TenantId("acme"),
                conversation=ConversationId(conversation),
                turn=TurnId(turn),
                seq=n,
                at=datetime(2027, 1, 1, tzinfo=UTC),
                event=event,
            )
            for n, (turn, event) in enumerate(told, 1)
        ]

    mine, other = log("cv_1"), log("cv_2")[:2]
    texts = [r.event.text for r in as_corrected([*mine, *other]) if isinstance(r.event, e.MessageReceived)]
    assert texts == ["my code is B-2", "my code is A-1"]
    assert [r.event for r in as_corrected(other)] == [r.event for r in other]
