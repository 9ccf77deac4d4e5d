"""What is worked out from the log, against its bars: sentiment beside VADER and TF-IDF, scores of published runs, summaries, folding, contradictions.

    python -m bench.insight --data DIR [--events 1000000] [--only sentiment scores summaries folding contradictions]

Bars: macro-F1 on GoEmotions dev (three classes) >= 0.62 and above both peers; >= 2,000 utterances a second with the vectors at hand, <= 10 ms
for one from its text; AUC >= 0.70 between passed and failed published agent runs; every figure and name of a summary in its turns; a
million events folded in <= 60 s from scratch and a minute's increment in <= 1 s, identical both ways.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import yaml
from bench.trajectories import trajectories
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from threadpoolctl import threadpool_limits

from frontdesk.analytics.contradictions import contradictions
from frontdesk.analytics.folding import Analyst
from frontdesk.analytics.score import WEIGHTS, Rubric, score
from frontdesk.analytics.sentiment import Sentiment
from frontdesk.analytics.summary import claims, summarise, untraceable
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.events import MessageReceived, ReplySent
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import TenantId
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.settings import Settings, load
from frontdesk.store.conversations import encode
from frontdesk.store.store import Store
from frontdesk.training.sentiment_head import public_rows

RUNS = "tau_bench_v1/airline_gpt4o_trajectories.jsonl"
POLICY = "tau2_bench/airline/policy.md"
TENANT = TenantId("bench")


def row(what: str, bar: str, measured: str) -> None:
    """One line of the table."""
    print(f"{what:58} {bar:22} {measured}", flush=True)


def sentiment(data: Path, _given: argparse.Namespace) -> None:
    """The head beside its peers, and its speed."""
    train, dev = public_rows(data / "goemotions/train.jsonl"), public_rows(data / "goemotions/dev.jsonl")
    embedder, head = SentenceEncoder(registry.pull("all-minilm-l6-v2", load().cache)), Sentiment.load()
    vectors = asyncio.run(embedder.embed(dev[0]))

    def macro(guess: Any) -> str:
        return f"{f1_score(dev[1], guess, average='macro'):.3f}"

    row("sentiment, GoEmotions dev, macro-F1", ">= 0.62, above peers", macro(head.chances(dev[0], vectors).argmax(axis=1)))
    row("  words alone (another embedder)", "", macro(head.chances(dev[0]).argmax(axis=1)))
    row("  peer: VADER", "", macro(_vader(dev[0])))
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    peer = LogisticRegression(C=1.0, max_iter=300).fit(words.fit_transform(train[0]), train[1])
    row("  peer: TF-IDF + logistic regression", "", macro(peer.predict(words.transform(dev[0]))))
    start, used = time.perf_counter(), time.process_time()
    head.of(dev[0], vectors)
    wall, used = time.perf_counter() - start, time.process_time() - used
    row(
        "utterances a second, vectors at hand",
        ">= 2000",
        f"{len(dev[0]) / wall:,.0f} ({len(dev[0]) / used:,.0f} a second of one processor)",
    )
    for threads, bar in ((2, "<= 10 ms"), (1, "")):
        alone = SentenceEncoder(registry.pull("all-minilm-l6-v2", load().cache), threads=threads)
        times = []
        for text in dev[0][:200]:
            start = time.perf_counter()
            asyncio.run(head.read([f"{text} "], alone))
            times.append(time.perf_counter() - start)
        alone.close()
        shown = f"{np.percentile(times, 50) * 1000:.1f} / {np.percentile(times, 95) * 1000:.1f} ms"
        row(f"one utterance from its text on {threads} core{'s' if threads > 1 else ''}, p50 / p95", bar, shown)
    embedder.close()


def _vader(texts: list[str]) -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        print("VADER is not installed (pip install vaderSentiment): its row is of no worth", file=sys.stderr)
        return np.ones(len(texts), int)
    heard = np.array([SentimentIntensityAnalyzer().polarity_scores(t)["compound"] for t in texts])
    return np.where(heard >= 0.05, 2, np.where(heard <= -0.05, 0, 1))


def scores(data: Path, _given: argparse.Namespace) -> None:
    """Rules over events between runs that passed and runs that failed; no run was trained on.

    The agents had their company's policy before them, which no message of a run quotes, so the scores have it too. The row with equal
    weights says what is left when nobody chose what counts how much.
    """
    runs, head, policy = trajectories(data / RUNS), Sentiment.load(), (data / POLICY).read_text("utf-8")
    start = time.perf_counter()
    made = [score(run.events, sentiment=head, known=policy) for run in runs]
    spent = time.perf_counter() - start
    passed, totals = np.array([r.passed for r in runs]), np.array([s.total or 0.0 for s in made])
    equal = Rubric(weights=dict.fromkeys(WEIGHTS, 1.0))
    level = [score(run.events, equal, sentiment=head, known=policy).total or 0.0 for run in runs]
    rng, drawn = np.random.default_rng(7), []
    for _ in range(1000):
        some = rng.integers(0, len(runs), len(runs))
        if 0 < passed[some].sum() < len(some):
            drawn.append(roc_auc_score(passed[some], totals[some]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    row(f"scores by rules, {len(runs)} rated runs, AUC", ">= 0.70", f"{roc_auc_score(passed, totals):.3f} ({low:.2f} to {high:.2f})")
    row("  every criterion weighing the same", "", f"{roc_auc_score(passed, level):.3f}")
    row(
        "  peer: the shorter the better (messages)",
        "",
        f"{roc_auc_score(passed, [-sum(isinstance(e.event, MessageReceived) for e in r.events) for r in runs]):.3f}",
    )
    row("conversations scored a second", "", f"{len(runs) / spent:,.0f}")


def summaries(data: Path, _given: argparse.Namespace) -> None:
    """Every number, code and name of a summary in one of its turns."""
    runs = trajectories(data / RUNS)
    told = lost = 0
    for run in runs:
        made = summarise(run.events)
        told += sum(len(claims(s.text)) for s in made.statements())
        lost += len(untraceable(made.statements(), run.events))
    row(f"summaries, {len(runs)} runs, figures and names traceable", "100 %", f"{(told - lost) / told:.2%} of {told:,}")


class Spent:
    """Time since it was made, as text: on the wall, and of processors in this process and in the database's."""

    def __init__(self) -> None:
        self._start, self._here, self._database = time.perf_counter(), time.process_time(), _database_seconds()

    def __str__(self) -> str:
        here, database = time.process_time() - self._here, _database_seconds() - self._database
        return f"{time.perf_counter() - self._start:.2f} s; processor {here:.2f} s here, {database:.2f} s in the database"


