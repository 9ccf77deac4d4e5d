"""How soon an event is on the console's live page, with many operators looking: delay from the log to each browser at a fixed rate of events.

    python -m bench.console [--operators 50] [--rate 100] [--seconds 20]

A desk without models and its console run in a process of their own. Operators are websocket clients that take the page as a browser does and
note when a message arrives; where Chromium is installed, one of them is a real one, timed at the change of its page. Events are written to
the log by another process at the given rate, each with its time of writing. Bar: an event is on the screen within 1 s (95th percentile) at
100 events a second with 50 operators. Compared with in the same run: the same page with one operator.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import socketio

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import ConversationOpened, MessageReceived
from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.settings import Settings
from frontdesk.store.conversations import NO_TURN
from frontdesk.store.staff import COOKIE
from frontdesk.store.store import Store

TENANT = TenantId("larch")
MARK = re.compile(r"@(\d{13})@")
CONVERSATIONS = 12
BAR_SECONDS = 1.0


@dataclass
class Watching:
    """One operator's page: the delay of each newest event that arrived, in seconds."""

    delays: list[float] = field(default_factory=list)
    newest: int = 0

    def took(self, text: str) -> None:
        """Something arrived."""
        found = max((int(m) for m in MARK.findall(text)), default=0)
        if found > self.newest:
            self.newest = found
            self.delays.append(time.time() - found / 1000)


async def serve(data: Path, tenants: Path) -> None:
    """The desk and its console, until the process is stopped; prints its address."""
    from frontdesk import wiring
    from frontdesk.console.mounting import mount
    from frontdesk.server.app import create_app
    from frontdesk.server.logging_setup import configure
    from frontdesk.server.serving import bind, serving

    configure("error")
    settings = Settings(data=data, tenants=tenants, llm_url="none", embeddings_url="scripted:", rate_per_minute=0)
    async with wiring.running(settings) as office:
        app = create_app(office)
        mount(app, office)
        async with serving(app, bind("127.0.0.1", 0)) as url:
            following = asyncio.create_task(app.state.desk.analytics.run())
            print(url, flush=True)
            await asyncio.to_thread(sys.stdin.read)
            following.cancel()


async def write(store: Store, rate: float, seconds: float) -> int:
    """Events at a fixed rate, in an open loop, spread over some conversations; how many."""
    conversations = store.for_tenant(TENANT).conversations
    ids: list[ConversationId] = []
    for n in range(CONVERSATIONS):
        ids.append(await conversations.open(key=KeyId("bench"), customer=None, channel="bench"))
        await conversations.append(ids[n], NO_TURN, [ConversationOpened(channel="bench")])
    began, going = time.perf_counter(), set()
    count = int(rate * seconds)
    for n in range(count):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        text = f"@{int(time.time() * 1000)}@ where is parcel {n}?"
        task = asyncio.create_task(conversations.append(ids[n % CONVERSATIONS], NO_TURN, [MessageReceived(text=text)]))
        going.add(task)
        task.add_done_callback(going.discard)
    await asyncio.gather(*going)
    return count


@contextlib.asynccontextmanager
async def operator(url: str, cookie: str, watching: Watching) -> AsyncIterator[None]:
    """One websocket client on the live page."""
    head = {"Cookie": f"{COOKIE}={cookie}"}
    async with httpx.AsyncClient(base_url=url, headers=head, timeout=60, trust_env=False) as http:
        page = await http.get(f"/console/{TENANT}/live")
        page.raise_for_status()
    found = re.search(r"[\"']client_id[\"']: [\"']([0-9a-f-]{36})", page.text)
    assert found, "the page names no client"
    id = found[1]
    client = socketio.AsyncClient(reconnection=False)
    client.on("update", lambda data: watching.took(json.dumps(data)))
    given = {"client_id": id, "next_message_id": 0, "implicit_handshake": "true", "document_id": id, "tab_id": id, "old_tab_id": "null"}
    asked = "&".join(f"{k}={v}" for k, v in given.items())
    await client.connect(
        f"{url}?{asked}", headers=head, transports=["websocket"], socketio_path="/console/_nicegui_ws/socket.io", wait_timeout=30
    )
    try:
        yield
    finally:
        await client.disconnect()


