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
from pathlib import Path
from typing import cast

import httpx

from frontdesk import settings
from frontdesk.errors import ModelMissing, ModelUnavailable

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_STEADY_SECONDS = 30.0
"""A child that lived this long did not fail at once: the next restart is quick again."""
_POLL_SECONDS = 5.0
_POLL_FAILURES = 3
_GRACE_SECONDS = 2.0


class LocalModel:
    """One GGUF file, served. `url` and `key` change with each restart: give a `ChatClient` callables for them."""

    def __init__(
        self, path: Path, *, threads: int, slots: int, context: int, data: Path, name: str = "", load_seconds: float = 120.0
    ) -> None:
        """`context` in tokens for each of `slots` calls at once; the log goes to data/logs/llama.log."""
        self.path = path
        self.name = name or path.stem
        self.restarts = 0
        self.log = data.resolve() / "logs" / "llama.log"
        self._shape = {"threads": threads, "slots": slots, "context": context}
        self._load_seconds = load_seconds
        self._url = ""
        self._key = ""
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Base address while the child serves; "" while it does not."""
        return self._url

    @property
    def key(self) -> str:
        """Bearer key of the child that runs now."""
        return self._key

    @property
    def alive(self) -> bool:
        """Whether a child is up and serving."""
        return bool(self._url)

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it serves; from then on it is kept alive.

        Raises ModelMissing without the file, ModelUnavailable when the child cannot serve it.
        """
        if not self.path.is_file():
            raise ModelMissing(f"{self.path} is not there: pull the model first")
        if self._supervisor is not None:
            return
        try:
            await self._launch()
        except BaseException:
            await self._end_process()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="llama.cpp supervisor")

    async def stop(self) -> None:
        """End the child and wait for its end; nothing is left. May be called twice."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._end_process()

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE
        while True:
            since = clock()
            await self._until_it_ends()
            self._url = ""
            code = self._process.returncode if self._process else None
            if clock() - since > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            _log.warning("llama.cpp ended with code %s and starts again in %.1f s; its log is %s", code, pause, self.log)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.restarts += 1
            try:
                await self._launch()
            except (ModelUnavailable, OSError) as e:
                _log.warning("llama.cpp did not come up: %s", e)
                await self._end_process()

    async def _until_it_ends(self) -> None:
        """Return when the child has ended; end it when it no longer answers."""
        process = self._process
        if process is None:
            return
        failures = 0
        async with httpx.AsyncClient(trust_env=False, timeout=_POLL_SECONDS) as http:
            while process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await process.wait()
                    return
                failures = 0 if await _healthy(http, self._url) else failures + 1
                if failures == _POLL_FAILURES:
                    _log.warning("llama.cpp no longer answers and is ended")
                    await self._end_process()

    async def _launch(self) -> None:
        """Start one child; return when it serves. Raises ModelUnavailable."""
        self._key = secrets.token_urlsafe(32)
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "frontdesk.models.local_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=settings.child_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal reaches us first, and we stop it in order
        )
        config = {
            "model": str(self.path.resolve()),
            "name": self.name,
            "key": self._key,
            "log": str(self.log),
            "parent": os.getpid(),
            **self._shape,
        }
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
        self._url = str(json.loads(answer)["url"])

    async def _end_process(self) -> None:
        self._url = ""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the child takes this as its parent's end
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _last_words(self) -> str:
        try:
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return f" ({lines[-1][:200]})" if lines else ""


async def _healthy(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
