"""A tenant's log as files and tables: nothing is lost on the way, nothing runs, nothing of others is seen."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.analytics.export_choices import Format, What
from frontdesk.analytics.exporting import SCHEMA, Table, _cell, _uncell, query, read, table, text, write
from frontdesk.analytics.service import Analytics
from frontdesk.domain.conversation import Route, ToolCall, TurnId
from frontdesk.domain.events import IntentRecognized, MessageReceived, ReplySent, ToolCalled
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.errors import BadInput
from frontdesk.store.store import Store

OURS, THEIRS = TenantId("exports-ours"), TenantId("exports-theirs")
STARTED = '=HYPERLINK("http://evil.example")\nand "more", \u2028 é 漢字'


async def told(store: Store, tenant: TenantId, message: str) -> None:
    space = store.for_tenant(tenant)
    conversation = await space.conversations.open(key=KeyId("key"), customer=None, channel="api")
    call = ToolCall(name="getStock", arguments={"item": "lamp"}, result={"left": 3})
    await space.conversations.append(
        conversation,
        TurnId("t1"),
        [
            MessageReceived(text=message),
            IntentRecognized(route=Route.DYNAMIC, name="dynamic/live", confidence=0.9),
            ToolCalled(call=call, milliseconds=4.0, text="3"),
            ReplySent(
                text="There are 3 left.",
                route=Route.DYNAMIC,
                confidence=0.9,
                tool_calls=(call,),
                citations=(Citation(source="faq", title="Stock", quote="We keep lamps."),),
            ),
        ],
    )


@pytest.fixture(scope="module")
async def tables(store: Store) -> dict[What, Table]:
    await told(store, OURS, STARTED)
    await told(store, OURS, "-1 + 1")
    await told(store, THEIRS, "a secret of another tenant")
    analytics = Analytics(store, {})
    return {what: await table(store, analytics, OURS, what) for what in What}


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("what", list(What))
def test_what_is_written_is_read_back_whole(tables: dict[What, Table], tmp_path: Path, what: What, form: Format) -> None:
    made = tables[what]
    write(made, tmp_path / "out", form)
    assert read(tmp_path / "out", form, made.columns) == made.rows
    assert made.rows
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_each_turn_is_one_row_with_what_was_done(tables: dict[What, Table]) -> None:
    first = tables[What.TURNS].rows[0]
    assert (first["message"], first["reply"], first["route"]) == (STARTED, "There are 3 left.", "dynamic")
    assert (first["calls"], first["calls_failed"], first["intent"], first["handoff"]) == (1, 0, "dynamic/live", False)
    assert [name for name, _ in SCHEMA[What.TURNS]] == list(first)


def test_a_spreadsheet_finds_no_formula(tables: dict[What, Table]) -> None:
    rows = list(csv.DictReader(text(tables[What.MESSAGES], Format.CSV).splitlines(keepends=True)))
    customers = [r["text"] for r in rows if r["role"] == "customer"]
    assert customers[1] == "'-1 + 1"
    assert all(not value.startswith(("=", "-", "+", "@")) for value in customers)


@given(st.text())
def test_any_text_survives_its_cell(value: str) -> None:
    assert _uncell(_cell(value, "text"), "text") == value
    assert not _cell(value, "text").startswith(("=", "+", "-", "@", "\t", "\r"))


def test_sql_sees_this_tenant_alone(tables: dict[What, Table]) -> None:
    names, rows = query(tables, "select role, count(*) as n from messages group by role order by role")
    assert (names, rows) == (["role", "n"], [("customer", 2), ("desk", 2)])
    assert query(tables, "select count(*) from events where event->>'text' like '%secret%'")[1] == [(0,)]
    assert query(tables, "select count(*) from outcomes")[1] == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "drop table messages",
        "insert into messages select * from messages",
        "select 1; select 2",
        "copy messages to '/tmp/x.csv'",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "attach '/tmp/other.db'",
        "set enable_external_access=true",
        "select * from nothing",
        "selec",
        "",
    ],
)
def test_a_query_cannot_leave_its_tables(tables: dict[What, Table], sql: str) -> None:
    with pytest.raises(BadInput):
        query(tables, sql)


def test_a_folder_that_is_not_there_is_said_and_leaves_nothing(tables: dict[What, Table], tmp_path: Path) -> None:
    for form in Format:
        with pytest.raises(BadInput, match="cannot be written"):
            write(tables[What.TURNS], tmp_path / "no" / "file", form)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not ours")
    columns: tuple[tuple[str, Any], ...] = SCHEMA[What.TURNS]
    for form in Format:
        with pytest.raises(BadInput, match="export it again"):
            read(tmp_path / "x", form, columns)
