"""A real Apache Kafka broker: the same outcomes as in one process, and services killed in the middle lose nothing and say nothing twice."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import ReplySent
from frontdesk.errors import BadInput, Unavailable
from frontdesk.rehearsal.commands import Wanted
from frontdesk.rehearsal.fleet import Fleet
from frontdesk.rehearsal.running import Run
from frontdesk.rehearsal.scenarios import Script, draw, script_to_json
from frontdesk.rehearsal.talk import begin
from frontdesk.settings import Settings
from frontdesk.store.store import Store, TenantStore

from .conftest import LOAN, rehearsal

services = pytest.importorskip("frontdesk.rehearsal.services", reason="the kafka extra is not installed: pip install 'frontdesk[kafka]'")
from frontdesk.rehearsal.starting import openings, rehearse_over  # noqa: E402

from .broker import Reader, kill_broker, missing, replicas, start_broker, stop_broker, until  # noqa: E402

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
COUNT = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if lacking := missing():
        warnings.warn(f"KAFKA TESTS ARE SKIPPED: {lacking} missing on this machine", stacklevel=1)
        pytest.skip(f"no broker can be started: {lacking} missing")
    port = free_port()
    try:
        yield start_broker(port)
    finally:
        stop_broker(port)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def outcomes(space: TenantStore, run: str) -> dict[int, Any]:
    found = {}
    async for row in space.rehearsals.talks(run):
        lines = [(line["role"], line["text"]) for line in row.talk["lines"]]
        found[row.number] = (row.outcome, row.passed, row.talk["outcome"]["evidence"], lines)
    return found


async def alone(space: TenantStore, of: Script, count: int) -> dict[int, Any]:
    fleet = Fleet(rehearsal=rehearsal(of), rehearsals=space.rehearsals, run=f"{space.tenant}.alone", seed=7, count=count)
    await fleet.start({"script": script_to_json(of), "seed": 7})
    await fleet.go()
    return await outcomes(space, fleet.run)


async def test_services_killed_under_load_lose_nothing_and_say_nothing_twice(
    address: str, tenant_store: TenantStore, database_url: str, loans: Script, tmp_path: Path
):
    expected = await alone(tenant_store, loans, COUNT)
    broker, run = services.Broker(address=address, prefix="k-"), f"{tenant_store.tenant}.streamed"
    await tenant_store.rehearsals.begin(run, {"script": script_to_json(loans), "seed": 7}, COUNT)
    names = [s for s in services.SERVICES for _ in range(2)]

    def stream() -> list[Any]:
        with replicas(broker, tmp_path, names, database_url) as running:
            for first in range(0, COUNT, 15):
                services.publish(broker, openings(loans, run, range(first, first + 15), 7))
                name = services.SERVICES[first // 15]
                running.kill(name)
                running.start(name)
            reader = Reader(broker, "chat-messages")
            said = reader.until(lambda found: len({m["id"] for m in found if m["role"] == "end"}) == COUNT, 120.0)
            reader.close()
            recorded.wait(60.0)
            return said

    recorded = threading.Event()
    streaming = asyncio.create_task(asyncio.to_thread(stream))
    while not streaming.done() and len(await tenant_store.rehearsals.ended(run)) < COUNT:
        await asyncio.sleep(0.2)
    recorded.set()
    said = await streaming
    assert await outcomes(tenant_store, run) == expected
    assert (await Run.stored(_Of(tenant_store), run)).summary["conversations"] == COUNT
    per = {m["id"]: m["line"]["text"] for m in said if m["role"] in ("customer", "agent")}
    assert sum(len(lines) for _, _, _, lines in expected.values()) == len(per)


def test_a_broker_that_is_killed_and_comes_back_has_lost_no_message_and_every_conversation_ends(loans: Script, tmp_path: Path):
    if lacking := missing():
        pytest.skip(f"no broker can be started: {lacking} missing")
    port = free_port()
    broker = services.Broker(address=start_broker(port), prefix="a-")
    try:
        with replicas(broker, tmp_path, ["customer", "agent", "customer", "agent"]):
            services.publish(broker, openings(loans, "acme.away", range(20), 7))
            kill_broker(port)
            time.sleep(10.0)  # longer than a replica may be silent
            assert start_broker(port) == broker.address
            reader = Reader(broker, "chat-messages")
            said = reader.until(lambda found: len({m["id"] for m in found if m["role"] == "end"}) == 20, 120.0)
            reader.close()
    finally:
        stop_broker(port)
    lines: dict[str, dict[str, str]] = {}
    for message in (m for m in said if m["role"] in ("customer", "agent")):
        lines.setdefault(message["conversation"], {})[message["id"]] = message["line"]["text"]
    for number in range(20):
        part = draw(loans, number, 7)
        talk = asyncio.run(rehearsal(loans).whole(begin("acme.away", part, loans.scenario(part.scenario))))
        assert sorted(lines[talk.id].values()) == sorted(line.text for line in talk.lines)


class _Of:
    """A store that has one tenant."""

    def __init__(self, space: TenantStore) -> None:
        self._space = space

    def for_tenant(self, _tenant: Any) -> TenantStore:
        return self._space


def test_foreign_messages_become_dead_letters_and_the_service_goes_on(address: str, loans: Script, tmp_path: Path):
    from confluent_kafka import Producer

    broker = services.Broker(address=address, prefix="f-")
    with replicas(broker, tmp_path, ["customer", "agent"]):
        producer = Producer({"bootstrap.servers": address})
        producer.produce(broker.name("chat-messages"), b"what is this?", key=None)
        producer.produce(broker.name("chat-messages"), b'{"role":"none"}', key=b"x")
        producer.flush(10)
        services.publish(broker, openings(loans, "acme.r1", range(2), 7))
        letters, ends = Reader(broker, "chat-messages-dead"), Reader(broker, "chat-messages")
        assert len(ends.until(lambda found: sum(m.get("role") == "end" for m in _ours(found)) == 2)) > 2
        found = letters.until(lambda found: len(found) >= 2)
    assert sorted(m["reason"] for m in found) == ["this message has no id and no conversation and no run", "this message is no JSON"]


def _ours(found: list[Any]) -> list[Any]:
    return [m for m in found if isinstance(m, dict)]


def test_a_group_that_somebody_else_uses_is_refused(address: str):
    from confluent_kafka import Consumer

    broker = services.Broker(address=address, prefix="g-")
    broker.prepare()
    stranger = Consumer({"bootstrap.servers": address, "group.id": broker.group("agent"), "client.id": "someone"})
    stranger.subscribe([broker.name("chat-messages")])

    def refused() -> bool:
        stranger.poll(0.2)
        try:
            return broker.members("agent") > 99
        except BadInput as why:
            return "give another --prefix" in str(why)

    until(refused, 30)
    stranger.close()


class Opened:
    """A stage that has the suite's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def store(self, _settings: Settings) -> AsyncIterator[Store]:
        yield self._store

    def tenant(self, _settings: Settings, _tenant: Any) -> None:
        return None

    def sentiment(self) -> None:
        return None


