"""Values in a customer's own words: found by type, told apart by the words around, never taken from what means something else."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontdesk.domain.tenancy import ToolSource
from frontdesk.models.protocols import Vectors
from frontdesk.tools.businesses import operations
from frontdesk.tools.catalog import Catalog, read_document
from frontdesk.tools.checking import fit
from frontdesk.tools.dates import find_days
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.operation import Operation
from frontdesk.tools.understanding import Offer, corrections, extract, understand

TODAY = date(2027, 3, 17)  # a Wednesday

DOCUMENT = r"""
openapi: 3.1.0
paths:
  /loan:
    get:
      operationId: loan
      summary: Monthly payment of a loan
      parameters:
        - {name: amount, in: query, required: true, description: Amount to borrow in pounds., schema: {type: number, minimum: 1000}}
        - {name: term_years, in: query, required: true, description: Term in years., schema: {type: integer, minimum: 1, maximum: 40}}
        - {name: rate_percent, in: query, description: Interest rate., schema: {type: number}}
        - {name: joint, in: query, description: Together with somebody., schema: {type: boolean}}
  /stay:
    get:
      operationId: stay
      summary: Find a free room
      parameters:
        - {name: check_in, in: query, required: true, schema: {type: string, format: date}}
        - {name: check_out, in: query, required: true, schema: {type: string, format: date}}
        - {name: adults, in: query, schema: {type: integer}}
        - {name: children, in: query, schema: {type: integer}}
        - {name: max_price, in: query, schema: {type: number}}
        - {name: min_price, in: query, schema: {type: number}}
        - {name: breakfast, in: query, schema: {type: boolean}}
        - {name: size, in: query, schema: {type: string, enum: [S, M, L, other]}}
        - {name: arrival_time, in: query, schema: {type: string, format: time}}
  /basket/{basket_id}/stop:
    post:
      operationId: stop
      summary: Stop a basket
      parameters:
        - {name: basket_id, in: path, required: true, description: "The basket id, such as '#B0000000'.", schema: {type: string}}
      requestBody:
        content:
          application/json:
            schema:
              type: object
              required: [reason]
              properties:
                reason: {type: string, enum: [no longer wanted, bought by mistake, neighbour_took_it]}
                items: {type: array, items: {type: string, pattern: '^\d{10}$'}}
  /people:
    get:
      operationId: person
      parameters:
        - {name: first_name, in: query, required: true, schema: {type: string}}
        - {name: last_name, in: query, required: true, schema: {type: string}}
        - {name: zip, in: query, required: true, description: "Postal code such as '12345'.", schema: {type: string}}
        - {name: email, in: query, schema: {type: string}}
  /files:
    get:
      operationId: file
      summary: Get a case file by its reference
      parameters: [{name: ref, in: query, required: true, schema: {type: string, pattern: '^[A-Z0-9]{6}$', example: ZK4P9Q}}]
