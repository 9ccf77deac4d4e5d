"""Two places that are about as likely to answer are both quoted, and nothing is said twice."""

from __future__ import annotations

import numpy as np
import pytest

from frontdesk.desk.quoting import LONGEST, drafted, with_rival
from frontdesk.desk.reading import Evidence, Question
from frontdesk.desk.units import units_of
from frontdesk.domain.conversation import Route
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind

NOTHING = np.zeros(4, np.float32)
QUESTION = Question(text="What does a kiln slot cost?", search=NOTHING, vector=NOTHING, clauses=NOTHING[None, :])
BETWEEN = "Or this:"
DEAR = "A slot in the large kiln costs £38."
CHEAP = "Members fire in the small kiln for £11."


def evidence(text: str, probability: float, *, kind: PassageKind = PassageKind.PROSE, source: str = "kilns.md") -> Evidence:
    passage = Passage(id=PassageId(text[:20]), document=DocumentId(source), source=source, title="Kilns", kind=kind, text=text, headings=())
    return Evidence(unit=units_of(passage)[0], probability=probability)


def said(*ranked: Evidence) -> tuple[list[str], list[str]]:
    """The sentences and what they cite."""
    draft = with_rival(drafted(QUESTION, ranked), QUESTION, ranked, between=BETWEEN)
    return [s.text for s in draft.sentences], [c.quote for c in draft.citations]


def test_a_place_that_is_nearly_as_likely_is_quoted_too_with_its_own_citation():
    assert said(evidence(DEAR, 0.4), evidence(CHEAP, 0.3)) == ([DEAR, BETWEEN, CHEAP], [DEAR, CHEAP])


def test_an_approved_answer_and_a_document_may_be_rivals():
    ranked = evidence(DEAR, 0.4, kind=PassageKind.FAQ, source="faq"), evidence(CHEAP, 0.3)
    draft = with_rival(drafted(QUESTION, ranked), QUESTION, ranked, between=BETWEEN)
    assert (draft.route, draft.confidence) == (Route.FAQ, 0.4)
    assert [s.text for s in draft.sentences] == [DEAR, BETWEEN, CHEAP]


@pytest.mark.parametrize("probability", [0.19, 0.01])
def test_one_that_is_much_less_likely_is_not(probability: float):
    assert said(evidence(DEAR, 0.4), evidence(CHEAP, probability)) == ([DEAR], [DEAR])


def test_the_second_quote_stands_in_a_paragraph_of_its_own():
    ranked = evidence(DEAR, 0.4), evidence(CHEAP, 0.3)
    assert with_rival(drafted(QUESTION, ranked), QUESTION, ranked, between=BETWEEN).text == f"{DEAR}\n\n{BETWEEN} {CHEAP}"


def test_what_is_told_already_is_no_rival():
    assert said(evidence(DEAR, 0.4), evidence(DEAR, 0.39)) == ([DEAR], [DEAR])


def test_a_third_that_is_as_likely_stands_behind_what_is_told_already():
    assert said(evidence(DEAR, 0.4), evidence(DEAR, 0.39), evidence(CHEAP, 0.38))[0] == [DEAR, BETWEEN, CHEAP]


def test_a_long_text_does_not_bury_the_first():
    long = "The " + "very " * (LONGEST // 5) + "long rule of the kiln room ends here."
    assert said(evidence(DEAR, 0.4), evidence(long, 0.39)) == ([DEAR], [DEAR])


def test_alone_it_stays_alone():
    assert said(evidence(DEAR, 0.4)) == ([DEAR], [DEAR])
