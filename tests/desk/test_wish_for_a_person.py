"""Who is asked for by what they are to the desk is a person, and not a thing that is called so."""

from __future__ import annotations

import pytest

from frontdesk.desk.handoff import PUT_THROUGH


@pytest.mark.parametrize(
    ("message", "wished"),
    [
        ("The cellar is under water and it's the third time I write. I want your boss", True),
        ("get me your supervisor now", True),
        ("I need your manager, please", True),
        ("put me through to the workshop", True),
        ("do I need your manager plan for that?", False),
        ("I want your manager's number", False),
        ("what is your manager called", False),
        ("put me through to the page with prices", False),
    ],
)
def test_a_wish_for_whoever_is_in_charge_is_heard(message: str, wished: bool) -> None:
    assert (PUT_THROUGH.search(message) is not None) is wished
