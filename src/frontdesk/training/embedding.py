"""The recipe `embedding`: the sentence encoder learns a tenant's questions, or any labelled texts, and is measured beside the frozen one.

Trained on FAQ entries, the measure is how often the nearest question is the right one for a wording that was held out; trained on labelled
texts, how often the intent head is right on texts that were held out. Messages without a label (`unlabelled`, a company's log has
thousands) are learnt from too, with labels that are guessed. It ships only when it beats the frozen encoder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frontdesk.desk.intent_head import evaluate, read_rows, vectors_for
from frontdesk.errors import BadInput
from frontdesk.knowledge.tenants import load_faq
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.training.bases import require_packages
from frontdesk.training.data import Voice, from_faq
from frontdesk.training.preparing import tenant_of
from frontdesk.training.worker import Desk, Stopped

BASE = "all-minilm-l6-v2"
"""What learns unless the run's `model` names another encoder."""
Rows = list[tuple[str, str]]


async def learn_embedding(desk: Desk) -> None:
    """The whole run. Raises Stopped, BadInput, TrainingFailed."""
    require_packages()
    from frontdesk.training.encoders import Contrast, learn
    from frontdesk.training.unlabelled import learn_with

    train, test, answers = labelled(desk)
    others = without_label(desk, train, test)
    base_name = next((e.name for e in registry.entries() if e.name == desk.run.model and e.kind == "embedding"), BASE)
    base = registry.pull(base_name, desk.settings.cache)
    parameters = desk.run.parameters
    batches = max(1, round(len(train) * parameters.epochs / (2 * parameters.batch)))
    how = Contrast(steps=batches, labels=parameters.batch, rate=parameters.rate, rank=parameters.rank, seed=parameters.seed)
    if parameters.threads:
        import torch

        torch.set_num_threads(parameters.threads)
    begun = time.monotonic()
    curves = desk.folder / "curves.jsonl"
    curves.unlink(missing_ok=True)

    def show(step: int, loss: float) -> None:
        desk.beat("training", step=step, steps=how.steps, loss=loss)
        with curves.open("a", encoding="utf-8") as file:
            row = {
                "kind": "step",
                "step": step,
                "steps": how.steps,
                "epoch": 1,
                "loss": loss,
                "rate": how.rate,
                "tokens": 0,
                "seconds": time.monotonic() - begun,
            }
            file.write(json.dumps(row) + "\n")

    target = desk.folder / "encoder.safetensors"
    said = {"base": base_name, "run": desk.run.name}
    guessed: Rows = []
    if others:
        desk.say(f"guessing the labels of {len(others)} texts without one")
        found = await learn_with(train, others, base, how, target, on_step=show, stop=desk.stop, **said)
        if found is None:
            raise Stopped
        guessed = found
    else:
        texts = [*train, *((text, label) for label, text in answers.items())]
        encoder = learn([t for t, _ in texts], [label for _, label in texts], base, how, on_step=show, stop=desk.stop)
        if encoder is None:
            raise Stopped
        encoder.save(target, **said)
    seconds = time.monotonic() - begun
    desk.say("measuring it beside the frozen encoder")
    frozen, tuned = SentenceEncoder(base, threads=1), SentenceEncoder(base, threads=1, name=desk.run.name, adapter=target)
    figures: dict[str, float] = {"seconds": seconds, "texts": len(train), "without a label": len(others), "tested": len(test)}
    for name, embedder, known in (("frozen", frozen, train), ("tuned", tuned, [*train, *guessed])):
        figures |= {
            f"{key} ({name})": value
            for key, value in (await (nearest(train, test, embedder) if answers else by_head(known, test, embedder))).items()
        }
    write_report(desk, figures, "accuracy (tuned)", "accuracy (frozen)", target)


