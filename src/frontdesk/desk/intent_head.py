"""A text classifier on sentence vectors that knows what it does not know. Trains in closed form; refuses to guess about what is foreign.

Kernel ridge regression with one kernel over meaning (one or more blocks of vectors) and wording (word and character n-grams):
`k(a, b) = exp(width * (similarity(a, b) - 1))`. Three things come out of one matrix inverse, exactly and without training again:
the scores (one column per label), what each training row would have scored had it been left out, and what it would have scored
had its whole label been unknown. The first kind of left-out score sets the confidence, the second teaches what foreign looks like.
Sources: Rifkin and Lippert, "Notes on Regularized Least Squares" (leave-one-out in closed form); Guo et al., "On Calibration".
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from frontdesk.errors import BadInput
from frontdesk.models.protocols import Embedder, Vectors

OUT_OF_SCOPE = "oos"
"""The label that means "none of the labels" in a test file."""

Floats = NDArray[np.float32]

_WORD = re.compile(r"\b\w+\b")
_WIDTH = 2.0  # of the kernel; 1 to 6 differ by less than a point
_NOISE = 0.1  # ridge term; .03 to .3 differ by less than a point
_WORDING = 0.3  # weight of the wording beside 1.0 for each block of vectors
_ROWS_AT_ONCE = 1024
_LOST = 0.005  # of the right answers that may be lost to abstention: this sets the threshold
_FOREIGN_SHARE = 3.0  # a given out-of-scope set weighs this much more than the made-up one


class Prediction(NamedTuple):
    """What the head makes of one text."""

    label: str
    """The best label, whether in scope or not."""
    confidence: float
    """Calibrated probability that the label is right, given that some label is."""
    in_scope: float
    """Calibrated probability that some label is right at all."""
    scores: Mapping[str, float]
    """Calibrated probability per label, given that one is right; sums to 1."""


@runtime_checkable
class LayeredEmbedder(Protocol):
    """An embedder that also tells what its middle layer saw: more of the grammar, which separates intents on one topic."""

    async def embed_layers(self, texts: Sequence[str]) -> Vectors:
        """Unit-length rows, (len(texts), blocks, dimensions); block 0 is the sentence vector."""
        ...


async def vectors_for(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """The richest vectors that this embedder gives: (len(texts), blocks, dimensions), block 0 being the sentence vector."""
    if isinstance(embedder, LayeredEmbedder):
        return await embedder.embed_layers(texts)
    return (await embedder.embed(texts))[:, None, :]


class _Wording:
    """Word and character n-grams of a text, weighted by rarity, as unit-length sparse rows."""

    def __init__(self, terms: Sequence[str], rarity: Floats) -> None:
        """`terms` are "w" or "p" (word, piece of a word), a colon and the term; `rarity` is aligned with them."""
        self.terms = terms
        self.words = frozenset(term[2:] for term in terms if term.startswith("w:"))
        """Every word and every pair of neighbours in the training texts."""
        self._place = {term: i for i, term in enumerate(terms)}
        self.rarity = rarity
        self._words = sum(term.startswith("w:") for term in terms)

    @classmethod
    def learn(cls, texts: Sequence[str]) -> _Wording:
        """Words are kept all; of the many pieces of words, those seen twice (in small sets, all)."""
        seen = Counter(term for text in texts for term in set(_terms(text)))
        twice = 2 if len(texts) > 50 else 1
        kept = sorted((term for term, count in seen.items() if term.startswith("w:") or count >= twice), reverse=True)  # words first
        return cls(kept, np.array([1 + math.log((1 + len(texts)) / (1 + seen[term])) for term in kept], np.float32))

    def rows(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row per text, length 1 (shorter when nothing of it is known); words and pieces have equal shares."""
        columns: list[NDArray[np.int32]] = []
        values: list[Floats] = []
        for text in texts:
            known = [place for place in map(self._place.get, _terms(text)) if place is not None]
            places, counts = np.unique(np.array(known, np.int32), return_counts=True)
            weights = (1 + np.log(counts.astype(np.float32))) * self.rarity[places]
            for part in (places < self._words, places >= self._words):
                weights[part] *= np.sqrt(0.5) / max(float(np.linalg.norm(weights[part])), 1e-9)
            columns.append(places)
            values.append(weights)
        starts = np.cumsum([0, *map(len, columns)], dtype=np.int32)
        shape = (len(columns), len(self.terms))
        return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=shape)


