"""What a model is asked to score: a context, a prefix, the text so far, and the text whose log-probabilities are wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The parts are tokenised apart, so that what stands before never changes the tokens behind."""

    context: str
    prefix: str
    left: str
    text: str
    tokens: int = 0
    """Only so many tokens of `text`; 0: all."""

    @property
    def before(self) -> tuple[str, ...]:
        """What stands between context and text, in pieces."""
        return tuple(p for p in (self.prefix, self.left) if p)
