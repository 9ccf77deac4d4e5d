"""A sentence encoder that learns which texts mean the same: low-rank updates by contrastive learning, in the form that the desk loads.

Texts of one label (or one FAQ entry) are pulled together and pushed from the others of their batch (supervised contrastive learning,
Khosla et al. 2020). What is written is a `.safetensors` of updates for `SentenceEncoder(adapter=…)`; the base model stays as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from frontdesk.errors import BadInput, TrainingFailed
from frontdesk.models.embedder import tokenizer
from frontdesk.training.layers import WORDS, Layers
from frontdesk.training.learner import fastest_dtype

TOKENS = 64
TEMPERATURE = 0.07
TOGETHER = 32
"""Texts that go through the encoder at once."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How an encoder learns."""

    steps: int = 300
    labels: int = 32
    """Labels per batch."""
    each: int = 2
    """Texts per label in a batch."""
    rate: float = 1e-3
    rank: int = 8
    scale: float = 2.0
    dropout: float = 0.1
    """Of the base model's own layers: the same text is seen a little differently each time."""
    seed: int = 0


class Encoder(nn.Module):
    """A BERT or MPNet encoder whose matrices learn by low-rank updates, W x + scale · B A x. Vectors are means over tokens, unit length."""

    def __init__(self, folder: Path, how: Contrast) -> None:
        """The model in `folder`, as `models.registry` keeps it. Raises BadInput for one that is neither."""
        super().__init__()
        torch.manual_seed(how.seed)
        self.how, self.layers, self.tokenizer = how, Layers.of(folder), tokenizer(folder)
        self.tokenizer.enable_truncation(TOKENS)
        self.base = {n: w for n, w in load_file(folder / "model.safetensors").items() if w.is_floating_point()}
        self.dtype = torch.float32
        """In which is multiplied; `learn` takes what is fastest. What is learnt is kept in full."""
        self.updates = nn.ParameterDict()
        for name, weight in self.base.items():
            if name.startswith("encoder.layer.") and weight.ndim == 2:
                into, out = weight.shape[1], weight.shape[0]
                self.updates[key_of(name, "a")] = nn.Parameter(torch.randn(how.rank, into) / into**0.5)
                self.updates[key_of(name, "b")] = nn.Parameter(torch.zeros(out, how.rank))
        self.apart = self.layers.between(self.base, TOKENS)

    def multiplying(self, dtype: torch.dtype, device: torch.device) -> Encoder:
        """Itself, computing in this type and place."""
        self.dtype = dtype
        self.base = {n: w.to(device, dtype) for n, w in self.base.items()}
        self.apart = None if self.apart is None else self.apart.to(device, dtype)
        self.to(device)
        return self

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(len(texts), hidden), unit length. Texts of like length are read together: most of a mixed batch would be padding."""
        read = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(read)), key=lambda i: len(read[i]))
        dropped = self.how.dropout if self.training else 0.0
        found: list[torch.Tensor] = []
        for start in range(0, len(order), TOGETHER):
            ids, mask = (
                rows.to(self.base[WORDS].device) for rows in self.layers.padded([read[i] for i in order[start : start + TOGETHER]])
            )
            states = self.layers.embedded(self.base, ids, self._normal)
            states = functional.dropout(states, dropped) if dropped else states
            states = self.layers.through(
                states, mask, range(self.layers.count), self._dense, self._normal, apart=self.apart, dropped=dropped
            ).float()
            found.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        place = torch.empty(len(order), dtype=torch.long)
        place[torch.tensor(order)] = torch.arange(len(order))
        whole = torch.cat(found)
        return functional.normalize(whole[place.to(whole.device)], dim=-1)

    def _dense(self, x: torch.Tensor, name: str) -> torch.Tensor:
        made = functional.linear(x, self.base[f"{name}.weight"], self.base[f"{name}.bias"])
        low = functional.linear(x, self.how.scale * self.updates[key_of(f"{name}.weight", "a")].to(self.dtype))
        return made + functional.linear(low, self.updates[key_of(f"{name}.weight", "b")].to(self.dtype))

    def _normal(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.base[f"{name}.weight"], self.base[f"{name}.bias"], self.layers.epsilon)

    def save(self, path: Path, **said: str) -> None:
        """The updates alone, half precision, as the desk's embedder reads them; whole or not at all."""
        part = path.with_suffix(".part")
        save_file(saved(self.updates, self.how.scale), part, metadata=said)
        part.rename(path)


def key_of(weight: str, part: str) -> str:
    """What the `a` or `b` of a weight's update is called: a parameter's name may hold no dots."""
    return f"{weight}.{part}".replace(".", "/")


def saved(updates: nn.ParameterDict, scale: float) -> dict[str, torch.Tensor]:
    """Updates in half precision, the scale in them, named as the weights that they belong to."""
    scaled = {key.replace("/", "."): scale * u if key.endswith("/a") else u for key, u in updates.items()}
    return {name: update.detach().half().contiguous().cpu() for name, update in scaled.items()}


def learn(
    texts: Sequence[str],
    labels: Sequence[str],
    base: Path,
    how: Contrast,
    *,
    on_step: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Encoder | None:
    """An encoder that tells the labels apart; None when it was stopped. Raises BadInput for fewer than two labels with two texts."""
    by_label: dict[str, list[str]] = {}
    for text, label in zip(texts, labels, strict=True):
        by_label.setdefault(label, []).append(text)
    usable = [label for label, said in by_label.items() if len(said) > 1]
    if len(usable) < 2:
        raise BadInput(f"contrastive learning needs two labels with two texts each; there are {len(usable)}: add texts")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = Encoder(base, how).multiplying(getattr(torch, fastest_dtype(device)), device)
    rng = random.Random(how.seed)  # noqa: S311 - an order of texts
    learnt = [p for p in encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=how.rate, weight_decay=0.01)
    encoder.train()
    for step in range(how.steps):
        if stop is not None and stop():
            return None
        said, of = _batch(by_label, usable, how, rng)
        loss = contrast(encoder(said), torch.tensor(of))
        if not torch.isfinite(loss):
            raise TrainingFailed(f"the loss is not a number any more at step {step + 1}: lower `rate` (now {how.rate:g})")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learnt, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = how.rate * min(1.0, (step + 1) / 20) * max(0.02, 1 - step / how.steps)
        optimiser.step()
        optimiser.zero_grad()
        if on_step is not None:
            on_step(step + 1, float(loss))
    encoder.eval()
    return encoder


def contrast(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss: each text against its likes, among all others of the batch."""
    labels = labels.to(vectors.device)
    alike = vectors @ vectors.T / TEMPERATURE
    itself = torch.eye(len(labels), dtype=torch.bool, device=vectors.device)
    likes = (labels[:, None] == labels[None, :]) & ~itself
    log = alike - alike.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    return -(log.masked_fill(~likes, 0.0).sum(1) / likes.sum(1).clamp(min=1)).mean()


def _batch(by_label: dict[str, list[str]], usable: list[str], how: Contrast, rng: random.Random) -> tuple[list[str], list[int]]:
    texts, of = [], []
    for place, label in enumerate(rng.sample(usable, min(how.labels, len(usable)))):
        for text in rng.sample(by_label[label], min(how.each, len(by_label[label]))):
            texts.append(text)
            of.append(place)
    return texts, of
