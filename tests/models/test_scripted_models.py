"""The models that tests of other rooms use keep the promises of real ones."""

import pytest
from tests.conformance.embedder import EmbedderConformance
from tests.conformance.language_model import LanguageModelConformance, asked

from frontdesk.errors import ModelUnavailable
from frontdesk.models.protocols import complete
from frontdesk.models.scripted import HashEmbedder, Reply, ScriptedModel


class TestScriptedModel(LanguageModelConformance):
    @pytest.fixture
    def model(self):
        return ScriptedModel(lambda request: f"You said: {request.messages[-1]['content']} And more.")

    async def test_closed_answers_leave_nothing_running(self, model):
        await self.test_an_answer_that_is_closed_early_leaves_the_model_usable(model)
        assert model.active == 0


class TestHashEmbedder(EmbedderConformance):
    @pytest.fixture
    def embedder(self):
        return HashEmbedder()


async def test_answers_come_in_turn_and_then_end_clearly():
    model = ScriptedModel(["first", Reply(text="second")])
    assert [await complete(model, asked("x")) for _ in range(2)] == ["first", "second"]
    with pytest.raises(ModelUnavailable, match="only 2 answers"):
        await complete(model, asked("x"))


async def test_a_scripted_failure_comes_after_its_text():
    model = ScriptedModel([Reply(text="half an", error=ModelUnavailable("gone"))])
    pieces = model.stream(asked("x"))
    assert [await anext(pieces), await anext(pieces)] == ["half ", "an"]
    with pytest.raises(ModelUnavailable, match="gone"):
        await anext(pieces)


async def test_a_stop_text_ends_the_answer():
    assert await complete(ScriptedModel(["one\ntwo"]), asked("x", stop=("\n",))) == "one"
