"""Makes `reading_model.json` from the invented companies in `reading_set/`, and says how well it reads companies it was not trained on.

    python -m frontdesk.desk.train_reading            # writes the model beside this file
    python -m frontdesk.desk.train_reading --check    # cross-validation only

Whole companies are held out, never single questions: the desk has to read companies that nobody has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from frontdesk.desk.guardrails import content_words
from frontdesk.desk.reading import FEATURES, Lexicon, Reader, ReadingModel
from frontdesk.desk.units import Unit, UnitKind, units_of
from frontdesk.domain.knowledge import FaqPair, Passage
from frontdesk.knowledge import readers
from frontdesk.knowledge.splitting import draft_document, draft_faq, embedded_text, search_text
from frontdesk.models import registry
from frontdesk.models.embedder import MiniLM
from frontdesk.settings import load

FOLDER = Path(__file__).parent / "reading_set"
TARGET = Path(__file__).parent / "reading_model.json"
CANDIDATES = 14


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question of one company: the signs of its candidates and which of them answer it."""

    company: str
    text: str
    kind: str
    units: tuple[Unit, ...]
    signs: NDArray[np.float64]
    right: NDArray[np.bool_]


def passages_of(company: dict[str, Any]) -> list[Passage]:
    """All passages of a company, cut as they would be on a real tenant."""
    drafts = draft_faq([FaqPair(question=p["question"], answer=p["answer"]) for p in company["faq"]])
    for document in company["documents"]:
        parsed = readers.read(".md", document["text"].encode())
        drafts += draft_document(parsed, source=document["source"], title=document["source"])
    return [d.passage(ordinal=i, id=f"{company['id']}/{i}", document=d.source) for i, d in enumerate(drafts) if not d.quarantined]


def is_right(unit: Unit, answers: Sequence[dict[str, Any]], faq: Sequence[dict[str, Any]]) -> bool:
    """Whether a unit is one of the places that prove the answer."""
    for a in answers:
        if "faq" in a:
            if unit.kind is UnitKind.FAQ and unit.passage.title == faq[a["faq"]]["question"]:
                return True
        elif a["source"] != unit.passage.source:
            continue
        elif "quote" in a:
            if unit.kind is UnitKind.SENTENCE and (_flat(a["quote"]) in _flat(unit.quote) or _flat(unit.quote) in _flat(a["quote"])):
                return True
        elif unit.kind is UnitKind.CELL and _flat(unit.column) == _flat(a["column"]) and _flat(a["row"]) in _flat(unit.row):
            return _flat(unit.value) == _flat(a["value"])
    return False


def _flat(text: str) -> str:
    return " ".join(text.replace("*", "").replace("`", "").split()).lower()


async def examples(reader: Reader, folder: Path = FOLDER) -> list[Example]:
    """All questions of all companies with the signs of their candidates."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        company = yaml.safe_load(path.read_text(encoding="utf-8"))
        passages = passages_of(company)
        lexicon = Lexicon(passages)
        texts = [embedded_text(p) for p in passages]
        vectors = await reader.embedder.embed(texts)
        words = [frozenset(content_words(search_text(p))) for p in passages]
        for row in company["questions"]:
            question = await reader.question(row["q"])
            meaning = vectors @ question.search
            literal = np.array([lexicon.coverage(question.words, w) for w in words])
            order = np.argsort(-(1 / (20 + _ranks(meaning)) + 0.5 / (20 + _ranks(literal))))[:CANDIDATES]
            units = tuple(u for i in order for u in units_of(passages[int(i)]))
            signs = await reader.signs(question, units, lexicon)
            right = np.array([is_right(u, row.get("answer") or [], company["faq"]) for u in units])
            found.append(Example(company=company["id"], text=row["q"], kind=row["kind"], units=units, signs=signs, right=right))
    return found


def _ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(-values)] = np.arange(len(values))
    return ranks


def fit(rows: Sequence[Example], *, hidden: int = 24, seed: int = 7) -> ReadingModel:
    """A network that gives the probability that a unit answers its question."""
    from sklearn.neural_network import MLPClassifier

    signs = np.vstack([e.signs for e in rows])
    right = np.concatenate([e.right for e in rows])
    mean, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-6
    network = MLPClassifier((hidden,), alpha=3e-3, max_iter=60, random_state=seed, learning_rate_init=3e-3, batch_size=256)
    network.fit((signs - mean) / scale, right)
    layers = tuple(zip(network.coefs_, network.intercepts_, strict=True))
    return ReadingModel(mean=mean, scale=scale, layers=layers)


def report(rows: Sequence[Example], chances: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """How often the best unit is right, by kind of question, and how well its probability tells answerable from not."""
    from sklearn.metrics import roc_auc_score

    answered = [(e, p) for e, p in zip(rows, chances, strict=True) if e.kind != "none"]
    result = {"candidates": float(np.mean([e.right.any() for e, _ in answered]))}
    for kind in ("faq", "prose", "table", "yesno", "multi"):
        of_kind = [bool(e.right[int(np.argmax(p))]) for e, p in answered if e.kind == kind]
        if of_kind:
            result[kind] = float(np.mean(of_kind))
    result["all"] = float(np.mean([e.right[int(np.argmax(p))] for e, p in answered]))
    best = [float(p.max()) for p in chances]
    result["auroc"] = float(roc_auc_score([e.kind != "none" for e in rows], best))
    return result


def threshold(rows: Sequence[Example], chances: Sequence[NDArray[np.float64]], *, declined: float = 0.9) -> float:
    """The probability below which `declined` of the unanswerable questions fall."""
    none = sorted(float(p.max()) for e, p in zip(rows, chances, strict=True) if e.kind == "none")
    return none[min(len(none) - 1, int(declined * len(none)))]


def cross_validate(rows: Sequence[Example], folds: int = 6) -> tuple[dict[str, float], float]:
    """Figures over companies that were held out, and the threshold found on them."""
    names = sorted({e.company for e in rows})
    order, chances = [], []
    for fold in range(min(folds, len(names))):
        held = set(names[fold::folds])
        model = fit([e for e in rows if e.company not in held])
        for e in rows:
            if e.company in held:
                order.append(e)
                chances.append(model.probabilities(e.signs))
    return report(order, chances), threshold(order, chances)


async def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, reports and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="cross-validate only")
    options = parser.parse_args(arguments)
    settings = load()
    embedder = MiniLM(registry.pull("all-minilm-l6-v2", settings.cache), threads=settings.compute_threads)
    blank = ReadingModel(mean=np.zeros(len(FEATURES)), scale=np.ones(len(FEATURES)), layers=())
    rows = await examples(Reader(embedder, blank))
    figures, limit = cross_validate(rows)
    sys.stderr.write(
        f"{len(rows)} questions, held-out companies: "
        + ", ".join(f"{k} {v:.3f}" for k, v in figures.items())
        + f", threshold {limit:.3f}\n"
    )
    if not options.check:
        model = fit(rows)
        TARGET.write_text(
            ReadingModel(mean=model.mean, scale=model.scale, layers=model.layers, answerable=limit).to_json(), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
