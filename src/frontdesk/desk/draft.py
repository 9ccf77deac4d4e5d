"""A draft: sentences with what proves each of them. Nothing here is shown before the guardrails have looked at it."""

from __future__ import annotations

from dataclasses import dataclass

from frontdesk.domain.conversation import Route, ToolCall
from frontdesk.domain.knowledge import Citation


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Something the desk wants to say. `proofs` are verbatim texts; a sentence that states no fact needs none."""

    text: str
    proofs: tuple[str, ...] = ()
    factual: bool = True
    stiff: bool = False
    """True for a fact in the form "row, column: value", which a sentence would say better."""
    needed: str = ""
    """The words of a stiff fact that its wording must keep: row, column and value."""
    apart: bool = False
    """True where a paragraph of its own begins."""

    @property
    def gap(self) -> str:
        """What parts it from the sentence before."""
        return "\n\n" if self.apart else " "


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the desk would reply to one question."""

    route: Route
    sentences: tuple[Sentence, ...]
    confidence: float
    citations: tuple[Citation, ...] = ()
    calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str:
        """The draft as it would be shown."""
        return "".join(s.text if i == 0 else f"{s.gap}{s.text}" for i, s in enumerate(self.sentences))
