"""How the embedded models share a small machine: latency of one call alone, of several at once, and beside an index run.

    python bench/model_threads.py [seconds per row]

Prints one row per setting: first token and whole answer (ms), generated tokens a second, and the pause that the event loop felt.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from frontdesk import settings
from frontdesk.models import registry
from frontdesk.models.client import ChatClient
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.models.local import LocalModel
from frontdesk.models.protocols import ChatRequest

RULES = "Answer the customer in one or two sentences, only from the passage. " * 3
PASSAGE = "A parcel that was not delivered is kept at the depot for ten days; a second delivery is free, a third costs 4 euros. "
QUESTIONS = ("How long is a parcel kept?", "What does a third delivery cost?", "Where is my parcel now?", "Is the second delivery free?")


def request(n: int) -> ChatRequest:
    question = f"Passage: {PASSAGE * 3}\nCase {n}: {QUESTIONS[n % len(QUESTIONS)]}"
    return ChatRequest(messages=[{"role": "system", "content": RULES}, {"role": "user", "content": question}], max_tokens=40)


async def callers(client: ChatClient, at_once: int, seconds: float) -> tuple[list[float], list[float], float]:
    first, whole = [], []
    tokens, began, number = 0, time.perf_counter(), 0

    async def one() -> None:
        nonlocal tokens, number
        while time.perf_counter() - began < seconds:
            number += 1
            start, mark = time.perf_counter(), 0.0
            async for _ in client.stream(request(number)):
                mark = mark or time.perf_counter()
                tokens += 1
            first.append((mark - start) * 1e3)
            whole.append((time.perf_counter() - start) * 1e3)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return first, whole, tokens / (time.perf_counter() - began)


async def loop_pauses(pauses: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(0.01)
        pauses.append((time.perf_counter() - start - 0.01) * 1e3)


async def index_run(embedder: SentenceEncoder) -> None:
    n = 0
    while True:
        n += 1
        await embedder.embed([f"{n} {k} {PASSAGE * 5}" for k in range(64)])


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


async def row(threads: int, at_once: int, indexing: bool, seconds: float, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as data:
        model = LocalModel(registry.pull("smollm2-135m-instruct", cache), threads=threads, slots=4, context=2048, data=Path(data))
        embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", cache), threads=1)
        await model.start()
        client = ChatClient(lambda: model.url, lambda: model.key, "m", first_token=60, between_tokens=60, total=120, slots=4, queue=64)
        pauses: list[float] = []
        await callers(client, 1, 0.1)
        tasks = [asyncio.create_task(loop_pauses(pauses))] + ([asyncio.create_task(index_run(embedder))] if indexing else [])
        first, whole, speed = await callers(client, at_once, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()
        await model.stop()
        embedder.close()
    beside = "index run" if indexing else "nothing"
    waits = f"{statistics.median(first):.0f} / {p95(first):.0f} | {statistics.median(whole):.0f} / {p95(whole):.0f}"
    print(f"| {threads} | {at_once} | {beside} | {waits} | {speed:.0f} | {p95(pauses):.1f} / {max(pauses):.0f} |", flush=True)


async def main(seconds: float) -> None:
    cache = settings.load().cache
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    print("| threads | calls at once | beside | first token p50 / p95 ms | answer p50 / p95 ms | tokens/s | loop pause p95 / max ms |")
    print("|--:|--:|---|--:|--:|--:|--:|")
    for indexing in (False, True):
        for at_once in (1, 4):
            for threads in (1, 2):
                await row(threads, at_once, indexing, seconds, cache)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0))
