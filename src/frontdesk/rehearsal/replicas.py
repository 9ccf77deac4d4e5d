"""One replica of a stream service with real speakers: opens the models, the desk's address and the database that its side needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.rehearsal.commands import TEMPLATE, Stage
from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.phrasing import Templates
from frontdesk.rehearsal.recording import Recorder
from frontdesk.rehearsal.running import end_state, free_customer, phraser_of
from frontdesk.rehearsal.scenarios import Scenario, Script
from frontdesk.rehearsal.services import AGENT, CUSTOMER, SENTIMENT, Broker, alongside, quix_sinks, serve, sinking, talking, toning
from frontdesk.rehearsal.speakers import Agent, BareAgent, DeskOverHttp, Said
from frontdesk.rehearsal.streaming import AgentService, CustomerService, Make, SentimentService
from frontdesk.rehearsal.talk import Talk
from frontdesk.settings import Settings


class Elsewhere:
    """The agent's side as the customer's service has it: in another process."""

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """Never asked. Raises ValueError."""
        raise ValueError(f"{talk.id}: the agent of {scenario.id} answers in its own service, not here ({key})")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a replica was asked for."""

    phrasing: str
    agent: str
    url: str
    key: str
    tokens: Mapping[str, str]


def run(stage: Stage, settings: Settings, name: str, *, address: str, prefix: str, tenant: TenantId, **given: Any) -> None:
    """Run a replica until it is stopped. Raises BadInput and Unavailable before it takes a message."""
    broker, options = Broker(address=address, prefix=prefix), Options(**given)
    broker.prepare()
    data = settings.data / "rehearsal-services"
    if name == SENTIMENT:
        serve(broker, name, toning(broker, SentimentService(sentiment=stage.sentiment())), data=data)
    elif name in (CUSTOMER, AGENT):

        async def make(stack: AsyncExitStack) -> Make:
            return await _maker(stage, settings, tenant, name, options, stack)

        with alongside(make) as (made, in_loop):
            kind = CustomerService if name == CUSTOMER else AgentService
            serve(broker, name, talking(broker, kind(make=made, run=in_loop)), data=data)
    else:
        others = quix_sinks(
            influx=settings.influx_url,
            influx_token=settings.influx_token,
            influx_database=settings.influx_database,
            redis=settings.redis_url,
        )

        async def store(stack: AsyncExitStack) -> Any:
            return await stack.enter_async_context(stage.store(settings))

        with alongside(store) as (opened, in_loop):
            serve(broker, name, sinking(broker, Recorder(opened), in_loop, others), data=data)


async def _maker(stage: Stage, settings: Settings, tenant: TenantId, name: str, options: Options, stack: AsyncExitStack) -> Make:
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    needs = options.phrasing != TEMPLATE if name == CUSTOMER else options.agent == "model"
    model = await stack.enter_async_context(stage.model(settings)) if needs else None
    if name == CUSTOMER:
        judge = end_state(stage.tenant(settings, tenant) if tenant else None, http)
        phraser = phraser_of(options.phrasing, model, {})
        return lambda script: Rehearsal(
            script=script, agent=Elsewhere(), phraser=phraser, free=free_customer(script, model), end_state=judge
        )
    if options.agent == "model" and model is None:
        raise BadInput("a model as the agent needs a language model: unset FRONTDESK_LLM_URL=none")
    answer = _agent_of(model, tenant, options, http)
    return lambda script: Rehearsal(script=script, agent=answer(script), phraser=Templates())


def _agent_of(model: Any, tenant: TenantId, options: Options, http: httpx.AsyncClient) -> Callable[[Script], Agent]:
    if options.agent == "model":
        return lambda script: _bare(model, script)
    tokens = options.tokens

    def token(customer: str) -> str:
        if customer not in tokens:
            raise BadInput(f"there is no token for customer {customer}: give the agent's service --token {customer}=TOKEN")
        return tokens[customer]

    desk = DeskOverHttp(options.url, options.key, tenant, tokens=token, http=http)
    return lambda _script: desk


def _bare(model: Any, script: Script) -> Agent:
    if script.agent_prompt is None:
        raise BadInput("these scenarios name no prompt for an agent: add `agent: FILE` to them, or let the desk answer")
    return BareAgent(model, script.agent_prompt, company=script.cast.company)
