"""`frontdesk report`: the ledger of one tenant in a terminal, as JSON or as CSV."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from frontdesk import settings as configuration
from frontdesk.errors import BadInput


def report(
    tenant: Annotated[str, typer.Argument(help="Tenant id.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Conversations opened in the last so many days.")] = 30,
    returning: Annotated[int, typer.Option(min=1, max=90, help="Days within which coming back counts.")] = 7,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print one line per conversation instead of figures.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Count the whole log again first.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")] = None,
    tenants: Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print a tenant's resolution ledger: how conversations ended, with what each figure is taken among."""
    settings = configuration.load({"data": data, "tenants": tenants})
    asyncio.run(_report(settings, tenant, days=days, returning=returning, channel=channel, csv=csv, rebuild=rebuild, as_json=as_json))


async def _report(
    settings: Any, tenant: str, *, days: int, returning: int, channel: str | None, csv: bool, rebuild: bool, as_json: bool
) -> None:
    from frontdesk.analytics.service import Analytics, Period
    from frontdesk.domain.tenancy import TenantId
    from frontdesk.knowledge.tenants import load_tenants
    from frontdesk.store.store import Store

    served = {t.id: t for t in load_tenants(settings.tenants)} if settings.tenants.is_dir() else {}
    id = TenantId(tenant)
    if id not in served:
        known = f"this folder serves {', '.join(sorted(served))}" if served else f"{settings.tenants} holds no tenants"
        raise BadInput(f"there is no tenant {tenant!r}: {known}")
    store = await Store.open(settings)
    try:
        analytics = Analytics(store, served)
        if rebuild:
            await analytics.analyst.rebuild(id)
        period = Period(since=datetime.now(UTC) - timedelta(days=days), channel=channel, days=returning)
        if csv:
            typer.echo(await analytics.export(id, period), nl=False)
        else:
            found = await analytics.report(id, period)
            typer.echo(_as_json(found) if as_json else _as_text(found, days))
    finally:
        await store.close()


def _as_json(found: Any) -> str:
    figures = [
        {**{f.name: getattr(r, f.name) for f in dataclasses.fields(r) if f.name != "figure"}, "name": r.figure.name, "unit": r.figure.unit}
        for r in found.readings
    ]
    return json.dumps({"conversations": found.conversations, "outcomes": dict(found.outcomes), "figures": figures}, indent=2)


def _as_text(found: Any, days: int) -> str:
    lines = [f"{found.conversations} conversations opened in the last {days} days"]
    lines += [f"  {name.replace('_', ' '):24}{count:>7}" for name, count in found.outcomes.items() if count]
    lines.append("")
    for r in found.readings:
        if r.value is None:
            lines.append(f"{r.figure.title:32}      -   nothing to take it among")
        elif r.figure.unit == "share":
            bounds = f"{r.low:.0%} to {r.high:.0%}"
            lines.append(f"{r.figure.title:32}{r.value:>7.1%}   {r.count} of {r.among} ({bounds})")
        else:
            lines.append(f"{r.figure.title:32}{r.value:>7.1f}   {r.figure.unit}, over {r.among}")
    return "\n".join(lines)
