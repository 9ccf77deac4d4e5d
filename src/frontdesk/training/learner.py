"""A model that learns: its weights, the few of them that change as one vector, losses on packed rows, and greedy replies.

Only this module, `frozen.py` and the loop in `finetune.py` hold tensors. What cannot be trained was refused before, but for more layers than
there are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import Linear, functional

from frontdesk.errors import BadInput
from frontdesk.training.frozen import Frozen
from frontdesk.training.lowrank import quicken
from frontdesk.training.memory import KEPT
from frontdesk.training.packing import Encoded, Row, Sample, encode, pack

MICRO_TOKENS = 384
"""Tokens per forward pass and thread: what the caches of a CPU like (measured: 207 tokens/s against 167 with 2048)."""
GPU_TOKENS = 16384
ANCHOR = 2.0
"""Weight of an anchor's tokens beside taught ones."""
REPLIES = 48
"""Replies generated at once."""


class Learner:
    """A base model with an adapter (or all its weights) in training."""

    def __init__(
        self,
        base: Path,
        *,
        method: str,
        rank: int,
        alpha: int,
        dropout: float,
        dtype: str,
        device: str,
        seed: int,
        layers: int = 0,
        adapter: Path | None = None,
    ) -> None:
        """`layers`: so many at the top learn, 0: all. Raises BadInput when the model has fewer."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.base = base
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = getattr(torch, fastest_dtype(self.device) if dtype == "auto" else dtype)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=self.dtype, attn_implementation="sdpa").to(self.device)
        torch.manual_seed(seed)
        self.method = method
        count = int(model.config.num_hidden_layers)
        if layers > count:
            raise BadInput(f"`layers` is {layers}, the model has {count}: name fewer, or 0 for all of them")
        self.first = count - layers if layers and method == "lora" else 0
        self.model: Any = self._adapted(model, rank, alpha, dropout, adapter) if method == "lora" else model
        if method == "none" or adapter is not None:
            self.model.requires_grad_(False)
        learning = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in learning]
        self._stretched = [1.0] * len(learning)
        self._second = [".lora_B." in name for name, _ in learning]
        self.trainable = sum(p.numel() for p in self.parameters)
        self._inner: Any = (self.model.get_base_model() if method == "lora" else self.model).get_decoder()
        self._head: Any = (self.model.get_base_model() if method == "lora" else self.model).get_output_embeddings()
        self._frozen: Frozen | None = None
        self._untaught: Frozen | None = None
        self._among: tuple[torch.Tensor, torch.Tensor] | None = None

    def _adapted(self, model: Any, rank: int, alpha: int, dropout: float, adapter: Path | None) -> Any:
        from peft import LoraConfig, PeftModel, get_peft_model

        if adapter is not None:
            return PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=_linear(model),
            layers_to_transform=list(range(self.first, int(model.config.num_hidden_layers))) if self.first else None,
            bias="none",
            task_type="CAUSAL_LM",
        )
        adapted: Any = get_peft_model(model, config, autocast_adapter_dtype=False)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(self.dtype)
        quicken(adapted)
        return adapted

    # --- the weights that change, as one vector of 32-bit numbers ---

    def hasten(self, times: float) -> None:
        """Let the second matrix of each update, which starts at zero, learn so many times faster (LoRA+, Hayou et al. 2024).

        The vector holds it divided by that: an optimiser that takes steps of one size for all numbers then moves it farther.
        """
        self._stretched = [times if second else 1.0 for second in self._second]

    def vector(self) -> torch.Tensor:
        """A copy of the weights in training."""
        return torch.cat([(p.detach().float() / by).reshape(-1) for p, by in zip(self.parameters, self._stretched, strict=True)])

    def gradient(self) -> torch.Tensor:
        """The gradient in the same order; the parameters' own are cleared."""
        parts = [
            torch.zeros(p.numel(), device=self.device) if p.grad is None else (p.grad.float() * by).reshape(-1)
            for p, by in zip(self.parameters, self._stretched, strict=True)
        ]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat(parts)

    def put(self, vector: torch.Tensor) -> None:
        """Set the weights in training, rounded to the model's own type."""
        start = 0
        with torch.no_grad():
            for parameter, by in zip(self.parameters, self._stretched, strict=True):
                parameter.copy_(vector[start : start + parameter.numel()].view_as(parameter) * by)
                start += parameter.numel()

    def save(self, folder: Path) -> None:
        """Write a PEFT folder, or a whole model after full fine-tuning; exactly the numbers that were evaluated."""
        self.model.save_pretrained(folder)
        if self.method != "lora":
            self.tokenizer.save_pretrained(folder)

    # --- losses ---

    def tokenise(self, text: str) -> list[int]:
        """Tokens of a piece of text; marks such as `<|im_end|>` are one token each."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, samples: Sequence[Sample], length: int) -> list[Encoded]:
        """Tokens of samples (see packing.encode)."""
        return encode(samples, self.tokenise, length=length)

    def keep(self, rows: Iterable[Row]) -> bool:
        """Work out once per sample what never changes; `rows`: as the run will see them, in order.

        That is what the base model makes of anchors and, when only upper layers learn, what the others make of every sample. False when
        the second is too much to keep, or the model is built in another way than this knows.
        """
        coming = list(rows)
        self._untaught = Frozen(self._base_states, (row for row in coming if row.anchor))
        if not self.first or not all(hasattr(self._inner, part) for part in ("layers", "rotary_emb", "norm", "embed_tokens")):
            return False
        frozen = Frozen(self._below, coming)
        fits = bool(frozen.tokens * self.hidden * self.dtype.itemsize <= KEPT)
        self._frozen = frozen if fits else None
        return fits

    def narrow(self, samples: Sequence[Encoded], commonest: int) -> None:
        """While learning, weigh a token against those that any sample teaches and the `commonest` of the vocabulary only.

        The vocabulary's other tokens cost as much as several layers, and the base model thinks little of them anyway. Byte-pair
        vocabularies are numbered by how common their tokens were.
        """
        if self.method != "lora" or commonest >= len(self._head.weight):
            return
        taught = {token for s in samples for token, learnt in zip(s.tokens, s.learnt, strict=True) if learnt}
        chosen = torch.tensor(sorted(taught | set(range(commonest))), device=self.device)
        place = torch.zeros(len(self._head.weight), dtype=torch.long, device=self.device)
        place[chosen] = torch.arange(len(chosen), device=self.device)
        self._among = place, self._head.weight.detach()[chosen].contiguous()

    def learning_sums(self, rows: Sequence[Row]) -> tuple[torch.Tensor, int]:
        """(loss to learn from, with its graph; learnt tokens) of one group of rows, with what `keep` and `narrow` spare.

        Of anchors, the loss is the divergence from what the base model expects, and no token is learnt.
        """
        chosen, wanted = self._expecting(rows, self._states(rows, self._frozen))
        if rows[0].anchor:
            assert self._untaught is not None  # noqa: S101 - whoever has anchors has called `keep`
            before, _ = self._expecting(rows, self._untaught.of(rows))
            was, now = (self._logits(states, narrowed=True).float().log_softmax(-1) for states in (before, chosen))
            return ANCHOR * functional.kl_div(now, was, log_target=True, reduction="sum"), 0
        logits = self._logits(chosen, narrowed=True)
        place = wanted if self._among is None else self._among[0][wanted]
        return functional.cross_entropy(logits.float(), place, reduction="sum"), len(wanted)

    def sums(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """(sum of losses with its graph, right guesses, learnt tokens) of one group of rows."""
        chosen, wanted = self._expecting(rows, self._states(rows, None))
        logits = self._logits(chosen, narrowed=False)
        loss = functional.cross_entropy(logits.float(), wanted, reduction="sum")
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted).sum()
        return loss, right, len(wanted)

    def _states(self, rows: Sequence[Row], frozen: Frozen | None) -> torch.Tensor:
        """(rows, longest, hidden): the last states."""
        inputs, positions, mask = self._tensors(rows)
        if frozen is None:
            found: torch.Tensor = self._inner(
                input_ids=inputs, position_ids=positions, attention_mask=mask, use_cache=False
            ).last_hidden_state
            return found
        states: torch.Tensor = self._inner.norm(self._through(frozen.of(rows), positions, mask, slice(self.first, None)))
        return states

    def _expecting(self, rows: Sequence[Row], states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The states from which a target is predicted, and the targets."""
        at = torch.tensor([(b, t - 1) for b, row in enumerate(rows) for t in _targets(row)], device=self.device)
        wanted = torch.tensor([row.tokens[t] for row in rows for t in _targets(row)], device=self.device)
        return states[at[:, 0], at[:, 1]], wanted

    def _logits(self, states: torch.Tensor, *, narrowed: bool) -> torch.Tensor:
        logits: torch.Tensor = functional.linear(states, self._among[1]) if narrowed and self._among is not None else self._head(states)
        return logits

    def _base_states(self, row: Row) -> torch.Tensor:
        with self.untrained():
            return self._states([row], None)[0]

    def _below(self, row: Row) -> torch.Tensor:
        """(tokens, hidden): what the first layer that learns is given."""
        inputs, positions, mask = self._tensors([row])
        states: torch.Tensor = self._through(self._inner.embed_tokens(inputs), positions, mask, slice(0, self.first))[0]
        return states

    def _through(self, states: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, which: slice) -> torch.Tensor:
        turned = self._inner.rotary_emb(states, positions)
        for layer in self._inner.layers[which]:
            states = layer(states, attention_mask=mask, position_ids=positions, position_embeddings=turned)
        return states

    def groups(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Rows that go through the model together, longest first; anchors apart."""
        limit = GPU_TOKENS if self.device.type == "cuda" else MICRO_TOKENS * torch.get_num_threads()
        group: list[Row] = []
        for row in sorted(rows, key=lambda r: (r.anchor, -len(r.tokens))):
            if group and (row.anchor is not group[0].anchor or len(group[0].tokens) * (len(group) + 1) > limit):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def losses(self, samples: Sequence[Sample], *, length: int = 4096) -> tuple[float, float]:
        """Mean loss and share of right guesses per learnt token; (nan, nan) for no samples."""
        if not samples:
            return float("nan"), float("nan")
        encoded = self.encode(samples, length)
        total, right, count = 0.0, 0, 0
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(encoded), 16):
                for group in self.groups(pack(encoded[start : start + 16], row=320)):
                    loss, hits, learnt = self.sums(group)
                    total, right, count = total + float(loss), right + int(hits), count + learnt
        return total / count, right / count

    def _tensors(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = max(len(r.tokens) for r in rows)
        inputs = torch.zeros(len(rows), longest, dtype=torch.long)
        positions = torch.zeros_like(inputs)
        part = torch.full_like(inputs, -1)  # -1: padding, 0: the shared beginning, 1…: the samples
        for b, row in enumerate(rows):
            inputs[b, : len(row.tokens)] = torch.tensor(row.tokens)
            positions[b, : row.shared] = torch.arange(row.shared)
            part[b, : row.shared] = 0
            for number, (start, end) in enumerate(row.parts, 1):
                positions[b, start:end] = torch.arange(row.shared, row.shared + end - start)
                part[b, start:end] = number
        earlier = torch.ones(longest, longest, dtype=torch.bool).tril()
        seen = earlier & ((part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0))
        mask = torch.zeros(len(rows), 1, longest, longest, dtype=self.dtype)
        mask.masked_fill_(~seen[:, None], torch.finfo(self.dtype).min)
        return inputs.to(self.device), positions.to(self.device), mask.to(self.device)

    @property
    def hidden(self) -> int:
        """Width of a state."""
        return int(self._head.weight.shape[1])

    def last_states(self, texts: Sequence[str], *, tokens: int) -> torch.Tensor:
        """The state at the last token of each text, (len(texts), hidden), with its graph; texts keep their first `tokens` and their end."""
        rows = [self.tokenise(t) for t in texts]
        rows = [r if len(r) <= tokens else [*r[: tokens - 4], *r[-4:]] for r in rows]
        longest = max(len(r) for r in rows)
        inputs = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            inputs[place, : len(row)] = torch.tensor(row)
        states = self._inner(input_ids=inputs.to(self.device), use_cache=False).last_hidden_state
        last: torch.Tensor = states[torch.arange(len(rows)), torch.tensor([len(r) - 1 for r in rows])]
        return last

    # --- replies ---

    def reply(self, prompts: Sequence[str], *, tokens: int = 96) -> list[str]:
        """Greedy continuations of texts that end where the answer begins."""
        self.model.eval()
        tokenizer = self.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        replies = [""] * len(prompts)
        for start in range(0, len(order), REPLIES):
            part = order[start : start + REPLIES]
            batch = tokenizer([prompts[i] for i in part], add_special_tokens=False, padding=True, return_tensors="pt").to(self.device)
            with torch.no_grad():
                out = self.model.generate(
                    **batch,
                    max_new_tokens=tokens,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    pad_token_id=tokenizer.pad_token_id,
                )
            texts = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for i, text in zip(part, texts, strict=True):
                replies[i] = text.strip()
        return replies

    @contextlib.contextmanager
    def untrained(self) -> Iterator[None]:
        """The base model answers inside (adapters only)."""
        if self.method != "lora":
            yield
            return
        with self.model.disable_adapter():
            yield


def _targets(row: Row) -> list[int]:
    starts = {start for start, _ in row.parts}
    return [t for t in range(1, len(row.tokens)) if row.learnt[t] and t not in starts]


def _linear(model: Any) -> list[str]:
    """The names of the linear layers within the blocks: PEFT takes its own "all-linear" for whole models only."""
    head = model.get_output_embeddings()
    return sorted({name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, Linear) and module is not head})


def fastest_dtype(device: torch.device) -> str:
    """`bfloat16` or `float32`: which of them this machine multiplies faster, measured in a few hundredths of a second."""
    seconds = {}
    for name in ("float32", "bfloat16"):
        x = torch.randn(512, 576, device=device).to(getattr(torch, name))
        w = torch.randn(1536, 576, device=device).to(getattr(torch, name))
        functional.linear(x, w)
        begun = time.perf_counter()
        for _ in range(5):
            functional.linear(x, w)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds[name] = time.perf_counter() - begun
    return min(seconds, key=lambda name: seconds[name])
