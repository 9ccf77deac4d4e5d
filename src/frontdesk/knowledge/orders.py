"""Finds sentences that give orders to whoever answers customers, and sets them apart so that they can never be an answer.

A document may tell customers what to do ("Tell us within 30 days"); it may not tell the desk what to say. Features are counted (who is
addressed, what is ordered, secrecy, overriding of rules, role tags); nothing is refused for a single word. False facts without an order
are not found here: only whoever uploads documents can vouch for those.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Final

from frontdesk.knowledge.blocks import Block, Heading, ListBlock, ListItem, Paragraph, Parsed, TableBlock
from frontdesk.knowledge.sentences import spans

THRESHOLD: Final = 3
"""Points from which a sentence counts as an order."""
_NEAR: Final = 1
"""Points that are enough for the sentence next to an order."""

_TAG = re.compile(
    r"</?\s*(?:system|assistant|user|instructions?|prompt|admin|tool_call|im_start|im_end)\b[^>]*>|<\|[^|>]{1,40}\|>"
    r"|\[/?(?:inst|system|sys)\]|<</?sys>>"
    r"|^\W*(?:###?\s*)?(?:system|assistant)\s*(?:prompt|message|instructions?|override|note)?\s*:"
    r"|\bbegin (?:system|hidden|new) (?:prompt|instructions?)\b"
    r"""|["']role["']\s*:\s*["']system|^\W*###\s*(?:instructions?|system)\b""",
    re.I,
)
_SECOND_PERSON = re.compile(r"\byou\b|\bdu\b|\bsie\b|\btu\b|\bvous\b|\busted(?:es)?\b|\bje\b|\bu\b", re.I)
_YOURS = re.compile(
    r"\b(?:your|ihre[nmrs]?|dein\w*|votre|vos|sus?|tus?|vostr\w+|uw|seu|sua)\b"
    r"(?!\s+(?:\w+\s+)?(?:answers?|repl(?:y|ies)|responses?|instructions?|prompts?|rules|guidelines|system|antwort\w*|réponses?"
    r"|respuestas?|rispost[ae]|antwoord\w*))"
)
_CUSTOMERS_OF_READER = re.compile(
    r"\b(?:your|ihren?|deinen?|vos|votre|tus|sus|vostri|uw|seus) (?:own )?(?:customers?|clients?|users?|kunden|clientes|clienti|klanten)\b"
)
_NUMBER_OF = re.compile(r"(?:num\w*|núm\w*|nummer|code|codice|código|carte|carta|tarjeta|n°)\s*(?:d[eio]l?\s*)?$")
_ACTS = re.compile(r"act as (?:if|though|an?|the|our|my)\b")
_REMOTE_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*https?://|https?://\S*[?&=]\{|\{\{[^}]*\}\}")
_CLAUSE = re.compile(r"[.;:!?]\s+|,\s+(?:and|und|et|y|e|en|then|dann|instead|stattdessen|so)?\s*|\b(?:and|then|und|et|y)\s+|\s[–—-]\s")
_LETTER_HEAD = re.compile(r"^\W*(?:dear|note|notice|attention|to|for|hey|an|à|para|per|voor|hinweis|nota)\b|^\W*$")
_NOTE_TO = re.compile(
    r"^\W*(?:\w+\W+)?(?:notes?|notices?|instructions?|messages?|memos?|directives?|orders?"
    r"|hinweise?|anweisung(?:en)?|consignes?|nota|instrucciones|istruzioni|instructies)"
    r" (?:to|for|an|für|à|pour|aux|para|per|a|voor)(?: (?:the|all|any|every|die|alle|les|los|las|gli|i|le|de))?\s*$"
)
_VOID = re.compile(
    r"^.{0,40}\b(?:void|no longer (?:apply|valid|count)|suspended|lifted|cancelled|canceled|obsolete|invalid|off|gone|deleted)\b"
)
_OPEN_WITH = re.compile(
    r"(?:open|start|begin|end|finish|close|sign|prefix|preface|precede)\b.{0,12}\b(?:every|each|all|any|your)"
    r" (?:\w+ )?(?:answers?|repl(?:y|ies)|responses?)\b"
)
_UNASKED = re.compile(r"\bwithout (?:asking|checking|confirm\w*|consent|permission|verif\w+)\b")
_EVERYBODY = re.compile(
    r"\W*(?:every|each|all|any|everyone|everybody|anyone|whoever|jede[mnr]?|alle[nr]?|chaque|tous les|cada|a todos los|ogni|tutti i|elke)"
    r" ?(?:the |of )?(?:customers?|clients?|users?|callers?|visitors?|who asks"
    r"|kunden?|nutzern?|clientes?|usuarios?|clienti|utenti?|klant(?:en)?)\b"
)
_ONE_CUSTOMER = re.compile(
    r"(?:the |a |an |der |die |dem |de |le |la |l'|au |el |al |il |o |ao )?"
    r"(?:customer|client|user|caller|kunde|kundin|nutzer|cliente|utente|usuario|usuário|klant|gebruiker|utilisateur)"
)
_NOT = re.compile(r"\b(?:not|never|don't|nie|niemals|jamais|nunca|jamás|mai|nooit|nicht)\b")
_IF_YOU_ARE = re.compile(
    r"\b(?:if|as|since) you(?:'re| are) (?:an? |the )?$|\b(?:wenn|falls) du (?:eine? )?$"
    r"|\bsi (?:tu es|vous êtes|eres) (?:une? )?$|\bse sei (?:una? |un')?$"
)
_PEOPLE_NOT = re.compile(
    r"(?:'s)?[ -](?:numbers?|service|support|care|id|account|reference|portal|area|relations|team|desk|name)\b|service|nummer|dienst|konto"
)
_ALL_SAID = re.compile(
    r"\W*(?:everything|anything|all|what|alles|tout|todo|tutto|tudo)\b.{0,30}"
    r"\b(?:above|before|told|said|earlier|learned|oben|vorher|gesagt|précède|dit|anterior|dicho|sopra|prima|detto|boven|eerder)\b"
)
_OUTRANKS = re.compile(
    r"\b(?:overrides?|supersedes?|takes? (?:precedence|priority) over|outranks?|replaces?)\b"
    r".{0,40}\b(?:all|any|every|your|other|previous|earlier)\b.{0,30}\b(?:instructions?|rules?|guidelines?|prompts?)\b"
)
_TO_WHOEVER = re.compile(
    r"\b(?:to|when(?:ever)?|if)\b.{0,20}\b(?:everybody|everyone|anybody|anyone|somebody|someone|people|customers?|callers?|users?|whoever)\b"
    r".{0,20}\basks?\b(?! you\b).{0,100}\byou (?:must |should |will |shall |always )?(?:say|tell|answer|reply|respond|state|confirm|claim|promise)\b"
)
_THIS_TEXT = re.compile(r"\bthis (?:instruction|note|message|prompt|text|paragraph|document)\b|\byou (?:have|were|are)\b")
_NEW_ORDERS = re.compile(
    r"\b(?:new|updated|revised|real|actual) (?:system )?(?:instructions?|prompts?|directives?)\b"
    r"(?=.{0,40}\b(?:you|assistants?|ai|follow|apply)\b)"
    r"|忽略.{0,12}(?:指令|指示|规则|说明)|無視.{0,6}|(?:指示|指令|命令).{0,8}無視"
)
_SECRETLY = re.compile(r"\b(?:without|ohne|sans|sin|senza|zonder|keep|hide|conceal)\b|不要|请勿")
_HIDE_FROM = re.compile(r"\b(?:hide|conceal|withhold|keep)\b.{0,40}\bfrom\b(.{0,30})")
_UNTOLD = re.compile(r"\bwithout (?:telling|informing|mentioning|letting)\b(.{0,40})")
_MUST_NOT_KNOW = re.compile(
    r"\b(?:customers?|users?|clients?) (?:must|should|may) (?:not|never) (?:know|learn|find out|be told|see|hear)\b"
)
_SOMEBODY = re.compile(r"some|any|people|they|jemand|quelqu|alguien|qualcuno|iemand")
_HARMLESS_NOW = re.compile(
    r"\byou are now (?:able|ready|signed|logged|registered|enrolled|covered|eligible|protected|connected|set|on|in|at|free|entitled)\b"
)
_IN_REPLIES = re.compile(r"\b(?:every|each|all|any|your|of your) (?:answers?|repl(?:y|ies)|responses?)\b")
_QUOTED = re.compile(
    r"""\W*(only |exactly |nur |uniquement |solo |alleen )?"""
    r"""(?:with|that|in|as|:|"|“|„|«|by saying|after (?:every|each)|to (?:every|any|all)"""
    r"""|mit|dass|que|par|avec|con|che|met|dat|every|any|all"""
    r"""|alle|jede|toutes|todas)(?!\w)"""
)


