"""API keys: shown once, hashed, revocable."""

from __future__ import annotations

import re

import psycopg
import pytest

from frontdesk.domain.tenancy import Caller, Role, TenantId
from frontdesk.errors import NotAuthenticated, NotFound
from frontdesk.store import Store
from frontdesk.store.keys import Recent, tenant_of


async def test_a_key_names_its_tenant_and_carries_256_bits(tenant_store, tenant):
    assert re.fullmatch(rf"fd_{tenant}_[A-Za-z0-9_-]{{43}}", await tenant_store.keys.create(Role.SERVER))


@pytest.mark.parametrize("role", list(Role))
async def test_a_key_verifies_with_its_role(store: Store, tenant_store, tenant, role):
    secret = await tenant_store.keys.create(role)
    (info,) = await tenant_store.keys.list()
    assert await store.verify(secret) == Caller(tenant=tenant, key=info.id, role=role)


async def test_a_tenant_whose_name_has_underscores_has_working_keys(store: Store):
    tenant = TenantId("a_b__c-d")
    assert (await store.verify(await store.for_tenant(tenant).keys.create(Role.WIDGET))).tenant == tenant


@pytest.mark.parametrize(
    "secret", ["", "fd_", "Bearer x", "fd_acme_short", "fd__" + "x" * 43, "fd_acme_" + "x" * 43, "fd_a\0b_" + "x" * 43]
)
async def test_what_is_no_key_of_ours_is_not_authenticated(store: Store, secret):
    with pytest.raises(NotAuthenticated):
        await store.verify(secret)


async def test_a_key_with_one_other_character_is_not_authenticated(store: Store, tenant_store):
    secret = await tenant_store.keys.create(Role.SERVER)
    with pytest.raises(NotAuthenticated):
        await store.verify(secret[:-1] + ("A" if secret[-1] != "A" else "B"))


async def test_a_key_with_another_tenants_name_in_it_is_not_authenticated(store: Store, tenant_store):
    secret = await tenant_store.keys.create(Role.SERVER)
    with pytest.raises(NotAuthenticated):
        await store.verify(f"fd_other_{secret[-43:]}")
    with pytest.raises(NotAuthenticated):
        await store.for_tenant(TenantId("other")).keys.verify(secret)


async def test_a_revoked_key_is_refused_at_once(store: Store, tenant_store):
    secret = await tenant_store.keys.create(Role.SERVER)
    await store.verify(secret)
    (info,) = await tenant_store.keys.list()
    await tenant_store.keys.revoke(info.id)
    with pytest.raises(NotAuthenticated):
        await store.verify(secret)
    assert (await tenant_store.keys.list())[0].revoked_at is not None


async def test_revoking_an_unknown_key_is_not_found(tenant_store):
    with pytest.raises(NotFound):
        await tenant_store.keys.revoke("key_none")


def test_a_verified_key_is_remembered_for_two_seconds_at_most():
    now = [0.0]
    recent = Recent(clock=lambda: now[0])
    recent.put(b"d", ("key_a", Role.SERVER))
    now[0] = 1.9
    assert recent.get(b"d") is not None
    now[0] = 2.0
    assert recent.get(b"d") is None


def test_remembered_keys_do_not_grow_without_bound():
    recent = Recent(size=10)
    for n in range(100):
        recent.put(str(n).encode(), ("key_a", Role.SERVER))
    assert [recent.get(str(n).encode()) is not None for n in (0, 99)] == [False, True]


async def test_no_table_holds_the_secret(database_url, tenant_store):
    secret = await tenant_store.keys.create(Role.SERVER)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select row_to_json(k)::text from frontdesk.keys k where tenant = %s", [tenant_store.tenant]).fetchall()
    assert len(rows) == 1
    assert secret[-34:] not in rows[0][0]


def test_the_tenant_of_a_key_is_what_stands_before_the_secret():
    assert tenant_of("fd_my_shop_" + "_" * 43) == "my_shop"
