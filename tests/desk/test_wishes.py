"""What a message wants done, by its wording alone."""

from __future__ import annotations

import pytest

from frontdesk.desk.wishes import asks, reports


@pytest.mark.parametrize(
    "text",
    [
        "I lost my key",
        "my bag was stolen yesterday",
        "the door doesn't open",
        "You sent the wrong colour!! Second time",
        "My parcel never arrived",
    ],
)
def test_a_mishap_is_told(text: str):
    assert reports(text)


@pytest.mark.parametrize(
    "text",
    [
        "Is the lift broken?",
        "my kettle broke, show me new ones",
        "my bag was stolen, please block the tag",
        "what does wrong size cost",
        "where is my bag",
    ],
)
def test_who_asks_or_orders_tells_no_mishap(text: str):
    assert not reports(text)


@pytest.mark.parametrize("text", ["whats the fee", "what's open", "where're you", "how do I pay", "hows the queue", "and when is it due"])
def test_a_question_without_its_mark_is_one(text: str):
    assert asks(text)
