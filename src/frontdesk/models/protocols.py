"""The two things a model can do for the desk: continue a conversation, and turn text into vectors. Names no implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One call of a language model."""

    messages: Sequence[Mapping[str, str]]
    """`{"role": ..., "content": ...}` rows."""
    max_tokens: int = 160
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    grammar: str = ""
    """GBNF; only for servers that take it."""
    json_schema: Mapping[str, Any] | None = None
    seed: int | None = 7
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Server-specific fields, e.g. a LoRA choice or `tools`."""


class LanguageModel(Protocol):
    """Something that continues a conversation."""

    name: str

    def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """Pieces of text as they come. Closing the iterator cancels the work upstream.

        Raises ModelUnavailable (down, late, breaker open) and TooBusy (queue full).
        """
        ...


class Embedder(Protocol):
    """Something that turns text into vectors."""

    name: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit-length float32 row per text, shape (len(texts), dimensions). Raises ModelUnavailable."""
        ...


async def complete(model: LanguageModel, request: ChatRequest) -> str:
    """The whole continuation as one string."""
    return "".join([piece async for piece in model.stream(request)])