def _terms(text: str) -> list[str]:
    """Words, pairs of neighbouring words, and the pieces of two to four letters of each word with its borders."""
    words = _words(text)
    terms = [f"w:{word}" for word in words] + [f"w:{one} {two}" for one, two in pairwise(words)]
    for part in text.lower().split():
        padded = f" {part} "
        for size in (2, 3, 4):
            terms += [f"p:{padded[i : i + size]}" for i in range(len(padded) - size + 1)]
    return terms


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """A logistic function of several signals: standardise, weigh, add, squash."""

    mean: Floats
    spread: Floats
    weights: Floats
    bias: float

    def __call__(self, signals: Floats) -> Floats:
        z = ((signals - self.mean) / self.spread) @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))), np.float32)


class IntentHead:
    """Labels for texts, with confidence and abstention. Make one with `train` or `from_bytes`; it never changes afterwards."""

    def __init__(self, *, state: dict[str, NDArray[Any]], wording: _Wording, facts: Mapping[str, Any]) -> None:
        self._centre: Floats = state["centre"]
        # Columns first: one text against the whole training set then reads its memory straight through, in half the time.
        self._meaning: Floats = np.asfortranarray(state["meaning"])
        state["meaning"] = self._meaning
        rows = sparse.csr_matrix((state["data"], state["indices"], state["indptr"]), shape=(len(self._meaning), len(wording.terms)))
        self._by_term = rows.T.tocsr()  # (terms, training rows): a text is compared through its own few terms only
        self._answers: Floats = state["answers"]
        self._mine: NDArray[np.bool_] = state["mine"]
        self._wording = wording
        self._state = state
        self._facts = facts
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.threshold = float(facts["threshold"])
        """Below this probability of being in scope the head abstains; chosen on left-out training rows."""
        self._temperature = float(facts["temperature"])
        self._scope = _Scale(
            mean=state["scope_mean"], spread=state["scope_spread"], weights=state["scope_weights"], bias=float(facts["bias"])
        )

    @classmethod
    def train(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        vectors: Vectors,
        oos_texts: Sequence[str] = (),
        oos_vectors: Vectors | None = None,
        seed: int = 7,
    ) -> IntentHead:
        """Learn from labelled texts and, if there are any, from texts that belong to no label.

        `vectors` is (texts, dimensions) or (texts, blocks, dimensions), and so is `oos_vectors`; `predict` wants the same shape.
        15,000 texts take about a minute and 3 GB, 500 take half a second. Raises BadInput when nothing can be learned from it.
        """
        if (
            not texts
            or len(texts) != len(labels)
            or len(texts) != len(vectors)
            or len(oos_texts) != (0 if oos_vectors is None else len(oos_vectors))
        ):
            raise BadInput("training an intent head needs at least one text, and one label and one vector for each text")
        with threadpool_limits(1, user_api="blas"):  # a customer may be waiting for the other core
            return _Training([*texts, *oos_texts], list(labels), _stacked(vectors, oos_vectors), seed).head()

    def predict(self, texts: Sequence[str], vectors: Vectors) -> list[Prediction]:
        """One prediction per text, in order. Raises BadInput for vectors of another shape than in training."""
        found: list[Prediction] = []
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            scores, signals = self._measure(texts[some], _blocks(vectors[some]))
            chances, scope = _chances(scores, self._temperature), self._scope(signals)
            for row, inside in zip(chances, scope, strict=True):
                best = int(row.argmax())
                found.append(
                    Prediction(self.labels[best], float(row[best]), float(inside), dict(zip(self.labels, row.tolist(), strict=True)))
                )
        return found

    def novelty(self, text: str) -> float:
        """Share of the letters of `text` that stand in words nobody used in training, in [0, 1]."""
        return _unknown_share(_words(text), self._wording.words.__contains__)

    def to_bytes(self) -> bytes:
        """The whole head as an npz archive; nothing in it runs when it is read."""
        facts = {**self._facts, "terms": list(self._wording.terms)}
        out = io.BytesIO()
        np.savez_compressed(out, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **self._state)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> IntentHead:
        """The head that `to_bytes` wrote. Raises BadInput for anything else."""
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
                state = {name: archive[name] for name in archive.files}
            facts = json.loads(state.pop("facts").tobytes())
            return cls(state=state, wording=_Wording(facts.pop("terms"), state["rarity"]), facts=facts)
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as e:
            raise BadInput("this is not a trained intent head: train it again") from e

    def _measure(self, texts: Sequence[str], blocks: Floats) -> tuple[Floats, Floats]:
        if blocks.shape[1:] != self._centre.shape:
            raise BadInput(
                f"vectors of shape {blocks.shape[1:]} do not fit a head trained on {self._centre.shape}: train it again with this embedder"
            )
        wording = self._wording.rows(texts)
        kernel = _kernel(_meaning(blocks, self._centre), wording, self._meaning, self._by_term, len(self._centre))
        scores = kernel @ self._answers
        nearest = np.where(self._mine, kernel, 0).max(axis=1)
        novelty = np.array([self.novelty(text) for text in texts], np.float32)
        return scores[:, : len(self.labels)], _signals(scores, len(self.labels), nearest, novelty, self._temperature)


