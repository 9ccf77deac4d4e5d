"""One chat client against servers that behave well, badly and not at all."""

import asyncio
import time
from contextlib import aclosing

import pytest
from tests.conformance.language_model import LanguageModelConformance, asked

from frontdesk.errors import ModelUnavailable, TooBusy
from frontdesk.models.protocols import complete


class TestClientOfLlamaCpp(LanguageModelConformance):
    @pytest.fixture
    def model(self, local_client):
        return local_client

    async def test_a_grammar_confines_the_answer(self, model):
        assert await complete(model, asked("Is water wet?", grammar='root ::= "yes" | "no"')) in ("yes", "no")

    async def test_a_schema_confines_the_answer(self, model):
        schema = {
            "type": "object",
            "properties": {"kind": {"enum": ["fruit", "tool"]}},
            "required": ["kind"],
            "additionalProperties": False,
        }
        answer = await complete(model, asked("What is a hammer? Answer in JSON.", json_schema=schema, max_tokens=60))
        assert "".join(answer.split()) in ('{"kind":"fruit"}', '{"kind":"tool"}')

    async def test_half_a_surrogate_pair_does_no_harm(self, model):
        assert await complete(model, asked("broken \ud83d text"))

    async def test_a_prompt_beyond_the_context_is_refused_with_the_servers_reason(self, model):
        with pytest.raises(ModelUnavailable, match=r"HTTP 400 .*context"):
            await complete(model, asked("word " * 3000))
        assert not model.breaker.open

    async def test_a_server_that_works_passes_the_check(self, model):
        await model.check()


async def test_a_good_answer_comes_in_its_pieces(client_of):
    assert [piece async for piece in client_of("good").stream(asked("x"))] == ["one ", "two ", "three"]


async def test_the_request_carries_what_was_asked(client_of, stub):
    request = asked(
        "x", grammar="root ::= [a-z]", json_schema={"type": "object"}, stop=("\n",), seed=3, extra={"tools": [{"type": "function"}]}
    )
    await complete(client_of("good"), request)
    body = stub.bodies[-1]
    assert body["grammar"] == "root ::= [a-z]"
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (body["stop"], body["seed"], body["stream"], body["tools"]) == (["\n"], 3, True, [{"type": "function"}])
    assert "Bearer good-key" in stub.headers[-1]


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("silent", r"began no answer within 0.3 s"),
        ("late-first-token", r"began no answer within 0.3 s"),
        ("stall", r"fell silent for 0.3 s"),
        ("drip", r"took longer than 1 s"),
        ("500", r"failed with HTTP 500 \(we say 500\)"),
        ("401", r"refused the key: check FRONTDESK_LLM_KEY"),
        ("403", r"refused the key: check FRONTDESK_LLM_KEY"),
        ("404", r"no such address or model \(we say 404\): check FRONTDESK_LLM_URL and FRONTDESK_LLM_MODEL"),
        ("400", r"refused the request with HTTP 400 \(we say 400\)"),
        ("garbage", r"something else than chat chunks"),
        ("other-json", r"something else than chat chunks"),
        ("endless-line", r"something else than chat chunks"),
        ("hang-up", r"broke off in the middle"),
        ("hang-up-at-once", r"broke the connection"),
        ("error-chunk", r"failed in the middle of an answer \(out of memory\)"),
    ],
)
async def test_each_misbehaviour_ends_soon_in_one_clear_sentence(client_of, behaviour, sentence):
    timed = " s" in sentence  # the others may take as long as a busy machine needs, and must not look like a slow server
    client = client_of(behaviour) if timed else client_of(behaviour, first_token=30.0, between_tokens=30.0, total=60.0)
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match=sentence):
        await complete(client, asked("x"))
    assert time.monotonic() - began < 10.0
    assert client.admission.inside == 0, "the slot is free again"


async def test_a_server_that_is_full_reads_as_busy_with_its_own_hint(client_of):
    with pytest.raises(TooBusy) as caught:
        await complete(client_of("429"), asked("x"))
    assert caught.value.retry_after == 7


async def test_a_server_that_is_not_there_is_unavailable_at_once(client_of):
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"cannot be reached"):
        await complete(client_of("good", url="http://127.0.0.1:9", first_token=30.0, total=60.0), asked("x"))
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("url", ["", "not an address", "ftp://elsewhere"])
async def test_an_address_that_is_none_says_so(client_of, url):
    with pytest.raises(ModelUnavailable):
        await complete(client_of("good", url=url), asked("x"))


