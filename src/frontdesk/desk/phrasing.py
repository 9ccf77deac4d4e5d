"""The language model puts a proved fact into a sentence. It is never trusted: what it adds, drops or changes sends the desk back to the fact.

A table cell is said as "row, column: value", which is right but stiff; that is where a sentence helps. The model has a short time for
it; when it is down, slow or wrong the customer gets the fact as it stands.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, cast

from frontdesk.desk import guardrails
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.quantities import quantities
from frontdesk.domain.events import DraftRejected, Event, ModelPhrased
from frontdesk.errors import ModelUnavailable, TooBusy
from frontdesk.models.protocols import ChatRequest, LanguageModel

SECONDS = 0.33
"""Longest wait for a sentence; the fact is at hand, so nobody waits for wording."""
MOST_TOKENS = 60


@dataclass(frozen=True, kw_only=True)
class Phrased:
    """A sentence with the events that tell how it came about."""

    sentence: Sentence
    events: tuple[Event, ...] = ()


class Phrasing:
    """Asks the model for wording. Without a model it leaves every fact as it is."""

    def __init__(self, model: LanguageModel | None, *, seconds: float = SECONDS) -> None:
        self._model = model
        self._seconds = seconds

    async def of(self, question: str, draft: Draft) -> tuple[Draft, list[Event]]:
        """The draft with its stiff sentences put into words where the model got it right, and what happened."""
        if self._model is None or not any(s.stiff for s in draft.sentences):
            return draft, []
        sentences: list[Sentence] = []
        events: list[Event] = []
        for sentence in draft.sentences:
            phrased = await self._one(self._model, question, sentence) if sentence.stiff else Phrased(sentence=sentence)
            sentences.append(phrased.sentence)
            events.extend(phrased.events)
        return replace(draft, sentences=tuple(sentences)), events

    async def _one(self, model: LanguageModel, question: str, fact: Sentence) -> Phrased:
        begun = time.monotonic()
        prompt = _prompt().format(question=" ".join(question.split())[:300], fact=fact.text)
        request = ChatRequest(messages=[{"role": "user", "content": prompt}], max_tokens=MOST_TOKENS, stop=("\n",))
        said = ""
        try:
            async with asyncio.timeout(self._seconds), aclosing(cast("Any", model.stream(request))) as pieces:
                async for piece in pieces:
                    said += piece
        except (TimeoutError, ModelUnavailable, TooBusy):
            return Phrased(sentence=fact)
        said = said.strip().strip('"')
        took = (time.monotonic() - begun) * 1000
        written = ModelPhrased(model=model.name, draft=said, sampled=len(said.split()), milliseconds=round(took, 1))
        reason = unfaithful(said, fact)
        if reason:
            return Phrased(sentence=fact, events=(written, DraftRejected(sentence=said, objection=reason)))
        return Phrased(sentence=Sentence(text=said, proofs=(*fact.proofs, fact.text)), events=(written,))


def unfaithful(said: str, fact: Sentence) -> str | None:
    """Why a sentence may not stand for `fact`, or None: it must hold all of the fact's amounts and main words, and nothing else."""
    if not said or not re.search(r"[.!?]$", said) or "\n" in said:
        return "no complete sentence"
    amounts = {q.text.lower() for q in quantities(fact.text)}
    kept = {q.text.lower() for q in quantities(said)}
    if amounts - kept:
        return f"leaves out {sorted(amounts - kept)[0]}"
    mine = set(guardrails.content_words(said))
    needed = guardrails.content_words(fact.needed)
    missing = [w for w in needed if w not in mine]
    if len(missing) > len(needed) // 4:
        return f"leaves out {missing[0]}"
    return guardrails.objection(said, [fact.text])


@cache
def _prompt() -> str:
    return (files("frontdesk.desk") / "prompts" / "phrase.md").read_text(encoding="utf-8").strip()
