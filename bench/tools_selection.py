"""How well operations are chosen for messages: leave-one-business-out over `tests/tools/selection.yaml`, and the weights fitted on all.

`python -m bench.tools_selection [--stories] [--json] [--write] [--together] [--fresh]` needs the embedding model in the cache. Prints what was chosen wrong, for the next improvement;
`--write` makes the head on the meaning of a message anew (`tools/selection_head.npz`). What the head says of a message in training comes
from one that has not seen the message's business, else the weights would trust it too much.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from frontdesk import settings
from frontdesk.desk.intent import support_set
from frontdesk.models import registry
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.models.protocols import Vectors
from frontdesk.tools import selection
from frontdesk.tools.businesses import operations
from frontdesk.tools.selection import ABOUT, ABOUT_READ, RANK, RANK_READ, SURE, Choice, Head, Selector

SET = Path(__file__).parent.parent / "tests/tools/selection.yaml"
COMPANIES = SET.with_name("selection_companies.yaml")
TRADES = SET.with_name("selection_trades.yaml")
SERVICES = SET.with_name("selection_services.yaml")
CALLS = SET.with_name("selection_calls.yaml")
CRAFTS = SET.with_name("selection_crafts.yaml")
"""Businesses from which nothing is fitted: with these the weights in service are measured (`--fresh`)."""
STORIES = SET.with_name("selection_stories.yaml")
"""More questions for the businesses of the other files, with a story around them, as customers write them."""
READING = Path(__file__).parent.parent / "src/frontdesk/desk/reading_set"
ADAPTER = READING.with_name("reading_encoder.safetensors")
PAIRS = READING.with_name("reading_pairs.safetensors")
TODAY = date(2027, 3, 17)
HEADS = "reading-encoder"
"""The embedder whose vectors the head reads: the one that learnt how customers put things."""
PARTS = 5
"""Parts of the businesses, each judged by a head that was fitted on the others."""
LOOSE = 3.0
"""How loosely the head is held to its data (the inverse of the penalty)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question, the operation it is about (None: none), all operations ranked, its vector, and what a head says that never saw its business."""

    question: str
    name: str | None
    choices: list[Choice]
    vector: Vectors
    standing: float = 0.0
    strange: bool = False


Rows = dict[str, list[Row]]

STRANGERS = 20
"""Questions of other businesses that each business is asked as well: live, but nothing that it knows about."""
BESIDE = 15
"""What each business is asked beside those: so many questions that the documents of other companies answer, and as much that is no company's
matter."""
UNLIKE = 0.55
"""A question is strange to a business when no operation there is more like its own operation than this (cosine of the mean lines)."""
STRANGE = 0.5
"""Weight of such a question beside one of the business's own."""
CAUTION = 0.6
"""Taken from the log-odds of every message: to ask somebody to sign in for what was a question about the rules costs more than to miss a
look-up, which the desk may still try where no document answers."""
CAUTION_READ = 0.3
"""The same once more when message and operation are also read together."""


async def ranked(embedder: SentenceEncoder, matcher: CrossEncoder, *, stories: bool = False) -> tuple[Rows, Rows]:
    """Every question of every business with its operations, ranked; and questions of other businesses put to it."""
    every = businesses(stories=stories)
    out: Rows = {}
    selectors = {business: Selector(operations(data["operations"]), embedder, matcher) for business, data in every.items()}
    for business, data in every.items():
        selector = selectors[business]
        asked = [(q, None if name == "~" else name) for name, questions in data["questions"].items() for q in questions]
        vectors = await embedder.embed([q for q, _ in asked])
        out[business] = [
            Row(q, name, await selector.rank(q, today=TODAY, vector=v), v) for (q, name), v in zip(asked, vectors, strict=True)
        ]
    return out, await strangers(out, selectors, embedder)


