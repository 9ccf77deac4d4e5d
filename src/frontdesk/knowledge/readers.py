"""One reader per text format: Markdown, HTML, plain text and DOCX become blocks. PDF has its own file.

Refuses what is not text, not UTF-8, or not the format that the file name promises. Text that a person would not see is left out:
comments, scripts, hidden elements, struck-out words. Runs in the parser's child process (see `parsing`), where each library is
imported by the first file that needs it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from frontdesk.errors import BadDocument
from frontdesk.knowledge.blocks import (
    Block,
    Heading,
    ListBlock,
    ListItem,
    Paragraph,
    Parsed,
    list_marker,
    one_line,
    shape_table,
    tidy,
    visible,
)

MAX_UNPACKED: Final = 100 * 1024 * 1024


def read(suffix: str, content: bytes) -> Parsed:
    """The blocks of a document whose name ends in `suffix` (with its dot, small letters). Raises BadDocument with the reason alone."""
    readers: Mapping[str, Callable[[bytes], Parsed]] = {
        ".md": read_markdown,
        ".markdown": read_markdown,
        ".html": read_html,
        ".htm": read_html,
        ".txt": read_text,
        ".docx": read_docx,
        ".pdf": _read_pdf,
    }
    if suffix not in readers:
        raise BadDocument(f"{suffix or 'a file without an ending'} is not supported; convert it to .md, .html, .txt, .pdf or .docx")
    if not content.strip():
        raise BadDocument("the file is empty; fill it or delete it")
    parsed = readers[suffix](content)
    if not any(not isinstance(block, Heading) for block in parsed.blocks):
        raise BadDocument("no text was found in it; if it holds pictures of pages, run text recognition (OCR) on it first")
    return parsed


def _read_pdf(content: bytes) -> Parsed:
    from frontdesk.knowledge.pdf import read_pdf  # half a second of imports that no other format should wait for

    return read_pdf(content)


def _decode(content: bytes, declared: str = "") -> str:
    if content.startswith((b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"\xd0\xcf\x11\xe0", b"\x7fELF", b"GIF8", b"\x1f\x8b")):
        raise BadDocument("the file is not text, although its name says so; give it the ending of its real format")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    for name in dict.fromkeys((encoding, declared)):
        try:
            text = content.decode(name) if name else ""
        except (UnicodeDecodeError, LookupError):
            continue
        if name:
            break
    else:
        raise BadDocument("the text is not UTF-8; save the file as UTF-8")
    controls = sum(1 for c in text if (c < " " and c not in "\n\r\t\f") or c == "\ufffd")
    if "\x00" in text or controls * 50 > len(text):
        raise BadDocument("the file is not text but binary data; give it the ending of its real format")
    return text


# --- Markdown and HTML ---

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*\n", re.S)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.I)
_XML_HEAD = re.compile(r"\A\s*<\?xml[^>]*\?>")
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0(?:\.\d+)?(?:px|pt|em|rem|%)?\s*(?:;|$|!|})"
    r"|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$|!|})|text-indent\s*:\s*-\d{3,}|(?:left|top)\s*:\s*-\d{3,}|clip\s*:\s*rect\(\s*0",
    re.I,
)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SKIPPED = frozenset(
    re.findall(
        r"\w+",
        "script style nav noscript template iframe object embed svg canvas audio video button select textarea input head "
        "del s strike math dialog",
    )
)
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form header hr html legend li "
        "main ol p pre section summary table tbody td tfoot th thead tr ul h1 h2 h3 h4 h5 h6",
    )
)


def read_markdown(content: bytes) -> Parsed:
    """Markdown with tables; HTML inside it is read as HTML, so that comments and hidden parts do not count."""
    from markdown_it import MarkdownIt

    text = visible(_decode(content))
    front = _FRONT_MATTER.match(text)
    title = ""
    if front:
        named = re.search(r"^title\s*:\s*(.+)$", front[1], re.M | re.I)
        title = named[1].strip().strip("\"'") if named else ""
        text = text[front.end() :]
    html = MarkdownIt("commonmark").enable("table").enable("strikethrough").render(text)
    parsed = _from_html(html)
    return Parsed(title=title or parsed.title, blocks=parsed.blocks)


def read_html(content: bytes) -> Parsed:
    """A page's own text: menus, scripts, forms' controls, page footers and hidden elements are left out."""
    declared = _CHARSET.search(content[:4096])
    return _from_html(visible(_decode(content, declared[1].decode("ascii") if declared else "")))


def _from_html(text: str) -> Parsed:
    from lxml import etree, html

    try:
        root = html.document_fromstring(_XML_HEAD.sub("", text) or "<p></p>")
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise BadDocument(f"the HTML cannot be read ({one_line(str(error))}); repair it or save it as text") from None
    reader = _HtmlReader(root)
    return Parsed(title=reader.title(), blocks=tuple(reader.blocks()))


class _HtmlReader:
    """Walks an HTML tree once. Inline text gathers until a block element starts or ends."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._out: list[Block] = []
        self._inline: list[str] = []
        self._hidden_names = self._hidden_selectors()
        mains = [el for el in root.iter("main") if not self._hidden(el)]
        self._start = mains[0] if len(mains) == 1 else root

    def title(self) -> str:
        for path in ("h1", "title"):
            for element in self._root.iter(path):
                if path == "title" or not self._hidden(element):
                    text = self._text(element)
                    if text:
                        return text
        return ""

    def blocks(self) -> list[Block]:
        self._visit(self._start)
        self._flush()
        return self._out

    def _hidden_selectors(self) -> frozenset[str]:
        rules = (rule for style in self._root.iter("style") for rule in _RULE.finditer(style.text or ""))
        return frozenset(name.strip() for rule in rules if _HIDING.search(rule[2] + ";") for name in rule[1].split(","))

    def _hidden(self, element: Any) -> bool:
        if not isinstance(element.tag, str) or element.tag in _SKIPPED:
            return True
        get = element.get
        if get("hidden") is not None or get("role") in {"navigation", "search", "banner"} or get("aria-hidden") == "true":
            return True
        if element.tag == "footer" and element.getparent() is not None and element.getparent().tag == "body":
            return True
        if _HIDING.search((get("style") or "") + ";"):
            return True
        if not self._hidden_names:
            return False
        names = {f".{c}" for c in (get("class") or "").split()} | {f"#{get('id')}", element.tag}
        names |= {f"{element.tag}{name}" for name in names}
        return bool(names & self._hidden_names)

    def _visit(self, element: Any) -> None:
        if self._hidden(element):
            return
        tag = element.tag
        handler = {"table": self._table, "ul": self._list, "ol": self._list, "dl": self._definitions}.get(tag)
        if handler or (len(tag) == 2 and tag[0] == "h" and tag[1] in "123456"):
            self._flush()
            if handler:
                handler(element)
            elif text := self._text(element):
                self._out.append(Heading(level=int(tag[1]), text=text))
            return
        if tag == "br":
            self._inline.append("\v")
            return
        if tag == "pre":
            self._flush()
            if text := tidy(element.text_content()):
                self._out.append(Paragraph(text=text))
            return
        if tag in _BLOCKS:
            self._flush()
        self._inline.append(element.text or "")
        for child in element:
            self._visit(child)
            self._inline.append(child.tail or "")
        if tag in _BLOCKS:
            self._flush()

    def _flush(self) -> None:
        text = _joined(self._inline)
        self._inline = []
        if text:
            self._out.append(Paragraph(text=text))

    def _inner(self, element: Any) -> list[Block]:
        """The blocks inside one element, read apart from the rest."""
        outer, self._out, gathered, self._inline = self._out, [], self._inline, []
        self._inline.append(element.text or "")
        for child in element:
            self._visit(child)
            self._inline.append(child.tail or "")
        self._flush()
        inner, self._out, self._inline = self._out, outer, gathered
        return inner

    def _text(self, element: Any) -> str:
        return one_line(" ".join(_plain(block) for block in self._inner(element)))

    def _list(self, element: Any, depth: int = 0) -> None:
        items: list[ListItem] = []
        self._list_items(element, depth, items)
        if items:
            self._out.append(ListBlock(items=tuple(items)))

    def _list_items(self, element: Any, depth: int, items: list[ListItem]) -> None:
        start = element.get("start") or "1"
        number = int(start) if start.lstrip("-").isdigit() else 1
        for child in element:
            if child.tag in {"ul", "ol"} and not self._hidden(child):
                self._list_items(child, depth + 1, items)
            if child.tag != "li" or self._hidden(child):
                continue
            marker = f"{number}." if element.tag == "ol" else "-"
            number += 1
            for block in self._inner(child):
                if isinstance(block, ListBlock):
                    items.extend(ListItem(text=i.text, marker=i.marker, depth=i.depth + depth + 1) for i in block.items)
                elif text := _plain(block):
                    items.append(ListItem(text=text, marker=marker, depth=depth))
                    marker = ""

    def _definitions(self, element: Any) -> None:
        items: list[ListItem] = []
        term = ""
        for child in element.iter("dt", "dd"):
            if self._hidden(child):
                continue
            text = self._text(child)
            if child.tag == "dt":
                term = text
            elif text:
                lead = term if term.endswith((":", "?")) else f"{term}:"
                items.append(ListItem(text=f"{lead} {text}" if term else text, marker=""))
        if items:
            self._out.append(ListBlock(items=tuple(items)))

    def _table(self, element: Any) -> None:
        rows = [row for row in element.iter("tr") if not self._hidden(row) and next(row.iterancestors("table")) is element]
        captions = [self._text(c) for c in element if c.tag == "caption" and not self._hidden(c)]
        cells = [[c for c in row if c.tag in {"td", "th"} and not self._hidden(c)] for row in rows]
        if max((len(row) for row in cells), default=0) <= 1 or any(True for _ in element.iter("table") if _ is not element):
            self._layout(cells, captions)
            return
        header_rows = 0
        for row, tags in zip(rows, cells, strict=True):
            if row.getparent().tag != "thead" and not (tags and all(c.tag == "th" for c in tags)):
                break
            header_rows += 1
        grid = _spanned([[(self._text(c), _span(c, "colspan"), _span(c, "rowspan")) for c in row] for row in cells])
        self._out.extend(shape_table(grid, header_rows=header_rows or None, caption=" ".join(captions)))

    def _layout(self, cells: Iterable[Iterable[Any]], captions: Iterable[str]) -> None:
        """A table of one column, or around other tables, only arranges a page: its cells are read one after another."""
        self._out.extend(Paragraph(text=text) for text in captions if text)
        for row in cells:
            for cell in row:
                self._out.extend(self._inner(cell))


