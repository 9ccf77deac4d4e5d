"""The sentiment head: what it hears, that it never stumbles, and that it is as quick as it must be."""

from __future__ import annotations

import time

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontdesk.analytics.sentiment import LABELS, ByClassifier, ByModel, Sentiment, terms_of, trend
from frontdesk.analytics.service import Analytics
from frontdesk.errors import BadInput, ModelUnavailable
from frontdesk.models.scripted import HashEmbedder, ScriptedModel


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is the third time it broke, I am really angry", "negative"),
        ("That didn't help at all", "negative"),
        ("Where is my order?", "neutral"),
        ("I would like to cancel my booking", "neutral"),
        ("Thank you so much, that was quick!", "positive"),
        ("Vielen Dank, perfekt", "positive"),
        ("Das ist eine Frechheit", "negative"),
    ],
)
async def test_it_hears_what_people_hear(minilm, head, text, label):
    assert (await head.read([text], minilm))[0].label == label


async def test_a_plain_report_of_a_fault_is_calmer_than_the_same_fault_again(minilm, head):
    calm, upset = await head.read(["The parcel is damaged. How do I make a claim?", "Damaged AGAIN. I've had enough of this!"], minilm)
    assert upset.score < calm.score - 0.15


async def test_another_embedder_is_heard_by_words_alone(head):
    assert not head.fits(HashEmbedder())
    (tone,) = await head.read(["thank you, wonderful"], HashEmbedder())
    assert tone.label == "positive"


@pytest.mark.parametrize("text", ["", " ", "\n", "\ufffd", "\u200b"])
def test_nothing_said_is_neutral(head, text):
    assert head.of([text])[0].label == "neutral"


@given(st.lists(st.text(max_size=300), max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_text_has_a_tone_in_range(texts):
    for tone in Sentiment.load().of(texts) if texts else ():
        assert tone.label in LABELS
        assert -1 <= tone.score <= 1


def test_a_negation_turns_the_words_after_it_and_no_further():
    assert {"~good"} <= set(terms_of("it is not good"))
    assert "~fine" not in terms_of("not now, fine")


def test_the_head_survives_being_stored_and_refuses_what_is_none(head):
    again = Sentiment.from_bytes(head.to_bytes())
    assert again.of(["I am furious"]) == head.of(["I am furious"])
    with pytest.raises(BadInput, match="sentiment_head"):
        Sentiment.from_bytes(b"PK no archive")
    with pytest.raises(BadInput, match="leave them out"):
        head.of(["a"], np.zeros((1, 7), np.float32))


def test_the_head_says_how_it_was_made(head):
    assert head.facts["figures"]["goemotions_dev"]["macro_f1"] >= 0.62
    assert "GoEmotions" in head.facts["data"]


def test_two_thousand_utterances_take_less_than_a_second(head):
    texts = [f"I have been waiting for order {n} for {n % 9} days and nobody answers" for n in range(2000)]
    vectors = np.zeros((2000, 384), np.float32)
    head.of(texts[:10], vectors[:10])
    start = time.process_time()
    head.of(texts, vectors)
    assert time.process_time() - start < 1.0


def test_a_conversation_that_turns_has_a_turning_point_and_a_short_one_has_none():
    turned = trend([0.8, 0.7, 0.8, -0.6, -0.7, -0.8])
    assert (turned.turning_point, turned.direction) == (3, "worse")
    assert trend([0.1, 0.1, 0.0, 0.1, 0.1]).turning_point is None
    assert trend([]).direction == trend([-1.0]).direction == trend([1.0, -1.0]).direction == "steady"


def test_a_conversation_of_ten_thousand_turns_has_a_trend_at_once():
    scores = [0.5] * 5000 + [-0.5] * 5000
    assert trend(scores).turning_point == 5000


async def test_a_language_model_may_judge_and_where_it_talks_nonsense_the_head_does(head):
    model = ScriptedModel(['{"label": "positive", "score": 0.4}', "well, hmm"])
    first, second = await ByModel(model, head).read(["ok", "This is terrible, I am angry"], HashEmbedder())
    assert (first.label, first.score, second.label) == ("positive", 0.4, "negative")


async def test_a_classification_server_may_judge_and_a_foreign_answer_is_a_clear_error():
    def answer(request: httpx.Request) -> httpx.Response:
        if b"odd" in request.content:
            return httpx.Response(200, json=[[{"label": "sports", "score": 1.0}]])
        return httpx.Response(200, json=[[{"label": "LABEL_0", "score": 0.9}, {"label": "LABEL_1", "score": 0.1}]])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        served = ByClassifier("http://127.0.0.1:1", http)
        assert (await served.read(["bad"], HashEmbedder()))[0].label == "negative"
        with pytest.raises(ModelUnavailable, match="check its address"):
            await served.read(["odd"], HashEmbedder())


def test_a_setting_chooses_who_listens_and_nonsense_is_refused(store):
    model = ScriptedModel([])
    assert isinstance(Analytics(store, {}, model=model, sentiment="model").analyst._sentiment, ByModel)
    assert isinstance(Analytics(store, {}, sentiment="http://127.0.0.1:9").analyst._sentiment, ByClassifier)
    with pytest.raises(BadInput, match="FRONTDESK_SENTIMENT"):
        Analytics(store, {}, sentiment="loud")
