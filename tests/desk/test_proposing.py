"""Which look-up comes first when two are about the same."""

import pytest

from frontdesk.desk.proposing import list_first, readier
from frontdesk.tools.operation import Argument, Effect, Operation, Place
from frontdesk.tools.selection import Choice


def look_up(name: str, summary: str, *asked: str, effect: Effect = Effect.READ) -> Operation:
    arguments = tuple(Argument(name=a, where=Place.QUERY, required=True, schema={"type": "integer"}) for a in asked)
    return Operation(name=name, summary=summary, description="", effect=effect, arguments=arguments, response={})


QUOTE = look_up("getQuote", "Work out the price of hiring a kiln", "days")
PRICES = look_up("listPrices", "List the prices of kilns to hire")
HOURS = look_up("listHours", "List the hours of the studio")


def choice(operation: Operation, score: float, *, waits: bool = False) -> Choice:
    return Choice(operation=operation, score=score, features={"open": 0.33} if waits else {})


@pytest.mark.parametrize(
    ("found", "others", "first"),
    [
        (choice(QUOTE, 0.9, waits=True), [choice(PRICES, 0.6)], "listPrices"),
        (choice(QUOTE, 0.9), [choice(PRICES, 0.6)], "getQuote"),  # all it needs was said
        (choice(QUOTE, 0.9, waits=True), [choice(PRICES, 0.2)], "getQuote"),  # the list is hardly meant
        (choice(QUOTE, 0.9, waits=True), [choice(HOURS, 0.6)], "getQuote"),  # the list is about something else
        (choice(look_up("hire", QUOTE.summary, "days", effect=Effect.WRITE), 0.9, waits=True), [choice(PRICES, 0.6)], "hire"),
    ],
)
def test_a_list_comes_before_a_quote_that_would_have_to_ask(found: Choice, others: list[Choice], first: str) -> None:
    assert list_first(found, [found, *others]).operation.name == first


OWN = Operation(
    name="getHire",
    summary="Show a hire",
    description="",
    arguments=(Argument(name="customer", where=Place.HEADER, required=True, schema={"type": "string"}, bound="customer.id"),),
    response={},
)


@pytest.mark.parametrize(
    ("scores", "signed_in", "first"),
    [
        ((0.7, 0.68), False, "listPrices"),  # a guest means the prices
        ((0.9, 0.5), False, "getHire"),  # and is asked to sign in where it is clearly their own
        ((0.68, 0.7), True, "getHire"),  # a look-up that would have to ask comes behind one's own records
        ((0.5, 0.7), True, "getQuote"),
    ],
)
def test_whose_records_are_meant_depends_on_who_asks(scores: tuple[float, float], signed_in: bool, first: str) -> None:
    own = choice(OWN, scores[0])
    other = choice(QUOTE, scores[1], waits=True) if signed_in else choice(PRICES, scores[1])
    found = max((own, other), key=lambda c: c.score)
    assert readier(found, [own, other], signed_in=signed_in).operation.name == first
