"""Rehearsals without models: a small script, and an agent that answers by rule like a desk would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.phrasing import Phraser, Templates
from frontdesk.rehearsal.scenarios import Scenario, Script, draw, read_script
from frontdesk.rehearsal.speakers import ScriptedAgent
from frontdesk.rehearsal.talk import AGENT, Line, Talk, begin

HERE = Path("script.yaml")
LOAN: dict[str, Any] = {
    "id": "loan",
    "goal": "Have the loan of a violin extended by the lender",
    "topic": "a loan",
    "belief": "Loans can be extended by 9 weeks.",
    "known": {"loan number": "L-4021", "town": "Ghent"},
    "unknown": ["serial number"],
    "asks": [
        {"say": ["How long may I keep the violin?", "For how many weeks is the violin mine?"]},
        {"say": ["Please extend my loan."], "expect": {"calls": [{"name": "extendLoan", "arguments": {"loan_no": "L-4021"}}]}},
    ],
}


def script(*rows: dict[str, Any], **more: Any) -> Script:
    return read_script({"scenarios": list(rows) or [LOAN], **more}, HERE)


def row(**changes: Any) -> dict[str, Any]:
    """The loan scenario, changed; None takes a key away."""
    return {k: v for k, v in {**LOAN, **changes}.items() if v is not None}


def lender(_scenario: Scenario, talk: Talk) -> Line:
    """A desk that lends instruments: answers from a source, asks for the loan's number, asks before it acts."""
    said = talk.lines[-1].text
    earlier = [line.text for line in talk.lines if line.role == AGENT]
    if "L-4021" in said:
        return reply("Shall I extend the loan L-4021? I do nothing until you say yes.", "elicit")
    if talk.lines[-1].acts[:1] == ("agree",):
        return reply(
            "Done, the loan is extended.", "dynamic", calls=({"name": "extendLoan", "arguments": {"loan_no": "L-4021"}, "result": {}},)
        )
    if "extend my loan" in said or (earlier and "number of the loan" in earlier[-1]):
        return reply("Could you tell me the number of the loan?", "elicit")
    if "violin" in said:
        return reply("You may keep it for 6 weeks.", "faq", cites=("faq",))
    return reply("I'm sorry, I can't find an answer to that.", "refuse")


def reply(text: str, route: str = "", **more: Any) -> Line:
    return Line(role=AGENT, text=text, route=route, by="script", **more)


async def instantly(_seconds: float) -> None:
    """No pause between tries."""


def rehearsal(of: Script, rule: Callable[[Scenario, Talk], Any] = lender, *, phraser: Phraser | None = None, **more: Any) -> Rehearsal:
    return Rehearsal(script=of, agent=ScriptedAgent(rule), phraser=phraser or Templates(), pause=instantly, clock=lambda: 0.0, **more)


def opened(of: Script, *, seed: int = 7, number: int = 0, **changes: Any) -> Talk:
    """A conversation before its first word; `changes` are made to its role."""
    part = draw(of, number, seed)
    talk = begin("run", part, of.scenario(part.scenario))
    data = {**vars(talk.role), "traits": ("plain",), **changes}
    role = type(talk.role)(**data)
    return Talk(**{**vars(talk), "role": role, "mind": type(talk.mind)(patience=role.patience)})


@pytest.fixture
def loans() -> Script:
    return script()
