"""The chat as a customer meets it, in a real Chromium against a real server."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys
from tests.server.conftest import Served

from frontdesk.domain.conversation import ConversationId, Owner, Pending, Route, TurnId
from frontdesk.domain.events import (
    AgentReplied,
    CustomerRated,
    Event,
    MessageReceived,
    ReplySent,
    SentenceReleased,
    SlotRequested,
    TurnFailed,
)
from frontdesk.domain.tenancy import Role

from .conftest import LINE, RETURNS, TRADE, Browser, Shop, Wire

pytestmark = pytest.mark.browser
QUESTION = "Can I return bed linen?"


def messages(desk: Served) -> list[MessageReceived]:
    """Every message of the newest conversation, as the desk has it."""

    async def read() -> list[MessageReceived]:
        conversations = desk.office.store.for_tenant(LINE).conversations
        newest = (await conversations.list(limit=1))[0]
        return [r.event for r in await conversations.events(newest.conversation_id) if isinstance(r.event, MessageReceived)]

    return desk.do(read())


def newest(desk: Served) -> ConversationId:
    async def read() -> ConversationId:
        return (await desk.office.store.for_tenant(LINE).conversations.list(limit=1))[0].conversation_id

    return desk.do(read())


def append(desk: Served, *events: Event) -> None:
    desk.do(desk.office.store.for_tenant(LINE).conversations.append(newest(desk), TurnId("later"), events))


def own(desk: Served, conversation: ConversationId, owner: Owner, agent: str = "") -> None:
    desk.do(desk.office.store.for_tenant(LINE).conversations.set_owner(conversation, owner, agent=agent))


def test_one_script_tag_on_another_origin_gives_a_bubble_that_answers(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert browser.texts(".who b") == ["Larch & Loom"]


def test_a_page_with_a_strict_content_policy_may_carry_the_chat(browser: Browser, desk: Served, shop: Shop):
    key = desk.key(LINE, Role.WIDGET)
    policy = f"default-src 'none'; script-src {desk.url}; connect-src {desk.url}; require-trusted-types-for 'script'; trusted-types 'none'"
    tag = f'<body><script src="{desk.url}/widget.js" data-key="{key}" async></script>'
    browser.visit(shop.page("/strict", tag, **{"Content-Security-Policy": policy}))
    browser.driver.get_log("browser")
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert browser.chat("getComputedStyle(root.querySelector('.panel')).borderRadius") == "18px"
    assert not [line for line in browser.driver.get_log("browser") if "Content Security" in line["message"]]


def test_opening_puts_the_focus_into_the_field_and_escape_gives_it_back(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    assert browser.chat("root.activeElement.localName") == "textarea"
    browser.press(Keys.ESCAPE)
    assert browser.chat("root.activeElement.className") == "launcher"
    assert browser.texts(".panel") == []


def test_shift_enter_makes_a_line_and_enter_sends(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.press("First line", "\n", "second line", Keys.ENTER)
    browser.sees("within 45 days")
    assert [m.text for m in messages(desk)] == ["First line\nsecond line"]
    assert browser.chat("root.querySelector('textarea').value") == ""


def test_typing_shows_before_anything_is_sent(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    at_once = browser.chat(
        "(root.querySelector('textarea').value = 'Hello', root.querySelector('form').requestSubmit(), root.querySelector('.typing').checkVisibility())"
    )
    assert at_once is True
    browser.sees("within 45 days")
    assert browser.texts(".typing") == []


def test_sentences_show_as_they_are_released(browser: Browser, desk: Served, embedded: str):
    desk.office.front_office.script = lambda _m: [
        SentenceReleased(text="You have 45 days."),
        1.5,
        SentenceReleased(text="Returns are free."),
        ReplySent(text="You have 45 days. Returns are free.", route=Route.KNOWLEDGE, confidence=0.9),
    ]
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("You have 45 days.")
    assert "Returns are free." not in " ".join(browser.texts(".item"))
    assert browser.chat("root.querySelector('.desk').getAttribute('aria-busy')") == "true"
    browser.sees("You have 45 days. Returns are free.")
    browser.until(lambda: browser.chat("root.querySelector('.desk').getAttribute('aria-busy')") == "false", "the reply stands")
    assert len(browser.texts(".desk")) == 1


def test_a_citation_opens_on_the_words_of_the_source(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("Returns and refunds", "summary")
    assert browser.texts("blockquote") == []
    browser.click("details.source summary")
    assert browser.texts("blockquote") == [RETURNS.citations[0].quote]
    assert browser.texts("cite") == ["From policies/returns.md"]


def test_an_answer_from_live_data_says_so_and_others_do_not(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert browser.texts(".live") == []
    browser.say("Where is my order?")
    browser.sees("Live data", ".live")


def test_the_human_button_hands_over_and_a_person_is_shown_as_one(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    assert browser.texts(".human") == ["Talk to a person"]
    browser.click(".human")
    browser.sees("You asked for a person", ".note")
    browser.sees("+44 1632 960500", ".note")
    assert (browser.texts(".state"), browser.texts(".human")) == (["Waiting for a person"], ["Person asked"])
    own(desk, newest(desk), Owner.AGENT, "Kim")
    append(desk, AgentReplied(agent="Kim", text="Hello, Kim here."))
    browser.sees("Hello, Kim here.", ".agent .text")
    assert browser.texts(".agent .name") == ["Kim\nPerson"]
    assert browser.texts(".state") == ["Kim, a person"]
    own(desk, newest(desk), Owner.DESK)
    browser.sees("The assistant answers again.", ".note")
    assert browser.texts(".human") == ["Talk to a person"]


def test_a_reload_shows_the_same_conversation_once(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    before = newest(desk)
    browser.driver.refresh()
    browser.sees("within 45 days")
    assert (len(browser.texts(".customer")), len(browser.texts(".desk"))) == (1, 1)
    browser.say("Where is my order?")
    browser.sees("arrives on Thursday")
    assert newest(desk) == before


def test_pages_left_behind_hold_no_connection(browser: Browser, desk: Served, embedded: str):
    for _ in range(8):  # a browser opens six connections to one server
        browser.visit(embedded)
        browser.js("frontdesk.open()")
        browser.say(QUESTION)
        browser.sees("within 45 days")
        browser.driver.get("about:blank")


def test_what_happens_while_the_chat_is_closed_is_counted_on_the_bubble(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    browser.press(Keys.ESCAPE)
    append(desk, AgentReplied(agent="Kim", text="One more thing."))
    browser.sees("1", ".unread")
    assert browser.chat("root.querySelector('.launcher').getAttribute('aria-label')") == "Open chat, 1 new"


def test_a_lost_connection_is_said_and_mends_itself(browser: Browser, desk: Served, wire: Wire):
    browser.visit(wire.url)
    browser.say(QUESTION)
    browser.sees("within 45 days")
    wire.cut()
    browser.sees("Reconnecting", ".banner")
    append(desk, AgentReplied(agent="Kim", text="Said while you were away."))
    wire.mend()
    browser.sees("Said while you were away.", seconds=20)
    assert len(browser.texts(".item")) == 3
    browser.until(lambda: browser.texts(".banner") == [], "the banner is gone")


def test_a_message_that_could_not_be_sent_says_so_and_goes_out_once_on_retry(browser: Browser, desk: Served, wire: Wire):
    browser.visit(wire.url)
    browser.say(QUESTION)
    browser.sees("within 45 days")
    wire.cut()
    browser.say("Where is my order?")
    browser.sees("Not sent.", ".trouble", seconds=20)
    wire.mend()
    browser.click(".trouble .again")
    browser.sees("arrives on Thursday", seconds=20)
    assert [m.text for m in messages(desk)] == [QUESTION, "Where is my order?"]


def test_a_lost_answer_is_asked_for_again_under_the_same_retry_key(browser: Browser, desk: Served, wire: Wire):
    browser.visit(wire.url)
    browser.say(QUESTION)
    browser.sees("within 45 days")
    wire.lose = b"POST /api/conversations/"
    browser.say("Where is my order?")
    browser.sees("arrives on Thursday", seconds=20)
    browser.until(lambda: len(desk.office.front_office.calls) == 3, "the message was posted twice", 20)
    assert len({c["idempotency_key"] for c in desk.office.front_office.calls[1:]}) == 1
    assert [m.text for m in messages(desk)] == [QUESTION, "Where is my order?"]
    assert len(browser.texts(".customer")) == 2


def test_a_message_cut_off_by_a_reload_is_still_sent(browser: Browser, desk: Served, wire: Wire):
    browser.visit(wire.url)
    browser.say(QUESTION)
    browser.sees("within 45 days")
    wire.cut()
    browser.say("Where is my order?")
    wire.mend()
    browser.driver.refresh()
    browser.sees("arrives on Thursday", seconds=20)
    assert [m.text for m in messages(desk)] == [QUESTION, "Where is my order?"]


def test_a_failed_answer_says_so_and_can_be_asked_again(browser: Browser, desk: Served, embedded: str):
    desk.office.front_office.script = lambda _m: [TurnFailed(reason="broke")]
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("I could not finish this answer.", ".note")
    desk.office.front_office.script = lambda _m: [RETURNS]
    browser.click(".note .again")
    browser.sees("within 45 days")


def test_a_closed_conversation_is_followed_by_a_new_one(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    before = newest(desk)
    own(desk, before, Owner.CLOSED)
    browser.sees("This conversation is closed.", ".note")
    browser.say("Where is my order?")
    browser.sees("arrives on Thursday")
    assert newest(desk) != before


def test_a_question_with_choices_offers_them(browser: Browser, desk: Served, embedded: str):
    pending = Pending(kind="choice", question="Which one?", choices=("Cotton", "Linen"))
    desk.office.front_office.script = lambda _m: [
        SlotRequested(pending=pending),
        ReplySent(text="Which one?", route=Route.ELICIT, confidence=0.9),
    ]
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say("How do I wash it?")
    browser.sees("Linen", ".choices .pill")
    browser.chat("root.querySelector('.choices .pill:last-child').focus() || true")
    browser.chat("chat.setAttribute('data-tenant-name', 'Larch & Loom by another name') || true")
    assert browser.chat("root.activeElement.innerText") == "Linen", "whatever is painted again, a focused choice stays focused"
    browser.click(".choices .pill:last-child")
    browser.until(lambda: [m.text for m in messages(desk)][-1] == "Linen", "the choice is said")


def test_an_invalid_key_is_said_in_words(browser: Browser, desk: Served, shop: Shop):
    tag = f'<body><frontdesk-chat data-mode="page" data-key="fd_{LINE}_{"x" * 43}"></frontdesk-chat><script src="{desk.url}/widget.js"></script>'
    browser.visit(shop.page("/bad", tag))
    browser.sees("its key is not valid", ".banner")


def test_a_refused_token_makes_a_guest_and_tells_the_page(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.js("addEventListener('frontdesk:token-refused', () => window.refused = true); frontdesk.identify('a.b.c')")
    browser.sees("Your sign-in has expired", ".banner")
    assert browser.js("return window.refused")
    browser.say(QUESTION)
    browser.sees("within 45 days")


def test_a_customer_who_signs_in_gets_their_own_conversation_and_their_question_back(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say("Where is my order?")
    browser.sees("arrives on Thursday")
    browser.js("frontdesk.identify(arguments[0])", desk.token("cust-7", LINE))
    browser.sees("Where is my order?", ".ask")
    browser.click(".ask")
    browser.sees("arrives on Thursday")
    assert str(desk.office.front_office.calls[-1]["caller"].customer) == "cust-7"
    browser.js("frontdesk.identify(null)")
    browser.until(lambda: len(browser.texts(".customer")) == 1, "the guest's conversation is back")


def test_a_signed_in_customer_sees_and_erases_what_is_kept(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.js("return frontdesk.identify(arguments[0])", desk.token("cust-8", LINE))
    browser.say(QUESTION)
    browser.sees("within 45 days")
    menu(browser, "What do you know about me?")
    browser.sees("One conversation is kept about you.", ".sheet p")
    browser.click(".kept summary")
    browser.sees(QUESTION, ".kept li")
    browser.press(Keys.ESCAPE)
    menu(browser, "Erase what you know about me")
    browser.click(".danger")
    browser.sees("One conversation was erased.", ".sheet p")
    assert browser.texts(".item") == []


def test_a_signed_in_customer_puts_a_message_right_and_erases_one_conversation(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.js("return frontdesk.identify(arguments[0])", desk.token("cust-18", LINE))
    browser.say(QUESTION)
    browser.sees("within 45 days")
    menu(browser, "What do you know about me?")
    browser.click(".kept summary")
    browser.click(".kept li .pill")
    browser.js("arguments[0].value = 'I meant 60 days.'", browser.element(".kept li input"))
    browser.click(".kept li .pill")
    browser.sees("I meant 60 days.", ".kept li")
    browser.click(".kept .danger")
    browser.sees("Press again", ".kept .danger")
    browser.click(".kept .danger")
    browser.sees("One conversation was erased.", ".sheet p")
    assert browser.texts(".item") == []


def test_a_customer_says_how_it_went_and_it_is_kept(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    own(desk, newest(desk), Owner.CLOSED)
    browser.sees("This conversation is closed.", ".note")
    browser.click(".note .again")
    browser.click('.sheet [aria-label="Yes"]')
    browser.sees("Thank you.", ".sheet [role=status]")
    browser.click('.sheet [aria-label="4 of 5"]')
    browser.until(lambda: ratings(desk) == [(None, True), (4, None)], "both are kept")


def ratings(desk: Served) -> list[tuple[int | None, bool | None]]:
    events = desk.do(desk.office.store.for_tenant(LINE).conversations.events(newest(desk)))
    return [(r.event.score, r.event.solved) for r in events if isinstance(r.event, CustomerRated)]


def test_a_guest_is_told_that_nothing_more_is_known(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    menu(browser, "What do you know about me?")
    browser.sees("You are not signed in", ".sheet p")


def menu(browser: Browser, entry: str) -> None:
    browser.click("[aria-controls=menu]")
    browser.sees(entry, ".menu button")
    place = browser.texts(".menu > *").index(entry) + 1
    browser.click(f".menu > :nth-child({place})")


def test_a_new_conversation_begins_empty(browser: Browser, desk: Served, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    before = newest(desk)
    menu(browser, "New conversation")
    assert browser.texts(".item") == []
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert newest(desk) != before


@pytest.mark.parametrize("place", ["bubble", "page"])
def test_everything_fits_a_screen_of_360_pixels(browser: Browser, desk: Served, embedded: str, place: str):
    browser.size(360, 640)
    browser.visit(embedded if place == "bubble" else desk.url)
    if place == "bubble":
        browser.click(".launcher")
    browser.say("Can I return " + "averyveryverylongword" * 6 + "?")
    browser.sees("within 45 days")
    browser.click("details.source summary")
    assert browser.js("return document.scrollingElement.scrollWidth") <= 360
    assert browser.chat("root.querySelector('.scroll').scrollWidth <= root.querySelector('.scroll').clientWidth")
    for control in (".human", ".send", "textarea", "[aria-controls=menu]"):
        box = browser.chat(f"root.querySelector('{control}').getBoundingClientRect().toJSON()")
        assert 0 <= box["left"] < box["right"] <= 360, control
        assert 0 <= box["top"] < box["bottom"] <= 640, control


def test_every_control_has_a_name_and_the_log_is_announced(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    shown = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n.get("ignored")]
    controls = [n for n in shown if n[0] in ("button", "textbox", "link", "dialog", "DisclosureTriangle", "log")]
    assert {role for role, _ in controls} >= {"button", "textbox", "dialog", "log", "link"}
    assert [c for c in controls if not c[1]] == []
    assert browser.chat("root.querySelector('[role=log]').getAttribute('aria-live')") == "polite"


def test_everything_can_be_reached_with_the_keyboard(browser: Browser, embedded: str):
    browser.visit(embedded)
    browser.click(".launcher")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    reached = set()
    for _ in range(16):
        browser.press(Keys.TAB)
        reached.add(browser.chat("root.activeElement?.className || root.activeElement?.localName"))
    assert {"human", "icon", "summary", "a", "textarea", "scroll"} <= reached


def test_a_page_that_reads_from_right_to_left_mirrors_the_chat(browser: Browser, desk: Served, shop: Shop):
    key = desk.key(LINE, Role.WIDGET)
    tag = f'<body dir="rtl"><script src="{desk.url}/widget.js" data-key="{key}" data-open async></script>'
    browser.visit(shop.page("/rtl", tag))
    browser.say("هل يمكنني إرجاع الكتان؟")
    browser.sees("within 45 days")
    left = browser.chat(
        "root.querySelector('.customer .text').getBoundingClientRect().left - root.querySelector('.log').getBoundingClientRect().left"
    )
    assert abs(left) < 2
    assert browser.chat("getComputedStyle(root.querySelector('.customer .text')).direction") == "rtl"


def test_soft_text_is_readable_in_both_schemes(browser: Browser, embedded: str):
    for dark in (False, True):
        browser.size(1200, 800, dark=dark)
        browser.visit(embedded)
        browser.js("document.querySelector('frontdesk-chat').open()")
        ratios = browser.js(
            CONTRAST,
            [
                ["--soft", "--paper"],
                ["--ink", "--mine"],
                ["--on-accent", "--accent"],
                ["--accent", "--paper"],
                ["--human", "--human-tint"],
                ["--warn", "--warn-tint"],
                ["--soft", "--tint"],
            ],
        )
        assert min(ratios) >= 4.5, ratios


CONTRAST = """
const style = getComputedStyle(document.querySelector('frontdesk-chat'));
const light = (name) => {
  const hex = style.getPropertyValue(name).trim().slice(1), wide = hex.length === 3 ? [...hex].map(c => c + c).join('') : hex;
  const part = (i) => { const v = parseInt(wide.slice(i, i + 2), 16) / 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  return .2126 * part(0) + .7152 * part(2) + .0722 * part(4);
};
return arguments[0].map(([a, b]) => [light(a), light(b)].sort((x, y) => y - x)).map(([a, b]) => (a + .05) / (b + .05));
"""


def test_the_page_lets_one_choose_a_tenant_and_ask_its_question(browser: Browser, desk: Served):
    browser.visit(desk.url)
    assert browser.texts(".who b") == ["Larch & Loom"]
    browser.js("document.querySelectorAll('.card')[1].click()")
    browser.until(lambda: browser.texts(".who b") == ["Larch & Loom Trade"], "the other tenant's chat is there")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert desk.office.front_office.calls[-1]["caller"].tenant == TRADE


def test_the_page_signs_an_invented_customer_in(browser: Browser, desk: Served):
    browser.visit(desk.url)
    browser.until(lambda: browser.js("return document.querySelectorAll('#customer option').length") == 3, "the customers are offered")
    browser.js("const s = document.querySelector('#customer'); s.value = 'cust-7'; s.dispatchEvent(new Event('change'));")
    browser.until(lambda: browser.js("return document.querySelector('frontdesk-chat').dataset.token"), "the token is there")
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert str(desk.office.front_office.calls[-1]["caller"].customer) == "cust-7"


def test_without_a_demonstration_the_page_asks_for_a_key(browser: Browser, desk: Served):
    key = desk.key(LINE, Role.WIDGET)
    del desk.office.demo_keys  # type: ignore[attr-defined]
    browser.driver.get(desk.url)
    browser.until(lambda: browser.js("return document.querySelector('#keyless')?.checkVisibility()"), "the page asks for a key")
    field = browser.js("return document.querySelector('#key')")
    field.send_keys(f"fd_{LINE}_{'x' * 43}", Keys.ENTER)
    browser.until(lambda: "does not know" in browser.js("return document.querySelector('#keyless').innerText"), "the key is refused")
    field.clear()
    field.send_keys(key, Keys.ENTER)
    browser.until(lambda: browser.texts(".who b") == ["Larch & Loom"], "the chat is open")


def test_the_page_breaks_none_of_its_own_rules(browser: Browser, desk: Served):
    browser.driver.get_log("browser")
    browser.visit(desk.url)
    browser.say(QUESTION)
    browser.sees("within 45 days")
    assert [line["message"] for line in browser.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
