"""What the sources say to a question: the best evidence quoted, and beside it what is nearly as likely an answer. Decides nothing else.

Where two places are about as likely, one of them alone is wrong every other time, and asking back would cost the customer a turn for what
two short quotes tell at once. A message of several questions gets one answer each: more could not be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.faq import from_faq
from frontdesk.desk.knowledge import from_documents
from frontdesk.desk.reading import Evidence, Question
from frontdesk.desk.units import UnitKind

RIVAL = 0.5
"""Share of the best probability from which another place is nearly as likely to answer."""
LONGEST = 600
"""Characters of a second quote; a longer one would bury the first."""


def drafted(question: Question, ranked: Sequence[Evidence]) -> Draft:
    """The draft that quotes the likeliest evidence. `ranked`: the likeliest first, at least one."""
    if ranked[0].unit.kind is UnitKind.FAQ:
        return from_faq(ranked[0])
    return from_documents(question, [e for e in ranked if e.unit.kind is not UnitKind.FAQ])


def with_rival(draft: Draft, question: Question, ranked: Sequence[Evidence], *, between: str) -> Draft:
    """The draft with a second quote behind it, after the sentence `between`, where another place is nearly as likely to answer."""
    rival = next((e for e in ranked[1:] if not e.unit.told_in(draft.text)), None)
    if rival is None or rival.probability < RIVAL * ranked[0].probability:
        return draft
    other = drafted(question, [rival, *(e for e in ranked if e is not rival)])
    said = {s.text for s in draft.sentences}
    sentences = tuple(s for s in other.sentences if s.text not in said)
    if not sentences or sum(len(s.text) for s in sentences) > LONGEST:
        return draft
    return replace(
        draft,
        sentences=(*draft.sentences, Sentence(text=between, factual=False, apart=True), *sentences),
        citations=(*draft.citations, *(c for c in other.citations if c not in draft.citations)),
    )
