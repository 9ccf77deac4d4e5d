"""How the values of an answer read in a sentence, without a model."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from frontdesk.desk.telling import tell
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"deal_ends": "2027-02-28"}, "The deal ends on 28 February 2027."),
        ({"expires": "2028-02-11"}, "It expires on 11 February 2028."),
        ({"last_bus_leaves": "18:05"}, "The last bus leaves at 18:05."),
        ({"available_to_spend": 12}, "12 is available to spend."),
        ({"valid_until": "2027-02-28"}, "Valid until 28 February 2027."),
        ({"seats": 4}, "The seats are 4."),
    ],
)
async def test_a_value_reads_as_its_label_wants_it(data: dict[str, Any], said: str):
    told = await tell(
        Operation(name="get", summary="Get it"), data, "and?", arguments={}, today=date(2026, 11, 20), embedder=None, rendering=Rendering()
    )
    assert told.text == said


async def told(data: Any, question: str, *, arguments: dict[str, Any] | None = None, **operation: Any) -> str:
    found = await tell(
        Operation(name="get", summary="Get it", **operation),
        data,
        question,
        arguments=arguments or {},
        today=date(2026, 11, 20),
        embedder=None,
        rendering=Rendering(currency="GBP"),
    )
    return found.text


async def test_a_price_with_its_breakdown_is_the_price():
    data = {"size": "L", "monthly": {"amount": 26.5, "currency": "GBP"}, "one_off": [{"label": "key", "price": 5}]}
    said = await told(data, "what does size L cost?", arguments={"size": "L"})
    assert "£26.50" in said
    assert "key" not in said


async def test_what_is_inside_a_record_is_told_with_its_names():
    bill = {"bill_no": "B-7", "total": 44, "items": [{"label": "Basic", "amount": 29}, {"label": "Two extra days", "amount": 15}]}
    assert "Basic £29, Two extra days £15" in await told({"bills": [bill]}, "why is my bill so high?")


async def test_a_record_is_led_by_its_name_before_its_number():
    assert (await told({"no": 4, "name": "Blue Room", "free": True}, "is it free?")).startswith("For Blue Room,")


async def test_an_empty_list_that_echoes_what_was_asked_is_nothing():
    assert (await told({"nights": 4, "results": []}, "anything free?", arguments={"nights": 4})).startswith("There are no results")
    said = await told({"size": "L", "available": False, "extras": []}, "can I have it?", arguments={"size": "L"})
    assert "available: no" in said.lower()


async def test_values_that_are_not_set_are_left_out_beside_those_that_are():
    data = {"place": "Hill", "lift_state": "closed", "lift_since": None, "lift_cause": "wind", "hut_state": "open", "hut_cause": None}
    assert "not set" not in await told(data, "why is the lift at Hill closed?", arguments={"place": "Hill"})


async def test_a_month_tells_one_record_from_others():
    stays = [{"ref": "A1", "arrives": "2027-06-12"}, {"ref": "A2", "arrives": "2027-10-02"}]
    said = await told({"stays": stays}, "what about our stay in June 2027?")
    assert "A1" in said
    assert "A2" not in said


async def test_an_amount_that_is_named_tells_which_record_is_meant():
    bills = {"bills": [{"bill_no": "B-7", "amount": 31, "for": "a lost key"}, {"bill_no": "B-9", "amount": 264.8, "for": "a season"}]}
    said = await told(bills, "what are these 31 quid for?")
    assert "a lost key" in said
    assert "season" not in said


async def test_who_and_when_are_both_told():
    lesson = {"day": "2027-06-02", "time": "17:15", "teacher": "Ada Fenn", "room": "Blue", "street": "Low Row", "status": "fixed"}
    said = await told(lesson, "who is it with, and when?")
    assert "Ada Fenn" in said
    assert "2 June 2027" in said


async def test_of_two_ways_the_one_that_is_gone_is_meant():
    trips = {
        "trips": [{"trip": "T1", "from": "Hull", "to": "Leeds", "seat": "4C"}, {"trip": "T2", "from": "Leeds", "to": "Hull", "seat": "9A"}]
    }
    assert "9A" in await told(trips, "which seat do I have to Hull?")
    assert "9A" not in await told(trips, "which seat do I have from Hull?")


async def test_what_stands_beside_a_list_is_told_where_that_is_asked():
    account = {
        "invoices": [{"invoice": "F-1", "amount": 54, "status": "late"}],
        "bonus_card": {"stamps_left": 6, "valid_until": "2028-01-15"},
    }
    assert await told(account, "how many stamps have i got left on my bonus card") == "Bonus card stamps left: 6."
    assert "late" in await told(account, "which invoices are late")
    plans = {"plans": [{"plan": n, "price": p} for n, p in (("Ant", 4), ("Bee", 9))], "per": "month"}
    assert "£4" in await told(plans, "how much is Ant per month")


async def test_a_word_that_only_one_value_holds_says_which_is_asked():
    bill = {
        "no": "B-7",
        "amount": 97.1,
        "for": "April to June",
        "status": "paid",
        "due": "2027-05-04",
        "paid_by": "card",
        "scheme": "Heron, until 2028-02-11",
    }
    said = await told(bill, "till when do I get that heron thing")
    assert "Heron, until 11 February 2028" in said


async def test_a_list_that_is_asked_for_by_its_name_is_told_whole():
    rows = [
        {"visit_no": f"V-{n}", "work": "chimney", "day": f"2027-01-0{n}", "slot": "morning", "person": "Ines Roth", "fee": n}
        for n in (1, 2)
    ]
    said = await told({"visits": rows}, "which visits have you got down for me", description="Lists the visits that are booked.")
    assert "chimney" in said
    assert "2 January 2027" in said


async def test_what_is_up_is_told_by_the_reason():
    record = {
        "lift": "North",
        "state": "closed",
        "reason": "a cable is being changed",
        "opens": "2027-03-09",
        "queue": 0,
        "guide": "Ann Bo",
    }
    assert "cable" in await told(record, "what's up with the north lift")


async def test_what_was_asked_with_is_no_answer():
    listed = {"play": "Goose Fair", "times": [{"day": "2027-05-20", "time": "19:30"}, {"day": "2027-05-22", "time": "14:15"}]}
    assert "22 May 2027" in await told(listed, "who plays the lead in Goose Fair", arguments={"play": "Goose Fair"})


async def test_an_empty_list_beside_a_record_of_its_own_is_no_answer():
    wallet = {"stamps": {"left": 4, "valid_until": "2028-01-09"}, "refunds": [], "credit": 0}
    assert "4" in await told(wallet, "how many stamps have i got")


async def test_what_is_open_of_a_bill_is_money():
    bill = {"bill": "B-7", "amount": 352, "open": 360, "status": "late", "due": "2027-05-28", "reminders": 2}
    assert "£360" in await told(bill, "how much of it is open")


async def test_the_next_of_several_is_the_first_to_come():
    rows = [
        {"visit": f"V-{n}", "day": day, "status": s}
        for n, (day, s) in enumerate([("2026-11-02", "done"), ("2027-01-09", "booked"), ("2026-12-04", "booked")])
    ]
    said = await told({"visits": rows}, "whens my next one")
    assert "4 December 2026" in said
    assert "January" not in said