def labelled(desk: Desk) -> tuple[Rows, Rows, dict[str, str]]:
    """Texts to learn and texts to test with their labels; for a tenant also the answer of each FAQ entry."""
    run = desk.run
    if run.data.dataset:
        rows = read_rows(run.path(run.data.dataset))
        train, test = fifth_apart(rows)
        return train, test, {}
    tenant = tenant_of(run, desk.settings)
    if tenant is None or tenant.folder is None:
        raise BadInput(f"the recipe {run.recipe} needs `data: {{dataset: FILE}}` with text and label, or `tenant`")
    examples = from_faq(
        load_faq(tenant.folder), Voice(company=tenant.name, prefix=""), wordings=run.data.wordings, seed=run.parameters.seed
    )
    train = [(e.question, e.group) for e in examples if e.split != "held_out"]
    test = [(e.question, e.group) for e in examples if e.split == "held_out"]
    return train, test, {e.group: e.answer for e in examples}


def without_label(desk: Desk, train: Rows, test: Rows) -> list[str]:
    """The texts of `data.unlabelled`, each once, without those that are tested. Raises BadInput where they cannot be used."""
    data = desk.run.data
    if not data.unlabelled:
        return []
    if not data.dataset:
        raise BadInput(
            "`data.unlabelled` goes with `data.dataset`, texts and their labels: the entries of an FAQ are no labels for messages"
        )
    tested = {text for text, _ in (*train, *test)}
    return [text for text in dict.fromkeys(t for t, _ in read_rows(desk.run.path(data.unlabelled), labelled=False)) if text not in tested]


async def nearest(train: Rows, test: Rows, embedder: SentenceEncoder) -> dict[str, float]:
    """Share of held-out wordings whose nearest learnt text has their label, and the mean reciprocal rank over labels."""
    known, asked = await embedder.embed([t for t, _ in train]), await embedder.embed([t for t, _ in test])
    labels = np.array([label for _, label in train])
    names = sorted(set(labels))
    alike = asked @ known.T
    best = np.stack([alike[:, labels == name].max(axis=1) for name in names], axis=1)
    right = best[np.arange(len(test)), [names.index(label) for _, label in test]]
    ranks = (best > right[:, None]).sum(axis=1) + 1
    return {"accuracy": float((ranks == 1).mean()), "mean reciprocal rank": float((1 / ranks).mean())}


async def by_head(train: Rows, test: Rows, embedder: SentenceEncoder) -> dict[str, float]:
    """The intent head on these vectors: accuracy on held-out texts, and in-scope accuracy after abstention."""
    parts = [
        ([t for t, _ in some], [label for _, label in some], await vectors_for(embedder, [t for t, _ in some])) for some in (train, test)
    ]
    found = evaluate(parts[0], parts[1])
    return {key: float(found[key] or 0.0) for key in ("accuracy", "in_scope_accuracy", "calibration_error")}


def write_report(desk: Desk, figures: Mapping[str, Any], ours: str, theirs: str, result: Path) -> None:
    """`report.json` with a verdict: it ships when it beats what is there without it."""
    bar = desk.run.gates.accuracy or float(figures[theirs])
    passed = figures[ours] >= bar and figures[ours] > figures[theirs]
    verdict = f"{'ship' if passed else 'do not ship'}: {ours} is {figures[ours]:.3f}, {theirs} {figures[theirs]:.3f}" + (
        f", the bar is {bar:.3f}" if desk.run.gates.accuracy else ""
    )
    told = {"run": desk.run.to_json(), "figures": dict(figures), "result": str(result), "passed": bool(passed), "verdict": verdict}
    (desk.folder / "report.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    desk.say(verdict)


def fifth_apart(rows: Rows) -> tuple[Rows, Rows]:
    """Every fifth text of each label is kept for testing."""
    seen: dict[str, int] = {}
    train: Rows = []
    test: Rows = []
    for text, label in rows:
        seen[label] = seen.get(label, -1) + 1
        (test if seen[label] % 5 == 4 else train).append((text, label))
    if not test:
        raise BadInput("no label has five texts: testing needs some; add texts")
    return train, test
