"""Which operation a part of a message is about, and what is known for it already. Proposes only: calls nothing, asks nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frontdesk.desk.elicitation import field_of, gather, is_telling, missing, pick_record, records_of, shifted
from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.matter import Matter, Proposal
from frontdesk.desk.subjects import foreign_id
from frontdesk.desk.telling import narrowed
from frontdesk.desk.understanding import Part, clauses_of, leans_on_history
from frontdesk.desk.wishes import (
    agrees_to_nothing,
    asks,
    asks_somewhere,
    implies,
    is_order,
    leaning,
    means,
    order_heads,
    reports,
    sentences_of,
    speaks_of_own,
    wants_done,
    wishes,
)
from frontdesk.domain.conversation import Conversation, Route, Speaker, ToolCall
from frontdesk.tools.consent import correction
from frontdesk.tools.everyday import Everyday, everyday
from frontdesk.tools.inline import Call
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering, facts
from frontdesk.tools.selection import Choice
from frontdesk.tools.slots import kind_of
from frontdesk.tools.understanding import extract

SETTLING = 0.6
"""Score of a public look-up from which a guest is not asked to sign in for an act that they did not order."""
IMPLIED = 0.88
"""How sure an act can be that is only implied: the documents are asked too."""
RIVAL = 2.5
"""Lead in rank (log-odds) up to which another look into the customer's own records is as likely, if it holds what the message names."""
POSSIBLE = 0.25
"""Score from which an operation is thought of at all."""
SETTLED = 0.25
"""What an operation gains when everything it needs is already on the table."""
LEANING = 0.75
"""What a follow-up to an answer from documents counts as a matter of its own."""
SLIGHT = 0.1
"""Lead by which the operation of an earlier turn wins over one that the words alone suggest."""
LIVELY = 0.42
"""Score from which a message counts as being about an operation."""
ORDERED = 0.3
"""The same for an order that says in its own verb what the operation does: before anything is done, the customer is asked."""
MOST_DOING = 4
"""So far down the ranks an operation is looked for that does what an order says in its own verb."""
NARROWER = 0.1
"""So much likelier the head of an order must be about the same operation than the whole, to stand for it."""
CLEARLY = 0.2
"""How much less likely a clause must be about live data than the text around it to be another source's matter."""
CLOSE_RIVAL = 1.5
"""Operations this close in rank are told apart by how likely each is the matter at all."""
BEHIND = 0.1
"""What an operation is behind for each unit of rank (log-odds) that another is before it: how likely each is the matter at all says less."""
READIER, READIER_UNSAID = 0.3, 0.15
"""So much likelier a public look-up must be that has to ask for details, before the customer's own records are left alone: where the message
speaks of its author, and where it does not."""
HALF = 0.5
"""Share of what a look-up needs, below which a message may rather ask for the list behind it."""
SHARED = 2
"""Words of their summaries that a look-up and the list of what it works out have in common."""
OFFERED = 0.85
"""Score from which an act is offered that nobody ordered."""
MOST_ADDED = 16
"""Words up to which a message may merely add a detail to the question before it."""
LATELY = 2
"""Messages of the customer before this one in which a choice that is still open may stand."""
OPEN = 0.05
"""What a look-up that has to ask for details is behind one that need not."""
READY = 0.2
"""What a look-up gains when a message gives all the several things that it needs."""
GIVEN, MOSTLY, AHEAD = 2, 0.6, 2.2
"""Details, share of what is needed or said, and lead in rank from which a look-up is meant although its words alone leave it open."""
ALIKE, EXPLAINED = 0.3, 0.4
"""Likeness to an operation's words, and share of what is said that they explain, below both of which it is hardly meant."""
MOST_LEFT = 0.3
"""Tens of words that such a question may say beside it."""
FAR, NEAR, LIKE, WORDED = 2.2, 0.33, 0.5, 0.25
"""Lead in rank, likeness (with shared words or all that is needed, and without), and share of rare words from which a look-up is tried
when nothing else answers."""
OWN_FAR = 1.0
"""The lead that is enough for the customer's own records, when they are spoken of."""
RULELIKE = -1.6
"""How much like a question about rules, and not about how things stand, such a message may be (log-odds)."""
ALONE = 3.5
"""Lead from which such a look-up stands beside what may perhaps be the answer."""
AT_HAND = 0.35
"""How sure a tool must be where it only has to read and no document has an answer."""
NAMED = 2
"""Words up to which a message can be nothing but the name of what an operation gives."""
BUILT_IN = 0.5
"""Score of a question that a built-in operation can answer, and documents perhaps better."""
CERTAIN = 0.9
"""Score from which documents are not even asked."""
SURE = 0.8
"""Score from which a message that was meant to answer a question is taken to be about something else."""


