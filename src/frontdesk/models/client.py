"""Model servers over the OpenAI-compatible HTTP API: chat completions as a stream, and embeddings. The only way to a language model.

Every call ends: by its answer, by a deadline (first token, between tokens, in all) or by its caller going away, which cancels the work
upstream by closing the connection. Nothing is tried again once a token has come. Bodies and keys never reach a log or an error.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from frontdesk.errors import ModelRefused, ModelUnavailable, TooBusy
from frontdesk.models.admission import Admission, Breaker
from frontdesk.models.protocols import ChatRequest, ModelCall, Vectors

Changing = str | Callable[[], str]
"""A value, or where to ask for it at each call: an embedded server has another address and key after a restart."""

_CONNECT_SECONDS = 2.0
_DRAIN_SECONDS = 0.1
_MOST_LINE_BYTES = 1 << 20
_MOST_ERROR_BYTES = 1 << 16
_OURS = frozenset({"lora", "model"})
_STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)  # an idle connection that the server had closed meanwhile


class ChatClient:
    """A language model behind `/v1/chat/completions`."""

    def __init__(
        self,
        url: Changing,
        key: Changing,
        model: str,
        *,
        first_token: float,
        between_tokens: float,
        total: float,
        slots: int,
        queue: int,
        clock: Callable[[], float] = time.monotonic,
        adapters: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> None:
        """Times in seconds. A call waits at most `first_token` for a slot; `total` counts from the slot on.

        `adapters`: the request fields that choose an adapter by its id, or none for ""; None for a server without adapters.
        """
        self.name = model
        self.admission = Admission(slots=slots, queue=queue)
        self.breaker = Breaker(f"the language model {model}", clock=clock)
        self._first_token = first_token
        self._between_tokens = between_tokens
        self._total = total
        self.adapters = adapters
        self._server = _Server(url=url, key=key, what="the model server", setting="LLM")

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """Pieces of text as they come. Closing the iterator, or cancelling its task, cancels the work upstream and frees the slot.

        Raises TooBusy (our queue or the server's is full) and ModelUnavailable (down, late, garbled, breaker open, request refused).
        """
        async with aclosing(self._stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece

    async def stream_with_calls(self, request: ChatRequest) -> AsyncGenerator[str | ModelCall]:
        """Like `stream`, and behind the text the calls that the model made of the `tools` in `request.extra`, whole and in order."""
        parts: dict[int, dict[str, str]] = {}
        async with aclosing(self._stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece
                else:
                    _gather(parts, piece)
        for index in sorted(parts):
            yield ModelCall(**parts[index])

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[str | list[Any]]:
        self.breaker.enter()
        with _judged(self.breaker) as call:
            async with self.admission.slot(self._first_token), self._answer(self._body(request)) as pieces:
                async for piece in pieces:
                    call.answered = True
                    yield piece

    async def check(self) -> None:
        """Whether the server answers and takes our key. Raises ModelUnavailable, saying what to correct."""
        await self._server.check()

    async def close(self) -> None:
        """Close idle connections."""
        await self._server.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [dict(m) for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.seed is not None:
            body["seed"] = request.seed
        if request.grammar:
            body["grammar"] = request.grammar
        if request.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": request.json_schema},
            }
        return {**body, **request.extra, **self._chosen(request)}

    def _chosen(self, request: ChatRequest) -> Mapping[str, Any]:
        """What applies the request's adapter and no other. The caller's `extra` cannot choose one, nor another model."""
        if not request.extra.keys().isdisjoint(_OURS):
            raise ModelRefused("a model or an adapter is chosen by the desk, not by a request's extra fields")
        if self.adapters is not None:
            return self.adapters(request.adapter)
        if request.adapter:
            raise ModelRefused("this model server holds no adapters: deploy them to it first")
        return {}

    @asynccontextmanager
    async def _answer(self, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[str | list[Any]]]:
        """The pieces of one answer, each within its deadline."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._total
        deadline = _Deadline(at=min(end, clock() + self._first_token), sentence=f"began no answer within {self._first_token:g} s")
        async with (
            self._server.posted("/v1/chat/completions", body, deadline) as response,
            aclosing(_data_lines(response)) as lines,
            aclosing(self._pieces(lines, deadline, end, clock)) as pieces,
        ):
            yield pieces

    async def _pieces(
        self, lines: AsyncIterator[str], deadline: _Deadline, end: float, clock: Callable[[], float]
    ) -> AsyncGenerator[str | list[Any]]:
        """Text, and what chunks say of calls, as they come."""
        finished = False
        while (data := await deadline.next(lines)) is not None and data != "[DONE]":
            text, calls, last = _chunk(data)
            finished = finished or last
            for piece in (text, calls):
                if not piece:
                    continue
                yield piece
                # Counted from here: what the consumer did with the piece is not the server's time.
                deadline.at = min(end, clock() + self._between_tokens)
                in_all = deadline.at == end
                deadline.sentence = f"took longer than {self._total:g} s" if in_all else f"fell silent for {self._between_tokens:g} s"
        if data is None and not finished:
            raise ModelUnavailable("the model server broke off in the middle of an answer: look at its log")
        if data is not None:
            await _drained(lines)


class RemoteEmbedder:
    """An embedding model behind `/v1/embeddings`. Vectors are scaled to unit length whatever the server does."""

    def __init__(
        self, url: Changing, key: Changing, model: str, *, dimensions: int, deadline: float = 30.0, batch: int = 64, in_flight: int = 2
    ) -> None:
        """`deadline` in seconds for each batch of `batch` texts; `in_flight` batches at once for all callers together."""
        self.name = model
        self.dimensions = dimensions
        self.breaker = Breaker(f"the embedding model {model}")
        self._deadline = deadline
        self._batch = batch
        self._free = asyncio.Semaphore(in_flight)
        self._server = _Server(url=url, key=key, what="the embedding server", setting="EMBEDDINGS")

    @classmethod
    async def connect(cls, url: Changing, key: Changing, model: str, **options: Any) -> RemoteEmbedder:
        """An embedder that has asked the server how long its vectors are. Raises ModelUnavailable."""
        embedder = cls(url, key, model, dimensions=0, **options)
        try:
            embedder.dimensions = (await embedder.embed(["dimensions"])).shape[1]
        except ModelUnavailable:
            await embedder.close()
            raise
        return embedder

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit-length float32 row per text, (len(texts), dimensions), in order. Raises ModelUnavailable, TooBusy."""
        found = [await self._embed(texts[start : start + self._batch]) for start in range(0, len(texts), self._batch)]
        return np.concatenate(found) if found else np.empty((0, self.dimensions), np.float32)

    async def check(self) -> None:
        """Whether the server answers and takes our key. Raises ModelUnavailable, saying what to correct."""
        await self._server.check()

    async def close(self) -> None:
        """Close idle connections."""
        await self._server.close()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        async with self._free:
            self.breaker.enter()
            with _judged(self.breaker):
                clock = asyncio.get_running_loop().time
                deadline = _Deadline(at=clock() + self._deadline, sentence=f"gave no vectors within {self._deadline:g} s")
                body = {"model": self.name, "input": list(texts), "encoding_format": "float"}
                async with self._server.posted("/v1/embeddings", body, deadline) as response, deadline:
                    raw = await response.aread()
                return self._rows(raw, len(texts))

    def _rows(self, raw: bytes, expected: int) -> Vectors:
        try:
            data = sorted(json.loads(raw)["data"], key=lambda row: row["index"])
            rows = np.array([row["embedding"] for row in data], np.float32).reshape(expected, -1)
        except (ValueError, KeyError, TypeError) as e:
            raise ModelUnavailable("the embedding server answered something else than vectors: check FRONTDESK_EMBEDDINGS_URL") from e
        if self.dimensions and rows.shape[1] != self.dimensions:
            raise ModelUnavailable(
                f"the embedding server gives {rows.shape[1]} dimensions where {self.dimensions} are stored: "
                "set FRONTDESK_EMBEDDINGS_MODEL back, or sync the knowledge anew"
            )
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ModelUnavailable("the embedding server gave a vector without a direction: look at its log")
        return np.asarray(rows / lengths, np.float32)


@dataclass(kw_only=True)
class _Deadline:
    """A moment on the loop's clock, and the sentence for when it has passed. As a context it ends what is inside."""

    at: float
    sentence: str

    async def next(self, lines: AsyncIterator[str]) -> str | None:
        async with self:
            return await anext(lines, None)

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout_at(self.at)
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await self._timeout.__aexit__(*exc)
        except TimeoutError:
            raise ModelUnavailable(f"the model server {self.sentence}: it is overloaded or stuck") from None


@dataclass(kw_only=True)
class _Server:
    """One HTTP server, its key, and how its failures read."""

    url: Changing
    key: Changing
    what: str
    setting: str
    _http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def posted(self, path: str, body: dict[str, Any], deadline: _Deadline) -> AsyncIterator[httpx.Response]:
        """The successful response to a POST, unread; closed at the end. Foreign errors become ours here."""
        with self._translated():
            response = await self._send("POST", path, body, deadline)
            try:
                if response.status_code != httpx.codes.OK:
                    async with deadline:
                        raise self._explained(response.status_code, response.headers, await _beginning(response))
                yield response
            finally:
                await response.aclose()

    async def check(self) -> None:
        deadline = _Deadline(at=asyncio.get_running_loop().time() + 5.0, sentence="did not answer within 5 s")
        with self._translated():
            response = await self._send("GET", "/v1/models", None, deadline)
            await response.aclose()
            if response.status_code not in (200, 404, 405, 501):  # a server need not list its models
                raise self._explained(response.status_code, response.headers, b"")

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, deadline: _Deadline) -> httpx.Response:
        # Half of a surrogate pair, which broken clients send, becomes a question mark.
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        # Read once and with the body: adapters have other numbers in another child, and the key lets only this one answer.
        url, headers = self._base() + path, self._headers()
        for stale in (True, False):
            request = self._client().build_request(method, url, content=content, headers=headers)
            try:
                async with deadline:
                    return await self._client().send(request, stream=True)
            except _STALE:
                if not stale:
                    raise
        raise AssertionError

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)  # the other deadlines are ours
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
            directly = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))  # never through a proxy
            self._http = httpx.AsyncClient(timeout=timeout, limits=limits, mounts=directly)
        return self._http

    def _base(self) -> str:
        url = self.url() if callable(self.url) else self.url
        if not url:
            raise ModelUnavailable(f"{self.what} is starting: try again in a few seconds")
        return url.rstrip("/").removesuffix("/v1")

    def _headers(self) -> dict[str, str]:
        key = self.key() if callable(self.key) else self.key
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as e:
            raise ModelUnavailable(f"{self.what} cannot be reached: start it, or correct FRONTDESK_{self.setting}_URL") from e
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as e:
            raise ModelUnavailable(f"FRONTDESK_{self.setting}_URL is not an http address: correct it") from e
        except httpx.HTTPError as e:
            raise ModelUnavailable(f"{self.what} broke the connection ({type(e).__name__}): look at its log") from e

    def _explained(self, status: int, headers: httpx.Headers, body: bytes) -> Exception:
        said = _message(body)
        if status in (401, 403):
            return ModelUnavailable(f"{self.what} refused the key: check FRONTDESK_{self.setting}_KEY")
        if status == httpx.codes.NOT_FOUND:
            settings = f"FRONTDESK_{self.setting}_URL and FRONTDESK_{self.setting}_MODEL"
            return ModelUnavailable(f"{self.what} knows no such address or model{said}: check {settings}")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            after = headers.get("retry-after", "")
            return TooBusy(f"{self.what} is full: try again shortly", retry_after=float(after) if re.fullmatch(r"\d{1,4}", after) else 1.0)
        if status < httpx.codes.INTERNAL_SERVER_ERROR:
            return ModelRefused(f"{self.what} refused the request with HTTP {status}{said}")
        return ModelUnavailable(f"{self.what} failed with HTTP {status}{said}: look at its log")


