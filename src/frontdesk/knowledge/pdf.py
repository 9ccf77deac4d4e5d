"""PDF pages become blocks again: a PDF knows only where letters stand, so headings, paragraphs and tables are told by place and type.

Refuses what is encrypted, damaged or holds no text (scans). Letters that nobody can see are left out: white on white, microscopic,
off the page.
"""

from __future__ import annotations

import io
import itertools
import logging
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from frontdesk.errors import BadDocument
from frontdesk.knowledge.blocks import (
    Block,
    Heading,
    ListBlock,
    ListItem,
    Paragraph,
    Parsed,
    TableBlock,
    list_marker,
    one_line,
    shape_table,
    visible,
)

MAX_PAGES: Final = 600
_MIN_LETTER: Final = 2.0  # points; nobody reads smaller type, but a machine does
_BOLD = re.compile(r"bold|black|heavy|demi", re.I)
_PAGE_NUMBER = re.compile(r"\W*(?:(?:page|seite|página|pagina|p\.)\s*)?\d{1,4}(?:\s*(?:of|/|von|de|di|sur)\s*\d{1,4})?\W*", re.I)
_END = re.compile(r"""[.!?:;…]["'”’)\]]*$""")
_UNKNOWN = re.compile(r"\(cid:\d+\)")
_HYPHEN = re.compile(r"(\w+)[-‐]$")


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Words of one line with no wide gap between them. All measures in points, `top` from the page's upper edge."""

    text: str
    left: float
    right: float


@dataclass(frozen=True, kw_only=True)
class _Line:
    pieces: tuple[_Piece, ...]
    top: float
    bottom: float
    size: float
    bold: bool
    page: int

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)

    @property
    def left(self) -> float:
        return self.pieces[0].left

    @property
    def right(self) -> float:
        return self.pieces[-1].right


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """A table that rules or boxes draw."""

    cells: tuple[tuple[str, ...], ...]
    edges: tuple[float, ...]
    """Left edges of its columns."""
    top: float
    bottom: float
    page: int


_Item = _Line | _Grid


def read_pdf(content: bytes) -> Parsed:
    """The blocks of a PDF. Raises BadDocument with the reason alone."""
    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect
    from pdfminer.pdfparser import PDFSyntaxError
    from pdfminer.psparser import PSException
    from pdfplumber.utils.exceptions import PdfminerException

    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    if b"%PDF-" not in content[:1024]:
        raise BadDocument("it is not a PDF, although its name says so; save it as PDF again")
    try:
        with pdfplumber.open(io.BytesIO(content)) as pdf:
            if len(pdf.pages) > MAX_PAGES:
                raise BadDocument(f"it has more than {MAX_PAGES} pages; split it")
            if not pdf.pages:
                raise BadDocument("the PDF has no pages; save it again from the program that made it")
            pages = [list(_page_items(page, number)) for number, page in enumerate(pdf.pages)]
            heights = [float(page.height) for page in pdf.pages]
            named = (pdf.metadata or {}).get("Title")
    except PdfminerException as error:
        if error.args and isinstance(error.args[0], PDFPasswordIncorrect):
            raise BadDocument("the PDF is encrypted; save it without a password") from None
        raise BadDocument("the PDF is damaged; save it again from the program that made it") from None
    except (
        PDFSyntaxError,
        PSException,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        AssertionError,
        OverflowError,
        ZeroDivisionError,
    ) as error:
        raise BadDocument(f"the PDF is damaged ({type(error).__name__}); save it again from the program that made it") from None
    items = list(_without_furniture(pages, heights))
    if items and not any(re.search(r"\w\w", item.text if isinstance(item, _Line) else str(item.cells)) for item in items):
        raise BadDocument("its fonts do not say which letters they draw; run text recognition (OCR) on it first")
    if not items:
        raise BadDocument("the PDF holds no text, only pictures of it; run text recognition (OCR) on it first")
    blocks = _Builder(items).blocks()
    title = next((b.text for b in blocks[:3] if isinstance(b, Heading)), "")
    return Parsed(title=title or _meta_title(named), blocks=tuple(blocks))


def _meta_title(named: Any) -> str:
    title = one_line(named) if isinstance(named, str) else ""
    return "" if re.search(r"\.\w{2,4}$|^(untitled|anonymous|microsoft word)", title, re.I) else title


