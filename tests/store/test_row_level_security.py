"""Row-level security stands behind every tenant table, even for SQL that forgets its WHERE."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest

from frontdesk.analytics.folding import row_data
from frontdesk.analytics.metrics import Row
from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import KeyId, Role, TenantId
from frontdesk.store import NewDocument, Store
from frontdesk.store.ledger import ScoreRow, ToneRow
from frontdesk.store.rehearsals import TalkRow
from frontdesk.store.store import TenantStore

SHARED = {"meta", "migrations"}
"""Tables that hold nothing of a tenant."""
INSTALLATION = {"staff", "staff_sessions"}
"""Tables whose rows all stand under the tenant '*', which is nobody's."""
NARROW_ROLES = {"search": {"frontdesk_search"}, "tail": {"frontdesk_tail"}}
"""Further policies: for reading only, and for one role each that the application cannot take on."""

START = datetime(2026, 3, 2, tzinfo=UTC)
UNIT = np.eye(1, 8, dtype=np.float32)[0]


@pytest.fixture
def owner(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set search_path = frontdesk, public")
        yield connection


@pytest.fixture
def app(owner):
    owner.execute("set role frontdesk_app")
    return owner


def tables(connection) -> set[str]:
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'frontdesk'::regnamespace and relkind in ('r', 'p', 'm', 'v', 'f')"
    ).fetchall()
    return {row[0] for row in rows}


async def fill(store: Store, tenant: TenantId) -> None:
    """Something in every table."""
    space = store.for_tenant(tenant)
    await space.keys.create(Role.SERVER)
    id = await space.conversations.open(key=KeyId("k"), customer=None, channel="api")
    await space.conversations.append(id, TurnId("t"), [e.MessageReceived(text=f"canary {tenant}"), e.KnowledgeGapFound(question="?")])
    await space.desk.audit(actor="a", action="b", subject="c")
    await space.desk.put_blob("head", b"x")
    await fill_ledger(space, id)
    await space.deployments.add(name="faq", adapter="a", folder="f", manifest={}, actor="k")
    await space.deployments.propose(kind="faq", source="gap", question="?")
    await space.rehearsals.begin(f"{tenant}.1", {}, 1)
    await space.rehearsals.keep(f"{tenant}.1", [TalkRow(number=0, scenario="s", outcome=None, passed=None, faults=(), talk={})])
    await space.runs.create(name="run", recipe="faq", model="m", config={}, folder="f")
    await space.work.put_draft("sam", "conversation", {"text": "Hello"}, conversation=id)
    await space.work.add_version("faq.yaml", b"[]", actor="sam")
    passage = Passage(id=PassageId(""), document=DocumentId(""), source="a.md", title="A", kind=PassageKind.PROSE, text=f"canary {tenant}")
    await space.knowledge.replace(NewDocument(source="a.md", title="A", sha256="1"), [(passage, UNIT, passage.text)])


async def fill_ledger(space: TenantStore, id: ConversationId) -> None:
    """Something in every table of analytics."""
    row = row_data(Row(conversation=id, opened_at=START, last_at=START, seq=1))
    await space.ledger.advance("ledger", 1, [id], lambda _reached, _known: [row])
    await space.ledger.hear("tones", 1, [ToneRow(conversation=id, seq=1, at=START, speaker="customer", label="neutral", score=0.0)])
    score = ScoreRow(conversation=id, seq=1, rubric="r", judge="rules", at=None, total=0.5, passed=True, flags=(), criteria=())
    await space.ledger.keep_score(score)
    await space.ledger.label(id, criterion="", passed=True, by="k")


def test_every_tenant_table_forces_row_level_security(owner):
    rows = owner.execute(
        "select relname from pg_class where relnamespace = 'frontdesk'::regnamespace and relkind in ('r', 'p')"
        " and not (relrowsecurity and relforcerowsecurity)"
    ).fetchall()
    assert {row[0] for row in rows} == SHARED


def test_nothing_but_plain_tables_holds_data(owner):
    kinds = "select relname from pg_class where relnamespace = 'frontdesk'::regnamespace and relkind in ('m', 'v', 'f')"
    assert owner.execute(kinds).fetchall() == []


def test_every_tenant_table_has_a_policy_for_reading_and_for_writing(owner):
    for table in tables(owner) - SHARED:
        policies = owner.execute(
            "select policyname, permissive, roles::text[], cmd, qual, with_check from pg_policies"
            " where schemaname = 'frontdesk' and tablename = %s",
            [table],
        ).fetchall()
        main = [p for p in policies if p[0] == "tenant"]
        assert len(main) == 1, table
        _, _, roles, command, using, check = main[0]
        assert (roles, command) == (["public"], "ALL"), table
        assert using == check, table
        assert "current_setting('frontdesk.tenant'" in using, table
        for name, _, roles, command, _, check in policies:
            if name != "tenant":
                assert (set(roles), command, check) == (NARROW_ROLES[name], "SELECT", None), table


def test_every_tenant_table_refuses_an_empty_tenant(owner):
    for table in tables(owner) - SHARED:
        checks = owner.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'c'", [f"frontdesk.{table}"]
        ).fetchall()
        assert any("tenant <> ''" in check[0] for check in checks), table


