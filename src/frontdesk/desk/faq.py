"""Answers from the FAQ: the approved answer with its facts unchanged, cut down only where it is long. Never rephrases."""

from __future__ import annotations

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.reading import Evidence
from frontdesk.domain.conversation import Route
from frontdesk.domain.knowledge import FAQ_SOURCE, Citation


def from_faq(evidence: Evidence) -> Draft:
    """The approved answer of one FAQ pair."""
    passage = evidence.unit.passage
    return Draft(
        route=Route.FAQ,
        sentences=(Sentence(text=passage.text.strip(), proofs=(passage.text,)),),
        confidence=evidence.probability,
        citations=(
            Citation(source=FAQ_SOURCE, title=passage.title, quote=passage.text.strip(), passage=passage.id, version=passage.version),
        ),
    )
