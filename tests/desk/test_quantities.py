from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.desk.quantities import Dimension, quantities, spans


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("£1,204.11", 1204.11, Dimension.MONEY),
        ("43p", 0.43, Dimension.MONEY),
        ("two hundred and fifty pounds", 250, Dimension.MONEY),
        ("EUR 14", 14, Dimension.MONEY),
        ("12.07%", 12.07, Dimension.PERCENT),
        ("4 and a half months", 4.5 * 30.4375, Dimension.TIME),
        ("3h45", 3 / 24 + 45 / 1440, Dimension.TIME),
        ("half an hour", 0.5 / 24, Dimension.TIME),
        ("a fortnight", 14, Dimension.TIME),
        ("six weeks", 42, Dimension.TIME),
        ("500 g", 0.5, Dimension.WEIGHT),
        ("about 250k", 250_000, Dimension.COUNT),
    ],
)
def test_an_amount_is_read_in_any_usual_notation(text: str, value: float, dimension: Dimension) -> None:
    (found,) = quantities(text)
    assert (round(found.value, 3), found.dimension) == (round(value, 3), dimension)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2 to 5 years", 3.5 * 365.25, 6 * 365.25),
        ("6 days to 12 hours before the start", 5.0, 20.0),
        ("More than 9 days", 10.0, 9.0),
        ("Up to 5 kg", 5.0, 5.1),
        ("10 or more", 10.0, 9.0),
        ("under 18 years", 17 * 365.25, 18 * 365.25),
    ],
)
def test_a_range_holds_what_lies_in_it_and_nothing_else(text: str, inside: float, outside: float) -> None:
    (span,) = spans(text)
    assert span.holds(inside)
    assert not span.holds(outside)


def test_a_plain_amount_is_no_range() -> None:
    assert spans("It costs £5.") == ()


def test_a_clock_time_and_a_date_are_no_counts() -> None:
    assert [q.dimension for q in quantities("at 15:05 on 3 May")] == [Dimension.CLOCK, Dimension.DATE]


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader_and_amounts_never_overlap(text: str) -> None:
    found = quantities(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    spans(text)