"""
SOURCE = ToolSource(openapi="a.yaml", server="https://x.invalid")
OPERATIONS, _ = read_document(DOCUMENT, source=SOURCE)


@pytest.fixture(scope="module")
def others() -> dict[str, Operation]:
    return {o.name: o for o in OPERATIONS}


def values(operation: Operation | None, text: str, **more: Any) -> dict[str, Any]:
    assert operation is not None
    return {name: found.value for name, found in extract(operation, text, today=TODAY, **more).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 kg from Leeds to York tomorrow", {"weight_kg": 5, "origin": "Leeds", "destination": "York", "day": "2027-03-18"}),
        ("to leeds from stoke, 500 g, express", {"weight_kg": 0.5, "origin": "Stoke", "destination": "Leeds", "service": "express"}),
        ("Leeds - Hull", {"origin": "Leeds", "destination": "Hull"}),
        ("york->hull on the 21st", {"origin": "York", "destination": "Hull", "day": "2027-03-21"}),
        ("newcastel upon tyne to hull", {"origin": "Newcastle upon Tyne", "destination": "Hull"}),
        ("leaving Newcastle for Stoke", {"origin": "Newcastle upon Tyne", "destination": "Stoke"}),
        ("Same-Day with signature and insurance", {"service": "same_day", "extras": ["signature", "insurance"]}),
        ("two and a half kilos", {"weight_kg": 2.5}),
        ("what does sending cost?", {}),
    ],
)
def test_two_places_two_words_one_day(catalog: Catalog, text: str, expected: dict[str, Any]) -> None:
    assert values(catalog.get("quoteDelivery"), text) == expected


@pytest.mark.parametrize(
    ("operation", "text", "expected"),
    [
        ("loan", "about 250k over 25 years", {"amount": 250_000, "term_years": 25}),
        ("loan", "I'd borrow £180,000 for thirty years at 4.5%", {"amount": 180_000, "term_years": 30, "rate_percent": 4.5}),
        ("loan", "two hundred thousand pounds, 300 months", {"amount": 200_000, "term_years": 25}),
        ("loan", "a 5 year loan of 12k", {"amount": 12_000, "term_years": 5}),
        (
            "stay",
            "two adults and 1 child from 3 to 5 May under £120",
            {"adults": 2, "children": 1, "check_in": "2027-05-03", "check_out": "2027-05-05", "max_price": 120},
        ),
        ("stay", "check out 7 May, check in 3 May", {"check_in": "2027-05-03", "check_out": "2027-05-07"}),
        ("stay", "between £100 and £150 with breakfast", {"min_price": 100, "max_price": 150, "breakfast": True}),
        ("stay", "no breakfast, size L", {"breakfast": False, "size": "L"}),
        ("stay", "I have other questions, a lot of them", {}),
        ("stay", "we arrive tomorrow at half past three in the afternoon", {"check_in": "2027-03-18", "arrival_time": "15:30"}),
        ("stop", "stop #B1234567, I bought it by mistake", {"basket_id": "#B1234567", "reason": "bought by mistake"}),
        ("stop", "b7654321 is no longer wanted", {"basket_id": "#B7654321", "reason": "no longer wanted"}),
        ("stop", "items 1008292230 and 4422467033", {"items": ["1008292230", "4422467033"]}),
        ("person", "my name is Mary Smith and my zip is 90210", {"first_name": "Mary", "last_name": "Smith", "zip": "90210"}),
        ("person", "write to mary.smith@example.org", {"email": "mary.smith@example.org"}),
        ("file", "reference zk4p9q", {"ref": "ZK4P9Q"}),
        ("file", "file ZK 4P9Q please", {"ref": "ZK4P9Q"}),
        ("file", "please return my things", {}),
        ("file", "room 12 at noon", {}),
    ],
)
def test_each_value_goes_to_the_argument_it_speaks_of(
    others: dict[str, Operation], operation: str, text: str, expected: dict[str, Any]
) -> None:
    assert values(others[operation], text) == expected


@pytest.mark.parametrize("said", ["TR204417", "tr 204417", "TR-204417", "Tr204 417", "number is 204417"])
def test_a_code_is_recognised_in_any_spelling(catalog: Catalog, said: str) -> None:
    assert values(catalog.get("trackParcel"), f"where is my parcel, {said}?")["tracking_no"].replace(" ", "") == "TR204417"


@pytest.mark.parametrize(
    ("operation", "asked", "text", "value"),
    [
        ("quoteDelivery", "weight_kg", "25", 25),
        ("quoteDelivery", "destination", "York", "York"),
        ("quoteDelivery", "day", "the 21st", "2027-03-21"),
        ("bookCollection", "parcels", "one", 1),
        ("bookCollection", "note", "it's for the side gate", "the side gate"),
        ("bookCollection", "address.street", "1 Mill Lane", "1 Mill Lane"),
        ("trackParcel", "tracking_no", "204417", "TR204417"),
    ],
)
def test_a_bare_answer_fills_what_was_asked(catalog: Catalog, operation: str, asked: str, text: str, value: Any) -> None:
    assert values(catalog.get(operation), text, asked=asked)[asked] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the second one", "b"),
        ("2", "b"),
        ("option 3", "c"),
        ("the last", "c"),
        ("the cheaper", None),
        ("the cheapest", "a"),
        ("the latest one", "c"),
        ("red", "b"),
        ("the one at 12:30", "b"),
        ("the blue one please", "a"),
        ("hm", None),
    ],
)
def test_offered_choices_are_picked_by_place_by_comparison_and_by_word(catalog: Catalog, text: str, value: str | None) -> None:
    offers = [Offer(label="Blue 09:00 £4", value="a"), Offer(label="Red 12:30 £9", value="b"), Offer(label="Green 16:00 £7.50", value="c")]
    found = values(catalog.get("bookCollection"), text, asked="note", choices=offers)
    if value is None:
        assert found.get("note") not in ("a", "b", "c") or text == "the cheaper"
    else:
        assert found["note"] == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no, I meant the 21st", {"day": "2027-03-21"}),
        ("make it 3 instead", {"weight_kg": 3}),
        ("sorry, from Hull", {"origin": "Hull"}),
        ("change the weight to 7 kg", {"weight_kg": 7}),
        ("to Stoke instead", {"destination": "Stoke"}),
        ("I'd also like to know the price", {}),
        ("no", {}),
    ],
)
def test_a_correction_changes_the_argument_it_names(catalog: Catalog, text: str, expected: dict[str, Any]) -> None:
    known = {"origin": "Leeds", "destination": "York", "weight_kg": 5, "day": "2027-03-18"}
    operation = catalog.get("quoteDelivery")
    assert operation is not None
    assert {n: e.value for n, e in corrections(operation, text, known=known, today=TODAY).items()} == expected


def test_a_day_that_does_not_exist_comes_with_the_reason(catalog: Catalog) -> None:
    operation = catalog.get("quoteDelivery")
    assert operation is not None
    assert extract(operation, "on 30 February", today=TODAY)["day"].problem == "30 February does not exist"


def test_a_value_outside_the_schema_comes_with_the_reason(catalog: Catalog) -> None:
    operation = catalog.get("quoteDelivery")
    assert operation is not None
    assert extract(operation, "31 kg", today=TODAY)["weight_kg"].problem == "must be at most 30"


def test_known_arguments_are_left_alone(catalog: Catalog) -> None:
    assert values(catalog.get("quoteDelivery"), "York", known={"origin": "Leeds"}) == {"destination": "York"}


class Meaning:
    """An embedder for two words: whoever lives next door is a neighbour."""

    name, dimensions = "meaning", 2

    async def embed(self, texts: Any) -> Vectors:
        import numpy as np

        return np.array([[1.0, 0.0] if "neighbour" in t or "next door" in t else [0.0, 1.0] for t in texts], dtype=np.float32)


async def test_an_enum_that_was_asked_for_is_also_understood_by_meaning(others: dict[str, Operation]) -> None:
    found = await understand(others["stop"], "the lady next door has it", embedder=Meaning(), today=TODAY, asked="reason")
    assert found["reason"].value == "neighbour_took_it"


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=120)
    | st.lists(
        st.sampled_from(
            [
                "from",
                "to",
                "Leeds",
                "York",
                "5",
                "kg",
                "£",
                "30",
                "February",
                "TR204417",
                "tomorrow",
                "express",
                "not",
                "the",
                "second",
                "one",
                "-",
                "/",
                ".",
                "250k",
                "2027-13-45",
                "\n",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
def test_every_value_without_a_problem_fits_its_schema(text: str) -> None:
    for operation in OPERATIONS:
        for name, found in extract(operation, text, today=TODAY).items():
            argument = operation.argument(name)
            assert argument is not None
            assert 0 <= found.span[0] <= found.span[1] <= len(text)
            if not found.problem:
                assert fit(argument, found.value)[1] == ""


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Friday 9 April 2027", "2027-04-09"),
        ("on Friday, the 9th of April 2027", "2027-04-09"),
        ("9 April 2027 (Friday)", "2027-04-09"),
        ("Friday the 9th", "2027-04-09"),
        ("Fri 09/04/2027", "2027-04-09"),
    ],
)
def test_a_weekday_beside_a_date_is_that_date(text: str, day: str):
    assert [d.value.isoformat() for d in find_days(text, TODAY) if d.value] == [day]


def test_two_weekdays_stay_two():
    assert len(find_days("Monday or Tuesday", TODAY)) == 2


def test_a_bare_day_corrects_within_the_month_that_was_said(others: dict[str, Operation]):
    known = {"check_in": "2027-07-05"}
    found = corrections(others["stay"], "oh no wait, the 6th, sorry", known=known, today=TODAY)
    assert {n: e.value for n, e in found.items()} == {"check_in": "2027-07-06"}


def test_a_code_that_is_known_is_no_telephone_number():
    document = """
