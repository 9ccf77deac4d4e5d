"""One way in for whoever looks: the server's routes, the console, the commands. Reads a tenant's tables and puts the parts together.

Every method works on one tenant. What it shows is as fresh as the consumers made it; `refresh` brings it up to date first, which costs
little when little happened.
"""

from __future__ import annotations

import asyncio
import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from frontdesk.analytics import metrics
from frontdesk.analytics import score as scoring
from frontdesk.analytics.assist import UPSET, Finder, Help, Remark, check_wording, closing_note, help_with
from frontdesk.analytics.contradictions import Contradiction, Stale, contradictions, stale
from frontdesk.analytics.folding import Analyst, row_from
from frontdesk.analytics.insight import Draft, Theme, Told, draft_faq, recalls, requests_in, themes
from frontdesk.analytics.metrics import COLUMNS, DAYS, Figure, Reading, Report, Row, Seen
from frontdesk.analytics.sentiment import ByClassifier, ByModel, Listener, Sentiment, Trend, trend
from frontdesk.analytics.summary import CustomerSummary, Summary, of_customer, phrase, summarise
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import MessageReceived, Recorded, ReplySent, SuggestionJudged
from frontdesk.domain.tenancy import CustomerId, Tenant, TenantId
from frontdesk.errors import BadInput, FrontdeskError, NotFound
from frontdesk.models.protocols import Embedder, LanguageModel
from frontdesk.store.ledger import LabelRow, MoodRow, ScoreRow, ToneRow
from frontdesk.store.store import Store

log = logging.getLogger(__name__)

