"""The desk's own words, from `prompts/phrases.yaml`, filled in for a tenant. States no facts beyond the tenant's name and contact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from frontdesk.desk import languages
from frontdesk.desk.handoff import reach
from frontdesk.domain.tenancy import Tenant

_QUOTED = re.compile(r"[\"“']([^\"”'.]{2,30})[\"”']")


@cache
def _shipped() -> Mapping[str, str]:
    text = (files("frontdesk.desk") / "prompts" / "phrases.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


class Phrases:
    """The phrases of one tenant in one language (its first): its own ones are in the first; what a language lacks is said in English."""

    def __init__(self, tenant: Tenant, language: str | None = None) -> None:
        spoken = language or tenant.languages[0]
        own = tenant.guardrails.get("phrases") or {} if spoken == tenant.languages[0] else {}
        known = languages.known()
        shipped = {**_shipped(), **known[languages.ENGLISH]["phrases"], **known.get(languages.primary(spoken), {}).get("phrases", {})}
        self._phrases: dict[str, str] = {**shipped, **{str(k): str(v) for k, v in own.items()}}
        self._tenant = tenant

    def say(self, key: str, **values: str) -> str:
        """The phrase for `key`, or that of the kind it belongs to when there is none of its own."""
        known = {"company": self._tenant.name, "assistant": self._assistant(), "hello": self._hello(), "team": self.team(), **values}
        return self._phrases[key].format(**known).strip()

    def has(self, key: str) -> bool:
        """Whether there is a phrase of that name."""
        return key in self._phrases

    def is_greeting(self, message: str) -> bool:
        """Whether the message is one of the greetings that the persona quotes, which no general list can know."""
        said = " ".join(re.findall(r"\w+", message.lower()))
        return bool(said) and said in {" ".join(re.findall(r"\w+", g.lower())) for g in _QUOTED.findall(self._tenant.persona)}

    def team(self) -> str:
        """The sentence that offers a human, with a leading space."""
        ways = self._ways()
        return self._phrases["team"].format(ways=ways) if ways else self._phrases["team_unknown"]

    def _ways(self) -> str:
        """How the team is reached, in this language."""
        contact, words = self._tenant.handoff, self._phrases
        if "by_phone" not in words:
            return reach(contact)
        phone = contact.phone + (f" ({contact.hours})" if contact.hours else "")
        ways = [
            words[f"by_{way}"].format(**{way: value})
            for way, value in (("phone", contact.phone and phone), ("email", contact.email))
            if value
        ]
        return words["or"].join(ways)

    def _assistant(self) -> str:
        """How the assistant introduces itself: the name that the persona gives it, and the company."""
        named = re.search(r"\bYou are ([A-Z][\w'-]*)\b", self._tenant.persona)
        return f"{named[1]}, the {self._tenant.name} assistant." if named else f"the {self._tenant.name} assistant."

    def _hello(self) -> str:
        """The greeting that the persona puts in quotation marks after "greet", else "Hello"."""
        quoted = re.search(r"\bgreet\w*[^.\"“']{0,40}[\"“']([^\"”']{2,30})[\"”']", self._tenant.persona, re.IGNORECASE)
        return quoted[1] if quoted else "Hello"
