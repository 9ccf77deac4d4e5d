"""A language model words a customer's line in the manner of its mood. What it writes is checked; what does not hold is not said.

Two ways. `free`, for a capable model: it rewrites the line, and unless every value comes through as it stands, no figure is added, the
subject stays and the part is kept, the template speaks. `guided`, for a small one: a grammar lets it choose what stands around the core,
by the first words of what it chooses.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from frontdesk.errors import FrontdeskError
from frontdesk.models.protocols import ChatRequest, LanguageModel, complete
from frontdesk.rehearsal.audit import figures, slipped
from frontdesk.rehearsal.cast import Role
from frontdesk.rehearsal.customer import Draft
from frontdesk.rehearsal.reading import load_yaml, preset, small_words, spoken

MODEL, TEMPLATE = "model", "template"
ROOM = 16
"""Tokens that a wording may be longer than its draft."""
GAP = " ... "
NOTHING = "-"
"""How a guided model writes where the core stands, and that nothing stands there."""
MODEL_SECONDS = 60.0
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE = re.compile(r"[^.!?]+")


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a draft was put: the text, who worded it, and what the model had written, used or not."""

    text: str
    by: str
    heard: str = ""


class Phraser(Protocol):
    """Words a draft."""

    async def word(self, draft: Draft, role: Role, *, seed: str, said: frozenset[str]) -> Wording:
        """The line to say. `seed` names the message; `said` are this customer's earlier lines. Never raises for a model that fails."""
        ...


class Templates:
    """Words every draft by its template: no model, the same text for ever."""

    async def word(self, draft: Draft, role: Role, *, seed: str, said: frozenset[str]) -> Wording:
        """The draft's own template."""
        return Wording(text=draft.template, by=TEMPLATE)


class ModelPhraser:
    """Has a language model word each draft and checks what it wrote. `recorded` repeats what was heard in an earlier run."""

    def __init__(
        self, model: LanguageModel, *, guided: bool = True, recorded: Mapping[str, str] | None = None, seconds: float = MODEL_SECONDS
    ) -> None:
        """`seconds`: longest wait for the model's words; after it the template speaks."""
        self._model = model
        self._seconds = seconds
        self._guided = guided
        self._recorded = recorded or {}
        self.asked = 0
        self.used = 0

    async def word(self, draft: Draft, role: Role, *, seed: str, said: frozenset[str]) -> Wording:
        """The model's wording where it holds, else the template."""
        self.asked += 1
        heard = self._recorded.get(seed)
        if heard is None:
            heard = await self._written(guided_request(draft, seed) if self._guided else free_request(draft))
        text = _around(draft, heard) if self._guided else _whole(heard)
        if text and not objection(draft, text) and text not in said:
            self.used += 1
            return Wording(text=text, by=MODEL, heard=heard)
        return Wording(text=draft.template, by=TEMPLATE, heard=heard)

    async def _written(self, request: ChatRequest) -> str:
        try:
            async with asyncio.timeout(self._seconds):
                return spoken(await complete(self._model, request))
        except (FrontdeskError, TimeoutError):
            return ""  # a customer without a model speaks by template


def free_request(draft: Draft) -> ChatRequest:
    """What a capable model is asked: examples of lines put into moods, then this line and this mood."""
    asked = {"role": "user", "content": f"{draft.mood.name} ({draft.mood.manner}): {draft.plain}"}
    return ChatRequest(messages=(*_examples(), asked), max_tokens=_tokens(draft.plain) + ROOM, stop=("\n",), temperature=0.0)


def guided_request(draft: Draft, seed: str) -> ChatRequest:
    """What a small model is asked: the words around the core, of those that this mood allows."""
    asked = {"role": "user", "content": f"{draft.mood.name}: {draft.plain}"}
    grammar = f"root ::= lead {_literal(GAP)} tail\nlead ::= {_either(cues(draft.leads))}\ntail ::= {_either(cues(draft.tails))}"
    number = zlib.crc32(seed.encode())
    return ChatRequest(messages=(*_short_examples(), asked), max_tokens=40, stop=("\n",), temperature=1.0, seed=number, grammar=grammar)


@cache
def _examples() -> tuple[dict[str, str], ...]:
    return _shown("examples", "system")


@cache
def _short_examples() -> tuple[dict[str, str], ...]:
    return _shown("guided", "guided_system")


def _shown(examples: str, system: str) -> tuple[dict[str, str], ...]:
    row = load_yaml(preset("phrasing.yaml"))
    turns = [{"role": "system", "content": " ".join(str(row[system]).split())}]
    for example in row[examples]:
        turns.append({"role": "user", "content": f"{example['mood']}: {example['line']}"})
        turns.append({"role": "assistant", "content": example["said"]})
    return tuple(turns)


def cues(options: Sequence[str]) -> Mapping[str, str]:
    """What a model writes for each option: the fewest of its first words that no other begins with, since it chooses by no more than these."""
    found = {}
    for option in options:
        words = option.split()
        others = [o.split() for o in options if o != option]
        length = next((n for n in range(1, len(words)) if all(o[:n] != words[:n] for o in others)), len(words))
        found[" ".join(words[:length]) or NOTHING] = option
    return found


def _either(texts: Iterable[str]) -> str:
    return " | ".join(map(_literal, texts))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _around(draft: Draft, heard: str) -> str:
    """The core between the words that the model chose; empty when it chose none of those offered."""
    before, _, after = (part.strip() for part in heard.partition(GAP.strip()))
    lead, tail = cues(draft.leads).get(before), cues(draft.tails).get(after)
    if lead is None or tail is None:
        return ""
    return " ".join(part for part in (lead, draft.core, tail) if part)


def _tokens(text: str) -> int:
    """About as many tokens as a small model's vocabulary makes of a text; figures take one each."""
    return len(text.split()) * 3 // 2 + sum(c.isdigit() for c in text)


def objection(draft: Draft, text: str) -> str:
    """Why a wording may not be said; empty when it may."""
    low = text.casefold()
    if not 0 < len(text) <= 2 * len(draft.core) + 160:
        return "length"
    said = [s.strip() for s in _SENTENCE.findall(low) if s.strip()]
    if len(set(said)) < len(said):
        return "repeats"
    if any(value.casefold() not in low for value in (*draft.slots, *draft.planned)):
        return "slot"
    if figures(text) - figures(draft.core):
        return "figure"
    if slipped(text):
        return "slip"
    if draft.core.rstrip().endswith("?") and "?" not in text:
        return "no question"
    wanted = _content(draft.plain)
    if wanted and len(wanted & _content(text)) < 0.7 * len(wanted):
        return "subject"
    return ""


def _whole(heard: str) -> str:
    """What the model wrote, without an unfinished last sentence, quotation marks around it, or a word about what it did."""
    text = heard.strip().strip('"“”').strip()
    if text and text[-1] not in ".!?":
        cut = max(text.rfind(mark) for mark in ".!?")
        text = text[: cut + 1]
    return text


def _content(text: str) -> frozenset[str]:
    return frozenset(w[:5] for w in _WORD.findall(text.casefold()) if w not in small_words())
