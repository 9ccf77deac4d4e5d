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
