"""The calls themselves, and what is said of their answers. A write is made once, with a key of its own, and stands in the audit trail.

Values stand in a reply only as the platform rendered them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.drafting import phrased
from frontdesk.desk.matter import Attempt, Matter, action_of, details_of, plainly
from frontdesk.desk.subjects import foreign_code
from frontdesk.desk.telling import Told, tell
from frontdesk.domain.conversation import Route, ToolCall
from frontdesk.domain.events import ToolCalled
from frontdesk.tools.builtin import builtin_operations
from frontdesk.tools.calling import Failure, ToolOutcome
from frontdesk.tools.inline import Call
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import money, render

_UNSURE = frozenset({Failure.SLOW, Failure.DOWN, Failure.FAULT, Failure.NOT_JSON, Failure.TOO_LARGE})


async def read(turn: Matter, operation: Operation, values: Mapping[str, Any]) -> ToolOutcome:
    key = operation.name, json.dumps(values, sort_keys=True, default=str)
    if key not in turn.fetched:
        turn.fetched[key] = await turn.box.caller.call(operation, values, turn.claims)
        note(turn, operation, turn.fetched[key])
    return turn.fetched[key]


def note(turn: Matter, operation: Operation, outcome: ToolOutcome, key: str = "") -> None:
    turn.calls.append(outcome.call)
    turn.events.append(
        ToolCalled(call=outcome.call, milliseconds=round(outcome.milliseconds, 1), writes=operation.writes, text=outcome.text, key=key)
    )


async def worked_out(turn: Matter, operation: Operation, outcome: ToolOutcome) -> Any:
    """The answer with the values that are calculated from it, each by a call of its own."""
    data = outcome.data
    if not operation.derived or not isinstance(data, Mapping):
        return data
    known = {**outcome.call.arguments, **{k: v for k, v in data.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}}
    calculate = builtin_operations(now=turn.tools.clock)[0]
    for derived in operation.derived:
        names = re.findall(r"\{([\w.-]+)\}", derived.expression)
        if any(name not in known for name in names):
            continue
        expression = re.sub(r"\{([\w.-]+)\}", lambda m: str(known[m[1]]), derived.expression)
        worked = await turn.box.caller.call(calculate, {"expression": expression}, {})
        note(turn, calculate, worked)
        if worked.ok:
            amount = Decimal(str(worked.data["result"]))
            shown = money(amount, derived.currency) if derived.currency else str(worked.data["result"])
            data = {**data, derived.label: shown}
    return data


async def act(turn: Matter, operation: Operation, values: Mapping[str, Any], words: str) -> Attempt:
    """Acts once: the same request, repeated by a crash or a retry, is only told again."""
    key = idempotency_key(turn.conversation.id, turn.request, operation.name, values)
    done = turn.conversation.acted.get(key)
    if done is not None and done.error is None:
        turn.calls.append(done)
        return await answer(turn, operation, done.result, done, words)
    before = await begun_before(turn, operation, values)
    if before is not None:
        return before
    desk = turn.tools.store.for_tenant(turn.briefing.tenant.id).desk
    actor = f"customer:{turn.customer}" if turn.customer else "customer:anonymous"
    about = {"conversation": turn.conversation.id, "arguments": dict(values), "key": key}
    await desk.audit(actor=actor, action="tool.act", subject=operation.name, detail=about)
    outcome = await turn.box.caller.call(operation, values, turn.claims, idempotency_key=key)
    note(turn, operation, outcome, key)
    came = "done" if outcome.ok else str(outcome.failure)
    await desk.audit(actor=actor, action="tool.acted", subject=operation.name, detail={**about, "outcome": came})
    if not outcome.ok:
        return failed(turn, operation, outcome)
    return await answer(turn, operation, outcome.data, outcome.call, words)


async def begun_before(turn: Matter, operation: Operation, values: Mapping[str, Any]) -> Attempt | None:
    """What to say when this very act was begun already and its answer was lost, by a crash or a customer who left; None when it was not.

    It is never made a second time: not every API keeps its promise about idempotency keys.
    """
    key = idempotency_key(turn.conversation.id, turn.request, operation.name, values)
    if key in turn.conversation.acted:
        return None
    outcomes = await turn.tools.store.for_tenant(turn.briefing.tenant.id).desk.act_outcomes(key)
    if not outcomes:
        return None
    if outcomes[-1] == "done":
        details = details_of(operation, values, turn.box.rendering)
        said = turn.say("done", what=action_of(operation), details=f" ({details})" if details else "")
        return turn.end(said, Route.DYNAMIC, confidence=0.9)
    if outcomes[-1] == "" or outcomes[-1] in _UNSURE:
        return turn.end(turn.say("act_unsure"), Route.DYNAMIC, confidence=0.5)
    return None  # it ended in a refusal: nothing was changed


def failed(turn: Matter, operation: Operation, outcome: ToolOutcome) -> Attempt:
    """One clear sentence on why there is no answer; the cause is in the event."""
    detail = outcome.detail.strip().rstrip(".")
    details = ", ".join(f"{known.label} {v}" for n, v in outcome.call.arguments.items() if (known := operation.argument(n)))
    if outcome.failure is Failure.NOT_FOUND:
        key = "not_yours" if operation.needs_customer else "not_found"
        said = turn.say(key, what=details or plainly(operation.summary.lower()))
    elif outcome.failure in (Failure.CONFLICT, Failure.INVALID) and detail:
        said = turn.say("not_possible_act" if operation.writes else "not_possible", why=detail)
    elif operation.writes and outcome.failure in _UNSURE:
        said = turn.say("act_unsure")
    else:
        said = turn.say("trouble")
    missed = outcome.failure in (Failure.NOT_FOUND, Failure.INVALID) and not operation.writes and not operation.needs_customer
    return replace(turn.end(said, Route.DYNAMIC, confidence=0.5), missed=missed)


async def answer(turn: Matter, operation: Operation, data: Any, call: ToolCall, words: str) -> Attempt:
    if operation.needs_customer and not operation.writes and (other := foreign_code(words, data)):
        return turn.end(turn.say("not_yours", what=other), Route.DYNAMIC, confidence=0.5)
    told, rendered = await _told(turn, operation, data, call, words)
    text, wording = await phrased(turn, operation, told, words, Call(name=call.name, arguments=call.arguments))
    turn.events += wording
    if operation.writes:
        details = details_of(operation, call.arguments, turn.box.rendering)
        text = f"{turn.say('done', what=action_of(operation), details=f' ({details})' if details else '')} {told.text}"
    proofs = (text if operation.writes else told.text, rendered)
    sentence = Sentence(text=text, proofs=proofs, factual=not operation.writes)
    return Attempt(
        draft=Draft(route=Route.DYNAMIC, sentences=(sentence,), confidence=0.9, calls=tuple(turn.calls)),
        events=tuple(turn.events),
        value=told.value or told.text,
        missed=told.rows == 0 and not operation.writes and not operation.needs_customer,
    )


async def answer_each(turn: Matter, operation: Operation, outcomes: Sequence[ToolOutcome], words: str) -> Attempt:
    """The same read for several things, told one after the other in the desk's own words."""
    sentences = []
    for outcome in outcomes:
        told, rendered = await _told(turn, operation, await worked_out(turn, operation, outcome), outcome.call, words)
        sentences.append(Sentence(text=told.text, proofs=(told.text, rendered), factual=True))
    draft = Draft(route=Route.DYNAMIC, sentences=tuple(sentences), confidence=0.8, calls=tuple(turn.calls))
    return Attempt(draft=draft, events=tuple(turn.events), value=draft.text)


async def _told(turn: Matter, operation: Operation, data: Any, call: ToolCall, words: str) -> tuple[Told, str]:
    """What there is to say of an answer, and the whole of it as text, which proves that."""
    told = await tell(
        operation,
        data,
        turn.asked or words,
        arguments=call.arguments,
        today=turn.today,
        embedder=turn.tools.embedder,
        rendering=turn.box.rendering,
        pointing=turn.pointing or (words if turn.asked else ""),
    )
    return told, render(data, operation.response, turn.box.rendering.for_operation(operation))


def idempotency_key(conversation: str, request: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """What makes an act the same act: conversation, the message that asked for it, operation, exact arguments."""
    said = json.dumps([conversation, request, operation, arguments], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:40]
