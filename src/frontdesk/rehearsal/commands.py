"""`frontdesk rehearse`: run, report, compare, scenarios, talk. Results go to stdout, progress to stderr; the exit code gates a release."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadInput
from frontdesk.rehearsal.stream_commands import add_stream_commands, kafka_extra
from frontdesk.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and keys [FRONTDESK_DATA].")]
Tenants = Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Scenarios = Annotated[
    str | None, typer.Option("--scenarios", help="A scenario file, or a preset: acme, debate. Without: made from the tenant.")
]
TenantName = Annotated[str, typer.Argument(help="Tenant id, found under --tenants.")]
RunName = Annotated[str, typer.Argument(help="Name of a run, or a file that `rehearse run --json` wrote.")]

GUIDED, FREE, TEMPLATE = "guided", "free", "template"
errors = Console(stderr=True)


class Stage(Protocol):
    """What a rehearsal needs of the rest of the program; `frontdesk.stage` opens it."""

    def tenant(self, settings: Settings, tenant: TenantId) -> Tenant:
        """One tenant of the folder. Raises BadInput."""
        ...

    def desk(self, settings: Settings, tenant: TenantId) -> AbstractAsyncContextManager[Any]:
        """A desk in this process with that tenant ready: `store`, `front_office`, `model`, `tenants`."""
        ...

    def store(self, settings: Settings) -> AbstractAsyncContextManager[Any]:
        """The database alone."""
        ...

    def model(self, settings: Settings) -> AbstractAsyncContextManager[Any]:
        """The language model alone, or None."""
        ...

    def patient(self, office: Any) -> AbstractAsyncContextManager[Any]:
        """The language model of a desk in this process, or None."""
        ...

    async def token(self, store: Any, tenant: TenantId, customer: str) -> str:
        """A signed token for a customer, as this data folder's desk accepts it."""
        ...

    def sentiment(self) -> Any:
        """Something that scores texts, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `rehearse run` was asked for."""

    tenant: TenantId
    scenarios: str | None
    count: int
    seed: int
    phrasing: str
    agent: str
    in_flight: int
    url: str
    key: str
    tokens: Mapping[str, str]
    resume: str
    same_words_as: str
    kafka: str = ""
    prefix: str = ""


def rehearse_app(stage: Callable[[], Stage]) -> typer.Typer:
    """The commands over a stage that is opened when it is needed."""
    own = _Commands(stage)
    app = typer.Typer(no_args_is_help=True, help="Let AI customers try the desk before real ones come.")
    for name, command in (
        ("run", own.run),
        ("report", own.report),
        ("compare", own.compare),
        ("scenarios", own.scenarios),
        ("talk", own.talk),
    ):
        app.command(name)(command)
    add_stream_commands(app, stage)
    return app


