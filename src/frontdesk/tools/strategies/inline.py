"""Calls inside the text, the Toolformer way: the model writes up to `->`, is stopped, and goes on behind the result. The default."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from frontdesk.models.protocols import ChatRequest
from frontdesk.tools.grammar import gbnf, terminal
from frontdesk.tools.inline import Call, InlineReader, head, repair, tail
from frontdesk.tools.strategies.writing import (
    MOST_TOKENS,
    Means,
    Strategy,
    Task,
    Writing,
    inert,
    messages,
    named,
    prompt,
    step_of,
    step_schema,
)

GO_ON = "Go on with the reply behind the result, without repeating it."


class Inline(Strategy):
    """See the module."""

    name = "inline"

    def begin(self, task: Task) -> Writing:
        return _InlineWriting(self.model, task, self._reach)


class _InlineWriting(Writing):
    _ended = False

    async def go_on(self) -> AsyncGenerator[str | Call]:
        if self.task.settled is not None:
            async with aclosing(self._framed(self.task.settled)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        reader, written, held = InlineReader(named(self.task)), "", ""
        means = Means.OWN
        async with aclosing(self._pieces(self._request)) as pieces:
            async for means, piece in pieces:
                written += piece
                if means is Means.SCHEMA:
                    continue
                for found in reader.feed(piece):
                    if isinstance(found, Call):
                        self._add(head(found), shown=False)
                        yield found
                        return
                    text, held = _held_back(held + found) if means is Means.FREE else (found, "")
                    self._add(text)
                    if text:
                        yield text
        if means is Means.SCHEMA:
            for found in self._step(written):
                yield found
            return
        rest = held + "".join(str(r) for r in reader.close())
        call = repair(rest, self.task.operations) if means is Means.FREE and rest else None
        if call is not None:
            self._add(head(call), shown=False)
            yield call
        elif rest:
            self._add(rest)
            yield rest

    def splice(self, result: str) -> None:
        self._add(tail(inert(result)), forced=True, shown=False)
        self._shown.append(result)
        if self.task.settled is not None:
            self._add(".", forced=True)

    async def _framed(self, call: Call) -> AsyncGenerator[str | Call]:
        """The wording that leads up to the value of a settled call, then that call."""
        if self._stretches:
            return
        lead, means = "", Means.OWN
        async with aclosing(self._pieces(self._frame_request)) as pieces:
            async for used, piece in pieces:
                lead, means = lead + piece, used
        try:
            lead = json.loads(lead) if lead and means is Means.SCHEMA else lead
        except ValueError:
            return
        if lead.strip() in self.task.frames:
            self._add(f"{lead.strip()} ")
            yield self.text
            self._add(head(call), forced=True, shown=False)
            yield call

    def _frame_request(self, means: Means) -> ChatRequest | None:
        if not self.task.frames or means is Means.FREE:
            return None
        rows = messages(prompt("inline", self.task), self.task)
        if means is Means.SCHEMA:
            return ChatRequest(messages=rows, max_tokens=60, json_schema={"enum": list(self.task.frames)})
        return ChatRequest(messages=rows, max_tokens=60, grammar=f"root ::= {' | '.join(map(terminal, self.task.frames))}\n")

    def _request(self, means: Means) -> ChatRequest:
        rows = messages(prompt("inline", self.task), self.task)
        if self._stretches:
            rows.append({"role": "assistant", "content": self.transcript})
        if means is Means.OWN:
            return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, grammar=gbnf(self.task.operations), stop=("\n",))
        if self._stretches:
            rows.append({"role": "user", "content": GO_ON})
        if means is Means.SCHEMA:
            return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, json_schema=step_schema(self.task.operations))
        return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, stop=("\n",))

    def _step(self, written: str) -> list[str | Call]:
        step = step_of(written)
        if step is None:
            return []
        text, call = step
        self._add(text)
        if call is None:
            return [text] if text else []
        self._add(head(call), shown=False)
        return [text, call] if text else [call]


def _held_back(text: str) -> tuple[str, str]:
    """Text up to the first bracket, and the rest, which may be a call that was nearly right."""
    start = text.find("[")
    return (text, "") if start < 0 else (text[:start], text[start:])
