"""The desk as its users run it: `frontdesk serve` as a child process, over small tenants written for these tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from frontdesk.domain.tenancy import CustomerId, Role, TenantId
from frontdesk.server.auth import issue_customer_token
from frontdesk.settings import Settings
from frontdesk.store.store import Store

ACME, OTHER = "acme", "other-line"
QUESTION = "How long may I return an umbrella?"
ANSWER = "Umbrellas can be returned for 45 days."
SECOND = "Where is the umbrella workshop?"
GREETING = "Hello"
HUMAN = "I want to talk to a human agent please"

_FAQ = {
    QUESTION: ANSWER,
    SECOND: "The umbrella workshop is in Pinewood Street.",
    "Do you repair broken ribs?": "Broken ribs are replaced free of charge in the first year.",
    "Can I pay in instalments?": "Orders above 90 euros can be paid in three instalments.",
}
_GUIDE = """# Care guide

## Drying

Leave a wet umbrella open for two hours before you fold it. A folded wet umbrella gets stains that no washing removes.

## Shipping

| Destination | Price |
| --- | --- |
| Inland | 4.50 euros |
| Islands | 11.20 euros |
"""
START_SECONDS = 240.0


def copied(data: Path, to: Path) -> Path:
    """A copy of a stopped desk's data folder: its index and its trained routers save a start most of its time."""
    subprocess.run(["cp", "-a", str(data), str(to)], check=True)
    return to


def write_tenants(folder: Path) -> Path:
    """Two small companies that sell umbrellas and nothing else."""
    for tenant in (ACME, OTHER):
        home = folder / tenant
        (home / "knowledge").mkdir(parents=True)
        (home / "tenant.yaml").write_text(
            f"id: {tenant}\nname: {tenant.title()}\ndescription: Sells umbrellas.\npersona: A calm clerk.\nlanguages: [en]\n"
            f"handoff:\n  email: help@{tenant}.example\n  phone: 01632 960000\n  hours: Monday to Friday 9am to 5pm\n"
        )
        pairs = [{"question": q, "answer": a if tenant == ACME else a.replace("45", "20")} for q, a in _FAQ.items()]
        (home / "faq.yaml").write_text(json.dumps(pairs))
        (home / "knowledge" / "care.md").write_text(_GUIDE)
    return folder


def environment(**extra: str) -> dict[str, str]:
    """No language model and hashed vectors, unless told otherwise: these tests are about the road, not the answer."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FRONTDESK_")}
    given = {"llm_url": "none", "embeddings_url": "scripted:", "rate_per_minute": "0", "burst_seconds": "0.3", **extra}
    return {**clean, **{f"FRONTDESK_{k.upper()}": v for k, v in given.items()}}


def command(*arguments: str, timeout: float = START_SECONDS, **extra: str) -> subprocess.CompletedProcess[str]:
    """`frontdesk ...` to its end."""
    line = [sys.executable, "-m", "frontdesk", *arguments]
    return subprocess.run(line, env=environment(**extra), capture_output=True, text=True, timeout=timeout, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`frontdesk serve` on a port of its own. May be killed and started again over the same data."""

    data: Path
    tenants: Path
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}.{self.port}.log"

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self, *, wait: bool = True) -> Server:
        line = [
            sys.executable,
            "-m",
            "frontdesk",
            "serve",
            "--tenants",
            str(self.tenants),
            "--data",
            str(self.data),
            "--port",
            str(self.port),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(line, env=environment(**self.extra), stdout=log, stderr=log, start_new_session=True)
        if wait:
            try:
                self.until_ready()
            except BaseException:
                self.end()
                raise
        return self

    def until_ready(self, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready: {self.log.read_text()[-3000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT, seconds: float = 60) -> int:
        """Told to stop; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def end(self) -> None:
        """Stopped, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                return
            self.kill()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def key(self, tenant: str = ACME, role: Role = Role.SERVER) -> str:
        return keys(self.data, (tenant, role))[0]

    def headers(self, tenant: str = ACME, role: Role = Role.SERVER) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key(tenant, role)}"}


def using(data: Path, work: Any) -> Any:
    """The result of `await work(store)` beside a running server."""

    async def run() -> Any:
        store = await Store.open(Settings(data=data))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def keys(data: Path, *wanted: tuple[str, Role]) -> list[str]:
    async def make(store: Store) -> list[str]:
        return [await store.for_tenant(TenantId(t)).keys.create(r) for t, r in wanted]

    return list(using(data, make))


def tokens(data: Path, *wanted: tuple[str, str]) -> list[str]:
    async def make(store: Store) -> list[str]:
        return [issue_customer_token(await store.signing_secret(), TenantId(t), CustomerId(c), time.time()) for t, c in wanted]

    return list(using(data, make))


def left_behind(data: Path) -> list[str]:
    """Processes that still work in this data folder."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(data) in line and process.info["pid"] != os.getpid():
            found.append(line)
    return found


def sse(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream, as their data."""
    for line in response.iter_lines():
        if line.startswith("data:") and line != "data: [DONE]":
            yield json.loads(line[5:])


def chat(text: str, *before: tuple[str, str], tenant: str = ACME, **more: Any) -> dict[str, Any]:
    """A completion's body."""
    said = [{"role": role, "content": content} for role, content in before]
    return {"model": tenant, "messages": [*said, {"role": "user", "content": text}], **more}
