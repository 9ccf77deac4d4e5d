"""`frontdesk models deploy|deployments|describe|predict|canary|promote|rollback|push`: tuned models in service. Results go to stdout."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput, NotFound
from frontdesk.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TenantName = Annotated[str, typer.Option("--tenant", help="Tenant id.")]
Name = Annotated[str, typer.Argument(help="Name of a finished run, or an artefact's folder.")]


def add_to(app: typer.Typer) -> None:
    """Put these commands beside those that fetch models."""
    for command in (deploy, deployments, describe, predict, canary, promote, rollback, push):
        app.command(command.__name__)(command)


def deploy(
    name: Name,
    tenant: TenantName,
    share: Annotated[float, typer.Option("--canary", help="Only for this share of conversations, beside what serves.")] = 1.0,
    note: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    despite_gates: Annotated[bool, typer.Option("--despite-gates", help="Although it failed its gates or never saw them.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put an adapter into service for one tenant; a running desk takes it up within seconds."""
    from frontdesk.training import deploying

    async def work(settings: Settings, store: Any) -> Any:
        folder = deploying.find(name, settings.data)
        return await deploying.deploy(store, settings, folder, actor=getpass.getuser(), share=share, note=note, despite_gates=despite_gates)

    _row(_with_store(data, tenant, work), as_json)


def deployments(tenant: TenantName, data: Data = None, as_json: AsJson = False) -> None:
    """List a tenant's versions, the newest first."""

    async def work(_: Settings, store: Any) -> Any:
        return await store.deployments.all()

    rows = [_shown(d) for d in _with_store(data, tenant, work)]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
    elif not rows:
        typer.echo(f"nothing is deployed for {tenant}: its desk uses the base model", err=True)
    else:
        _table(rows)


def describe(name: Name, data: Data = None) -> None:
    """Print an artefact's manifest: what it belongs to, how it is asked, what was measured."""
    from frontdesk.training import artefacts, deploying

    settings = configuration.load({"data": data})
    typer.echo(json.dumps(dataclasses.asdict(artefacts.load(deploying.find(name, settings.data))), ensure_ascii=False, indent=2))


