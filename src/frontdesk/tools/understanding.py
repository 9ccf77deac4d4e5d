"""Argument values in a customer's own words, by the type of the argument and without a model.

Every value found fits the operation's schema, or carries the reason why it does not. Refuses to fill two arguments from one word, and to
read a number out of a date.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from frontdesk.models.protocols import Embedder
from frontdesk.tools.addresses import take_addresses
from frontdesk.tools.amounts import take_numbers
from frontdesk.tools.checking import MONTHS
from frontdesk.tools.codes import take_codes, take_contacts
from frontdesk.tools.consent import Consent, consent, correction
from frontdesk.tools.counting import count_by_noun
from frontdesk.tools.dates import Clock, find_days, find_months, find_times
from frontdesk.tools.lexicon import STOP, stem, words
from frontdesk.tools.naming import shown, take_choices
from frontdesk.tools.offers import pick
from frontdesk.tools.operation import Argument, Operation, words_of
from frontdesk.tools.people import take_people
from frontdesk.tools.slots import (
    Candidate,
    Extracted,
    Reader,
    Span,
    assign,
    give,
    is_free,
    is_free_text,
    kind_of,
    moved,
    open_arguments,
    vocabulary,
    words_near,
)

LONGEST = 200
"""Letters of a message that is compared by meaning."""
MOST_CLAUSES = 4
"""Clauses of an answer that are compared with the choices by themselves."""
CERTAIN = 0.7
"""Confidence from which a number needs no noun to say what it counts."""
SURE = 0.6
"""From this confidence on a value may be used without asking; below it the desk should ask."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A choice the customer was shown, and the value it stands for."""

    label: str
    value: Any


def extract(
    operation: Operation,
    text: str,
    *,
    known: Mapping[str, Any] | None = None,
    today: date,
    choices: Sequence[Offer | str] = (),
    asked: str = "",
    day_first: bool = True,
) -> dict[str, Extracted]:
    """What the text says about the operation's askable arguments, by name.

    `known` values are kept unless the text corrects them. `asked`: the argument the desk has just asked for, then bare answers count
    ("12", "the second one"); `choices`: what it offered for it. `today` is the tenant's day.
    """
    today = _after_known(operation, text, known or {}, today)
    reader = Reader(operation=operation, text=text, known=known or {}, today=today, asked=asked, day_first=day_first)
    reader.taken += [
        m.span() for held in _held_in(reader.known) for m in re.finditer(rf"(?<!\w){re.escape(held)}(?!\w)", text, re.IGNORECASE)
    ]
    _take_offered(reader, choices)
    argument = operation.argument(asked)
    take_addresses(reader)
    free = argument is not None and kind_of(argument) == "words" and not reader.found
    if free and known and corrections(operation, text, known=known, today=today):
        reader = replace(reader, asked="")  # second thoughts about something else are no answer
    elif free:
        _take_words(reader)  # an answer in free words may hold numbers and days that are nobody else's
    for take in (take_codes, take_contacts, _take_days, take_choices, take_people, take_numbers, _take_flags, _take_words):
        take(reader)
    return reader.found


def _held_in(known: Mapping[str, Any]) -> list[str]:
    """Names, numbers and codes that an argument holds already: where they stand again they are no telephone number and no other's name."""
    return [v for v in known.values() if isinstance(v, str) and len(v) > 3 and (sum(c.isdigit() for c in v) > 2 or v[:1].isupper())]


def corrections(operation: Operation, text: str, *, known: Mapping[str, Any], today: date, day_first: bool = True) -> dict[str, Extracted]:
    """Known arguments that the text changes ("no, I meant the 21st", "make it 3 instead"), with their new values; empty when it does not.

    A bare new value belongs to the one known argument of its type; between several it must be named.
    """
    taken_back = correction(text)
    if taken_back is None:
        return {}
    today = about_then(taken_back.rest, known, today)
    denied = _denied(text, known)
    if denied:
        others = {n: v for n, v in known.items() if n not in denied}
        instead = extract(operation, taken_back.rest, known=others, today=today, day_first=day_first)
        found = {n: instead[n] for n in denied if n in instead and instead[n].value != known[n]}
        if found:
            return {n: moved(e, taken_back.start) for n, e in found.items()}
    changed = extract(operation, taken_back.rest, known={}, today=today, day_first=day_first)
    if not set(changed) & set(known):
        changed = _bare_change(operation, taken_back.rest, known, today, day_first)
    return {n: moved(e, taken_back.start) for n, e in changed.items() if n in known and e.value != known[n]}


