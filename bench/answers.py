"""The desk, plain RAG and a search box on the same questions in one run, with the same two models.

    python -m bench.answers --questions bench/questions/meridian.yaml --tenants examples [--rag-every 4]

plain RAG: the four nearest passages and the question in one prompt of the language model, its words as they come.
search box: the nearest FAQ answer or passage word for word, or "I don't know" below a cosine of 0.45 (not tuned).
Neither peer has routes or citations, so only the words of their replies are judged. Plain RAG is slow: `--rag-every N` asks it every
N-th question and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from frontdesk import wiring
from frontdesk.desk.handoff import reach
from frontdesk.domain.conversation import Route
from frontdesk.domain.events import ReplySent
from frontdesk.errors import ModelUnavailable
from frontdesk.evaluation import Case, judge, load_cases, play
from frontdesk.models.protocols import ChatRequest, complete
from frontdesk.settings import load

NEAR = 0.45
PASSAGES = 4
Answerer = Callable[[Case], Awaitable[ReplySent | None]]


async def _search_box(office: wiring.Office, case: Case) -> ReplySent:
    tenant = office.tenants[case.tenant]
    hits = await office.library.search(case.tenant, case.turns[-1], limit=1)
    text = f"I don't know. Please contact our team {reach(tenant.handoff)}."
    if hits and hits[0].cosine >= NEAR:
        text = hits[0].passage.text
    return ReplySent(text=text, route=Route.KNOWLEDGE, confidence=0.0)


async def _plain_rag(office: wiring.Office, case: Case) -> ReplySent | None:
    if office.model is None:
        return None
    tenant = office.tenants[case.tenant]
    hits = await office.library.search(case.tenant, case.turns[-1], limit=PASSAGES)
    context = "\n\n".join(f"{h.passage.title}\n{h.passage.text}" for h in hits)
    system = (
        f"You are the customer service assistant of {tenant.name}. Answer only from the context. If the context does not hold the answer, "
        f"say that you don't know and offer our team {reach(tenant.handoff)}. Be short."
    )
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"Context:\n{context}\n\nQuestion: {case.turns[-1]}"}]
    try:
        text = await complete(office.model, ChatRequest(messages=messages, max_tokens=140))
    except ModelUnavailable as why:
        text = f"(no answer: {why})"
    return ReplySent(text=text, route=Route.KNOWLEDGE, confidence=0.0)


async def _score(cases: Sequence[Case], answer: Answerer, *, words_only: bool, every: int = 1) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {}
    for number, case in enumerate(cases):
        if number % every == 0:
            found.setdefault(case.category, []).append(not judge(case, await answer(case), words_only=words_only))
    return found


async def main(arguments: Sequence[str] | None = None) -> int:
    """Asks all three and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, default=Path("bench/questions/meridian.yaml"))
    parser.add_argument("--tenants", type=Path, default=Path("examples"))
    parser.add_argument("--data", type=Path, help="reuse an indexed data folder")
    parser.add_argument("--rag-every", type=int, default=4)
    options = parser.parse_args(arguments)
    cases = load_cases(options.questions)
    with tempfile.TemporaryDirectory() as folder:
        settings = load({"tenants": options.tenants, "data": options.data or Path(folder)})
        async with wiring.running(settings) as office:
            await office.prepare()
            desk = await _score(cases, lambda c: play(office.front_office, c), words_only=False)
            box = await _score(cases, lambda c: _search_box(office, c), words_only=True)
            rag = await _score(cases, lambda c: _plain_rag(office, c), words_only=True, every=options.rag_every)
    table = Table("category", "questions", "desk", "search box", f"plain RAG (every {options.rag_every}th)")
    for category in [*desk, "all"]:
        table.add_row(category, str(_count(desk, category)), *(_share(f, category) for f in (desk, box, rag)))
    Console(file=sys.stdout, width=110).print(table)
    return 0


def _rows(found: dict[str, list[bool]], category: str) -> list[bool]:
    return [ok for rows in found.values() for ok in rows] if category == "all" else found.get(category, [])


def _count(found: dict[str, list[bool]], category: str) -> int:
    return len(_rows(found, category))


def _share(found: dict[str, list[bool]], category: str) -> str:
    rows = _rows(found, category)
    return f"{sum(rows)}/{len(rows)} ({sum(rows) / len(rows):.0%})" if rows else "-"


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
