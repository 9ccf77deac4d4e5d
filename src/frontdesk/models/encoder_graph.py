"""Builds one ONNX file from the weights of a BERT or MPNet sentence encoder: tokens in, unit-length sentence vectors out. Needs no torch.

Inputs   `ids` and `mask`, int64, (batch, tokens); mask is 1 for a token and 0 for padding. A graph for pairs also takes `segments`, 1 in the
         second text of a pair, else 0
Outputs  `sentence` (batch, hidden): mean over the tokens, length 1;  `states` (batch, tokens, hidden): the last layer, for late interaction
         `middle` (batch, hidden): like `sentence`, two thirds up, where there is still more grammar than topic

The graph uses ONNX Runtime's own fused operators (attention, skip layer norm, bias GELU), so no optimiser has to find them at each start.
Source of the architectures: Devlin et al., "BERT"; Song et al., "MPNet", which tells attention how far apart two tokens stand; pooling as in
Reimers and Gurevych, "Sentence-BERT".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from frontdesk.errors import ModelMissing
from frontdesk.models.protocols import MAX_TOKENS, Precision

_FUSED = "com.microsoft"
BLOCK = 128
"""Numbers that share a scale in int8."""
IN_8_BITS = 4
"""ONNX Runtime's word for products that are made in 8 bits as well."""


def build(folder: Path, target: Path, precision: Precision, adapter: Path | None = None, *, pairs: bool = False) -> None:
    """Write the ONNX file for the model in `folder` (model.safetensors, config.json) to `target`; `pairs`: one that reads two texts together.

    `adapter` holds low-rank updates: for a weight `w`, `w.a` (rank, in) and `w.b` (out, rank), added as `w + w.b @ w.a`;
    what it holds under a weight's own name takes that one's place, what else it holds is left alone.
    int8 keeps the weights of products in 8 bits with a scale for each `BLOCK` of them, and quantises what they meet in the same blocks as it
    comes: a third of the memory, two thirds of the time, and vectors with a cosine of .999 to the exact ones. One scale for a whole row, as
    is usual, made .85 of that with MPNet, in whose rows some numbers are a hundred times the others.
    Raises ModelMissing when the files are those of another kind of model.
    """
    config = json.loads((folder / "config.json").read_text())
    kind = str(config.get("model_type"))
    if kind not in _NAMES or config.get("hidden_act") != "gelu":
        raise ModelMissing(f"{folder} holds a {kind} model, neither BERT nor MPNet: serve it with FRONTDESK_EMBEDDINGS_URL")
    if pairs and kind != "bert":
        raise ModelMissing(f"{folder} holds a {kind} model, which was not made for pairs of texts: take a BERT encoder")
    weights = load_file(folder / "model.safetensors")
    updates = load_file(adapter) if adapter is not None else {}
    prefix = f"{kind}." if f"{kind}.embeddings.LayerNorm.weight" in weights else ""
    try:
        plain = {k.removeprefix(prefix): v.astype(np.float32) for k, v in weights.items() if v.dtype.kind == "f"}
        for name in {key[:-2] for key in updates if key.endswith((".a", ".b"))}:
            plain[name] = plain[name] + updates[f"{name}.b"].astype(np.float32) @ updates[f"{name}.a"].astype(np.float32)
        plain.update({name: whole.astype(np.float32) for name, whole in updates.items() if name in plain})
        model = _Graph(plain, config, pairs=pairs, small=precision == "int8").model()
    except KeyError as e:
        raise ModelMissing(f"{folder / 'model.safetensors'} lacks the weight {e}: remove the model and pull it again") from e
    part = target.with_suffix(".part")
    onnx.save(model, part)
    part.replace(target)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What a kind of model calls the weights of a layer's attention."""

    parts: tuple[str, str, str]
    out: str
    norm: str


_NAMES = {
    "bert": _Names(
        parts=("attention.self.query", "attention.self.key", "attention.self.value"),
        out="attention.output.dense",
        norm="attention.output.LayerNorm",
    ),
    "mpnet": _Names(parts=("attention.attn.q", "attention.attn.k", "attention.attn.v"), out="attention.attn.o", norm="attention.LayerNorm"),
}
DISTANCES = "encoder.relative_attention_bias.weight"
"""MPNet's weight for how far apart two tokens stand, (buckets, heads)."""
FIRST_PLACE = 2
"""MPNet counts positions from here."""
FARTHEST = 128
"""Tokens farther apart than this are all the same to MPNet."""


