"""A tenant's own question file put to the desk, each answer checked by rule: patterns, route, citations. No model judges."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from frontdesk.desk.recording import FrontOffice
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, TenantId
from frontdesk.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Case:
    """One conversation and what its last reply must be."""

    id: str
    tenant: TenantId
    category: str
    turns: tuple[str, ...]
    must: tuple[re.Pattern[str], ...] = ()
    must_not: tuple[re.Pattern[str], ...] = ()
    routes: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    """Any one of these sources."""
    handoff: bool | None = None
    customer: CustomerId | None = None


@dataclass(kw_only=True)
class Result:
    """How a file of questions went."""

    passed: dict[str, list[bool]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float | int]:
        """Share right by category, then over all."""
        rows: dict[str, float | int] = {name: sum(found) / len(found) for name, found in self.passed.items()}
        every = [ok for found in self.passed.values() for ok in found]
        return {**rows, "all": sum(every) / max(1, len(every)), "questions": len(every)}


def load_cases(path: Path) -> list[Case]:
    """The cases of a question file. Raises BadInput naming the case and what is wrong with it."""
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as why:
        raise BadInput(f"{path}: {why}: give a YAML file with a list of cases") from None
    if not isinstance(rows, list):
        raise BadInput(f"{path}: holds no list of cases: see bench/questions for the format")
    return [_case(path, number, row) for number, row in enumerate(rows, start=1)]


def _case(path: Path, number: int, row: Any) -> Case:
    try:
        expect: Mapping[str, Any] = row["expect"]
        return Case(
            id=str(row["id"]),
            tenant=TenantId(row["tenant"]),
            category=str(row["category"]),
            turns=tuple(str(t) for t in row["turns"]),
            must=tuple(re.compile(p, re.IGNORECASE) for p in _many(expect.get("must"))),
            must_not=tuple(re.compile(p, re.IGNORECASE) for p in _many(expect.get("must_not"))),
            routes=tuple(_many(expect.get("route"))),
            cites=tuple(_many(expect.get("cites"))),
            handoff=expect.get("handoff"),
            customer=CustomerId(row["customer"]) if row.get("customer") else None,
        )
    except (KeyError, TypeError, re.error) as why:
        raise BadInput(f"{path}: case {number}: {why!r}: a case has id, tenant, category, turns and expect") from None


def _many(value: Any) -> list[str]:
    return [] if value is None else [str(v) for v in value] if isinstance(value, list) else [str(value)]


async def evaluate_file(front_office: FrontOffice, path: Path, *, categories: Sequence[str] = ()) -> Result:
    """Plays every case of the file and judges its last reply."""
    cases = await asyncio.to_thread(load_cases, path)
    result = Result()
    for case in cases:
        if categories and case.category not in categories:
            continue
        reply = await play(front_office, case)
        wrong = judge(case, reply)
        result.passed.setdefault(case.category, []).append(not wrong)
        if wrong:
            said = " ".join(reply.text.split()) if reply else "(no reply)"
            result.failures.append(f"{case.id} [{case.category}] {case.turns[-1]!r}\n    {'; '.join(wrong)}\n    -> {said[:300]}")
    return result


async def play(front_office: FrontOffice, case: Case) -> ReplySent | None:
    """Has the conversation of a case; its last reply."""
    caller = Caller(tenant=case.tenant, key=KeyId("evaluation"), role=Role.SERVER, customer=case.customer)
    conversation: ConversationId | None = None
    reply: ReplySent | None = None
    for message in case.turns:
        reply = None
        talk = front_office.talk(caller=caller, message=message, conversation=conversation, channel="evaluation")
        async with aclosing(talk) as events:
            async for record in events:
                conversation = record.conversation
                if isinstance(record.event, ReplySent):
                    reply = record.event
    return reply


def judge(case: Case, reply: ReplySent | None, *, words_only: bool = False) -> list[str]:
    """What is wrong with the last reply of a case; nothing when it is right. `words_only` leaves route, sources and flags aside."""
    if reply is None:
        return ["no reply"]
    wrong = [f"misses {p.pattern[:60]!r}" for p in case.must if not p.search(reply.text)]
    wrong += [f"holds {p.pattern[:60]!r}" for p in case.must_not if p.search(reply.text)]
    if words_only:
        return wrong
    if case.routes and reply.route.value not in case.routes:
        wrong.append(f"route {reply.route.value}")
    sources = {c.source for c in reply.citations}
    if case.cites and not sources & set(case.cites):
        wrong.append(f"cites {sorted(sources)} instead of {' or '.join(case.cites)}")
    if case.handoff is not None and reply.handoff != case.handoff:
        wrong.append(f"handoff {reply.handoff}")
    return wrong
