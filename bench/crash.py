"""kill -9 of the server, its model child or its database, at random moments under load. Counts what was acknowledged and is not there.

    python -m bench.crash --rounds 40            # embedded models; --stub: none and hashed vectors

A message counts as acknowledged once the client saw 202 (native API) or the first event of a stream (/v1). Afterwards every one of them
must be in the log exactly once and have exactly one end. Prints a table; exit code 1 when one is lost or has no end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.integration.server import ACME, QUESTION, SECOND, Server, left_behind, write_tenants

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import HandedOff, MessageReceived, ReplySent, TurnFailed, TurnMerged
from frontdesk.domain.tenancy import TenantId
from frontdesk.settings import Settings
from frontdesk.store.conversations import Conversations
from frontdesk.store.store import Store

WORDS = (QUESTION, SECOND, "How much is shipping to the islands?", "Hello", "Do you repair broken ribs?")
SETTLE_SECONDS = 60.0
ENDS = (ReplySent, TurnMerged, TurnFailed, HandedOff)


@dataclass
class Load:
    """Customers who talk without pause, and what the server told them it keeps."""

    server: Server
    key: str
    seed: int
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    """(conversation, text) of each acknowledged message."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=(n,), daemon=True) for n in range(2) for work in (self._native, self._streaming)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _native(self, n: int) -> None:
        dice, head, conversation = random.Random(self.seed * 10 + n), {"Authorization": f"Bearer {self.key}"}, ""
        while not self._stop.wait(dice.uniform(0.02, 0.3)):
            text = f"{dice.choice(WORDS)} n{self.seed}-{n}-{dice.random()}"
            try:
                with httpx.Client(base_url=self.server.url, trust_env=False, timeout=20, headers=head) as http:
                    if not conversation or dice.random() < 0.3:
                        conversation = http.post("/api/conversations").raise_for_status().json()["conversation_id"]
                    if http.post(f"/api/conversations/{conversation}/messages", json={"text": text}).status_code == 202:
                        self.acknowledged.append((conversation, text))
            except httpx.HTTPError:
                continue

    def _streaming(self, n: int) -> None:
        dice, head = random.Random(self.seed * 10 + 5 + n), {"Authorization": f"Bearer {self.key}"}
        while not self._stop.wait(dice.uniform(0.02, 0.3)):
            text = f"{dice.choice(WORDS)} s{self.seed}-{n}-{dice.random()}"
            body = {"model": ACME, "stream": True, "messages": [{"role": "user", "content": text}]}
            try:
                with httpx.stream(
                    "POST", f"{self.server.url}/v1/chat/completions", json=body, headers=head, timeout=20, trust_env=False
                ) as r:
                    told = False
                    for line in r.iter_lines():
                        if not told and line.startswith("data: {") and "choices" in json.loads(line[6:]):
                            told = True
                            self.acknowledged.append((r.headers["x-conversation-id"], text))
            except (httpx.HTTPError, ValueError):
                continue


@dataclass
class Verdict:
    """What became of the acknowledged messages."""

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


def victims(server: Server) -> dict[str, list[psutil.Process]]:
    """Processes that may be killed, by their part."""
    found: dict[str, list[psutil.Process]] = {"server": [psutil.Process(server.process.pid)] if server.process else []}
    for process in server.children():
        with contextlib.suppress(psutil.Error):  # it may just have ended
            if "local_child" in " ".join(process.cmdline()):
                found.setdefault("model", []).append(process)
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd().startswith(str(server.data)):
                found.setdefault("database" if "-D" in process.cmdline() else "database worker", []).append(process)
        except psutil.Error:
            continue
    return found


