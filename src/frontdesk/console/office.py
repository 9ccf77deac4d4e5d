"""What the console needs from the running program: what the server has, and the models behind it. Holds no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

from frontdesk.desk.briefing import Briefings
from frontdesk.desk.reading import Reader
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.knowledge.library import Library
from frontdesk.models.protocols import Embedder, LanguageModel
from frontdesk.server.office import FrontOfficePort
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.tools.catalog import Catalog


class Office(Protocol):
    """The running program."""

    @property
    def settings(self) -> Settings: ...
    @property
    def store(self) -> Store: ...
    @property
    def library(self) -> Library: ...
    @property
    def tenants(self) -> MutableMapping[TenantId, Tenant]: ...
    @property
    def catalogs(self) -> Mapping[TenantId, Catalog]: ...
    @property
    def embedder(self) -> Embedder: ...
    @property
    def model(self) -> LanguageModel | None: ...
    @property
    def reader(self) -> Reader: ...
    @property
    def briefings(self) -> Briefings: ...
    @property
    def translator(self) -> Callable[[Tenant], LanguageModel | None]: ...
    @property
    def front_office(self) -> FrontOfficePort: ...
    @property
    def reports(self) -> MutableMapping[TenantId, Any]: ...
    async def readiness(self) -> Mapping[str, Any]:
        """See `server.office.Office`."""
        ...