# --- from letters to lines ---


def _page_items(page: Any, number: int) -> Iterator[_Item]:
    page = page.dedupe_chars(tolerance=0.5, extra_attrs=("size",))  # some programs print a letter twice to make it bold
    seen = page.filter(_Seen(page))
    grids = list(_grids(seen, number))
    outside = seen
    for grid, box in grids:
        del grid
        outside = outside.filter(lambda obj, box=box: obj["object_type"] != "char" or not _inside(obj, box))
    words = outside.extract_words(
        x_tolerance=1.5,
        x_tolerance_ratio=0.15,
        y_tolerance=2,
        keep_blank_chars=False,
        use_text_flow=False,
        extra_attrs=["size", "fontname"],
        expand_ligatures=True,
    )
    items: list[_Item] = [grid for grid, _ in grids]
    for column in _columns(words, float(page.width)):
        items.extend(_lines(column, number))
        if column is not words:
            yield from sorted(items, key=lambda item: item.top)
            items = []
    yield from sorted(items, key=lambda item: item.top)
    page.close()


class _Seen:
    """Says of a page's object whether a reader sees it."""

    def __init__(self, page: Any) -> None:
        self._box = (float(page.bbox[0]), float(page.bbox[1]), float(page.bbox[2]), float(page.bbox[3]))
        self._painted = [r for r in page.rects if r.get("fill") and not _is_white(r.get("non_stroking_color"))]
        self._painted += list(page.images)

    def __call__(self, obj: dict[str, Any]) -> bool:
        if obj["object_type"] != "char":
            return True
        left, top, right, bottom = self._box
        if obj["size"] < _MIN_LETTER or obj["x1"] < left or obj["x0"] > right or obj["bottom"] < top or obj["top"] > bottom:
            return False
        return not _is_white(obj.get("non_stroking_color")) or any(
            _inside(obj, (r["x0"], r["top"], r["x1"], r["bottom"])) for r in self._painted
        )


def _is_white(color: Any) -> bool:
    values = tuple(color) if isinstance(color, list | tuple) else (color,)
    if not all(isinstance(v, int | float) for v in values):
        return False
    return all(v <= 0.03 for v in values) if len(values) == 4 else len(values) in {1, 3} and all(v >= 0.97 for v in values)


def _inside(obj: Any, box: tuple[float, float, float, float]) -> bool:
    x, y = (obj["x0"] + obj["x1"]) / 2, (obj["top"] + obj["bottom"]) / 2
    return bool(box[0] - 1 <= x <= box[2] + 1 and box[1] - 1 <= y <= box[3] + 1)


def _grids(page: Any, number: int) -> Iterator[tuple[_Grid, tuple[float, float, float, float]]]:
    for table in page.find_tables({"snap_tolerance": 4, "join_tolerance": 4, "intersection_tolerance": 4}):
        boxes = [cell for cell in table.cells if cell]
        columns = _edges(box[0] for box in boxes)
        rows = _edges(box[1] for box in boxes)
        if len(columns) < 2 or len(rows) < 2:
            continue
        texts = {box: one_line(page.crop(box, strict=False).extract_text(x_tolerance=1.5, x_tolerance_ratio=0.15) or "") for box in boxes}
        ends = (*columns[1:], table.bbox[2]), (*rows[1:], table.bbox[3])
        cells = tuple(
            tuple(
                next((texts[b] for b in boxes if b[0] - 1 <= (x + x2) / 2 <= b[2] + 1 and b[1] - 1 <= (y + y2) / 2 <= b[3] + 1), "")
                for x, x2 in zip(columns, ends[0], strict=True)
            )
            for y, y2 in zip(rows, ends[1], strict=True)
        )
        if sum(bool(cell) for row in cells for cell in row) >= 3:
            yield _Grid(cells=cells, edges=columns, top=table.bbox[1], bottom=table.bbox[3], page=number), table.bbox


def _edges(values: Iterable[float]) -> tuple[float, ...]:
    edges: list[float] = []
    for value in sorted(values):
        if not edges or value - edges[-1] > 4:
            edges.append(value)
    return tuple(edges)


