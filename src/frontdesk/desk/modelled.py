"""Operations that a large model proposes, and its words around their results. The model proposes; every gate of the desk decides.

A proposal that names what does not exist, what nobody gave, or somebody else is dropped, and said in an event; a write always waits for
a plain yes to its exact values. When the model is down the desk chooses by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from frontdesk.desk.draft import Sentence
from frontdesk.desk.drafting import MOST_CALLS, Judged, Writer, judge, next_call, note, objection, task_of
from frontdesk.desk.matter import Attempt, Matter, Proposal
from frontdesk.desk.proposing import CERTAIN
from frontdesk.desk.wishes import is_order
from frontdesk.domain.events import DraftRejected, Event
from frontdesk.errors import ModelUnavailable, TooBusy
from frontdesk.tools.inline import Call, head
from frontdesk.tools.operation import Operation
from frontdesk.tools.strategies import Writing

PROPOSED = 0.85
"""How surely a message counts as being about the operation that a model proposes."""
Gated = Callable[[Operation, Mapping[str, Any]], Awaitable[Attempt]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a model made of a message. `heard`: it answered and proposes nothing."""

    proposal: Proposal | None = None
    heard: bool = False

    @property
    def operation(self) -> Operation | None:
        return self.proposal.operation if self.proposal else None


async def by_model(turn: Matter, writer: Writer, message: str) -> Found:
    """The operation that the model proposes for a message. Nothing found and nothing heard: it is down, or proposed what cannot be."""
    begun = time.monotonic()
    writing = writer.strategy.begin(task_of(turn, message))
    try:
        call = await next_call(writing)
    except (ModelUnavailable, TooBusy) as problem:
        _log.warning("the model proposes nothing (%s): the desk chooses", problem)
        return Found()
    if call is None:
        return Found(heard=not writing.attempted)
    judged = judge(turn, call, message)
    await _audited(turn, judged)
    if judged.operation is None:
        _log.info("a model's call was dropped: %s", judged.objection)
        return Found()
    events: list[Event] = [note(writing, begun)]
    if judged.objection:
        events.append(DraftRejected(sentence=_shortly(call), objection=judged.objection))
    proposal = Proposal(
        operation=judged.operation,
        score=CERTAIN if judged.operation.writes and is_order(message) else PROPOSED,
        text=message,
        known=judged.values,
        writing=writing,
        events=tuple(events),
    )
    return Found(proposal=proposal)


async def written(turn: Matter, proposal: Proposal, writing: Writing, message: str, gated: Gated) -> Attempt:
    """Carries a model's proposal out and lets it go on writing. Its text is the reply when no objection is found, else the desk's own."""
    begun = time.monotonic()
    attempt = await gated(proposal.operation, proposal.known)
    done = [attempt]
    try:
        while attempt.value and not proposal.operation.writes and len(done) <= MOST_CALLS:
            writing.splice(attempt.value)
            call = await next_call(writing)
            if call is None:
                return _worded(turn, writing, done, message, begun)
            judged = judge(turn, call, message)
            await _audited(turn, judged)
            if judged.operation is None or judged.operation.writes or judged.objection:
                turn.events.append(DraftRejected(sentence=_shortly(call), objection=judged.objection or "only one act at a time"))
                break
            attempt = await gated(judged.operation, judged.values)
            done.append(attempt)
    except (ModelUnavailable, TooBusy) as problem:
        _log.warning("the model did not finish (%s): the desk words the reply", problem)
    return _plainly(turn, done)


def _worded(turn: Matter, writing: Writing, done: list[Attempt], message: str, begun: float) -> Attempt:
    """The model's own words, when they hold."""
    rendered = [p for a in done for s in a.draft.sentences for p in (s.text, *s.proofs)]
    told = [a.value for a in done]
    operations = {c.name for a in done for c in a.draft.calls}
    about = [f"{o.summary} {o.description}" for o in turn.box.catalog if o.name in operations]
    turn.events.append(note(writing, begun))
    reason = objection(writing.text, rendered=[*rendered, *told], words=" ".join([message, *about]))
    if reason:
        turn.events.append(DraftRejected(sentence=writing.text[:500], objection=reason))
        return _plainly(turn, done)
    sentence = Sentence(text=writing.text, factual=False)  # proved just now, by what calls returned
    draft = replace(done[-1].draft, sentences=(sentence,), calls=tuple(turn.calls))
    return replace(done[-1], draft=draft, events=tuple(turn.events))


def _plainly(turn: Matter, done: list[Attempt]) -> Attempt:
    """What the desk itself says of all that was found."""
    last = done[-1]
    sentences = tuple(dict.fromkeys(s for a in done for s in a.draft.sentences)) if len(done) > 1 else last.draft.sentences
    return replace(last, draft=replace(last.draft, sentences=sentences, calls=tuple(turn.calls)), events=tuple(turn.events))


async def _audited(turn: Matter, judged: Judged) -> None:
    """A proposal that named what only the verified identity may fill stands in the audit trail."""
    if judged.operation is None or not judged.refused:
        return
    actor = f"customer:{turn.caller.customer}" if turn.caller.customer else "customer:anonymous"
    await turn.tools.store.for_tenant(turn.briefing.tenant.id).desk.audit(
        actor=actor,
        action="tool.bound_argument_refused",
        subject=judged.operation.name,
        detail={"conversation": turn.conversation.id, "named": sorted(judged.refused)[:20]},
    )


def _shortly(call: Call) -> str:
    return head(call)[:300]
