"""What a message wants done, by its wording alone."""

from __future__ import annotations

import pytest

from frontdesk.desk.wishes import about_oneself, asks, asks_somewhere, is_order, leaning, reports, sentences_of, speaks_of_own, wants_done
from frontdesk.tools.operation import Operation
from frontdesk.tools.selection import Choice


@pytest.mark.parametrize(
    "text",
    [
        "I lost my key",
        "my bag was stolen yesterday",
        "the door doesn't open",
        "You sent the wrong colour!! Second time",
        "My parcel never arrived",
    ],
)
def test_a_mishap_is_told(text: str):
    assert reports(text)


@pytest.mark.parametrize(
    "text",
    [
        "Is the lift broken?",
        "my kettle broke, show me new ones",
        "my bag was stolen, please block the tag",
        "what does wrong size cost",
        "where is my bag",
    ],
)
def test_who_asks_or_orders_tells_no_mishap(text: str):
    assert not reports(text)


@pytest.mark.parametrize("text", ["whats the fee", "what's open", "where're you", "how do I pay", "hows the queue", "and when is it due"])
def test_a_question_without_its_mark_is_one(text: str):
    assert asks(text)


@pytest.mark.parametrize(
    "text",
    ["by when must it be paid", "until when is it open", "any news about my parcel", "I need to know the price", "with whom do I speak"],
)
def test_a_question_may_begin_with_what_stands_before_its_word(text: str):
    assert asks(text)


def test_a_statement_beside_a_question_starts_nothing():
    text = "I live in Hillside and hold the red card. what does it cost?"
    assert asks_somewhere(text)
    assert sentences_of(text) == [text]


def test_what_is_wanted_done_is_an_order_where_the_operation_does_it():
    move = Operation(name="move", summary="Move a lesson", method="post", confirm=True)
    choice = Choice(operation=move, score=0.9, margin=1.0, features={"own_verb": 1.0})
    assert wants_done("I need lesson L4 moved to Friday", choice)
    assert not wants_done("I need to know whether a lesson can be moved", choice)
    assert not wants_done("what if I want it moved?", choice)
    assert is_order("can u move my lesson to friday")


@pytest.mark.parametrize("text", ["why haven't you paid my claim yet?", "what did we book for June?", "which seat did you give me?"])
def test_a_question_may_speak_of_what_one_has_here(text: str):
    assert speaks_of_own(text)


@pytest.mark.parametrize("text", ["what seats are free on Friday?", "how much is a lesson?", "cancel my lesson"])
def test_others_do_not(text: str):
    assert not speaks_of_own(text)


def test_a_short_question_that_points_back_starts_no_matter_of_its_own():
    assert leaning("what does a day ticket cost and how many rides are in it") == {"how many rides are in it"}
    assert not leaning("has my ticket come and how much am I getting for it")
    assert not leaning("Show me my tickets. Then please cancel the last one on it.")


def test_who_tells_of_others_and_asks_for_themselves_asks_for_themselves():
    told = "My wife's present was a book of ten rides. How many have I left? Regards, P. Quill"
    assert about_oneself(told) == "How many have I left?"
    asked = "I have lost mine. How many are left on my wife's card?"
    assert "wife's card" in about_oneself(asked)
    assert about_oneself("What does Anna owe?") == "What does Anna owe?"