async def built_in(turn: Matter, part: Part) -> Proposal | None:
    """The sum or the days that a whole part asks for; what the tenant's own operations may answer better is left to them."""
    found = everyday(part.text, turn.today) or _translation(turn, part.text)
    operation = turn.box.catalog.get(found.call.name) if found else None
    if found is None or operation is None or operation.run is None:
        return None
    if not found.sure:
        own = await turn.box.selector.rank(part.text, today=turn.today)
        if own and own[0].score >= LIVELY:
            return None
    score = CERTAIN if found.sure else BUILT_IN
    return Proposal(operation=operation, score=score, text=part.text, known=found.call.arguments, repeats=True)


def wants_translation(text: str) -> bool:
    """Whether a message asks to have something put into another language: no operation of a tenant's own is meant."""
    return (
        re.match(r"\W*(?:please\W+|can you\W+|could you\W+)*translate\b", text.lower()) is not None and _TRANSLATE.search(text) is not None
    )


def _translation(turn: Matter, text: str) -> Everyday | None:
    """What a message wants put into another language, where a model does that."""
    asked = _TRANSLATE.search(text) if turn.box.catalog.get("translate") else None
    if asked is None:
        return None
    return Everyday(
        call=Call(name="translate", arguments={"text": asked["text"].strip(" \"'“”"), "language": asked["language"].capitalize()})
    )


async def proposed(turn: Matter, part: Part) -> Proposal | None:
    """The operation that a part is about: a fresh one, or that of an earlier turn once more. Raises ModelUnavailable."""
    text = part.readings[-1] if part.follow_up else part.readings[0]
    taken_up = await _taken_up(turn, part)
    if taken_up is not None:
        return taken_up
    again = await _again(turn, part.text)
    fresh = await _fresh(turn, text, part, turn.conversation)
    last = _last_read(turn)
    picks = last is not None and pick_record(_rows_of(last[0]), part.text, turn.today) is not None
    if again is not None and again.pointing == again.text and picks and fresh is not None and not (fresh.operation.writes or fresh.known):
        return again  # "the second one" is of the list that was just told
    if again is None:
        return fresh if fresh is not None and not fresh.last else await _added(turn, part) or fresh
    if fresh is None or again.score >= min(1.0, fresh.score + SLIGHT) or again.operation.name == fresh.operation.name:
        return again
    return fresh


async def _taken_up(turn: Matter, part: Part) -> Proposal | None:
    """The act for which the last look-up showed what there is, where the message picks one row of that and asks nothing: "the 19th, quarter
    to two", behind the free times for something that the customer wants done. It is stated, and waits for a yes."""
    last = _last_read(turn)
    if last is None or turn.customer is None or asks_somewhere(part.text) or len(part.text.split()) > MOST_ADDED:
        return None
    call, operation, recent = last
    rows = _rows_of(call)
    kept = narrowed(rows, part.text, operation, turn.today) if recent and len(rows) > 1 else []
    if len(kept) != 1:
        return None
    text = f"{_question_before(turn).rstrip(' .')} {part.text}"
    for choice in (await turn.box.selector.rank(text, today=turn.today))[:MOST_DOING]:
        act = choice.operation
        shown = {a.name: v for a in act.askable if (v := field_of(kept[0], a)) is not None}
        if act.writes and act.confirm and choice.score >= CERTAIN and len(shown) >= GIVEN:
            known = {**{n: v for n, v in call.arguments.items() if act.argument(n) is not None}, **shown}
            return Proposal(operation=act, score=1.0, text=text, known=known)
    return None


