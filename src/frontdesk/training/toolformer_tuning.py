"""The last step of Toolformer: fine-tuning on texts with calls, a look at what the model writes on its own, and the export. Needs torch."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

from frontdesk.errors import BadInput
from frontdesk.training import artefacts, toolformer
from frontdesk.training.deploying import base_file
from frontdesk.training.finetune import Parameters, fine_tune

LEAST = 8
"""Texts below which nothing can be held out."""
TOP_K = 10
"""The paper's decoding: a call begins as soon as `[` is among so many likeliest tokens."""


def tuned(work: Any, *, epochs: int, rate: float, held: float, seed: int, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Train on the pipeline's dataset, judge held-out texts, export to `out/artefact`; the figures."""
    rows = toolformer.read_rows(work.out / "dataset.jsonl")
    if len(rows) < LEAST:
        raise BadInput(f"{len(rows)} texts are too few to learn from: lower --tau-f, or give more texts")
    train, kept_back = split(rows, share=held, seed=seed)
    probe = work.causal()
    samples = [toolformer.to_sample(r, probe.chat, probe.end) for r in train]
    held_samples = [toolformer.to_sample(r, probe.chat, probe.end) for r in kept_back]
    outcome = fine_tune(
        base=work.base,
        samples=samples,
        held_out=held_samples,
        parameters=Parameters(epochs=epochs, rate=rate, seed=seed, patience=2, threads=work.settings.compute_threads),
        out=work.out / "run",
        on_step=lambda step: progress(step.step, step.steps),
    )
    figures: dict[str, Any] = {
        "trained on": len(train),
        "held out": len(kept_back),
        "epochs": len(outcome.epochs),
        "best epoch": outcome.best_epoch,
        "tokens/s": round(outcome.tokens_per_second),
        "held-out loss": round(outcome.epochs[outcome.best_epoch - 1].held_out_loss, 3),
    }
    texts = work.texts
    asked = [texts[r["id"]] for r in kept_back if r["calls"] and texts[r["id"]].about]
    for label, adapter in (("base", None), ("tuned", outcome.adapter)):
        model = work.causal(adapter) if adapter is not None else probe
        written = [
            toolformer.judged_reply(t, model.reply(model.chat(toolformer.SYSTEM, t.question), top_k=TOP_K), work.by_name) for t in asked
        ]
        toolformer.write_rows(work.out / f"written-{label}.jsonl", written)
        if written:
            figures[f"{label}: valid calls"] = round(sum(w.valid for w in written) / len(written), 3)
            figures[f"{label}: right operation"] = round(sum(w.right for w in written) / len(written), 3)
    base = base_file(work.settings)
    valid, right = figures.get("tuned: valid calls", 0.0), figures.get("tuned: right operation", 0.0)
    gates = {
        "valid calls": {"value": valid, "bar": 0.9, "passed": valid >= 0.9},
        "right operation": {"value": right, "bar": 0.85, "passed": right >= 0.85},
    }
    manifest = artefacts.Manifest(
        name=f"{work.tenant.id}-tools",
        tenant=str(work.tenant.id),
        recipe="toolformer",
        base=work.settings.llm_model,
        base_sha256=artefacts.sha256(base),
        system=toolformer.SYSTEM,
        data_sha256=hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest(),
        figures={**figures, "gates": gates},
    )
    artefacts.export(outcome.adapter, base, work.out / "artefact", manifest)
    return figures


def split(rows: list[dict[str, Any]], *, share: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(training, held out), by text. Every question was drawn with arguments of its own, so no held-out call was trained."""
    order = list(rows)
    random.Random(seed).shuffle(order)  # noqa: S311
    count = max(1, round(share * len(order)))
    seen = {c for r in order[count:] for c in r["calls"] if "()" not in c}
    return order[count:], [r for r in order[:count] if not seen & set(r["calls"])]