@contextlib.contextmanager
def chromium(url: str, cookie: str) -> Iterator[Any]:
    """A real browser on the live page, or None where there is none."""
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not program or not driver:
        yield None
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.get(f"{url}/console/sign-in")
        browser.add_cookie({"name": COOKIE, "value": cookie, "path": "/console"})
        browser.get(f"{url}/console/{TENANT}/live")
        time.sleep(3)
        browser.execute_script(
            "window.delays = []; let newest = 0; new MutationObserver(() => { const at = Math.max(0, ...[...document.querySelector('.lives')"
            ".innerText.matchAll(/@(\\d{13})@/g)].map(m => +m[1])); if (at > newest) { newest = at; delays.push((Date.now() - at) / 1000); } })"
            ".observe(document.body, {subtree: true, childList: true, characterData: true});"
        )
        yield browser
    finally:
        browser.quit()


async def measure(url: str, store: Store, cookie: str, *, operators: int, rate: float, seconds: float, browser: Any) -> dict[str, Any]:
    """Delays with so many operators."""
    pages = [Watching() for _ in range(operators)]
    async with contextlib.AsyncExitStack() as stack:
        for page in pages:
            await stack.enter_async_context(operator(url, cookie, page))
        await asyncio.sleep(1.0)
        for page in pages:
            page.newest, page.delays = int(time.time() * 1000), []
        if browser is not None:
            browser.execute_script("window.delays = []")
        began = time.perf_counter()
        count = await write(store, rate, seconds)
        wrote = count / (time.perf_counter() - began)
        await asyncio.sleep(2.0)
        seen = browser.execute_script("return window.delays") if browser is not None else []
    return {"wrote": wrote, "clients": [d for p in pages for d in p.delays], "silent": sum(not p.delays for p in pages), "chromium": seen}


def told(name: str, delays: list[float]) -> str:
    """One row."""
    if not delays:
        return f"{name:44} nothing arrived"
    ordered = sorted(delays)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    within = "within" if p95 <= BAR_SECONDS else "MISSES"
    return f"{name:44} median {statistics.median(ordered):5.2f} s  p95 {p95:5.2f} s  most {ordered[-1]:5.2f} s  n {len(ordered):6}  {within} the bar of 1 s"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder with one tenant, which the embedded database may use whoever runs this."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "tenants" / TENANT).mkdir(parents=True)
        (root / "tenants" / TENANT / "tenant.yaml").write_text(f"id: {TENANT}\nname: Larch\n")
        yield root


async def main(operators: int, rate: float, seconds: float) -> None:
    """Serves, looks, writes, prints."""
    with folder() as root:
        store = await Store.open(Settings(data=root / "data"))
        server = subprocess.Popen(  # noqa: ASYNC220 - once, before anything is measured
            [sys.executable, "-m", "bench.console", "--serve", str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            url = (await asyncio.to_thread(server.stdout.readline)).strip()
            await store.staff.add("bench", StaffRole.VIEWER, password="", must_change=False)
            cookie = await store.staff.open_session("bench")
            with chromium(url, cookie) as browser:
                for n in (1, operators):
                    found = await measure(url, store, cookie, operators=n, rate=rate, seconds=seconds, browser=browser)
                    print(
                        f"{n} operators, {found['wrote']:.0f} events/s written (wanted {rate:g}), {found['silent']} pages without any event"
                    )
                    print(told("  websocket clients", found["clients"]))
                    if browser is not None:
                        print(told("  one of them in Chromium, at the page's change", found["chromium"]))
        finally:
            if server.stdin is not None:
                server.stdin.close()
            server.wait(30)
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operators", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve / "data", given.serve / "tenants"))
    else:
        asyncio.run(main(given.operators, given.rate, given.seconds))