openapi: 3.1.0
paths:
  /orders/{order_no}/visit:
    post:
      operationId: visit
      summary: Book a visit
      parameters: [{name: order_no, in: path, required: true, schema: {type: string, pattern: '^[0-9]{7}$'}}]
      requestBody:
        content: {application/json: {schema: {type: object, properties: {phone: {type: string}}}}}
"""
    operation = read_document(document, source=SOURCE)[0][0]
    assert not extract(operation, "a visit for 5512345 please", known={"order_no": "5512345"}, today=TODAY)
    assert extract(operation, "call me on 020 555 1234", known={"order_no": "5512345"}, today=TODAY)["phone"].value == "020 555 1234"


def test_what_a_description_says_of_a_choice_names_it():
    document = """
openapi: 3.1.0
paths:
  /carriage:
    get:
      operationId: carriage
      summary: Price of carriage
      parameters:
        - name: load
          in: query
          required: true
          description: "Kind of load: small = chair, stool; bigPiece = bed, wardrobe, table"
          schema: {type: string, enum: [small, bigPiece]}
"""
    operation = read_document(document, source=SOURCE)[0][0]
    assert extract(operation, "what would a wardrobe cost", today=TODAY)["load"].value == "bigPiece"
    assert extract(operation, "what would a stool cost", today=TODAY)["load"].value == "small"


def test_a_turn_of_phrase_counts_nothing():
    assert [n.value for n in find_numbers("can I pay it all in one go, at 33?")] == [33]


def test_what_is_counted_tells_no_choice_from_another():
    document = """
