"""The words of one tenant: how rare each is, and which names stand for alternatives (plans, tiers, routes). Knows nothing beforehand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from frontdesk.desk.everyday import meanings
from frontdesk.desk.guardrails import content_words, stem
from frontdesk.desk.quantities import spans
from frontdesk.desk.units import units_of
from frontdesk.domain.knowledge import Passage, PassageKind

REMEMBERED = 50_000
"""Texts whose named alternatives are kept; units are asked about in every turn that finds them."""


class Lexicon:
    """The words of one tenant: how rare each is, and which names stand for alternatives (plans, tiers, routes).

    Alternatives are learnt from the shape of documents: the headers of a table are alternatives to each other, and so are its row names
    and the bold or colon-led beginnings of the items of one list. Nothing is known about any company beforehand.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self.size = 0
        self.frequency: dict[str, int] = {}
        self.groups: list[frozenset[str]] = []
        self.aliases: dict[str, set[str]] = {}
        self._rarity: dict[str, float] = {}
        self._named: dict[str, frozenset[str]] = {}
        kept = list(passages)
        for passage in kept:
            self._count(passage)
        self._members = {name for group in self.groups for name in group}
        for passage in kept:
            self._learn_aliases(passage)

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a stem, at least 0."""
        known = self._rarity.get(word)
        if known is None:
            known = self._rarity[word] = math.log(1 + (self.size + 0.5) / (self.frequency.get(word, 0) + 0.5))
        return known

    def unknown(self, words: frozenset[str]) -> float:
        """Share of the words' total rarity that stands nowhere in the tenant's knowledge, in [0, 1]."""
        held = {w for w in words if w in self.frequency}
        return 1.0 - self.coverage(words, frozenset(held)) if words else 0.0

    def weight(self, words: Iterable[str]) -> float:
        """Rarity of all the words together."""
        return sum(self._rarity[w] if w in self._rarity else self.rarity(w) for w in words)

    def coverage(self, words: Iterable[str], within: frozenset[str]) -> float:
        """Share of the words' total rarity that stands in `within`, in [0, 1]."""
        weights = [(self.rarity(w), w in within) for w in words]
        total = sum(weight for weight, _ in weights)
        return sum(weight for weight, there in weights if there) / total if total else 0.0

    def alternatives(self, text: str) -> frozenset[str]:
        """Names of alternatives that `text` mentions, or implies by a word that the documents place under a name."""
        known = self._named.get(text)
        if known is None:
            if len(self._named) > REMEMBERED:
                self._named.clear()
            known = self._named[text] = self._alternatives(text)
        return known

    def _alternatives(self, text: str) -> frozenset[str]:
        words = content_words(text)
        flat = set(words)
        joined = " ".join(words)
        named = {name for name in self._members if (name in flat if " " not in name else name in joined)}
        for word in flat:
            named |= self.aliases.get(word, set())
        return frozenset(named)

    def siblings(self, names: frozenset[str]) -> frozenset[str]:
        """The other members of all groups that hold one of `names`."""
        others: set[str] = set()
        for group in self.groups:
            if group & names:
                others |= group - names
        return frozenset(others - names)

    def _count(self, passage: Passage) -> None:
        self.size += 1
        text = " ".join((passage.title, *passage.headings, passage.text, passage.table.caption if passage.table else ""))
        for word in {*meanings(text), *content_words(text)}:
            self.frequency[word] = self.frequency.get(word, 0) + 1
        if passage.table is not None:
            self._group(passage.table.header[1:])
            self._group([row[0] for row in passage.table.rows])
        self._group(re.findall(r"(?:^|\n)\s*[-*•]\s*([^:\n.]{2,30}):", passage.text))

    def _group(self, names: Iterable[str]) -> None:
        given = [name for name in names if name.strip()]
        bare = [re.sub(r"\s*\([^)]*\)", "", name) for name in given]
        if len(set(bare)) == len(set(given)) and all(bare):
            given = bare  # "Heather (our smallest)" is called Heather; "Box (long)" and "Box (short)" need what is in brackets
        group = {" ".join(content_words(name)) for name in given if not spans(name)}
        group = {g for g in group if g and len(g.split()) <= 3}
        if len(group) >= 2:
            self.groups.append(frozenset(group))

    def _learn_aliases(self, passage: Passage) -> None:
        """A sentence such as "X routes link A with B and C" places the names A, B and C under X, when it names one member only."""
        if passage.kind is PassageKind.FAQ or passage.table is not None:
            return
        for unit in units_of(passage):
            words = " ".join(content_words(unit.quote))
            named = {m for m in self._members if re.search(rf"(?:^| ){re.escape(m)}(?: |$)", words)}
            proper = {stem(w) for w in re.findall(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]{2,}\b", unit.quote)}
            if len(named) == 1 and len(proper) >= 3:
                for name in proper - set(next(iter(named)).split()):
                    self.aliases.setdefault(name, set()).update(named)
