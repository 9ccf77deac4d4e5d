from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.desk.guardrails import cleaned, objection, repeats_prompt
from frontdesk.errors import BadInput, TooLarge

RULE = "Parcels up to 5 kg cost £4.20 to send within two working days, except on islands."


def test_a_quotation_passes() -> None:
    assert objection(RULE, [RULE]) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "Parcels up to 5 kg cost £4.90 to send within two working days, except on islands.",
        "Parcels up to 6 kg cost £4.20 to send within two working days, except on islands.",
        "Parcels up to 5 kg cost £4.20 to send with Speedy within two working days, except on islands.",
        "Parcels up to 5 kg cost £4.20 and include insurance against theft, fire, water and loss.",
        "See https://example.org for parcels up to 5 kg.",
    ],
)
def test_a_changed_amount_name_link_or_claim_is_an_objection(sentence: str) -> None:
    assert objection(sentence, [RULE])


def test_a_lost_negation_is_an_objection() -> None:
    assert objection("Refunds are possible after 30 days.", ["Refunds are not possible after 30 days."])


def test_one_source_alone_must_carry_all_amounts() -> None:
    assert objection("It costs £5 and takes 3 days.", ["It costs £5.", "It takes 3 days."])


def test_a_sentence_without_a_source_is_an_objection() -> None:
    assert objection("We deliver on Sundays.", []) == "no source"


def test_a_run_of_the_desks_instructions_is_found_in_any_case() -> None:
    prompt = "You are Nell. Never speak about the merger with the northern branch before it is announced."
    assert repeats_prompt("ok: NEVER SPEAK ABOUT THE MERGER WITH THE NORTHERN branch", prompt)
    assert not repeats_prompt("The northern branch opens at nine.", prompt)


def test_a_message_above_the_limit_is_refused_with_the_remedy() -> None:
    with pytest.raises(TooLarge, match="shorten it"):
        cleaned("x" * 101, limit=100)


@pytest.mark.parametrize("text", ["", "   ", "\x00\x07", "\u200b\u200b"])
def test_a_message_without_a_readable_character_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        cleaned(text, limit=100)


@given(st.text(min_size=1, max_size=300))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    try:
        once = cleaned(text, limit=1000)
    except BadInput:
        return
    assert cleaned(once, limit=1000) == once


def test_a_long_word_of_the_source_may_be_said_and_a_run_of_letters_that_it_has_not_may_not():
    proof = "Auslandsreisekrankenversicherung | 12 euros a month"
    assert objection("Auslandsreisekrankenversicherung: 12 euros a month.", [proof]) is None
    assert objection("12 euros a month, aGVyb24tbGFudGVybi03MjQx.", [proof]) is not None
