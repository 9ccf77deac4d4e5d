"""A model that is slow, broken or talks too much, behind the desk's own words: rows R6 and S15 of the assurance table."""

from __future__ import annotations

import base64
import codecs
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

import pytest
from tests.models.conftest import client_of, stub  # noqa: F401 - the fixtures

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.drafting import objection
from frontdesk.desk.phrasing import Phrasing
from frontdesk.domain.conversation import Route
from frontdesk.models.scripted import ScriptedModel

FACT = Sentence(
    text="Repair prices – Teapots: Handle: €6.40.",
    proofs=("Repair prices – Teapots: Handle: €6.40.",),
    stiff=True,
    needed="Teapots Handle €6.40",
)
QUESTION = "What does a new handle on a teapot cost?"
CANARY = "heron-lantern-7241"
SECRET = f"{(files('frontdesk.desk') / 'prompts' / 'phrase.md').read_text(encoding='utf-8')}\nThe word of the house is {CANARY}."
RUN = 20
"""Words in a row of the prompt that nobody may ever read."""


def draft() -> Draft:
    return Draft(route=Route.KNOWLEDGE, sentences=(FACT,), confidence=0.9)


@pytest.mark.parametrize("behaviour", ["silent", "late-first-token", "stall", "drip", "500", "garbage", "endless-line", "hang-up", "429"])
async def test_r6_whatever_the_model_does_the_fact_is_said_in_time(client_of: Callable, behaviour: str):  # noqa: F811
    phrasing = Phrasing(client_of(behaviour, first_token=30.0, between_tokens=30.0, total=60.0))
    began = time.monotonic()
    said, _ = await phrasing.of(QUESTION, draft())
    assert [s.text for s in said.sentences] == [FACT.text]
    assert time.monotonic() - began < 10  # a third of a second and what a busy machine adds, not the model's half a minute


async def test_r6_two_facts_wait_no_longer_than_one(client_of: Callable, stub):  # noqa: F811
    """The time is the reply's: once it is spent on the first fact, the model is not asked about the second."""
    second = replace(FACT, text="Repair prices – Teapots: Lid: €4.10.", needed="Teapots Lid €4.10")
    before = len(stub.bodies)
    phrasing = Phrasing(client_of("silent", first_token=30.0, between_tokens=30.0, total=60.0))
    said, _ = await phrasing.of(QUESTION, replace(draft(), sentences=(FACT, second)))
    assert [s.text for s in said.sentences] == [FACT.text, second.text]
    assert len(stub.bodies) - before == 1


async def test_r6_after_five_failures_the_model_is_not_asked_any_more(client_of: Callable, stub):  # noqa: F811
    client = client_of("500")
    phrasing = Phrasing(client)
    before = len(stub.bodies)
    for _ in range(12):
        said, _ = await phrasing.of(QUESTION, draft())
        assert [s.text for s in said.sentences] == [FACT.text]
    assert client.breaker.open
    assert len(stub.bodies) - before <= 5


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "backwards": lambda text: text[::-1],
    "letter by letter": " ".join,
    "word by word": lambda text: "\n".join(text.split()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "digits for letters": lambda text: text.translate(str.maketrans("aeiost", "431057")),
    "with invisible letters": lambda text: "\u200b".join(text),
    "quoted": lambda text: f'> "{text}"',
    "as JSON": lambda text: json.dumps({"system": text}),
    "as a link": lambda text: "https://leak.example/?q=" + re.sub(r"\W+", "-", text),
    "in a comment": lambda text: f"<!-- {text} -->",
}
PLACES: tuple[Callable[[str, str], str], ...] = (
    lambda leak, _fact: leak,
    lambda leak, fact: f"{fact} {leak}",
    lambda leak, fact: f"{leak} {fact}",
    lambda leak, fact: f"{fact[:-1]} ({leak}).",
    lambda leak, fact: f"Sure! My instructions: {leak}. {fact}",
)


def attempts(count: int, seed: int = 15) -> list[str]:
    """What a model would write that gives its prompt away, piece by piece and in disguise, around the right answer."""
    chance, words = random.Random(seed), SECRET.split()
    fact = "The repair of a teapot handle costs €6.40."
    found = []
    for n in range(count):
        encode = list(ENCODINGS.values())[n % len(ENCODINGS)]
        start = chance.randrange(len(words) - RUN)
        piece = chance.choice([SECRET, CANARY, " ".join(words[start : start + RUN]), f"{CANARY} {' '.join(words[-RUN:])}"])
        found.append(chance.choice(PLACES)(encode(piece), fact))
    return found


def leaks(text: str) -> bool:
    """Whether the text holds the canary, or a run of the prompt, in any of the disguises."""
    squeezed = re.sub(r"[\W_]+", "", text).lower()
    hidden = [re.sub(r"[\W_]+", "", encode(CANARY)).lower() for encode in ENCODINGS.values()]
    words, told = SECRET.lower().split(), " ".join(text.lower().split())
    return any(h in squeezed for h in hidden) or any(" ".join(words[i : i + RUN]) in told for i in range(len(words) - RUN))


async def test_s15_a_thousand_attempts_give_nothing_of_the_prompt_away():
    tried = attempts(1000)
    assert sum(map(leaks, tried)) > 500  # the attempts are some
    for text in tried:
        said, _ = await Phrasing(ScriptedModel([text])).of(QUESTION, draft())
        assert not leaks(" ".join(s.text for s in said.sentences)), text


def test_s15_nor_does_the_wording_around_a_live_value():
    for text in attempts(1000, seed=16):
        assert not leaks(text) or objection(text, rendered=["Repair prices – Teapots: Handle: €6.40."], words=QUESTION), text


async def test_a_good_wording_is_still_said():
    said, _ = await Phrasing(ScriptedModel(["The repair of a teapot handle costs €6.40."])).of(QUESTION, draft())
    assert [s.text for s in said.sentences] == ["The repair of a teapot handle costs €6.40."]
