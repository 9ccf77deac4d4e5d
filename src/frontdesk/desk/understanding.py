"""What a message asks, so that it can be read alone: its separate questions, and what it leaves unsaid because it was said before.

Rewrites nothing that stands on its own. A follow-up gets candidates, most literal first; reading decides which one is answered best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from frontdesk.desk.guardrails import content_words
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.quantities import Dimension, quantities
from frontdesk.domain.conversation import Conversation, Route, Speaker

_CLAUSE = re.compile(r"(?<=[.!?;])\s+|\n+")
_QUESTION = re.compile(
    r"\?\s*$|^(?:(?:and|but|so|also|or|then|plus|hi|hello|hey|ok|please|pls|sorry|well|oh|btw|just)[,:]?\s+)*"
    r"(?:(?:(?:by|until|till|from|since|at|on|in|for|with|to) )?(?:how|what|when|where|which|who|whom)|(?:how|what|when|where|who|why)s|whose|why|can|could|may|do|does|did|is|are|am|will|would|should|shall|has|have|any|must|might|"
    r"tell me|i need|i want|i'd like|i would like|i wonder|wondering|show me|give me|explain|need to know|want to know)\b"
    r"|\b(?:what(?:['’]?s| is) (?:that|it)|how much(?: is (?:that|it))?|how come|is (?:that|it) (?:ok|okay|right|fine|allowed)|what do you (?:charge|want|take))\W*$",
    re.IGNORECASE,
)
_JOINED = re.compile(
    r"\s*(?:,|;|\s+and|\s+plus|\s+&|,\s*and|\?\s*and)\s+"
    r"(?:(?:also|then|(?:un)?til+ then|in the meantime|meanwhile|while (?:i['’]?m|we['’]?re) at it|on top of that|first|second(?:ly)?|last(?:ly)?|finally|if so),?\s+)*"
    r"(?=(?:how (?:much|many|long|often|do|does|can|soon|far|old)|what(?:'s| is| are| do| does| would| will| an?| the| my)?|(?:what|when|where|who|how|why)s|when(?:'s| is| do| does| will)?|where|which|who|why|"
    r"(?:by|until|till|from|at|for|with|to|in) (?:what|when|which|whom|how (?:much|many|long))(?= \w+ \w+ \w+)|"
    r"can (?:i|we|you|he|she|they|my)|could (?:i|we|you)|do (?:i|we|you|they)|does (?:it|that|the|my|your)|"
    r"am i(?= \w+ \w+)|(?:did|would|should|have) (?:i|we|you)(?= \w+ \w+)|has (?:it|my|the|your)(?= \w+ \w+)|is (?:it|there|that|this|my|the|your|our|any)|are (?:there|you|they|we|my|the|your|our|any)|will (?:i|you|it|they))\b)"
    r"|\s*,?\s*\band\s+(?=(?:is|are|do|does|did|can|could|will|would|has|have|should)\s+[\w'’-]+(?:\s+[\w'’-]+)+\s*\?)",
    re.IGNORECASE,
)
_WANTED = re.compile(
    r"^(?:(?:and|also|hi|hello|hey|please|pls)[,:]?\s+)*(?:the |your |my )?(?:\w+ )?"
    r"(?:price|cost|fare|fee|rate|status|state|number|date|time|balance|total|amount|address|opening hours|hours|phone number|deadline)s? (?:of|for|in|on|at|to)\b",
    re.IGNORECASE,
)
"""Begins as the name of what is wanted: "price of a return ticket"."""
_COURTESY = re.compile(
    r"\W*(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|there|all|team|everyone|sir|madam|(?:just |a |one )*(?:quick )?(?:question|one)|"
    r"(?:i was |i'm |am |was )?(?:just )?wondering|sorry(?: to bother| to trouble)?(?: you)?|excuse me|please help|"
    r"(?:many )?thanks|thank you|thanks a lot|in advance|cheers)\W*)+",
    re.IGNORECASE,
)
"""Says nothing but that something will be asked, or was."""
_PREAMBLE = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|so|please)\W+)*(?:i have |i've got |got |just )?(?:two|three|a couple(?: of)?|a few|2|3)\b"
    r"(?:[^:?.!]{0,30}:|(?: \w+){0,2} (?:things?|questions?|ones|qs|queries)\s*(?:,| [-–]))\s*",
    re.IGNORECASE,
)
"""Says only how many questions follow: "two quick ones: ..."."""
_ALSO = re.compile(r"\b(?:also|another thing|second question|one more thing|in addition|besides)\b", re.IGNORECASE)
_ELLIPTIC = re.compile(
    r"^(?:(?:ok(?:ay)?|right|thanks|thank you|thx|great|cool|hm+|ah|oh|good|and|but|so|or|then|what if|well|alright|perfect|fine|sorry|no)[,.!]?\s+)*"
    r"(?:(?:and|but|or|so)\b|what about|how about|what if|same (?:for|with)|(?:and )?(?:for|with|on|in|if|to|from|at|as) (?!me\b)|what's about|whats about)",
    re.IGNORECASE,
)
_POINTING = re.compile(
    r"\b(?:it|its|that|those|these|this|they|them|their|one|ones|he|she|his|her|there|then|the (?:first|second|third|fourth|last|other|same|latter|former) ?(?:one)?|both|either|instead|else|another(?=\W*$))\b",
    re.IGNORECASE,
)
_ONLY_JOINED = re.compile(r"^(?:\w+[,.!]?\s+)?(?:and|but|or|so)\b(?! (?:for|with|on|in|if|to|from|at|as|what if)\b)", re.IGNORECASE)
"""Begins with "and" and the like, which alone leaves nothing unsaid."""
MOST_POINTING = 6
"""Words with a meaning up to which a question that points somewhere is also read behind the one before it in the same message."""
LEAST_ALONE = 2
"""Words with a meaning up to which a question that points to the one before is nothing without it."""
SELF_STANDING = 6
"""Words from which such a question is one of its own, read behind the one before it too."""
CONTINUES = 12
"""Words up to which a question may go on about the matter before it without saying so."""
WHOLE_WORDS = 3
"""With more words that carry meaning a question says what it is about."""
_OTHERS = re.compile(r"^\W*(?:and |what about |how about )*(?:the )?(?:others?|other (?:one|ones|two|three)|rest)\W*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that a message asks. `readings` are ways to read it alone, the most literal first."""

    text: str
    readings: tuple[str, ...]
    context: str = ""
    """What the customer said around the question, in the same message."""
    follow_up: bool = False
    told: str = ""
    """What the desk said last: a follow-up is seldom answered by the same words again."""
    continued: str = ""
    """The part behind the question before it, for what says nothing of its own that any source answers; empty where there was none."""


