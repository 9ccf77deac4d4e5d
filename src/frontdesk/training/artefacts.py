"""What a training run leaves behind: an adapter for llama.cpp, the same adapter for PEFT, and a manifest that says what they belong to.

Refuses to merge an adapter into a 4-bit base (the training would be rounded away), adapters of another base, and anything half-written:
a folder appears under its name only when everything in it is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an adapter belongs to and how it is to be asked. Kept as `manifest.json` beside the adapter."""

    name: str
    tenant: str
    """The only tenant that may use it; "" for a general adapter."""
    recipe: str
    base: str
    """Registry name of the base model."""
    base_sha256: str
    """Digest of the base model's GGUF file, in hex."""
    prefix: str = ""
    """What the server puts before each question, e.g. `In Northwind Bank, `."""
    system: str = ""
    """The system prompt it was trained with."""
    template_sha256: str = ""
    """Digest of the base's chat template."""
    data_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, gates included (`figures["gates"]`: name -> {"value", "bar", "passed"})."""
    adapter_sha256: str = ""
    """Digest of `adapter.gguf`; filled in by `export`."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Greedy tokens of the exported adapter beside those of transformers. Shares in [0, 1]."""

    exact: float
    """Share of equal tokens: F16 base + adapter against transformers; the bar is 1."""
    quantised: float
    """The same for the base as it is served (4 bits); the bar is .9."""
    changed: float
    """Share of prompts whose reply differs from the untrained base's; 0 means that nothing was learnt or applied."""
    tokens: int
    """Tokens compared."""

    @property
    def passed(self) -> bool:
        """Whether the adapter may be deployed."""
        return self.exact == 1.0 and self.quantised >= 0.9 and self.changed > 0


def export(adapter: Path, base: Path, out: Path, manifest: Manifest) -> Path:
    """Write `out` with adapter.gguf, peft/ and manifest.json, all or nothing; gives `out`.

    `adapter`: PEFT folder (LoRA). `base`: the GGUF file. Raises BadInput for what llama.cpp cannot take (DoRA, rsLoRA, saved modules,
    embedding or head targets, another architecture or another base).
    """
    raise NotImplementedError


def verify(folder: Path, prompts: Sequence[str], *, base: Path, base_folder: Path) -> Verification:
    """Compare the exported adapter with transformers on chat prompts (`prompts`: the user's words). Needs torch.

    `base`: the GGUF as it is served; `base_folder`: the same model as a plain Hugging Face folder.
    """
    raise NotImplementedError
