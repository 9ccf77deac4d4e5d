"""A whole run, from its options to its figures: opens what it needs, checks everything before the first word, stops in order on Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadInput, NotFound, Unavailable
from frontdesk.knowledge.tenants import load_faq
from frontdesk.rehearsal.cast import load_cast
from frontdesk.rehearsal.commands import FREE as FREELY
from frontdesk.rehearsal.commands import TEMPLATE, Stage, Wanted
from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.fleet import Fleet, heard_before, new_id
from frontdesk.rehearsal.generating import documents_of, scenarios_of, written
from frontdesk.rehearsal.live import Watch, shown
from frontdesk.rehearsal.phrasing import ModelPhraser, Phraser, Templates
from frontdesk.rehearsal.reading import preset, presets
from frontdesk.rehearsal.referee import EndState
from frontdesk.rehearsal.scenarios import FREE, Script, draw, load_script, read_script, script_from_json, script_to_json
from frontdesk.rehearsal.scoring import Sentiment, Tally, tally
from frontdesk.rehearsal.speakers import CALL_SECONDS, Agent, BareAgent, DeskInProcess, DeskOverHttp, FreeCustomer, InLog, PersonAgent
from frontdesk.rehearsal.talk import CUSTOMER, Line, Talk, begin, from_plain
from frontdesk.settings import Settings, expand
from frontdesk.tools.catalog import load_catalog

FILE = "rehearsal.yaml"
"""A tenant's own scenarios, in its folder."""
Report = Callable[["Run"], Coroutine[Any, Any, Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it is kept: its script, its scores, and its conversations to be read one by one."""

    name: str
    script: Script
    tally: Tally
    summary: Mapping[str, Any]
    store: Any

    @classmethod
    async def stored(cls, store: Any, name: str, sentiment: Sentiment | None = None) -> Run:
        """The run of that name. Raises NotFound."""
        rehearsals = store.for_tenant(tenant_of(name)).rehearsals
        script = script_from_json((await rehearsals.one(name)).plan["script"])
        found = await tally(script, _talks(rehearsals, name))
        return cls(name=name, script=script, tally=found, summary=found.summary(sentiment), store=store)

    def talks(self) -> AsyncIterator[Talk]:
        """Every conversation, in order."""
        return _talks(self.store.for_tenant(tenant_of(self.name)).rehearsals, self.name)


def tenant_of(run: str) -> TenantId:
    """The tenant whose run this is. Raises NotFound for what is no run's name."""
    tenant, dot, _ = run.rpartition(".")
    if not dot or not tenant:
        raise NotFound(f"{run!r} is no run's name: `frontdesk rehearse report --tenant TENANT` lists them")
    return TenantId(tenant)


async def rehearse(stage: Stage, settings: Settings, wanted: Wanted, *, report: Report, console: Console) -> Sequence[str]:
    """Has all conversations of a run and reports it; why its gate does not hold. Raises BadInput before anything is started."""
    tenant = stage.tenant(settings, wanted.tenant) if not wanted.url or not (wanted.resume or wanted.scenarios) else None
    script = None if wanted.resume else await script_for(tenant, wanted.scenarios, wanted.seed)
    async with AsyncExitStack() as stack:
        store, model, desk = await _opened(stage, settings, wanted, stack, model=_needs_model(script, wanted))
        rehearsals = store.for_tenant(wanted.tenant).rehearsals
        plan: Mapping[str, Any]
        if wanted.resume:
            row = await rehearsals.one(wanted.resume)
            plan, count, name = row.plan, row.wanted, row.id
            script = script_from_json(plan["script"])
            if model is None and plan["phrasing"] != TEMPLATE:
                model = await stack.enter_async_context(stage.model(settings) if desk is None else stage.patient(desk))
        else:
            assert script is not None  # noqa: S101 - read above
            name, count = f"{wanted.tenant}.{new_id()}", wanted.count
            plan = {"script": script_to_json(script), "seed": wanted.seed, "phrasing": wanted.phrasing, "agent": wanted.agent}
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=None)))
        recorded = await heard_before(rehearsals, wanted.same_words_as) if wanted.same_words_as else {}
        agent = await _agent(stage, store, wanted, script, plan["agent"], model=model, desk=desk, http=http)
        fleet = Fleet(
            rehearsal=Rehearsal(
                script=script,
                agent=agent,
                phraser=phraser_of(plan["phrasing"], model, recorded),
                free=free_customer(script, model),
                end_state=end_state(tenant, http),
            ),
            rehearsals=rehearsals,
            run=name,
            seed=int(plan["seed"]),
            count=count,
            in_flight=wanted.in_flight,
            watch=Watch(total=count, title=name),
        )
        if not wanted.resume:
            await fleet.start(plan)
        if not await _until_stopped(fleet, console):
            console.print(
                f"stopped; nothing is lost. Go on with: frontdesk rehearse run {wanted.tenant} --resume {name}",
                highlight=False,
                soft_wrap=True,
            )
            raise KeyboardInterrupt
        return await report(await Run.stored(store, name, stage.sentiment()))


