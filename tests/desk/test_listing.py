"""Several things in one argument, and something in place of each: what words mean, without any API."""

from __future__ import annotations

import pytest

from frontdesk.desk.listing import Row, described, meant, replacing
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.slots import kind_of

RETURN = Operation(
    name="giveBack",
    summary="Give things back",
    method="post",
    arguments=(
        Argument(
            name="things", where=Place.BODY, required=True, schema={"type": "array", "items": {"type": "string", "pattern": r"^\d{4}$"}}
        ),
    ),
)


def row(value: str, name: str, **kind: str) -> Row:
    record = {"name": name, "id": value, "options": kind}
    return Row(value=value, record=record, label=described(record, value))


SHED = (
    row("1001", "Cordless Drill", volts="18", case="yes"),
    row("1002", "Garden Hose", length="20 m"),
    row("1003", "Work Lamp", light="warm"),
    row("1004", "Work Lamp", light="cold"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the garden hose and the cordless drill", ["1002", "1001"]),
        ("the hose", ["1002"]),
        ("drill, and the warm lamp", ["1001", "1003"]),
        ("both work lamps", ["1003", "1004"]),
        ("1003 and 1001 please", ["1003", "1001"]),
        ("all of them", ["1001", "1002", "1003", "1004"]),
        ("the work lamp", []),
        ("something else", []),
    ],
)
def test_things_are_meant_by_name_by_number_or_all_and_never_guessed(text: str, expected: list[str]):
    assert [r.value for r in meant(SHED, text, RETURN)] == expected


NOW = row("2001", "Desk Lamp", colour="black", power="mains", brightness="low")
OFFERED = (
    row("2002", "", colour="white", power="mains", brightness="low"),
    row("2003", "", colour="white", power="battery", brightness="low"),
    row("2004", "", colour="black", power="battery", brightness="high"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the white one", ["2002"]),
        ("one with battery, in white", ["2003"]),
        ("battery instead of mains, high brightness", ["2004"]),
        ("2003", ["2003"]),
        ("a green one", []),
        ("any", []),
    ],
)
def test_what_comes_in_place_has_what_was_said_and_is_else_most_alike(text: str, expected: list[str]):
    assert [r.value for r in replacing(NOW, OFFERED, text)] == expected


def test_a_list_with_a_pattern_is_read_as_codes():
    assert kind_of(RETURN.arguments[0]) == "code"