_BARE_DAY = re.compile(r"\bthe \d{1,2}(?:st|nd|rd|th)\b(?! of\b)(?! (?:" + "|".join(m.lower()[:3] for m in MONTHS) + r"))", re.IGNORECASE)


def about_then(text: str, known: Mapping[str, Any], today: date) -> date:
    """The day from which "no, the 6th" counts: that of the month which the corrected date is in, the first of several."""
    then = sorted(_days_held(known.values()))
    if not then or not _BARE_DAY.search(text):
        return today
    return max(today, then[0].replace(day=1))


def _after_known(operation: Operation, text: str, known: Mapping[str, Any], today: date) -> date:
    """The day from which "out on the 12th" counts, where the day of arrival is known: a pair of days goes forward."""
    days = [a.name for a in operation.askable if kind_of(a) == "day"]
    held = _days_held(v for n, v in known.items() if n in days)
    if len(days) < 2 or len(held) != 1 or not _BARE_DAY.search(text):
        return today
    return max(today, held[0])


def _days_held(values: Iterable[Any]) -> list[date]:
    """The days among values that are known."""
    return [date.fromisoformat(v) for v in values if isinstance(v, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", v)]


def _denied(text: str, known: Mapping[str, Any]) -> list[str]:
    """Arguments whose known value the text takes back by name: "not Leeds"."""
    return [
        name
        for name, value in known.items()
        if re.search(
            rf"\b(?:not|instead of|rather than|no longer)\s+(?:the\s+|to\s+|from\s+)?{re.escape(str(value))}\b", text, re.IGNORECASE
        )
    ]


def _bare_change(operation: Operation, rest: str, known: Mapping[str, Any], today: date, day_first: bool) -> dict[str, Extracted]:
    """The one known argument that a bare new value fits; empty when it fits none or several."""
    fitting = {}
    for name, value in known.items():
        argument = operation.argument(name)
        if argument is None or is_free_text(argument):
            continue
        others = {k: v for k, v in known.items() if k != name}
        alone = extract(operation, rest, known=others, today=today, asked=name, day_first=day_first).get(name)
        if alone is not None and alone.value != value and not alone.problem:
            fitting[name] = alone
    return fitting if len(fitting) == 1 else {}


async def understand(
    operation: Operation,
    text: str,
    *,
    embedder: Embedder | None,
    known: Mapping[str, Any] | None = None,
    today: date,
    choices: Sequence[Offer | str] = (),
    asked: str = "",
    day_first: bool = True,
) -> dict[str, Extracted]:
    """`extract`, and what only meaning tells: how many of something ("two dogs" -> animals: 2), and for an enum that was asked for and not
    named the choice nearest in meaning ("next door" -> `neighbour`).

    Raises ModelUnavailable from the embedder.
    """
    found = extract(operation, text, known=known, today=today, choices=choices, asked=asked, day_first=day_first)
    argument = operation.argument(asked)
    doubtful = {n for n, f in found.items() if f.confidence < CERTAIN and n != asked}
    uncounted = [a for a in operation.askable if a.name not in (known or {}) and (a.name in doubtful or a.name not in found)]
    if embedder is not None and uncounted and len(text) <= LONGEST:
        taken = [f.span for n, f in found.items() if n not in doubtful]
        found |= await count_by_noun(uncounted, text, taken=taken, embedder=embedder)
    if embedder is None or argument is None or asked in found or not argument.enum or argument.type == "array" or len(text) > LONGEST:
        return found
    labels = [f"{shown(argument, value)}" for value in argument.enum]
    said = [text, *(c for c in re.split(r"[,;.!?]\s+", text)[:MOST_CLAUSES] if c.strip() and c != text)]
    vectors = await embedder.embed([*said, *labels])
    scores = (vectors[len(said) :] @ vectors[: len(said)].T).max(axis=1).tolist()
    order = sorted(range(len(labels)), key=lambda i: -scores[i])
    clear = len(order) == 1 or scores[order[0]] - scores[order[1]] >= 0.08
    if scores[order[0]] >= 0.42 and clear:
        found[asked] = Extracted(value=argument.enum[order[0]], span=(0, len(text)), confidence=min(0.75, float(scores[order[0]]) + 0.15))
    return found


def _take_offered(reader: Reader, choices: Sequence[Offer | str]) -> None:
    argument = reader.operation.argument(reader.asked)
    if argument is None or not choices or argument.name in reader.known:
        return
    offers = [c if isinstance(c, Offer) else Offer(label=c, value=c) for c in choices]
    index = pick(reader.text, [o.label for o in offers], today=reader.today)
    if index is not None:
        whole = (0, len(reader.text))
        reader.found[argument.name] = Extracted(value=offers[index].value, span=whole, confidence=0.9)
        reader.taken.append(whole)


_PAST = re.compile(
    r"\b(spent|bought|purchas\w*|birth|born|happened|incident|occur\w*|was|were|since|issued|ordered|received|delivered|paid|invoice|lost|stolen|accident)\b"
)


def _looks_back(argument: Argument) -> bool:
    text = f"{words_of(argument.name)} {argument.description}".lower()
    return _PAST.search(text) is not None and not re.search(r"\b(next|future|coming|wanted|desired)\b", text)


def _take_days(reader: Reader) -> None:
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "day"]
    if wanted:
        backward = _looks_back(wanted[0])
        days = find_days(reader.text, reader.today, past=backward, day_first=reader.day_first)
        _give_moments(reader, wanted, [(d.value.isoformat() if d.value else None, d.span, d.confidence, d.problem) for d in days])
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "moment"]
    if wanted:
        _give_moments(reader, wanted, list(_moments(reader)))
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "month"]
    if wanted:
        months = [
            (m.value, m.span, m.confidence, "") for m in find_months(reader.text, reader.today, past=_month_looks_back(reader, wanted[0]))
        ]
        _give_moments(reader, wanted, months)
    wanted = [a for a in open_arguments(reader) if kind_of(a) == "time"]
    if wanted:
        times = [(_by_day(reader.text, c).strftime("%H:%M"), c.span, c.confidence, "") for c in find_times(reader.text)]
        _give_moments(reader, wanted, times)
    # A day or a time stays one even where no argument wants it: its digits are not a number of anything.
    reader.taken += [d.span for d in find_days(reader.text, reader.today) if d.confidence >= 0.75]
    reader.taken += [c.span for c in find_times(reader.text) if c.confidence >= 0.9]


