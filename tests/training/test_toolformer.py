"""Toolformer's steps, each held to the paper, without torch: the model is a stand-in that gives the numbers."""

from datetime import date
from pathlib import Path

import pytest

from frontdesk.domain.knowledge import FaqPair
from frontdesk.errors import BadInput
from frontdesk.tools.inline import Inline, parse
from frontdesk.tools.operation import Argument, Effect, Operation, Place
from frontdesk.training import toolformer
from frontdesk.training.toolformer import Candidate, Knobs
from frontdesk.training.toolformer_filter import Losses, weighted_loss, weights
from frontdesk.training.toolformer_prompts import annotated, from_catalog, prompt_for, read_head, relevance
from frontdesk.training.toolformer_texts import Text, dry_run, normalised, places, texts_from_catalog, texts_from_faq

TODAY = date(2026, 11, 20)


def argument(name, **schema):
    return Argument(name=name, where=Place.QUERY, required=True, schema=schema, description=f"The {name}.")


FERRY = Operation(
    name="getFare",
    summary="Get the fare of a crossing",
    description="What a crossing costs for a number of passengers.",
    arguments=(
        argument("port", type="string", enum=["Arran", "Mull", "Skye"]),
        argument("passengers", type="integer", minimum=1, maximum=9),
    ),
    response={
        "type": "object",
        "properties": {"fare": {"type": "number", "x-currency": "GBP"}, "departure": {"type": "string", "format": "date"}},
    },
)
CABIN = Operation(
    name="bookCabin",
    summary="Book a cabin",
    method="post",
    effect=Effect.WRITE,
    arguments=(argument("port", type="string", enum=["Arran", "Mull", "Skye"]),),
)
MUTE = Operation(name="getWeather", summary="Get the weather")
TOOLS = {o.name: o for o in (FERRY, CABIN, MUTE)}
TEXT = Text(
    id="t1", question="What is the fare to Mull for 3 passengers?", text="The fare is £41.00 today.", source="catalog", about="getFare"
)


class Stand:
    """Gives the log-probabilities that a function names for each thing asked."""

    def __init__(self, score=lambda _: -1.0, openings=(), writes=()):
        self.score, self._openings, self._writes = score, openings, writes
        self.asked = []

    def chat(self, system, question):
        return f"<{system[:3]}|{question}>"

    def log_probabilities(self, wanted):
        self.asked += wanted
        return [[self.score(one)] * one.tokens for one in wanted]

    def openings(self, prompt, text):
        return list(self._openings)

    def samples(self, context, *, count, tokens=48, seed=0):
        return list(self._writes)[:count]


def candidate(**values):
    return Candidate(
        **{"text": "t1", "place": 12, "name": "getFare", "arguments": {"port": "Mull", "passengers": 3}, "source": "catalog", **values}
    )


# --- the filter ---


def test_the_weights_are_those_of_the_paper():
    assert [round(w, 3) for w in weights(8)] == [0.333, 0.267, 0.2, 0.133, 0.067, 0.0, 0.0, 0.0]
    assert sum(weights(8)) == pytest.approx(1)


def test_with_fewer_tokens_left_the_weights_still_sum_to_one():
    assert weights(2) == pytest.approx([1 / 1.8, 0.8 / 1.8])
    assert weights(0) == []


def test_the_loss_weighs_the_nearest_token_most():
    assert weighted_loss([-3, 0, 0, 0, 0]) == pytest.approx(1.0)
    assert weighted_loss([0, 0, 0, 0, -3]) == pytest.approx(0.2)
    assert weighted_loss([-2.0] * 9) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("nothing", "call", "result", "gain"),
    [  # measured on a 135M model: three useful calls, a useless one, a wrong one
        (1.057, 1.467, 0.483, 0.574),
        (1.967, 1.708, 0.258, 1.450),
        (2.391, 2.466, 0.244, 2.147),
        (1.752, 1.667, 1.713, -0.046),
        (1.057, 1.348, 1.378, -0.321),
    ],
)
def test_a_gain_is_measured_against_the_better_of_nothing_and_the_bare_call(nothing, call, result, gain):
    losses = Losses(nothing=nothing, call=call, result=result)
    assert losses.gain == pytest.approx(gain, abs=1e-3)
    assert losses.kept(0.5) == (gain >= 0.5)
    assert losses.kept(1.0) == (gain >= 1.0)


def test_the_call_stands_before_the_whole_text_and_five_tokens_behind_its_place_count():
    model = Stand(lambda one: -0.5 if "£41.00]" in one.prefix else -2.0)
    kept, judged, figures = toolformer.filtered([candidate(result="fare £41.00")], {"t1": TEXT}, model, Knobs())
    bare, full, nothing = model.asked
    assert full.prefix == '[getFare(port="Mull", passengers=3) -> fare £41.00] '
    assert bare.prefix == '[getFare(port="Mull", passengers=3) -> ] '
    assert nothing.prefix == ""
    assert {(one.left, one.text, one.tokens) for one in model.asked} == {("The fare is", " £41.00 today.", 5)}
    assert judged[0].losses == pytest.approx({"nothing": 2.0, "call": 2.0, "result": 0.5, "gain": 1.5})
    assert [c.name for c in kept] == ["getFare"]
    assert (figures["kept at 0.5"], figures["kept at 1"], figures["kept at 2"]) == (1, 1, 0)
    assert figures["right operation among kept"] == 1.0


