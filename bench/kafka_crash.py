"""Stream services on a real Kafka broker: messages a second, then `kill -9` of a service at random moments under load.

    python -m bench.kafka_crash [--rounds 50] [--conversations 1000] [--replicas 3] [--each 60] [--away 60] [--port 0]

Bars: 150 messages a second with three replicas a side; over all rounds 0 conversations lost, 0 messages lost, 0 duplicates left after
deduplication by id, every transcript equal to the one of a run in one process, and after each kill the last conversation ended within 15 s;
the same when the broker itself is killed and stays away for `--away` seconds (0: not tried), counted from when it answers again.
Customers and agents are scripted. Starts the broker by scripts/kafka_local.sh, which needs Java and Maven, and stops it. The database's part
(the sink) is measured by the tests, not here.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rehearsal.broker import Reader, kill_broker, missing, replicas, start_broker, stop_broker
from tests.rehearsal.conftest import rehearsal, script

from frontdesk.rehearsal.scenarios import Script, draw
from frontdesk.rehearsal.services import Broker, publish
from frontdesk.rehearsal.starting import openings
from frontdesk.rehearsal.talk import begin

NAMES = ("customer", "agent")
WAIT = 120.0


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
    found = all_of(reader, run, count)
    seconds = time.perf_counter() - started
    publishing.join()
    return found, seconds


def all_of(reader: Reader, run: str, count: int) -> list[Any]:
    """What went over the topic until every conversation of the run had ended."""
    ends: set[str] = set()
    seen = 0

    def enough(found: list[Any]) -> bool:
        nonlocal seen
        ends.update(m["id"] for m in found[seen:] if m["role"] == "end" and m["run"] == run)
        seen = len(found)
        return len(ends) == count

    return reader.until(enough, WAIT)


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--conversations", type=int, default=1000)
    options.add_argument("--replicas", type=int, default=3)
    options.add_argument("--each", type=int, default=60)
    options.add_argument("--away", type=float, default=60.0)
    options.add_argument("--port", type=int, default=0)
    wanted = options.parse_args()
    if lacking := missing():
        print(f"SKIPPED: no Kafka broker can be started here, {lacking} missing")
        return 0
    port = wanted.port or _free()
    chance, of = random.Random(7), script()
    broker = Broker(address=start_broker(port), prefix=f"bench{time.time_ns()}-")
    rounds = Rounds()
    try:
        with tempfile.TemporaryDirectory() as folder, replicas(broker, Path(folder), NAMES * wanted.replicas) as running:
            reader = Reader(broker, "chat-messages")
            had(reader, broker, of, "bench.warm", 6)
            found, seconds = had(reader, broker, of, "bench.load", wanted.conversations)
            rate = sum(m["role"] in NAMES for m in found if m["run"] == "bench.load") / seconds
            print(
                f"messages a second, {wanted.replicas} replicas a side: {rate:.0f} (bar 150); {len(spoken(found, 'bench.load')[0])} ended"
            )
            if wanted.away:
                away = Rounds()
                away.add(of, "bench.away", wanted.each, *without_broker(reader, broker, of, port, wanted))
                print(f"broker away for {wanted.away:g} s, {away.told()}", flush=True)
            for number in range(wanted.rounds):
                run, name = f"bench.kill{number}", chance.choice(NAMES)

                def killed(name: str = name) -> float:
                    time.sleep(chance.uniform(0.0, 0.4))
                    running.kill(name)
                    running.start(name)
                    return time.perf_counter()

                took = rounds.add(of, run, wanted.each, *had(reader, broker, of, run, wanted.each, killed))
                so_far = f"lost {rounds.lost}, differ {rounds.wrong}, again {rounds.twice}"
                print(f"  round {number + 1}: {name} killed, all ended {took:.1f} s later; {so_far}", file=sys.stderr)
            if rounds.took:
                print(f"kill -9 of a service, {rounds.told()}")
            reader.close()
    finally:
        stop_broker(port)
    return 0


def without_broker(reader: Reader, broker: Broker, of: Script, port: int, wanted: argparse.Namespace) -> tuple[list[Any], float]:
    """A run in the middle of which the broker is killed and stays away; its seconds count from when it answers again."""
    publish(broker, openings(of, "bench.away", range(wanted.each), 7))
    kill_broker(port)
    time.sleep(wanted.away)
    start_broker(port)
    back = time.perf_counter()
    found = all_of(reader, "bench.away", wanted.each)
    return found, time.perf_counter() - back


@dataclass
class Rounds:
    """What kills did, added up over runs."""

    lost: int = 0
    wrong: int = 0
    twice: int = 0
    took: list[float] = field(default_factory=list)

    def add(self, of: Script, run: str, count: int, found: list[Any], took: float) -> float:
        """Counts one run against what a single process says; the seconds it took."""
        truth = asyncio.run(expected(of, run, count))
        said, again = spoken(found, run)
        self.lost += len(truth.keys() - said.keys())
        self.wrong += sum(said[c] != truth[c] for c in said)
        self.twice += again
        self.took.append(took)
        return took

    def told(self) -> str:
        """In one sentence, with the bars."""
        return (
            f"{len(self.took)} rounds: conversations lost {self.lost} (bar 0), transcripts that differ {self.wrong} (bar 0), "
            f"messages sent again and counted once {self.twice}; slowest {max(self.took):.1f} s, "
            f"median {statistics.median(self.took):.1f} s (bar 15)"
        )


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
