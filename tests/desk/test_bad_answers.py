"""What goes wrong around live data, told from outside: one clear sentence, the cause in the event, and never a made-up value."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.desk.counter import Counter, Visit, counter

from frontdesk.domain.events import ToolCalled
from frontdesk.models import registry
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.store.store import Store

pytestmark = pytest.mark.timeout(300)  # the first test waits for the router of the counter

HOW_FULL = "How many people are at the Harbour branch right now?"


@pytest.fixture(scope="module")
async def made(
    store: Store, models_cache: Path, encoder: SentenceEncoder, matcher: CrossEncoder, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Counter]:
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", models_cache), threads=1)
    async with counter(
        store, embedder, tmp_path_factory.mktemp("bad"), {"inline": None}, encoder=encoder, matcher=matcher, propose="desk"
    ) as ready:
        yield ready
    embedder.close()


@pytest.fixture
def api(made: Counter):
    made.api.reset()
    made.forget_failures()
    return made.api


@pytest.fixture
def visit(made: Counter, api) -> Visit:
    return made.visit("inline")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html><body>42 people, really</body></html>"),
        ("application/json", b"{not json at all 42"),
        ("application/json", b'{"people": NaN}'),
        ("application/json", b'{"people": 42, "note": "' + b"x" * 10_000_000 + b'"}'),
        ("image/png", b"\x89PNG 42"),
    ],
)
async def test_an_answer_that_cannot_be_read_gives_no_value(visit, api, kind, body):
    api.raw = (kind, body)
    reply = await visit.say(HOW_FULL)
    assert not re.search(r"\d\d", reply.text)
    assert "went wrong" in reply.text
    assert reply.tool_calls[0].error
    assert [e.call.error for e in await visit.events() if isinstance(e, ToolCalled)] == [reply.tool_calls[0].error]


async def test_an_answer_of_another_shape_than_its_document_says_is_told_as_it_is(visit, api):
    api.raw = ("application/json", b'{"branch": "Harbour", "people": "about forty", "free_seats": null}')
    reply = await visit.say(HOW_FULL)
    assert "about forty" in reply.text


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_a_fault_of_the_api_is_one_sentence_with_an_offer_of_a_human(visit, api, status):
    api.fail = status
    reply = await visit.say(HOW_FULL)
    assert not re.search(r"\d\d", reply.text)
    assert "team" in reply.text or "colleague" in reply.text


async def test_an_api_that_is_slow_is_given_up_in_time(visit, api):
    api.delay = 6.0
    reply = await visit.say(HOW_FULL)
    assert "went wrong" in reply.text
    assert visit.seconds < 9


async def test_a_sign_in_that_ended_in_the_middle_asks_to_sign_in_again_and_does_nothing(made, api):
    signed = made.visit("inline")
    await signed.say("Please renew loan LN1001 for 2 weeks")
    guest = made.visit("inline", None)
    guest.conversation = None
    reply = await guest.say("yes")
    assert api.acts() == []
    assert reply.route != "dynamic"


async def test_a_branch_that_is_no_longer_there_is_asked_for_again(visit, api):
    reply = await visit.say("How many people are at the Riverside branch right now?")
    assert all("Riverside" not in row[1] for row in api.log)
    assert "Harbour" in reply.text


async def test_a_refused_value_is_told_with_the_apis_own_reason(visit, api):
    api.fail = 422
    reply = await visit.say(HOW_FULL)
    assert "out of order" in reply.text


async def test_an_amount_in_words_is_understood(visit, api):
    await visit.say("Please renew loan LN1001 for two weeks")
    await visit.say("yes")
    assert [row[2] for row in api.acts()] == [{"weeks": 2}]


async def test_an_amount_beyond_the_limit_is_told_and_not_sent(visit, api):
    reply = await visit.say("Please renew loan LN1001 for nine weeks")
    assert api.acts() == []
    assert "6" in reply.text


async def test_a_day_that_does_not_exist_is_told_and_not_sent(visit, api):
    reply = await visit.say("Are there free study rooms at Harbour on 31 November 2026?")
    assert api.log == []
    assert "does not exist" in reply.text


# -- the built-in operations ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("What is 3.5 % of 1,200?", "42"),
        ("How many days until 24 December?", "34 days"),
        ("How many business days until 4 December?", "10 business days"),
        ("Are you open next Monday?", "09:00 to 17:00"),
        ("What day of the week is 3 December 2026?", "Thursday"),
        ("what is 10 divided by 0", "divides by zero"),
    ],
)
async def test_what_every_desk_can_work_out_is_worked_out(visit, message, answer):
    reply = await visit.say(message)
    assert answer in reply.text
    assert [c.name for c in reply.tool_calls] in (["calculate"], ["calendar"])


async def test_nothing_is_translated_where_no_model_translates(visit, api):
    reply = await visit.say("Translate 'my book is late' into German")
    assert reply.tool_calls == ()
    assert "can't" in reply.text or "can only" in reply.text or "not certain" in reply.text
    assert "Buch" not in reply.text