openapi: 3.1.0
paths:
  /rent:
    get:
      operationId: rent
      summary: Price of a locker
      parameters: [{name: term, in: query, required: true, schema: {type: string, enum: [open, twelveMonths]}}]
"""
    operation = read_document(document, source=SOURCE)[0][0]
    assert "term" not in extract(operation, "no fixed time, month to month", today=TODAY)
    assert extract(operation, "for twelve months", today=TODAY)["term"].value == "twelveMonths"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Turkey", "Turkey"),
        ("Turkey. no hang on, she has changed it again, Switzerland", "Switzerland"),
        ("Norway, sorry, I mean Sweden", "Sweden"),
    ],
)
def test_an_answer_that_is_thought_over_is_its_last_piece(said: str, meant: str):
    day_pass = operations([["get", "getDayPass", "Get the day pass", "Price of a pass for one country.", [{"country": {}}]]])[0]
    assert extract(day_pass, said, asked="country", today=TODAY)["country"].value == meant


def booth(*parameters: str) -> Operation:
    """A look-up with these parameters."""
    document = f"""
openapi: 3.1.0
paths:
  /booth:
    get:
      operationId: booth
      summary: Price of a market booth
      parameters: [{", ".join(parameters)}]
"""
    return read_document(document, source=SOURCE)[0][0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a booth for 3 weeks", {"weeks": 3}),
        ("we are 18 miles away, what is a booth", {}),
        ("a booth for a stove of 40 kg", {}),
        ("is 412 still free", {"code": "BT412"}),
        ("our stall is 3 m and 412 cm", {}),
        ("a roofed booth, brand new", {"kind": "new"}),
        ("what are the new ones", {"kind": "new"}),
        ("any new rules?", {}),
    ],
)
def test_what_is_measured_counts_nothing_and_an_everyday_word_must_be_meant(text: str, found: dict[str, Any]):
    operation = booth(
        "{name: weeks, in: query, required: true, schema: {type: integer}}",
        "{name: code, in: query, schema: {type: string, pattern: '^BT[0-9]{3}$'}}",
        "{name: kind, in: query, schema: {type: string, enum: [new, restored]}}",
    )
    assert {n: e.value for n, e in extract(operation, text, today=TODAY).items()} == found
