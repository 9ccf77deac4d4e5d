"""The language model puts a proved fact into a sentence. It is never trusted: what it adds, drops or changes sends the desk back to the fact.

A table cell is said as "row, column: value", which is right but stiff; that is where a sentence helps. A tenant's tuned model may also say
an approved FAQ answer in the words it learnt: only as long as everything that the answer states is still there, in its order, and nothing
else. The model has a short time; when it is down, slow or wrong the customer gets the fact as it stands.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, cast

from frontdesk.desk import guardrails
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.quantities import quantities
from frontdesk.domain.conversation import Conversation, Route
from frontdesk.domain.events import DraftRejected, Event, ModelPhrased
from frontdesk.errors import ModelUnavailable, TooBusy
from frontdesk.models.protocols import ChatRequest, LanguageModel
from frontdesk.models.tuned import TenantModel, TunedModels

SECONDS = 0.33
"""Longest wait for a sentence; the fact is at hand, so nobody waits for wording."""
MOST_TOKENS = 60
TUNED_SECONDS = 1.2
"""The same for a whole answer by a tenant's tuned model."""
LONGER = 1.15
"""How much longer than the approved answer its rewording may be."""


@dataclass(frozen=True, kw_only=True)
class Phrased:
    """A sentence with the events that tell how it came about."""

    sentence: Sentence
    events: tuple[Event, ...] = ()


class Phrasing:
    """Asks the model for wording. Without a model it leaves every fact as it is."""

    def __init__(
        self,
        model: LanguageModel | None,
        *,
        seconds: float = SECONDS,
        tuned: TunedModels | None = None,
        tuned_seconds: float = TUNED_SECONDS,
    ) -> None:
        self._model = model
        self._seconds = seconds
        self._tuned = tuned
        self._tuned_seconds = tuned_seconds

    async def of(self, question: str, draft: Draft, conversation: Conversation | None = None) -> tuple[Draft, list[Event]]:
        """The draft with its stiff sentences put into words where the model got it right, and what happened.

        With the conversation, whose tenant has a tuned model, that model may say an approved answer.
        """
        mine = self._tuned.of(conversation.tenant, conversation.id) if self._tuned is not None and conversation is not None else None
        if mine is not None and draft.route is Route.FAQ and len(draft.sentences) == 1 and draft.sentences[0].factual:
            phrased = await self._told(mine, question, draft.sentences[0])
            return replace(draft, sentences=(phrased.sentence,)), list(phrased.events)
        if self._model is None or not any(s.stiff for s in draft.sentences):
            return draft, []
        sentences: list[Sentence] = []
        events: list[Event] = []
        end = time.monotonic() + self._seconds  # of the reply, however many facts it holds: a customer waits for all of them
        for sentence in draft.sentences:
            left = end - time.monotonic()
            worded = sentence.stiff and left > 0
            phrased = await self._one(self._model, question, sentence, left) if worded else Phrased(sentence=sentence)
            sentences.append(phrased.sentence)
            events.extend(phrased.events)
        return replace(draft, sentences=tuple(sentences)), events

    async def _told(self, model: TenantModel, question: str, fact: Sentence) -> Phrased:
        """An approved answer as the tuned model says it, or as it stands."""
        tokens = round(LONGER * len(fact.text) / 3) + 8
        said, took = await _written(model.stream(question, max_tokens=tokens), self._tuned_seconds)
        if said is None:
            return Phrased(sentence=fact)
        said = model.bare(said)
        if said == fact.text:
            return Phrased(sentence=fact, events=(_phrased(model.name, said, took),))
        reason = poorer(said, fact)
        if reason:
            return Phrased(sentence=fact, events=(_phrased(model.name, said, took), DraftRejected(sentence=said, objection=reason)))
        sentence = Sentence(text=said, proofs=(*fact.proofs, fact.text))
        return Phrased(sentence=sentence, events=(_phrased(model.name, said, took),))

    async def _one(self, model: LanguageModel, question: str, fact: Sentence, seconds: float) -> Phrased:
        prompt = _prompt().format(question=" ".join(question.split())[:300], fact=fact.text)
        request = ChatRequest(messages=[{"role": "user", "content": prompt}], max_tokens=MOST_TOKENS, stop=("\n",))
        said, took = await _written(model.stream(request), seconds)
        if said is None:
            return Phrased(sentence=fact)
        said = said.strip('"')
        written = _phrased(model.name, said, took)
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


def poorer(said: str, fact: Sentence) -> str | None:
    """Why a rewording of an approved answer is worse than the answer, or None: what it states must all be there, in the same order."""
    if len(said) > LONGER * len(fact.text):
        return "longer than the approved answer"
    if [q.text.lower() for q in quantities(said)] != [q.text.lower() for q in quantities(fact.text)]:
        return "amounts differ from the approved answer, or stand in another order"
    return unfaithful(said, replace(fact, needed=fact.text))


async def _written(stream: AsyncIterator[str], seconds: float) -> tuple[str | None, float]:
    """What a model wrote and how many milliseconds it took; None when it is down, busy or too slow."""
    begun, said = time.monotonic(), ""
    try:
        async with asyncio.timeout(seconds), aclosing(cast("Any", stream)) as pieces:
            async for piece in pieces:
                said += piece
    except (TimeoutError, ModelUnavailable, TooBusy):
        return None, 0.0
    return said.strip(), (time.monotonic() - begun) * 1000


def _phrased(model: str, said: str, took: float) -> ModelPhrased:
    return ModelPhrased(model=model, draft=said, sampled=len(said.split()), milliseconds=round(took, 1))


@cache
def _prompt() -> str:
    return (files("frontdesk.desk") / "prompts" / "phrase.md").read_text(encoding="utf-8").strip()
