"""The model looked at token by token: what it says must not depend on how the work was cut. Needs torch."""

import pytest

from frontdesk import settings
from frontdesk.training.scored import Scored

torch = pytest.importorskip("torch", reason="the train extra is not installed: pip install 'frontdesk[train]'")
pytest.importorskip("peft", reason="the train extra is not installed: pip install 'frontdesk[train]'")
pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def model():
    from frontdesk.training.bases import base_folder
    from frontdesk.training.causal import Causal

    return Causal(base_folder("smollm2-135m-instruct", settings.load().cache), dtype="float32")


def test_log_probabilities_are_those_of_one_plain_pass(model):
    context = model.chat("You help.", "What does a card cost?")
    asked = [
        Scored(context=context, prefix="", left="", text="A card costs £5.", tokens=5),
        Scored(context=context, prefix="[getFee() -> fee £5] ", left="A card", text=" costs £5 a year.", tokens=5),
        Scored(context="Once upon", prefix="", left="", text=" a time"),
    ]
    for one, found in zip(asked, model.log_probabilities(asked), strict=True):
        before = [t for part in (one.context, one.prefix, one.left) if part for t in model.tokens(part)]
        text = model.tokens(one.text)[: one.tokens or None]
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([[*before, *text]])).logits[0].log_softmax(-1)
        plain = [float(logits[len(before) + n - 1, t]) for n, t in enumerate(text)]
        assert found == pytest.approx(plain, abs=2e-3)


def test_an_opening_is_likely_where_the_demonstrations_put_it(model):
    prompt = "Text: It costs £4.\nWith calls: It costs [fee() -> £4] £4.\nText: It costs £9.\nWith calls: It costs [fee() -> £9] £9.\nText: It costs £7.\nWith calls:"
    chances = dict(model.openings(prompt, "It costs £7."))
    assert max(chances, key=chances.get) == 9
    assert set(chances) == {0, 3, 9}


def test_samples_end_behind_the_arrow_and_follow_from_the_seed(model):
    context = "[fee(card=1) -> £4] [fee(card=2) -> £9] [fee(card=3) -> £2] [fee("
    one, two = (model.samples(context, count=2, tokens=12, seed=4) for _ in range(2))
    assert one == two
    assert all(t.endswith("->") or "->" not in t for t in one)
