from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frontdesk.desk.train_reading import held_of

torch = pytest.importorskip("torch", reason="needs the train extra")

from frontdesk.training.reading_encoder import average, held_out  # noqa: E402 - after the check for torch

COMPANIES = [f"company-{n:02}" for n in range(21)]


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


def test_halves_of_the_companies_share_only_what_is_kept_from_both() -> None:
    first, second = held_out(COMPANIES, "0/2"), held_out(COMPANIES, "1/2")
    assert first | second == set(COMPANIES)
    assert first & second == held_out(COMPANIES, "") == {"company-02", "company-09", "company-16"}
