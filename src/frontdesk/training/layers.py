"""The layers of a sentence encoder (BERT or MPNet) written out, for learning on processors.

The library's attention is three times slower in bfloat16 on processors that have matrix units for it. What learns, and in which type is
computed, is the caller's: it gives the products and the normalisation. Refuses other models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from frontdesk.errors import BadInput
from frontdesk.models.encoder_graph import DISTANCES, FIRST_PLACE, distances

Dense = Callable[[torch.Tensor, str], torch.Tensor]
"""States and the name of a layer to what that makes of them: (…, in) -> (…, out)."""
Weights = Mapping[str, torch.Tensor]
WORDS = "embeddings.word_embeddings.weight"
BARRED = -1e4
"""Added to the attention to what is only padding."""
_PARTS: Mapping[str, tuple[tuple[str, str, str], str, str]] = {
    "bert": (
        ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention.output.dense",
        "attention.output.LayerNorm",
    ),
    "mpnet": (("attention.attn.q", "attention.attn.k", "attention.attn.v"), "attention.attn.o", "attention.LayerNorm"),
}
"""How each kind of model calls what is in a layer: query, key and value, what joins the heads, and what normalises their sum."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The shape of a model, and what its layers do."""

    kind: str
    count: int
    heads: int
    epsilon: float
    padding: int

    @classmethod
    def of(cls, folder: Path) -> Layers:
        """The shape of the model in `folder`, as `models.registry` keeps it. Raises BadInput for one of another kind."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] not in _PARTS:
            raise BadInput(f"{folder.name} is a model of kind {config['model_type']!r}: only {', '.join(_PARTS)} can be taught")
        return cls(
            kind=config["model_type"],
            count=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config["layer_norm_eps"],
            padding=config["pad_token_id"],
        )

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and which of them are no padding, both (len(rows), tokens)."""
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=self.padding)
        return ids, torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True)

    def embedded(self, weights: Weights, ids: torch.Tensor, normal: Dense, segments: torch.Tensor | None = None) -> torch.Tensor:
        """What enters the first layer, (texts, tokens, hidden). `segments`: BERT's, all of the first where not given."""
        first = FIRST_PLACE if self.kind == "mpnet" else 0
        places = weights["embeddings.position_embeddings.weight"][first : first + ids.shape[1]]
        states = functional.embedding(ids, weights[WORDS]) + places[None]
        if self.kind == "bert":
            of = weights["embeddings.token_type_embeddings.weight"]
            states = states + (of[0] if segments is None else functional.embedding(segments, of))
        return normal(states, "embeddings.LayerNorm")

    def through(
        self,
        states: torch.Tensor,
        mask: torch.Tensor,
        layers: Iterable[int],
        dense: Dense,
        normal: Dense,
        *,
        apart: torch.Tensor | None = None,
        dropped: float = 0.0,
    ) -> torch.Tensor:
        """States (texts, tokens, hidden) after these layers. `apart`: what `between` made, for MPNet; `dropped`: share of values left out."""
        count, tokens, hidden = states.shape
        inputs, out, norm = _PARTS[self.kind]
        added = torch.zeros(count, 1, 1, tokens, dtype=states.dtype, device=states.device).masked_fill(mask[:, None, None, :] == 0, BARRED)
        if apart is not None:
            added = added + apart[:, :, :tokens, :tokens]
        for layer in layers:
            name = f"encoder.layer.{layer}"
            query, key, value = (dense(states, f"{name}.{part}").view(count, tokens, self.heads, -1).transpose(1, 2) for part in inputs)
            looks = (torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5 + added).softmax(-1)
            seen = torch.matmul(_without(looks, dropped), value).transpose(1, 2).reshape(count, tokens, hidden)
            states = normal(states + _without(dense(seen, f"{name}.{out}"), dropped), f"{name}.{norm}")
            inner = functional.gelu(dense(states, f"{name}.intermediate.dense"))
            states = normal(states + _without(dense(inner, f"{name}.output.dense"), dropped), f"{name}.output.LayerNorm")
        return states

    def between(self, weights: Weights, tokens: int) -> torch.Tensor | None:
        """What MPNet adds to the attention between places so far apart, (1, heads, tokens, tokens); None for BERT."""
        if self.kind != "mpnet":
            return None
        learnt = weights[DISTANCES]
        return learnt[torch.from_numpy(distances(tokens, len(learnt))).to(learnt.device)].permute(2, 0, 1)[None].contiguous()


def _without(values: torch.Tensor, share: float) -> torch.Tensor:
    return functional.dropout(values, share) if share else values