def _month_looks_back(reader: Reader, argument: Argument) -> bool:
    """Bills and statements lie behind, deadlines and plans ahead; the operation's own words tell which."""
    text = f"{reader.operation.summary} {reader.operation.description} {argument.description}".lower()
    behind = re.search(r"\b(latest|statement|history|invoice|bill|earned|payslips?|spent|usage|past|previous)\b", text)
    ahead = re.search(r"\b(next|upcoming|deadline|cut-?off|forecast|due|schedule|coming)\b", text)
    return behind is not None and ahead is None


def _by_day(text: str, clock: Clock) -> time:
    """The time as it is meant in dealings with a business: "half past two" and "at 3" are in the afternoon, "2:30" and "3am" are as they stand."""
    said = text[slice(*clock.span)].lower()
    plain = not re.search(r"[:.]\d|\d[ .:h]\d|m\b|morning|night|\b0\d", said)
    return clock.value.replace(hour=clock.value.hour + 12) if plain and 1 <= clock.value.hour <= EARLIEST else clock.value


EARLIEST = 6
"""Up to this hour nobody expects a visit before noon."""


def _moments(reader: Reader) -> Iterable[tuple[str | None, Span, float, str]]:
    times = find_times(reader.text)
    for day in find_days(reader.text, reader.today, day_first=reader.day_first):
        if day.value is None:
            yield None, day.span, day.confidence, day.problem
            continue
        clock = min(times, key=lambda c: min(abs(c.span[0] - day.span[1]), abs(day.span[0] - c.span[1])), default=None)
        if clock is not None:
            moment = datetime.combine(day.value, _by_day(reader.text, clock)).isoformat()
            span = (min(day.span[0], clock.span[0]), max(day.span[1], clock.span[1]))
            yield moment, span, min(day.confidence, clock.confidence), ""


