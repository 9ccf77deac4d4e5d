"""What both readers learn from: a message with candidates, of which some are right or none. Learns nothing.

The questions of `desk/reading_set` come with the units that lie nearest by likeness and shared words, found by the reader's own means; the
messages of `tools/selection_set` with the operations of their business. Finding the first takes minutes, so they can be kept as lines of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.reading import FEATURES, Reader, ReadingModel, face
from frontdesk.desk.train_reading import Example, examples
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.tools.businesses import businesses, operations
from frontdesk.tools.selection import description_of

OTHERS = 24
"""Wrong units of a question that are kept."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A message with candidates, of which some are right, or none; units of a company are in order, nearest first."""

    text: str
    candidates: tuple[str, ...]
    right: NDArray[np.bool_]
    company: str = ""


def choice_of(example: Example) -> Choice:
    """A question with its right units and so many of the nearest wrong ones, nearest first."""
    order = [int(i) for i in np.argsort(-near(example))]
    wrong = [i for i in order if not example.right[i]][:OTHERS]
    kept = [i for i in order if example.right[i] or i in wrong]
    return Choice(example.text, tuple(face(example.units[i]) for i in kept), example.right[kept], example.company)


def near(example: Example) -> NDArray[np.float64]:
    """How near each unit is before question and unit are read together: likeness, and some of the words that they share."""
    return np.asarray(example.signs[:, FEATURES.index("cos_unit")] + 0.15 * example.signs[:, FEATURES.index("words_unit")])


def of_businesses() -> list[Choice]:
    """What the businesses of the selection set are asked, with the descriptions of their operations."""
    found = []
    for business in businesses().values():
        made = operations(business["operations"])
        described = tuple(description_of(o) for o in made)
        for name, texts in business["questions"].items():
            right = np.array([o.name == name for o in made])
            found += [Choice(text, described, right) for text in texts]
    return found


async def of_companies(folder: Path, held: Collection[str], place: Path | None) -> list[Choice]:
    """The questions of the companies that are not `held` out, with what the encoder in `folder` finds near each; kept in `place`."""
    if place is not None:
        with suppress(FileNotFoundError):
            return kept(place)
    encoder = SentenceEncoder(folder)
    found = [choice_of(e) for e in await examples(Reader(encoder, ReadingModel.blank())) if e.company not in held]
    if place is not None:
        keep(found, place)
    return found


def keep(rows: Sequence[Choice], place: Path) -> None:
    """Writes choices as lines of JSON."""
    with place.open("w", encoding="utf-8") as out:
        for row in rows:
            right = [int(i) for i in np.flatnonzero(row.right)]
            line = {"company": row.company, "text": row.text, "candidates": row.candidates, "right": right}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def kept(place: Path) -> list[Choice]:
    """What `keep` wrote."""
    found = []
    with place.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            right = np.isin(np.arange(len(row["candidates"])), row["right"])
            found.append(Choice(row["text"], tuple(row["candidates"]), right, row["company"]))
    return found
