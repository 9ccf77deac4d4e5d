"""Whose records a message is about. Sees when it names somebody other than the signed-in customer; decides nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from frontdesk.desk.guardrails import stem
from frontdesk.tools.calling import claim_of
from frontdesk.tools.lexicon import words
from frontdesk.tools.operation import Operation

_RELATIONS = (
    "wife|husband|spouse|partner|girlfriend|boyfriend|son|daughter|child|kid|mother|mum|mom|father|dad|parent|brother|sister|grandson|"
    "granddaughter|grandmother|grandfather|granny|grandma|grandpa|uncle|aunt|cousin|nephew|niece|friend|mate|neighbour|neighbor|"
    "colleague|coworker|co-worker|boss|manager|flatmate|roommate|tenant|landlord|employee|assistant|ex"
)
_CLOSE = "wife|husband|spouse|partner|girlfriend|boyfriend|son|daughter|child|mother|mum|mom|father|dad|brother|sister|grandson|granddaughter|friend|mate|colleague|cousin|ex"
"""People whose matters somebody looks after; "for my tax adviser" only says what a thing is for."""
_OF_RELATION = re.compile(
    rf"\b(?:my|our|his|her|their|the) (?:{_RELATIONS})(?:'s|’s|s'|s’)\s+\w+|\b(?:for|of|about|by|behalf of) (?:my|our|a|his|her|their) (?:{_CLOSE})\b|"
    rf"\b(?:does|did|has|is|will|can) (?:my|our) (?:{_RELATIONS})\b|\b(?:on|in) behalf of\b|\bin \w+['’]s name\b|"
    rf"\bmy (?:{_RELATIONS}) (?:[A-Z]\w+ )*(?:booked|ordered|bought|has|had|wants|asked|earns|owns|lost)\b|"
    r"\b(?:his|her|their) (?:\w+ )?(?:number|id|account|order|booking|balance|card|claim|payslip|salary|contract|policy|data|name|details)\b"
)
_POSSESSIVE = re.compile(
    r"\b([^\W\d_]{3,})['’]s\s+(?!(?:the|an?|on|in|at|by|not|been|got|gone|going|coming|sorted|done|all|just|too|so|very|still|now|only|due|off|out|up|down)\b)"
    r"(?:\w+\s+)?[^\W\d_]{3,}"
)
"""Something of somebody's; "payday's the 24th" only shortens an "is"."""
_FULL_NAME = re.compile(r"\b([A-Z][a-zà-ÿ'’-]+)\s+([A-Z][a-zà-ÿ'’-]+)\b")
_ONE_NAME = re.compile(r"\b(?:does|did|has|is|for|of|about|belongs? to)\s+([A-Z][a-zà-ÿ]{2,})\b(?!\s+(?:[A-Z]|\d))")
_BEFORE_PEOPLE = words(
    "for of about from by to me us is does did has had have was are were named called and or as on whose customer client user member "
    "patient guest mr mrs ms miss dr sir lady show give tell cancel check see get find look lookup up change update send read what that if when "
    "account where how much many belongs booked name dear hi hello with than not but because while since name's"
)
"""Words behind which two capitalised words may well be a person; behind others they are what is spoken of."""
_NO_NAMES = frozenset(
    [
        "what",
        "it",
        "that",
        "this",
        "let",
        "there",
        "here",
        "who",
        "how",
        "where",
        "when",
        "today",
        "tomorrow",
        "yesterday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "christmas",
        "easter",
        "year",
        "month",
        "week",
        "day",
        "she",
        "he",
        "everyone",
        "everybody",
        "someone",
        "somebody",
        "anyone",
        "one",
        "other",
        "company",
        "bank",
        "today's",
        "kind",
        "regards",
        "best",
        "dear",
        "thanks",
        "many",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Other:
    """Somebody or something else than the signed-in customer, as a message names it."""

    text: str
    name: str = ""
    """A single name, which may as well be a pet's, a boat's or a product's: the customer's own records tell. Empty: surely somebody else."""


def other_subject(
    message: str, operation: Operation, claims: Mapping[str, Any], *, known_words: Collection[str], own_names: str = ""
) -> Other | None:
    """What in the message names another person's records, for an operation that speaks of the customer's own; None when nothing does.

    `known_words`: stems that stand in the tenant's own texts, which are no names of people. `own_names`: what the customer is called.
    """
    foreign = foreign_id(message, operation, claims)
    if foreign:
        return Other(text=foreign)
    relation = _OF_RELATION.search(message)
    if relation:
        return Other(text=str(relation[0]))
    own = {w.lower() for w in re.findall(r"[^\W\d_]+", f"{own_names} {claims.get('name', '')} {claims.get('given_name', '')}")}
    single: Other | None = None
    for match in _POSSESSIVE.finditer(message):
        place = re.match(r"\s+[A-Z][a-z]", message[match.end() :]) is not None  # "Miller's Yard" is nobody's
        if _is_person(match[1], known_words, own) and not place:
            single = Other(text=match[0], name=match[1])
            break
    for match in _FULL_NAME.finditer(message):
        signed = re.search(
            r"(?:regards|thanks|advance|sincerely|faithfully|yours|cheers)[,.!\s]+(?:\w\.?\s+)?$", message[: match.start()], re.IGNORECASE
        )
        said_own = re.search(r"\b(?:i am|i'm|my name is|this is|name:)\s+$", message[: match.start()], re.IGNORECASE)
        both = all(_is_person(m, known_words, own) for m in (match[1], match[2]))
        thing = re.search(r"\b(?:the|an?|my|this|that|these|those|both|\d+\w?)\s+$", message[: match.start()], re.IGNORECASE)
        before = re.search(r"(\w+)\s+$", message[: match.start()])
        named = before is None or before[1].lower() in _BEFORE_PEOPLE
        if both and named and not (signed or said_own or thing) and match.start() > 0:
            return Other(text=match[0])
    if single is not None:
        return single
    for match in _ONE_NAME.finditer(message):
        if operation.needs_customer and _is_person(match[1], known_words, own):
            return Other(text=match[1], name=match[1])
    return None


def foreign_id(message: str, operation: Operation, claims: Mapping[str, Any]) -> str:
    """An identifier of the form that customers have here, which is not this customer's; empty when there is none."""
    for argument in operation.bound:
        own = claim_of(claims, argument.bound or "")
        pattern = argument.pattern or _shape(str(own or argument.example or argument.schema.get("example") or ""))
        if not pattern or own is None:
            continue
        for token in re.findall(r"[#\w][\w#/-]*", message):
            plain = token.strip("-/#")
            same = re.sub(r"\W", "", plain).casefold() == re.sub(r"\W", "", str(own)).casefold()
            if any(c.isdigit() for c in plain) and not same and re.fullmatch(pattern.strip("^$"), plain, re.IGNORECASE):
                return str(plain)
    return ""


def foreign_code(message: str, data: Any) -> str:
    """A number that a message gives in the form of those in somebody's own records, when it is none of them and it gives none of them; else empty."""
    held = {code.casefold(): code for code in _codes_in(data)}
    said = [t.strip("-/#") for t in re.findall(r"[#\w][\w#/-]*", message)]
    if any(token.casefold() in held for token in said):
        return ""
    shapes = {_shape(code) for code in held.values() if re.match(r"[A-Za-z]{2,}\W?\d", code)}
    return next((t for t in said if any(shape and re.fullmatch(shape, t, re.IGNORECASE) for shape in shapes)), "")


def _codes_in(data: Any) -> Iterator[str]:
    """Values that are one word of letters and digits."""
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, list):
        for entry in data:
            yield from _codes_in(entry)
    elif isinstance(data, str) and re.fullmatch(r"(?=.*[A-Za-z])(?=.*\d)[\w/#-]{3,40}", data):
        yield data


def _shape(example: str) -> str:
    """The form of an identifier with letters and digits: `AB-12` -> AB, a dash, two digits. Plain numbers have none.

    The letters at its beginning say what it is a number of: with others it may be that of an order.
    """
    if not re.search(r"[A-Za-z]", example) or not re.search(r"\d", example):
        return ""
    prefix = re.match(r"[A-Za-z]{2,}(?=\W?\d)", example)
    start = len(prefix[0]) if prefix is not None else 0
    rest = (r"\d" if c.isdigit() else "[A-Za-z]" if c.isalpha() else re.escape(c) for c in example[start:])
    return example[:start] + "".join(rest)


def _is_person(word: str, known: Collection[str], own: Collection[str]) -> bool:
    plain = word.lower()
    return plain not in _NO_NAMES and plain not in own and stem(plain) not in known