def parts_of(message: str, conversation: Conversation, lexicon: Lexicon) -> tuple[Part, ...]:
    """The separate questions of a message, in order; the whole message when it asks only one thing."""
    questions, context = _separate(message)
    parts: list[Part] = []
    for text in _each_other(questions, conversation, lexicon):
        readings = _readings(text, context, conversation, lexicon)
        if parts and _POINTING.search(text) and len(set(content_words(text))) <= MOST_POINTING:
            readings = tuple(dict.fromkeys((f"{parts[-1].text.rstrip(' ?')} {text}", *readings)))
        parts.append(
            Part(
                text=text,
                readings=readings,
                context=context,
                follow_up=readings != (f"{context} {text}".strip(),),
                told=_last_reply(conversation),
                continued=_continued(text, readings, conversation),
            )
        )
    return tuple(parts)


def _continued(text: str, readings: Sequence[str], conversation: Conversation) -> str:
    """A short question read as going on about the matter before, when the desk answered that from its sources."""
    before, spoken = _last_question(conversation), [u for u in conversation.utterances if u.speaker is Speaker.DESK]
    answered = bool(spoken) and spoken[-1].route in (Route.FAQ, Route.KNOWLEDGE)
    together = f"{before.rstrip(' ?.!')} {text}"
    return together if before and answered and len(text.split()) <= CONTINUES and together not in readings else ""


def _separate(message: str) -> tuple[list[str], str]:
    """The questions of a message and the statements around them."""
    flat = _PREAMBLE.sub("", re.sub(r"[ \t]+", " ", message).strip())
    clauses = [c.strip() for c in _CLAUSE.split(flat) if c and c.strip()]
    asked: list[str] = []
    told: list[str] = []
    before = ""  # what was told just before
    for clause in clauses:
        pieces = _JOINED.split(clause)
        if len(pieces) > 1 and not content_words(pieces[0]):
            # "Also, when is ...": a word that joins is no piece, and a greeting is none either.
            pieces = [f"{pieces[0]}, {pieces[1]}", *pieces[2:]] if _ALSO.search(pieces[0]) else pieces[1:]
        for piece in pieces:
            said = piece.strip(" ,;")
            if not (_QUESTION.search(piece.strip()) or _WANTED.match(piece.strip())):
                told.append(said)
                before = said
                continue
            # "our 16 year old will be in, is that ok" is a question of its own, and "a bus to the village, how much?" needs what it is about.
            bare = len(set(content_words(said))) <= 1
            if before and (bare or (asked and points_back(said) and len(set(content_words(before))) >= LEAST_ALONE)):
                told.remove(before)
                said = f"{before}, {said}"
            asked.append(said)
            before = ""
    asked = [a for a in asked if content_words(a) or _POINTING.search(a)]
    if len(asked) == 1 and told and all(_COURTESY.fullmatch(t) for t in told):
        return asked, ""
    if len(asked) <= 1:
        return [flat], ""
    return _merge_weak(asked), " ".join(t for t in told if content_words(t))


