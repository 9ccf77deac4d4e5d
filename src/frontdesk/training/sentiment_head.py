"""Makes `analytics/sentiment_head.npz` from GoEmotions and the utterances in `analytics/sentiment_set.yaml`, and says how well it hears.

    python -m frontdesk.training.sentiment_head --goemotions DIR [--out FILE]

DIR holds `train.jsonl` and `dev.jsonl` (rows with `text` and `groups`, the official grouping of emotions). Only rows of exactly one of
the three groups count. Two linear heads are fitted by maximum likelihood: on sentence vectors and hashed words together, and on the words
alone for other embedders. Two minutes of embedding and two of fitting on one core; needs no torch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from frontdesk.analytics import sentiment
from frontdesk.analytics.sentiment import BUCKETS, LABELS, Sentiment, places_of, terms_of
from frontdesk.errors import BadInput
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.models.protocols import Embedder, Vectors
from frontdesk.settings import load

ROOM = Path(sentiment.__file__).parent
TARGET = ROOM / sentiment.FILE
OWN = ROOM / "sentiment_set.yaml"
EMBEDDER = "all-minilm-l6-v2"
STRETCH = 3.0
"""Weight of the vectors beside the words, whose rows have length 1 too; less makes the fit slower, more changes nothing."""
OWN_WEIGHT = 6.0
"""How much an utterance of our own counts beside one of the public set: those sound as support conversations do."""
HELD = 5
"""Every fifth of our own utterances is kept back when the head is judged (and used when it is made)."""

Rows = tuple[list[str], NDArray[np.int64]]


def public_rows(file: Path) -> Rows:
    """Texts and labels of one split. Raises BadInput when it cannot be used."""
    try:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
        kept = [(str(r["text"]), LABELS.index(r["groups"][0])) for r in rows if len(r["groups"]) == 1 and r["groups"][0] in LABELS]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise BadInput(f"{file}: no rows with `text` and `groups` ({type(e).__name__}): give the folder of the GoEmotions files") from e
    if not kept:
        raise BadInput(f"{file}: no row belongs to exactly one of {', '.join(LABELS)}: give the folder of the GoEmotions files")
    return [text for text, _ in kept], np.array([label for _, label in kept])


def own_rows(file: Path = OWN) -> Rows:
    """Texts and labels of our own utterances."""
    found: Mapping[str, Sequence[str]] = yaml.safe_load(file.read_text("utf-8"))
    pairs = [(text, LABELS.index(label)) for label, texts in found.items() for text in texts]
    return [text for text, _ in pairs], np.array([label for _, label in pairs])


def hashed(texts: Sequence[str]) -> sparse.csr_matrix:
    """The rows that the head sees of the words: buckets, each row of length 1."""
    places = [places_of(terms_of(text)) for text in texts]
    starts = np.cumsum([0, *map(len, places)])
    values = np.concatenate([np.full(len(p), 1 / max(len(p), 1) ** 0.5, np.float32) for p in places])
    return sparse.csr_matrix((values, np.concatenate([np.asarray(p, np.int64) for p in places]), starts), shape=(len(texts), BUCKETS))


def fit(
    texts: Sequence[str], labels: NDArray[np.int64], weights: NDArray[np.float64], vectors: Vectors, *, facts: dict[str, Any]
) -> Sentiment:
    """Both heads. `vectors` (len(texts), dimensions)."""
    words = hashed(texts)
    both = sparse.hstack([sparse.csr_matrix(np.asarray(vectors, np.float32) * STRETCH), words]).tocsr()
    with threadpool_limits(1):
        joint = LogisticRegression(C=1.0, max_iter=300).fit(both, labels, sample_weight=weights)
        alone = LogisticRegression(C=2.0, max_iter=300).fit(words, labels, sample_weight=weights)
    size = vectors.shape[1]
    return Sentiment(
        dense=(joint.coef_[:, :size].T * STRETCH).astype(np.float32),
        words=joint.coef_[:, size:].T.astype(np.float32),
        alone=alone.coef_.T.astype(np.float32),
        bias=np.stack([joint.intercept_, alone.intercept_]).astype(np.float32),
        facts=facts,
    )


def judge(head: Sentiment, rows: Rows, vectors: Vectors | None) -> dict[str, float]:
    """Macro-F1 and accuracy."""
    guess = head.chances(rows[0], vectors).argmax(axis=1)
    return {"macro_f1": round(float(f1_score(rows[1], guess, average="macro")), 4), "accuracy": round(float((guess == rows[1]).mean()), 4)}


async def make(folder: Path, embedder: Embedder) -> Sentiment:
    """The head, judged on what it was not fitted on, then fitted on all of its own utterances too."""
    train, dev, own = public_rows(folder / "train.jsonl"), public_rows(folder / "dev.jsonl"), own_rows()
    print(f"embedding {len(train[0]) + len(dev[0]) + len(own[0])} utterances", file=sys.stderr)  # noqa: T201 - a command
    vectors = {name: await embedder.embed(rows[0]) for name, rows in (("train", train), ("dev", dev), ("own", own))}
    facts: dict[str, Any] = {
        "embedder": EMBEDDER,
        "data": f"GoEmotions train ({len(train[0])} rows of one group) and {len(own[0])} utterances written for this project",
        "counts": {label: int((train[1] == i).sum()) for i, label in enumerate(LABELS)},
        "command": "python -m frontdesk.training.sentiment_head --goemotions DIR",
    }

    def fitted(keep: NDArray[np.bool_]) -> Sentiment:
        chosen = np.flatnonzero(keep)
        texts = [*train[0], *(own[0][i] for i in chosen)]
        labels = np.concatenate([train[1], own[1][chosen]])
        weights = np.concatenate([np.ones(len(train[0])), np.full(len(chosen), OWN_WEIGHT)])
        return fit(texts, labels, weights, np.concatenate([vectors["train"], vectors["own"][chosen]]), facts=facts)

    every = np.arange(len(own[0]))
    kept = every % HELD != 0
    trial = fitted(kept)
    rest = np.flatnonzero(~kept)
    held: Rows = ([own[0][i] for i in rest], own[1][rest])
    facts["figures"] = {
        "goemotions_dev": judge(trial, dev, vectors["dev"]),
        "goemotions_dev_words_alone": judge(trial, dev, None),
        "own_held_out": judge(trial, held, vectors["own"][rest]),
    }
    return fitted(np.ones(len(own[0]), bool))


def main() -> int:
    """Command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    arguments.add_argument("--goemotions", type=Path, required=True, help="folder with train.jsonl and dev.jsonl")
    arguments.add_argument("--out", type=Path, default=TARGET)
    given = arguments.parse_args()
    embedder = SentenceEncoder(registry.pull(EMBEDDER, load().cache))
    try:
        head = asyncio.run(make(given.goemotions, embedder))
    finally:
        embedder.close()
    given.out.write_bytes(head.to_bytes())
    print(json.dumps({**head.facts, "bytes": given.out.stat().st_size}, indent=2))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