@dataclass(kw_only=True)
class _Call:
    """What is known of a call while it runs."""

    answered: bool = False


@contextmanager
def _judged(breaker: Breaker) -> Iterator[_Call]:
    """Tell the breaker how a call went."""
    call = _Call()
    try:
        yield call
    except (TooBusy, ModelRefused):  # the server works: says nothing about its health
        breaker.abandoned()
        raise
    except ModelUnavailable:
        breaker.failed()
        raise
    except BaseException:  # the caller left, or a fault of our own
        breaker.succeeded() if call.answered else breaker.abandoned()
        raise
    else:
        breaker.succeeded()


async def _data_lines(response: httpx.Response) -> AsyncGenerator[str]:
    """The `data:` lines of an event stream. Comments and other fields are passed over; a line without end is garbage."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode("utf-8", "replace").strip()
        if len(rest) > _MOST_LINE_BYTES:
            raise _garbled()
    if rest.startswith(b"data:"):
        yield rest[5:].decode("utf-8", "replace").strip()


async def _drained(lines: AsyncIterator[str]) -> None:
    """Read to the end, which follows the last line at once, so that the connection can serve the next call."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in lines:
                continue


def _chunk(data: str) -> tuple[str, list[Any], bool]:
    """The text of one chunk, what it adds to calls, and whether it says that the answer is complete."""
    try:
        chunk = json.loads(data)
        if "error" in chunk:
            raise ModelUnavailable(f"the model server failed in the middle of an answer{_message(data.encode())}: look at its log")
        if not chunk["choices"]:  # usage, at the end
            return "", [], False
        choice = chunk["choices"][0]
        delta = choice.get("delta") or {}
        return (delta.get("content") or "") + "", list(delta.get("tool_calls") or ()), choice.get("finish_reason") is not None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        raise _garbled() from e