def _span(cell: Any, name: str) -> int:
    value = str(cell.get(name) or "1").strip()
    return min(max(int(value), 1), 100) if value.isdigit() else 1


def _spanned(rows: list[list[tuple[str, int, int]]]) -> list[list[str]]:
    """A full grid: what spans several columns or rows is repeated in each."""
    grid: list[list[str]] = []
    hanging: dict[int, tuple[str, int]] = {}
    for row in rows:
        line: list[str] = []
        waiting = iter(row)
        cell = next(waiting, None)
        while cell is not None or len(line) in hanging:
            if len(line) in hanging:
                text, left = hanging.pop(len(line))
                if left > 1:
                    hanging[len(line)] = (text, left - 1)
                line.append(text)
                continue
            text, across, down = cell or ("", 1, 1)
            for _ in range(across):
                if down > 1:
                    hanging[len(line)] = (text, down - 1)
                line.append(text)
            cell = next(waiting, None)
        grid.append(line)
    return grid


def _joined(pieces: Iterable[str]) -> str:
    return tidy("\n".join(" ".join(line.split()) for line in "".join(pieces).split("\v")))


def _plain(block: Block) -> str:
    if isinstance(block, Heading | Paragraph):
        return one_line(block.text)
    if isinstance(block, ListBlock):
        return " ".join(item.text for item in block.items)
    return " ".join(" ".join(row) for row in (block.header, *block.rows))


