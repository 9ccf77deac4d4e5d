"""The last look at a draft before a customer sees it, and the first look at what comes in. Never rewrites a draft; only objects.

A sentence passes when everything in it that could be checked was found in a source: numbers, dates, amounts, names, links and the
presence of a negation. Anything else is an objection, and the desk falls back to quoting.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import snowballstemmer

from frontdesk.desk.quantities import Dimension, quantities
from frontdesk.errors import BadInput, TooLarge

_STEM = snowballstemmer.stemmer("english")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
_NEGATION = re.compile(r"\b(?:not|no|never|none|nothing|neither|nor|cannot|without|except|unless|only)\b|n['’]t\b", re.IGNORECASE)
_LINK = re.compile(r"https?://\S+|www\.\S+|\b[\w.+-]+@[\w-]+\.[\w.]+\b")
STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "if",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "as",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "you",
        "your",
        "yours",
        "we",
        "our",
        "us",
        "i",
        "me",
        "my",
        "he",
        "she",
        "they",
        "them",
        "their",
        "his",
        "her",
        "him",
        "do",
        "does",
        "did",
        "done",
        "have",
        "has",
        "had",
        "will",
        "would",
        "can",
        "could",
        "may",
        "might",
        "shall",
        "should",
        "must",
        "so",
        "than",
        "then",
        "there",
        "here",
        "what",
        "which",
        "who",
        "whom",
        "when",
        "where",
        "why",
        "how",
        "please",
        "just",
        "also",
        "about",
        "into",
        "over",
        "up",
        "out",
        "off",
        "per",
        "each",
        "any",
        "some",
        "all",
        "more",
        "most",
        "very",
        "too",
        "only",
        "not",
        "no",
        "yes",
        "get",
        "got",
        "go",
        "going",
        "want",
        "need",
        "like",
        "know",
        "tell",
        "say",
        "us",
        "im",
        "ive",
        "id",
        "dont",
        "cant",
        "isnt",
        "its",
        "thats",
        "whats",
        "hi",
        "hello",
        "hey",
        "thanks",
        "thank",
        "ok",
        "okay",
    ]
)
LONGEST_SENTENCE = 600


def cleaned(message: str, *, limit: int) -> str:
    """The customer's words without control characters and with one kind of white space; raises BadInput and TooLarge."""
    if len(message) > limit:
        raise TooLarge(
            f"the message has {len(message)} characters, at most {limit} are read: shorten it or send the rest as a second message"
        )
    text = unicodedata.normalize("NFC", message.encode("utf-8", "replace").decode("utf-8"))
    text = "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") or c == "\u200d" else " " for c in text)
    text = re.sub(r"[ \t\u00a0]+", " ", re.sub(r"\n{3,}", "\n\n", text)).strip()
    if not text:
        raise BadInput("the message holds no readable character: send some text")
    return text


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The word's English stem, in lower case."""
    return str(_STEM.stemWord(word.lower().replace("’", "'")))


@lru_cache(maxsize=50_000)
def content_words(text: str) -> tuple[str, ...]:
    """Stems of the words that carry meaning, in order, with repeats."""
    found = []
    for m in _WORD.finditer(text):
        word = m[0].lower().replace("’", "'")
        bare = word.replace("'", "")
        if word in STOP or bare in STOP:
            continue
        found.append(stem(re.sub(r"'s$", "", word)))
    return tuple(found)


_ROLE = re.compile(
    r"<\s*/?\s*(?:system|assistant|developer|tool|function|user)\b[^>]*>|<\|[^|>]{1,30}\|>|\[/?INST\]|"
    r"\[{1,3}\s*(?:system|assistant|developer|admin)(?: \w+)?\s*\]{1,3}|"
    r"^\s*(?:#+\s*)?(?:system|assistant|developer|tool|function)(?: (?:message|prompt|output))?\s*:",
    re.IGNORECASE | re.MULTILINE,
)


def plays_a_role(message: str) -> bool:
    """Whether a customer's message pretends to be the system, the assistant or a tool, with the marks that programs put between them."""
    return _ROLE.search(message) is not None


def objection(sentence: str, proofs: Sequence[str]) -> str | None:
    """Why `sentence` may not be said, or None.

    Args:
        sentence: one sentence of a draft.
        proofs: verbatim texts that may prove it; one of them alone must carry all of its amounts.
    """
    if len(sentence) > LONGEST_SENTENCE:
        return "too long"
    if not proofs:
        return "no source"
    for link in _LINK.findall(sentence):
        if not any(link.rstrip(".,;)") in proof for proof in proofs):
            return f"link {link} stands in no source"
    best = min((_against(sentence, proof) for proof in proofs), key=len)
    return best or None


_LONG = re.compile(r"\w[^\s–—/]{18,}[\w=]")
"""Letters in a row that no sentence of a model needs unless its source has them; text in disguise (base64, hexadecimal) looks so."""


def denies(text: str) -> bool:
    """Whether a text holds a negation or a restriction."""
    return _NEGATION.search(text) is not None


def uncovered(sentence: str, proof: str) -> str:
    """What of a sentence a text does not speak of: a name, a word too long to be one, too many of its words; empty when nothing."""
    for word in _LONG.findall(sentence):
        if word.casefold() not in proof.casefold():
            return f"{word[:20]}… stands in no source"
    words = set(content_words(proof))
    for name in _names(sentence):
        if stem(name) not in words:
            return f"{name} stands in no source"
    mine = content_words(sentence)
    covered = sum(1 for w in mine if w in words) / len(mine) if mine else 1.0
    return f"only {covered:.0%} of its words stand in the source" if covered < 0.7 else ""


def _against(sentence: str, proof: str) -> str:
    stated = _amounts(proof)
    for key, text in _amounts(sentence).items():
        if key not in stated:
            return f"{text} stands in no source"
    if reason := uncovered(sentence, proof):
        return reason
    if bool(_NEGATION.search(sentence)) != bool(_NEGATION.search(proof)):
        return "negation differs from the source"
    return ""


def _amounts(text: str) -> dict[tuple[str, str], str]:
    found = {}
    for q in quantities(text):
        shown = q.unit if q.dimension in (Dimension.CLOCK, Dimension.DATE) else f"{q.value:.6g}"
        found[(q.dimension.value, shown)] = q.text
    return found


def _names(sentence: str) -> list[str]:
    """Capitalised words that do not merely begin the sentence, and codes such as "AB-12"."""
    words = list(_WORD.finditer(sentence))
    return [m[0] for i, m in enumerate(words) if (i > 0 and m[0][0].isupper() and m[0].lower() not in STOP and m[0] not in ("I", "I'm"))]


def repeats_prompt(text: str, prompt: str, *, run: int = 8) -> bool:
    """Whether `text` holds a run of `run` words of a secret prompt: what a customer must never see."""
    words = [w.lower() for w in _WORD.findall(prompt)]
    said = " ".join(w.lower() for w in _WORD.findall(text))
    return any(" ".join(words[i : i + run]) in said for i in range(len(words) - run + 1))
