"""What an agent's reply wants of the customer: a yes or no, a detail, or nothing. By its words alone, so that any agent can be understood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from frontdesk.rehearsal.reading import small_words

_CONSENT = re.compile(
    r"\b(?:shall i\b|yes or no|(?:until|unless) you say yes|please confirm|do you confirm|can you confirm|would you like me to|"
    r"do you want me to|is that (?:right|correct|ok|okay)\?|may i go ahead|should i go ahead)",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"\b(?:could you|can you|please|would you) (?:please )?(?:tell|give|send|name|provide|share|let)\b|\bi need (?:your|the|to know)\b",
    re.IGNORECASE,
)
_COURTESY = re.compile(r"\b(?:anything else|how can i help|help you today|pass you on)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]*")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a reply asks for. `fact` names one of the customer's facts; `value` one of the offered choices."""

    consent: bool = False
    question: bool = False
    fact: str = ""
    value: str = ""


def wanted(reply: str, *, route: str, facts: Sequence[str], values: Iterable[str] = ()) -> Wanted:
    """What `reply` wants. `facts` are names a customer can be asked for, `values` those among which a choice may be made."""
    asking = [s for s in _SENTENCE.findall(reply) if ("?" in s or _ASKING.search(s)) and not _COURTESY.search(s)]
    if _CONSENT.search(reply):
        return Wanted(consent=True, question=True)
    if not asking:
        return Wanted(question=route == "elicit")
    question = " ".join(asking)
    fact = _named(question, facts)
    offered = "" if fact else next((v for v in values if _holds(reply, v)), "")
    return Wanted(question=True, fact=fact, value=offered)


def _named(question: str, facts: Sequence[str]) -> str:
    """The fact whose name is most wholly in the question; empty when none is."""
    words = set(_stems(question))
    scored = [(len(own & words) / len(own), len(own & words), f) for f in facts if (own := set(_stems(f)) or {f.lower()})]
    best = max(scored, default=(0.0, 0, ""))
    return best[2] if best[0] >= 0.5 else ""


def _stems(text: str) -> list[str]:
    return [w[:6].removesuffix("s") for w in _WORD.findall(text.lower()) if w not in small_words()]


def _holds(text: str, value: str) -> bool:
    return bool(value) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None