class _Commands:
    def __init__(self, stage: Callable[[], Stage]) -> None:
        self._stage = stage

    def run(
        self,
        tenant: TenantName,
        tenants: Tenants = None,
        scenarios: Scenarios = None,
        count: Annotated[int, typer.Option("-n", "--conversations", min=1, help="How many conversations.")] = 100,
        seed: Annotated[int, typer.Option(help="The same seed gives the same cast and the same conversations.")] = 7,
        as_json: AsJson = False,
        url: Annotated[str, typer.Option(help="A running desk's address; without it one is started in this process.")] = "",
        key: Annotated[str, typer.Option(help="The tenant's key, for --url.")] = "",
        token: Annotated[
            list[str] | None,
            typer.Option(help="CUSTOMER=TOKEN for a signed-in customer, for --url; without it, signed with --data's secret."),
        ] = None,
        phrasing: Annotated[
            str, typer.Option(help="Who words the customers' lines: guided (a small model), free (a capable one), template (none).")
        ] = GUIDED,
        agent: Annotated[
            str, typer.Option(help="Who answers: desk, or model (a bare language model with the prompt of the scenarios).")
        ] = "desk",
        in_flight: Annotated[int, typer.Option(min=1, help="Conversations in flight at once.")] = 24,
        resume: Annotated[str, typer.Option(help="Go on with a run that was stopped.")] = "",
        same_words_as: Annotated[str, typer.Option(help="Let the customers' model say again what it said in an earlier run.")] = "",
        kafka: Annotated[
            str, typer.Option(help="HOST:PORT of a Kafka broker: the conversations are had by the services that run there.")
        ] = "",
        prefix: Annotated[str, typer.Option(help="First part of the names of topics and groups, for --kafka.")] = "",
        junit: Annotated[Path | None, typer.Option(help="Write a JUnit file as well.")] = None,
        at_least: Annotated[
            float | None, typer.Option(min=0.0, max=1.0, help="Exit with 1 when the pass rate is lower, or a policy was broken.")
        ] = None,
        data: Data = None,
    ) -> None:
        """Have AI customers talk to the desk, judge every conversation, and exit with 1 when the gate does not hold."""
        wanted = Wanted(
            tenant=TenantId(tenant),
            scenarios=scenarios,
            count=count,
            seed=seed,
            phrasing=_one_of("--phrasing", phrasing, (GUIDED, FREE, TEMPLATE)),
            agent=_one_of("--agent", agent, ("desk", "model")),
            in_flight=in_flight,
            url=url,
            key=key,
            tokens=_tokens(token or ()),
            resume=resume,
            same_words_as=same_words_as,
            kafka=kafka,
            prefix=prefix,
        )
        if url and not key:
            raise BadInput("--url needs --key: make one with `frontdesk keys create TENANT`")
        settings = configuration.load({"tenants": tenants, "data": data}).alone()
        from frontdesk.rehearsal.running import rehearse

        def report(found: Any) -> Coroutine[Any, Any, Sequence[str]]:
            return _told(found, as_json=as_json, junit=junit, at_least=at_least)

        if kafka:
            with kafka_extra():
                from frontdesk.rehearsal.starting import rehearse_over as rehearse
        wrong = asyncio.run(rehearse(self._stage(), settings, wanted, report=report, console=errors))
        for sentence in wrong:
            errors.print(f"[red]not passed:[/] {sentence}", highlight=False)
        raise typer.Exit(1 if wrong else 0)

    def report(
        self,
        run: Annotated[str | None, typer.Argument(help="Name of a run; without it, the runs are listed.")] = None,
        tenant: Annotated[str, typer.Option(help="Whose runs to list.")] = "",
        as_json: AsJson = False,
        junit: Annotated[Path | None, typer.Option(help="Write a JUnit file as well.")] = None,
        data: Data = None,
    ) -> None:
        """Show what a run found, or list a tenant's runs."""
        asyncio.run(self._report(run, tenant, as_json=as_json, junit=junit, settings=configuration.load({"data": data})))

    async def _report(self, run: str | None, tenant: str, *, as_json: bool, junit: Path | None, settings: Settings) -> None:
        from frontdesk.rehearsal.running import Run

        if run is None and not tenant:
            raise BadInput("name a run, or a tenant with --tenant to list its runs")
        async with self._stage().store(settings) as store:
            if run is not None:
                await _told(await Run.stored(store, run, self._stage().sentiment()), as_json=as_json, junit=junit, at_least=None)
                return
            rows = await store.for_tenant(TenantId(tenant)).rehearsals.list()
        found = [
            {"run": r.id, "conversations": r.wanted, "started": r.started_at.isoformat(), "finished": r.finished_at is not None}
            for r in rows
        ]
        if as_json:
            print(json.dumps(found))
        for row in () if as_json else found:
            print(f"{row['run']}  {row['started'][:19]}  {row['conversations']} conversations{'' if row['finished'] else ', not finished'}")

    def compare(
        self,
        before: RunName,
        after: RunName,
        not_worse: Annotated[
            bool, typer.Option("--not-worse", help="Exit with 1 when the second run passes less often, and not by chance.")
        ] = False,
        as_json: AsJson = False,
        data: Data = None,
    ) -> None:
        """Compare two runs of the same conversations, pair by pair, and say whether the difference may be chance."""
        from frontdesk.rehearsal.reporting import show_comparison
        from frontdesk.rehearsal.scoring import compare

        first, second = asyncio.run(self._both(before, after, configuration.load({"data": data})))
        found = compare(first, second)
        if not found["pairs"]:
            raise BadInput("these runs have no conversation in common: compare runs of the same scenarios with the same seed")
        if as_json:
            print(json.dumps(found))
        else:
            show_comparison(found, Console())
        if not_worse and found["significant"] and found["difference"] < 0:
            raise typer.Exit(1)

    async def _both(self, before: str, after: str, settings: Settings) -> tuple[Any, Any]:
        from frontdesk.rehearsal.reporting import read_json, scores_of
        from frontdesk.rehearsal.running import Run

        async with AsyncExitStack() as stack:
            store: Any = None
            found = []
            for name in (before, after):
                if Path(name).is_file():  # noqa: ASYNC240 - one look before anything runs
                    found.append(scores_of(read_json(Path(name))))
                    continue
                store = store or await stack.enter_async_context(self._stage().store(settings))
                found.append((await Run.stored(store, name)).tally.scores)
        return found[0], found[1]

    def scenarios(
        self,
        tenant: TenantName,
        tenants: Tenants = None,
        out: Annotated[Path | None, typer.Option(help="File to write; without it, to stdout.")] = None,
        seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 7,
    ) -> None:
        """Write scenarios for a tenant from its FAQ, documents and tools, to be edited."""
        from frontdesk.rehearsal.running import generated

        text = asyncio.run(generated(self._stage().tenant(configuration.load({"tenants": tenants}), TenantId(tenant)), seed))
        if out is None:
            print(text, end="")
            return
        if out.exists():
            raise BadInput(f"{out} is there already, perhaps with your changes: move it away or name another file")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        errors.print(f"wrote {out}", highlight=False)

    def talk(
        self,
        tenant: TenantName,
        tenants: Tenants = None,
        scenarios: Scenarios = None,
        play: Annotated[
            str, typer.Option("--as", help="customer: you talk to the desk. agent: a played customer talks to you.")
        ] = "customer",
        number: Annotated[int, typer.Option("-n", help="Which of the drawn customers you meet.")] = 0,
        seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 7,
        customer: Annotated[str, typer.Option(help="Speak as this signed-in customer.")] = "",
        data: Data = None,
    ) -> None:
        """Play one side yourself, at the keyboard."""
        from frontdesk.rehearsal.running import play_agent, play_customer

        settings = configuration.load({"tenants": tenants, "data": data})
        stage = self._stage()
        if _one_of("--as", play, ("customer", "agent")) == "agent":
            asyncio.run(play_agent(stage, settings, TenantId(tenant), scenarios, number=number, seed=seed, say=print, ask=input))
        else:
            asyncio.run(play_customer(stage, settings, TenantId(tenant), customer, say=print, ask=input))


async def _told(run: Any, *, as_json: bool, junit: Path | None, at_least: float | None) -> Sequence[str]:
    """Prints a run in the form that was asked for; why the gate does not hold."""
    from frontdesk.rehearsal.reporting import gate, show, write_json, write_junit

    if junit is not None:
        await write_junit(junit, run.script, run.name, run.talks())
    if as_json:
        await write_json(sys.stdout.write, run.script, run.name, run.summary, run.talks())
    else:
        show(run.name, run.summary, Console())
    return gate(run.summary, at_least)


def _one_of(option: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BadInput(f"{option} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _tokens(given: Sequence[str]) -> dict[str, str]:
    for row in given:
        if "=" not in row:
            raise BadInput("--token must be CUSTOMER=TOKEN: make one with `frontdesk customer-token TENANT CUSTOMER`")
    return dict(row.split("=", 1) for row in given)
