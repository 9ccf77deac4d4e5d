"""GGUF files read and written with the `gguf` package alone: a LoRA adapter, a base in half precision, a base with an adapter merged in.

No other program is needed and nothing is downloaded. Only the Llama layout is written: its rows of q and k are stored in another order than
in transformers, and doing that wrongly gives a model that speaks nonsense. Refuses every other architecture, and 4-bit targets for a merge.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from frontdesk.errors import BadInput

Array = NDArray[Any]

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_STARTS = ("base_model.model.model.layers.", "base_model.model.layers.", "model.layers.")
MERGED = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
"""Kinds of file that an adapter may be merged into."""
_FILE_TYPES = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """What an adapter has to know of its base."""

    architecture: str
    heads: int
    kv_heads: int
    template: str
    shapes: Mapping[str, tuple[int, int]]
    """(rows, columns) of each matrix, by its name in the file."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """One low-rank update W + scale * b @ a, named as the matrix in the base file; rows are in the file's order."""

    name: str
    a: Array
    """(rank, columns)"""
    b: Array
    """(rows, rank)"""
    scale: float


def base_facts(base: Path) -> BaseFacts:
    """Reads the head of a base model. Raises BadInput for another kind of file or architecture."""
    try:
        return _base_facts(base, base.stat().st_mtime_ns)
    except OSError as error:
        raise BadInput(f"{base} is not there: give the GGUF file of the base model") from error


@lru_cache(maxsize=4)
def _base_facts(base: Path, _changed: int) -> BaseFacts:
    # Kept: the reader takes seconds for a vocabulary.
    reader = _reader(base)
    architecture = str(_value(reader, "general.architecture", ""))
    if architecture != "llama" or _value(reader, "general.type", "model") != "model":
        raise BadInput(f"{base.name} holds a {architecture or 'nameless'} file: adapters are made for models of the Llama family only")
    heads = int(_value(reader, "llama.attention.head_count", 0))
    shapes = {t.name: (int(t.shape[1]), int(t.shape[0])) for t in reader.tensors if len(t.shape) == 2}
    return BaseFacts(
        architecture=architecture,
        heads=heads,
        kv_heads=int(_value(reader, "llama.attention.head_count_kv", heads)),
        template=str(_value(reader, "tokenizer.chat_template", "")),
        shapes=shapes,
    )


def peft_updates(folder: Path, base: BaseFacts) -> tuple[list[Update], float]:
    """The updates of a PEFT LoRA folder in the file's order, and alpha. Raises BadInput, naming what cannot be carried over."""
    config = _config(folder)
    alpha = float(config.get("lora_alpha") or 0)
    pairs: dict[str, dict[str, Array]] = {}
    for name, tensor in safetensors(folder / "adapter_model.safetensors"):
        target, part = _target(name)
        pairs.setdefault(target, {})[part] = tensor
    updates = []
    for target, pair in pairs.items():
        if set(pair) != {"a", "b"}:
            raise BadInput(f"{folder}: the update of {target} is not complete: the file was cut off, export the adapter again")
        a, b = pair["a"].astype(np.float32), pair["b"].astype(np.float32)
        shape = base.shapes.get(target)
        if shape is None or (b.shape[0], a.shape[1]) != shape or a.shape[0] != b.shape[1]:
            raise BadInput(f"{folder}: the update of {target} does not fit this base: it was trained on another model")
        heads = {"attn_q": base.heads, "attn_k": base.kv_heads}.get(target.split(".")[2])
        updates.append(Update(name=target, a=a, b=_reordered(b, heads) if heads else b, scale=alpha / a.shape[0]))
    if not updates:
        raise BadInput(f"{folder} holds no LoRA update: train with at least one linear layer as target")
    _check_finite(updates, folder)
    return sorted(updates, key=lambda u: u.name), alpha


def write_adapter(target: Path, updates: list[Update], alpha: float, *, name: str = "") -> None:
    """A LoRA adapter that llama.cpp loads beside its base, in 32-bit floats."""
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    if name:
        writer.add_name(name)
    for update in updates:
        writer.add_tensor(f"{update.name}.lora_a", np.ascontiguousarray(update.a))
        writer.add_tensor(f"{update.name}.lora_b", np.ascontiguousarray(update.b))
    _finish(writer)


def read_adapter(path: Path) -> tuple[list[Update], float]:
    """The updates of an adapter file. Raises BadInput for any other file."""
    reader = _reader(path)
    if _value(reader, "general.type", "") != "adapter" or _value(reader, "adapter.type", "") != "lora":
        raise BadInput(f"{path.name} is no LoRA adapter: give the adapter.gguf that a training run exported")
    alpha = float(_value(reader, "adapter.lora.alpha", 0.0))
    pairs: dict[str, dict[str, Array]] = {}
    for tensor in reader.tensors:
        name, _, part = tensor.name.rpartition(".lora_")
        pairs.setdefault(name, {})[part] = np.array(tensor.data, np.float32)
    if any(set(pair) != {"a", "b"} for pair in pairs.values()) or not pairs:
        raise BadInput(f"{path.name} is not complete: export the adapter again")
    return [Update(name=n, a=p["a"], b=p["b"], scale=alpha / p["a"].shape[0]) for n, p in sorted(pairs.items())], alpha


