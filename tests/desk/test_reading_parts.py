from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files

import numpy as np
import pytest

from frontdesk.desk import guardrails
from frontdesk.desk.draft import Sentence
from frontdesk.desk.everyday import meanings
from frontdesk.desk.guardrails import stem
from frontdesk.desk.knowledge import from_documents
from frontdesk.desk.phrasing import unfaithful
from frontdesk.desk.quantities import Dimension
from frontdesk.desk.reading import Evidence, Lexicon, Question, Reader, expected_amounts
from frontdesk.desk.understanding import leans_on_history, parts_of
from frontdesk.desk.units import UnitKind, units_of
from frontdesk.domain.conversation import Conversation, ConversationId, Route, Speaker, TurnId, Utterance
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind, Table
from frontdesk.domain.tenancy import TenantId
from frontdesk.models.scripted import HashEmbedder

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = Table(header=("Size", "Silver", "Gold"), rows=(("Up to 5 kg", "£4", "£3"), ("5 to 20 kg", "£9", "free")))


def passage(kind: PassageKind, text: str, *, table: Table | None = None, title: str = "Sending parcels") -> Passage:
    return Passage(
        id=PassageId("p1"),
        document=DocumentId("d"),
        source="sending.md",
        title=title,
        kind=kind,
        text=text,
        headings=("Prices",),
        table=table,
    )


def conversation(*said: str) -> Conversation:
    spoken = tuple(
        Utterance(speaker=Speaker.CUSTOMER if i % 2 == 0 else Speaker.DESK, text=t, turn=TurnId(str(i)), at=NOW) for i, t in enumerate(said)
    )
    return Conversation(id=ConversationId("c"), tenant=TenantId("t"), customer=None, opened_at=NOW, utterances=spoken)


def lexicon() -> Lexicon:
    text = "Up to 5 kg | £4 | £3\n5 to 20 kg | £9 | free"
    return Lexicon([passage(PassageKind.TABLE, text, table=TABLE), passage(PassageKind.PROSE, "Gold members call a line of their own.")])


def test_a_table_becomes_one_unit_for_each_filled_cell_with_its_row_and_column() -> None:
    units = units_of(passage(PassageKind.TABLE, "", table=TABLE))
    assert [(u.row, u.column, u.value) for u in units][:2] == [("Up to 5 kg", "Silver", "£4"), ("Up to 5 kg", "Gold", "£3")]
    assert len(units) == 4


def test_an_approved_answer_stays_whole() -> None:
    (unit,) = units_of(passage(PassageKind.FAQ, "Yes. It takes two days.", title="Can I?"))
    assert (unit.kind, unit.quote) == (UnitKind.FAQ, "Yes. It takes two days.")


def test_the_columns_of_a_table_are_alternatives_to_each_other() -> None:
    words = lexicon()
    named = words.alternatives("what does gold pay")
    assert named == {"gold"}
    assert words.siblings(named) == {"silver"}


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("how much does it cost", Dimension.MONEY),
        ("how long does it take", Dimension.TIME),
        ("how heavy may it be", Dimension.WEIGHT),
        ("what time do you close", Dimension.CLOCK),
        ("how many of them", Dimension.COUNT),
    ],
)
def test_a_question_says_what_kind_of_amount_answers_it(question: str, wanted: Dimension) -> None:
    assert wanted in expected_amounts(question)


def test_two_questions_in_one_message_are_two_parts() -> None:
    parts = parts_of("When do you open on Sundays? And how much is a parcel of 3 kg to France?", conversation(), lexicon())
    assert len(parts) == 2


def test_a_story_with_one_question_is_one_part() -> None:
    parts = parts_of("My parcel came back yesterday. It was wet. What can I do now about the damage?", conversation(), lexicon())
    assert len(parts) == 1


def test_a_follow_up_is_read_with_the_question_before_it_and_its_alternative_swapped() -> None:
    before = conversation("What does a parcel of 3 kg cost with Silver?", "£4.")
    (part,) = parts_of("and with gold?", before, lexicon())
    assert part.follow_up
    assert "silver" not in part.readings[0].lower()
    assert "parcel" in part.readings[0]


