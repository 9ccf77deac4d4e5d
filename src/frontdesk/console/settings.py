"""Settings: the tenant as it is served, keys, accounts of the staff, the audit trail with its check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.console.frame import card, content, empty, markup, page, rows_html, sure
from frontdesk.console.telling import ago, short
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.staff import Right, StaffRole
from frontdesk.domain.tenancy import KeyId, Role, TenantId
from frontdesk.errors import BadInput, NotAllowed
from frontdesk.store.desk import AuditEntry
from frontdesk.store.staff import EVERYBODY, hashed, one_time_password
from frontdesk.store.store import TenantStore

TRAIL = 200
"""Entries of the audit trail that are shown."""
ROLES = {
    Role.WIDGET: "widget: talks, from a web page",
    Role.SERVER: "server: also acts for signed-in customers",
    Role.OPERATOR: "operator: also administers",
}


@page("settings", "Settings", icon="settings")
async def settings(visit: Visit) -> None:
    """The tenant and its keys; accounts; who changed what."""
    with content("Settings", "What this tenant is, who may do what, and who changed what."):
        pass
    await _tenant(visit)
    if visit.may(Right.KEYS):
        await _keys(visit)
    if visit.may(Right.STAFF):
        await _accounts(visit)
    await _trail(visit)


async def _tenant(visit: Visit) -> None:
    t = visit.tenant
    state = (await visit.office.readiness())["tenants"].get(t.id, {})
    catalog = visit.office.catalogs.get(t.id)
    tools = "none" if catalog is None or not len(catalog) else catalog.disabled or f"{len(catalog)} operations"
    rows = [
        ("Name", t.name),
        ("Id", t.id),
        ("About", t.description),
        ("Languages", ", ".join(t.languages)),
        ("Time zone", t.timezone),
        ("People reach", ", ".join(x for x in (t.handoff.email, t.handoff.phone, t.handoff.hours) if x) or "nobody named"),
        ("Live data", tools),
        ("Folder", str(t.folder or "none")),
        ("State", state.get("problem") or ("ready" if state.get("synced", True) else "its sources are being read")),
    ]
    with card("Tenant", "These come from tenant.yaml in the tenant's folder; change them there."):
        markup("<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows) + "</dl>")


async def _keys(visit: Visit) -> None:
    keys = await visit.space.keys.list()
    with card("API keys", "A key is shown once, when it is made."):
        for key in keys:
            with ui.row().classes("wide nowrap"):
                state = f"revoked {ago(key.revoked_at)}" if key.revoked_at else f"made {ago(key.created_at)}"
                markup(f"<b>{escape(key.label or key.id)}</b> <span class=soft>{escape(key.id)}, {key.role.value}, {state}</span>", "grow")
                if not key.revoked_at:
                    ui.button("Revoke", on_click=visit.doing(_revoking(visit, key.id))).props("flat dense no-caps")
        if not keys:
            empty("No keys.")
        with ui.row().classes("wide"):
            role = ui.select(ROLES, value=Role.SERVER).props("dense outlined options-dense aria-label='Role of the key'").classes("grow")
            label = ui.input("What it is for").props("dense outlined").classes("grow")
            ui.button("Make a key", icon="key", on_click=visit.doing(lambda: _make_key(visit, role.value, label.value or ""))).props(
                "no-caps unelevated"
            )


async def _make_key(visit: Visit, role: Role, label: str) -> None:
    if not label.isprintable() or len(label) > 100:
        raise BadInput("A label has at most 100 printable characters.")
    space = await visit.act(Right.KEYS, "key.create", role.value, label=label)
    secret = await space.keys.create(role, label)
    with ui.dialog(value=True).props("persistent") as dialog, ui.card().classes("ask"):
        ui.label("Copy it now: it is not shown again.").classes("strong")
        markup(f"<code>{escape(secret)}</code>")
        with ui.row().classes("head-acts"):
            ui.button("Copy", icon="content_copy", on_click=lambda: ui.clipboard.write(secret)).props("flat no-caps")
            ui.button("Done", on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
    await dialog
    lead_to(visit.path("settings"))


def _revoking(visit: Visit, key: KeyId) -> Callable[[], Any]:
    async def revoke() -> None:
        if await sure(f"Revoke {key}?", yes="Revoke", detail="Programs that use it are turned away within seconds."):
            space = await visit.act(Right.KEYS, "key.revoke", key)
            await space.keys.revoke(key)
            lead_to(visit.path("settings"))

    return revoke


async def _accounts(visit: Visit) -> None:
    """Accounts stand above tenants, so only those who cover all tenants change them."""
    everywhere = not visit.staff.tenants
    accounts = [a for a in await visit.office.store.staff.list() if everywhere or visit.tenant.id in a.tenants or not a.tenants]
    with card("Accounts of the staff", "viewer reads; agent also answers customers; operator also edits and administers."):
        for a in accounts:
            with ui.row().classes("wide nowrap"):
                covers = ", ".join(a.tenants) or "all tenants"
                seen = f"last here {ago(a.seen_at)}" if a.seen_at else "never here"
                state = " · disabled" if a.disabled_at else ""
                markup(f'<b>{escape(a.name)}</b> <span class="soft">{escape(covers)}, {seen}{state}</span>', "grow")
                if everywhere:
                    ui.select([r.value for r in StaffRole], value=a.role.value, on_change=visit.doing(_changing(visit, a.name))).props(
                        f'dense outlined options-dense aria-label="Role of {escape(a.name)}"'
                    )
                    ui.button(
                        "Let in" if a.disabled_at else "Disable",
                        on_click=visit.doing(_disabling(visit, a.name, disabled=not a.disabled_at)),
                    ).props("flat dense no-caps")
                else:
                    ui.label(a.role.value)
        if everywhere:
            with ui.row().classes("wide"):
                name = ui.input("Name").props("dense outlined").classes("grow")
                role = ui.select([r.value for r in StaffRole], value="agent").props("dense outlined aria-label='Role'")
                only = ui.checkbox(f"Only {visit.tenant.name}")
                ui.button(
                    "Add",
                    icon="person_add",
                    on_click=visit.doing(lambda: _add(visit, name.value or "", StaffRole(role.value), bool(only.value))),
                ).props("no-caps unelevated")


async def _staff_act(visit: Visit, action: str, subject: str, **detail: Any) -> TenantStore:
    """For a change of accounts: in the trail of the installation. Raises NotAllowed for those who cover only some tenants."""
    staff = await visit.who(Right.STAFF)
    if staff.tenants:
        raise NotAllowed("Your account covers only some tenants: ask an operator of all of them to change accounts.")
    space = visit.office.store.for_tenant(EVERYBODY)
    await space.desk.audit(actor=f"staff:{staff.name}", action=action, subject=subject, detail=detail)
    return space


async def _add(visit: Visit, name: str, role: StaffRole, only: bool) -> None:
    password = one_time_password()
    kept = await asyncio.to_thread(hashed, password)
    await _staff_act(visit, "staff.add", name, role=role.value)
    tenants: list[TenantId] = [visit.tenant.id] if only else []
    await visit.office.store.staff.add(name.strip(), role, password=kept, tenants=tenants)
    with ui.dialog(value=True).props("persistent") as dialog, ui.card().classes("ask"):
        ui.label(f"Give {name} this password; it works once.").classes("strong")
        markup(f"<code>{escape(password)}</code>")
        ui.button("Done", on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
    await dialog
    lead_to(visit.path("settings"))


def _changing(visit: Visit, name: str) -> Callable[[Any], Any]:
    async def change(event: Any) -> None:
        role = StaffRole(event.value)
        if name == visit.staff.name and role is not StaffRole.OPERATOR:
            raise BadInput("You cannot take your own role away: ask another operator.")
        await _staff_act(visit, "staff.role", name, role=role.value)
        await visit.office.store.staff.change(name, role=role)
        ui.notify(f"{name} is {role.value} now.", type="positive")

    return change


def _disabling(visit: Visit, name: str, *, disabled: bool) -> Callable[[], Any]:
    async def change() -> None:
        if disabled and name == visit.staff.name:
            raise BadInput("You cannot disable your own account: ask another operator.")
        await _staff_act(visit, "staff.disable" if disabled else "staff.enable", name)
        await visit.office.store.staff.disable(name, disabled=disabled)
        lead_to(visit.path("settings"))

    return change


async def _trail(visit: Visit) -> None:
    entries = await newest(visit.space)
    check = await visit.space.desk.audit_verify()
    intact = (
        "Nothing was changed, taken out or put in." if check.intact else f"Entry {check.broken} does not fit: the trail was tampered with."
    )
    with card("Audit trail", f"{check.entries} entries. {intact}"):
        rows = [
            [
                f'<span title="{e.at:%Y-%m-%d %H:%M:%S} UTC">{ago(e.at)}</span>',
                escape(e.actor),
                escape(e.action),
                escape(short(e.subject, 60)),
                escape(short(", ".join(f"{k}: {v}" for k, v in e.detail.items() if v not in ("", None)), 120)),
            ]
            for e in reversed(entries)
        ]
        if rows:
            markup(rows_html(("When", "Who", "Did", "To what", "Details"), rows, label="Audit trail"))
        else:
            empty("Nothing was changed yet.")


async def newest(space: TenantStore) -> list[AuditEntry]:
    """The newest entries, oldest first."""
    kept: list[AuditEntry] = []
    while entries := await space.desk.audit_trail(after=kept[-1].seq if kept else 0, limit=2000):
        kept = (kept + entries)[-TRAIL:]
        if len(entries) < 2000:
            break
    return kept
