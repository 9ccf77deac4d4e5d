"""Who may speak for the agent's side: the desk over HTTP or in process, a bare model with a prompt, a script, a person. And free customers.

A speaker holds nothing between two messages: its state travels with the talk as JSON. It may be asked twice for the same message, with the
same key, and must then not act twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httpx

from frontdesk.domain.conversation import ConversationId, Route, TurnId
from frontdesk.domain.events import ConversationOpened, Event, HandedOff, MessageReceived, Recorded, ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, TenantId
from frontdesk.errors import BadInput, Conflict, FrontdeskError, ModelUnavailable, NotAuthenticated, NotFound, Unavailable
from frontdesk.models.protocols import ChatRequest, LanguageModel, complete
from frontdesk.rehearsal.gathering import Together
from frontdesk.rehearsal.reading import Prompt, spoken
from frontdesk.rehearsal.scenarios import Scenario
from frontdesk.rehearsal.talk import AGENT, CHARS_PER_TOKEN, CUSTOMER, Line, Talk
from frontdesk.store.conversations import Conversations, FinishedTurn, new_conversation_id

CHANNEL = "rehearsal"
KEY = KeyId("rehearsal")
CALL_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the agent said, and the state that its speaker wants to see again with the next message."""

    line: Line
    state: Mapping[str, Any] = field(default_factory=dict)


class Agent(Protocol):
    """The agent's side of a conversation."""

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """The answer to the talk's last line; `key` is the same when it is asked again. Raises FrontdeskError, TimeoutError."""
        ...


class Talking(Protocol):
    """What of the front office a rehearsal uses."""

    def talk(
        self,
        *,
        caller: Caller,
        message: str,
        conversation: ConversationId | None = None,
        channel: str = "api",
        idempotency_key: str | None = None,
    ) -> AsyncIterator[Recorded]:
        """One turn, as events."""
        ...


class DeskInProcess:
    """The desk of this process: the same events that customers' turns leave."""

    def __init__(self, front_office: Talking, tenant: TenantId) -> None:
        self._front_office = front_office
        self._tenant = tenant

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """One turn of the desk. A message that was answered before gets that answer again."""
        customer = CustomerId(scenario.customer) if scenario.customer else None
        claims = {"customer.id": scenario.customer, "sub": scenario.customer} if customer else {}
        caller = Caller(tenant=self._tenant, key=KEY, role=Role.SERVER, customer=customer, claims=claims)
        known = talk.agent.get("conversation")
        stream = self._front_office.talk(
            caller=caller,
            message=talk.lines[-1].text,
            conversation=ConversationId(known) if known else None,
            channel=CHANNEL,
            idempotency_key=key,
        )
        reply: ReplySent | None = None
        handed = False
        async with aclosing(cast("Any", stream)) as events:
            async for record in events:
                known = record.conversation
                handed |= isinstance(record.event, HandedOff)
                reply = record.event if isinstance(record.event, ReplySent) else reply
        if reply is None:  # a human has it
            return Said(line=Line(role=AGENT, text="", route="handoff", handoff=True, by="desk"), state={"conversation": known})
        calls = tuple(_call(c.name, c.arguments, c.error, c.result) for c in reply.tool_calls)
        line = Line(
            role=AGENT,
            text=reply.text,
            route=reply.route.value,
            handoff=reply.handoff or handed,
            calls=calls,
            cites=tuple(c.source for c in reply.citations),
            by="desk",
        )
        return Said(line=line, state={"conversation": known})