async def _added(turn: Matter, part: Part) -> Proposal | None:
    """What the customer asked before and this message gives a detail for, where the desk did not take that for a look-up: "what does a tent
    cost?", then "for nine days, the small one"."""
    spoken = [u for u in turn.conversation.utterances if u.speaker is Speaker.DESK]
    before = _question_before(turn)
    told_live = not spoken or spoken[-1].route in (Route.DYNAMIC, Route.ELICIT, Route.HANDOFF)
    if told_live or not before or asks_somewhere(part.text) or is_order(part.text) or len(part.text.split()) > MOST_ADDED:
        return None
    text = f"{before.rstrip(' .')} {part.text}"
    found = await _fresh(turn, text, replace(part, text=text, readings=(text,), follow_up=False), turn.conversation)
    if found is None or found.score < LIVELY or found.last:
        return None
    given = extract(found.operation, part.text, today=turn.today)
    bare = len(content_words(part.text)) <= NAMED  # a place or a name alone is a detail too
    return found if any(not v.problem and (bare or is_telling(found.operation, n)) for n, v in given.items()) else None


async def _fresh(turn: Matter, text: str, part: Part, conversation: Conversation) -> Proposal | None:
    """The best operation for the words, or for the one sentence of them that is about one; one that acts only when they are an order."""
    idle = agrees_to_nothing(part.text)
    mishap = reports(part.text)
    orders = (is_order(part.text) or is_order(text)) and not idle
    best: Choice | None = None
    focus = ""
    likely: dict[str, float] = {}
    rivals: tuple[Operation, ...] = ()
    implied = False
    behind = leaning(text)
    for said in (*sentences_of(text), *order_heads(text)):
        ranked = await turn.box.selector.rank(said, today=turn.today)
        ranked = [c for c in ranked if not c.operation.identifies] if turn.customer or best is not None else ranked
        ranked = _coded(ranked)
        public = any(not (c.operation.writes or c.operation.needs_customer) and c.score >= SETTLING for c in ranked)
        settled = turn.customer is not None or not public  # else a guest is not asked to sign in for an act that they did not order
        meant = {
            c.operation.name
            for c in ranked
            if c.operation.writes
            and (
                orders
                or (not idle and (wishes(part.text, c) or wants_done(part.text, c) or (settled and means(part.text, c))))
                or (not idle and mishap and _offers(turn, c))
            )
        }
        begins = {c.operation.name for c in ranked if settled and not idle and implies(part.text, c)}
        ranked = [c for c in ranked if not c.operation.writes or c.operation.name in meant | begins]
        ranked = ranked if not mishap else [c for c in ranked if c.operation.writes or c.operation.needs_customer]
        ranked = [_as_given(turn, _as_named(c, said), said) for c in ranked]
        close = [c for c in ranked[:3] if c.margin >= -CLOSE_RIVAL or c is ranked[0]]
        doing = [c for c in ranked[:MOST_DOING] if orders and c.operation.writes and c.features.get("own_verb") and c.score >= POSSIBLE]
        found = max(doing[:1] or close, key=lambda c: _among_rivals(c) - _wait(c, said) + READY * _is_ready(c), default=None)
        found = list_first(readier(found, ranked, signed_in=turn.customer is not None), ranked) if found is not None else None
        likely[said] = found.score if found is not None else 0.0
        # A message that gives all that a look-up needs is about that, whatever one sentence of it sounds like.
        if said in behind or (best is not None and not focus and best.score >= LIVELY and _is_ready(best)):
            continue
        # The head of what is already taken for the matter says less of it, and is only better where it is clearly likelier.
        ahead = (
            NARROWER if best is not None and found is not None and said in (focus or text) and found.operation is best.operation else 0.0
        )
        if found is not None and (
            best is None or found.score > best.score + ahead or (best.operation.identifies and found.score >= POSSIBLE)
        ):
            best, focus = found, said if said != text else ""
            implied = found.operation.writes and found.operation.name not in meant
            rivals = _rivals(found, ranked)
    far = best is not None and turn.conversation.pending is None and (_far_ahead(best) or (speaks_of_own(part.text) and _own_ahead(best)))
    if best is None or (best.score < (POSSIBLE if turn.conversation.pending is None else POSSIBLE - SETTLED) and not far):
        return None
    if _hardly(best):
        return None
    known = _from_earlier(turn, best.operation, part.text)
    pending = turn.conversation.pending
    at_hand = pending is not None and bool(best.operation.required) and not missing(best.operation, known)
    score = min(SURE, best.score + SETTLED) if at_hand else best.score
    if score < POSSIBLE and not far:
        return None
    ordered = orders and best.features.get("own_verb", 0.0) > 0
    # An order is no question for documents.
    if implied:
        score = min(score, IMPLIED)
    else:
        score = max(score, CERTAIN) if best.operation.writes and score >= (ORDERED if ordered else LIVELY) else score
    if part.follow_up and not _was_live(turn.conversation):
        score *= LEANING
    rest = _rest(text, focus) if focus else _beside(text, likely, best.score)
    focus = focus or (text.replace(rest, " ").strip() if rest else "")
    unsigned = best.operation.needs_customer and turn.customer is None
    given = best.features.get("open", 0.0) == 0
    unready = unsigned or not (given or best.operation.needs_customer)
    return Proposal(
        implied=implied,
        rivals=rivals,
        unready=unready,
        last=far and score < (LIVELY if unready else AT_HAND),
        rest=rest,
        operation=best.operation,
        score=score,
        text=text,
        asked=part.text if part.context and not focus else "",
        known=known,
        focus=focus,
    )


