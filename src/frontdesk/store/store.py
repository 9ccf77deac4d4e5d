"""The database as the rest of the program sees it: open it, then go through a tenant. Nothing of a tenant is reachable otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from frontdesk.domain.tenancy import Caller, TenantId
from frontdesk.errors import BadInput, StoreUnavailable
from frontdesk.settings import Settings
from frontdesk.store.conversations import Conversations
from frontdesk.store.database import APP_ROLE, TAIL_ROLE, Database
from frontdesk.store.deployments import Deployments
from frontdesk.store.desk import DeskState
from frontdesk.store.desk_work import DeskWork
from frontdesk.store.embedded import Embedded
from frontdesk.store.indexing import LARGE, Indexer
from frontdesk.store.keys import Keys, Recent, tenant_of
from frontdesk.store.knowledge import KnowledgeStore
from frontdesk.store.ledger import Ledger
from frontdesk.store.log import EventLog
from frontdesk.store.migrating import migrate
from frontdesk.store.rehearsals import Rehearsals
from frontdesk.store.rights import Rights
from frontdesk.store.runs import TrainingRuns
from frontdesk.store.staff import StaffAccounts

WATCH_SECONDS = 0.25
"""How often the embedded server is looked after."""
_logger = logging.getLogger("frontdesk.store")


@dataclass(frozen=True, kw_only=True)
class TenantStore:
    """All that is stored of one tenant. Each method of a facet is one transaction that can see this tenant only."""

    tenant: TenantId
    conversations: Conversations
    knowledge: KnowledgeStore
    keys: Keys
    desk: DeskState
    runs: TrainingRuns
    deployments: Deployments
    rehearsals: Rehearsals
    ledger: Ledger
    work: DeskWork
    rights: Rights


class Store:
    """An open database. Make one with `Store.open`."""

    def __init__(self, *, settings: Settings, url: str, embedded: Embedded | None, secret: str, large: int) -> None:
        """For `open` only: connects to nothing yet."""
        self.url = url
        """Connection URL of the owner: for migrations and tests, never for tenant data."""
        self._settings = settings
        self._embedded = embedded
        self._secret = secret
        app, tail = (embedded.url(APP_ROLE), embedded.url(TAIL_ROLE)) if embedded else (url, url)
        self._database = Database(app, role=None if embedded else APP_ROLE)
        self.log = EventLog(tail, role=None if embedded else TAIL_ROLE)
        """The events of all tenants, for `frontdesk.events.tail`."""
        self.staff = StaffAccounts(self._database, secret.encode())
        """Who may sign in to the console."""
        self._indexer = Indexer(url, large=large)
        self._recent = Recent()
        self._tenants: dict[TenantId, TenantStore] = {}
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings, *, large: int = LARGE) -> Store:
        """Start or adopt the embedded server (or connect to `settings.database_url`), migrate, connect.

        `large`: passages from which a tenant gets its own search indexes. Raises StoreUnavailable with what to do.
        """
        embedded = None if settings.database_url else Embedded(settings.data)
        try:
            if embedded is not None:
                await asyncio.to_thread(embedded.start)
            url = embedded.url("postgres") if embedded else settings.database_url
            store = cls(settings=settings, url=url, embedded=embedded, secret=await migrate(url), large=large)
            try:
                await store._database.open()
                await store.log.open()
            except BaseException:
                await store._disconnect()
                raise
        except BaseException:
            if embedded is not None:
                await asyncio.to_thread(embedded.stop)
            raise
        if embedded is not None:
            store._watcher = asyncio.create_task(store._watch(embedded), name="frontdesk embedded database")
        return store

    def for_tenant(self, tenant: TenantId) -> TenantStore:
        """The only way in to a tenant's data. Raises BadInput for an empty id."""
        if not tenant:
            raise BadInput("a tenant id is empty: give one")
        if (known := self._tenants.get(tenant)) is None:
            known = TenantStore(
                tenant=tenant,
                conversations=Conversations(self._database, tenant, open_hours=self._settings.conversation_hours),
                knowledge=KnowledgeStore(self._database, tenant, grown=self._indexer.grown),
                keys=Keys(self._database, tenant, self._recent),
                desk=DeskState(self._database, tenant),
                runs=TrainingRuns(self._database, tenant),
                deployments=Deployments(self._database, tenant),
                rehearsals=Rehearsals(self._database, tenant),
                ledger=Ledger(self._database, tenant),
                work=DeskWork(self._database, tenant),
                rights=Rights(self._database, tenant),
            )
            if len(self._tenants) < 10_000:  # a claimed tenant id may be anything; only so many are kept
                self._tenants[tenant] = known
        return known

    async def verify(self, secret: str) -> Caller:
        """The caller behind an API key; its tenant comes from the key alone. Raises NotAuthenticated."""
        tenant = tenant_of(secret)
        key, role = await self.for_tenant(tenant).keys.verify(secret)
        return Caller(tenant=tenant, key=key, role=role)

    async def signing_secret(self) -> bytes:
        """Secret that signs development customer tokens; made once, kept in the database where only its owner reads it."""
        return self._secret.encode()

    async def ping(self) -> None:
        """One round trip. Raises StoreUnavailable."""
        await self._database.run(TenantId(""), ("select 1", {}))

    async def indexed(self) -> None:
        """Wait until the indexes that are being built in the background are there."""
        await self._indexer.settled()

    async def close(self) -> None:
        """Disconnect; the embedded server stops unless another process uses it."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self._disconnect()
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)

    async def _disconnect(self) -> None:
        await self._indexer.close()
        await self.log.close()
        await self._database.close()

    async def _watch(self, embedded: Embedded) -> None:
        """Bring the embedded server back when it died. Operations raise StoreUnavailable meanwhile."""
        pause = WATCH_SECONDS
        while True:
            await asyncio.sleep(pause)
            if embedded.alive():
                continue
            _logger.warning("the embedded database died: starting it again")
            try:
                await asyncio.to_thread(embedded.start)
                await self._database.renew()
                await self.log.renew()
                pause = WATCH_SECONDS
                _logger.warning("the embedded database is back")
            except StoreUnavailable as error:
                _logger.error("the embedded database does not start: %s", error)  # noqa: TRY400 - the sentence says it all
                pause = min(pause * 2, 5.0)
