"""Scores: each criterion with its evidence, rubrics that are refused with a remedy, and a judge held against people."""

from __future__ import annotations

import random
import time

import pytest

from frontdesk.analytics.score import CRITERIA, Rubric, better_cut, calibrate, judge, rubric_of, score
from frontdesk.domain import events as e
from frontdesk.domain.conversation import Route
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadInput
from frontdesk.models.scripted import ScriptedModel

from .telling import Tale


def good() -> Tale:
    tale = Tale().customer("How long does delivery take?", intent="faq").desk("Delivery takes 3 days. Is there anything else?")
    return tale.customer("No, thank you").desk("You are welcome. Have a nice day!", route=Route.SMALLTALK)


def mark(tale: Tale, name: str, **more):
    return next(m for m in score(tale.events, **more).marks if m.name == name)


def test_a_good_conversation_passes_and_says_why():
    got = score(good().events)
    assert got.passed
    assert all(m.reason for m in got.marks)


def test_a_conversation_without_an_occasion_has_no_value_for_it(head):
    assert mark(good(), "empathy", sentiment=head).value is None
    assert mark(Tale().customer("Hi").desk("Hello!", route=Route.SMALLTALK), "accuracy").value is None


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("communication", Tale().customer("Where is my order number 5512?")),
        ("communication", good().customer("Really?").desk("As I already said, you should have read it.")),
        (
            "question_handling",
            Tale().customer("Do you ship parcels to Malta?").gap("Malta?").desk("I could not find that.", route=Route.REFUSE),
        ),
        ("question_handling", good().customer("That didn't help")),
        (
            "forward_motion",
            Tale().customer("Cancel A-17").calls("cancel", error="not possible", writes=True).desk("Sorry.", route=Route.DYNAMIC),
        ),
        ("forward_motion", Tale().customer("My order").asks("Which?").customer("that one").asks("Which?")),
        ("accuracy", Tale().customer("How much is it?").agent("It costs 4711 euros.")),
        (
            "policy",
            Tale().customer("What is order A-17?").calls("cancel", {"ok": 1}, writes=True, id="A-17").desk("Done.", route=Route.DYNAMIC),
        ),
        ("policy", good().customer("Is it safe?").desk("That is 100% guaranteed.")),
        ("policy", Tale().customer("I want to speak to a human").desk("I can help you.", route=Route.SMALLTALK)),
        ("closing", Tale().customer("My order").asks("Which order?")),
    ],
)
def test_what_went_wrong_costs_and_is_shown(name, bad):
    got = mark(bad, name)
    assert got.value is not None
    assert got.value < 0.95
    assert got.evidence
    assert got.reason


def test_an_upset_customer_needs_a_word_of_understanding(head):
    upset = Tale().customer("This is terrible, I am so angry and disappointed!!")
    cold, warm = Tale(), Tale()
    cold.events, warm.events = list(upset.events), list(upset.events)
    assert mark(cold.desk("Delivery takes 3 days."), "empathy", sentiment=head).value == 0.5
    assert mark(warm.desk("I am sorry, that is frustrating. Delivery takes 3 days."), "empathy", sentiment=head).value == 1.0


def test_a_figure_from_a_result_a_quotation_or_a_sum_has_a_source():
    tale = Tale().customer("What do both cost?").calls("prices", {"one": 120, "two": 35.5}, text="120 and 35.50")
    assert mark(tale.agent("They cost 120 and 35.50 euros, 155.50 together."), "accuracy").value == 1.0


def test_a_rubric_weighs_leaves_out_and_flags():
    tenant = Tenant(
        id=TenantId("a"),
        name="A",
        scoring={
            "pass": 0.9,
            "criteria": {"accuracy": 5, "closing": False},
            "flags": [{"name": "refund", "speaker": "customer", "says": "refund"}, {"name": "gap", "event": "knowledge_gap_found"}],
        },
    )
    rubric = rubric_of(tenant)
    got = score(Tale().customer("I want a refund").gap("refund?").desk("No.", route=Route.REFUSE).events, rubric)
    assert {m.name for m in got.marks} == set(CRITERIA) - {"closing"}
    assert got.flags == ("refund", "gap")
    assert rubric.id != Rubric().id


