"""`frontdesk retention apply`: erases what a tenant keeps no longer, and prints the receipt."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frontdesk import settings as configuration
from frontdesk.errors import BadInput

if TYPE_CHECKING:
    from frontdesk.rights.erasing import Eraser, Receipt
    from frontdesk.settings import Settings


def retention_app(eraser_of: Callable[[Settings], Eraser]) -> typer.Typer:
    """The commands; `eraser_of` makes what reaches a data folder's training runs as well."""
    app = typer.Typer(no_args_is_help=True, help="How long conversations are kept.")

    @app.callback()
    def group() -> None:
        """How long conversations are kept."""

    @app.command("apply")
    def apply(
        tenant: Annotated[str, typer.Argument(help="Tenant id.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many conversations would go.")] = False,
        data: Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")] = None,
        tenants: Annotated[
            Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """Erase conversations that are older than the tenant's `retention: days:`; a running server does so by itself every hour."""
        settings = configuration.load({"data": data, "tenants": tenants})
        old, receipt = asyncio.run(_apply(settings, tenant, eraser_of, dry_run=dry_run))
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(receipt) if receipt else {"conversations": 0, "old": old}))
        elif receipt is None:
            typer.echo(f"{old} conversations would be erased" if dry_run else "nothing is that old")
        else:
            went = ", ".join(f"{count} {place}" for place, count in receipt.places.items())
            typer.echo(f"{receipt.conversations} conversations erased ({went}); receipt {receipt.id}, sha256 {receipt.sha256}")
            for run in receipt.retrain:
                typer.echo(f"train again, it had learnt from them: {run}", err=True)

    return app


async def _apply(settings: Settings, name: str, eraser_of: Callable[[Settings], Eraser], *, dry_run: bool) -> tuple[int, Receipt | None]:
    """How many were that old, and the receipt when any went. Raises BadInput."""
    from frontdesk.knowledge.tenants import load_tenants
    from frontdesk.store.store import Store

    served = {str(t.id): t for t in load_tenants(settings.tenants)}
    if name not in served:
        raise BadInput(f"there is no tenant {name!r}: this folder serves {', '.join(sorted(served))}")
    tenant = served[name]
    if tenant.retention.days is None:
        raise BadInput(f"{name} keeps conversations without limit: write `retention: {{days: 365}}` into its tenant.yaml first")
    store = await Store.open(settings)
    try:
        space = store.for_tenant(tenant.id)
        old = await space.rights.older(tenant.retention.days)
        return old, None if dry_run else await eraser_of(settings).retain(space, tenant, actor="cli")
    finally:
        await store.close()