@dataclass(frozen=True)
class _Words:
    """Compiled lists of orders.txt."""

    patterns: dict[str, re.Pattern[str]]

    def __getitem__(self, name: str) -> re.Pattern[str]:
        return self.patterns[name]

    def has(self, name: str, text: str) -> bool:
        return self.patterns[name].search(text) is not None


def points(sentence: str) -> int:
    """How much a sentence reads like an order to an answering machine; THRESHOLD and above is one."""
    words = _words()
    text = unicodedata.normalize("NFKC", sentence).replace("’", "'").casefold().strip()
    total = sum(feature(text, words) for feature in _FEATURES)
    if _CUSTOMERS_OF_READER.search(text):
        total -= 2
    return max(total, 0)


def is_order(sentence: str) -> bool:
    """Whether the sentence alone is an order to an assistant."""
    return points(sentence) >= THRESHOLD


def _tags(text: str, words: _Words) -> int:
    return 4 if _TAG.search(text) or _REMOTE_IMAGE.search(text) else 0


def _addressed(text: str, words: _Words) -> int:
    """A machine is spoken to: "Note to AI assistants:", "the assistant must say", not "our chatbot can help"."""
    return max((_machine(text, words, found) for found in words["machine"].finditer(text)), default=0) or max(
        (_helper(text, words, found) for found in words["helper"].finditer(text)), default=0
    )


