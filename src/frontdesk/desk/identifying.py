"""Who a customer is, for a business that asks for details instead of a sign-in: an operation of its own API finds them, once in a conversation.

Only operations that the document marks (`x-frontdesk: {identifies: FIELD}`) can do that, and only while nobody is known yet: the first
answer stands, whatever is said later. A few wrong details and a human is offered: nobody may try out names for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frontdesk.desk.acting import read
from frontdesk.desk.elicitation import gather, listed, missing, said_of
from frontdesk.desk.matter import IDENTIFY, Attempt, Matter
from frontdesk.domain.conversation import Pending, Route, Speaker
from frontdesk.domain.events import SlotRequested
from frontdesk.tools.addresses import roles_of, without_address
from frontdesk.tools.operation import Operation

MOST_FAILURES = 4
"""Look-ups in vain after which a human is offered."""
LOOKED_BACK = 8
"""Messages of the customer in which details are looked for."""


async def identify(turn: Matter, operation: Operation, words: str, message: str, *, tries: int = 0) -> Attempt | None:
    """Finds the customer from what was said so far, else asks for details; None when the customer is known. Raises ModelUnavailable.

    `operation`: what it is for; it goes on by itself once the customer is known.
    """
    lookups = turn.box.catalog.identifying
    failed = [c for c in turn.conversation.calls if c.error is not None and any(c.name == o.name for o in lookups)]
    lead = ""
    for lookup in lookups:
        values = await _details(turn, lookup, message)
        if missing(lookup, values) or any(c.name == lookup.name and c.arguments == values for c in failed):
            continue
        if len(failed) >= MOST_FAILURES:
            break
        outcome = await read(turn, lookup, values)
        if turn.customer is not None:
            return None
        failed.append(outcome.call)
        lead = turn.say("identify_failed")
    if len(failed) >= MOST_FAILURES:
        return turn.end(turn.say("identify_gave_up"), Route.ELICIT, confidence=0.8)
    question = turn.say("identify", what=_wanted(lookups))
    pending = Pending(
        kind=IDENTIFY,
        question=question,
        operation=operation.name,
        words=words[-600:],
        request=turn.request,
        tries=tries,
        proposed=turn.modelled,
    )
    turn.events.append(SlotRequested(pending=pending))
    return turn.end(f"{lead} {question}".strip(), Route.ELICIT, confidence=0.9)


async def _details(turn: Matter, lookup: Operation, message: str) -> Mapping[str, Any]:
    """What the customer said of themselves in this conversation; later words count more."""
    asking = turn.conversation.pending is not None and turn.conversation.pending.kind == IDENTIFY
    earlier = [u.text for u in turn.conversation.utterances if u.speaker is Speaker.CUSTOMER][-LOOKED_BACK:]
    values: dict[str, Any] = {}
    for said in dict.fromkeys((*earlier, message)):
        text = said if len(roles_of(lookup)) >= 3 else without_address(said)  # where something is to be sent does not say who asks
        values |= (await gather(lookup, text, embedder=None, today=turn.today)).fresh
        if not (asking and said == message):
            continue
        for argument in lookup.required:  # a bare answer: "Ann Lee, 12345"
            if argument.name not in values:
                values |= (await gather(lookup, text, embedder=None, today=turn.today, known=values, asked=argument.name)).fresh
    return values


def _wanted(lookups: tuple[Operation, ...]) -> str:
    """`the e-mail address, or the first name, the last name and the zip code`."""
    return ", or ".join(listed([said_of(a) for a in o.required], "and") for o in lookups)
