"""A running office for the server's tests: a scripted front office over a store in memory, behind a real uvicorn."""

from __future__ import annotations

import asyncio
import io
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import uvicorn

from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Route, Speaker, TurnId, Utterance
from frontdesk.domain.events import AgentReplied, Event, HandedOff, MessageReceived, OwnerChanged, Recorded, ReplySent, SentenceReleased
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, Tenant, TenantId
from frontdesk.errors import Conflict, NotAuthenticated, NotFound
from frontdesk.server.app import create_app
from frontdesk.server.auth import issue_customer_token
from frontdesk.server.logging_setup import configure
from frontdesk.settings import Settings

SECRET = b"a signing secret of thirty-two b"
ACME = TenantId("acme")
OTHER = TenantId("other-line")

REPLY = ReplySent(
    text="Returns are free. You have 30 days.",
    route=Route.KNOWLEDGE,
    confidence=0.9,
    citations=(Citation(source="returns.md", title="Returns", quote="Returns are free."),),
)
Script = Callable[[str], Sequence[Event | float]]


def answer(_message: str) -> Sequence[Event | float]:
    return [SentenceReleased(text="Returns are free."), SentenceReleased(text="You have 30 days."), REPLY]


class FakeStore:
    def __init__(self) -> None:
        self.tenants: dict[TenantId, FakeTenantStore] = {}
        self.log: list[Recorded] = []
        self.grown = asyncio.Event()

    def for_tenant(self, tenant: TenantId) -> FakeTenantStore:
        return self.tenants.setdefault(tenant, FakeTenantStore(tenant, self))

    async def signing_secret(self) -> bytes:
        return SECRET


class FakeTenantStore:
    def __init__(self, tenant: TenantId, store: FakeStore) -> None:
        self.tenant = tenant
        self.keys = FakeKeys(tenant)
        self.conversations = FakeConversations(tenant, store)
        self.desk = FakeDeskState()


class FakeKeys:
    def __init__(self, tenant: TenantId) -> None:
        self.tenant = tenant
        self.rows: dict[str, Any] = {}

    async def create(self, role: Role, label: str = "") -> str:
        return self.make(role, label)

    def make(self, role: Role, label: str = "") -> str:
        secret = f"fd_{self.tenant}_{secrets.token_urlsafe(32)}"
        row = {"id": KeyId(secrets.token_hex(8)), "role": role, "label": label, "created_at": datetime.now(UTC), "revoked_at": None}
        self.rows[secret] = SimpleNamespace(**row)
        return secret

    async def verify(self, secret: str) -> tuple[KeyId, Role]:
        row = self.rows.get(secret)
        if row is None or row.revoked_at:
            raise NotAuthenticated("no such key")
        return row.id, row.role

    async def list(self) -> list[Any]:
        return list(self.rows.values())

    async def revoke(self, key: KeyId) -> None:
        for row in self.rows.values():
            if row.id == key:
                row.revoked_at = datetime.now(UTC)
                return
        raise NotFound("There is no such thing, or it belongs to somebody else.")


@dataclass
class FakeConversation:
    id: ConversationId
    key: KeyId
    customer: CustomerId | None
    owner: Owner = Owner.DESK
    agent: str = ""
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    events: list[Recorded] = field(default_factory=list)


