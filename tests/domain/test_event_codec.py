"""Every event type has a golden file: what was written once can be read for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.domain import events as e
from frontdesk.domain.conversation import Pending, Route, ToolCall, TurnId
from frontdesk.domain.knowledge import Citation, PassageId
from frontdesk.errors import BadInput

GOLDEN = Path(__file__).parent / "golden"
CALL = ToolCall(name="getOrder", arguments={"order_id": "A-17", "lines": [1, 2]}, result={"status": "shipped", "total": 12.5})
FAILED = ToolCall(name="getOrder", arguments={"order_id": "A-18"}, error="the order system did not answer in time")
CITATION = Citation(source="terms/returns.md", title="Returns", quote="within 30 days", passage=PassageId("doc_1.2.3"), version=2)
PENDING = Pending(
    kind="slot",
    question="Which order do you mean?",
    operation="getOrder",
    slot="order_id",
    arguments={"verbose": True},
    choices=("A-17", "A-18"),
    expires_at=datetime(2026, 11, 20, 10, 30, tzinfo=UTC),
)
EXAMPLES: tuple[e.Event, ...] = (
    e.ConversationOpened(channel="widget", customer="c-42", desk="0.1.0"),
    e.MessageReceived(text="Wo ist meine Bestellung? 📦", channel="widget", idempotency_key="k-1"),
    e.IntentRecognized(route=Route.DYNAMIC, name="order status", confidence=0.93, scores={"dynamic": 0.93, "faq": 0.07}),
    e.QuestionUnderstood(parts=("Where is order A-17?", "Can it be returned?")),
    e.PassagesRetrieved(question="Can it be returned?", passages=("doc_1.2.3", "doc_1.2.4"), scores=(0.031, 0.016)),
    e.SlotRequested(pending=PENDING),
    e.SlotFilled(slot="order_id", value="A-17", source="said"),
    e.ToolCalled(call=CALL, milliseconds=41.5, writes=False, text="Order A-17 is shipped."),
    e.ModelPhrased(
        model="smollm2-135m-instruct",
        draft="It is on its way.",
        sampled=6,
        forced=2,
        milliseconds=52.0,
        stretches=(e.Stretch(text="It is "), e.Stretch(text="on its way", forced=True), e.Stretch(text=".")),
    ),
    e.DraftRejected(sentence="It arrives on Monday.", objection="no source names a day"),
    e.SentenceReleased(text="Order A-17 is shipped."),
    e.ReplySent(
        text="Order A-17 is shipped.",
        route=Route.DYNAMIC,
        confidence=0.9,
        citations=(CITATION,),
        tool_calls=(CALL, FAILED),
        handoff=False,
        language="en",
    ),
    e.KnowledgeGapFound(question="Do you ship to Malta?", best_source="terms/returns.md", best_score=0.21),
    e.HandedOff(category="requested", summary="Wants a person.", facts={"order_id": "A-17"}, promised="a call today"),
    e.OwnerChanged(owner="agent", agent="Dana", note="took it"),
    e.AgentReplied(agent="Dana", text="Hello, this is Dana."),
    e.SuggestionJudged(
        agent="Dana", suggestion="It ships today.", outcome="edited", sent="It ships today, Ada.", question="When?", sources=("faq",)
    ),
    e.CustomerRated(score=4, solved=True, comment="quick"),
    e.MessageCorrected(turn="t1", text="My order is 4712."),
    e.TurnFailed(reason="the database was away", apology="Sorry, please try again."),
    e.TurnMerged(into=TurnId("t-2")),
)


@pytest.mark.parametrize("event", EXAMPLES, ids=e.kind_of)
def test_an_event_is_written_exactly_as_its_golden_file_says(event):
    assert e.to_json(event) == json.loads((GOLDEN / f"{e.kind_of(event)}.json").read_text("utf-8"))


@pytest.mark.parametrize("event", EXAMPLES, ids=e.kind_of)
def test_a_golden_file_reads_back_as_the_same_event(event):
    assert e.from_json(json.loads((GOLDEN / f"{e.kind_of(event)}.json").read_text("utf-8"))) == event


def test_every_event_type_has_one_golden_file_and_every_file_an_event_type():
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(e.kinds()) == {e.kind_of(event) for event in EXAMPLES}


def test_an_event_of_an_unknown_kind_is_refused_with_a_remedy():
    with pytest.raises(BadInput, match="newer version"):
        e.from_json({"kind": "teleported", "v": 1})


def test_an_event_of_a_newer_version_is_refused_with_a_remedy():
    with pytest.raises(BadInput, match="upgrade frontdesk"):
        e.from_json({"kind": "message_received", "v": 99, "text": "hi"})


def test_a_field_that_an_older_program_did_not_write_takes_its_default():
    assert e.from_json({"kind": "message_received", "v": 1, "text": "hi"}) == e.MessageReceived(text="hi")


def test_a_field_that_this_program_does_not_know_is_ignored():
    assert e.from_json({"kind": "sentence_released", "v": 1, "text": "hi", "colour": "red"}) == e.SentenceReleased(text="hi")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(text=st.text(), arguments=st.dictionaries(st.text(), json_values, max_size=4), result=json_values)
def test_any_text_and_any_json_value_survive_the_codec(text, arguments, result):
    call = ToolCall(name=text, arguments=arguments, result=result)
    event = e.ReplySent(text=text, route=Route.FAQ, confidence=0.5, tool_calls=(call,))
    assert e.from_json(json.loads(json.dumps(e.to_json(event)))) == event
