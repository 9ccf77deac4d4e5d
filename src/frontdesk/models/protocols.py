"""The two things a model can do for the desk: continue a conversation, and turn text into vectors. Names no implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Precision = Literal["fp32", "int8"]
"""Of an encoder's weights."""
MAX_TOKENS = 256
"""More of a text is read by no encoder."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One call of a language model."""

    messages: Sequence[Mapping[str, Any]]
    """`{"role": ..., "content": ...}` rows; with `tools` in `extra` also calls and their results, as OpenAI writes them."""
    max_tokens: int = 160
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    grammar: str = ""
    """GBNF; only for servers that take it."""
    json_schema: Mapping[str, Any] | None = None
    seed: int | None = 7
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Server-specific fields, e.g. `tools`. A model or an adapter cannot be chosen here."""
    adapter: str = ""
    """Id of the one adapter that answers; "": the base model alone. Set by `models.tuned` only, which binds it to a tenant."""


class LanguageModel(Protocol):
    """Something that continues a conversation."""

    name: str

    def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """Pieces of text as they come. Closing the iterator cancels the work upstream.

        Raises ModelUnavailable (down, late, breaker open) and TooBusy (queue full).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """A call that a model made of the `tools` it was offered. Nothing of it is checked: `arguments` is whatever text the model wrote."""

    id: str
    name: str
    arguments: str


@runtime_checkable
class ToolModel(Protocol):
    """A language model whose server takes OpenAI's `tools`."""

    name: str

    def stream_with_calls(self, request: ChatRequest) -> AsyncIterator[str | ModelCall]:
        """Pieces of text as they come, then the calls. Raises like `LanguageModel.stream`, and ModelRefused when it takes no `tools`."""
        ...


class Embedder(Protocol):
    """Something that turns text into vectors."""

    name: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit-length float32 row per text, shape (len(texts), dimensions). Raises ModelUnavailable."""
        ...


class Matching(StrEnum):
    """What a text may be to a message."""

    ANSWER = "answer"
    """A unit of the sources that answers it."""
    OPERATION = "operation"
    """The description of an operation that it is about."""


class Matcher(Protocol):
    """Something that reads a message and a text together."""

    async def scores(self, question: str, texts: Sequence[str], matching: Matching) -> Vectors:
        """Log-odds that each text is what is sought, against none of them, (len(texts),). Raises ModelUnavailable."""
        ...


async def complete(model: LanguageModel, request: ChatRequest) -> str:
    """The whole continuation as one string."""
    return "".join([piece async for piece in model.stream(request)])
