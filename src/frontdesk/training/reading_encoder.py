"""Teaches the sentence encoder how customers put things, as a small adapter (`desk/reading_encoder.safetensors`).

    python -m frontdesk.training.reading_encoder --out a.safetensors
    python -m frontdesk.training.reading_encoder --average a.safetensors

The base encoder is trained on pairs that say the same thing in like words; a customer's "telly" and a rule's "television set" are far apart
in it. Contrastive learning on invented companies (`desk/reading_set`) brings question and proof together: for each question one right
unit against units that the base encoder finds most alike, and against those of the other questions of a batch, which are of few companies
on purpose: a company's own other rules are what a reader confuses. Every fourth step brings messages and the operations that they are about
together (`tools/selection_set`), against the other operations of the same business and none. Only low-rank updates of the upper layers are
learnt (LoRA, Hu et al. 2021), so what is shipped is small, the base stays as it is, and the lower layers are computed once for each text.

A share of the update is shipped. The companies in `HELD` and the businesses in `tests/tools` are in no training: the weights of
`desk.train_reading` and `bench.tools_selection` are learnt on those. `docs/adr/0002-reading-model.md` says what is in service, and what it was
measured against.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import BertModel, PreTrainedTokenizerFast

from frontdesk.desk.reading import Reader, ReadingModel, face
from frontdesk.desk.train_reading import FOLDER, Example, examples, held_of
from frontdesk.models import registry
from frontdesk.models.embedder import MiniLM
from frontdesk.settings import load
from frontdesk.tools.businesses import businesses, operations
from frontdesk.tools.selection import lines_of

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
HELD = "held.txt"
"""File of the reading set that names the companies which are in no training of an encoder."""
SELECTING = 4
"""Every so many steps one is about operations."""
MESSAGES, LINES = 20, 4
"""Messages of such a step, and lines of each operation beside its summary."""
NONE = 8.0
"""Score of "about no operation" at the start; it is learnt."""


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


def train(encoder: Encoder, rows: Sequence[Example], held: Sequence[Example], asked: Sequence[Asked], *, steps: int, seed: int = 7) -> None:
    """Contrastive learning over the rows, drawn by company, and over what businesses are `asked`."""
    rng = random.Random(seed)  # noqa: S311 - an order of examples, nothing secret
    none = nn.Parameter(torch.tensor(NONE))
    learnt = [*(p for p in encoder.parameters() if p.requires_grad), none]
    optimiser = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    losses: dict[str, list[float]] = {"reading": [], "operations": []}
    begun = time.monotonic()
    batches = _batches(rows, rng, steps)
    for done in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (done + 1) / 20) * max(0.02, 1 - done / steps)
        about = bool(asked) and done % SELECTING == SELECTING - 1
        loss = _chosen(encoder, rng.choice(asked), none, rng) if about else _loss(encoder, next(batches), rng)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses["operations" if about else "reading"].append(loss.item())
        if (done + 1) % max(1, steps // 12) == 0:
            shown = ", ".join(f"{name} {np.mean(some):.3f}" for name, some in losses.items() if some)
            sys.stderr.write(f"step {done + 1}/{steps}: loss {shown}, {time.monotonic() - begun:.0f} s\n")
            losses = {name: [] for name in losses}
    if held:
        sys.stderr.write(f"right unit first in companies held out: {told_apart(encoder, held):.3f} of {len(held)}\n")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A business: the lines that describe each of its operations, and its messages with the operation's place, None for none of them."""

    operations: tuple[tuple[str, ...], ...]
    messages: tuple[tuple[str, int | None], ...]

    @classmethod
    def of(cls, business: Mapping[str, Any]) -> Asked:
        """From an entry of `tools.selection_set`."""
        made = operations(business["operations"])
        places: dict[str | None, int | None] = {o.name: i for i, o in enumerate(made)}
        messages = tuple((text, places.get(name)) for name, texts in business["questions"].items() for text in texts)
        return cls(operations=tuple(tuple(lines_of(o)) for o in made), messages=messages)


def _chosen(encoder: Encoder, business: Asked, none: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """How badly some messages find their operation, by the line of it that is most alike, or none."""
    some = rng.sample(business.messages, min(MESSAGES, len(business.messages)))
    lines: list[str] = []
    owners: list[int] = []
    for place, own in enumerate(business.operations):
        drawn = list(dict.fromkeys([own[0], *rng.sample(own, min(LINES, len(own)))]))
        lines += drawn
        owners += [place] * len(drawn)
    alike = TEMPERATURE * encoder([text for text, _ in some]) @ encoder(lines).T
    of = torch.tensor(owners)
    scores = [alike[:, of == place].max(1).values for place in range(len(business.operations))]
    rows = torch.stack([*scores, none.expand(len(some))], 1)
    return functional.cross_entropy(rows, torch.tensor([len(scores) if place is None else place for _, place in some]))


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
    parser.add_argument("--average", type=Path, nargs="+", default=[], help="adapters whose mean is written")
    parser.add_argument("--share", type=float, default=SHARE, help="with --average: how much of the mean update is kept")
    parser.add_argument("--steps", type=int, default=1300)
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
    blank = ReadingModel.blank()
    rows = [r for r in await examples(Reader(MiniLM(folder, threads=1), blank)) if r.right.any()]
    held = frozenset((FOLDER / HELD).read_text(encoding="utf-8").split())
    encoder = Encoder(folder)
    asked = [Asked.of(business) for business in businesses().values()]
    apart = [r for r in rows if r.company in held]
    train(encoder, [r for r in rows if r.company not in held], apart, asked, steps=options.steps)
    save_file(encoder.adapter(), options.out, metadata={"base": BASE, "held": ",".join(sorted(held))})
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
