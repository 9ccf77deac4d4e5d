"""Open-loop load against a running server: turns at a fixed rate, and many streams held open meanwhile.

Open loop: each turn has its time in the schedule, and its latency counts from there, so a slow server cannot slow the questions down.

    python bench/server_load.py --url http://127.0.0.1:8000 --key fd_… --model TENANT --rate 60 --seconds 30 --streams 200

The server must allow the rate (`FRONTDESK_RATE_PER_MINUTE=0`). Exit code 1 when any request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

QUESTIONS = (
    "Hello",
    "How long does a refund take?",
    "What are your opening hours?",
    "Can I change my address online?",
    "Who can I talk to?",
)


@dataclass
class Figures:
    """Latencies of one kind in milliseconds, and what went wrong instead."""

    name: str
    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def row(self) -> dict[str, Any]:
        """Count, percentiles and errors."""
        ordered = sorted(self.milliseconds)

        def at(share: float) -> float | None:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None

        return {
            "what": self.name,
            "count": len(ordered),
            "p50": at(0.5),
            "p95": at(0.95),
            "p99": at(0.99),
            "max": at(1.0),
            "errors": dict(self.errors),
        }


@dataclass(frozen=True)
class Target:
    """Where to ask, and as whom."""

    host: str
    port: int
    key: str
    model: str

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> AsyncIterator[bytes]:
        """Pieces of the answer's body; raises RuntimeError with the status unless it is 2xx."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            content = json.dumps(body).encode() if body is not None else b""
            writer.write(
                f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b" ", 2)[1].decode()
            if not status.startswith("2"):
                raise RuntimeError(status)
            while piece := await reader.read(65536):
                yield piece
        finally:
            writer.close()

    async def whole(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON."""
        raw = b"".join([piece async for piece in self.request(method, path, body)])
        return json.loads(raw)

    def chat(self, question: str, *, stream: bool) -> dict[str, Any]:
        """A completion's body."""
        return {"model": self.model, "messages": [{"role": "user", "content": question}], "stream": stream}


async def turns(target: Target, questions: list[str], *, rate: float, seconds: float, stream: bool) -> list[Figures]:
    """Turns on schedule; latency counts from the scheduled moment."""
    first, whole = Figures("first sentence"), Figures("whole turn")
    begun = time.perf_counter()

    async def one(i: int) -> None:
        due = begun + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            async with asyncio.timeout(30):
                await _ask(target, questions[i % len(questions)], due, first, whole, stream=stream)
        except (OSError, RuntimeError, TimeoutError, asyncio.IncompleteReadError, ValueError) as why:
            whole.errors[str(why) or type(why).__name__] += 1

    await asyncio.gather(*(one(i) for i in range(int(rate * seconds))))
    return [first, whole] if stream else [whole]


async def _ask(target: Target, question: str, due: float, first: Figures, whole: Figures, *, stream: bool) -> None:
    said = b""
    spoken = False
    async for piece in target.request("POST", "/v1/chat/completions", target.chat(question, stream=stream)):
        said += piece
        if stream and not spoken and b'"delta":{"content":"' in said:
            spoken = True
            first.milliseconds.append((time.perf_counter() - due) * 1000)
    if stream and (b"data: [DONE]" not in said or b'"error"' in said):
        raise RuntimeError("broken stream")
    whole.milliseconds.append((time.perf_counter() - due) * 1000)


async def held_streams(target: Target, count: int, stop: asyncio.Event, figures: Figures) -> None:
    """`count` conversations with an open event stream each; now and then one of them gets a message, and its reply is timed."""
    up = asyncio.Semaphore(32)
    waiting: dict[str, float] = {}

    async def follow(conversation: str, ready: asyncio.Event) -> None:
        seen = b""
        try:
            async for piece in target.request("GET", f"/api/conversations/{conversation}/events"):
                ready.set()
                seen = (seen + piece)[-4096:]
                if b"event: reply_sent" in seen and conversation in waiting:
                    figures.milliseconds.append((time.perf_counter() - waiting.pop(conversation)) * 1000)
                    seen = b""
        except (OSError, RuntimeError, asyncio.IncompleteReadError) as why:
            figures.errors[f"stream {why}"] += 1
            ready.set()

    async def opened() -> str:
        async with up:
            return str((await target.whole("POST", "/api/conversations", {}))["conversation_id"])

    conversations = await asyncio.gather(*(opened() for _ in range(count)))
    ready = [asyncio.Event() for _ in conversations]
    readers = [asyncio.create_task(follow(c, r)) for c, r in zip(conversations, ready, strict=True)]
    await asyncio.gather(*(r.wait() for r in ready))
    print(f"{count} event streams open", file=sys.stderr)
    for conversation in conversations:
        if stop.is_set():
            break
        waiting[conversation] = time.perf_counter()
        try:
            await target.whole("POST", f"/api/conversations/{conversation}/messages", {"text": QUESTIONS[1]})
        except (OSError, RuntimeError, ValueError) as why:
            figures.errors[f"message {why}"] += 1
        await asyncio.sleep(0.2)
    await stop.wait()
    await asyncio.sleep(2)
    figures.errors["streams that ended early"] += sum(r.done() for r in readers)
    figures.errors += Counter()
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All phases; one row of figures each."""
    parts = urlsplit(arguments.url)
    target = Target(parts.hostname or "127.0.0.1", parts.port or 80, arguments.key, arguments.model)
    questions = arguments.questions.read_text().splitlines() if arguments.questions else list(QUESTIONS)
    await turns(target, questions, rate=5, seconds=2, stream=False)
    stop, events = asyncio.Event(), Figures(f"reply as event, {arguments.streams} streams open")
    holding = asyncio.create_task(held_streams(target, arguments.streams, stop, events))
    await asyncio.sleep(3 if arguments.streams else 0)
    plain = await turns(target, questions, rate=arguments.rate, seconds=arguments.seconds / 2, stream=False)
    streamed = await turns(target, questions, rate=arguments.rate, seconds=arguments.seconds / 2, stream=True)
    stop.set()
    await holding
    burst = await turns(target, questions, rate=10_000, seconds=arguments.streams / 10_000, stream=True) if arguments.streams else []
    for figures, name in ((plain, "plain"), (streamed, "streamed"), (burst, f"burst of {arguments.streams}")):
        for row in figures:
            row.name = f"{name}: {row.name}"
    return [f.row() for f in (*plain, *streamed, *([events] if arguments.streams else []), *burst)]


def main() -> int:
    """Prints the table; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", required=True, help="the tenant's id")
    parser.add_argument("--rate", type=float, default=60.0, help="turns a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=200, help="event streams held open meanwhile, and completions in the burst")
    parser.add_argument("--questions", type=Path, help="one question a line")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments))
    if arguments.json:
        print(json.dumps(rows))
    else:
        print(
            f"{'':44} {'count':>6} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}  errors (milliseconds, {arguments.rate:g} turns/s offered)"
        )
        for row in rows:
            figures = " ".join(f"{row[k] if row[k] is not None else '-':>8}" for k in ("p50", "p95", "p99", "max"))
            print(f"{row['what']:44} {row['count']:>6} {figures}  {row['errors'] or 0}")
    return int(any(row["errors"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
