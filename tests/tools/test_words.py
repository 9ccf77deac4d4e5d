"""Days, times, numbers and consent in everyday words."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.tools.checking import MONTHS
from frontdesk.tools.consent import Consent, consent, gives_up
from frontdesk.tools.dates import find_days, find_months, find_times
from frontdesk.tools.numbers import find_numbers

TODAY = date(2027, 3, 17)  # a Wednesday
STATED = "I will cancel order A12 of 20 April 2027 and refund €30. Is that right?"


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("20 April 2027", ["2027-04-20"]),
        ("20/04/2027", ["2027-04-20"]),
        ("04/20/2027", ["2027-04-20"]),
        ("20.4.27", ["2027-04-20"]),
        ("tommorow", ["2027-03-18"]),
        ("the day after tomorrow", ["2027-03-19"]),
        ("next Tuesday", ["2027-03-23"]),
        ("this wensday", ["2027-03-17"]),
        ("last friday", ["2027-03-12"]),
        ("tuesday next week", ["2027-03-23"]),
        ("friday week", ["2027-03-26"]),
        ("3 may", ["2027-05-03"]),
        ("may 3rd", ["2027-05-03"]),
        ("the third of may", ["2027-05-03"]),
        ("twenty-first of May", ["2027-05-21"]),
        ("2 march", ["2028-03-02"]),
        ("in two weeks", ["2027-03-31"]),
        ("a week today", ["2027-03-24"]),
        ("3 days ago", ["2027-03-14"]),
        ("end of the month", ["2027-03-31"]),
        ("the 21st", ["2027-03-21"]),
        ("on the 3rd", ["2027-04-03"]),
        ("from 3 to 5 May", ["2027-05-03", "2027-05-05"]),
        ("28 April till 3 May", ["2027-04-28", "2027-05-03"]),
        ("the second one", []),
        ("next week", []),
        ("I may come", []),
        ("call 3 or 4 times", []),
    ],
)
def test_a_day_is_read_as_people_mean_it(text: str, days: list[str]) -> None:
    assert [str(d.value) for d in find_days(text, TODAY)] == days


def test_the_past_is_meant_where_the_argument_looks_back() -> None:
    assert [str(d.value) for d in find_days("on 2 March", TODAY, past=True)] == ["2027-03-02"]
    assert [m.value for m in find_months("the April one", TODAY, past=True)] == ["2026-04"]


@pytest.mark.parametrize(
    ("text", "problem"), [("30 February", "30 February"), ("31/04/2027", "31 April"), ("29 Feb 2027", "29 February 2027")]
)
def test_a_day_that_does_not_exist_is_named(text: str, problem: str) -> None:
    (day,) = find_days(text, TODAY)
    assert (day.value, day.problem) == (None, f"{problem} does not exist")


@given(
    st.dates(date(2020, 1, 1), date(2060, 12, 31)),
    st.sampled_from(["{d} {m} {y}", "{m} {d}, {y}", "{d}th of {m} {y}", "{y}-{n:02d}-{d:02d}", "{d}/{n}/{y}", "{d:02d}.{n:02d}.{y}"]),
)
def test_every_day_is_read_back_from_every_common_spelling(day: date, form: str) -> None:
    text = form.format(d=day.day, m=MONTHS[day.month - 1], n=day.month, y=day.year)
    assert [d.value for d in find_days(f"please on {text} then", TODAY)] == [day]


@given(st.integers(0, 400))
def test_in_so_many_days_counts_from_today(days: int) -> None:
    assert [d.value for d in find_days(f"in {days} days", TODAY)] == [TODAY + timedelta(days=days)]


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("15:05", "15:05"),
        ("3pm", "15:00"),
        ("3.30 pm", "15:30"),
        ("half past three", "03:30"),
        ("quarter to five", "04:45"),
        ("noon", "12:00"),
        ("9 05 in the morning", "09:05"),
        ("25 to 7 p.m.", "18:35"),
        ("11:15 at night", "23:15"),
        ("nine o'clock", "09:00"),
        ("12 am", "00:00"),
    ],
)
def test_a_time_is_read_as_people_mean_it(text: str, clock: str) -> None:
    assert [c.value.strftime("%H:%M") for c in find_times(text)] == [clock]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,400", "1400"),
        ("1 400", "1400"),
        ("250k", "250000"),
        ("two hundred and fifty thousand", "250000"),
        ("a dozen", "12"),
        ("half a dozen", "6"),
        ("one and a half", "1.5"),
        ("2.5 million", "2500000"),
        ("£23.90", "23.90"),
        ("23,90 euros", "23.90"),
        ("twenty-five", "25"),
        ("three point five", "3.5"),
        ("a hundred and twenty", "120"),
        ("£2m", "2000000"),
    ],
)
def test_a_number_is_exact_in_digits_and_in_words(text: str, value: str) -> None:
    assert [n.value for n in find_numbers(text)] == [Decimal(value)]


@given(st.integers(0, 10**9))
def test_every_number_is_read_back_with_and_without_commas(number: int) -> None:
    assert [n.value for n in find_numbers(f"about {number} of them")] == [number]
    assert [n.value for n in find_numbers(f"about {number:,} of them")] == [number]


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "Yes please!",
        "yeah sure",
        "yes, cancel order A12",
        "okay do it",
        "I confirm",
        "👍",
        "yesss",
        "go ahead and cancel it",
        "that's right",
        "yes, do it now please",
        "yes that's the one, do it",
    ],
)
def test_a_plain_yes_is_a_yes(text: str) -> None:
    assert consent(text, stated=STATED) is Consent.YES


@pytest.mark.parametrize(
    "text", ["no", "no thanks", "don't", "absolutely not", "I don't want that", "stop", "wait", "never mind", "don't do it", "👎"]
)
def test_a_plain_no_is_a_no(text: str) -> None:
    assert consent(text, stated=STATED) is Consent.NO


@pytest.mark.parametrize(
    "text",
    [
        "yes but change the date",
        "yes if it is free",
        "only if I get it back",
        "yes?",
        "maybe",
        "yes for 21 April",
        "yes, order A13",
        "yes and what's the weather",
        "why not",
        "not sure",
        "yes no",
        "",
        "what would it cost",
        "cancel",
        "yes, 2 bags",
        "I think yes",
        "great",
        "no problem",
    ],
)
def test_anything_else_is_unclear(text: str) -> None:
    assert consent(text, stated=STATED) is Consent.UNCLEAR


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("yes, scrap it", Consent.YES),
        ("Yes please call it off", Consent.YES),
        ("yes, call it off", Consent.YES),
        ("yes, push it back", Consent.YES),
        ("yes, push it", Consent.YES),
        ("scrap it", Consent.UNCLEAR),
        ("no, scrap it", Consent.NO),
        ("yes scrap", Consent.UNCLEAR),
        ("yes, scrap it on Friday", Consent.UNCLEAR),
        ("yes but scrap it later", Consent.UNCLEAR),
    ],
)
def test_behind_a_yes_another_word_for_the_deed_is_part_of_it(text: str, meant: Consent) -> None:
    assert consent(text, stated=STATED, deeds=frozenset(["cancel", "scrap", "call off", "push", "push back"])) is meant


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60))
def test_no_text_with_new_digits_is_a_yes(text: str) -> None:
    assert consent(f"yes {text} 77", stated=STATED) is not Consent.YES


@pytest.mark.parametrize("text", ["never mind", "forget it", "I changed my mind", "cancel", "stop", "I don't want it anymore", "leave it"])
def test_giving_up_is_heard(text: str) -> None:
    assert gives_up(text)


@pytest.mark.parametrize("text", ["cancel my order", "how do I stop payments", "leave it at reception", "does it matter?"])
def test_a_wish_is_not_giving_up(text: str) -> None:
    assert not gives_up(text)