def _columns(words: list[dict[str, Any]], width: float) -> list[list[dict[str, Any]]]:
    """The page's words, or, where running text stands in two columns, what is above them, the left one and the right one."""
    if len(words) < 80:
        return [words]
    for middle in (width * share for share in (0.5, 0.48, 0.52, 0.45, 0.55)):
        crossing = [w for w in words if w["x0"] < middle + 4 and w["x1"] > middle - 4]
        first = max((w["bottom"] for w in crossing), default=0.0)
        left = [w for w in words if w["x1"] <= middle - 4 and w["top"] >= first]
        right = [w for w in words if w["x0"] >= middle + 4 and w["top"] >= first]
        if len(crossing) > len(words) * 0.3 or min(len(left), len(right)) < 40:
            continue
        per_line = [len(side) / max(1, len({round(w["top"] / 4) for w in side})) for side in (left, right)]
        if min(per_line) >= 4:  # cells of a table are shorter than lines of running text
            above = [w for w in words if w["top"] < first]
            return [above, left, right]
    return [words]


def _lines(words: Sequence[dict[str, Any]], page: int) -> Iterator[_Line]:
    rows: list[list[dict[str, Any]]] = []
    for word in sorted(words, key=lambda w: (w["bottom"], w["x0"])):
        if rows and abs(word["bottom"] - statistics.fmean(w["bottom"] for w in rows[-1])) <= 0.35 * word["size"]:
            rows[-1].append(word)
        else:
            rows.append([word])
    for row in rows:
        row.sort(key=lambda w: w["x0"])
        size = Counter(round(w["size"], 1) for w in row for _ in w["text"]).most_common(1)[0][0]
        letters = sum(len(w["text"]) for w in row)
        bold = sum(len(w["text"]) for w in row if _BOLD.search(str(w["fontname"]))) >= 0.9 * letters
        pieces: list[_Piece] = []
        for word in row:
            # A letter whose font says nothing about it: at the start of a line it is a bullet.
            text = visible(_UNKNOWN.sub("" if pieces else "•", word["text"]))
            if pieces and word["x0"] - pieces[-1].right < 1.2 * size:
                pieces[-1] = _Piece(text=f"{pieces[-1].text} {text}", left=pieces[-1].left, right=word["x1"])
            elif text.strip():
                pieces.append(_Piece(text=text, left=word["x0"], right=word["x1"]))
        if pieces:
            yield _Line(
                pieces=tuple(pieces), top=min(w["top"] for w in row), bottom=max(w["bottom"] for w in row), size=size, bold=bold, page=page
            )


