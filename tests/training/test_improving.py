"""What the desk could not do becomes proposals; only what was accepted is learnt; only what is no worse is deployed."""

import json

import pytest

from frontdesk.domain.conversation import Route, TurnId
from frontdesk.domain.events import AgentReplied, DraftRejected, KnowledgeGapFound, MessageReceived, ReplySent, SuggestionJudged
from frontdesk.domain.knowledge import FaqPair
from frontdesk.domain.tenancy import KeyId, Tenant
from frontdesk.errors import BadInput
from frontdesk.knowledge.tenants import load_faq, load_tenant
from frontdesk.training.artefacts import Manifest
from frontdesk.training.improving import approved, collect, lessons, training_folder, unanswered, with_approved, worse

QUESTION = MessageReceived(text="Do you rent out canoes?")
OFFER = {"passed": True}


def manifest(**figures):
    gates = {"recall": OFFER}
    return Manifest(name="n", tenant="t", recipe="faq", base="b", base_sha256="0", figures={"gates": gates, **figures})


def test_an_agents_reply_to_an_open_question_is_an_answer_to_keep():
    found = lessons([QUESTION, KnowledgeGapFound(question="Do you rent out canoes?"), AgentReplied(agent="Kim", text="Yes, £12 an hour.")])
    assert [(f.kind, f.source, f.question, f.answer) for f in found] == [("faq", "agent", "Do you rent out canoes?", "Yes, £12 an hour.")]


def test_a_reply_after_a_rejected_draft_is_an_example_of_how_to_say_it():
    reply = ReplySent(text="Yes, at £12 an hour.", route=Route.FAQ, confidence=0.9)
    assert lessons([QUESTION, reply]) == []
    (found,) = lessons([QUESTION, DraftRejected(sentence="Yes, at £2.", objection="£2 stands in no source"), reply])
    assert (found.kind, found.source, found.answer) == ("example", "draft", "Yes, at £12 an hour.")


def test_an_edited_suggestion_teaches_what_was_sent():
    judged = SuggestionJudged(agent="Kim", suggestion="No.", outcome="edited", sent="Yes, from May.", question="Do you rent out canoes?")
    assert [f.answer for f in lessons([judged])] == ["Yes, from May."]
    assert lessons([SuggestionJudged(agent="Kim", suggestion="No.", outcome="rejected", question="Q?")]) == []


def test_a_failed_rehearsal_gives_the_question_that_was_refused():
    lines = [
        {"role": "customer", "text": "Hello"},
        {"role": "agent", "text": "Hello!", "route": "smalltalk"},
        {"role": "customer", "text": "Do you rent out canoes?"},
        {"role": "agent", "text": "I do not know.", "route": "refuse"},
    ]
    assert unanswered({"lines": lines}) == "Do you rent out canoes?"
    assert unanswered({"lines": lines[:2]}) == ""


async def test_proposals_are_collected_once_with_personal_data_masked(tenant_store):
    id = await tenant_store.conversations.open(key=KeyId("k"), customer=None, channel="api")
    events = [
        MessageReceived(text="My mail is kim@lake.example, do you rent out canoes?"),
        KnowledgeGapFound(question="My mail is kim@lake.example, do you rent out canoes?"),
        AgentReplied(agent="Kim", text="Yes, £12 an hour."),
    ]
    await tenant_store.conversations.append(id, TurnId("t1"), events)
    assert await collect(tenant_store) == {"gap": 1, "agent": 0}
    assert await collect(tenant_store) == {"gap": 0, "agent": 0}
    (proposal,) = await tenant_store.deployments.proposals()
    assert "kim@" not in proposal.question
    assert proposal.answer == "Yes, £12 an hour."


async def test_only_what_was_accepted_and_has_an_answer_is_learnt(tenant_store, tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "tenant.yaml").write_text("id: lake\nname: Lake Hire\n")
    (folder / "faq.jsonl").write_text(json.dumps({"question": "Are dogs allowed?", "answer": "Yes."}) + "\n")
    tenant = load_tenant(folder)
    kept = tenant_store.deployments
    await kept.propose(kind="faq", source="gap", question="Do you rent out canoes?")
    await kept.propose(kind="faq", source="agent", question="are dogs allowed", answer="Yes, on a lead.")
    await kept.propose(kind="faq", source="gap", question="Do you sell the lake?")
    with pytest.raises(BadInput, match="no proposal of lake was accepted yet"):
        await training_folder(tenant_store, tenant, tmp_path / "out")
    ids = {p.question: p.id for p in await kept.proposals()}
    await kept.decide(ids["Do you rent out canoes?"], accept=True, actor="op", answer="Yes, £12 an hour.")
    await kept.decide(ids["are dogs allowed"], accept=True, actor="op")
    await kept.decide(ids["Do you sell the lake?"], accept=False, actor="op")
    out = await training_folder(tenant_store, tenant, tmp_path / "out")
    assert {p.question: p.answer for p in load_faq(out)} == {
        "are dogs allowed": "Yes, on a lead.",
        "Do you rent out canoes?": "Yes, £12 an hour.",
    }
    assert load_tenant(out).name == "Lake Hire"
    assert len(await approved(tenant_store)) == 2


def test_an_approved_answer_replaces_that_of_the_same_question():
    old, new = FaqPair(question="Are dogs allowed?", answer="No."), FaqPair(question="are dogs  allowed", answer="Yes.")
    assert with_approved([old], [new]) == [new]


async def test_a_tenant_without_a_folder_cannot_be_improved(tenant_store, tmp_path):
    with pytest.raises(BadInput, match="no folder to learn from"):
        await training_folder(tenant_store, Tenant(id=tenant_store.tenant, name="X"), tmp_path)


@pytest.mark.parametrize(
    ("candidate", "serving", "reason"),
    [
        (manifest(recall=0.9), None, ""),
        (manifest(recall=0.9), {"figures": {"recall": 0.91}}, ""),
        (manifest(recall=0.85), {"figures": {"recall": 0.91}}, "recall is 0.850, and 0.910"),
        (manifest(recall=0.95, perplexity_ratio=1.5), {"figures": {"perplexity_ratio": 1.2}}, "perplexity ratio is 1.500"),
        (manifest(gates={"leak": {"passed": False}}), None, "it failed leak"),
        (manifest(gates={}), None, "not evaluated"),
    ],
)
def test_a_version_that_is_worse_than_the_one_in_service_is_held_back(candidate, serving, reason):
    assert reason in worse(candidate, serving) if reason else worse(candidate, serving) == ""
