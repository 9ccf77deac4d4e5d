"""What every tenant has beside its own tools: exact arithmetic, the calendar, opening hours, search."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.conftest import Desk

from frontdesk.errors import BadInput
from frontdesk.tools.arithmetic import calculate, compound, payment, shown
from frontdesk.tools.builtin import builtin_operations
from frontdesk.tools.calling import Failure, ToolCaller, ToolOutcome
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.hours import add_business_days, business_days_between, parse_hours


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


NOW = at("2027-03-17T17:30")  # a Wednesday
HOURS = "Monday to Friday 8:30-18:00, Sat 10am to 2pm"


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1,204.11 * 2", "2408.22"),
        ("12% of 80", "9.6"),
        ("80 + 20%", "96"),
        ("80 - 25%", "60"),
        ("(1 + 2) * 3 ^ 2", "27"),
        ("-2 ^ 2", "-4"),
        ("10 / 4", "2.5"),
        ("1 / 3", "0.3333333333"),
        ("£5 × 3", "15"),
        ("payment(250000, 4.5, 25)", "1389.58"),
        ("payment(1200, 0, 1)", "100"),
        ("compound(1000, 3, 10)", "1343.92"),
        ("round(2.345, 2)", "2.35"),
        ("max(1, 2, 3) - min(1, 2)", "2"),
        ("percent(15, 60)", "25"),
    ],
)
def test_arithmetic_is_exact(expression: str, result: str) -> None:
    assert shown(calculate(expression)) == result


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "2 ** 99999",
        "9^9^9^9",
        "1/0",
        "__import__('os')",
        "a.b",
        "(" * 500,
        "-" * 300,
        "1 2",
        "round(1,2,3)",
        "5 % 3",
        "sqrt(-1)",
        "payment(1,1,9999)",
        "1e5",
        "x" * 301,
        "[1]",
        "payment",
    ],
)
def test_what_cannot_be_calculated_is_refused_with_a_sentence(expression: str) -> None:
    with pytest.raises(BadInput):
        calculate(expression)


@given(st.decimals(-(10**9), 10**9, places=2), st.decimals(-(10**9), 10**9, places=2))
def test_sums_and_products_are_those_of_decimals(a: Decimal, b: Decimal) -> None:
    assert calculate(f"({a}) + ({b})") == a + b
    assert calculate(f"({a}) * ({b})") == a * b


@given(st.text(alphabet="0123456789.+-*/^%(), ofpaymentround", max_size=40))
def test_any_expression_has_a_value_or_is_refused(expression: str) -> None:
    with contextlib.suppress(BadInput):
        assert calculate(expression).is_finite()


@given(st.integers(1_000, 900_000), st.integers(1, 1500), st.integers(1, 40))
def test_a_loan_is_paid_off_by_its_payments(amount: int, basis_points: int, years: int) -> None:
    rate = Decimal(basis_points) / 100
    each, left = payment(Decimal(amount), rate, Decimal(years)), Decimal(amount)
    for _ in range(years * 12):
        left = left * (1 + rate / 1200) - each
    assert abs(left) <= Decimal("0.005") * compound(Decimal(years * 12), rate, Decimal(years), Decimal(12)) + 1


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        (HOURS, at("2027-03-17T17:59"), True),
        (HOURS, at("2027-03-17T18:00"), False),
        (HOURS, at("2027-03-20T13:59"), True),
        (HOURS, at("2027-03-21T12:00"), False),
        ("every day 6:30-21:30", at("2027-03-21T06:30"), True),
        ("24/7", at("2027-03-21T03:00"), True),
        ("weekdays 9-5pm", at("2027-03-17T16:00"), True),
        ("weekdays 1-5pm", at("2027-03-17T09:00"), False),
        ("Mon, Wed and Fri from 9am to noon and 1pm to 4pm", at("2027-03-17T12:30"), False),
        ("Mon, Wed and Fri from 9am to noon and 1pm to 4pm", at("2027-03-17T13:30"), True),
        ("Fri-Sat 18:00-02:00", at("2027-03-21T01:00"), True),
        ("Fri-Sat 18:00-02:00", at("2027-03-21T03:00"), False),
        ("Daily 8-20, Sunday closed", at("2027-03-21T09:00"), False),
    ],
)
def test_opening_hours_are_read_as_companies_write_them(hours: str, moment: datetime, is_open: bool) -> None:
    assert parse_hours(hours).open_at(moment) is is_open


def test_the_next_opening_is_found_over_the_weekend() -> None:
    assert parse_hours(HOURS).next_opening(at("2027-03-20T15:00")) == at("2027-03-22T08:30")


@pytest.mark.parametrize("hours", ["", "by appointment", "Monday to Friday", "Mon 25:00-26:00", "9-5 except holidays"])
def test_hours_that_are_not_understood_are_refused(hours: str) -> None:
    with pytest.raises(BadInput):
        parse_hours(hours)


@given(st.text(max_size=40))
def test_any_hours_are_read_or_refused(hours: str) -> None:
    with contextlib.suppress(BadInput):
        assert parse_hours(hours).spans


@given(st.dates(date(2026, 1, 1), date(2028, 1, 1)), st.integers(1, 60))
def test_business_days_count_and_add_up(day: date, count: int) -> None:
    landed = add_business_days(day, count)
    assert landed.weekday() < 5
    assert business_days_between(day, landed) == count
    assert business_days_between(landed, day) == -count
    assert business_days_between(day, day + timedelta(days=7)) == 5


async def _search(query: str) -> list[dict[str, Any]]:
    return [{"title": "Parcels", "text": f"About {query}.", "source": "parcels.md", "score": 1}]


async def _call(name: str, arguments: dict[str, Any]) -> ToolOutcome:
    operations = builtin_operations(now=lambda: NOW, hours=HOURS, search=_search)
    catalog = Catalog(disabled="off").beside(operations)
    operation = catalog.get(name)
    assert operation is not None
    async with httpx.AsyncClient() as http:
        return await ToolCaller(catalog, http=http).call(operation, arguments, {})


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("calculate", {"expression": "12% of 80"}, "Expression: 12% of 80. Result: 9.6."),
        ("calendar", {"ask": "today"}, "Date: 17 March 2027. Weekday: Wednesday. Time: 17:30."),
        ("calendar", {"ask": "weekday", "date": "2027-12-25"}, "Date: 25 December 2027. Weekday: Saturday."),
        ("calendar", {"ask": "days_until", "date": "2027-03-27"}, "From: 17 March 2027. Until: 27 March 2027. Days: 10."),
        ("calendar", {"ask": "add_business_days", "days": 5}, "Date: 24 March 2027. Weekday: Wednesday."),
        (
            "calendar",
            {"ask": "business_days_between", "until": "2027-03-24"},
            "From: 17 March 2027. Until: 24 March 2027. Business: 5 days.",
        ),
        ("calendar", {"ask": "opening_hours"}, f"Opening hours: {HOURS}. Open now: yes. Closes: 18:00."),
        ("search", {"query": "weight"}, "- Parcels: text About weight., source parcels.md"),
    ],
)
async def test_built_in_operations_work_although_the_tenants_tools_are_off(name: str, arguments: dict[str, Any], text: str) -> None:
    assert (await _call(name, arguments)).text == text


async def test_a_built_in_refusal_is_an_outcome() -> None:
    outcome = await _call("calculate", {"expression": "1/0"})
    assert outcome.failure is Failure.INVALID
    assert "divides by zero" in outcome.detail


def test_a_tenants_own_operation_wins_over_the_built_in(desk: Desk) -> None:
    own = Catalog(operations=builtin_operations(now=lambda: NOW)[:1])
    assert len(own.beside(builtin_operations(now=lambda: NOW))) == 2
