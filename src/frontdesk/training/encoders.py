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
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from frontdesk.errors import BadInput, TrainingFailed
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


class LowRank(nn.Module):
    """A frozen linear layer with a learnt low-rank update: W x + scale · B A x."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) -> (…, out)."""
        updated: torch.Tensor = self.base(x) + self.scale * functional.linear(functional.linear(x, self.a), self.b)
        return updated


class Encoder(nn.Module):
    """A BERT or MPNet encoder whose linear layers may learn. Vectors are means over tokens, unit length."""

    def __init__(self, folder: Path, how: Contrast) -> None:
        from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

        super().__init__()
        torch.manual_seed(how.seed)
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")  # noqa: S106 - a token of text
        config = AutoConfig.from_pretrained(folder, hidden_dropout_prob=how.dropout, attention_probs_dropout_prob=how.dropout)
        fused = {"attn_implementation": "sdpa"} if config.model_type == "bert" else {}  # MPNet's attention is only there written out
        self.bert = AutoModel.from_pretrained(folder, config=config, **fused)
        self.padding = int(config.pad_token_id)
        self.bert.requires_grad_(False)
        self.halved = False
        """Whether to multiply in bfloat16, as `learn` does where that is faster; what is learnt is kept in full."""
        for name, module in list(self.bert.encoder.named_modules()):
            if isinstance(module, nn.Linear):
                setattr(
                    self.bert.encoder.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], LowRank(module, how.rank, how.scale)
                )

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(len(texts), hidden), unit length. Texts of like length are read together: most of a mixed batch would be padding."""
        read = self.tokenizer(list(texts), truncation=True, max_length=TOKENS)["input_ids"]
        order = sorted(range(len(read)), key=lambda i: len(read[i]))
        found: list[torch.Tensor] = []
        for start in range(0, len(order), TOGETHER):
            some = [read[i] for i in order[start : start + TOGETHER]]
            ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in some], batch_first=True, padding_value=self.padding)
            ids = ids.to(self.bert.device)
            lengths = torch.tensor([len(row) for row in some], device=self.bert.device)
            seen = torch.arange(ids.shape[1], device=self.bert.device)[None, :] < lengths[:, None]
            with torch.autocast(self.bert.device.type, dtype=torch.bfloat16, enabled=self.halved):
                states = self.bert(input_ids=ids, attention_mask=seen.long()).last_hidden_state
            found.append((states.float() * seen[..., None]).sum(1) / lengths[:, None])
        place = torch.empty(len(order), dtype=torch.long)
        place[torch.tensor(order)] = torch.arange(len(order))
        return functional.normalize(torch.cat(found)[place.to(self.bert.device)], dim=-1)

    def save(self, path: Path, **said: str) -> None:
        """The updates alone, half precision, as the desk's embedder reads them; whole or not at all."""
        found = {}
        for name, module in self.bert.encoder.named_modules():
            if isinstance(module, LowRank):
                found[f"encoder.{name}.weight.a"] = (module.scale * module.a.detach()).half().contiguous().cpu()
                found[f"encoder.{name}.weight.b"] = module.b.detach().half().contiguous().cpu()
        part = path.with_suffix(".part")
        save_file(found, part, metadata=said)
        part.rename(path)


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
    encoder: Encoder = Encoder(base, how).to("cuda" if torch.cuda.is_available() else "cpu")
    encoder.halved = fastest_dtype(encoder.bert.device) == "bfloat16"
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
    encoder.halved = False
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
