"""POST /v1/chat/completions and GET /v1/models, as OpenAI's official clients expect them. Never obeys a system message from outside."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse

from frontdesk.domain.conversation import ConversationId, Route, ToolCall
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller
from frontdesk.errors import Conflict, FrontdeskError, TooLarge, Unavailable
from frontdesk.server.access import AnyCaller, Chatting, Desk, RetryKey, Shared, TurnSlot
from frontdesk.server.problems import BadField, ModelNotFound, openai_error
from frontdesk.server.turns import ClientGone, RunningTurn, Spoken, unless_gone
from frontdesk.server.wording import customer_message, plain_id, retry_key, said_before

MAX_MESSAGES = 400
_OBEYED_BY_NOBODY = {"system", "developer", "tool", "function"}

router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])


class Part(BaseModel):
    """One part of a message's content. Only text can be read."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None
    refusal: str | None = None


class Message(BaseModel):
    """One message of the conversation so far."""

    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class CompletionRequest(BaseModel):
    """What OpenAI's clients send. Fields that a desk has no use for are accepted and ignored."""

    model_config = ConfigDict(extra="allow")
    model: Annotated[str, Field(description="The tenant's id.")]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    metadata: dict[str, Any] | None = None


class CitationBody(BaseModel):
    """Where a statement stands, word for word."""

    source: str
    title: str
    quote: str


class Extra(BaseModel):
    """What a desk says beside the answer."""

    route: Route
    confidence: float
    citations: list[CitationBody]
    tool_calls: list[dict[str, Any]]
    handoff: bool
    conversation_id: str


class Usage(BaseModel):
    """Tokens, estimated from the text: the desk answers with and without a model."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(BaseModel):
    """The desk's message."""

    role: str
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    """The one choice."""

    index: int
    message: Said
    logprobs: None = None
    finish_reason: str


class Completion(BaseModel):
    """The answer, in OpenAI's shape with one extra object."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str | None = None
    frontdesk: Extra


class Model(BaseModel):
    """A tenant as a model."""

    id: str
    object: str
    created: int
    owned_by: str


class Models(BaseModel):
    """The models this key may use: its own tenant."""

    object: str
    data: list[Model]


@router.post("/chat/completions", response_model=Completion, responses={200: {"content": {"text/event-stream": {}}}})
async def complete(
    request: Request,
    slot: TurnSlot,
    desk: Shared,
    caller: Chatting,
    body: CompletionRequest,
    idempotency_key: RetryKey = None,
) -> Response:
    """Answers the last message. Streams when `stream` is true."""
    _own_model(caller, body.model)
    if body.n not in (None, 1):
        raise BadField("n must be 1: a desk gives one answer.", "n")
    message, history = _read(body.messages, desk.office.settings.max_message_chars)
    turn = desk.turns.start(
        slot,
        caller=caller,
        message=message,
        history=history,
        conversation=_conversation(body.metadata),
        channel="openai",
        idempotency_key=retry_key(idempotency_key),
    )
    shape = _Shape(caller, prompt_chars=len(message) + sum(len(t) for _, t in history))
    try:
        shape.begin(await unless_gone(request, turn, turn.first()))
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return _streaming(turn, shape, usage)
        return JSONResponse(await unless_gone(request, turn, _whole(turn, shape)), headers=shape.headers)
    except ClientGone:
        return Response(status_code=499)


@router.get("/models")
async def models(caller: AnyCaller, desk: Shared) -> Models:
    """The key's own tenant, as a list of one."""
    return Models(object="list", data=[_model(caller, desk)])


@router.get("/models/{model}")
async def model(caller: AnyCaller, desk: Shared, model: str) -> Model:
    """The key's own tenant; any other id is `model_not_found`."""
    _own_model(caller, model)
    return _model(caller, desk)


