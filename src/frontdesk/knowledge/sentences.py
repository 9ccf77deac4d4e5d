"""Where one sentence ends and the next begins. Every sentence is a verbatim span of the text; nothing is rewritten.

Works without a language being named: full stops after abbreviations, initials, ordinals, figures and clock times do not end a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Final

from frontdesk.knowledge.blocks import list_marker

_CANDIDATE = re.compile(r"""(?:[.!?…]+["'”’»)\]]*(?=\s)|[。！？]["'”’」』）]*)""")
_WORD_BEFORE = re.compile(r"""[^\s("'“‘«\[]*$""")
_WORD_AFTER = re.compile(r"""\s*["'“‘«(\[¿¡]*([\w£$€¥%#@&§+\-]?[\w'’-]*)""")
_SPACED = re.compile(r"\b([^\W\d_])\.\s([^\W\d_])$")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.){2,}", re.UNICODE)
_ENUMERATION = re.compile(r"(?:^|\n)\s*\(?(?:\d{1,3}|[a-zA-Z])$")
_OPENING: Final = {"(": ")", "[": "]"}
_MAX_ASIDE: Final = 200


def sentences(text: str) -> list[str]:
    """The sentences of `text` in order, each a verbatim span without surrounding blanks or a list marker.

    A line break ends a sentence: texts of this program carry them only between paragraphs, points of a list and rows of a table.
    """
    return [text[start:end] for start, end in spans(text)]


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence."""
    offset = 0
    for line in text.split("\n"):
        start = offset
        marked = list_marker(line)
        if marked:
            start += line.index(marked[1], len(marked[0]))
        yield from _line_spans(text, start, offset + len(line))
        offset += len(line) + 1


def _line_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begun = start
    for found in _CANDIDATE.finditer(text, start, end):
        if found.end() < end and _ends(text, begun, found):
            yield from _stripped(text, begun, found.end())
            begun = found.end()
    yield from _stripped(text, begun, end)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    span = text[start:end]
    lead = len(span) - len(span.lstrip())
    if span.strip():
        yield start + lead, start + lead + len(span.strip())


def _ends(text: str, begun: int, found: re.Match[str]) -> bool:
    mark = found[0]
    if mark[0] in "。！？":
        return True
    after = _WORD_AFTER.match(text, found.end())
    word = after[1] if after else ""
    if _inside_brackets(text, begun, found.end()):
        return False
    if word[:1].islower():
        # After a question or an exclamation a brand such as "iPay" may follow; after a full stop a small letter goes on with the sentence.
        return mark[0] in "!?" and mark.endswith(("!", "?")) and word[1:2].isupper()
    if mark[0] != "." or mark.startswith(".."):
        return True
    before = _WORD_BEFORE.search(text, begun, found.start())
    return _full_stop(text[begun : found.start()], before[0] if before else "", word, closed=len(mark) > 1)


def _full_stop(sentence: str, before: str, after: str, *, closed: bool) -> bool:
    """Whether the point after `before` ends the sentence, when `after` is the word that follows."""
    lists = _lists()
    starter = after.casefold() in lists["starters"]
    bare = before.casefold().lstrip("(")
    if spaced := _SPACED.search(sentence):  # "z. B."
        bare = f"{spaced[1]}.{spaced[2]}".casefold()
    if bare in lists["never"]:
        return closed and starter
    if len(before) == 1 and before.islower() and len(after) == 1:
        return False
    if after[:1].isdigit() and bare in lists["before_number"]:
        return False
    if bare in lists["maybe"] or (bare in lists["maybe_name"] and before[:1].isupper()) or _ACRONYM.fullmatch(f"{before}."):
        return starter
    if len(before) == 1 and before.isalpha() and before.isupper():
        return starter or bool(
            re.search(r"\b(?:option|plan|class|type|group|grade|zone|vitamin|part|section|annex|table)\s\w$", sentence, re.I)
        )
    if before.isdigit():
        return not (_ENUMERATION.search(sentence) or after.casefold() in lists["months"]) or closed
    return True


def _inside_brackets(text: str, begun: int, position: int) -> bool:
    """Whether a bracket that opened within this sentence is still open and closes soon."""
    span = text[begun:position]
    for opening, closing in _OPENING.items():
        if span.count(opening) > span.count(closing) and closing in text[position : position + _MAX_ASIDE].split("\n")[0]:
            return span.lstrip()[:1] != opening
    return False


@cache
def _lists() -> dict[str, frozenset[str]]:
    """The word lists of sentences.txt: `[name]` lines, then words."""
    lists: dict[str, set[str]] = {}
    words: set[str] = set()
    for line in (resources.files(__package__) / "sentences.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            words = lists.setdefault(line.strip("[]"), set())
        elif not line.startswith("#"):
            words.update(line.casefold().split())
    return {name: frozenset(found) for name, found in lists.items()}
