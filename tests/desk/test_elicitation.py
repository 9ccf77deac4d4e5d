"""What an operation still needs, found in words, earlier answers and records: one fact each."""

from __future__ import annotations

from datetime import date

import pytest

from frontdesk.desk.elicitation import (
    Choices,
    choices_from,
    condition_of,
    facet_of,
    field_of,
    fitting,
    gather,
    hint_of,
    listed,
    missing,
    provider_of,
    records_of,
    said_of,
    shifted,
)
from frontdesk.domain.conversation import ToolCall
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.operation import Argument, Operation, Place

TODAY = date(2026, 11, 20)
CINEMA = {"type": "string", "enum": ["Rialto", "Odeon", "Scala"]}
SEATS = Operation(
    name="bookSeats",
    summary="Book seats",
    description="Books seats for a film.",
    method="post",
    path="/bookings",
    arguments=(
        Argument(name="cinema", where=Place.BODY, required=True, schema=CINEMA, description="The cinema."),
        Argument(
            name="day",
            where=Place.BODY,
            required=True,
            schema={"type": "string", "format": "date"},
            description="The day of the film as YYYY-MM-DD.",
        ),
        Argument(
            name="seats",
            where=Place.BODY,
            required=True,
            schema={"type": "integer", "minimum": 1, "maximum": 8},
            description="Number of seats.",
        ),
    ),
)
TICKET = Argument(
    name="ticket_no",
    where=Place.PATH,
    required=True,
    schema={"type": "string", "pattern": r"^T\d{4}$"},
    description="Number of the ticket. listTickets gives it.",
)
LIST = Operation(name="listTickets", summary="List tickets", path="/tickets")
SWAP = Operation(name="swapTicket", summary="Swap a ticket", method="post", path="/tickets/{ticket_no}/swap", arguments=(TICKET,))
TICKETS = [
    {"ticket_no": "T0001", "film": "Glass Harbour", "from": "Leeds", "day": "2026-12-01", "seats": 2},
    {"ticket_no": "T0002", "film": "The Long Field", "from": "York", "day": "2026-12-05", "seats": 1},
]


async def heard(text: str, **more):
    return await gather(SEATS, text, embedder=None, today=TODAY, **more)


async def test_a_message_gives_several_values_at_once():
    got = await heard("two seats at the Scala on 3 December 2026")
    assert got.values == {"cinema": "Scala", "day": "2026-12-03", "seats": 2}
    assert missing(SEATS, got.values) == []


async def test_an_answer_may_give_more_than_was_asked():
    offered = Choices(labels=("Rialto", "Odeon", "Scala"), values=("Rialto", "Odeon", "Scala"))
    got = await heard("the Odeon, 3 seats, on 5 December 2026", asked="cinema", choices=offered)
    assert got.values == {"cinema": "Odeon", "day": "2026-12-05", "seats": 3}


async def test_a_correction_in_the_same_message_wins():
    assert (await heard("3 seats, oops, make it 4", asked="seats")).values["seats"] == 4


async def test_a_correction_changes_what_was_known():
    got = await heard("no, I mean the Scala rather than Rialto", known={"cinema": "Rialto", "seats": 2})
    assert got.values == {"cinema": "Scala", "seats": 2}
    assert got.fresh == {"cinema": "Scala"}


async def test_a_value_that_does_not_fit_is_a_problem_and_no_value():
    got = await heard("12 seats", asked="seats")
    assert "seats" not in got.values
    assert "at most 8" in got.problems["seats"]


async def test_a_day_that_does_not_exist_is_a_problem():
    assert "day" in (await heard("on 31 November 2026", asked="day")).problems


@pytest.mark.parametrize(("text", "month"), [("and the one before that?", "2026-09"), ("the following one", "2026-11")])
def test_the_one_before_counts_from_the_earlier_answer(text, month):
    bill = Operation(
        name="getBill",
        summary="Get a bill",
        arguments=(Argument(name="month", where=Place.QUERY, schema={"type": "string", "pattern": r"^\d{4}-\d{2}$"}),),
    )
    call = ToolCall(name="getBill", arguments={}, result={"month": "2026-10", "amount": 12})
    assert shifted(bill, text, call) == {"month": month}


def test_records_are_found_alone_or_below_one_name():
    assert records_of({"tickets": TICKETS, "count": 2}) == TICKETS
    assert records_of(TICKETS) == TICKETS
    assert records_of({"tickets": []}) == []
    assert records_of({"balance": 3}) == [{"balance": 3}]


def test_an_argument_is_filled_by_a_field_that_names_the_same_thing_in_short():
    assert field_of({"id": "T0009", "film": "x"}, TICKET) == "T0009"
    assert field_of({"number": "T0009"}, TICKET) == "T0009"
    assert field_of({"film": "T0009"}, TICKET) is None


