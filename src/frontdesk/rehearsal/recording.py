"""What the stream's sink writes: each conversation's outcome into its run, and into the event log what no desk has logged already.

May be given the same messages again: a row is overwritten by itself, a message in the log stays where it is. Refuses no message; ends of
runs that the database does not know are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from frontdesk.errors import NotFound
from frontdesk.rehearsal.fleet import row_of
from frontdesk.rehearsal.running import tenant_of
from frontdesk.rehearsal.scenarios import Scenario
from frontdesk.rehearsal.speakers import InLog, ScriptedAgent
from frontdesk.rehearsal.streaming import END, Message, pairs, script_of
from frontdesk.rehearsal.talk import Talk, from_plain


class Recorder:
    """Writes ended conversations of any tenant into one store."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def keep(self, messages: Iterable[Message]) -> int:
        """Write what ended among these messages; how many conversations that were. Raises StoreUnavailable."""
        kept = 0
        ended = {m["conversation"]: m for m in messages if m["role"] == END}
        runs: dict[str, list[Message]] = {}
        for message in ended.values():
            runs.setdefault(message["run"], []).append(message)
        for run, of in runs.items():
            kept += await self._run(run, of)
        return kept

    async def _run(self, run: str, messages: Sequence[Message]) -> int:
        try:
            space = self._store.for_tenant(tenant_of(run))
            await space.rehearsals.one(run)
        except NotFound:
            return 0
        talks = [(from_plain(m["talk"]), script_of(m)) for m in messages]
        said = {(talk.id, len(earlier.lines)): line for talk, _ in talks for earlier, line in pairs(talk)}
        log = InLog(ScriptedAgent(lambda _scenario, earlier: said[earlier.id, len(earlier.lines)]), space.conversations)
        logged = await asyncio.gather(*(_logged(log, talk, script.scenario(talk.scenario)) for talk, script in talks))
        await space.rehearsals.keep(run, [row_of(script, talk) for (_, script), talk in zip(talks, logged, strict=True)])
        return len(talks)


async def _logged(log: InLog, talk: Talk, scenario: Scenario) -> Talk:
    """The talk with its place in the event log; a desk that answered has written it already."""
    if talk.agent.get("conversation"):
        return talk
    state = dict(talk.agent)
    for earlier, _ in pairs(talk):
        state = dict((await log.reply(scenario, replace(earlier, agent=state), key=f"{talk.id}:{earlier.turns}")).state)
    return replace(talk, agent=state)