async def test_a_base_address_may_end_in_v1(client_of, stub):
    assert await complete(client_of("good", url=f"{stub.url}/v1/"), asked("x")) == "one two three"


async def test_address_and_key_are_asked_for_at_each_call(client_of, stub):
    keys = iter(["first-key", "second-key"])
    client = client_of("good", url=lambda: stub.url, key=lambda: next(keys))
    for _ in range(2):
        await complete(client, asked("x"))
    assert "first-key" in stub.headers[-2]
    assert "second-key" in stub.headers[-1]


async def test_closing_the_iterator_cancels_the_work_upstream(client_of, stub):
    client = client_of("drip", total=30)
    async with aclosing(client.stream(asked("x"))) as pieces:
        async for _ in pieces:
            break
    assert await asyncio.wait_for(stub.left.get(), 10) == "drip"
    assert client.admission.inside == 0


@pytest.mark.parametrize("behaviour", ["silent", "drip"])
async def test_cancelling_the_task_cancels_the_work_upstream_and_frees_the_slot(client_of, stub, behaviour):
    client = client_of(behaviour, first_token=30, total=30)
    task = asyncio.create_task(complete(client, asked("x")))
    async with asyncio.timeout(10):
        while not stub.open:
            await asyncio.sleep(0.01)
    assert client.admission.inside == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(stub.left.get(), 10) == behaviour
    assert client.admission.inside == 0
    assert not client.breaker.open


async def test_a_burst_beyond_slots_and_queue_is_refused_at_once(client_of, stub):
    client = client_of("silent", slots=2, queue=2, first_token=30.0, total=60.0)
    tasks = [asyncio.create_task(complete(client, asked("x"))) for _ in range(50)]
    async with asyncio.timeout(10):  # at once: long before the model's half a minute
        while stub.most_open < 2 or sum(task.done() for task in tasks) < 46:
            await asyncio.sleep(0.01)
    done = [task for task in tasks if task.done()]
    assert len(done) == 46
    assert all(isinstance(task.exception(), TooBusy) for task in done)
    assert client.admission.waiting == 2
    assert stub.most_open == 2
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert client.admission.inside == 0


async def test_a_call_that_waits_too_long_for_a_slot_reads_as_busy(client_of):
    client = client_of("drip", slots=1, first_token=1.0, total=30)
    first = asyncio.create_task(complete(client, asked("x")))
    await asyncio.sleep(0.05)
    with pytest.raises(TooBusy):
        await complete(client, asked("x"))
    first.cancel()


async def test_five_failures_in_a_row_open_the_breaker_and_one_success_closes_it(client_of, stub):
    now = [0.0]
    client = client_of("500", clock=lambda: now[0])
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="HTTP 500"):
            await complete(client, asked("x"))
    asked_so_far = len(stub.bodies)
    with pytest.raises(ModelUnavailable, match="failed 5 times in a row"):
        await complete(client, asked("x"))
    assert len(stub.bodies) == asked_so_far, "nothing was sent"
    now[0] = 5.1
    client.name = "good"
    assert await complete(client, asked("x")) == "one two three"
    assert not client.breaker.open


async def test_only_one_call_tries_a_server_that_failed(client_of, stub):
    now = [0.0]
    client = client_of("500", clock=lambda: now[0], slots=10)
    for _ in range(5):
        with pytest.raises(ModelUnavailable):
            await complete(client, asked("x"))
    now[0] = 5.1
    before = len(stub.bodies)
    await asyncio.gather(*(complete(client, asked("x")) for _ in range(8)), return_exceptions=True)
    assert len(stub.bodies) == before + 1


async def test_refusals_and_departures_do_not_open_the_breaker(client_of):
    client = client_of("400")
    for _ in range(7):
        with pytest.raises(ModelUnavailable, match="HTTP 400"):
            await complete(client, asked("x"))
    assert not client.breaker.open


async def test_a_consumer_that_takes_its_time_is_not_the_servers_delay(client_of):
    client = client_of("good", first_token=30.0, between_tokens=0.4, total=60)
    pieces = []
    async for piece in client.stream(asked("x")):
        pieces.append(piece)
        await asyncio.sleep(0.6)
    assert len(pieces) == 3


async def test_the_check_names_a_wrong_key(client_of):
    await client_of("good").check()
    with pytest.raises(ModelUnavailable, match="FRONTDESK_LLM_KEY"):
        await client_of("good", key="bad").check()