class _Training:
    """The one matrix of a training run and what is read off it."""

    def __init__(self, texts: list[str], labels: list[str], blocks: Floats, seed: int) -> None:
        self.texts, self.blocks, self.seed = texts, blocks, seed
        self.labels = sorted(set(labels))
        place = {label: i for i, label in enumerate(self.labels)}
        foreign = len(texts) - len(labels)
        self.of = np.array([place[label] for label in labels] + [-1] * foreign)
        self.targets = np.zeros((len(texts), len(self.labels) + (foreign > 0)), np.float32)
        self.targets[np.arange(len(texts)), self.of] = 1  # the last column is for the foreign ones

    def head(self) -> IntentHead:
        wording = _Wording.learn(self.texts)
        self.rows = wording.rows(self.texts)
        self.centre = (
            np.asarray(self.blocks[self.of >= 0].mean(axis=0), np.float32) if len(self.texts) > 1 else np.zeros_like(self.blocks[0])
        )
        meaning = _meaning(self.blocks, self.centre)
        kernel, nearest, nearest_elsewhere = self._kernel(meaning)
        inverse = _inverse(kernel)
        answers = np.asarray(inverse @ self.targets, np.float32)
        left_out = self.targets - answers / np.diag(inverse)[:, None]
        mine = self.of >= 0
        temperature = _temperature(left_out[mine][:, : len(self.labels)], self.of[mine])
        unknown = self._label_left_out(inverse, answers)
        del inverse, kernel
        count = len(self.labels)
        fresh, fresher = self._novelty()
        inside = _signals(left_out, count, nearest, fresh, temperature)
        outside = _signals(unknown, count, nearest_elsewhere, fresher, temperature)
        scope, bias = self._scope(inside[mine], outside, inside[~mine])
        right = left_out[mine][:, :count].argmax(axis=1) == self.of[mine]
        chance = _Scale(**scope, bias=bias)(inside[mine])[right]
        facts = {
            "labels": self.labels,
            "temperature": temperature,
            "bias": bias,
            "threshold": float(np.quantile(chance, _LOST)) if len(chance) else 0.5,
        }
        state = {
            "centre": self.centre, "meaning": meaning, "answers": answers, "mine": mine, "rarity": wording.rarity,
            "data": self.rows.data, "indices": self.rows.indices, "indptr": self.rows.indptr,
            **{f"scope_{name}": value for name, value in scope.items()},
        }  # fmt: skip
        return IntentHead(state=state, wording=wording, facts=facts)

    def _kernel(self, meaning: Floats) -> tuple[Floats, Floats, Floats]:
        """The kernel of all rows with all rows; for each row its nearest labelled other row; for labelled rows that of other labels."""
        n = len(meaning)
        kernel = np.empty((n, n), np.float32)
        nearest, elsewhere = np.zeros(n, np.float32), np.zeros(n, np.float32)
        mine = self.of >= 0
        by_term = self.rows.T.tocsr()
        for start in range(0, n, _ROWS_AT_ONCE):
            some = np.arange(start, min(n, start + _ROWS_AT_ONCE))
            kernel[some] = _kernel(meaning[some], self.rows[some], meaning, by_term, self.blocks.shape[1])
            others = np.where(mine, kernel[some], 0)
            others[np.arange(len(some)), some] = 0
            nearest[some] = others.max(axis=1)
            elsewhere[some] = np.where(self.of[None, :] == self.of[some, None], 0, others).max(axis=1)
        return kernel, nearest, elsewhere[mine]

    def _label_left_out(self, inverse: Floats, answers: Floats) -> Floats:
        """What each labelled row would have scored, had its whole label been missing from the training set."""
        found = np.zeros((len(self.texts), self.targets.shape[1]), np.float32)
        for label in range(len(self.labels)):
            rows = np.flatnonzero(self.of == label)
            block = inverse[np.ix_(rows, rows)].astype(np.float64)
            found[rows] = -np.linalg.solve(block, answers[rows].astype(np.float64))
            found[rows, label] = -1.0 if len(self.labels) > 1 else 0.0
        return found[self.of >= 0]

    def _novelty(self) -> tuple[Floats, Floats]:
        """Share of unknown words in each row, as if it were left out; and in each labelled row, as if its whole label were."""
        words = [_words(text) for text in self.texts]
        rows_with = Counter(word for some in words for word in set(some))
        label_with = Counter((int(label), word) for some, label in zip(words, self.of, strict=True) for word in set(some))
        alone = [_unknown_share(some, lambda word: rows_with[word] > 1) for some in words]
        label_alone = [
            _unknown_share(some, lambda word, label=label: rows_with[word] > label_with[label, word])  # type: ignore[misc]
            for some, label in zip(words, self.of.tolist(), strict=True)
            if label >= 0
        ]
        return np.array(alone, np.float32), np.array(label_alone, np.float32)

    def _scope(self, inside: Floats, made_up: Floats, given: Floats) -> tuple[dict[str, Floats], float]:
        """Tell rows of known labels from rows of unknown ones, by all signals at once."""
        signals = np.concatenate([inside, made_up, given])
        truth = np.r_[np.ones(len(inside)), np.zeros(len(made_up) + len(given))]
        share = _FOREIGN_SHARE / (1 + _FOREIGN_SHARE) if len(given) >= 20 else 0.0
        weight = np.r_[
            np.full(len(inside), 1 / len(inside)),
            np.full(len(made_up), (1 - share) / len(made_up)),
            np.full(len(given), share / max(1, len(given))),
        ]
        mean, spread = signals.mean(axis=0), signals.std(axis=0) + 1e-6
        from sklearn.linear_model import LogisticRegression  # half of the program's start-up, and seldom needed

        model = LogisticRegression(C=1.0, max_iter=500, random_state=self.seed)
        model.fit((signals - mean) / spread, truth, sample_weight=weight * len(inside))
        scope = {"mean": mean, "spread": spread, "weights": model.coef_[0]}
        return {name: np.asarray(value, np.float32) for name, value in scope.items()}, float(model.intercept_[0])


