"""Postal addresses in a customer's words, and the arguments that take their parts."""

from __future__ import annotations

from datetime import date

import pytest

from frontdesk.tools.addresses import address_in, without_address
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.understanding import extract

TODAY = date(2027, 3, 1)
PARTS = ("address1", "address2", "city", "state", "zip", "country")
MOVE = Operation(
    name="move",
    summary="Change the address",
    method="put",
    arguments=tuple(Argument(name=n, where=Place.BODY, required=n != "address2", schema={"type": "string"}) for n in PARTS),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Send it to 12 Birch Lane, Apt 4, Salem, OR 97301, USA.", ("12 Birch Lane", "Apt 4", "Salem", "OR", "97301", "USA")),
        ("My address is 7 Mill Road, Boise, ID, USA, 83702", ("7 Mill Road", None, "Boise", "ID", "83702", "USA")),
        ("I moved to 3 Quay Street, Leeds, LS1 4AB, UK", ("3 Quay Street", None, "Leeds", None, "LS1 4AB", "UK")),
        ("Lindenstraße 5, 28195 Bremen, Germany", ("Lindenstraße 5", None, "Bremen", None, "28195", "Germany")),
    ],
)
def test_the_parts_of_an_address_go_where_they_are_asked_for(text: str, expected: tuple[str | None, ...]):
    found = extract(MOVE, text, today=TODAY)
    assert tuple(found[n].value if n in found else None for n in PARTS) == expected


@pytest.mark.parametrize("text", ["I paid 20 dollars, and I want more, please", "Order 12 arrived, thanks, bye", "what is my address?", ""])
def test_no_address_is_read_where_none_stands(text: str):
    assert address_in(text) == {}


def test_a_street_is_no_person():
    assert "Birch" not in without_address("Send it to 12 Birch Lane, Salem, OR 97301")
