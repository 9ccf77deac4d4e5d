"""Starts a run over Kafka and waits for its outcomes: the same plan, the same draw and the same report as a run in one process.

The services have the conversations; this publishes their openings and looks into the database, where the sink writes how each ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from frontdesk.errors import BadInput, Unavailable
from frontdesk.rehearsal.commands import Stage, Wanted
from frontdesk.rehearsal.fleet import new_id
from frontdesk.rehearsal.running import Report, Run, script_for
from frontdesk.rehearsal.scenarios import Script, draw, script_from_json, script_to_json
from frontdesk.rehearsal.streaming import Message, opening
from frontdesk.rehearsal.talk import begin
from frontdesk.settings import Settings

LOOK_SECONDS = 0.5
QUIET_SECONDS = 300.0
"""How long no conversation may end before the wait is given up; a turn may take that long when it is tried three times."""


async def rehearse_over(
    stage: Stage, settings: Settings, wanted: Wanted, *, report: Report, console: Console, quiet: float = QUIET_SECONDS
) -> Sequence[str]:
    """Has all conversations of a run on the services of a broker and reports it; why its gate does not hold.

    Raises Unavailable and BadInput before anything is published.
    """
    from frontdesk.rehearsal.services import Broker, publish  # needs the `kafka` extra, which the plan of a run does not

    broker = Broker(address=wanted.kafka, prefix=wanted.prefix)
    script = None
    if not wanted.resume:
        tenant = None if wanted.scenarios and wanted.url else stage.tenant(settings, wanted.tenant)
        script = await script_for(tenant, wanted.scenarios, wanted.seed)
    await asyncio.to_thread(broker.prepare)
    if missing := await asyncio.to_thread(broker.missing):
        raise Unavailable(
            f"nobody runs {', '.join(missing)} at {wanted.kafka}: start each with `frontdesk rehearse service NAME --broker {wanted.kafka}`"
        )
    async with stage.store(settings) as store:
        rehearsals = store.for_tenant(wanted.tenant).rehearsals
        if script is None:
            row = await rehearsals.one(wanted.resume)
            script, name, count, seed = script_from_json(row.plan["script"]), row.id, row.wanted, int(row.plan["seed"])
        else:
            _refuse(script)
            name, count, seed = f"{wanted.tenant}.{new_id()}", wanted.count, wanted.seed
            for _ in openings(script, name, range(count), seed):
                pass  # a message that is too large is told before anything starts
            plan = {"script": script_to_json(script), "seed": seed, "phrasing": wanted.phrasing, "agent": wanted.agent}
            await rehearsals.begin(name, plan, count)
        ended = await rehearsals.ended(name)
        await asyncio.to_thread(publish, broker, openings(script, name, (n for n in range(count) if n not in ended), seed))
        try:
            await _ended(rehearsals, name, count, console, quiet)
        except asyncio.CancelledError:
            console.print(
                f"the services go on; see them with: frontdesk rehearse run {wanted.tenant} --resume {name} --kafka {wanted.kafka}",
                highlight=False,
                soft_wrap=True,
            )
            raise
        await rehearsals.finish(name)
        return await report(await Run.stored(store, name, stage.sentiment()))


def openings(script: Script, run: str, numbers: Any, seed: int) -> Iterator[Message]:
    """The messages that start these conversations of a run. Raises TooLarge."""
    for number in numbers:
        part = draw(script, number, seed)
        yield opening(run, begin(run, part, script.scenario(part.scenario)), script)


def _refuse(script: Script) -> None:
    if found := next((s.id for s in script.scenarios if s.reset), None):
        raise BadInput(
            f"scenario {found} resets the API's records, which needs one conversation at a time: leave it out, or run it without --kafka"
        )


async def _ended(rehearsals: Any, name: str, count: int, console: Console, quiet: float) -> None:
    seen, since = -1, time.monotonic()
    while True:
        now = len(await rehearsals.ended(name))
        if now != seen:
            seen, since = now, time.monotonic()
            console.print(f"{name}: {now} of {count} conversations ended", highlight=False)
        if now >= count:
            return
        if time.monotonic() - since > quiet:
            raise Unavailable(f"no conversation ended for {quiet:g} s: look at the services' output, then go on with --resume {name}")
        await asyncio.sleep(LOOK_SECONDS)
