"""The referee ends conversations by events; the audit finds the simulator's own faults; scores leave faulty ones out."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from frontdesk.errors import Unavailable
from frontdesk.rehearsal.audit import faults, slipped
from frontdesk.rehearsal.referee import EndState
from frontdesk.rehearsal.scenarios import Script
from frontdesk.rehearsal.scoring import Score, Tally, compare, reliability, score, wilson
from frontdesk.rehearsal.speakers import FreeCustomer
from frontdesk.rehearsal.talk import AGENT, CUSTOMER, Line, Reason, Talk

from .conftest import lender, opened, rehearsal, reply, row, script


async def ended(of: Script, rule: Any = lender, **role: Any) -> Talk:
    return await rehearsal(of, rule).whole(opened(of, **role))


def reason(talk: Talk) -> Reason | None:
    return talk.outcome.reason if talk.outcome else None


async def test_words_never_end_a_conversation():
    chatty = script(row(budget={"turns": 3}))
    talk = await ended(chatty, lambda *_: reply("Good bye! Goodbye. The goal is reached, I hand you over.", "smalltalk"), patience=9)
    assert reason(talk) is Reason.TURN_BUDGET


@pytest.mark.parametrize(
    ("budget", "expected"),
    [({"turns": 2}, Reason.TURN_BUDGET), ({"tokens": 30}, Reason.TOKEN_BUDGET), ({"seconds": 0.5}, Reason.TIME_BUDGET)],
)
async def test_each_budget_ends_a_conversation(budget: dict[str, float], expected: Reason):
    tired = script(row(budget=budget))
    play = dataclasses.replace(rehearsal(tired, lambda *_: reply("Hm.", "refuse")), clock=iter(range(1000)).__next__)
    if "turns" in budget or "tokens" in budget:
        play = dataclasses.replace(play, clock=lambda: 0.0)
    assert reason(await play.whole(opened(tired, patience=50))) is expected


async def test_a_handoff_ends_it_and_counts_as_the_goal_only_where_it_was_the_goal():
    def handing(*_: Any) -> Line:
        return reply("I pass you on.", "handoff", handoff=True)

    wanted = script(row(asks=[{"say": "A human, please.", "expect": {"handoff": True}}], handoff="expected"))
    yes, no = await ended(wanted, handing), await ended(script(), handing)
    assert (reason(yes), yes.outcome and yes.outcome.reached) == (Reason.HANDED_OVER, True)
    assert (reason(no), no.outcome and no.outcome.reached) == (Reason.HANDED_OVER, False)
    judged = [score(s.cast, s.scenarios[0], t) for s, t in ((wanted, yes), (script(), no))]
    assert [j.handoff for j in judged] == ["justified", "unjustified"]
    assert [j.passed for j in judged] == [True, False]


async def test_a_handoff_meets_a_wish_that_names_it_among_the_right_answers():
    wanted = script(row(asks=[{"say": "Do you tune pianos?", "expect": {"routes": ["refuse", "handoff"]}}]))
    talk = await ended(wanted, lambda *_: reply("I pass you on.", "handoff", handoff=True))
    judged = score(wanted.cast, wanted.scenarios[0], talk)
    assert (judged.reached, judged.handoff, judged.passed) == (True, "justified", True)


async def test_a_failed_turn_is_tried_again_and_the_conversation_goes_on(loans: Script):
    calls = iter(range(100))

    def shaky(scenario: Any, talk: Talk) -> Line:
        if next(calls) in (0, 2, 3):
            raise Unavailable("the desk is away")
        return lender(scenario, talk)

    talk = await ended(loans, shaky, patience=5)
    assert reason(talk) is Reason.GOAL_REACHED
    assert len(talk.failures) == 3
    assert all("the desk is away" in f for f in talk.failures)


async def test_a_desk_that_stays_away_is_an_error_with_its_reason(loans: Script):
    def away(*_: Any) -> Line:
        raise Unavailable("the desk is away")

    talk = await ended(loans, away)
    assert reason(talk) is Reason.ERROR
    assert talk.outcome is not None
    assert "the desk is away" in talk.outcome.evidence
    assert len(talk.failures) == 6


async def test_an_agent_that_never_answers_leaves_no_conversation_stuck(loans: Script):
    class Silent:
        async def reply(self, *_: Any, **__: Any) -> Any:
            import asyncio

            await asyncio.sleep(3600)

    play = dataclasses.replace(rehearsal(loans), agent=Silent(), turn_seconds=0.01)
    assert reason(await play.whole(opened(loans))) is Reason.ERROR


async def test_a_goal_that_the_apis_end_state_does_not_show_was_not_reached():
    checked = script(row(state=[{"get": "/loans/L-4021", "path": "loan.weeks", "equals": 12}]))
    for weeks, expected in ((12, Reason.GOAL_REACHED), (6, Reason.GAVE_UP)):

        def answer(_request: httpx.Request, weeks: int = weeks) -> httpx.Response:
            return httpx.Response(200, json={"loan": {"weeks": weeks}})

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            play = rehearsal(checked, end_state=EndState(server="http://api.example/lender", http=http))
            talk = await play.whole(opened(checked, patience=5))
        assert reason(talk) is expected
    assert talk.outcome is not None
    assert "loan.weeks = 6 instead of 12" in talk.outcome.evidence


class Scripted:
    """A model that says the same for ever."""

    name = "scripted"

    def __init__(self, text: str) -> None:
        self.text = text

    async def stream(self, _request: Any) -> AsyncIterator[str]:
        yield self.text


async def free_talk(text: str) -> tuple[Script, Talk]:
    from frontdesk.rehearsal.scenarios import load_script

    found = load_script("acme")
    free = next(s for s in found.scenarios if s.kind == "free")
    of = dataclasses.replace(found, scenarios=(free,))
    assert of.customer_prompt is not None
    play = dataclasses.replace(rehearsal(of, lambda *_: reply("I see.")), free=FreeCustomer(Scripted(text), of.customer_prompt))
    return of, await play.whole(opened(of, product="banjo telephone"))


async def test_a_free_customer_plays_until_a_budget_ends_it():
    of, talk = await free_talk("My telephone is broken.")
    assert reason(talk) is Reason.TURN_BUDGET
    assert talk.turns == of.scenarios[0].budget.turns


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How can I help you today?", "role slip"),
        ("As an AI I cannot have a broken telephone.", "leaked goal"),
        ("My pocket pinball machine is broken.", "cross-talk"),
        ("I paid 249 for it.", "invented fact"),
        ("It is broken.", "repeated line"),
    ],
)
async def test_the_audit_finds_a_customer_that_falls_out_of_its_part(text: str, kind: str):
    of, talk = await free_talk(text)
    found = faults(of.cast, of.scenarios[0], talk)
    assert any(f.startswith(kind) for f in found), found


async def test_the_audit_finds_broken_slots_contradictions_and_leaks(loans: Script):
    talk = await ended(loans)
    scenario = loans.scenarios[0]
    place = next(i for i, line in enumerate(talk.lines) if line.slots)
    broken = dataclasses.replace(talk.lines[place], text="My loan number is L-402.")
    lines = (*talk.lines[:place], broken, *talk.lines[place + 1 :])
    found = faults(loans.cast, scenario, dataclasses.replace(talk, lines=lines))
    assert any(f.startswith("broken slot: 'L-4021'") for f in found)
    lying = dataclasses.replace(talk, mind=dataclasses.replace(talk.mind, told={"loan number": "L-1"}))
    assert any(f.startswith("contradicted fact: loan number") for f in faults(loans.cast, scenario, lying))
    leaked = dataclasses.replace(talk.lines[0], text="I want to have the loan of a violin extended by the lender.", draft="x")
    assert any(
        f.startswith("leaked goal") for f in faults(loans.cast, scenario, dataclasses.replace(talk, lines=(leaked, *talk.lines[1:])))
    )
    assert not faults(loans.cast, scenario, talk)


def test_ordinary_customers_words_are_no_slip():
    for text in ("Can you help me?", "I am sorry to trouble you.", "Your team told me so.", "Thank you for your help."):
        assert not slipped(text)


async def test_the_policy_is_judged_by_calls_and_words():
    strict = script(row(policy={"never_calls": ["extendLoan"], "never_says": ["six weeks"]}))
    judged = score(strict.cast, strict.scenarios[0], await ended(strict, patience=5))
    assert judged.reached
    assert judged.breaches == ("called extendLoan",)
    assert not judged.passed


def one(number: int, passed: bool, scenario: str = "a", **more: Any) -> Score:
    given: dict[str, Any] = {f.name: None for f in dataclasses.fields(Score)}
    given |= {"number": number, "scenario": scenario, "passed": passed, "reached": passed, "reason": "goal_reached", "in_order": True}
    given |= {"turns": 3, "messages": 6, "seconds": 1.0, "faults": (), "breaches": (), "handoff": "", "agent_seconds": (0.1,), "lines": 3}
    given |= {"slot_lines": 0, "mood": "sad", "last_words": "Bye", "phrased": 0}
    return Score(**{**given, **more})


def test_reliability_is_the_chance_that_k_repeats_all_pass():
    rows = [one(n, n < 3, "a") for n in range(4)] + [one(n + 4, True, "b") for n in range(4)]
    found = reliability(rows)
    assert found["pass^1"]["value"] == pytest.approx((0.75 + 1) / 2)
    assert found["pass^2"]["value"] == pytest.approx((0.5 + 1) / 2)
    assert found["pass^4"]["value"] == pytest.approx((0 + 1) / 2)
    assert "pass^5" not in found
    low, high = found["pass^2"]["interval"]
    assert low <= found["pass^2"]["value"] <= high


def test_faulty_conversations_are_left_out_of_scores_and_counted():
    tally = Tally(scores=[one(0, True), one(1, False, faults=("role slip (message 1)",)), one(2, True)])
    summary = tally.summary()
    assert (summary["conversations"], summary["judged"], summary["pass_rate"]) == (3, 2, 1.0)
    assert summary["fault_rate"] == pytest.approx(1 / 3)
    assert summary["faults"] == {"role slip": 1}


def test_sentiment_at_the_end_comes_from_whatever_scores_texts():
    class Sour:
        def of(self, texts: Any) -> Any:
            return [type("Tone", (), {"score": -0.5})() for _ in texts]

    assert Tally(scores=[one(0, True)]).summary(Sour())["sentiment_at_end"] == -0.5


def test_two_runs_are_compared_pair_by_pair_and_chance_is_named():
    before = [one(n, True) for n in range(30)]
    worse = [one(n, n >= 10) for n in range(30)]
    found = compare(before, worse)
    assert (found["pairs"], found["passed_before"], found["passed_after"]) == (30, 30, 20)
    assert found["newly_failing"] == list(range(10))
    assert found["significant"]
    assert found["p"] == pytest.approx(2 / 2**10)
    assert not compare(before, [one(n, n != 4) for n in range(30)])["significant"]
    assert compare(before, [one(n, True, faults=("x",)) for n in range(30)])["pairs"] == 0


def test_customers_of_another_seed_are_no_pair():
    assert compare([one(n, True) for n in range(5)], [one(n, True, seed=f"8:{n}") for n in range(5)])["pairs"] == 0


def test_an_interval_of_a_share_holds_the_share():
    low, high = wilson(8, 10)
    assert 0.4 < low < 0.8 < high < 1.0
    assert wilson(0, 0) == [0.0, 1.0]


async def test_customer_and_agent_take_turns(loans: Script):
    talk = await ended(loans, patience=5)
    assert [line.role for line in talk.lines[:-1]] == [CUSTOMER, AGENT] * (len(talk.lines) // 2)
