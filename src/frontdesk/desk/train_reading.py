"""Makes `reading_model.json` from the invented companies in `reading_set/`, and says how well it reads companies it was not trained on.

    python -m frontdesk.desk.train_reading --encoder desk/reading_encoder.safetensors --pairs desk/reading_pairs.safetensors

with one encoder of `training.reading_encoder`, or several that held out different companies, and the cross-encoder of
`training.reading_pairs`, which held out the same. Whole companies are held out, never single questions: the desk has to read companies that nobody has seen. For the same reason the
model only learns from companies that its encoder was not trained on (an adapter says which), else it would trust it too much.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from frontdesk.desk.everyday import meanings
from frontdesk.desk.intent import support_set
from frontdesk.desk.reading import Lexicon, Question, Reader, ReadingModel, choice, read_likeliest
from frontdesk.desk.shelf import Shelf, joined
from frontdesk.desk.units import Unit, UnitKind, units_of
from frontdesk.domain.knowledge import FaqPair, Passage
from frontdesk.knowledge import readers
from frontdesk.knowledge.splitting import draft_document, draft_faq, embedded_text, search_text
from frontdesk.models import registry
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.models.protocols import Matcher, Vectors
from frontdesk.settings import load

FOLDER = Path(__file__).parent / "reading_set"
TARGET = Path(__file__).parent / "reading_model.json"
CANDIDATES = 14
POT = 3
"""Companies whose passages lie in one pot while one of them is asked: a tenant has more to confuse than one invented company."""
NOTHING = ("none", "foreign", "gone")
"""Kinds of questions that nothing answers: near misses, matters of others, and questions whose answer was taken away."""
ANSWERABLE, DECLINED = 0.38, 0.75
"""Probability from which a unit counts as an answer, and the share of the reading set's unanswerable questions that stay below it."""
DECLINED_READ = 0.84
"""The same when question and unit are also read together, which tells near misses better than it tells others' matters: so that of these no
more are shown as a perhaps than by signs alone."""
TWINS = 0.4
"""Share of the answerable questions that are also asked with their answer taken away: what is left is near, and wrong."""
FOREIGN = 16
"""Questions of other companies that each company is asked too; half as many are about no company at all."""


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