@pytest.mark.parametrize("text", ["and for gold?", "what about the second one?", "how long?", "is it free?"])
def test_an_elliptic_message_leans_on_history(text: str) -> None:
    assert leans_on_history(text)


def test_a_full_question_stands_alone_even_late_in_a_conversation() -> None:
    before = conversation("What does a parcel of 3 kg cost with Silver?", "£4.")
    (part,) = parts_of("When does the counter in the main station open on public holidays?", before, lexicon())
    assert not part.follow_up


FACT = Sentence(text="Prices – 5 to 20 kg: Silver: £9.", needed="5 to 20 kg Silver £9", stiff=True)


def test_a_faithful_wording_of_a_cell_is_accepted() -> None:
    assert unfaithful("With Silver, the price for 5 to 20 kg is £9.", FACT) is None


@pytest.mark.parametrize(
    "said",
    ["Silver costs £8 for 5 to 20 kg.", "With Gold, 5 to 20 kg cost £9.", "It costs £9", "Silver is £9, and 30 kg cost £12.", ""],
)
def test_a_wording_that_changes_drops_or_adds_is_refused(said: str) -> None:
    assert unfaithful(said, FACT)


RANKS = Table(
    header=("Length of hire", "Van", "Weeks of notice"), rows=(("Up to 2 days", "not possible", "2"), ("Over 2 days", "free", "none"))
)


@pytest.mark.parametrize(
    ("row", "column", "said"), [("Over 2 days", "Van", "free"), ("Up to 2 days", "Weeks of notice", "2 weeks of notice")]
)
def test_a_cell_is_proved_by_itself_whatever_its_neighbours_say(row: str, column: str, said: str) -> None:
    units = units_of(passage(PassageKind.TABLE, "", table=RANKS))
    question = Question(text="?", search=np.ones(2, np.float32), vector=np.ones(2, np.float32), clauses=np.ones((1, 2), np.float32))
    ranked = sorted(
        (Evidence(unit=u, probability=0.9 if (u.row, u.column) == (row, column) else 0.01) for u in units), key=lambda e: -e.probability
    )
    (sentence,) = from_documents(question, ranked).sentences
    assert said in sentence.text
    assert guardrails.objection(sentence.text, sentence.proofs) is None


def test_a_greeting_before_two_questions_swallows_neither() -> None:
    parts = parts_of("hi there, does the pump run on mains power and what's the shortest warranty period?", conversation(), lexicon())
    assert [p.text for p in parts] == ["does the pump run on mains power", "what's the shortest warranty period?"]


def test_everyday_words_of_one_thing_are_one():
    assert set(meanings("can I send the telly back?")) & set(meanings("returning a television set"))
    assert meanings("I want my money back") == meanings("a refund")
    assert not set(meanings("a baby")) & set(meanings("a child"))


def test_no_everyday_word_stands_in_two_groups():
    """Regression: "costly" has the stem of "cost", so that a cost and a price were two things."""
    places: dict[str, list[str]] = {}
    for line in (files("frontdesk.desk") / "everyday.txt").read_text(encoding="utf-8").splitlines():
        for word in set() if line.startswith("#") else {w if "_" in w else stem(w) for w in line.split()}:
            places.setdefault(word, []).append(line)
    assert {word: lines for word, lines in places.items() if len(lines) > 1} == {}
    assert meanings("what does it cost") == meanings("the price")


def test_courtesy_around_a_question_is_no_part_of_it():
    (part,) = parts_of("Hi, I was wondering. Who pays for the return parcel?", conversation(), Lexicon([]))
    assert part.readings == ("Who pays for the return parcel?",)


