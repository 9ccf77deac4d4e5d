"""Blocks become passages: what one search hit shows and one citation quotes. Text stays verbatim; only the cuts are chosen here.

Prose is cut at paragraphs and ends of sentences and never runs across a heading. A list stays with the sentence that leads into it,
a table is a passage of its own with its header on every part. Orders to an assistant are set apart (see `orders`), not dropped in
silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from frontdesk.domain.knowledge import FAQ_SOURCE, DocumentId, FaqPair, Passage, PassageId, PassageKind, Table
from frontdesk.knowledge.blocks import Block, Heading, ListBlock, Paragraph, Parsed, TableBlock, one_line
from frontdesk.knowledge.orders import set_apart
from frontdesk.knowledge.sentences import sentences

__all__ = ["Draft", "draft_document", "draft_faq", "embedded_text", "search_text", "sentences", "table_text", "token_estimate"]

FEW_TOKENS: Final = 60
MANY_TOKENS: Final = 160
_CAPTION_TOKENS: Final = 60
_WORD = re.compile(r"\w+|[^\w\s]")
_INTRODUCES = re.compile(
    r":$|\b(?:below|follow\w*|table|overview|folgende\w*|tabelle|suivant\w*|tableau|siguiente\w*|tabla|seguent\w*|tabella|volgende|tabel)\b",
    re.I,
)
_NOTE = re.compile(
    r"\s*(?:[*†‡¹²³⁴§]|\(\d\)|\[\d\]|\d\)\s|(?:please )?(?:note|nb|n\.b\.|hinweis|anmerkung|remarque|nota|opmerking)\b)", re.I
)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A passage before it has a place; whoever stores it gives ids and versions."""

    kind: PassageKind
    source: str
    title: str
    text: str
    headings: tuple[str, ...] = ()
    table: Table | None = None
    quarantined: bool = False

    def passage(self, *, ordinal: int = 0, id: str = "", document: str = "", version: int = 1) -> Passage:
        """The passage at its place in one version of a document."""
        return Passage(
            id=PassageId(id),
            document=DocumentId(document),
            source=self.source,
            title=self.title,
            kind=self.kind,
            text=self.text,
            headings=self.headings,
            table=self.table,
            ordinal=ordinal,
            version=version,
        )


def search_text(passage: Passage | Draft) -> str:
    """What is indexed by word: for FAQ question and answer, else title > headings, then caption, text and notes."""
    if passage.kind is PassageKind.FAQ:
        return f"{passage.title}\n{passage.text}"
    place = " > ".join(filter(None, (passage.title, *passage.headings)))
    table = passage.table
    return "\n".join(filter(None, (place, table.caption if table else "", passage.text, table.notes if table else "")))


def embedded_text(passage: Passage | Draft) -> str:
    """What becomes the vector: the question of an FAQ pair, since questions are asked; else the same as `search_text`."""
    return passage.title if passage.kind is PassageKind.FAQ else search_text(passage)


