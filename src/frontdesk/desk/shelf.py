"""All units of a tenant side by side, by the reader's vectors: what answers a question stands near it, in whatever words it is asked.

Search compares a question with whole passages, by their words and by an encoder that was not taught how customers talk. The shelf compares
it with each sentence, answer and cell. Holds no more units than fit well into memory: a larger tenant has an empty shelf and search alone.
A unit is found by one text, in its context, and judged under others too, bare, by its place, its row and column: those can be read later.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.reading import Reader
from frontdesk.desk.signs import faces
from frontdesk.desk.units import units_of
from frontdesk.domain.knowledge import Passage
from frontdesk.errors import BadInput
from frontdesk.models.protocols import Vectors

T = TypeVar("T")
SHELVED = 12_000
"""Units of a shelf at most: 37 MB, and a fifth of a millisecond for each thousand."""
SEARCHED = 0.5
"""What a rank in the search counts against the same rank on the shelf."""
_KEY = 16
"""Bytes of a text's key."""
STEEP = 20
"""The constant of reciprocal ranks: the smaller, the more the first places count."""


class Shelf:
    """The units of some passages, ready to be compared with a question. Empty when there are too many."""

    def __init__(
        self, passages: Sequence[Passage], owners: NDArray[np.int64], texts: Sequence[str], vectors: Vectors, others: Sequence[str] = ()
    ) -> None:
        """`owners` (units,): the index in `passages` that each unit belongs to; `vectors` (units, dimensions) of `texts`.

        `others`: what the units are compared under besides.
        """
        self._passages = passages
        self._owners = owners
        self._texts = texts
        self._vectors = vectors
        self._others = others
        self._of_others: Vectors | None = None

    @classmethod
    async def of(cls, passages: Sequence[Passage], reader: Reader, kept: bytes | None = None) -> Shelf:
        """A shelf of these passages. `kept`: bytes of a former shelf by the same encoder, whose texts need not be read again.

        Raises ModelUnavailable.
        """
        texts: list[str] = []
        others: dict[str, None] = {}
        owners: list[int] = []
        for place, passage in enumerate(passages):
            for unit in units_of(passage):
                main, *more = faces(unit)
                texts.append(main)
                others |= dict.fromkeys(more)
                owners.append(place)
            if len(texts) > SHELVED:
                return cls((), np.zeros(0, np.int64), (), np.zeros((0, 0), np.float32))
        known = _read(kept, reader.name) if kept else {}
        reader.know({text: known[key] for text in (*texts, *others) if (key := _key(text)) in known})
        vectors = await reader.vectors(texts) if texts else np.zeros((0, 0), np.float32)
        first = set(texts)
        return cls(passages, np.array(owners, np.int64), texts, vectors, [t for t in others if t not in first])

    async def complete(self, reader: Reader) -> None:
        """Reads what the units are compared under besides, or the first questions would wait for it. Raises ModelUnavailable."""
        if self._others and self._of_others is None:
            self._of_others = await reader.vectors(self._others)

    def __len__(self) -> int:
        return len(self._texts)

    def nearest(self, vector: NDArray[np.float32], limit: int) -> list[tuple[Passage, float]]:
        """The passages with the units most like a question, best first, each with the cosine of its best unit."""
        if not self._texts:
            return []
        best = np.full(len(self._passages), -1.0, np.float32)
        np.maximum.at(best, self._owners, self._vectors @ vector)
        order = np.argsort(-best, kind="stable")[:limit]
        return [(self._passages[i], float(best[i])) for i in order.tolist()]

    def to_bytes(self, reader: Reader) -> bytes:
        """What `of` takes as `kept`."""
        file = io.BytesIO()
        texts, vectors = self._texts, self._vectors
        if self._of_others is not None:
            texts, vectors = [*texts, *self._others], np.concatenate([vectors, self._of_others])
        keys = np.frombuffer(b"".join(_key(t) for t in texts), np.uint8).reshape(-1, _KEY)
        for part in (np.array(reader.name), keys, vectors.astype(np.float16)):
            np.save(file, part, allow_pickle=False)
        return file.getvalue()


def joined(near: Sequence[T], found: Sequence[T], key: Callable[[T], str]) -> list[T]:
    """One ranking out of the shelf's and that of search, by their reciprocal ranks."""
    scores: dict[str, float] = {}
    things: dict[str, T] = {}
    for weight, ranking in ((1.0, near), (SEARCHED, found)):
        for place, thing in enumerate(ranking):
            name = key(thing)
            things[name] = thing
            scores[name] = scores.get(name, 0.0) + weight / (STEEP + place)
    return [things[name] for name in sorted(scores, key=lambda name: (-scores[name], name))]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY]


def _read(kept: bytes, name: str) -> dict[bytes, NDArray[np.float32]]:
    """Vectors by the key of their text; none when they are another encoder's. Raises BadInput when the bytes are no shelf."""
    file = io.BytesIO(kept)
    try:
        of, keys, rows = (np.load(file, allow_pickle=False) for _ in range(3))
        if str(of) != name:
            return {}
        return {bytes(key): row for key, row in zip(keys, rows.astype(np.float32), strict=True)}
    except (OSError, ValueError, EOFError) as e:
        raise BadInput(f"the kept vectors of the reader cannot be read ({e})") from e
