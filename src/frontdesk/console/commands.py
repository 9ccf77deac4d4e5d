"""`frontdesk operators`: accounts of the staff who sign in to the console."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontdesk import settings as configuration
from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from frontdesk.store.staff import StaffAccounts

operators_app = typer.Typer(no_args_is_help=True, help="Who may sign in to the console.")

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str, typer.Argument(help="Name that they sign in with, such as sam or sam@example.com.")]
RoleOption = Annotated[StaffRole, typer.Option(help="viewer reads; agent also answers customers; operator also edits and administers.")]
TenantOption = Annotated[list[str] | None, typer.Option("--tenant", help="Only this tenant; may be given several times. Without it: all.")]


@operators_app.command("add")
def add(
    name: Name,
    role: RoleOption = StaffRole.AGENT,
    tenant: TenantOption = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for a password at the keyboard instead of making one that works once.")] = False,
    data: Data = None,
) -> None:
    """Make an account and print a password that works once."""
    from frontdesk.store.staff import hashed, one_time_password

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else one_time_password()
    kept = hashed(password)
    tenants = [TenantId(t) for t in tenant or ()]

    async def make(staff: StaffAccounts, trail: Trail) -> None:
        await staff.add(name, role, password=kept, tenants=tenants, must_change=not ask)
        await trail("staff.add", name, role=role.value, tenants=tenants)

    _with_staff(data, make)
    if not ask:
        print(password)


@operators_app.command("password")
def password(
    name: Name, ask: Annotated[bool, typer.Option("--ask", help="Ask for the password at the keyboard.")] = False, data: Data = None
) -> None:
    """Give somebody another password that works once; they are signed out everywhere."""
    from frontdesk.store.staff import hashed, one_time_password

    chosen = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else one_time_password()
    kept = hashed(chosen)

    async def change(staff: StaffAccounts, trail: Trail) -> None:
        await staff.set_password(name, kept, must_change=not ask)
        await trail("staff.password", name)

    _with_staff(data, change)
    if not ask:
        print(chosen)


@operators_app.command("role")
def role(name: Name, role: Annotated[StaffRole, typer.Argument(help="viewer, agent or operator.")], data: Data = None) -> None:
    """Give somebody another role; it holds at once."""

    async def change(staff: StaffAccounts, trail: Trail) -> None:
        await staff.change(name, role=role)
        await trail("staff.role", name, role=role.value)

    _with_staff(data, change)


@operators_app.command("disable")
def disable(name: Name, undo: Annotated[bool, typer.Option("--undo", help="Let them in again.")] = False, data: Data = None) -> None:
    """Keep somebody out; they are signed out everywhere."""

    async def change(staff: StaffAccounts, trail: Trail) -> None:
        await staff.disable(name, disabled=not undo)
        await trail("staff.enable" if undo else "staff.disable", name)

    _with_staff(data, change)


@operators_app.command("list")
def list_accounts(data: Data = None, as_json: AsJson = False) -> None:
    """List the accounts, never their passwords."""
    found: list[Any] = []

    async def read(staff: StaffAccounts, _: Trail) -> None:
        found.extend(await staff.list())

    _with_staff(data, read)
    rows = [
        {
            "name": a.name,
            "role": a.role.value,
            "tenants": list(a.tenants) or ["all"],
            "sign_in": "password" if a.local else "openid",
            "disabled": a.disabled_at is not None,
            "last_seen": a.seen_at and a.seen_at.isoformat(),
        }
        for a in found
    ]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        state = "  disabled" if row["disabled"] else ""
        print(f"{row['name']}  {row['role']}  {', '.join(row['tenants'])}  {row['sign_in']}{state}")


Trail = Callable[..., Awaitable[Any]]


def _with_staff(data: Path | None, work: Callable[[StaffAccounts, Trail], Awaitable[None]]) -> None:
    asyncio.run(_run(data, work))


async def _run(data: Path | None, work: Callable[[StaffAccounts, Trail], Awaitable[None]]) -> None:
    from frontdesk.store.staff import EVERYBODY

    async with _opened(data) as store:

        async def trail(action: str, subject: str, **detail: Any) -> None:
            await store.for_tenant(EVERYBODY).desk.audit(actor="command line", action=action, subject=subject, detail=detail)

        await work(store.staff, trail)


@asynccontextmanager
async def _opened(data: Path | None) -> AsyncIterator[Any]:
    from frontdesk.store.store import Store

    store = await Store.open(configuration.load({"data": data}))
    try:
        yield store
    finally:
        await store.close()