def test_a_short_question_may_go_on_about_what_the_sources_answered():
    before = conversation("Can our dogs come along?", "Yes, two per pitch.")
    answered = replace(before, utterances=(before.utterances[0], replace(before.utterances[1], route=Route.FAQ)))
    (part,) = parts_of("how many are allowed on one pitch?", answered, Lexicon([]))
    assert part.continued == "Can our dogs come along how many are allowed on one pitch?"
    (part,) = parts_of("how many are allowed on one pitch?", conversation(), Lexicon([]))
    assert part.continued == ""


async def test_who_asks_the_very_question_of_a_pair_gets_its_answer():
    pair = replace(passage(PassageKind.FAQ, "Yes, if you show us the offer.", title="Do you match prices?"), source="faq")
    reader = Reader(HashEmbedder())
    ranked = await reader.read(await reader.question("hi, do you match prices please"), [pair], Lexicon([pair]))
    assert ranked[0].probability > 0.9


def test_a_cell_was_told_when_its_row_its_column_and_its_value_were_said():
    cell = units_of(passage(PassageKind.TABLE, "", table=TABLE))[0]
    assert cell.told_in("Prices – Up to 5 kg: Silver: £4.")
    assert not cell.told_in("Prices – Up to 5 kg: Gold: £3.")
    sentence = units_of(passage(PassageKind.PROSE, "Parcels go out at noon."))[0]
    assert sentence.told_in("Parcels go out at noon. Anything else?")


def test_what_stands_in_brackets_is_no_part_of_a_name_unless_it_tells_names_apart():
    noted = Table(header=("Tent", "Price"), rows=(("Heather (our smallest)", "£4"), ("Bracken", "£9")))
    assert Lexicon([passage(PassageKind.TABLE, "", table=noted)]).alternatives("a night in Heather") == {"heather"}
    sized = Table(header=("Box", "Price"), rows=(("Crate (long one)", "£4"), ("Crate (short one)", "£9")))
    assert Lexicon([passage(PassageKind.TABLE, "", table=sized)]).alternatives("a crate, the long one") == {"crate long one"}


@pytest.mark.parametrize(
    ("sentence", "imprint"),
    [
        ("Edition 9, in use for hires from March 2027.", True),
        ("Version 3.2, January 2027.", True),
        ("Last updated on 4 May 2026.", True),
        ("These terms apply to all contracts signed since 1 January 2027.", True),
        ("Valid from the day of purchase, a pass lets two adults and three children in.", False),
        ("Version control is part of every plan.", False),
        ("Version 2 needs a camera with a plug.", False),
        ("Issue 12 comes with a free pattern.", False),
        ("Updated prices are sent by post.", False),
    ],
)
async def test_the_line_that_says_which_edition_one_reads_answers_only_who_asks_for_it(sentence: str, imprint: bool):
    prose = passage(PassageKind.PROSE, f"{sentence} Parcels over 20 kg are not taken.")
    assert units_of(prose)[0].imprint is imprint
    reader = Reader(HashEmbedder())
    words = Lexicon([prose])
    quotes = [e.unit.quote for e in await reader.read(await reader.question("how old are your vans?"), [prose], words)]
    assert (sentence in quotes) is not imprint
    assert sentence in [e.unit.quote for e in await reader.read(await reader.question("which version is the latest?"), [prose], words)]


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("when is the pool open again, and till then how much is the sauna a day?", ["when is the pool open again", "how much is the sauna a day?"]),
        ("any spaces left at the pier? and if i leave the van there a month what's that", ["any spaces left at the pier?", "and if i leave the van there a month what's that"]),
        (
            "when does my pass run out, and i've lost the plastic card, what do you want for another",
            ["when does my pass run out", "i've lost the plastic card, what do you want for another"],
        ),
        (
            "a bus from the quay to the village, how much? and what do you charge for a crate of hens",
            ["a bus from the quay to the village, how much?", "and what do you charge for a crate of hens"],
        ),
        ("whens the kitchen open, and do you charge for a high chair", ["whens the kitchen open", "do you charge for a high chair"]),
    ],
)  # fmt: skip
def test_questions_are_parted_where_each_says_something(said: str, parts: list[str]) -> None:
    found = [p.text for p in parts_of(said, conversation(), lexicon())]
    assert found == parts
