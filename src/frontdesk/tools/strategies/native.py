"""OpenAI's `tools`: what large models were trained on. Where a server takes none, the same calls as JSON in the text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, cast

from frontdesk.errors import ModelRefused
from frontdesk.models.protocols import ChatRequest, LanguageModel, ModelCall, ToolModel
from frontdesk.tools.grammar import tool_schemas
from frontdesk.tools.inline import Call, head, repair
from frontdesk.tools.strategies.writing import (
    MOST_TOKENS,
    Means,
    Reach,
    Strategy,
    Task,
    Writing,
    inert,
    messages,
    prompt,
    step_of,
    step_schema,
)

_IN_TEXT = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)
_MARK = "<tool_call>"


class Native(Strategy):
    """See the module."""

    name = "native"

    def begin(self, task: Task) -> Writing:
        return _NativeWriting(self.model, task, self._reach)


class _NativeWriting(Writing):
    def __init__(self, model: LanguageModel, task: Task, reach: Reach) -> None:
        super().__init__(model, task, reach)
        self._rows: list[dict[str, Any]] = []
        """Calls and results so far, as OpenAI writes them."""
        self._waiting: list[Call] = []
        """Calls of the last answer; the first of them waits for its result."""

    async def go_on(self) -> AsyncGenerator[str | Call]:
        if self.task.settled is not None and not self._rows:
            self._called(self.task.settled, forced=True)
            self._waiting = [self.task.settled]
        if self._waiting:
            yield self._waiting[0]
            return
        async with aclosing(self._own() if self._reach.means is Means.OWN else self._otherwise()) as pieces:
            async for piece in pieces:
                yield piece

    def splice(self, result: str) -> None:
        call = self._waiting.pop(0)
        self._rows.append({"role": "tool", "tool_call_id": _id_of(call), "content": inert(result)})
        self._add(f"{inert(result)}\n", forced=True, shown=False)

    async def _own(self) -> AsyncGenerator[str | Call]:
        if not isinstance(self.model, ToolModel):
            self._reach.means = Means.SCHEMA
        else:
            extra = {"tools": tool_schemas(self.task.operations)}
            request = ChatRequest(
                messages=[*messages(prompt("native", self.task), self.task), *self._rows], max_tokens=MOST_TOKENS, extra=extra
            )
            try:
                async with aclosing(cast("AsyncGenerator[str | ModelCall]", self.model.stream_with_calls(request))) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, str):
                            self.sampled += 1
                            self._add(piece)
                            yield piece
                        elif (call := self._read(piece)) is not None:
                            self._waiting.append(call)
            except ModelRefused:
                self._reach.means = Means.SCHEMA
            else:
                for call in self._waiting:
                    self._called(call)
                if self._waiting:
                    yield self._waiting[0]
                return
        async with aclosing(self._otherwise()) as others:
            async for other in others:
                yield other

    async def _otherwise(self) -> AsyncGenerator[str | Call]:
        """The same protocol in JSON, for a server without `tools`."""
        written, means = "", Means.SCHEMA
        async with aclosing(self._pieces(self._request)) as pieces:
            async for used, piece in pieces:
                written, means = written + piece, used
        step = step_of(written) if means is Means.SCHEMA else self._in_text(written)
        text, call = step or ("", None)
        self._add(text)
        if text:
            yield text
        if call is not None and not (self.task.settled and self._rows):
            self._waiting = [call]
            self._called(call)
            yield call

    def _request(self, means: Means) -> ChatRequest | None:
        if means is Means.OWN:
            return None
        system = f"{prompt('native', self.task)}\n{prompt('native-in-text', self.task)}"
        rows = messages(system, self.task)
        rows += [
            {"role": "assistant", "content": head(c).removeprefix("[").removesuffix(" ->")}
            if "tool_calls" in row
            else {"role": "user", "content": f"Result: {row['content']}"}
            for row in self._rows
            for c in [_call_of(row)]
        ]
        if means is Means.SCHEMA:
            return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, json_schema=step_schema(self.task.operations))
        return ChatRequest(messages=rows, max_tokens=MOST_TOKENS)

    def _read(self, made: ModelCall) -> Call | None:
        """The call with its arguments read; one attempt to mend them."""
        try:
            arguments = json.loads(made.arguments or "{}")
        except (ValueError, RecursionError):
            return repair(f"{made.name}({made.arguments})", self.task.operations)
        return Call(name=made.name, arguments=arguments) if isinstance(arguments, dict) else None

    def _in_text(self, written: str) -> tuple[str, Call | None]:
        found = _IN_TEXT.search(written)
        step = step_of(f'{{"text": "", "call": {found[1]}}}') if found else None
        text = written.partition(_MARK)[0].strip()
        if step is not None and step[1] is not None:
            return text, step[1]
        return text, repair(written.partition(_MARK)[2], self.task.operations) if _MARK in written else None

    def _called(self, call: Call, *, forced: bool = False) -> None:
        function = {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)}
        row = {"id": _id_of(call), "type": "function", "function": function}
        self._rows.append({"role": "assistant", "content": "", "tool_calls": [row]})
        self._add(f"\n{_MARK}{json.dumps(function, ensure_ascii=False)}</tool_call>\n", forced=forced, shown=False)


def _id_of(call: Call) -> str:
    said = json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
    return f"call_{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _call_of(row: dict[str, Any]) -> Call:
    calls: Iterator[dict[str, Any]] = iter(row.get("tool_calls") or ())
    function = next(calls, {}).get("function") or {"name": "", "arguments": "{}"}
    return Call(name=function["name"], arguments=json.loads(function["arguments"]))