async def script_for(tenant: Tenant | None, named: str | None, seed: int) -> Script:
    """The scenarios that were named: a file or a preset; else the tenant's own file, else some made from what the tenant has."""
    if named:
        return load_script(named if named in presets() else Path(named))
    if tenant is None:
        raise BadInput("name the scenarios with --scenarios: without the tenant's folder none can be made")
    own = (tenant.folder or Path()) / FILE
    if own.is_file():
        return load_script(own)
    return read_script(yaml.safe_load(await generated(tenant, seed)), Path(f"scenarios made for {tenant.id}"))


async def generated(tenant: Tenant, seed: int) -> str:
    """A scenario file made from the tenant's FAQ, documents and tools. Raises BadInput when it has nothing to ask about."""
    rows = scenarios_of(
        tenant,
        pairs=load_faq(tenant.folder) if tenant.folder else (),
        documents=await documents_of(tenant),
        operations=load_catalog(tenant).operations,
        cast=load_cast(preset("cast.yaml")),
        seed=seed,
    )
    return written(tenant, rows)


async def play_agent(
    stage: Stage,
    settings: Settings,
    tenant: TenantId,
    named: str | None,
    *,
    number: int,
    seed: int,
    say: Callable[[str], None],
    ask: Callable[[str], str],
) -> None:
    """A played customer talks to the person at the keyboard."""
    script = await script_for(stage.tenant(settings, tenant), named, seed)
    part = draw(script, number, seed)
    scenario = script.scenario(part.scenario)
    if scenario.kind == FREE:
        raise BadInput(f"scenario {scenario.id} is played by a model alone: choose another customer with -n")
    role = part.role
    say(f"({role.name}, {role.mood}, {role.persona}; an empty line hands the conversation over)")
    agent = PersonAgent(lambda text: say(f"{role.name}: {text}"), ask)
    rehearsal = Rehearsal(script=script, agent=agent, phraser=Templates(), turn_seconds=3600.0)
    talk = await rehearsal.whole(begin(f"{tenant}.talk", part, scenario))
    if talk.lines[-1].role == CUSTOMER:
        say(f"{role.name}: {talk.lines[-1].text}")
    if talk.outcome is not None:
        say(f"({talk.outcome.reason.value}: {talk.outcome.evidence})")


async def play_customer(
    stage: Stage, settings: Settings, tenant: TenantId, customer: str, *, say: Callable[[str], None], ask: Callable[[str], str]
) -> None:
    """The person at the keyboard talks to the desk; an empty line ends it."""
    row = {
        "id": "you",
        "goal": "whatever you like",
        "asks": ["?"],
        "customer": customer,
        "budget": {"turns": 10_000, "seconds": 1e6, "tokens": 1e9},
    }
    script = read_script([row], Path("keyboard"))
    async with stage.desk(settings, tenant) as desk:
        agent = DeskInProcess(desk.front_office, tenant)
        talk = begin(f"{tenant}.{new_id()}", draw(script, 0, 7), script.scenarios[0])
        say("(an empty line ends the conversation)")
        while text := (await asyncio.to_thread(ask, "you: ")).strip():
            talk = talk.said(Line(role=CUSTOMER, text=text, by="person"))
            said = await agent.reply(script.scenarios[0], talk, key=f"{talk.id}:{talk.turns}")
            talk = Talk(**{**vars(talk.said(said.line)), "agent": said.state})
            say(f"desk ({said.line.route}): {said.line.text}")
            if said.line.handoff:
                say("(handed over: a human has the conversation)")
                return


async def _talks(rehearsals: Any, name: str) -> AsyncIterator[Talk]:
    async for row in rehearsals.talks(name):
        yield from_plain(row.talk)


def _needs_model(script: Script | None, wanted: Wanted) -> bool:
    free = script is not None and any(s.kind == FREE for s in script.scenarios)
    return wanted.phrasing != TEMPLATE or wanted.agent == "model" or free


