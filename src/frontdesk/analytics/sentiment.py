"""How an utterance sounds: negative, neutral or positive, and a score from -1 to 1. Reads the wording; does not guess at what is meant.

A linear head on sentence vectors and on hashed words, pairs of words and negated words (`head.npz` says how it was made; it is remade by
`python -m frontdesk.training.sentiment_head`). It is made for one embedding model; with another, the words alone decide.
`ByModel` and `ByClassifier` are the same by a language model and by a classification server, where a setting asks for them.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any, Protocol
from zipfile import BadZipFile

import httpx
import numpy as np
from numpy.typing import NDArray

from frontdesk.errors import BadInput, ModelUnavailable
from frontdesk.models.protocols import ChatRequest, Embedder, LanguageModel, Vectors, complete

LABELS = ("negative", "neutral", "positive")
BUCKETS = 2**16
READ = 2000
"""Characters of an utterance that are read."""
FILE = "sentiment_head.npz"
TURN = 0.35
"""Fall of a running mean that makes a turning point."""
WINDOW = 3

_TERM = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|[!?]+|\.{3,}|[^\w\s]")
_NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "nothing",
        "nobody",
        "none",
        "neither",
        "nor",
        "without",
        "hardly",
        "cannot",
        "nicht",
        "kein",
        "keine",
        "nie",
        "ohne",
        "pas",
        "jamais",
        "sans",
        "no",
        "nunca",
        "sin",
        "non",
        "mai",
        "niet",
        "geen",
    ]
)
_REACH = 3  # words after a negation that it turns

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """How one utterance sounds. `score` in [-1, 1] is the probability of positive less that of negative."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How one side's tone moved through a conversation."""

    start: float
    end: float
    slope: float
    """Change of the score per utterance, by least squares."""
    turning_point: int | None
    """Index of the utterance at which the running mean fell or rose the most, if it did so by enough; None: steady."""
    direction: str
    """worse, better or steady."""


class Listener(Protocol):
    """Something that hears how texts sound. Raises ModelUnavailable."""

    async def read(self, texts: Sequence[str], embedder: Embedder) -> list[Tone]:
        """One tone per text, in order."""
        ...


class Sentiment:
    """The trained head. Make one with `load` or `from_bytes`; it never changes afterwards and is safe to share."""

    def __init__(self, *, dense: Floats, words: Floats, alone: Floats, bias: Floats, facts: dict[str, Any]) -> None:
        """`dense` (dimensions, 3), `words` and `alone` (buckets, 3), `bias` (2, 3): with vectors and without."""
        self._dense, self._words, self._alone, self._bias = dense, words, alone, bias
        self.facts = facts
        """How it was made: data, counts, figures, the embedder's name."""

    @classmethod
    def load(cls) -> Sentiment:
        """The head that comes with the program."""
        return cls.from_bytes((resources.files(__package__) / FILE).read_bytes())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Sentiment:
        """The head that `to_bytes` wrote. Raises BadInput for anything else."""
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
                arrays = {name: archive[name].astype(np.float32) for name in ("dense", "words", "alone", "bias")}
                return cls(**arrays, facts=json.loads(bytes(archive["facts"]).decode()))
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as e:
            raise BadInput("this is not a trained sentiment head: make one with `python -m frontdesk.training.sentiment_head`") from e

    def to_bytes(self) -> bytes:
        """The head as a compressed npz archive."""
        out = io.BytesIO()
        small = {name: getattr(self, f"_{name}").astype(np.float16) for name in ("dense", "words", "alone", "bias")}
        np.savez_compressed(out, allow_pickle=False, facts=np.frombuffer(json.dumps(self.facts).encode(), np.uint8), **small)
        return out.getvalue()

    def fits(self, embedder: Embedder) -> bool:
        """Whether the head was made for this embedder's vectors."""
        return self.facts["embedder"] in embedder.name.casefold() and embedder.dimensions == len(self._dense)

    def of(self, texts: Sequence[str], vectors: Vectors | None = None) -> list[Tone]:
        """One tone per text. `vectors`: (len(texts), dimensions), unit length, of the embedder it was made for; None: words alone."""
        chances = self.chances(texts, vectors)
        best = chances.argmax(axis=1)
        scores = chances[:, 2] - chances[:, 0]
        return [Tone(label=LABELS[int(b)], score=round(float(s), 4)) for b, s in zip(best, scores, strict=True)]

    def chances(self, texts: Sequence[str], vectors: Vectors | None = None) -> Floats:
        """Probabilities of the three labels, (len(texts), 3). A text without a word or a sign is neutral."""
        if vectors is not None and vectors.shape != (len(texts), len(self._dense)):
            raise BadInput(f"sentiment was trained on vectors of {len(self._dense)} numbers and got {vectors.shape}: leave them out")
        terms = [terms_of(text) for text in texts]
        logits = _summed(terms, self._alone if vectors is None else self._words)
        if vectors is not None:
            logits += np.asarray(vectors, np.float32) @ self._dense
        logits += self._bias[1 if vectors is None else 0]
        chances = np.exp(logits - logits.max(axis=1, keepdims=True, initial=0))
        chances /= chances.sum(axis=1, keepdims=True)
        chances[[not t for t in terms]] = (0.0, 1.0, 0.0)
        return np.asarray(chances, np.float32)

    async def read(self, texts: Sequence[str], embedder: Embedder) -> list[Tone]:
        """One tone per text, embedding them first where the head fits the embedder. Raises ModelUnavailable."""
        if not texts:
            return []
        cut = [text[:READ] for text in texts]
        vectors = await embedder.embed(cut) if self.fits(embedder) else None
        return await asyncio.to_thread(self.of, cut, vectors) if len(cut) > 64 else self.of(cut, vectors)


