"""A message read as the answer to what the desk asked: a detail, a yes, a change of mind; None when it is about something else.

Nothing but a plain yes to exactly what was stated, in time, lets an operation act.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from frontdesk.desk.asking import EACH, MOST_EACH, ask, ask_consent, call, go_on
from frontdesk.desk.elicitation import Choices, Gathered, gather, is_telling, missing
from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.intent import Intent
from frontdesk.desk.listing import next_place, replacing, taken
from frontdesk.desk.matter import Attempt, Matter
from frontdesk.desk.proposing import LIVELY, POSSIBLE, SURE
from frontdesk.desk.understanding import leans_on_history
from frontdesk.desk.wishes import ANYTHING, agrees_to_nothing, asks, asks_somewhere
from frontdesk.domain.conversation import Pending, Route
from frontdesk.domain.events import SlotRequested
from frontdesk.tools.consent import Consent, consent, gives_up
from frontdesk.tools.operation import Argument, Operation
from frontdesk.tools.selection import ways_to_say
from frontdesk.tools.slots import kind_of
from frontdesk.tools.understanding import about_then

OWN_MATTER = 2
"""Words with a meaning from which a message that holds nothing of what was asked for may be about something else."""


async def confirmed(turn: Matter, operation: Operation, pending: Pending, message: str) -> Attempt | None:
    """A reply to "shall I?"."""
    then = about_then(message, pending.arguments, turn.today)
    gathered = await gather(operation, message, embedder=None, today=then, known=pending.arguments)
    changed = {n: v for n, v in gathered.values.items() if pending.arguments.get(n) != v}
    answer = consent(message, stated=pending.question, deeds=ways_to_say(operation))
    if answer is Consent.YES and not changed:
        if pending.expires_at is None or pending.expires_at < turn.tools.clock():
            return await ask_consent(turn, operation, pending.arguments, pending.words, lead=turn.say("confirm_expired"))
        return await call(turn, operation, pending.arguments, pending.words)
    if gives_up(message) and not changed:
        return turn.end(turn.say("nothing_done"), Route.ELICIT, confidence=0.9)
    loose = changed or await _replaced(turn, operation, pending, message)
    if loose:
        values = {**pending.arguments, **loose}
        return await ask_consent(turn, operation, values, f"{pending.words} {message}")
    if "?" in message and asks_somewhere(message) and len(content_words(message)) > OWN_MATTER:
        return None  # "hold on, does that mean ...?" is no refusal
    if answer is Consent.NO:
        return turn.end(turn.say("nothing_done"), Route.ELICIT, confidence=0.9)
    if asks(message):
        return None
    if gathered.values and await _restated(turn, operation, pending, message):
        return await ask_consent(turn, operation, pending.arguments, pending.words)
    turn.events.append(SlotRequested(pending=pending))
    return turn.end(turn.say("nothing_done_yet"), Route.ELICIT, confidence=0.7)


async def answered(turn: Matter, operation: Operation, pending: Pending, message: str, intent: Intent) -> Attempt | None:
    """A reply to a question for a detail."""
    if ANYTHING.search(message.lower()) and not missing(operation, pending.arguments) and not operation.writes:
        return await call(turn, operation, pending.arguments, f"{pending.words} {message}")
    argument = operation.argument(pending.slot)
    many = argument is not None and argument.type == "array"
    leaves = _leaves(operation, pending, message)
    if leaves and not many:  # "the one with no light" leaves nothing
        return turn.end(turn.say("dropped"), Route.ELICIT, confidence=0.9)
    turn.answering = True
    labels = Choices(labels=pending.choices, values=pending.values or pending.choices) if pending.choices else None
    asked = pending.slot
    if argument is not None and many:
        whole = await _answered_list(turn, operation, argument, pending, labels, message)
        if whole is not None or leaves:
            return whole or turn.end(turn.say("dropped"), Route.ELICIT, confidence=0.9)
        asked, labels = "", None
    if argument is not None and kind_of(argument) == "words" and asks(message):
        asked = ""
    gathered = await gather(
        operation, message, embedder=turn.tools.embedder, today=turn.today, known=pending.arguments, asked=asked, choices=labels
    )
    words = f"{pending.words} {message}"
    loose = {} if gathered.fresh else await _replaced(turn, operation, pending, message)
    if loose:
        gathered = Gathered(values={**gathered.values, **loose}, fresh=loose)
    side = asks(message) and pending.slot not in gathered.values and pending.slot not in gathered.problems
    if gathered.fresh or gathered.problems:
        if side and not leans_on_history(message) and not gathered.problems:
            return None
        tries = 0 if gathered.fresh else pending.tries
        return await go_on(turn, operation, gathered, words, tries=tries)
    picked = _picked(operation, pending, labels, message) if labels is not None else None
    if picked is not None:
        return await go_on(turn, operation, picked, words, tries=0)
    switched = await _switched(turn, operation, pending, message)
    if switched is not None:
        return await go_on(turn, switched[0], switched[1], words, tries=0)
    if side or intent.route is Route.HANDOFF or _is_courtesy(intent) or await _elsewhere(turn, operation, message):
        return None
    argument = operation.argument(pending.slot)
    if argument is None:
        return None
    again = ask(
        turn, operation, argument, pending.arguments, words, choices=labels, tries=pending.tries + 1, lead=turn.say("not_understood")
    )
    return replace(again, lost=len(content_words(message)) >= OWN_MATTER)


def _picked(operation: Operation, pending: Pending, labels: Choices, message: str) -> Gathered | None:
    """The one choice that a reply mentions; for "all of them" none, and the question is left to whoever asks for each."""
    kept = [v for label, v in zip(labels.labels, labels.values, strict=True) if _mentions(label, message)]
    if len(kept) == 1:
        return Gathered(values={**pending.arguments, pending.slot: kept[0]}, fresh={pending.slot: kept[0]})
    every = EACH.search(message.lower()) is not None and not operation.writes and len(labels.values) <= MOST_EACH
    return Gathered(values=pending.arguments) if every else None


async def _answered_list(
    turn: Matter, operation: Operation, argument: Argument, pending: Pending, labels: Choices | None, message: str
) -> Attempt | None:
    """A reply to "which ones?", or to what one of them is to be replaced by."""
    have, words = list(pending.arguments.get(argument.name, ())), pending.words
    place = await next_place(turn, operation, argument, pending.arguments) if argument.each else None
    if place is not None:
        kept = replacing(place.row, place.found, message)
        if len(kept) > 1:
            chosen = Choices(labels=tuple(r.described for r in kept), values=tuple(r.value for r in kept))
            return ask(
                turn, operation, argument, pending.arguments, words, choices=chosen, tries=pending.tries + 1, for_what=place.row.described
            )
        fresh = [*have, *(r.value for r in kept)] if kept else []
    else:
        fresh, words = taken(argument, message, labels, operation), f"{words} {message}"
    if not fresh:
        return None
    values = {**pending.arguments, argument.name: fresh}
    return await go_on(turn, operation, Gathered(values=values, fresh={argument.name: fresh}), words, tries=0)


async def _restated(turn: Matter, operation: Operation, pending: Pending, message: str) -> bool:
    """The reply names what is to be confirmed, without a yes."""
    said = (await gather(operation, message, embedder=None, today=turn.today)).fresh
    return bool(said) and all(pending.arguments.get(n) == v for n, v in said.items())


async def _replaced(turn: Matter, operation: Operation, pending: Pending, message: str) -> dict[str, Any]:
    """Values in the reply that differ from those to be confirmed: "yes but at 10", "it was 13.20"."""
    if agrees_to_nothing(message) and not re.search(r"\b(?:but|except|only|instead)\b", message.lower()):
        return {}
    if "?" in message and not re.search(r"\b(?:but|instead|make|change)\b", message.lower()):
        return {}
    fresh = (await gather(operation, message, embedder=None, today=turn.today)).fresh
    return {
        n: v
        for n, v in fresh.items()
        if pending.arguments.get(n) != v and (n in pending.arguments) and kind_of(operation.argument(n) or operation.askable[0]) != "words"
    }


async def _switched(turn: Matter, operation: Operation, pending: Pending, message: str) -> tuple[Operation, Gathered] | None:
    """Another read that the answer fits much better than the one the desk took it for: it holds several of its values, and none of ours."""
    asked = operation.argument(pending.slot)
    ranked = (await turn.box.selector.rank(message, today=turn.today))[:2]
    # Who is asked for a code may not have one, and says what they look for; "it's the one on Friday" still speaks of theirs.
    codeless = asked is not None and kind_of(asked) == "code" and re.search(r"\b(?:ones?|my|mine|it|that|this)\b", message.lower()) is None
    if codeless:
        ranked += (await turn.box.selector.rank(f"{pending.words} {message}", today=turn.today))[:2]
    for choice in ranked:
        other = choice.operation
        if other.name == operation.name or other.writes or choice.score < POSSIBLE or (other.needs_customer and not turn.customer):
            continue
        before = await gather(other, pending.words, embedder=None, today=turn.today, known=pending.arguments)
        gathered = await gather(other, message, embedder=None, today=turn.today, known=before.values)
        told = sum(1 for n in gathered.fresh if is_telling(other, n))
        without = codeless and not any(a.name == pending.slot for a in other.askable)
        if told >= 2 or (told and without and choice.score >= LIVELY):
            return other, gathered
    return None


async def _elsewhere(turn: Matter, operation: Operation, message: str) -> bool:
    """The message is about another operation by itself."""
    if len(content_words(message)) < 3:
        return False
    best = (await turn.box.selector.rank(message, today=turn.today))[:1]
    return bool(best) and best[0].operation.name != operation.name and best[0].score >= SURE


def _is_courtesy(intent: Intent) -> bool:
    return intent.route is Route.SMALLTALK and intent.confidence >= SURE


def _leaves(operation: Operation, pending: Pending, message: str) -> bool:
    """The customer wants no more of the matter; a choice that was offered and sounds like it ("no longer needed") is an answer."""
    if any(_plain(label) in _plain(message) for label in pending.choices):
        return False
    plainly = _REFUSES.match(message.lower().replace("’", "'")) is not None  # "to the door, no Saturday" refuses nothing
    refuses = plainly and consent(message) is Consent.NO and not any(c.isdigit() for c in message) and not _is_flag(operation, pending.slot)
    return gives_up(message) or refuses


_REFUSES = re.compile(
    r"\W*(?:(?:oh|ok|okay|well|hm+|sorry|thanks|actually|then|and|but|i think|please)\W+)*"
    r"(?:no|nope|nah|not|none|never|stop|wait|hold|hang|leave|forget|scrap|drop|skip|keep|abort|cancel|better not|i (?:do not|don'?t|would rather not|refuse|decline)|don'?t)\b"
)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _is_flag(operation: Operation, name: str) -> bool:
    argument = operation.argument(name)
    return argument is not None and argument.type == "boolean"


def _mentions(label: str, message: str) -> bool:
    said = {stem(w) for w in re.findall(r"[^\W_]+", message.lower()) if len(w) > 2}
    return bool(said & {stem(w) for w in re.findall(r"[^\W_]+", label.lower()) if len(w) > 2})
