"""Other wordings of a question, by rules of English and by a model. Never changes a figure, a name or what is asked.

Training on one wording teaches the wording; a fact that was met in many is found again in one that was not. The rules turn the way of
asking (`How do I …` -> `What do I need to do to …`), swap common words, and frame the question as customers do.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence

from frontdesk.models.protocols import ChatRequest, LanguageModel, complete
from frontdesk.training.facts import key_facts

Rule = tuple[re.Pattern[str], tuple[str, ...]]


def _rules(rows: dict[str, tuple[str, ...]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), forms) for pattern, forms in rows.items())


_TURNS = _rules(
    {
        r"how (?:do|can|could|would) i (?P<x>.+)": (
            "How can I {x}?",
            "What do I need to do to {x}?",
            "I would like to {x}. How does that work?",
            "What is the way to {x}?",
            "Could you explain how to {x}?",
            "How to {x}?",
            "I want to {x}, what are the steps?",
            "Please show me how to {x}.",
            "What should I do if I want to {x}?",
        ),
        r"how (?:do|can|could) we (?P<x>.+)": (
            "What do we need to do to {x}?",
            "We would like to {x}. How does that work?",
            "Could you explain how to {x}?",
            "How can we {x}?",
        ),
        r"(?:can|could|may) i (?P<x>.+)": (
            "Am I able to {x}?",
            "Is it possible to {x}?",
            "I would like to {x}. Is that allowed?",
            "Do you let customers {x}?",
            "May I {x}?",
            "I was wondering whether I can {x}.",
            "Is there a way to {x}?",
            "Would it be possible for me to {x}?",
        ),
        r"(?:can|could|will|would) you (?P<x>.+)": (
            "Are you able to {x}?",
            "Would you {x}?",
            "Is it possible for you to {x}?",
            "I was hoping that you could {x}.",
            "Could you please {x}?",
        ),
        r"do you (?P<x>.+)": (
            "I would like to know whether you {x}.",
            "Is it the case that you {x}?",
            "Does the company {x}?",
            "Can you tell me if you {x}?",
        ),
        r"do i (?:have|need) to (?P<x>.+)": (
            "Must I {x}?",
            "Am I required to {x}?",
            "Is it necessary to {x}?",
            "Can you tell me if I need to {x}?",
        ),
        r"do i (?P<x>.+)": ("Will I {x}?", "I would like to know whether I {x}.", "Can you tell me if I {x}?"),
        r"should i (?P<x>.+)": ("Is it better to {x}?", "Do you advise me to {x}?", "I wonder whether I should {x}."),
        r"how long does (?P<x>.+?) take(?P<y> .+)?": (
            "How much time does {x} take{y}?",
            "How many days does {x} take{y}?",
            "What is the usual waiting time when {x} is under way{y}?",
            "How long do I have to wait for {x}{y}?",
        ),
        r"how long (?P<x>.+)": ("For how much time {x}?", "What length of time {x}?"),
        r"what does (?P<x>.+) cost": (
            "How much is {x}?",
            "What is the price of {x}?",
            "How much do I pay for {x}?",
            "What do you charge for {x}?",
        ),
        r"what happens (?P<w>if|when|to) (?P<x>.+)": (
            "Can you tell me what happens {w} {x}?",
            "What is done {w} {x}?",
            "What are the consequences, what happens {w} {x}?",
        ),
        r"what (?:is|are) (?P<x>the difference .+)": ("Could you explain {x}?", "I do not understand {x}.", "Please tell me {x}."),
        r"what is (?P<x>.+)": (
            "Tell me about {x}.",
            "Could you explain what {x} is?",
            "What's {x}?",
            "I would like to know what {x} is.",
            "Please give me information on {x}.",
        ),
        r"what are (?P<x>.+)": (
            "Tell me about {x}.",
            "Could you list {x}?",
            "I would like to know {x}.",
            "Please give me information on {x}.",
        ),
        r"how many (?P<x>.+)": ("What number of {x}?", "Can you tell me how many {x}?", "I need to know how many {x}."),
        r"how much (?P<x>.+)": ("What amount of {x}?", "Can you tell me how much {x}?", "I need to know how much {x}."),
        r"who can (?P<x>.+)": ("Who is allowed to {x}?", "Which people may {x}?", "Who is eligible to {x}?"),
        r"where do i (?P<x>.+)": ("Where can I {x}?", "In which place do I {x}?", "Where should I look to {x}?"),
        r"when (?:is|are) (?P<x>.+)": ("At what time is it that {x}?", "On which date: {x}?", "Can you tell me when: {x}?"),
        r"is there (?P<x>.+)": ("Do you have {x}?", "I would like to know if there is {x}.", "Does there exist {x}?"),
        r"is (?P<x>.+)": ("I would like to know if this holds: is {x}?", "Can you confirm: is {x}?"),
        r"why (?P<x>.+)": ("For what reason {x}?", "What is the reason, why {x}?", "How come, why {x}?"),
        r"which (?P<x>.+)": ("What {x}?", "Can you tell me which {x}?", "I need to know which {x}."),
    }
)
_SWAPS = tuple(
    (re.compile(rf"\b{old}\b", re.IGNORECASE), new)
    for old, new in {
        "get": "receive", "need": "require", "change": "alter", "set up": "arrange", "cancel": "call off", "send": "transfer",
        "buy": "purchase", "raise": "increase", "lower": "reduce", "find": "locate", "somebody": "someone", "what can i do": "what now",
        "what should i do": "please advise", "what now": "what can I do", "lost": "misplaced", "how do i get it back": "how is it put right",
        "cost": "fee", "charge": "bill", "money": "funds", "mobile": "cell phone", "phone": "telephone", "limit": "maximum", "open": "start",
        "close": "shut down", "take out": "withdraw", "withdraw": "take out", "arrive": "come", "early": "ahead of time", "broken": "faulty",
        "damaged": "broken", "order": "request", "stop": "end", "begin": "start", "help": "assist", "join": "enter", "return": "send back",
        "repay": "pay back", "replacement": "new one", "switch off": "turn off", "switch on": "turn on", "straight away": "at once",
    }.items()
)  # fmt: skip
_FRAMES = (
    "{q}",
    "Hi, {l}",
    "Hello, I have a question. {q}",
    "{q} Thanks in advance.",
    "Quick question: {l}",
    "Please help me: {l}",
    "{n}",
    "Good morning. {q}",
    "I could not find this on your site: {l}",
    "One thing I need to know: {l}",
    "{q} I am not sure.",
    "hey {n}",
)
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "i",
        "my",
        "me",
        "do",
        "does",
        "did",
        "is",
        "are",
        "am",
        "be",
        "can",
        "could",
        "may",
        "will",
        "would",
        "should",
        "to",
        "of",
        "in",
        "on",
        "for",
        "at",
        "it",
        "how",
        "what",
        "when",
        "where",
        "who",
    ]
)


def by_rules(question: str, *, count: int, seed: int = 0) -> list[str]:
    """Up to `count` other wordings, each different from the question and the others when case, marks and frames of politeness are set aside.

    The order mixes the kinds, so that any few of them are unlike one another. The same arguments give the same wordings.
    """
    rng = random.Random(f"{seed}/{question}")  # noqa: S311 - a choice of words
    turned = [*_turned(question)]
    rng.shuffle(turned)
    swapped = [s for text in [question, *turned] for s in _swapped(text)]
    rng.shuffle(swapped)
    keywords = [_keywords(question)]
    frames = list(_FRAMES[1:])
    rng.shuffle(frames)
    bodies = [*itertools.chain.from_iterable(itertools.zip_longest(turned, swapped[: len(turned) + 2], keywords))]
    plain = [body for body in bodies if body]
    framed = [_framed(frame, body) for frame, body in zip(itertools.cycle(frames), [question, *plain, question, *plain], strict=False)]
    found: dict[str, str] = {}
    for text in _mixed(plain, framed):
        found.setdefault(folded(text), text)
    found.pop(folded(question), None)
    return list(found.values())[:count]


async def by_model(question: str, model: LanguageModel, *, count: int) -> list[str]:
    """Up to `count` wordings from a configured model; what drops a figure of the question or says the same is left out."""
    asked = (
        f"Write {count} different ways in which a customer could ask the following question. One per line, no numbers, same meaning, "
        f"keep every name and figure.\n\nQuestion: {question}"
    )
    request = ChatRequest(messages=[{"role": "user", "content": asked}], max_tokens=60 * count, temperature=0.8)
    written = await complete(model, request)
    found: dict[str, str] = {}
    for line in written.splitlines():
        text = re.sub(r"^[\s\d.)*-]+", "", line).strip(" \"'“”")
        if 2 < len(text.split()) <= 60 and set(key_facts(question)) <= set(key_facts(text)):
            found.setdefault(folded(text), text)
    found.pop(folded(question), None)
    return list(found.values())[:count]


def folded(text: str) -> str:
    """What makes two wordings the same: their words, without case and marks."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _mixed(plain: Sequence[str], framed: Sequence[str]) -> Iterator[str]:
    for a, b in itertools.zip_longest(plain, framed):
        yield from (x for x in (a, b) if x)


