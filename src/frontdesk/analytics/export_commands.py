"""`frontdesk export` and `frontdesk query`: a tenant's log as files and as tables for SQL. Results go to stdout, or to the file that is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Shown

from frontdesk import settings as configuration
from frontdesk.analytics.export_choices import Format, What
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput

if TYPE_CHECKING:
    from frontdesk.analytics.exporting import Table

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
TenantName = Annotated[str, typer.Argument(help="Tenant id.")]


def add_to(app: typer.Typer) -> None:
    """Put these commands beside the others."""
    app.command("export")(export)
    app.command("query")(query)


def export(
    tenant: TenantName,
    what: Annotated[What, typer.Option("--what", help="Which table.")] = What.MESSAGES,
    form: Annotated[Format, typer.Option("--format", help="Form of the file.")] = Format.CSV,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; without one, CSV and JSON lines go to stdout.")] = None,
    after: Annotated[int, typer.Option("--after", help="Only what happened after this position of the log.")] = 0,
    data: Data = None,
) -> None:
    """Write messages, turns, events or outcomes as CSV, JSON lines or Parquet."""
    from frontdesk.analytics import exporting

    if out is None and form is Format.PARQUET:
        raise BadInput("a Parquet file needs a name: add --out FILE")
    made = asyncio.run(_tables(data, tenant, (what,), after))[what]
    if out is None:
        typer.echo(exporting.text(made, form), nl=False)
    else:
        exporting.write(made, out, form)
        Console(stderr=True).print(f"{len(made.rows)} rows in {out}", highlight=False)


def query(
    tenant: TenantName,
    sql: Annotated[str, typer.Argument(help="One SELECT over messages, turns, events and outcomes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    data: Data = None,
) -> None:
    """Ask a tenant's log with SQL; nothing can be changed and nothing else can be seen."""
    from frontdesk.analytics import exporting

    tables = asyncio.run(_tables(data, tenant, tuple(What), 0))
    names, rows = exporting.query(tables, sql)
    if as_json:
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, ensure_ascii=False))
        return
    shown = Shown(*names)
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row))
    Console().print(shown, markup=False)


async def _tables(data: Path | None, tenant: str, wanted: tuple[What, ...], after: int) -> Mapping[What, Table]:
    from frontdesk.analytics import exporting
    from frontdesk.analytics.service import Analytics
    from frontdesk.store.store import Store

    settings: dict[str, Any] = {"data": data}
    store = await Store.open(configuration.load(settings))
    try:
        id = TenantId(tenant)
        analytics = Analytics(store, {})
        return {what: await exporting.table(store, analytics, id, what, after=after) for what in wanted}
    finally:
        await store.close()
