"""Which of the tenant's languages a customer speaks, and which a passage is written in. A tenant with one language is never guessed at:
who plainly speaks another that is known here is told, in it, which languages there are.

Common words decide first, since a statistical model errs on short messages and on names; it decides where there are enough words and it is
sure. What remains open is the language of the customer's earlier messages, then the tenant's first. See `prompts/languages.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from frontdesk.domain.conversation import Conversation, Speaker
from frontdesk.domain.knowledge import Passage
from frontdesk.domain.tenancy import Tenant

ENGLISH = "en"
ENOUGH_WORDS, MANY_WORDS = 4, 8
"""Words from which the model's guess counts, and from which it comes before common words."""
SURE = 0.97
"""Its least probability then."""
PLAINLY = 2.0
"""Common words that show a language which the tenant does not list."""
OUTNUMBERED = 4
"""So many of them for each common word of the tenant's own languages."""
EARLIER = 6
"""Messages before that are looked at."""
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_MARKS = {"de": "äöüß", "fr": "çèêëàùœæîôû", "es": "ñ¿¡áíóú", "nl": ""}
"""Letters and signs that, of the languages known here, belong to few."""


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """What ships about each language."""
    text = (files("frontdesk.desk") / "prompts" / "languages.yaml").read_text(encoding="utf-8")
    return {
        code: {**entry, **{kind: frozenset(str(entry.get(kind, "")).split()) for kind in ("words", "short")}}
        for code, entry in yaml.safe_load(text).items()
    }


def spoken(tenant: Tenant, conversation: Conversation, message: str) -> str:
    """The customer's language, as the tenant writes its code."""
    if len(tenant.languages) == 1:
        return tenant.languages[0]
    found = recognised(message, tenant.languages)
    if found is None:
        said = [u.text for u in conversation.utterances if u.speaker is Speaker.CUSTOMER][-EARLIER:]
        found = next((f for f in (recognised(text, tenant.languages) for text in reversed(said)) if f is not None), None)
    return found or tenant.languages[0]


def unspoken(tenant: Tenant, message: str) -> str | None:
    """The language, known here and none of the tenant's, that a message is plainly in; None when there is any doubt.

    Only common words and signs are looked at; those of the tenant's own languages are doubt.
    """
    text = message[:600].lower()
    words = _words(text)
    own = {primary(code) for code in tenant.languages}
    ours = frozenset[str]().union(*(known()[code][kind] for code in own & known().keys() for kind in ("words", "short")))
    doubt = sum(w in ours for w in words) * OUTNUMBERED
    counted = {code: _shown(text, words, code) for code in sorted(known().keys() - own)}
    best = max(counted.values(), default=0.0)
    found = [code for code, count in counted.items() if count == best]
    plain = best >= max(PLAINLY, doubt) or (best and not doubt and set("¿¡") & set(text))
    return found[0] if plain and len(found) == 1 else None


def shows(language: str, text: str) -> bool:
    """Whether a text holds one of a language's common words."""
    entry = known()[language]
    return any(w in entry["words"] or w in entry["short"] for w in _words(text))


def written(passage: Passage, languages: Sequence[str]) -> str:
    """A passage's language: that of its folder below `knowledge/`, else what its words show, else the tenant's first."""
    folder = passage.source.split("/")[0]
    if folder in languages and "/" in passage.source:
        return folder
    return _recognised(f"{passage.title}. {passage.text}"[:600], tuple(languages)) or languages[0]


def recognised(text: str, languages: Sequence[str]) -> str | None:
    """The one of these languages that a text is in; None when it could be several."""
    return _recognised(text[:600], tuple(languages))


def primary(language: str) -> str:
    """`pt-BR` -> `pt`."""
    return language.split("-")[0]


def named(languages: Sequence[str], speaking: str) -> str:
    """Names of languages in one of them, for a sentence."""
    return ", ".join(str(known().get(primary(code), {}).get("name", {}).get(primary(speaking), code)) for code in languages)


def asks(kind: str, language: str, message: str) -> bool:
    """Whether a message in another language is a `greeting`, `thanks` or `goodbye` and no more, or holds a word of `human` or `emergency`."""
    said = " ".join(w.lower() for w in _WORD.findall(message))
    listed = known().get(primary(language), {}).get(kind, ())
    if kind in ("human", "emergency"):
        return any(re.search(rf"\b{re.escape(words)}\b", said) for words in listed)
    return said in listed


@lru_cache(maxsize=4096)
def _recognised(text: str, languages: tuple[str, ...]) -> str | None:
    words = _words(text)
    if not words:
        return None
    if len(words) >= MANY_WORDS and (guessed := _guessed(text, languages)):
        return guessed
    counted = {code: _shown(text.lower(), words, primary(code)) for code in languages}
    best, *rest = sorted(counted.values(), reverse=True)
    if best and (not rest or best > rest[0]):
        return next(code for code, count in counted.items() if count == best)
    if len(words) < ENOUGH_WORDS:
        return None
    return _guessed(text, languages)


def _words(text: str) -> list[str]:
    """As the lists write them: lower case, with a plain apostrophe."""
    return [w.lower().replace("’", "'") for w in _WORD.findall(text)]


def _guessed(text: str, languages: Sequence[str]) -> str | None:
    """The model's word where it is sure."""
    code, probability = _model(tuple(sorted({primary(c) for c in languages}))).classify(text)
    return next((c for c in languages if primary(c) == code), None) if probability >= SURE else None


def _shown(text: str, words: Sequence[str], code: str) -> float:
    """How many words of a text are common in a language; its own letters count a little when they are in no name."""
    entry = known().get(code)
    if entry is None:
        return 0.0
    common = sum(w in entry["words"] for w in words)
    return common + (0.5 if any(mark in text for mark in _MARKS.get(code, "")) else 0.0)


@cache
def _model(languages: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loaded for tenants with several languages only

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages(list(languages))
    return model
