"""Thought, action, observation, as in the ReAct paper. Only the answer is shown; what the model thinks stays with the events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from frontdesk.models.protocols import ChatRequest
from frontdesk.tools.grammar import react_gbnf
from frontdesk.tools.inline import Call, head, read, repair
from frontdesk.tools.strategies.writing import MOST_TOKENS, Means, Strategy, Task, Writing, inert, messages, prompt, step_of, step_schema

OBSERVATION, ACTION, ANSWER, THOUGHT = "Observation:", "Action:", "Answer:", "Thought:"
ANSWER_NOW = "Now give the answer."


class React(Strategy):
    """See the module."""

    name = "react"

    def begin(self, task: Task) -> Writing:
        return _ReactWriting(self.model, task, self._reach)


class _ReactWriting(Writing):
    async def go_on(self) -> AsyncGenerator[str | Call]:
        if self.task.settled is not None and not self._stretches:
            self._add(f"{ACTION} {_written(self.task.settled)}\n", forced=True, shown=False)
            yield self.task.settled
            return
        written, shown = "", 0
        means = Means.OWN
        async with aclosing(self._pieces(self._request)) as pieces:
            async for means, piece in pieces:
                written += piece
                if means is Means.SCHEMA:
                    continue
                call = self._action(written) if "\n" in piece else None
                if call is not None:
                    break
                answer = self._answer(written)
                if len(answer) > shown:
                    yield answer[shown:]
                    shown = len(answer)
        if means is Means.SCHEMA:
            for found in self._step(written):
                yield found
            return
        call = self._action(f"{written}\n") or (self._repaired(written) if means is Means.FREE else None)
        self._add(written if written.endswith("\n") else f"{written}\n", shown=False)
        if call is not None:
            yield call
        else:
            self._shown.append(self._answer(written))

    def splice(self, result: str) -> None:
        self._add(f"{OBSERVATION} {' '.join(inert(result).split())}\n", forced=True, shown=False)

    def _answer(self, written: str) -> str:
        """The answer so far: one line."""
        if self.task.settled is not None and ANSWER not in written:
            return written.partition("\n")[0].strip()
        before, mark, answer = written.rpartition(ANSWER)
        return answer.partition("\n")[0].lstrip() if mark and (not before or before.endswith("\n")) else ""

    def _action(self, written: str) -> Call | None:
        """The call of a whole action line."""
        for line in written.split("\n")[:-1]:
            if line.startswith(ACTION):
                return read(line.removeprefix(ACTION).strip())
        return None

    def _repaired(self, written: str) -> Call | None:
        line = next((row for row in written.split("\n") if row.strip().lower().startswith("action")), "")
        return repair(line.partition(":")[2].strip(), self.task.operations) if line and ANSWER not in written else None

    def _request(self, means: Means) -> ChatRequest:
        rows = messages(prompt("react", self.task), self.task)
        settled = self.task.settled is not None
        begun = self.transcript + (ANSWER if settled else "")
        if means is Means.SCHEMA:
            if begun:
                rows += [{"role": "assistant", "content": self.transcript}, {"role": "user", "content": ANSWER_NOW}]
            return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, json_schema=step_schema(self.task.operations))
        if begun:
            rows.append({"role": "assistant", "content": begun})
        if means is Means.FREE:
            if begun:
                rows.append({"role": "user", "content": ANSWER_NOW})
            return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, stop=(OBSERVATION,))
        grammar = 'root ::= " " [^\\n\\[\\]]{2,200}\n' if settled else react_gbnf(self.task.operations)
        return ChatRequest(messages=rows, max_tokens=MOST_TOKENS, grammar=grammar, stop=(OBSERVATION,))

    def _step(self, written: str) -> list[str | Call]:
        step = step_of(written)
        if step is None:
            return []
        text, call = step
        if call is not None and self.task.settled is None:
            self._add(f"{THOUGHT} {text}\n{ACTION} {_written(call)}\n", shown=False)
            return [call]
        self._add(f"{ANSWER} {text}\n", shown=False)
        self._shown.append(text)
        return [text] if text else []


def _written(call: Call) -> str:
    return head(call).removeprefix("[").removesuffix(" ->")
