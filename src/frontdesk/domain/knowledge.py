"""What a tenant knows: FAQ pairs, documents, passages, and the citations that point back at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

DocumentId = NewType("DocumentId", str)
PassageId = NewType("PassageId", str)

FAQ_SOURCE = "faq"
"""`Citation.source` of every FAQ pair; documents use their path below `knowledge/`."""


class PassageKind(StrEnum):
    """What a passage is made of."""

    FAQ = "faq"
    PROSE = "prose"
    LIST = "list"
    TABLE = "table"


@dataclass(frozen=True, kw_only=True)
class FaqPair:
    """A question and the answer that the company approved, word for word."""

    question: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it stood in the document. `rows` are as wide as `header`."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    notes: str = ""
    """The remark directly below the table (`* per person`), which is part of what its cells mean."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """The smallest piece of knowledge that is indexed: an FAQ pair, some paragraphs, a list or (part of) a table."""

    id: PassageId
    document: DocumentId
    source: str
    """`faq`, or the document's path below `knowledge/`."""
    title: str
    """The document's title; for an FAQ pair its question."""
    kind: PassageKind
    text: str
    """Plain text, verbatim from the source; for FAQ the answer; for a table its rows as `cell | cell` lines."""
    headings: tuple[str, ...] = ()
    """Heading path, outermost first, without the document's title."""
    table: Table | None = None
    ordinal: int = 0
    """Place within the document, from 0."""
    version: int = 1
    """Version of the document that this passage belongs to."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One knowledge file (or the FAQ) in one version."""

    id: DocumentId
    source: str
    title: str
    sha256: str
    version: int
    passages: int
    updated_at: datetime
    quarantined: int = 0


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that a search found. `score` is the fused rank score, `cosine` in [-1, 1], `words` the full-text rank."""

    passage: Passage
    score: float
    cosine: float
    words: float


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Where a statement stands. `quote` is a verbatim span of the source."""

    source: str
    title: str
    quote: str
    passage: PassageId | None = None
    version: int = 1
