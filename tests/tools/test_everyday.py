"""What the built-in operations take for themselves, and what they leave to the tenant's sources."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from frontdesk.errors import BadInput
from frontdesk.models.scripted import ScriptedModel
from frontdesk.tools.builtin import builtin_operations
from frontdesk.tools.everyday import everyday

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("message", "expression"),
    [
        ("What is 3.5 % of 1,200?", "3.5 % of 1,200"),
        ("what's 12 plus 30", "12 + 30"),
        ("how much is £19.99 times 3?", "19.99 * 3"),
        ("Can you calculate 100 divided by 8 please?", "100 / 8"),
        ("calculate (2+3)*4", "(2+3)*4"),
        ("what is 15 per cent of 80", "15 % of 80"),
        ("What would be my monthly payment on 250,000 at 4.5% over 25 years?", "payment(250000, 4.5, 25)"),
    ],
)
def test_a_sum_is_taken_whole(message: str, expression: str) -> None:
    found = everyday(message, TODAY)
    assert found is not None
    assert found.call.name == "calculate"
    assert found.call.arguments["expression"] == expression


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("How many days until 24 December?", {"ask": "days_until", "date": "2026-12-24"}),
        ("how many business days until 4 December", {"ask": "business_days_between", "date": "2026-11-20", "until": "2026-12-04"}),
        ("What day of the week is 3 December 2026?", {"ask": "weekday", "date": "2026-12-03"}),
        ("What's today's date?", {"ask": "today"}),
        ("Are you open next Monday?", {"ask": "open_on", "date": "2026-11-23"}),
        ("are you open right now?", {"ask": "opening_hours"}),
        ("what date is it in 10 business days", {"ask": "add_business_days", "days": 10}),
    ],
)
def test_days_are_read_from_the_words(message: str, arguments: dict[str, object]) -> None:
    found = everyday(message, TODAY)
    assert found is not None
    assert (found.call.name, dict(found.call.arguments)) == ("calendar", arguments)


@pytest.mark.parametrize(
    "message",
    [
        "What is my balance?",
        "What is the fee for 1,200?",
        "How much is a single room?",
        "What is 24/7 support?",
        "Are you open on my birthday?",
        "How many days until my parcel arrives?",
        "What day is my appointment on 3 December?",
        "My number is 01632 960555 - 2",
        "How much would I pay a month?",
        "cancel order 12 - 3",
        "What is 30 February plus 2 days?",
        "How many days do I have to return it?",
    ],
)
def test_what_is_not_understood_to_the_last_word_is_left_alone(message: str) -> None:
    assert everyday(message, TODAY) is None


async def test_a_translation_that_changes_a_number_is_refused() -> None:
    model = ScriptedModel(["Ihre Bestellung kommt in 5 Tagen", "Ihre Bestellung kommt in 3 Tagen"])
    translate = next(o for o in builtin_operations(now=lambda: datetime.now(UTC), translator=model) if o.name == "translate")
    assert translate.run is not None
    with pytest.raises(BadInput, match="numbers"):
        await translate.run({"text": "Your order comes in 3 days", "language": "German"})
    assert (await translate.run({"text": "Your order comes in 3 days", "language": "German"}))[
        "translation"
    ] == "Ihre Bestellung kommt in 3 Tagen"


def test_without_a_model_that_translates_there_is_no_translate() -> None:
    assert "translate" not in {o.name for o in builtin_operations(now=lambda: datetime.now(UTC))}
