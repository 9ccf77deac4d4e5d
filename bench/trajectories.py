"""Published agent trajectories (tau-bench's rows of `messages` with a reward) as events of this program, for benchmarks. Measures nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from frontdesk.domain.conversation import ConversationId, Route, ToolCall, TurnId
from frontdesk.domain.events import Event, HandedOff, MessageReceived, Recorded, ReplySent, ToolCalled
from frontdesk.domain.tenancy import TenantId

ACTS = ("book", "cancel", "update", "send", "modify", "exchange", "return", "change", "create", "delete")
"""How operations begin that act, in a published list of tools that does not say so."""
_START = datetime(2024, 5, 15, 15, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One rated run."""

    task: int
    trial: int
    passed: bool
    events: tuple[Recorded, ...]


def trajectories(file: Path) -> list[Trajectory]:
    """All runs of a file."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [
        Trajectory(task=int(r["task_id"]), trial=int(r["trial"]), passed=r["reward"] >= 1, events=tuple(_recorded(r, n)))
        for n, r in enumerate(rows)
    ]


def _recorded(row: Mapping[str, Any], number: int) -> Iterator[Recorded]:
    id, turn, at = ConversationId(f"run_{number}"), 0, _START
    for seq, event in enumerate(_events(row["messages"]), 1):
        turn += isinstance(event, MessageReceived)
        at += timedelta(seconds=5)
        yield Recorded(position=seq, tenant=TenantId("airline"), conversation=id, turn=TurnId(f"t{turn}"), seq=seq, at=at, event=event)


def _events(messages: list[Mapping[str, Any]]) -> Iterator[Event]:
    results = iter([m for m in messages if m["role"] == "tool"])
    for message in messages:
        text = (message.get("content") or "").replace("###STOP###", "").strip()
        if message["role"] == "user" and text:
            yield MessageReceived(text=text)
        elif message["role"] == "assistant":
            for call in message.get("tool_calls") or ():
                yield from _called(call["function"], next(results, {"content": ""}))
            if text:
                yield ReplySent(text=text, route=Route.DYNAMIC, confidence=1.0)


def _called(function: Mapping[str, str], result: Mapping[str, Any]) -> Iterator[Event]:
    name, content = function["name"], str(result["content"])
    if name == "think":
        return
    if name.startswith("transfer_to_human"):
        yield HandedOff(category="not_answerable", summary=function["arguments"])
        return
    failed = content.startswith("Error")
    try:
        value: Any = json.loads(content)
    except ValueError:
        value = content
    call = ToolCall(
        name=name, arguments=json.loads(function["arguments"]), result=None if failed else value, error=content if failed else None
    )
    yield ToolCalled(call=call, writes=name.startswith(ACTS), text="" if failed else content[:200])