async def strangers(rows: Rows, selectors: Mapping[str, Selector], embedder: SentenceEncoder) -> Rows:
    """For each business questions about live data of businesses unlike it, of companies' documents, and of nobody's matter."""
    meant: dict[tuple[str, str], Vectors] = {}
    for business, data in businesses().items():
        for operation in operations(data["operations"]):
            mean = (await embedder.embed(selection.lines_of(operation))).mean(0)
            meant[business, operation.name] = mean / np.linalg.norm(mean)
    every = [(business, row) for business, some in rows.items() for row in some if row.name]
    draw, out = random.Random(5), {}
    others = [q["q"] for file in sorted(READING.glob("*.yaml")) for q in yaml.safe_load(file.read_text(encoding="utf-8"))["questions"]]
    nobodys = [u.text for u in support_set() if u.route in ("refuse", "smalltalk") and u.text.isascii()]
    for business, selector in selectors.items():
        own = np.array([vector for (whose, _), vector in meant.items() if whose == business])
        far = [row for whose, row in every if whose != business and float((own @ meant[whose, str(row.name)]).max()) < UNLIKE]
        draw.shuffle(far)
        asked = [(r.question, r.vector) for r in far[:STRANGERS]]
        some = [*draw.sample(others, BESIDE), *draw.sample(nobodys, BESIDE)]
        asked += zip(some, await embedder.embed(some), strict=True)
        out[business] = [Row(q, None, await selector.rank(q, today=TODAY, vector=v), v, strange=True) for q, v in asked]
    return out


def fit_head(rows: list[Row]) -> Head:
    """Questions about how things stand now against the rest, by their vectors."""
    made = LogisticRegression(max_iter=5000, C=LOOSE).fit(np.array([r.vector for r in rows]), [r.name is not None for r in rows])
    return Head(direction=made.coef_[0].astype(np.float32), bias=float(made.intercept_[0]), embedder=HEADS)


def told(rows: Rows, strange: Rows) -> tuple[list[Row], list[Row]]:
    """All rows, and the strange ones, each with what a head says that was fitted on businesses of other parts."""
    own, others = [], []
    for part in range(PARTS):
        mine = list(rows)[part::PARTS]
        head = fit_head([r for other, more in rows.items() if other not in mine for r in more])
        for business in mine:
            own += [replace(r, standing=head.value(r.vector)) for r in rows[business]]
            others += [replace(r, standing=head.value(r.vector)) for r in strange[business]]
    return own, others


def businesses(*, stories: bool = False) -> dict[str, Any]:
    """All businesses; those of the reading set with what their documents answer as questions that no operation is about.

    `stories`: also asked as customers do who tell before they ask.
    """
    found = {
        name: data for file in (SET, TRADES, SERVICES, CALLS) for name, data in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }
    for company, data in yaml.safe_load(COMPANIES.read_text(encoding="utf-8")).items():
        read = yaml.safe_load((READING / f"{company}.yaml").read_text(encoding="utf-8"))
        found[company] = {**data, "questions": {**data["questions"], "~": [q["q"] for q in read["questions"]]}}
    told = yaml.safe_load(STORIES.read_text(encoding="utf-8")) if stories else {}
    for business, more in told.items():
        data = found[business]
        asked = {name or "~": list(questions) for name, questions in data["questions"].items()}
        for name, questions in more["questions"].items():
            asked[name or "~"] = [*asked.get(name or "~", ()), *questions]
        found[business] = {**data, "questions": asked}
    return dict(found)


def encoder() -> SentenceEncoder:
    """What compares messages with operations in service."""
    ready = settings.load()
    return taught(ADAPTER, ready.cache, threads=ready.compute_threads, name=HEADS)


def cross_encoder() -> CrossEncoder:
    """What reads both together in service."""
    ready = settings.load()
    return CrossEncoder(registry.pull("all-minilm-l6-v2", ready.cache), PAIRS, threads=ready.compute_threads)


def _matrix(choices: list[Choice], names: list[str]) -> Any:
    return np.array([[c.features.get(n, 0.0) for n in names] for c in choices])


def fit_rank(rows: list[Row], names: list[str], penalty: float = 0.02) -> Any:
    """Weights of a conditional logit: which operation, given that it is one."""
    data = [(_matrix(r.choices, names), [c.operation.name for c in r.choices].index(r.name)) for r in rows if r.name]

    def loss(weights: Any) -> tuple[float, Any]:
        total, gradient = 0.0, np.zeros_like(weights)
        for matrix, right in data:
            logits = matrix @ weights
            chances = np.exp(logits - logits.max())
            chances /= chances.sum()
            total -= np.log(chances[right] + 1e-12)
            gradient += matrix.T @ chances - matrix[right]
        return total / len(data) + penalty * weights @ weights / 2, gradient / len(data) + penalty * weights

    return minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B").x


def signs(row: Row, rank: list[str], weights: Any, names: list[str]) -> tuple[Choice, list[float]]:
    """The first choice under these weights, and what speaks for the message being about it at all."""
    fit = _matrix(row.choices, rank) @ weights
    order = np.argsort(-fit)
    choice = row.choices[order[0]]
    known = {**choice.features, "gap": float(np.clip(fit[order[0]] - fit[order[1]], -3, 3)), "standing": row.standing}
    return choice, [known[n] for n in names]


