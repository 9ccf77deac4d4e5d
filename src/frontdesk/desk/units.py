"""Passages taken apart into the smallest things that can be quoted: an approved answer, a sentence, a table cell. Invents no wording.

A unit knows where it stands (headings, row, column), because "£7" alone answers nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from frontdesk.domain.knowledge import Passage, PassageKind, Table
from frontdesk.knowledge.sentences import sentences

_IMPRINT = re.compile(
    r"[\W_]*(?:(?:edition|version|issue|revision) (?:of |no\.? ?)?\w*\d|(?:last )?(?:updated|revised|reviewed|amended|issued)(?: on| in|:)|"
    r"(?:effective|in force|valid) (?:from|since|as of) [^,.;]*\d|as of \w* ?\d|(?:this|these) \w+(?: \w+)? (?:appl(?:y|ies)|take|took|(?:is|are|come|comes|came) "
    r"(?:valid|effective|in(?:to)? (?:force|effect))|replaces?)\b.*\d{4})",
    re.IGNORECASE,
)
"""How the line begins under a title that says since when a text applies."""
MOST_IMPRINT = 18
"""Words of such a line; a longer one says more."""


class UnitKind(StrEnum):
    """What kind of thing a unit is."""

    FAQ = "faq"
    SENTENCE = "sentence"
    CELL = "cell"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One quotable thing. `quote` is verbatim from the passage; `context` says what it is about, for matching."""

    kind: UnitKind
    passage: Passage
    quote: str
    place: int
    """Number of the sentence within its passage, or of the row within its table."""
    context: str = ""
    row: str = ""
    column: str = ""
    value: str = ""

    @property
    def key(self) -> str:
        """Stable name for caches."""
        return f"{self.passage.id}:{self.place}:{self.column}"

    def told_in(self, text: str) -> bool:
        """Whether a text says what this unit says."""
        if self.kind is UnitKind.CELL:
            return all(part in text for part in (self.row, self.column, self.value))
        return self.quote.strip() in text

    @cached_property
    def imprint(self) -> bool:
        """Whether this says which edition of a text one reads, and not what its matter is."""
        if self.kind is not UnitKind.SENTENCE or self.place or len(self.quote.split()) > MOST_IMPRINT:
            return False
        return _IMPRINT.match(self.quote) is not None and re.search(r"\b(?:19|20)\d\d\b", self.quote) is not None

    @property
    def matter(self) -> str:
        """The text that is compared with a question."""
        return f"{self.context}: {self.quote}" if self.context else self.quote


def units_of(passage: Passage) -> tuple[Unit, ...]:
    """All units of a passage, in reading order."""
    if passage.table is not None:
        return tuple(_cells(passage, passage.table))
    if passage.kind is PassageKind.FAQ:
        return (Unit(kind=UnitKind.FAQ, passage=passage, quote=passage.text, place=0, context=passage.title),)
    return tuple(_sentences(passage, ", ".join(passage.headings[-1:]) or passage.title))


def _sentences(passage: Passage, context: str) -> Iterator[Unit]:
    lead = ""
    for place, sentence in enumerate(sentences(passage.text)):
        inside = f"{context}: {lead}" if lead and _is_item(sentence) else context
        yield Unit(kind=UnitKind.SENTENCE, passage=passage, quote=sentence, place=place, context=inside)
        if sentence.rstrip().endswith(":") and not _is_item(sentence):
            lead = sentence.strip().rstrip(":")


def _is_item(sentence: str) -> bool:
    return bool(re.match(r"\s*(?:[-*•–]|\d+[.)])\s", sentence))


def _cells(passage: Passage, table: Table) -> Iterator[Unit]:
    about = table.caption or ", ".join(passage.headings[-1:]) or passage.title
    for place, row in enumerate(table.rows):
        label, first = row_label(table, row)
        for column, value in zip(table.header[first:], row[first:], strict=True):
            if not value.strip():
                continue
            yield Unit(
                kind=UnitKind.CELL,
                passage=passage,
                quote=" | ".join(row),
                place=place,
                context=about,
                row=label,
                column=column.strip(),
                value=value.strip(),
            )


def row_label(table: Table, row: tuple[str, ...]) -> tuple[str, int]:
    """What names a row, and where its values begin.

    Usually the first cell; when it repeats in other rows, the second cell belongs to the name too (such as "Weekend | morning").
    """
    first = row[0].strip()
    repeated = sum(1 for other in table.rows if other[0].strip() == first) > 1
    if repeated and len(row) > 2 and row[1].strip():
        return f"{first}, {row[1].strip()}", 1
    return first, min(1, len(row) - 1)
