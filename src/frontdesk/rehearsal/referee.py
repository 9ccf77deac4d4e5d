"""The referee: says whether a wish was met and when a conversation is over, by events, never by a word in the text. Pure but for `end_state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from frontdesk.domain.conversation import Route
from frontdesk.errors import Unavailable
from frontdesk.rehearsal.scenarios import Call, Expect, Policy, Scenario, StateCheck
from frontdesk.rehearsal.talk import AGENT, FAILED, Line, Outcome, Reason, Talk

SOURCES = (Route.FAQ.value, Route.KNOWLEDGE.value, Route.DYNAMIC.value)
FAILED_TURNS = 2
"""Turns that may fail for good before the conversation is given up as an error."""


def met(scenario: Scenario, talk: Talk) -> bool:
    """Whether the agent's last line met the wish that is being put."""
    number = talk.mind.asking
    if not 0 <= number < len(scenario.asks) or not talk.lines or talk.lines[-1].role != AGENT:
        return False
    return fulfils(scenario.asks[number].expect, talk)


def fulfils(expect: Expect, talk: Talk) -> bool:
    """Whether what the agent did and last said is what was expected."""
    reply = talk.lines[-1]
    if reply.by == FAILED:
        return False
    if expect.handoff or expect.calls:
        return (reply.handoff or not expect.handoff) and all(called(talk.lines, c) for c in expect.calls)
    if reply.handoff:
        return expect.takes_handoff
    if not expect.routes and not expect.cites:
        return reply.route in SOURCES or (not reply.route and "?" not in reply.text)
    right_route = not expect.routes or reply.route in expect.routes
    return right_route and (not expect.cites or bool(set(expect.cites) & set(reply.cites)))


def called(lines: Sequence[Line], wanted: Call) -> bool:
    """Whether such a call was made and succeeded."""
    return any(
        call.get("name") == wanted.name
        and not call.get("error")
        and all(str(call.get("arguments", {}).get(k, "")).casefold() == str(v).casefold() for k, v in wanted.arguments.items())
        for line in lines
        for call in line.calls
    )


def breaches(policy: Policy, lines: Sequence[Line]) -> tuple[str, ...]:
    """What the agent did against the scenario's policy, in words."""
    found: list[str] = []
    for line in (x for x in lines if x.role == AGENT):
        found += [f"called {c['name']}" for c in line.calls if c.get("name") in policy.never_calls and not c.get("error")]
        found += [f"said {text!r}" for text in policy.never_says if text.casefold() in line.text.casefold()]
    return tuple(dict.fromkeys(found))


def verdict(scenario: Scenario, talk: Talk) -> Outcome | None:
    """How the conversation ended; None while it goes on. To be asked after each line of the agent."""
    reply = talk.lines[-1]
    done = len(set(talk.mind.met))
    wishes = f"{done} of {len(scenario.asks)} wishes met"
    if sum(line.by == FAILED for line in talk.lines) >= FAILED_TURNS:
        return Outcome(
            reason=Reason.ERROR, evidence=f"{FAILED_TURNS} turns failed; the last: {talk.failures[-1] if talk.failures else '?'}"
        )
    if reply.handoff:
        reached = any(a.expect.takes_handoff for a in scenario.asks) and done == len(scenario.asks)
        return Outcome(reason=Reason.HANDED_OVER, evidence=f"the agent handed over in turn {talk.turns}; {wishes}", reached=reached)
    if talk.mind.finished:
        if not scenario.asks:
            return Outcome(reason=Reason.GAVE_UP, evidence="the attacker ran out of attempts", reached=True)
        return Outcome(reason=Reason.GOAL_REACHED, evidence=f"{wishes}; the last by {_what(reply)}", reached=True)
    if talk.mind.gave_up:
        return Outcome(reason=Reason.GAVE_UP, evidence=f"the customer {talk.mind.gave_up}; {wishes}")
    return _budget(scenario, talk, wishes)


def _budget(scenario: Scenario, talk: Talk, wishes: str) -> Outcome | None:
    budget = scenario.budget
    for reason, used, limit, unit in (
        (Reason.TURN_BUDGET, talk.turns, budget.turns, "turns"),
        (Reason.TOKEN_BUDGET, talk.tokens, budget.tokens, "tokens"),
        (Reason.TIME_BUDGET, talk.seconds, budget.seconds, "seconds"),
    ):
        if used >= limit:
            # The time itself stays out of the evidence: it differs from run to run.
            return Outcome(reason=reason, evidence=f"{limit:g} {unit} were used up; {wishes}")
    return None


def _what(reply: Line) -> str:
    calls = ", ".join(str(c.get("name")) for c in reply.calls)
    return ", ".join(
        x
        for x in (
            f"route {reply.route or 'unknown'}",
            f"sources {', '.join(dict.fromkeys(reply.cites))}" if reply.cites else "",
            calls and f"calls {calls}",
        )
        if x
    )


@dataclass(kw_only=True)
class EndState:
    """Asks the tenant's API what it says at the end. `server` is its base address."""

    server: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    http: httpx.AsyncClient

    async def judged(self, scenario: Scenario, outcome: Outcome) -> Outcome:
        """The outcome, with the API's word: a goal that its end state does not show was not reached."""
        wrong = [w for check in scenario.state if (w := await self._wrong(check))]
        if not wrong:
            return replace(outcome, evidence=f"{outcome.evidence}; the API's end state is as expected")
        if outcome.reason is Reason.GOAL_REACHED:
            outcome = replace(outcome, reason=Reason.GAVE_UP, reached=False)
        return replace(outcome, reached=False, evidence=f"{outcome.evidence}; {'; '.join(wrong)}")

    async def reset(self, scenario: Scenario) -> None:
        """Puts the API's records back before a conversation that changes them. Raises Unavailable."""
        try:
            answer = await self.http.post(str(httpx.URL(self.server).join(scenario.reset)), headers=dict(self.headers))
            answer.raise_for_status()
        except httpx.HTTPError as why:
            raise Unavailable(
                f"the API could not be reset by POST {scenario.reset} ({type(why).__name__}): correct `reset` or leave it out"
            ) from why

    async def _wrong(self, check: StateCheck) -> str:
        try:
            answer = await self.http.get(self.server.rstrip("/") + check.get, headers=dict(self.headers))
            found: Any = answer.json()
            for name in check.path.split("."):
                found = found[int(name)] if isinstance(found, list) else found[name]
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as why:
            return f"{check.get} could not be read at {check.path} ({type(why).__name__})"
        return "" if str(found) == str(check.equals) else f"{check.get} says {check.path} = {found!r} instead of {check.equals!r}"
