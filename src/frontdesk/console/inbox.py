"""The inbox: conversations that wait for people or are with them. Claim, answer, return, close; help for the agent beside it.

Exactly one party speaks to the customer. Who claims second is told who was first; a draft survives a reload, a sleep and another browser.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.analytics.assist import Suggestion
from frontdesk.analytics.metrics import REHEARSED
from frontdesk.console.conversation import summary_html, thread
from frontdesk.console.frame import card, content, empty, link, markup, page, sure
from frontdesk.console.telling import CATEGORIES, OWNERS, ago, place, result, short, spoken
from frontdesk.console.visiting import Visit
from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Speaker, TurnId
from frontdesk.domain.events import AgentReplied, Event, Recorded, SuggestionJudged
from frontdesk.domain.staff import Right
from frontdesk.errors import Conflict, FrontdeskError
from frontdesk.server.wording import customer_message
from frontdesk.store.desk import Handoff

LOOK_SECONDS = 0.5
KEEP_SECONDS = 0.4
"""How often a draft that changed is kept."""
NEWEST = 300
"""Events of a conversation that the inbox shows."""


@page("inbox", "Inbox", icon="inbox", right=Right.READ)
async def inbox(visit: Visit) -> None:
    """The queue."""
    await _inbox(visit, None)


@page("inbox/{conversation}", "Inbox", right=Right.READ)
async def inbox_with(visit: Visit, conversation: str) -> None:
    """The queue, with one conversation open."""
    await _inbox(visit, ConversationId(conversation))


async def _inbox(visit: Visit, chosen: ConversationId | None) -> None:
    known = None if chosen is None else await visit.space.conversations.load(chosen, any_caller=True)
    with content("Inbox", "Conversations that wait for people, the longest wait first, and those that agents have."):
        pass
    feed = visit.console.feeds.watch(visit.tenant.id)
    ui.context.client.on_delete(lambda: visit.console.feeds.leave(feed))
    with ui.element("div").classes("inbox" + (" chosen" if chosen else "")):
        listed = ui.element("div").classes("queue")
        with listed:
            queue = markup(_queue_html(visit, await visit.space.desk.handoffs(), chosen))
        if chosen is None or known is None:
            with ui.element("div").classes("work"):
                empty("Choose a conversation on the left. New ones appear by themselves.")
        else:
            await Work(visit, chosen, known).draw()
    seen = feed.changes

    async def look() -> None:
        nonlocal seen
        if feed.changes != seen:
            seen = feed.changes
            queue.set_content(_queue_html(visit, await visit.space.desk.handoffs(), chosen))

    ui.timer(LOOK_SECONDS, visit.doing(look))


def _queue_html(visit: Visit, rows: list[Handoff], chosen: ConversationId | None) -> str:
    people = [h for h in rows if h.channel != REHEARSED]
    played = [h for h in rows if h.channel == REHEARSED]
    html = _listed_html(visit, people, chosen) or '<p class="empty">Nobody waits.</p>'
    return html + (f"<h3>AI customers of rehearsals</h3>{_listed_html(visit, played, chosen)}" if played else "")


def _listed_html(visit: Visit, rows: list[Handoff], chosen: ConversationId | None) -> str:
    now = datetime.now(UTC)
    items = []
    for h in sorted(rows, key=lambda h: h.owner is not Owner.QUEUE):
        state = "waits" if h.owner is Owner.QUEUE else f"with {h.agent or 'an agent'}"
        why = CATEGORIES.get(h.category, h.category) or "taken from the desk"
        items.append(
            f'<li><a href="{visit.path("inbox", h.conversation_id)}" {"aria-current=page" if h.conversation_id == chosen else ""}>'
            f'<b>{escape(h.customer or "Guest")}</b> <span class="pill {h.owner.value}">{escape(state)}</span>'
            f"<span>{escape(why)}, {ago(h.at, now)}</span>"
            f"<small>{escape(short(h.summary, 120))}</small></a></li>"
        )
    return f"<ul>{''.join(items)}</ul>" if items else ""


class Work:
    """One conversation in an agent's hands."""

    def __init__(self, visit: Visit, id: ConversationId, known: Conversation) -> None:
        self._visit, self._id, self._known = visit, id, known
        self._last = 0
        self._suggested: Suggestion | None = None
        self._question = ""
        self._drawing = False
        self._kept: str | None = ""

    @property
    def _mine(self) -> bool:
        return self._known.owner is Owner.AGENT and self._known.agent == self._visit.staff.name

    async def draw(self) -> None:
        """Builds the thread, the reply box, and the help beside it."""
        with ui.element("div").classes("work"):
            with ui.row().classes("state"):
                self._state = ui.label().classes("strong")
                ui.space()
                self._acts = ui.row()
            self._thread = markup("", "thread tall")
            self._box = ui.column().classes("reply")
        with ui.element("div").classes("aside"):
            self._summary = ui.column().classes("wide")
            self._aside = ui.element("div").classes("aside")
        with self._summary:
            ui.button("Summarise", icon="summarize", on_click=self._visit.doing(self._summarise)).props("flat dense no-caps")
        await self._read()
        await self._draw_acts()
        ui.timer(LOOK_SECONDS, self._visit.doing(self._look))

    async def _events(self, after: int) -> list[Recorded]:
        found: list[Recorded] = []
        while page := await self._visit.space.conversations.events(self._id, after=found[-1].seq if found else after, limit=1000):
            found = (found + page)[-NEWEST:]
            if len(page) < 1000:
                break
        return found

    async def _read(self) -> None:
        events = await self._events(0)
        self._last = events[-1].seq if events else 0
        tones = await self._visit.space.ledger.tones([self._id])
        self._thread.set_content(await thread(self._visit, events, tones))
        where = f"document.getElementById('c{self._thread.id}')"
        ui.run_javascript(f"setTimeout(() => {{ const t = {where}; if (t) t.scrollTop = t.scrollHeight; }}, 120)")

    async def _look(self) -> None:
        """Takes up what happened meanwhile."""
        if self._drawing or not await self._visit.space.conversations.events(self._id, after=self._last, limit=1):
            return
        owner = (self._known.owner, self._known.agent)
        self._known = await self._visit.space.conversations.load(self._id, any_caller=True)
        await self._read()
        if (self._known.owner, self._known.agent) != owner:
            await self._draw_acts()
        elif self._mine:
            await self._draw_help()

    async def _draw_acts(self) -> None:
        """What may be done now: it depends on who has the conversation."""
        self._drawing = True
        try:
            known, visit = self._known, self._visit
            # All that is waited for comes first: two who draw at once must not both find the place empty.
            kept = await visit.space.work.draft(visit.staff.name, f"reply:{self._id}")
            self._state.set_text(f"With {known.agent or OWNERS[known.owner]}" if known.owner is not Owner.CLOSED else "Closed")
            self._acts.clear()
            self._box.clear()
            with self._acts:
                if visit.may(Right.ANSWER):
                    self._buttons()
            if self._mine and visit.may(Right.ANSWER):
                with self._box:
                    self._reply_box(str(kept.get("text", "")))
            await self._draw_help()
        finally:
            self._drawing = False

    def _buttons(self) -> None:
        if self._known.owner in (Owner.QUEUE, Owner.DESK):
            self._button("Claim", "back_hand", self._claim)
        elif self._known.owner is Owner.AGENT and not self._mine:
            self._button("Take over", "swap_horiz", self._take_over)
        if self._mine:
            self._button("Return to the desk", "undo", self._return, flat=True)
            self._button("Close", "task_alt", self._close, flat=True)

    def _button(self, says: str, icon: str, does: Callable[[], Any], *, flat: bool = False) -> None:
        ui.button(says, icon=icon, on_click=self._visit.doing(does)).props("no-caps " + ("flat" if flat else "unelevated"))

    # --- who has it ---

    async def _claim(self) -> None:
        await self._change(Owner.AGENT, expected=self._known.owner)
        ui.notify("It is yours. The desk is silent in it until you return it.", type="positive")

    async def _take_over(self) -> None:
        if await sure(f"{self._known.agent} has this conversation. Take it over?", yes="Take over"):
            await self._change(Owner.AGENT, expected=Owner.AGENT)

    async def _return(self) -> None:
        await self._change(Owner.DESK, expected=Owner.AGENT)
        ui.notify("The desk answers again.", type="positive")

    async def _close(self) -> None:
        note = await self._visit.analytics.closing_note(self._visit.tenant.id, self._id, self._visit.staff.name)
        with ui.dialog() as dialog, ui.card().classes("ask"):
            ui.label("Close this conversation").classes("strong")
            field = ui.textarea("Note for the record", value=note).props("outlined autogrow").classes("wide")
            with ui.row().classes("head-acts"):
                ui.button("Cancel", on_click=lambda: dialog.submit(None)).props("flat no-caps")
                ui.button("Close it", on_click=lambda: dialog.submit(field.value)).props("no-caps unelevated")
        said = await dialog
        if said is not None:
            await self._change(Owner.CLOSED, expected=Owner.AGENT, note=str(said)[:2000])

    async def _change(self, owner: Owner, *, expected: Owner, note: str = "") -> None:
        """One atomic step from one owner to the next. Raises Conflict with who was faster."""
        visit = self._visit
        staff = await visit.who(Right.ANSWER)
        if expected is Owner.AGENT and owner is not Owner.AGENT:
            await self._still_mine(staff.name)
        await visit.act(Right.ANSWER, f"conversation.{owner.value}", self._id, agent=staff.name)
        try:
            await visit.space.conversations.set_owner(
                self._id, owner, expected=expected, agent=staff.name if owner is Owner.AGENT else "", note=note
            )
        except Conflict:
            now = await visit.space.conversations.load(self._id, any_caller=True)
            who = now.agent or OWNERS[now.owner]
            raise Conflict(f"Somebody was faster: the conversation is with {who} now.") from None
        finally:
            self._known = await visit.space.conversations.load(self._id, any_caller=True)
            await self._read()
            await self._draw_acts()

    async def _still_mine(self, name: str) -> None:
        now = await self._visit.space.conversations.load(self._id, any_caller=True)
        if now.owner is not Owner.AGENT or now.agent != name:
            raise Conflict(f"The conversation is with {now.agent or OWNERS[now.owner]} now: claim it first.")

    # --- the reply ---

    def _reply_box(self, kept: str) -> None:
        about, visit = f"reply:{self._id}", self._visit
        self._field = ui.textarea(placeholder="Answer the customer…", value=kept)
        self._field.props("outlined autogrow aria-label='Your answer' input-style='max-height: 40vh'").classes("wide")
        self._kept = self._field.value
        with self._box:
            ui.timer(KEEP_SECONDS, visit.doing(lambda: self._keep(about)))
        # The browser keeps a copy too, for what is typed while the line is down.
        local = json.dumps(f"frontdesk:{visit.tenant.id}:{self._id}")
        self._field.on("input", js_handler=f"(e) => localStorage.setItem({local}, e.target?.value ?? '')")
        self._field.on("keydown.ctrl.enter", visit.doing(self._send))
        with ui.row().classes("wide"):
            ui.button("Send", icon="send", on_click=visit.doing(self._send)).props("no-caps unelevated")
            ui.button("Check wording", icon="spellcheck", on_click=visit.doing(self._check)).props("no-caps flat")
            ui.space()
            ui.label("Ctrl+Enter sends. The draft is kept.").classes("soft")
        self._remarks = ui.column().classes("wide")
        if not self._field.value:
            ui.timer(0.3, visit.doing(lambda: self._from_browser(local)), once=True)

    async def _from_browser(self, key: str) -> None:
        with contextlib.suppress(TimeoutError):
            said = str(await ui.run_javascript(f"localStorage.getItem({key}) ?? ''", timeout=5.0) or "")
            if said and not self._field.value:
                self._field.set_value(said)

    async def _keep(self, about: str) -> None:
        """Keeps the draft when it changed. What is typed reaches this process key by key, so that sending never sends an older text."""
        if self._field.value == self._kept:
            return
        visit, self._kept = self._visit, self._field.value
        await visit.space.work.put_draft(visit.staff.name, about, {"text": self._field.value or ""}, conversation=self._id)

    async def _send(self) -> None:
        visit, about = self._visit, f"reply:{self._id}"
        text = customer_message(self._field.value or "", visit.office.settings.max_message_chars, "text")
        staff = await visit.who(Right.ANSWER)
        await self._still_mine(staff.name)
        await visit.act(Right.ANSWER, "conversation.agent_message", self._id, agent=staff.name)
        said: list[Event] = [AgentReplied(agent=staff.name, text=text)]
        if self._suggested is not None:
            outcome = "accepted" if text.strip() == self._suggested.text.strip() else "edited"
            said.append(self._judged(self._suggested, staff.name, outcome, text))
        if not await visit.space.conversations.append(self._id, TurnId(uuid.uuid4().hex), said, if_owner=Owner.AGENT):
            raise Conflict("The conversation changed hands while you wrote: claim it again. Your draft is kept.")
        self._suggested = None
        self._field.set_value("")
        self._kept = ""
        await visit.space.work.drop_draft(staff.name, about)
        ui.run_javascript(f"localStorage.removeItem({json.dumps(f'frontdesk:{visit.tenant.id}:{self._id}')})")
        await self._read()
        await self._draw_help()

    async def _check(self) -> None:
        remarks = await self._visit.analytics.wording(self._visit.tenant.id, self._field.value or "", self._id)
        self._remarks.clear()
        with self._remarks:
            for r in remarks:
                said = f"<b>“{escape(short(r.quote, 80))}”</b> " if r.quote else ""
                markup(f'<p class="remark">{said}{escape(r.advice)}</p>')
            if not remarks:
                ui.label("Nothing to remark.").classes("soft")

    def _judged(self, s: Suggestion, agent: str, outcome: str, sent: str = "") -> SuggestionJudged:
        sources = (s.source,) if s.source else ()
        return SuggestionJudged(agent=agent, suggestion=s.text, outcome=outcome, sent=sent, question=self._question, sources=sources)

    # --- help ---

    async def _draw_help(self) -> None:
        visit, found, trouble = self._visit, None, ""
        if self._known.owner is not Owner.CLOSED:
            try:
                found = await visit.analytics.help(visit.tenant.id, self._id)
            except FrontdeskError as problem:
                trouble = f"No help now: {problem}"
        self._aside.clear()
        with self._aside:
            if found is None:
                if trouble:
                    empty(trouble)
                return
            self._question = found.question
            for alert in found.alerts:
                markup(f'<p class="alert {escape(alert.kind)}">{escape(alert.text)}</p>')
            with card("Suggested replies"):
                for s in found.suggestions[:3]:
                    self._suggestion(s)
                if not found.suggestions:
                    empty("No source answers what was asked last.")
            self._further(found)

    async def _summarise(self) -> None:
        """What it is about, what was done and promised, in place of the button."""
        inside = await self._visit.analytics.inside(self._visit.tenant.id, self._id)
        self._summary.clear()
        with self._summary, card("Summary", "The numbers are turns."):
            markup(summary_html(inside.summary), "summary")
            ui.button("Anew", icon="refresh", on_click=self._visit.doing(self._summarise)).props("flat dense no-caps")

    def _suggestion(self, s: Suggestion) -> None:
        with ui.element("div").classes("suggestion"):
            ui.label(s.text)
            told = "an agent sent this before" if s.basis == "agent" else place(s.source, s.title)
            ui.label(told).classes("soft")
            if self._mine and self._visit.may(Right.ANSWER):
                with ui.row():
                    ui.button("Use", icon="north_west", on_click=lambda: self._use(s)).props("flat dense no-caps")
                    ui.button("Not good", icon="thumb_down", on_click=self._visit.doing(lambda: self._reject(s))).props(
                        "flat dense no-caps"
                    )

    def _use(self, s: Suggestion) -> None:
        self._suggested = s
        self._field.set_value(s.text)
        self._field.run_method("focus")

    async def _reject(self, s: Suggestion) -> None:
        staff = await self._visit.who(Right.ANSWER)
        await self._visit.space.conversations.append(self._id, TurnId(""), [self._judged(s, staff.name, "rejected")])
        ui.notify("Noted: it will be suggested less.", type="positive")
        await self._draw_help()

    def _further(self, found: Any) -> None:
        if found.next_question:
            with card("Ask next"):
                ui.label(found.next_question)
        if found.customer_questions:
            with card("May be asked next", "What the FAQ answers near to this."):
                markup("<ul>" + "".join(f"<li>{escape(q)}</li>" for q in found.customer_questions) + "</ul>")
        for objection in found.objections:
            with card(f"Doubt: {objection.kind}", f"“{short(objection.said, 120)}”"):
                markup("<ul>" + "".join(f"<li>{escape(w)}</li>" for w in objection.ways) + "</ul>")
        if found.record:
            with card("What is known"):
                rows = "".join(f"<dt>{escape(spoken(str(k)))}</dt><dd>{escape(result(v))}</dd>" for k, v in list(found.record.items())[:12])
                markup(f"<dl>{rows}</dl>")
        if found.passages:
            with card("Passages"):
                for hit in found.passages[:3]:
                    told = escape(place(hit.passage.source, hit.passage.title))
                    markup(f"<details><summary>{told}</summary><p>{escape(short(hit.passage.text, 700))}</p></details>")
        customers = [u for u in self._known.utterances if u.speaker is Speaker.CUSTOMER]
        markup(
            f'<p class="soft">{len(customers)} message{"s" * (len(customers) != 1)} of the customer. {link(self._visit, "Everything about it", "conversations", self._id)}</p>'
        )
