"""The town library's counter with any language model behind it: a desk, its API and its log, for tests of what models may propose."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.desk.library_api import OPENAPI, Library, library

from frontdesk.desk.briefing import Briefings
from frontdesk.desk.desk import Desk
from frontdesk.desk.dynamic import Dynamic
from frontdesk.desk.phrasing import Phrasing
from frontdesk.desk.reading import Reader
from frontdesk.desk.recording import FrontOffice
from frontdesk.domain.conversation import ConversationId, Pending
from frontdesk.domain.events import Event, ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, HandoffContact, Identity, KeyId, Role, Tenant, TenantId, ToolSource
from frontdesk.errors import ModelRefused
from frontdesk.knowledge.library import Library as Knowledge
from frontdesk.models.protocols import ChatRequest, Embedder, LanguageModel, Matcher, ModelCall
from frontdesk.models.scripted import Reply, ScriptedModel
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.tools.calling import http_client
from frontdesk.tools.catalog import load_catalog
from frontdesk.tools.inline import Call, head

FAQ = """
- question: What does renewing a loan cost?
  answer: Renewing costs €0.50 for each week.
- question: How many books may I borrow?
  answer: You may have 12 books at home at a time.
"""
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Speaker:
    """A model that says what it is told, in the protocol that it is asked in. `takes`: what its server takes beside plain text."""

    plan: list[Call | str] = field(default_factory=list)
    """Calls, each followed by what is written behind its result; `{value}` stands for that result in protocols that repeat it."""
    protocol: str = "inline"
    takes: frozenset[str] = frozenset({"grammar", "json_schema", "tools"})
    down: Exception | None = None
    name: str = "speaker"
    requests: list[ChatRequest] = field(default_factory=list)
    broken: bool = False
    """Writes its calls slightly wrong, as a model without constraint does."""
    _said: int = 0

    def tell(self, *plan: Call | str) -> None:
        self.plan, self._said, self.down = list(plan), 0, None
        self.requests.clear()

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        async with aclosing(self.stream_with_calls(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece

    async def stream_with_calls(self, request: ChatRequest) -> AsyncGenerator[str | ModelCall]:
        self.requests.append(request)
        if self.down is not None:
            raise self.down
        asked = {"grammar"} if request.grammar else {"json_schema"} if request.json_schema else {"tools"} & request.extra.keys()
        if asked - self.takes:
            raise ModelRefused("the model server refused the request with HTTP 400")
        step = self.plan[self._said] if self._said < len(self.plan) else ""
        self._said += 1
        async for piece in ScriptedModel([self._reply(step, request)]).stream_with_calls(request):
            yield piece

    def _reply(self, step: Call | str, request: ChatRequest) -> Reply:
        told = json.dumps(list(request.messages), ensure_ascii=False)
        results = re.findall(r"Observation: (.+?)\\n|\"role\": \"tool\".*?\"content\": \"(.+?)\"}|Result: (.+?)\"}", told)
        value = next((r for row in reversed(results) for r in row if r), "")
        if isinstance(step, str):
            text = step if self.protocol == "inline" and not request.json_schema else step.replace("{value}", value)
            text = text.replace("{value}", "")
            if request.json_schema:
                return Reply(text=json.dumps({"text": text, "call": None}, ensure_ascii=False))
            return Reply(text=f"Thought: I can answer.\nAnswer: {text}\n" if self.protocol == "react" else text)
        arguments = dict(step.arguments)
        if request.json_schema:
            return Reply(text=json.dumps({"text": "", "call": {"name": step.name, "arguments": arguments}}, ensure_ascii=False))
        written = head(step)
        if self.broken:
            written = f"[{step.name}({', '.join(f'{n}: {v!r}' for n, v in arguments.items())}) =>"
        if self.protocol == "inline":
            return Reply(text=f"{written} and what the model makes up behind it]")
        if self.protocol == "react":
            bare = written.removeprefix("[").removesuffix(" ->").removesuffix(" =>")
            return Reply(text=f"Thought: I look it up.\nAction: {bare}\n")
        if "tools" in request.extra:
            said = json.dumps(arguments) if not self.broken else json.dumps(arguments).replace('"', "'")
            return Reply(calls=(ModelCall(id="c1", name=step.name, arguments=said),))
        return Reply(text=f"<tool_call>{json.dumps({'name': step.name, 'arguments': arguments})}</tool_call>")


@dataclass(kw_only=True)
class Visit:
    """One customer at the counter."""

    office: FrontOffice
    store: Store
    caller: Caller
    conversation: ConversationId | None = None
    seconds: float = 0.0

    async def say(self, message: str) -> ReplySent:
        reply = await self.heard(message)
        assert reply is not None
        return reply

    async def heard(self, message: str) -> ReplySent | None:
        """The reply; None when a human has the conversation."""
        reply: ReplySent | None = None
        begun = time.monotonic()
        async with aclosing(self.office.talk(caller=self.caller, message=message, conversation=self.conversation)) as events:
            async for record in events:
                self.conversation = record.conversation
                if isinstance(record.event, ReplySent):
                    reply = record.event
        self.seconds = time.monotonic() - begun
        return reply

    async def events(self) -> list[Event]:
        assert self.conversation is not None
        return [r.event for r in await self.store.for_tenant(self.caller.tenant).conversations.events(self.conversation)]

    async def pending(self) -> Pending | None:
        """What the desk waits for now."""
        assert self.conversation is not None
        conversations = self.store.for_tenant(self.caller.tenant).conversations
        return (await conversations.load(self.conversation, any_caller=True)).pending

    async def audit(self) -> list[str]:
        return [e.action for e in await self.store.for_tenant(self.caller.tenant).desk.audit_trail(limit=1000)]


@dataclass(kw_only=True)
class Counter:
    """One library with a desk for each strategy, all before the same API."""

    offices: Mapping[str, FrontOffice]
    dynamics: Mapping[str, Dynamic]
    store: Store
    api: Library
    tenant: TenantId
    key: KeyId

    def forget_failures(self) -> None:
        """A service that failed in an earlier test is asked again."""
        for dynamic in self.dynamics.values():
            dynamic._boxes.clear()

    def visit(self, strategy: str, customer: str | None = "L-101") -> Visit:
        who = CustomerId(customer) if customer else None
        caller = Caller(tenant=self.tenant, key=self.key, customer=who, claims={"sub": customer} if customer else {})
        return Visit(office=self.offices[strategy], store=self.store, caller=caller)


@asynccontextmanager
async def counter(
    store: Store,
    embedder: Embedder,
    folder: Path,
    models: Mapping[str, LanguageModel | None],
    *,
    encoder: Embedder | None = None,
    matcher: Matcher | None = None,
    propose: str = "model",
    names: Sequence[str] = (),
    openapi: str = OPENAPI,
    state: Library | None = None,
    hours: str = "Monday to Friday 9:00-17:00",
) -> AsyncIterator[Counter]:
    """The counter with `models` by strategy; the routers are trained once for all of them."""
    (folder / "openapi.yaml").write_text(openapi, encoding="utf-8")
    (folder / "faq.yaml").write_text(FAQ, encoding="utf-8")
    tenant = TenantId(f"t{secrets.token_hex(6)}")
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(library(state))
        http = await stack.enter_async_context(http_client())
        source = ToolSource(openapi="openapi.yaml", server=api.url, bind={"member_id": "customer.id"})
        knowledge, reader = Knowledge(store, embedder), Reader(embedder, encoder=encoder, matcher=matcher)
        offices: dict[str, FrontOffice] = {}
        dynamics: dict[str, Dynamic] = {}
        for name, model in models.items():
            served = Tenant(
                id=tenant,
                name="Town Library",
                tools=(source,),
                folder=folder,
                handoff=HandoffContact(hours=hours),
                identity=Identity(sign_in_url="https://library.example/in"),
                models={"strategy": name.partition("-")[0], "propose": propose},
            )
            await knowledge.sync(served)
            dynamics[name] = Dynamic(
                store=store, embedder=embedder, encoder=encoder, matcher=matcher, http=http, clock=lambda: NOW, model=model
            )
            desk = Desk(
                briefings=Briefings(store=store, embedder=embedder, reader=reader, catalogs={tenant: load_catalog(served)}),
                reader=reader,
                library=knowledge,
                dynamic=dynamics[name],
                phrasing=Phrasing(None),
                tenants={tenant: served},
            )
            offices[name] = FrontOffice(store=store, desk=desk, tenants={tenant: served}, settings=Settings(burst_seconds=0.0))
        keys = store.for_tenant(tenant).keys
        await keys.create(Role.SERVER, "test")
        yield Counter(offices=offices, dynamics=dynamics, store=store, api=api, tenant=tenant, key=(await keys.list())[0].id)


def proposing(protocol: str, **more: Any) -> Speaker:
    return Speaker(protocol=protocol, **more)