def clauses_of(text: str) -> list[str]:
    """The sentences of a text, and what they join with "and", "plus" or a comma before another question; in order."""
    found = [p.strip(" ,;") for s in re.split(r"(?<=[.!?;:])\s+|\n+", text) for p in _JOINED.split(s) if p]
    return [c for c in found if content_words(c)]


_TOLD_LAST = re.compile(r",\s*(?:(?:and|but|so|also)\s+)*(?P<told>(?:i|we|he|she|they|my|our)(?:['’]\w+)?\s[^,;?]+)$", re.IGNORECASE)
"""What a customer tells behind a question, at the end of a sentence."""


def _merge_weak(asked: Sequence[str]) -> list[str]:
    """Questions that cannot stand without the one before ("and how long?") stay with it."""
    merged: list[str] = []
    for text in asked:
        said = len(set(content_words(text)))
        weak = said <= 1 or (said <= LEAST_ALONE and points_back(text) and len(text.split()) < SELF_STANDING)
        told = _TOLD_LAST.search(merged[-1]) if merged and weak else None
        if told is not None and len(set(content_words(told["told"]))) >= LEAST_ALONE:
            # "when does it end, and I've lost the card itself, what do you want for another": the last question is about what was told.
            merged[-1] = merged[-1][: told.start()]
            merged.append(f"{told['told']}, {text}")
        elif merged and weak and not _ALSO.search(text):
            merged[-1] = f"{merged[-1].rstrip(' ,;')} {'' if merged[-1].endswith('?') else 'and '}{text}"
        else:
            merged.append(text)
    return merged


def _readings(text: str, context: str, conversation: Conversation, lexicon: Lexicon) -> tuple[str, ...]:
    alone = f"{context} {text}".strip()
    before = _last_question(conversation)
    if not before or not leans_on_history(text):
        return (alone,)
    swapped = _swap(before, text, lexicon)
    if swapped:
        return (swapped,)
    found = [f"{before.rstrip(' ?.!')} {text}"]
    told = _last_reply(conversation)
    if told and _POINTING.search(text):
        found.append(f"{told} {text}")
    found.append(alone)
    return tuple(dict.fromkeys(found))


def _each_other(questions: Sequence[str], conversation: Conversation, lexicon: Lexicon) -> list[str]:
    """ "And the others?" asks for each alternative that the question before did not name; other questions stay as they are."""
    before = _last_question(conversation)
    found: list[str] = []
    for text in questions:
        rest = lexicon.siblings(lexicon.alternatives(before)) if before and _OTHERS.search(text) else frozenset()
        found += [f"and for {name}?" for name in sorted(rest)] if 1 <= len(rest) <= 3 else [text]
    return found


def leans_on_history(text: str) -> bool:
    """Whether a message cannot be understood without what was said before."""
    words = set(content_words(text))
    joined = _ELLIPTIC.search(text.strip())
    if len(words) <= 2 or (joined and (len(words) <= WHOLE_WORDS or not _ONLY_JOINED.search(text.strip()))):
        return True
    return points_back(text)


def points_back(text: str) -> bool:
    """Whether a text points to what stands before it and says little else."""
    return _POINTING.search(text) is not None and len(set(content_words(text))) <= WHOLE_WORDS


def _last_question(conversation: Conversation) -> str:
    """The customer's latest message that says what the matter is, with what later ones added."""
    asked = [u.text for u in conversation.utterances if u.speaker is Speaker.CUSTOMER]
    topic = ""
    for text in asked[-4:]:
        topic = f"{topic.rstrip(' ?.!')} {text}" if topic and leans_on_history(text) else text
    return topic[-600:]


def _last_reply(conversation: Conversation) -> str:
    said = [u.text for u in conversation.utterances if u.speaker is Speaker.DESK]
    return said[-1][:400] if said else ""


def _swap(before: str, text: str, lexicon: Lexicon) -> str:
    """The earlier question with its alternative replaced by the one now named, or its amount by the new amount; empty when nothing fits."""
    now, then = lexicon.alternatives(text), lexicon.alternatives(before)
    replaced = before
    for name in sorted(then, key=len, reverse=True):
        rivals = [n for n in now if n != name and any(n in g and name in g for g in lexicon.groups)]
        if rivals:
            replaced = _without(replaced, name)
    new, old = quantities(text), quantities(before)
    for amount in reversed(old):
        same = amount.dimension is not Dimension.COUNT and any(q.dimension is amount.dimension for q in new)
        if same and replaced == before:
            return f"{before[: amount.start]}{before[amount.end :]} {text}"
    return f"{replaced} {text}" if replaced != before else ""


def _without(text: str, name: str) -> str:
    """`text` without the words whose stems make up `name`."""
    stems = set(name.split())
    return re.sub(r"\s+", " ", re.sub(r"[^\W_]+", lambda m: "" if set(content_words(m[0])) & stems else m[0], text)).strip()
