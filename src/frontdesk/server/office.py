"""What the server needs from the rest of the program, as small protocols; `wiring` hands in the real ones. Holds no behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import HandedOff, Recorded
from frontdesk.domain.tenancy import Caller, Tenant, TenantId
from frontdesk.settings import Settings


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

    async def export(self, *, caller: Caller) -> Mapping[str, Any]:
        """Everything kept about the caller's customer, as plain JSON values."""
        ...

    async def erase(self, *, caller: Caller) -> int:
        """Forget the caller's customer; the number of conversations that were erased."""
        ...


class StorePort(Protocol):
    """Where keys, conversations and knowledge are kept."""

    def for_tenant(self, tenant: TenantId) -> Any:
        """One tenant's part; there is no other way in."""
        ...

    async def signing_secret(self) -> bytes:
        """What development tokens of customers are signed with."""
        ...


class Office(Protocol):
    """Everything `create_app` is given."""

    @property
    def front_office(self) -> FrontOfficePort: ...
    @property
    def store(self) -> StorePort: ...
    @property
    def library(self) -> Any: ...
    @property
    def tenants(self) -> Mapping[TenantId, Tenant]: ...
    @property
    def settings(self) -> Settings: ...
    def new_records(self) -> AsyncIterator[Recorded]:
        """What is appended to the log from now on, by any process, for all tenants."""
        ...

    async def readiness(self) -> Mapping[str, Any]:
        """`{"ready": bool, "problems": [text], "tenants": {id: state}}`."""
        ...
