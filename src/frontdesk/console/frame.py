"""What every page has around it: the tenant, the way to the other pages, who is signed in, dark or light. And the small parts pages share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.console.gate import BASE, PASSWORD, SIGN_IN, SIGN_OUT
from frontdesk.console.visiting import Console, Visit, lead_to, tenants_of
from frontdesk.domain.staff import Right
from frontdesk.store.staff import LOCAL

THEME_COOKIE = "frontdesk_theme"
CHECK_SECONDS = 20.0
"""How often an open page looks whether its session still holds."""
Builder = Callable[..., Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page: where it is (below the tenant), what it is called, who builds it. `icon` empty: not in the navigation."""

    path: str
    title: str
    build: Builder
    icon: str = ""
    right: Right = Right.READ


PAGES: list[Page] = []
ORDER = ("", "live", "inbox", "conversations", "knowledge", "quality", "rehearsals", "training", "settings")
"""Pages of the navigation, top to bottom."""


def page(path: str, title: str, *, icon: str = "", right: Right = Right.READ) -> Callable[[Builder], Builder]:
    """Makes a function a page; it is given the Visit and the parts of the path in braces."""

    def made(build: Builder) -> Builder:
        PAGES.append(Page(path=path, title=title, build=build, icon=icon, right=right))
        return build

    return made


def framed(visit: Visit, current: Page) -> None:
    """Draws the frame; what is drawn after it is the page's content."""
    ui.page_title(f"{current.title} · {visit.tenant.name} · frontdesk")
    dark = _dark(visit)
    ui.add_body_html('<a class="skip" href="#main">Skip to the content</a>')
    drawer = ui.left_drawer(value=False, elevated=False).props("width=212 breakpoint=900 show-if-above").classes("side")
    with ui.header(elevated=False).classes("top"):
        ui.button(icon="menu", on_click=drawer.toggle).props("flat round dense aria-label='Navigation'").classes("burger")
        ui.html(f'<a class="brand" href="{BASE}/">frontdesk</a>', sanitize=False)
        _tenant_choice(visit, current)
        ui.space()
        ui.button(icon="contrast", on_click=lambda: _toggle(dark)).props("flat round dense aria-label='Dark or light'")
        _account(visit)
    with drawer:
        navigation(visit, current)
    _keys(visit)
    ui.timer(CHECK_SECONDS, lambda: _still_signed_in(visit))


def navigation(visit: Visit, current: Page) -> None:
    """Links to all pages and panels; plain links, so that keyboard, middle click and back work."""
    inside = current.path.split("/", 1)[0]
    shown = sorted((p for p in PAGES if p.icon and visit.may(p.right)), key=lambda p: ORDER.index(p.path))
    rows = [(p.path, p.title, p.icon) for p in shown]
    rows += [(f"panels/{p.name}", p.title, p.icon) for p in visit.console.panels]
    links = "".join(
        f'<a href="{visit.path(path)}" {"aria-current=page" if (path == current.path or (path and path == inside)) else ""}>'
        f'<span class="material-icons" aria-hidden="true">{escape(icon)}</span>{escape(title)}</a>'
        for path, title, icon in rows
    )
    ui.html(f'<nav aria-label="Pages">{links}</nav>', sanitize=False).classes("nav")


def _tenant_choice(visit: Visit, current: Page) -> None:
    mine = tenants_of(visit.office.tenants, visit.staff)
    if len(mine) < 2:
        ui.label(visit.tenant.name).classes("tenant-name")
        return
    below = current.path if "{" not in current.path else current.path.split("/", 1)[0]

    def go(event: Any) -> None:
        lead_to(f"{BASE}/{event.value}/{below}")

    ui.select({t.id: t.name for t in mine}, value=visit.tenant.id, on_change=go).props(
        "dense outlined options-dense aria-label='Tenant'"
    ).classes("tenant-choice")


def _account(visit: Visit) -> None:
    with ui.button(icon="person").props("flat round dense aria-label='Account'"), ui.menu().props("auto-close"):
        with ui.column().classes("account"):
            ui.label(visit.staff.name).classes("strong")
            ui.label(visit.staff.role.value).classes("soft")
        if visit.session.way == LOCAL:
            ui.menu_item("Change password", on_click=lambda: lead_to(PASSWORD))
        leave = f"fetch('{SIGN_OUT}', {{method: 'POST'}}).then(() => location.assign('{SIGN_IN}'))"
        ui.menu_item("Sign out", on_click=lambda: ui.run_javascript(leave))


