"""Teaches a cross-encoder which unit answers a question and which operation a message is about (`desk/reading_pairs.safetensors`).

    python -m frontdesk.training.reading_pairs --out pairs.safetensors --minutes 60 --read read.jsonl
    python -m frontdesk.training.reading_pairs --cut pairs.safetensors --rank 64

It begins as the small sentence encoder: the likeness of the mean vectors of question and text, only that both now go through the layers
together and may look at each other. From the first step on that orders candidates a little, more so with an adapter that it learnt before
(`--begin`), and every layer learns (22 million weights, fp32; computed in bfloat16 where that is faster). Two steps in three are about the companies of `desk/reading_set`, each
question with one right unit and the wrong ones that are nearest, or with none that is right; the third is about the
businesses of `tools/selection_set`, each message with their operations. The loss is that of a choice with "none of them" at score zero.

`--minutes` is the schedule: the rate falls to nothing over that time. The companies in `reading_encoder.HELD` are left out, for
`desk.train_reading` weighs this judge's word on them. Finding the candidates takes minutes; `--read` keeps them in that file, and the next
run begins with them. What is shipped is the difference to the base, each matrix of it as the nearest of
`--rank` (`--cut`). Refuses nothing; `docs/adr/0002-reading-model.md` says what came of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from frontdesk.desk.train_reading import FOLDER
from frontdesk.models import registry
from frontdesk.models.cross_encoder import QUESTION_TOKENS, SHARPNESS, TEXT_TOKENS
from frontdesk.models.protocols import Matching
from frontdesk.settings import load
from frontdesk.training.choices import OTHERS, Choice, of_businesses, of_companies
from frontdesk.training.layers import Layers
from frontdesk.training.learner import fastest_dtype
from frontdesk.training.reading_encoder import HELD
from frontdesk.training.reading_encoder import NEAR_BASE as BASE

OPERATION_EVERY = 3
"""So many steps from one about operations to the next."""
RATE = 1.2e-4
WARM = 80
"""Steps until the rate is reached."""
QUESTIONS, UNITS = 24, 8
"""Questions of a step, and candidates of each."""
UNANSWERED = 0.2
"""Share of the questions that nothing among their candidates answers."""
MESSAGES, OPERATIONS = 18, 9
LIKELY = 8
"""Three wrong units in four are among so many that are nearest, the rest among all that are kept."""
HIDDEN = 0.06
"""Share of the tokens that are masked, so that nothing is learnt by heart from one of them."""
DROPPED = 0.1
PAIRS = 96
"""Pairs that go through the layers at once."""
LIKENESS, BIAS = 1.5, -9.0
"""Where each judgement begins: the weight of likeness in tens, and what speaks for none of them."""
RANK = 64
DEFAULT_MINUTES = 60.0
_LEARNT = ("encoder.", "embeddings.token_type_embeddings.", *(f"{m}." for m in Matching))


class Judge:
    """The weights by name, and what they make of pairs of texts."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        """The base; `adapter`: low-rank updates of it, to begin with."""
        self.base = {n: w.float() for n, w in load_file(folder / "model.safetensors").items() if w.is_floating_point()}
        updates = load_file(adapter) if adapter is not None else {}
        self.weights = {n: w.clone() for n, w in self.base.items()}
        for name in (key[:-2] for key in updates if key.endswith(".a")):
            self.weights[name] += updates[f"{name}.b"].float() @ updates[f"{name}.a"].float()
        segments = self.weights["embeddings.token_type_embeddings.weight"]
        segments[1] = segments[0]
        hidden = segments.shape[1]
        for matching in Matching:
            self.weights[f"{matching}.weight"] = torch.zeros(2 * hidden)
            self.weights[f"{matching}.bias"] = torch.tensor([BIAS])
            self.weights[f"{matching}.likeness"] = torch.tensor([LIKENESS])
        self.learnt = [w.requires_grad_() for n, w in self.weights.items() if n.startswith(_LEARNT)]
        self.layers = Layers.of(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._begin, self._end, self._mask = (self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[MASK]"))
        self._known: dict[str, list[int]] = {}

    def scores(self, pairs: Sequence[tuple[str, str]], matching: Matching, dtype: torch.dtype, *, learning: bool = False) -> torch.Tensor:
        """Log-odds for each pair, (len(pairs),)."""
        cast = {n: w if n.startswith(tuple(Matching)) else w.to(dtype) for n, w in self.weights.items()}
        parts, places = [], []
        for batch, ids, mask, segments in self._batches(pairs):
            if learning:
                spared = (ids == self._begin) | (ids == self._end) | (mask == 0)
                ids = torch.where((torch.rand(ids.shape) < HIDDEN) & ~spared, torch.tensor(self._mask), ids)
            states = self._states(cast, ids, mask, segments)
            parts.append(self._verdicts(cast, states.float(), mask, segments, matching, learning=learning))
            places += batch
        back = torch.empty(len(places), dtype=torch.long)
        back[torch.tensor(places)] = torch.arange(len(places))
        return torch.cat(parts)[back]

    def _batches(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
        rows = [([self._begin, *self._ids(q)[-QUESTION_TOKENS:], self._end], [*self._ids(t)[:TEXT_TOKENS], self._end]) for q, t in pairs]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
        for start in range(0, len(order), PAIRS):
            batch = order[start : start + PAIRS]
            longest = max(len(rows[i][0]) + len(rows[i][1]) for i in batch)
            ids = torch.zeros(len(batch), longest, dtype=torch.long)
            mask, segments = torch.zeros(ids.shape), torch.zeros_like(ids)
            for row, (asked, told) in enumerate(rows[i] for i in batch):
                end = len(asked) + len(told)
                ids[row, :end] = torch.tensor(asked + told)
                mask[row, :end] = 1
                segments[row, len(asked) : end] = 1
            yield batch, ids, mask, segments

    def _states(self, weights: Mapping[str, torch.Tensor], ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        """The last layer, (pairs, tokens, hidden)."""

        def dense(x: torch.Tensor, name: str) -> torch.Tensor:
            return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def normal(x: torch.Tensor, name: str) -> torch.Tensor:
            return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], self.layers.epsilon)

        states = self.layers.embedded(weights, ids, normal, segments)
        return self.layers.through(states, mask, range(self.layers.count), dense, normal)

    def _verdicts(
        self,
        weights: Mapping[str, torch.Tensor],
        states: torch.Tensor,
        mask: torch.Tensor,
        segments: torch.Tensor,
        matching: Matching,
        *,
        learning: bool,
    ) -> torch.Tensor:
        """As in `models.cross_encoder`."""
        of_text, of_question = (mask * segments)[..., None], (mask * (1 - segments))[..., None]
        one, other = (states * of_question).sum(1) / of_question.sum(1), (states * of_text).sum(1) / of_text.sum(1)
        seen = functional.dropout(torch.cat([states[:, 0], (one - other).abs()], -1), DROPPED, training=learning)
        likeness = functional.cosine_similarity(one, other)
        return SHARPNESS * weights[f"{matching}.likeness"] * likeness + seen @ weights[f"{matching}.weight"] + weights[f"{matching}.bias"]

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._known[text]


def train(judge: Judge, read: Sequence[Choice], asked: Sequence[Choice], *, minutes: float, seed: int = 7) -> None:
    """Learns for so many minutes from what was `read` and what businesses were `asked`."""
    rng = random.Random(seed)  # noqa: S311 - an order of examples, nothing secret
    torch.manual_seed(seed)
    answered, unanswered = [e for e in read if e.right.any()], [e for e in read if not e.right.any()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [w for w in judge.learnt if w.ndim > 1], "weight_decay": 0.01},
            {"params": [w for w in judge.learnt if w.ndim < 2], "weight_decay": 0.0},
        ],
        lr=RATE,
        betas=(0.9, 0.98),
    )
    dtype = getattr(torch, fastest_dtype(torch.device("cpu")))
    losses: dict[Matching, list[float]] = {m: [] for m in Matching}
    begun, step = time.monotonic(), 0
    while (gone := (time.monotonic() - begun) / 60 / minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM) * max(0.02, 1 - gone)
        if step % OPERATION_EVERY == OPERATION_EVERY - 1:
            matching, drawn = Matching.OPERATION, [_of_business(c, rng) for c in rng.sample(asked, MESSAGES)]
        else:
            without = round(QUESTIONS * UNANSWERED)
            some = [*rng.sample(answered, QUESTIONS - without), *rng.sample(unanswered, without)]
            matching, drawn = Matching.ANSWER, [_of_company(e, rng) for e in some]
        pairs = [(c.text, candidate) for c in drawn for candidate in c.candidates]
        loss = _loss(judge.scores(pairs, matching, dtype, learning=True), drawn)
        loss.backward()
        nn.utils.clip_grad_norm_(judge.learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses[matching].append(loss.item())
        step += 1
        if step % 60 == 0:
            shown = ", ".join(f"{m} {np.mean(some):.3f}" for m, some in losses.items())
            sys.stderr.write(f"step {step}: loss {shown}, {time.monotonic() - begun:.0f} s\n")
            losses = {m: [] for m in Matching}


def _loss(scores: torch.Tensor, drawn: Sequence[Choice]) -> torch.Tensor:
    total, start = torch.zeros(()), 0
    for choice in drawn:
        own = scores[start : start + len(choice.candidates)]
        start += len(choice.candidates)
        chances = functional.log_softmax(torch.cat([own, torch.zeros(1)]), 0)
        total = total - (torch.logsumexp(chances[:-1][torch.tensor(choice.right)], 0) if choice.right.any() else chances[-1])
    return total / len(drawn)


def _of_company(choice: Choice, rng: random.Random) -> Choice:
    """One right unit if there is one, and wrong ones, most of them near."""
    right, wrong = [int(i) for i in np.flatnonzero(choice.right)], [int(i) for i in np.flatnonzero(~choice.right)]
    wanted = UNITS - bool(right)
    close = rng.sample(wrong[:LIKELY], min(wanted * 3 // 4, len(wrong[:LIKELY])))
    rest = wrong[LIKELY:OTHERS]
    chosen = [*([rng.choice(right)] if right else []), *close, *rng.sample(rest, min(wanted - len(close), len(rest)))]
    return Choice(choice.text, tuple(choice.candidates[i] for i in chosen), choice.right[chosen])


def _of_business(choice: Choice, rng: random.Random) -> Choice:
    """As many operations as a step has room for."""
    right = [int(i) for i in np.flatnonzero(choice.right)]
    others = [i for i in range(len(choice.candidates)) if i not in right]
    chosen = [*rng.sample(others, min(OPERATIONS - len(right), len(others))), *right]
    return Choice(choice.text, tuple(choice.candidates[i] for i in chosen), choice.right[chosen])


def cut(learnt: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """What was learnt as differences to the base, in half precision: matrices by their nearest of that rank, vectors whole."""
    found = {}
    for name, weight in learnt.items():
        if not name.startswith(_LEARNT):
            continue
        if name.startswith("encoder.") and weight.ndim > 1:
            left, sizes, right = torch.linalg.svd(weight - base[name], full_matrices=False)
            root = sizes[:rank].sqrt()
            found[f"{name}.a"], found[f"{name}.b"] = root[:, None] * right[:rank], left[:, :rank] * root
        else:
            found[name] = weight
    return {name: value.detach().half().contiguous() for name, value in found.items()}


async def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes all weights, or cuts such a file down to what is shipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cut", type=Path, help="a file of this command, of which the shipped one is made")
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--read", type=Path, help="where the candidates are kept from one run to the next")
    parser.add_argument("--begin", type=Path, help="an adapter of the small encoder to begin with")
    parser.add_argument("--out", type=Path, default=Path("reading_pairs.safetensors"))
    options = parser.parse_args(arguments)
    settings = load()
    torch.set_num_threads(options.threads or settings.compute_threads)
    folder = registry.pull(BASE, settings.cache)
    held = frozenset((FOLDER / HELD).read_text(encoding="utf-8").split())
    judge = Judge(folder, options.begin)
    told = {"base": BASE, "held": ",".join(sorted(held))}
    if options.cut:
        save_file(cut(load_file(options.cut), judge.base, options.rank), options.out, metadata=told)
        return 0
    train(judge, await of_companies(folder, held, options.read), of_businesses(), minutes=options.minutes, seed=options.seed)
    save_file({n: w.detach().contiguous() for n, w in judge.weights.items()}, options.out, metadata=told)
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
