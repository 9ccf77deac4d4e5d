"""What the chat looks like, kept as pictures for people to look at: a picture that is one flat colour fails, taste does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.conftest import Served

from frontdesk.domain.conversation import Owner
from frontdesk.domain.events import AgentReplied

from .conftest import Browser
from .test_widget import QUESTION, append, newest, own

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SIZES = {"desktop": (1280, 820, False), "desktop-dark": (1280, 820, True), "mobile": (360, 740, False), "mobile-dark": (360, 740, True)}


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_a_whole_conversation(browser: Browser, desk: Served, embedded: str, shots: Path, size: str):
    def picture(name: str) -> None:
        browser.chat("root.querySelector('.scroll').scrollTo(0, 1e6) || true")
        file = shots / f"{size}-{name}.png"
        assert browser.driver.save_screenshot(str(file))
        assert file.stat().st_size > 8_000

    browser.size(*SIZES[size])
    browser.visit(desk.url)
    picture("1-welcome")
    browser.say(QUESTION)
    browser.until(lambda: browser.texts(".typing"), "typing shows")
    picture("2-typing")
    browser.sees("within 45 days")
    browser.say("Where is my order?")
    browser.sees("arrives on Thursday")
    browser.click("details.source summary")
    picture("3-citation")
    browser.click(".human")
    browser.sees("You asked for a person", ".note")
    picture("4-person-asked")
    own(desk, newest(desk), Owner.AGENT, "Kim")
    append(desk, AgentReplied(agent="Kim", text="Hello, this is Kim. I have read everything above. Which parcel is it about?"))
    browser.sees("this is Kim")
    picture("5-person")
    browser.visit(embedded)
    picture("6-bubble")
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    picture("7-bubble-open")
    browser.click("[aria-controls=menu]")
    picture("8-menu")
