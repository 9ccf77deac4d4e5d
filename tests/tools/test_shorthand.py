"""What people leave out, shorten or take back when they answer: codes before places, times of day, second thoughts, half words."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from frontdesk.desk.elicitation import condition_of
from frontdesk.tools.businesses import operations
from frontdesk.tools.consent import Consent, consent
from frontdesk.tools.numbers import find_numbers
from frontdesk.tools.offers import pick
from frontdesk.tools.operation import Argument, Operation, Place
from frontdesk.tools.rendering import facts, weigh
from frontdesk.tools.selection import ways_to_say
from frontdesk.tools.slots import kind_of
from frontdesk.tools.understanding import corrections, extract, sides_of

TODAY = date(2027, 3, 17)
LOCKERS = ("K31 (Quay, small, 4.10)", "P07 (Mill, large, 9.80)")


def argument(name: str, **schema: Any) -> Argument:
    said = str(schema.pop("description", ""))
    return Argument(name=name, where=Place.QUERY, required=True, description=said, schema={"type": "string", **schema})


def operation(*arguments: Argument) -> Operation:
    return Operation(name="quote", summary="Quote a price", arguments=arguments)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("K31, and my last day is the 30th", 0),
        ("p07 on the last weekend of May", 1),
        ("the last one", 1),
        ("the first", 0),
        ("my last week there", None),
    ],
)
def test_a_code_that_is_said_is_meant_and_the_last_day_is_no_last_choice(text: str, index: int | None) -> None:
    assert pick(text, LOCKERS, today=TODAY) == index


@pytest.mark.parametrize(
    "clock",
    [
        argument("start", example="09:15"),
        argument("start", description="New start as HH:MM."),
        argument("start", pattern=r"^\d{2}:\d{2}$"),
    ],
)
def test_a_time_of_day_is_known_by_its_example_its_description_or_its_pattern(clock: Argument) -> None:
    assert kind_of(clock) == "time"
    assert extract(operation(clock), "quarter past nine in the morning", today=TODAY)["start"].value == "09:15"
    assert "start" not in extract(operation(clock), "yes, go on", today=TODAY, asked="start")


@pytest.mark.parametrize("text", ["one day, please", "just one day", "for one day only"])
def test_one_day_counts_days(text: str) -> None:
    assert [n.value for n in find_numbers(text)] == [1]


def test_one_day_that_is_only_dreamt_of_does_not() -> None:
    assert find_numbers("one day we might come") == []


@pytest.mark.parametrize(("text", "count"), [("six. hm no, eight", 8), ("six, no, eight then", 8), ("six lamps", None)])
def test_a_second_thought_in_the_middle_counts(text: str, count: int | None) -> None:
    lamps = operation(argument("lamps", type="integer"))
    found = corrections(lamps, text, known={"lamps": 6}, today=TODAY)
    assert (found["lamps"].value if found else None) == count


@pytest.mark.parametrize(("text", "value"), [("choreo on Monday", "choreography"), ("the photo one", None), ("at home", None)])
def test_the_beginning_of_a_word_is_enough_where_no_other_choice_begins_so(text: str, value: str | None) -> None:
    kind = operation(argument("kind", enum=["choreography", "photography", "photobook"]))
    found = extract(kind, text, today=TODAY)
    assert (found["kind"].value if "kind" in found else None) == value


def test_of_two_numbers_the_one_beside_another_value_is_meant() -> None:
    quote = operation(argument("plan", enum=["Reed", "Oak"]), argument("seats", type="integer"))
    found = extract(quote, "The price of Oak with 40 places please. We asked two others as well.", today=TODAY)
    assert found["seats"].value == 40


def test_a_season_is_no_place() -> None:
    ticket = operation(argument("country"))
    assert extract(ticket, "off to norway in the autumn, how much", today=TODAY)["country"].value == "norway"


def test_a_yes_may_name_what_the_description_begins_with() -> None:
    leave = operations([["post!", "leaveClub", "Hand in a resignation", "Ends the membership of the signed-in member.", [], ""]])[0]
    assert consent("yes please, end it", deeds=ways_to_say(leave)) is Consent.YES
    assert consent("yes but end it in May", deeds=ways_to_say(leave)) is not Consent.YES


async def test_who_asks_for_a_person() -> None:
    found = facts({"day": "2027-06-02", "room": "Blue", "teacher": "Ada Fenn", "status": "fixed"})
    weights = dict(zip([f.label for f in found], await weigh(found, "who is it with?"), strict=True))
    assert max(weights, key=lambda label: weights[label]) == "Teacher"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("six of them, evenings", False),
        ("only after work, can't do days", False),
        ("in the daytime, Tuesdays say", True),
        ("six of them", None),
        ("mornings or evenings, all the same", None),
    ],
)
def test_the_other_side_of_a_flag_says_that_it_is_not_so(text: str, value: bool | None) -> None:
    found = extract(operation(argument("daytime", type="boolean")), text, today=TODAY)
    assert (found["daytime"].value if "daytime" in found else None) == value


STAY = (argument("from_day", format="date"), argument("to_day", format="date"))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("there on 3 June 2028 and gone on the 9th", "2028-06-09"),
        ("from 28 June 2028 until the 2nd", "2028-07-02"),
        ("arriving 3 June 2028, leaving 5 July 2028", "2028-07-05"),
    ],
)
def test_a_bare_day_behind_a_whole_date_goes_on_from_it(text: str, end: str) -> None:
    assert extract(operation(*STAY), text, today=TODAY)["to_day"].value == end


def test_a_bare_day_goes_on_from_the_day_that_is_known() -> None:
    known = {"from_day": "2028-06-28"}
    assert extract(operation(*STAY), "out on the 2nd", known=known, today=TODAY, asked="to_day")["to_day"].value == "2028-07-02"
    assert extract(operation(*STAY), "3 June 2028, then 5 June", today=TODAY)["from_day"].value == "2028-06-03"


def test_a_day_alone_is_still_the_next_one() -> None:
    assert extract(operation(argument("day", format="date")), "on the 20th", today=TODAY)["day"].value == "2027-03-20"


DRAINED = argument("drainage", type="boolean", description="True if the house is drained by us, false if it has a cesspit.")


@pytest.mark.parametrize(
    ("text", "asked", "value"),
    [
        ("yeah, drained like every house here", "drainage", True),
        ("nope, we were never joined up", "drainage", False),
        ("there's a cesspit behind the barn", "", False),
        ("no drains here", "", False),
        ("no cesspit", "", None),
        ("what is that", "drainage", None),
    ],
)
def test_a_flag_is_told_by_a_plain_word_or_by_what_its_other_side_is(text: str, asked: str, value: bool | None) -> None:
    found = extract(operation(DRAINED), text, today=TODAY, asked=asked)
    assert (found["drainage"].value if "drainage" in found else None) is value


def test_a_flag_is_asked_for_without_its_other_side() -> None:
    assert condition_of(DRAINED) == "the house is drained by us"


NIGHTS = argument("nights", type="integer", description="Number of nights.")
GUESTS = argument("guests", type="integer", description="Number of guests.")


def test_what_is_counted_by_its_own_noun_counts_no_nights() -> None:
    kind = argument("kind", enum=["hut", "loft"])
    found = extract(operation(kind, NIGHTS, GUESTS), "three cousins, one hut for all", today=TODAY, asked="kind")
    assert {n: e.value for n, e in found.items()} == {"kind": "hut", "guests": 3}
    assert extract(operation(NIGHTS, GUESTS), "a week", today=TODAY, asked="nights")["nights"].value == 7


def test_second_thoughts_are_nobodys_name() -> None:
    pet = argument("animal", description="The name of the animal.")
    known = {"from_day": "2028-06-03", "to_day": "2028-06-09"}
    found = extract(operation(pet, *STAY), "no, wait, we come back later. until the 11th", known=known, today=TODAY, asked="animal")
    assert "animal" not in found
    changed = corrections(operation(pet, *STAY), "no, wait, we come back later. until the 11th", known=known, today=TODAY)
    assert {n: e.value for n, e in changed.items()} == {"to_day": "2028-06-11"}


async def test_a_question_of_when_is_answered_by_a_day_although_it_names_another_field() -> None:
    schema = {"type": "object", "properties": {"lane": {"type": "string"}, "reopens_on": {"type": "string", "format": "date"}}}
    found = facts({"lane": "Mill Lane", "reopens_on": "2028-06-09"}, schema)
    scores = await weigh(found, "when do I get my lane back?")
    assert scores[1] > scores[0] - 0.25
    assert scores[1] > 0.5


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("there and back please", True),
        ("only there, we stay", False),
        ("one way", False),
        ("Leeds and home again", True),
        ("a small one", None),
    ],
)
def test_a_flag_is_told_by_either_of_its_sides(text: str, both: bool | None):
    wanted = argument("return-trip", type="boolean", description="true for there and back, false for one way.")
    found = extract(operation(wanted), text, today=TODAY)
    assert (found[wanted.name].value if wanted.name in found else None) is both


def test_a_flag_with_two_sides_has_no_condition_but_both_to_choose_from():
    wanted = argument("return-trip", type="boolean", description="true for there and back, false for one way.")
    assert condition_of(wanted) == ""
    assert sides_of(wanted) == ("there and back", "one way")


def test_digits_behind_letters_are_a_code_and_no_number():
    assert find_numbers("V-7044 can go") == []


def test_a_name_that_is_held_already_is_not_given_to_another_argument():
    road, town = argument("road", description="Name of the road."), argument("town", description="The town.", enum=["Bexley", "Corton"])
    found = extract(operation(road, town), "Pound Row, in Corton", today=TODAY, known={"town": "Corton"})
    assert found["road"].value == "Pound Row"


def test_an_agreement_is_nobodys_name():
    asked = argument("pet", description="The name of the pet.")
    assert extract(operation(asked), "yes that's right, book it", today=TODAY, asked="pet") == {}


def test_a_size_by_its_letter_is_said_in_words():
    wanted = argument("size", description="The size of the frame.", enum=["S", "M", "L"])
    assert extract(operation(wanted), "have you one in a large?", today=TODAY)["size"].value == "L"
