"""What the server needs from the rest of the program, as small protocols; `wiring` hands in the real ones. Holds no behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import HandedOff, Recorded
from frontdesk.domain.knowledge import Document
from frontdesk.domain.tenancy import Caller, Tenant, TenantId
from frontdesk.knowledge.library import SyncReport
from frontdesk.settings import Settings
from frontdesk.store.store import Store


class FrontOfficePort(Protocol):
    """Turns, as `desk.recording.FrontOffice` records them."""

    def talk(
        self,
        *,
        caller: Caller,
        message: str,
        history: Sequence[tuple[str, str]] = (),
        conversation: ConversationId | None = None,
        channel: str = "api",
        idempotency_key: str | None = None,
    ) -> AsyncIterator[Recorded]:
        """First MessageReceived, already durable; then the sentences; last ReplySent, or nothing when a human owns it."""
        ...

    async def hand_over(self, *, caller: Caller, conversation: ConversationId) -> HandedOff:
        """The customer asked for a human. Raises NotFound."""
        ...


class LibraryPort(Protocol):
    """A tenant's knowledge, as `knowledge.library.Library` keeps it."""

    async def sync(self, tenant: Tenant) -> SyncReport:
        """Reads the tenant's folder again."""
        ...

    async def add(self, tenant: TenantId, source: str, content: bytes) -> SyncReport:
        """Adds or replaces one document."""
        ...

    async def remove(self, tenant: TenantId, source: str) -> bool:
        """Makes a document stop answering; False when there is none."""
        ...

    async def list(self, tenant: TenantId) -> Sequence[Document]:
        """What answers now."""
        ...


class Office(Protocol):
    """Everything `create_app` is given."""

    @property
    def front_office(self) -> FrontOfficePort: ...
    @property
    def store(self) -> Store: ...
    @property
    def library(self) -> LibraryPort: ...
    @property
    def tenants(self) -> Mapping[TenantId, Tenant]: ...
    @property
    def settings(self) -> Settings: ...
    async def readiness(self) -> Mapping[str, Any]:
        """`{"ready": bool, "problems": [text], "tenants": {id: state}}`."""
        ...


class Demonstration(Protocol):
    """What an office offers besides when it runs as a demonstration. An office without these methods is none."""

    async def demo_keys(self) -> Mapping[TenantId, str]:
        """A widget key for each tenant that the page at `/` may show to everybody who opens it."""
        ...

    def demo_customers(self) -> Mapping[TenantId, Sequence[Mapping[str, Any]]]:
        """Invented customers (`id`, `name`, `questions`) as whom everybody who opens the page may sign in."""
        ...
