"""A model that learns: its weights, the few of them that change as one vector, losses on packed rows, and greedy replies.

Only this module and the loop in `finetune.py` hold tensors. Refuses nothing; what cannot be trained was refused before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from frontdesk.training.lowrank import quicken
from frontdesk.training.packing import Encoded, Row, Sample, encode, pack

MICRO_TOKENS = 384
"""Tokens per forward pass and thread: what the caches of a CPU like (measured: 207 tokens/s against 167 with 2048)."""
GPU_TOKENS = 16384
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
        adapter: Path | None = None,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.base = base
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = getattr(torch, fastest_dtype(self.device) if dtype == "auto" else dtype)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=self.dtype, attn_implementation="sdpa").to(self.device)
        torch.manual_seed(seed)
        self.method = method
        self.model: Any = self._adapted(model, rank, alpha, dropout, adapter) if method == "lora" else model
        if method == "none" or adapter is not None:
            self.model.requires_grad_(False)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.trainable = sum(p.numel() for p in self.parameters)
        self._inner: Any = (self.model.get_base_model() if method == "lora" else self.model).get_decoder()
        self._head: Any = (self.model.get_base_model() if method == "lora" else self.model).get_output_embeddings()

    def _adapted(self, model: Any, rank: int, alpha: int, dropout: float, adapter: Path | None) -> Any:
        from peft import LoraConfig, PeftModel, get_peft_model

        if adapter is not None:
            return PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", bias="none", task_type="CAUSAL_LM")
        adapted: Any = get_peft_model(model, config, autocast_adapter_dtype=False)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(self.dtype)
        quicken(adapted)
        return adapted

    # --- the weights that change, as one vector of 32-bit numbers ---

    def vector(self) -> torch.Tensor:
        """A copy of the weights in training."""
        return torch.cat([p.detach().float().reshape(-1) for p in self.parameters])

    def gradient(self) -> torch.Tensor:
        """The gradient in the same order; the parameters' own are cleared."""
        parts = [torch.zeros(p.numel(), device=self.device) if p.grad is None else p.grad.float().reshape(-1) for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat(parts)

    def put(self, vector: torch.Tensor) -> None:
        """Set the weights in training, rounded to the model's own type."""
        start = 0
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.copy_(vector[start : start + parameter.numel()].view_as(parameter))
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

    def sums(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """(sum of losses with its graph, right guesses, learnt tokens) of one group of rows."""
        inputs, positions, mask = self._tensors(rows)
        states = self._inner(input_ids=inputs, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state
        places = [(b, t) for b, row in enumerate(rows) for t in _targets(row)]
        at = torch.tensor(places, device=self.device)
        wanted = inputs[at[:, 0], at[:, 1]]
        logits = self._head(states[at[:, 0], at[:, 1] - 1])
        loss = functional.cross_entropy(logits.float(), wanted, reduction="sum")
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted).sum()
        return loss, right, len(places)

    def groups(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Rows that go through the model together, longest first."""
        limit = GPU_TOKENS if self.device.type == "cuda" else MICRO_TOKENS * torch.get_num_threads()
        group: list[Row] = []
        for row in sorted(rows, key=lambda r: -len(r.tokens)):
            if group and len(group[0].tokens) * (len(group) + 1) > limit:
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
