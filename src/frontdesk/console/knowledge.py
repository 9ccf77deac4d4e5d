"""Knowledge: the FAQ edited as a draft, tried, and published with the answers that change; documents, history and recalls beside it.

The tenant's folder is the source of truth: publishing writes the file, keeps the version, and brings the index in step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.console.documents import documents, history, recall
from frontdesk.console.doubts import doubts
from frontdesk.console.folder import Change, Folder, checked_pair, same
from frontdesk.console.frame import card, content, empty, markup, page
from frontdesk.console.telling import short
from frontdesk.console.trying import Answered, trying
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.knowledge import FAQ_SOURCE, FaqPair
from frontdesk.domain.staff import Right
from frontdesk.errors import BadInput, FrontdeskError, NotFound

SHOWN = 60
"""Pairs that are drawn at once; the search field finds the others."""
DRAFT = "faq"


@page("knowledge", "Knowledge", icon="menu_book")
async def knowledge(visit: Visit) -> None:
    """What the desk knows."""
    with content("Knowledge", "The FAQ and the documents that the desk answers from. Nothing changes for customers until you publish."):
        pass
    if visit.tenant.folder is None:
        empty("This tenant has no folder to edit.")
        return
    folder = Folder(visit.tenant)
    refused = await asyncio.to_thread(folder.writable)
    if refused:
        markup(f'<p class="alert">{escape(refused)}</p>')
    names = {"faq": "FAQ", "documents": "Documents", "gaps": "Gaps", "check": "Check", "history": "History", "recall": "Recall"}
    wanted = visit.request.query_params.get("tab", "faq")
    with ui.tabs().props("no-caps dense align=left inline-label") as tabs:
        for name, title in names.items():
            ui.tab(name, label=title)
    with ui.tab_panels(tabs, value=wanted if wanted in names else "faq", animated=False).classes("wide bare"):
        editor = FaqEditor(visit, folder)
        with ui.tab_panel("faq"):
            await editor.draw()
        with ui.tab_panel("documents"):
            await documents(visit, folder)
        with ui.tab_panel("gaps"):
            await _gaps(visit, lambda question, answer: _take(tabs, editor, question, answer))
        with ui.tab_panel("check"):
            doubts(visit, lambda question: _open(tabs, editor, question))
        with ui.tab_panel("history"):
            await history(visit, folder)
        with ui.tab_panel("recall"):
            await recall(visit)


def _take(tabs: ui.tabs, editor: FaqEditor, question: str, answer: str) -> None:
    tabs.set_value("faq")
    editor.edit(None, question, answer)


def _open(tabs: ui.tabs, editor: FaqEditor, question: str) -> None:
    tabs.set_value("faq")
    editor.edit(editor.pair(question))


class FaqEditor:
    """One operator's draft of the FAQ."""

    def __init__(self, visit: Visit, folder: Folder) -> None:
        self._visit, self._folder = visit, folder
        self._pairs: list[FaqPair] = []
        self._changes: list[Change] = []
        self._filter = ""

    async def draw(self) -> None:
        """Builds the draft's box, the form and the list."""
        visit = self._visit
        self._pairs = await asyncio.to_thread(self._folder.pairs)
        kept = await visit.space.work.draft(visit.staff.name, DRAFT)
        self._changes = [Change.from_json(c) for c in kept.get("changes", ())]
        self._draft = ui.column().classes("wide")
        with card("Try it", "What the desk answers now, and with your changes. Live data is left out."):
            with ui.row().classes("wide nowrap"):
                self._question = ui.input(placeholder="A customer's question").props("dense outlined aria-label='Question to try'")
                self._question.classes("grow").on("keydown.enter", visit.doing(self._try))
                ui.button("Ask", on_click=visit.doing(self._try)).props("no-caps unelevated")
            self._tried = markup("")
        with ui.row().classes("wide nowrap"):
            ui.input(placeholder="Find a pair", on_change=lambda e: self._find(e.value)).props(
                "dense outlined clearable debounce=200 aria-label='Find a pair'"
            ).classes("grow")
            if visit.may(Right.KNOWLEDGE):
                ui.button("Add a pair", icon="add", on_click=lambda: self.edit(None)).props("no-caps unelevated")
        self._list = ui.column().classes("wide")
        self._redraw()

    def _find(self, text: str | None) -> None:
        self._filter = (text or "").casefold()
        self._draw_list()

    def _redraw(self) -> None:
        self._draw_draft()
        self._draw_list()

    def _draw_list(self) -> None:
        self._list.clear()
        found = [p for p in self._pairs if self._filter in f"{p.question} {p.answer}".casefold()]
        touched = {c.was.casefold(): c for c in self._changes if c.was}
        with self._list:
            for pair in found[:SHOWN]:
                self._row(pair, touched.get(pair.question.casefold()))
            if len(found) > SHOWN:
                empty(f"{len(found) - SHOWN} more: use the search field.")
            if not found:
                empty("No pair here.")

    def _row(self, pair: FaqPair, change: Change | None) -> None:
        state = "" if change is None else " changed" if change.pair else " gone"
        with ui.element("article").classes(f"pair{state}"), ui.row().classes("wide nowrap"):
            markup(f"<b>{escape(pair.question)}</b><div>{escape(pair.answer)}</div>", "grow")
            if self._visit.may(Right.KNOWLEDGE):
                with ui.row().classes("nowrap"):
                    ui.button(icon="edit", on_click=lambda: self.edit(pair)).props("flat round dense").props(
                        f'aria-label="Edit: {escape(short(pair.question, 60))}"'
                    )
                    ui.button(icon="delete_outline", on_click=self._visit.doing(lambda: self._put(pair, None))).props(
                        f'flat round dense aria-label="Remove: {escape(short(pair.question, 60))}"'
                    )

    def pair(self, question: str) -> FaqPair:
        """The pair as it is served. Raises NotFound when the file has it no more."""
        found = next((p for p in self._pairs if same(p.question, question)), None)
        if found is None:
            raise NotFound("The FAQ has no such pair any more: reload the page.")
        return found

    def edit(self, pair: FaqPair | None, question: str = "", answer: str = "") -> None:
        """The form for one pair; None: a new one."""
        change = next((c for c in self._changes if pair and same(c.was, pair.question) and c.pair), None)
        now = change.pair if change and change.pair else pair
        with ui.dialog(value=True) as dialog, ui.card().classes("ask wider"):
            ui.label("Edit the pair" if pair else "A new pair").classes("strong")
            asked = ui.input("Question", value=now.question if now else question).props("outlined autofocus").classes("wide")
            told = ui.textarea("Answer, word for word as the desk will say it", value=now.answer if now else answer)
            told.props("outlined autogrow").classes("wide")

            async def keep() -> None:
                await self._put(pair, checked_pair(asked.value or "", told.value or ""))
                dialog.close()

            with ui.row().classes("head-acts"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Keep in the draft", on_click=self._visit.doing(keep)).props("no-caps unelevated")

    async def _put(self, before: FaqPair | None, after: FaqPair | None) -> None:
        await self._visit.who(Right.KNOWLEDGE)
        was = before.question if before else ""
        self._changes = [c for c in self._changes if not (was and same(c.was, was))]
        if after != before:
            self._changes.append(Change(was=was, pair=after, stood=before.answer if before else ""))
        await self._keep()

    async def _keep(self) -> None:
        work, name = self._visit.space.work, self._visit.staff.name
        if self._changes:
            await work.put_draft(name, DRAFT, {"changes": [c.to_json() for c in self._changes]})
        else:
            await work.drop_draft(name, DRAFT)
        self._redraw()

    def _draw_draft(self) -> None:
        self._draft.clear()
        if not self._changes:
            return
        with (
            self._draft,
            card(f"Your draft: {len(self._changes)} change{'s' * (len(self._changes) != 1)}", "Only you see it until you publish."),
        ):
            for change in self._changes:
                self._draft_row(change)
            with ui.row():
                ui.button("Publish…", icon="publish", on_click=self._visit.doing(self._publish)).props("no-caps unelevated")
                ui.button("Throw away", on_click=self._visit.doing(self._throw)).props("no-caps flat")

    def _draft_row(self, change: Change) -> None:
        words = "New" if not change.was else "Removed" if change.pair is None else "Changed"
        after = f"<b>{escape(change.pair.question)}</b><br>{escape(short(change.pair.answer, 400))}" if change.pair else "<i>nothing</i>"
        before = f"<b>{escape(change.was)}</b><br>{escape(short(change.stood, 400))}" if change.was else "<i>nothing</i>"

        async def back() -> None:
            self._changes.remove(change)
            await self._keep()

        with ui.row().classes("wide nowrap"):
            markup(
                f'<div class="diff"><div><small>{words}, before</small><br>{before}</div><div><small>after</small><br>{after}</div></div>',
                "grow",
            )
            ui.button(icon="undo", on_click=self._visit.doing(back)).props("flat round dense aria-label='Take this change back'")

    async def _throw(self) -> None:
        self._changes = []
        await self._keep()

    async def _try(self) -> None:
        question = (self._question.value or "").strip()
        if not question:
            raise BadInput("Type a question first.")
        self._tried.set_content('<p class="soft">Reading…</p>')
        async with trying(self._visit.office, self._visit.tenant, self._changes) as trial:
            found = await trial.ask(question)
        if self._changes:
            self._tried.set_content(answered_html(found))
        else:
            self._tried.set_content(f'<div class="diff"><div><small>The desk answers</small><br>{escape(found.before)}</div></div>')

    async def _publish(self) -> None:
        """Shows the answers that change, and publishes on a yes."""
        await self._visit.who(Right.KNOWLEDGE)
        changes = list(self._changes)
        content_then = await asyncio.to_thread(self._folder.faq_bytes, changes)
        with ui.dialog(value=True).props("persistent") as dialog, ui.card().classes("ask wider"):
            ui.label("Answers that change").classes("strong")
            told = markup('<p class="soft">Trying the changed pairs and what customers asked lately…</p>', "wide changed-answers")
            bar = ui.linear_progress(0, show_value=False)
            note = ui.input("Why (for the history)").props("outlined dense").classes("wide")
            with ui.row().classes("head-acts"):
                ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps")
                yes = ui.button("Publish", on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
                yes.disable()
        try:
            async with trying(self._visit.office, self._visit.tenant, changes) as trial:
                found = await trial.changed(partial(_show_progress, bar))
            told.set_content(changed_html(found))
        except FrontdeskError as problem:
            told.set_content(f'<p class="alert">The answers could not be tried: {escape(str(problem))}</p>')
        bar.set_visibility(False)
        yes.enable()
        if await dialog:
            await publish(self._visit, self._folder, self._folder.faq_name(), content_then, note=note.value or "", changes=len(changes))
            self._changes = []
            await self._visit.space.work.drop_draft(self._visit.staff.name, DRAFT)
            self._pairs = await asyncio.to_thread(self._folder.pairs)
            self._redraw()
            ui.notify("Published. The desk answers with it from now on.", type="positive")


async def publish(visit: Visit, folder: Folder, path: str, content: bytes, *, note: str, **detail: Any) -> None:
    """Writes a file of the folder, keeps both versions, and brings the index in step. What the index refuses is taken back.

    Raises NotAllowed, Conflict (a folder that cannot be written), BadTenant and BadInput.
    """
    space = await visit.act(Right.KNOWLEDGE, "knowledge.publish", path, note=note, **detail)
    staff = visit.staff.name
    before = await asyncio.to_thread(folder.read, path)
    if before is not None and before != await space.work.newest(path):
        await space.work.add_version(path, before, actor="the folder", note="as it stood")
    await asyncio.to_thread(folder.write, path, content)
    try:
        report = await visit.office.library.sync(visit.tenant)
    except FrontdeskError:
        await asyncio.to_thread(folder.remove, path) if before is None else await asyncio.to_thread(folder.write, path, before)
        raise
    failed = dict(report.failed)
    source = FAQ_SOURCE if not path.startswith("knowledge/") else path.removeprefix("knowledge/")
    if source in failed:
        await asyncio.to_thread(folder.remove, path) if before is None else await asyncio.to_thread(folder.write, path, before)
        await visit.office.library.sync(visit.tenant)
        raise BadInput(f"{path}: {failed[source]}. It stays as it was.")
    await space.work.add_version(path, content, actor=staff, note=note)
    visit.office.reports[visit.tenant.id] = report
    await visit.office.briefings.of(visit.tenant)


def answered_html(found: Answered) -> str:
    """Both answers beside each other."""
    same_note = "" if found.differs else '<p class="soft">The same.</p>'
    return (
        f'{same_note}<div class="diff"><div><small>Now</small><br>{escape(found.before)}</div>'
        f"<div><small>With your changes</small><br>{escape(found.after)}</div></div>"
    )


def changed_html(found: list[Answered]) -> str:
    """The list of changed answers."""
    if not found:
        return "<p>No answer changes: neither to the changed pairs nor to what customers asked lately.</p>"
    rows = "".join(f"<li><b>{escape(f.question)}</b> <small>({escape(f.origin)})</small>{answered_html(f)}</li>" for f in found)
    return f"<ol>{rows}</ol>"


async def _gaps(visit: Visit, take: Callable[[str, str], None]) -> None:
    gaps = await visit.space.desk.gaps(limit=60)
    if not gaps:
        empty("No gaps: every fair question found a source.")
    for gap in gaps:
        with ui.element("article").classes("pair"), ui.row().classes("wide nowrap"):
            near = f", nearest: {gap.best_source}" if gap.best_source else ""
            markup(
                f'<b>{escape(gap.question)}</b><div class="soft">asked {gap.count} time{"s" * (gap.count != 1)}{escape(near)} · '
                f'<a href="{visit.path("conversations", gap.conversation)}">read it</a></div>',
                "grow",
            )
            if visit.may(Right.KNOWLEDGE):
                ui.button("Draft a pair", on_click=visit.doing(_drafting(visit, gap.id, take))).props("flat no-caps dense")
                ui.button("Done", on_click=visit.doing(_closing(visit, gap.id))).props("flat no-caps dense")


def _drafting(visit: Visit, gap: str, take: Callable[[str, str], None]) -> Callable[[], Any]:
    async def draft() -> None:
        await visit.who(Right.KNOWLEDGE)
        found = await visit.analytics.draft(visit.tenant.id, gap)
        bases = {
            "agent": "an agent answered this before",
            "passage": "the nearest passage says this: check it",
            "": "nothing was found: write it",
        }
        ui.notify(f"Drafted: {bases.get(found.basis, found.basis)}.")
        take(found.question, found.answer)

    return draft


def _closing(visit: Visit, gap: str) -> Callable[[], Any]:
    async def close() -> None:
        space = await visit.act(Right.KNOWLEDGE, "gap.close", gap)
        await space.desk.close_gap(gap)
        lead_to(f"{visit.path('knowledge')}?tab=gaps")

    return close


def _show_progress(bar: ui.linear_progress, done: int, among: int) -> None:
    bar.set_value(done / max(1, among))
