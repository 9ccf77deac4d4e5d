"""Step by step to a call: what is missing is found by a read or asked for, one thing at a time; where the operation says so, a yes first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from frontdesk.desk.acting import act, answer, answer_each, failed, read, worked_out
from frontdesk.desk.elicitation import (
    Choices,
    Gathered,
    Record,
    choices_from,
    choices_of,
    condition_of,
    facet_of,
    field_of,
    fitting,
    hint_of,
    listed,
    lists_by_name,
    missing,
    provider_of,
    records_of,
    said_of,
)
from frontdesk.desk.listing import MOST_SHOWN, exactly, list_for
from frontdesk.desk.matter import Attempt, Matter, action_of, details_of, plainly
from frontdesk.desk.wishes import ANYTHING
from frontdesk.domain.conversation import Pending, Route
from frontdesk.domain.events import SlotFilled, SlotRequested
from frontdesk.errors import BadArguments, SignInRequired
from frontdesk.tools.checking import fit
from frontdesk.tools.operation import Argument, Operation, words_of
from frontdesk.tools.slots import kind_of
from frontdesk.tools.understanding import sides_of

CONFIRM_MINUTES = 10
MOST_TRIES = 3
"""Times that a detail is asked for before a human is offered."""
MOST_EACH = 5
"""So many things are looked up one after the other for who asks about all of them."""
EACH = re.compile(r"\b(?:all|both|each|every|everything|total|altogether|combined|overall)\b")
FEW = 5
"""So many results are shown; more are narrowed down first."""


async def go_on(turn: Matter, operation: Operation, gathered: Gathered, words: str, *, tries: int) -> Attempt:
    """Asks for the next thing that is missing, asks for a yes, or calls."""
    turn.events += [SlotFilled(slot=n, value=v) for n, v in gathered.fresh.items()]
    values = dict(gathered.values)
    problem = next(((n, why) for n, why in gathered.problems.items() if n not in values), None)
    if problem is not None:
        return ask_again(turn, operation, values, problem, words, tries=tries + 1)
    if missing(operation, values):
        values.update(await _of_profile(turn, operation, values))
    for argument in missing(operation, values):
        if argument.type == "array":
            waits = await _list(turn, operation, argument, values, words, tries=tries)
            if waits is not None:
                return waits
            continue
        found = await _by_reading(turn, operation, argument, values, words)
        if isinstance(found, Attempt):
            return found
        if found is None or isinstance(found, Choices):
            each = await _each(turn, operation, argument, values, found or choices_of(argument), words)
            if each is not None:
                return each
            told = {n: v for n, v in gathered.fresh.items() if operation.argument(n)} if turn.answering else {}
            lead = turn.say("noted", details=details_of(operation, told, turn.box.rendering)) if told else ""
            return ask(turn, operation, argument, values, words, choices=found, tries=tries, lead=lead)
        values[argument.name] = found
        turn.events.append(SlotFilled(slot=argument.name, value=found, source="earlier"))
    if operation.confirm or (operation.writes and (turn.modelled or turn.implied)):
        return await ask_consent(turn, operation, values, words)
    return await call(turn, operation, values, words)


async def _list(
    turn: Matter, operation: Operation, argument: Argument, values: dict[str, Any], words: str, *, tries: int
) -> Attempt | None:
    """Fills a list as far as the words and a read give it; the question that is left, or None when it is whole."""
    found = await list_for(turn, operation, argument, values, words)
    if found is None:
        return ask(turn, operation, argument, values, words, tries=tries)
    if isinstance(found, list):
        values[argument.name] = found
        turn.events.append(SlotFilled(slot=argument.name, value=found, source="earlier"))
        return None
    begun, choices, thing = found
    if begun:
        values[argument.name] = begun
    return ask(turn, operation, argument, values, words, choices=choices, tries=tries, for_what=thing)


async def _of_profile(turn: Matter, operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the customer's own record gives, of the same name; it is fetched once in a conversation."""
    profile = turn.box.catalog.get(str(turn.briefing.tenant.profile.get("operation", "")))
    if profile is None or profile.writes or profile.required or profile.name == operation.name or turn.customer is None:
        return {}
    before = next((c for c in reversed(turn.conversation.calls) if c.name == profile.name and c.error is None), None)
    data = before.result if before else (await read(turn, profile, {})).data
    named = {words_of(str(k)): v for k, v in data.items()} if isinstance(data, Mapping) else {}
    open_now = [a for a in missing(operation, values) if words_of(a.name) in named]
    return {a.name: fit(a, named[words_of(a.name)])[0] for a in open_now if not fit(a, named[words_of(a.name)])[1]}


