"""Brings a database up to this program's schema: roles, then numbered SQL files, each once. Refuses one that is newer or was altered.

Two processes may do this at once: an advisory lock lets the second wait, and it then finds everything done.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, sql

from frontdesk.errors import StoreUnavailable
from frontdesk.store.database import APP_ROLE, SCHEMA, TAIL_ROLE, translated

_LOCK = 0x66726F6E7464
_LOGIN_ROLES = (APP_ROLE, TAIL_ROLE)
_ROLES = (*_LOGIN_ROLES, "frontdesk_search", "frontdesk_erase")


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The files of `migrations/`, in order."""
    files = sorted((f for f in (resources.files(__package__) / "migrations").iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(number=int(f.name[:4]), name=f.name, text=f.read_text("utf-8")) for f in files]


async def migrate(url: str, steps: list[Migration] | None = None) -> str:
    """Apply what is missing, as the owner that `url` names; the signing secret kept in this database.

    Raises StoreUnavailable with what to do when the database cannot be used.
    """
    with translated():
        async with await AsyncConnection.connect(url, autocommit=True, connect_timeout=10) as connection:
            await connection.execute("select pg_advisory_lock(%s)", [_LOCK])
            try:
                await _prepare(connection)
                await _apply(connection, migrations() if steps is None else steps)
                return await _signing_secret(connection)
            finally:
                if not connection.closed and not connection.broken:
                    await connection.execute("select pg_advisory_unlock(%s)", [_LOCK])


async def _prepare(connection: AsyncConnection[Any]) -> None:
    # When everything is there, nothing is executed that would need an owner's rights or a lock.
    await connection.execute("set client_min_messages = warning")
    have = await (await connection.execute("select rolname from pg_roles where rolname = any(%s)", [list(_ROLES)])).fetchall()
    for role in set(_ROLES) - {row[0] for row in have}:
        login = sql.SQL("login" if role in _LOGIN_ROLES else "nologin")
        create = sql.SQL("create role {} {} nosuperuser nocreatedb nocreaterole nobypassrls noinherit")
        try:
            await connection.execute(create.format(sql.Identifier(role), login))
        except psycopg.errors.DuplicateObject:
            continue  # roles are shared by the databases of a server; another one was faster
    member = await (await connection.execute("select bool_and(pg_has_role(r, 'SET')) from unnest(%s::name[]) r", [list(_ROLES)])).fetchone()
    if member is None or not member[0]:
        for role in _ROLES:
            await connection.execute(sql.SQL("grant {} to current_user with set true, inherit false").format(sql.Identifier(role)))
    weak = "select rolname from pg_roles where rolname = any(%s) and (rolsuper or rolbypassrls)"
    if (row := await (await connection.execute(weak, [list(_ROLES)])).fetchone()) is not None:
        raise StoreUnavailable(f"the database role {row[0]} may bypass row-level security: take SUPERUSER and BYPASSRLS from it")
    if await (await connection.execute("select 1 from pg_namespace where nspname = %s", [SCHEMA])).fetchone() is None:
        await connection.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
    await _require_pgvector(connection)
    await connection.execute(sql.SQL("set search_path = {}, public").format(sql.Identifier(SCHEMA)))
    await connection.execute(
        "create table if not exists migrations (number int primary key, name text not null, checksum text not null,"
        " applied_at timestamptz not null default clock_timestamp())"
    )


async def _require_pgvector(connection: AsyncConnection[Any]) -> None:
    find: LiteralString = (
        "select string_to_array(regexp_replace(extversion, '[^0-9.].*', ''), '.')::int[] >= array[0,8] from pg_extension"
        " where extname = 'vector'"
    )
    if (row := await (await connection.execute(find)).fetchone()) is None:
        try:
            await connection.execute("create extension if not exists vector schema public")
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise StoreUnavailable("this PostgreSQL lacks pgvector: install its extension `vector`, 0.8 or newer") from error
        row = await (await connection.execute(find)).fetchone()
    if row is None or not row[0]:
        raise StoreUnavailable("this PostgreSQL has an old pgvector: run `alter extension vector update` to 0.8 or newer")


async def _apply(connection: AsyncConnection[Any], steps: list[Migration]) -> None:
    rows = await (await connection.execute("select number, name, checksum from migrations order by number")).fetchall()
    applied = {number: (name, checksum) for number, name, checksum in rows}
    known = {step.number: step for step in steps}
    for number, (name, checksum) in applied.items():
        if number not in known:
            raise StoreUnavailable(f"the database was written by a newer frontdesk (migration {name}): upgrade this one")
        if known[number].checksum != checksum:
            raise StoreUnavailable(
                f"migration {name} in the database differs from this program's: use the release that wrote it, or an empty data folder"
            )
    for step in steps:
        if step.number in applied:
            continue
        async with connection.transaction():
            await connection.execute(step.text.encode())
            await connection.execute(
                "insert into migrations (number, name, checksum) values (%s, %s, %s)", [step.number, step.name, step.checksum]
            )


async def _signing_secret(connection: AsyncConnection[Any]) -> str:
    await connection.execute(
        "insert into meta (name, value) values ('signing_secret', %s) on conflict (name) do nothing", [secrets.token_urlsafe(32)]
    )
    row = await (await connection.execute("select value from meta where name = 'signing_secret'")).fetchone()
    return str(row[0]) if row else ""