def _give_moments(reader: Reader, wanted: list[Argument], rows: Sequence[tuple[str | None, Span, float, str]]) -> None:
    candidates = []
    for value, span, sure, problem in rows:
        if is_free(reader, span):
            shown = value if value is not None else reader.text[span[0] : span[1]]
            candidates.append(Candidate(value=shown, span=span, confidence=sure, problem=problem))
    if candidates:
        assign(reader, wanted, candidates, lambda a, c: 0.2)


def _take_flags(reader: Reader) -> None:
    for argument in open_arguments(reader):
        if argument.type != "boolean":
            continue
        if argument.name == reader.asked:
            answer = consent(reader.text)
            plain = _PLAINLY.match(reader.text)  # nothing is done by it: what follows may explain it
            if answer is not Consent.UNCLEAR or plain is not None:
                agreed = answer is Consent.YES if answer is not Consent.UNCLEAR or plain is None else plain["yes"] is not None
                reader.found[argument.name] = Extracted(value=agreed, span=(0, len(reader.text)), confidence=0.9)
                continue
        words = {stem(w) for w in words_of(argument.name).split()} - {stem(w) for w in ("is", "has", "with", "include", "want", "needs")}
        named = [*words_of(argument.name).split(), *" ".join(sides_of(argument) or ()).split()]
        side = _side_told(reader.text, argument) or _side_said(reader.text, named) or _otherwise_said(reader.text, argument)
        if side is not None:
            reader.found[argument.name] = Extracted(value=side[0], span=side[1], confidence=0.75)
            continue
        for match in re.finditer(r"[^\W_]+", reader.text):
            said = stem(match[0].lower())
            if (said in words or _begins_one(said, words)) and match[0].lower() not in STOP:
                negated = re.search(
                    r"\b(?:no|not|without|don't (?:want|need)(?: any)?|skip(?: the)?)\s*(?:\w+\s+)?$", reader.text[: match.start()].lower()
                )
                reader.found[argument.name] = Extracted(value=negated is None, span=match.span(), confidence=0.7)
                break


_PLAINLY = re.compile(r"\W*(?:(?P<yes>yes|yeah|yep|yup|aye|correct|right)|no|nope|nah)\b(?!\W+(?:but|wait|hang|idea)\b)", re.IGNORECASE)
_SHORTEST_BEGINNING = 5


def _begins_one(said: str, words: Collection[str]) -> bool:
    """Whether a word is the beginning of one of those: who has no "sewer" has no sewerage."""
    return len(said) >= _SHORTEST_BEGINNING and any(w.startswith(said) for w in words)


def sides_of(argument: Argument) -> tuple[str, str] | None:
    """What a flag says when it is true and when it is false, where its description names both: "true for there and back, false for one way"."""
    told = re.search(
        r"\b(?:true|yes)\s*(?:for|means|=|:)\s*(?P<true>[^,;.]{2,40})[,;]?\s*(?:and |or )?(?:false|no)\s*(?:for|means|=|:)\s*(?P<false>[^.;)]{2,40})",
        argument.description,
        re.IGNORECASE,
    )
    return (told["true"].strip(), told["false"].strip()) if told else None


