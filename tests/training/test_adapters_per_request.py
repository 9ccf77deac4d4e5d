"""One base, several adapters: each request gets the one that is bound to its tenant, and nothing of another's."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import ModelRefused, ModelUnavailable
from frontdesk.models.client import ChatClient
from frontdesk.models.local import Adapter, LocalModel
from frontdesk.models.protocols import ChatRequest, complete
from frontdesk.models.scripted import ScriptedModel
from frontdesk.models.tuned import TenantModel, Tuned, TunedModels, drawn, prefixed
from frontdesk.training.data import Voice

QUESTIONS = ("What is the capital of France?", "How do I open an account?")


@asynccontextmanager
async def served(gguf, folder, adapters, **options):
    local = LocalModel(gguf, threads=1, slots=2, context=512, data=folder, adapters=adapters, **options)
    client = ChatClient(
        lambda: local.url, lambda: local.key, "base", first_token=60, between_tokens=60, total=90, slots=2, queue=99, adapters=local.chosen
    )
    await local.start()
    try:
        yield local, client
    finally:
        await client.close()
        await local.stop()


@pytest.fixture(scope="module")
async def two(gguf, adapter_file, tmp_path_factory):
    """A base with the adapters `a` and `b`."""
    adapters = [Adapter(id="a", path=adapter_file(1)), Adapter(id="b", path=adapter_file(2))]
    async with served(gguf, tmp_path_factory.mktemp("two"), adapters) as (_, client):
        yield client


async def said(client: ChatClient, question: str, adapter: str = "", tokens: int = 8) -> str:
    return await complete(client, ChatRequest(messages=[{"role": "user", "content": question}], max_tokens=tokens, adapter=adapter))


@pytest.fixture(scope="module")
async def alone(gguf, adapter_file, tmp_path_factory):
    """What each adapter says in a process of its own, by (question, adapter)."""
    found = {}
    for name, adapters in {"": [], "a": [Adapter(id="a", path=adapter_file(1))], "b": [Adapter(id="b", path=adapter_file(2))]}.items():
        async with served(gguf, tmp_path_factory.mktemp("alone"), adapters) as (_, client):
            for question in QUESTIONS:
                found[question, name] = await said(client, question, name)
    return found


async def test_with_its_adapter_a_tenant_hears_its_own_model_and_without_one_the_base(two, alone):
    assert len({alone[QUESTIONS[0], a] for a in ("", "a", "b")}) == 3
    for (question, adapter), expected in alone.items():
        assert await said(two, question, adapter) == expected


async def test_requests_side_by_side_never_get_the_adapter_of_another(two, alone):
    rng = random.Random(5)
    asked = [(rng.choice(QUESTIONS), rng.choice(["", "a", "b"])) for _ in range(24)]
    answers = await asyncio.gather(*(said(two, *one) for one in asked))
    assert [alone[one] for one in asked] == answers


async def test_an_adapter_that_is_not_loaded_is_refused_instead_of_answered_by_the_base(two):
    with pytest.raises(ModelRefused, match="adapter c is not loaded"):
        await said(two, QUESTIONS[0], "c")


@pytest.mark.parametrize("extra", [{"lora": [{"id": 1, "scale": 1.0}]}, {"model": "b"}])
async def test_extra_fields_choose_no_adapter(two, extra):
    with pytest.raises(ModelRefused, match="chosen by the desk"):
        await complete(two, ChatRequest(messages=[{"role": "user", "content": "x"}], extra=extra))


async def test_a_server_without_adapters_refuses_a_request_for_one():
    client = ChatClient("http://127.0.0.1:9", "", "x", first_token=1, between_tokens=1, total=1, slots=1, queue=1)
    with pytest.raises(ModelRefused, match="holds no adapters"):
        await said(client, "x", "a")


async def test_a_new_adapter_is_taken_up_while_an_answer_is_being_written(gguf, adapter_file, tmp_path, alone):
    adapters = [Adapter(id="a", path=adapter_file(1))]
    async with served(gguf, tmp_path, adapters, drain_seconds=30) as (local, client):
        first = local.pid
        running = asyncio.create_task(said(client, "Tell me a long story about a lighthouse.", "a", tokens=120))
        await asyncio.sleep(0.2)
        await local.use([*adapters, Adapter(id="b", path=adapter_file(2))])
        assert local.pid != first
        assert await said(client, QUESTIONS[0], "b") == alone[QUESTIONS[0], "b"]
        assert await said(client, QUESTIONS[0], "a") == alone[QUESTIONS[0], "a"]
        assert len((await running).split()) > 20


async def test_an_adapter_that_cannot_be_loaded_leaves_the_model_as_it_was(gguf, adapter_file, tmp_path, alone):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF no more")
    async with served(gguf, tmp_path, [Adapter(id="a", path=adapter_file(1))]) as (local, client):
        with pytest.raises(ModelUnavailable):
            await local.use([Adapter(id="broken", path=broken)])
        assert local.loaded == {"a"}
        assert await said(client, QUESTIONS[0], "a") == alone[QUESTIONS[0], "a"]


async def test_an_adapter_whose_file_is_gone_does_not_keep_the_base_from_starting(gguf, tmp_path, alone):
    async with served(gguf, tmp_path, [Adapter(id="gone", path=tmp_path / "gone.gguf")]) as (_, client):
        assert await said(client, QUESTIONS[0]) == alone[QUESTIONS[0], ""]
        with pytest.raises(ModelRefused):
            await said(client, QUESTIONS[0], "gone")


async def test_the_table_gives_a_tenant_its_own_adapter_and_no_other(two, alone):
    models = TunedModels(two)
    models.serve([Tuned(tenant=TenantId("one"), adapter="a", label="faq@1"), Tuned(tenant=TenantId("two"), adapter="b", label="faq@4")])
    assert models.of(TenantId("three"), "c1") is None
    for tenant, adapter in (("one", "a"), ("two", "b")):
        model = models.of(TenantId(tenant), "c1")
        assert "".join([p async for p in model.stream(QUESTIONS[0], max_tokens=8)]) == alone[QUESTIONS[0], adapter]


def test_a_canary_answers_its_share_of_conversations_and_keeps_each_of_them():
    t = TenantId("t")
    tuned = Tuned(tenant=t, adapter="old", label="faq@1"), Tuned(tenant=t, adapter="new", label="faq@2", share=0.2)
    models = TunedModels(ScriptedModel(lambda _: ""))
    models.serve(tuned)
    names = [models.of(t, f"conversation-{n}").name for n in range(2000)]
    assert 0.17 < sum(n.endswith("faq@2") for n in names) / 2000 < 0.23
    assert names == [models.of(t, f"conversation-{n}").name for n in range(2000)]
    assert 0 <= drawn("x") < 1


def test_a_question_is_asked_as_it_was_trained_and_the_answer_shown_without_the_prefix():
    tuned = Tuned(tenant=TenantId("t"), adapter="a", label="l", prefix="In Linden Bank,", system="You help.")
    model = TenantModel(ScriptedModel(lambda _: ""), tuned)
    request = model.request("What does  a card\ncost?")
    assert request.messages == [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "In Linden Bank, What does a card cost?"},
    ]
    assert model.bare("In Linden Bank, a card costs £5.") == "A card costs £5."
    assert prefixed("In X, ", "I lost it") == "In X, I lost it"
    assert prefixed("", "I lost it") == "I lost it"


def test_the_server_asks_as_the_data_builder_wrote():
    voice = Voice(company="Linden Bank")
    tuned = Tuned(
        tenant=TenantId("t"), adapter="a", label="l", prefix=voice.prefix.format(company=voice.company), system=voice.system_prompt
    )
    assert tuple(TenantModel(ScriptedModel(lambda _: ""), tuned).request("Do you have a branch?").messages) == voice.ask(
        "Do you have a branch?"
    )
