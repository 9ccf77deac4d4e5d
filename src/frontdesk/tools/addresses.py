"""Postal addresses in a text, for operations that take one in parts: street, flat, town, state, code, country.

Refuses to read one where no house number or box stands, and gives a part to an argument only where the argument's own name asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from frontdesk.tools.lexicon import words
from frontdesk.tools.operation import Argument, Operation, once, words_of
from frontdesk.tools.slots import Candidate, Reader, Span, fitted, give, open_arguments

_NAMES: Mapping[str, frozenset[str]] = {
    "street": words("address1 street line1 street1 addressline1 streetaddress"),
    "flat": words("address2 line2 street2 addressline2 suite apartment unit flat"),
    "town": words("city town locality place"),
    "state": words("state province region county"),
    "code": words("zip postcode postal zipcode postalcode plz"),
    "country": words("country nation"),
}
_FLAT = re.compile(r"^(?:suite|ste|apt|apartment|unit|flat|floor|room|building|#)\b\.?\s*\S+|^\d+(?:st|nd|rd|th) floor$", re.IGNORECASE)
_STREET = re.compile(
    r"(?:\bp\.?\s?o\.? box\s+)?\b\d+[a-z]?\s+[^\W\d_][\w.'’ -]{2,50}$|\b[A-ZÄÖÜ][\wäöüß.-]+(?:straße|strasse|str\.|weg|platz)\s+\d+\w?$",
    re.IGNORECASE,
)
_COUNTRY = re.compile(
    r"^(?:the )?(?:usa?|u\.s\.a?\.?|united states(?: of america)?|uk|united kingdom|canada|ireland|germany|france|spain|italy|austria|"
    r"switzerland|netherlands|belgium|portugal|poland|sweden|norway|denmark|finland|australia|new zealand|india|japan|mexico|brazil)$",
    re.IGNORECASE,
)
_CODE = r"(?:\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{4}(?: ?[A-Z]{2})?)"
_STATE_CODE = re.compile(rf"^(?P<state>[A-Z]{{2}}|[A-Z][a-z]+(?: [A-Z][a-z]+)?)?[ ,]*(?P<code>{_CODE})$")
_CODE_TOWN = re.compile(rf"^(?P<code>{_CODE}) (?P<town>[^\W\d_][^\d]+)$")


def address_in(text: str) -> dict[str, tuple[str, Span]]:
    """The parts of the first address in a text with their places, by role: `street`, `flat`, `town`, `state`, `code`, `country`."""
    pieces = [
        (m[0].strip(), (m.start() + len(m[0]) - len(m[0].lstrip()), m.start() + len(m[0].rstrip()))) for m in re.finditer(r"[^,;\n]+", text)
    ]
    for index, (piece, span) in enumerate(pieces):
        street = _STREET.search(piece)
        if street is None:
            continue
        start = span[0] + street.start()
        found = {"street": (street[0], (start, start + len(street[0])))}
        for later, place in pieces[index + 1 : index + 6]:
            if not _take(found, later, place):
                break
        if len(found) >= 3:
            return found
    return {}


def without_address(text: str) -> str:
    """The text with the parts of its address blanked: streets and towns are often named like people."""
    for _, (start, end) in address_in(text).values():
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def take_addresses(reader: Reader) -> None:
    """Gives the parts of an address to the arguments that ask for them."""
    roles = roles_of(reader.operation)
    wanted = {a.name: a for a in open_arguments(reader) if a.name in roles}
    if len(roles) < 3 or not wanted:
        return
    found = address_in(reader.text)
    for name, argument in wanted.items():
        said = found.get(roles[name])
        if said is not None and not fitted(argument, said[0])[1]:
            give(reader, argument, Candidate(value=said[0], span=said[1], confidence=0.92))


@once
def roles_of(operation: Operation) -> dict[str, str]:
    """Which part of an address each argument is, by name of the argument."""
    return {a.name: role for a in operation.askable if a.type == "string" and (role := _role(a))}


def _role(argument: Argument) -> str:
    own = words_of(argument.name.rpartition(".")[2]).split()
    joined = "".join(own)
    return next((role for role, names in _NAMES.items() if joined in names or set(own) & names), "")


def _take(found: dict[str, tuple[str, Span]], piece: str, span: Span) -> bool:
    """Reads one piece between commas as a part of the address that is still open; False when it is none."""
    plain = re.split(r"\.(?:\s|$)|[!?]", piece)[0].strip()
    span = (span[0], span[0] + len(plain))
    both, mixed = _STATE_CODE.match(plain), _CODE_TOWN.match(plain)
    if _FLAT.match(plain) and "flat" not in found:
        found["flat"] = plain, span
    elif _COUNTRY.match(plain):
        found["country"] = plain, span
    elif both is not None:
        found["code"] = both["code"], (span[0] + both.start("code"), span[0] + both.end("code"))
        if both["state"]:
            found["state"] = both["state"], (span[0], span[0] + len(both["state"]))
    elif mixed is not None and "town" not in found:
        found["code"] = mixed["code"], (span[0], span[0] + len(mixed["code"]))
        found["town"] = mixed["town"], (span[0] + mixed.start("town"), span[1])
    elif re.fullmatch(r"[A-Z]{2}", plain) and "town" in found:
        found["state"] = plain, span
    elif re.fullmatch(r"[^\W\d_][^\W\d_.'’ -]*(?:[ .'’-]+[^\W\d_]+){0,3}", plain) and "town" not in found:
        found["town"] = plain, span
    else:
        return False
    return plain == piece or "country" not in found
