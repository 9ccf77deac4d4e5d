"""The cross-encoder in training: the same judgement as in service, what a choice costs, and how much of it is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.protocols import Matching
from frontdesk.training.choices import Choice

torch = pytest.importorskip("torch", reason="needs the train extra")

from safetensors.torch import save_file  # noqa: E402 - after the check for torch

from frontdesk.training import reading_pairs  # noqa: E402 - the same
from frontdesk.training.reading_pairs import Judge, cut  # noqa: E402 - the same

PAIRS = [
    ("may I bring my dog", "Dogs may come along in the large canoes, but not in kayaks."),
    ("what does it cost to be late?", "A canoe that comes back after six costs 9 dollars for each hour begun."),
    ("is it deep", "Life jackets"),
]


@pytest.fixture(scope="module")
def folder(models_cache: Path) -> Path:
    return models_cache / "models" / "all-minilm-l6-v2"


def test_in_service_it_judges_as_in_training(folder: Path, tmp_path: Path) -> None:
    """The graph in ONNX and the one that learns give the same scores, for weights that are no beginning."""
    judge = Judge(folder)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in judge.learnt:
            weight += 0.05 * weight.std().nan_to_num(0.1) * torch.randn(weight.shape)
    save_file(cut(judge.weights, judge.base, 384), tmp_path / "pairs.safetensors")
    served = CrossEncoder(folder, tmp_path / "pairs.safetensors")
    with torch.no_grad():
        learnt = {m: judge.scores(PAIRS, m, torch.float32).numpy() for m in Matching}
    for matching in Matching:
        found = [served._judge(question, [text])[text][matching] for question, text in PAIRS]
        assert np.allclose(found, learnt[matching], atol=0.15)
    served.close()


def test_a_lower_rank_is_smaller_and_no_rank_is_the_base(folder: Path) -> None:
    judge = Judge(folder)
    few, many = (sum(t.numel() for t in cut(judge.weights, judge.base, rank).values()) for rank in (4, 64))
    assert few < many
    name = "encoder.layer.3.output.dense.weight"
    kept = cut(judge.weights, judge.base, 384)
    rebuilt = judge.base[name] + kept[f"{name}.b"].float() @ kept[f"{name}.a"].float()
    assert torch.allclose(rebuilt, judge.weights[name], atol=2e-3)


def test_a_choice_costs_less_the_surer_it_is_right() -> None:
    rows = [Choice("q", ("a", "b"), np.array([False, True])), Choice("r", ("a",), np.array([False]))]

    def loss(*scores: float) -> float:
        return float(reading_pairs._loss(torch.tensor(scores), rows))

    assert loss(-5, 5, -5) < 0.1 < loss(0, 0, 0) < loss(5, -5, 5)


def test_it_learns_from_what_it_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few seconds on one business: what was wrong before is right after."""
    judge = Judge(folder)
    texts = ("red", "green", "blue")
    asked = [
        Choice(f"the {c} word {n}", texts, np.array([t == o for t in texts]))
        for c, o in zip(texts, (*texts[1:], texts[0]), strict=True)
        for n in range(6)
    ]
    monkeypatch.setattr(reading_pairs, "_of_company", lambda choice, _: choice)
    monkeypatch.setattr(reading_pairs, "QUESTIONS", 9)
    monkeypatch.setattr(reading_pairs, "MESSAGES", 9)
    monkeypatch.setattr(reading_pairs, "UNANSWERED", 0)
    monkeypatch.setattr(reading_pairs, "WARM", 1)

    def right() -> float:
        with torch.no_grad():
            rows = [judge.scores([(c.text, t) for t in texts], Matching.ANSWER, torch.float32).argmax() for c in asked]
        return float(np.mean([bool(c.right[int(r)]) for c, r in zip(asked, rows, strict=True)]))

    before = right()
    reading_pairs.train(judge, asked, asked, minutes=0.25, seed=17)
    assert before < 0.5 < right()