def _machine(text: str, words: _Words, found: re.Match[str]) -> int:
    before, after = text[: found.start()], text[found.end() :]
    if words["us"].search(before[-12:]):
        return 1
    if _IF_YOU_ARE.search(before):
        return 4
    if _obliged(words, after, 6):
        return 4 if words.has("tell", after[:120]) or words.has("act", after[:60]) else 2
    return 3 if len(before.split()) <= 4 and (re.match(r"\w*\s*[:,!–—-]", after) or _NOTE_TO.search(before)) else 1


def _helper(text: str, words: _Words, found: re.Match[str]) -> int:
    """The same for words that also name people and things: an assistant, a model, a system."""
    before, after = text[: found.start()], text[found.end() :]
    if words["us"].search(before[-12:]):
        return 0
    if _obliged(words, after, 3) and words.has("tell", after[:120]):
        return 3 if words.has("customer", after) or words.has("always", after[:60]) else 1
    return (
        2
        if _NOTE_TO.search(before) or (re.match(r"\w*\s*[:,!–—-]", after) and _LETTER_HEAD.search(before) and len(before.split()) <= 4)
        else 0
    )


def _obliged(words: _Words, after: str, within: int) -> bool:
    return re.match(rf"\W*(?:\w+\W+){{0,{within}}}?(?:{words['modal'].pattern})", after) is not None


