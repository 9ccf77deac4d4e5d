"""Personal data in text, found by form and checksum and replaced by its kind. Pure; never guesses at names, and leaves prices, dates,
order numbers and tracking codes alone.

Cards pass Luhn under an issuer's prefix, IBANs their length and remainder, national numbers their own checksum. A form without a checksum
(a telephone number, a social security number) is taken only in a way in which such numbers are written and amounts are not, or right
after a word that announces it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial

_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_IBAN_LENGTHS = {
    code: length
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
        26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip

_EMAIL = re.compile(r"(?<![\w.+%-])[\w+%-](?:[\w.+%'’-]{0,62}[\w+%-])?@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?!\w)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2}[ -]?\d{2}(?:[ -]?[A-Za-z0-9]){11,30})")
_DIGITS = re.compile(r"(?<![\w.,/+-])\d(?:[ \u00a0\u202f.-]?\d){11,18}(?!\w)(?![.,/-]\d)")

_PHONE_WORDS = """phone mobile cell telephone tel call ring text whatsapp fax reach handy telefon telefonnummer rufnummer mobil mobilnummer
    anruf anrufen téléphone telephone portable appel appelez appeler rappeler rappelez joindre teléfono telefono móvil movil llámame
    llámeme llamar cellulare chiamatemi chiamami chiamare telefoon telefoonnummer mobiel mobiele bel bellen bereikbaar telemóvel"""
_ANNOUNCED_PHONE = re.compile(
    rf"\b(?:{'|'.join(_PHONE_WORDS.split())})\b\.?[^\d\n+]{{0,28}}?"
    r"(?<![\d#.,/-])((?:\(?\d[\d ().\u00a0\u202f/-]{5,17}\d))(?![\d%€$£])(?! ?(?:€|EUR|USD|GBP))",
    re.IGNORECASE,
)
_PHONES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}[ ().\u00a0\u202f/-]*(?:\(0\)[ ]?)?\d(?:[ ().\u00a0\u202f/-]{0,2}\d){5,12}(?!\d)",
        r"(?<![\w+.,/-])(?:1[ .-])?\(\d{3}\)[ ]?\d{3}[ .-]\d{4}(?!\w)",
        r"(?<![\w+.,/-])(?:1[ .-])?[2-9]\d{2}([ .-])[2-9]\d{2}\1\d{4}(?!\w)",
        r"(?<![\w+.,/(-])\(?0[1-9]\d{0,4}\)?(?:[ \u00a0\u202f./-]{1,3}\d{2,8}){1,5}(?!\w)(?![.,/:-]\d)",
        r"(?<![\w+.,/-])0[1-9]\d{8,10}(?!\w)",
        r"(?<![\w+.,/-])[67]\d{2}([ \u00a0\u202f-])\d{3}\1\d{3}(?!\w)(?![ .,\u00a0\u202f]?\d)",
        r"(?<![\w+.,/-])[67]\d{2}([ \u00a0\u202f-])\d{2}\1\d{2}\1\d{2}(?!\w)",
        r"(?<![\w+.,/-])3[2-9]\d([ \u00a0\u202f-])\d{3}\1?\d{3,4}(?!\w)",
    )
)
_DATE = re.compile(r"^\(?(?:[0-3]?\d[./-][01]?\d[./-](?:19|20)?\d{2}|(?:19|20)\d{2}[./-][01]?\d[./-][0-3]?\d)(?![./-]?\d)")
_MONEY_AFTER = re.compile(r"^\s?(?:€|\$|£|%|EUR|USD|GBP|CHF|euro|dollar|pound|Pfund|livre|libra|sterlin|pond)", re.IGNORECASE)
_OTHER_NUMBERS = """order bestel auftrag rechnung invoice factu commande pedido ordine fattura ticket track sendung envoi suivi seguimiento
    spedizione zending reference referen référence réference ref artikel item article artículo articulo articolo serial serien serie
    kundennummer policy claim case"""
"""How words begin that announce a number which is nobody's."""
_NUMBER_BEFORE = re.compile(
    rf"(?:[#€$£]|n[°º]|\b(?:EUR|USD|GBP|CHF))\s?$|\b\w*(?:{'|'.join(_OTHER_NUMBERS.split())})\w*[^\w\n]{{0,3}}"
    r"(?:(?:number|nummer|num[ée]ro|n[úu]mero|nr|no|code|id|is|lautet|ist|est|es|è|van|de|di|del|dell)[^\w\n]{0,3}){0,3}$",
    re.IGNORECASE,
)
_ID_WORDS = (
    r"BSN|burgerservicenummer|NIF|DNI|NIE|SSN|social security(?: number)?|national insurance(?: number)?|NINO?|passport(?: number)?|"
    r"steuer-?id(?:entifikationsnummer)?|(?:personal)?ausweis(?:nummer)?|reisepass(?:nummer)?|passeport|pasaporte|passaporto|"
    r"paspoort(?:nummer)?|num[ée]ro de s[ée]curit[ée] sociale|carte d['’]identit[ée]|codice fiscale|carta d['’]identit[àa]"
)
_ANNOUNCED_ID = re.compile(rf"\b(?:{_ID_WORDS})\b[^\d\n]{{0,14}}?\b([A-Z]{{0,6}}\d(?:[ .-]?\d|[A-Z]){{4,16}})\b", re.IGNORECASE)


