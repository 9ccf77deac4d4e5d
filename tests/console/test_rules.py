"""The console's rules without a browser: who may do what, what a session is worth, how figures and events are told, how the FAQ is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.blocks import blocks_of
from tests.docs.sections import ROOT

from frontdesk.analytics.metrics import BY_NAME, Reading
from frontdesk.console import charts
from frontdesk.console.feed import Feed
from frontdesk.console.folder import Change, Folder, applied, checked_pair
from frontdesk.console.gate import GUESSES, Guesses, _safe
from frontdesk.console.panels import load_panels
from frontdesk.console.telling import ago, basis_of, duration, result, spoken, steps, value_of
from frontdesk.domain.conversation import ConversationId, Owner, Route, ToolCall, TurnId
from frontdesk.domain.events import (
    DraftRejected,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    PassagesRetrieved,
    Recorded,
    ReplySent,
    ToolCalled,
    kinds,
)
from frontdesk.domain.knowledge import FaqPair
from frontdesk.domain.staff import Right, Staff, StaffRole
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadDocument, BadInput, Conflict, NotAllowed, NotAuthenticated, RateLimited
from frontdesk.store.ledger import MoodRow
from frontdesk.store.staff import LOCAL, hashed, matches, one_time_password
from frontdesk.store.store import Store

T = TenantId("kiln")
AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (StaffRole.VIEWER, {Right.READ}),
        (StaffRole.AGENT, {Right.READ, Right.ANSWER, Right.LABEL}),
        (StaffRole.OPERATOR, set(Right)),
    ],
)
def test_each_role_may_do_what_its_name_says(role: StaffRole, may: set[Right]):
    staff = Staff(name="x", role=role)
    assert {r for r in Right if staff.may(r, T)} == may


def test_an_account_of_some_tenants_has_no_right_in_another():
    staff = Staff(name="x", role=StaffRole.OPERATOR, tenants=frozenset({T}))
    staff.require(Right.KNOWLEDGE, T)
    with pytest.raises(NotAllowed, match="does not cover"):
        staff.require(Right.READ, TenantId("other"))


def test_a_refusal_names_the_role_that_it_takes():
    with pytest.raises(NotAllowed, match=r"viewer.*answer customers.*agent"):
        Staff(name="x", role=StaffRole.VIEWER).require(Right.ANSWER, T)


def test_a_password_is_kept_as_scrypt_and_is_its_own_only():
    kept = hashed("three glazed teapots")
    assert kept.startswith("scrypt$")
    assert "teapots" not in kept
    assert matches("three glazed teapots", kept)
    assert not matches("three glazed teapot", kept)
    assert not matches("", "")
    with pytest.raises(BadInput, match="10"):
        hashed("short")


async def test_a_session_holds_until_it_is_closed_forged_or_the_account_is_disabled(store: Store, tenant: TenantId):
    staff, name = store.staff, f"sam-{tenant}"
    await staff.add(name, StaffRole.AGENT, password=hashed(one_time_password()))
    first, second = await staff.open_session(name), await staff.open_session(name)
    found = await staff.session(first)
    assert found is not None
    assert (found.staff.name, found.staff.role, found.way, found.must_change) == (name, StaffRole.AGENT, LOCAL, True)
    token, _, signature = first.rpartition(".")
    for forged in (None, "", "x", token, f"{token}.{'0' * 64}", f"{token}x.{signature}"):
        assert await staff.session(forged) is None
    await staff.change(name, role=StaffRole.VIEWER)
    changed = await staff.session(first)
    assert changed is not None
    assert changed.staff.role is StaffRole.VIEWER
    await staff.close_session(first)
    assert await staff.session(first) is None
    await staff.disable(name)
    assert await staff.session(second) is None
    assert await staff.session(await staff.open_session(name, seconds=-1)) is None


async def test_a_new_password_ends_every_session(store: Store, tenant: TenantId):
    name = f"ari-{tenant}"
    await store.staff.add(name, StaffRole.AGENT, password=hashed(one_time_password()))
    cookie = await store.staff.open_session(name)
    await store.staff.set_password(name, hashed("another long password"))
    assert await store.staff.session(cookie) is None


async def test_an_account_vouched_for_by_another_authority_takes_no_local_one_over(store: Store, tenant: TenantId):
    await store.staff.add(f"local-{tenant}", StaffRole.OPERATOR, password=hashed(one_time_password()))
    with pytest.raises(Conflict, match="local account"):
        await store.staff.admit(f"local-{tenant}", StaffRole.VIEWER)
    await store.staff.admit(f"open-{tenant}", StaffRole.AGENT)
    await store.staff.admit(f"open-{tenant}", StaffRole.OPERATOR, tenants=[tenant])
    found = await store.staff.session(await store.staff.open_session(f"open-{tenant}", way="openid"))
    assert found is not None
    assert (found.staff.role, found.staff.tenants) == (StaffRole.OPERATOR, frozenset({tenant}))
    await store.staff.disable(f"open-{tenant}")
    with pytest.raises(NotAuthenticated):
        await store.staff.admit(f"open-{tenant}", StaffRole.AGENT)


def test_after_some_wrong_passwords_a_name_waits():
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(GUESSES):
        guesses.check("sam", "10.0.0.1")
        guesses.wrong("sam", "10.0.0.1")
    with pytest.raises(RateLimited, match="60 seconds"):
        guesses.check("sam", "10.0.0.2")
    guesses.check("ari", "10.0.0.1")
    now[0] = 61
    guesses.check("sam", "10.0.0.1")


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example", "/other", "/console/\\evil", "/console/a\nb", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(to: str):
    assert _safe(to) == "/console/"


def test_signing_in_leads_back_to_the_page():
    assert _safe("/console/kiln/inbox?x=1") == "/console/kiln/inbox?x=1"


def told(*events: Event) -> list[Recorded]:
    return [
        Recorded(position=n, tenant=T, conversation=ConversationId("c"), turn=TurnId("t"), seq=n, at=AT, event=e)
        for n, e in enumerate(events)
    ]


def test_a_turn_is_told_in_plain_words():
    events = told(
        MessageReceived(text="Where is my order 4711?"),
        IntentRecognized(route=Route.DYNAMIC, name="dynamic/order", confidence=0.9),
        PassagesRetrieved(question="order", passages=(), scores=()),
        ToolCalled(call=ToolCall(name="getOrder", arguments={"id": "4711"}, result={"state": "sent"}), milliseconds=120, text="sent"),
        DraftRejected(sentence="It comes tomorrow.", objection="no source says tomorrow"),
        ReplySent(text="It is on its way.", route=Route.DYNAMIC, confidence=0.8),
    )
    titles = [s.title for s in steps(events, {})]
    assert titles == [
        "The customer wrote",
        "Understood as dynamic/order",
        "Searched, found nothing",
        "Looked up: getOrder",
        "Kept back a sentence",
        "Answered from live data, 80% sure",
    ]
    assert "no source says tomorrow" in steps(events, {})[4].lines[0]


def test_what_an_api_said_is_told_in_words():
    order = {
        "order_no": "A-7",
        "items": ["Lumo 27", "cable"],
        "paid": True,
        "carrierName": None,
        "steps": [{"to": "Bremen"}, {"to": "Ulm"}],
    }
    assert result(order) == "order no A-7, items Lumo 27, cable, paid yes, steps to Bremen; to Ulm"
    assert result({"devices": []}) == "none"
    assert result([]) == "none"
    assert [spoken(n) for n in ("getProfile", "order_no", "SKU", "list-FAQ")] == ["Get profile", "Order no", "Sku", "List faq"]


def test_every_kind_of_event_has_words_or_is_known_to_need_none():
    from frontdesk.console.telling import _STEPS, SILENT

    assert set(kinds().values()) == set(_STEPS) | set(SILENT)


def test_a_figure_is_told_with_what_it_is_taken_among():
    figure = BY_NAME["containment"]
    assert value_of(Reading(figure=figure, value=None, count=0, among=0)) == "–"
    reading = Reading(figure=figure, value=0.5, count=2, among=4, low=0.15, high=0.85)
    assert (value_of(reading), basis_of(reading)) == ("50%", "2 of 4, 15% to 85%")
    wait = Reading(figure=BY_NAME["queue"], value=75.0, count=3, among=3)
    assert (value_of(wait), basis_of(wait)) == ("75 s", "over 3 conversations")


def test_the_tone_is_drawn_by_speaker_or_of_the_customers_by_part_over_the_whole_period():
    def heard(speaker: str, part: str, score: float) -> MoodRow:
        return MoodRow(at=AT, speaker=speaker, part=part, score=score, utterances=3, negative=1)

    span = (AT - timedelta(days=7), AT)
    speakers = charts.moods([heard("customer", "", 0.1), heard("desk", "", 0.2)], span)
    assert [s["name"] for s in speakers["series"]] == ["Customer", "Desk"]
    assert (speakers["xAxis"]["min"], speakers["xAxis"]["max"]) == (span[0].isoformat(), AT.isoformat())
    parts = charts.moods([heard("customer", p, 0.1) for p in ("chat", "voice", "")] + [heard("desk", "chat", 0.9)])
    assert [s["name"] for s in parts["series"]] == ["chat", "none", "voice"]
    assert [s["data"][0][1] for s in parts["series"]] == [0.1, 0.1, 0.1]
    assert "min" not in parts["xAxis"]
    seen = Reading(figure=BY_NAME["rated"], value=0.0, count=0, among=4)
    bars = charts.counts([(datetime(2026, 5, 3, tzinfo=UTC), seen)], "Conversations", span, timedelta(days=1))["series"][0]["data"]
    assert [n for _, n in bars] == [0, 0, 0, 0, 0, 4, 0]


def test_a_line_breaks_off_where_nobody_spoke():
    at = [AT, AT + timedelta(minutes=1), AT + timedelta(minutes=40)]
    values = [y for _, y in charts.line("x", [(t, 0.5) for t in at], silence=timedelta(minutes=10))["data"]]
    assert values == [0.5, 0.5, None, 0.5]
    assert len(charts.line("x", [(t, 0.5) for t in at])["data"]) == 3


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.42, "0.42 s"), (3.2, "3.2 s"), (45, "45 s"), (600, "10 min"), (10_000, "3 h"), (400_000, "5 d")]
)
def test_durations_are_short(seconds: float, words: str):
    assert duration(seconds) == words


def test_how_long_ago_is_told_for_people():
    assert ago(AT, AT + timedelta(seconds=2)) == "just now"
    assert ago(AT, AT + timedelta(minutes=30)) == "30 min ago"


# --- the FAQ as a file ---


FAQ = """\
# approved by the owner
- {question: Do you fire special orders?, answer: "Yes, within 21 days."}
- question: Are cups safe?   # asked daily
  answer: Yes.
