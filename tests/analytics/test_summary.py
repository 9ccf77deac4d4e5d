"""Summaries: what they say, that every figure and name in them can be traced to a turn, and that a model adds nothing."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from frontdesk.analytics.metrics import Outcome
from frontdesk.analytics.summary import facts_in, holds, of_customer, phrase, summarise, untraceable
from frontdesk.domain import events as e
from frontdesk.domain.conversation import Route
from frontdesk.errors import ModelUnavailable
from frontdesk.models.scripted import Reply, ScriptedModel

from .telling import START, Tale


def moved_house() -> Tale:
    tale = Tale().customer("Hello", intent="smalltalk/greeting", route=Route.SMALLTALK).desk("Hello!", route=Route.SMALLTALK)
    tale.customer("Please change the delivery date of order B-7731 to 14 May", intent="dynamic/action", route=Route.DYNAMIC)
    tale.happens(e.SlotFilled(slot="order_id", value="B-7731"))
    tale.calls("changeDate", {"ok": True}, writes=True, text="Order B-7731 now arrives on 14 May.", order_id="B-7731", date="2026-05-14")
    tale.desk("Order B-7731 now arrives on 14 May.", route=Route.DYNAMIC)
    tale.customer("And may I get a person, Mr Okafor knows me").handoff(promised="Mr Okafor will call you by 3 pm.")
    return tale


def test_a_summary_says_why_what_was_done_how_it_ended_and_what_is_promised():
    got = summarise(moved_house().events)
    assert "B-7731 to 14 May" in got.reason.text
    assert any(s.kind == "done" and "changeDate" in s.text for s in got.done)
    assert got.outcome is Outcome.HANDED_OVER
    assert "3 pm" in got.promises[0].text
    assert any("order_id: B-7731" in f.text for f in got.facts)


def test_every_statement_names_its_turns_and_every_figure_and_name_is_in_them():
    tale = moved_house()
    got = summarise(tale.events)
    assert all(s.turns for s in got.statements())
    assert untraceable(got.statements(), tale.events) == []


def test_a_figure_that_no_turn_holds_is_found():
    from dataclasses import replace

    tale = moved_house()
    got = summarise(tale.events)
    forged = replace(got.reason, text="Ms Winter wants 99 euros back.")
    assert {token for token, _ in untraceable([forged], tale.events)} == {"Winter", "99"}


def test_the_reason_is_the_first_request_and_not_the_greeting():
    assert "Hello" not in summarise(moved_house().events).reason.text


def test_a_promise_that_an_agent_should_answer_is_kept_when_one_does():
    tale = Tale().customer("A person please").handoff(promised="A colleague will call you.")
    assert summarise(tale.events).promises
    assert not summarise(tale.owner("agent", "Dana").agent("Hello, Dana here. It is sorted.").events).promises


def test_what_an_agent_promises_is_open_until_something_shows_otherwise():
    got = summarise(Tale().customer("Where is it?").agent("I'll send you the invoice by Friday.").events)
    assert "by Friday" in got.promises[0].text


def test_a_conversation_still_going_on_says_so():
    assert summarise(moved_house().events[:5], now=START + timedelta(minutes=2)).outcome is Outcome.OPEN


@pytest.mark.parametrize(
    "tale",
    [
        Tale(),
        Tale().customer("?"),
        Tale().customer("hm").customer("ok"),
        Tale().customer("Où est ma commande? Und wann kommt sie? 谢谢"),
        Tale().owner("agent", "Dana"),
        Tale().desk("Hello", route=Route.SMALLTALK),
        Tale().handoff(),
    ],
    ids=["empty", "a sign", "one word each", "mixed languages", "only a claim", "only the desk", "only a handoff"],
)
def test_odd_conversations_have_a_summary_without_inventions(tale):
    got = summarise(tale.events)
    assert got.text()
    assert untraceable(got.statements(), tale.events) == []


def test_ten_thousand_turns_are_summed_up_in_seconds_and_stay_short():
    tale = Tale()
    for n in range(10_000):
        tale.customer(f"Question number {n}, what about item {n}?").desk(f"Item {n} is fine.")
    start = time.process_time()
    got = summarise(tale.events)
    assert time.process_time() - start < 5
    assert len(got.text()) < 10_000
    assert untraceable(got.statements(), tale.events) == []


def test_several_conversations_of_a_customer_are_told_together_the_newest_first():
    first = moved_house()
    second = Tale("cv_2", at=START + timedelta(days=2)).customer("How long does delivery take?", intent="faq").desk("3 days.")
    third = Tale("cv_3", at=START + timedelta(days=3)).customer("Again, how long?", intent="faq").desk("3 days.")
    got = of_customer([summarise(t.events) for t in (first, second, third)])
    assert [s.conversation for s in got.conversations] == ["cv_3", "cv_2", "cv_1"]
    assert got.recurring == ("How long does delivery take?",)
    assert got.promises[0][0] == "cv_1"
    assert of_customer([]).text() == "No conversations."


def test_codes_amounts_and_addresses_are_facts():
    assert facts_in("It is A-17 for 49.90 EUR, mail ada@example.com") == ["A-17", "49.90 EUR", "ada@example.com"]


async def test_a_model_phrases_what_the_summary_holds():
    got = summarise(moved_house().events)
    fair = "The customer wrote to change the delivery date of order B-7731 to 14 May. The date was changed and people took it over."
    assert await phrase(got, ScriptedModel([fair])) == fair


@pytest.mark.parametrize(
    "said",
    ["The order B-7731 arrives on 15 May.", "Ms Winter wrote about order B-7731.", "Completely unrelated gardening holiday thoughts.", ""],
)
async def test_a_model_that_adds_something_is_not_used(said):
    assert await phrase(summarise(moved_house().events), ScriptedModel([said])) == ""


async def test_a_model_that_is_away_leaves_the_summary_as_it_is():
    down = ScriptedModel([Reply(error=ModelUnavailable("down"))])
    assert (
        await phrase(summarise(moved_house().events), down) == await phrase(summarise([]), down) == await phrase(summarise([]), None) == ""
    )


def test_a_promise_that_nobody_made_is_not_in_a_phrasing():
    got = summarise(Tale().customer("Where is parcel 88123?").desk("Parcel 88123 is in Leeds.").events)
    assert not holds("The customer wrote about parcel 88123 and we will send a refund.", got)
