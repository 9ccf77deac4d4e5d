"""How fast a folder becomes searchable: parsing, splitting, embedding on one thread and writing, in passages of about 160 tokens a second.

    python -m bench.sync_speed [--documents 40] [--passages 15]

Afterwards one sentence of one file is changed and the folder synced again: only that passage may be embedded.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from frontdesk import settings
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.knowledge.library import Library, SyncReport
from frontdesk.knowledge.splitting import search_text
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.store import Store

BAR = 35.0
_SUBJECTS = [
    "account",
    "card",
    "transfer",
    "deposit",
    "loan",
    "branch",
    "statement",
    "payment",
    "fee",
    "refund",
    "limit",
    "policy",
    "claim",
    "cover",
    "order",
    "delivery",
    "parcel",
    "invoice",
]
_VERBS = ["covers", "includes", "excludes", "requires", "allows", "replaces", "confirms", "extends", "limits", "changes"]
_ENDS = (
    "within {n} working days after the request",
    "for amounts above {n} euros a month",
    "unless the form arrives before the {n}th of the month",
    "for every member of the household older than {n}",
    "in all branches that stay open after {n} o'clock",
)


def write_documents(folder: Path, *, documents: int, passages: int, seed: int = 7) -> None:
    """Markdown files of `passages` sections; each section makes one passage of about 160 tokens."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(documents):
        lines = [f"# Guide {number}"]
        for section in range(passages):
            lines += [f"## {chance.choice(_SUBJECTS)} {number}.{section}", " ".join(_sentence(chance) for _ in range(10))]
        (folder / f"guide-{number:03}.md").write_text("\n\n".join(lines), encoding="utf-8")


def _sentence(chance: random.Random) -> str:
    end = chance.choice(_ENDS).format(n=chance.randint(2, 90))
    return f"The {chance.choice(_SUBJECTS)} {chance.choice(_VERBS)} the {chance.choice(_SUBJECTS)} {end}."


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--passages", type=int, default=15, help="per document")
    options = parser.parse_args()
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", settings.load().cache), threads=1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench"
        write_documents(folder / "knowledge", documents=options.documents, passages=options.passages)
        tenant = Tenant(id=TenantId("bench"), name="Bench", folder=folder)
        store = await Store.open(settings.load({"data": Path(place) / "data"}))
        try:
            library = Library(store, embedder)
            first, seconds = await _timed(library, tenant)
            passages = await store.for_tenant(tenant.id).knowledge.all_passages()
            tokens = sum(embedder.token_count(search_text(p)) for p, _ in passages) / max(1, len(passages))
            _, idle = await _timed(library, tenant)
            alone = time.perf_counter()
            await embedder.embed([search_text(p) for p, _ in passages])
            alone = time.perf_counter() - alone
            changed = folder / "knowledge" / "guide-000.md"
            changed.write_text(changed.read_text(encoding="utf-8").replace("The ", "Our ", 1), encoding="utf-8")
            second, again = await _timed(library, tenant)
        finally:
            await store.close()
            embedder.close()
    speed = first.embedded / seconds
    print("| what | figure |\n|---|---|")
    print(f"| documents / passages | {len(first.added)} / {first.embedded} |")
    print(f"| tokens a passage (mean) | {tokens:.0f} |")
    print(f"| first sync | {seconds:.1f} s, {speed:.1f} passages/s (bar {BAR:.0f}) |")
    print(f"| embedding the same texts alone | {alone:.1f} s, {len(passages) / alone:.1f} passages/s |")
    print(f"| sync without a change | {idle * 1000:.0f} ms |")
    print(
        f"| sync with one changed file | {again * 1000:.0f} ms; changed {list(second.changed)}, embedded {second.embedded}, reused {second.reused} |"
    )
    return 0 if speed >= BAR and second.changed == ("guide-000.md",) and second.embedded == 1 else 1


async def _timed(library: Library, tenant: Tenant) -> tuple[SyncReport, float]:
    begun = time.perf_counter()
    report = await library.sync(tenant, progress=_show)
    return report, time.perf_counter() - begun


def _show(done: int, total: int) -> None:
    print(f"\r{done}/{total} passages", end="" if done < total else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
