"""The `frontdesk` command. Results go to stdout, progress and logs to stderr; exit 0 done, 1 failed, 2 bad use."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from frontdesk import settings as configuration
from frontdesk.analytics.commands import report
from frontdesk.analytics.export_commands import add_to as add_export_commands
from frontdesk.cli_output import show_reply
from frontdesk.console.commands import operators_app
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, Tenant, TenantId
from frontdesk.errors import BadInput, FrontdeskError
from frontdesk.rehearsal.commands import Stage, rehearse_app
from frontdesk.rights.commands import retention_app
from frontdesk.settings import Settings
from frontdesk.training.commands import train_app
from frontdesk.training.improve_command import improve
from frontdesk.training.model_commands import add_to as add_model_commands

app = typer.Typer(name="frontdesk", no_args_is_help=True, add_completion=False, help="A self-hosted customer-support desk run by AI.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys of a tenant.")
knowledge_app = typer.Typer(no_args_is_help=True, help="What a tenant knows.")
models_app = typer.Typer(no_args_is_help=True, help="Models on this machine.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure the desk.")
app.add_typer(keys_app, name="keys")
app.add_typer(knowledge_app, name="knowledge")
app.add_typer(models_app, name="models")
add_model_commands(models_app)
app.command("improve")(improve)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(operators_app, name="operators")
app.command("report")(report)
add_export_commands(app)
errors = Console(stderr=True)


def _database_ahead(settings: Settings) -> AbstractContextManager[None]:
    """The embedded database starts, and recovers, while the rest of the program loads."""
    from frontdesk.store.embedded import ahead

    return nullcontext() if settings.database_url else ahead(settings.data)


def _stage() -> Stage:
    """What a rehearsal runs on; loaded only when one runs."""
    from frontdesk.stage import Stage as Real

    return Real()


def _eraser(settings: Settings) -> Any:
    """What forgets conversations; loaded only when something is erased."""
    from frontdesk.wiring import eraser_of

    return eraser_of(settings)


app.add_typer(rehearse_app(_stage), name="rehearse")
app.add_typer(retention_app(_eraser), name="retention")
app.add_typer(train_app(_stage), name="train")

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
Tenants = Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except FrontdeskError as problem:
        errors.print(f"[bold red]error:[/] {problem}", highlight=False, soft_wrap=True)
        raise SystemExit(problem.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _async(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async command."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(command(*args, **kwargs))

    return run


@app.command()
def serve(
    tenants: Tenants = None,
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [FRONTDESK_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [FRONTDESK_PORT].")] = None,
    watch: Annotated[bool | None, typer.Option("--watch", help="Follow the tenants folder and re-index what changes.")] = None,
) -> None:
    """Run the desk's HTTP server."""
    settings = configuration.load({"tenants": tenants, "data": data, "host": host, "port": port, "watch": watch})
    with _database_ahead(settings):
        from frontdesk.serving import run_server

        run_server(settings)


