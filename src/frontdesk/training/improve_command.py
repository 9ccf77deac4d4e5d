"""`frontdesk improve TENANT`: collects proposals, takes an operator's yes or no, trains, compares, deploys what passes. Results go to stdout."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.settings import Settings


def improve(
    tenant: Annotated[str, typer.Argument(help="Tenant id.")],
    show: Annotated[bool, typer.Option("--list", help="Only show the open proposals.")] = False,
    accept: Annotated[list[str] | None, typer.Option(help="Say yes to a proposal; `all` for every one that has an answer.")] = None,
    refuse: Annotated[list[str] | None, typer.Option(help="Say no to a proposal.")] = None,
    answer: Annotated[str | None, typer.Option(help="The answer, in your words, to the one proposal that is accepted.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write what was accepted as an FAQ file (.jsonl).")] = None,
    train: Annotated[bool, typer.Option("--train", help="Learn the FAQ with what was accepted, evaluate, deploy if it is better.")] = False,
    share: Annotated[float, typer.Option("--canary", help="With --train: deploy for this share of conversations first.")] = 1.0,
    name: Annotated[str, typer.Option(help="With --train: the run's name.")] = "",
    data: Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")] = None,
    tenants: Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Turn gaps, rejected drafts, agents' replies and failed rehearsals into better answers, with a human's yes in between."""
    if answer is not None and (not accept or len(accept) != 1 or accept == ["all"]):
        raise BadInput("--answer belongs to one proposal: give it with one --accept ID")
    if export is not None and export.exists():
        raise BadInput(f"{export} is there already and is not overwritten: name another file")
    settings = configuration.load({"data": data, "tenants": tenants})
    asyncio.run(_improve(settings, TenantId(tenant), show, accept or [], refuse or [], answer, export, train, share, name, as_json))


async def _improve(
    settings: Settings,
    tenant: TenantId,
    show: bool,
    accept: list[str],
    refuse: list[str],
    answer: str | None,
    export: Path | None,
    train: bool,
    share: float,
    name: str,
    as_json: bool,
) -> None:
    from frontdesk.store.store import Store
    from frontdesk.training import improving

    opened = await Store.open(settings)
    try:
        store = opened.for_tenant(tenant)
        if accept or refuse:
            await _decide(store, accept, refuse, answer)
        elif export is not None:
            improving.write_pairs(export, await improving.approved(store))
            typer.echo(str(export))
        elif train:
            await _train(opened, store, settings, tenant, share=share, name=name)
        else:
            if not show:
                found = await improving.collect(store)
                typer.echo(f"new proposals: {', '.join(f'{n} from {s}s' for s, n in found.items() if n) or 'none'}", err=True)
            _show(await store.deployments.proposals(), as_json)
    finally:
        await opened.close()


async def _decide(store: Any, accept: list[str], refuse: list[str], answer: str | None) -> None:
    actor = getpass.getuser()
    if accept == ["all"]:
        accept = [p.id for p in await store.deployments.proposals() if p.answer.strip()]
    known = {p.id: p for p in await store.deployments.proposals()}
    for id in accept:
        if answer is None and id in known and not known[id].answer.strip():
            raise BadInput(f"the proposal {id} has no answer yet: say what it is with --accept {id} --answer '…'")
    for ids, yes in ((accept, True), (refuse, False)):
        for id in ids:
            decided = await store.deployments.decide(id, accept=yes, actor=actor, answer=answer if yes else None)
            await store.desk.audit(
                actor=actor, action="improve.accept" if yes else "improve.refuse", subject=decided.question, detail={"id": id}
            )
            typer.echo(f"{decided.state}: {decided.question}")


async def _train(opened: Any, store: Any, settings: Settings, tenant: TenantId, *, share: float, name: str) -> None:
    """Start a run on the FAQ with what was accepted, wait for it, and deploy it when it is no worse than what serves."""
    from frontdesk.knowledge.tenants import load_tenants
    from frontdesk.training import artefacts, deploying, improving
    from frontdesk.training.preparing import prepare
    from frontdesk.training.runfile import Data, RunFile
    from frontdesk.training.runs import RunManager

    served = {t.id: t for t in load_tenants(settings.tenants)}
    if tenant not in served:
        raise BadInput(f"there is no tenant {tenant!r}: this folder serves {', '.join(sorted(served))}")
    versions = await store.deployments.all()
    name = name or f"{tenant}-improved-{len(versions) + 1}"
    folder = await improving.training_folder(store, served[tenant], settings.data / "improve" / name)
    run = RunFile(name=name, recipe="faq", model=settings.llm_model, tenant=str(tenant), data=Data(faq=str(folder.resolve())))
    prepared = await prepare(run, settings)
    manager = RunManager(opened, settings)
    place = await manager.start(run, prepare=prepared.write)
    typer.echo(f"training {name}: follow it with `frontdesk train logs {name} --follow`", err=True)
    async for state, _ in manager.follow(place):
        last = state
    if last.state.value != "COMPLETED":
        raise BadInput(f"the run {name} ended as {last.state.value}: see `frontdesk train logs {name}`; what serves goes on serving")
    artefact = deploying.find(name, settings.data)
    serving = next((v for v in versions if v.state == "serving"), None)
    reason = improving.worse(artefacts.load(artefact), serving.manifest if serving else None)
    if reason:
        typer.echo(f"not deployed: {reason}")
        raise typer.Exit(1)
    done = await deploying.deploy(store, settings, artefact, actor=getpass.getuser(), share=share, note="frontdesk improve")
    typer.echo(f"deployed: {done.label} {done.state}")


def _show(proposals: list[Any], as_json: bool) -> None:
    rows = [dataclasses.asdict(p) for p in proposals]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        typer.echo("no open proposals", err=True)
        return
    table = Table("id", "from", "asked", "question", "answer", box=None)
    for row in rows:
        table.add_row(row["id"], row["source"], str(row["count"]), row["question"], row["answer"] or "(to be written)")
    Console().print(table)