"""


def read(text: str | bytes) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # as the tenant's folder is read


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "faq.yaml").write_text(FAQ)
    (tmp_path / "knowledge").mkdir()
    return Folder(Tenant(id=T, name="Kiln", folder=tmp_path))


def test_an_edited_pair_is_written_and_the_others_keep_their_lines(folder: Folder):
    pair = FaqPair(question="Do you fire special orders?", answer="Yes: within 9 days, “free”.")
    made = folder.faq_bytes([Change(was=pair.question, pair=pair)]).decode()
    assert "# approved by the owner" in made
    assert "# asked daily" in made
    assert read(made)[0] == {"question": pair.question, "answer": pair.answer}


def test_pairs_are_added_and_removed(folder: Folder):
    made = folder.faq_bytes([Change(was="are cups  SAFE?", pair=None), Change(was="", pair=FaqPair(question="New?", answer="a: b\n- c"))])
    assert [r["question"] for r in read(made)] == ["Do you fire special orders?", "New?"]
    assert read(made)[1]["answer"] == "a: b\n- c"
    assert read(folder.faq_bytes([Change(was=p.question, pair=None) for p in folder.pairs()])) == []


@pytest.mark.parametrize("name", ["faq.csv", "faq.jsonl"])
def test_an_faq_in_another_format_stays_in_it(folder: Folder, tmp_path: Path, name: str):
    (tmp_path / "faq.yaml").unlink()
    (tmp_path / name).write_text('question,answer\nA?,"b, c"\n' if name.endswith("csv") else '{"question": "A?", "answer": "b, c"}\n')
    folder.write(name, folder.faq_bytes([Change(was="", pair=FaqPair(question="D?", answer='e, "f"'))]))
    assert folder.pairs() == [FaqPair(question="A?", answer="b, c"), FaqPair(question="D?", answer='e, "f"')]


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(folder: Folder):
    mine = Change(was="Are cups safe?", pair=FaqPair(question="Are cups safe?", answer="Mine."), stood="Yes, they were.")
    with pytest.raises(Conflict, match="Somebody else"):
        applied(folder.pairs(), [mine])
    with pytest.raises(Conflict, match="not in the FAQ any more"):
        applied(folder.pairs(), [Change(was="Gone?", pair=None)])
    with pytest.raises(Conflict, match="Two pairs"):
        applied(folder.pairs(), [Change(was="", pair=FaqPair(question="are cups safe?", answer="x"))])


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(folder: Folder, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Conflict, match=r"^The folder of Kiln cannot be written \(.*\): edit its files"):
        folder.write("file/faq.yaml", b"")
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("name", ["../x.md", "/etc/x.md", ".hidden.md", "a/../../x.md", "x.exe", "", "a\nb.md"])
def test_a_document_stays_in_its_folder(folder: Folder, name: str):
    with pytest.raises(BadDocument):
        folder.document(name)


def test_an_empty_pair_is_refused():
    with pytest.raises(BadInput, match="question and an answer"):
        checked_pair("  ", "x")


async def test_drafts_and_versions_survive(store: Store, tenant: TenantId):
    work = store.for_tenant(tenant).work
    await work.put_draft("sam", "faq", {"changes": [1]})
    await work.put_draft("sam", "faq", {"changes": [1, 2]})
    assert await work.draft("sam", "faq") == {"changes": [1, 2]}
    assert await work.draft("ari", "faq") == {}
    assert [await work.add_version("faq.yaml", c, actor="sam") for c in (b"a", b"b", None)] == [1, 2, 3]
    assert await work.content("faq.yaml", 1) == b"a"
    assert await work.newest("faq.yaml") is None
    assert [v.version for v in await work.versions("faq.yaml")] == [3, 2, 1]


# --- what happens now, and panels ---


def test_a_feed_keeps_the_newest_conversations_and_who_has_them(store: Store):
    feed = Feed(store, T)
    for n in range(100):
        feed.take(
            Recorded(
                position=n,
                tenant=T,
                conversation=ConversationId(f"c{n}"),
                turn=TurnId("t"),
                seq=1,
                at=AT,
                event=MessageReceived(text=str(n)),
            )
        )
    feed.take(
        Recorded(
            position=101,
            tenant=T,
            conversation=ConversationId("c99"),
            turn=TurnId("t"),
            seq=2,
            at=AT,
            event=HandedOff(category="anger", summary="s"),
        )
    )
    newest = feed.newest(3)
    assert [g.id for g in newest] == ["c99", "c98", "c97"]
    assert newest[0].owner is Owner.QUEUE
    assert len(feed.going) == 60
    feed.take(
        Recorded(
            position=102, tenant=T, conversation=ConversationId("c1"), turn=TurnId(""), seq=3, at=AT, event=KnowledgeGapFound(question="?")
        )
    )
    assert feed.newest(1)[0].doing == "found no source"


def test_the_documented_panel_loads(tmp_path: Path):
    block = next(b for b in blocks_of(ROOT / "docs/how-to/add-a-panel.md") if b.file == "panels/worst_today.py")
    (tmp_path / "worst_today.py").write_text(block.text)
    (panel,) = load_panels(str(tmp_path))
    assert (panel.name, panel.title, panel.icon) == ("worst_today", "Worst today", "mood_bad")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("broken.py", "1/0", "ZeroDivisionError"), ("empty.py", "", "no `async def panel"), ("Bad Name.py", "", "small letters")],
)
def test_a_panel_that_cannot_be_loaded_is_named(tmp_path: Path, name: str, text: str, said: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        load_panels(str(tmp_path))
