"""What the codes of an enum mean, as documents say it; a document that says nothing plain gives no meanings."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from frontdesk.tools.labels import labels_of
from frontdesk.tools.openapi import operations_of
from frontdesk.tools.operation import Argument, Operation, Place, Server
from frontdesk.tools.understanding import extract

TODAY = date(2026, 11, 20)
DOCUMENT = """
openapi: 3.1.0
info: {title: Ferries, version: '1'}
paths:
  /sailings:
    get:
      operationId: listSailings
      parameters:
        - {name: port, in: query, required: true, description: 'Port: TOB = Tobermory, KIL = Kilchoan, CRA = Craignure.', schema: {type: string, enum: [TOB, KIL, CRA]}}
        - {name: vehicle, in: query, required: true, schema: {type: array, items: {type: string, enum: [C1, C2]}}, description: 'C1 - car; C2 - camper van'}
      responses: {'200': {description: ok}}
"""


@pytest.mark.parametrize(
    ("codes", "text", "meanings"),
    [
        (["TOB", "KIL"], "Port: TOB = Tobermory, KIL = Kilchoan.", ["Tobermory", "Kilchoan"]),
        (["STD", "EXP"], "STD is standard post. EXP is next day.", ["standard post", "next day"]),
        (["1", "2", "3"], "Priority. * `1` - low * `2` - normal * `3` - urgent", ["low", "normal", "urgent"]),
        ([1, 2], "1: single room; 2: shared room", ["single room", "shared room"]),
        (["TOB", "KIL"], "Either Tobermory (TOB) or Kilchoan (`KIL`).", ["Either Tobermory", "Kilchoan"]),
        (["A", "B"], "Class A for adults and B for children", ["adults", "children"]),
    ],
)
def test_meanings_stand_in_the_description(codes: list[Any], text: str, meanings: list[str]) -> None:
    assert list(labels_of(codes, {}, text).values()) == meanings


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        (["economy", "flex"], "Fare, economy or flex."),
        (["north", "south"], "north or south side"),
        (["DRAFT", "SENT"], "DRAFT until it is SENT"),
        (["X", "Y"], "X = ready"),
        (["X", "Y"], "X = 1, Y = 2"),
        (["ONE"], "ONE = the only one"),
        (["X", "Y"], ""),
    ],
)
def test_a_description_that_gives_no_meaning_to_each_gives_none(codes: list[Any], text: str) -> None:
    assert labels_of(codes, {}, text) == {}


@pytest.mark.parametrize("key", ["x-enum-varnames", "x-enumNames", "x-enum-descriptions"])
def test_meanings_stand_in_the_lists_that_generators_write(key: str) -> None:
    assert labels_of(["10", "20"], {key: ["IN_PORT", "At Sea"]}, "") == {"10": "IN PORT", "20": "At Sea"}
    assert labels_of(["10", "20"], {key: {"10": "In port", "20": "At sea"}}, "") == {"10": "In port", "20": "At sea"}


def test_a_customer_names_the_meaning_and_the_code_is_sent() -> None:
    operation = operations_of(DOCUMENT, file="f", server=Server(url="https://f.example"), bind={})[0]
    found = extract(operation, "when is there a boat from tobermory for a camper van", today=TODAY)
    assert found["port"].value == "TOB"
    assert found["vehicle"].value == ["C2"]


def _taking(name: str, summary: str, description: str = "") -> Operation:
    argument = Argument(name=name, where=Place.QUERY, required=True, schema={"type": "string"}, description=description)
    return Operation(name="op", summary=summary, arguments=(argument,))


@pytest.mark.parametrize(
    ("name", "summary", "message", "value"),
    [
        ("title", "Look for a film", "are you showing The Long Rain tonight?", "The Long Rain"),
        ("town", "Find an office", "is there an office in Keswick", "Keswick"),
        ("town", "Find an office", "nearest office to me in keswick", "keswick"),
        ("part", "Get the stock of a spare part", "how many Flexihose are left", "Flexihose"),
        ("part", "Get the stock of a spare part", "stock of flexihose?", "flexihose"),
        ("part", "Get the stock of a spare part", "what about Drumbelt?", "Drumbelt"),
    ],
)
def test_the_one_thing_that_a_message_names_is_what_is_looked_for(name: str, summary: str, message: str, value: str) -> None:
    assert extract(_taking(name, summary), message, today=TODAY)[name].value == value


@pytest.mark.parametrize(
    ("name", "summary", "message"),
    [
        ("part", "Get the stock of a spare part", "I'd like to know if a spare part is in stock"),
        ("part", "Get the stock of a spare part", "is it still there now?"),
        ("reason", "Close the account", "please close my account with Northbank"),
        ("comment", "Rate a film", "I saw Night Ferry in Leeds"),
    ],
)
def test_what_names_no_thing_fills_nothing(name: str, summary: str, message: str) -> None:
    assert name not in extract(_taking(name, summary), message, today=TODAY)
