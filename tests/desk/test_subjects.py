"""A number that is none of the customer's own is not answered with their records."""

from __future__ import annotations

from typing import Any

import pytest

from frontdesk.desk.subjects import foreign_code

LOANS: Any = {"loans": [{"loan_no": "LN-4471", "title": "The Heath", "shelf": "B12"}, {"loan_no": "LN-4502", "title": "Tides"}]}


@pytest.mark.parametrize(
    ("message", "other"),
    [
        ("how long have I got LN-4999?", "LN-4999"),
        ("and ln-4999", "ln-4999"),
        ("LN-4471 and LN-4999", ""),
        ("when is LN-4471 due back", ""),
        ("what have I borrowed since 2026-11-03", ""),
        ("is it flat 4B", ""),
        ("my card is AB-4471", ""),
        ("", ""),
    ],
)
def test_a_number_in_the_form_of_ones_own_that_is_none_of_them(message: str, other: str) -> None:
    assert foreign_code(message, LOANS) == other


@pytest.mark.parametrize("data", [None, [], {}, "LN", {"a": [1, None, {"b": 2.5}]}])
def test_where_there_are_no_numbers_there_is_no_form(data: Any) -> None:
    assert foreign_code("LN-4999", data) == ""