def fit_about(rows: list[Row], strange: list[Row], rank: list[str], weights: Any, names: list[str]) -> LogisticRegression:
    """Whether a message is about its first choice at all."""
    every = [*rows, *strange]
    table = np.array([signs(r, rank, weights, names)[1] for r in every])
    counting = np.array([1.0] * len(rows) + [STRANGE] * len(strange))
    return LogisticRegression(max_iter=5000).fit(table, [r.name is not None for r in every], counting)


def measure(rows: Rows, strange: Rows, business: str, *, show: bool) -> dict[str, int]:
    """Fits on all other businesses and counts on one: right operation, right and sure enough, declined, declined though live elsewhere."""
    rank, about = list(RANK), [n for n in ABOUT if n != "bias"]
    known, unknown = told({b: some for b, some in rows.items() if b != business}, strange)
    weights = fit_rank(known, rank)
    judge = fit_about(known, unknown, rank, weights, about)
    head = fit_head(known)

    def sees(row: Row) -> tuple[Choice, bool]:
        choice, seen = signs(replace(row, standing=head.value(row.vector)), rank, weights, about)
        return choice, bool(judge.decision_function([seen])[0] - CAUTION >= math.log(SURE / (1 - SURE)))

    counts = dict.fromkeys(("questions", "first", "chosen", "others", "declined"), 0)
    counts |= {"strange": len(strange[business]), "strange_declined": sum(not sees(row)[1] for row in strange[business])}
    for row in rows[business]:
        choice, sure = sees(row)
        right = choice.operation.name == row.name
        if row.name is None:
            counts["others"] += 1
            counts["declined"] += not sure
        else:
            counts["questions"] += 1
            counts["first"] += right
            counts["chosen"] += right and sure
        if show and (sure != (row.name is not None) or (row.name and not right)):
            print(f"  {row.question!r}: {row.name or 'none'}, chose {choice.operation.name if sure else 'none'}")
    return counts


@dataclass(frozen=True, slots=True)
class Read:
    """A row as it is when message and operation are also read together: each operation's score by signs, its log-odds, and what reading says."""

    row: Row
    fit: Vectors
    about: Vectors
    said: Vectors

    @classmethod
    def of(cls, row: Row, rank: list[str], weights: Any, judge: LogisticRegression, names: list[str]) -> Read:
        """`weights` and `judge` from businesses that are not the row's."""
        fit = _matrix(row.choices, rank) @ weights
        gaps = np.clip(fit - np.array([np.delete(fit, i).max() for i in range(len(fit))]), -3, 3)
        known = [{**c.features, "gap": float(g), "standing": row.standing} for c, g in zip(row.choices, gaps, strict=True)]
        about = judge.decision_function([[k[n] for n in names] for k in known]) - CAUTION
        return cls(row, fit, about, np.array([c.features.get("read", selection.LEAST_READ) for c in row.choices]))

    def best(self, weights: Any) -> tuple[int, list[float]]:
        """The first operation under these weights of both, and what speaks for the message being about it."""
        both = weights[0] * self.fit + weights[1] * self.said
        first, second = np.argsort(-both)[:2]
        return int(first), [float(self.about[first]), float(self.said[first]), float(np.clip(both[first] - both[second], -3, 3))]


def fit_read(some: list[Read]) -> tuple[Any, LogisticRegression]:
    """Weights of signs and reading for the order, and for whether it is about the first at all."""
    asked = [(r, [c.operation.name for c in r.row.choices].index(r.row.name)) for r in some if r.row.name]

    def loss(weights: Any) -> float:
        total = 0.0
        for read, right in asked:
            both = weights[0] * read.fit + weights[1] * read.said
            total -= both[right] - both.max() - np.log(np.exp(both - both.max()).sum())
        return total / len(asked)

    weights = minimize(loss, np.array([0.5, 0.5]), method="Nelder-Mead").x
    table = np.array([r.best(weights)[1] for r in some])
    counting = [1.0 if r.row.name or not r.row.strange else STRANGE for r in some]
    return weights, LogisticRegression(max_iter=5000).fit(table, [r.row.name is not None for r in some], counting)


