"""Teaches the sentence encoder how customers put things, as a small adapter for reading. Makes `desk/reading_encoder.safetensors`.

    python -m frontdesk.training.reading_encoder                    # all companies, writes the adapter
    python -m frontdesk.training.reading_encoder --hold 0/4 --out X # a quarter of the companies held out and reported

The base encoder is trained on pairs that say the same thing in like words; a customer's "telly" and a rule's "television set" are far apart
in it. Contrastive learning on invented companies (`desk/reading_set`) brings question and proof together: for each question one right
unit against the units that the base encoder finds most alike, and against those of the other questions of the batch. They are compared
in two ways at once: by their mean vectors, and token by token (late interaction, Khattab and Zaharia 2020: for each token of the question
the most alike token of the unit), where a learnt weight says how much a token of the question matters, since customers tell stories.
Only low-rank updates of the linear layers are learnt (LoRA, Hu et al. 2021) and the two small maps of the comparison by tokens, so what
is shipped is small and the base model stays as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
GROUP = 24
"""Texts encoded together."""
TEMPERATURE = 20.0
WIDTH = 96
"""Numbers per token in the comparison by tokens."""
SPECIAL = (101, 102)
"""[CLS] and [SEP], which say nothing."""


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


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Texts as the comparison needs them, n texts of at most t tokens."""

    whole: torch.Tensor
    """(n, hidden), unit length."""
    tokens: torch.Tensor
    """(n, t, WIDTH), unit length."""
    there: torch.Tensor
    """(n, t), whether there is a token that says something."""
    weights: torch.Tensor
    """(n, t), how much each token matters in a question; each row sums to 1."""


class Encoder(nn.Module):
    """The base encoder with low-rank updates in every linear layer of its transformer, and the maps of the comparison by tokens."""

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
        self.project = nn.Linear(self.bert.config.hidden_size, WIDTH, bias=False)
        nn.init.orthogonal_(self.project.weight)
        self.weigh = nn.Linear(self.bert.config.hidden_size, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in groups of like length, so that little is spent on padding."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        groups = [order[i : i + GROUP] for i in range(0, len(order), GROUP)]
        parts = [self._encode([texts[i] for i in group]) for group in groups]
        longest = max(part.there.shape[1] for part in parts)
        back = torch.tensor([order.index(i) for i in range(len(texts))])

        def joined(pick: Callable[[Encoded], torch.Tensor]) -> torch.Tensor:
            return torch.cat([_padded(pick(part), longest) for part in parts])[back]

        return Encoded(
            whole=torch.cat([part.whole for part in parts])[back],
            tokens=joined(lambda part: part.tokens),
            there=joined(lambda part: part.there),
            weights=joined(lambda part: part.weights),
        )

    def _encode(self, texts: Sequence[str]) -> Encoded:
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state.float()
        mask = batch["attention_mask"].float()
        there = mask.bool() & ~torch.isin(batch["input_ids"], torch.tensor(SPECIAL))
        return Encoded(
            whole=functional.normalize((states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True), dim=-1),
            tokens=functional.normalize(self.project(states), dim=-1),
            there=there,
            weights=torch.softmax(self.weigh(states).squeeze(-1).masked_fill(~there, -1e4), dim=-1),
        )

    def adapter(self) -> dict[str, torch.Tensor]:
        """What was learnt alone, half precision: the updates, named as the base weights they belong to, and the maps."""
        found = {"late.project": self.project.weight, "late.weigh": torch.cat([self.weigh.weight[0], self.weigh.bias])}
        for name, module in self.bert.encoder.named_modules():
            if isinstance(module, LowRank):
                found[f"encoder.{name}.weight.a"] = SCALE * module.a
                found[f"encoder.{name}.weight.b"] = module.b
        return {name: value.detach().half().contiguous() for name, value in found.items()}


def _padded(values: torch.Tensor, length: int) -> torch.Tensor:
    """`values` with its second axis filled up to `length` with zeros."""
    missing = length - values.shape[1]
    return functional.pad(values, (0, 0) * (values.ndim - 2) + (0, missing)) if missing else values


def likeness(questions: Encoded, units: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
    """How alike each question and each unit are, as wholes and by tokens: two (questions, units)."""
    by_token = torch.einsum("qid,ujd->quij", questions.tokens, units.tokens).masked_fill(~units.there[None, :, None, :], -1.0)
    return questions.whole @ units.whole.T, (by_token.amax(-1) * questions.weights[:, None, :]).sum(-1)


def train(
    encoder: Encoder, rows: Sequence[Example], held: Sequence[Example], *, epochs: int, keep: Callable[[], None], seed: int = 7
) -> None:
    """Contrastive learning over the rows that have a right unit; `keep` is called after each epoch."""
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
            losses.append(loss.item())
            done += 1
        shown = told_apart(encoder, [r for r in held if r.right.any()])
        sys.stderr.write(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, held out {shown}, {time.monotonic() - begun:.0f} s\n")
        keep()


def _loss(encoder: Encoder, rows: Sequence[Example], rng: random.Random) -> torch.Tensor:
    texts: list[str] = []
    places = []
    for row in rows:
        right = [int(i) for i in np.flatnonzero(row.right)]
        likely = [int(i) for i in np.argsort(-row.signs[:, 0])[:16] if not row.right[i]]
        chosen = [rng.choice(right), *rng.sample(likely, min(HARD, len(likely)))]
        places.append(len(texts))
        texts += [face(row.units[i]) for i in chosen]
    whole, by_token = likeness(encoder([r.text for r in rows]), encoder(texts))
    hidden = torch.zeros(whole.shape)
    for k, row in enumerate(rows):
        also_right = {face(u) for u, ok in zip(row.units, row.right, strict=True) if ok}
        hidden[k, [n for n, text in enumerate(texts) if text in also_right and n != places[k]]] = -1e4
    wanted = torch.tensor(places)
    views = ((1.0, whole + by_token), (0.5, whole), (0.5, by_token))
    total: torch.Tensor = sum(share * functional.cross_entropy(TEMPERATURE * alike + hidden, wanted) for share, alike in views)  # type: ignore[assignment]
    return total


def told_apart(encoder: Encoder, rows: Sequence[Example]) -> dict[str, float]:
    """How often the right unit comes first among the likeliest, as wholes, by tokens, and by both."""
    encoder.eval()
    hits: dict[str, list[bool]] = {"whole": [], "tokens": [], "both": []}
    for row in rows:
        likely = np.argsort(-row.signs[:, 0])[:24]
        with torch.no_grad():
            whole, by_token = likeness(encoder([row.text]), encoder([face(row.units[i]) for i in likely]))
        for name, alike in (("whole", whole), ("tokens", by_token), ("both", whole + by_token)):
            hits[name].append(bool(row.right[likely[int(alike[0].argmax())]]))
    encoder.train()
    return {name: round(float(np.mean(found)), 3) for name, found in hits.items()} if rows else {}


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

    def keep() -> None:
        save_file(encoder.adapter(), options.out, metadata={"base": "all-minilm-l6-v2", "held": ",".join(sorted(held))})

    rest, apart = [r for r in rows if r.company not in held], [r for r in rows if r.company in held]
    train(encoder, rest, apart, epochs=options.epochs, keep=keep)
    return 0


def held_out(rows: Sequence[Any], hold: str) -> set[str]:
    """The companies of part k of n, from "k/n"; none for an empty text."""
    if not hold:
        return set()
    part, parts = (int(x) for x in hold.split("/"))
    return set(sorted({r.company for r in rows})[part::parts])


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