class ByModel:
    """Tones by a language model, one call an utterance. What it does not answer in form is heard by the head."""

    def __init__(self, model: LanguageModel, fallback: Sentiment) -> None:
        self._model, self._fallback = model, fallback

    async def read(self, texts: Sequence[str], embedder: Embedder) -> list[Tone]:
        """One tone per text. Raises ModelUnavailable."""
        return [await self._one(text, embedder) for text in texts]

    async def _one(self, text: str, embedder: Embedder) -> Tone:
        schema = {
            "type": "object",
            "properties": {"label": {"enum": list(LABELS)}, "score": {"type": "number", "minimum": -1, "maximum": 1}},
            "required": ["label", "score"],
        }
        asked = "How does this utterance of a support conversation sound? Give the label, and a score from -1 (very negative) to 1 (very positive)."
        messages = [{"role": "system", "content": asked}, {"role": "user", "content": text[:READ]}]
        answer = await complete(self._model, ChatRequest(messages=messages, max_tokens=40, json_schema=schema))
        try:
            said = json.loads(answer)
            return Tone(label=LABELS[LABELS.index(said["label"])], score=max(-1.0, min(1.0, float(said["score"]))))
        except (ValueError, KeyError, TypeError):
            return (await self._fallback.read([text], embedder))[0]


class ByClassifier:
    """Tones by a server that classifies text as Hugging Face's text-embeddings-inference does: `POST /predict {"inputs": [[text]]}`."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url, self._http = url.rstrip("/"), http

    async def read(self, texts: Sequence[str], embedder: Embedder) -> list[Tone]:
        """One tone per text. Raises ModelUnavailable when the server is away or names labels that are no sentiment."""
        found: list[Tone] = []
        for start in range(0, len(texts), 32):
            inputs = [[text[:READ] or " "] for text in texts[start : start + 32]]
            try:
                answer = await self._http.post(f"{self._url}/predict", json={"inputs": inputs, "truncate": True})
                answer.raise_for_status()
                found += [_from_classes(row) for row in answer.json()]
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as e:
                raise ModelUnavailable(
                    f"the sentiment classifier at {self._url} does not answer as expected ({type(e).__name__}): check its address and model"
                ) from e
        return found


def _from_classes(row: Sequence[dict[str, Any]]) -> Tone:
    chances = dict.fromkeys(LABELS, 0.0)
    for entry in row:
        name = str(entry["label"]).casefold()
        known = {"label_0": "negative", "label_1": "neutral", "label_2": "positive", "neg": "negative", "pos": "positive", "neu": "neutral"}
        chances[LABELS[LABELS.index(known.get(name, name))]] += float(entry["score"])
    return Tone(label=max(chances, key=lambda k: chances[k]), score=chances["positive"] - chances["negative"])


def terms_of(text: str) -> list[str]:
    """Words, signs, pairs of neighbours, and words in the reach of a negation (marked `~`)."""
    words = _TERM.findall(text[:READ].lower().replace("’", "'"))
    terms = words + [f"{one} {two}" for one, two in pairwise(words)]
    turned = 0
    for word in words:
        if word in _NEGATIONS or word.endswith("n't"):
            turned = _REACH
        elif not word[0].isalpha():
            turned = 0
        elif turned:
            terms.append(f"~{word}")
            turned -= 1
    letters = [c for c in text[:READ] if c.isalpha()]
    if len(letters) > 8 and sum(c.isupper() for c in letters) > 0.7 * len(letters):
        terms.append("^shouted")
    return terms


def places_of(terms: Sequence[str]) -> list[int]:
    """The distinct buckets of some terms."""
    return list({zlib.crc32(term.encode("utf-8", "replace")) % BUCKETS for term in terms})


def _summed(terms: Sequence[Sequence[str]], weights: Floats) -> Floats:
    """For each text the weights of its buckets, added up and divided by the root of how many there are."""
    places = [places_of(t) for t in terms]
    counts = np.array([len(p) for p in places])
    found = np.zeros((len(terms), weights.shape[1]), np.float32)
    filled = np.flatnonzero(counts)
    if len(filled):
        flat = np.concatenate([np.asarray(places[i]) for i in filled])
        starts = np.concatenate([[0], np.cumsum(counts[filled])[:-1]])
        found[filled] = np.add.reduceat(weights[flat], starts, axis=0) / np.sqrt(counts[filled])[:, None]
    return found


def trend(scores: Sequence[float]) -> Trend:
    """How scores, one per utterance in order, moved. Short conversations are steady: two utterances are no trend."""
    values = np.asarray(scores, float)
    if len(values) < WINDOW:
        start, end = (float(values[0]), float(values[-1])) if len(values) else (0.0, 0.0)
        return Trend(start=start, end=end, slope=0.0, turning_point=None, direction="steady")
    slope = float(np.polyfit(np.arange(len(values)), values, 1)[0])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(1, len(values))
    before = (sums[at] - sums[np.maximum(0, at - WINDOW)]) / (at - np.maximum(0, at - WINDOW))
    ends = np.minimum(len(values), at + WINDOW)
    steps = (sums[ends] - sums[at]) / (ends - at) - before
    steps[-1] *= 0.5  # one last utterance is thin evidence
    place = int(np.abs(steps).argmax())
    turned = abs(float(steps[place])) >= TURN
    edge = min(WINDOW, len(values) // 2)
    start, end = float(values[:edge].mean()), float(values[-edge:].mean())
    moved = end - start
    direction = "steady" if abs(moved) < TURN / 2 else "better" if moved > 0 else "worse"
    return Trend(start=start, end=end, slope=slope, turning_point=place + 1 if turned else None, direction=direction)
