"""Many conversations at once over the real database: none stuck, none mixed up, nothing lost when the run is stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import httpx
import pytest
from typer.testing import CliRunner

from frontdesk.cli import app
from frontdesk.domain.conversation import ConversationId, Route, TurnId
from frontdesk.domain.events import Citation, MessageReceived, Recorded, ReplySent
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadInput, Conflict, NotFound, Unavailable
from frontdesk.rehearsal import running
from frontdesk.rehearsal.commands import Wanted
from frontdesk.rehearsal.fleet import Fleet, heard_before
from frontdesk.rehearsal.live import Watch
from frontdesk.rehearsal.phrasing import ModelPhraser
from frontdesk.rehearsal.reporting import conversation, gate, read_json, scores_of, write_json, write_junit
from frontdesk.rehearsal.scenarios import Script, draw, load_script, script_from_json, script_to_json
from frontdesk.rehearsal.scoring import compare, tally
from frontdesk.rehearsal.speakers import DeskInProcess, DeskOverHttp, InLog, ScriptedAgent
from frontdesk.rehearsal.talk import Line, Talk
from frontdesk.settings import Settings
from frontdesk.store.store import TenantStore

from .conftest import lender, opened, rehearsal, reply, row, script


async def fleet_of(space: TenantStore, of: Script, rule: Any = lender, *, run: str = "", count: int = 40, **more: Any) -> Fleet:
    agent = InLog(ScriptedAgent(rule), space.conversations)
    play = dataclasses.replace(rehearsal(of), agent=agent, **more)
    fleet = Fleet(rehearsal=play, rehearsals=space.rehearsals, run=run or f"{space.tenant}.r1", seed=7, count=count)
    await fleet.start({"script": script_to_json(of), "seed": 7, "phrasing": "template", "agent": "desk"})
    return fleet


async def said(fleet: Fleet) -> list[Any]:
    return [(t.number, t.role, t.outcome, [line.text for line in t.lines]) async for t in fleet.talks()]


async def test_every_conversation_of_a_run_ends_with_a_reason_and_is_kept(tenant_store: TenantStore, loans: Script):
    fleet = await fleet_of(tenant_store, loans)
    await fleet.go()
    summary = (await tally(loans, fleet.talks())).summary()
    assert (summary["conversations"], summary["stuck"], summary["self_replies"], summary["faults"]) == (40, 0, 0, {})
    assert (await tenant_store.rehearsals.one(fleet.run)).finished_at is not None


async def test_what_a_scripted_agent_heard_and_said_is_in_the_event_log(tenant_store: TenantStore, loans: Script):
    fleet = await fleet_of(tenant_store, loans, count=1)
    await fleet.go()
    talk = await anext(fleet.talks())
    events = [r.event for r in await tenant_store.conversations.events(ConversationId(talk.agent["conversation"]))]
    assert [e.text for e in events if isinstance(e, MessageReceived)] == [x.text for x in talk.lines if x.role == "customer"][: talk.turns]
    assert [e.text for e in events if isinstance(e, ReplySent)] == [x.text for x in talk.lines if x.role == "agent"]


async def test_a_turn_that_was_logged_before_a_crash_stays_where_it_was_and_those_beside_it_are_written(
    tenant_store: TenantStore, loans: Script
):
    log = InLog(ScriptedAgent(lender), tenant_store.conversations)
    heard = [await rehearsal(loans).customer_speaks(opened(loans, number=n)) for n in range(3)]
    heard = [dataclasses.replace(talk, id=f"talk-{n}") for n, talk in enumerate(heard)]
    scenario = loans.scenarios[0]
    before = await log.reply(scenario, heard[0], key="talk-0:1")
    again = await asyncio.gather(*(log.reply(scenario, talk, key=f"{talk.id}:1") for talk in heard))
    assert again[0].state == before.state
    for said in again:
        events = await tenant_store.conversations.events(ConversationId(said.state["conversation"]))
        assert [type(r.event).__name__ for r in events] == ["ConversationOpened", "MessageReceived", "ReplySent"]


async def test_the_same_seed_gives_the_same_run_twice(tenant_store: TenantStore, loans: Script):
    first, second = [await fleet_of(tenant_store, loans, run=f"{tenant_store.tenant}.{name}", count=20) for name in ("a", "b")]
    await first.go()
    await second.go()
    assert await said(first) == await said(second)


async def test_mood_and_product_of_one_conversation_never_show_in_another(tenant_store: TenantStore):
    of = load_script("acme")
    of = dataclasses.replace(of, scenarios=tuple(s for s in of.scenarios if s.kind != "free"))
    fleet = await fleet_of(tenant_store, of, lambda *_: reply("I'm sorry.", "refuse"))
    await fleet.go()
    async for talk in fleet.talks():
        assert talk.role == draw(of, talk.number, 7).role
        assert talk.lines[0].mood == talk.role.mood


async def test_a_stopped_run_goes_on_where_it_was_and_says_nothing_twice(tenant_store: TenantStore, loans: Script):
    whole = await fleet_of(tenant_store, loans, run=f"{tenant_store.tenant}.whole", count=30)
    await whole.go()
    answered: list[str] = []

    def counted(scenario: Any, talk: Talk) -> Line:
        answered.append(f"{talk.id}:{talk.turns}")
        return lender(scenario, talk)

    cut = await fleet_of(tenant_store, loans, counted, run=f"{tenant_store.tenant}.cut", count=30)
    for after in (0.05, 0.1, 0.2):
        going = asyncio.create_task(cut.go())
        await asyncio.sleep(after)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    await cut.go()
    assert [(n, r, [*texts]) for n, r, _, texts in await said(cut)] == [(n, r, [*texts]) for n, r, _, texts in await said(whole)]
    async for talk in cut.talks():
        events = await tenant_store.conversations.events(ConversationId(talk.agent["conversation"]))
        assert sum(isinstance(e.event, MessageReceived) for e in events) == talk.turns


async def test_a_run_that_is_taken_up_again_draws_the_same_customers(tenant_store: TenantStore):
    of = load_script("acme")
    fleet = await fleet_of(tenant_store, of, count=1)
    kept = script_from_json((await tenant_store.rehearsals.one(fleet.run)).plan["script"])
    assert [draw(kept, n, 7) for n in range(50)] == [draw(of, n, 7) for n in range(50)]


async def test_a_run_of_the_same_name_is_refused(tenant_store: TenantStore, loans: Script):
    await fleet_of(tenant_store, loans)
    with pytest.raises(Conflict, match="--resume"):
        await fleet_of(tenant_store, loans)


async def test_a_fault_in_one_conversation_does_not_end_the_others(tenant_store: TenantStore):
    of = script(row(), row(id="broken"))

    def sometimes(scenario: Any, talk: Talk) -> Line:
        if scenario.id == "broken":
            raise ValueError("a bug")
        return lender(scenario, talk)

    fleet = await fleet_of(tenant_store, of, sometimes, count=6)
    await fleet.go()
    summary = (await tally(of, fleet.talks())).summary()
    assert summary["reasons"]["error"] == 3
    assert summary["stuck"] == 0


async def test_conversations_that_change_records_begin_with_a_reset_and_have_them_for_themselves(tenant_store: TenantStore):
    state = {"weeks": 6, "resets": 0, "inside": 0}

    def api(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/reset":
            state.update(weeks=6, resets=state["resets"] + 1)
        return httpx.Response(200, json=state)

    def lending(scenario: Any, talk: Talk) -> Line:
        line = lender(scenario, talk)
        if line.calls:
            assert state["weeks"] == 6
            state["weeks"] = 12
        return line

    of = script(row(reset="/reset", state=[{"get": "/loan", "path": "weeks", "equals": 12}]))
    async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as http:
        fleet = await fleet_of(tenant_store, of, lending, count=8, end_state=running.EndState(server="http://api.example/x", http=http))
        await fleet.go()
    reached = [t async for t in fleet.talks() if t.outcome and t.outcome.reached]
    assert state["resets"] == 8
    assert all("end state is as expected" in (t.outcome.evidence if t.outcome else "") for t in reached)
    assert reached


async def test_a_watch_sees_each_message_and_each_end(tenant_store: TenantStore, loans: Script):
    fleet = await fleet_of(tenant_store, loans, count=5)
    fleet.watch = Watch(total=5, title="x")
    await fleet.go()
    now = fleet.watch.snapshot()
    assert now["ended"] == 5
    assert now["messages"] == sum([len(t.lines) async for t in fleet.talks()])
    assert {t["outcome"] for t in now["talks"]} <= {"goal_reached", "gave_up"}
    assert json.dumps(now)
    async for shot in fleet.watch.snapshots():
        assert shot["ended"] == 5
        break


async def test_a_models_words_can_be_said_again_in_another_run(tenant_store: TenantStore, loans: Script):
    class Model:
        name = "m"
        calls = 0

        async def stream(self, request: Any) -> Any:
            Model.calls += 1
            yield f"Well then, {request.messages[-1]['content'].partition(': ')[2]}"

    first = await fleet_of(tenant_store, loans, run=f"{tenant_store.tenant}.m1", count=5, phraser=ModelPhraser(Model(), guided=False))
    await first.go()
    asked = Model.calls
    recorded = await heard_before(tenant_store.rehearsals, first.run)
    again = ModelPhraser(Model(), guided=False, recorded=recorded)
    second = await fleet_of(tenant_store, loans, run=f"{tenant_store.tenant}.m2", count=5, phraser=again)
    await second.go()
    assert Model.calls == asked
    assert await said(first) == await said(second)


class Desk:
    """A front office that answers from a script, once for each key."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def talk(self, **given: Any) -> Any:
        self.seen.append(given)
        about: dict[str, Any] = {"position": 1, "tenant": given["caller"].tenant, "turn": TurnId("t"), "at": None}
        where = given["conversation"] or ConversationId("cv_1")
        yield Recorded(**about, conversation=where, seq=1, event=MessageReceived(text=given["message"]))
        cited = (Citation(source="faq", title="", quote=""),)
        answer = ReplySent(text="6 weeks.", route=Route.FAQ, confidence=1.0, citations=cited)
        yield Recorded(**about, conversation=where, seq=2, event=answer)


