"""Stream services on a real Kafka broker: messages a second, then `kill -9` of a service at random moments under load.

    python -m bench.kafka_crash [--rounds 50] [--conversations 300] [--replicas 3] [--each 60] [--port 0]

Bars: 150 messages a second with three replicas a side; over all rounds 0 conversations lost, 0 messages lost, 0 duplicates left after
deduplication by id, every transcript equal to the one of a run in one process, and after each kill the last conversation ended within 15 s.
Customers and agents are scripted. Starts the broker by scripts/kafka_local.sh, which needs Java and Maven, and stops it. The database's part
(the sink) is measured by the tests, not here.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.rehearsal.broker import Reader, missing, replicas, start_broker, stop_broker
from tests.rehearsal.conftest import rehearsal, script

from frontdesk.rehearsal.scenarios import Script, draw
from frontdesk.rehearsal.services import Broker, publish
from frontdesk.rehearsal.starting import openings
from frontdesk.rehearsal.talk import begin

NAMES = ("customer", "agent")
WAIT = 60.0


async def expected(of: Script, run: str, count: int) -> dict[str, tuple[str, ...]]:
    """Message ids to texts, as one process has them."""
    found: dict[str, tuple[str, ...]] = {}
    for number in range(count):
        part = draw(of, number, 7)
        talk = await rehearsal(of).whole(begin(run, part, of.scenario(part.scenario)))
        found[talk.id] = tuple(line.text for line in talk.lines)
    return found


def spoken(messages: list[Any], run: str) -> tuple[dict[str, tuple[str, ...]], int]:
    """What each ended conversation of a run said, counted once by id, and how many messages came more than once."""
    first: dict[str, Any] = {}
    twice = 0
    for message in (m for m in messages if m["run"] == run):
        twice += message["id"] in first
        first.setdefault(message["id"], message)
    ended = {m["conversation"] for m in first.values() if m["role"] == "end"}
    said: dict[str, list[str]] = {c: [] for c in ended}
    for message in first.values():
        if message["role"] in NAMES and message["conversation"] in ended:
            said[message["conversation"]].append(message["line"]["text"])
    return {c: tuple(texts) for c, texts in said.items()}, twice


def had(reader: Reader, broker: Broker, of: Script, run: str, count: int, between: Any = None) -> tuple[list[Any], float]:
    """Everything of one run, and the seconds until its last conversation ended (after `between`, where something happens meanwhile)."""
    started = time.perf_counter()
    publishing = threading.Thread(target=publish, args=(broker, openings(of, run, range(count), 7)))
    publishing.start()
    if between:
        started = between()
    ends: set[str] = set()
    seen = 0

    def enough(found: list[Any]) -> bool:
        nonlocal seen
        ends.update(m["id"] for m in found[seen:] if m["role"] == "end" and m["run"] == run)
        seen = len(found)
        return len(ends) == count

    found = reader.until(enough, WAIT)
    seconds = time.perf_counter() - started
    publishing.join()
    return found, seconds


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--conversations", type=int, default=300)
    options.add_argument("--replicas", type=int, default=3)
    options.add_argument("--each", type=int, default=60)
    options.add_argument("--port", type=int, default=0)
    wanted = options.parse_args()
    if lacking := missing():
        print(f"SKIPPED: no Kafka broker can be started here, {lacking} missing")
        return 0
    port = wanted.port or _free()
    chance, of = random.Random(7), script()
    broker = Broker(address=start_broker(port), prefix=f"bench{time.time_ns()}-")
    try:
        with tempfile.TemporaryDirectory() as folder, replicas(broker, Path(folder), NAMES * wanted.replicas) as running:
            reader = Reader(broker, "chat-messages")
            had(reader, broker, of, "bench.warm", 6)
            found, seconds = had(reader, broker, of, "bench.load", wanted.conversations)
            rate = sum(m["role"] in NAMES for m in found if m["run"] == "bench.load") / seconds
            print(
                f"messages a second, {wanted.replicas} replicas a side: {rate:.0f} (bar 150); {len(spoken(found, 'bench.load')[0])} ended"
            )
            lost = wrong = twice = 0
            slow = []
            for number in range(wanted.rounds):
                run, name = f"bench.kill{number}", chance.choice(NAMES)

                def killed(name: str = name) -> float:
                    time.sleep(chance.uniform(0.0, 0.4))
                    running.kill(name)
                    running.start(name)
                    return time.perf_counter()

                found, took = had(reader, broker, of, run, wanted.each, killed)
                truth = asyncio.run(expected(of, run, wanted.each))
                said, again = spoken(found, run)
                lost += len(truth.keys() - said.keys())
                wrong += sum(said[c] != truth[c] for c in said)
                twice += again
                slow.append(took)
                print(f"  round {number + 1}: {name} killed, all ended {took:.1f} s later", file=sys.stderr)
            reader.close()
    finally:
        stop_broker(port)
    if slow:
        print(f"kill -9, {wanted.rounds} rounds: conversations lost {lost} (bar 0), transcripts that differ {wrong} (bar 0)")
        print(f"messages sent again and counted once: {twice}; slowest round {max(slow):.1f} s (bar 15)")
    return 0


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
