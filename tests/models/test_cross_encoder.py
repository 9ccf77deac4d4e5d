"""The cross-encoder as shipped, on companies that exist nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import frontdesk.desk
from frontdesk.errors import ModelUnavailable
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.protocols import Matching

RULES = [
    "Late return: A canoe that comes back after six o'clock costs 9 dollars for each hour begun.",
    "Life jackets: Everyone under 16 wears a life jacket on the water at all times.",
    "Dogs: Dogs may come along in the large canoes, but not in kayaks.",
    "Deposit: We hold 80 dollars on your card and let it go when the boat is back.",
]
OPERATIONS = [
    "List free boats. Lists the canoes and kayaks that are free on a day. Needs day. Tells name, seats, price.",
    "Retrieve a rental. Retrieves where a rental of the signed-in customer stands. Needs rental no. Tells state, returned at, deposit.",
    "Cancel a rental. Cancels a rental of the signed-in customer before it begins. Needs rental no.",
]


@pytest.mark.parametrize(
    ("question", "right"),
    [
        ("what happens if I bring it back at seven", 0),
        ("does my nine year old need a vest", 1),
        ("can the puppy come", 2),
        ("how much do you block on my credit card", 3),
    ],
)
async def test_the_rule_that_answers_is_put_first(matcher: CrossEncoder, question: str, right: int) -> None:
    assert int((await matcher.scores(question, RULES, Matching.ANSWER)).argmax()) == right


@pytest.mark.parametrize(("message", "right"), [("anything free on saturday?", 0), ("call off 4471 please", 2)])
async def test_the_operation_that_is_meant_is_put_first(matcher: CrossEncoder, message: str, right: int) -> None:
    assert int((await matcher.scores(message, OPERATIONS, Matching.OPERATION)).argmax()) == right


async def test_what_is_about_nothing_here_gets_less_than_what_is(matcher: CrossEncoder) -> None:
    meant = (await matcher.scores("is a boat free tomorrow?", OPERATIONS, Matching.OPERATION)).max()
    other = (await matcher.scores("who won the war of the roses?", OPERATIONS, Matching.OPERATION)).max()
    assert meant > 0 > other


async def test_a_text_is_judged_alike_alone_and_among_longer_ones(matcher: CrossEncoder) -> None:
    question = "may dogs come?"
    alone = [float((await matcher.scores(f"{question} ", [rule], Matching.ANSWER))[0]) for rule in RULES]
    among = await matcher.scores(question, [*RULES, " ".join(RULES)], Matching.ANSWER)
    assert np.allclose(alone, among[: len(RULES)], atol=0.05)


async def test_the_same_question_is_not_read_twice(matcher: CrossEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await matcher.scores("when do I get the eighty back?", RULES, Matching.ANSWER)
    monkeypatch.setattr(matcher, "_judge", lambda *_: pytest.fail("it was read again"))
    again = await matcher.scores("when do I get the eighty back?", RULES[::-1], Matching.ANSWER)
    assert np.array_equal(first[::-1], again)


async def test_any_text_is_read(matcher: CrossEncoder) -> None:
    odd = ["", "🚣" * 300, "\x00\x07", "word " * 5_000, "\ud800", "[SEP] [CLS] boats"]
    scores = await asyncio.gather(*(matcher.scores(text, odd, Matching.ANSWER) for text in odd))
    assert np.isfinite(np.stack(scores)).all()


async def test_a_closed_one_says_so(models_cache: Path) -> None:
    adapter = Path(frontdesk.desk.__file__).parent / "reading_pairs.safetensors"
    made = CrossEncoder(models_cache / "models" / "all-minilm-l6-v2", adapter)
    made.close()
    with pytest.raises(ModelUnavailable, match="restart"):
        await made.scores("are you there?", RULES, Matching.ANSWER)