class FakeConversations:
    def __init__(self, tenant: TenantId, store: FakeStore) -> None:
        self.tenant = tenant
        self.store = store
        self.rows: dict[ConversationId, FakeConversation] = {}

    async def open(self, *, key: KeyId, customer: CustomerId | None, channel: str) -> ConversationId:
        identity = ConversationId(secrets.token_hex(16))
        self.rows[identity] = FakeConversation(identity, key, customer)
        return identity

    async def load(
        self, identity: ConversationId, *, key: KeyId | None = None, customer: CustomerId | None = None, any_caller: bool = False
    ) -> Conversation:
        row = self.rows.get(identity)
        if row is None or not (any_caller or (row.key == key and row.customer == customer)):
            raise NotFound("There is no such thing, or it belongs to somebody else.")
        said = [u for r in row.events if (u := _utterance(r))]
        return Conversation(
            id=identity,
            tenant=self.tenant,
            customer=row.customer,
            opened_at=row.opened_at,
            owner=row.owner,
            agent=row.agent,
            utterances=tuple(said),
        )

    async def append(
        self, identity: ConversationId, turn: TurnId, events: Sequence[Event], *, if_owner: Owner | None = None
    ) -> list[Recorded]:
        row = self.rows[identity]
        if if_owner and row.owner is not if_owner:
            return []
        made = []
        for event in events:
            place = {"position": len(self.store.log) + 1, "seq": len(row.events) + 1, "at": datetime.now(UTC)}
            recorded = Recorded(tenant=self.tenant, conversation=identity, turn=turn, event=event, **place)
            row.events.append(recorded)
            self.store.log.append(recorded)
            made.append(recorded)
        self.store.grown.set()
        return made

    async def events(self, identity: ConversationId, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        return [r for r in self.rows[identity].events if r.seq > after][:limit]

    async def set_owner(
        self, identity: ConversationId, owner: Owner, *, expected: Owner | None = None, agent: str = "", note: str = ""
    ) -> None:
        row = self.rows[identity]
        if expected and row.owner is not expected:
            raise Conflict("it changed hands")
        row.owner, row.agent = owner, agent
        await self.append(identity, TurnId(secrets.token_hex(8)), [OwnerChanged(owner=owner.value, agent=agent, note=note)])

    async def list(self, *, owner: Owner | None = None, limit: int = 50, before: datetime | None = None) -> list[Any]:
        return [
            SimpleNamespace(
                conversation_id=r.id, owner=r.owner, customer=r.customer, channel="chat", opened_at=r.opened_at, updated_at=r.opened_at
            )
            for r in self.rows.values()
            if owner in (None, r.owner)
        ][:limit]


def _utterance(recorded: Recorded) -> Utterance | None:
    match recorded.event:
        case MessageReceived(text=text):
            speaker = Speaker.CUSTOMER
        case ReplySent(text=text):
            speaker = Speaker.DESK
        case AgentReplied(text=text):
            speaker = Speaker.AGENT
        case _:
            return None
    return Utterance(speaker=speaker, text=text, turn=recorded.turn, at=recorded.at)


class FakeDeskState:
    def __init__(self) -> None:
        self.trail: list[Any] = []
        self.open_gaps: list[Any] = []

    async def gaps(self, *, limit: int) -> list[Any]:
        return self.open_gaps[:limit]

    async def close_gap(self, gap: str) -> bool:
        before = len(self.open_gaps)
        self.open_gaps = [g for g in self.open_gaps if g.id != gap]
        return len(self.open_gaps) < before

    async def handoffs(self, *, limit: int) -> list[Any]:
        return []

    async def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        seq = len(self.trail) + 1
        row = {"seq": seq, "at": datetime.now(UTC), "actor": actor, "action": action, "subject": subject, "detail": detail, "hash": "x"}
        self.trail.append(SimpleNamespace(**row))

    async def audit_trail(self, *, after: int, limit: int) -> list[Any]:
        return [r for r in self.trail if r.seq > after][:limit]


class FakeLibrary:
    def __init__(self) -> None:
        self.files: dict[tuple[TenantId, str], bytes] = {}

    async def list(self, tenant: TenantId) -> list[Any]:
        now = datetime.now(UTC)
        names = [s for t, s in self.files if t == tenant]
        return [SimpleNamespace(source=s, title=s, version=1, passages=1, quarantined=0, updated_at=now) for s in names]

    async def add(self, tenant: TenantId, source: str, content: bytes) -> Any:
        if b"%broken" in content:
            return _report(failed=[(source, "cannot be read")])
        self.files[tenant, source] = content
        return _report(added=[source])

    async def remove(self, tenant: TenantId, source: str) -> bool:
        return self.files.pop((tenant, source), None) is not None

    async def sync(self, tenant: Tenant) -> Any:
        return _report()


def _report(**given: Any) -> Any:
    empty: dict[str, Any] = {"added": [], "changed": [], "removed": [], "unchanged": [], "quarantined": [], "failed": [], "embedded": 0}
    return SimpleNamespace(**{**empty, **given})


class ScriptedFrontOffice:
    """Records and says what `script` returns; a number in a script is a pause in seconds."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.script: Script = answer
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self.retries: dict[str, list[Recorded]] = {}

    def forget(self) -> None:
        self.script, self.cancelled = answer, 0
        self.calls.clear()
        self.retries.clear()

    async def talk(self, *, caller: Caller, message: str, **more: Any) -> AsyncIterator[Recorded]:
        self.calls.append({"caller": caller, "message": message, **more})
        conversations = self.store.for_tenant(caller.tenant).conversations
        retry = more.get("idempotency_key")
        if retry in self.retries:
            for recorded in self.retries[retry]:
                yield recorded
            return
        identity = more.get("conversation")
        if identity:
            await conversations.load(identity, key=caller.key, customer=caller.customer)
        else:
            identity = await conversations.open(key=caller.key, customer=caller.customer, channel=more["channel"])
        turn = TurnId(secrets.token_hex(16))
        said = [(await conversations.append(identity, turn, [MessageReceived(text=message)]))[0]]
        yield said[0]
        try:
            for step in self.script(message):
                if isinstance(step, float | int):
                    await asyncio.sleep(step)
                else:
                    said += await conversations.append(identity, turn, [step])
                    yield said[-1]
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        if retry:
            self.retries[retry] = said

    async def hand_over(self, *, caller: Caller, conversation: ConversationId) -> HandedOff:
        conversations = self.store.for_tenant(caller.tenant).conversations
        await conversations.load(conversation, key=caller.key, customer=caller.customer)
        await conversations.set_owner(conversation, Owner.QUEUE)
        return HandedOff(category="requested", summary="")

    async def export(self, *, caller: Caller) -> Mapping[str, Any]:
        return {"conversations": []}

    async def erase(self, *, caller: Caller) -> int:
        return 0


class ScriptedOffice:
    """An office without models or database."""

    def __init__(self, settings: Settings, tenants: Sequence[Tenant]) -> None:
        self.settings = settings
        self.store = FakeStore()
        self.front_office = ScriptedFrontOffice(self.store)
        self.library = FakeLibrary()
        self.tenants = {t.id: t for t in tenants}
        self.problems: list[str] = []

    async def readiness(self) -> Mapping[str, Any]:
        return {"ready": not self.problems, "problems": self.problems, "tenants": dict.fromkeys(self.tenants, "ready")}

    async def new_records(self) -> AsyncIterator[Recorded]:
        seen = len(self.store.log)
        while True:
            await self.store.grown.wait()
            self.store.grown.clear()
            for recorded in self.store.log[seen:]:
                yield recorded
            seen = len(self.store.log)

    def key(self, tenant: TenantId = ACME, role: Role = Role.SERVER) -> str:
        return self.store.for_tenant(tenant).keys.make(role)

    def token(self, customer: str, tenant: TenantId = ACME) -> str:
        return issue_customer_token(SECRET, tenant, CustomerId(customer), time.time())


@dataclass
class Served:
    """An office behind a real server."""

    office: ScriptedOffice
    url: str
    app: Any


@contextmanager
def serving(office: ScriptedOffice) -> Iterator[Served]:
    app = create_app(office)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Served(office, f"http://127.0.0.1:{port}", app)
    finally:
        server.should_exit = True
        thread.join(10)


def make_office(**settings: Any) -> ScriptedOffice:
    tenants = [
        Tenant(id=ACME, name="Acme", guardrails={"origins": ["https://shop.acme.example"]}),
        Tenant(id=OTHER, name="Other"),
    ]
    return ScriptedOffice(Settings(**{"rate_per_minute": 0, **settings}), tenants)


@pytest.fixture(scope="session", autouse=True)
def logs() -> Iterator[io.StringIO]:
    """What the program logs during the tests."""
    lines = io.StringIO()
    configure("info", lines)
    yield lines
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def one_server(logs: io.StringIO) -> Iterator[Served]:
    with serving(make_office()) as running:
        yield running


@pytest.fixture
def served(one_server: Served) -> Served:
    """A running server whose front office answers about returns, as if just started."""
    one_server.office.front_office.forget()
    return one_server