def mask_personal_data(text: str) -> str:
    """`text` with cards, IBANs, e-mail addresses, telephone and national numbers replaced by `[card]`, `[iban]`, `[email]`, …"""
    if not any(c.isdigit() for c in text) and "@" not in text:
        return text
    text = _EMAIL.sub("[email]", text)
    text = _IBAN.sub(_iban, text)
    for pattern, holds in _NATIONAL:
        text = pattern.sub(partial(_national, holds), text)
    text = _DIGITS.sub(lambda m: "[card]" if _is_card(_bare(m[0])) else m[0], text)
    text = _ANNOUNCED_ID.sub(lambda m: m[0][: m.start(1) - m.start()] + "[id]", text)
    for pattern in _PHONES:
        text = pattern.sub(_phone, text)
    return _ANNOUNCED_PHONE.sub(_announced_phone, text)


def _national(holds: Callable[[str], bool], found: re.Match[str]) -> str:
    return "[id]" if holds(_bare(found[0])) else found[0]


def _bare(found: str) -> str:
    return re.sub(r"[\W_]", "", found).upper()


def _iban(found: re.Match[str]) -> str:
    """The longest run may have swallowed the next word; the country says how long an IBAN is."""
    run = found[0]
    length = _IBAN_LENGTHS.get(run[:2].upper(), 0)
    end = count = 0
    while end < len(run) and count < length:
        count += run[end].isalnum()
        end += 1
    bare = _bare(run[:end])
    follows = run[end : end + 1]
    if not length or count < length or follows.isalnum():
        return run
    number = "".join(str(int(c, 36)) for c in bare[4:] + bare[:4])
    return "[iban]" + run[end:] if int(number) % 97 == 1 else run


def _is_card(digits: str) -> bool:
    size, first = len(digits), int(digits[:4])
    issued = (
        (digits[0] == "4" and size in (13, 16, 19))
        or (size == 16 and (51 <= first // 100 <= 55 or 2221 <= first <= 2720))
        or (size == 15 and first // 100 in (34, 37))
        or (size in range(14, 20) and first // 100 in (30, 36, 38, 39))
        or (size in range(16, 20) and (first // 100 in (35, 62, 64, 65) or first == 6011))
        or (size in range(12, 20) and first // 100 in (50, 56, 57, 58, 63, 67))
    )
    return issued and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _phone(found: re.Match[str]) -> str:
    number, before, after = found[0], found.string[max(0, found.start() - 60) : found.start()], found.string[found.end() : found.end() + 12]
    size = sum(c.isdigit() for c in number)
    if not 8 <= size <= 15 or _DATE.match(number) or _MONEY_AFTER.match(after) or _NUMBER_BEFORE.search(before):
        return number
    return "[phone]"


def _announced_phone(found: re.Match[str]) -> str:
    number = found[1]
    size = sum(c.isdigit() for c in number)
    if not 7 <= size <= 15 or _DATE.match(number) or _NUMBER_BEFORE.search(found[0][: -len(number)]):
        return found[0]
    return found[0][: -len(number)] + "[phone]"


def _spanish(code: str) -> bool:
    digits = code[:-1].translate(str.maketrans("XYZ", "012"))
    return _LETTERS[int(digits) % 23] == code[-1]


def _french(code: str) -> bool:
    body = code[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(code[13:])


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _italian(code: str) -> bool:
    odd = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*_ODD[:10], *_ODD), strict=True))
    even = {c: int(c) if c.isdigit() else ord(c) - 65 for c in odd}
    total = sum(odd[c] if place % 2 == 0 else even[c] for place, c in enumerate(code[:15]))
    return chr(65 + total % 26) == code[15]


def _german(code: str) -> bool:
    if sorted(Counter(code[:10]).values())[-1] not in (2, 3) or len(set(code[:10])) not in (8, 9):
        return False
    product = 10
    for digit in code[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(code[10])


def _american(code: str) -> bool:
    return code[:3] not in ("000", "666") and code[0] != "9" and code[3:5] != "00" and code[5:] != "0000"


def _british(code: str) -> bool:
    return code[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


_NATIONAL: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), _american),
    (re.compile(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", re.IGNORECASE), _british),
    (re.compile(r"\b(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]\b", re.IGNORECASE), _spanish),
    (re.compile(r"\b[A-Z]{6} ?\d{2}[A-EHLMPRST]\d{2} ?[A-Z]\d{3}[A-Z]\b", re.IGNORECASE), _italian),
    (
        re.compile(
            r"(?<![\w.,/-])[12][ .]?\d{2}[ .]?(?:0[1-9]|1[0-2]|[2-9]\d)[ .]?(?:\d{2}|2[AB])[ .]?\d{3}[ .]?\d{3}[ .-]?\d{2}(?!\w)", re.I
        ),
        _french,
    ),
    (re.compile(r"(?<![\w.,/+-])[1-9]\d ?\d{3} ?\d{3} ?\d{3}(?!\w)(?![.,/-]\d)"), _german),
)