def write_merged(base: Path, target: Path, *, kind: str = "f16", updates: list[Update] | tuple[()] = ()) -> None:
    """The base as `kind` (f32, f16 or q8_0), with the updates added to its weights. Raises BadInput for any 4-bit kind, with the reason."""
    if kind not in MERGED:
        raise BadInput(
            f"an adapter is not merged into a {kind} file: rounding to so few bits takes nearly all of the training away again "
            "(measured: key-fact recall .88 before, .04 after); deploy the adapter beside its base, or merge into f16 or q8_0"
        )
    reader, by_name = _reader(base), {u.name: u for u in updates}
    facts = base_facts(base)
    unknown = sorted(set(by_name) - set(facts.shapes))
    if unknown:
        raise BadInput(f"the adapter changes {unknown[0]}, which {base.name} does not have: it was trained on another model")
    writer = gguf.GGUFWriter(str(target), facts.architecture)
    _copy_head(reader, writer, _FILE_TYPES[kind])
    for tensor in reader.tensors:
        weights: Array = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        update = by_name.get(tensor.name)
        if update is not None:
            weights = weights + update.scale * (update.b @ update.a)
        if weights.ndim == 1 or kind == "f32":
            writer.add_tensor(tensor.name, weights)
        else:
            packed = gguf.quants.quantize(weights, MERGED[kind])
            writer.add_tensor(tensor.name, packed, raw_shape=packed.shape, raw_dtype=MERGED[kind])
    _finish(writer)


def safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    """Name and values of each tensor of a safetensors file; bfloat16 comes as float32. Raises BadInput for a damaged file."""
    try:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        head = json.loads(data[8 : 8 + length])
    except (OSError, struct.error, ValueError) as error:
        raise BadInput(f"{path} cannot be read as safetensors: export the adapter again") from error
    head.pop("__metadata__", None)
    for name, entry in head.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        shape = tuple(entry["shape"])
        kinds = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
        if entry["dtype"] not in kinds or end > len(data) or end - begin != math.prod(shape) * np.dtype(kinds[entry["dtype"]]).itemsize:
            raise BadInput(f"{path}: the tensor {name} is damaged or of an unknown type: export the adapter again")
        values = np.frombuffer(data[begin:end], kinds[entry["dtype"]]).reshape(shape)
        yield name, (values.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else values


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} is no PEFT folder: it needs adapter_config.json and adapter_model.safetensors") from error
    if config.get("peft_type") != "LORA":
        raise BadInput(f"{folder} holds {config.get('peft_type')}: only LoRA adapters can be exported")
    reasons = {
        "use_dora": "DoRA",
        "use_rslora": "rank-stabilised scaling",
        "modules_to_save": "whole saved layers",
        "alpha_pattern": "a scaling per layer",
    }
    for key, words in reasons.items():
        if config.get(key):
            raise BadInput(f"{folder} uses {words}, which llama.cpp's adapters cannot carry: train with plain LoRA")
    return config


def _target(name: str) -> tuple[str, str]:
    rest = next((name[len(start) :] for start in _STARTS if name.startswith(start)), "")
    layer, _, module = rest.partition(".")
    for ours, theirs in _NAMES.items():
        for part, ending in (("a", "lora_A"), ("b", "lora_B")):
            if layer.isdigit() and module in (f"{ours}.{ending}.weight", f"{ours}.{ending}.default.weight"):
                return f"blk.{layer}.{theirs}.weight", part
    raise BadInput(f"{name} cannot be carried over: only the linear layers of attention and feed-forward blocks can be targets")


def _reordered(b: Array, heads: int) -> Array:
    """Rows of q or k in the order of llama.cpp, whose rotary embedding takes neighbours where transformers takes halves."""
    rows, columns = b.shape
    return np.ascontiguousarray(b.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns))


def _check_finite(updates: list[Update], folder: Path) -> None:
    for update in updates:
        if not (np.isfinite(update.a).all() and np.isfinite(update.b).all()):
            raise BadInput(f"{folder}: {update.name} holds numbers that are not finite: the training went astray, lower its learning rate")


def _reader(path: Path) -> gguf.GGUFReader:
    try:
        return gguf.GGUFReader(str(path))
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise BadInput(f"{path} cannot be read as GGUF: it is missing, cut off or another kind of file") from error


def _value(reader: gguf.GGUFReader, key: str, default: Any) -> Any:
    field = reader.fields.get(key)
    return default if field is None else field.contents()


def _copy_head(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, file_type: int) -> None:
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        kind = field.types[0]
        sub_type = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub_type=sub_type)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _finish(writer: gguf.GGUFWriter) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except OSError as error:
        raise BadInput(f"the file cannot be written ({error.strerror}): free some space") from error
    finally:
        writer.close()
