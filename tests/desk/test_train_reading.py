"""How signs and cross-encoder are weighed against each other, on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from frontdesk.desk.reading import LOOKED_AT
from frontdesk.desk.train_reading import Checked, Example, fit_together, level, read_together
from frontdesk.models.protocols import Matching


def example(kind: str, right: list[bool], units: list[str]) -> Example:
    return Example(company="c", text="q", kind=kind, units=tuple(units), signs=np.zeros((len(right), 1)), right=np.array(right))  # type: ignore[arg-type] # their faces


def test_the_two_scores_are_weighed_by_what_they_are_worth() -> None:
    rng = np.random.default_rng(2)
    rows = [example("faq", [k == 0 for k in range(4)], ["a"] * 4) for _ in range(60)] + [
        example("none", [False] * 4, ["a"] * 4) for _ in range(30)
    ]
    noise = [rng.normal(0, 1, 4) for _ in rows]
    told = [np.where(r.right, 2.0, -2.0) + rng.normal(0, 1.8, 4) for r in rows]
    own, read, _ = fit_together(Checked(rows=rows, scores=noise), told)
    assert read > 2 * abs(own)


def test_the_level_lets_so_many_near_misses_pass() -> None:
    rows = [example("none", [False], ["a"]) for _ in range(100)]
    scores = [np.array([x]) for x in np.linspace(-3, 3, 100)]
    added = level(rows, scores)
    assert np.mean([1 / (1 + np.exp(-(s[0] + added))) < 0.38 for s in scores]) == pytest.approx(0.75, abs=0.02)


async def test_only_the_likeliest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others get what the worst of those gets."""
    monkeypatch.setattr("frontdesk.desk.reading.face", lambda unit: unit)

    class Alphabet:
        async def scores(self, question: str, texts: list[str], matching: Matching) -> np.ndarray:
            return np.array([-float(ord(t)) for t in texts], np.float32)

    row = example("faq", [False] * 12, [chr(97 + k) for k in range(12)])
    (said,) = await read_together(Checked(rows=[row], scores=[-np.arange(12.0)]), Alphabet())
    assert said.tolist() == [-float(97 + min(k, LOOKED_AT - 1)) for k in range(12)]
