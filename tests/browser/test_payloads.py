"""S11 in the chat: hostile text from customers, agents, documents and replies is shown, never run, and calls nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.server.conftest import Served

from frontdesk.domain.conversation import Route, TurnId
from frontdesk.domain.events import AgentReplied, Event, MessageReceived, ReplySent
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import Role

from .conftest import LINE, Browser, Shop

pytestmark = pytest.mark.browser
CORES = (Path(__file__).parent / "payloads.txt").read_text(encoding="utf-8").splitlines()
PLACES = ("{}", "Words before {} and after.", "- first\n- {}\n- last", "**bold** [label {}](https://larch.example/)", "# {}\n\n1. {}")
PAYLOADS = [place.format(*(core,) * place.count("{}")) for core in CORES for place in PLACES]
ALLOWED = {"P", "UL", "OL", "LI", "BR", "A", "STRONG"}
# Any of these being called means that text ran. No content policy stands in the way on this page: rendering alone must hold.
TRAP = """
window.ran = [];
for (const name of ['alert', 'confirm', 'prompt', 'open', 'msgbox', 'eval']) window[name] = () => { window.ran.push(name); };
"""
RENDERED = """
const render = customElements.get('frontdesk-chat').renderText;
return arguments[0].map((text) => {
  const box = document.createElement('div');
  box.append(render(text));
  document.body.append(box);
  const all = [...box.querySelectorAll('*')];
  all.forEach((e) => ['mouseover', 'focus', 'toggle', 'error', 'load'].forEach((name) => e.dispatchEvent(new Event(name))));
  const names = [...new Set(all.map((e) => e.tagName))];
  const odd = all.flatMap((e) => [...e.attributes]).filter((a) => !['href', 'rel', 'target', 'dir', 'start', 'referrerpolicy'].includes(a.name));
  return {names, odd: odd.map((a) => a.name), links: all.filter((e) => e.href).map((e) => [e.href, e.textContent]), text: box.textContent};
});
"""


@pytest.fixture
def open_page(browser: Browser, desk: Served, shop: Shop) -> str:
    """A page without any content policy, its traps set before the chat is."""
    key = desk.key(LINE, Role.WIDGET)
    chat = f'<body><script src="{desk.url}/widget.js" data-key="{key}" data-open async></script>'
    url = shop.page("/open", f"<script>{TRAP}</script>{chat}")
    browser.visit(url)
    return url


def elsewhere(browser: Browser, *known: str) -> list[str]:
    """Requests that went to hosts off the list."""
    asked = browser.js("return performance.getEntriesByType('resource').map(e => e.name)")
    return [url for url in asked if urlsplit(url).netloc not in {urlsplit(k).netloc for k in known}]


def test_there_are_300_payloads():
    assert len(set(PAYLOADS)) == 300


def test_no_payload_becomes_more_than_text(browser: Browser, open_page: str):
    seen = browser.js(RENDERED, PAYLOADS)
    assert set().union(*(s["names"] for s in seen)) <= ALLOWED
    assert [s["odd"] for s in seen if s["odd"]] == []
    links = [link for s in seen for link in s["links"]]
    assert {urlsplit(href).scheme for href, _ in links} <= {"http", "https", "mailto", "tel"}
    assert [link for link in links if "@evil" in link[0]] == []
    assert [label for href, label in links if "evil" in href and "evil" not in label and "://" in label] == []
    assert browser.js("return window.ran") == []


def test_every_letter_of_a_payload_is_shown(browser: Browser, open_page: str):
    shown = [s["text"] for s in browser.js(RENDERED, [c for c in CORES if "](" not in c])]
    assert shown == [c for c in CORES if "](" not in c]


def test_nothing_runs_whoever_says_it(browser: Browser, desk: Served, shop: Shop, open_page: str):
    browser.say("Hello")
    browser.sees("within 45 days")
    conversations = desk.office.store.for_tenant(LINE).conversations

    async def say(places: range) -> None:
        identity = (await conversations.list(limit=1))[0].conversation_id
        for place in places:
            await conversations.append(identity, TurnId(f"evil-{place}"), everywhere(PAYLOADS[place]))

    for first in range(0, len(PAYLOADS), 50):
        desk.do(say(range(first, min(first + 50, len(PAYLOADS)))))
    browser.until(lambda: browser.chat("all('.agent').length") == len(PAYLOADS), "all of it is shown", 60)
    browser.chat("all('details').forEach(d => d.open = true) || true")
    browser.chat(
        "all('.log *').forEach(e => ['mouseover', 'focus', 'click'].forEach(n => e.localName === 'a' || e.dispatchEvent(new Event(n)))) || true"
    )
    assert set(browser.chat("[...new Set(all('.text *').map(e => e.tagName))]")) <= ALLOWED | {"SPAN"}
    assert set(browser.chat("[...new Set(all('blockquote *, summary span *, cite *, .name *').map(e => e.tagName))]")) <= {"SPAN", "I"}
    assert browser.js("return window.ran") == []
    assert elsewhere(browser, desk.url, shop.url) == []
    assert browser.js("return location.href") == open_page


def everywhere(payload: str) -> Sequence[Event]:
    """The payload as a customer's words, a reply, its citation's every field, an agent's name and words."""
    cited = Citation(source=payload, title=payload, quote=payload)
    return [
        MessageReceived(text=payload),
        ReplySent(text=payload, route=Route.KNOWLEDGE, confidence=0.5, citations=(cited,)),
        AgentReplied(agent=payload[:80], text=payload),
    ]