def token_estimate(text: str) -> int:
    """About as many tokens as MiniLM's tokenizer makes of `text`, within a tenth for ordinary prose; no model needed."""
    return sum(1 + (len(word) - 1) // 9 for word in _WORD.findall(text))


def draft_faq(pairs: Sequence[FaqPair]) -> list[Draft]:
    """One draft per pair, in order."""
    return [Draft(kind=PassageKind.FAQ, source=FAQ_SOURCE, title=pair.question, text=pair.answer) for pair in pairs]


def draft_document(parsed: Parsed, *, source: str, title: str) -> list[Draft]:
    """The document's passages in reading order; set-apart orders come last and are `quarantined`. `title` serves where it has none."""
    clean, orders = set_apart(parsed)
    shown = clean.title or title
    drafts = [d for section in _sections(clean, shown) for d in _Section(source, shown, section).drafts()]
    for headings, text in orders:
        path = headings[1:] if headings[:1] == (shown,) else headings
        drafts.append(Draft(kind=PassageKind.PROSE, source=source, title=shown, text=text, headings=path, quarantined=True))
    return drafts


@dataclass(frozen=True)
class _Path:
    headings: tuple[str, ...]
    blocks: list[Block] = field(default_factory=list)


def _sections(parsed: Parsed, title: str) -> Iterator[_Path]:
    stack: list[tuple[int, str]] = []
    section = _Path(())
    first = True
    for block in parsed.blocks:
        if not isinstance(block, Heading):
            section.blocks.append(block)
            continue
        yield section
        stack = [entry for entry in stack if entry[0] < block.level]
        # The heading that is the title would only repeat it; what stands below it starts at the outermost level.
        if not (first and one_line(block.text).casefold() == title.casefold()):
            stack.append((block.level, block.text))
        first = False
        section = _Path(tuple(text for _, text in stack))
    yield section


@dataclass(frozen=True)
class _Unit:
    text: str
    tokens: int
    is_list: bool = False


class _Section:
    """What stands below one heading, packed into passages of FEW_TOKENS to MANY_TOKENS where there is enough of it."""

    def __init__(self, source: str, title: str, section: _Path) -> None:
        self._source = source
        self._title = title
        self._headings = section.headings
        self._blocks = section.blocks
        self._units: list[_Unit] = []
        self._out: list[Draft] = []

    def drafts(self) -> list[Draft]:
        for position, block in enumerate(self._blocks):
            if isinstance(block, Paragraph):
                self._units.extend(_prose_units(block.text))
            elif isinstance(block, ListBlock):
                self._list(block, position)
            elif isinstance(block, TableBlock):
                self._table(block, position)
        self._flush()
        return self._out

    def _list(self, block: ListBlock, position: int) -> None:
        lead = ""
        if position and isinstance(self._blocks[position - 1], Paragraph) and self._units:
            last = self._units[-1]
            *before, lead = sentences(last.text) or [""]
            if not lead.endswith(":") and (before or token_estimate(lead) > _CAPTION_TOKENS):
                lead = ""  # a paragraph of its own that happens to stand above the list
            elif lead:
                self._units.pop()
                rest = last.text[: last.text.rindex(lead)].strip()
                if rest:
                    self._units.append(_Unit(rest, token_estimate(rest)))
        self._units.extend(_list_units(lead, [item.line for item in block.items]))

    def _table(self, block: TableBlock, position: int) -> None:
        before = self._blocks[position - 1] if position else None
        after = self._blocks[position + 1] if position + 1 < len(self._blocks) else None
        *others, lead = (sentences(before.text) or [""]) if isinstance(before, Paragraph) else [""]
        if token_estimate(lead) > _CAPTION_TOKENS or (others and not _INTRODUCES.search(lead)):
            lead = ""
        if lead.endswith(":") and self._units and self._units[-1].text == lead and not block.caption:
            self._units.pop()  # says nothing without its table, where it stays as the caption
        self._flush()
        notes = after.text if isinstance(after, Paragraph) and _NOTE.match(after.text) else ""
        caption = block.caption or lead
        for rows in _row_groups(block):
            table = Table(header=block.header, rows=rows, caption=caption, notes=notes)
            self._emit(PassageKind.TABLE, table_text(table), table=table)

    def _flush(self) -> None:
        for units in _packed(self._units):
            kind = PassageKind.LIST if any(unit.is_list for unit in units) else PassageKind.PROSE
            self._emit(kind, "\n".join(unit.text for unit in units))
        self._units = []

    def _emit(self, kind: PassageKind, text: str, *, table: Table | None = None) -> None:
        self._out.append(Draft(kind=kind, source=self._source, title=self._title, text=text, headings=self._headings, table=table))


def table_text(table: Table) -> str:
    """The table as lines of `cell | cell`, the header first where there is one."""
    lines = [table.header, *table.rows] if any(table.header) else list(table.rows)
    return "\n".join(" | ".join(row) for row in lines)


def _prose_units(text: str) -> Iterator[_Unit]:
    """The paragraph itself, or, when it is long, pieces of about the same size that end where sentences end."""
    total = token_estimate(text)
    if total <= MANY_TOKENS:
        yield _Unit(text, total)
        return
    aim = total / -(-total // (MANY_TOKENS - 20))
    start, size = 0, 0
    position = 0
    for sentence in sentences(text):
        tokens = token_estimate(sentence)
        begin = text.index(sentence, position)
        if size and (size + tokens > MANY_TOKENS or size >= aim):
            yield _Unit(text[start:begin].strip(), size)
            start, size = begin, 0
        size += tokens
        position = begin + len(sentence)
    if text[start:].strip():
        yield _Unit(text[start:].strip(), size)


def _list_units(lead: str, lines: Sequence[str]) -> Iterator[_Unit]:
    room = MANY_TOKENS - token_estimate(lead)
    for group in _grouped(lines, max(room, FEW_TOKENS)):
        text = "\n".join([lead, *group] if lead else group)
        yield _Unit(text, token_estimate(text), is_list=True)


def _row_groups(block: TableBlock) -> Iterator[tuple[tuple[str, ...], ...]]:
    room = MANY_TOKENS - token_estimate(" ".join(block.header))
    rows = {" | ".join(row): row for row in block.rows}
    for group in _grouped([" | ".join(row) for row in block.rows], max(room, FEW_TOKENS)):
        yield tuple(rows[line] for line in group)


def _grouped(lines: Sequence[str], room: int) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for line in lines:
        tokens = token_estimate(line)
        if group and size + tokens > room:
            yield group
            group, size = [], 0
        group.append(line)
        size += tokens
    if group:
        yield group


def _packed(units: Iterable[_Unit]) -> list[list[_Unit]]:
    """Units that follow one another, together while the sum stays small; a short last one joins what came before."""
    packs: list[list[_Unit]] = []
    size = 0
    for unit in units:
        if packs and size < FEW_TOKENS and size + unit.tokens <= MANY_TOKENS:
            packs[-1].append(unit)
            size += unit.tokens
        else:
            packs.append([unit])
            size = unit.tokens
    if len(packs) > 1 and size < FEW_TOKENS // 2 and sum(u.tokens for u in packs[-2]) + size <= MANY_TOKENS:
        packs[-2].extend(packs.pop())
    return packs
