"""Verdicts, pitfalls, curves and the choice among retrieved answers: what needs no model."""

import math

import numpy as np

from frontdesk.training import curves
from frontdesk.training.evaluating import Evaluation, confirmed, energy, leak_note, pitfalls


def evaluation(*, recall: float, ratio: float) -> Evaluation:
    gates = {
        "recall": {"value": recall, "bar": 0.85, "passed": recall >= 0.85},
        "perplexity_ratio": {"value": ratio, "bar": 1.25, "passed": ratio <= 1.25},
    }
    return Evaluation(sides=(), figures={}, gates=gates, samples=(), pitfalls=())


def test_the_verdict_says_ship_or_not_and_why() -> None:
    assert evaluation(recall=0.9, ratio=1.1).verdict == "ship: recall is 0.90 (bar 0.85); perplexity ratio is 1.10 (bar 1.25)"
    bad = evaluation(recall=0.4, ratio=1.1)
    assert bad.verdict == "do not ship: recall is 0.40, the bar is 0.85"
    assert not bad.passed
    assert bad.to_json()["verdict"] == bad.verdict


def test_every_pitfall_has_a_figure_and_what_to_do() -> None:
    rows = pitfalls(
        {
            "perplexity_ratio": 1.8,
            "agreement": 0.6,
            "gap": 0.3,
            "recall": 0.5,
            "recall_learnt_wordings": 0.8,
            "seconds": 480.0,
            "tokens_per_second": 400.0,
            "watt_hours": 2.7,
            "memory_gib": 1.9,
        },
        {"groups": 250, "train": 1684, "without_facts": 16, "duplicates": 0, "conflicts": 0},
    )
    told = {name: (figure, meaning) for name, figure, meaning in rows}
    assert set(told) == {
        "catastrophic forgetting",
        "overfitting",
        "underfitting",
        "difficulty sourcing data",
        "time-intensive",
        "increasing costs",
    }
    assert "data.replay" in told["catastrophic forgetting"][1]
    assert "add wordings" in told["overfitting"][1]
    assert all(any(c.isdigit() for c in figure) for figure, _ in told.values())


def test_the_leak_is_said_to_be_fenced_in_code() -> None:
    assert "75% of the facts" in leak_note(0.75)
    assert energy(3600, cores=2, gpus=0) == 20.0


def test_the_models_reply_decides_among_the_nearest_answers_only() -> None:
    near = np.array([0.80, 0.79, 0.10, 0.0, 0.0, 0.0])
    support = np.array([0.1, 0.9, 0.2, 0.0, 0.0, 1.0])
    assert confirmed(near, np.zeros(6)) == 0
    assert confirmed(near, support) == 1
    assert confirmed(near, np.array([0.0, 0, 0, 0, 0, 9.0]), among=3) == 0


STEPS = [{"kind": "step", "step": n, "loss": 3 / n} for n in range(1, 101)]
EPOCHS = [
    {"kind": "epoch", "epoch": n, "train_loss": 1 / n, "held_out_loss": math.nan, "token_accuracy": 0.5, "score": 0.4 * n} for n in (1, 2)
]


def test_curves_are_drawn_in_the_terminal_and_as_a_picture() -> None:
    drawn = curves.terminal([*STEPS, *EPOCHS], width=40)
    assert "100 steps" in drawn
    assert "epoch 2: train loss 0.500, held-out loss –" in drawn
    assert max(map(len, drawn.splitlines()[:8])) <= 50
    picture = curves.svg([*STEPS, *EPOCHS], title="a < b")
    assert picture.startswith("<svg")
    assert "a &lt; b" in picture
    assert "nan" not in picture
    assert curves.terminal([]) == curves.svg([]) == ""
