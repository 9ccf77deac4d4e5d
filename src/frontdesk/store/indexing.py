"""A vector index of its own for each tenant that grew large (HNSW). Small tenants are scanned exactly.

One index for all tenants would be filtered after its scan and lose recall for each of them; one table partition per tenant would make
every new tenant a change of schema. A partial index costs nothing until a tenant needs it, and the planner finds it by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any

from psycopg import AsyncConnection, sql

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import FrontdeskError
from frontdesk.store.database import SCHEMA, translated

LARGE = 10_000
"""Passages from which a tenant is searched by its own index; `bench/search_scale.py` shows where the exact scan falls behind."""
_logger = logging.getLogger("frontdesk.store")


class Indexer:
    """Builds the vector indexes of large tenants in the background, as the owner of the tables."""

    def __init__(self, owner_url: str, *, large: int = LARGE) -> None:
        self._url = owner_url
        self._large = large
        self._done: set[TenantId] = set()
        self._tasks: dict[TenantId, asyncio.Task[None]] = {}

    def grown(self, tenant: TenantId, passages: int, dimensions: int) -> None:
        """Hear how large a tenant is now; starts building when it became large."""
        if passages < self._large or not dimensions or tenant in self._done or tenant in self._tasks:
            return
        self._tasks[tenant] = asyncio.create_task(self._build(tenant, dimensions), name=f"index {tenant}")

    async def settled(self) -> None:
        """Wait for what is being built."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Give up what is being built; the next replacement starts it again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _build(self, tenant: TenantId, dimensions: int) -> None:
        try:
            with translated():
                async with await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=10) as connection:
                    await self._ensure(connection, tenant, dimensions)
            self._done.add(tenant)
        except FrontdeskError as error:  # searching stays exact and right, only slower: tried again after the next change
            _logger.warning("the index of %s was not built: %s", tenant, error)
        finally:
            del self._tasks[tenant]

    async def _ensure(self, connection: AsyncConnection[Any], tenant: TenantId, dimensions: int) -> None:
        digest = hashlib.sha256(tenant.encode()).hexdigest()[:16]
        await connection.execute(sql.SQL("set search_path = {}, public").format(sql.Identifier(SCHEMA)))
        await connection.execute("set client_min_messages = warning")
        # One builder at a time, in whichever process: each wants memory and a core.
        await connection.execute("select pg_advisory_lock(hashtextextended('frontdesk indexing', 0))")
        await connection.execute("set maintenance_work_mem = '512MB'")
        await connection.execute("set statement_timeout = 0")
        await self._create(connection, f"hnsw_{digest}_{dimensions}", tenant, dimensions)
        await connection.execute("analyze passage_vectors")

    async def _create(self, connection: AsyncConnection[Any], name: str, tenant: TenantId, dimensions: int) -> None:
        find = "select indisvalid from pg_index where indexrelid = to_regclass(%s)"
        row = await (await connection.execute(find, [f"{SCHEMA}.{name}"])).fetchone()
        if row is not None and row[0]:
            return
        if row is not None:  # left unfinished by a crash
            await connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(name)))
        statement = sql.SQL(
            "create index concurrently {} on passage_vectors using hnsw ((embedding::halfvec({})) halfvec_ip_ops)"
            " with (m = 16, ef_construction = 128) where tenant = {}"
        )
        await connection.execute(statement.format(sql.Identifier(name), sql.Literal(dimensions), sql.Literal(str(tenant))))