def distances(count: int, buckets: int) -> NDArray[np.int64]:
    """MPNet's number for how far apart two tokens stand, and on which side, (count, count): exact when near, in logarithmic steps beyond."""
    places = np.arange(count)
    apart = places[:, None] - places[None, :]
    side = buckets // 2
    near = side // 2
    far = np.abs(apart)
    steps = np.log(np.maximum(far, 1) / near) / np.log(FARTHEST / near) * (side - near)
    return np.asarray(np.where(far < near, far, np.minimum(near + steps.astype(np.int64), side - 1)) + np.where(apart < 0, side, 0))


class _Graph:
    """Nodes and weights as they are added, in order."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], config: dict[str, Any], *, pairs: bool, small: bool) -> None:
        """`small`: products in 8 bits, and the table of words in half precision."""
        self.weights = weights
        self.kind = str(config["model_type"])
        self.names = _NAMES[self.kind]
        self.small = small
        self.pairs = pairs
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.hidden = int(config["hidden_size"])
        self.epsilon = float(config["layer_norm_eps"])
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        """The whole graph, top to bottom."""
        self.node("Cast", ["mask"], "mask_int", to=TensorProto.INT32)
        states = self.embed()
        for layer in range(self.layers):
            states = self.layer(states, f"encoder.layer.{layer}")
            if layer + 1 == max(1, self.layers * 2 // 3):
                self.node("Identity", [states], "middle_states")
        self.node("Identity", [states], "states")
        self.masks()
        self.pool("states", "sentence")
        self.pool("middle_states", "middle")
        batch_by_tokens = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "bert_sentence_encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, batch_by_tokens)
                for name in ("ids", "mask", *("segments",) * self.pairs)
            ],
            [
                helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["batch", self.hidden]),
                helper.make_tensor_value_info("states", TensorProto.FLOAT, [*batch_by_tokens, self.hidden]),
                helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["batch", self.hidden]),
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def embed(self) -> str:
        """Word + position + segment, normalised. The first segment's row is added to the positions once and for all."""
        known = self.weights["embeddings.word_embeddings.weight"]
        words = self.constant("words", known.astype(np.float16) if self.small else known)
        places = self.weights["embeddings.position_embeddings.weight"]
        if self.kind == "bert":
            places = places + self.weights["embeddings.token_type_embeddings.weight"][0]
        table = self.constant("places", places[FIRST_PLACE:] if self.kind == "mpnet" else places)
        looked_up = self.node("Gather", [words, "ids"], "word_rows")
        if self.small:
            looked_up = self.node("Cast", [looked_up], "word_rows_whole", to=TensorProto.FLOAT)
        length = self.node("Shape", ["ids"], "length", start=1, end=2)
        ends = [self.constant(name, np.array([value], np.int64)) for name, value in (("zero", 0), ("one", 1))]
        rows = self.node("Slice", [table, ends[0], length, ends[0], ends[1]], "place_rows")
        summed = self.node("Add", [looked_up, rows], "summed")
        if self.pairs:
            segments = self.weights["embeddings.token_type_embeddings.weight"]
            summed = self.node(
                "Add", [summed, self.node("Gather", [self.constant("beyond", segments - segments[0]), "segments"], "beyond_rows")], "both"
            )
        if self.kind == "mpnet":
            self.tell_distances(ends, length)
        scale, shift = self.pair("embeddings.LayerNorm")
        return self.node("LayerNormalization", [summed, scale, shift], "embedded", epsilon=self.epsilon)

    def tell_distances(self, ends: Sequence[str], length: str) -> None:
        """What MPNet adds to attention for the distance of two tokens, the same in all layers: (1, heads, tokens, tokens)."""
        learnt = self.weights[DISTANCES]
        whole = learnt[distances(MAX_TOKENS, len(learnt))].transpose(2, 0, 1)
        axis = self.constant("token_axes", np.array([1, 2], np.int64))
        starts = self.constant("token_starts", np.array([0, 0], np.int64))
        both = self.node("Concat", [length, length], "token_ends", axis=0)
        near = self.node("Slice", [self.constant("distances", whole), starts, both, axis], "near")
        self.node("Unsqueeze", [near, ends[0]], "by_distance")

    def layer(self, states: str, name: str) -> str:
        """One transformer layer: attention, then the two dense steps, each added back and normalised."""
        attended = self.attend(states, name)
        out = f"{name}.{self.names.out}"
        states = self.add_and_normalise(self.dense(attended, out), states, out, f"{name}.{self.names.norm}")
        inner = self.dense(states, f"{name}.intermediate.dense")
        bias = self.constant(f"{name}.intermediate.bias", self.weights[f"{name}.intermediate.dense.bias"])
        inner = self.node("BiasGelu", [inner, bias], f"{name}.activated", domain=_FUSED)
        out = f"{name}.output.dense"
        return self.add_and_normalise(self.dense(inner, out), states, out, f"{name}.output.LayerNorm")

    def attend(self, states: str, name: str) -> str:
        """Attention of all heads, before its own dense step."""
        parts = [f"{name}.{part}" for part in self.names.parts]
        weights = np.concatenate([self.weights[f"{p}.weight"] for p in parts])
        bias = self.constant(f"{name}.qkv.bias", np.concatenate([self.weights[f"{p}.bias"] for p in parts]))
        if self.kind == "bert" and not self.small:
            weight = self.constant(f"{name}.qkv.weight", weights.T)
            return self.node("Attention", [states, weight, bias, "mask_int"], f"{name}.attended", domain=_FUSED, num_heads=self.heads)
        made = self.node("Add", [self.product(states, f"{name}.qkv", weights), bias], f"{name}.qkv")
        sought = [f"{name}.{part}.rows" for part in ("q", "k", "v")]
        self.nodes.append(helper.make_node("Split", [made], sought, name=f"{name}.split", axis=-1))
        added = ["by_distance"] if self.kind == "mpnet" else []
        return self.node("MultiHeadAttention", [*sought, "", "mask_int", *added], f"{name}.attended", domain=_FUSED, num_heads=self.heads)

    def add_and_normalise(self, fresh: str, states: str, dense: str, norm: str) -> str:
        """Three plain operators: on a CPU the fused SkipLayerNormalization takes three times as long as they do together."""
        scale, shift = self.pair(norm)
        biased = self.node("Add", [fresh, self.constant(f"{dense}.bias", self.weights[f"{dense}.bias"])], f"{dense}.biased")
        added = self.node("Add", [biased, states], f"{dense}.added")
        return self.node("LayerNormalization", [added, scale, shift], f"{norm}.normalised", epsilon=self.epsilon)

    def dense(self, states: str, name: str) -> str:
        """The product alone; the bias is added by the fused operator that follows."""
        return self.product(states, name, self.weights[f"{name}.weight"])

    def product(self, states: str, name: str, weights: NDArray[np.float32]) -> str:
        """`states` times `weights` (out, in)."""
        if not self.small:
            return self.node("MatMul", [states, self.constant(f"{name}.weight", weights.T)], f"{name}.product")
        out, into = weights.shape
        blocks = np.pad(weights, ((0, 0), (0, -into % BLOCK))).reshape(out, -1, BLOCK)
        scales = np.maximum(np.abs(blocks).max(axis=-1), 1e-12) / 127
        whole = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8)
        kept = [self.constant(f"{name}.weight", whole), self.constant(f"{name}.scales", scales.astype(np.float32))]
        shape = {"K": into, "N": out, "bits": 8, "block_size": BLOCK}
        return self.node("MatMulNBits", [states, *kept], f"{name}.product", domain=_FUSED, accuracy_level=IN_8_BITS, **shape)

    def masks(self) -> None:
        """The mask as a column of numbers, and how many tokens it leaves."""
        last, middle = (self.constant(name, np.array([value], np.int64)) for name, value in (("last", -1), ("tokens_axis", 1)))
        mask = self.node("Cast", ["mask"], "mask_float", to=TensorProto.FLOAT)
        self.node("Unsqueeze", [mask, last], "mask_column")
        self.node("ReduceSum", [mask, middle], "token_counts", keepdims=1)

    def pool(self, states: str, output: str) -> None:
        """Mean over the tokens, length 1."""
        kept = self.node("Mul", [states, "mask_column"], f"{output}.kept")
        total = self.node("ReduceSum", [kept, "tokens_axis"], f"{output}.total", keepdims=0)
        mean = self.node("Div", [total, "token_counts"], f"{output}.mean")
        self.node("LpNormalization", [mean], output, axis=-1, p=2)

    def pair(self, name: str) -> tuple[str, str]:
        """The two weights of a layer norm."""
        return self.constant(f"{name}.weight", self.weights[f"{name}.weight"]), self.constant(f"{name}.bias", self.weights[f"{name}.bias"])

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, domain=domain, **attributes))
        return output
