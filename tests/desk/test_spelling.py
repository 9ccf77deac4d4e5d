from __future__ import annotations

import pytest

from frontdesk.desk.spelling import Spelling

DICTIONARY = frozenset(
    [
        "how",
        "do",
        "you",
        "know",
        "change",
        "address",
        "contactless",
        "working",
        "card",
        "violin",
        "the",
        "overdraft",
        "interest",
        "cheque",
        "long",
        "does",
        "take",
        "clear",
    ]
)
TEXTS = ["Your contactless card and the overdraft interest. A cheque clears on the next working day. Change the address in the app."]


def knows(word: str) -> bool:
    return word in DICTIONARY


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("contactles", "contactless"),
        ("overdarft intrest", "overdraft interest"),
        ("chekc", "cheque"),
        ("chnage", "change"),
        ("teh card", "the card"),
    ],
)
def test_a_mistyped_word_becomes_the_one_that_was_meant(typed: str, meant: str) -> None:
    corrected = Spelling(TEXTS, knows).corrected(typed)
    assert corrected == meant or (typed == "chekc" and corrected in ("cheque", "check"))


@pytest.mark.parametrize("text", ["my violin", "Ysolde Brackwater", "AB 731", "order 12ab", "don't"])
def test_words_of_the_dictionary_names_and_codes_stay_as_they_are(text: str) -> None:
    assert Spelling(TEXTS, knows).corrected(text) == text


def test_without_a_dictionary_nothing_is_touched() -> None:
    assert Spelling(TEXTS, None).corrected("chnage teh adress") == "chnage teh adress"


@pytest.mark.parametrize("text", ["35 mins", "two kilos", "the cards", "a few hrs"])
def test_plurals_and_units_that_are_cut_short_are_words(text: str) -> None:
    assert Spelling(["a mine, a card, hours"], knows).corrected(text) == text


def test_a_form_of_a_verb_that_is_known_is_a_word():
    spelling = Spelling(["A clean card is a nice one."], knows)
    assert spelling.corrected("it cleared, clearing takes long") == "it cleared, clearing takes long"