async def examples(reader: Reader, folder: Path = FOLDER, *, only: frozenset[str] = frozenset(), seed: int = 7) -> list[Example]:
    """All questions of all companies (or only of some) with the signs of their candidates.

    Each company is also asked what others were asked and what no company is asked (`foreign`): a reader that has only seen near misses
    takes anything for an answer.
    """
    rng = random.Random(seed)  # noqa: S311 - a repeatable choice of training rows, nothing secret
    companies = _companies(folder)
    beside = [u.text for u in support_set() if u.route == "refuse" and u.text.isascii()]
    found = []
    for place, company in enumerate(companies):
        if only and company["id"] not in only:
            continue
        pot = [companies[(place + n) % len(companies)] for n in range(min(POT, len(companies)))]
        desk = await _Asked.open(reader, company, pot)
        for row in company["questions"]:
            found.append(await desk.example(row["q"], row["kind"], row.get("answer") or []))
            if found[-1].right.any() and rng.random() < TWINS:
                found.append(await desk.without_answer(found[-1]))
        others = [row["q"] for other in companies if other not in pot for row in other["questions"] if row["kind"] != "none"]
        for text in [*rng.sample(others, min(FOREIGN, len(others))), *rng.sample(beside, FOREIGN // 2)]:
            found.append(await desk.example(text, "foreign", []))
    return found


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One company, ready to be asked among others."""

    reader: Reader
    company: dict[str, Any]
    passages: list[Passage]
    lexicon: Lexicon
    shelf: Shelf
    vectors: Vectors
    words: list[frozenset[str]]

    @classmethod
    async def open(cls, reader: Reader, company: dict[str, Any], pot: Sequence[dict[str, Any]]) -> _Asked:
        passages = [p for one in pot for p in passages_of(one)]
        return cls(
            reader=reader,
            company=company,
            passages=passages,
            lexicon=Lexicon(passages),
            shelf=await Shelf.of(passages, reader),
            vectors=await reader.embedder.embed([embedded_text(p) for p in passages]),
            words=[frozenset(meanings(search_text(p))) for p in passages],
        )

    async def example(self, text: str, kind: str, answers: Sequence[dict[str, Any]]) -> Example:
        question = await self.reader.question(text)
        units = tuple(u for passage in self._found(question) for u in units_of(passage))
        signs = await self.reader.signs(question, units, self.lexicon)
        own = f"{self.company['id']}/"
        right = np.array([u.passage.id.startswith(own) and is_right(u, answers, self.company["faq"]) for u in units])
        return Example(company=self.company["id"], text=text, kind=kind, units=units, signs=signs, right=right)

    def _found(self, question: Question) -> list[Passage]:
        """What search and shelf would find for a question, see `desk.lookup`."""
        meaning = self.vectors @ question.search
        literal = np.array([self.lexicon.coverage(question.words, w) for w in self.words])
        fused = 1 / (60 + _ranks(meaning)) + (literal > 0) / (60 + _ranks(literal))
        searched = [self.passages[int(i)] for i in np.argsort(-fused)[:CANDIDATES]]
        near = [p for p, _ in self.shelf.nearest(question.vector, CANDIDATES)]
        return joined(near, searched, lambda p: p.id)[:CANDIDATES]

    async def without_answer(self, example: Example) -> Example:
        """The same question as if its answer stood nowhere."""
        units = tuple(u for u, right in zip(example.units, example.right, strict=True) if not right)
        signs = await self.reader.signs(await self.reader.question(example.text), units, self.lexicon)
        return replace(example, kind="gone", units=units, signs=signs, right=np.zeros(len(units), dtype=np.bool_))


def _companies(folder: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))]


def _ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(-values)] = np.arange(len(values))
    return ranks


def fit(rows: Sequence[Example], *, seeds: int = 3) -> ReadingModel:
    """Weighs the signs so that the right unit wins among its rivals, or nothing wins where nothing is right.

    The loss is that of a choice: a softmax over a question's units and "none of them", whose score is zero. Several networks are
    trained from different beginnings and stand side by side, which is steadier than any of them.
    """
    usable = [e for e in rows if e.kind in NOTHING or e.right.any()]
    signs = np.vstack([e.signs for e in usable])
    mean, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-6
    nets = [_Network(signs.shape[1], np.random.default_rng(seed)) for seed in range(seeds)]
    for net in nets:
        net.learn([((e.signs - mean) / scale, e.right) for e in usable])
    hidden = np.concatenate([n.weights[0] for n in nets], axis=1), np.concatenate([n.weights[1] for n in nets])
    output = np.concatenate([n.weights[2] for n in nets]) / seeds, np.mean([n.weights[3] for n in nets], axis=0)
    return ReadingModel(mean=mean, scale=scale, layers=(hidden, output))


class _Network:
    """One hidden layer, trained by Adam with inputs dropped at random."""

    HIDDEN, EPOCHS, RATE, DECAY, DROP, BATCH = 24, 15, 3e-3, 5e-4, 0.15, 16

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self.weights: list[NDArray[np.float64]] = [
            rng.normal(0, width**-0.5, (width, self.HIDDEN)),
            np.zeros(self.HIDDEN),
            rng.normal(0, 0.3 * self.HIDDEN**-0.5, (self.HIDDEN, 1)),
            np.array([-3.0]),
        ]

    def learn(self, rows: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> None:
        """(signs, right) for each question; no right unit means that "none" is right."""
        first, second = [np.zeros_like(w) for w in self.weights], [np.zeros_like(w) for w in self.weights]
        step = 0
        for epoch in range(self.EPOCHS):
            order = self._rng.permutation(len(rows))
            for start in range(0, len(rows), self.BATCH):
                batch = [rows[i] for i in order[start : start + self.BATCH]]
                gradients = [sum(parts) / len(batch) for parts in zip(*(self._gradients(*row) for row in batch), strict=True)]
                step += 1
                rate = self.RATE * min(1.0, step / 30) * (1 - epoch / self.EPOCHS)
                for k, gradient in enumerate(gradients):
                    gradient = gradient + (self.DECAY * self.weights[k] if k in (0, 2) else 0.0)
                    first[k] = 0.9 * first[k] + 0.1 * gradient
                    second[k] = 0.999 * second[k] + 0.001 * gradient**2
                    self.weights[k] -= rate * (first[k] / (1 - 0.9**step)) / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)

    def _gradients(self, signs: NDArray[np.float64], right: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        signs = signs * (self._rng.random(signs.shape[1]) > self.DROP) / (1 - self.DROP)
        inner = signs @ self.weights[0] + self.weights[1]
        active = np.maximum(inner, 0)
        chances = choice((active @ self.weights[2] + self.weights[3])[:, 0])
        wanted = np.zeros_like(chances)
        if right.any():
            wanted[:-1] = chances[:-1] * right / max(1e-12, float((chances[:-1] * right).sum()))
        else:
            wanted[-1] = 1.0
        error = (chances - wanted)[:-1, None]
        back = (error @ self.weights[2].T) * (inner > 0)
        return [signs.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0)]


def report(rows: Sequence[Example], chances: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """How often the best unit is right, by kind of question, and how well its probability tells answerable from not."""
    from sklearn.metrics import roc_auc_score

    answered = [(e, p) for e, p in zip(rows, chances, strict=True) if e.kind not in NOTHING]
    result = {"candidates": float(np.mean([e.right.any() for e, _ in answered]))}
    for kind in ("faq", "prose", "table", "yesno", "multi"):
        of_kind = [bool(e.right[int(np.argmax(p))]) for e, p in answered if e.kind == kind]
        if of_kind:
            result[kind] = float(np.mean(of_kind))
    result["all"] = float(np.mean([e.right[int(np.argmax(p))] for e, p in answered]))
    for kind in NOTHING:
        best = [(float(p.max()), e.kind != kind) for e, p in zip(rows, chances, strict=True) if e.kind == kind or e.kind not in NOTHING]
        result[f"auroc_{kind}"] = float(roc_auc_score([y for _, y in best], [p for p, _ in best]))
    return result


def level(rows: Sequence[Example], scores: Sequence[NDArray[np.float64]], *, declined: float = DECLINED) -> float:
    """What has to be added to the score of every unit so that `declined` of the unanswerable questions stay below ANSWERABLE.

    The desk's bars are probabilities; so a model that was trained anew is brought to them, and not they to it. The unanswerable questions
    of the reading set are near misses on purpose (the right words about the wrong thing), far harder to tell than what customers ask
    beside a company's matter; declining nine in ten of them would mean declining most fair questions too.
    """
    none = [s for e, s in zip(rows, scores, strict=True) if e.kind == "none"]
    low, high = -12.0, 12.0
    for _ in range(40):  # the share below the bar falls as more is added
        middle = (low + high) / 2
        below = float(np.mean([choice(s + middle)[:-1].max() < ANSWERABLE for s in none]))
        low, high = (middle, high) if below > declined else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Questions with the scores of their units, by models that have seen nothing of their companies."""

    rows: Sequence[Example]
    scores: Sequence[NDArray[np.float64]]

    def figures(self, declined: float = DECLINED) -> dict[str, float]:
        """See `report`; and how many are right and sure, and wrong and sure, at the level for `declined`."""
        added = level(self.rows, self.scores, declined=declined)
        chances = [choice(s + added)[:-1] for s in self.scores]
        sure = [
            (bool(e.right[int(np.argmax(p))]), p.max() >= ANSWERABLE)
            for e, p in zip(self.rows, chances, strict=True)
            if e.kind not in NOTHING
        ]
        told = report(self.rows, chances)
        told |= {"sure": float(np.mean([r and s for r, s in sure])), "wrong": float(np.mean([s and not r for r, s in sure]))}
        return told | {"added": added}


def cross_validate(rows: Sequence[Example], folds: int = 6) -> Checked:
    """Scores by signs for companies that were held out."""
    names = sorted({e.company for e in rows})
    order, scores = [], []
    for fold in range(min(folds, len(names))):
        held = set(names[fold::folds])
        model = fit([e for e in rows if e.company not in held])
        for e in rows:
            if e.company in held:
                order.append(e)
                scores.append(model.scores(e.signs))
    return Checked(rows=order, scores=scores)


async def read_together(checked: Checked, matcher: Matcher) -> list[NDArray[np.float64]]:
    """What the cross-encoder says of each unit, as in `Reader`."""
    return [await read_likeliest(e.text, e.units, own, matcher) for e, own in zip(checked.rows, checked.scores, strict=True)]


def fit_together(checked: Checked, read: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Weights of both scores and what is added, by the loss of a choice: see `fit`."""
    from scipy.optimize import minimize

    usable = [(s, r, e.right) for e, s, r in zip(checked.rows, checked.scores, read, strict=True) if e.kind in NOTHING or e.right.any()]

    def loss(weights: NDArray[np.float64]) -> float:
        total = 0.0
        for own, other, right in usable:
            chances = choice(weights[0] * own + weights[1] * other + weights[2])
            total -= math.log(max(1e-12, float(chances[:-1][right].sum() if right.any() else chances[-1])))
        return total / len(usable)

    a, b, c = minimize(loss, np.array([0.6, 0.5, 0.0]), method="Nelder-Mead", options={"maxiter": 200}).x
    return float(a), float(b), float(c)


async def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, reports and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, nargs="*", default=[], help="adapters with the companies they held out")
    parser.add_argument("--pairs", type=Path, help="the cross-encoder whose word counts beside the signs")
    parser.add_argument("--check", action="store_true", help="cross-validate only")
    options = parser.parse_args(arguments)
    settings = load()
    folder = registry.pull("all-minilm-l6-v2", settings.cache)
    base = SentenceEncoder(folder, threads=settings.compute_threads)
    blank = ReadingModel.blank()
    rows: list[Example] = []
    for adapter in options.encoder:
        encoder = taught(adapter, settings.cache, threads=settings.compute_threads)
        asked = frozenset(e.company for e in rows)
        rows += await examples(Reader(base, blank, encoder=encoder), only=held_of(adapter) - asked)
    if not options.encoder:
        rows = await examples(Reader(base, blank))
    checked = cross_validate(rows)
    figures = checked.figures()
    _say(f"{len(rows)} questions, held-out companies, by signs", figures)
    together = (1.0, 0.0, 0.0)
    if options.pairs:
        read = await read_together(checked, CrossEncoder(folder, options.pairs, threads=settings.compute_threads))
        own, other, added = fit_together(checked, read)
        both = replace(checked, scores=[own * s + other * r + added for s, r in zip(checked.scores, read, strict=True)])
        levelled = both.figures(DECLINED_READ)
        _say(f"read together as well ({own:.2f} signs, {other:.2f} reading)", levelled)
        # The signs alone are shipped at their own level, which is taken off again here.
        together = (own, other, added + levelled["added"] - own * figures["added"])
    if not options.check:
        model = fit(rows)
        *inner, (last, bias) = model.layers
        layers = (*inner, (last, bias + figures["added"]))
        written = ReadingModel(mean=model.mean, scale=model.scale, layers=layers, answerable=ANSWERABLE, together=together)
        TARGET.write_text(written.to_json(), encoding="utf-8")
    return 0


def _say(what: str, figures: dict[str, float]) -> None:
    sys.stderr.write(f"{what}: {', '.join(f'{name} {value:.3f}' for name, value in figures.items())}\n")


def held_of(adapter: Path) -> frozenset[str]:
    """The companies that an adapter was not trained on, as its file says."""
    from safetensors import safe_open

    with safe_open(adapter, "numpy") as file:
        return frozenset(name for name in (file.metadata() or {}).get("held", "").split(",") if name)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
