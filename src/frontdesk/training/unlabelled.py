"""Messages that nobody labelled, beside the few that somebody did: their labels are guessed, and encoder and intent head learn from both.

A label goes from the texts that have it to those that lie near, and on from there (label spreading, Zhou et al. 2004), starting from what
the intent head thinks of each. The guesses that are surest teach the encoder; in what it makes of the texts, and in what it made of them
before, all are guessed once more, and the head learns from these. Refuses to guess labels that no text has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from frontdesk.desk.intent_head import IntentHead, vectors_for
from frontdesk.errors import BadInput
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.models.protocols import Vectors

if TYPE_CHECKING:
    from frontdesk.training.encoders import Contrast

Rows = list[tuple[str, str]]
Floats = NDArray[np.float64]

NEAR = 10
"""Texts that a label goes on to from each."""
SPREAD = 0.85
"""Of what is thought of a text, the share that its neighbours say."""
SHARPNESS = 14.0
"""How much less a text says that is less alike: e to this times the difference of the cosines."""
ROUNDS = 40
SURE = 0.7
"""Share of the guesses, the surest, from which the encoder learns."""
_AT_ONCE = 2048


async def learn_with(
    train: Rows,
    others: Sequence[str],
    base: Path,
    how: Contrast,
    target: Path,
    *,
    on_step: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **said: str,
) -> Rows | None:
    """Writes the encoder to `target` and returns the others with the labels that were guessed; None when it was stopped.

    `said` is kept in the file, as by `Encoder.save`.
    """
    from frontdesk.training.encoders import learn

    texts = [*(text for text, _ in train), *others]
    frozen = await vectors_for(SentenceEncoder(base, threads=1), texts)
    chances = guess(train, others, [frozen])
    names = label_names(train)
    sure = np.argsort(-chances.max(axis=1), kind="stable")[: round(SURE * len(others))]
    guessed = [(others[i], names[int(chances[i].argmax())]) for i in sure]
    taught = [*train, *guessed]
    encoder = learn([t for t, _ in taught], [label for _, label in taught], base, how, on_step=on_step, stop=stop)
    if encoder is None:
        return None
    encoder.save(target, **said)
    tuned = await vectors_for(SentenceEncoder(base, threads=1, name=target.stem, adapter=target), texts)
    chances = guess(train, others, [frozen, tuned])
    return [(text, names[int(row.argmax())]) for text, row in zip(others, chances, strict=True)]


def label_names(train: Rows) -> list[str]:
    """The labels, in the order of the columns of `guess`."""
    return sorted({label for _, label in train})


def guess(train: Rows, others: Sequence[str], spaces: Sequence[Vectors]) -> Floats:
    """Chances of each label for each of the others, (others, labels), rows that sum to 1.

    Each of `spaces` holds vectors of the labelled texts and then of the others, (texts, blocks, dimensions). Raises BadInput without
    anything to guess, or to guess from.
    """
    names = label_names(train)
    if len(names) < 2 or not others:
        raise BadInput("guessing labels needs two labels with texts, and texts without a label: add some")
    known = [text for text, _ in train]
    start = np.zeros((len(train) + len(others), len(names)))
    start[np.arange(len(train)), [names.index(label) for _, label in train]] = 1
    for vectors in spaces:
        head = IntentHead.train(known, [label for _, label in train], vectors=vectors[: len(train)])
        seen = head.predict(others, vectors[len(train) :])
        start[len(train) :] += np.array([[one.scores[name] for name in names] for one in seen]) / len(spaces)
    reach = _neighbours(np.concatenate([vectors[:, 0] for vectors in spaces], axis=1) / len(spaces) ** 0.5)
    found = start
    for _ in range(ROUNDS):
        found = SPREAD * (reach @ found) + (1 - SPREAD) * start
    chances: Floats = found[len(train) :] / found[len(train) :].sum(axis=1, keepdims=True)
    return chances


def _neighbours(vectors: NDArray[np.float32]) -> sparse.csr_matrix:
    """How much each text says of each other: symmetric, normalised, (texts, texts)."""
    count = len(vectors)
    near = min(NEAR, count - 1)
    columns = np.empty((count, near), np.int64)
    weights = np.empty((count, near))
    for begin in range(0, count, _AT_ONCE):
        some = slice(begin, min(begin + _AT_ONCE, count))
        alike = vectors[some] @ vectors.T
        alike[np.arange(len(alike)), np.arange(some.start, some.stop)] = -np.inf
        columns[some] = np.argpartition(-alike, near - 1, axis=1)[:, :near]
        weights[some] = np.exp(SHARPNESS * (np.take_along_axis(alike, columns[some], axis=1) - 1))
    rows = np.repeat(np.arange(count), near)
    one_way = sparse.csr_matrix((weights.ravel(), (rows, columns.ravel())), shape=(count, count))
    both = one_way.maximum(one_way.T)
    scale = sparse.diags(np.asarray(both.sum(axis=1)).ravel() ** -0.5)
    return (scale @ both @ scale).tocsr()
