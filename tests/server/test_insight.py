"""The API on what the log says, from outside: a conversation, its figures, and the way from a figure back to it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from frontdesk.domain.conversation import Route, TurnId
from frontdesk.domain.events import IntentRecognized, MessageReceived
from frontdesk.domain.tenancy import CustomerId, Role, TenantId
from frontdesk.errors import Conflict
from frontdesk.server.assisting import publish

from .conftest import ACME, REPLY, Served


@pytest.fixture
def operator(served: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {served.key(role=Role.OPERATOR)}"}


@pytest.fixture
def conversation(served: Served) -> str:
    """A question, answered from a document, and a formula for a topic of danger."""
    return str(served.do(_told(served, ACME)))


async def _told(served: Served, tenant: TenantId) -> str:
    space = served.office.store.for_tenant(tenant)
    caller = await served.office.store.verify(await space.keys.create(Role.SERVER))
    id = await space.conversations.open(key=caller.key, customer=CustomerId("=cmd|x"), channel="chat")
    asked = [MessageReceived(text="Are returns free?"), IntentRecognized(route=Route.KNOWLEDGE, name="knowledge", confidence=0.9), REPLY]
    await space.conversations.append(id, TurnId("t1"), asked)
    return id


def test_a_figure_opens_down_to_the_conversation_and_a_rating_moves_it(served: Served, operator, conversation):
    rated = served.http.post(f"/api/conversations/{conversation}/rating", headers=operator, json={"score": 5, "solved": True})
    assert rated.status_code == 204
    report = served.http.get("/api/figures", headers=operator).json()
    assert sum(report["outcomes"].values()) == report["conversations"]
    figures = {f["name"]: f for f in report["figures"]}
    assert figures["rating"]["among"] >= 1
    behind = served.http.get("/api/figures/open/conversations", headers=operator, params={"limit": 1000}).json()
    assert conversation in [c["conversation_id"] for c in behind]
    assert served.http.get("/api/figures/rating/conversations", headers=operator).json()[0]["rating"] == 5


def test_an_unknown_figure_bucket_or_part_is_a_clear_400(served: Served, operator):
    for path in ("/api/figures/happiness/series", "/api/figures/containment/series?bucket=eon", "/api/figures/containment/parts?by=shoe"):
        answer = served.http.get(path, headers=operator)
        assert answer.status_code == 400
        assert "choose from" in answer.json()["error"]["message"]


def test_the_export_has_one_line_per_conversation_and_no_formula(served: Served, operator, conversation):
    text = served.http.get("/api/ledger.csv", headers=operator).text
    rows = {r["conversation"]: r for r in csv.DictReader(io.StringIO(text))}
    assert rows[conversation]["customer"] == "'=cmd|x"
    assert rows[conversation]["messages"] == "1"
    rated = served.http.get("/api/ledger.csv?figure=rated", headers=operator).text
    assert conversation not in rated, "nobody rated it"


def test_a_conversation_is_read_through_with_turns_and_evidence(served: Served, operator, conversation):
    inside = served.http.get(f"/api/conversations/{conversation}/insight", headers=operator).json()
    assert inside["summary"]["reason"]["turns"] == [1]
    assert "Are returns free?" in inside["summary"]["text"]
    assert {c["name"] for c in inside["criteria"]} >= {"accuracy", "policy"}
    assert 0 <= inside["score"] <= 1


def test_labels_are_kept_and_calibrate(served: Served, operator, conversation):
    served.do(_scored(served))
    path = f"/api/conversations/{conversation}/label"
    assert served.http.put(path, headers=operator, json={"passed": False, "note": "curt"}).status_code == 204
    found = served.http.get("/api/calibration", headers=operator).json()
    assert found["labelled"] >= 1
    assert found["advice"]
    assert served.http.put(path, headers=operator, json={"passed": True, "criterion": "charm"}).status_code == 400


def test_rehearsed_conversations_are_drawn_and_calibrated_apart(served: Served, operator):
    async def played() -> str:
        space = served.office.store.for_tenant(ACME)
        caller = await served.office.store.verify(await space.keys.create(Role.SERVER))
        id = await space.conversations.open(key=caller.key, customer=None, channel="rehearsal")
        await space.conversations.append(id, TurnId("t1"), [MessageReceived(text="Are returns free?"), REPLY])
        return id

    id = str(served.do(played()))
    served.do(_scored(served))
    drawn = {w: served.http.get("/api/labels/next", headers=operator, params={"whose": w}).json() for w in ("customers", "rehearsals")}
    assert (id in drawn["customers"], id in drawn["rehearsals"]) == (False, True)
    before = served.http.get("/api/calibration", headers=operator).json()["labelled"]
    assert served.http.put(f"/api/conversations/{id}/label", headers=operator, json={"passed": True}).status_code == 204
    assert served.http.get("/api/calibration", headers=operator).json()["labelled"] == before
    assert served.http.get("/api/calibration?whose=rehearsals", headers=operator).json()["labelled"] >= 1


async def _scored(served: Served) -> None:
    from datetime import timedelta

    analytics = served.app.state.desk.analytics
    await analytics.refresh(ACME)
    await analytics.score_waiting(ACME, quiet=timedelta(0))


@pytest.mark.parametrize("body", [{}, {"score": 6}, {"score": 0}, {"score": "good"}, {"comment": " "}, {"stars": 3}])
def test_a_rating_that_says_nothing_usable_is_400(served: Served, operator, conversation, body):
    assert served.http.post(f"/api/conversations/{conversation}/rating", headers=operator, json=body).status_code == 400


def test_help_stands_beside_a_conversation_and_an_edit_needs_its_words(served: Served, operator, conversation):
    found = served.http.get(f"/api/conversations/{conversation}/assist", headers=operator).json()
    assert found["next_question"]
    body = {"agent": "K", "suggestion": "Hi", "outcome": "edited"}
    assert served.http.post(f"/api/conversations/{conversation}/suggestions", headers=operator, json=body).status_code == 400
    remarks = served.http.post("/api/wording", headers=operator, json={"text": "We guarantee it."}).json()
    assert [r["kind"] for r in remarks] == ["absolute"]


def test_an_accepted_pair_is_one_more_line_and_a_question_answered_already_is_a_conflict(tmp_path: Path):
    (tmp_path / "faq.yaml").write_text("- question: Where are you?\n  answer: On Quay Street.\n", "utf-8")
    publish(tmp_path, "Do you ship to Malta?", "Yes, in nine days.")
    publish(tmp_path, "And to Gozo?", "Yes.")
    assert len((tmp_path / "faq.jsonl").read_text("utf-8").splitlines()) == 2
    for question in ("where are you?", "Do you  ship to Malta?"):
        with pytest.raises(Conflict, match="change that answer"):
            publish(tmp_path, question, "No.")
