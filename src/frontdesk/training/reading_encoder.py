"""Teaches the sentence encoder how customers put things, as a small adapter for reading (`desk/reading_encoder.safetensors`).

    python -m frontdesk.training.reading_encoder --hold 0/2 --out a.safetensors
    python -m frontdesk.training.reading_encoder --hold 1/2 --out b.safetensors
    python -m frontdesk.training.reading_encoder --average a.safetensors b.safetensors

The base encoder is trained on pairs that say the same thing in like words; a customer's "telly" and a rule's "television set" are far apart
in it. Contrastive learning on invented companies (`desk/reading_set`) brings question and proof together: for each question one right
unit against units that the base encoder finds most alike, and against those of the other questions of a batch, which are of few companies
on purpose: a company's own other rules are what a reader confuses. Only low-rank updates of the upper layers are learnt (LoRA, Hu et al.
2021), so what is shipped is small, the base stays as it is, and the lower layers are computed once for each text.

Two encoders, each taught on half of the companies, are averaged (Wortsman et al. 2022, "Model soups"), and each of them can say how it reads
the companies that it has not seen, which is what `desk.train_reading` learns from. Every seventh company is kept from both, for an honest
figure of the mean. `docs/adr/0002-reading-model.md` says which of all that is in service, and what it was measured against.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import BertModel, PreTrainedTokenizerFast

from frontdesk.desk.reading import FEATURES, Reader, ReadingModel, face
from frontdesk.desk.train_reading import Example, examples, held_of
from frontdesk.models import registry
from frontdesk.models.embedder import MiniLM
from frontdesk.settings import load

SHARE = 0.7
"""Of the update that was learnt, so much is shipped: chosen on companies that no encoder had seen (`docs/adr/0002-reading-model.md`)."""
TARGET = Path(__file__).parents[1] / "desk" / "reading_encoder.safetensors"
BASE = "all-minilm-l6-v2"
FROZEN = 2
"""Lower layers that stay as they are."""
RANK = 16
SCALE = 2.0
RATE = 6e-4
COMPANIES, EACH = 4, 4
"""Companies of a batch, and questions of each."""
HARD = 3
LIKELY = 16
"""Units that the base finds most alike, from which wrong ones are drawn."""
TOKENS = 80
GROUP = 24
"""Texts encoded together."""
TEMPERATURE = 25.0
APART = 2, 7
"""Of each seven companies in the order of their names, the third is in no training."""


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
    """The base encoder with low-rank updates in every linear layer above the frozen ones. Remembers what those make of a text."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")  # noqa: S106 - a token of text
        self.bert = BertModel.from_pretrained(folder).eval()
        for parameter in self.bert.parameters():
            parameter.requires_grad_(False)
        self._lower, self._upper = self.bert.encoder.layer[:FROZEN], self.bert.encoder.layer[FROZEN:]
        for name, module in list(self._upper.named_modules()):
            if isinstance(module, nn.Linear):
                setattr(self._upper.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], LowRank(module))
        self._states: dict[str, torch.Tensor] = {}

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit-length vectors, (len(texts), hidden)."""
        self._prepare(texts)
        order = sorted(range(len(texts)), key=lambda i: len(self._states[texts[i]]))
        rows: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), GROUP):
            group = order[start : start + GROUP]
            kept = [self._states[texts[i]] for i in group]
            states = nn.utils.rnn.pad_sequence(kept, batch_first=True).float()
            mask = nn.utils.rnn.pad_sequence([torch.ones(len(k)) for k in kept], batch_first=True)
            states = _through(self._upper, states, mask)
            means = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            rows.update(zip(group, functional.normalize(means, dim=-1), strict=True))
        return torch.stack([rows[i] for i in range(len(texts))])

    def _prepare(self, texts: Sequence[str]) -> None:
        fresh = sorted({t for t in texts if t not in self._states}, key=len)
        for start in range(0, len(fresh), GROUP):
            some = fresh[start : start + GROUP]
            batch = self.tokenizer(some, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
            mask = batch["attention_mask"].float()
            with torch.no_grad():
                states = _through(self._lower, self.bert.embeddings(input_ids=batch["input_ids"]), mask)
            self._states.update((t, row[: int(m.sum())].half()) for t, row, m in zip(some, states, mask, strict=True))

    def adapter(self) -> dict[str, torch.Tensor]:
        """What was learnt alone, half precision: the updates, named as the base weights they belong to."""
        found = {}
        for name, module in self.bert.encoder.named_modules():
            if isinstance(module, LowRank):
                found[f"encoder.{name}.weight.a"] = SCALE * module.a
                found[f"encoder.{name}.weight.b"] = module.b
        return {name: value.detach().half().contiguous() for name, value in found.items()}


def _through(layers: nn.ModuleList, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden = torch.zeros_like(mask).masked_fill(mask == 0, -1e9)[:, None, None, :]
    for layer in layers:
        made = layer(states, attention_mask=hidden)
        states = made[0] if isinstance(made, tuple) else made
    return states


def train(encoder: Encoder, rows: Sequence[Example], held: Sequence[Example], *, epochs: int, seed: int = 7) -> None:
    """Contrastive learning over the rows; an epoch is as many questions as there are rows, drawn by company."""
    rng = random.Random(seed)  # noqa: S311 - an order of examples, nothing secret
    learnt = [p for p in encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    each = len(rows) // (COMPANIES * EACH)
    losses: list[float] = []
    begun = time.monotonic()
    for done, batch in enumerate(_batches(rows, rng, epochs * each)):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (done + 1) / 20) * max(0.02, 1 - done / (epochs * each))
        loss = _loss(encoder, batch, rng)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if (done + 1) % max(1, each // 4) == 0:
            sys.stderr.write(f"step {done + 1}/{epochs * each}: loss {np.mean(losses):.3f}, {time.monotonic() - begun:.0f} s\n")
            losses.clear()
    if held:
        sys.stderr.write(f"right unit first in companies held out: {told_apart(encoder, held):.3f} of {len(held)}\n")


def _batches(rows: Sequence[Example], rng: random.Random, count: int) -> Iterator[list[Example]]:
    of_company: dict[str, list[Example]] = {}
    for row in rows:
        of_company.setdefault(row.company, []).append(row)
    enough = [name for name, own in of_company.items() if len(own) >= EACH]
    for _ in range(count):
        yield [row for name in rng.sample(enough, COMPANIES) for row in rng.sample(of_company[name], EACH)]


def _loss(encoder: Encoder, rows: Sequence[Example], rng: random.Random) -> torch.Tensor:
    wanted: list[str] = []
    texts: dict[str, int] = {}
    for row in rows:
        right = [int(i) for i in np.flatnonzero(row.right)]
        likely = [int(i) for i in np.argsort(-row.signs[:, 0])[:LIKELY] if not row.right[i]]
        chosen = [face(row.units[i]) for i in (rng.choice(right), *rng.sample(likely, min(HARD, len(likely))))]
        wanted.append(chosen[0])
        for text in chosen:
            texts.setdefault(text, len(texts))
    alike = TEMPERATURE * encoder([r.text for r in rows]) @ encoder(list(texts)).T
    hidden = torch.zeros(alike.shape)
    for k, row in enumerate(rows):
        also_right = {face(u) for u, ok in zip(row.units, row.right, strict=True) if ok} - {wanted[k]}
        hidden[k, [texts[t] for t in also_right if t in texts]] = -1e4
    return functional.cross_entropy(alike + hidden, torch.tensor([texts[t] for t in wanted]))


def told_apart(encoder: Encoder, rows: Sequence[Example]) -> float:
    """How often the right unit is the most alike of all candidates."""
    texts = list(dict.fromkeys(face(u) for row in rows for u in row.units))
    with torch.no_grad():
        vectors = dict(zip(texts, encoder(texts), strict=True))
        asked = encoder([row.text for row in rows])
    best = (int((torch.stack([vectors[face(u)] for u in row.units]) @ q).argmax()) for row, q in zip(rows, asked, strict=True))
    return float(np.mean([bool(row.right[i]) for row, i in zip(rows, best, strict=True)]))


def average(files: Sequence[Path], target: Path, *, share: float = 1.0) -> None:
    """Writes an adapter whose update is the mean of the others', their low-rank parts side by side, times `share`.

    Less than the whole update lies between the base encoder and what was learnt, and reads companies unlike those learnt from better
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    parts = [load_file(file) for file in files]
    joined = {}
    for name in (n for n in parts[0] if n.endswith(".a")):
        other = f"{name[:-2]}.b"
        joined[name] = np.concatenate([p[name] for p in parts], axis=0)
        joined[other] = (np.concatenate([p[other].astype(np.float32) for p in parts], axis=1) * (share / len(parts))).astype(np.float16)
    held = frozenset.intersection(*(held_of(file) for file in files))
    save_arrays(joined, target, metadata={"base": BASE, "held": ",".join(sorted(held))})


