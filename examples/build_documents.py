"""Builds the PDF and Word documents of the example tenants from the Markdown in `sources/`.

`sources/<tenant>/<name>.md` becomes `<tenant>/knowledge/<name>.pdf` or `.docx`, as `FORMATS` says. The same source
always gives the same bytes, so a rebuild without a change leaves git clean. Knows headings, paragraphs, lists and
tables; refuses anything else rather than lose it silently. Needs reportlab and python-docx, on a developer's machine only.

    python examples/build_documents.py
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

import docx
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

HERE = Path(__file__).parent
FORMATS = {
    "meridian-retail/savings-and-isa-conditions": "pdf",
    "meridian-retail/life-events-guide": "docx",
    "meridian-mortgage/affordability-and-documents": "pdf",
    "meridian-mortgage/valuation-and-conveyancing": "docx",
}
EPOCH = datetime(2026, 11, 1)  # noqa: DTZ001 - Office metadata carries no zone
"""The date inside every built file: the build's own time would change the bytes."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One piece of a document. `level` is a heading's depth; `rows` a table's cells with the header first."""

    kind: str
    text: str = ""
    level: int = 0
    items: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def blocks_of(markdown: str) -> Iterator[Block]:
    """The blocks of a Markdown text in order. Raises ValueError for a block that the builders cannot draw."""
    for node in SyntaxTreeNode(MarkdownIt().enable("table").parse(markdown)).children:
        if node.type == "heading":
            yield Block(kind="heading", text=_plain(node), level=int(node.tag[1:]))
        elif node.type == "paragraph":
            yield Block(kind="paragraph", text=_plain(node))
        elif node.type in ("bullet_list", "ordered_list"):
            yield Block(kind=node.type, items=tuple(_plain(item) for item in node.children))
        elif node.type == "table":
            rows = [tuple(_plain(cell) for cell in row.children) for part in node.children for row in part.children]
            yield Block(kind="table", rows=tuple(rows))
        else:
            line = (node.map or (0, 0))[0] + 1
            raise ValueError(f"line {line}: {node.type} cannot be drawn; use headings, paragraphs, lists and tables")


def _plain(node: SyntaxTreeNode) -> str:
    if node.type in ("text", "code_inline"):
        return node.content
    if node.type in ("softbreak", "hardbreak"):
        return " "
    return "".join(_plain(child) for child in node.children)


def pdf(blocks: list[Block], title: str) -> bytes:
    """The document as PDF bytes, tables ruled and with their header repeated on every page."""
    base = getSampleStyleSheet()
    small = ParagraphStyle("cell", parent=base["BodyText"], fontSize=8.5, leading=10.5)
    story: list[Flowable] = []
    for block in blocks:
        if block.kind == "heading":
            story.append(Paragraph(escape(block.text), base["Title" if block.level == 1 else f"Heading{block.level}"]))
        elif block.kind == "paragraph":
            story.append(Paragraph(escape(block.text), base["BodyText"]))
        elif block.kind == "table":
            story += [_pdf_table(block.rows, small), Spacer(1, 4 * mm)]
        else:
            for number, item in enumerate(block.items, 1):
                mark = "•" if block.kind == "bullet_list" else f"{number}."
                story.append(Paragraph(escape(item), base["BodyText"], bulletText=mark))
    out = io.BytesIO()
    page = SimpleDocTemplate(
        out, pagesize=A4, title=title, author="Meridian Bank", invariant=1, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=18 * mm
    )
    page.build(story)
    return out.getvalue()


def _pdf_table(rows: tuple[tuple[str, ...], ...], style: ParagraphStyle) -> Table:
    bold = ParagraphStyle("head", parent=style, fontName="Helvetica-Bold")
    cells = [[Paragraph(escape(cell), bold if index == 0 else style) for cell in row] for index, row in enumerate(rows)]
    width = (A4[0] - 36 * mm) / len(rows[0])
    look = TableStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
            ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )
    return Table(cells, colWidths=[width] * len(rows[0]), repeatRows=1, style=look)


def word(blocks: list[Block], title: str) -> bytes:
    """The document as .docx bytes, with real heading, list and table styles."""
    made = docx.Document()
    properties = made.core_properties
    properties.title, properties.author = title, "Meridian Bank"
    properties.created = properties.modified = properties.last_printed = EPOCH
    for block in blocks:
        if block.kind == "heading":
            made.add_heading(block.text, level=block.level - 1)
        elif block.kind == "paragraph":
            made.add_paragraph(block.text)
        elif block.kind == "table":
            table = made.add_table(rows=0, cols=len(block.rows[0]), style="Table Grid")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
            for cell in table.rows[0].cells:
                cell.paragraphs[0].runs[0].bold = True
        else:
            for item in block.items:
                made.add_paragraph(item, style="List Bullet" if block.kind == "bullet_list" else "List Number")
    out = io.BytesIO()
    made.save(out)
    return _without_clock(out.getvalue())


def _without_clock(archive: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, date_time=EPOCH.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))
    return out.getvalue()


def main() -> int:
    """Builds every document and says on stderr which ones changed."""
    for name, suffix in FORMATS.items():
        tenant, stem = name.split("/")
        blocks = list(blocks_of((HERE / "sources" / f"{name}.md").read_text(encoding="utf-8")))
        title = next(block.text for block in blocks if block.kind == "heading")
        built = pdf(blocks, title) if suffix == "pdf" else word(blocks, title)
        target = HERE / tenant / "knowledge" / f"{stem}.{suffix}"
        changed = not target.exists() or target.read_bytes() != built
        target.write_bytes(built)
        sys.stderr.write(f"{'built' if changed else 'same'} {target.relative_to(HERE)} ({len(built):,} bytes)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
