"""The shape every document takes before it is cut into passages: headings, paragraphs, lists and tables in reading order.

Holds no file format. Refuses nothing: what a table lacks (a header, equal widths) is filled here, once for all formats.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading. `level` 1 is the outermost."""

    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Running text. A newline in it is a line break that the author set."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ListItem:
    """One point of a list. `marker` is what stood before it (`-`, `2.`) or nothing; `depth` 0 is the outermost."""

    text: str
    marker: str = "-"
    depth: int = 0

    @property
    def line(self) -> str:
        """The item as one line of text."""
        return f"{'  ' * self.depth}{self.marker} {self.text}" if self.marker else f"{'  ' * self.depth}{self.text}"


@dataclass(frozen=True, kw_only=True)
class ListBlock:
    """A list, nested points included."""

    items: tuple[ListItem, ...]


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """A table. Every row is as wide as `header`; merged cells are repeated; a header that the author left out is empty texts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


Block = Heading | Paragraph | ListBlock | TableBlock


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A document as read. `title` may be empty: then the file's name has to serve."""

    title: str
    blocks: tuple[Block, ...]


_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"[^\S\n]+")
_MARK = re.compile(r"\s*(?:\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})[.)]|\(?[A-Z]\)|[-*+•◦▪●○·–—‣⁃■□➢✓✔])\s+")
_DIGIT = re.compile(r"\d")


def visible(text: str) -> str:
    """`text` without characters nobody sees (zero width, direction overrides, tags, control codes); ligatures are spelt out."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n")
    text = re.sub("[\ufb00-\ufb06]", lambda m: unicodedata.normalize("NFKC", m[0]), text)
    return unicodedata.normalize("NFC", _CONTROL.sub("", _INVISIBLE.sub("", text)))


def tidy(text: str) -> str:
    """Visible characters only, one space between words, no space around line breaks."""
    return "\n".join(line.strip() for line in _SPACES.sub(" ", visible(text)).strip().split("\n"))


def one_line(text: str) -> str:
    """`tidy`, and on a single line."""
    return " ".join(visible(text).split())


def list_marker(line: str) -> tuple[str, str] | None:
    """The marker and the rest of a line that starts like a point of a list, else None."""
    found = _MARK.match(line)
    return (found[0].strip(), line[found.end() :].strip()) if found and line[found.end() :].strip() else None


def shape_table(grid: Sequence[Sequence[str]], *, header_rows: int | None = None, caption: str = "") -> list[TableBlock]:
    """Tables out of a grid of cell texts whose merged cells are repeated already.

    `header_rows` None: look at the cells. A row that says one thing across all columns names the rows below it: it becomes a caption.
    """
    rows = [[one_line(cell) for cell in row] for row in grid]
    rows = [row for row in rows if any(row)]
    width = max((len(row) for row in rows), default=0)
    rows = [row + [""] * (width - len(row)) for row in rows]
    kept = [c for c in range(width) if any(row[c] for row in rows)]
    rows = [[row[c] for c in kept] for row in rows]
    if not rows or not kept:
        return []
    while len(kept) > 1 and len(rows) > 1 and _spanning(rows[0]) and header_rows != 1:
        caption = f"{caption} {rows[0][0]}".strip()  # a title row above the header
        rows = rows[1:]
        header_rows = header_rows - 1 if header_rows else header_rows
    count = _header_rows(rows) if header_rows is None else min(header_rows, len(rows) - 1)
    header = _merge_header(rows[:count]) if count else ("",) * len(kept)
    tables: list[TableBlock] = []
    group: list[tuple[str, ...]] = []
    label = ""
    for row in rows[count:]:
        if len(kept) > 1 and _spanning(row):
            if group:
                tables.append(TableBlock(header=header, rows=tuple(group), caption=_join_caption(caption, label)))
            label, group = row[0] or next(filter(None, row)), []
        elif tuple(row) != header:
            group.append(tuple(row))
    if group or label:
        tables.append(TableBlock(header=header, rows=tuple(group), caption=_join_caption(caption, label)))
    return tables


def _spanning(row: Sequence[str]) -> bool:
    return len(set(row)) == 1 and bool(row[0])


def _join_caption(caption: str, label: str) -> str:
    return f"{caption} {label}".strip()


def _merge_header(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    columns = zip(*rows, strict=True)
    return tuple(" ".join(dict.fromkeys(filter(None, column))) for column in columns)


def _header_rows(rows: Sequence[Sequence[str]]) -> int:
    """1 when the first row reads like names of columns: it is words where the rows below carry figures, or shorter than they are."""
    if len(rows) < 2 or not any(rows[0]):
        return 0
    first, rest = rows[0], rows[1:]
    if len(first) > 1 and not all(first[1:]):
        return 0
    for column, name in enumerate(first):
        below = [row[column] for row in rest if row[column]]
        if below and not _DIGIT.search(name) and sum(bool(_DIGIT.search(cell)) for cell in below) * 2 >= len(below):
            return 1
    if len(first) == 2 and first[0].endswith(":"):
        return 0
    longest = max(len(cell) for cell in first)
    return 1 if len(first) > 2 or (longest <= 40 and sum(map(len, first)) * len(rest) <= sum(len(c) for row in rest for c in row)) else 0