def read_together(rows: Rows, strange: Rows) -> None:
    """Prints what reading message and operation together brings, and the weights: in parts, each judged by what was fitted on the others."""
    rank, about = list(RANK), [n for n in ABOUT if n != "bias"]
    parts: list[list[Read]] = []
    for part in range(PARTS):
        mine = list(rows)[part::PARTS]
        known, unknown = told({b: some for b, some in rows.items() if b not in mine}, strange)
        weights, head = fit_rank(known, rank), fit_head(known)
        judge = fit_about(known, unknown, rank, weights, about)
        own = [replace(r, standing=head.value(r.vector)) for b in mine for r in (*rows[b], *strange[b])]
        parts.append([Read.of(r, rank, weights, judge, about) for r in own])
    for name, both in (("signs alone", False), ("read together as well", True)):
        counts = dict.fromkeys(("questions", "first", "chosen", "others", "declined", "strange", "strange_declined"), 0)
        for part, some in enumerate(parts):
            weights, judge = (
                fit_read([r for other, more in enumerate(parts) if other != part for r in more]) if both else (np.array([1.0, 0.0]), None)
            )
            for read in some:
                first, seen = read.best(weights)
                sure = bool(
                    (judge.decision_function([seen])[0] - CAUTION_READ if judge is not None else seen[0]) >= math.log(SURE / (1 - SURE))
                )
                right = read.row.choices[first].operation.name == read.row.name
                kind = "questions" if read.row.name else "strange" if read.row.strange else "others"
                counts[kind] += 1
                counts["first"] += right
                counts["chosen"] += right and sure
                if kind != "questions":
                    counts["declined" if kind == "others" else "strange_declined"] += not sure
        print(f"{name}, in {PARTS} parts:", counts)
    weights, judge = fit_read([r for some in parts for r in some])
    print("RANK_READ", {n: round(float(w), 3) for n, w in zip(RANK_READ, weights, strict=True)})
    fitted = [float(judge.intercept_[0]) - CAUTION_READ, *map(float, judge.coef_[0])]
    print("ABOUT_READ", {n: round(w, 3) for n, w in zip(ABOUT_READ, fitted, strict=True)})


async def fresh(embedder: SentenceEncoder, matcher: CrossEncoder) -> dict[str, int]:
    """What the weights in service make of businesses that neither they nor the encoder have seen."""
    counts = dict.fromkeys(("businesses", "questions", "first", "chosen", "others", "declined"), 0)
    for data in yaml.safe_load(CRAFTS.read_text(encoding="utf-8")).values():
        selector = Selector(operations(data["operations"]), embedder, matcher)
        counts["businesses"] += 1
        for name, questions in data["questions"].items():
            for question, vector in zip(questions, await embedder.embed(questions), strict=True):
                best = (await selector.rank(question, today=TODAY, vector=vector))[0]
                counts["questions" if name else "others"] += 1
                counts["first"] += best.operation.name == name
                counts["chosen"] += best.operation.name == name and best.chosen
                counts["declined"] += name is None and not best.chosen
    return counts


def main() -> None:
    """Prints the figures and the weights."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    options.add_argument("--stories", action="store_true", help="with questions that have a story around them, which are far harder")
    options.add_argument("--write", action="store_true", help="write the head that comes with the program anew")
    options.add_argument("--together", action="store_true", help="weigh what reading message and operation together says beside the signs")
    options.add_argument("--fresh", action="store_true", help="measure the weights in service on businesses that nothing was fitted on")
    asked = options.parse_args()
    embedder = encoder()
    matcher = cross_encoder()
    try:
        if asked.fresh:
            print(json.dumps(asyncio.run(fresh(embedder, matcher))))
            return
        rows, strange = asyncio.run(ranked(embedder, matcher, stories=asked.stories))
    finally:
        embedder.close()
        matcher.close()
    if asked.together:
        read_together(rows, strange)
        return
    totals: dict[str, int] = {}
    for business in rows:
        for key, value in measure(rows, strange, business, show=not asked.json).items():
            totals[key] = totals.get(key, 0) + int(value)
    if asked.json:
        print(json.dumps(totals))
        return
    every, others = told(rows, strange)
    if asked.write:
        (Path(selection.__file__).parent / selection.HEAD).write_bytes(fit_head(every).to_bytes())
    rank, about = list(RANK), [n for n in ABOUT if n != "bias"]
    weights = fit_rank(every, rank)
    judge = fit_about(every, others, rank, weights, about)
    print("leave one business out:", totals)
    print("RANK", {n: round(float(w), 3) for n, w in zip(rank, weights, strict=True)})
    print(
        "ABOUT",
        {
            "bias": round(float(judge.intercept_[0]) - CAUTION, 3),
            **{n: round(float(w), 3) for n, w in zip(about, judge.coef_[0], strict=True)},
        },
    )


if __name__ == "__main__":
    main()
