"""Help for agents: what is suggested, what is remarked on, what is alarming; and that nothing is invented."""

from __future__ import annotations

from datetime import timedelta

import pytest

from frontdesk.analytics.assist import alerts_in, check_wording, closing_note, help_with, next_question, objections_in, open_question
from frontdesk.analytics.summary import summarise
from frontdesk.domain.conversation import Route
from frontdesk.domain.events import SuggestionJudged
from frontdesk.domain.knowledge import DocumentId, Hit, Passage, PassageId, PassageKind

from .telling import START, Tale


class Shelf:
    """A library with one FAQ pair and one document."""

    async def search(self, _tenant, question, *, limit=8):
        def hit(source: str, title: str, text: str, cosine: float) -> Hit:
            kind = PassageKind.FAQ if source == "faq" else PassageKind.PROSE
            found = Passage(id=PassageId(source), document=DocumentId(source), source=source, title=title, kind=kind, text=text)
            return Hit(passage=found, score=1.0, cosine=cosine, words=0.5)

        return [
            hit("returns.md", "Returns", "Returns are free. You have 30 days. Use the label. Keep the receipt.", 0.7),
            hit("faq", "How do I return something?", "Print the label and send it back within 30 days.", 0.69),
        ][:limit]


async def helped(tale: Tale, head, minilm=None, taught=(), minutes: float = 1):
    now = tale.at + timedelta(minutes=minutes)
    return await help_with(tale.tenant, tale.events, library=Shelf(), embedder=minilm, sentiment=head, taught=taught, now=now)


def waiting(text: str = "How do I return my lamp?") -> Tale:
    return Tale().customer("A person please").handoff().owner("agent", "Dana").customer(text)


async def test_suggestions_are_quotations_with_their_source_the_approved_answer_first(head):
    got = await helped(waiting(), head)
    assert [(s.basis, s.source) for s in got.suggestions] == [("faq", "faq"), ("passage", "returns.md")]
    assert got.suggestions[1].text == "Returns are free. You have 30 days. Use the label."
    assert got.question.endswith("How do I return my lamp?")


async def test_what_an_agent_sent_to_the_like_is_suggested_and_what_was_rejected_is_not(head, minilm):
    taught = [
        SuggestionJudged(
            agent="D", suggestion="Old.", outcome="edited", sent="Simply bring it to us.", question="how can I send my lamp back"
        ),
        SuggestionJudged(
            agent="D", suggestion="Print the label and send it back within 30 days.", outcome="rejected", question="How do I return a lamp?"
        ),
        SuggestionJudged(agent="D", suggestion="We open at nine.", outcome="accepted", question="When do you open?"),
    ]
    got = await helped(Tale().customer("How do I return my lamp?"), head, minilm, taught)
    texts = [s.text for s in got.suggestions]
    assert "Simply bring it to us." in texts
    assert "Print the label and send it back within 30 days." not in texts
    assert "We open at nine." not in texts


async def test_an_empty_conversation_has_help_without_inventions(head):
    got = await helped(Tale(), head)
    assert (got.suggestions, got.record, got.alerts, got.objections) == ((), {}, (), ())
    assert got.next_question


def test_the_missing_detail_is_the_next_question_until_it_is_given():
    tale = Tale().customer("Where is my order?").asks("Which order do you mean?")
    assert next_question(tale.events) == "Which order do you mean?"
    assert next_question(tale.agent("It is on its way.").events) == "Does that answer your question?"
    assert next_question(Tale().customer("Malta?").gap("Malta?").events) != next_question([])


async def test_what_is_known_of_the_matter_is_beside_it(head):
    tale = (
        Tale().customer("Order A-17").calls("getOrder", {"status": "shipped"}, order_id="A-17").desk("It is shipped.", route=Route.DYNAMIC)
    )
    assert (await helped(tale, head)).record == {"getOrder": {"status": "shipped"}}


def test_a_doubt_about_the_price_gets_ways_to_answer_it():
    (found,) = objections_in(Tale().customer("That is far too expensive for me").events)
    assert found.kind == "price"
    assert found.said == "too expensive"
    assert len(found.ways) >= 3


def test_anger_a_long_wait_and_a_promise_without_a_date_are_alarming():
    tale = Tale().customer("Hello").desk("Hi!", route=Route.SMALLTALK).customer("This still doesn't work!")
    kinds = {a.kind for a in alerts_in(tale.events, [0.2, -0.9], now=tale.at + timedelta(minutes=9))}
    assert kinds == {"upset", "waiting", "repeated"}
    assert [a.kind for a in alerts_in(tale.agent("I will call you.").events, [], now=tale.at)][-1] == "promise"
    assert alerts_in([], [], now=START) == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You should have read the terms.", "blame"),
        ("We guarantee that it works.", "absolute"),
        ("I think it takes a while.", "unsure"),
        ("It costs 4711 euros.", "figure"),
        ("Please write to ada@example.com", "personal"),
        ("PLEASE READ THIS CAREFULLY NOW", "shouting"),
        ("Dear [customer name], hello.", "placeholder"),
        ("I will look into it.", "promise"),
        (" ".join(["word"] * 45) + ".", "long"),
    ],
)
def test_wording_that_is_better_otherwise_is_remarked_on_with_advice(text, kind):
    found = check_wording(text, Tale().customer("How much is it?").events)
    assert kind in {r.kind for r in found}
    assert all(r.advice for r in found)


def test_a_good_reply_has_no_remark_and_an_upset_customer_needs_a_kind_word():
    tale = Tale().customer("How much?").calls("price", {"amount": 49.9})
    assert check_wording("It costs 49.9 euros. Does that help?", tale.events) == []
    assert check_wording("", tale.events, upset=True) == []
    assert [r.kind for r in check_wording("It costs 49.9 euros.", tale.events, upset=True)] == ["empathy"]


def test_a_figure_counts_as_known_only_where_it_stands_by_itself():
    tale = Tale().customer("Where is A-501?").calls("price", {"amount": "50.00", "phone": "0421 555 0100"})
    assert check_wording("It costs 50 euros.", tale.events) == []
    for unknown in ("It costs 55 euros.", "It costs 100 euros.", "Within 42 days."):
        assert [r.kind for r in check_wording(unknown, tale.events)] == ["figure"], unknown


def test_the_question_is_what_was_said_since_the_last_human_answer():
    tale = Tale().customer("First thing").agent("Done.").customer("And the second?").customer("Please")
    assert open_question(tale.events) == "And the second? Please"
    assert open_question(tale.agent("Done too.").events) == ""


def test_a_closing_note_names_turns():
    note = closing_note(summarise(Tale().customer("Where is parcel 88123?").agent("In Leeds. I'll call you on Friday.").events), "Dana")
    assert "[turn 1]" in note
    assert "Promised: “I'll call you on Friday.”" in note
