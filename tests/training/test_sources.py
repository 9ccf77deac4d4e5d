"""Examples from the log and from data sets: only what was resolved, masked, traceable to what may be erased."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Route, Speaker, TurnId, Utterance
from frontdesk.domain.events import MessageReceived, ReplySent
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import KeyId, Tenant, TenantId
from frontdesk.errors import BadInput
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.training import shards
from frontdesk.training.data import to_json
from frontdesk.training.preparing import conversations
from frontdesk.training.runs import RunManager
from frontdesk.training.sources import from_conversation, from_dataset, resolved

AT = datetime(2026, 11, 1, tzinfo=UTC)
TENANT = Tenant(id=TenantId("larkfield"), name="Larkfield Library", persona="Short and friendly.")


def said(speaker: Speaker, text: str, route: Route | None = None, quote: str = "") -> Utterance:
    cites = (Citation(source="faq", title="t", quote=quote),) if quote else ()
    return Utterance(speaker=speaker, text=text, turn=TurnId("t"), at=AT, route=route, citations=cites)


def conversation(*utterances: Utterance, **more: object) -> Conversation:
    return Conversation(id=ConversationId("c1"), tenant=TENANT.id, customer=None, opened_at=AT, utterances=utterances, **more)  # type: ignore[arg-type]


ASKED = said(Speaker.CUSTOMER, "Renew my loan, I am at anna@mail.example and 07700 900123")
ANSWERED = said(Speaker.DESK, "Loans are renewed up to 3 times.", Route.FAQ, quote="up to 3 times")


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (conversation(ASKED, ANSWERED), True),
        (conversation(ASKED), False),
        (conversation(ASKED, ANSWERED, ASKED), False),
        (conversation(ASKED, ANSWERED, owner=Owner.QUEUE), False),
        (conversation(ASKED, ANSWERED, failures=2), False),
        (conversation(ASKED, said(Speaker.DESK, "I cannot help with that.", Route.REFUSE)), False),
        (
            conversation(
                ASKED, said(Speaker.DESK, "A colleague will help.", Route.HANDOFF), said(Speaker.AGENT, "Done!"), owner=Owner.CLOSED
            ),
            True,
        ),
    ],
)
def test_only_resolved_conversations_teach(found: Conversation, what: bool) -> None:
    assert resolved(found) is what
    assert bool(from_conversation(found, TENANT)) is what


def test_an_example_is_masked_stands_on_its_sources_and_knows_its_conversation() -> None:
    (example,) = from_conversation(conversation(ASKED, ANSWERED), TENANT)
    assert example.question == "Renew my loan, I am at [email] and [phone]"
    assert "- up to 3 times" in example.messages[0]["content"]
    assert "Short and friendly." in example.messages[0]["content"]
    assert (example.answer, example.origin) == ("Loans are renewed up to 3 times.", "conversation:c1")


def test_a_summary_that_was_handed_over_is_learnt_as_well() -> None:
    examples = from_conversation(conversation(ASKED, ANSWERED), TENANT, summary="Anna (anna@mail.example) asked to renew.")
    assert examples[-1].answer == "Anna ([email]) asked to renew."
    assert "customer: Renew my loan" in examples[-1].question


async def test_conversations_come_out_of_the_log_and_can_be_taken_out_of_the_data_again(
    store: Store, tenant: TenantId, database_settings: Settings, tmp_path: Path
) -> None:
    kept = store.for_tenant(tenant).conversations
    ids = []
    for text in ("Renew my loan?", "Mail me at anna@mail.example"):
        ids.append(await kept.open(key=KeyId("k"), customer=None, channel="api"))
        reply = ReplySent(text="Up to 3 times.", route=Route.FAQ, confidence=0.9)
        await kept.append(ids[-1], TurnId("t"), [MessageReceived(text=text), reply])
    await kept.append(await kept.open(key=KeyId("k"), customer=None, channel="api"), TurnId("t"), [MessageReceived(text="Nobody answers")])
    examples = await conversations(store, Tenant(id=tenant, name="Larkfield Library"))
    assert sorted(e.question for e in examples) == ["Mail me at [email]", "Renew my loan?"]
    settings = dataclasses.replace(database_settings, data=tmp_path)
    shards.write((to_json(e) for e in examples), tmp_path / "runs" / "talk" / "data")
    manager = RunManager(store, settings)
    assert manager.forget(ids[0]) == {"talk": 1}
    assert manager.forget(ids[0]) == {}


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_table_of_questions_and_answers_is_read_by_its_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "ask,reply,other\nWhen?,At 9am,x\n,empty,x\nWhere?,Here,x\n")
    found = from_dataset(file, {"question": "ask", "answer": "reply"}, system="S")
    assert [(e.question, e.answer) for e in found] == [("When?", "At 9am"), ("Where?", "Here")]
    assert found[0].messages[0] == {"role": "system", "content": "S"}


def test_one_utterance_per_row_becomes_conversations(tmp_path: Path) -> None:
    rows = [
        "conversation_id,speaker,text",
        "1,agent,Hello",
        "1,client,My bill is wrong",
        "1,client,call +44 20 7946 0958",
        "1,agent,Let me look",
        "2,client,Hi",
        "2,client,Bye",
    ]
    file = write(tmp_path / "calls.csv", "\n".join(rows))
    (found,) = from_dataset(file, {"conversation": "conversation_id", "speaker": "speaker", "text": "text"})
    assert [m["role"] for m in found.messages] == ["user", "assistant"]
    assert found.question == "My bill is wrong call [phone]"


def test_a_column_of_messages_is_taken_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "m.jsonl", '{"chat": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 3)
    assert len(from_dataset(file, {"messages": "chat"}, limit=2)) == 2


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        ("a,b\n1,2\n", {"question": "q", "answer": "b"}, "has no column q: it has a, b"),
        ("a,b\n1,2\n", {"question": "a"}, "name question and answer"),
        ("c,s,t\n1,robot overlord,hi\n", {"conversation": "c", "speaker": "s", "text": "t"}, "neither a customer nor an agent"),
        ("a\n1\n", {"messages": "a"}, "holds no list"),
    ],
)
def test_wrong_columns_are_refused_with_what_there_is(tmp_path: Path, text: str, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_dataset(write(tmp_path / "x.csv", text), mapping)


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"x\.jsonl:2: is no JSON object"):
        from_dataset(write(tmp_path / "x.jsonl", '{"q": "a", "a": "b"}\nnope\n'), {"question": "q", "answer": "a"})