def _gather(parts: dict[int, dict[str, str]], deltas: list[Any]) -> None:
    """Adds what a chunk says of calls to what earlier chunks said of the same."""
    try:
        for delta in deltas:
            part = parts.setdefault(int(delta.get("index", 0)), {"id": "", "name": "", "arguments": ""})
            function = delta.get("function") or {}
            part["id"] = part["id"] or str(delta.get("id") or "")
            part["name"] += function.get("name") or ""
            part["arguments"] += function.get("arguments") or ""
    except (TypeError, AttributeError, ValueError) as e:
        raise _garbled() from e


def _garbled() -> ModelUnavailable:
    return ModelUnavailable("the model server answered something else than chat chunks: check FRONTDESK_LLM_URL")


async def _beginning(response: httpx.Response) -> bytes:
    found = b""
    async for block in response.aiter_bytes():
        found += block
        if len(found) >= _MOST_ERROR_BYTES:
            break
    return found


def _message(body: bytes) -> str:
    """What an error body says, as a parenthesis; "" when it says nothing readable."""
    try:
        error = json.loads(body)
        error = error.get("error", error)
        said = error if isinstance(error, str) else error.get("message", "")
    except (ValueError, AttributeError):
        return ""
    words = " ".join(str(said).split())
    return f" ({words[:200]})" if words else ""
