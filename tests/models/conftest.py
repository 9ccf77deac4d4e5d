"""Real models from the cache (fetched at first use), and a model server that misbehaves on purpose."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from frontdesk import settings
from frontdesk.models import registry
from frontdesk.models.client import ChatClient
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.models.local import LocalModel


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    return registry.pull("all-minilm-l6-v2", settings.load().cache)


@pytest.fixture(scope="session")
def mpnet_folder() -> Path:
    return registry.pull("all-mpnet-base-v2", settings.load().cache)


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    embedder = SentenceEncoder(minilm_folder, threads=1)
    yield embedder
    embedder.close()


@pytest.fixture(scope="session")
def gguf() -> Path:
    return registry.pull("smollm2-135m-instruct", settings.load().cache)


@pytest.fixture(scope="session")
async def local(gguf, tmp_path_factory) -> AsyncIterator[LocalModel]:
    model = LocalModel(gguf, threads=1, slots=2, context=1024, data=tmp_path_factory.mktemp("local"), name="smollm2")
    await model.start()
    yield model
    await model.stop()


@pytest.fixture(scope="session")
async def local_client(local) -> AsyncIterator[ChatClient]:
    client = ChatClient(lambda: local.url, lambda: local.key, local.name, first_token=20, between_tokens=20, total=40, slots=2, queue=16)
    yield client
    await client.close()


class Stub:
    """An HTTP server that behaves as the requested model's name says."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict] = []
        self.headers: list[str] = []
        self.open = 0
        self.most_open = 0
        self.left: asyncio.Queue[str] = asyncio.Queue()
        """The behaviour of each request whose client went away before the end."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")), 0)
                body = json.loads(await reader.readexactly(length) or b"{}")
                self.bodies.append(body)
                self.headers.append(head)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                answer = asyncio.create_task(self.answer(head, body, writer))
                gone = asyncio.create_task(reader.read(1))
                try:
                    await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self.open -= 1
                    for task in (answer, gone):
                        task.cancel()
                        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                            await task
                if gone.done() and not gone.cancelled() and not answer.done():
                    await self.left.put(str(body.get("model")))
                if answer.cancelled():
                    await self.left.put(str(body.get("model")))
                break  # one request per connection keeps the stub simple
        writer.close()

    async def answer(self, head: str, body: dict, writer: asyncio.StreamWriter) -> None:
        behaviour = str(body.get("model", "list"))
        if head.startswith("GET"):
            return await self.plain(writer, 200 if "good-key" in head else 401, {"data": []})
        if "embeddings" in head.split("\r\n")[0]:
            return await self.embeddings(behaviour, body, writer)
        if behaviour.isdigit():
            return await self.plain(writer, int(behaviour), {"error": {"message": f"we say {behaviour}"}}, "Retry-After: 7\r\n")
        if behaviour == "hang-up-at-once":
            return None
        if behaviour == "silent":
            await asyncio.sleep(30)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await self.stream(behaviour, writer)
        return None

    async def stream(self, behaviour: str, writer: asyncio.StreamWriter) -> None:
        if behaviour == "garbage":
            writer.write(b"data: <html>not json</html>\n\n")
        elif behaviour == "other-json":
            writer.write(b'data: {"choices": [{"delta": 3}]}\n\n')
        elif behaviour == "endless-line":
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        elif behaviour == "late-first-token":
            writer.write(self.chunk(None) + b": ping\n\n")
            await writer.drain()
            await asyncio.sleep(30)
        else:
            await self.words(behaviour, writer)
        await writer.drain()

    async def words(self, behaviour: str, writer: asyncio.StreamWriter) -> None:
        writer.write(self.chunk(None) + self.chunk("one ") + self.chunk("two "))
        await writer.drain()
        if behaviour == "stall":
            while True:
                writer.write(b": ping\n\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        if behaviour == "error-chunk":
            writer.write(b'data: {"error": {"message": "out of memory"}}\n\n')
        if behaviour in ("hang-up", "error-chunk"):
            return
        while behaviour == "drip":
            writer.write(self.chunk("more "))
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(self.chunk("three") + self.chunk("", "stop") + b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n')

    async def embeddings(self, behaviour: str, body: dict, writer: asyncio.StreamWriter) -> None:
        if behaviour == "silent":
            await asyncio.sleep(30)
        rows = [{"index": n, "embedding": [3.0, float(len(text)), 4.0]} for n, text in enumerate(body["input"])]
        if behaviour == "null":
            rows = [{"index": n, "embedding": [0.0, 0.0, 0.0]} for n in range(len(rows))]
        await self.plain(writer, 200, {"data": rows[::-1]} if behaviour != "nonsense" else {"vectors": 1})

    async def plain(self, writer: asyncio.StreamWriter, status: int, body: dict, more: str = "") -> None:
        raw = json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n{more}\r\n".encode() + raw)
        await writer.drain()

    @staticmethod
    def chunk(text: str | None, finish: str | None = None) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}).encode() + b"\n\n"


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    it = Stub()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, limit=1 << 22)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield it
    server.close()


@pytest.fixture
async def client_of(stub):
    """A function that makes a client of the stub's behaviour called so; deadlines are short."""
    made = []

    def make(behaviour: str, **options) -> ChatClient:
        options = {"first_token": 0.3, "between_tokens": 0.3, "total": 1.0, "slots": 2, "queue": 2, **options}
        made.append(ChatClient(options.pop("url", stub.url), options.pop("key", "good-key"), behaviour, **options))
        return made[-1]

    yield make
    for client in made:
        await client.close()
