"""A real Apache Kafka broker: the same outcomes as in one process, and services killed in the middle lose nothing and say nothing twice."""

from __future__ import annotations

import asyncio
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frontdesk.errors import BadInput
from frontdesk.rehearsal.fleet import Fleet
from frontdesk.rehearsal.running import Run
from frontdesk.rehearsal.scenarios import Script, script_to_json
from frontdesk.rehearsal.starting import openings
from frontdesk.store.store import TenantStore

from .conftest import rehearsal

services = pytest.importorskip("frontdesk.rehearsal.services", reason="the kafka extra is not installed: pip install 'frontdesk[kafka]'")
from .broker import Reader, missing, replicas, start_broker, stop_broker, until  # noqa: E402

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
COUNT = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if lacking := missing():
        warnings.warn(f"KAFKA TESTS ARE SKIPPED: {lacking} missing on this machine", stacklevel=1)
        pytest.skip(f"no broker can be started: {lacking} missing")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    try:
        yield start_broker(port)
    finally:
        stop_broker(port)


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