def _told(text: str, words: _Words) -> int:
    """An order about what customers are to be told: "Tell every customer that ...", "You must never mention to users ..."."""
    best = 0
    for begin in _clause_starts(text):
        head = re.compile(rf"\W*(?:please |bitte |(?:{words['always'].pattern})\W+){{0,3}}").match(text, begin)
        start = head.end() if head else begin
        if verb := words["tell"].match(text, start):
            best = max(best, _audience(words, text[begin:start], text[verb.end() : verb.end() + 60]))
        elif verb := words["act"].match(text, start):
            best = max(best, 3 if _EVERYBODY.match(text, verb.end()) else 0)
    for found in words["modal"].finditer(text):
        verb = words["tell"].search(text, found.end(), found.end() + 30)
        if verb and _SECOND_PERSON.search(text[: found.start()][-40:]):
            best = max(best, _audience(words, text[found.end() : verb.start()], text[verb.end() : verb.end() + 60]))
    return best


def _audience(words: _Words, before: str, near: str) -> int:
    """3 when what is said concerns customers in general or is kept from one; 2 for "tell the customer", as procedures for staff have it."""
    found = words["customer"].match(near, re.match(r"\W*(?:\w+ly |to |with |directly )?", near).end())  # type: ignore[union-attr]
    if found is None:
        return 3 if _EVERYBODY.search(near) and _third_person(words, near) else 0
    if not _third_person(words, near):
        return 0
    return 2 if _ONE_CUSTOMER.fullmatch(found[0].strip()) and not _NOT.search(before) else 3


def _third_person(words: _Words, near: str) -> bool:
    found = words["customer"].search(near)
    if found and _NUMBER_OF.search(near[: found.start()]):
        return False
    # "Give customer number and date" names a thing; an order names people.
    return found is not None and not _PEOPLE_NOT.match(near[found.end() :])


def _clause_starts(text: str) -> Iterator[int]:
    yield 0
    for found in _CLAUSE.finditer(text):
        yield found.end()


def _overrides(text: str, words: _Words) -> int:
    best = 3 if _NEW_ORDERS.search(text) else 0
    for found in words["rules"].finditer(text):
        if _VOID.match(text[found.end() :]) and words.has("prior", text[: found.start()][-25:]):
            best = 3 if re.search(r"\byour\b", text[: found.start()][-25:]) else 1
    for found in words["dismiss"].finditer(text):
        after = text[found.end() : found.end() + 80]
        if words.has("rules", after):
            best = max(best, 4 if words.has("prior", after) else 2)
        elif _ALL_SAID.match(after):
            best = 4
    if _OUTRANKS.search(text):
        best = max(best, 3 if words.has("machine", text) or _THIS_TEXT.search(text) else 2)
    return best


def _secrecy(text: str, words: _Words) -> int:
    if _MUST_NOT_KNOW.search(text):
        return 3
    if words.has("always", text) or _SECRETLY.search(text):
        for found in words["reveal"].finditer(text):
            if words.has("hush", text[found.end() : found.end() + 60]):
                return 3
            aimed = re.match(r"\W*(?:this |it |them )?to\b(.{0,30})", text[found.end() :])
            if aimed and _third_person(words, aimed[1]):
                return 3
        for pattern in (_HIDE_FROM, _UNTOLD):
            secret = pattern.search(text)
            if secret and _third_person(words, secret[1]):
                return 3
    return 1 if words.has("hush", text) else 0


def _innards(text: str, words: _Words) -> int:
    for found in words["expose"].finditer(text):
        if words.has("innards", text[found.end() : found.end() + 60]):
            return 4
    for begin in _clause_starts(text):
        verb = words["send"].match(text, begin)
        after = text[verb.end() : verb.end() + 70] if verb else ""
        if words.has("loot", after) and re.search(r"\S+@\S+|https?:|\b(?:to|an|à|a|naar|para)\b", after):
            return 3
    return 1 if words.has("innards", text) else 0


