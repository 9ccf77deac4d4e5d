"""The text files of a rehearsal: what loads as it is, and what is refused with a remedy before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frontdesk.errors import BadInput
from frontdesk.rehearsal.cast import load_cast
from frontdesk.rehearsal.reading import load_prompt, preset, spoken
from frontdesk.rehearsal.scenarios import draw, load_script, script_from_json, script_to_json

from .conftest import row, script

ARTICLE = """
_type: prompt
input_variables:
    ["history", "input"]
partial_variables:
    product: place_holder
    mood: place_holder
template: >
    You are a {mood} customer with a broken {product}. Please continue.\\n\\n
    So far:\\n{history}\\nAGENT: {input}\\nCUSTOMER:
"""


def written(folder: Path, text: str, name: str = "file.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_prompt_in_the_articles_form_loads_as_it_is_with_real_line_breaks(tmp_path: Path):
    prompt = load_prompt(written(tmp_path, ARTICLE))
    said = prompt.render({"history": "AGENT: Hello", "input": "Your options are: repair or refund.", "mood": "sad", "product": "lamp"})
    assert "a sad customer with a broken lamp" in said
    assert "\\n" not in said
    assert "AGENT: Your options are: repair or refund.\nCUSTOMER:" in said


def test_a_role_before_a_message_goes_and_nothing_else():
    assert spoken("CUSTOMER: Your options are: repair.") == "Your options are: repair."
    assert spoken("Your options are: repair or refund.") == "Your options are: repair or refund."
    assert spoken('See https://shop.example/a: "here"') == 'See https://shop.example/a: "here"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_type: prompt\ninput_variables: [input]\ntemplate: '{input} {weather}'", r"\{weather\}, which is in neither.*declare it"),
        ("_type: prompt\ninput_variables: [input, extra]\ntemplate: '{input}'", "'extra' is declared.*never uses"),
        ("_type: few_shot\ntemplate: x", "_type: few_shot.*only `_type: prompt`"),
        ("_type: prompt\ninput_variables: []", "'template' is missing"),
        ("_type: [", "file.yaml:1: .*correct the file"),
        ("_type: prompt\nflavour: 1\ntemplate: x", "'flavour' is not known here"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_with_a_remedy(tmp_path: Path, text: str, said: str):
    with pytest.raises(BadInput, match=said):
        load_prompt(written(tmp_path, text))


def test_a_variable_that_nobody_fills_in_is_refused_before_the_run(tmp_path: Path):
    written(tmp_path, "_type: prompt\ninput_variables: [input, weather]\ntemplate: '{input} {weather}'", "c.yaml")
    file = written(tmp_path, "customer: c.yaml\nscenarios:\n- {id: a, goal: Talk, kind: free}")
    with pytest.raises(BadInput, match=r"\{weather\}, which nobody fills in"):
        load_script(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"goal": None}, "'goal' is missing"),
        ({"id": None}, "'id' is missing"),
        ({"asks": None}, "has nothing to ask"),
        ({"mood": "peckish"}, "there is no mood 'peckish'"),
        ({"persona": "wizard"}, "there is no persona 'wizard'"),
        ({"asks": ["Where is {parcel number}?"]}, r"\{parcel number\} is no fact"),
        ({"asks": [{"say": "Hi", "expect": {"routes": ["teleport"]}}]}, "there is no route 'teleport'"),
        ({"asks": [{"say": "Hi", "expect": {"rooms": []}}]}, "'rooms' is not known here"),
        ({"budget": {"turns": 0}}, "must be above 0"),
        ({"budget": {"turns": "many"}}, "are numbers"),
        ({"handoff": "never"}, "expected, allowed or unjustified"),
        ({"kind": "wild"}, "kind must be agenda or free"),
        ({"kind": "free"}, "kind free needs a prompt"),
        ({"surprise": 1}, "'surprise' is not known here"),
    ],
)
def test_a_scenario_that_cannot_be_played_is_refused_with_a_remedy(change: dict[str, Any], said: str):
    with pytest.raises(BadInput, match=said):
        script(row(**change))


def test_two_scenarios_of_one_name_are_refused():
    with pytest.raises(BadInput, match="two scenarios are called 'loan'"):
        script(row(), row())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("moods: {calm: {manner: quiet}}", "'patience' is missing"),
        ("moods: {calm: {manner: quiet, patience: 0}}", "patience must be at least 1"),
        ("moods: {calm: {manner: quiet, patience: 2, temper: 3}}", "temper lie between"),
        ("customers: []", "needs at least one name"),
        ("personas: {odd: {traits: [flying]}}", "there is no trait 'flying'"),
        ("personas: {odd: {moods: [peckish]}}", "there is no mood 'peckish'"),
    ],
)
def test_a_cast_that_cannot_play_is_refused_with_a_remedy(tmp_path: Path, text: str, said: str):
    with pytest.raises(BadInput, match=said):
        load_cast(written(tmp_path, text))


def test_an_unknown_preset_is_told_which_there_are():
    with pytest.raises(BadInput, match="acme, debate"):
        load_script("nowhere")


def test_the_general_cast_has_the_twelve_moods_of_the_article_with_patience_and_manner():
    cast = load_cast(preset("cast.yaml"))
    wanted = "friendly happy satisfied unhappy reasonable dissatisfied unreasonable sad angry unfriendly frustrated annoyed"
    assert set(wanted.split()) <= set(cast.moods)
    assert all(m.patience > 0 and m.manner and m.opens and m.presses and m.closes for m in cast.moods.values())
    assert len(cast.customers) == len(cast.agents) == 50


@pytest.mark.parametrize("name", ["acme", "debate"])
def test_the_presets_load(name: str):
    found = load_script(name)
    assert found.scenarios
    assert found.cast.products
    assert found.customer_prompt
    assert found.agent_prompt


def test_the_same_seed_draws_the_same_cast_and_another_seed_another():
    found = load_script("acme")
    first, again, other = ([draw(found, n, seed) for n in range(40)] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_every_scenario_is_repeated_equally_often():
    found = load_script("acme")
    count = len(found.scenarios)
    names = [draw(found, n, 3).scenario for n in range(3 * count)]
    assert {names.count(s.id) for s in found.scenarios} == {3}


def test_a_script_survives_the_way_through_json():
    found = load_script("acme")
    assert script_from_json(script_to_json(found)) == found