def _database_seconds() -> float:
    """Processor seconds of the embedded database's processes, ended ones included."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent += times.user + times.system + (times.children_user + times.children_system if process.name() == "postgres" else 0.0)
    return spent


async def _folding(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="frontdesk-fold-", ignore_cleanup_errors=True) as folder:
        store = await Store.open(Settings(data=Path(folder)))
        try:
            conversations = await asyncio.to_thread(_fill, store.url, events)
            analyst, ledger = Analyst(store), store.for_tenant(TENANT).ledger
            gc.freeze()  # as the server does at its start
            spent = Spent()
            counted = await analyst.catch_up(TENANT)
            row(f"{events:,} events of {conversations:,} conversations, from scratch", "<= 60 s", f"{spent} ({counted:,} count)")
            rng = random.Random(7)
            ids = [ConversationId(f"cv_{rng.randrange(conversations)}") for _ in range(1500)]
            for id in ids:
                said = [MessageReceived(text="and another thing"), _reply()]
                await store.for_tenant(TENANT).conversations.append(id, TurnId(f"x{rng.random()}"), [*said, *said])
            spent = Spent()
            counted = await analyst.catch_up(TENANT)
            row(f"a minute's increment ({counted:,} events)", "<= 1 s", str(spent))
            before = await ledger.rows()
            spent = Spent()
            await analyst.rebuild(TENANT)
            again = str(spent)
            row("identical to a fold from scratch", "yes", f"{'yes' if await ledger.rows() == before else 'NO'} (again in {again})")
        finally:
            await store.close()


def _reply() -> ReplySent:
    from frontdesk.domain.conversation import Route

    return ReplySent(text="Delivery takes 3 days.", route=Route.FAQ, confidence=0.9)


def _fill(url: str, events: int) -> int:
    """A log of so many events: conversations of sixteen, as turns write them."""
    from frontdesk.domain import events as e
    from frontdesk.domain.conversation import Route, ToolCall
    from frontdesk.domain.knowledge import Citation

    cited = Citation(source="faq", title="How long does delivery take?", quote="Delivery takes 3 days.")
    answer = ReplySent(text="Delivery takes 3 days.", route=Route.FAQ, confidence=0.9, citations=(cited,))
    call = e.ToolCalled(call=ToolCall(name="getOrder", arguments={"id": "A-17"}, result={"status": "shipped"}), milliseconds=40)
    turn = [
        e.MessageReceived(text="How long does delivery take?", channel="chat"),
        e.IntentRecognized(route=Route.FAQ, name="faq", confidence=0.9),
        e.QuestionUnderstood(parts=("How long does delivery take?",)),
        e.PassagesRetrieved(question="How long?", passages=("a", "b"), scores=(0.1, 0.2)),
        call,
        e.ModelPhrased(model="m", draft="Delivery takes 3 days.", sampled=12, milliseconds=90),
        e.SentenceReleased(text="Delivery takes 3 days."),
        answer,
    ]
    bodies = [encode(event) for event in turn] * 2
    kinds = [e.kind_of(event) for event in turn] * 2
    conversations = events // len(bodies)
    with psycopg.connect(url) as connection:
        connection.execute("set search_path = frontdesk, public")
        connection.execute(
            "insert into conversations (tenant, id, key, channel, customer, opened_at) select %s, 'cv_' || n, 'k', 'chat', 'c' || n %% 9000,"
            " now() - make_interval(mins => n %% 40000) from generate_series(0, %s) n",
            [TENANT, conversations - 1],
        )
        connection.execute(
            "insert into events (tenant, conversation, turn, seq, at, kind, body)"
            " select %s, 'cv_' || n, 't' || (s - 1) / 8, s, now() - make_interval(mins => n %% 40000, secs => 100 - s), (%s::text[])[s],"
            " (%s::text[])[s]::jsonb from generate_series(0, %s) n, generate_series(1, %s) s order by n / 50, s, n",
            [TENANT, kinds, bodies, conversations - 1, len(bodies)],
        )
        connection.execute("update conversations set last_seq = %s where tenant = %s", [len(bodies), TENANT])
        connection.commit()
        connection.autocommit = True
        connection.execute("analyze")
    return conversations


def folding(_data: Path, given: argparse.Namespace) -> None:
    """The ledger over a long log."""
    asyncio.run(_folding(given.events))


def disagreeing(_data: Path, _given: argparse.Namespace) -> None:
    """Pairs of entries that disagree, and pairs that do not; written and looked at while the finder was built."""
    pairs = yaml.safe_load((Path(__file__).parent / "contradictions.yaml").read_text("utf-8"))
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", load().cache))

    def passage(source: str, title: str, text: str) -> Passage:
        kind = PassageKind.FAQ if source == "faq" else PassageKind.PROSE
        return Passage(id=PassageId(text), document=DocumentId(source), source=source, title=title, kind=kind, text=text)

    async def found(kind: str) -> int:
        return sum([bool(await contradictions([passage(*side) for side in pair], embedder)) for pair in pairs[kind]])

    row("contradictions: disagreeing pairs found", "", f"{asyncio.run(found('disagree'))} of {len(pairs['disagree'])}")
    row("contradictions: false alarms", "", f"{asyncio.run(found('fine'))} of {len(pairs['fine'])}")
    embedder.close()


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "sentiment": sentiment,
    "scores": scores,
    "summaries": summaries,
    "folding": folding,
    "contradictions": disagreeing,
}


def main() -> int:
    """Command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    given = arguments.parse_args()
    threadpool_limits(1)
    row("what", "bar", "measured")
    for name in given.only:
        PARTS[name](given.data, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
