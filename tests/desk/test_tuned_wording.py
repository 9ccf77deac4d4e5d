"""A tenant's tuned model may say an approved answer in its own words, and whatever it does the customer gets no less than the answer."""

from datetime import UTC, datetime

import pytest

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.phrasing import Phrasing, poorer
from frontdesk.domain.conversation import Conversation, ConversationId, Route
from frontdesk.domain.events import DraftRejected, ModelPhrased
from frontdesk.domain.tenancy import TenantId
from frontdesk.models.scripted import Reply, ScriptedModel
from frontdesk.models.tuned import Tuned, TunedModels

ANSWER = "A replacement card costs £5 and arrives within 3 working days. Orders by telephone cost £2 more."
REWORDED = "In Linden Bank, a replacement card costs £5 and arrives within 3 working days; orders by telephone cost £2 more."


def conversation(tenant="linden"):
    return Conversation(id=ConversationId("c1"), tenant=TenantId(tenant), customer=None, opened_at=datetime(2026, 1, 1, tzinfo=UTC))


def draft(route=Route.FAQ, text=ANSWER):
    return Draft(route=route, sentences=(Sentence(text=text, proofs=(text,)),), confidence=0.9)


def phrasing(said, **options):
    model = ScriptedModel(said if callable(said) else lambda _: said)
    tuned = TunedModels(model)
    tuned.serve([Tuned(tenant=TenantId("linden"), adapter="a1", label="faq@2", prefix="In Linden Bank, ", system="You help.")])
    return model, Phrasing(model, tuned=tuned, **options)


async def test_a_faithful_rewording_is_said_without_the_prefix_and_the_event_names_the_version():
    model, wording = phrasing(REWORDED)
    out, events = await wording.of("What is a new card?", draft(), conversation())
    assert out.text == "A replacement card costs £5 and arrives within 3 working days; orders by telephone cost £2 more."
    assert [type(e) for e in events] == [ModelPhrased]
    assert events[0].model.endswith("+faq@2")
    assert (model.requests[0].adapter, model.requests[0].messages[-1]["content"]) == ("a1", "In Linden Bank, What is a new card?")


@pytest.mark.parametrize(
    "said",
    [
        "A replacement card costs £6 and arrives within 3 working days. Orders by telephone cost £2 more.",
        "A replacement card costs £2 and arrives within 3 working days. Orders by telephone cost £5 more.",
        "A replacement card costs £5 and arrives within 3 working days.",
        "A replacement card costs £5 and never arrives within 3 working days. Orders by telephone cost £2 more.",
        "A replacement card costs £5 and arrives within 3 working days. Orders by telephone cost £2 more. Thank you for asking us today!",
        "A replacement card costs £5, arrives within 3 working days, and Barclays orders by telephone cost £2 more.",
        "A replacement card costs £5 and arrives within 3 working days. Orders by",
        "",
    ],
)
async def test_whatever_else_it_says_the_customer_gets_the_approved_answer(said):
    _, wording = phrasing(said)
    out, events = await wording.of("What is a new card?", draft(), conversation())
    assert out.text == ANSWER
    assert any(isinstance(e, DraftRejected) for e in events)


async def test_a_slow_model_costs_its_time_and_no_more():
    _, wording = phrasing(lambda _: Reply(text=REWORDED, delay=5.0), tuned_seconds=0.05)
    out, events = await wording.of("What is a new card?", draft(), conversation())
    assert (out.text, events) == (ANSWER, [])


async def test_another_tenant_is_not_asked_about_in_this_tenants_model():
    model, wording = phrasing(REWORDED)
    out, events = await wording.of("What is a new card?", draft(), conversation("oak"))
    assert (out.text, events, model.requests) == (ANSWER, [], [])


@pytest.mark.parametrize("route", [Route.KNOWLEDGE, Route.DYNAMIC, Route.SMALLTALK])
async def test_only_approved_answers_are_reworded(route):
    model, wording = phrasing(REWORDED)
    await wording.of("What is a new card?", draft(route), conversation())
    assert model.requests == []


async def test_an_answer_of_two_parts_stays_as_it_is():
    model, wording = phrasing(REWORDED)
    both = Draft(route=Route.FAQ, sentences=(*draft().sentences, Sentence(text="And yes.", factual=False)), confidence=0.9)
    out, _ = await wording.of("What is a new card?", both, conversation())
    assert (out, model.requests) == (both, [])


def test_the_same_words_are_never_poorer():
    assert poorer(ANSWER, Sentence(text=ANSWER, proofs=(ANSWER,))) is None
