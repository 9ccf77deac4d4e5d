"""A real desk over an invented ceramics shop, with its console, behind a server in a thread; and people of the staff who sign in."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser.conftest import chromium  # noqa: F401 - the fixture
from tests.server.conftest import logs  # noqa: F401 - the fixture

from frontdesk import wiring
from frontdesk.console.mounting import mount
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import ConversationOpened, Event, HandedOff, MessageReceived, ReplySent
from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, TenantId
from frontdesk.server.app import create_app
from frontdesk.server.serving import bind, serving
from frontdesk.settings import Settings
from frontdesk.store.conversations import NO_TURN
from frontdesk.store.staff import hashed

T = TypeVar("T")
KILN = TenantId("kiln-street")
YARD = TenantId("kiln-yard")
PASSWORD = "three glazed teapots"
PEOPLE = {"olga": StaffRole.OPERATOR, "ari": StaffRole.AGENT, "ben": StaffRole.AGENT, "vera": StaffRole.VIEWER}

TENANT = """\
id: kiln-street
name: Kiln Street
description: Stoneware cups, bowls and teapots, thrown by hand.
handoff: {email: hello@kiln.example, phone: "+44 1632 960700", hours: "Mon to Fri, 9 to 5"}
"""
FAQ = """\
# What the shop answers word for word.
- {question: How long does firing a special order take?, answer: "A special order is fired within 21 days."}
- question: Can the cups go into the dishwasher?
  answer: Yes, all stoneware is safe in the dishwasher.   # tested for years
- {question: Do you repair broken handles?, answer: "We glue handles on for £6, as long as no piece is missing."}
"""
POLICY = """\
# Returns

Unused pieces may be returned within 40 days of delivery. The postage of a return is £5.

# Classes

Throwing classes take place on Thursday evenings and cost £35.
"""
PANEL = '''\
"""How many conversations there are."""

from nicegui import ui

TITLE = "Count"


async def panel(visit):
    rows = await visit.space.conversations.list(limit=500)
    ui.label(f"{len(rows)} conversations of {visit.tenant.name}")
'''


@dataclass
class Consoled:
    """A running desk with its console."""

    settings: Settings
    office: wiring.Office = field(init=False)
    app: Any = field(init=False)
    url: str = field(init=False)
    _up: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Consoled:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._up.wait(180)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with wiring.running(self.settings) as self.office:
            await self.office.prepare()
            for name, role in PEOPLE.items():
                kept = await asyncio.to_thread(hashed, PASSWORD)
                await self.office.store.staff.add(name, role, password=kept, must_change=False, tenants=[KILN] if name == "ben" else [])
            self.app = create_app(self.office)
            mount(self.app, self.office)
            async with serving(self.app, bind("127.0.0.1", 0)) as self.url:
                following = asyncio.create_task(self.app.state.desk.analytics.run())
                self._up.set()
                await self._stop.wait()
                following.cancel()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that must run where the store lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ask(self, question: str, *, conversation: ConversationId | None = None, customer: str | None = None) -> tuple[str, ConversationId]:
        """The desk's answer to a customer, and the conversation."""

        async def talk() -> tuple[str, ConversationId]:
            caller = Caller(tenant=KILN, key=KeyId("shop"), role=Role.SERVER, customer=CustomerId(customer) if customer else None)
            said, found = "", conversation
            async with aclosing(self.office.front_office.talk(caller=caller, message=question, conversation=conversation)) as events:
                async for recorded in events:
                    found = recorded.conversation
                    if isinstance(recorded.event, ReplySent):
                        said = recorded.event.text
            assert found is not None
            return said, found

        return self.do(talk())

    def waiting(self, text: str = "I want to talk to a person.", customer: str | None = "cust-7", channel: str = "chat") -> ConversationId:
        """A conversation that waits for an agent."""

        async def make() -> ConversationId:
            conversations = self.office.store.for_tenant(KILN).conversations
            id = await conversations.open(key=KeyId("shop"), customer=CustomerId(customer) if customer else None, channel=channel)
            said: Sequence[Event] = [
                ConversationOpened(channel=channel, customer=customer),
                MessageReceived(text=text),
                HandedOff(category="requested", summary=f"Wants a person: {text}", promised="An agent answers soon."),
            ]
            await conversations.append(id, NO_TURN, said)
            return id

        return self.do(make())

    def says(self, id: ConversationId, text: str) -> None:
        """The customer writes once more."""
        self.do(self.office.store.for_tenant(KILN).conversations.append(id, NO_TURN, [MessageReceived(text=text)]))

    def scored(self) -> None:
        """All conversations are counted and scored, however fresh they are."""
        analytics = self.app.state.desk.analytics
        self.do(analytics.refresh(KILN))
        self.do(analytics.score_waiting(KILN, quiet=timedelta(0)))

    def said(self, id: ConversationId) -> list[Event]:
        """What happened in a conversation."""
        return [r.event for r in self.do(self.office.store.for_tenant(KILN).conversations.events(id))]


