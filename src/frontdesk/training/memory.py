"""How much memory a run needs, from the model's config alone, before anything is loaded. Refuses a run that will not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from frontdesk.errors import TrainingFailed
from frontdesk.training.finetune import Parameters

KEPT = 2**30
"""Bytes that what the frozen layers say of each sample may take; a run with more works it out every time."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory that a run needs, in bytes."""

    weights: int
    training: int
    activations: int
    available: int
    disk: int
    """Of checkpoint and adapter, the old ones beside the new."""

    @property
    def needed(self) -> int:
        """All of it."""
        return self.weights + self.training + self.activations

    def __str__(self) -> str:
        return f"needs about {self.needed / 2**30:.1f} GiB of memory, {self.available / 2**30:.1f} GiB are free"


def estimate(base: Path, parameters: Parameters, *, available: int | None = None) -> Estimate:
    """From the model's config alone, without torch. Raises TrainingFailed when it will not fit (`available`: bytes; None: as measured)."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    hidden, layers, inner, vocabulary = (int(config[k]) for k in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"))
    heads = int(config["num_attention_heads"])
    kv = hidden * int(config.get("num_key_value_heads", heads)) // heads
    linear = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * inner)
    size = 2 if parameters.dtype == "bfloat16" else 4
    learning = min(layers, parameters.layers or layers)
    adapter = learning * parameters.rank * (4 * hidden + 2 * (hidden + kv) + 3 * (hidden + inner))
    trained = adapter if parameters.method == "lora" else linear + vocabulary * hidden
    micro = min(1024, parameters.batch * parameters.length)
    found = Estimate(
        weights=(linear + vocabulary * hidden) * size,
        training=trained * (size * 2 + 16) + (KEPT if learning < layers else 0),
        activations=micro * layers * (14 * hidden + 4 * inner) * size + micro * vocabulary * 8,
        disk=trained * 40,
        available=int(psutil.virtual_memory().available) if available is None else available,
    )
    if found.needed > found.available:
        raise TrainingFailed(f"this run {found}: lower `batch` or `length`, use `method: lora`, or take a smaller model")
    return found


def require_disk(folder: Path, needed: Estimate) -> None:
    """Raises TrainingFailed when checkpoint and adapter will not fit beside `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed.disk:
        raise TrainingFailed(
            f"the run writes about {needed.disk / 2**30:.1f} GiB to {folder}, {free / 2**30:.1f} GiB are free: free some space there"
        )
