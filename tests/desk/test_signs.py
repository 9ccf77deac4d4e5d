"""What a reader looks at, worked out once for each passage and held against each question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.reading import Reader
from frontdesk.desk.signs import FEATURES, STUDIED, Studies
from frontdesk.desk.units import units_of
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind, Table
from frontdesk.models.scripted import HashEmbedder

TABLE = Table(header=("Weight", "Snail", "Swift"), rows=(("Up to 3 kg", "£2", "£6"), ("3 to 9 kg", "£5", "free")))


def passage(number: int, text: str = "", *, table: Table | None = None) -> Passage:
    return Passage(
        id=PassageId(f"p{number}"),
        document=DocumentId("d"),
        source="parcels.md",
        title="Parcels",
        kind=PassageKind.TABLE if table else PassageKind.PROSE,
        text=text,
        headings=("Prices",),
        table=table,
    )


PASSAGES = [passage(0, table=TABLE), passage(1, "A parcel waits for seven days. Then it goes back, which costs nothing.")]


async def test_a_question_sees_the_same_signs_whether_a_passage_was_read_before_or_not() -> None:
    reader, lexicon = Reader(HashEmbedder()), Lexicon(PASSAGES)
    question = await reader.question("How much is 4 kilos by Swift? And how long does a parcel wait?")
    units = [unit for p in PASSAGES for unit in units_of(p)]
    first, again = await reader.read(question, PASSAGES, lexicon), await reader.read(question, PASSAGES, lexicon)
    assert [(e.unit.quote, e.probability) for e in first] == [(e.unit.quote, e.probability) for e in again]
    signs = dict(zip([(u.row, u.column) for u in units], await reader.signs(question, units, lexicon), strict=True))
    cell = dict(zip(FEATURES, signs[("3 to 9 kg", "Swift")], strict=True))
    assert (cell["range_hit"], cell["range_miss"], cell["group_hit"], cell["expected_there"], cell["is_cell"]) == (1, 0, 1, 1, 1)
    other = dict(zip(FEATURES, signs[("Up to 3 kg", "Snail")], strict=True))
    assert (other["range_hit"], other["range_miss"], other["group_miss"]) == (0, 1, 1)


def test_a_passage_whose_words_changed_is_studied_anew() -> None:
    lexicon, studies = Lexicon(PASSAGES), Studies()
    before = studies.of(PASSAGES[1:], lexicon)
    assert studies.of(PASSAGES[1:], lexicon)[0] is before[0]
    changed = studies.of([replace(PASSAGES[1], text="It is kept for a month.")], lexicon)
    assert [s.unit.quote for s in changed] == ["It is kept for a month."]


def test_the_studies_that_are_kept_are_bounded() -> None:
    lexicon, studies = Lexicon(PASSAGES), Studies()
    first = studies.of([passage(0, "Seven days.")], lexicon)
    studies.of([passage(n, "Seven days.") for n in range(1, STUDIED + 1)], lexicon)
    assert studies.of([passage(0, "Seven days.")], lexicon)[0] is not first[0]


def test_what_all_words_weigh_is_the_sum_of_their_rarity() -> None:
    lexicon = Lexicon(PASSAGES)
    assert np.isclose(lexicon.weight({"parcel", "swift"}), lexicon.rarity("parcel") + lexicon.rarity("swift"))


AGES = Table(header=("Age", "Fare"), rows=(("Under 2", "free"), ("2 to 10", "£3"), ("11 to 17", "£5")))
LOADS = Table(header=("Weight (kg)", "Fee"), rows=(("0-5", "£4"), ("6-20", "£9")))


async def cells_hit(table: Table, question: str) -> list[str]:
    read, tables = Reader(HashEmbedder()), [passage(5, table=table)]
    lexicon = Lexicon(tables)
    units = units_of(tables[0])
    signs = await read.signs(await read.question(question), units, lexicon)
    return [u.row for u, row in zip(units, signs, strict=True) if row[FEATURES.index("range_hit")]]


async def test_a_bare_number_may_be_an_age_and_a_header_says_what_its_rows_count() -> None:
    assert await cells_hit(AGES, "My lad is nine, what does he pay?") == ["2 to 10"]
    assert await cells_hit(AGES, "fare for my 14 year old") == ["11 to 17"]
    assert await cells_hit(AGES, "for a baby of 8 months") == ["Under 2"]
    assert await cells_hit(LOADS, "my parcel weighs 7 kilos") == ["6-20"]
    assert await cells_hit(LOADS, "my parcel weighs 900 grams") == ["0-5"]