def _side_told(text: str, argument: Argument) -> tuple[bool, Span] | None:
    """Which of a flag's two sides a text says in the document's own words; None for neither and for both."""
    found = {}
    for value, side in zip((True, False), sides_of(argument) or (), strict=False):
        match = re.search(rf"(?<!\w){re.escape(side)}(?!\w)", text, re.IGNORECASE)
        if match is not None:
            found[value] = value, match.span()
    return next(iter(found.values())) if len(found) == 1 else None


def _otherwise_said(text: str, argument: Argument) -> tuple[bool, Span] | None:
    """What is the case when a flag is false, where its description says that and the text does: "false if it has a septic tank"."""
    told = otherwise_of(argument)
    if told is None:
        return None
    named = {stem(w) for w in re.findall(r"[a-z]{4,}", argument.description[: told.start()].lower())}
    telling = {stem(w) for w in re.findall(r"[a-z]{4,}", told["otherwise"].lower()) if w not in _FRAME} - named
    found = [m for m in re.finditer(r"[^\W\d_]+", text) if stem(m[0].lower()) in telling]
    if not found or re.search(rf"{_NOT}(?:\w+\s+)?$", text[: found[0].start()].lower()):
        return None
    return False, (found[0].start(), found[-1].end())


def otherwise_of(argument: Argument) -> re.Match[str] | None:
    """The part of a flag's description that says when it is false."""
    return re.search(r"[,;(]?\s*\b(?:or |and )?(?:false|no)\s+(?:if|when|where|for)\s+(?P<otherwise>[^.;)]+)", argument.description)


_SIDES: tuple[tuple[str, str], ...] = (
    ("day|days|daytime|mornings?|midday", "evenings?|nights?|weekends?|after work"),
    (
        "return|round trip|there and back|both ways|(?:and|then) (?:home|back)(?: again)?|way back too",
        "single|one[ -]way|(?:only|just) (?:there|out|going|over|across)|(?:there|out|over) only|not (?:coming )?back|no return",
    ),
    ("online|remote|video", "in person|on site|face to face"),
    ("indoors?|inside", "outdoors?|outside"),
    ("express|urgent|priority", "standard|normal|regular"),
    ("together|joint|shared", "alone|on my own|just me"),
)
"""What excludes each other: who comes in the evening does not come by day."""
_NOT = r"(?:\b(?:no|not|never|can'?t do|cannot do|can'?t make|without)\s+(?:the\s+)?)"


def _side_said(text: str, named: Collection[str]) -> tuple[bool, Span] | None:
    """Whether a text takes the side of a flag's name or the other one, and where it says so; None for neither and for both."""
    said = text.lower().replace("’", "'")
    for pair in _SIDES:
        own = next((i for i, words in enumerate(pair) if any(re.fullmatch(words, w) for w in named)), None)
        if own is None:
            continue
        found = [
            ((i == own) != bool(match[1]), match.span())
            for i, words in enumerate(pair)
            for match in re.finditer(rf"({_NOT})?\b(?:{words})\b", said)
        ]
        return found[0] if len({value for value, _ in found}) == 1 else None
    return None