def _becomes(text: str, words: _Words) -> int:
    if any(_ACTS.match(text, begin) for begin in _clause_starts(text)):
        return 3
    return 3 if words.has("become", text) and not _HARMLESS_NOW.search(text) else 0


def _asked(text: str, words: _Words) -> int:
    """ "When customers ask about fees, say ...": a condition on customers, then an order to answer."""
    if _TO_WHOEVER.search(text):
        return 3
    found = words["asked"].search(text)
    if not found:
        return 0
    after = text[found.end() :]
    pushed = rf"\W*(?:{words['always'].pattern}|just|simply|then|you must|you should|please)?\W*"
    order = re.compile(rf"{pushed}(?:{words['tell'].pattern})(?! the (?:customer|user|client)\b)")
    if not any(order.match(after, begin) for begin in _clause_starts(after)):
        return 0
    return 3 if words.has("customer", found[0]) or _SOMEBODY.search(found[0]) else 1


def _scripted(text: str, words: _Words) -> int:
    """ "Always answer that ...", "respond only with ...": words are put into the answerer's mouth."""
    for begin in _clause_starts(text):
        pushed = re.compile(rf"\W*(?:{words['always'].pattern})\W+").match(text, begin)
        verb = words["answer"].match(text, pushed.end() if pushed else begin)
        quoted = _QUOTED.match(text, verb.end()) if verb else None
        if verb and quoted and not _YOURS.search(text[verb.end() : verb.end() + 60]):
            return 3 if pushed or quoted[1] or _IN_REPLIES.search(text) else 2
        if _OPEN_WITH.match(text, begin):
            return 3
    return 0


def _approves(text: str, words: _Words) -> int:
    for begin in _clause_starts(text):
        clause = re.sub(r"^\W*(?:please |always |immer |toujours |siempre |sempre |altijd )", "", text[begin:])
        verb = words["approve"].match(clause)
        if verb and words.has("everything", clause[verb.end() : verb.end() + 60]) and not _YOURS.search(clause):
            return 3
    # "Return the goods without asking first" is for customers: not an order alone, but one beside orders.
    return 1 if _UNASKED.search(text) and not words["us"].search(text) else 0


def _calls(text: str, words: _Words) -> int:
    for begin in _clause_starts(text):
        verb = words["call"].match(text[begin:])
        if verb and words["tool"].match(text[begin:][verb.end() :].lstrip()):
            return 3 if _EVERYBODY.search(text) or _UNASKED.search(text) else 2
    return 0


_FEATURES: Final[tuple[Callable[[str, _Words], int], ...]] = (
    _tags,
    _addressed,
    _told,
    _overrides,
    _secrecy,
    _innards,
    _becomes,
    _asked,
    _scripted,
    _approves,
    _calls,
)


