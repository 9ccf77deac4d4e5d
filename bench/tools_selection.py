"""How well operations are chosen for messages: leave-one-business-out over `tests/tools/selection.yaml`, and the weights fitted on all four.

`python -m bench.tools_selection [--json]` needs the embedding model in the cache. Prints what was chosen wrong, for the next improvement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from frontdesk import settings
from frontdesk.models import registry
from frontdesk.models.embedder import MiniLM
from frontdesk.tools.operation import Argument, Effect, Operation, Place
from frontdesk.tools.selection import ABOUT, RANK, SURE, Choice, Selector

SET = Path(__file__).parent.parent / "tests/tools/selection.yaml"
COMPANIES = SET.with_name("selection_companies.yaml")
TRADES = SET.with_name("selection_trades.yaml")
READING = Path(__file__).parent.parent / "src/frontdesk/desk/reading_set"
TODAY = date(2027, 3, 17)
Row = tuple[str, str | None, list[Choice]]


def operations(rows: list[list[Any]]) -> list[Operation]:
    """The operations of one business; `post!` asks for a yes and belongs to the signed-in customer; last the fields of the answer, if told."""
    found = []
    for method, name, summary, description, listed, *answered in rows:
        arguments = [
            Argument(name=n, where=Place.QUERY, required=True, schema={"type": "string", **schema})
            for a in listed
            for n, schema in a.items()
        ]
        if "signed-in" in description or method.endswith("!"):
            arguments.append(Argument(name="customer", where=Place.HEADER, required=True, schema={"type": "string"}, bound="customer.id"))
        effect = Effect.READ if method == "get" else Effect.WRITE
        response = {"properties": {field: {} for field in answered[0].split()}} if answered else {}
        found.append(
            Operation(name=name, summary=summary, description=description, effect=effect, arguments=tuple(arguments), response=response)
        )
    return found


async def ranked(embedder: MiniLM) -> dict[str, list[Row]]:
    """Every question of every business with its operations, ranked."""
    out: dict[str, list[Row]] = {}
    for business, data in businesses().items():
        selector = Selector(operations(data["operations"]), embedder)
        asked = [(q, None if name == "~" else name) for name, questions in data["questions"].items() for q in questions]
        vectors = await embedder.embed([q for q, _ in asked])
        out[business] = [(q, name, await selector.rank(q, today=TODAY, vector=v)) for (q, name), v in zip(asked, vectors, strict=True)]
    return out


def businesses() -> dict[str, Any]:
    """All businesses; those of the reading set with what their documents answer as questions that no operation is about."""
    found = {**yaml.safe_load(SET.read_text(encoding="utf-8")), **yaml.safe_load(TRADES.read_text(encoding="utf-8"))}
    for company, data in yaml.safe_load(COMPANIES.read_text(encoding="utf-8")).items():
        read = yaml.safe_load((READING / f"{company}.yaml").read_text(encoding="utf-8"))
        found[company] = {**data, "questions": {**data["questions"], "~": [q["q"] for q in read["questions"]]}}
    return dict(found)


def _matrix(choices: list[Choice], names: list[str]) -> Any:
    return np.array([[c.features.get(n, 0.0) for n in names] for c in choices])


def fit_rank(rows: list[Row], names: list[str], penalty: float = 0.02) -> Any:
    """Weights of a conditional logit: which operation, given that it is one."""
    data = [(_matrix(cs, names), [c.operation.name for c in cs].index(name)) for _, name, cs in rows if name]

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


def best(choices: list[Choice], names: list[str], weights: Any) -> tuple[Choice, float]:
    """The first choice under these weights, and its lead."""
    fit = _matrix(choices, names) @ weights
    order = np.argsort(-fit)
    return choices[order[0]], float(np.clip(fit[order[0]] - fit[order[1]], -3, 3))


def fit_about(rows: list[Row], rank: list[str], weights: Any, names: list[str]) -> LogisticRegression:
    """Whether a message is about its first choice at all."""
    table, labels = [], []
    for _, name, choices in rows:
        choice, gap = best(choices, rank, weights)
        table.append([gap if n == "gap" else choice.features[n] for n in names])
        labels.append(name is not None)
    return LogisticRegression(max_iter=5000).fit(np.array(table), labels)


def measure(train: list[Row], test: list[Row], *, show: bool) -> dict[str, int]:
    """Fits on one part and counts on another: right operation, right and sure enough, declined."""
    rank, about = list(RANK), [n for n in ABOUT if n != "bias"]
    weights = fit_rank(train, rank)
    judge = fit_about(train, rank, weights, about)
    counts = dict.fromkeys(("questions", "first", "chosen", "others", "declined"), 0)
    for message, name, choices in test:
        choice, gap = best(choices, rank, weights)
        sure = judge.predict_proba([[gap if n == "gap" else choice.features[n] for n in about]])[0, 1] >= SURE
        right = choice.operation.name == name
        if name is None:
            counts["others"] += 1
            counts["declined"] += not sure
        else:
            counts["questions"] += 1
            counts["first"] += right
            counts["chosen"] += right and sure
        if show and (sure != (name is not None) or (name and not right)):
            print(f"  {message!r}: {name or 'none'}, chose {choice.operation.name if sure else 'none'}")
    return counts


def main() -> None:
    """Prints the figures and the weights."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    as_json = options.parse_args().json
    embedder = MiniLM(registry.pull("all-minilm-l6-v2", settings.load().cache))
    rows = asyncio.run(ranked(embedder))
    embedder.close()
    totals: dict[str, int] = {}
    for business, test in rows.items():
        train = [row for other, some in rows.items() if other != business for row in some]
        for key, value in measure(train, test, show=not as_json).items():
            totals[key] = totals.get(key, 0) + int(value)
    if as_json:
        print(json.dumps(totals))
        return
    every = [row for some in rows.values() for row in some]
    rank, about = list(RANK), [n for n in ABOUT if n != "bias"]
    weights = fit_rank(every, rank)
    judge = fit_about(every, rank, weights, about)
    print("leave one business out:", totals)
    print("RANK", {n: round(float(w), 3) for n, w in zip(rank, weights, strict=True)})
    print(
        "ABOUT",
        {"bias": round(float(judge.intercept_[0]), 3), **{n: round(float(w), 3) for n, w in zip(about, judge.coef_[0], strict=True)}},
    )


if __name__ == "__main__":
    main()
