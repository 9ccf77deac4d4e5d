"""Small adapters made here, for the real base model: no training, only a change of the weights that is big enough to be heard."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from frontdesk import settings
from frontdesk.models import registry
from frontdesk.training.gguf_files import Update, base_facts, write_adapter


@pytest.fixture(scope="session")
def gguf() -> Path:
    return registry.pull("smollm2-135m-instruct", settings.load().cache)


def loud_updates(base: Path, seed: int, *, size: float = 1.5) -> list[Update]:
    """Random updates of three layers: the model speaks differently, and differently for each seed."""
    rng = np.random.default_rng(seed)
    layers = ("blk.20.ffn_down.weight", "blk.28.ffn_down.weight", "blk.29.ffn_down.weight")
    shapes = base_facts(base).shapes
    return [
        Update(
            name=name,
            a=(rng.normal(size=(4, shapes[name][1])) / shapes[name][1] ** 0.5).astype(np.float32),
            b=(rng.normal(size=(shapes[name][0], 4)) * size).astype(np.float32),
            scale=1.0,
        )
        for name in layers
    ]


@pytest.fixture(scope="session")
def adapter_file(gguf, tmp_path_factory) -> Callable[[int], Path]:
    """Writes an adapter; another one for each seed."""
    folder = tmp_path_factory.mktemp("adapters")

    def make(seed: int) -> Path:
        path = folder / f"{seed}.gguf"
        if not path.exists():
            write_adapter(path, loud_updates(gguf, seed), 4.0)
        return path

    return make
