"""Who comes along, counted from a customer's own words."""

from __future__ import annotations

from datetime import date

import pytest

from frontdesk.domain.tenancy import ToolSource
from frontdesk.tools.catalog import read_document
from frontdesk.tools.operation import Operation
from frontdesk.tools.people import mentions
from frontdesk.tools.understanding import extract

TODAY = date(2027, 3, 17)
DOCUMENT = """
openapi: 3.1.0
paths:
  /tour:
    get:
      operationId: tour
      summary: Price of a guided tour
      parameters:
        - {name: adults, in: query, required: true, schema: {type: integer}}
        - {name: children, in: query, schema: {type: integer}}
  /table:
    get:
      operationId: table
      summary: Find a free table
      parameters:
        - {name: guests, in: query, required: true, schema: {type: integer}}
  /class:
    get:
      operationId: lesson
      summary: Price of a lesson
      parameters:
        - {name: age, in: query, required: true, schema: {type: integer}}
        - {name: children, in: query, schema: {type: integer}}
"""


@pytest.fixture(scope="module")
def operations() -> dict[str, Operation]:
    found, _ = read_document(DOCUMENT, source=ToolSource(openapi="a.yaml", server="https://x.invalid"))
    return {o.name: o for o in found}


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("two grown-ups and an eight year old", {"adult": 2, "child": 1}),
        ("me, my husband and our three kids", {"adult": 2, "child": 3}),
        ("4 adults, 2 children and a baby", {"adult": 4, "child": 2, "infant": 1}),
        ("my parents and I", {"adult": 3}),
        ("two 5-year-old girls", {"child": 2}),
        ("the children", {}),
        ("I have a 10 year old account", {}),
        ("can I pay my bill", {}),
    ],
)
def test_people_are_counted_by_kind(text: str, counted: dict[str, int]) -> None:
    found: dict[str, int] = {}
    for mention in mentions(text):
        found[mention.kind] = found.get(mention.kind, 0) + mention.count
    assert found == counted


def test_arguments_that_count_people_take_who_is_named(operations: dict[str, Operation]) -> None:
    found = extract(operations["tour"], "what would two grown-ups and a seven year old pay?", today=TODAY)
    assert {n: e.value for n, e in found.items()} == {"adults": 2, "children": 1}
    found = extract(operations["table"], "a table for me, my wife and two friends", today=TODAY)
    assert found["guests"].value == 4


def test_where_an_age_is_asked_for_a_seven_year_old_is_seven(operations: dict[str, Operation]) -> None:
    assert extract(operations["lesson"], "for a 7 year old", today=TODAY)["age"].value == 7
