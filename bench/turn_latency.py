"""How long one customer waits: first sentence and whole turn over a tenant's question file, one conversation at a time.

    python -m bench.turn_latency                      # embedded models
    python -m bench.turn_latency --stub               # hashed vectors, no language model: the desk's own share
    python -m bench.turn_latency --stub --profile     # where that share goes

Every question is asked once unmeasured in a conversation of its own (the reader fills its cache), then measured. `own share` is the turn
without the time spent in the embedder. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import dataclasses
import pstats
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import yaml

from frontdesk import settings as configuration
from frontdesk import wiring
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import ReplySent, SentenceReleased
from frontdesk.domain.tenancy import Caller, KeyId, Role, TenantId
from frontdesk.models.protocols import Vectors


@dataclasses.dataclass
class Timed:
    """An embedder that knows how long it took."""

    inner: Any
    seconds: float = 0.0

    def __post_init__(self) -> None:
        embed = self.inner.embed

        async def timed(texts: Sequence[str]) -> Vectors:
            began = time.perf_counter()
            try:
                return await embed(texts)
            finally:
                self.seconds += time.perf_counter() - began

        self.inner.embed = timed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """Milliseconds of one turn."""

    first: float
    whole: float
    own: float
    processor: float
    """Of this process, all its threads; tells on a busy machine too."""


async def ask(office: wiring.Office, timed: Timed, caller: Caller, texts: Sequence[str]) -> list[Turn]:
    """The turns of one conversation."""
    found: list[Turn] = []
    place: ConversationId | None = None
    for text in texts:
        began, within, worked, first = time.perf_counter(), timed.seconds, time.process_time(), 0.0
        async with aclosing(office.front_office.talk(caller=caller, message=text, conversation=place)) as events:
            async for record in events:
                place = record.conversation
                if isinstance(record.event, SentenceReleased) and not first:
                    first = time.perf_counter() - began
                if isinstance(record.event, ReplySent):
                    whole = time.perf_counter() - began
                    own = whole - (timed.seconds - within)
                    processor = time.process_time() - worked
                    found.append(Turn(first=first * 1000, whole=whole * 1000, own=own * 1000, processor=processor * 1000))
    return found


def row(name: str, values: Sequence[float]) -> str:
    """One line of the table."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return f"{name:18} {len(ordered):6} {at(0.5):9.1f} {at(0.95):9.1f} {ordered[-1]:9.1f}"


async def measure(given: argparse.Namespace) -> None:
    """The table on stdout."""
    cases = [c for c in yaml.safe_load(given.questions.read_text()) if c.get("turns")][: given.limit]
    stub = {"llm_url": wiring.NONE, "embeddings_url": wiring.SCRIPTED} if given.stub else {}
    with tempfile.TemporaryDirectory(prefix="frontdesk-latency-", ignore_cleanup_errors=True) as folder:
        settings = configuration.load({"data": given.data or Path(folder) / "data", "tenants": given.tenants, **stub})
        async with wiring.running(settings) as office:
            began = time.perf_counter()
            await office.prepare()
            print(f"prepared in {time.perf_counter() - began:.1f} s", file=sys.stderr)
            timed, profile = Timed(office.embedder), cProfile.Profile()
            turns: list[Turn] = []
            for warm in (True, False):
                if given.profile and not warm:
                    profile.enable()
                for case in cases:
                    caller = Caller(tenant=TenantId(case["tenant"]), key=KeyId("bench"), role=Role.SERVER)
                    measured = await ask(office, timed, caller, case["turns"])
                    turns += [] if warm else measured
            profile.disable()
    print(f"{'milliseconds':18} {'turns':>6} {'p50':>9} {'p95':>9} {'most':>9}")
    print(row("first sentence", [t.first for t in turns if t.first]))
    print(row("whole turn", [t.whole for t in turns]))
    print(row("own share", [t.own for t in turns]))
    print(row("processor time", [t.processor for t in turns]))
    if given.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats(given.sort).print_stats(60)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=Path, default=Path("bench/questions/meridian.yaml"))
    arguments.add_argument("--tenants", type=Path, default=Path("examples"))
    arguments.add_argument("--data", type=Path, help="keep the database here; default: a fresh one that goes away")
    arguments.add_argument("--limit", type=int, default=1000, help="questions")
    arguments.add_argument("--stub", action="store_true")
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("--sort", default="tottime", help="of the profile: `tottime` or `cumulative`")
    asyncio.run(measure(arguments.parse_args()))


if __name__ == "__main__":
    main()
