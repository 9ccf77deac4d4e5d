"""Builds one ONNX file from the weights of a BERT sentence encoder: tokens in, unit-length sentence vectors out. Needs no torch.

Inputs   `ids` and `mask`, int64, (batch, tokens); mask is 1 for a token and 0 for padding. A graph for pairs also takes `segments`, 1 in the
         second text of a pair, else 0
Outputs  `sentence` (batch, hidden): mean over the tokens, length 1;  `states` (batch, tokens, hidden): the last layer, for late interaction
         `middle` (batch, hidden): like `sentence`, two thirds up, where there is still more grammar than topic

The graph uses ONNX Runtime's own fused operators (attention, skip layer norm, bias GELU), so no optimiser has to find them at each start.
Source of the architecture: Devlin et al., "BERT"; pooling as in Reimers and Gurevych, "Sentence-BERT".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from frontdesk.errors import ModelMissing
from frontdesk.models.protocols import Precision

_FUSED = "com.microsoft"


def build(folder: Path, target: Path, precision: Precision, adapter: Path | None = None, *, pairs: bool = False) -> None:
    """Write the ONNX file for the model in `folder` (model.safetensors, config.json) to `target`; `pairs`: one that reads two texts together.

    `adapter` holds low-rank updates: for a weight `w`, `w.a` (rank, in) and `w.b` (out, rank), added as `w + w.b @ w.a`;
    what it holds under a weight's own name takes that one's place, what else it holds is left alone.
    int8 keeps weights in 8 bits per channel and quantises activations as they come (half the time, a small loss).
    Raises ModelMissing when the files are not those of a BERT encoder.
    """
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise ModelMissing(f"{folder} holds a {config.get('model_type')} model, not a BERT encoder: serve it with FRONTDESK_EMBEDDINGS_URL")
    weights = load_file(folder / "model.safetensors")
    updates = load_file(adapter) if adapter is not None else {}
    prefix = "bert." if "bert.embeddings.LayerNorm.weight" in weights else ""
    try:
        plain = {k.removeprefix(prefix): v.astype(np.float32) for k, v in weights.items() if v.dtype.kind == "f"}
        for name in {key[:-2] for key in updates if key.endswith((".a", ".b"))}:
            plain[name] = plain[name] + updates[f"{name}.b"].astype(np.float32) @ updates[f"{name}.a"].astype(np.float32)
        plain.update({name: whole.astype(np.float32) for name, whole in updates.items() if name in plain})
        model = _Graph(plain, config, pairs=pairs).model()
    except KeyError as e:
        raise ModelMissing(f"{folder / 'model.safetensors'} lacks the weight {e}: remove the model and pull it again") from e
    part = target.with_suffix(".part")
    onnx.save(model, part)
    if precision == "int8":
        _quantise(part)
    part.replace(target)


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # here, since it is slow to import and rarely wanted

    quantize_dynamic(
        path,
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Attention"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


class _Graph:
    """Nodes and weights as they are added, in order."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], config: dict[str, Any], *, pairs: bool) -> None:
        self.weights = weights
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
        words = self.constant("words", self.weights["embeddings.word_embeddings.weight"])
        places = self.weights["embeddings.position_embeddings.weight"] + self.weights["embeddings.token_type_embeddings.weight"][0]
        table = self.constant("places", places)
        looked_up = self.node("Gather", [words, "ids"], "word_rows")
        length = self.node("Shape", ["ids"], "length", start=1, end=2)
        ends = [self.constant(name, np.array([value], np.int64)) for name, value in (("zero", 0), ("one", 1))]
        rows = self.node("Slice", [table, ends[0], length, ends[0], ends[1]], "place_rows")
        summed = self.node("Add", [looked_up, rows], "summed")
        if self.pairs:
            segments = self.weights["embeddings.token_type_embeddings.weight"]
            summed = self.node(
                "Add", [summed, self.node("Gather", [self.constant("beyond", segments - segments[0]), "segments"], "beyond_rows")], "both"
            )
        scale, shift = self.pair("embeddings.LayerNorm")
        return self.node("LayerNormalization", [summed, scale, shift], "embedded", epsilon=self.epsilon)

    def layer(self, states: str, name: str) -> str:
        """One transformer layer: attention, then the two dense steps, each added back and normalised."""
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = self.constant(f"{name}.qkv.weight", np.concatenate([self.weights[f"{p}.weight"].T for p in parts], axis=1))
        bias = self.constant(f"{name}.qkv.bias", np.concatenate([self.weights[f"{p}.bias"] for p in parts]))
        attended = self.node("Attention", [states, weight, bias, "mask_int"], f"{name}.attended", domain=_FUSED, num_heads=self.heads)
        states = self.add_and_normalise(self.dense(attended, f"{name}.attention.output.dense"), states, f"{name}.attention.output")
        inner = self.dense(states, f"{name}.intermediate.dense")
        bias = self.constant(f"{name}.intermediate.bias", self.weights[f"{name}.intermediate.dense.bias"])
        inner = self.node("BiasGelu", [inner, bias], f"{name}.activated", domain=_FUSED)
        return self.add_and_normalise(self.dense(inner, f"{name}.output.dense"), states, f"{name}.output")

    def add_and_normalise(self, fresh: str, states: str, name: str) -> str:
        """Three plain operators: on a CPU the fused SkipLayerNormalization takes three times as long as they do together."""
        scale, shift = self.pair(f"{name}.LayerNorm")
        biased = self.node("Add", [fresh, self.constant(f"{name}.bias", self.weights[f"{name}.dense.bias"])], f"{name}.biased")
        added = self.node("Add", [biased, states], f"{name}.added")
        return self.node("LayerNormalization", [added, scale, shift], f"{name}.normalised", epsilon=self.epsilon)

    def dense(self, states: str, name: str) -> str:
        """The product alone; the bias is added by the fused operator that follows."""
        return self.node("MatMul", [states, self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)], f"{name}.product")

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
