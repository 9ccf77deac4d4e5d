from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frontdesk.desk.train_reading import FOLDER, held_of
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.settings import load
from frontdesk.training.choices import Choice, keep, kept

torch = pytest.importorskip("torch", reason="needs the train extra")

from safetensors.torch import save_file as save_tensors  # noqa: E402 - after the check for torch

from frontdesk.training import reading_encoder  # noqa: E402 - the same
from frontdesk.training.reading_encoder import BASE, HELD, Asked, Encoder, _chosen, average  # noqa: E402 - the same


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


TEXTS = ["may I bring my dog", "Dogs may come along in the large canoes, but not in kayaks.", "what does it cost to be late?"]


@pytest.fixture(scope="module")
def folder() -> Path:
    return registry.pull(BASE, load().cache)


async def test_in_service_it_compares_as_in_training(folder: Path, tmp_path: Path) -> None:
    """The graph in ONNX and the one that learns make the same vectors, for updates that are no beginning."""
    torch.manual_seed(3)
    encoder = Encoder(folder)
    with torch.no_grad():
        for update in encoder.updates.values():
            update += 0.02 * torch.randn(update.shape)
        learnt = encoder(TEXTS).numpy()
    save_tensors(encoder.adapter(), tmp_path / "a.safetensors", metadata={"base": BASE})
    served, plain = taught(tmp_path / "a.safetensors", load().cache), SentenceEncoder(folder, precision="int8")
    found, untaught = await served.embed(TEXTS), await plain.embed(TEXTS)
    served.close()
    plain.close()
    assert (found * learnt).sum(1).min() > 0.99 > (untaught * learnt).sum(1).max()


def test_it_learns_from_what_it_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some steps on one small company: each question lies nearest to its own answer, which it did not before."""
    torch.manual_seed(3)
    encoder = Encoder(folder)
    words = ("red", "green", "blue", "black")
    answers = tuple(f"Rule about {w}." for w in (*words[1:], words[0]))
    rows = [
        Choice(f"what of the {w} one, number {n}?", answers, np.array([a == own for a in answers]), "paints")
        for w, own in zip(words, answers, strict=True)
        for n in range(3)
    ]
    monkeypatch.setattr(reading_encoder, "WARM", 2)

    def right() -> float:
        with torch.no_grad():
            best = (encoder([r.text for r in rows]) @ encoder(list(answers)).T).argmax(1).tolist()
        return float(np.mean([bool(row.right[i]) for row, i in zip(rows, best, strict=True)]))

    before = right()
    reading_encoder.train(encoder, rows, [], minutes=0.3)
    assert before < 0.5 < right()


def test_candidates_are_kept_from_one_run_to_the_next(tmp_path: Path) -> None:
    rows = [Choice("which?", ("one", "two"), np.array([False, True]), "here"), Choice("none?", ("one",), np.array([False]), "there")]
    keep(rows, tmp_path / "rows.jsonl")
    again = kept(tmp_path / "rows.jsonl")
    assert [(r.text, r.candidates, r.right.tolist(), r.company) for r in again] == [
        (r.text, r.candidates, r.right.tolist(), r.company) for r in rows
    ]


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
