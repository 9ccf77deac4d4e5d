"""Edits of a tenant's folder, which is the source of truth: FAQ pairs and documents, written whole or not at all, every version kept.

Refuses a folder that cannot be written, a file that was changed by somebody else meanwhile, and an FAQ spread over several files.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from frontdesk.domain.knowledge import FaqPair
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadDocument, BadInput, Conflict, NotFound
from frontdesk.knowledge.parsing import SUFFIXES
from frontdesk.knowledge.tenants import load_faq

FAQ_NAMES = ("faq.yaml", "faq.csv", "faq.jsonl")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as the folder is read: the two differ in what they take
EDITABLE = frozenset({".md", ".txt", ".html", ".htm"})
"""Documents that can be edited as text; others are replaced by a new file."""
LONGEST_QUESTION, LONGEST_ANSWER = 400, 8000


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the FAQ: `was` is the question it is about (empty: a new pair); `pair` what stands there then (None: nothing)."""

    was: str
    pair: FaqPair | None
    stood: str = ""
    """The answer as it stood when the change was written."""

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a draft."""
        return {"was": self.was, "stood": self.stood, **({"question": self.pair.question, "answer": self.pair.answer} if self.pair else {})}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Change:
        """What `to_json` wrote."""
        pair = FaqPair(question=str(row["question"]), answer=str(row["answer"])) if "answer" in row else None
        return cls(was=str(row.get("was", "")), pair=pair, stood=str(row.get("stood", "")))


def checked_pair(question: str, answer: str) -> FaqPair:
    """A pair as it can be published. Raises BadInput."""
    question, answer = " ".join(question.split()), answer.strip()
    if not question or not answer:
        raise BadInput("A pair needs a question and an answer: fill in both, or remove the pair.")
    if len(question) > LONGEST_QUESTION or len(answer) > LONGEST_ANSWER:
        raise BadInput(
            f"At most {LONGEST_QUESTION} characters for a question and {LONGEST_ANSWER} for an answer: put the rest in a document."
        )
    return FaqPair(question=question, answer=answer)


def applied(pairs: Sequence[FaqPair], changes: Sequence[Change]) -> list[FaqPair]:
    """The pairs after the changes. Raises Conflict where a changed pair is gone, or two pairs ask the same."""
    made = list(pairs)
    for change in changes:
        place = next((n for n, p in enumerate(made) if same(p.question, change.was)), None) if change.was else len(made)
        if place is None:
            raise Conflict(f"The pair “{change.was}” is not in the FAQ any more: take that change back.")
        if change.stood and made[place].answer != change.stood:
            raise Conflict(f"Somebody else changed “{change.was}” meanwhile: take your change back and look at it again.")
        made[place : place + 1] = [change.pair] if change.pair else []
    seen: set[str] = set()
    for pair in made:
        key = _folded(pair.question)
        if key in seen:
            raise Conflict(f"Two pairs ask “{pair.question}”: change one of them.")
        seen.add(key)
    return made


def same(a: str, b: str) -> bool:
    """Whether two questions are the same for the FAQ."""
    return _folded(a) == _folded(b)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


class Folder:
    """One tenant's folder. Its methods do file I/O: call them in a thread."""

    def __init__(self, tenant: Tenant) -> None:
        """Raises NotFound for a tenant without a folder."""
        if tenant.folder is None:
            raise NotFound(f"{tenant.name} has no folder that could be edited.")
        self._root = tenant.folder
        self._tenant = tenant

    def writable(self) -> str:
        """Why the folder cannot be written; empty when it can."""
        return "" if os.access(self._root, os.W_OK) else self._refused("it is read-only here")

    def pairs(self) -> list[FaqPair]:
        """The FAQ as it stands. Raises BadTenant."""
        return load_faq(self._root)

    def faq_name(self) -> str:
        """The file the FAQ is in. Raises Conflict when there are several."""
        here = [n for n in FAQ_NAMES if (self._root / n).is_file()]
        if len(here) > 1:
            raise Conflict(f"The FAQ is spread over {' and '.join(here)}: move the pairs into one of them to edit it here.")
        return here[0] if here else FAQ_NAMES[0]

    def seal(self) -> str:
        """Changes with every change of the FAQ file, by whomever."""
        return hashlib.sha256(self.read(self.faq_name()) or b"").hexdigest()

    def faq_bytes(self, changes: Sequence[Change]) -> bytes:
        """The FAQ file as it is after the changes. What is unchanged in a YAML file keeps its form and its comments. Raises Conflict."""
        name, pairs = self.faq_name(), self.pairs()
        made = applied(pairs, changes)
        if name.endswith(".csv"):
            return _csv(made)
        if name.endswith(".jsonl"):
            lines = (json.dumps({"question": p.question, "answer": p.answer}, ensure_ascii=False) for p in made)
            return ("\n".join(lines) + "\n" * bool(made)).encode()
        return _yaml((self.read(name) or b"").decode("utf-8-sig"), pairs, made).encode()

    def read(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as why:
            raise Conflict(f"{path} cannot be read ({why.strerror}): check its permissions.") from why

    def write(self, path: str, content: bytes) -> None:
        """Replaces a file in one step. Raises Conflict for a folder that cannot be written."""
        target = self._root / path
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("xb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o777)
            beside.replace(target)
        except OSError as why:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise Conflict(self._refused(why.strerror or str(why))) from why

    def remove(self, path: str) -> bool:
        """Takes a file away; False when there is none. Raises Conflict."""
        try:
            (self._root / path).unlink()
        except FileNotFoundError:
            return False
        except OSError as why:
            raise Conflict(self._refused(why.strerror or str(why))) from why
        return True

    def document(self, source: str) -> str:
        """Where a document is below the folder. Raises BadDocument for a name that cannot be one."""
        path = PurePosixPath(source)
        odd = path.is_absolute() or any(p.startswith(".") for p in path.parts) or "\\" in source or not source.isprintable()
        if not source or len(source) > 200 or odd:
            raise BadDocument(f"{source[:60]!r} cannot be a document's name: use one such as guides/returns.md")
        if path.suffix.lower() not in SUFFIXES:
            raise BadDocument(
                f"{source}: {path.suffix or 'a file without an ending'} is not supported: convert it to .md, .html, .txt, .pdf or .docx"
            )
        inside = (self._root / "knowledge").resolve()
        if not (inside / path).resolve().is_relative_to(inside):
            raise BadDocument(f"{source}: it leaves the knowledge folder")
        return f"knowledge/{path.as_posix()}"

    def _refused(self, why: str) -> str:
        return (
            f"The folder of {self._tenant.name} cannot be written ({why}): edit its files where they come from, "
            "or let this program write to it."
        )


def _csv(pairs: Sequence[FaqPair]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["question", "answer"])
    writer.writerows([p.question, p.answer] for p in pairs)
    return out.getvalue().encode()


def _yaml(text: str, before: Sequence[FaqPair], after: Sequence[FaqPair]) -> str:
    """The file with `after` in it: a pair that is as before keeps its lines."""
    head, blocks = _blocks(text)
    if len(blocks) != len(before):
        head, blocks = "", []
    known = {(p.question, p.answer): block for p, block in zip(before, blocks, strict=False)}
    made = [known.get((p.question, p.answer)) or _block(p) for p in after]
    return head + "".join(block if block.endswith("\n") else block + "\n" for block in made) if made else head + "[]\n"


def _blocks(text: str) -> tuple[str, list[str]]:
    """What stands before the first entry, and the lines of each entry."""
    node = yaml.compose(text, Loader=_Loader) if text.strip() else None
    if not isinstance(node, yaml.SequenceNode) or node.flow_style or not node.value:
        return "", []
    lines = text.splitlines(keepends=True)
    starts = [item.start_mark.line for item in node.value]
    if len(set(starts)) != len(starts) or not all(lines[n].lstrip().startswith("-") for n in starts):
        return "", []
    ends = [*starts[1:], len(lines)]
    return "".join(lines[: starts[0]]), ["".join(lines[a:b]) for a, b in zip(starts, ends, strict=True)]


def _block(pair: FaqPair) -> str:
    return yaml.safe_dump([{"question": pair.question, "answer": pair.answer}], allow_unicode=True, sort_keys=False, width=100_000)