async def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes the adapter, or averages some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hold", default="", help="k/n: hold out the k-th of n parts of the companies")
    parser.add_argument("--average", type=Path, nargs="+", default=[], help="adapters whose mean is written")
    parser.add_argument("--share", type=float, default=SHARE, help="with --average: how much of the mean update is kept")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    if options.average:
        average(options.average, options.out, share=options.share)
        return 0
    settings = load()
    torch.set_num_threads(options.threads or settings.compute_threads)
    torch.manual_seed(7)
    folder = registry.pull(BASE, settings.cache)
    blank = ReadingModel(mean=np.zeros(len(FEATURES)), scale=np.ones(len(FEATURES)), layers=())
    rows = [r for r in await examples(Reader(MiniLM(folder, threads=1), blank)) if r.right.any()]
    held = held_out(sorted({r.company for r in rows}), options.hold)
    encoder = Encoder(folder)
    train(encoder, [r for r in rows if r.company not in held], [r for r in rows if r.company in held], epochs=options.epochs)
    save_file(encoder.adapter(), options.out, metadata={"base": BASE, "held": ",".join(sorted(held))})
    return 0


def held_out(companies: Sequence[str], hold: str) -> set[str]:
    """The companies kept from all training, and, for "k/n", part k of n of the others."""
    apart = companies[APART[0] :: APART[1]]
    rest = [c for c in companies if c not in apart]
    part, parts = (int(x) for x in hold.split("/")) if hold else (0, 0)
    return {*apart, *(rest[part::parts] if hold else ())}


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
