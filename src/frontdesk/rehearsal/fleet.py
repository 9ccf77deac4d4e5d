"""Hundreds of conversations in flight in one process. Every message is kept before the next one is made, so a stopped run goes on where it was.

Which conversations there are follows from the plan and its seed alone; what is held in memory are those in flight, whatever their number.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from frontdesk.errors import FrontdeskError, StoreUnavailable
from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.gathering import Together
from frontdesk.rehearsal.live import Watch
from frontdesk.rehearsal.scenarios import Script, draw
from frontdesk.rehearsal.scoring import score
from frontdesk.rehearsal.talk import CUSTOMER, Outcome, Reason, Talk, begin, from_plain, to_plain
from frontdesk.store.rehearsals import Rehearsals, TalkRow

IN_FLIGHT = 200
KEEP_TRIES = 40
KEEP_PAUSE = 0.5


def new_id() -> str:
    """A run's name: short, and not taken."""
    return f"r{secrets.token_hex(4)}"


class Keeper:
    """Writes talks in groups: many conversations share one transaction, and each waits until its own row is durable."""

    def __init__(self, rehearsals: Rehearsals, run: str) -> None:
        self._rehearsals = rehearsals
        self._run = run
        self._together = Together(self._write)

    async def keep(self, row: TalkRow) -> None:
        """Return when the row is durable. Raises StoreUnavailable when the database stays away."""
        await self._together.do(row)

    async def _write(self, rows: Sequence[TalkRow]) -> Sequence[None]:
        newest = list({row.number: row for row in rows}.values())
        for attempt in range(KEEP_TRIES):
            try:
                await self._rehearsals.keep(self._run, newest)
                break
            except StoreUnavailable:
                if attempt + 1 == KEEP_TRIES:
                    raise
                await asyncio.sleep(KEEP_PAUSE)
        return [None] * len(rows)


@dataclass(kw_only=True)
class Fleet:
    """A run: its plan, where it is kept, and how many conversations it has in flight at once."""

    rehearsal: Rehearsal
    rehearsals: Rehearsals
    run: str
    seed: int
    count: int
    in_flight: int = IN_FLIGHT
    watch: Watch | None = None
    place: Callable[[Talk], str] = lambda talk: talk.scenario

    async def start(self, plan: Mapping[str, Any]) -> None:
        """Record a new run. Raises Conflict when its name is taken."""
        await self.rehearsals.begin(self.run, plan, self.count)

    async def go(self) -> None:
        """Have every conversation that has no outcome yet, to its end. Cancelling stops between messages; nothing said is lost.

        Raises StoreUnavailable when the database stays away.
        """
        waiting = self._to_do()
        keeper = Keeper(self.rehearsals, self.run)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.in_flight, self.count)):
                group.create_task(self._work(waiting, keeper))
        await self.rehearsals.finish(self.run)

    async def talks(self) -> AsyncIterator[Talk]:
        """The run's conversations as they were kept, in order."""
        async for row in self.rehearsals.talks(self.run):
            yield from_plain(row.talk)

    async def _to_do(self) -> AsyncIterator[Talk]:
        """Unfinished conversations first, then those that have not begun. One reader at a time: see `_next`."""
        ended = await self.rehearsals.ended(self.run)
        begun: set[int] = set()
        async for row in self.rehearsals.talks(self.run, open=True):
            begun.add(row.number)
            yield from_plain(row.talk)
        for number in range(self.count):
            if number not in ended and number not in begun:
                part = draw(self.rehearsal.script, number, self.seed)
                yield begin(self.run, part, self.rehearsal.script.scenario(part.scenario))

    async def _work(self, waiting: AsyncIterator[Talk], keeper: Keeper) -> None:
        while (talk := await self._next(waiting)) is not None:
            async with self._alone(talk) as ready:
                talk = ready
                while True:
                    talk = talk if talk.outcome else await self._step(talk)
                    await keeper.keep(row_of(self.rehearsal.script, talk))
                    if self.watch is not None:
                        self.watch.saw(talk, place=self.place(talk))
                    if talk.outcome:
                        break

    @asynccontextmanager
    async def _alone(self, talk: Talk) -> AsyncIterator[Talk]:
        """A conversation that needs the API's records as they were gets them, and has them for itself."""
        scenario, api = self.rehearsal.script.scenario(talk.scenario), self.rehearsal.end_state
        if not scenario.reset or api is None:
            yield talk
            return
        async with self._resetting:
            try:
                if not talk.lines:
                    await api.reset(scenario)
            except FrontdeskError as why:
                yield replace(talk, outcome=Outcome(reason=Reason.ERROR, evidence=str(why)))
                return
            yield talk

    async def _next(self, waiting: AsyncIterator[Talk]) -> Talk | None:
        async with self._reading:
            return await anext(waiting, None)

    async def _step(self, talk: Talk) -> Talk:
        try:
            return await self.rehearsal.step(talk)
        except (FrontdeskError, ValueError, KeyError, TypeError, AssertionError) as why:
            # A fault in one conversation must not end the others; it is told as the referee's evidence.
            outcome = Outcome(reason=Reason.ERROR, evidence=f"the rehearsal itself failed: {type(why).__name__}: {why}")
            return replace(talk, outcome=outcome)

    def __post_init__(self) -> None:
        self._reading = asyncio.Lock()
        self._resetting = asyncio.Lock()


def row_of(script: Script, talk: Talk) -> TalkRow:
    """A conversation as it is kept, judged when it is over."""
    judged = score(script.cast, script.scenario(talk.scenario), talk) if talk.outcome else None
    known = talk.agent.get("conversation")
    return TalkRow(
        number=talk.number,
        scenario=talk.scenario,
        outcome=talk.outcome.reason.value if talk.outcome else None,
        passed=judged.passed if judged else None,
        faults=judged.faults if judged else (),
        conversation=str(known) if known else None,
        talk=to_plain(talk),
    )


async def heard_before(rehearsals: Rehearsals, run: str) -> dict[str, str]:
    """What the customers' model wrote in an earlier run, by message: with it the same run can be had again, word for word."""
    found: dict[str, str] = {}
    async for row in rehearsals.talks(run):
        talk = from_plain(row.talk)
        for turn, line in enumerate(x for x in talk.lines if x.role == CUSTOMER):
            found[f"{talk.seed}:{turn}"] = line.heard
    return found
