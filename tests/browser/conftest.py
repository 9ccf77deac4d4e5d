"""A desk, a shop on another origin that embeds its chat, a line between them that can be cut, and a headless Chromium."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.server.conftest import Served

from frontdesk.domain.conversation import Route, ToolCall
from frontdesk.domain.events import Event, ReplySent, SentenceReleased
from frontdesk.domain.knowledge import Citation, DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import HandoffContact, Role, Tenant, TenantId
from frontdesk.settings import Settings
from frontdesk.store.knowledge import NewDocument

T = TypeVar("T")
LINE = TenantId("larch-loom")
TRADE = TenantId("larch-loom-trade")
CUSTOMERS = [{"id": "cust-7", "name": "Ines Marlowe"}, {"id": "cust-8", "name": "Tom Okafor"}]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)

RETURNS = ReplySent(
    text="You can return unused linen within 45 days, and the return is free.\nTo start one:\n- keep the label\n- print the form from "
    "https://larch.example/returns\n- hand the parcel in at any counter\n**Cut-to-size fabric** is excluded.",
    route=Route.KNOWLEDGE,
    confidence=0.93,
    citations=(
        Citation(
            source="policies/returns.md",
            title="Returns and refunds",
            quote="Unused linen may be returned within 45 days of delivery. The return is free of charge.\nCut-to-size fabric is excluded.",
        ),
        Citation(source="faq", title="Can I return fabric?", quote="Fabric that was cut to size cannot be returned."),
    ),
)
ORDER = ReplySent(
    text="Your order 4711 left our workshop this morning and arrives on Thursday.",
    route=Route.DYNAMIC,
    confidence=0.97,
    tool_calls=(ToolCall(name="getOrder", arguments={"order": "4711"}, result={"status": "sent"}),),
)


def answer(message: str) -> Sequence[Event | float]:
    """Answers about an order from live data, about everything else from a document, sentence by sentence."""
    reply = ORDER if "order" in message else RETURNS
    head, _, tail = reply.text.partition(". ")
    sentences = [reply.text] if not tail else [f"{head}.", tail]
    return [0.3, *(SentenceReleased(text=s) for s in sentences), reply]


class Wire:
    """A TCP line to the desk that can be cut, and that can lose an answer after the request went through."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._up = True
        self.lose: bytes = b""
        """While set, the answer to the next request that begins with this never arrives."""
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._up = False
        for side in self._open:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._up = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                lost = threading.Event()
                threading.Thread(target=self._pump, args=(near, far, lost, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, lost, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, lost: threading.Event, asking: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if asking and self.lose and piece.startswith(self.lose):
                    self.lose = b""
                    lost.set()
                if not asking and lost.is_set():
                    break
                sink.sendall(piece)
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


class Shop:
    """A web site of its own, on its own origin, that serves what a test wrote."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, Mapping[str, str]]] = {}
        pages = self.pages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                html, headers = pages.get(self.path, ("", {}))
                self.send_response(200 if html else 404)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(html.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self, path: str, html: str, **headers: str) -> str:
        self.pages[path] = (
            f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>{html}",
            headers,
        )
        return self.url + path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Browser:
    """A Chromium, and the chat in its page as a customer sees it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def visit(self, url: str) -> None:
        self.driver.get(url)
        self.until(lambda: self.chat("chat.shadowRoot && true"), "the chat is in the page")

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def chat(self, expression: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression over `chat` (the element) and `root` (its shadow)."""
        return self.js(
            "const chat = document.querySelector('frontdesk-chat'), root = chat?.shadowRoot;"
            f"const all = (s) => [...(root?.querySelectorAll(s) ?? [])]; return chat && ({expression});",
            *arguments,
        )

    def until(self, true: Callable[[], T], what: str, seconds: float = 10) -> T:
        return WebDriverWait(self.driver, seconds, 0.03).until(lambda _: true(), f"waited in vain until {what}")

    def texts(self, selector: str) -> list[str]:
        return self.chat(f"all('{selector}').filter(e => e.checkVisibility()).map(e => e.innerText.trim())") or []

    def sees(self, text: str, selector: str = ".item", seconds: float = 10) -> None:
        self.until(lambda: any(text in t for t in self.texts(selector)), f"{text!r} stands in {selector}", seconds)

    def click(self, selector: str) -> None:
        """Clicks what stands there, which may be painted anew while it is looked for."""

        def clicked() -> bool:
            if not self.chat(f"root.querySelector('{selector}')?.checkVisibility()"):
                return False
            try:
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", self.element(selector))
                self.element(selector).click()
            except StaleElementReferenceException:
                return False
            return True

        self.until(clicked, f"{selector} is there")

    def element(self, selector: str) -> Any:
        return self.chat(f"root.querySelector('{selector}')")

    def press(self, *keys: str) -> None:
        actions = ActionChains(self.driver, duration=0)
        for key in keys:
            if key == "\n":
                actions.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT)
            else:
                actions.send_keys(key)
        actions.perform()

    def say(self, text: str) -> None:
        self.chat("root.querySelector('textarea').focus() || true")
        self.press(text, Keys.ENTER)

    def size(self, width: int, height: int, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def served_demo(settings: Settings, origins: Sequence[str]) -> Served:
    """A desk that demonstrates itself: two tenants with keys, two invented customers."""
    contact = HandoffContact(email="hello@larch.example", phone="+44 1632 960500", hours="Mon to Fri, 9 to 5")
    linen = "Bed linen, curtains and fabric by the metre, woven in our own workshop and sent to your door."
    trade = "Fabric by the roll for upholsterers, hotels and theatres, with trade terms and a named adviser."
    tenants = (
        Tenant(id=LINE, name="Larch & Loom", description=linen, handoff=contact, guardrails={"origins": list(origins)}),
        Tenant(id=TRADE, name="Larch & Loom Trade", description=trade, handoff=contact),
    )
    return Served(settings, tenants)


def demonstrate(served: Served) -> None:
    """Gives a running office the ports of a demonstration."""
    keys = {t.id: served.key(t.id, Role.WIDGET) for t in served.tenants}

    async def demo_keys() -> Mapping[TenantId, str]:
        return keys

    served.office.demo_keys = demo_keys  # type: ignore[attr-defined]
    served.office.demo_customers = lambda: {LINE: CUSTOMERS}  # type: ignore[attr-defined]


FAQ = (
    "Can I return bed linen?",
    "How long does delivery take?",
    "How do I wash linen without it shrinking?",
    "Where is my order?",
)


def stock(served: Served) -> None:
    """Gives the first tenant its FAQ, from which the page takes its example questions."""
    passages = [
        (
            Passage(
                id=PassageId(""), document=DocumentId(""), source="faq", title=q, kind=PassageKind.FAQ, text="See our terms.", ordinal=i
            ),
            np.eye(8, dtype=np.float32)[i],
            q,
        )
        for i, q in enumerate(FAQ)
    ]
    knowledge = served.office.store.for_tenant(LINE).knowledge
    served.do(knowledge.replace(NewDocument(source="faq", title="FAQ", sha256="0" * 64), passages))


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    site = Shop()
    yield site
    site.close()


@pytest.fixture(scope="session")
def one_desk(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data=tmp_path_factory.mktemp("browsed"), rate_per_minute=0)
    with served_demo(settings, [shop.url]) as running:
        stock(running)
        yield running


@pytest.fixture
def desk(one_desk: Served) -> Served:
    """A running desk, as if just started."""
    one_desk.office.front_office.forget()
    one_desk.office.front_office.script = answer
    demonstrate(one_desk)
    return one_desk


@pytest.fixture
def wire(desk: Served) -> Iterator[Wire]:
    line = Wire(int(desk.url.rsplit(":", 1)[1]))
    yield line
    line.close()


def launched(profile: Path, *more: str) -> webdriver.Chrome:
    """A Chromium; its absence is said aloud."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        missing = "Chromium or its driver is missing: the chat was NOT tested. `apt-get install chromium chromium-driver` brings both."
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}", *more):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One Chromium for the session."""
    running = launched(tmp_path_factory.mktemp("chromium"))
    yield running
    running.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[Browser]:
    """The browser with nothing remembered and a desktop's window."""
    fresh = Browser(chromium)
    fresh.size(1200, 800)
    chromium.execute_cdp_cmd("Network.enable", {})
    yield fresh
    origin = fresh.js("return location.origin")
    if str(origin).startswith("http"):
        fresh.js("localStorage.clear(); sessionStorage.clear();")
    chromium.get("about:blank")


@pytest.fixture
def embedded(desk: Served, shop: Shop) -> str:
    """A page of the shop with the one script tag."""
    key = desk.key(LINE, Role.WIDGET)
    tag = f'<script src="{desk.url}/widget.js" data-key="{key}" data-tenant-name="Larch &amp; Loom" async></script>'
    return shop.page("/", f"<title>Shop</title><h1>Linen</h1><p>Woven here.</p>{tag}")


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures are kept: FRONTDESK_TEST_SHOTS when somebody wants to look at them."""
    folder = Path(os.environ.get("FRONTDESK_TEST_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