def _coded(ranked: Sequence[Choice]) -> list[Choice]:
    """Without acts that cannot take a code which the message says, where others can: "A12 can go" is about what has such codes."""
    coded = any(c.features.get("codes") and c.operation.writes for c in ranked)
    kept = [c for c in ranked if not c.operation.writes or c.features.get("codes")] if coded else list(ranked)
    # What was ahead of all others may have been left out.
    ahead = max((c.margin for c in kept), default=0.0)
    return [replace(c, margin=0.0) if c is kept[0] and ahead < 0 else c for c in kept]


def _rivals(found: Choice, ranked: Sequence[Choice]) -> tuple[Operation, ...]:
    """The other looks into the customer's own records that are nearly as likely as this one."""
    if not found.operation.bound or found.operation.writes or found.operation.required:
        return ()
    near = [c for c in ranked if c.operation.bound and not c.operation.writes and not c.operation.required and c.score >= LIVELY]
    return tuple(c.operation for c in near if c.operation is not found.operation and abs(c.margin) <= RIVAL)


def _wait(choice: Choice, said: str) -> float:
    """What a look-up is behind one that can be made at once, unless its own verb is said: "please quote ..."."""
    verb = stem(re.split(r"\W+", choice.operation.summary.lower())[0])
    named = any(stem(w) == verb for w in re.findall(r"[a-z]+", said.lower()))
    return OPEN if choice.features.get("open") and not choice.operation.writes and not named else 0.0


def _among_rivals(choice: Choice) -> float:
    """How likely an operation is the matter, where others are likely too."""
    return choice.score + BEHIND * min(0.0, choice.margin)


def _is_ready(choice: Choice) -> bool:
    """Whether a message gives everything that a look-up needs, and that is more than one thing."""
    return choice.features.get("values", 0.0) >= 1.0 and len(choice.operation.required) > 1 and not choice.operation.writes


def _far_ahead(choice: Choice) -> bool:
    """A look-up that no other comes near, in words that are like its own: better than "I can't find that", where nothing else is."""
    told = choice.features
    worded = told.get("words", 0.0) >= WORDED or told.get("values", 0.0) >= 1.0
    near = told.get("nearest", 0.0) >= (NEAR if worded else LIKE)
    lively = told.get("standing", 0.0) >= RULELIKE
    return near and lively and choice.margin >= FAR and not choice.operation.writes


def _own_ahead(choice: Choice) -> bool:
    """The same for the customer's own records, where the message speaks of what they have here."""
    told = choice.features
    own = choice.operation.needs_customer and not choice.operation.writes and not told.get("open")
    return own and told.get("nearest", 0.0) >= NEAR and choice.margin >= OWN_FAR and told.get("standing", 0.0) >= RULELIKE


def _hardly(choice: Choice) -> bool:
    """A look-up that a message only touches by a value: a question about a chemist in a town is none about the town's weather."""
    told = choice.features
    alike = told.get("nearest", 1.0) >= ALIKE or told.get("explained", 1.0) >= EXPLAINED
    return not (alike or choice.operation.writes or told.get("codes") or choice.score >= LIVELY)