def _blocks(vectors: Vectors) -> Floats:
    return np.asarray(vectors if vectors.ndim == 3 else vectors[:, None, :], np.float32)


def _stacked(vectors: Vectors, more: Vectors | None) -> Floats:
    return _blocks(vectors) if more is None or not len(more) else np.concatenate([_blocks(vectors), _blocks(more)])


def _meaning(blocks: Floats, centre: Floats) -> Floats:
    """Blocks side by side, each moved to the centre of the training set, of length 1 and with an equal share."""
    moved = blocks - centre
    moved /= np.maximum(np.linalg.norm(moved, axis=2, keepdims=True), 1e-9)
    return np.ascontiguousarray((moved / np.sqrt(moved.shape[1] + _WORDING)).reshape(len(moved), -1), np.float32)


def _kernel(meaning: Floats, wording: sparse.csr_matrix, all_meaning: Floats, by_term: sparse.csr_matrix, blocks: int) -> Floats:
    """(texts, training rows), 1 for the same text. `wording` has rows of length 1; `meaning` rows carry their share already."""
    likeness = np.asarray((wording @ by_term).toarray(), np.float32)
    likeness *= _WORDING / (blocks + _WORDING)
    likeness += meaning @ all_meaning.T
    likeness -= 1
    likeness *= _WIDTH
    return np.asarray(np.exp(likeness, out=likeness), np.float32)