BUCKETS: Mapping[str, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}
WHOSE: Mapping[str, bool | None] = {"customers": False, "rehearsals": True, "all": None}
PARTS = ("channel", "intent", "topic", "desk", "model")
_ASKING = ("message_received", "knowledge_gap_found")
LONGEST = 20_000
"""Events of one conversation that are read."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """Which conversations are looked at: those opened in [since, until), of one channel, intent, ... where given."""

    since: datetime | None = None
    until: datetime | None = None
    channel: str | None = None
    intent: str | None = None
    topic: str | None = None
    desk: str | None = None
    model: str | None = None
    days: int = DAYS
    """Days within which coming back counts."""
    whose: str = "customers"
    """customers, rehearsals or all; a channel that is named says so itself."""

    @property
    def played(self) -> bool | None:
        """Rehearsed conversations alone, none of them, or (None) both. Raises BadInput."""
        if self.whose not in WHOSE:
            raise BadInput(f"conversations are those of {', '.join(WHOSE)}, not of {self.whose[:40]!r}")
        return None if self.channel is not None else WHOSE[self.whose]


@dataclass(frozen=True, kw_only=True)
class Inside:
    """One conversation, read through."""

    row: Row | None
    outcome: str
    summary: Summary
    tones: tuple[ToneRow, ...]
    trend: Mapping[str, Trend]
    """By speaker."""
    score: scoring.Score
    labels: tuple[LabelRow, ...] = ()


class Analytics:
    """Figures, moods, summaries and scores of the tenants of one office. Methods raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        tenants: Mapping[TenantId, Tenant],
        *,
        embedder: Embedder | None = None,
        model: LanguageModel | None = None,
        library: Finder | None = None,
        sentiment: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Without an embedder there are no tones and no themes; without a model nothing is phrased, without a library nothing suggested."""
        self.store, self.tenants, self.embedder, self.model, self.library = store, tenants, embedder, model, library
        self._clock = clock
        self._sentiment: Sentiment | None = None
        self.analyst = Analyst(store, embedder, self._listener(sentiment))

    # --- keeping up ---

    async def refresh(self, tenant: TenantId) -> None:
        """Count what was recorded since the last time."""
        await self.analyst.catch_up(tenant)

    async def run(self) -> None:
        """For ever: ledger, tones and scores of all tenants follow the log."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.analyst.run(lambda: list(self.tenants)))
            group.create_task(self._score_for_ever())

    # --- figures ---

    async def seen(self, tenant: TenantId, period: Period | None = None) -> list[Seen]:
        """The conversations of a period with their outcomes, the newest first."""
        period = period or Period()
        await self.refresh(tenant)
        ledger = self.store.for_tenant(tenant).ledger
        wanted = {name: getattr(period, name) for name in ("since", "until", "played", *PARTS)}
        rows = [row_from(data) for data in await ledger.rows(**wanted)]
        later: list[Row] = []
        if rows:
            visits = await ledger.visits(since=min(r.opened_at for r in rows))
            later = [Row(conversation=v.conversation, customer=v.customer, opened_at=v.opened_at, last_at=v.last_at) for v in visits]
        known = {r.conversation for r in rows}
        return metrics.seen(rows, now=self._clock(), days=period.days, later=[r for r in later if r.conversation not in known])

    async def report(self, tenant: TenantId, period: Period | None = None) -> Report:
        """Every figure over a period."""
        return metrics.figures(await self.seen(tenant, period))

    async def series(
        self, tenant: TenantId, name: str, bucket: str = "day", period: Period | None = None
    ) -> list[tuple[datetime, Reading]]:
        """One figure over time. Raises BadInput for an unknown figure or bucket."""
        return metrics.series(metrics.figure(name), await self.seen(tenant, period), bucket=_bucket(bucket))

    async def behind(self, tenant: TenantId, name: str, period: Period | None = None, *, counted: bool = True) -> list[Seen]:
        """The conversations that a figure counts (or those it is taken among). Raises BadInput for an unknown figure.

        `name` may also be an outcome, so that those outside the rates (open, no_request) open too.
        """
        rows = await self.seen(tenant, period)
        if name in set(metrics.Outcome) - set(metrics.BY_NAME):
            return [s for s in rows if s.outcome == name]
        return metrics.behind(metrics.figure(name), rows, counted=counted)

    async def split(self, tenant: TenantId, name: str, by: str, period: Period | None = None) -> list[tuple[str, Reading]]:
        """One figure for each channel, intent, topic, desk or model, the largest part first. Raises BadInput."""
        found = [(part, reading) for part, _, (reading,) in await self.compare(tenant, [name], by, period)]
        return sorted(found, key=lambda p: -p[1].among)

    async def compare(
        self, tenant: TenantId, names: Sequence[str], by: str, period: Period | None = None
    ) -> list[tuple[str, int, list[Reading]]]:
        """Some figures side by side for each channel, intent, ..., with how many conversations that part has, the largest first.

        Raises BadInput.
        """
        if by not in PARTS:
            raise BadInput(f"figures cannot be split by {by[:40]!r}: choose from {', '.join(PARTS)}")
        wanted: list[Figure] = [metrics.figure(name) for name in names]
        parts: dict[str, list[Seen]] = {}
        for s in await self.seen(tenant, period):
            parts.setdefault(str(getattr(s.row, by)), []).append(s)
        ordered = sorted(parts.items(), key=lambda p: -len(p[1]))
        return [(part, len(rows), [metrics.read(figure, rows) for figure in wanted]) for part, rows in ordered]

    async def export(self, tenant: TenantId, period: Period | None = None, *, figure: str = "") -> str:
        """One line per conversation (or per one that the figure counts), as CSV with a heading line. Raises BadInput for an unknown figure."""
        budget = self.tenants[tenant].budget if tenant in self.tenants else {}
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([*COLUMNS, "outcome", "returned", "cost"])
        for s in await self.behind(tenant, figure, period) if figure else await self.seen(tenant, period):
            values = [getattr(s.row, name) for name in COLUMNS]
            writer.writerow([_cell(v) for v in (*values, s.outcome.value, s.returned, metrics.cost(s.row, budget))])
        return out.getvalue()

    async def mood(self, tenant: TenantId, bucket: str = "hour", *, by: str = "", period: Period | None = None) -> list[MoodRow]:
        """Average tone over time, by speaker, and by channel, intent, topic, desk or model where asked. Raises BadInput."""
        if by and by not in PARTS:
            raise BadInput(f"moods cannot be split by {by[:40]!r}: choose from {', '.join(PARTS)}")
        period = period or Period()
        await self.refresh(tenant)
        return await self.store.for_tenant(tenant).ledger.mood(
            seconds=_bucket(bucket).total_seconds(), by=by, since=period.since, until=period.until, channel=period.channel,
            played=period.played,
        )  # fmt: skip

    # --- one conversation, one customer ---

    async def inside(self, tenant: TenantId, conversation: ConversationId, *, phrased: bool = False) -> Inside:
        """One conversation, read through. Raises NotFound."""
        space = self.store.for_tenant(tenant)
        await space.conversations.key_of(conversation)
        events = await self.events(tenant, conversation)
        await self.refresh(tenant)
        rows = [row_from(data) for data in await space.ledger.rows(ids=[conversation])]
        tones = await space.ledger.tones([conversation])
        summary = summarise(events, now=self._clock())
        if phrased:
            summary = replace(summary, phrased=await phrase(summary, self.model))
        by_speaker: dict[str, list[float]] = {}
        for tone in tones:
            by_speaker.setdefault(tone.speaker, []).append(tone.score)
        return Inside(
            row=rows[0] if rows else None,
            outcome=summary.outcome.value,
            summary=summary,
            tones=tuple(tones),
            trend={speaker: trend(scores) for speaker, scores in by_speaker.items()},
            score=await asyncio.to_thread(scoring.score, events, self.rubric(tenant), sentiment=self.sentiment()),
            labels=tuple(label for label in await space.ledger.labels() if label.conversation == conversation),
        )

    async def customer(self, tenant: TenantId, customer: CustomerId, *, limit: int = 20) -> CustomerSummary:
        """What the latest conversations of one customer amount to; empty for an unknown one."""
        space = self.store.for_tenant(tenant)
        found = await space.conversations.list(customer=customer, limit=limit)
        return of_customer([summarise(await self.events(tenant, c.conversation_id), now=self._clock()) for c in found])

    async def events(self, tenant: TenantId, conversation: ConversationId) -> list[Recorded]:
        """All events of a conversation; of a very long one, the first."""
        found: list[Recorded] = []
        conversations = self.store.for_tenant(tenant).conversations
        while len(found) < LONGEST and (page := await conversations.events(conversation, after=found[-1].seq if found else 0, limit=2000)):
            found += page
        return found

    # --- scores ---

    def rubric(self, tenant: TenantId) -> scoring.Rubric:
        """The tenant's rubric. Raises BadInput for a `scoring:` section that cannot be used."""
        return scoring.rubric_of(self.tenants.get(tenant))

    async def score_waiting(self, tenant: TenantId, *, limit: int = 200, quiet: timedelta = timedelta(minutes=10)) -> int:
        """Score conversations that have been quiet for a while and have no up-to-date score; how many that were."""
        rubric, ledger, now = self.rubric(tenant), self.store.for_tenant(tenant).ledger, self._clock()
        rehearsed = now - min(quiet, metrics.IDLE_REHEARSED)
        ids = await ledger.unscored(rubric=rubric.id, quiet=now - quiet, rehearsed=rehearsed, limit=limit)
        for id in ids:
            events = await self.events(tenant, id)
            if not events:
                continue
            if rubric.judge == "model" and self.model is not None:
                made = await scoring.judge(events, self.model, rubric, sentiment=self.sentiment())
            else:
                made = await asyncio.to_thread(scoring.score, events, rubric, sentiment=self.sentiment())
            await ledger.keep_score(
                ScoreRow(
                    conversation=id, seq=made.seq, rubric=rubric.id, judge=made.judge, at=None, total=made.total, passed=made.passed,
                    flags=made.flags, criteria=made.criteria(),
                )
            )  # fmt: skip
        return len(ids)

    async def scores(self, tenant: TenantId, *, period: Period | None = None, flag: str | None = None, limit: int = 200) -> list[ScoreRow]:
        """Scores of a period, the lowest first."""
        period = period or Period()
        return await self.store.for_tenant(tenant).ledger.scores(
            since=period.since, until=period.until, flag=flag, played=period.played, limit=limit
        )

    async def label(
        self, tenant: TenantId, conversation: ConversationId, *, passed: bool, by: str, criterion: str = "", note: str = ""
    ) -> None:
        """Keep what a person says about a conversation ('' as a whole) or one criterion. Raises NotFound and BadInput."""
        if criterion and criterion not in scoring.CRITERIA:
            raise BadInput(f"there is no criterion {criterion[:40]!r}: choose from {', '.join(scoring.CRITERIA)}")
        ledger = self.store.for_tenant(tenant).ledger
        if not await ledger.label(conversation, criterion=criterion, passed=passed, note=note, by=by):
            raise NotFound("no such conversation")

    async def to_label(self, tenant: TenantId, period: Period | None = None, *, limit: int = 50) -> list[ConversationId]:
        """Conversations to label next, drawn by lot among those that are scored. Of the period only whose they are counts."""
        return await self.store.for_tenant(tenant).ledger.to_label(played=(period or Period()).played, limit=limit)

    async def calibration(self, tenant: TenantId, period: Period | None = None, *, criterion: str = "") -> scoring.Calibration:
        """How far the judge is to be trusted, as a whole or on one criterion, and the share that people would pass."""
        verdicts, held = await self.held_against(tenant, period, criterion=criterion)
        found = scoring.calibrate([(label.passed, verdict) for label, verdict in held], verdicts)
        if criterion:  # the rubric has one total to pass from, not one for each criterion
            return found
        rows = await self.store.for_tenant(tenant).ledger.scores(ids=[label.conversation for label, _ in held])
        totals = {s.conversation: s.total for s in rows if s.total is not None}
        pairs = [(label.passed, totals[label.conversation]) for label, _ in held if label.conversation in totals]
        return replace(found, cut=scoring.better_cut(pairs, self.rubric(tenant).passes))

    async def held_against(
        self, tenant: TenantId, period: Period | None = None, *, criterion: str = ""
    ) -> tuple[list[bool], list[tuple[LabelRow, bool]]]:
        """What the judge says of all conversations, and of each labelled one (the newest label first) beside what a person says."""
        ledger, passes = self.store.for_tenant(tenant).ledger, self.rubric(tenant).passes
        scores = await ledger.scores(played=(period or Period()).played)
        verdicts = {s.conversation: v for s in scores if (v := _verdict(s, criterion, passes)) is not None}
        labels = [b for b in await ledger.labels() if b.criterion == criterion and b.conversation in verdicts]
        return list(verdicts.values()), [(b, verdicts[b.conversation]) for b in labels]

    # --- insight ---

    async def themes(self, tenant: TenantId, period: Period | None = None, *, least: int = 3) -> list[Theme]:
        """What customers of a period ask about, the most frequent first. Raises BadInput without an embedder, ModelUnavailable."""
        embedder, period = self._embedder(), period or Period()
        await self.refresh(tenant)
        events = await self.store.for_tenant(tenant).ledger.talk(_ASKING, since=period.since, until=period.until, played=period.played)
        asked = requests_in(events)
        if not asked:
            return []
        vectors = await embedder.embed([a.text for a in asked])
        tones = self.sentiment().of([a.text for a in asked], vectors if self.sentiment().fits(embedder) else None)
        heard = [replace(a, tone=t.score) for a, t in zip(asked, tones, strict=True)]
        return await asyncio.to_thread(themes, heard, vectors, least=least)

    async def contradictions(self, tenant: TenantId) -> list[Contradiction]:
        """Entries of the knowledge that disagree, the likest first. Raises BadInput without an embedder, ModelUnavailable."""
        passages = await self.store.for_tenant(tenant).knowledge.all_passages()
        return await contradictions([p for p, _ in passages], self._embedder())

    async def stale(self, tenant: TenantId, period: Period | None = None) -> list[Stale]:
        """Entries that may be out of date; with a period also FAQ pairs that no answer in it used."""
        space = self.store.for_tenant(tenant)
        cited: dict[tuple[str, str], datetime] | None = None
        if period is not None and period.since is not None:
            replies = await space.ledger.talk(["reply_sent"], since=period.since, until=period.until, played=period.played)
            cited = {(c.source, c.title): r.at for r in replies if isinstance(r.event, ReplySent) for c in r.event.citations}
        return stale([p for p, _ in await space.knowledge.all_passages()], now=self._clock(), cited=cited)

    async def draft(self, tenant: TenantId, gap: str) -> Draft:
        """A drafted FAQ pair for an open gap. Raises NotFound, BadInput without an embedder, ModelUnavailable."""
        space = self.store.for_tenant(tenant)
        found = next((g for g in await space.desk.gaps(limit=1000) if g.id == gap), None)
        if found is None:
            raise NotFound("no such gap")
        events = await space.ledger.talk(["knowledge_gap_found", "agent_replied"])
        hits = await self.library.search(tenant, found.question, limit=3) if self.library is not None else []
        return await draft_faq(found.question, events, hits, self._embedder())

    async def recalls(self, tenant: TenantId, source: str, *, title: str = "", since: datetime | None = None) -> list[Told]:
        """Who was told text of a source that does not stand there any more, the newest first, each with a drafted correction."""
        space = self.store.for_tenant(tenant)
        told = await space.ledger.cited(source, title=title, since=since)
        served = self.tenants.get(tenant)
        return recalls(told, [p for p, _ in await space.knowledge.all_passages()], company=served.name if served else "")

    # --- help for agents ---

    async def help(self, tenant: TenantId, conversation: ConversationId) -> Help:
        """Everything beside one conversation for the agent who has it. Raises NotFound, ModelUnavailable."""
        space = self.store.for_tenant(tenant)
        await space.conversations.key_of(conversation)
        taught = await space.ledger.talk(["suggestion_judged"], limit=400)
        return await help_with(
            tenant,
            await self.events(tenant, conversation),
            library=self.library,
            embedder=self.embedder,
            sentiment=self.sentiment(),
            taught=[r.event for r in taught if isinstance(r.event, SuggestionJudged)],
            now=self._clock(),
        )

    async def wording(self, tenant: TenantId, text: str, conversation: ConversationId | None = None) -> list[Remark]:
        """What is better said otherwise in an agent's reply. Raises NotFound."""
        events: list[Recorded] = []
        if conversation is not None:
            await self.store.for_tenant(tenant).conversations.key_of(conversation)
            events = await self.events(tenant, conversation)
        asked = [r.event.text for r in events if isinstance(r.event, MessageReceived)]
        upset = bool(asked) and self.sentiment().of(asked[-1:])[0].score <= UPSET
        hits = await self.library.search(tenant, text, limit=3) if self.library is not None and text.strip() else []
        return check_wording(text, events, upset=upset, sources=[h.passage.text for h in hits])

    async def closing_note(self, tenant: TenantId, conversation: ConversationId, agent: str = "") -> str:
        """A note for the record. Raises NotFound."""
        await self.store.for_tenant(tenant).conversations.key_of(conversation)
        return closing_note(summarise(await self.events(tenant, conversation), now=self._clock()), agent)

    def _listener(self, setting: str) -> Listener | None:
        if setting.startswith(("http://", "https://")):
            return ByClassifier(setting, httpx.AsyncClient(timeout=10))
        if setting == "model" and self.model is not None:
            return ByModel(self.model, self.sentiment())
        if setting not in ("", "model"):
            raise BadInput(f"FRONTDESK_SENTIMENT cannot be {setting[:60]!r}: leave it empty, or give `model` or a URL")
        return None

    def _embedder(self) -> Embedder:
        if self.embedder is None:
            raise BadInput("this needs an embedding model, and the program runs without one: see FRONTDESK_EMBEDDINGS_URL")
        return self.embedder

    def sentiment(self) -> Sentiment:
        """The embedded head."""
        if self._sentiment is None:
            self._sentiment = Sentiment.load()
        return self._sentiment

    async def _score_for_ever(self) -> None:
        while True:
            for tenant in list(self.tenants):
                try:
                    await self.score_waiting(tenant)
                except FrontdeskError as problem:
                    log.warning("scores of %s: %s", tenant, problem)
                except Exception:
                    # As for the figures: nothing here may end the process.
                    log.exception("scoring %s stumbled and goes on", tenant)
            await asyncio.sleep(30)


def _bucket(name: str) -> timedelta:
    if name not in BUCKETS:
        raise BadInput(f"there is no bucket {name[:40]!r}: choose from {', '.join(BUCKETS)}")
    return BUCKETS[name]


def _cell(value: Any) -> Any:
    """A value for a spreadsheet. Customers' words must not become formulas there."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


def _verdict(score: ScoreRow, criterion: str, passes: float) -> bool | None:
    if not criterion:
        return score.passed
    value = next((c.get("value") for c in score.criteria if c.get("name") == criterion), None)
    return None if value is None else bool(value >= passes)