def _offers(turn: Matter, choice: Choice) -> bool:
    """An act that helps after a mishap and is only done after a yes: who lost a card is asked whether it shall be frozen."""
    return turn.customer is not None and choice.operation.confirm and choice.score >= OFFERED and not choice.features.get("own_verb")


def _as_named(choice: Choice, text: str) -> Choice:
    """A read that a message names and does no more, in words that describe no other operation: "quote please"."""
    told = choice.features
    named = told.get("explained", 0.0) == 1.0 and told.get("words", 0.0) == 1.0 and told.get("word_lead", 0.0) >= 0.5
    if choice.operation.writes or not named or len(content_words(text)) > NAMED:
        return choice
    return replace(choice, score=max(choice.score, LIVELY))


def _as_given(turn: Matter, choice: Choice, said: str) -> Choice:
    """A look-up for which a question gives most of what it needs, or that it describes in all but its name, ahead of all others.

    Who says "Gold, I am 41, paid monthly: how much?" means a quote, however much it sounds like a question about rules.
    """
    told, operation = choice.features, choice.operation
    if operation.writes or operation.needs_customer or choice.margin < AHEAD or choice.score >= LIVELY or not asks_somewhere(said):
        return choice
    if choice.margin >= ALONE and _far_ahead(choice):
        return replace(choice, score=LIVELY)
    worded = told.get("words", 0.0) >= 0.7 and told.get("word_lead", 0.0) >= 0.5
    like = told.get("nearest", 0.0) >= 0.6 and told.get("words", 0.0) >= MOSTLY and told.get("word_lead", 0.0) >= 0.2
    described = (worded or like) and told.get("explained", 0.0) >= MOSTLY
    if not described and told.get("left", 1.0) > MOST_LEFT:
        return choice
    read = extract(operation, said, today=turn.today)
    given = [a for a in operation.required if a.name in read and not read[a.name].problem and read[a.name].confidence >= 0.7]
    mostly = len(given) >= GIVEN and len(given) >= MOSTLY * len(operation.required)
    return replace(choice, score=LIVELY) if described or mostly else choice


def readier(found: Choice, ranked: Sequence[Choice], *, signed_in: bool) -> Choice:
    """The customer's own records, where they are nearly as likely as a public look-up that would have to ask for details first: looking
    into them costs nothing, and who is signed in mostly means them. For a guest it is the other way about."""
    if not signed_in and found.operation.needs_customer and not found.operation.writes:
        behind = READIER_UNSAID if found.features.get("personal") else READIER
        public = [c for c in ranked if not (c.operation.needs_customer or c.operation.writes)]
        near = [c for c in public if _among_rivals(c) >= max(LIVELY, _among_rivals(found) - behind)]
        return max(near, key=_among_rivals, default=found)
    if not signed_in or found.operation.writes or found.operation.needs_customer or not found.features.get("open"):
        return found
    own = [c for c in ranked if c.operation.needs_customer and not c.operation.writes and not c.features.get("open")]
    ahead = _among_rivals(found)
    near = [c for c in own if _among_rivals(c) >= max(LIVELY, ahead - (READIER if c.features.get("personal") else READIER_UNSAID))]
    return max(near, key=_among_rivals, default=found)


def list_first(found: Choice, ranked: Sequence[Choice]) -> Choice:
    """The list of what a look-up works out for one thing, where that would have to ask for details first: "what's a drill a day?" is answered
    by the prices of all tools, and wants no quote for so many days."""
    if found.operation.writes or found.operation.needs_customer or not found.features.get("open"):
        return found
    about, told = _summary_words(found.operation), found.features
    lists = [c for c in ranked if not (c.operation.writes or c.operation.needs_customer or c.operation.askable) and c.score >= AT_HAND]
    # Words more like those of the list, and not even half of what is to be given: it is the list that is asked for.
    likelier = [c for c in lists if c.features.get("nearest", 0.0) > told.get("nearest", 1.0) and told.get("values", 1.0) < HALF]
    return next((c for c in lists if c in likelier or len(_summary_words(c.operation) & about) >= SHARED), found)