def _dark(visit: Visit) -> ui.dark_mode:
    chosen = visit.request.cookies.get(THEME_COOKIE, "")
    return ui.dark_mode({"dark": True, "light": False}.get(chosen))


async def _toggle(dark: ui.dark_mode) -> None:
    now = dark.value
    if now is None:
        now = await ui.run_javascript("matchMedia('(prefers-color-scheme: dark)').matches")
    dark.set_value(not now)
    word = "light" if now else "dark"
    ui.run_javascript(f"document.cookie = '{THEME_COOKIE}={word}; path={BASE}; max-age=31536000; samesite=lax'")


def _keys(visit: Visit) -> None:
    """g and a letter goes to a page; ? says so."""
    places = {p.title[0].lower(): visit.path(p.path) for p in reversed(PAGES) if p.icon and visit.may(p.right)}
    pending = {"g": False}

    def pressed(event: Any) -> None:
        if not event.action.keydown or event.modifiers.ctrl or event.modifiers.meta or event.modifiers.alt:
            return
        key = str(event.key)
        if pending["g"] and key.lower() in places:
            lead_to(places[key.lower()])
        elif key == "?":
            ui.notify("Press g, then the first letter of a page: " + ", ".join(sorted(places)), timeout=6000)
        pending["g"] = key == "g"

    ui.keyboard(on_key=pressed, ignore=["input", "select", "button", "textarea"])


async def _still_signed_in(visit: Visit) -> None:
    if await visit.office.store.staff.session(visit.cookie) is None:
        lead_to(f"{SIGN_IN}?to={visit.request.url.path}")


@contextmanager
def content(title: str, lead: str = "") -> Iterator[ui.row]:
    """The page's heading, with room for its buttons."""
    ui.html('<span id="main" tabindex="-1"></span>', sanitize=False)
    with ui.row().classes("head"):
        with ui.column().classes("head-text"):
            ui.html(f"<h1>{escape(title)}</h1>", sanitize=False)
            if lead:
                ui.label(lead).classes("soft")
        with ui.row().classes("head-acts") as acts:
            pass
    yield acts


@contextmanager
def card(title: str = "", note: str = "", classes: str = "") -> Iterator[ui.column]:
    """A box with a heading."""
    with ui.column().classes(f"box {classes}") as box:
        if title:
            ui.html(f"<h2>{escape(title)}</h2>" + (f'<p class="soft">{escape(note)}</p>' if note else ""), sanitize=False)
        yield box


def empty(text: str) -> None:
    """Says that there is nothing, and what would bring something."""
    ui.label(text).classes("empty")


def markup(html: str, classes: str = "") -> ui.html:
    """HTML that we made ourselves; every piece of foreign text in it went through `escape`."""
    return ui.html(html, sanitize=False).classes(classes)


def link(visit: Visit, text: str, *parts: str) -> str:
    """A link to a page of this tenant, as HTML."""
    return f'<a href="{escape(visit.path(*parts))}">{escape(text)}</a>'


def rows_html(head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str) -> str:
    """A plain table; cells are HTML."""
    heads = "".join(f"<th scope=col>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f'<td data-label="{escape(h)}">{c}</td>' for h, c in zip(head, r, strict=True)) + "</tr>" for r in rows)
    return f'<div class="scroll"><table aria-label="{escape(label)}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


async def sure(question: str, *, yes: str = "Yes", detail: str = "") -> bool:
    """Asks before something that cannot be taken back."""
    with ui.dialog() as dialog, ui.card().classes("ask"):
        ui.label(question).classes("strong")
        if detail:
            ui.label(detail)
        with ui.row().classes("head-acts"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
    return bool(await dialog)


def first_page(console: Console, visit_tenants: Sequence[Any]) -> str:
    """Where somebody lands: the overview of their first tenant, a front door first."""
    ordered = sorted(visit_tenants, key=lambda t: (not t.lines, t.name.casefold()))
    return f"{BASE}/{ordered[0].id}/" if ordered else f"{BASE}/nothing"