async def _opened(stage: Stage, settings: Settings, wanted: Wanted, stack: AsyncExitStack, *, model: bool) -> tuple[Any, Any, Any]:
    """Store, language model and desk, as far as they are needed."""
    if not wanted.url and wanted.agent == "desk":
        desk = await stack.enter_async_context(stage.desk(settings, wanted.tenant))
        return desk.store, await stack.enter_async_context(stage.patient(desk)) if model else None, desk
    store = await stack.enter_async_context(stage.store(settings))
    return store, await stack.enter_async_context(stage.model(settings)) if model else None, None


async def _agent(
    stage: Stage, store: Any, wanted: Wanted, script: Script, kind: str, *, model: Any, desk: Any, http: httpx.AsyncClient
) -> Agent:
    if kind == "model":
        if script.agent_prompt is None:
            raise BadInput("these scenarios name no prompt for an agent: add `agent: FILE` to them, or let the desk answer")
        if model is None:
            raise BadInput("a model as the agent needs a language model: unset FRONTDESK_LLM_URL=none")
        bare = BareAgent(model, script.agent_prompt, company=script.cast.company)
        return InLog(bare, store.for_tenant(wanted.tenant).conversations)
    if not wanted.url:
        return DeskInProcess(desk.front_office, wanted.tenant)
    people = sorted({s.customer for s in script.scenarios if s.customer})
    tokens = {p: wanted.tokens.get(p) or await stage.token(store, wanted.tenant, p) for p in people}
    await _greeted(wanted, tokens, http)
    return DeskOverHttp(wanted.url, wanted.key, wanted.tenant, tokens=tokens.__getitem__, http=http)


async def _greeted(wanted: Wanted, tokens: Mapping[str, str], http: httpx.AsyncClient) -> None:
    """Whether the running desk is there and takes key and tokens. Raises Unavailable and BadInput before anything is said."""
    url = wanted.url.rstrip("/").removesuffix("/v1") + "/v1/models"
    for person, token in ({"": ""} | dict(tokens)).items():
        head = {"Authorization": f"Bearer {wanted.key}", **({"X-Customer-Token": token} if person else {})}
        try:
            answer = await http.get(url, headers=head, timeout=CALL_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as why:
            raise Unavailable(
                f"there is no desk at {wanted.url} ({type(why).__name__}): start it with `frontdesk serve`, or correct --url"
            ) from None
        if answer.status_code == httpx.codes.UNAUTHORIZED and person:
            raise BadInput(
                f"the desk does not take the token of customer {person}: give --token {person}=TOKEN, or the running desk's own --data"
            )
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise BadInput("the desk refused the key: make one with `frontdesk keys create TENANT`")
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"{wanted.url} answered with HTTP {answer.status_code}: is it a desk's address?")
        if not person and wanted.tenant not in {m.get("id") for m in answer.json().get("data", ())}:
            raise BadInput(f"the key is not one of tenant {wanted.tenant}: make one with `frontdesk keys create {wanted.tenant}`")


def phraser_of(kind: str, model: Any, recorded: Mapping[str, str]) -> Phraser:
    """Who words the customers' lines; templates where there is no model."""
    if kind == TEMPLATE or (model is None and not recorded):
        return Templates()
    return ModelPhraser(model, guided=kind != FREELY, recorded=recorded)


def free_customer(script: Script, model: Any) -> FreeCustomer | None:
    """The model that plays customers freely, where the script has such. Raises BadInput when there is no model."""
    if script.customer_prompt is None or not any(s.kind == FREE for s in script.scenarios):
        return None
    if model is None:
        raise BadInput("a scenario of kind free needs a language model: unset FRONTDESK_LLM_URL=none, or leave that scenario out")
    return FreeCustomer(model, script.customer_prompt, company=script.cast.company)


def end_state(tenant: Tenant | None, http: httpx.AsyncClient) -> EndState | None:
    """The first of the tenant's APIs, whose end state scenarios may check."""
    source = next((t for t in tenant.tools if t.server), None) if tenant else None
    if source is None:
        return None
    return EndState(server=expand(source.server)[0], headers={k: expand(v)[0] for k, v in source.headers.items()}, http=http)


async def _until_stopped(fleet: Fleet, console: Console) -> bool:
    """Runs the fleet to its end, or until Ctrl-C; whether it ended by itself. What was said is kept either way."""
    stopped = asyncio.Event()
    with _on_signals(stopped), shown(fleet.watch or Watch(), console):
        going, waiting = asyncio.create_task(fleet.go()), asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({going, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if going.done():
                await going
                return True
            return False
        finally:
            waiting.cancel()
            going.cancel()
            await asyncio.gather(going, waiting, return_exceptions=True)


@contextlib.contextmanager
def _on_signals(stopped: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # no signals outside the main thread
            loop.add_signal_handler(one, stopped.set)
    try:
        yield
    finally:
        for one in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(one)
