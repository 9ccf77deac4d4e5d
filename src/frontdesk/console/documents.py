"""Documents of a tenant: read, edited, uploaded, taken away; the history of all edits; who was told what does not stand there any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.console.folder import EDITABLE, Folder
from frontdesk.console.frame import card, empty, markup, rows_html, sure
from frontdesk.console.telling import ago, place, short
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.knowledge import FAQ_SOURCE, Document
from frontdesk.domain.staff import Right
from frontdesk.errors import NotFound

EDITED_MOST = 400_000
"""Bytes of a document that the page edits as text."""


async def documents(visit: Visit, folder: Folder) -> None:
    """The list, with upload."""
    found = [d for d in await visit.office.library.list(visit.tenant.id) if d.source != FAQ_SOURCE]
    report = visit.office.reports.get(visit.tenant.id)
    for source, reason in report.failed if report else ():
        markup(f'<p class="alert"><b>{escape(source)}</b> was not read: {escape(reason)}</p>')
    if visit.may(Right.KNOWLEDGE):

        async def take(event: Any) -> None:
            from frontdesk.console.knowledge import publish  # the two halves of one page

            name = event.file.name
            path = folder.document(name)
            await publish(visit, folder, path, await event.file.read(), note="uploaded")
            ui.notify(f"{name} is read; the desk answers from it now.", type="positive")
            lead_to(f"{visit.path('knowledge')}?tab=documents")

        ui.upload(
            label="Add a document: .md, .html, .txt, .pdf, .docx",
            auto_upload=True,
            max_file_size=visit.office.settings.max_upload_bytes,
            on_upload=visit.doing(take),
            on_rejected=lambda: ui.notify("That file is too large.", type="negative"),
        ).props("flat bordered").classes("upload")
    if not found:
        empty("No documents yet.")
    for d in found:
        _row(visit, folder, d)
    apart = await visit.office.library.quarantined(visit.tenant.id)
    if apart:
        with card("Set apart", "These passages read like orders to an assistant, so the desk never answers from them."):
            markup(rows_html(("Source", "Text"), [[escape(p.source), escape(short(p.text, 200))] for p in apart], label="Set apart"))


def _row(visit: Visit, folder: Folder, d: Document) -> None:
    with ui.element("article").classes("pair"), ui.row().classes("wide nowrap"):
        apart = f", {d.quarantined} set apart" if d.quarantined else ""
        markup(
            f'<b>{escape(d.title)}</b><div class="soft">{escape(d.source)} · version {d.version} · {d.passages} passages{apart} · '
            f"{ago(d.updated_at)}</div>",
            "grow",
        )
        text = any(d.source.lower().endswith(e) for e in EDITABLE)
        ui.button(
            "Edit" if text and visit.may(Right.KNOWLEDGE) else "Read", on_click=visit.doing(lambda: _open(visit, folder, d, text))
        ).props("flat no-caps dense")
        if visit.may(Right.KNOWLEDGE):
            ui.button(icon="delete_outline", on_click=visit.doing(lambda: _remove(visit, folder, d))).props(
                f'flat round dense aria-label="Remove {escape(d.source)}"'
            )


async def _open(visit: Visit, folder: Folder, d: Document, editable: bool) -> None:
    path = folder.document(d.source)
    raw = await asyncio.to_thread(folder.read, path)
    editing = editable and raw is not None and len(raw) <= EDITED_MOST and visit.may(Right.KNOWLEDGE)
    text = (raw or b"").decode("utf-8", "replace") if editing else await _as_read(visit, d)
    with ui.dialog(value=True) as dialog, ui.card().classes("ask wider"):
        ui.label(d.title).classes("strong")
        field = ui.textarea(value=text).props("outlined" + ("" if editing else " readonly")).classes("wide document")
        with ui.row().classes("head-acts"):
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
            if editing:

                async def save() -> None:
                    from frontdesk.console.knowledge import publish  # the two halves of one page

                    now = await asyncio.to_thread(folder.read, path)
                    if now != raw:
                        raise NotFound("The file changed meanwhile: copy your text, close this and open it again.")
                    await publish(visit, folder, path, (field.value or "").encode(), note="edited")
                    dialog.close()
                    ui.notify("Saved. The desk answers from it now.", type="positive")

                ui.button("Save and publish", on_click=visit.doing(save)).props("no-caps unelevated")


async def _as_read(visit: Visit, d: Document) -> str:
    stored = await visit.space.knowledge.all_passages()
    own = sorted((p for p, _ in stored if p.source == d.source), key=lambda p: p.ordinal)
    return "\n\n".join(p.text for p in own)


async def _remove(visit: Visit, folder: Folder, d: Document) -> None:
    if not await sure(
        f"Take {d.source} away?", yes="Take it away", detail="The desk stops answering from it at once. The history keeps it."
    ):
        return
    space = await visit.act(Right.KNOWLEDGE, "knowledge.remove", d.source)
    path = folder.document(d.source)
    before = await asyncio.to_thread(folder.read, path)
    if before is not None:
        if before != await space.work.newest(path):
            await space.work.add_version(path, before, actor="the folder", note="as it stood")
        await asyncio.to_thread(folder.remove, path)
        await space.work.add_version(path, None, actor=visit.staff.name, note="taken away")
        visit.office.reports[visit.tenant.id] = await visit.office.library.sync(visit.tenant)
    await visit.office.library.remove(visit.tenant.id, d.source)
    lead_to(f"{visit.path('knowledge')}?tab=documents")


async def history(visit: Visit, folder: Folder) -> None:
    """Every version, with a way back."""
    versions = await visit.space.work.versions()
    if not versions:
        empty("Nothing was changed here yet. What is edited outside the console is in your own version control.")
    for v in versions:
        with ui.element("article").classes("pair"), ui.row().classes("wide nowrap"):
            size = "taken away" if v.bytes is None else f"{v.bytes:,} bytes"
            note = f" · {v.note}" if v.note else ""
            markup(
                f'<b>{escape(v.path)}</b> version {v.version}<div class="soft">{escape(v.actor)}, {ago(v.at)}{escape(note)} · {size}</div>',
                "grow",
            )
            if v.bytes is not None:
                ui.button("Look", on_click=visit.doing(_looking(visit, v.path, v.version))).props("flat no-caps dense")
                if visit.may(Right.KNOWLEDGE):
                    ui.button("Bring back", on_click=visit.doing(_bringing(visit, folder, v.path, v.version))).props("flat no-caps dense")


def _looking(visit: Visit, path: str, version: int) -> Callable[[], Any]:
    async def look() -> None:
        content = await visit.space.work.content(path, version) or b""
        text = content[:EDITED_MOST].decode("utf-8", "replace")
        with ui.dialog(value=True), ui.card().classes("ask wider"):
            ui.label(f"{path}, version {version}").classes("strong")
            ui.textarea(value=text).props("outlined readonly").classes("wide document")

    return look


def _bringing(visit: Visit, folder: Folder, path: str, version: int) -> Callable[[], Any]:
    async def bring() -> None:
        from frontdesk.console.knowledge import publish  # the two halves of one page

        content = await visit.space.work.content(path, version)
        if content is None or not await sure(f"Bring back version {version} of {path}?", yes="Bring it back"):
            return
        await publish(visit, folder, path, content, note=f"back to version {version}")
        lead_to(f"{visit.path('knowledge')}?tab=history")

    return bring


async def recall(visit: Visit) -> None:
    """Customers who were told, with a citation, what does not stand there any more."""
    sources = [d.source for d in await visit.office.library.list(visit.tenant.id)]
    sources += [v.path.removeprefix("knowledge/") for v in await visit.space.work.versions() if v.path.startswith("knowledge/")]
    options = list(dict.fromkeys(["faq", *sources]))
    ui.label(
        "Customers who were told text that is not in the source any more, each with a message to send after you have read it."
    ).classes("soft")
    told = ui.column().classes("wide")

    async def look() -> None:
        found = await visit.analytics.recalls(visit.tenant.id, chosen.value, since=datetime.now(UTC) - timedelta(days=90))
        told.clear()
        with told:
            if not found:
                empty("Nobody in the last 90 days.")
            for t in found[:200]:
                markup(
                    f'<article class="pair"><b>{escape(t.customer or "Guest")}</b> <span class="soft">{ago(t.at)}, '
                    f'{escape(place(t.source, t.title))} · <a href="{visit.path("conversations", t.conversation)}">read it</a></span>'
                    f'<div class="diff"><div><small>Was told</small><br>{escape(t.quote)}</div>'
                    f"<div><small>Stands there now</small><br>{escape(t.now or 'nothing')}</div></div>"
                    f"<details><summary>Message to send</summary><p>{escape(t.correction)}</p></details></article>",
                    "wide",
                )

    chosen = ui.select(options, value=options[0], on_change=visit.doing(look)).props("dense outlined aria-label='Source'")
    chosen.move(target_index=0)
    await look()
