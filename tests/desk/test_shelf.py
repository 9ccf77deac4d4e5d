from __future__ import annotations

import numpy as np
import pytest

from frontdesk.desk import shelf as shelves
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.reading import Reader
from frontdesk.desk.shelf import Shelf
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.errors import BadInput
from frontdesk.models.scripted import HashEmbedder


def passage(number: int, text: str) -> Passage:
    return Passage(
        id=PassageId(f"p{number}"), document=DocumentId("d"), source="care.md", title="Plant care", kind=PassageKind.PROSE, text=text
    )


CARE = [
    passage(1, "Ferns drink twice a week. In winter once is enough."),
    passage(2, "Cacti are watered once a month. They want full sun."),
    passage(3, "Orchids are fed from May to September."),
]


async def test_a_passage_is_found_by_its_sentence_that_is_most_like_the_question() -> None:
    reader = Reader(HashEmbedder())
    shelf = await Shelf.of(CARE, reader)
    question = await reader.question("They want full sun.")
    assert next(p.id for p, _ in shelf.nearest(question.vector, 2)) == "p2"
    assert len(shelf) == 5


async def test_a_kept_shelf_is_read_again_without_the_encoder() -> None:
    first = Reader(HashEmbedder())
    kept = (await Shelf.of(CARE, first)).to_bytes(first)
    second = Counting()
    again = await Shelf.of([*CARE, passage(4, "Bonsai are cut in March.")], Reader(second), kept)
    assert (len(again), second.texts) == (6, 1)


async def test_a_complete_shelf_leaves_nothing_to_read_for_a_question() -> None:
    """Of a kept one neither: units are judged under more texts than the one they are found by."""
    encoder = Counting()
    reader = Reader(encoder)
    shelf = await Shelf.of(CARE, reader)
    found, lexicon = encoder.texts, Lexicon(CARE)
    await shelf.complete(reader)
    assert encoder.texts > found
    again = Counting()
    later = Reader(again)
    await (await Shelf.of(CARE, later, shelf.to_bytes(reader))).complete(later)
    assert again.texts == 0
    question = await later.question("Do cacti want sun?")
    asked = again.texts
    await later.read(question, CARE, lexicon)
    assert again.texts == asked


async def test_a_kept_shelf_of_another_encoder_is_not_used() -> None:
    reader = Reader(HashEmbedder())
    kept = (await Shelf.of(CARE, reader)).to_bytes(reader)
    other = Counting("another")
    await Shelf.of(CARE, Reader(other), kept)
    assert other.texts == 5


async def test_bytes_that_are_no_shelf_are_refused() -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        await Shelf.of(CARE, Reader(HashEmbedder()), b"not a shelf")


async def test_the_same_shelf_has_the_same_bytes() -> None:
    reader = Reader(HashEmbedder())
    assert (await Shelf.of(CARE, reader)).to_bytes(reader) == (await Shelf.of(CARE, reader)).to_bytes(reader)


async def test_more_units_than_fit_make_an_empty_shelf() -> None:
    many = [passage(n, f"Plant {n} is watered on day {n}.") for n in range(shelves.SHELVED + 1)]
    shelf = await Shelf.of(many, Reader(HashEmbedder()))
    assert shelf.nearest(np.zeros(8, np.float32), 3) == []


class Counting(HashEmbedder):
    """Counts what it is given to read."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.texts = 0
        if name:
            self.name = name

    async def embed(self, texts):
        self.texts += len(texts)
        return await super().embed(texts)
