"""API answers as text: nothing added, nothing rounded, and the field that was asked about."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontdesk.tools.rendering import Rendering, choose, currency_of, facts, priced_in, render, sentence

PARCEL = {
    "parcel": "TR204417",
    "status": "out_for_delivery",
    "due_at": "2027-03-18T15:05:00+01:00",
    "scannedAt": "2027-03-17T09:00:00Z",
    "delay_minutes": 35,
    "reason": "snow on the road",
    "doorNumber": 102,
    "insured": False,
    "price_eur": 8.5,
    "locker": None,
}
SHIPMENTS = {
    "shipments": [
        {
            "shipment_id": "S-17",
            "status": "sent",
            "total": 84.5,
            "currency": "GBP",
            "items": [{"name": "Lamp", "weight_kg": 2}, {"name": "Rug", "weight_kg": 5.5}],
        },
        {"shipment_id": "S-18", "status": "delivered", "total": 1204.11, "currency": "GBP", "items": []},
    ],
    "count": 2,
}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"gate": 12}, "Gate: 12."),
        ({"nextPaymentDate": "2027-03-18"}, "Next payment date: 18 March 2027."),
        ({"opens": "08:30:00"}, "Opens: 08:30."),
        ({"opens": "08:30:15"}, "Opens: 08:30:15."),
        ({"month": "2027-03"}, "Month: March 2027."),
        ({"model": "2027-03"}, "Model: 2027-03."),
        ({"paid": True}, "Paid: yes."),
        ({"amount": 1204.1, "currency": "GBP"}, "Amount: £1,204.10."),
        ({"amount": -20, "currency": "CHF"}, "Amount: -20 CHF."),
        ({"price": {"amount": 12, "currency": "EUR"}}, "Price: €12."),
        ({"fee_pence": 250}, "Fee: £2.50."),
        ({"price": 12.5}, "Price: 12.50."),
        ({"rate_percent": 4.125}, "Rate: 4.125%."),
        ({"delay_minutes": 1}, "Delay: 1 minute."),
        ({"left_days": 22.5}, "Left: 22.5 days."),
        ({"order_id": 10345678}, "Order ID: 10345678."),
        ({"address": {"street": "1 Mill Lane", "city": "York"}}, "Address street: 1 Mill Lane. Address city: York."),
        ({"tags": ["new", "red"]}, "Tags: new, red."),
        ({"state": "in_transit"}, "State: in transit."),
        ({"code": "AB_12"}, "Code: AB_12."),
        ({"orders": []}, "Orders: none."),
        ([], "Nothing found."),
        ({}, ""),
        (None, ""),
        ("done", "done."),
        (12, "12."),
        ({"a": None}, ""),
    ],
)
def test_a_value_is_shown_as_people_write_it(data: object, text: str) -> None:
    assert render(data) == text


def test_a_schema_adds_titles_units_and_currencies() -> None:
    schema = {
        "type": "object",
        "properties": {
            "p": {"type": "number", "title": "Price", "x-currency": "EUR"},
            "w": {"type": "number", "title": "Weight", "x-unit": "kg"},
            "d": {"type": "number", "title": "Due", "description": "Amount in pounds."},
            "s": {"type": "string", "title": "State", "x-labels": {"A": "on its way"}},
        },
    }
    assert render({"p": 1.5, "w": 3, "d": 4.5, "s": "A"}, schema) == "Price: €1.50. Weight: 3 kg. Due: £4.50. State: on its way."


def test_times_in_utc_are_shown_in_the_tenants_zone_and_others_as_written() -> None:
    there = Rendering(zone=ZoneInfo("Europe/Paris"))
    assert "Scanned: 17 March 2027, 10:00." in render({"scanned": "2027-03-17T09:00:00Z"}, rendering=there)
    assert "Scanned: 17 March 2027, 09:00 UTC." in render({"scanned": "2027-03-17T09:00:00Z"})
    assert "Due: 18 March 2027, 15:05." in render({"due": "2027-03-18T15:05:00-07:00"}, rendering=there)


def test_a_list_becomes_one_bullet_per_record() -> None:
    assert render(SHIPMENTS) == (
        "Count: 2.\nShipments:\n"
        "- S-17: status sent, total £84.50, items Lamp (weight 2 kg), Rug (weight 5.5 kg)\n"
        "- S-18: status delivered, total £1,204.11"
    )


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert render([{"name": f"n{i}"} for i in range(14)]).endswith("- n9\nand 4 more")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("which door number is it?", "Door number: 102."),
        ("when is it due", "Due: 18 March 2027, 15:05."),
        ("why is it late?", "Reason: snow on the road."),
        ("what does it cost", "Price: €8.50."),
        ("what is its status", "Status: out for delivery."),
        ("is it insured?", "Insured: no."),
        ("which locker?", "Locker: not set."),
    ],
)
async def test_the_field_that_was_asked_about_is_chosen(question: str, answer: str) -> None:
    assert answer in sentence(await choose(facts(PARCEL), question))


async def test_a_record_named_in_the_question_is_the_one_that_answers() -> None:
    assert sentence(await choose(facts(SHIPMENTS), "what was the total of S-18?")) == "S-18 – total: £1,204.11."
    assert sentence(await choose(facts(SHIPMENTS), "total of the delivered one")) == "S-18 – total: £1,204.11."


def test_the_currency_of_texts_is_the_one_they_agree_on() -> None:
    assert currency_of(["It costs £5 or £6.20.", "From 12 pounds"]) == "GBP"
    assert currency_of(["Amount in pounds"]) == "GBP"
    assert currency_of(["£5 here, €6 there"]) == ""
    assert currency_of(["a pound of flour"]) == ""


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(_values)
def test_any_json_renders(data: object) -> None:
    assert isinstance(render(data), str)
    assert isinstance(sentence(facts(data)), str)


@given(
    st.decimals(min_value=-(10**9), max_value=10**9, places=2, allow_nan=False),
    st.sampled_from(["price", "price_eur", "count", "x", "delay_minutes"]),
)
def test_no_digit_of_a_number_is_lost_or_added(amount: object, name: str) -> None:
    value = float(str(amount))
    shown = re.search(r"-?[^\d\s:-]{0,2}[\d,]+(\.\d+)?", render({name: value}).partition(": ")[2])
    assert shown is not None
    assert float(re.sub(r"[^\d.\-]", "", shown[0])) == value


def test_numbers_by_the_name_of_what_is_priced_are_amounts() -> None:
    assert priced_in("Stalls of one market. Today's price per stall, in pounds.") == {"stall"}
    market = {"day": "2027-05-01", "stalls": {"corner": 46, "row": 31.5}, "helpers": {"morning": 2}, "currency": "GBP"}
    shown = render(market, None, Rendering(priced=frozenset({"stall"})))
    assert "corner: £46" in shown
    assert "row: £31.50" in shown
    assert "morning: 2" in shown
    assert "£" not in render(market)


def test_an_estimate_beside_a_currency_is_an_amount() -> None:
    assert render({"stall": "corner", "estimate": 3700, "estimate_days": 4, "currency": "GBP"}).count("£") == 1
    assert "£3,700" in render({"estimate": 3700, "currency": "GBP"})


def test_a_price_of_a_day_is_money_and_what_is_free_is_none() -> None:
    answer = {"day": "2027-06-12", "day_price": 69, "free_boats": {"north": 3, "south": 1}, "currency": "GBP"}
    shown = Rendering(priced=priced_in("Price of a boat for the day and how many are still free."))
    texts = {f.label: f.text for f in facts(answer, {}, shown)}
    assert "£69" in texts.values()
    assert "3" in texts.values()
    assert "£3" not in texts.values()
