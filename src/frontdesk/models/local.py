"""llama.cpp in a child process: started, watched, restarted and stopped from here. Serves one model on loopback only, with a random key.

Waits use `asyncio.timeout`: before Python 3.12 `asyncio.wait_for` loses a cancellation that comes as the wait ends, and `stop` would hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from frontdesk import settings
from frontdesk.errors import ModelMissing, ModelRefused, ModelUnavailable

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_STEADY_SECONDS = 30.0
"""A child that lived this long did not fail at once: the next restart is quick again."""
_POLL_SECONDS = 5.0
_POLL_FAILURES = 3
_GRACE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter file, beside the base model. `id` is unique for its content."""

    id: str
    path: Path


@dataclass(kw_only=True)
class _Child:
    """One running process with its address, its key and the adapters it has loaded, in the order of their numbers."""

    process: asyncio.subprocess.Process
    key: str
    table: tuple[str, ...]
    url: str = ""


class LocalModel:
    """One GGUF file, served, with adapters beside it. `url` and `key` change with each restart: give a `ChatClient` callables for them."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        slots: int,
        context: int,
        data: Path,
        name: str = "",
        load_seconds: float = 120.0,
        adapters: Sequence[Adapter] = (),
        drain_seconds: float = 20.0,
    ) -> None:
        """`context` in tokens for each of `slots` calls at once; the log goes to data/logs/llama.log.

        `drain_seconds`: how long a replaced child may still finish what it has begun.
        """
        self.path = path
        self.name = name or path.stem
        self.restarts = 0
        self.log = data.resolve() / "logs" / "llama.log"
        self._shape = {"threads": threads, "slots": slots, "context": context}
        self._load_seconds = load_seconds
        self._drain_seconds = drain_seconds
        self._adapters = tuple(adapters)
        self._child: _Child | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Task[None]] = set()
        self._switching = asyncio.Lock()

    @property
    def url(self) -> str:
        """Base address while the child serves; "" while it does not."""
        return self._child.url if self._child else ""

    @property
    def key(self) -> str:
        """Bearer key of the child that runs now."""
        return self._child.key if self._child else ""

    @property
    def alive(self) -> bool:
        """Whether a child is up and serving."""
        return bool(self.url)

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        return self._child.process.pid if self._child and self._child.process.returncode is None else None

    @property
    def loaded(self) -> frozenset[str]:
        """Ids of the adapters that can be chosen now."""
        return frozenset(self._child.table) if self._child else frozenset()

    def chosen(self, adapter: str) -> Mapping[str, Any]:
        """The request fields that apply one adapter ("" none) in the child that serves now. Raises ModelRefused when it is not loaded.

        Every adapter is named with its scale. With the field left out or empty llama.cpp goes on from what the slot computed
        under the adapter of an earlier request: one in seven concurrent replies then was another than the model's own (measured).
        """
        table = self._child.table if self._child else ()
        if adapter and adapter not in table:
            raise ModelRefused(f"the adapter {adapter} is not loaded: it may be that it is still being loaded")
        return {"lora": [{"id": number, "scale": float(one == adapter)} for number, one in enumerate(table)]} if table else {}

    async def start(self) -> None:
        """Start the child and wait until it serves; from then on it is kept alive.

        Raises ModelMissing without the file, ModelUnavailable when the child cannot serve it.
        """
        if not self.path.is_file():
            raise ModelMissing(f"{self.path} is not there: pull the model first")
        if self._supervisor is not None:
            return
        self._serve(await self._launch(self._adapters))

    async def use(self, adapters: Sequence[Adapter]) -> None:
        """Serve these adapters from now on. Calls in flight end where they began: a second child takes over, the first one finishes.

        Raises ModelUnavailable when llama.cpp cannot load them; then all stays as it was. One that is left out goes with the next restart.
        """
        async with self._switching:
            if self._supervisor is None or {a.id for a in adapters} <= self.loaded:
                self._adapters = tuple(adapters)
                return
            old, fresh = self._child, await self._launch(adapters)
            self._adapters = tuple(adapters)
            await self._unwatch()
            self._serve(fresh)
            if old is not None:
                task = asyncio.create_task(self._drain(old), name="llama.cpp, finishing")
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)

    async def stop(self) -> None:
        """End the child and wait for its end; nothing is left. May be called twice."""
        await self._unwatch()
        for task in tuple(self._draining):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        child, self._child = self._child, None
        if child is not None:
            await _end(child)

    def _serve(self, child: _Child) -> None:
        self._child = child
        self._supervisor = asyncio.create_task(self._supervise(child), name="llama.cpp supervisor")

    async def _unwatch(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None

    async def _drain(self, child: _Child) -> None:
        try:
            await asyncio.sleep(self._drain_seconds)
        finally:
            await _end(child)

    async def _supervise(self, child: _Child) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE
        while True:
            since = clock()
            await self._until_it_ends(child)
            child.url = ""
            if clock() - since > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            code = child.process.returncode
            _log.warning("llama.cpp ended with code %s and starts again in %.1f s; its log is %s", code, pause, self.log)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.restarts += 1
            try:
                self._child = child = await self._launch(self._adapters)
            except (ModelUnavailable, OSError) as e:
                _log.warning("llama.cpp did not come up: %s", e)

    async def _until_it_ends(self, child: _Child) -> None:
        """Return when the child has ended; end it when it no longer answers."""
        process = child.process
        failures = 0
        async with httpx.AsyncClient(trust_env=False, timeout=_POLL_SECONDS) as http:
            while process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await process.wait()
                    return
                failures = 0 if await _healthy(http, child.url) else failures + 1
                if failures == _POLL_FAILURES:
                    _log.warning("llama.cpp no longer answers and is ended")
                    await _end(child)

    async def _launch(self, adapters: Sequence[Adapter]) -> _Child:
        """Start one child; return when it serves. Raises ModelUnavailable."""
        present = [a for a in adapters if a.path.is_file()]
        for adapter in adapters:
            if adapter not in present:  # the base must serve whatever happened to one tenant's file
                _log.error("the adapter %s is gone from %s: deploy it again", adapter.id, adapter.path)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "frontdesk.models.local_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=settings.child_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal reaches us first, and we stop it in order
        )
        child = _Child(process=process, key=secrets.token_urlsafe(32), table=tuple(a.id for a in present))
        try:
            child.url = await self._loaded(child, [str(a.path.resolve()) for a in present])
        except BaseException:
            await _end(child)
            raise
        return child

    async def _loaded(self, child: _Child, adapters: Sequence[str]) -> str:
        """The address at which the child serves, once it does."""
        config = {
            "model": str(self.path.resolve()),
            "name": self.name,
            "key": child.key,
            "log": str(self.log),
            "parent": os.getpid(),
            "adapters": adapters,
            **self._shape,
        }
        process = child.process
        stdin, stdout = cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)
        try:
            stdin.write(json.dumps(config).encode() + b"\n")
            await stdin.drain()
            async with asyncio.timeout(self._load_seconds):
                answer = await stdout.readline()
        except TimeoutError:
            raise ModelUnavailable(f"llama.cpp did not load {self.path.name} within {self._load_seconds:g} s: see {self.log}") from None
        except ConnectionError:
            answer = b""
        if not answer:
            await process.wait()
            raise ModelUnavailable(f"llama.cpp cannot serve {self.path.name}{self._last_words()}: see {self.log}")
        return str(json.loads(answer)["url"])

    def _last_words(self) -> str:
        try:
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return f" ({lines[-1][:200]})" if lines else ""


async def _end(child: _Child) -> None:
    child.url = ""
    process = child.process
    if process.stdin is not None:
        process.stdin.close()  # the child takes this as its parent's end
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _healthy(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