def predict(
    question: Annotated[str, typer.Argument(help="What a customer says.")],
    tenant: TenantName,
    base: Annotated[bool, typer.Option("--base", help="Show the base model's reply beside it.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Ask a tenant's tuned model itself, without documents and without guardrails."""

    async def work(settings: Settings, store: Any) -> Any:
        live = await store.deployments.live()
        if not live:
            raise NotFound(f"nothing is deployed for {tenant}: deploy an adapter with `frontdesk models deploy NAME --tenant {tenant}`")
        return await _replies(settings, TenantId(tenant), live, question, base=base)

    replies = _with_store(data, tenant, work)
    if as_json:
        typer.echo(json.dumps(replies, ensure_ascii=False, indent=2))
    else:
        for label, text in replies.items():
            typer.echo(f"{label}: {text}" if len(replies) > 1 else text)


def canary(
    tenant: TenantName,
    decide: Annotated[bool, typer.Option("--decide", help="Do what the comparison says.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compare the canary with the version that serves."""
    from frontdesk.training.comparing import compare

    async def work(_: Settings, store: Any) -> Any:
        found = await compare(store)
        if decide and found.verdict != "wait":
            change = store.deployments.promote if found.verdict == "promote" else store.deployments.rollback
            await store.desk.audit(
                actor=getpass.getuser(), action="models.canary", subject=found.canary.label, detail={"verdict": found.verdict}
            )
            await change()
        return found

    found = _with_store(data, tenant, work)
    arms = [found.serving.figures(), found.canary.figures()]
    if as_json:
        typer.echo(json.dumps({"arms": arms, "verdict": found.verdict, "reason": found.reason}, indent=2))
    else:
        _table(arms)
        typer.echo(f"{found.verdict}: {found.reason}")


def promote(tenant: TenantName, data: Data = None, as_json: AsJson = False) -> None:
    """Let the canary serve everybody."""

    async def work(_: Settings, store: Any) -> Any:
        await store.desk.audit(actor=getpass.getuser(), action="models.promote", subject=tenant)
        return await store.deployments.promote()

    _row(_with_store(data, tenant, work), as_json)


def rollback(tenant: TenantName, data: Data = None, as_json: AsJson = False) -> None:
    """Take back the canary or, without one, the version that serves; the one before it serves again."""

    async def work(_: Settings, store: Any) -> Any:
        await store.desk.audit(actor=getpass.getuser(), action="models.rollback", subject=tenant)
        return await store.deployments.rollback()

    found = _with_store(data, tenant, work)
    if found is None:
        typer.echo(json.dumps(None) if as_json else "the base model serves again")
    else:
        _row(found, as_json)


def push(
    name: Name, target: Annotated[str, typer.Argument(help="A folder, s3://BUCKET/PATH or hf://OWNER/NAME.")], data: Data = None
) -> None:
    """Copy an artefact elsewhere and print where it is."""
    from frontdesk.training import deploying, pushing

    settings = configuration.load({"data": data})
    typer.echo(pushing.push(deploying.find(name, settings.data), target, token=settings.hub_token))


async def _replies(settings: Settings, tenant: TenantId, live: list[Any], question: str, *, base: bool) -> Mapping[str, str]:
    from frontdesk.models.protocols import ChatRequest, complete
    from frontdesk.models.tuned import TenantModel
    from frontdesk.training import deploying

    async with _model(settings, live) as model:
        found = {}
        for one in live:
            tuned = TenantModel(model, deploying.tuned(tenant, one))
            found[one.label] = tuned.bare("".join([piece async for piece in tuned.stream(question)]))
        if base:
            found["base"] = (await complete(model, ChatRequest(messages=[{"role": "user", "content": question}], max_tokens=96))).strip()
        return found


@asynccontextmanager
async def _model(settings: Settings, live: list[Any]) -> AsyncIterator[Any]:
    from frontdesk.models.client import ChatClient
    from frontdesk.models.local import Adapter, LocalModel
    from frontdesk.training import artefacts, deploying

    limits = {"first_token": 60.0, "between_tokens": 30.0, "total": 120.0, "slots": 1, "queue": 4}
    if settings.llm_url:
        remote = deploying.RemoteAdapters(settings)
        await remote.load({d.adapter: d.folder for d in live})
        client = ChatClient(settings.llm_url, settings.llm_key, settings.llm_model, adapters=remote.chosen, **limits)  # type: ignore[arg-type]
        try:
            yield client
        finally:
            await client.close()
        return
    adapters = [Adapter(id=d.adapter, path=settings.data / "adapters" / d.folder / artefacts.ADAPTER) for d in live]
    local = LocalModel(
        deploying.base_file(settings), threads=settings.compute_threads, slots=1, context=2048, data=settings.data, adapters=adapters
    )
    client = ChatClient(lambda: local.url, lambda: local.key, settings.llm_model, adapters=local.chosen, **limits)  # type: ignore[arg-type]
    try:
        await local.start()
        yield client
    finally:
        await client.close()
        await local.stop()


def _with_store(data: Path | None, tenant: str, work: Any) -> Any:
    if not tenant or not all(c.isalnum() or c in "-_" for c in tenant):
        raise BadInput(f"{tenant!r} is no tenant id: use the `id` from tenant.yaml")
    settings = configuration.load({"data": data})

    async def run() -> Any:
        from frontdesk.store.store import Store

        store = await Store.open(settings)
        try:
            return await work(settings, store.for_tenant(TenantId(tenant)))
        finally:
            await store.close()

    return asyncio.run(run())


def _shown(deployment: Any) -> dict[str, Any]:
    row = dataclasses.asdict(deployment)
    manifest = row.pop("manifest")
    return {**row, "base": manifest.get("base", ""), "recipe": manifest.get("recipe", "")}


def _row(deployment: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_shown(deployment), ensure_ascii=False, indent=2, default=str))
    else:
        share = f" for {deployment.share:.0%} of conversations" if deployment.share < 1 else ""
        typer.echo(f"{deployment.label} {deployment.state}{share}")


def _table(rows: list[dict[str, Any]]) -> None:
    columns = [c for c in rows[0] if c not in ("adapter", "folder", "actor", "created_at")]
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(str(row[c]) for c in columns))
    Console().print(table)