class _Shape:
    """One completion's identity and the pieces of its answer, as OpenAI writes them."""

    def __init__(self, caller: Caller, *, prompt_chars: int) -> None:
        self.model = str(caller.tenant)
        self.created = int(time.time())
        self.id = ""
        self.conversation = ConversationId("")
        self.prompt_chars = prompt_chars
        self.spoken = Spoken()

    def begin(self, first: Any) -> None:
        self.id = f"chatcmpl-{first.turn}"
        self.conversation = first.conversation

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Conversation-Id": str(self.conversation)}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **more}

    def usage_chunk(self) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def whole(self) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": self.spoken.text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage(), "frontdesk": self.extra()}

    def usage(self) -> dict[str, int]:
        prompt, answer = -(-self.prompt_chars // 4), -(-len(self.spoken.text) // 4)
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    def extra(self) -> dict[str, Any]:
        """The `frontdesk` object. Without a reply of its own the desk is silent: a human has the conversation."""
        if self.spoken.failed is not None and not self.spoken.text:
            raise Unavailable("The desk could not answer this message; it is kept. Try again.")
        silent = ReplySent(text="", route=Route.HANDOFF, confidence=1.0, handoff=True)
        failed = ReplySent(text="", route=Route.REFUSE, confidence=0.0)
        reply = self.spoken.reply or (failed if self.spoken.failed else silent)
        return {
            "route": reply.route.value,
            "confidence": min(1.0, max(0.0, reply.confidence)),
            "citations": [{"source": c.source, "title": c.title, "quote": c.quote} for c in reply.citations],
            "tool_calls": [call_body(c) for c in reply.tool_calls],
            "handoff": reply.handoff,
            "conversation_id": str(self.conversation),
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "system_fingerprint": None}


def call_body(call: ToolCall) -> dict[str, Any]:
    """A tool call as the contract shows it: `error` in place of `result` when it failed."""
    outcome = {"result": call.result} if call.error is None else {"error": call.error}
    return {"name": call.name, "arguments": dict(call.arguments), **outcome}


async def _whole(turn: RunningTurn, shape: _Shape) -> dict[str, Any]:
    async for recorded in turn:
        shape.spoken.add(recorded)
        if shape.spoken.merged:
            raise Conflict("A later message of this conversation is answered together with this one.")
    return shape.whole()


def _streaming(turn: RunningTurn, shape: _Shape, usage: bool) -> EventSourceResponse:
    async def gone(_message: Any) -> None:
        turn.cancel()

    return EventSourceResponse(_lines(turn, shape, usage), headers=shape.headers, sep="\n", client_close_handler_callable=gone)


async def _lines(turn: RunningTurn, shape: _Shape, usage: bool) -> AsyncIterator[dict[str, str]]:
    null_usage: dict[str, Any] = {"usage": None} if usage else {}
    try:
        yield _data(shape.chunk({"role": "assistant", "content": "", "refusal": None}, **null_usage))
        async for recorded in turn:
            if text := shape.spoken.add(recorded):
                yield _data(shape.chunk({"content": text}, **null_usage))
        yield _data(shape.chunk({}, "stop", frontdesk=shape.extra(), **null_usage))
        if usage:
            yield _data(shape.usage_chunk())
    except FrontdeskError as why:
        yield _data(openai_error(why))
    yield {"data": "[DONE]"}


def _data(body: Mapping[str, Any]) -> dict[str, str]:
    return {"data": json.dumps(body, ensure_ascii=False, separators=(",", ":"))}


def _own_model(caller: Caller, name: str) -> None:
    if name != caller.tenant:
        raise ModelNotFound("The model does not exist or this key has no access to it: `model` is the id of the key's own tenant.")


def _model(caller: Caller, desk: Desk) -> Model:
    tenant = desk.office.tenants[caller.tenant]
    return Model(id=str(caller.tenant), object="model", created=0, owned_by=tenant.name)


def _conversation(metadata: Mapping[str, Any] | None) -> ConversationId | None:
    named = (metadata or {}).get("conversation_id")
    if named is None:
        return None
    if not isinstance(named, str):
        raise BadField("metadata.conversation_id must be a text.", "metadata.conversation_id")
    return ConversationId(plain_id(named))


def _read(messages: list[Message], limit: int) -> tuple[str, list[tuple[str, str]]]:
    """The last customer message and what was said before it, as (role, text) rows of customer and desk."""
    if len(messages) > MAX_MESSAGES:
        raise TooLarge(f"There are {len(messages)} messages; at most {MAX_MESSAGES} are accepted. Send metadata.conversation_id instead.")
    said: list[tuple[int, Message]] = [(i, m) for i, m in enumerate(messages) if _role(m, i) not in _OBEYED_BY_NOBODY]
    if not said or said[-1][1].role != "user":
        raise BadField("The last message must have the role user.", "messages")
    before, (place, last) = said[:-1], said[-1]
    message = customer_message(_text(last, place), limit, f"messages.{place}.content")
    return message, [(m.role, text) for i, m in before if (text := said_before(m.role, _text(m, i)))]


def _role(message: Message, place: int) -> str:
    if message.role not in {"user", "assistant", *_OBEYED_BY_NOBODY}:
        raise BadField("The role must be user, assistant, system, developer, tool or function.", f"messages.{place}.role")
    return message.role


def _text(message: Message, place: int) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return "\n".join(_part_texts(message.content, place))


def _part_texts(parts: list[Part], place: int) -> Iterator[str]:
    for part in parts:
        text = part.text if part.type == "text" else part.refusal if part.type == "refusal" else None
        if text is None:
            raise BadField("Only parts of type text can be read here.", f"messages.{place}.content")
        yield text
