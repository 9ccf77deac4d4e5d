"""Things counted by another name than the operation's: two dogs are two animals, ten nights are none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.tools.counting import counted_noun, mentions_in
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.understanding import understand

TODAY = date(2027, 3, 17)


def argument(name: str, description: str = "", **schema: Any) -> Argument:
    return Argument(name=name, where=Place.QUERY, required=True, description=description, schema={"type": "integer", **schema})


NIGHTS, BEASTS = argument("nights", "Number of nights."), argument("beasts", "Number of animals in one stable.")
STABLE = Operation(name="quote", summary="Quote a stay", arguments=(NIGHTS, BEASTS))
TRIP = Operation(name="price", summary="Price a boat trip", arguments=(argument("hours", "Length in hours."), argument("guests")))


@pytest.fixture(scope="module")
def embedder(models_cache: Path) -> Iterator[SentenceEncoder]:
    made = SentenceEncoder(registry.pull("all-minilm-l6-v2", models_cache), threads=1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("both our horses for three nights", {"nights": 3, "beasts": 2}),
        ("four nights for my pony", {"nights": 4, "beasts": 1}),
        ("a goat and two sheep, over a week", {"nights": 7, "beasts": 3}),
        ("ten nights, please", {"nights": 10}),
        ("the horse, 2 nights. my horse is a big one", {"nights": 2, "beasts": 1}),
    ],
)
async def test_a_noun_says_what_a_number_counts(embedder: SentenceEncoder, text: str, counts: dict[str, int]):
    found = await understand(STABLE, text, embedder=embedder, today=TODAY)
    assert {name: f.value for name, f in found.items()} == counts


@pytest.mark.parametrize(
    ("text", "guests"),
    [
        ("two kids aged 3 and 5, for 2 hours", 2),
        ("just me, for two hours", 1),
        ("me and my brother, 3 hours", 2),
        ("six adults for 2 hours", 6),
        ("2 hours from the pier", None),
    ],
)
async def test_persons_are_counted_by_what_is_said_of_them(embedder: SentenceEncoder, text: str, guests: int | None):
    found = await understand(TRIP, text, embedder=embedder, today=TODAY)
    assert (found["guests"].value if "guests" in found else None) == guests


@pytest.mark.parametrize(
    ("wanted", "noun"),
    [
        (BEASTS, "animals"),
        (NIGHTS, ""),
        (argument("pieces", "How many of them."), "pieces"),
        (argument("deposit", "Deposit in pounds."), ""),
        (argument("reading", "What the meter shows."), ""),
    ],
)
def test_what_an_argument_counts_stands_in_its_description_or_name(wanted: Argument, noun: str):
    assert counted_noun(wanted) == noun


def test_money_shares_and_places_count_nothing():
    assert list(mentions_in("£40 or 5% on the 2nd day")) == []


def test_digits_of_a_code_are_no_number():
    assert list(mentions_in("X-7044 boxes")) == []