async def _by_reading(
    turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any], words: str
) -> Any | Choices | Attempt | None:
    """What a read finds out about a missing argument: its value, the choices there are, or None when no read knows."""
    provider = provider_of(turn.box.catalog, operation, argument, values)
    if provider is None or (provider.needs_customer and turn.customer is None):
        return None
    own = {a.name: values[a.name] for a in provider.required}
    outcome = await read(turn, provider, own)
    if not outcome.ok:
        return None
    listed_records = records_of(outcome.data)
    named = lists_by_name(provider, operation, argument)
    records = [r for r in listed_records if field_of(r, argument, named=named) is not None]
    if listed_records and not records:
        return None
    if not records:
        things = provider.summary.partition(" ")[2].lower() or provider.summary.lower()
        return turn.end(turn.say("none_of_those", what=plainly(things)), Route.DYNAMIC, confidence=0.8)
    kept, _ = fitting(records, operation, words, turn.today)
    choices = choices_from(kept, argument, turn.box.rendering, named=named)
    return choices.values[0] if len(choices.values) == 1 else choices


async def _each(
    turn: Matter, operation: Operation, argument: Argument, values: Mapping[str, Any], offered: Choices | None, words: str
) -> Attempt | None:
    """What a read says of every choice, for "all my accounts"; None when it changes something, more is missing, or one call fails."""
    if operation.writes or offered is None or not 2 <= len(offered.values) <= MOST_EACH or not EACH.search(words.lower()):
        return None
    if any(a.name != argument.name for a in missing(operation, values)) or (operation.needs_customer and not operation.bound):
        return None  # where nothing in a call says whose record it is, `call` has to look first
    try:
        outcomes = [await read(turn, operation, {**values, argument.name: value}) for value in offered.values]
    except (SignInRequired, BadArguments):
        return None
    return await answer_each(turn, operation, outcomes, words) if all(o.ok for o in outcomes) else None


def ask(
    turn: Matter,
    operation: Operation,
    argument: Argument,
    values: Mapping[str, Any],
    words: str,
    *,
    choices: Choices | None = None,
    tries: int = 0,
    lead: str = "",
    for_what: str = "",
) -> Attempt:
    """One short question for one detail; `for_what`: the one thing among several that it is about."""
    offered = choices or choices_of(argument)
    thing = said_of(argument)
    if argument.type == "array" and choices is not None:
        shown = listed(choices.labels[:MOST_SHOWN]) + (", …" if len(choices.labels) > MOST_SHOWN else "")
        question = turn.say("ask_each" if for_what else "ask_several", what=for_what or thing, choices=shown)
    elif offered is not None and len(offered.labels) <= 12:
        question = turn.say("ask_choice", what=thing, choices=listed(offered.labels))
    elif argument.type == "boolean":
        condition, sides = condition_of(argument), sides_of(argument)
        if sides is not None:
            question = turn.say("ask_choice", what=f"the {argument.label}", choices=listed(sides))
        else:
            question = turn.say("ask_whether", what=condition) if condition else turn.say("ask_yes_no", what=thing)
    else:
        question = turn.say("ask_slot", what=thing, hint=hint_of(argument))
    if tries >= MOST_TRIES:
        return turn.end(turn.say("ask_gave_up", what=thing), Route.ELICIT, confidence=0.6)
    pending = Pending(
        kind="slot",
        question=question,
        operation=operation.name,
        slot=argument.name,
        arguments=dict(values),
        choices=offered.labels if offered else (),
        values=offered.values if offered else (),
        words=words[-600:],
        request=turn.request,
        tries=tries,
        proposed=turn.modelled,
    )
    turn.events.append(SlotRequested(pending=pending))
    return turn.end(f"{lead} {question}".strip(), Route.ELICIT, confidence=0.8)


