"""The native API on what the log says: figures down to their conversations, moods, summaries, scores and labels. Operator keys only.

Customers add one thing themselves: how it went.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from frontdesk.analytics import metrics
from frontdesk.analytics.metrics import Reading, Report, Seen
from frontdesk.analytics.service import Inside, Period
from frontdesk.analytics.summary import CustomerSummary, Statement, Summary
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.events import CustomerRated
from frontdesk.domain.tenancy import Caller, CustomerId, Role
from frontdesk.errors import NotFound
from frontdesk.server.access import AnyCaller, Desk, Operator, Shared
from frontdesk.server.problems import NOWHERE, BadField
from frontdesk.server.views import Given
from frontdesk.server.wording import customer_message, plain_id
from frontdesk.store.store import TenantStore

router = APIRouter(prefix="/api", tags=["insight"])
Limit = Annotated[int, Query(ge=1, le=1000)]
Name = Annotated[str, Query(max_length=200)]


def period_of(
    since: datetime | None = None,
    until: datetime | None = None,
    channel: Name | None = None,
    intent: Name | None = None,
    topic: Name | None = None,
    version: Annotated[str | None, Query(max_length=200, description="Version of the desk.")] = None,
    model: Name | None = None,
    days: Annotated[int, Query(ge=1, le=90, description="Days within which coming back counts.")] = metrics.DAYS,
    whose: Annotated[
        str, Query(max_length=20, description="customers, rehearsals or all; a channel that is named goes before it.")
    ] = "customers",
) -> Period:
    """Which conversations are looked at, from the query."""
    return Period(
        since=_utc(since), until=_utc(until), channel=channel, intent=intent, topic=topic, desk=version, model=model, days=days, whose=whose
    )  # fmt: skip


Chosen = Annotated[Period, Depends(period_of)]


class FigureOut(BaseModel):
    """A figure with what it is taken among; `low` and `high` bound a share (95 %)."""

    name: str
    title: str
    unit: str
    told: str
    value: float | None
    count: int
    among: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, reading: Reading) -> FigureOut:
        """A reading with its definition."""
        f = reading.figure
        return cls(
            name=f.name, title=f.title, unit=f.unit, told=f.told, value=reading.value, count=reading.count, among=reading.among,
            low=reading.low, high=reading.high,
        )  # fmt: skip


class ReportOut(BaseModel):
    """Every figure over a period."""

    conversations: int
    outcomes: dict[str, int]
    figures: list[FigureOut]

    @classmethod
    def of(cls, report: Report) -> ReportOut:
        """The report, for reading."""
        return cls(conversations=report.conversations, outcomes=dict(report.outcomes), figures=[FigureOut.of(r) for r in report.readings])


class PointOut(BaseModel):
    """A figure in one stretch of time, or of one part."""

    at: datetime | None = None
    part: str = ""
    value: float | None
    count: int
    among: int


class SeenOut(BaseModel):
    """A conversation behind a figure."""

    conversation_id: str
    opened_at: datetime
    customer: str | None
    channel: str
    intent: str
    topic: str
    outcome: str
    returned: bool | None
    rating: int | None
    messages: int

    @classmethod
    def of(cls, seen: Seen) -> SeenOut:
        """The row, for reading."""
        r = seen.row
        return cls(
            conversation_id=r.conversation, opened_at=r.opened_at, customer=r.customer, channel=r.channel, intent=r.intent, topic=r.topic,
            outcome=seen.outcome.value, returned=seen.returned, rating=r.rating, messages=r.messages,
        )  # fmt: skip


class MoodOut(BaseModel):
    """The average tone of one speaker in one stretch of time, from -1 to 1."""

    at: datetime
    speaker: str
    part: str
    score: float
    utterances: int
    negative: int


class StatementOut(BaseModel):
    """One thing that holds, with the turns (from 1) and events that say so."""

    text: str
    turns: list[int]
    seqs: list[int]
    kind: str

    @classmethod
    def of(cls, s: Statement) -> StatementOut:
        """The statement, for reading."""
        return cls(text=s.text, turns=list(s.turns), seqs=list(s.seqs), kind=s.kind)


class SummaryOut(BaseModel):
    """A conversation, short."""

    reason: StatementOut
    done: list[StatementOut]
    ending: StatementOut
    promises: list[StatementOut]
    facts: list[StatementOut]
    phrased: str
    text: str

    @classmethod
    def of(cls, s: Summary) -> SummaryOut:
        """The summary, for reading."""
        return cls(
            reason=StatementOut.of(s.reason), done=[StatementOut.of(d) for d in s.done], ending=StatementOut.of(s.ending),
            promises=[StatementOut.of(p) for p in s.promises], facts=[StatementOut.of(f) for f in s.facts], phrased=s.phrased, text=s.text(),
        )  # fmt: skip


class InsideOut(BaseModel):
    """A conversation, read through."""

    conversation_id: str
    outcome: str
    counted: dict[str, Any]
    summary: SummaryOut
    tones: list[dict[str, Any]]
    trend: dict[str, Any]
    score: float | None
    passed: bool | None
    criteria: list[dict[str, Any]]
    flags: list[str]
    labels: list[dict[str, Any]]

    @classmethod
    def of(cls, id: str, inside: Inside) -> InsideOut:
        """The reading, for reading."""
        row = inside.row
        return cls(
            conversation_id=id,
            outcome=inside.outcome,
            counted={name: getattr(row, name) for name in metrics.COLUMNS} if row else {},
            summary=SummaryOut.of(inside.summary),
            tones=[{"seq": t.seq, "speaker": t.speaker, "label": t.label, "score": t.score} for t in inside.tones],
            trend={speaker: vars_of(t) for speaker, t in inside.trend.items()},
            score=inside.score.total,
            passed=inside.score.passed,
            criteria=inside.score.criteria(),
            flags=list(inside.score.flags),
            labels=[vars_of(b) for b in inside.labels],
        )


class CustomerOut(BaseModel):
    """What several conversations of a customer amount to."""

    conversations: int
    outcomes: dict[str, int]
    promises: list[dict[str, Any]]
    recurring: list[str]
    text: str

    @classmethod
    def of(cls, s: CustomerSummary) -> CustomerOut:
        """The summary, for reading."""
        promises = [{"conversation_id": id, **StatementOut.of(p).model_dump()} for id, p in s.promises]
        return cls(
            conversations=len(s.conversations), outcomes=dict(s.outcomes), promises=promises, recurring=list(s.recurring), text=s.text()
        )


class LabelIn(Given):
    """What a person says about a conversation, or about one criterion of it."""

    passed: bool
    criterion: Annotated[str, Field(max_length=60)] = ""
    note: Annotated[str, Field(max_length=2000)] = ""
    by: Annotated[str, Field(max_length=100)] = ""


class RatingIn(Given):
    """How it went: 1 (bad) to 5 (good), whether it is solved, and words."""

    score: Annotated[int, Field(ge=1, le=5)] | None = None
    solved: bool | None = None
    comment: str = ""


class RateOut(BaseModel):
    """A share with bounds."""

    value: float
    low: float
    high: float
    count: int
    among: int


class CutOut(BaseModel):
    """The total from which conversations would have to pass to fit the labels best, and its rates on those labels."""

    passes: float
    false_pass: RateOut
    false_fail: RateOut


class CalibrationOut(BaseModel):
    """How far the judge is to be trusted, and what that makes of the share it passes."""

    labelled: int
    false_pass: RateOut | None
    false_fail: RateOut | None
    apparent: RateOut | None
    corrected: RateOut | None
    advice: str
    cut: CutOut | None = None


@router.get("/figures")
async def read_figures(caller: Operator, desk: Shared, period: Chosen) -> ReportOut:
    """Every figure of the ledger over a period, with what it is taken among."""
    return ReportOut.of(await desk.analytics.report(caller.tenant, period))


@router.get("/figures/{figure}/series")
async def read_series(caller: Operator, desk: Shared, figure: str, period: Chosen, bucket: Name = "day") -> list[PointOut]:
    """One figure over time: by minute, hour, day or week."""
    points = await desk.analytics.series(caller.tenant, figure, bucket, period)
    return [PointOut(at=at, value=r.value, count=r.count, among=r.among) for at, r in points]


@router.get("/figures/{figure}/parts")
async def read_parts(caller: Operator, desk: Shared, figure: str, period: Chosen, by: Name = "channel") -> list[PointOut]:
    """One figure for each channel, intent, topic, desk or model."""
    parts = await desk.analytics.split(caller.tenant, figure, by, period)
    return [PointOut(part=part, value=r.value, count=r.count, among=r.among) for part, r in parts]


@router.get("/figures/{figure}/conversations")
async def read_behind(
    caller: Operator, desk: Shared, figure: str, period: Chosen, counted: bool = True, limit: Limit = 200
) -> list[SeenOut]:
    """The conversations that a figure counts, or those it is taken among."""
    return [SeenOut.of(s) for s in (await desk.analytics.behind(caller.tenant, figure, period, counted=counted))[:limit]]


@router.get("/ledger.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def export_ledger(caller: Operator, desk: Shared, period: Chosen, figure: Name = "") -> Response:
    """One line per conversation, or per one that the figure counts, as CSV."""
    text = await desk.analytics.export(caller.tenant, period, figure=figure)
    head = {"Content-Disposition": f'attachment; filename="{caller.tenant}-ledger.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=head)


@router.get("/mood")
async def read_mood(caller: Operator, desk: Shared, period: Chosen, bucket: Name = "hour", by: Name = "") -> list[MoodOut]:
    """Average sentiment over time, by speaker."""
    return [MoodOut(**vars_of(m)) for m in await desk.analytics.mood(caller.tenant, bucket, by=by, period=period)]


@router.get("/conversations/{conversation}/insight")
async def read_inside(caller: Operator, desk: Shared, conversation: str, phrased: bool = False) -> InsideOut:
    """One conversation read through: outcome, summary with turns, tones, trend, score with evidence."""
    inside = await desk.analytics.inside(caller.tenant, ConversationId(plain_id(conversation)), phrased=phrased)
    return InsideOut.of(conversation, inside)


@router.get("/customers/{customer}/summary")
async def read_customer(caller: Operator, desk: Shared, customer: str) -> CustomerOut:
    """What the latest conversations of a customer amount to."""
    if not customer.isprintable() or len(customer) > 200:
        raise NotFound(NOWHERE)
    return CustomerOut.of(await desk.analytics.customer(caller.tenant, CustomerId(customer)))


@router.get("/scores")
async def read_scores(caller: Operator, desk: Shared, period: Chosen, flag: Name | None = None, limit: Limit = 200) -> list[dict[str, Any]]:
    """Scores of conversations that are over, the lowest first."""
    return [vars_of(s) for s in await desk.analytics.scores(caller.tenant, period=period, flag=flag, limit=limit)]


@router.get("/labels/next")
async def read_next_labels(caller: Operator, desk: Shared, period: Chosen, limit: Limit = 50) -> list[str]:
    """Conversations to label next, drawn by lot; of customers, or of whose they shall be."""
    return [str(id) for id in await desk.analytics.to_label(caller.tenant, period, limit=limit)]


@router.put("/conversations/{conversation}/label", status_code=204)
async def put_label(caller: Operator, desk: Shared, conversation: str, body: LabelIn) -> None:
    """Says whether a conversation, or one criterion of it, was good."""
    identity = ConversationId(plain_id(conversation))
    await _audit(desk, caller, "conversation.label", conversation, passed=body.passed, criterion=body.criterion)
    by = body.by or str(caller.key)
    await desk.analytics.label(caller.tenant, identity, passed=body.passed, by=by, criterion=body.criterion, note=body.note)


@router.get("/calibration")
async def read_calibration(caller: Operator, desk: Shared, period: Chosen, criterion: Name = "") -> CalibrationOut:
    """How often the judge passes what people fail and the other way round, and the corrected share; of customers, or of whose they shall be."""
    found = await desk.analytics.calibration(caller.tenant, period, criterion=criterion)
    rates = {name: RateOut(**vars_of(r)) if (r := getattr(found, name)) else None for name in _RATES}
    cut = None
    if found.cut is not None:
        bounds = {name: RateOut(**vars_of(getattr(found.cut, name))) for name in ("false_pass", "false_fail")}
        cut = CutOut(passes=found.cut.passes, **bounds)
    return CalibrationOut(labelled=found.labelled, advice=found.advice, cut=cut, **rates)


@router.post("/conversations/{conversation}/rating", status_code=204)
async def rate(caller: AnyCaller, desk: Shared, conversation: str, body: RatingIn) -> None:
    """The customer says how it went; the last word counts."""
    if body.score is None and body.solved is None and not body.comment.strip():
        raise BadField("score: give a score from 1 to 5, or whether it is solved.", "score")
    identity, store = ConversationId(plain_id(conversation)), _store(desk, caller)
    comment = customer_message(body.comment, 2000, "comment") if body.comment.strip() else ""
    if caller.role is not Role.OPERATOR:
        await store.conversations.load(identity, key=caller.key, customer=caller.customer)
    else:
        await store.conversations.key_of(identity)
    rated = CustomerRated(score=body.score, solved=body.solved, comment=comment)
    await store.conversations.append(identity, TurnId(""), [rated])


_RATES = ("false_pass", "false_fail", "apparent", "corrected")


def vars_of(thing: Any) -> dict[str, Any]:
    """The fields of a dataclass as a plain dictionary."""
    return {name: _plain(getattr(thing, name)) for name in thing.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _store(desk: Desk, caller: Caller) -> TenantStore:
    return desk.office.store.for_tenant(caller.tenant)


async def _audit(desk: Desk, caller: Caller, action: str, subject: str, **detail: Any) -> None:
    await _store(desk, caller).desk.audit(actor=caller.key, action=action, subject=subject, detail=detail)