def _summary_words(operation: Operation) -> set[str]:
    """The words of a summary that say what it is about, as stems."""
    return {stem(w) for w in content_words(operation.summary)}


def _beside(text: str, likely: Mapping[str, float], score: float) -> str:
    """The one clause of a text about an operation that asks something which no operation is about."""
    clauses = clauses_of(text)
    others = [c for c in clauses if asks(c) and c in likely and likely[c] < min(POSSIBLE, score - CLEARLY)]
    return others[0] if len(others) == 1 and len(clauses) > 1 and others[0] in text else ""


def _rest(text: str, focus: str) -> str:
    """The other clauses that ask something, when one clause is the operation's matter."""
    others = [c for c in clauses_of(text) if c not in focus and focus not in c and asks(c)] if focus else []
    return " ".join(others)


async def _again(turn: Matter, text: str) -> Proposal | None:
    """The last read once more, for "and for ...?", "the one before", "and now?" or another value of the same record."""
    last = _last_read(turn)
    if last is None:
        return None
    call, operation, recent = last
    said = text.lower()
    moved = shifted(operation, text, call)
    on_top = await gather(operation, text, embedder=None, today=turn.today, known=call.arguments)
    changed = {n: v for n, v in on_top.fresh.items() if call.arguments.get(n) != v}
    if not any(n in call.arguments for n in changed):
        anew = await gather(operation, text, embedder=None, today=turn.today)
        short = len(content_words(text)) <= 2
        changed |= {n: v for n, v in anew.fresh.items() if call.arguments.get(n) != v and (short or is_telling(operation, n))}
        # One value said anew is that of what was asked about before, and not of something else beside it.
        renewed = [v for n, v in changed.items() if n in call.arguments]
        changed = {n: v for n, v in changed.items() if n in call.arguments or v not in renewed}
    changed |= moved
    leaning = leans_on_history(text)
    if not recent or is_order(text):
        return None
    question = f"{_question_before(turn)} {text}"
    known = dict(call.arguments)
    again = Proposal(operation=operation, score=0.0, text=question, known=known, repeats=True, pointing=text)
    if changed and (leaning or len(content_words(text)) <= 3 or correction(text) is not None):
        bare = not content_words(_without(text, changed.values()))
        return replace(again, score=1.0 if bare else 0.9, known={**known, **changed})
    if not changed and _STILL.search(said):
        return replace(again, score=0.9)
    if _REPEAT.search(said) and not changed and len(content_words(text)) <= 10 and not _MAY.search(said):
        return replace(again, score=0.95)
    if (leaning or _ONE_OF.search(said)) and pick_record(records_of(call.result), text, turn.today) is not None:
        return replace(again, score=LIVELY, text=text)
    rows = _rows_of(call)
    if leaning and len(rows) > 1 and not changed and len(narrowed(rows, text, operation, turn.today)) < len(rows):
        return replace(again, score=0.9)
    if leaning and _names_a_field(text, operation, call, turn.box.rendering):
        return replace(again, score=0.7, text=text)
    return None


def _without(text: str, values: Iterable[Any]) -> str:
    """A text without these values, where it gives them as they are."""
    for value in values:
        text = re.sub(re.escape(str(value)), " ", text, flags=re.IGNORECASE)
    return text


def _from_earlier(turn: Matter, operation: Operation, text: str) -> dict[str, Any]:
    """Arguments that earlier turns settle: the record that is pointed at, and the one that was last spoken of."""
    known: dict[str, Any] = {}
    points = leans_on_history(text) or _POINTS.search(text.lower()) is not None
    earlier = [c for c in turn.conversation.calls if c.error is None][-3:]
    said = extract(operation, text, today=turn.today)
    for argument in operation.askable:
        if argument.name in said and is_telling(operation, argument.name):
            continue  # what the words themselves give counts more than what was last spoken of
        for call in reversed(earlier):
            records = records_of(call.result)
            index = pick_record(records, text, turn.today)
            value = field_of(records[index], argument) if index is not None else None
            if value is None and points and argument.name in call.arguments:
                value = call.arguments[argument.name]
            if value is None and points and argument.required and len(records) == 1 and kind_of(argument) == "code":
                value = field_of(records[0], argument)
            if value is not None:
                known[argument.name] = value
                break
    known.update(_said_before(turn, operation, {*known, *said}))
    pending = turn.conversation.pending
    if pending is not None:
        same = {a.name for a in operation.askable if kind_of(a) != "words"}
        known.update({n: v for n, v in pending.arguments.items() if n in same and n not in known})
    return known