def _inverse(kernel: Floats) -> Floats:
    """Inverse of kernel + noise, in place of the kernel. The noise keeps it well-conditioned, so single precision is enough."""
    kernel[np.diag_indices(len(kernel))] += _NOISE
    # LAPACK reads columns first; a symmetric matrix looks the same either way, so the transposed view avoids a copy.
    from scipy.linalg import lapack  # a fifth of a second to load, and only training inverts

    factor, failed = lapack.spotrf(kernel.T, lower=1, clean=0, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise BadInput("these training vectors are not usable: they hold values that are not finite")
    for start in range(0, len(inverse), _ROWS_AT_ONCE):  # only the lower triangle was written
        stop = min(len(inverse), start + _ROWS_AT_ONCE)
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        corner = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = corner + np.tril(corner, -1).T
    return np.asarray(inverse)


def _signals(scores: Floats, labels: int, nearest: Floats, novelty: Floats, temperature: float) -> Floats:
    """What speaks for and against being in scope, one row per text: best score, its lead, the sum of all scores, the sharpness and
    surprise of the calibrated probabilities, the likeness of the nearest training text, the share of unknown words, the foreign score."""
    mine = scores[:, :labels]
    ordered = np.sort(mine, axis=1)[:, ::-1]
    second = ordered[:, 1] if labels > 1 else np.zeros(len(mine), np.float32)
    chances = _chances(mine, temperature)
    surprise = -(chances * np.log(chances + 1e-9)).sum(axis=1)
    foreign = scores[:, labels:].sum(axis=1)
    columns = (
        ordered[:, 0],
        ordered[:, 0] - second,
        np.clip(mine, 0, None).sum(axis=1),
        chances.max(axis=1),
        surprise,
        nearest,
        novelty,
        foreign,
    )
    return np.asarray(np.stack(columns, axis=1), np.float32)


def _chances(scores: Floats, temperature: float) -> Floats:
    z = scores * temperature
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(z / z.sum(axis=1, keepdims=True), np.float32)


def _temperature(scores: Floats, of: NDArray[np.int64]) -> float:
    """The sharpness under which left-out scores, read as probabilities, surprise least."""
    candidates = np.geomspace(1, 64, 25)
    surprise = [-np.log(_chances(scores, t)[np.arange(len(of)), of] + 1e-9).mean() for t in candidates]
    return float(candidates[int(np.argmin(surprise))])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _unknown_share(words: Sequence[str], known: Callable[[str], bool]) -> float:
    """Share of the letters of a text that stand in words nobody used in training."""
    letters = sum(map(len, words))
    return sum(len(word) for word in words if not known(word)) / letters if letters else 0.0


def evaluate(
    train: tuple[Sequence[str], Sequence[str], Vectors],
    test: tuple[Sequence[str], Sequence[str], Vectors],
    oos_train: tuple[Sequence[str], Vectors] | None = None,
    oos_test: tuple[Sequence[str], Vectors] | None = None,
    *,
    seed: int = 7,
) -> dict[str, float | None]:
    """Train on one part and measure on the other. Each part is (texts, labels, vectors), out-of-scope parts are (texts, vectors).

    Rows of `test` labelled `oos` count as out of scope. A figure that the data cannot give (no out-of-scope rows) is None.
    """
    foreign_texts, foreign_vectors = oos_train or ((), None)
    began = time.perf_counter()
    head = IntentHead.train(train[0], train[1], vectors=train[2], oos_texts=foreign_texts, oos_vectors=foreign_vectors, seed=seed)
    trained = time.perf_counter()
    texts, labels, vectors = list(test[0]), list(test[1]), _blocks(test[2])
    if oos_test is not None and len(oos_test[0]):
        texts, labels = [*texts, *oos_test[0]], [*labels, *[OUT_OF_SCOPE] * len(oos_test[0])]
        vectors = _stacked(vectors, oos_test[1])
    measured = time.perf_counter()
    found = head.predict(texts, vectors)
    elapsed = time.perf_counter() - measured
    figures = _figures(found, labels, head.threshold)
    return {
        **figures,
        "ms_per_utterance": 1000 * elapsed / max(1, len(texts)),
        "train_seconds": trained - began,
        "threshold": head.threshold,
    }


def _figures(found: Sequence[Prediction], labels: Sequence[str], threshold: float) -> dict[str, float | None]:
    mine = np.array([label != OUT_OF_SCOPE for label in labels])
    right = np.array([p.label == label for p, label in zip(found, labels, strict=True)])
    scope = np.array([p.in_scope for p in found])
    confidence = np.array([p.confidence for p in found])
    kept = scope >= threshold
    both = mine.any() and not mine.all()
    best = [p.label for p, inside in zip(found, mine, strict=True) if inside]
    truth = [label for label in labels if label != OUT_OF_SCOPE]
    from sklearn.metrics import f1_score, roc_auc_score

    return {
        "accuracy": float(right[mine].mean()) if mine.any() else None,
        "macro_f1": float(f1_score(truth, best, average="macro", zero_division=0)) if truth else None,
        "in_scope_accuracy": float((right & kept)[mine].mean()) if mine.any() else None,
        "out_of_scope_recall": float((~kept)[~mine].mean()) if not mine.all() else None,
        "out_of_scope_precision": float((~mine)[~kept].mean()) if not mine.all() and (~kept).any() else None,
        "auroc": float(roc_auc_score(mine, scope)) if both else None,
        "calibration_error": _calibration_error(confidence[mine], right[mine]) if mine.any() else None,
    }


def _calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal bins, weighed by their size."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean() for b in range(bins) if (which == b).any()]
    return float(sum(gaps))


async def evaluate_files(
    train: Path, test: Path, oos_train: Path | None, oos_test: Path | None, embedder: Embedder, *, seed: int = 7
) -> dict[str, float | None]:
    """What `evaluate` says about four JSON-lines files of `{text, label}` rows; out-of-scope files need no label.

    Raises BadInput (file and line) for a row that is not one, ModelUnavailable when the embedder fails.
    """
    rows = {path: read_rows(path, labelled=path in (train, test)) for path in (train, test, oos_train, oos_test) if path is not None}
    known = [row for row in rows[train] if row[1] != OUT_OF_SCOPE]
    if not known:
        raise BadInput(f"{train}: every row is labelled {OUT_OF_SCOPE!r}, so there is nothing to learn: add rows with labels")
    foreign = [text for text, label in rows[train] if label == OUT_OF_SCOPE] + [text for text, _ in rows.get(oos_train or Path(), [])]
    tests = rows[test] + [(text, OUT_OF_SCOPE) for text, _ in rows.get(oos_test or Path(), [])]

    async def part(some: Sequence[tuple[str, str]]) -> tuple[list[str], list[str], Vectors]:
        texts = [text for text, _ in some]
        return texts, [label for _, label in some], await vectors_for(embedder, texts)

    foreign_part = (foreign, await vectors_for(embedder, foreign)) if foreign else None
    return await asyncio.to_thread(evaluate, await part(known), await part(tests), foreign_part, seed=seed)


def read_rows(path: Path, *, labelled: bool = True) -> list[tuple[str, str]]:
    """(text, label) of each line of a JSON-lines file. Raises BadInput naming the file and line, or that there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{path} cannot be read ({e}): give a JSON-lines file in UTF-8") from e
    rows = [_row(line, f"{path}:{number}", labelled) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise BadInput(f'{path} is empty: give one {{"text": ..., "label": ...}} per line')
    return rows


def _row(line: str, place: str, labelled: bool) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except ValueError as e:
        raise BadInput(f"{place}: this line is not JSON ({e}): correct or remove it") from e
    text, label = (row.get("text"), row.get("label", "" if labelled else OUT_OF_SCOPE)) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f'{place}: "text" is missing or not a text: every row is {{"text": ..., "label": ...}}')
    if not isinstance(label, str) or not label:
        raise BadInput(f'{place}: "label" is missing or not a text: every row is {{"text": ..., "label": ...}}')
    return text, label