@pytest.mark.parametrize(
    ("scoring", "remedy"),
    [
        ({"passs": 1}, "use pass"),
        ({"pass": 7}, "such as 0.7"),
        ({"criteria": {"charm": 1}}, "choose from communication"),
        ({"criteria": {"accuracy": -1}}, "0 or more"),
        ({"criteria": ["accuracy"]}, "lines below it"),
        ({"criteria": dict.fromkeys(CRITERIA, False)}, "at least one"),
        ({"judge": "coin"}, "rules or model"),
        ({"flags": [{"says": "x"}]}, "needs a name"),
        ({"flags": [{"name": "x"}]}, "add `says:`"),
        ({"flags": [{"name": "x", "says": "("}]}, "correct it"),
        ({"flags": [{"name": "x", "event": "rain"}]}, "reference of events"),
        ({"flags": [{"name": "x", "says": "y", "speaker": "cat"}]}, "customer, desk or agent"),
        ({"flags": [{"name": "x", "words": "y"}]}, "use event"),
    ],
)
def test_a_rubric_that_cannot_be_used_is_refused_with_a_remedy(scoring, remedy):
    with pytest.raises(BadInput, match=remedy):
        rubric_of(Tenant(id=TenantId("a"), name="A", scoring=scoring))


@pytest.mark.parametrize("tale", [Tale(), Tale().customer("?"), Tale().owner("agent", "D"), Tale().customer("谢谢 merci danke")])
def test_odd_conversations_have_a_score_or_none_and_never_an_error(tale, head):
    got = score(tale.events, sentiment=head)
    assert got.total is None or 0 <= got.total <= 1


def test_ten_thousand_turns_are_scored_in_seconds(head):
    tale = Tale()
    for n in range(10_000):
        tale.customer(f"What about item {n}?").desk(f"Item {n} is fine.")
    start = time.process_time()
    score(tale.events, sentiment=head)
    assert time.process_time() - start < 10


async def test_a_model_may_judge_and_where_it_talks_nonsense_the_rule_stands():
    answers = ['{"points": 1, "reason": "Too short."}', "hmm"]
    model = ScriptedModel(lambda request: answers[0] if "blamed" in request.messages[0]["content"] else answers[1])
    got = await judge(good().events, model)
    ruled = score(good().events)
    assert [m.value for m in got.marks[1:]] == [m.value for m in ruled.marks[1:]]
    assert (got.marks[0].value, got.marks[0].reason) == (0.25, "Too short.")
    assert got.judge == "model:scripted"


def test_a_biased_judge_is_corrected_and_the_interval_holds_the_truth():
    rng, held = random.Random(3), 0
    for trial in range(40):
        people = [rng.random() < 0.6 for _ in range(2000)]
        judged = [(rng.random() < 0.9) if p else (rng.random() < 0.4) for p in people]
        labels = list(zip(people[:100], judged[:100], strict=True))
        got = calibrate(labels, judged, seed=trial)
        assert got.corrected is not None
        held += got.corrected.low <= 0.6 <= got.corrected.high
    assert held >= 35


def test_too_few_labels_or_one_kind_alone_say_what_to_do():
    assert "50 more" in calibrate([], []).advice
    assert "both kinds" in calibrate([(True, True)] * 60, [True] * 60).advice
    coin = [(p, j) for p in (True, False) for j in (True, False)] * 20
    assert "coin" in calibrate(coin, [True, False] * 50).advice


def test_labels_tell_a_better_total_to_pass_from_and_keep_silent_where_there_is_none():
    labels = [(True, 0.96)] * 40 + [(True, 0.8)] * 4 + [(False, 0.83)] * 8 + [(False, 0.99)] * 2
    cut = better_cut(labels, 0.7)
    assert cut is not None
    assert 0.83 < cut.passes <= 0.96
    assert (cut.false_pass.count, cut.false_pass.among, cut.false_fail.count, cut.false_fail.among) == (2, 10, 4, 44)
    assert better_cut(labels, cut.passes) is None
    assert better_cut(labels[:30], 0.7) is None, "too few"
    assert better_cut([(True, 0.9)] * 60, 0.7) is None, "one kind"


def test_with_nothing_set_an_unanswered_question_does_not_pass_and_an_answered_one_does():
    unanswered = Tale().customer("Do you ship parcels to Malta?").gap("Malta?").desk("I could not find that.", route=Route.REFUSE)
    assert score(unanswered.events, Rubric()).passed is False
    assert score(good().events, Rubric()).passed is True


def test_a_draft_that_was_rejected_is_no_source():
    tale = Tale().customer("How much?").happens(e.DraftRejected(sentence="It costs 4711.", objection="no source")).agent("It costs 4711.")
    assert (mark(tale, "accuracy").value or 1.0) < 1.0


def test_a_goodbye_needs_no_reply_and_an_order_in_a_thank_you_does():
    goodbye = "Thank you so much for all of your help today, that was everything for now. Take care!"
    assert mark(good().customer(goodbye), "closing").value == 1.0
    assert mark(good().customer("Thanks a lot for all that. Please cancel my other order too, I no longer want it."), "closing").value < 1.0


def test_a_figure_from_the_policy_that_the_agent_had_has_a_source():
    tale = Tale().customer("What does a second bag cost me?").agent("It costs 4711 euros.")
    assert mark(tale, "accuracy").value < 1.0
    assert mark(tale, "accuracy", known="A second bag costs 4711 euros.").value == 1.0
