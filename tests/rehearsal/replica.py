"""Replicas of the stream services with scripted speakers, as processes that may be killed.

`python -m tests.rehearsal.replica BROKER PREFIX FOLDER [DATABASE]` reads names of services, one a line, forks a replica for each and prints
its process id. Packages are loaded once, so that a killed replica's successor is there at once. Ends with its input, and so do replicas.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from frontdesk.rehearsal import services
from frontdesk.rehearsal.recording import Recorder
from frontdesk.rehearsal.services import Broker, alongside, serve, sinking, talking, toning
from frontdesk.rehearsal.streaming import AgentService, CustomerService, SentimentService
from frontdesk.settings import Settings
from frontdesk.store.store import Store

from .conftest import rehearsal


class Flat:
    """Every text sounds the same: what a text sounds like is not the stream's matter."""

    label, score = "neutral", 0.25

    def of(self, texts: list[str]) -> list[Flat]:
        return [self for _ in texts]


def build(name: str, broker: Broker, run: Any, store: Any = None) -> Any:
    if name == services.CUSTOMER:
        return talking(broker, CustomerService(make=rehearsal, run=run))
    if name == services.AGENT:
        return talking(broker, AgentService(make=rehearsal, run=run))
    if name == services.SENTIMENT:
        return toning(broker, SentimentService(sentiment=Flat()))
    return sinking(broker, Recorder(store), run)


def serve_one(name: str, address: str, prefix: str, folder: str, database: str = "") -> None:
    logging.basicConfig(level=logging.WARNING)
    _die_with(os.getppid())
    broker = Broker(address=address, prefix=prefix)

    async def opened(stack: Any) -> Any:
        if not database or name != services.SINK:
            return None
        store = await Store.open(Settings(data=Path(folder), database_url=database))
        stack.push_async_callback(store.close)
        return store

    with alongside(opened) as (store, run):
        serve(broker, name, build(name, broker, run, store), data=Path(folder))


def _die_with(parent: int) -> None:
    """A test that is killed leaves no replica behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(*arguments: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve_one(line.strip(), *arguments)
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
