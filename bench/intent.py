"""Intent: accuracy with abstention on public data and the router's confusion on held-out utterances, beside a plain peer. Changes nothing.

    python -m bench.intent --data DIR [--only clinc150,banking77,hint3,router] [--json]

`DIR` holds `clinc150/`, `banking77/` and `hint3/` as JSON lines of {text, label}; only training and validation files are read.
Set OPENBLAS_NUM_THREADS=1 to measure one thread. The peer is what most would build first: logistic regression on the sentence
vectors, abstaining below the probability that declines three quarters of the given out-of-scope training texts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from frontdesk.desk.intent import IntentRecognizer, Material, support_set
from frontdesk.desk.intent_head import evaluate, read_rows, vectors_for
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.settings import load

FOLDS = 5
QUESTION_ROUTES = ("faq", "knowledge", "dynamic")
Part = tuple[list[str], list[str], np.ndarray]


async def part(path: Path, embedder: SentenceEncoder, *, labelled: bool = True) -> Part:
    """Texts, labels and vectors of one file."""
    rows = read_rows(path, labelled=labelled)
    texts = [text for text, _ in rows]
    return texts, [label for _, label in rows], await vectors_for(embedder, texts)


def chosen(some: Part, rows: np.ndarray) -> Part:
    """Some rows of a part."""
    return [some[0][i] for i in rows], [some[1][i] for i in rows], some[2][rows]


async def clinc(data: Path, embedder: SentenceEncoder) -> dict[str, Any]:
    """Train and validation files with their out-of-scope companions; both thresholds come from training files."""
    folder = data / "clinc150"
    train, test = await part(folder / "train.jsonl", embedder), await part(folder / "val.jsonl", embedder)
    foreign, foreign_test = [await part(folder / f"oos_{name}.jsonl", embedder) for name in ("train", "val")]
    ours = evaluate(train, test, (foreign[0], foreign[2]), (foreign_test[0], foreign_test[2]))
    peer = LogisticRegression(C=30, max_iter=300).fit(train[2][:, 0], train[1])
    found = {name: peer.predict_proba(some[2][:, 0]) for name, some in (("test", test), ("oos", foreign_test), ("oos_train", foreign))}
    right = peer.classes_[found["test"].argmax(axis=1)] == np.array(test[1])
    scope = {name: p.max(axis=1) for name, p in found.items()}
    threshold = float(np.quantile(scope["oos_train"], 0.75))
    truth = np.r_[np.ones(len(right)), np.zeros(len(scope["oos"]))]
    theirs = {
        "accuracy": float(right.mean()),
        "in_scope_accuracy": float((right & (scope["test"] >= threshold)).mean()),
        "out_of_scope_recall": float((scope["oos"] < threshold).mean()),
        "auroc": float(roc_auc_score(truth, np.r_[scope["test"], scope["oos"]])),
    }
    return {"ours": ours, "peer": theirs}


async def folds(path: Path, embedder: SentenceEncoder, *, folds: int = FOLDS, seed: int = 7) -> dict[str, Any]:
    """Mean of a cross-validation, ours and the peer's on the same folds."""
    rows = await part(path, embedder)
    fold = np.empty(len(rows[0]), np.int64)
    fold[np.random.default_rng(seed).permutation(len(fold))] = np.arange(len(fold)) % folds
    ours, theirs = [], []
    for held_out in range(folds):
        train, test = chosen(rows, np.flatnonzero(fold != held_out)), chosen(rows, np.flatnonzero(fold == held_out))
        ours.append(evaluate(train, test))
        peer = LogisticRegression(C=30, max_iter=300).fit(train[2][:, 0], train[1])
        theirs.append(float(peer.score(test[2][:, 0], test[1])))
    keys = ("accuracy", "macro_f1", "in_scope_accuracy", "calibration_error", "ms_per_utterance", "train_seconds")
    return {"ours": {key: float(np.mean([one[key] for one in ours])) for key in keys}, "peer": {"accuracy": float(np.mean(theirs))}}


async def router(embedder: SentenceEncoder) -> dict[str, Any]:
    """Every fifth utterance of the support set held out; the tenant is a small library, so that "question" means any source."""
    lines = support_set()
    held_out = [line for i, line in enumerate(lines) if i % 5 == 2]
    material = Material(questions=("How long can I keep a book?", "What does a library card cost?", "How do I renew a loan?"))
    began = time.perf_counter()
    recognizer = await IntentRecognizer.train(material, embedder, utterances=[line for i, line in enumerate(lines) if i % 5 != 2])
    seconds = time.perf_counter() - began
    vectors = await embedder.embed([line.text for line in held_out])
    table: dict[str, Counter[str]] = defaultdict(Counter)
    names = routes = 0
    began = time.perf_counter()
    for line, vector in zip(held_out, vectors, strict=True):
        intent = recognizer.recognize(line.text, vector)
        route = "question" if intent.route.value in QUESTION_ROUTES else intent.route.value
        table[line.route][route] += 1
        routes += route == line.route
        names += intent.name == f"{line.route}/{line.name}" or (route == line.route == "question")
    elapsed = time.perf_counter() - began
    return {
        "utterances": len(lines),
        "held_out": len(held_out),
        "route_accuracy": routes / len(held_out),
        "name_accuracy": names / len(held_out),
        "confusion": {route: dict(row) for route, row in table.items()},
        "train_seconds": seconds,
        "ms_per_utterance": 1000 * elapsed / len(held_out),
    }


def line(name: str, figures: dict[str, Any], keys: Sequence[str]) -> str:
    """One row of the table."""
    return f"{name:34s}" + "".join(f"{_figure(figures.get(key)):>12s}" for key in keys)


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def show(results: dict[str, Any]) -> None:
    """The table with the bars."""
    keys = (
        "accuracy",
        "macro_f1",
        "in_scope_accuracy",
        "out_of_scope_recall",
        "auroc",
        "calibration_error",
        "ms_per_utterance",
        "train_seconds",
    )
    heads = ("accuracy", "macro F1", "right kept", "oos recall", "AUROC", "calibr.", "ms each", "train s")
    print(f"{'':34s}" + "".join(f"{head:>12s}" for head in heads))
    bars = {"clinc150": "bar: right kept >= .95, oos recall >= .75", "banking77": "bar: accuracy >= .93"}
    for name, result in results.items():
        if "ours" in result:
            print(line(name, result["ours"], keys))
            print(line("  logistic regression on MiniLM", result["peer"], keys))
            if name in bars:
                print(f"  {bars[name]}")
    if "router" in results:
        found = results["router"]
        print(f"\nrouter: {found['held_out']} of {found['utterances']} utterances held out, trained in {found['train_seconds']:.1f} s")
        print(f"route {found['route_accuracy']:.3f}, name {found['name_accuracy']:.3f}, {found['ms_per_utterance']:.2f} ms each")
        columns = ("question", "smalltalk", "handoff", "refuse")
        print(f"{'said / heard':14s}" + "".join(f"{column:>12s}" for column in columns))
        for row in columns:
            print(f"{row:14s}" + "".join(f"{found['confusion'].get(row, {}).get(column, 0):12d}" for column in columns))


async def run(data: Path, only: Sequence[str]) -> dict[str, Any]:
    """The parts asked for, in order."""
    settings = load()
    embedder = SentenceEncoder(registry.pull(settings.embeddings_model, settings.cache), threads=1)
    results: dict[str, Any] = {}
    if "clinc150" in only:
        results["clinc150"] = await clinc(data, embedder)
    if "banking77" in only:
        results["banking77"] = await folds(data / "banking77" / "train.jsonl", embedder)
    for path in sorted((data / "hint3").glob("*_train.jsonl")) if "hint3" in only else ():
        results[f"hint3 {path.name.removesuffix('_train.jsonl')}"] = await folds(path, embedder)
    if "router" in only:
        results["router"] = await router(embedder)
    return results


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="clinc150,banking77,hint3,router")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = asyncio.run(run(options.data, options.only.split(",")))
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        show(results)


if __name__ == "__main__":
    main()
