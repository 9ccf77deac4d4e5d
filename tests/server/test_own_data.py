"""One's own data: seen, corrected, erased everywhere, kept no longer than the tenant says."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from frontdesk.analytics.folding import row_data
from frontdesk.analytics.metrics import Row
from frontdesk.domain.conversation import TurnId
from frontdesk.domain.events import HandedOff, KnowledgeGapFound, MessageReceived
from frontdesk.domain.tenancy import CustomerId, KeyId, Retention, Tenant
from frontdesk.rights.erasing import Eraser, digest
from frontdesk.store.ledger import ToneRow
from frontdesk.store.rehearsals import TalkRow
from frontdesk.training import erasing, shards

from .conftest import REPLY, Served
from .test_native import Caller

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "my cat Zebulon"


async def _spoken(space: Any, customer: str) -> str:
    """A conversation that left a trace in every place."""
    id = await space.conversations.open(key=KeyId("k"), customer=CustomerId(customer), channel="chat")
    said = [
        MessageReceived(text=f"It is about {SECRET}."),
        KnowledgeGapFound(question=f"Where is {SECRET}?"),
        HandedOff(category="requested", summary=SECRET),
        REPLY,
    ]
    await space.conversations.append(id, TurnId("t1"), said)
    row = row_data(Row(conversation=id, opened_at=NOW, last_at=NOW, seq=1))
    await space.ledger.advance("ledger", 1, [id], lambda _reached, _known: [row])
    await space.ledger.hear("tones", 1, [ToneRow(conversation=id, seq=1, at=NOW, speaker="customer", label="neutral", score=0.0)])
    await space.deployments.propose(kind="faq", source="gap", question=f"Where is {SECRET}?", conversation=id)
    await space.rehearsals.begin(f"{space.tenant}.{customer}", {}, 1)
    talk = TalkRow(number=0, scenario="s", outcome="done", passed=True, faults=(), talk={"said": SECRET}, conversation=id)
    await space.rehearsals.keep(f"{space.tenant}.{customer}", [talk])
    await space.work.put_draft("sam", f"c-{customer}", {"text": SECRET}, conversation=id)
    return str(id)


def _files(data: Path, id: str) -> None:
    shards.write([{"origin": f"conversation:{id}", "text": SECRET}, {"origin": "faq", "text": "kept"}], data / "runs" / "run-1" / "data")
    (data / "exports").mkdir()
    (data / "exports" / "all.jsonl").write_text(
        json.dumps({"conversation": id, "text": SECRET}) + "\n" + json.dumps({"conversation": "cv_x"}) + "\n"
    )
    with (data / "exports" / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["conversation", "text"], [id, f'{SECRET},\n"so"'], ["cv_x", "kept"]])
    (data / "improve" / "a").mkdir(parents=True)
    (data / "improve" / "a" / "faq.jsonl").write_text(json.dumps({"question": f"Where is {SECRET}?", "answer": "Home."}) + "\n")


async def test_an_erasure_reaches_every_place_and_gives_a_receipt_that_names_nobody(store, tenant_store, tenant, database_url, tmp_path):
    id, other = await _spoken(tenant_store, "anna"), await _spoken(tenant_store, "bert")
    _files(tmp_path, id)
    eraser = Eraser(tmp_path, forget=lambda conversation: erasing.forget(tmp_path, conversation))
    receipt = await eraser.customer(tenant_store, CustomerId("anna"), actor="k")

    assert receipt.conversations == 1
    places = {
        "events",
        "handoffs",
        "turns",
        "ledger",
        "tones",
        "staff_drafts",
        "rehearsed",
        "proposals",
        "training_examples",
        "export_rows",
    }
    assert places <= set(receipt.places)
    assert receipt.places["export_rows"] == 2
    assert receipt.retrain == ("run-1",)
    assert receipt.sha256 == digest(vars(receipt))
    kept = (await tenant_store.desk.audit_trail())[-1]
    assert (kept.action, kept.detail["sha256"], kept.hash) == ("customer.erase", receipt.sha256, receipt.audit)
    assert (await tenant_store.desk.audit_verify(head=receipt.audit)).intact
    assert "anna" not in str(receipt)
    assert id not in json.dumps(kept.detail)

    left = [p.read_text() for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(SECRET in text or id in text for text in left)
    assert any("kept" in text for text in left)
    with psycopg.connect(database_url) as owner:
        tables = [
            r[0] for r in owner.execute("select relname from pg_class where relnamespace = 'frontdesk'::regnamespace and relkind = 'r'")
        ]
        for table in tables:
            found = owner.execute(f"select count(*) from frontdesk.{table} t where strpos(t::text, %s) > 0", [id]).fetchone()
            assert found == (0,), table
    assert (await tenant_store.conversations.load(other, any_caller=True)).customer == "bert"


async def test_an_export_as_parquet_loses_the_rows_too(tenant_store, tmp_path):
    import duckdb

    id = await _spoken(tenant_store, "anna")
    (tmp_path / "exports").mkdir()
    file = tmp_path / "exports" / "all.parquet"
    with duckdb.connect() as base:
        base.execute(f"copy (select '{id}' as conversation, 'x' as text union all select 'cv_x', 'kept') to '{file}' (format parquet)")
    receipt = await Eraser(tmp_path).customer(tenant_store, CustomerId("anna"), actor="k")
    assert receipt.places["export_rows"] == 1
    with duckdb.connect() as base:
        assert base.execute(f"select conversation from read_parquet('{file}')").fetchall() == [("cv_x",)]


async def test_retention_erases_what_is_older_and_nothing_else(store, tenant_store, tenant, database_url, tmp_path):
    old, fresh = await _spoken(tenant_store, "anna"), await _spoken(tenant_store, "bert")
    with psycopg.connect(database_url) as owner:
        owner.execute("update frontdesk.conversations set updated_at = %s where id = %s", [datetime.now(UTC) - timedelta(days=31), old])
    keeps = Tenant(id=tenant, name="T", retention=Retention(days=30))
    eraser = Eraser(tmp_path)
    assert await eraser.retain(tenant_store, Tenant(id=tenant, name="T"), actor="retention") is None
    receipt = await eraser.retain(tenant_store, keeps, actor="retention")
    assert receipt is not None
    assert (receipt.reason, receipt.conversations) == ("retention", 1)
    assert await eraser.retain(tenant_store, keeps, actor="retention") is None
    assert [c.conversation_id for c in await tenant_store.conversations.list()] == [fresh]


def test_a_customer_corrects_what_they_said(served: Served):
    mine, other = Caller(served, customer="cust-8"), Caller(served, customer="cust-9")
    conversation = mine.open()
    turn = mine.say(conversation, "My order is 4711.").json()["turn_id"]
    mine.settle(conversation, 2)
    where = f"/api/me/conversations/{conversation}/corrections"
    got = mine.http.post(where, json={"turn_id": turn, "text": "My order is 4712."})
    assert got.status_code == 201
    assert "4712" in got.text
    assert "4711" not in got.text
    assert "4712" in mine.http.get(f"/api/conversations/{conversation}").text
    assert [e["kind"] for e in mine.http.get("/api/me/export").json()["conversations"][0]["events"]][-1] == "message_corrected"
    assert other.http.post(where, json={"turn_id": turn, "text": "Mine"}).status_code == 404
    assert mine.http.post(where, json={"turn_id": "nonesuch", "text": "Mine"}).status_code == 404
    assert mine.http.post(where, json={"turn_id": turn, "text": " "}).status_code == 400


def test_a_customer_erases_one_conversation_and_gets_a_receipt(served: Served):
    mine, other = Caller(served, customer="cust-8"), Caller(served, customer="cust-9")
    first, second, theirs = mine.open(), mine.open(), other.open()
    assert mine.http.delete(f"/api/me/conversations/{theirs}").status_code == 404
    got = mine.http.delete(f"/api/me/conversations/{first}").json()
    assert (got["conversations"], got["receipt"]["reason"]) == (1, "conversation")
    assert mine.http.get(f"/api/conversations/{first}").status_code == 404
    assert mine.http.get(f"/api/conversations/{second}").status_code == 200
    assert mine.http.delete(f"/api/me/conversations/{first}").status_code == 404