@app.command()
def demo(
    data: Data = None,
    tenants: Tenants = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [FRONTDESK_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [FRONTDESK_PORT].")] = None,
    scenes: Annotated[
        bool, typer.Option(help="Play the tenants' scenes with signed-in customers: live data, elicitation, an act after a yes.")
    ] = True,
) -> None:
    """Start the desk on example tenants, ask it three questions, play their scenes, and stay up with a chat page."""
    settings = configuration.load({"data": data, "tenants": tenants, "host": host, "port": port}).alone()
    with _database_ahead(settings):
        from frontdesk.serving import run_demo

        run_demo(settings, scenes=scenes)


@app.command()
@_async
async def ask(
    tenant: Annotated[str, typer.Argument(help="Tenant id.")],
    question: Annotated[str, typer.Argument(help="What the customer says.")],
    customer: Annotated[str | None, typer.Option(help="Speak as this signed-in customer.")] = None,
    data: Data = None,
    tenants: Tenants = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question and print the answer with its sources."""
    settings = configuration.load({"data": data, "tenants": tenants})
    reply = await _ask(settings, TenantId(tenant), question, customer)
    if as_json:
        print(json.dumps(_reply_json(reply), ensure_ascii=False, indent=2))
    else:
        show_reply(reply, Console())


async def _ask(settings: Settings, tenant: TenantId, question: str, customer: str | None) -> ReplySent:
    from frontdesk import wiring

    async with wiring.running(settings) as office:
        served = _tenant(office.tenants, tenant)
        office.reports[tenant] = await office.library.sync(served)
        for line in served.lines:
            await office.library.sync(_tenant(office.tenants, line))
        caller = Caller(tenant=tenant, key=KeyId("cli"), role=Role.SERVER, customer=CustomerId(customer) if customer else None)
        claims = {"customer.id": customer, "sub": customer} if customer else {}
        caller = dataclasses.replace(caller, claims=claims)
        return await asked(office.front_office, caller, question)


async def asked(front_office: Any, caller: Caller, question: str) -> ReplySent:
    """The reply to one message in a conversation of its own."""
    async with aclosing(front_office.talk(caller=caller, message=question, channel="cli")) as events:
        async for record in events:
            if isinstance(record.event, ReplySent):
                return record.event
    raise BadInput("a human owns this conversation: the desk does not answer in it")


def _reply_json(reply: ReplySent) -> dict[str, Any]:
    return {
        "text": reply.text,
        "route": reply.route.value,
        "confidence": reply.confidence,
        "citations": [{"source": c.source, "title": c.title, "quote": c.quote} for c in reply.citations],
        "tool_calls": [
            {"name": c.name, "arguments": dict(c.arguments), **({"error": c.error} if c.error else {"result": c.result})}
            for c in reply.tool_calls
        ],
        "handoff": reply.handoff,
    }


@keys_app.command("create")
@_async
async def keys_create(
    tenant: str,
    role: Annotated[Role, typer.Option(help="widget, server or operator.")] = Role.SERVER,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    data: Data = None,
) -> None:
    """Create an API key and print it alone; it is shown once."""
    from frontdesk.store.store import Store

    store = await Store.open(configuration.load({"data": data}))
    try:
        print(await store.for_tenant(_slug(tenant)).keys.create(role, label))
    finally:
        await store.close()


@keys_app.command("list")
@_async
async def keys_list(tenant: str, data: Data = None, as_json: AsJson = False) -> None:
    """List a tenant's keys, never their secrets."""
    from frontdesk.store.store import Store

    store = await Store.open(configuration.load({"data": data}))
    try:
        rows = [dataclasses.asdict(k) for k in await store.for_tenant(_slug(tenant)).keys.list()]
    finally:
        await store.close()
    _rows(rows, as_json)


@keys_app.command("revoke")
@_async
async def keys_revoke(tenant: str, key: Annotated[str, typer.Argument(help="Key id as `keys list` shows it.")], data: Data = None) -> None:
    """Make a key stop working."""
    from frontdesk.store.store import Store

    store = await Store.open(configuration.load({"data": data}))
    try:
        await store.for_tenant(_slug(tenant)).keys.revoke(KeyId(key))
    finally:
        await store.close()


@app.command("customer-token")
@_async
async def customer_token(tenant: str, customer: str, data: Data = None) -> None:
    """Print a signed token for a customer, valid for one hour (for development)."""
    from frontdesk.server.auth import issue_customer_token
    from frontdesk.store.store import Store

    store = await Store.open(configuration.load({"data": data}))
    try:
        print(issue_customer_token(await store.signing_secret(), _slug(tenant), CustomerId(customer), time.time()))
    finally:
        await store.close()


@knowledge_app.command("sync")
@_async
async def knowledge_sync(tenant: str, data: Data = None, tenants: Tenants = None, as_json: AsJson = False) -> None:
    """Bring the index in step with the tenant's folder; only what changed is read."""
    from rich.progress import Progress

    from frontdesk import wiring

    async with wiring.indexing(configuration.load({"data": data, "tenants": tenants})) as (_, library, served):
        with Progress(console=errors, transient=True) as bar:
            task = bar.add_task("embedding", total=None)
            report = await library.sync(
                _tenant(served, TenantId(tenant)), progress=lambda done, all_: bar.update(task, completed=done, total=all_)
            )
    _report(report, as_json)


@knowledge_app.command("add")
@_async
async def knowledge_add(tenant: str, file: Path, data: Data = None, tenants: Tenants = None, as_json: AsJson = False) -> None:
    """Index one file without putting it into the tenant's folder."""
    from frontdesk import wiring

    try:
        content = await asyncio.to_thread(file.read_bytes)
    except OSError as why:
        raise BadInput(f"{file}: {why.strerror}: give the path of a readable file") from None
    async with wiring.indexing(configuration.load({"data": data, "tenants": tenants})) as (_, library, served):
        report = await library.add(_tenant(served, TenantId(tenant)).id, file.name, content)
    _report(report, as_json)


@knowledge_app.command("remove")
@_async
async def knowledge_remove(tenant: str, source: str, data: Data = None, tenants: Tenants = None) -> None:
    """Stop answering from a document."""
    from frontdesk import wiring

    async with wiring.indexing(configuration.load({"data": data, "tenants": tenants})) as (_, library, served):
        if not await library.remove(_tenant(served, TenantId(tenant)).id, source):
            raise BadInput(f"{tenant} has no document {source!r}: `frontdesk knowledge list {tenant}` shows what there is")


@knowledge_app.command("list")
@_async
async def knowledge_list(tenant: str, data: Data = None, tenants: Tenants = None, as_json: AsJson = False) -> None:
    """List the documents that answer now, and what was set apart."""
    from frontdesk import wiring

    async with wiring.indexing(configuration.load({"data": data, "tenants": tenants})) as (_, library, served):
        found = await library.list(_tenant(served, TenantId(tenant)).id)
    rows = [
        {
            "source": d.source,
            "title": d.title,
            "version": d.version,
            "passages": d.passages,
            "set_apart": d.quarantined,
            "updated": d.updated_at,
        }
        for d in found
    ]
    _rows(rows, as_json)


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models that can be fetched and those that are here."""
    from frontdesk.models import registry

    here = {m.name for m in registry.installed(configuration.load().cache)}
    rows = [
        {"name": e.name, "kind": e.kind, "licence": e.licence, "megabytes": round(e.bytes / 1e6), "here": e.name in here}
        for e in registry.entries()
    ]
    _rows(rows, as_json)


@models_app.command("pull")
def models_pull(name: str) -> None:
    """Fetch and verify a model."""
    from frontdesk.models import registry

    with registry.progress_bar() as progress:
        print(registry.pull(name, configuration.load().cache, progress))


@models_app.command("rm")
def models_remove(name: str) -> None:
    """Delete a model from this machine."""
    from frontdesk.models import registry

    if not registry.remove(name, configuration.load().cache):
        raise BadInput(f"{name} is not on this machine: `frontdesk models list` shows what is")


@evaluate_app.command("intent")
@_async
async def evaluate_intent(
    train: Annotated[Path, typer.Option(help="JSON lines with text and label.")],
    test: Annotated[Path, typer.Option(help="JSON lines with text and label.")],
    oos_train: Annotated[Path | None, typer.Option(help="Out-of-scope utterances to learn from.")] = None,
    oos_test: Annotated[Path | None, typer.Option(help="Out-of-scope utterances to test on.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train the intent recogniser on one file and measure it on another."""
    from frontdesk import wiring
    from frontdesk.desk.intent import evaluate_files

    async with wiring.embedding(configuration.load()) as embedder:
        figures = await evaluate_files(train, test, oos_train, oos_test, embedder)
    _figures(figures, as_json)


@evaluate_app.command("answers")
@_async
async def evaluate_answers(
    questions: Annotated[Path, typer.Option(help="YAML file of questions with expectations.")],
    tenants: Tenants = None,
    data: Data = None,
    category: Annotated[list[str] | None, typer.Option(help="Only these categories.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each failure.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a file of questions to the desk and check each answer by rule."""
    from frontdesk import wiring
    from frontdesk.evaluation import evaluate_file

    async with wiring.running(configuration.load({"data": data, "tenants": tenants})) as office:
        await office.prepare()
        result = await evaluate_file(office.front_office, questions, categories=category or ())
    if verbose:
        for line in result.failures:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)
    _figures(result.figures(), as_json)


def _tenant(served: Any, tenant: TenantId) -> Tenant:
    if tenant not in served:
        raise BadInput(f"there is no tenant {tenant!r}: this folder serves {', '.join(sorted(served))}")
    found: Tenant = served[tenant]
    return found


def _slug(tenant: str) -> TenantId:
    if not tenant or not all(c.isalnum() or c in "-_" for c in tenant) or tenant != tenant.lower():
        raise BadInput(f"{tenant!r} is no tenant id: use the `id` from tenant.yaml")
    return TenantId(tenant)


def _report(report: Any, as_json: bool) -> None:
    data = dataclasses.asdict(report)
    if as_json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
        return
    for name in ("added", "changed", "removed", "unchanged"):
        if data[name]:
            print(f"{name}: {', '.join(data[name])}")
    print(f"passages embedded: {report.embedded}, vectors reused: {report.reused}")
    for source, reason in report.failed:
        errors.print(f"[red]not read:[/] {source}: {reason}", highlight=False, soft_wrap=True)
    for source, text in report.quarantined:
        errors.print(f"[yellow]set apart:[/] {source}: {text[:100]}", highlight=False, soft_wrap=True)


def _rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        errors.print("nothing here")
        return
    table = Table(*rows[0].keys(), box=None)
    for row in rows:
        table.add_row(*(str(v) if v is not None else "" for v in row.values()))
    Console().print(table)


def _figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:.4f}" if isinstance(value, float) else f"{name:32} {value}")


if __name__ == "__main__":
    main()
