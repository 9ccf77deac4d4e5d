"""What is going on in a rehearsal right now, for a terminal and a page. Keeps the last words of the newest conversations, never whole ones."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from frontdesk.rehearsal.talk import CUSTOMER, Talk

SHOWN = 12
LONGEST = 400
_SYMBOLS = {"goal_reached": "✓", "handed_over": "→", "gave_up": "✗", "error": "!"}


class Watch:
    """Told of each message; gives snapshots, and wakes whoever waits for a change."""

    def __init__(self, *, total: int = 0, title: str = "", clock: Callable[[], float] = time.monotonic, shown: int = SHOWN) -> None:
        self.title = title
        self.total = total
        self.messages = 0
        self.reasons: dict[str, int] = {}
        self._clock = clock
        self._started = clock()
        self._shown = shown
        self._talks: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._changed = asyncio.Event()
        self.version = 0

    def saw(self, talk: Talk, *, place: str = "") -> None:
        """A message was added to a talk, or it ended."""
        new = talk.lines[-1:] if talk.outcome is None or len(talk.lines) < 2 else talk.lines[-2:]
        row = self._talks.get(talk.id)
        if row is None:
            self._make_room()
            role = talk.role
            row = {"id": talk.id, "place": place, "scenario": talk.scenario, "name": role.name, "mood": role.mood, "said": 0, "lines": []}
            self._talks[talk.id] = row
        self.messages += len(talk.lines) - row["said"]
        row["said"] = len(talk.lines)
        row["lines"] = [{"role": x.role, "text": x.text[:LONGEST], "route": x.route, "mood": x.mood} for x in talk.lines[-8:]]
        row["mood"] = next((x.mood for x in reversed(new) if x.mood), row["mood"])
        row["outcome"] = talk.outcome.reason.value if talk.outcome else ""
        row["evidence"] = talk.outcome.evidence if talk.outcome else ""
        if talk.outcome is not None:
            self.reasons[talk.outcome.reason.value] = self.reasons.get(talk.outcome.reason.value, 0) + 1
        self.version += 1
        self._changed.set()

    def snapshot(self) -> dict[str, Any]:
        """Everything a viewer needs, as JSON values."""
        return {
            "title": self.title,
            "total": self.total,
            "ended": sum(self.reasons.values()),
            "reasons": dict(self.reasons),
            "messages": self.messages,
            "seconds": round(self._clock() - self._started, 1),
            "talks": list(self._talks.values()),
        }

    async def snapshots(self, *, pause: float = 0.25) -> AsyncIterator[dict[str, Any]]:
        """A snapshot now and after each change, at most one per `pause` seconds."""
        seen = -1
        while True:
            if seen != self.version:
                seen = self.version
                yield self.snapshot()
            self._changed.clear()
            if seen == self.version:
                await self._changed.wait()
            await asyncio.sleep(pause)

    def _make_room(self) -> None:
        while len(self._talks) >= self._shown:
            done = next((k for k, row in self._talks.items() if row.get("outcome")), None)
            self._talks.pop(done if done is not None else next(iter(self._talks)))


@contextmanager
def shown(watch: Watch, console: Console) -> Any:
    """A live table in a terminal while the block runs; nothing elsewhere."""
    if not console.is_terminal:
        yield
        return
    with RichLive(get_renderable=lambda: _picture(watch, console.width), console=console, refresh_per_second=4, transient=True):
        yield


def told(watch: Watch, console: Console) -> None:
    """How the conversations ended, one line each, and one of them whole."""
    now = watch.snapshot()
    longest = max(now["talks"], key=lambda row: len(row["lines"]), default=None)
    if longest is None:
        return
    console.print(f"\n[bold]{longest['place']}: {longest['name']} ({longest['scenario']})[/]", highlight=False)
    for line in longest["lines"]:
        who = longest["name"] if line["role"] == CUSTOMER else "desk"
        console.print(f"  {who}: {line['text']}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"  ({longest['outcome']}: {longest['evidence']})\n", style="dim", highlight=False, markup=False)
    for row in now["talks"]:
        mark = _SYMBOLS.get(row["outcome"], "…")
        console.print(
            f"{mark} {row['place']}: {row['name']}, {row['mood']}, {row['scenario']}: {row['outcome'] or 'goes on'}",
            highlight=False,
            markup=False,
        )
    console.print(
        f"{now['ended']} of {now['total']} conversations ended, {now['messages']} messages in {now['seconds']:.0f} s", highlight=False
    )


def _picture(watch: Watch, width: int) -> Group:
    now = watch.snapshot()
    head = Text(f"{now['title']}  {now['ended']}/{now['total']} ended", style="bold")
    head.append(f"  {now['messages']} messages, {now['messages'] / max(now['seconds'], 0.1):.1f}/s  ", style="dim")
    head.append("  ".join(f"{k} {v}" for k, v in now["reasons"].items()), style="dim")
    table = Table(box=None, show_header=False, expand=True, pad_edge=False)
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in now["talks"]:
        last = row["lines"][-1] if row["lines"] else {"role": "", "text": ""}
        who = f"{row['name']} ({row['mood']})" if last["role"] == CUSTOMER else f"desk{' · ' + last['route'] if last.get('route') else ''}"
        mark = _SYMBOLS.get(row["outcome"], "·" if row["outcome"] else "…")
        table.add_row(f"{mark} {row['place'] or row['scenario']}", who, Text(last["text"][: max(20, width - 50)]))
    return Group(head, table)