async def test_a_run_over_kafka_gives_the_report_of_a_run_in_one_process(
    address: str, store: Store, tenant_store: TenantStore, database_url: str, tmp_path: Path
):
    path = tmp_path / "loans.yaml"
    path.write_text(yaml.safe_dump({"scenarios": [LOAN]}))
    broker = services.Broker(address=address, prefix="r-")
    wanted = Wanted(
        tenant=tenant_store.tenant, scenarios=str(path), count=8, seed=7, phrasing="template", agent="desk", in_flight=1, url="", key="",
        tokens={}, resume="", same_words_as="", kafka=address, prefix="r-",
    )  # fmt: skip
    reports: list[Run] = []

    async def report(run: Run) -> list[str]:
        reports.append(run)
        return []

    async def start() -> Any:
        return await rehearse_over(Opened(store), Settings(), wanted, report=report, console=Console(stderr=True))

    with pytest.raises(Unavailable, match="nobody runs customer, agent, sentiment, sink"):
        await start()
    running = replicas(broker, tmp_path, services.SERVICES, database_url)
    await asyncio.to_thread(running.__enter__)
    try:
        assert await start() == []
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
    (run,) = reports
    fleet = Fleet(rehearsal=rehearsal(run.script), rehearsals=tenant_store.rehearsals, run=f"{tenant_store.tenant}.one", seed=7, count=8)
    await fleet.start({"script": script_to_json(run.script), "seed": 7})
    await fleet.go()
    assert await outcomes(tenant_store, run.name) == await outcomes(tenant_store, fleet.run)
    talk = await anext(run.talks())
    logged = [r.event for r in await tenant_store.conversations.events(ConversationId(talk.agent["conversation"]))]
    assert [e.text for e in logged if isinstance(e, ReplySent)] == [line.text for line in talk.lines if line.role == "agent"]
