"""Models that do what they are told, for tests, rehearsals and a desk without a model. They understand nothing and never pretend to."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from frontdesk.errors import ModelUnavailable
from frontdesk.models.protocols import ChatRequest, ModelCall, Vectors


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One scripted answer: the text, how long it takes, and whether it fails."""

    text: str = ""
    first_delay: float = 0.0
    """Seconds before the first piece."""
    delay: float = 0.0
    """Seconds before each further piece."""
    error: Exception | None = None
    """Raised after `text` has been given."""
    calls: tuple[ModelCall, ...] = ()
    """Calls of the offered `tools`, behind the text; only `stream_with_calls` gives them."""


Script = Callable[[ChatRequest], str | Reply] | Sequence[str | Reply]
"""A rule, or answers in turn (then ModelUnavailable)."""


class ScriptedModel:
    """A LanguageModel that answers from a script, word by word. Keeps the requests it saw in `requests`."""

    def __init__(self, script: Script, *, name: str = "scripted") -> None:
        self.name = name
        self.requests: list[ChatRequest] = []
        self.active = 0
        """Answers under way; back to 0 when each was finished or closed."""
        self._script = script

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """The scripted answer in pieces that join to its text, cut at `request.stop` and after `request.max_tokens` words."""
        async with aclosing(self.stream_with_calls(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece

    async def stream_with_calls(self, request: ChatRequest) -> AsyncGenerator[str | ModelCall]:
        """The same, then the scripted calls."""
        reply = self._reply(request)
        self.requests.append(request)
        self.active += 1
        try:
            await asyncio.sleep(reply.first_delay)
            for n, piece in enumerate(_pieces(reply.text, request)):
                if n:
                    await asyncio.sleep(reply.delay)
                yield piece
            if reply.error is not None:
                raise reply.error
            for call in reply.calls:
                yield call
        finally:
            self.active -= 1

    async def check(self) -> None:
        """A script is always ready."""

    def _reply(self, request: ChatRequest) -> Reply:
        if callable(self._script):
            said = self._script(request)
        elif len(self.requests) < len(self._script):
            said = self._script[len(self.requests)]
        else:
            raise ModelUnavailable(f"the script has only {len(self._script)} answers: add one for this call")
        return Reply(text=said) if isinstance(said, str) else said


class HashEmbedder:
    """An Embedder by hashed words and word pairs: texts that share words are near. Deterministic on every machine; knows no meaning."""

    def __init__(self, dimensions: int = 384, *, name: str = "hashed-words") -> None:
        self.name = name
        self.dimensions = dimensions
        self.calls = 0

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit-length float32 row per text, (len(texts), dimensions)."""
        self.calls += 1
        return np.stack([self._row(text) for text in texts]) if texts else np.empty((0, self.dimensions), np.float32)

    def token_count(self, text: str) -> int:
        """Words and marks."""
        return len(_tokens(text))

    def _row(self, text: str) -> Vectors:
        words = [w for w in _tokens(text) if w.isalnum()]
        row = np.zeros(self.dimensions, np.float32)
        for feature in [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))] or [text]:
            digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest()
            row[int.from_bytes(digest[:4], "big") % self.dimensions] += 1.0 if digest[4] & 1 else -1.0
        length = float(np.linalg.norm(row))
        if length == 0.0:  # every feature met its opposite
            row[0] = length = 1.0
        return row / np.float32(length)


def _pieces(text: str, request: ChatRequest) -> list[str]:
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    return re.findall(r"\S+\s*|\s+", text)[: request.max_tokens]


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())
