"""What a message wants done: whether it orders, asks, or only agrees to something. An order is never heard in a question."""

from __future__ import annotations

import re

from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.understanding import clauses_of, points_back
from frontdesk.tools.selection import Choice, Mood, mood_of


def is_order(text: str) -> bool:
    """Whether a message orders something to be done: no question about whether or how, no "what if"."""
    whole = text.lower().replace("’", "'").strip()
    if re.search(r"\b(?:if i|what if|suppose|would i|could i|can i|may i|am i|how (?:do|can|would|could|to)|hypothetical\w*)\b", whole):
        return False
    return any(_orders(clause) for clause in (text, *re.split(r"[,.;!]\s+|\band\b", text)))


def _orders(clause: str) -> bool:
    said = clause.lower().strip()
    if mood_of(clause) is Mood.ORDER:
        return True
    first = re.match(r"^(?:(?:hi|hello|hey|ok|okay|so|and|then|please|pls|just|also|yes|now)\b[\s,!.]*)*(\w+)\s+me\b", said)
    return first is not None and first[1] not in _SHOWS and not said.endswith("?")


def sentences_of(text: str) -> list[str]:
    """The text, and each of its sentences that asks or orders when it has several; a statement beside a question starts nothing."""
    found = [c for c in clauses_of(text) if len(content_words(c)) >= 2]
    wants = [s for s in found if asks(s) or is_order(s) or re.search(r"\bplease\b", s.lower())]
    told = [] if any(asks(c) for c in clauses_of(text)) else found
    return [text, *(wants or told)[:6]] if len(found) > 1 else [text]


def leaning(text: str) -> frozenset[str]:
    """The questions of a text that only say what of the matter before them is meant: "... and how many come with it?"."""
    return frozenset(c for c in clauses_of(text)[1:] if asks(c) and points_back(c) and not AUTHOR.search(c))


def order_heads(text: str) -> list[str]:
    """What a long order orders, without the particulars: "I want to swap the lamp for one in oak and brass" -> "I want to swap the lamp"."""
    found = []
    for clause in re.split(r"[,.;!]\s+|\b(?:and|but|so)\b", text):
        words = clause.split()
        if len(words) < LONG_ORDER or not _orders(clause):
            continue
        cut = next((i for i, w in enumerate(words) if i >= LEAST_HEAD and w.lower() in _PARTICULARS), LONG_ORDER)
        found.append(" ".join(words[:cut]).strip(" ,"))
    return found[:3]


def asks(message: str) -> bool:
    said = message.lower().strip()
    return said.endswith("?") or _ASKING.match(said) is not None


def asks_somewhere(message: str) -> bool:
    """Whether some sentence of a message asks, whatever is told around it."""
    return asks(message) or any(asks(clause) for clause in clauses_of(message))


def wants_done(text: str, choice: Choice) -> bool:
    """Whether a message says that something is wanted done which the operation does by its own verb: "I need A12 moved to Friday"."""
    wanted = _WANTS.match(text.lower().replace("’", "'")) is not None and "?" not in text
    surely = choice.features.get("own_verb", 0.0) > 0 or (choice.operation.confirm and choice.score >= WANTED and choice.margin > 0)
    return wanted and surely and not re.search(r"\bif i\b|\bto know\b", text.lower())


def means(text: str, choice: Choice) -> bool:
    """Whether an act is meant by whoever asks nothing, for it is likely beyond others: "10 gig boost please". It is confirmed before it is done."""
    likely = choice.operation.confirm and choice.score >= PLAINLY and choice.margin >= FAR_AHEAD
    return likely and not asks_somewhere(text) and re.search(r"\bif i\b|\bto know\b", text.lower()) is None


def implies(text: str, choice: Choice) -> bool:
    """Whether a message wants an act without ordering it: told as a matter of fact ("got a reading for you", "A12 can go"), or as a
    request in words of its own ("can you take the money on some other day"). It only begins the act: a detail or a yes is still needed."""
    said = text.lower().replace("’", "'")
    if not choice.operation.writes or re.search(r"\bif i\b|\bto know\b|\bwonder", said):
        return False
    coded = choice.operation.confirm and choice.features.get("codes", 0.0) > 0 and choice.score >= CODED
    if asks_somewhere(text):
        requests = _REQUESTS.match(said) is not None and choice.score >= PLAINLY and choice.margin >= FAR_AHEAD
        return requests or (coded and choice.score >= PLAINLY and _OTHERWISE.search(said) is not None)
    plainly = choice.score >= MEANT and choice.margin >= WELL_AHEAD
    return plainly or coded


def about_oneself(message: str) -> str:
    """The sentences of a message that ask or order, where each of them speaks of its author; else the whole message.

    Who tells of others first and then asks what "I" have left asks for themselves.
    """
    wanted = [s for s in re.split(r"(?<=[.!?])\s+|\n+", message) if asks_somewhere(s) or is_order(s)]
    return " ".join(wanted) if wanted and all(AUTHOR.search(s) for s in wanted) else message


AUTHOR = re.compile(r"\b(?:i|im|ive|me|my|mine|we|us|our|ours)\b", re.IGNORECASE)
"""Speaks of whoever writes."""


def speaks_of_own(text: str) -> bool:
    """Whether a message asks about something that the customer has here already."""
    return _HELD.search(text.replace("’", "'")) is not None and asks_somewhere(text) and not is_order(text)


