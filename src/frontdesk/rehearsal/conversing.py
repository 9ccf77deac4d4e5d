"""One exchange of a rehearsal, cut where a stream would cut it: the customer's message, then the agent's answer and the referee's word.

Each half takes a talk and gives the next one. Nothing is kept in between, so a fleet, a test or a stream service may drive it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from frontdesk.errors import FrontdeskError
from frontdesk.rehearsal import customer as agenda
from frontdesk.rehearsal import referee
from frontdesk.rehearsal.phrasing import Phraser
from frontdesk.rehearsal.scenarios import FREE, Scenario, Script
from frontdesk.rehearsal.speakers import Agent, FreeCustomer
from frontdesk.rehearsal.talk import AGENT, CUSTOMER, FAILED, Line, Outcome, Reason, Talk

TRIES = 3
TURN_SECONDS = 90.0
"""Longest wait for one message of either side: after it the try counts as failed, so that no conversation is ever stuck."""
Pause = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What it takes to have conversations: the text files, who words the customer, who answers, who looks at the end state."""

    script: Script
    agent: Agent
    phraser: Phraser
    free: FreeCustomer | None = None
    end_state: referee.EndState | None = None
    clock: Callable[[], float] = time.perf_counter
    pause: Pause = asyncio.sleep
    turn_seconds: float = TURN_SECONDS

    async def customer_speaks(self, talk: Talk) -> Talk:
        """The talk with the customer's next message; ended with an error when a free customer's model fails for good."""
        scenario, started = self.script.scenario(talk.scenario), self.clock()
        if scenario.kind == FREE:
            return await self._free_line(scenario, talk, started)
        mind, draft = agenda.decide(self.script.cast, scenario, talk)
        return replace(talk.said(await self._worded(draft, talk, started)), mind=mind)

    async def _worded(self, draft: agenda.Draft, talk: Talk, started: float) -> Line:
        """The draft in the phraser's words."""
        said = frozenset(line.text for line in talk.lines if line.role == CUSTOMER)
        wording = await self.phraser.word(draft, talk.role, seed=f"{talk.seed}:{talk.turns}", said=said)
        return Line(
            role=CUSTOMER,
            text=wording.text,
            seconds=self.clock() - started,
            mood=draft.mood.name,
            acts=draft.acts,
            slots=draft.slots,
            planned=draft.planned,
            draft=draft.template,
            heard=wording.heard,
            by=wording.by,
        )

    async def agent_answers(self, talk: Talk) -> Talk:
        """The talk with the agent's answer, and with its outcome when that ended it."""
        return await self.heard(await self.answered(talk))

    async def answered(self, talk: Talk) -> Talk:
        """The talk with the agent's answer, which nobody has heard yet. A failed try is repeated, then recorded."""
        scenario, started = self.script.scenario(talk.scenario), self.clock()
        failures = list(talk.failures)
        answered: Talk | None = None
        for attempt in range(TRIES):
            try:
                async with asyncio.timeout(self.turn_seconds):
                    said = await self.agent.reply(scenario, talk, key=f"{talk.id}:{talk.turns}")
                answered = replace(talk.said(replace(said.line, seconds=self.clock() - started)), agent=said.state)
                break
            except (FrontdeskError, TimeoutError) as why:
                failures.append(f"turn {talk.turns}, try {attempt + 1}: {_told(why)}")
                if attempt + 1 < TRIES:
                    await self.pause(0.2 * 4**attempt)
        if answered is None:
            answered = talk.said(Line(role=AGENT, text="", seconds=self.clock() - started, by=FAILED))
        return replace(answered, failures=tuple(failures), retries=len(failures))

    async def heard(self, talk: Talk) -> Talk:
        """The talk after the customer took in the agent's last line, with its outcome when that ended it."""
        scenario = self.script.scenario(talk.scenario)
        mind = agenda.take(scenario, talk, met=referee.met(scenario, talk)) if scenario.kind != FREE else talk.mind
        heard = replace(talk, mind=mind)
        outcome = referee.verdict(scenario, heard)
        return await self._ended(scenario, heard, outcome) if outcome else heard

    async def step(self, talk: Talk) -> Talk:
        """One message further, whoever's turn it is."""
        return await (self.customer_speaks(talk) if talk.expects == CUSTOMER else self.agent_answers(talk))

    async def whole(self, talk: Talk) -> Talk:
        """The conversation to its end."""
        while talk.outcome is None:
            talk = await self.step(talk)
        return talk

    async def _ended(self, scenario: Scenario, talk: Talk, outcome: Outcome) -> Talk:
        if scenario.state and self.end_state is not None and outcome.reason is not Reason.ERROR:
            outcome = await self.end_state.judged(scenario, outcome)
        if scenario.kind != FREE and outcome.reason in (Reason.GOAL_REACHED, Reason.GAVE_UP):
            last = agenda.farewell(self.script.cast, talk, content=outcome.reason is Reason.GOAL_REACHED)
            talk = replace(talk, lines=(*talk.lines, await self._worded(last, talk, self.clock())))
        return replace(talk, outcome=outcome)

    async def _free_line(self, scenario: Scenario, talk: Talk, started: float) -> Talk:
        if self.free is None:
            raise ValueError("a free customer needs a model")
        manner = self.script.cast.mood(talk.role.mood).manner
        failures = list(talk.failures)
        for attempt in range(TRIES):
            try:
                async with asyncio.timeout(self.turn_seconds):
                    line = await self.free.line(scenario, talk, seed=f"{talk.seed}:{talk.turns}:{attempt}", manner=manner)
                return talk.said(replace(line, seconds=self.clock() - started))
            except (FrontdeskError, TimeoutError) as why:
                failures.append(f"customer's turn {talk.turns + 1}, try {attempt + 1}: {_told(why)}")
                if attempt + 1 < TRIES:
                    await self.pause(0.2 * 4**attempt)
        evidence = f"the customer's model failed {TRIES} times; the last: {failures[-1]}"
        return replace(talk, failures=tuple(failures), retries=len(failures), outcome=Outcome(reason=Reason.ERROR, evidence=evidence))


def _told(why: BaseException) -> str:
    return "no answer in time" if isinstance(why, TimeoutError) else str(why)