def test_the_loss_of_nothing_is_worked_out_once_per_place():
    model = Stand()
    several = [candidate(result="a"), candidate(name="bookCabin", arguments={"port": "Mull"}, result="b"), candidate(place=0, result="a")]
    toolformer.filtered(several, {"t1": TEXT}, model, Knobs(), batch=2)
    assert sum(one.prefix == "" for one in model.asked) == 2


def test_of_several_calls_at_one_place_the_best_is_kept():
    judged = [candidate(losses={"gain": 1.2}), candidate(name="bookCabin", losses={"gain": 2.0}), candidate(place=0, losses={"gain": 0.4})]
    assert [c.name for c in toolformer.best_of(judged, 1.0)] == ["bookCabin"]


# --- annotating and sampling ---


def test_a_prompt_is_made_from_the_catalog_with_calls_of_the_serving_grammar():
    prompt = prompt_for(FERRY, today=TODAY)
    assert "Get the fare of a crossing. What a crossing costs" in prompt
    calls = [p for p in parse(prompt) if isinstance(p, Inline)]
    assert len(calls) >= 3
    assert all(set(c.call.arguments) == {"port", "passengers"} and c.result.startswith("fare £") for c in calls)
    assert prompt == prompt_for(FERRY, today=TODAY)


def test_only_texts_that_may_be_about_a_tool_are_shown_to_its_prompt():
    other = Text(id="t2", question="Who owns you?", text="A cooperative does.", source="faq")
    assert relevance(FERRY, TEXT)
    assert not relevance(FERRY, other)
    assert [(r["text"], r["operation"]) for r in toolformer.annotate([TEXT, other], [FERRY], today=TODAY)] == [("t1", "getFare")]


def test_at_most_k_places_over_tau_s_are_taken():
    openings = [(0, 0.02), (4, 0.3), (9, 0.06), (12, 0.42), (19, 0.05)]
    assert toolformer.chosen_places(openings, tau_s=0.05, k=5) == [(4, 0.3), (9, 0.06), (12, 0.42)]
    assert toolformer.chosen_places(openings, tau_s=0.05, k=2) == [(4, 0.3), (12, 0.42)]
    assert len(toolformer.chosen_places(openings, tau_s=0.0, k=20)) == 5


def test_what_the_model_samples_counts_when_it_parses_and_fits_the_schema():
    writes = ['port="Mull", passengers=3) ->', 'port="Mull", passengers=3) ->', 'port="Rum", passengers=3) ->', "Mull) ->", 'port="Mull"']
    model = Stand(openings=[(12, 0.4), (0, 0.01)], writes=writes)
    rows = toolformer.annotate([TEXT], [FERRY], today=TODAY)
    found, figures = toolformer.sample(rows, {"t1": TEXT}, TOOLS, model, Knobs())
    assert [(c.place, c.arguments, c.source, c.chance) for c in found] == [(12, {"port": "Mull", "passengers": 3}, "model", 0.4)]
    assert (figures["calls sampled"], figures["calls that parse"], figures["calls that fit"]) == (5, 3, 2)


def test_an_annotator_that_changes_the_text_is_not_believed():
    good = 'The fare is [getFare(port="Mull", passengers=3)] £41.00 today.'
    assert annotated(TEXT.text, good, ["getFare"]) == [(12, read_head(good, ["getFare"]))]
    assert annotated(TEXT.text, good.replace("£41.00", "£42.00"), ["getFare"]) == []
    assert annotated(TEXT.text, good, ["bookCabin"]) == []


async def test_an_endpoint_annotates_with_the_same_prompt():
    prompts = []

    async def ask(prompt):
        prompts.append(prompt)
        return ' The fare is [getFare(port="Mull", passengers=3) -> £9] £41.00 today.\nQuestion: more'

    rows = toolformer.annotate([TEXT], [FERRY], today=TODAY)
    found, _ = await toolformer.sample_from_endpoint(rows, {"t1": TEXT}, TOOLS, ask)
    assert [(c.place, c.source) for c in found] == [(12, "endpoint")]
    assert prompts[0].endswith("Text: The fare is £41.00 today.\nWith calls:")


def test_candidates_from_the_catalog_do_not_know_which_operation_is_right():
    found, figures = toolformer.sample_from_catalog([TEXT], [FERRY, CABIN], Knobs(), today=TODAY)
    assert {c.name for c in found} == {"getFare", "bookCabin"}
    assert {TEXT.text[c.place : c.place + 1] for c in found} == {"£"}
    assert figures["calls that fit"] == 2
    assert from_catalog(FERRY, Text(id="x", question="What is the fare to Mull?", text="", source="x"), today=TODAY) is None


# --- executing ---


