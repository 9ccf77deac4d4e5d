"""`frontdesk rehearse service`, `replay` and `against`: services on Kafka, stored conversations again, old messages to a new version."""

from __future__ import annotations

from collections.abc import Callable
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
        try:
            from frontdesk.rehearsal import replicas
        except ImportError as why:
            raise BadInput(f"stream services need the kafka extra: pip install 'frontdesk[kafka]' ({why.name} is missing)") from None
        options: dict[str, Any] = {"phrasing": phrasing, "agent": agent, "url": url, "key": key, "tokens": _tokens(token or [])}
        replicas.run(self._stage(), settings, name, address=broker, prefix=prefix, tenant=TenantId(tenant), **options)


def _tokens(given: list[str]) -> dict[str, str]:
    if any("=" not in row for row in given):
        raise BadInput("--token must be CUSTOMER=TOKEN: make one with `frontdesk customer-token TENANT CUSTOMER`")
    return dict(row.split("=", 1) for row in given)
