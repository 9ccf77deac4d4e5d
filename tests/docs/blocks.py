"""The fenced blocks of the documentation. A word after the language names the file that a block is: ```yaml tenant.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.sections import MARKED, ROOT, pages

_FENCE = re.compile(r"^```([\w-]*)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block and where it stands."""

    page: Path
    line: int
    language: str
    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Every block in one of these languages, in reading order."""
    return [b for page in pages() for b in blocks_of(page) if not languages or b.language in languages]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of one page."""
    text = MARKED.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), page.read_text(encoding="utf-8"))
    return [
        Block(page=page, line=text.count("\n", 0, m.start()) + 1, language=m[1], file=m[2] or "", text=m[3]) for m in _FENCE.finditer(text)
    ]


def write_files(page: Path, folder: Path) -> list[Path]:
    """Writes the files that the page's named blocks are; a later block of the same name replaces an earlier one."""
    written = []
    for block in blocks_of(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            written.append(path)
    return written