# --- plain text ---

_UNDERLINE = re.compile(r"\s*([=\-~*_#])\1{2,}\s*")
_NUMBERED = re.compile(r"((?:section|article|part|chapter|clause)\s+)?(\d{1,2}(?:\.\d{1,2})*|[IVX]{1,5}|[A-Z])[.):]?\s+(?=\S)", re.I)
_KEY_VALUE = re.compile(r"[^\W\d_][^:.!?]{0,48}:\s+\S")
_GAP = re.compile(r"\t+| {2,}")


def read_text(content: bytes) -> Parsed:
    """Plain text: headings that are underlined, numbered, in capitals or stand alone; lists; tables aligned by blanks, tabs or bars."""
    lines = [line.rstrip() for line in visible(_decode(content)).split("\n")]
    blocks = list(_text_blocks(lines))
    title = blocks[0].text if blocks and isinstance(blocks[0], Heading) else ""
    return Parsed(title=title, blocks=tuple(blocks))


def _text_blocks(lines: list[str]) -> Iterator[Block]:
    width = max((len(line) for line in lines), default=0)
    chunks = _chunks(lines)
    for position, chunk in enumerate(chunks):
        following = chunks[position + 1] if position + 1 < len(chunks) else []
        while chunk:
            heading, used = _text_heading(chunk, alone=len(chunk) == 1 and bool(following), first=position == 0)
            if not heading:
                break
            yield heading
            chunk = chunk[used:]
        yield from _text_body(chunk, width)


