"""Files are read in a child process with limits, so that no document can stop or fill the desk. One child serves many files.

Refuses, with the file's name and a reason: what takes longer than 30 s or more than 512 MB, what makes the reader crash, what is
encrypted, empty, damaged or of another type than its name says. After a crash the next file gets a fresh child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from frontdesk.errors import BadDocument
from frontdesk.knowledge import readers
from frontdesk.knowledge.blocks import Block, Heading, ListBlock, ListItem, Paragraph, Parsed, TableBlock

SECONDS: Final = 30.0
MEMORY_BYTES: Final = 512 * 1024 * 1024
SUFFIXES: Final = (".md", ".markdown", ".html", ".htm", ".txt", ".pdf", ".docx")
_FRAME: Final = struct.Struct(">I")


class Parser:
    """Reads documents one at a time; the child starts with the first one and ends with `close` (or with this process)."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._memory = memory
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def parse(self, source: str, content: bytes) -> Parsed:
        """The blocks of `content`, whose format the ending of `source` names. Raises BadDocument naming file and reason."""
        suffix = PurePosixPath(source).suffix.lower()
        async with self._turn:
            self._number += 1
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._ask({"id": self._number, "suffix": suffix}, content)
            except TimeoutError:
                await self.close()
                raise BadDocument(f"{source}: reading it took longer than {self._seconds:.0f} s; simplify or split it") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                await self.close()
                limit = self._memory // 2**20
                raise BadDocument(
                    f"{source}: reading it failed or needs more than {limit} MB of memory; save it again or split it"
                ) from None
            except BaseException:
                await self.close()  # cancelled half-way: the child's answer must not reach the next file
                raise
        if answer.get("id") != self._number:
            await self.close()
            raise BadDocument(f"{source}: the reader lost its place; sync again")
        if "error" in answer:
            if answer.get("fatal"):
                await self.close()
            raise BadDocument(f"{source}: {answer['error']}")
        return _from_plain(answer["document"])

    async def close(self) -> None:
        """Ends the child, at once."""
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _ask(self, header: dict[str, Any], content: bytes) -> dict[str, Any]:
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", __name__, str(self._memory), str(int(self._seconds) + 5)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        into, out = self._child.stdin, self._child.stdout
        if into is None or out is None:
            raise ConnectionResetError
        for part in (json.dumps(header).encode(), content):
            into.write(_FRAME.pack(len(part)))
            into.write(part)
        await into.drain()
        (size,) = _FRAME.unpack(await out.readexactly(_FRAME.size))
        answer: dict[str, Any] = json.loads(await out.readexactly(size))
        return answer


def _to_plain(parsed: Parsed) -> dict[str, Any]:
    return {"title": parsed.title, "blocks": [_block_to_plain(block) for block in parsed.blocks]}


def _block_to_plain(block: Block) -> list[Any]:
    if isinstance(block, Heading):
        return ["heading", block.level, block.text]
    if isinstance(block, Paragraph):
        return ["paragraph", block.text]
    if isinstance(block, ListBlock):
        return ["list", [[item.text, item.marker, item.depth] for item in block.items]]
    return ["table", block.header, block.rows, block.caption]


def _from_plain(document: dict[str, Any]) -> Parsed:
    return Parsed(title=document["title"], blocks=tuple(_block_from_plain(*row) for row in document["blocks"]))


def _block_from_plain(kind: str, *values: Any) -> Block:
    if kind == "heading":
        return Heading(level=values[0], text=values[1])
    if kind == "paragraph":
        return Paragraph(text=values[0])
    if kind == "list":
        return ListBlock(items=tuple(ListItem(text=text, marker=marker, depth=depth) for text, marker, depth in values[0]))
    return TableBlock(header=tuple(values[0]), rows=tuple(tuple(row) for row in values[1]), caption=values[2])


# --- the child ---


def _serve(memory: int, seconds: int) -> None:
    """Answers requests from stdin until it closes. Every answer is one frame on what was stdout at the start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes our stdin
    _limit(memory)
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a library that prints must not break the frames
    while (header := _receive(source)) is not None and (content := _receive(source)) is not None:
        request = json.loads(header)
        signal.alarm(seconds)  # if the parent is gone by then, nobody else would end us
        answer = {"id": request["id"], **_answer(request["suffix"], content)}
        signal.alarm(0)
        packed = json.dumps(answer).encode()
        target.write(_FRAME.pack(len(packed)) + packed)
        target.flush()


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:  # no such limits on Windows; the deadline still holds
        return
    with contextlib.suppress(ValueError, OSError):  # macOS refuses a limit on address space
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(suffix: str, content: bytes) -> dict[str, Any]:
    try:
        return {"document": _to_plain(readers.read(suffix, content))}
    except BadDocument as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "reading it needs more than 512 MB of memory; split it or remove pictures", "fatal": True}
    except RecursionError:
        return {"error": "it is nested too deeply; save it again from the program that made it", "fatal": True}
    except Exception as error:  # noqa: BLE001 - hostile files raise anything; the child must answer for this one and live for the next
        return {"error": f"it cannot be read ({type(error).__name__}); save it again from the program that made it"}


def _receive(source: BinaryIO) -> bytes | None:
    head = source.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    (size,) = _FRAME.unpack(head)
    return source.read(size)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