_LEAD = re.compile(
    r"^(?:\s*(?:it'?s|it is|its|that'?s|that is|they are|this is|"
    r"my \w+(?: \w+)? is|i'?m|i am|the \w+ is|it was|was|because|for|about|just|well|"
    r"ok(?:ay)?|yes|sure|please|um+|uh|write|put|say|note|actually|rather|i mean|i meant|make it)\b[\s,:]*)+",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”]([^\"“”]{1,300})[\"“”]")


def _take_words(reader: Reader) -> None:
    wanted = [a for a in open_arguments(reader) if kind_of(a) in ("words", "phone", "email", "code", "other") and a.type == "string"]
    for argument in wanted:
        said = _said_for(reader, argument)
        if said is not None and is_free(reader, said.span):
            give(reader, argument, said)


def _said_for(reader: Reader, argument: Argument) -> Candidate | None:
    free = kind_of(argument) == "words"
    name = re.escape(words_of(argument.name)).replace(r"\ ", r"[\s_-]")
    cued = re.search(
        rf"(?<!\ba )(?<!\ban )(?<!\bany )\b{name}\b\s*(?:is\b|was\b|:|=|should be\b|to\b)\s*[\"“]?([^\n\"“”;.!?]{{1,200}})",
        reader.text,
        re.IGNORECASE,
    )
    if free and cued and cued[1].strip() and not re.match(r"\s*(?:in|on|at|still|available|not|there|to|for)\b", cued[1].lower()):
        return Candidate(value=cued[1].strip(), span=cued.span(1), confidence=0.8)
    person = _person(reader, argument) if "name" in words_of(argument.name).split() else None
    if person is not None:
        return person
    if argument.name != reader.asked:
        return (_quoted(reader, argument) or _thing(reader, argument)) if free else None
    if not free:
        return None
    if consent(reader.text) is Consent.YES:
        return None  # "yes that's right, book it" is nobody's name
    begin = _after_second_thoughts(reader.text)
    lead = _LEAD.match(reader.text[begin:])
    start = begin + lead.end() if lead and begin + lead.end() < len(reader.text.rstrip(" .!")) else begin
    value = reader.text[start:].strip().rstrip(".!").strip('"“” ')
    question = reader.text.rstrip().endswith("?")
    return None if question or not value else Candidate(value=value, span=(start, len(reader.text)), confidence=0.75)


def _after_second_thoughts(text: str) -> int:
    """Where the answer begins in "Turkey. No, hang on, she has changed it again, Switzerland": with its last piece, else at the start."""
    back = correction(text)
    if back is None or back.start == 0:
        return 0
    pieces = [m for m in re.finditer(r"[^,.;:!]+", text) if m.end() > back.start and re.search(r"\w", m[0])]
    last = pieces[-1] if pieces else None
    return last.start() if last is not None and len(last[0].split()) <= _LONGEST_THING else 0


def _quoted(reader: Reader, argument: Argument) -> Candidate | None:
    """Words in quotation marks, when this is the only argument they can be for or the text names it."""
    quoted = _QUOTED.search(reader.text)
    if quoted is None:
        return None
    others = [a for a in open_arguments(reader) if kind_of(a) == "words" and a.name != argument.name]
    said = {stem(w) for w in re.findall(r"[^\W\d_]+", reader.text[: quoted.start()].lower())}
    named = bool(said & {stem(w) for w in words_of(argument.name).split()})
    return Candidate(value=quoted[1], span=quoted.span(1), confidence=0.7) if named or not others else None


_FRAME = STOP | words(
    "do does did can could will would shall should has have had am get got give find show tell look see check know let go come say any some "
    "this that these those one ones such whats wheres whens whos hows theres thats im ive id dont doesnt cant wont isnt arent didnt "
    "many much more most all no none also still yet now today tonight tomorrow yesterday currently moment right just already again soon ever "
    "never maybe really hi hello hey thanks thank pls ok okay yes sorry well so but then than too very here where why which left back "
    "coming going gone arriving leaving available free in stock near nearest around about up out over under off down open closed new old good best cheap cheapest price cost "
    "costs much long far often he she they them his her their us mine yours something anything everything someone anyone long way please "
    "spring summer autumn winter fall season weekend morning afternoon evening night day days week weeks month months year years meantime end"
)
_TOLD_ONLY = words(
    "reason comment message note remark description text first last full given family surname contact guest holder customer person"
)
"""Arguments that nobody fills by mentioning something."""
_CUE = re.compile(r"\b(?:in|at|near|of|for|called|named|titled|by|about|around)\s+(?:the\s+)?$", re.IGNORECASE)
_LONGEST_THING = 5
_SHORT_MESSAGE = 12


def _thing(reader: Reader, argument: Argument) -> Candidate | None:
    """The one thing that a message names and the operation's own words do not: "is The Hobbit on the shelf", "a branch in Leeds".

    Only for the one required argument in free words; written small, only where nothing is changed.
    """
    wanted = [a for a in reader.operation.required if kind_of(a) == "words"]
    called = set(words_of(argument.name).split())
    if wanted != [argument] or argument.name in reader.known or called & _TOLD_ONLY or called == {"name"}:
        return None
    idle = vocabulary(reader.operation) | words_near(argument)
    runs: list[list[re.Match[str]]] = [[]]
    for match in re.finditer(r"[^\W_][\w'’&-]*", reader.text):
        word = re.sub(r"['’]s$", "", match[0]).lower()
        inside = not is_free(reader, match.span())
        if (
            inside
            or (word in _FRAME and not _capital(reader.text, match))
            or re.match(r"i['’]", word)
            or (stem(word) in idle and not _capital(reader.text, match))
        ):
            between = runs[-1] and match[0].lower() in ("of", "the", "and") and _capital(reader.text, runs[-1][-1])
            runs[-1:] = [[*runs[-1], match]] if between else [runs[-1], []]
        elif runs[-1] and re.search(r"[.,;:!?]", reader.text[runs[-1][-1].end() : match.start()]):
            runs.append([match])
        else:
            runs[-1].append(match)
    named = [_trimmed(r) for r in runs if _trimmed(r)]
    great = [_between_capitals(reader.text, r) for r in named if any(_capital(reader.text, m) for m in r)]
    cued = [r for r in named if _CUE.search(reader.text[: r[0].start()])]
    small = not reader.operation.writes and len(reader.text.split()) <= _SHORT_MESSAGE
    chosen = great if len(great) == 1 else cued if small and len(cued) == 1 else named if small and len(named) == 1 else []
    if not chosen or len(chosen[0]) > (_LONGEST_THING if chosen is great else 2):
        return None
    first, last = chosen[0][0], chosen[0][-1]
    start = first.start() - 4 if reader.text[max(0, first.start() - 4) : first.start()] == "The " else first.start()
    value = re.sub(r"['’]s$", "", reader.text[start : last.end()])
    return Candidate(value=value, span=(start, last.end()), confidence=0.75 if chosen is great else 0.66 if chosen is cued else 0.62)


def _between_capitals(text: str, run: list[re.Match[str]]) -> list[re.Match[str]]:
    """From the first to the last word that is written as a name."""
    great = [i for i, m in enumerate(run) if _capital(text, m)]
    first = (
        great[0] - 1 if great[0] and run[great[0] - 1][0][:1].isupper() else great[0]
    )  # "Pound Lane, in ...": its first word opens the text
    return run[first : great[-1] + 1]


def _trimmed(run: list[re.Match[str]]) -> list[re.Match[str]]:
    """Without joining words at the end."""
    while run and run[-1][0].lower() in _FRAME:
        run = run[:-1]
    return run


def _capital(text: str, match: re.Match[str]) -> bool:
    """A word written with a capital that does not merely begin a sentence."""
    begins = not re.search(r"[\w,;:\"“)]\s*$", text[: match.start()])
    return match[0][:1].isupper() and not begins and match[0] not in ("I", "I'm", "I've", "I'd", "I'll")


def _person(reader: Reader, argument: Argument) -> Candidate | None:
    match = re.search(
        r"\b(?i:my name is|name'?s|i am|i'm|this is|name:)\s+([^\W\d_][\w'’\-]*(?:\s+[A-Z][\w'’\-]*){0,3})",
        reader.text,
    )
    if match is None and argument.name == reader.asked:
        match = re.search(r"(?:^|[,.!] )([^\W\d_a-z][\w'’\-]*(?:\s+[A-Z][\w'’\-]*){1,3})(?=[,.;]|$)", reader.text)
    if match is None or (match[1][:1].islower() and "name" not in match[0].lower()):
        return None
    parts = match[1].split()
    words = set(words_of(argument.name).split())
    value = parts[0] if words & {"first", "given", "forename"} else parts[-1] if words & {"last", "family", "sur", "surname"} else match[1]
    at = reader.text.index(value, match.start(1))
    return Candidate(value=value, span=(at, at + len(value)), confidence=0.85)