async def test_the_desk_in_process_is_asked_as_a_verified_customer_and_keeps_its_conversation():
    of, desk = script(row(customer="C-1")), Desk()
    play = dataclasses.replace(rehearsal(of), agent=DeskInProcess(desk, TenantId("lender")))
    part = draw(of, 0, 7)
    from frontdesk.rehearsal.talk import begin

    talk = await play.agent_answers(await play.customer_speaks(begin("r", part, of.scenarios[0])))
    talk = await play.agent_answers(await play.customer_speaks(talk))
    assert [s["conversation"] for s in desk.seen] == [None, "cv_1"]
    assert desk.seen[0]["caller"].claims["customer.id"] == "C-1"
    assert len({s["idempotency_key"] for s in desk.seen}) == 2
    assert (talk.lines[1].route, talk.lines[1].cites) == ("faq", ("faq",))


async def test_a_running_desk_is_asked_through_its_public_api():
    seen: list[httpx.Request] = []

    def api(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        extra = {"route": "faq", "confidence": 1, "citations": [{"source": "faq", "title": "", "quote": ""}], "tool_calls": []}
        extra |= {"handoff": False, "conversation_id": "cv_9"}
        return httpx.Response(200, json={"choices": [{"message": {"content": "6 weeks."}}], "frontdesk": extra})

    of = script(row(customer="C-1"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as http:
        agent = DeskOverHttp("http://desk.example", "fd_key", "lender", tokens=lambda c: f"token of {c}", http=http)
        play = dataclasses.replace(rehearsal(of), agent=agent)
        from frontdesk.rehearsal.talk import begin

        talk = await play.whole(begin("r", draw(of, 0, 7), of.scenarios[0]))
    assert seen[0].headers["X-Customer-Token"] == "token of C-1"
    assert seen[0].headers["Idempotency-Key"] != seen[1].headers["Idempotency-Key"]
    assert "metadata" not in json.loads(seen[0].content)
    assert json.loads(seen[1].content)["metadata"] == {"conversation_id": "cv_9"}
    assert talk.lines[1].route == "faq"


async def test_reports_tell_every_conversation_and_can_be_compared(tenant_store: TenantStore, loans: Script, tmp_path: Path):
    fleet = await fleet_of(tenant_store, loans, count=6)
    await fleet.go()
    scores = await tally(loans, fleet.talks())
    pieces: list[str] = []
    await write_json(pieces.append, loans, fleet.run, scores.summary(), fleet.talks())
    (tmp_path / "a.json").write_text("".join(pieces))
    report = read_json(tmp_path / "a.json")
    assert len(report["conversations"]) == 6
    one = report["conversations"][0]
    assert {"id", "scenario", "seed", "outcome", "faults", "turns"} <= set(one)
    assert {"role", "text", "route", "seconds"} <= set(one["turns"][0])
    assert compare(scores.scores, scores_of(report))["pairs"] == 6
    await write_junit(tmp_path / "j.xml", loans, fleet.run, fleet.talks())
    suite = Xml.parse(tmp_path / "j.xml").getroot()[0]
    assert suite.get("tests") == "6"
    assert suite.get("failures") == str(6 - scores.summary()["passed"])
    with pytest.raises(BadInput, match="is no report"):
        read_json(tmp_path / "j.xml")


async def test_the_gate_holds_by_rate_policy_and_errors(tenant_store: TenantStore, loans: Script):
    fleet = await fleet_of(tenant_store, loans, lambda *_: reply("Hm.", "refuse"), count=4)
    await fleet.go()
    summary = (await tally(loans, fleet.talks())).summary()
    assert gate(summary, None) == []
    assert gate(summary, 0.5)
    talk = await anext(fleet.talks())
    assert conversation(loans, talk)["passed"] is False


class Stage:
    """A stage without models over the suite's database."""

    def __init__(self, store: Any, folder: Path) -> None:
        self._store = store
        self.folder = folder

    def tenant(self, _settings: Settings, tenant: TenantId) -> Tenant:
        return Tenant(id=tenant, name="Lender", folder=self.folder)

    @asynccontextmanager
    async def desk(self, _settings: Settings, _tenant: TenantId) -> Any:
        yield type("Office", (), {"store": self._store, "front_office": Desk(), "model": None})()

    @asynccontextmanager
    async def store(self, _settings: Settings) -> Any:
        yield self._store

    @asynccontextmanager
    async def model(self, _settings: Settings) -> Any:
        yield None

    @asynccontextmanager
    async def patient(self, _office: Any) -> Any:
        yield None

    async def token(self, *_: Any) -> str:
        return "a token"

    def sentiment(self) -> Any:
        return None


def wanted(tenant: TenantId, **more: Any) -> Wanted:
    given: dict[str, Any] = {"scenarios": None, "count": 4, "seed": 7, "phrasing": "template", "agent": "desk", "in_flight": 4, "url": ""}
    return Wanted(**{**given, "tenant": tenant, "key": "", "tokens": {}, "resume": "", "same_words_as": "", **more})


@pytest.fixture
def stage(store: Any, tmp_path: Path) -> Stage:
    (tmp_path / "faq.yaml").write_text("- {question: How long may I keep it?, answer: You may keep it for 6 weeks.}\n")
    return Stage(store, tmp_path)


async def test_a_run_from_options_to_figures_with_scenarios_made_from_the_tenant(stage: Stage, tenant: TenantId):
    runs: list[running.Run] = []

    async def report(run: running.Run) -> list[str]:
        runs.append(run)
        return gate(run.summary, None)  # type: ignore[return-value]

    from rich.console import Console

    assert await running.rehearse(stage, Settings(), wanted(tenant), report=report, console=Console(stderr=True)) == []
    assert runs[0].summary["conversations"] == 4
    again = await running.Run.stored(stage._store, runs[0].name)
    assert again.summary["passed"] == runs[0].summary["passed"]
    resumed = wanted(tenant, resume=runs[0].name)
    await running.rehearse(stage, Settings(), resumed, report=report, console=Console(stderr=True))
    assert runs[1].name == runs[0].name


async def test_scenarios_made_from_a_tenant_can_be_read_again_and_a_false_belief_is_another_figure(stage: Stage, tenant: TenantId):
    import yaml

    text = await running.generated(stage.tenant(Settings(), tenant), 7)
    rows = yaml.safe_load(text)["scenarios"]
    assert rows[0]["belief"] != "You may keep it for 6 weeks."
    assert rows[0]["belief"].startswith("You may keep it for ")
    assert {"human", "injection", "unknown-1"} <= {r["id"] for r in rows}


async def test_a_desk_that_is_not_there_is_told_before_anything_is_said(stage: Stage, tenant: TenantId):
    async def report(_run: Any) -> list[str]:
        return []

    from rich.console import Console

    given = wanted(tenant, url="http://127.0.0.1:9", key="fd_x")
    with pytest.raises(Unavailable, match="there is no desk"):
        await running.rehearse(stage, Settings(), given, report=report, console=Console(stderr=True))
    with pytest.raises(NotFound, match="is no run's name"):
        running.tenant_of("nonsense")


async def test_a_person_may_play_the_agent(stage: Stage, tenant: TenantId):
    heard: list[str] = []
    await running.play_agent(stage, Settings(), tenant, None, number=1, seed=7, say=heard.append, ask=lambda _prompt: "")
    assert any("handed_over" in line for line in heard)


async def test_a_person_may_play_the_customer(stage: Stage, tenant: TenantId):
    heard: list[str] = []
    lines = iter(["How long?", ""])
    await running.play_customer(stage, Settings(), tenant, "", say=heard.append, ask=lambda _prompt: next(lines))
    assert "desk (faq): 6 weeks." in heard


@pytest.mark.parametrize(("failing", "status"), [(0, 0), (2, 0), (12, 1)])
def test_a_comparison_gates_a_release_only_when_it_is_worse_and_not_by_chance(tmp_path: Path, failing: int, status: int):
    def report(name: str, failed: int) -> str:
        rows = [
            {
                "number": n,
                "scenario": "a",
                "seed": f"7:{n}",
                "outcome": "gave_up",
                "passed": n >= failed,
                "faults": [],
                "turn_count": 2,
                "turns": [],
            }
            for n in range(30)
        ]
        path = tmp_path / name
        path.write_text(json.dumps({"summary": {}, "conversations": rows}))
        return str(path)

    done = CliRunner().invoke(app, ["rehearse", "compare", report("before.json", 0), report("after.json", failing), "--not-worse"])
    assert done.exit_code == status, done.output