def test_our_roles_own_no_table_and_cannot_bypass_policies(owner):
    rows = owner.execute("select rolname, rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname like 'frontdesk%'").fetchall()
    assert {row[0] for row in rows} == {"frontdesk_app", "frontdesk_tail", "frontdesk_search", "frontdesk_erase"}
    assert not any(any(row[1:]) for row in rows)
    owned = "select relname from pg_class where relowner in (select oid from pg_roles where rolname like 'frontdesk%')"
    assert owner.execute(owned).fetchall() == []
    members = "select 1 from pg_auth_members where member in (select oid from pg_roles where rolname like 'frontdesk%')"
    assert owner.execute(members).fetchall() == []


def test_functions_that_run_with_other_rights_are_few_and_not_for_everybody(owner):
    rows = owner.execute(
        "select proname, has_function_privilege('public', oid, 'execute'), proconfig::text from pg_proc"
        " where pronamespace = 'frontdesk'::regnamespace and prosecdef"
    ).fetchall()
    assert {row[0] for row in rows} == {"search_passages", "erase_conversations"}
    assert all(not row[1] and "search_path" in row[2] for row in rows)


async def test_without_a_tenant_no_row_of_any_table_is_visible(store: Store, tenant, app):
    await fill(store, tenant)
    for table in tables(app) - SHARED:
        assert app.execute(f"select count(*) from {table}").fetchone() == (0,), table


async def test_with_a_tenant_only_its_rows_are_visible_in_every_table(store: Store, tenant, app):
    await fill(store, tenant)
    await fill(store, TenantId(f"{tenant}-neighbour"))
    for table in tables(app) - SHARED - INSTALLATION:
        with app.transaction():
            app.execute("select set_config('frontdesk.tenant', %s, true)", [tenant])
            assert app.execute(f"select array_agg(distinct tenant) from {table}").fetchone() == ([tenant],), table


async def test_accounts_of_the_staff_are_visible_to_no_tenant(store: Store, tenant, app):
    await store.staff.add(f"sam-{tenant}", StaffRole.AGENT, password="scrypt$")
    await store.staff.open_session(f"sam-{tenant}")
    for table in INSTALLATION:
        for who, seen in ((tenant, False), ("", False), ("*", True)):
            with app.transaction():
                app.execute("select set_config('frontdesk.tenant', %s, true)", [who])
                assert (app.execute(f"select count(*) from {table}").fetchone()[0] > 0) is seen, (table, who)


@pytest.mark.parametrize("named", ["neighbour", ""])
def test_a_row_of_another_tenant_cannot_be_written(app, tenant, named):
    app.execute("select set_config('frontdesk.tenant', %s, false)", [tenant])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute("insert into conversations (tenant, id, key, channel) values (%s, 'x', 'k', 'api')", [named])


def test_a_row_cannot_be_moved_to_another_tenant(app, tenant):
    app.execute("select set_config('frontdesk.tenant', %s, false)", [tenant])
    app.execute("insert into conversations (tenant, id, key, channel) values (%s, 'x', 'k', 'api')", [tenant])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute("update conversations set tenant = 'neighbour' where id = 'x'")


@pytest.mark.parametrize("table", ["events", "audit"])
@pytest.mark.parametrize("statement", ["update {} set tenant = tenant", "delete from {}", "truncate {}"])
def test_the_application_cannot_change_or_delete_what_is_append_only(app, table, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement.format(table))


@pytest.mark.parametrize("table", sorted(SHARED))
def test_the_application_reads_no_shared_table(app, table):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(f"select * from {table}")


async def test_erasing_never_reaches_another_tenant(store: Store, tenant):
    neighbour = store.for_tenant(TenantId(f"{tenant}-neighbour")).conversations
    id = await neighbour.open(key=KeyId("k"), customer="anna", channel="api")
    assert await store.for_tenant(tenant).conversations.erase(customer="anna", id=id) == 0
    assert (await neighbour.load(id, any_caller=True)).id == id


async def test_a_thousand_interleaved_requests_on_reused_connections_never_mix_tenants(store: Store):
    mark = secrets.token_hex(4)
    spaces = [store.for_tenant(TenantId(f"{mark}-{n}")) for n in range(25)]
    for space in spaces:
        id = await space.conversations.open(key=KeyId("k"), customer=None, channel="api")
        await space.conversations.append(id, TurnId("t"), [e.MessageReceived(text=f"canary {space.tenant}")])

    at_once = asyncio.Semaphore(40)

    async def look(n: int) -> None:
        space = spaces[n % len(spaces)]
        async with at_once:
            rows = await space.conversations.list()
        assert [row.preview for row in rows] == [f"canary {space.tenant}"]

    await asyncio.gather(*(look(n) for n in range(1000)))


async def test_a_connection_forgets_its_tenant_after_a_failure(store: Store, tenant_store, app):
    for _ in range(20):
        with pytest.raises(Exception, match="no such conversation"):
            await tenant_store.conversations.append("cv_none", TurnId("t"), [e.SentenceReleased(text="x")])
    await store.ping()
    assert await store.for_tenant(TenantId("empty-one")).conversations.list() == []