def _without_furniture(pages: list[list[_Item]], heights: list[float]) -> Iterator[_Item]:
    """Everything but running heads and feet: edge lines that repeat from page to page, and page numbers."""

    def edge(item: _Item) -> str:
        height = heights[item.page]
        if isinstance(item, _Line) and (item.bottom < 0.11 * height or item.top > 0.89 * height):
            return re.sub(r"\d+", "#", one_line(item.text)).casefold()
        return ""

    seen = Counter(key for page in pages for key in {edge(item) for item in page} if key)
    needed = max(2, (len(pages) + 1) // 2)
    for page in pages:
        for item in page:
            key = edge(item)
            if not key or (seen[key] < needed and not _PAGE_NUMBER.fullmatch(item.text if isinstance(item, _Line) else "")):
                yield item


# --- from lines to blocks ---


class _Builder:
    """Reads the items in order. Sizes and distances are judged against the document's own ordinary type."""

    def __init__(self, items: Sequence[_Item]) -> None:
        self._items = items
        lines = [item for item in items if isinstance(item, _Line)]
        sizes = Counter[float]()
        for line in lines:
            sizes[line.size] += len(line.text)
        self._size = sizes.most_common(1)[0][0] if sizes else 10.0
        body = [line for line in lines if line.size == self._size]
        pitches = [
            b.bottom - a.bottom for a, b in itertools.pairwise(body) if a.page == b.page and 0 < b.bottom - a.bottom < 3 * self._size
        ]
        # The closest common distance is the one between lines of a paragraph; the gaps between paragraphs are wider.
        self._pitch = statistics.median_low(sorted(pitches)[: max(1, (len(pitches) * 2) // 3)]) if pitches else 1.2 * self._size
        self._mostly_bold = sum(len(line.text) for line in body if line.bold) > 0.5 * max(1, sum(len(line.text) for line in body))
        self._right = max((line.right for line in body), default=0.0)
        styles = {(-line.size, not line.bold) for line in lines if self._is_heading(line)}
        self._levels = {style: level for level, style in enumerate(sorted(styles), 1)}
        self._words = Counter(re.findall(r"\w+(?:-\w+)*", " ".join(line.text for line in lines).casefold()))

    def blocks(self) -> list[Block]:
        out: list[Block] = []
        grid: _Grid | None = None
        rows: list[tuple[str, ...]] = []
        position = 0
        while position < len(self._items):
            item = self._items[position]
            if isinstance(item, _Grid):
                if grid is not None and _continues(grid, item):
                    rows.extend(item.cells[1:] if item.cells[0] == grid.cells[0] else item.cells)
                else:
                    out.extend(shape_table(rows))
                    rows = list(item.cells)
                    grid = item
                position += 1
                continue
            out.extend(shape_table(rows))
            grid, rows = None, []
            used, made = self._aligned(position) or self._heading(position) or self._list(position) or self._paragraph(position)
            out.extend(made)
            position += used
        out.extend(shape_table(rows))
        return _joined_tables(out)

    def _run(self, position: int) -> Iterator[_Line]:
        for item in self._items[position:]:
            if not isinstance(item, _Line):
                return
            yield item

    def _is_heading(self, line: _Line) -> bool:
        text = line.text
        if len(text) > 140 or len(line.pieces) > 1 or text.endswith((".", ";", ",")) or not re.search(r"[^\W\d_]", text):
            return False
        if line.size > 1.08 * self._size:
            return True
        return line.bold and not self._mostly_bold and line.size >= 0.95 * self._size and len(text) <= 100 and not text.endswith(":")

    def _heading(self, position: int) -> tuple[int, list[Block]] | None:
        lines: list[_Line] = []
        for line in self._run(position):
            if not self._is_heading(line) or (lines and not self._same_heading(lines[-1], line)):
                break
            lines.append(line)
        if not lines:
            return None
        level = self._levels.get((-lines[0].size, not lines[0].bold), 1)
        return len(lines), [Heading(level=level, text=one_line(" ".join(line.text for line in lines)))]

    def _same_heading(self, above: _Line, below: _Line) -> bool:
        same = above.size == below.size and above.bold == below.bold and above.page == below.page
        # A heading wraps only where the line was full, so two short ones below each other are two headings.
        return same and below.top - above.bottom < 0.6 * above.size and above.right > 0.6 * self._right

    def _list(self, position: int) -> tuple[int, list[Block]] | None:
        items: list[ListItem] = []
        lefts: list[float] = []
        previous: _Line | None = None
        used = 0
        for line in self._run(position):
            marked = list_marker(" ".join(piece.text for piece in line.pieces))
            if marked and not self._is_heading(line):
                if not lefts or line.left > lefts[0] + 4:
                    lefts = sorted({*lefts, line.left})
                depth = sum(left < line.left - 4 for left in lefts)
                items.append(ListItem(text=marked[1], marker=marked[0], depth=depth))
            elif items and previous is not None and line.left > lefts[0] + 2 and self._flows(previous, line, indented=True):
                last = items[-1]
                items[-1] = replace(last, text=self._append(last.text, line.text))
            else:
                break
            previous = line
            used += 1
        return (used, [ListBlock(items=tuple(replace(i, text=one_line(i.text)) for i in items))]) if items else None

    def _paragraph(self, position: int) -> tuple[int, list[Block]]:
        text = ""
        previous: _Line | None = None
        used = 0
        for line in self._run(position):
            if previous is not None and (
                self._is_heading(line) or list_marker(line.text) or not self._flows(previous, line) or self._aligned(position + used)
            ):
                break
            if previous is not None and previous.right < 0.55 * self._right and len(line.text) < 60 and previous.page == line.page:
                text = f"{text}\n{line.text}"  # broken on purpose, such as an address
            else:
                text = self._append(text, line.text)
            previous = line
            used += 1
        return used, [Paragraph(text="\n".join(one_line(part) for part in text.split("\n")))]

    def _flows(self, above: _Line, below: _Line, *, indented: bool = False) -> bool:
        """Whether the lower line goes on with the paragraph of the upper one."""
        if abs(above.size - below.size) > 0.15 * above.size:
            return False
        if above.page != below.page:
            return not _END.search(above.text) or (below.text[:1].islower() and not _END.search(above.text))
        if below.top < above.top:
            return not _END.search(above.text)  # the next column
        if below.bottom - above.bottom > max(1.25 * self._pitch, self._pitch + 2):
            return False
        return indented or below.left - above.left < 1.0 * self._size or not _END.search(above.text)

    def _append(self, text: str, more: str) -> str:
        """Two lines as one, the hyphen of a divided word undone when the document itself shows the word undivided."""
        cut = _HYPHEN.search(text)
        second = re.match(r"\w+", more)
        if not text or not cut or not second:
            return f"{text} {more}".strip()
        whole, hyphened = (cut[1] + second[0]).casefold(), f"{cut[1]}-{second[0]}".casefold()
        keeps = self._words[hyphened] > self._words[whole] or (
            not self._words[whole] and not (cut[1][-1].islower() and second[0][0].islower())
        )
        return text + more if keeps else text[:-1] + more

    def _aligned(self, position: int) -> tuple[int, list[Block]] | None:
        """A table without rules: lines whose pieces start (or end) at the same places."""
        first = next(self._run(position), None)
        if first is None or len(first.pieces) < 2 or list_marker(f"{first.pieces[0].text} x"):
            return None
        lines: list[_Line] = []
        for line in self._run(position):
            if lines and (line.page != lines[-1].page or line.top - lines[-1].bottom > 1.6 * self._pitch or not _fits(lines, line)):
                break
            if len(line.pieces) == 1 and (line.right - line.left > 0.6 * self._right or self._is_heading(line)):
                break
            lines.append(line)
        while lines and len(lines[-1].pieces) == 1 and lines[-1].pieces[0].left <= first.left + 2:
            lines.pop()  # text below the table, not a cell of it
        if sum(len(line.pieces) >= 2 for line in lines) < 2:
            return None
        starts = _edges(piece.left for line in lines for piece in line.pieces)
        cuts = _cuts(lines, starts)
        rows: list[list[str]] = []
        bottom = 0.0
        for line in lines:
            cells = [""] * len(cuts)
            for piece in line.pieces:
                column = max((i for i, cut in enumerate(cuts) if piece.left >= cut - 3), default=0)
                cells[column] = f"{cells[column]} {piece.text}".strip()
            if rows and line.bottom - bottom < 1.25 * self._pitch and not cells[0]:
                rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
            else:
                rows.append(cells)
            bottom = line.bottom
        if len(rows) < 2:
            return None
        header = 1 if lines[0].bold and not all(line.bold for line in lines) else None
        return len(lines), list(shape_table(rows, header_rows=header))


def _fits(lines: Sequence[_Line], line: _Line) -> bool:
    """Whether a line shares a column with the table so far beyond its first one."""
    spans = [(p.left, p.right) for known in lines for p in known.pieces[1:] or known.pieces]
    return any(left - 3 <= p.right and p.left <= right + 3 for p in line.pieces for left, right in spans)


def _cuts(lines: Sequence[_Line], starts: Sequence[float]) -> list[float]:
    """Where columns begin: at starts with only blank space on their left through all lines."""
    cuts = [starts[0]]
    for start in starts[1:]:
        if not any(p.left < start - 2 and p.right > start - 1 for line in lines for p in line.pieces) and any(
            p.right < start and p.left >= cuts[-1] - 3 for line in lines for p in line.pieces
        ):
            cuts.append(start)
    return cuts


def _continues(above: _Grid, below: _Grid) -> bool:
    same = len(above.edges) == len(below.edges) and all(abs(a - b) < 6 for a, b in zip(above.edges, below.edges, strict=True))
    return same and below.page == above.page + 1


def _joined_tables(blocks: Iterable[Block]) -> list[Block]:
    """A table that a page break cut in two, when both halves carry the same header."""
    out: list[Block] = []
    for block in blocks:
        last = out[-1] if out else None
        if (
            isinstance(block, TableBlock)
            and isinstance(last, TableBlock)
            and block.header == last.header
            and any(block.header)
            and not block.caption
        ):
            out[-1] = replace(last, rows=(*last.rows, *block.rows))
        else:
            out.append(block)
    return out