async def test_an_operation_that_acts_is_never_carried_out():
    called = []

    async def read(operation, arguments):
        called.append(operation.name)
        return {"fare": 41.0, "departure": "2026-12-01"}

    both = [candidate(), candidate(place=0), candidate(name="bookCabin", arguments={"port": "Mull"})]
    done, figures = await toolformer.execute(both, TOOLS, today=TODAY, read=read)
    assert called == ["getFare"]
    assert [c.result for c in done][:2] == ["fare £41; departure 1 December 2026"] * 2
    assert done[2].result.startswith("confirmation BO-")
    assert (figures["distinct calls"], figures["read"], figures["dry run"]) == (2, 1, 1)


async def test_a_call_without_a_result_is_dropped():
    async def read(operation, arguments):
        return None

    assert (await toolformer.execute([candidate()], TOOLS, today=TODAY, read=read))[0] == []
    assert (await toolformer.execute([candidate(name="getWeather", arguments={})], TOOLS, today=TODAY))[0] == []


def test_a_dry_run_answers_the_same_for_the_same_arguments_in_the_form_of_the_schema():
    one = dry_run(FERRY, {"port": "Mull", "passengers": 3}, today=TODAY)
    assert one == dry_run(FERRY, {"passengers": 3.0, "port": "Mull"}, today=TODAY)
    assert one != dry_run(FERRY, {"port": "Mull", "passengers": 4}, today=TODAY)
    assert set(one) == {"fare", "departure"}
    assert normalised(FERRY, {}, {"fare": 3418.9, "departure": "2026-12-01"}) == "fare £3,418.90; departure 1 December 2026"


# --- texts and the dataset ---


def test_a_text_from_the_catalog_says_what_a_dry_run_answers():
    texts = texts_from_catalog([FERRY, CABIN, MUTE], count=20, seed=3, today=TODAY)
    assert {t.about for t in texts} == {"getFare", "bookCabin"}
    assert texts == texts_from_catalog([FERRY, CABIN, MUTE], count=20, seed=3, today=TODAY)
    for text in texts:
        result = normalised(TOOLS[text.about], text.arguments, dry_run(TOOLS[text.about], text.arguments, today=TODAY))
        assert result.split("; ")[0].split(" ", 1)[1] in text.text
        assert list(places(text.text))


def test_faq_pairs_are_texts_as_well():
    (text,) = texts_from_faq([FaqPair(question="Pets?", answer="Dogs  travel free.")], count=5, seed=0)
    assert (text.question, text.text, text.source) == ("Pets?", "Dogs travel free.", "faq")


def test_the_fine_tuning_text_holds_calls_and_results_and_results_are_not_learnt():
    one = candidate(result="fare £41.00", losses={"gain": 1.5})
    (row,) = toolformer.dataset([one], {"t1": TEXT})
    assert row["pieces"] == [
        ['The fare is [getFare(port="Mull", passengers=3) ->', True],
        [" fare £41.00]", False],
        [" £41.00 today.", True],
    ]
    sample = toolformer.to_sample(row, lambda system, question: f"<{question}>", "<end>")
    assert sample.pieces[0] == (f"<{TEXT.question}>", False)
    assert sample.pieces[-1] == ("<end>\n", True)
    whole = "".join(text for text, _ in sample.pieces[1:-1])
    assert [p.result for p in parse(whole) if isinstance(p, Inline)] == ["fare £41.00"]


def test_of_several_calls_in_a_text_the_best_are_taken_in_order():
    calls = [candidate(place=12, result="a", losses={"gain": 1.0}), candidate(place=0, result="b", losses={"gain": 2.0})]
    (one,) = toolformer.dataset(calls, {"t1": TEXT})
    (both,) = toolformer.dataset(calls, {"t1": TEXT}, most=2)
    assert (len(one["calls"]), len(both["calls"])) == (1, 2)
    assert [p[0] for p in both["pieces"]][1::2] == [" b]", " a]"]


def test_a_text_whose_calls_were_all_filtered_out_is_dropped():
    assert toolformer.dataset([], {"t1": TEXT}) == []


@pytest.mark.parametrize(
    ("reply", "valid", "right"),
    [
        ('The fare is [getFare(port="Mull", passengers=3) ->', True, True),
        ('[bookCabin(port="Mull") ->', True, False),
        ('[getFare(port="Rum", passengers=3) ->', False, False),
        ("[getFare(Mull) ->", False, False),
        ("The fare is £41.", False, False),
    ],
)
def test_what_a_model_writes_without_a_grammar_is_judged_by_the_strict_one(reply, valid, right):
    written = toolformer.judged_reply(TEXT, reply, TOOLS)
    assert (written.valid, written.right) == (valid, right)


def test_rows_that_cannot_be_read_are_named(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a"')
    with pytest.raises(BadInput, match=r"x\.jsonl:2: not a line of JSON"):
        toolformer.read_rows(tmp_path / "x.jsonl")
    with pytest.raises(BadInput, match="run the step before"):
        toolformer.read_rows(tmp_path / "y.jsonl")
