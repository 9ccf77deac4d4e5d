"""A rehearsal beside a demonstration: several tenants of one office at once, to be watched. Judges nothing and gates nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx

from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.models.protocols import LanguageModel
from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.fleet import Fleet, new_id
from frontdesk.rehearsal.live import Watch
from frontdesk.rehearsal.phrasing import ModelPhraser, Templates
from frontdesk.rehearsal.running import end_state, script_for
from frontdesk.rehearsal.scenarios import Script, script_to_json
from frontdesk.rehearsal.speakers import DeskInProcess, Talking
from frontdesk.rehearsal.talk import Talk
from frontdesk.store.store import Store

SEED = 7
WAIT_SECONDS = 3.0
"""Longest wait for the model's words: people are watching."""


async def rehearse_with(
    tenants: Mapping[TenantId, Tenant],
    *,
    front_office: Talking,
    store: Store,
    model: LanguageModel | None,
    count: int,
    watch: Watch,
    seed: int = SEED,
) -> None:
    """`count` conversations, shared out among the tenants, all at once. What is said is kept like any other run's.

    The same seed gives the same customers. Without a model customers' words come from templates.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        going: list[Coroutine[Any, Any, None]] = []
        for place, (name, tenant) in enumerate(tenants.items()):
            script = await script_for(tenant, None, seed)
            fleet = Fleet(
                rehearsal=Rehearsal(
                    script=script,
                    agent=DeskInProcess(front_office, name),
                    phraser=Templates() if model is None else ModelPhraser(model, seconds=WAIT_SECONDS),
                    end_state=end_state(tenant, http),
                ),
                rehearsals=store.for_tenant(name).rehearsals,
                run=f"{name}.{new_id()}",
                seed=seed,
                count=count // len(tenants) + (place < count % len(tenants)),
                watch=watch,
                place=_named(tenant.name),
            )
            await fleet.start(plan(script, seed=seed, worded=model is not None))
            going.append(fleet.go())
        await asyncio.gather(*going)


def plan(script: Script, *, seed: int = SEED, worded: bool = True) -> dict[str, Any]:
    """What is kept of a run, so that it can be reported like any other. `worded`: a model put the customers' words."""
    return {"script": script_to_json(script), "seed": seed, "phrasing": "guided" if worded else "template", "agent": "desk"}


def _named(name: str) -> Callable[[Talk], str]:
    return lambda _talk: name
