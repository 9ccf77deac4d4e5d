"""The stage of a rehearsal: opens a desk, a database or a model for `frontdesk rehearse`, and closes them. Plays no part itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from frontdesk import wiring
from frontdesk.analytics.sentiment import Sentiment
from frontdesk.domain.tenancy import CustomerId, Tenant, TenantId
from frontdesk.errors import BadInput
from frontdesk.knowledge.tenants import load_tenants
from frontdesk.models.protocols import LanguageModel
from frontdesk.server.auth import issue_customer_token
from frontdesk.server.example_api import example_api
from frontdesk.settings import Settings
from frontdesk.store.store import Store


class Stage:
    """What `rehearsal.commands` asks for."""

    def tenant(self, settings: Settings, tenant: TenantId) -> Tenant:
        """One tenant of the folder. Raises BadInput and BadTenant."""
        served = {t.id: t for t in load_tenants(settings.tenants)}
        if tenant not in served:
            raise BadInput(f"there is no tenant {tenant!r} in {settings.tenants}: it holds {', '.join(sorted(served))}")
        return served[tenant]

    @asynccontextmanager
    async def desk(self, settings: Settings, tenant: TenantId) -> AsyncIterator[wiring.Office]:
        """A desk in this process, with this tenant and the lines behind it ready, and the examples' API where they are served."""
        self.tenant(settings, tenant)
        async with wiring.running(settings) as office, example_api(settings.tenants):
            for one in (tenant, *office.tenants[tenant].lines):
                await office.library.sync(office.tenants[one])
                await office.briefings.of(office.tenants[one])
            yield office

    @asynccontextmanager
    async def store(self, settings: Settings) -> AsyncIterator[Store]:
        """The database alone."""
        store = await Store.open(settings)
        try:
            yield store
        finally:
            await store.close()

    def model(self, settings: Settings) -> AbstractAsyncContextManager[LanguageModel | None]:
        """The language model alone; None where the settings say that there is none."""
        return wiring.talking(settings)

    async def token(self, store: Store, tenant: TenantId, customer: str) -> str:
        """A token for a customer, signed with this data folder's own secret."""
        return issue_customer_token(await store.signing_secret(), tenant, CustomerId(customer), time.time())

    def patient(self, office: wiring.Office) -> AbstractAsyncContextManager[LanguageModel | None]:
        """The language model of a desk in this process, for customers who wait their turn."""
        return wiring.patient(office)

    def sentiment(self) -> Sentiment:
        """What says how a text sounds."""
        return Sentiment.load()