def test_the_read_that_a_description_names_provides_an_argument():
    assert provider_of(Catalog(operations=(LIST, SWAP)), SWAP, TICKET, {}) is LIST


def test_a_write_never_provides_an_argument():
    other = Operation(name="makeTicket", summary="Make a ticket", method="post", path="/tickets", effect=SEATS.effect.WRITE)
    assert provider_of(Catalog(operations=(other, SWAP)), SWAP, TICKET, {}) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("swap my ticket for the long field", "T0002"), ("the one on 1 December 2026", "T0001"), ("the second one please", "T0002")],
)
def test_the_record_that_a_text_means_is_found_by_words_days_and_place(text, number):
    kept, said = fitting(TICKETS, SWAP, text, TODAY)
    assert said
    assert [r["ticket_no"] for r in kept] == [number]


def test_records_stay_open_when_the_text_says_nothing_about_them():
    kept, said = fitting(TICKETS, SWAP, "swap my ticket", TODAY)
    assert not said
    assert len(kept) == 2


def test_choices_describe_their_records():
    choices = choices_from(TICKETS, TICKET)
    assert choices.values == ("T0001", "T0002")
    assert "Glass Harbour" in choices.labels[0]


def test_facets_of_the_answer_narrow_what_is_asked_next():
    find = Operation(name="findFilms", summary="Find films", arguments=(Argument(name="cinema", where=Place.QUERY, schema=CINEMA),))
    data = {"films": [], "facets": {"cinema": ["Rialto", "Scala"]}}
    narrower = facet_of(find, data, {})
    assert narrower is not None
    assert narrower[1].values == ("Rialto", "Scala")
    assert facet_of(find, data, {"cinema": "Rialto"}) is None


def test_a_question_uses_the_documents_words_without_its_format():
    assert said_of(SEATS.arguments[1]) == "the day of the film"
    assert listed(("A", "B", "C")) == "A, B or C"


def test_no_example_is_shown_for_a_contact():
    phone = Argument(name="mobile", where=Place.BODY, required=True, example="07700 900000", description="Mobile number.")
    assert hint_of(phone) == ""


async def test_an_identifier_is_never_a_word():
    stay = Operation(
        name="cancelStay",
        summary="Cancel a stay",
        method="post",
        path="/stays/{stayId}",
        arguments=(Argument(name="stayId", where=Place.PATH, required=True, schema={"type": "string"}),),
    )
    assert not (await gather(stay, "the may one, by the lake", embedder=None, today=TODAY, asked="stayId")).values
    assert not (await gather(stay, "the 24th will not do, make it 5pm", embedder=None, today=TODAY)).values
    assert (await gather(stay, "it is C89041", embedder=None, today=TODAY)).values == {"stayId": "C89041"}


async def test_what_nobody_asked_for_and_nothing_needs_is_no_problem():
    quote = Operation(
        name="quote",
        summary="Price of a year",
        arguments=(
            Argument(name="units", where=Place.QUERY, required=True, schema={"type": "integer"}),
            Argument(name="night_share", where=Place.QUERY, schema={"type": "integer", "maximum": 100}),
        ),
    )
    gathered = await gather(quote, "about 3,200 units, and 250 night share", embedder=None, today=TODAY)
    assert not gathered.problems
    assert gathered.values["units"] == 3200


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("Wanted day (ISO 8601).", "the wanted day"),
        ("Twin rate only. Share of the use at night.", "the share"),
        ("Morning or afternoon.", "the share"),
        ("Number of the locker as listMyLockers shows it.", "the number of the locker"),
    ],
)
def test_an_argument_is_named_by_what_it_is(description: str, said: str):
    kind = {"type": "string", "enum": ["morning", "afternoon"]} if "Morning" in description else {"type": "string"}
    assert said_of(Argument(name="share", where=Place.QUERY, schema=kind, description=description)) == said


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("persons", {"type": "integer"}, "the number of persons"),
        ("arrive", {"type": "string", "format": "date"}, "the day of arrival"),
        ("status", {"type": "string"}, "the status"),
        ("length_m", {"type": "number"}, "the length m"),
    ],
)
def test_an_argument_without_a_description_is_asked_for_in_words(name: str, kind: dict[str, str], said: str):
    assert said_of(Argument(name=name, where=Place.QUERY, schema=kind)) == said


@pytest.mark.parametrize(
    ("description", "condition"),
    [
        ("True if the goods are fragile. Costs more.", "the goods are fragile"),
        ("Whether somebody is at home.", "somebody is at home"),
        ("Whether to send a receipt.", ""),
        ("Breakfast.", ""),
    ],
)
def test_a_flag_is_asked_for_by_what_it_says(description: str, condition: str):
    flag = Argument(name="flag", where=Place.QUERY, description=description, schema={"type": "boolean"})
    assert condition_of(flag) == condition
