"""`frontdesk rehearse service`, `replay` and `against`: services on Kafka, stored conversations again, old messages to a new version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput

if TYPE_CHECKING:
    from frontdesk.rehearsal.commands import Stage

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
Tenants = Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def add_stream_commands(app: typer.Typer, stage: Callable[[], Stage]) -> None:
    """Adds the commands to `rehearse`."""
    own = _Commands(stage)
    app.command("service")(own.service)
    app.command("replay")(own.replay)
    app.command("against")(own.against)


@contextmanager
def kafka_extra() -> Iterator[None]:
    """For imports that need the extra. Raises BadInput where it is not installed."""
    try:
        yield
    except ImportError as why:
        raise BadInput(f"rehearsals over Kafka need the kafka extra: pip install 'frontdesk[kafka]' ({why.name} is missing)") from None


class _Commands:
    def __init__(self, stage: Callable[[], Stage]) -> None:
        self._stage = stage

    def service(
        self,
        name: Annotated[str, typer.Argument(help="customer, agent, sentiment or sink.")],
        broker: Annotated[str, typer.Option(help="HOST:PORT of a Kafka broker.")] = "127.0.0.1:9092",
        prefix: Annotated[str, typer.Option(help="First part of the names of topics and groups: keeps several apart on one broker.")] = "",
        tenant: Annotated[str, typer.Option(help="Tenant id: whose desk the agent asks, whose API the referee looks at.")] = "",
        tenants: Tenants = None,
        phrasing: Annotated[str, typer.Option(help="customer: who words the lines, guided, free or template.")] = "guided",
        agent: Annotated[str, typer.Option(help="agent: desk (at --url), or model (with the prompt of the scenarios).")] = "desk",
        url: Annotated[str, typer.Option(help="agent: a running desk's address.")] = "",
        key: Annotated[str, typer.Option(help="agent: the tenant's key, for --url.")] = "",
        token: Annotated[list[str] | None, typer.Option(help="agent: CUSTOMER=TOKEN for a signed-in customer, for --url.")] = None,
        data: Data = None,
    ) -> None:
        """Run one replica of a stream service until it is stopped; start as many as you like."""
        if name not in ("customer", "agent", "sentiment", "sink"):
            raise BadInput(f"there is no service {name!r}: customer, agent, sentiment or sink")
        if name == "agent" and agent == "desk" and not (url and key and tenant):
            raise BadInput("the agent's service needs a running desk: give --tenant, --url and --key, or --agent model")
        settings = configuration.load({"tenants": tenants, "data": data})
        with kafka_extra():
            from frontdesk.rehearsal import replicas
        options: dict[str, Any] = {"phrasing": phrasing, "agent": agent, "url": url, "key": key, "tokens": _tokens(token or [])}
        replicas.run(self._stage(), settings, name, address=broker, prefix=prefix, tenant=TenantId(tenant), **options)

    def replay(
        self,
        tenant: Annotated[str, typer.Argument(help="Tenant id.")],
        conversation: Annotated[str, typer.Option(help="Only this conversation.")] = "",
        after: Annotated[int, typer.Option(min=0, help="Only what came after this position of the log.")] = 0,
        speed: Annotated[float, typer.Option(min=0.0, help="1 as it was, 10 ten times as fast, 0 at once.")] = 0.0,
        as_json: AsJson = False,
        data: Data = None,
    ) -> None:
        """Let stored conversations run again, event by event, as they were."""

        async def run() -> None:
            from frontdesk.rehearsal.replaying import replay, shown

            async with self._stage().store(configuration.load({"data": data})) as store:
                async for record in replay(store, TenantId(tenant), conversation=conversation, after=after, speed=speed):
                    if line := shown(record, as_json=as_json):
                        typer.echo(line)

        asyncio.run(run())

    def against(
        self,
        tenant: Annotated[str, typer.Argument(help="Tenant id.")],
        tenants: Annotated[Path, typer.Option("--tenants", help="Folder that holds the new version of the tenant.")],
        conversation: Annotated[str, typer.Option(help="Only this conversation.")] = "",
        after: Annotated[int, typer.Option(min=0, help="Only what came after this position of the log.")] = 0,
        with_api: Annotated[
            bool, typer.Option("--with-api", help="Call the new version's API too; old consents then act again: give it a test server.")
        ] = False,
        as_json: AsJson = False,
        data: Data = None,
    ) -> None:
        """Put old customers' messages to a new version of the tenant and show, answer by answer, what differs. Publishes nothing."""
        from frontdesk.rehearsal.replaying import against

        settings = configuration.load({"data": data})
        which = {"conversation": conversation, "after": after}
        rows = asyncio.run(against(self._stage(), settings, TenantId(tenant), tenants, with_api=with_api, **which))
        if as_json:
            typer.echo(json.dumps({"summary": _counted(rows), "answers": rows}, ensure_ascii=False))
            return
        for row in (r for r in rows if r["differs"]):
            typer.echo(f"{row['conversation'][:8]}  {row['message']}")
            for side in ("before", "after"):
                typer.echo(f"  {side:6} {row[side]['route']:9} {row[side]['text']}")
        typer.echo("{answers} answers: {same} the same, {differ} differ, {skipped} skipped (they need the API)".format(**_counted(rows)))


def _counted(rows: list[dict[str, Any]]) -> dict[str, int]:
    skipped, differ = sum(bool(r["skipped"]) for r in rows), sum(bool(r["differs"]) for r in rows)
    return {"answers": len(rows), "same": len(rows) - skipped - differ, "differ": differ, "skipped": skipped}


def _tokens(given: list[str]) -> dict[str, str]:
    if any("=" not in row for row in given):
        raise BadInput("--token must be CUSTOMER=TOKEN: make one with `frontdesk customer-token TENANT CUSTOMER`")
    return dict(row.split("=", 1) for row in given)