def _chunks(lines: list[str]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            chunks[-1].append(line)
        elif chunks[-1]:
            chunks.append([])
    return [chunk for chunk in chunks if chunk]


def _text_heading(chunk: list[str], *, alone: bool, first: bool) -> tuple[Heading | None, int]:
    line = chunk[0].strip()
    if _UNDERLINE.fullmatch(line):
        return _text_heading(chunk[1:], alone=True, first=first)[0] if len(chunk) > 1 else None, min(2, len(chunk))
    if len(chunk) > 1 and (mark := _UNDERLINE.fullmatch(chunk[1])) and len(line) <= 100:
        return Heading(level=1 if mark[1] in "=#*" else 2, text=one_line(line)), 2
    if (hashes := re.match(r"(#{1,6})\s+(\S.*)", line)) is not None:
        return Heading(level=len(hashes[1]), text=one_line(hashes[2].rstrip("# "))), 1
    if len(line) > 80 or line[-1] in ".;,!":
        return None, 0
    letters = [c for c in line if c.isalpha()]
    if len(letters) >= 3 and all(c.isupper() for c in letters if c.lower() != c.upper()) and letters[0].isupper() and not _GAP.search(line):
        return Heading(level=1 if first else 2, text=one_line(line.rstrip(":"))), 1
    if not alone or _GAP.search(line) or _KEY_VALUE.match(line):
        return None, 0
    numbered = _NUMBERED.match(line)
    if numbered and line[numbered.end()].isupper():
        return Heading(level=2 + numbered[2].count("."), text=one_line(line)), 1
    if line[0].isupper() and not line.endswith(":") and len(line) <= 60 and not list_marker(line):
        return Heading(level=1 if first else 2, text=one_line(line)), 1
    return None, 0


def _text_body(chunk: list[str], width: int) -> Iterator[Block]:
    start = 0
    while start < len(chunk):
        size, block = _text_table(chunk[start:])
        if not size:
            size, block = _text_list(chunk[start:])
        if size:
            yield from block
            start += size
            continue
        end = start + 1
        while end < len(chunk) and not _text_table(chunk[end:])[0] and not _text_list(chunk[end:])[0]:
            end += 1
        yield Paragraph(text=rejoin(chunk[start:end], width))
        start = end


def rejoin(lines: Iterable[str], width: float) -> str:
    """Lines of one paragraph as running text; a line that stops well before the margin was broken on purpose."""
    text = ""
    previous = 0
    for line in lines:
        stripped = one_line(line)
        if not text:
            text = stripped
        elif previous < 0.5 * width and previous < 45:
            text += "\n" + stripped
        else:
            text += " " + stripped
        previous = len(line.strip())
    return text


def _text_list(chunk: list[str]) -> tuple[int, list[Block]]:
    if list_marker(chunk[0]):
        items: list[ListItem] = []
        base = len(chunk[0]) - len(chunk[0].lstrip())
        used = 0
        for line in chunk:
            indent = len(line) - len(line.lstrip())
            marked = list_marker(line)
            if marked:
                items.append(ListItem(text=one_line(marked[1]), marker=marked[0], depth=min(3, max(0, indent - base) // 2)))
            elif items and (indent > base or line.strip()[0].islower()):
                last = items[-1]
                items[-1] = ListItem(text=f"{last.text} {one_line(line)}", marker=last.marker, depth=last.depth)
            else:
                break
            used += 1
        return used, [ListBlock(items=tuple(items))]
    count = 0
    while count < len(chunk) and _KEY_VALUE.match(chunk[count].strip()) and not list_marker(chunk[count]):
        count += 1
    if count >= 2:
        return count, [ListBlock(items=tuple(ListItem(text=one_line(line), marker="") for line in chunk[:count]))]
    return 0, []


def _text_table(chunk: list[str]) -> tuple[int, list[Block]]:
    """The table at the start of a chunk: how many lines it takes (0: none) and its blocks."""
    for split in (_bar_cells, _tab_cells):
        rows: list[list[str]] = []
        used = 0
        for line in chunk:
            if re.fullmatch(r"[\s|+:=\-]+", line) and used:
                used += 1
                continue
            cells = split(line)
            if len(cells) < 2:
                break
            rows.append(cells)
            used += 1
        if len(rows) >= 2:
            return used, list(shape_table(rows))
    return _aligned_table(chunk)


def _bar_cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if "|" in line else []


def _tab_cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"\t+", line.strip())] if "\t" in line.strip() else []


def _aligned_table(chunk: list[str]) -> tuple[int, list[Block]]:
    used = 0
    while used < len(chunk) and (_gappy(chunk[used]) or (used and _ruler(chunk[used])) or (used and chunk[used].startswith("   "))):
        used += 1
    lines = [line.expandtabs(8) for line in chunk[:used] if not _ruler(line)]
    if sum(map(_gappy, lines)) < 2:
        return 0, []
    width = max(map(len, lines))
    blank = [all(column >= len(line) or line[column] == " " for line in lines) for column in range(width)]
    cuts = [0]
    for column in range(1, width):
        if not blank[column] and blank[column - 1] and (column < 2 or blank[column - 2]) and any(not b for b in blank[:column]):
            cuts.append(column)
    if len(cuts) < 2:
        return 0, []
    spans = list(zip(cuts, [*cuts[1:], width], strict=True))
    rows: list[list[str]] = []
    for line in lines:
        cells = [line[a:b].strip() for a, b in spans]
        if rows and not cells[0] and sum(map(bool, cells)) < len(cells):
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    return (used, list(shape_table(rows))) if len(rows) >= 2 else (0, [])


def _gappy(line: str) -> bool:
    return bool(_GAP.search(line.strip())) and not list_marker(line) and not re.search(r"[.!?] {2}[A-Z]", line)


def _ruler(line: str) -> bool:
    return bool(re.fullmatch(r"\s*[-=+|_\s]{3,}", line))


# --- DOCX ---

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_UNSEEN = frozenset(_W + name for name in ("del", "moveFrom", "rPr", "pPr", "instrText", "delText")) | {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
}


def read_docx(content: bytes) -> Parsed:
    """A Word document in reading order; deleted, hidden and struck-out words are left out, footnotes follow their paragraph."""
    _refuse_archive(content)
    import docx
    from docx.opc.exceptions import OpcError
    from lxml import etree

    try:
        document = docx.Document(io.BytesIO(content))
        reader = _DocxReader(document)
        blocks = reader.blocks()
    except (OpcError, KeyError, ValueError, AttributeError, zipfile.BadZipFile, etree.XMLSyntaxError, EOFError, OSError) as error:
        raise BadDocument(
            f"the Word document is damaged ({one_line(str(error)) or type(error).__name__}); open it and save it again"
        ) from None
    return Parsed(title=reader.title, blocks=tuple(blocks))


def _refuse_archive(content: bytes) -> None:
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadDocument("it is an encrypted or old Word document; save it as .docx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise BadDocument("it is not a Word document, although its name says so; save it as .docx") from None
    if not any(info.filename == "word/document.xml" for info in infos):
        raise BadDocument("it is not a Word document, although its name says so; save it as .docx")
    if len(infos) > 5000 or sum(info.file_size for info in infos) > MAX_UNPACKED:
        raise BadDocument(f"it unpacks to more than {MAX_UNPACKED // 2**20} MB; remove pictures or split it")


class _DocxReader:
    def __init__(self, document: Any) -> None:
        self._body = document.element.body
        self._levels = {style.style_id: _outline_level(style) for style in document.styles if hasattr(style, "base_style")}
        self._lists = {style.style_id for style in document.styles if (style.name or "").startswith("List ")}
        self._notes = _footnotes(document)
        self.title = one_line(document.core_properties.title or "")
        self._items: list[ListItem] = []
        self._out: list[Block] = []

    def blocks(self) -> list[Block]:
        self._container(self._body)
        self._end_list()
        titles = [b.text for b in self._out if isinstance(b, Heading) and b.level <= 1]
        if titles:
            self.title = titles[0]
        return self._out

    def _container(self, parent: Any) -> None:
        for element in parent:
            if element.tag == _W + "p":
                self._paragraph(element)
            elif element.tag == _W + "tbl":
                self._end_list()
                self._table(element)
            elif element.tag in {_W + "sdt", _W + "sdtContent", _W + "customXml", _W + "ins"}:
                self._container(element)

    def _paragraph(self, element: Any) -> None:
        text = tidy(self._words(element))
        if text:
            style = self._style(element)
            level = self._levels.get(style)
            numbering = element.find(f"{_W}pPr/{_W}numPr")
            if level is not None:
                self._end_list()
                self._out.append(Heading(level=level, text=one_line(text)))
            elif numbering is not None or style in self._lists:
                depth = numbering.find(f"{_W}ilvl") if numbering is not None else None
                marked = list_marker(text)
                self._items.append(
                    ListItem(
                        text=one_line(marked[1] if marked else text), depth=int(depth.get(_W + "val") or 0) if depth is not None else 0
                    )
                )
            elif marked := list_marker(text):
                self._items.append(ListItem(text=one_line(marked[1]), marker=marked[0]))
            else:
                self._end_list()
                bold = len(text) <= 80 and text[-1] not in ".:;,!?" and "\n" not in text and self._all_bold(element)
                self._out.append(Heading(level=6, text=one_line(text)) if bold else Paragraph(text=text))
        self._footnotes_of(element)

    def _footnotes_of(self, element: Any) -> None:
        notes = [self._notes.get(ref.get(_W + "id") or "", "") for ref in element.iter(_W + "footnoteReference", _W + "endnoteReference")]
        if any(notes):
            self._end_list()
            self._out.extend(Paragraph(text=note) for note in notes if note)

    def _end_list(self) -> None:
        if self._items:
            self._out.append(ListBlock(items=tuple(self._items)))
            self._items = []

    def _table(self, element: Any) -> None:
        rows = [row for row in element.iter(_W + "tr") if next(row.iterancestors(_W + "tbl")) is element]
        grid: list[list[str]] = []
        for row in rows:
            line: list[str] = []
            for cell in row.iter(_W + "tc"):
                if next(cell.iterancestors(_W + "tr")) is not row:
                    continue
                merged = cell.find(f"{_W}tcPr/{_W}vMerge")
                span = cell.find(f"{_W}tcPr/{_W}gridSpan")
                text = one_line(" ".join(self._words(p) for p in cell.iter(_W + "p")))
                if merged is not None and merged.get(_W + "val") != "restart" and grid and len(line) < len(grid[-1]):
                    text = grid[-1][len(line)]
                line.extend([text] * (int(span.get(_W + "val") or 1) if span is not None else 1))
            grid.append(line)
        if max(map(len, grid), default=0) == 1:
            self._out.extend(Paragraph(text=row[0]) for row in grid if row and row[0])
        else:
            self._out.extend(shape_table(grid, header_rows=self._header_rows(rows)))
        self._footnotes_of(element)

    def _header_rows(self, rows: list[Any]) -> int | None:
        marked = 0
        while marked < len(rows) and rows[marked].find(f"{_W}trPr/{_W}tblHeader") is not None:
            marked += 1
        if not marked and len(rows) > 1 and self._all_bold(rows[0]) and not self._all_bold(rows[1]):
            marked = 1
        return marked or None

    def _style(self, element: Any) -> str:
        style = element.find(f"{_W}pPr/{_W}pStyle")
        return str(style.get(_W + "val")) if style is not None else ""

    def _words(self, element: Any) -> str:
        pieces: list[str] = []
        for child in element:
            if child.tag in _UNSEEN or (child.tag == _W + "r" and _switched_on(child, "vanish", "strike", "dstrike", "webHidden")):
                continue
            if child.tag == _W + "t":
                pieces.append(child.text or "")
            elif child.tag in {_W + "tab", _W + "ptab"}:
                pieces.append(" ")
            elif child.tag in {_W + "br", _W + "cr"}:
                pieces.append("\n")
            elif child.tag == _W + "noBreakHyphen":
                pieces.append("-")
            else:
                pieces.append(self._words(child))
        return "".join(pieces)

    def _all_bold(self, element: Any) -> bool:
        runs = [run for run in element.iter(_W + "r") if "".join(t.text or "" for t in run.iter(_W + "t")).strip()]
        return bool(runs) and all(_switched_on(run, "b") for run in runs)


def _switched_on(run: Any, *names: str) -> bool:
    properties = run.find(_W + "rPr")
    switches = [] if properties is None else [properties.find(_W + name) for name in names]
    return any(switch is not None and switch.get(_W + "val") not in {"0", "false", "none"} for switch in switches)


def _outline_level(style: Any) -> int | None:
    """Heading level of a paragraph style, in any language of Word: the id or the outline level says it, the style's own or inherited."""
    seen = 0
    while style is not None and seen < 10:
        named = re.fullmatch(r"heading\s?([1-9])", (style.name or "").lower())
        if named:
            return int(named[1])
        if (style.name or "").lower() == "title":
            return 1
        outline = style.element.find(f"{_W}pPr/{_W}outlineLvl")
        if outline is not None and (outline.get(_W + "val") or "9") in "012345678":
            return int(outline.get(_W + "val")) + 1
        style = style.base_style
        seen += 1
    return None


def _footnotes(document: Any) -> dict[str, str]:
    from lxml import etree

    notes: dict[str, str] = {}
    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/footnotes", "/endnotes")) and not relation.is_external:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            root = etree.fromstring(relation.target_part.blob, parser)
            for note in root:
                notes[note.get(_W + "id") or ""] = one_line(" ".join(t.text or "" for t in note.iter(_W + "t")))
    return notes
