"""Whether a reply says yes, takes something back, or gives up. Refuses to hear a yes in anything that is not plainly one.

A yes with a condition, a question, a change or new values is UNCLEAR: acting on it would act on something the customer did not agree to.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from frontdesk.tools.lexicon import words


class Consent(StrEnum):
    """What a reply to "shall I?" means. Only YES may act."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The customer takes something back. `rest` is the part of the text that holds the new value, `start` its place in the text."""

    rest: str
    start: int


_YES = (
    "yes|yeah|yea|yep|yup|yess+|ye|yas|aye|y|sure|sure thing|surely|ok|okay|okey|okey dokey|k|absolutely|definitely|certainly|of course|"
    "by all means|affirmative|correct|that is correct|that is right|confirm|confirmed|i confirm|agreed|i agree|i do agree|go ahead|"
    "go for it|do it|do that|please do|do so|proceed|please proceed|carry on with it|sounds good|sounds great|that is fine|that works|"
    "works for me|fine by me|fine with me|fine|all good|yes sir|yes indeed|indeed|exactly|i am sure|i do|i would|i accept|accepted|approve|"
    "approved|i approve|let us do it|let us go|make it so|you may|please go ahead|happy with that|i am happy with that|book it|send it|go on|carry on|continue|"
    "that is the one|that one|this one|the one"
)
_NO = (
    "no|nope|nah|naw|n|no way|no thanks|no thank you|not now|not yet|not today|not really|rather not|i would rather not|better not|"
    "do not|dont|don't|never|negative|stop|wait|hold on|hang on|hold off|leave it|keep it|forget it|never mind|nevermind|cancel that|"
    "i refuse|decline|i decline|no need|absolutely not|definitely not|certainly not|of course not|not at all|scrap that|abort"
)
_CLEAR_NO = re.compile(rf"^(?:{_NO})\b")
_HEDGES = re.compile(
    r"\b(?:but|if|unless|except|maybe|perhaps|possibly|probably|might|depends?|depending|not sure|unsure|i think|i guess|"
    r"i suppose|instead|"
    r"however|although|though|actually|rather|first|before|after|once|when|until|provided|as long as|only|otherwise|or|what|how|why|which|who|"
    r"where|whether|change|changed|different|another|other|wrong|can you|could you|would you|can i|could i|(?<!that )is it|is that|is there|are you|"
    r"will it|do i|does it|did|should|hmm+|er+m*|um+|kind of|sort of|let me|think about|later|tell me|explain|also)\b"
)
_FILLERS = words(
    "please thanks thank you that this it is the a an i to me my so now then very much well just and am want would like really "
    "totally all good great perfect lovely cheers right ahead will have said with for of go do be let us kindly immediately "
    "straight away there ta brilliant wonderful excellent awesome cool super happy hi hello dear"
)
_OBJECT = r"(?:it|that|this)"
_GIVING_UP = re.compile(
    r"\b(?:never ?mind|forget (?:it|about it|that|the whole thing)|leave it(?: then| there)?$|drop it|skip it|scrap (?:it|that)|"
    r"(?:it )?(?:does not|doesn't) matter(?: any ?more)?|no longer (?:need|want|interested)|not interested|"
    r"(?:have |i've )?changed my mind|"
    r"(?:do not|don't) (?:want|need|bother)(?: (?:to|it|this|that))?(?: (?:do|continue|go on))?(?: any ?more)?$|"
    r"i give up|let us stop|stop (?:it|this|here|please)?$|quit|exit|abort|another time|some other time|not now|maybe later|"
    r"i will (?:do it|call|come back|try) (?:later|another time|some other time)|cancel (?:this|that|it)?$)"
    r"|^(?:please )?(?:stop|cancel|end)(?: please)?$"
)
_CORRECTIONS = (
    r"(?:no|nope|wait|sorry|oops|hang on|hold on|actually)?[,.!\s]*i (?:meant|mean)(?: to say)?\b",
    r"\b(?:sorry|oops|wait|hang on|hold on|actually|correction|scratch that|my mistake|my bad)\b[,:.!\s-]*(?:it's|it is|that's|i meant|make (?:it|that))?",
    r"\b(?:make|change|set|switch|move|update|correct) (?:it|that|this)(?: to)?\b",
    r"\b(?:make|change|set|switch|move|update|correct) (?:the|my) [\w\s]{2,40}? (?:to|into)\b",
    r"\b(?:better|rather) (?:make it )?",
    r"\bnot [\w\s./:-]{1,30}?(?:,| but)\s",
    r"[.,;!?]\s+(?:(?:ah|oh|er+m?|um+|hm+|well)[,.!\s]+)?no[,.!]\s*(?=\S)",
    r"^(?:(?:ah|oh|er+m?|um+|hmm+|well|ok|okay)[,.!\s]+)?no[,.!\s]+(?:it's |it is |that's |the |on |for |at |make it )?(?=\S)",
)
_CORRECTION = re.compile("|".join(f"(?:{p})" for p in _CORRECTIONS))
_TRAILING = re.compile(r"\b(?:instead|rather|i meant|i mean)\b[\s.!]*$")


