"""A stage for stream services in tests and benchmarks: replicas that can be started and killed, and a reader of what went over a topic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from frontdesk.rehearsal.services import Broker

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/kafka_local.sh"


def missing() -> str:
    """What this machine lacks for a broker of its own."""
    return ", ".join(name for name in ("java", "mvn") if shutil.which(name) is None)


def start_broker(port: int) -> str:
    done = subprocess.run([SCRIPT, "start", str(port)], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kill_broker(port: int) -> None:
    """End it as a power cut would; `start_broker` goes on from what it had written."""
    subprocess.run([SCRIPT, "kill", str(port)], capture_output=True, timeout=60, check=True)


def stop_broker(port: int) -> None:
    subprocess.run([SCRIPT, "stop", str(port)], capture_output=True, timeout=60, check=False)


class Replicas:
    """Running replicas by service. `start` and `kill` as often as you like."""

    def __init__(self, broker: Broker, folder: Path, database: str = "", *, module: str = "tests.rehearsal.replica") -> None:
        arguments = [broker.address, broker.prefix, str(folder), *([database] if database else [])]
        self._broker = broker
        self._parent = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._parent.stdout is not None
        self._parent.stdout.readline()
        self.pids: dict[str, list[int]] = {}

    def start(self, *names: str) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        for name in names:
            self._parent.stdin.write(f"{name}\n")
            self._parent.stdin.flush()
            self.pids.setdefault(name, []).append(int(self._parent.stdout.readline()))

    def kill(self, name: str) -> None:
        """End the oldest replica of a service as a power cut would."""
        os.kill(self.pids[name].pop(0), signal.SIGKILL)

    def up(self, seconds: float = 60.0) -> None:
        """Return when every service that was started has a member in its group."""
        until(lambda: not self._broker.missing(list(self.pids)), seconds)

    def close(self) -> None:
        for pid in (p for of in self.pids.values() for p in of):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(10)


@contextmanager
def replicas(broker: Broker, folder: Path, names: Sequence[str], database: str = "") -> Iterator[Replicas]:
    broker.prepare()
    found = Replicas(broker, folder, database)
    try:
        found.start(*names)
        found.up()
        yield found
    finally:
        found.close()


class Reader:
    """Reads topics from their beginning."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.address,
                "group.id": broker.name(f"reader-{time.monotonic_ns()}"),
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                # Who measures must not be the last to come back: the client's own 45 and 10 s would count against the services.
                "session.timeout.ms": 6000,
                "reconnect.backoff.max.ms": 1000,
                **broker.extra,
            }
        )
        self._consumer.subscribe([broker.name(t) for t in topics])

    def until(self, enough: Callable[[list[Any]], bool], seconds: float = 60.0) -> list[Any]:
        """Messages in the order in which they came, until it is enough or the time is over."""
        found: list[Any] = []
        end = time.monotonic() + seconds
        while not enough(found) and time.monotonic() < end:
            message = self._consumer.poll(0.5)
            if message is not None and not message.error() and message.value():
                found.append(_read(message.value()))
        return found

    def close(self) -> None:
        self._consumer.close()


def until(what: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw
