"""Teaches the sentence encoder how customers put things, as a small adapter for reading. Makes `desk/reading_encoder.safetensors`.

    python -m frontdesk.training.reading_encoder                    # all companies, writes the adapter
    python -m frontdesk.training.reading_encoder --hold 0/4 --out X # a quarter of the companies held out and reported

The base encoder is trained on pairs that say the same thing in like words; a customer's "telly" and a rule's "television set" are far apart
in it. Contrastive learning on invented companies (`desk/reading_set`) brings question and proof together: for each question one right
unit against the units that the base encoder finds most alike, and against those of the other questions of the batch. Only low-rank
updates of the linear layers are learnt (LoRA, Hu et al. 2021), so what is shipped is small and the base model stays as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import BertModel, PreTrainedTokenizerFast

from frontdesk.desk.reading import FEATURES, Reader, ReadingModel, face
from frontdesk.desk.train_reading import Example, examples
from frontdesk.models import registry
from frontdesk.models.embedder import MiniLM
from frontdesk.settings import load

TARGET = Path(__file__).parents[1] / "desk" / "reading_encoder.safetensors"
RANK = 16
SCALE = 2.0
RATE = 8e-4
BATCH = 16
HARD = 4
TOKENS = 80
TEMPERATURE = 20.0


class LowRank(nn.Module):
    """A linear layer with a learnt low-rank update: W x + SCALE · B A x."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(RANK, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) -> (…, out)."""
        updated: torch.Tensor = self.base(x) + SCALE * functional.linear(functional.linear(x, self.a), self.b)
        return updated


class Encoder(nn.Module):
    """The base encoder with low-rank updates in every linear layer of its transformer."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")  # noqa: S106 - a token of text
        self.bert = BertModel.from_pretrained(folder)
        for parameter in self.bert.parameters():
            parameter.requires_grad_(False)
        for name, module in list(self.bert.encoder.named_modules()):
            if isinstance(module, nn.Linear):
                parent = self.bert.encoder.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], LowRank(module))

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(len(texts), hidden), unit length."""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        return functional.normalize((states.float() * mask).sum(1) / mask.sum(1), dim=-1)

    def adapter(self) -> dict[str, torch.Tensor]:
        """The updates alone, named as the base weights they belong to, half precision."""
        found = {}
        for name, module in self.bert.encoder.named_modules():
            if isinstance(module, LowRank):
                found[f"encoder.{name}.weight.a"] = (SCALE * module.a.detach()).half().contiguous()
                found[f"encoder.{name}.weight.b"] = module.b.detach().half().contiguous()
        return found


def train(encoder: Encoder, rows: Sequence[Example], *, epochs: int, seed: int = 7) -> None:
    """Contrastive learning over the rows that have a right unit."""
    rng = random.Random(seed)  # noqa: S311 - an order of examples, nothing secret
    rows = [r for r in rows if r.right.any()]
    learnt = [p for p in encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    steps, done, begun = epochs * (len(rows) // BATCH), 0, time.monotonic()
    encoder.train()
    for epoch in range(epochs):
        rng.shuffle(rows)
        losses = []
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1.0, (done + 1) / 20) * max(0.02, 1 - done / steps)
            loss = _loss(encoder, rows[start : start + BATCH], rng)
            loss.backward()
            nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss))
            done += 1
        sys.stderr.write(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {time.monotonic() - begun:.0f} s\n")


def _loss(encoder: Encoder, rows: Sequence[Example], rng: random.Random) -> torch.Tensor:
    texts: list[str] = []
    places = []
    for row in rows:
        right = [int(i) for i in np.flatnonzero(row.right)]
        likely = [int(i) for i in np.argsort(-row.signs[:, 0])[:16] if not row.right[i]]
        chosen = [rng.choice(right), *rng.sample(likely, min(HARD, len(likely)))]
        places.append(len(texts))
        texts += [face(row.units[i]) for i in chosen]
    alike = TEMPERATURE * encoder([r.text for r in rows]) @ encoder(texts).T
    for k, row in enumerate(rows):
        also_right = {face(u) for u, ok in zip(row.units, row.right, strict=True) if ok}
        hidden = [n for n, text in enumerate(texts) if text in also_right and n != places[k]]
        alike[k, hidden] = -1e4
    return functional.cross_entropy(alike, torch.tensor(places))


async def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes the adapter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hold", default="", help="k/n: hold out the k-th of n parts of the companies")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    settings = load()
    torch.set_num_threads(options.threads or settings.compute_threads)
    torch.manual_seed(7)
    folder = registry.pull("all-minilm-l6-v2", settings.cache)
    blank = ReadingModel(mean=np.zeros(len(FEATURES)), scale=np.ones(len(FEATURES)), layers=())
    rows = await examples(Reader(MiniLM(folder, threads=1), blank))
    held = held_out(rows, options.hold)
    encoder = Encoder(folder)
    train(encoder, [r for r in rows if r.company not in held], epochs=options.epochs)
    save_file(encoder.adapter(), options.out, metadata={"base": "all-minilm-l6-v2", "held": ",".join(sorted(held))})
    return 0


def held_out(rows: Sequence[Any], hold: str) -> set[str]:
    """The companies of part k of n, from "k/n"; none for an empty text."""
    if not hold:
        return set()
    part, parts = (int(x) for x in hold.split("/"))
    return set(sorted({r.company for r in rows})[part::parts])


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