def _turned(question: str) -> Iterator[str]:
    head, last = _last_sentence(question)
    body = last.rstrip("?.! ")
    for pattern, forms in _TURNS:
        if match := pattern.fullmatch(body):
            groups = {k: v or "" for k, v in match.groupdict().items()}
            for form in forms:
                yield f"{head}{form.format(**groups)}"
            break
    if head:
        yield f"{head}Please help."
        yield f"{head}How do I go on?"


def _swapped(text: str) -> Iterator[str]:
    for pattern, new in _SWAPS:
        if pattern.search(text):
            yield pattern.sub(lambda m, new=new: new.capitalize() if m[0][0].isupper() else new, text, count=1)  # type: ignore[misc]


def _framed(frame: str, body: str) -> str:
    return frame.format(q=body, l=_lower(body), n=re.sub(r"[?.!,'’]", "", body).lower())


def _keywords(question: str) -> str:
    return " ".join(w for w in re.findall(r"[€$£]?[\w'’.,-]*\w%?", question) if w.lower() not in _STOP).lower()


def _last_sentence(text: str) -> tuple[str, str]:
    parts = re.split(r"(?<=[.!?:]) (?=[A-Z])", text.strip())
    return ("".join(f"{p} " for p in parts[:-1]), parts[-1])


def _lower(text: str) -> str:
    first = text.split(maxsplit=1)[0]
    return text if first in ("I", "I'm", "I’d") or (not first[1:].islower() and len(first) > 1) else text[:1].lower() + text[1:]
