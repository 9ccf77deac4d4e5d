"""Judges how well texts answer a question by reading both together, with a small BERT on ONNX Runtime. Finds nothing; ranks the few it is given.

A sentence encoder makes one vector of a text before it knows the question, so "which of two rules about cards" is settled by what the texts
are about. Read together, each word of the question looks at each word of the text (Nogueira and Cho 2019, "Passage Re-ranking with BERT").
That costs as much as embedding the text anew for every question: so it is asked about the likeliest few alone, and remembers what it said.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from frontdesk.errors import ModelMissing, ModelUnavailable
from frontdesk.models.embedder import alike, readable, session, tokenizer
from frontdesk.models.protocols import Matching, Precision

QUESTION_TOKENS, TEXT_TOKENS = 56, 72
"""More of a text is not read, and of a question (as much of it as `tokenizer` leaves) only its end, where it asks."""
SHARPNESS = 10.0
"""Scale of the learnt weight of likeness."""
_REMEMBERED = 8_192  # pairs


class CrossEncoder:
    """The MiniLM in `path` with an adapter from `training.reading_pairs`."""

    def __init__(self, path: Path, adapter: Path, *, threads: int = 1, precision: Precision = "fp32") -> None:
        """Load the model; the first time, its ONNX file is built beside the weights. Raises ModelMissing."""
        self._tokenizer = tokenizer(path)
        self._begin, self._separator = self._mark("[CLS]"), self._mark("[SEP]")
        self._session = session(path, threads, precision, adapter, pairs=True)
        learnt = load_file(adapter)
        self._heads = {
            m: (learnt[f"{m}.weight"].astype(np.float32), float(learnt[f"{m}.bias"][0]), SHARPNESS * float(learnt[f"{m}.likeness"][0]))
            for m in Matching
        }
        self._lane = ThreadPoolExecutor(1, "pairs")
        self._remembered: OrderedDict[tuple[str, str], dict[Matching, float]] = OrderedDict()

    async def scores(self, question: str, texts: Sequence[str], matching: Matching) -> NDArray[np.float32]:
        """Log-odds that each text is what is sought, against none of them, (len(texts),). Raises ModelUnavailable."""
        judged = {t: self._remembered[question, t] for t in texts if (question, t) in self._remembered}
        if fresh := [t for t in dict.fromkeys(texts) if t not in judged]:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._lane, lambda: self._judge(question, fresh))
            except RuntimeError as e:  # the lane was closed
                raise ModelUnavailable(f"the cross-encoder was stopped ({e}): restart the program") from e
            judged |= found
            self._remembered.update(((question, text), verdicts) for text, verdicts in found.items())
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return np.array([judged[t][matching] for t in texts], np.float32)

    def close(self) -> None:
        """Stop; what waits is dropped."""
        self._lane.shutdown(wait=True, cancel_futures=True)

    def _judge(self, question: str, texts: Sequence[str]) -> dict[str, dict[Matching, float]]:
        asked = [self._begin, *self._ids(question)[-QUESTION_TOKENS:], self._separator]
        told = [[*self._ids(text)[:TEXT_TOKENS], self._separator] for text in texts]
        found: dict[str, dict[Matching, float]] = {}
        for batch in alike([len(asked) + len(t) for t in told]):
            longest = len(asked) + max(len(told[i]) for i in batch)
            ids = np.zeros((len(batch), longest), np.int64)
            mask, segments = np.zeros_like(ids), np.zeros_like(ids)
            for row, i in enumerate(batch):
                end = len(asked) + len(told[i])
                ids[row, :end] = asked + told[i]
                mask[row, :end] = 1
                segments[row, len(asked) : end] = 1
            try:
                (states,) = self._session.run(["states"], {"ids": ids, "mask": mask, "segments": segments})
            except Exception as e:  # ONNX Runtime raises its own kinds, without a common base
                raise ModelUnavailable(f"the cross-encoder failed ({e}): restart the program") from e
            for row, i in enumerate(batch):
                found[texts[i]] = self._verdicts(states[row, : len(asked)], states[row, len(asked) : len(asked) + len(told[i])])
        return found

    def _verdicts(self, asked: NDArray[np.float32], told: NDArray[np.float32]) -> dict[Matching, float]:
        """From the last layer's states of the question's tokens and of the text's, each (tokens, hidden)."""
        one, other = asked.mean(axis=0), told.mean(axis=0)
        likeness = float(one @ other) / max(1e-9, float(np.linalg.norm(one) * np.linalg.norm(other)))
        seen = np.concatenate([asked[0], np.abs(one - other)])
        return {m: float(weight @ seen) + bias + sharpness * likeness for m, (weight, bias, sharpness) in self._heads.items()}

    def _mark(self, name: str) -> int:
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise ModelMissing(f"the tokenizer lacks {name}: remove the model and pull it again")
        return found

    def _ids(self, text: str) -> list[int]:
        # The tokenizer's limit counts its own two marks, which are set here anew.
        return [i for i in self._tokenizer.encode(readable(text)).ids if i not in (self._begin, self._separator)]
