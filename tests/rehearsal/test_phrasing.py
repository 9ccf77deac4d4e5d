"""A model words the line; what does not hold is not said."""

from __future__ import annotations

from typing import Any

import pytest

from frontdesk.errors import ModelUnavailable
from frontdesk.models.scripted import Reply, ScriptedModel
from frontdesk.rehearsal.cast import load_cast
from frontdesk.rehearsal.customer import Draft
from frontdesk.rehearsal.phrasing import ModelPhraser, Templates, cues, objection
from frontdesk.rehearsal.reading import preset

from .conftest import opened, script

CAST = load_cast(preset("cast.yaml"))
DRAFT = Draft(core="Where is my order A-70311?", before="Hello.", slots=("A-70311",), mood=CAST.mood("friendly"))


async def worded(model: Any, draft: Draft = DRAFT, *, guided: bool = False, **more: Any) -> Any:
    phraser = ModelPhraser(model, guided=guided, **more)
    return await phraser.word(draft, opened(script()).role, seed="7:0:0", said=frozenset())


async def test_a_wording_that_holds_is_said():
    found = await worded(ScriptedModel(["Hi, could you tell me where my order A-70311 is?"]))
    assert (found.text, found.by) == ("Hi, could you tell me where my order A-70311 is?", "model")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Hi, where is my order A-7031?", "slot"),
        ("Hi, where is my order A-70311 of 249 euros?", "figure"),
        ("Where is order A-70311? How can I help you?", "slip"),
        ("I am waiting for my order A-70311.", "no question"),
        ("What a day! A-70311 is what I say, right?", "subject"),
        ("", "length"),
        ("Where is my order A-70311? " * 20, "length"),
    ],
)
async def test_a_wording_that_does_not_hold_gives_way_to_the_template(said: str, why: str):
    assert objection(DRAFT, said) == why
    found = await worded(ScriptedModel([said]))
    assert (found.text, found.by) == (DRAFT.template, "template")


async def test_a_model_that_fails_leaves_the_word_to_the_template():
    found = await worded(ScriptedModel([Reply(error=ModelUnavailable("down"))]))
    assert (found.text, found.by) == (DRAFT.template, "template")


async def test_a_guided_model_only_chooses_what_stands_around_the_line():
    leads, tails = ("Hi there!", "Hi, a question.", "Good day."), ("", "Thank you!", "Thank you in advance.")
    draft = Draft(core=DRAFT.core, leads=leads, tails=tails, slots=("A-70311",), mood=CAST.mood("friendly"))
    model = ScriptedModel(["Good ... Thank you"])
    found = await worded(model, draft, guided=True)
    assert (found.text, found.by) == ("Good day. Where is my order A-70311? Thank you in advance.", "model")
    assert 'lead ::= "Hi" | "Hi," | "Good"' in model.requests[0].grammar
    assert 'tail ::= "-" | "Thank you!" | "Thank you"' in model.requests[0].grammar
    refused = await worded(ScriptedModel(["Be gone. ... -"]), draft, guided=True)
    assert refused.by == "template"


@pytest.mark.parametrize("mood", CAST.moods)
def test_a_model_can_choose_every_opening_and_every_ending_of_a_mood(mood: str):
    for options in (CAST.mood(mood).opens, CAST.mood(mood).presses, ("", *CAST.mood(mood).tails)):
        assert tuple(cues(options).values()) == options


def test_an_option_that_begins_another_is_written_in_full():
    assert cues(("Thanks.", "Thanks. Bye now.", "Thanks. Bye all.")) == {
        "Thanks.": "Thanks.", "Thanks. Bye now.": "Thanks. Bye now.", "Thanks. Bye all.": "Thanks. Bye all.",
    }  # fmt: skip


async def test_recorded_words_are_said_again_without_a_model():
    found = await worded(ScriptedModel([]), recorded={"7:0:0": "Hi, where is my order A-70311?"})
    assert found.text == "Hi, where is my order A-70311?"


async def test_templates_need_nobody():
    found = await Templates().word(DRAFT, opened(script()).role, seed="x", said=frozenset())
    assert found.text == "Hello. Where is my order A-70311?"


async def test_the_last_word_is_chosen_by_the_model_too():
    mood = CAST.mood("friendly")
    last = Draft(core="", leads=mood.closes, before=mood.closes[0], acts=("close",), mood=mood)
    found = await worded(ScriptedModel(["Many ... -"]), last, guided=True)
    assert (found.text, found.by) == ("Many thanks!", "model")
    freely = await worded(ScriptedModel(["Oh, thank you so very much!"]), last)
    assert (freely.text, freely.by) == ("Oh, thank you so very much!", "model")
    assert (await worded(ScriptedModel(["The tram leaves."]), last)).text == mood.closes[0]