def crash(server: Server, key: str, *, seed: int) -> tuple[str, float, list[tuple[str, str]]]:
    """One round: load, a kill, ready again. Gives the victim's name, the seconds until ready, what was acknowledged."""
    dice = random.Random(seed)
    with Load(server, key, seed) as load:
        time.sleep(dice.uniform(0.3, 2.0))
        found = victims(server)
        part = dice.choice(sorted(found))
        dice.choice(sorted(found[part], key=lambda p: p.pid)).kill()
        began = time.monotonic()
        if part == "server":
            server.process.wait(30)  # type: ignore[union-attr]
            server.start(wait=False)
        else:
            time.sleep(0.3)  # the death must be seen before "ready" means anything
        server.until_ready(120)
        seconds = time.monotonic() - began
        time.sleep(0.3)
    return part, seconds, load.acknowledged


async def judge(data: Path, acknowledged: list[tuple[str, str]], *, seconds: float = SETTLE_SECONDS) -> Verdict:
    """Looks every acknowledged message up in the log, giving the desk that runs there time to finish what was cut off."""
    store = await Store.open(Settings(data=data))
    try:
        conversations = store.for_tenant(TenantId(ACME)).conversations
        deadline = time.monotonic() + seconds
        while (verdict := await _verdict(conversations, acknowledged)).open and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        return verdict
    finally:
        await store.close()


async def _verdict(conversations: Conversations, acknowledged: list[tuple[str, str]]) -> Verdict:
    verdict = Verdict(acknowledged=len(acknowledged))
    for place in dict.fromkeys(c for c, _ in acknowledged):
        log = await conversations.events(ConversationId(place), limit=100_000)
        for text in (t for c, t in acknowledged if c == place):
            turns = [r.turn for r in log if isinstance(r.event, MessageReceived) and r.event.text == text]
            if len(turns) != 1:
                (verdict.twice if turns else verdict.lost).append(text)
                continue
            ends = [r.event for r in log if r.turn == turns[0] and isinstance(r.event, ENDS)]
            verdict.ends.update(type(e).__name__ for e in ends)
            if not ends:
                verdict.open.append(text)
            if sum(isinstance(e, ReplySent) for e in ends) > 1:
                verdict.twice.append(text)
    return verdict


def main() -> int:
    """All rounds; the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--stub", action="store_true", help="no language model and hashed vectors")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="frontdesk-crash-", ignore_cleanup_errors=True) as folder:
        extra = {} if given.stub else {"llm_url": "", "embeddings_url": ""}
        server = Server(Path(folder) / "data", write_tenants(Path(folder) / "tenants"), extra).start()
        key, acknowledged, times = server.key(), list[tuple[str, str]](), dict[str, list[float]]()
        for n in range(given.rounds):
            part, seconds, told = crash(server, key, seed=given.seed * 1000 + n)
            times.setdefault(part, []).append(seconds)
            acknowledged += told
            print(f"round {n + 1}: {part}, ready after {seconds:.1f} s, {len(told)} acknowledged", file=sys.stderr)
        verdict = asyncio.run(judge(server.data, acknowledged))
        server.stop(signal.SIGTERM)
        report(times, verdict, left_behind(server.data))
        return int(bool(verdict.lost or verdict.open or verdict.twice))


def report(times: dict[str, list[float]], verdict: Verdict, left: list[str]) -> None:
    """The table."""
    print(f"{'killed':18} {'rounds':>6} {'ready after, s: median':>24} {'worst':>7}")
    for part, seconds in sorted(times.items()):
        print(f"{part:18} {len(seconds):6} {sorted(seconds)[len(seconds) // 2]:24.1f} {max(seconds):7.1f}")
    rows: dict[str, Any] = {
        "acknowledged": verdict.acknowledged,
        "lost": len(verdict.lost),
        "without an end": len(verdict.open),
        "kept or answered twice": len(verdict.twice),
        "processes left after the stop": len(left),
    }
    for name, value in rows.items():
        print(f"{name:32} {value}")
    print("ends:", ", ".join(f"{name} {count}" for name, count in verdict.ends.most_common()))


if __name__ == "__main__":
    sys.exit(main())