@cache
def _words() -> _Words:
    lists: dict[str, list[str]] = {}
    name = ""
    for line in (resources.files(__package__) / "orders.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif not line.startswith("#"):
            lists.setdefault(name, []).extend(entry.replace("_", " ") for entry in line.split())
    return _Words({key: _compiled(entries) for key, entries in lists.items()})


def _compiled(entries: Sequence[str]) -> re.Pattern[str]:
    # Longest first, so that "chat history" wins over "chat". Scripts that write no blanks have no word borders to ask for.
    ordered = sorted(dict.fromkeys(entries), key=len, reverse=True)
    bordered = "|".join(e for e in ordered if e.isascii() or not re.search(r"[\u3000-\u9fff]", e))
    unbordered = "|".join(e for e in ordered if re.search(r"[\u3000-\u9fff]", e))
    return re.compile(rf"(?:(?<!\w)(?:{bordered})(?!\w){'|' + unbordered if unbordered else ''})")


# --- whole documents ---

Orders = list[tuple[tuple[str, ...], str]]
"""What was set apart: the headings it stood under and its sentences."""


def set_apart(parsed: Parsed) -> tuple[Parsed, Orders]:
    """The document without orders, and the orders, each run of them with its heading path."""
    kept: list[Block] = []
    orders: Orders = []
    path: list[tuple[int, str]] = []
    alarmed = below = False
    for block in parsed.blocks:
        if isinstance(block, Heading):
            path = [entry for entry in path if entry[0] < block.level]
            alarmed, below = False, is_order(block.text)
            if below:
                orders.append((tuple(text for _, text in path), block.text))
            else:
                path.append((block.level, block.text))
                kept.append(block)
            continue
        rest, found, alarmed = _screen(block, alarmed=alarmed, whole=below)
        below = False
        if rest is not None:
            kept.append(rest)
        orders.extend((tuple(text for _, text in path), text) for text in found)
    title = "" if is_order(parsed.title) else parsed.title
    return Parsed(title=title, blocks=tuple(kept)), orders


def _screen(block: Block, *, alarmed: bool, whole: bool) -> tuple[Block | None, list[str], bool]:
    """What is left of a block, what was taken out, and whether the next block goes on with an order.

    `alarmed`: an order that ended in a colon stands before it; `whole`: it is the first block below a heading that is an order.
    """
    if isinstance(block, Paragraph):
        found = list(spans(block.text))
        texts = [block.text[a:b] for a, b in found]
        flags = _flags(texts, alarmed=alarmed, whole=whole)
        if not any(flags):
            return block, [], False
        kept = _joined(block.text, found, [not flag for flag in flags])
        return Paragraph(text=kept) if kept else None, [_joined(block.text, found, flags)], flags[-1] and texts[-1].endswith(":")
    if isinstance(block, ListBlock):
        flags = _flags([item.text for item in block.items], alarmed=alarmed, whole=alarmed or whole)
        items: tuple[ListItem, ...] = tuple(item for item, flag in zip(block.items, flags, strict=True) if not flag)
        taken = "\n".join(item.line for item, flag in zip(block.items, flags, strict=True) if flag)
        return ListBlock(items=items) if items else None, [taken] if taken else [], False
    if isinstance(block, TableBlock):
        bad = [any(is_order(cell) for cell in row) for row in block.rows]
        rows = tuple(row for row, flag in zip(block.rows, bad, strict=True) if not flag)
        taken = "\n".join(" | ".join(row) for row, flag in zip(block.rows, bad, strict=True) if flag)
        caption = "" if is_order(block.caption) else block.caption
        spoilt = any(is_order(cell) for cell in block.header)
        lost = [
            text for text in (taken, "" if caption == block.caption else block.caption, " | ".join(block.header) if spoilt else "") if text
        ]
        header = ("",) * len(block.header) if spoilt else block.header
        return (replace(block, rows=rows, caption=caption, header=header) if rows else None), lost, False
    return block, [], False


def _flags(texts: Sequence[str], *, alarmed: bool, whole: bool = False) -> list[bool]:
    """Which sentences are orders; what stands next to one, or below an order's colon or heading, needs less to be one too."""
    scores = [points(text) for text in texts]
    flags = [whole or score >= THRESHOLD for score in scores]
    carried = alarmed
    for position, text in enumerate(texts):
        flags[position] = flags[position] or (carried and (position == 0 or scores[position] >= _NEAR))
        carried = flags[position]
        if carried and text.rstrip("\"'”»").endswith(":") and position + 1 < len(texts):
            flags[position + 1] = True
    for position in range(len(texts) - 2, -1, -1):
        between = position > 0 and flags[position - 1]
        flags[position] = flags[position] or (flags[position + 1] and (between or scores[position] >= _NEAR))
    return flags


def _joined(text: str, found: Sequence[tuple[int, int]], wanted: Sequence[bool]) -> str:
    """The wanted sentences, with the blanks or line breaks that stood before each."""
    out = ""
    for (start, end), want, previous in zip(found, wanted, [(0, 0), *found[:-1]], strict=True):
        if want:
            out += ("\n" if "\n" in text[previous[1] : start] else " ") + text[start:end] if out else text[start:end]
    return out
