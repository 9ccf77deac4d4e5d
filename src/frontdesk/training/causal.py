"""A language model looked at token by token, as Toolformer needs it: log-probabilities, where a call might begin, and what it samples.

Needs torch. Parts of a text are tokenised apart, so that what stands before a position never changes the tokens behind it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from frontdesk.training.learner import fastest_dtype
from frontdesk.training.scored import Scored

BATCH_TOKENS = 1024
"""Tokens of one forward pass."""


class Causal:
    """A base model, with an adapter when one is given."""

    def __init__(self, base: Path, *, adapter: Path | None = None, threads: int = 1, dtype: str = "auto") -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        kind = getattr(torch, fastest_dtype(self.device) if dtype == "auto" else dtype)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=kind)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model: Any = model.to(self.device).eval()
        self._kept: dict[str, list[int]] = {}

    def chat(self, system: str, question: str) -> str:
        """The text after which the model answers."""
        messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": question}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    @property
    def end(self) -> str:
        """What ends a reply."""
        return str(self.tokenizer.eos_token)

    def tokens(self, text: str) -> list[int]:
        """Tokens of a piece of text."""
        if text not in self._kept:
            if len(self._kept) > 20_000:
                self._kept.clear()
            self._kept[text] = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._kept[text]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def log_probabilities(self, wanted: Sequence[Scored]) -> list[list[float]]:
        """ln p of each token of each text, in order. A context that several share goes through the model once."""
        found: list[list[float]] = [[] for _ in wanted]
        by_context: dict[str, list[int]] = {}
        for i, one in enumerate(wanted):
            by_context.setdefault(one.context, []).append(i)
        for context, members in by_context.items():
            tokens = self.tokens(context)
            begun = self.model.get_decoder()(input_ids=torch.tensor([tokens], device=self.device), use_cache=True)
            rows = [self._behind(wanted[i]) for i in members]
            for group in _batches([len(a) + len(b) for a, b in rows]):
                for n, row in zip(group, self._scores(begun, len(tokens), [rows[n] for n in group]), strict=True):
                    found[members[n]] = row
        return found

    def _behind(self, one: Scored) -> tuple[list[int], list[int]]:
        """What stands between context and text, and the text, as tokens."""
        right = self.tokens(one.text)
        return [t for part in one.before for t in self.tokens(part)], right[: one.tokens] if one.tokens else right

    def _scores(self, begun: Any, shared: int, rows: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        """The same for rows behind one context of `shared` tokens, whose states are in `begun`."""
        longest = max(len(a) + len(b) for a, b in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long, device=self.device)
        mask = torch.ones((len(rows), shared + longest), dtype=torch.long, device=self.device)
        for n, (before, text) in enumerate(rows):
            ids[n, : len(before) + len(text)] = torch.tensor([*before, *text])
            mask[n, shared + len(before) + len(text) :] = 0
        past = copy.deepcopy(begun.past_key_values)
        past.batch_repeat_interleave(len(rows))
        out = self.model.get_decoder()(input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=True).last_hidden_state
        # The context's last state predicts the first token behind it.
        states = torch.cat([begun.last_hidden_state[:, -1:].expand(len(rows), 1, -1), out], dim=1)
        places = [(n, len(before) + t) for n, (before, text) in enumerate(rows) for t in range(len(text))]
        at = torch.tensor(places, device=self.device).reshape(-1, 2)
        logits = self.model.get_output_embeddings()(states[at[:, 0], at[:, 1]]).float()
        chosen = logits.log_softmax(-1).gather(1, ids[at[:, 0], at[:, 1]].unsqueeze(1)).squeeze(1).tolist()
        found, start = [], 0
        for _, text in rows:
            found.append(chosen[start : start + len(text)])
            start += len(text)
        return found

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def openings(self, prompt: str, text: str) -> list[tuple[int, float]]:
        """(place in the text, probability that a call begins there) for the start of each word: p_i of the paper, in one forward pass."""
        starts = [m for m in range(len(text)) if m == 0 or text[m - 1] == " "]
        tokens, ends = list(self.tokens(prompt)), []
        for n, place in enumerate(starts):
            ends.append(len(tokens) - 1)
            until = starts[n + 1] - 1 if n + 1 < len(starts) else len(text)
            tokens += self.tokens(f" {text[place:until]}")
        states = self.model.get_decoder()(input_ids=torch.tensor([tokens], device=self.device), use_cache=False).last_hidden_state
        chances = self.model.get_output_embeddings()(states[0, ends]).float().softmax(-1)
        opener = self.tokens(" [")[0]
        return [(place, float(chances[n, opener])) for n, place in enumerate(starts)]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def samples(self, context: str, *, count: int, tokens: int = 48, seed: int = 0) -> list[str]:
        """`count` sampled continuations at temperature 1, each cut behind the first `->`."""
        torch.manual_seed(seed)
        ids = torch.tensor([self.tokens(context)], device=self.device)
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=count,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        texts = [str(self.tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True)) for row in out]
        return [t[: t.index("->") + 2] if "->" in t else t for t in texts]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def reply(self, context: str, *, top_k: int = 0, tokens: int = 64) -> str:
        """A greedy reply without any grammar, up to its end or behind the `->` of a call.

        `top_k`: a call begins, once, as soon as `[` is among so many likeliest tokens (the paper: 10); 0: only when it is the likeliest.
        """
        ids = torch.tensor([self.tokens(context)], device=self.device)
        openers = {self.tokens("[")[0], self.tokens(" [")[0]}
        written: list[int] = []
        past: Any = None
        opened = False
        for _ in range(tokens):
            out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
            past = out.past_key_values
            likeliest = out.logits[0, -1].topk(max(1, top_k)).indices.tolist()
            opening = next((t for t in likeliest if t in openers), None) if not opened else None
            token = opening if opening is not None else likeliest[0]
            opened = opened or opening is not None
            if token == self.tokenizer.eos_token_id:
                break
            written.append(token)
            text = str(self.tokenizer.decode(written))
            if opened and text.endswith("->"):
                break
            ids = torch.tensor([[token]], device=self.device)
        return str(self.tokenizer.decode(written))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like length together."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and lengths[group[0]] * (len(group) + 1) > BATCH_TOKENS:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