def ask_again(
    turn: Matter, operation: Operation, values: Mapping[str, Any], problem: tuple[str, str], words: str, *, tries: int
) -> Attempt:
    """Says what is wrong with a value and asks for it again."""
    argument = operation.argument(problem[0])
    assert argument is not None  # noqa: S101 - only values for askable arguments are read
    said = said_of(argument)
    lead = turn.say("slot_problem", what=f"{said[:1].upper()}{said[1:]}", why=problem[1])
    return ask(turn, operation, argument, values, words, tries=tries, lead=lead)


async def ask_consent(turn: Matter, operation: Operation, values: Mapping[str, Any], words: str, *, lead: str = "") -> Attempt:
    """States exactly what will happen and waits for a yes."""
    unknown = await _unknown_record(turn, operation, values)
    if unknown is not None:
        return unknown
    details = details_of(operation, values, turn.box.rendering, exactly(turn, operation, values))
    question = turn.say("confirm", what=action_of(operation), details=details)
    pending = Pending(
        kind="confirm",
        question=question,
        operation=operation.name,
        arguments=dict(values),
        expires_at=turn.tools.clock() + timedelta(minutes=CONFIRM_MINUTES),
        words=words[-600:],
        request=turn.request,
    )
    turn.events.append(SlotRequested(pending=pending))
    return turn.end(f"{lead} {question}".strip(), Route.ELICIT, confidence=0.9)


async def _unknown_record(turn: Matter, operation: Operation, values: Mapping[str, Any]) -> Attempt | None:
    """What to say when the customer's own list does not hold the record that is meant."""
    for argument in operation.required:
        if argument.name not in values or kind_of(argument) != "code" or argument.where.value != "path":
            continue
        provider = provider_of(turn.box.catalog, operation, argument, values)
        if provider is None or not provider.needs_customer:
            continue
        done = next((c for c in turn.calls if c.name == provider.name and c.error is None), None)
        outcome = None if done else await read(turn, provider, {a.name: values[a.name] for a in provider.required})
        if outcome is not None and not outcome.ok:
            if operation.bound:
                continue  # the API itself holds the customer to their own records
            return failed(turn, provider, outcome)
        records = records_of(done.result if done else outcome.data if outcome else None)
        held = [field_of(r, argument) for r in records]
        if records and not any(held):
            continue  # the answer is about something else: it cannot tell
        if values[argument.name] not in held:
            said = turn.say("not_yours", what=f"{argument.label} {values[argument.name]}")
            return turn.end(said, Route.REFUSE, confidence=0.85)
    return None


async def call(turn: Matter, operation: Operation, values: Mapping[str, Any], words: str) -> Attempt:
    """Makes the call and says what came of it."""
    if operation.needs_customer and not operation.bound:
        # Nothing in the call says whose record it is: the customer's own list has to.
        unknown = await _unknown_record(turn, operation, values)
        if unknown is not None:
            return unknown
    try:
        if operation.writes:
            return await act(turn, operation, values, words)
        outcome = await read(turn, operation, values)
    except SignInRequired:
        return turn.sign_in(operation, words)
    except BadArguments as wrong:
        name, why = next(iter(wrong.reasons.items()))
        if operation.argument(name) is None:
            raise
        kept = {n: v for n, v in values.items() if n not in wrong.reasons}
        return ask_again(turn, operation, kept, (name, why), words, tries=1)
    if not outcome.ok:
        return failed(turn, operation, outcome)
    narrower = facet_of(operation, outcome.data, values)
    rows = records_of(outcome.data)
    if narrower is not None and len(rows) > FEW and not ANYTHING.search(words.lower()):
        count = turn.say("narrow", count=str(_count(outcome.data, rows)))
        return ask(turn, operation, narrower[0], values, words, choices=narrower[1], lead=count)
    return await answer(turn, operation, await worked_out(turn, operation, outcome), outcome.call, words)


def _count(data: Any, rows: Sequence[Record]) -> int:
    """How many results there are, by the answer's own count where it has one."""
    counts = (
        [v for k, v in data.items() if isinstance(v, int) and str(k) in ("count", "total", "found")] if isinstance(data, Mapping) else []
    )
    return counts[0] if counts else len(rows)