def consent(text: str, *, stated: str = "", deeds: Collection[str] = ()) -> Consent:
    """What a reply to a confirmation means. `stated`: the confirmation's own words, which a yes may repeat ("yes, cancel A12").

    `deeds`: other words for what is to be done. Behind a yes they are part of it: "yes, scrap it" where something is to be cancelled.
    """
    said = _normal(text)
    if not said:
        return Consent.UNCLEAR
    if deeds and re.match(rf"(?:{_YES})\b", said):
        # "call off" is also "call it off", and "push it back" is to be seen before "push it".
        split = [deed.split(" ", 1) for deed in sorted(deeds, key=lambda deed: (-len(deed), deed))]
        ways = "|".join(" ".join([verb, _OBJECT, *particle]) for verb, *particle in split)
        said = re.sub(rf"\b(?:{ways})\b", "do it", said)
    denied = _CLEAR_NO.match(said) or re.search(r"\b(?:no|not|nope|never|nah|stop|wait|hold on|none|don't)\b", said)
    agreed = re.search(rf"(?:^|\s)(?:{_YES})(?=\s|$)", said)
    if denied:
        return Consent.UNCLEAR if _doubtful_no(said, agreed is not None) else Consent.NO
    if agreed is None or "?" in text or _HEDGES.search(said):
        return Consent.UNCLEAR
    rest = re.sub(rf"(?:(?<=\s)|^)(?:{_YES})(?=\s|$)", " ", said)
    known = {re.sub(r"(?<=\d)(?:st|nd|rd|th)$", "", w) for w in _normal(stated).split()}
    rest = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", rest)
    unknown = [w for w in rest.split() if w not in _FILLERS and w not in known]
    return Consent.UNCLEAR if unknown else Consent.YES


def gives_up(text: str) -> bool:
    """True when the customer wants to leave the matter, as in "never mind". "Cancel my order" is a wish, not giving up."""
    return _GIVING_UP.search(_normal(text)) is not None


def correction(text: str) -> Correction | None:
    """The part of a text that corrects something said before: "no, I meant the 21st", "make it 3 instead". None when it does not."""
    lowered = _apostrophes(text).lower()
    match = _CORRECTION.search(lowered)
    if match is not None and set(_normal(text[match.end() :]).split()) - _FILLERS:
        # "not A but B" keeps B alone; elsewhere the words before name what changes: "change the day to ...".
        start = match.end() if match[0].startswith("not ") else match.start()
        return Correction(rest=text[start:], start=start)
    if _TRAILING.search(lowered):
        return Correction(rest=text, start=0)
    return None


def _doubtful_no(said: str, agreed: bool) -> bool:
    """A no that also agrees, asks or weighs is not a plain no; nothing is done either way, but the customer is asked again."""
    if agreed and not _CLEAR_NO.match(said):
        return True
    return bool(
        re.search(
            r"\bno (?:problem|worries|objections?|doubt)\b|\bwhy not\b|\bnot sure\b|\bdon't (?:mind|know)\b|\bi do not (?:mind|know)\b",
            said,
        )
    )


def _apostrophes(text: str) -> str:
    return text.replace("’", "'").replace("‘", "'")


def _normal(text: str) -> str:
    """Lower case, without punctuation and stretched letters; common contractions in full."""
    said = _apostrophes(text).lower().replace("👍", " yes ").replace("✅", " yes ").replace("👎", " no ")
    for short, full in (
        ("that's", "that is"),
        ("thats", "that is"),
        ("i'm", "i am"),
        ("let's", "let us"),
        ("i'd", "i would"),
        ("i'll", "i will"),
        ("it's", "it is"),
    ):
        said = re.sub(rf"\b{short}\b", full, said)
    said = re.sub(r"(?<=\w)'(?=t\b)", "'", said)
    said = re.sub(r"([a-z])\1{2,}", r"\1", said)
    said = re.sub(r"[^\w\s']+", " ", said)
    said = re.sub(r"\bdont\b|\bdo nt\b", "don't", said)
    return " ".join(said.split())
