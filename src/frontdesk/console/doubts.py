"""What in the knowledge is doubtful: entries that disagree, speak of a year that is over, or answered nobody. Changes nothing by itself.

Looked for when somebody asks: the whole knowledge is read for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

from nicegui import ui

from frontdesk.analytics.contradictions import UNUSED, Contradiction, Side, Stale
from frontdesk.analytics.service import Period
from frontdesk.console.frame import card, empty, markup
from frontdesk.console.telling import place, short
from frontdesk.console.visiting import Visit
from frontdesk.domain.knowledge import FAQ_SOURCE
from frontdesk.domain.staff import Right

LOOKED_BACK = timedelta(days=30)
SHOWN = 30
"""Findings of a kind that are listed."""
Edit = Callable[[str], None]


def doubts(visit: Visit, edit: Edit) -> None:
    """The button and what it finds. `edit` opens the pair with that question."""

    async def look() -> None:
        found.clear()
        with found:
            ui.label("Reading all of it…").classes("soft")
        period = Period(since=datetime.now(UTC) - LOOKED_BACK, whose="all")
        disagree = await visit.analytics.contradictions(visit.tenant.id)
        aged = await visit.analytics.stale(visit.tenant.id, period)
        found.clear()
        with found:
            _disagreements(visit, disagree, edit)
            _aged(
                visit,
                [s for s in aged if s.reason != UNUSED],
                edit,
                "May be out of date",
                "A year that is over, named as something to come.",
            )
            note = f"No answer of the last {LOOKED_BACK.days} days, rehearsals included, came from these pairs."
            _aged(visit, [s for s in aged if s.reason == UNUSED], edit, "Answered nobody", note)

    with card("Check what the desk knows", "Entries that seem to disagree, that may be out of date, and that answered nobody. You decide."):
        ui.button("Check", icon="rule", on_click=visit.doing(look)).props("no-caps unelevated")
    found = ui.column().classes("wide")


def _disagreements(visit: Visit, rows: Sequence[Contradiction], edit: Edit) -> None:
    with card("Seem to disagree", "About the same thing, it seems, with different figures; the likest first."):
        if not rows:
            empty("None.")
        for row in rows[:SHOWN]:
            with ui.element("div").classes("diff wide"):
                for side in (row.one, row.other):
                    _side(visit, side, edit)


def _side(visit: Visit, side: Side, edit: Edit) -> None:
    with ui.element("div"):
        figures = ", ".join(f"<mark>{escape(f)}</mark>" for f in side.figures)
        markup(f"<small>{escape(place(side.source, side.title))}</small><br>{escape(short(side.sentence, 300))}<br>{figures}")
        _edit_button(visit, side.source, side.title, edit)


def _aged(visit: Visit, rows: Sequence[Stale], edit: Edit, title: str, note: str) -> None:
    with card(title, note):
        if not rows:
            empty("None.")
        for row in rows[:SHOWN]:
            with ui.row().classes("wide nowrap"):
                why = "" if row.reason == UNUSED else f'<div class="soft">{escape(row.reason)}</div>'
                told = f"<b>{escape(place(row.source, row.title))}</b><div>{escape(short(row.sentence, 240))}</div>{why}"
                markup(told, "grow")
                _edit_button(visit, row.source, row.title, edit)
        if len(rows) > SHOWN:
            empty(f"{len(rows) - SHOWN} more.")


def _edit_button(visit: Visit, source: str, title: str, edit: Edit) -> None:
    if source == FAQ_SOURCE and visit.may(Right.KNOWLEDGE):
        ui.button("Edit", icon="edit", on_click=visit.doing(_editing(edit, title))).props("flat dense no-caps").props(
            f'aria-label="Edit: {escape(short(title, 60))}"'
        )


def _editing(edit: Edit, question: str) -> Callable[[], Awaitable[None]]:
    async def open_() -> None:
        edit(question)

    return open_