class DeskOverHttp:
    """A running desk, through its public API. `tokens` gives the token of a signed-in customer."""

    def __init__(self, url: str, key: str, tenant: str, *, tokens: Callable[[str], str], http: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        self._key = key
        self._tenant = tenant
        self._tokens = tokens
        self._http = http

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """One completion. Raises Unavailable when the desk is away or fails, NotAuthenticated when it refuses the key."""
        head = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
        if scenario.customer:
            head["X-Customer-Token"] = self._tokens(scenario.customer)
        known = talk.agent.get("conversation")
        body: dict[str, Any] = {"model": self._tenant, "messages": [{"role": "user", "content": talk.lines[-1].text}]}
        if known:
            body["metadata"] = {"conversation_id": known}
        try:
            answer = await self._http.post(self._url, json=body, headers=head, timeout=CALL_SECONDS)
            if answer.status_code in (401, 403):
                raise NotAuthenticated("the desk refused the key or the customer's token: give a key of this tenant with --key")
            answer.raise_for_status()
            data = answer.json()
            extra, text = data["frontdesk"], data["choices"][0]["message"]["content"]
            calls = tuple(_call(c["name"], c["arguments"], c.get("error"), c.get("result")) for c in extra["tool_calls"])
            cites = tuple(c["source"] for c in extra["citations"])
            line = Line(role=AGENT, text=text, route=extra["route"], handoff=extra["handoff"], calls=calls, cites=cites, by="desk")
            return Said(line=line, state={"conversation": extra["conversation_id"]})
        except httpx.HTTPStatusError as why:
            raise Unavailable(f"the desk answered with HTTP {why.response.status_code}: look at its log") from why
        except httpx.HTTPError as why:
            raise Unavailable(f"the desk at {self._url} cannot be reached ({type(why).__name__}): start it, or correct --url") from why
        except (ValueError, KeyError, TypeError, IndexError) as why:
            raise BadInput(f"{self._url} is no desk's address: it answered without a `frontdesk` object") from why


class BareAgent:
    """A language model with a prompt file and nothing else: the article's agent. Its memory is a buffer of so many tokens."""

    def __init__(
        self, model: LanguageModel, prompt: Prompt, *, company: str = "", memory: int = 300, sampling: Mapping[str, Any] | None = None
    ) -> None:
        self._voice = _Voice(model=model, prompt=prompt, company=company, memory=memory, sampling=sampling or {})

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """The model's continuation. Raises ModelUnavailable and TooBusy."""
        text = await self._voice.continued(scenario, talk, seed=key)
        return Said(line=Line(role=AGENT, text=text, by="model"))


class ScriptedAgent:
    """An agent that says what a rule says: a text, or a whole line."""

    def __init__(self, rule: Callable[[Scenario, Talk], str | Line]) -> None:
        self._rule = rule

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """What the rule says. Raises what the rule raises."""
        said = self._rule(scenario, talk)
        return Said(line=Line(role=AGENT, text=said, by="script") if isinstance(said, str) else said)


class PersonAgent:
    """A person at the keyboard answers the customer. `ask` gives a line of text; an empty one hands the conversation over."""

    def __init__(self, show: Callable[[str], None], ask: Callable[[str], str]) -> None:
        self._show = show
        self._ask = ask

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """What the person typed."""
        self._show(talk.lines[-1].text)
        text = (await asyncio.to_thread(self._ask, "you (agent): ")).strip()
        return Said(line=Line(role=AGENT, text=text, handoff=not text, by="person"))


class InLog:
    """Writes what an agent without a log of its own hears and says to the event log, as the desk does for itself.

    Turns of conversations in flight are written together: each is durable when its answer is given.
    """

    def __init__(self, agent: Agent, conversations: Conversations) -> None:
        self._agent = agent
        self._conversations = conversations
        self._together = Together(self._write)

    async def reply(self, scenario: Scenario, talk: Talk, *, key: str) -> Said:
        """The agent's answer, durable with the customer's message."""
        said = await self._agent.reply(scenario, talk, key=key)
        known, first = talk.agent.get("conversation"), list[Event]()
        customer = CustomerId(scenario.customer) if scenario.customer else None
        if not known:
            first.append(ConversationOpened(channel=CHANNEL, customer=customer))
        received = MessageReceived(text=talk.lines[-1].text, channel=CHANNEL, idempotency_key=key)
        sent = ReplySent(text=said.line.text, route=_route(said.line), confidence=1.0, handoff=said.line.handoff)
        turn = FinishedTurn(
            id=ConversationId(str(known)) if known else new_conversation_id(),
            turn=TurnId(uuid.uuid4().hex),
            events=(*first, received, sent),
            opens=None if known else (KEY, customer, CHANNEL),
        )
        failed = await self._together.do(turn)
        if isinstance(failed, Conflict):  # written before a crash: the message stays where it was
            found = await self._conversations.reply_for(None, key=KEY, customer=customer, idempotency_key=key)
            return Said(line=said.line, state={**said.state, "conversation": found[0] if found else turn.id})
        if failed is not None:
            raise failed
        return Said(line=said.line, state={**said.state, "conversation": turn.id})

    async def _write(self, turns: Sequence[FinishedTurn]) -> Sequence[FrontdeskError | None]:
        """All in one transaction; when one of them cannot be written, each by itself, so that it alone fails."""
        try:
            written = await self._conversations.write(turns)
        except (Conflict, BadInput) as why:
            if len(turns) == 1:
                return [why]
            return [failed for turn in turns for failed in await self._write([turn])]
        return [None if done else NotFound("this conversation was erased: nothing can be added to it") for done in written]


class FreeCustomer:
    """A customer played by a language model that runs free, as in the article. It has no agenda and keeps no promise about facts."""

    def __init__(
        self, model: LanguageModel, prompt: Prompt, *, company: str = "", memory: int = 250, sampling: Mapping[str, Any] | None = None
    ) -> None:
        self._voice = _Voice(model=model, prompt=prompt, company=company, memory=memory, sampling=sampling or {})

    async def line(self, scenario: Scenario, talk: Talk, *, seed: str, manner: str) -> Line:
        """What the model says next. Raises ModelUnavailable and TooBusy."""
        text = await self._voice.continued(scenario, talk, seed=seed, manner=manner)
        return Line(role=CUSTOMER, text=text, draft="", mood=talk.role.mood, acts=("free",), heard=text, by="model")


@dataclass(frozen=True, kw_only=True)
class _Voice:
    """A model, its prompt, and a memory of the newest messages that fit into so many tokens."""

    model: LanguageModel
    prompt: Prompt
    company: str
    memory: int
    sampling: Mapping[str, Any]

    async def continued(self, scenario: Scenario, talk: Talk, *, seed: str, manner: str = "") -> str:
        role = talk.role
        said = talk.lines[-1].text if talk.lines else ""
        values = {
            "history": _remembered(talk.lines[:-1], self.memory),
            "input": said,
            "mood": role.mood,
            "manner": manner,
            "product": role.product,
            "name": role.name,
            "agent": role.agent,
            "company": self.company,
            "goal": scenario.goal,
        }
        system = [{"role": "system", "content": self.prompt.system}] if self.prompt.system else []
        sampling = {"max_tokens": 120, "temperature": 0.0, **self.sampling}
        request = ChatRequest(
            messages=[*system, {"role": "user", "content": self.prompt.render(values)}],
            max_tokens=int(sampling.pop("max_tokens")),
            temperature=float(sampling.pop("temperature")),
            seed=number_of(seed),
            extra=sampling,
        )
        text = spoken(await complete(self.model, request))
        if not text:
            raise ModelUnavailable("the model said nothing: it is tried again")
        return text


def number_of(seed: str) -> int:
    """A number for a server's sampler from a seed in words."""
    return int.from_bytes(seed.encode()[-6:], "big") % (1 << 31)


def _remembered(lines: Sequence[Line], tokens: int) -> str:
    kept: list[str] = []
    for line in reversed(lines):
        kept.insert(0, f"{line.role.upper()}: {line.text}")
        if sum(len(k) for k in kept) > tokens * CHARS_PER_TOKEN:
            kept.pop(0)
            break
    return "\n".join(kept)


def _call(name: str, arguments: Mapping[str, Any], error: str | None, result: Any) -> Mapping[str, Any]:
    return {"name": name, "arguments": dict(arguments), **({"error": error} if error else {"result": result})}


def _route(line: Line) -> Route:
    return Route(line.route) if line.route else Route.SMALLTALK


Failure = (FrontdeskError, TimeoutError)
"""What a speaker's try may end with."""