@pytest.fixture(scope="session")
def shop_folder(open_folder: Path) -> Path:
    """Two tenants as folders."""
    root = open_folder / "kilns"
    for name in (KILN, YARD):
        (root / name / "knowledge").mkdir(parents=True)
        (root / name / "tenant.yaml").write_text(TENANT.replace("kiln-street", name).replace("Kiln Street", name.replace("-", " ").title()))
        (root / name / "faq.yaml").write_text(FAQ)
        (root / name / "knowledge" / "policy.md").write_text(POLICY)
    return root


@pytest.fixture(scope="session")
def one_console(shop_folder: Path, open_folder: Path) -> Iterator[Consoled]:
    panels = open_folder / "panels"
    panels.mkdir()
    (panels / "count.py").write_text(PANEL)
    settings = Settings(
        data=open_folder / "console-data",
        tenants=shop_folder,
        llm_url="none",
        embeddings_url="scripted:",
        rate_per_minute=0,
        panels=str(panels),
    )
    with Consoled(settings) as running:
        yield running


@pytest.fixture
def desk(one_console: Consoled, shop_folder: Path) -> Consoled:
    """A running desk with its console."""
    return one_console


class Staffed:
    """A browser in which somebody of the staff is signed in."""

    def __init__(self, driver: webdriver.Chrome, desk: Consoled) -> None:
        self.driver, self.desk = driver, desk

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        self.driver.delete_all_cookies()
        self.driver.get(f"{self.desk.url}/console/sign-in")
        self.driver.delete_all_cookies()
        self.driver.find_element(By.NAME, "name").send_keys(name)
        self.driver.find_element(By.NAME, "password").send_keys(password)
        self.driver.find_element(By.TAG_NAME, "button").click()
        done = "return !location.pathname.endsWith('/sign-in') || !!document.querySelector('[role=alert]')?.innerText"
        self.until(lambda: self.driver.execute_script(done), "the form was answered")

    def visit(self, path: str) -> None:
        self.driver.get(f"{self.desk.url}/console/{KILN}/{path}")
        self.until(
            lambda: self.driver.execute_script(
                "return !!document.querySelector('.problem') || (!!window.socket?.connected && !!document.querySelector('.drawn'))"
            ),
            "the page is live",
        )

    def until(self, true: Any, what: str, seconds: float = 40) -> Any:
        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: true(), f"waited in vain until {what}")

    @property
    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def sees(self, text: str, seconds: float = 40) -> None:
        self.until(lambda: text in self.text, f"{text!r} is on the page", seconds)

    def click(self, text: str, selector: str = "button") -> None:
        """Clicks the first thing that says this."""
        find = "return [...document.querySelectorAll(arguments[0])].find(e => e.checkVisibility() && (e.innerText.trim().endsWith(arguments[1]) || e.ariaLabel === arguments[1]))"
        found = self.until(lambda: self.driver.execute_script(find, selector, text), f"{selector} {text!r} is there")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", found)

    def fill(self, label: str, text: str) -> None:
        """Types into the field of that label."""
        find = (
            "return [...document.querySelectorAll('input, textarea')].find(e => e.checkVisibility() && (e.ariaLabel === arguments[0] || "
            "e.placeholder === arguments[0] || e.closest('label')?.innerText.trim() === arguments[0]))"
        )
        field = self.until(lambda: self.driver.execute_script(find, label), f"the field {label!r} is there")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def shot(self, name: str) -> None:
        """A picture, kept when FRONTDESK_TEST_SHOTS names a folder."""
        if folder := os.environ.get("FRONTDESK_TEST_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f"{folder}/{name}.png")


@pytest.fixture
def browser(chromium: webdriver.Chrome, desk: Consoled) -> Iterator[Staffed]:  # noqa: F811 - the fixture above
    fresh = Staffed(chromium, desk)
    fresh.size(1360, 850)
    chromium.set_page_load_timeout(90)
    yield fresh
    chromium.get("about:blank")


@pytest.fixture
def restored(shop_folder: Path, desk: Consoled) -> Iterator[Path]:
    """The first tenant's folder; its FAQ is put back afterwards."""
    folder = shop_folder / KILN
    kept = {p: p.read_bytes() for p in (folder / "faq.yaml", folder / "knowledge" / "policy.md")}
    yield folder
    for path, content in kept.items():
        path.write_bytes(content)
    for extra in (folder / "knowledge").glob("*"):
        if extra not in kept:
            extra.unlink() if extra.is_file() else shutil.rmtree(extra)
    desk.do(desk.office.library.sync(desk.office.tenants[KILN]))
