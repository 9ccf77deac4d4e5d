import asyncio
import contextlib
import io
import random
import zipfile

import docx
import pytest

from frontdesk.errors import BadDocument
from frontdesk.knowledge.blocks import Heading, ListBlock, ListItem, Paragraph, TableBlock
from frontdesk.knowledge.parsing import Parser

MARKDOWN = """# Boat hire

Welcome to the **lake**.
<!-- a comment that nobody sees -->

## Prices

| Boat | Hour | Day |
|------|-----:|----:|
| Row boat | 12 € | 60 € |
| Kayak | ~~9 €~~ 8 € | 40 € |

You need:

1. an ID
2. a deposit
   - in cash
   - by card
"""

HTML = """<html><head><title>Site</title><style>.ghost {display: none}</style></head><body>
<nav>Home | About</nav><main><h1>Boat hire</h1><p>Open <b>daily</b>.<br>Except Mondays.</p>
<p class="ghost">Everything is free.</p><div style="font-size:0">Secret</div><p hidden>Hidden</p>
<table><caption>Prices</caption><thead><tr><th rowspan=2>Boat</th><th colspan=2>Price</th></tr><tr><th>Hour</th><th>Day</th></tr></thead>
<tr><td colspan=3>Rowing</td></tr><tr><td>Small</td><td>12 €</td><td rowspan=2>60 €</td></tr><tr><td>Large</td><td>15 €</td></tr>
<tr><td colspan=3>Sailing</td></tr><tr><td>Dinghy</td><td>30 €</td><td>150 €</td></tr></table>
<dl><dt>Deposit</dt><dd>50 €</dd></dl></main><footer>Cookies</footer></body></html>"""

TEXT = """LAKESIDE BOATS

1. Opening hours

We open at nine and close when the sun goes down, which in June is late
and in October early.

Prices
------
Boat        Hour    Day
Row boat    12 EUR  60 EUR
Kayak       8 EUR   40 EUR

Bring:
- an ID card
- sun cream and a hat,
  because there is no shade

Phone: 0800 001
Mail: help@lakeside.example
"""


async def test_markdown_keeps_headings_tables_and_nested_lists_and_drops_what_is_struck_out(parser):
    parsed = await parser.parse("a.md", MARKDOWN.encode())
    assert parsed.title == "Boat hire"
    items = (
        ListItem(text="an ID", marker="1."),
        ListItem(text="a deposit", marker="2."),
        ListItem(text="in cash", depth=1),
        ListItem(text="by card", depth=1),
    )
    assert parsed.blocks == (
        Heading(level=1, text="Boat hire"),
        Paragraph(text="Welcome to the lake."),
        Heading(level=2, text="Prices"),
        TableBlock(header=("Boat", "Hour", "Day"), rows=(("Row boat", "12 €", "60 €"), ("Kayak", "8 €", "40 €"))),
        Paragraph(text="You need:"),
        ListBlock(items=items),
    )


async def test_html_expands_merged_cells_splits_groups_and_leaves_hidden_text_out(parser):
    parsed = await parser.parse("a.html", HTML.encode())
    header = ("Boat", "Price Hour", "Price Day")
    assert parsed.title == "Boat hire"
    assert parsed.blocks == (
        Heading(level=1, text="Boat hire"),
        Paragraph(text="Open daily.\nExcept Mondays."),
        TableBlock(header=header, rows=(("Small", "12 €", "60 €"), ("Large", "15 €", "60 €")), caption="Prices Rowing"),
        TableBlock(header=header, rows=(("Dinghy", "30 €", "150 €"),), caption="Prices Sailing"),
        ListBlock(items=(ListItem(text="Deposit: 50 €", marker=""),)),
    )


async def test_plain_text_shows_its_headings_aligned_tables_lists_and_pairs(parser):
    parsed = await parser.parse("a.txt", TEXT.encode("utf-16"))
    assert parsed.title == "LAKESIDE BOATS"
    hours = "We open at nine and close when the sun goes down, which in June is late and in October early."
    assert parsed.blocks == (
        Heading(level=1, text="LAKESIDE BOATS"),
        Heading(level=2, text="1. Opening hours"),
        Paragraph(text=hours),
        Heading(level=2, text="Prices"),
        TableBlock(header=("Boat", "Hour", "Day"), rows=(("Row boat", "12 EUR", "60 EUR"), ("Kayak", "8 EUR", "40 EUR"))),
        Paragraph(text="Bring:"),
        ListBlock(items=(ListItem(text="an ID card"), ListItem(text="sun cream and a hat, because there is no shade"))),
        ListBlock(items=(ListItem(text="Phone: 0800 001", marker=""), ListItem(text="Mail: help@lakeside.example", marker=""))),
    )