def _said_before(turn: Matter, operation: Operation, have: Collection[str]) -> dict[str, Any]:
    """Choices that the customer named in the last messages and an operation still needs: who just asked about one plan means it."""
    wanted = [a for a in operation.required if a.name not in have and kind_of(a) == "choice"]
    if not wanted or operation.writes:
        return {}
    known: dict[str, Any] = {}
    for text in [u.text for u in turn.conversation.utterances if u.speaker is Speaker.CUSTOMER][-LATELY:]:
        found = extract(operation, text, today=turn.today)
        known.update({a.name: found[a.name].value for a in wanted if a.name in found and found[a.name].confidence >= SURE})
    return known


def names_another(turn: Matter, message: str) -> Operation | None:
    """The operation whose bound identifier the message gives, for somebody else than the signed-in customer."""
    if turn.customer is None:
        return None
    return next((o for o in turn.box.catalog.usable if o.bound and foreign_id(message, o, turn.claims)), None)


def _last_read(turn: Matter) -> tuple[ToolCall, Operation, bool] | None:
    """The latest call that only read, its operation, and whether the desk's last answer came from it."""
    spoken = [u for u in turn.conversation.utterances if u.speaker is Speaker.DESK]
    recent = bool(spoken) and any(u.route in (Route.DYNAMIC, None) for u in spoken[-2:])
    for call in reversed(turn.conversation.calls):
        operation = turn.box.catalog.get(call.name)
        if operation is None or operation.run is not None:
            continue  # what is worked out from an answer follows from that answer
        if not operation.writes and call.name != turn.briefing.tenant.profile.get("operation"):
            return call, operation, recent
    return None


def _rows_of(call: ToolCall) -> list[Mapping[str, Any]]:
    """The records that a call returned; none where it failed."""
    return records_of(call.result) if call.error is None else []


def _was_live(conversation: Conversation) -> bool:
    spoken = [u for u in conversation.utterances if u.speaker is Speaker.DESK]
    return bool(spoken) and spoken[-1].route in (Route.DYNAMIC, Route.ELICIT)


def _question_before(turn: Matter) -> str:
    asked = [u.text for u in turn.conversation.utterances if u.speaker is Speaker.CUSTOMER]
    return asked[-1][-300:] if asked else ""


def _names_a_field(text: str, operation: Operation, call: ToolCall, rendering: Rendering) -> bool:
    """Whether a short follow-up names something that the last answer held."""
    said = set(content_words(text))
    if not said or len(said) > 4 or call.error is not None:
        return False
    labels = {w for f in facts(call.result, operation.response, rendering) for w in content_words(f.label)}
    return bool(said & labels)


_TRANSLATE = re.compile(
    r"\b(?i:translate|put)\b\W*(?P<text>.{2,900}?)\W*\b(?:in|into|to)\s+(?P<language>[A-Z][a-z]+(?: [A-Z][a-z]+)?|[a-z]{4,20})\W*$",
    re.DOTALL,
)
_REPEAT = re.compile(
    r"\b(?:again|now|still|any (?:change|news|update)s?|changed|once more|re-?check|check (?:it )?again|look again|same|latest|update)\b"
)
_ONE_OF = re.compile(r"\bthe (?:first|second|third|fourth|last|other|latter|former) one\b")
_STILL = re.compile(
    r"\b(?:can|could) (?:i|we) still (?:have|get|take) (?:it|that|this|that one|this one)\b|\b(?:is|are) (?:it|that|they|that one) still (?:free|there|available|on|open)\b"
)
"""Asks whether what was just told is still so."""
_MAY = re.compile(r"\b(?:can|could|may|might|should|must) (?:i|we|he|she|they)\b")
"""Asks about what is allowed or can be done, not how things stand now."""
_POINTS = re.compile(
    r"\b(?:it|that|this|those|these|the (?:first|second|third|fourth|last|other|same|latter|former)|same|there|he|she|they|one)\b"
)
