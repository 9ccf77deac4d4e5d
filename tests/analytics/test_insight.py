"""Themes, contradictions, stale entries, drafts and recalls: what is found, and what is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import yaml

from frontdesk.analytics.contradictions import contradictions, stale
from frontdesk.analytics.insight import Asked, draft_faq, recalls, requests_in, themes
from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, Route
from frontdesk.domain.knowledge import Citation, DocumentId, Hit, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import CustomerId

from .telling import START, Tale

PAIRS = yaml.safe_load((Path(__file__).parents[2] / "bench/contradictions.yaml").read_text("utf-8"))


def passage(source: str, title: str, text: str, number: int = 0) -> Passage:
    kind = PassageKind.FAQ if source == "faq" else PassageKind.PROSE
    return Passage(id=PassageId(f"{source}.{number}"), document=DocumentId(source), source=source, title=title, kind=kind, text=text)


def asked(n: int, text: str, *, day: float = 0.0, gap: bool = False) -> Asked:
    return Asked(conversation=ConversationId(f"cv_{n}"), at=START + timedelta(days=day), text=text, gap=gap)


async def test_questions_about_one_thing_are_one_theme_with_its_count_and_examples(minilm):
    delivery = [
        "How long does delivery take?",
        "When will my parcel be delivered?",
        "delivery time for a parcel",
        "How many days until delivery?",
    ]
    refund = ["I want my money back", "How do I get a refund?", "refund for my purchase please", "When is the refund paid?"]
    rows = [asked(n, text, gap=n < 2) for n, text in enumerate(delivery + refund)]
    found = themes(rows, await minilm.embed([r.text for r in rows]))
    assert sorted(t.count for t in found) == [4, 4]
    first = next(t for t in found if "delivery" in t.words)
    assert (first.gaps, len(first.conversations)) == (2, 4)
    assert first.example in delivery


async def test_a_theme_that_comes_up_more_and_more_rises_and_a_steady_one_does_not(minilm):
    rows = [asked(n, "the app does not start on my phone", day=20 + n / 10) for n in range(12)]
    rows += [asked(100 + n, "what are your opening hours on sunday", day=2.5 * n) for n in range(10)]
    found = {t.words[0]: t for t in themes(rows, await minilm.embed([r.text for r in rows]))}
    assert {t.example: t.rising for t in found.values()} == {
        "the app does not start on my phone": True,
        "what are your opening hours on sunday": False,
    }


def test_nothing_asked_has_no_themes_and_many_questions_are_grouped_all_the_same():
    assert themes([], np.empty((0, 4), np.float32)) == []
    rng = np.random.default_rng(1)
    centres = np.eye(4, dtype=np.float32)
    rows = [asked(n, f"question about thing {n % 4}") for n in range(5000)]
    vectors = centres[[n % 4 for n in range(5000)]] + rng.normal(0, 0.01, (5000, 4)).astype(np.float32)
    found = themes(rows, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert [t.count for t in found] == [1250] * 4


def test_requests_are_messages_that_ask_something_with_their_gaps():
    tale = Tale().customer("ok").customer("Do you ship to Malta?").gap("Do you ship to Malta?")
    (found,) = requests_in(tale.events)
    assert (found.text, found.gap) == ("Do you ship to Malta?", True)


async def test_most_entries_that_disagree_are_found_and_those_that_do_not_are_left_alone(minilm):
    async def found(pair: list[list[str]]) -> bool:
        return bool(await contradictions([passage(*side, number=n) for n, side in enumerate(pair)], minilm))

    assert sum([await found(pair) for pair in PAIRS["disagree"]]) >= 14
    assert sum([await found(pair) for pair in PAIRS["fine"]]) <= 1


async def test_a_contradiction_shows_both_sides_and_their_figures(minilm):
    (one,) = await contradictions([passage(*side, number=n) for n, side in enumerate(PAIRS["disagree"][0])], minilm)
    assert {one.one.figures, one.other.figures} == {("30 days",), ("14 days",)}
    assert {one.one.source, one.other.source} == {"faq", "returns.md"}


async def test_what_one_answer_says_does_not_contradict_itself(minilm):
    answer = "Parcel post costs €4.90 below €60; it is free from €60; the courier costs €9.90. Up to 12 instalments cost nothing; 24 instalments cost 6.9%."
    assert await contradictions([passage("faq", "What does delivery cost?", answer)], minilm) == []
    halves = [passage("faq", "Instalments", x, number=n) for n, x in enumerate(["12 instalments cost 0%.", "12 instalments cost 6.9%."])]
    assert await contradictions(halves, minilm), "two entries that say this do"


async def test_no_knowledge_has_no_contradictions(minilm):
    assert await contradictions([], minilm) == []
    assert await contradictions([passage("a.md", "A", "")], minilm) == []


def test_what_speaks_of_a_past_year_as_if_it_were_to_come_is_stale():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    entries = [
        passage("a.md", "Offer", "The offer is valid until 31 December 2024."),
        passage("b.md", "History", "We were founded in 1998."),
        passage("c.md", "Offer", "The offer is valid until 31 December 2027."),
    ]
    assert [s.source for s in stale(entries, now=now)] == ["a.md"]


def test_an_faq_pair_that_no_answer_used_is_named_only_when_asked_for():
    entries = [passage("faq", "Where are you?", "On Quay Street.")]
    assert stale(entries, now=START) == []
    assert stale(entries, now=START, cited={("faq", "Where are you?"): START}) == []
    assert [s.title for s in stale(entries, now=START, cited={})] == ["Where are you?"]


async def test_a_gap_is_drafted_from_what_an_agent_answered_to_the_like(minilm):
    tale = Tale().customer("Do you deliver to Malta?").gap("Do you deliver to Malta?").handoff()
    tale.owner("agent", "Dana").agent("Yes, we ship to Malta; it takes about nine days and costs 14 euros.")
    got = await draft_faq("can you ship to malta", tale.events, (), minilm)
    assert (got.basis, got.question, got.conversation) == ("agent", "can you ship to malta?", "cv_1")
    assert "nine days" in got.answer


async def test_a_gap_without_an_agents_answer_shows_the_nearest_passage_or_nothing(minilm):
    near = Hit(passage=passage("a.md", "Islands", "Islands take longer."), score=1.0, cosine=0.4, words=0.2)
    assert (await draft_faq("Malta?", [], [near], minilm)).basis == "passage"
    assert (await draft_faq("Malta?", [], [], minilm)).answer == ""


def told(quote: str, *, source: str = "returns.md") -> tuple[e.Recorded, CustomerId | None]:
    cited = Citation(source=source, title="Returns", quote=quote)
    tale = Tale().customer("Returns?").happens(e.ReplySent(text=quote, route=Route.KNOWLEDGE, confidence=1.0, citations=(cited,)))
    return tale.events[-1], CustomerId("ada")


def test_who_was_told_text_that_changed_is_named_with_a_correction():
    current = [passage("returns.md", "Returns", "You may return items within 14 days. Bring the receipt.")]
    (found,) = recalls([told("You may return items within 30 days."), told("Bring the receipt.")], current, company="Acme")
    assert (found.customer, found.now) == ("ada", "You may return items within 14 days.")
    assert "30 days" in found.correction
    assert "14 days" in found.correction


def test_who_was_told_text_of_a_deleted_source_is_named_too():
    (found,) = recalls([told("You may return items within 30 days.")], [])
    assert found.now == ""
    assert "does not apply any more" in found.correction
