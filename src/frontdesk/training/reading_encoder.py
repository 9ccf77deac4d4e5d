"""Teaches the sentence encoder how customers put things, as a small adapter (`desk/reading_encoder.safetensors`).

    python -m frontdesk.training.reading_encoder --out a.safetensors --minutes 45 --read read.jsonl
    python -m frontdesk.training.reading_encoder --average a.safetensors

The base encoder is trained on pairs that say the same thing in like words; a customer's "telly" and a rule's "television set" are far apart
in it. Contrastive learning on invented companies (`desk/reading_set`) brings question and proof together: for each question one right
unit against units that a small encoder finds most alike, and against those of the other questions of a batch, which are of few companies
on purpose: a company's own other rules are what a reader confuses. Every third step brings messages and the operations that they are about
together (`tools/selection_set`), against the other operations of the same business and none. Only low-rank updates of the upper layers are
learnt (LoRA, Hu et al. 2021), so what is shipped is small, the base stays as it is, and the lower layers are computed once for each text.

`--minutes` is the schedule: the rate falls to nothing over that time. A share of the update can be shipped (`--average`). The companies in
`HELD` and the businesses in `tests/tools` are in no training: the weights of `desk.train_reading` and `bench.tools_selection` are learnt on
those. `docs/adr/0002-reading-model.md` says what is in service, and what it was measured against.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from frontdesk.desk.train_reading import FOLDER, held_of
from frontdesk.models import registry
from frontdesk.models.embedder import tokenizer
from frontdesk.settings import load
from frontdesk.tools.businesses import businesses, operations
from frontdesk.tools.selection import lines_of
from frontdesk.training.choices import Choice, of_companies
from frontdesk.training.encoders import key_of, saved
from frontdesk.training.layers import Layers
from frontdesk.training.learner import fastest_dtype

SHARE = 1.0
"""Of the update that was learnt, so much is shipped: chosen on companies that no encoder had seen (`docs/adr/0002-reading-model.md`)."""
TARGET = Path(__file__).parents[1] / "desk" / "reading_encoder.safetensors"
BASE = "all-mpnet-base-v2"
NEAR_BASE = "all-minilm-l6-v2"
"""Finds the units from which wrong ones are drawn."""
FROZEN = 4
"""Lower layers that stay as they are."""
RANK = 16
SCALE = 2.0
RATE = 4e-4
WARM = 30
"""Steps until the rate is reached."""
COMPANIES, EACH = 5, 4
"""Companies of a batch, and questions of each."""
HARD = 3
LIKELY = 16
"""Units that are nearest, from which wrong ones are drawn."""
TOKENS = 80
GROUP = 32
"""Texts encoded together."""
TEMPERATURE = 25.0
HELD = "held.txt"
"""File of the reading set that names the companies which are in no training of an encoder."""
SELECTING = 3
"""Every so many steps one is about operations."""
MESSAGES, LINES = 24, 3
"""Messages of such a step, and lines of each operation beside its summary."""
NONE = 8.0
"""Score of "about no operation" at the start; it is learnt."""
DEFAULT_MINUTES = 45.0


class Encoder(nn.Module):
    """MPNet with low-rank updates in every matrix above the frozen layers. Remembers what those make of a text."""

    def __init__(self, folder: Path) -> None:
        """The model in `folder`, as `models.registry` keeps it; computed in bfloat16 where that is faster."""
        super().__init__()
        self.layers = Layers.of(folder)
        self.dtype = getattr(torch, fastest_dtype(torch.device("cpu")))
        self.base = {n: w.to(self.dtype) for n, w in load_file(folder / "model.safetensors").items() if w.is_floating_point()}
        self.tokenizer = tokenizer(folder)
        self.tokenizer.enable_truncation(TOKENS)
        self.updates = nn.ParameterDict()
        for name, weight in self.base.items():
            if name.startswith("encoder.layer.") and weight.ndim == 2 and int(name.split(".")[2]) >= FROZEN:
                into, out = weight.shape[1], weight.shape[0]
                self.updates[key_of(name, "a")] = nn.Parameter(torch.randn(RANK, into) / into**0.5)
                self.updates[key_of(name, "b")] = nn.Parameter(torch.zeros(out, RANK))
        self.apart = self.layers.between(self.base, TOKENS)
        self._states: dict[str, torch.Tensor] = {}

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit-length vectors, (len(texts), hidden)."""
        self._prepare(texts)
        order = sorted(range(len(texts)), key=lambda i: len(self._states[texts[i]]))
        rows: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), GROUP):
            group = order[start : start + GROUP]
            kept = [self._states[texts[i]] for i in group]
            mask = nn.utils.rnn.pad_sequence([torch.ones(len(k)) for k in kept], batch_first=True)
            states = self._through(nn.utils.rnn.pad_sequence(kept, batch_first=True), mask, range(FROZEN, self.layers.count)).float()
            means = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            rows.update(zip(group, functional.normalize(means, dim=-1), strict=True))
        return torch.stack([rows[i] for i in range(len(texts))])

    def _prepare(self, texts: Sequence[str]) -> None:
        fresh = sorted({t for t in texts if t not in self._states}, key=len)
        for start in range(0, len(fresh), GROUP):
            some = fresh[start : start + GROUP]
            read = [self.tokenizer.encode(text).ids for text in some]
            ids, mask = self.layers.padded(read)
            with torch.no_grad():
                states = self._through(self.layers.embedded(self.base, ids, self._normal), mask, range(FROZEN))
            self._states.update((t, row[: len(own)].clone()) for t, row, own in zip(some, states, read, strict=True))

    def _through(self, states: torch.Tensor, mask: torch.Tensor, layers: range) -> torch.Tensor:
        return self.layers.through(states, mask, layers, self._dense, self._normal, apart=self.apart)

    def _dense(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """(…, in) -> (…, out): W x + SCALE · B A x."""
        made = functional.linear(x, self.base[f"{name}.weight"], self.base[f"{name}.bias"])
        if (key := key_of(f"{name}.weight", "a")) in self.updates:
            low = functional.linear(x, SCALE * self.updates[key].to(self.dtype))
            made = made + functional.linear(low, self.updates[key_of(f"{name}.weight", "b")].to(self.dtype))
        return made

    def _normal(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.base[f"{name}.weight"], self.base[f"{name}.bias"], self.layers.epsilon)

    def adapter(self) -> dict[str, torch.Tensor]:
        """What was learnt alone."""
        return saved(self.updates, SCALE)


def train(encoder: Encoder, rows: Sequence[Choice], asked: Sequence[Asked], *, minutes: float, seed: int = 7) -> None:
    """Contrastive learning over the rows, drawn by company, and over what businesses are `asked`."""
    rng = random.Random(seed)  # noqa: S311 - an order of examples, nothing secret
    none = nn.Parameter(torch.tensor(NONE))
    learnt = [*encoder.updates.values(), none]
    optimiser = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    of_company: dict[str, list[Choice]] = {}
    for row in rows:
        if row.right.any():
            of_company.setdefault(row.company, []).append(row)
    enough = [name for name, own in of_company.items() if len(own) >= EACH]
    losses: dict[str, list[float]] = {"reading": [], "operations": []}
    begun, step = time.monotonic(), 0
    while (gone := (time.monotonic() - begun) / 60 / minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM) * max(0.02, 1 - gone)
        about = bool(asked) and step % SELECTING == SELECTING - 1
        if about:
            loss = _chosen(encoder, rng.choice(asked), none, rng)
        else:
            drawn = [row for name in rng.sample(enough, min(COMPANIES, len(enough))) for row in rng.sample(of_company[name], EACH)]
            loss = _loss(encoder, drawn, rng)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses["operations" if about else "reading"].append(loss.item())
        step += 1
        if step % 30 == 0:
            shown = ", ".join(f"{name} {np.mean(some):.3f}" for name, some in losses.items() if some)
            sys.stderr.write(f"step {step}: loss {shown}, {time.monotonic() - begun:.0f} s\n")
            losses = {name: [] for name in losses}


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
    both = encoder([*(text for text, _ in some), *lines])
    alike = TEMPERATURE * both[: len(some)] @ both[len(some) :].T
    of = torch.tensor(owners)
    scores = [alike[:, of == place].max(1).values for place in range(len(business.operations))]
    rows = torch.stack([*scores, none.expand(len(some))], 1)
    return functional.cross_entropy(rows, torch.tensor([len(scores) if place is None else place for _, place in some]))


def _loss(encoder: Encoder, rows: Sequence[Choice], rng: random.Random) -> torch.Tensor:
    wanted: list[str] = []
    texts: dict[str, int] = {}
    for row in rows:
        right, wrong = np.flatnonzero(row.right).tolist(), np.flatnonzero(~row.right).tolist()[:LIKELY]
        chosen = [row.candidates[i] for i in (rng.choice(right), *rng.sample(wrong, min(HARD, len(wrong))))]
        wanted.append(chosen[0])
        for text in chosen:
            texts.setdefault(text, len(texts))
    both = encoder([*(r.text for r in rows), *texts])
    alike = TEMPERATURE * both[: len(rows)] @ both[len(rows) :].T
    hidden = torch.zeros(alike.shape)
    for k, row in enumerate(rows):
        also_right = {row.candidates[i] for i in np.flatnonzero(row.right)} - {wanted[k]}
        hidden[k, [texts[t] for t in also_right if t in texts]] = -1e4
    return functional.cross_entropy(alike + hidden, torch.tensor([texts[t] for t in wanted]))


def average(files: Sequence[Path], target: Path, *, share: float = 1.0) -> None:
    """Writes an adapter whose update is the mean of the others', their low-rank parts side by side, times `share`.

    Less than the whole update lies between the base encoder and what was learnt, and reads companies unlike those learnt from better
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    parts = [load_arrays(file) for file in files]
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
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--read", type=Path, help="where the candidates are kept from one run to the next")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    if options.average:
        average(options.average, options.out, share=options.share)
        return 0
    settings = load()
    torch.set_num_threads(options.threads or settings.compute_threads)
    torch.manual_seed(7)
    held = frozenset((FOLDER / HELD).read_text(encoding="utf-8").split())
    rows = await of_companies(registry.pull(NEAR_BASE, settings.cache), held, options.read)
    encoder = Encoder(registry.pull(BASE, settings.cache))
    train(encoder, rows, [Asked.of(business) for business in businesses().values()], minutes=options.minutes)
    save_file(encoder.adapter(), options.out, metadata={"base": BASE, "held": ",".join(sorted(held))})
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
