"""How often what answers is among the passages that the reader gets: search, shelf and both, in one run, over pots of invented companies.

    python -m bench.shelf

Five companies of `desk/reading_set` make one tenant of some 130 passages. Only companies are asked that the shipped encoder was not taught
on. Search is what `search_passages` does, worked out in memory: ranks by meaning and by word, added up.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from frontdesk.desk.guardrails import content_words
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.reading import Reader
from frontdesk.desk.shelf import Shelf, joined
from frontdesk.desk.train_reading import FOLDER, is_right, passages_of
from frontdesk.desk.units import units_of
from frontdesk.domain.knowledge import Passage
from frontdesk.knowledge.splitting import embedded_text, search_text
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.settings import load

UNTAUGHT = [
    "ashgrove-library",
    "beanwright",
    "bijou-lantern-cinemas",
    "brackenway-pallets",
    "brindle-borough-waste",
    "cobble-and-last",
    "copperline-home-cover",
    "dustwillow",
    "elmcourt-clinic",
    "evenfall-pensions",
    "fernhollow-riding",
    "fjordbane-rail",
    "glimmerreel",
    "hartwell-lane-hotels",
    "hearthpage",
    "inkwren",
    "keyhollow",
    "larkfield-brokers",
    "meridian-belle-cruises",
    "millbrook-credit-union",
]
POT = 5
FIRST = 12, 5


async def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    settings = load()
    folder = registry.pull("all-minilm-l6-v2", settings.cache)
    base = SentenceEncoder(folder, threads=settings.compute_threads)
    with as_file(files("frontdesk.desk") / "reading_encoder.safetensors") as adapter:
        reader = Reader(base, encoder=taught(adapter, settings.cache, threads=settings.compute_threads))
    companies = await asyncio.to_thread(_companies)
    hits: dict[str, list[tuple[bool, ...]]] = {}
    for start in range(0, len(companies), POT):
        for name, found in await _asked(reader, companies[start : start + POT]):
            hits.setdefault(name, []).append(found)
    for name, rows in hits.items():
        shares = np.mean(np.array(rows), axis=0)
        print(f"{name:12} {len(rows)} questions: " + ", ".join(f"among the first {n}: {s:.3f}" for n, s in zip(FIRST, shares, strict=True)))
    return 0


def _companies() -> list[dict[str, Any]]:
    return [yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) for name in UNTAUGHT]


async def _asked(reader: Reader, pot: Sequence[dict[str, Any]]) -> list[tuple[str, tuple[bool, ...]]]:
    passages = [p for company in pot for p in passages_of(company)]
    lexicon = Lexicon(passages)
    shelf = await Shelf.of(passages, reader)
    vectors = await reader.embedder.embed([embedded_text(p) for p in passages])
    words = [frozenset(content_words(search_text(p))) for p in passages]
    lengths = np.array([len(content_words(search_text(p))) for p in passages])
    norm = 1 + 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
    found = []
    for company in pot:
        own = f"{company['id']}/"
        for row in company["questions"]:
            answers = row.get("answer") or []
            right = {p.id for p in passages if p.id.startswith(own) and any(is_right(u, answers, company["faq"]) for u in units_of(p))}
            if not right:
                continue
            question = await reader.question(row["q"])
            literal = np.array([lexicon.coverage(question.words, w) for w in words]) / norm
            searched = [passages[i] for i in _fused(vectors @ question.search, literal)]
            near = [p for p, _ in shelf.nearest(question.vector, max(FIRST))]
            both = joined(near, searched, lambda p: p.id)
            found += [(name, _hit(order, right)) for name, order in (("search", searched), ("shelf", near), ("both", both))]
    return found


def _fused(meaning: NDArray[np.floating[Any]], literal: NDArray[np.floating[Any]]) -> list[int]:
    ranks = [np.argsort(np.argsort(-values)) for values in (meaning, literal)]
    score = 1 / (61 + ranks[0]) + (literal > 0) / (61 + ranks[1])
    return [int(i) for i in np.argsort(-score)[: max(FIRST)]]


def _hit(order: Sequence[Passage], right: set[str]) -> tuple[bool, ...]:
    return tuple(any(p.id in right for p in order[:n]) for n in FIRST)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