def wishes(text: str, choice: Choice) -> bool:
    """A clause that begins with the operation's own verb: "freeze it"."""
    if asks(text) or re.search(r"\bif i\b", text.lower()):
        return False
    verb = stem(re.split(r"\W+", choice.operation.summary.lower())[0])
    for clause in re.split(r"[,.;!]\s+|\band\b", text.lower()):
        first = re.match(r"^\s*(?:(?:hi|hello|hey|ok|okay|so|please|pls|just|also)\b[\s,!.]*)*(\w+)", clause)
        if first is not None and stem(first[1]) == verb:
            return True
    return False


def reports(text: str) -> bool:
    """Whether a message tells of a mishap and neither asks nor orders anything: "I lost my card". A wish for help all the same."""
    said = text.lower().replace("’", "'")
    return _MISHAP.search(said) is not None and _SEEKS.search(said) is None and not asks(text) and not is_order(text)


def agrees_to_nothing(text: str) -> bool:
    """A yes where the desk waits for none: it orders nothing."""
    return re.match(r"^\W*(?:yes|yeah|yep|yup|sure|i confirm|confirmed?|i agree|agreed|go ahead|do it)\b", text.lower()) is not None


PLAINLY, FAR_AHEAD = 0.9, 1.5
"""Score and lead in rank from which such an act is meant by whoever asks nothing."""
MEANT, WELL_AHEAD = 0.75, 2.0
"""The same where it is told as a matter of fact and only begun: a detail or a yes is still needed."""
CODED = 0.4
"""The same where the message says the code of what it is about, and the act is confirmed first."""
WANTED = 0.7
"""Score from which an act that is confirmed first is what "I want to ..." means, in other words than its own."""
LONG_ORDER = 9
"""Words from which an order is also read without its particulars."""
LEAST_HEAD = 5
_PARTICULARS = frozenset(["for", "with", "from", "because", "since", "as", "instead", "into", "using", "in", "(", "by"])
_SHOWS = frozenset(
    [
        "show",
        "tell",
        "give",
        "get",
        "let",
        "excuse",
        "forgive",
        "trust",
        "believe",
        "for",
        "to",
        "is",
        "was",
        "about",
        "on",
        "at",
        "with",
        "of",
        "and",
        "did",
        "does",
        "has",
        "cost",
        "costs",
    ]
)
_HELD = re.compile(
    r"\b(?:my|our|mine|ours|(?:did|have|had|do) (?:i|we) (?:(?:still|ever|actually|already|even|also|really) )*(?:got|have|owe|book|booked|order|ordered|buy|bought|pay|paid|send|sent|reserve|reserved|return|returned)|(?:i|we)(?:'ve| have| had| booked| ordered| bought| sent| paid| reserved| signed| made| rented| returned)|"
    r"you (?:gave|sent|booked|charged|took|owe|promised|paid|have for me)|(?:did|have|havent|haven't|has|will|do) (?:you|they) "
    r"(?:give|given|send|sent|book|booked|charge|charged|take|taken|pay|paid|refund|refunded) ?(?:me|us|my|our)?)\b",
    re.IGNORECASE,
)
"""Speaks of something that the customer has here already."""
_MISHAP = re.compile(
    r"\b(?:lost|losing|stolen|stole|nicked|pinched|swiped|theft|robbed|misplaced|mislaid|missing|hacked|scammed|phished|broke|broken|damaged|faulty|defective|"
    r"cracked|leaking|burst|wrong|(?:does|do|did|is|has|have) ?n[o']t (?:work|arrive|come|turn|start|open)\w*|stopped working|never (?:came|arrived))\b"
)
_WANTS = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|and|please|pls|sorry|but)\b[\s,!.]*)*(?:(?:i|we)(?:'d like|'d love| would like| need| want| have to have| wish| could do with|'m after| am after|'re after)|(?:need|want|would like|wanna|gotta|have) to)\b"
)
_REQUESTS = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|and|please|pls|sorry|but)\b[\s,!.]*)*(?:can|could|would|will) (?:you|someone|somebody)\b"
)
_OTHERWISE = re.compile(
    r"\b(?:can|could) (?:i|we) (?:have|get|make|do|move|swap|take)\b.{0,30}\b(?:another|different|other|later|earlier|instead)\b"
)
"""Asks for a change, which is as good as an order."""
_SEEKS = re.compile(r"\b(?:i(?:'d| would) like|i (?:want|need)|looking for|show|find|please|pls)\b|\?")
_ASKING = re.compile(
    r"^\W*(?:(?:and|but|so|ok|okay|wait|hmm+|first|also|sorry)\W+)*"
    r"(?:(?:(?:by|until|till|from|since|at|on|in|for|with|to|about) )?(?:what|how|when|where|who|whom|why|which)(?:['’]?(?:s|re|d|ll))?|"
    r"is|are|can|could|do|does|did|will|would|should|am|has|have|any (?:news|updates?|word|idea|chance|sign)|"
    r"i(?:['’]d| would)? (?:wonder|(?:need|want|like) to know))\b"
)
ANYTHING = re.compile(
    r"\b(?:show (?:me|them|all|everything)|list (?:them|all)|any(?:thing)? (?:will do|is fine|goes)?|no preference|don['’]?t (?:mind|care)|does(?:n['’]?t| not) matter|all of them|"
    r"whatever|whichever|just show)\b"
)