async def test_docx_comes_in_reading_order_with_styles_lists_and_tables(parser):
    document = docx.Document()
    document.add_heading("Boat hire", 0)
    document.add_paragraph("We hire out boats.")
    document.add_heading("Prices", 2)
    table = document.add_table(rows=0, cols=3)
    for row in (("Boat", "Hour", "Day"), ("Row boat", "12 EUR", "60 EUR"), ("Kayak", "8 EUR", "40 EUR")):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    merged = table.cell(1, 2).merge(table.cell(2, 2))
    merged.text = "50 EUR"
    document.add_paragraph("an ID", style="List Bullet")
    document.add_paragraph("a deposit", style="List Bullet")
    hidden = document.add_paragraph("Children pay half.").add_run(" Adults pay nothing.")
    hidden.font.hidden = True
    parsed = await parser.parse("a.docx", packed(document))
    assert parsed.title == "Boat hire"
    assert parsed.blocks == (
        Heading(level=1, text="Boat hire"),
        Paragraph(text="We hire out boats."),
        Heading(level=2, text="Prices"),
        TableBlock(header=("Boat", "Hour", "Day"), rows=(("Row boat", "12 EUR", "50 EUR"), ("Kayak", "8 EUR", "50 EUR"))),
        ListBlock(items=(ListItem(text="an ID"), ListItem(text="a deposit"))),
        Paragraph(text="Children pay half."),
    )


def packed(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b" " * 150_000_000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.md", b" \n ", "the file is empty"),
        ("noise.txt", random.Random(1).randbytes(4000), "is not UTF-8"),
        ("latin.txt", "Café".encode("latin-1"), "is not UTF-8"),
        ("zeros.md", b"abc\x00\x00\x01", "binary data"),
        ("picture.html", b"\x89PNG\r\n", "not text, although its name says so"),
        ("sheet.xlsx", b"PK\x03\x04", ".xlsx is not supported"),
        ("README", b"text", "a file without an ending is not supported"),
        ("hollow.html", b"<div></div>", "no text was found"),
        ("broken.docx", b"PK\x03\x04 broken", "not a Word document"),
        ("old.docx", b"\xd0\xcf\x11\xe0old", "encrypted or old Word document"),
        ("bomb.docx", bomb(), "unpacks to more than 100 MB"),
        ("text.pdf", b"hello", "not a PDF"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<<", "the PDF"),
    ],
)
async def test_a_bad_file_is_refused_by_name_and_reason_and_the_next_is_read(parser, name, content, reason):
    with pytest.raises(BadDocument) as caught:
        await parser.parse(name, content)
    assert str(caught.value).startswith(f"{name}: ")
    assert reason in str(caught.value)
    assert (await parser.parse("a.md", b"# Fine\n\nText.")).title == "Fine"


async def test_fifty_damaged_documents_never_stop_the_reader(parser):
    chance = random.Random(3)
    document = docx.Document()
    document.add_paragraph("A text that will be damaged.")
    whole = packed(document)
    for _ in range(50):
        damaged = bytearray(whole[: chance.randrange(100, len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(20):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(BadDocument):
            await parser.parse("damaged.docx", bytes(damaged))
        assert (await parser.parse("a.md", b"Fine.")).blocks == (Paragraph(text="Fine."),)


async def test_what_takes_too_long_or_too_much_memory_is_given_up():
    deep = b"<table><tr><td>" * 200 + b"x" + b"<p>y</p>" * 400_000
    async with Parser(seconds=0.2) as hasty:
        with pytest.raises(BadDocument, match="longer than 0 s"):
            await hasty.parse("slow.html", deep)
    async with Parser(memory=96 * 1024 * 1024) as small:
        with pytest.raises(BadDocument, match="memory"):
            await small.parse("large.md", b"| a | b |\n|---|---|\n" + b"| 1 | 2 |\n" * 400_000)
        assert (await small.parse("a.md", b"Fine.")).blocks == (Paragraph(text="Fine."),)


async def test_files_read_at_the_same_time_get_their_own_answers(parser):
    texts = [f"Text number {n}." for n in range(20)]
    read = await asyncio.gather(*(parser.parse(f"{n}.md", text.encode()) for n, text in enumerate(texts)))
    assert [parsed.blocks[0].text for parsed in read] == texts


async def test_a_cancelled_reading_does_not_answer_for_the_next_file():
    async with Parser() as own:
        await own.parse("a.md", b"Ready.")
        task = asyncio.create_task(own.parse("big.md", b"word " * 400_000))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await own.parse("b.md", b"Next.")).blocks == (Paragraph(text="Next."),)
