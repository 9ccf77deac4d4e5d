"""Text to vectors with a small BERT or MPNet encoder on ONNX Runtime, in this process. Refuses nothing that is text; reads at most 256 tokens of it.

Two lanes, one thread each: short requests (a customer waits) never stand behind long ones (documents are being indexed).
The long lane works in small batches at a lower priority, and a cancelled request stops after the batch in hand.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Encoding, Tokenizer

from frontdesk.errors import ModelMissing, ModelUnavailable
from frontdesk.models import registry
from frontdesk.models.protocols import MAX_TOKENS, Precision, Vectors

GRAPH_VERSION = 3
"""Part of the built file's name: raised whenever `encoder_graph` builds another graph."""
_SHORT_REQUEST = 8  # texts
_SHORT_CHARS = 4_000  # all texts of a short request together
_WINDOW = 256  # texts tokenised and sorted by length together
_BATCH_TEXTS = 32
_BATCH_TOKENS = 640  # more does not raise the throughput of one core; it only delays whoever comes next
_READ_CHARS = 8_000  # 256 tokens are never reached later than this in real text
_REMEMBERED = 2_048  # texts; 3 MB

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token of a text, with its place in it."""

    start: int
    end: int
    """Characters `text[start:end]`."""
    vector: NDArray[np.float32]
    """Unit length, (dimensions,)."""


class SentenceEncoder:
    """A BERT or MPNet sentence encoder from a folder with model.safetensors, tokenizer.json and config.json."""

    def __init__(self, path: Path, *, threads: int = 1, precision: Precision = "fp32", name: str = "", adapter: Path | None = None) -> None:
        """Load the model; the first time, its ONNX file is built beside the weights (about a second). Raises ModelMissing.

        `adapter`: low-rank updates of the weights, as `training.reading_encoder` makes them.
        """
        self.name = name or path.name
        self._tokenizer = tokenizer(path)
        self._session = session(path, threads, precision, adapter)
        self.dimensions = int(self._session.get_outputs()[0].shape[1])
        self._short = ThreadPoolExecutor(1, "embed-short")
        self._long = ThreadPoolExecutor(1, "embed-long", initializer=_lower_priority)
        self._remembered: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._guard = threading.Lock()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit-length float32 row per text, (len(texts), dimensions), in order. Raises ModelUnavailable."""
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        if not _is_short(texts):
            return await self._embed_long(texts)
        rows = self._recall(texts)
        fresh = [text for text in dict.fromkeys(texts) if text not in rows]
        if fresh:
            found = await self._on(self._short, lambda: self._vectors(fresh))
            rows.update(zip(fresh, found, strict=True))
            self._remember(fresh, found)
        return np.stack([rows[text] for text in texts])

    async def embed_layers(self, texts: Sequence[str]) -> Vectors:
        """For classifying: sentence vectors beside those of the middle layer, unit length, (len(texts), 2, dimensions).

        Raises ModelUnavailable.
        """
        lane = self._short if _is_short(texts) else self._long
        found = np.empty((len(texts), 2, self.dimensions), np.float32)
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            encodings = await self._on(lane, lambda window=window: [self._encode(text) for text in window])  # type: ignore[misc]
            for batch in self._batches(encodings):
                some = [encodings[i] for i in batch]
                rows = await self._on(lane, lambda some=some: self._run(some, "sentence", "middle"))  # type: ignore[misc]
                found[[start + i for i in batch]] = np.stack(rows, axis=1)
        return found

    async def embed_tokens(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """For late interaction: per text one unit-length row per token, (tokens, dimensions), [CLS] and [SEP] left out."""
        return [np.stack([t.vector for t in tokens]) if tokens else self._no_rows() for tokens in await self.tokens(texts)]

    async def tokens(self, texts: Sequence[str]) -> list[list[Token]]:
        """The tokens of each text, with their vectors and places. Raises ModelUnavailable."""
        lane = self._short if _is_short(texts) else self._long
        found: list[list[Token]] = []
        for start in range(0, len(texts), _SHORT_REQUEST):
            some = texts[start : start + _SHORT_REQUEST]
            found += await self._on(lane, lambda some=some: [self._tokens(text) for text in some])  # type: ignore[misc]
        return found

    def knows(self, word: str) -> bool:
        """Whether the tokenizer holds `word` (lower case) in one piece: a dictionary of some twenty thousand common words."""
        return self._tokenizer.token_to_id(word) is not None

    def token_count(self, text: str) -> int:
        """How many tokens the whole text has for this model, [CLS] and [SEP] not counted."""
        encoding = self._tokenizer.encode(_valid(text), add_special_tokens=False)
        return len(encoding.ids) + sum(len(rest.ids) for rest in encoding.overflowing)

    def close(self) -> None:
        """Stop both lanes; what waits is dropped."""
        self._short.shutdown(wait=True, cancel_futures=True)
        self._long.shutdown(wait=True, cancel_futures=True)

    async def _embed_long(self, texts: Sequence[str]) -> Vectors:
        found = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            encodings = await self._on(self._long, lambda window=window: [self._encode(text) for text in window])  # type: ignore[misc]
            for batch in self._batches(encodings):
                some = [encodings[i] for i in batch]
                rows = await self._on(self._long, lambda some=some: self._run(some, "sentence")[0])  # type: ignore[misc]
                found[[start + i for i in batch]] = rows
        return found

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        """For the short lane: everything at once."""
        encodings = [self._encode(text) for text in texts]
        found = np.empty((len(texts), self.dimensions), np.float32)
        for batch in self._batches(encodings):
            found[batch] = self._run([encodings[i] for i in batch], "sentence")[0]
        return found

    def _tokens(self, text: str) -> list[Token]:
        encoding = self._encode(text)
        states = self._run([encoding], "states")[0][0]
        lengths = np.linalg.norm(states, axis=1, keepdims=True)
        places = zip(encoding.offsets, encoding.special_tokens_mask, states / lengths, strict=True)
        return [Token(start=start, end=end, vector=row) for (start, end), special, row in places if not special]

    def _batches(self, encodings: Sequence[Encoding]) -> Iterator[list[int]]:
        return alike([len(e.ids) for e in encodings])

    def _encode(self, text: str) -> Encoding:
        # One at a time: a batch call would spread over every core of the machine, past our thread budget.
        return self._tokenizer.encode(readable(text))

    def _run(self, encodings: Sequence[Encoding], *outputs: str) -> list[NDArray[np.float32]]:
        longest = max(len(e.ids) for e in encodings)
        ids = np.zeros((len(encodings), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        try:
            found: list[NDArray[np.float32]] = self._session.run(outputs, {"ids": ids, "mask": mask})
        except Exception as e:  # ONNX Runtime raises its own kinds, without a common base
            raise ModelUnavailable(f"the embedding model {self.name} failed ({e}): restart the program") from e
        return found

    async def _on(self, lane: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(lane, work)
        except RuntimeError as e:  # the lane was closed
            raise ModelUnavailable(f"the embedding model {self.name} was stopped ({e}): restart the program") from e

    def _recall(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with self._guard:
            found = {text: self._remembered[text] for text in texts if text in self._remembered}
            for text in found:
                self._remembered.move_to_end(text)
        return found

    def _remember(self, texts: Sequence[str], rows: Vectors) -> None:
        with self._guard:
            for text, row in zip(texts, rows, strict=True):
                self._remembered[text] = row
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _no_rows(self) -> NDArray[np.float32]:
        return np.empty((0, self.dimensions), np.float32)


def taught(
    adapter: Path, cache: Path, *, threads: int = 1, name: str = "", pull: Callable[[str, Path], Path] = registry.pull
) -> SentenceEncoder:
    """The encoder for which `adapter` was learnt, as its file says, with it; products in 8 bits. Raises ModelMissing."""
    with safe_open(adapter, "numpy") as file:
        base = (file.metadata() or {}).get("base", "")
    return SentenceEncoder(pull(base, cache), threads=threads, precision="int8", name=name, adapter=adapter)


def alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts of like length (tokens), a batch at a time, so that little is padded."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        longest = lengths[i]  # sorted: this one
        if batch and (len(batch) == _BATCH_TEXTS or (len(batch) + 1) * longest > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _is_short(texts: Sequence[str]) -> bool:
    return len(texts) <= _SHORT_REQUEST and sum(len(text) for text in texts) <= _SHORT_CHARS


def readable(text: str) -> str:
    """As much of a text as an encoder may read, as the tokenizer takes it."""
    return _valid(text[:_READ_CHARS])


def _valid(text: str) -> str:
    """Half of a surrogate pair, which broken clients send, is not text to the tokenizer."""
    return text.encode("utf-8", "replace").decode("utf-8")


def tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a model's folder; cuts a text after 256 tokens. Raises ModelMissing."""
    try:
        made = Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as e:  # the library raises bare Exception for whatever is wrong with the file
        raise ModelMissing(f"{path / 'tokenizer.json'} cannot be read ({e}): remove the model and pull it again") from e
    made.no_padding()
    made.enable_truncation(MAX_TOKENS)
    return made


def session(path: Path, threads: int, precision: Precision, adapter: Path | None, *, pairs: bool = False) -> Any:
    """The model's graph, ready to run; the first time it is built beside the weights. `pairs`: it reads two texts together. Raises ModelMissing."""
    mark = f"-{registry.digest(adapter)[:12]}" if adapter is not None else ""
    file = path / f"{'pairs' if pairs else 'encoder'}-{GRAPH_VERSION}-{precision}{mark}.onnx"
    for last_try in (False, True):
        if not file.is_file():
            with registry.locked(path):
                if not file.is_file():
                    _build(path, file, precision, adapter, pairs=pairs)
        try:
            return onnxruntime.InferenceSession(file, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as e:
            if last_try:
                raise ModelMissing(f"{file} cannot be loaded ({e}): remove the model and pull it again") from e
            file.unlink(missing_ok=True)  # damaged on disk: build it once more
    raise AssertionError


def _build(path: Path, file: Path, precision: Precision, adapter: Path | None, *, pairs: bool) -> None:
    from frontdesk.models import encoder_graph  # its libraries are slow to load, and only the first start ever builds

    try:
        encoder_graph.build(path, file, precision, adapter, pairs=pairs)
    except (OSError, ValueError) as e:
        raise ModelMissing(f"the model in {path} cannot be prepared ({e}): pull it again, and see that the folder can be written") from e


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would burn the core that the rest of the machine needs; the graph is fused as far as it helps already.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return options


def _lower_priority() -> None:
    """This thread alone gives way to the others (Linux gives each thread its own priority)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    except (OSError, AttributeError):  # not Linux: the small batches have to do
        return
