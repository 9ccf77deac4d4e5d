"""The one training loop: a base model, samples, parameters in; an adapter, checkpoints and curves out. Refuses a loss that is no number.

    base = base_folder("smollm2-135m-instruct", cache)             # a plain folder of weights, made once from the GGUF
    outcome = fine_tune(base=base, samples=samples, held_out=held, parameters=Parameters(), out=run_folder)

Every step's rows follow from (seed, epoch, step) alone, so a run that was killed goes on from its checkpoint and ends with the same
weights as one that was not. Rows are packed: samples lie one after another without padding, each sees only itself and the beginning
that all share (the system prompt), which is computed once per row. Logits are made only where something is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from frontdesk.training.packing import Sample

__all__ = ["Epoch", "Learner", "Outcome", "Parameters", "Sample", "Step", "base_folder", "fine_tune"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a run may set. The defaults are those of the `faq` recipe."""

    method: str = "lora"
    """`lora`, or `full`: every weight."""
    epochs: int = 8
    rate: float = 1e-3
    batch: int = 16
    """Samples per step."""
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps in which the rate rises; it falls as a cosine afterwards."""
    clip: float = 1.0
    length: int = 1024
    """Tokens per sample at most; longer ones are refused before training."""
    row: int = 320
    """Tokens per packed row."""
    per_group: int = 0
    """Samples of each group (the wordings of one fact) seen per epoch, another draw each time; 0: all."""
    seed: int = 0
    patience: int = 2
    """Epochs without a better score after which a run ends."""
    target: float = 2.0
    """Score at which a run ends at once."""
    save_every: int = 0
    """Steps between checkpoints within an epoch; 0: at the end of each epoch only."""
    dtype: str = "auto"
    """`auto`: the faster of `bfloat16` and `float32` as measured here."""
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of training. `loss` is the mean per learnt token, `tokens` all tokens so far, `seconds` of training alone."""

    step: int
    steps: int
    epoch: int
    loss: float
    rate: float
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass. `score`: what `on_epoch` returned, else minus the held-out loss."""

    epoch: int
    train_loss: float
    held_out_loss: float
    token_accuracy: float
    score: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run left behind. `adapter` holds the weights of `best_epoch`: a PEFT folder, or a whole model after `full`."""

    adapter: Path
    best_epoch: int
    epochs: tuple[Epoch, ...]
    steps: int
    tokens: int
    """Trained tokens, shared beginnings counted for each sample."""
    seconds: float
    """Of training steps alone."""
    tokens_per_second: float
    ended: str
    """`done`, `target`, `patience` or `stopped`."""
    dtype: str
    trainable: int


def base_folder(model: str, cache: Path, *, progress: Callable[[str, int, int], None] | None = None) -> Path:
    """A plain folder of weights that transformers trains, for a registry name, a .gguf file or such a folder itself.

    Made once per GGUF (dequantised) and kept in the cache. Raises BadInput for a GGUF that is no Llama-family model.
    """
    raise NotImplementedError


def fine_tune(
    *,
    base: Path,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    parameters: Parameters,
    out: Path,
    on_step: Callable[[Step], None] | None = None,
    on_epoch: Callable[[Learner, Epoch], float | None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train and leave `out/adapter`, `out/curves.jsonl` and, until it is done, `out/checkpoint`; goes on from a checkpoint that is there.

    `on_epoch` gets the learner (to let it reply) and may return a score, higher is better: the best epoch is what is kept.
    `stop` is asked after each step; True leaves a checkpoint and returns with `ended="stopped"`.
    Raises BadInput for samples that cannot be trained on, TrainingFailed when the loss is no number or memory or disk ran out.
    """
    raise NotImplementedError


class Learner:
    """A model in training, as callbacks see it."""

    def reply(self, prompts: Sequence[str], *, tokens: int = 96) -> list[str]:
        """Greedy continuations of texts that end where the answer begins."""
        raise NotImplementedError

    def losses(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Mean loss and accuracy per learnt token."""
        raise NotImplementedError
