from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frontdesk.desk.train_reading import FOLDER, held_of

torch = pytest.importorskip("torch", reason="needs the train extra")

from frontdesk.training.reading_encoder import HELD, Asked, _chosen, average  # noqa: E402 - after the check for torch


def adapter(folder: Path, name: str, seed: int, held: str) -> Path:
    rng = np.random.default_rng(seed)
    rows = {"w.a": rng.normal(size=(2, 5)).astype(np.float16), "w.b": rng.normal(size=(3, 2)).astype(np.float16)}
    save_file(rows, folder / name, metadata={"held": held})
    return folder / name


def test_the_mean_of_two_adapters_updates_by_the_mean_of_their_updates(tmp_path: Path) -> None:
    one, other = adapter(tmp_path, "one", 1, "a,b"), adapter(tmp_path, "other", 2, "b,c")
    average([one, other], tmp_path / "mean")
    updates = [file["w.b"].astype(float) @ file["w.a"].astype(float) for file in map(load_file, (one, other, tmp_path / "mean"))]
    assert np.allclose(updates[2], (updates[0] + updates[1]) / 2, atol=1e-2)
    assert held_of(tmp_path / "mean") == {"b"}


def test_a_message_that_finds_its_operation_costs_less_than_one_that_does_not() -> None:
    """The loss over operations: with vectors that show the way, and with vectors that show another."""
    business = Asked(operations=(("open it",), ("shut it",)), messages=(("let me in", 0), ("close up", 1), ("what a day", None)))
    axes = {"open it": [1.0, 0.0], "shut it": [0.0, 1.0], "let me in": [1.0, 0.0], "close up": [0.0, 1.0], "what a day": [0.0, 0.0]}
    crossed = {**axes, "let me in": [0.0, 1.0], "close up": [1.0, 0.0]}

    def loss(rows: dict[str, list[float]]) -> float:
        return float(_chosen(lambda texts: torch.tensor([rows[t] for t in texts]), business, torch.tensor(8.0), random.Random(1)))

    assert loss(axes) < 0.01
    assert loss(crossed) > 5


def test_the_companies_held_out_are_companies_of_the_set() -> None:
    held = (FOLDER / HELD).read_text(encoding="utf-8").split()
    assert len(held) == len(set(held)) > 20
    assert all((FOLDER / f"{name}.yaml").exists() for name in held)
