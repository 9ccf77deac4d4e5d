"""Migrations: each once, by whoever comes first, and never on a database that somebody changed."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from urllib.parse import urlsplit

import psycopg
import pytest

from frontdesk.domain.tenancy import Role, TenantId
from frontdesk.errors import StoreUnavailable
from frontdesk.settings import Settings
from frontdesk.store import Store
from frontdesk.store.migrating import Migration, migrate, migrations


@pytest.fixture
def fresh_url(database_url):
    """URL of a new, empty database on the suite's server."""
    name = f"d{secrets.token_hex(6)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield urlsplit(database_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


async def test_every_migration_is_applied_once_and_recorded(fresh_url):
    await migrate(fresh_url)
    await migrate(fresh_url)
    recorded = rows(fresh_url, "select number, name, checksum from frontdesk.migrations order by number")
    assert recorded == [(m.number, m.name, m.checksum) for m in migrations()]


async def test_migrations_have_a_number_each_and_run_in_its_order():
    numbers = [m.number for m in migrations()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1


FROZEN = {"0001_base.sql": "6d26c40f97e34b6f5656a512767fd87fd3fdb52b5305324b9383988c4893573a"}
"""SHA-256 of migrations that ran somewhere: they never change again; what should be otherwise is a new file."""


@pytest.mark.parametrize("name", FROZEN)
async def test_a_migration_that_ran_somewhere_never_changes(name):
    (migration,) = [m for m in migrations() if m.name == name]
    assert hashlib.sha256(migration.text.encode()).hexdigest() == FROZEN[name]


async def test_five_processes_that_migrate_at_once_agree(fresh_url):
    secrets_seen = await asyncio.gather(*(migrate(fresh_url) for _ in range(5)))
    assert len(set(secrets_seen)) == 1


async def test_a_failing_migration_leaves_no_trace(fresh_url):
    broken = Migration(number=migrations()[-1].number + 1, name="0099_broken.sql", text="create table half (a int); select 1 / 0;")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(fresh_url, [*migrations(), broken])
    assert rows(fresh_url, "select 1 from pg_class where relname = 'half'") == []
    await migrate(fresh_url)


async def test_a_database_of_a_newer_program_is_refused_with_a_remedy(fresh_url):
    newer = Migration(number=migrations()[-1].number + 1, name="0099_newer.sql", text="select 1;")
    await migrate(fresh_url, [*migrations(), newer])
    with pytest.raises(StoreUnavailable, match="upgrade"):
        await migrate(fresh_url)


async def test_a_migration_that_was_altered_after_it_ran_is_refused(fresh_url):
    await migrate(fresh_url)
    first, *others = migrations()
    altered = Migration(number=first.number, name=first.name, text=first.text + "\n-- altered")
    with pytest.raises(StoreUnavailable, match=first.name):
        await migrate(fresh_url, [altered, *others])


async def test_any_postgres_url_serves_in_place_of_the_embedded_one(fresh_url, tmp_path):
    store = await Store.open(Settings(data=tmp_path / "unused", database_url=fresh_url))
    try:
        tenant = store.for_tenant(TenantId("acme"))
        assert (await store.verify(await tenant.keys.create(Role.SERVER))).tenant == "acme"
        assert not (tmp_path / "unused").exists()
    finally:
        await store.close()


async def test_an_owner_without_superuser_rights_is_enough(fresh_url, database_url, tmp_path):
    name = f"o{secrets.token_hex(6)}"
    with psycopg.connect(fresh_url, autocommit=True) as connection:
        connection.execute("create extension vector")
        connection.execute(f"create role {name} login createrole")
        for role in ("frontdesk_app", "frontdesk_tail", "frontdesk_search", "frontdesk_erase"):
            connection.execute(f"grant {role} to {name} with admin true, set true, inherit false")
        connection.execute(f"grant create on database {connection.info.dbname} to {name}")
    parts = urlsplit(fresh_url)
    store = await Store.open(Settings(data=tmp_path, database_url=parts._replace(netloc=f"{name}@").geturl()))
    try:
        tenant = store.for_tenant(TenantId("acme"))
        assert (await store.verify(await tenant.keys.create(Role.SERVER))).tenant == "acme"
    finally:
        await store.close()
        with psycopg.connect(fresh_url, autocommit=True) as connection:
            connection.execute(f"reassign owned by {name} to postgres; drop owned by {name}; drop role {name}")


async def test_a_server_that_cannot_be_reached_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await Store.open(Settings(data=tmp_path, database_url="postgresql://nobody@127.0.0.1:9/none"))


async def test_the_signing_secret_is_the_same_after_a_restart_and_long_enough(fresh_url, tmp_path):
    seen = set()
    for _ in range(2):
        store = await Store.open(Settings(data=tmp_path, database_url=fresh_url))
        seen.add(await store.signing_secret())
        await store.close()
    assert len(seen) == 1
    assert len(seen.pop()) >= 32
