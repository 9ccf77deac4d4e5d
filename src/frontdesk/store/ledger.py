"""What is worked out from the log of one tenant: the ledger's rows, tones, scores and labels. Computes nothing itself.

A consumer's progress and what it wrote are one transaction, so that no event is counted twice or left out, whoever crashes when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import Recorded
from frontdesk.domain.tenancy import CustomerId, TenantId
from frontdesk.errors import Conflict
from frontdesk.store.conversations import recorded
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

_SQL = load("ledger")
_MOST = 1_000_000

RowData = Mapping[str, Any]
"""One row of the ledger as JSON values; times as ISO 8601."""
Change = Callable[[int, Sequence[RowData]], Sequence[RowData]]
"""From the position reached before and the rows as they were, the rows to write."""


@dataclass(frozen=True, kw_only=True)
class ToneRow:
    """How one utterance sounds; `score` in [-1, 1]."""

    conversation: ConversationId
    seq: int
    at: datetime
    speaker: str
    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class MoodRow:
    """Average of the tones of one speaker in one stretch of time. `part`: the channel, intent, ... asked for, else empty."""

    at: datetime
    speaker: str
    part: str
    score: float
    utterances: int
    negative: int


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """The newest score of a conversation. `total` in [0, 1]; `criteria` as `analytics.score` wrote them."""

    conversation: ConversationId
    seq: int
    rubric: str
    judge: str
    at: datetime | None
    total: float | None
    passed: bool | None
    flags: Sequence[str]
    criteria: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """What a person said about a conversation, or about one criterion of it."""

    conversation: ConversationId
    criterion: str
    passed: bool
    note: str
    by: str
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One conversation of a known customer."""

    customer: CustomerId
    opened_at: datetime
    last_at: datetime
    conversation: ConversationId


class Ledger:
    """All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def position(self, name: str) -> int:
        """Up to which position of the log this consumer has worked."""
        (rows,) = await self._database.read(self._tenant, self._step("position", name=name))
        return int(rows[0].position) if rows else 0

    async def advance(self, name: str, upto: int, ids: Sequence[ConversationId], change: Change) -> None:
        """Rewrite the rows of these conversations and note the position, all or nothing. Does nothing when another was there first.

        Raises Conflict when a conversation was erased meanwhile: read again.
        """
        try:
            async with self._database.transaction(self._tenant) as connection:
                before = await (await connection.execute(*self._step("hold", name=name))).fetchone()
                reached = int(before.position) if before else 0
                if reached >= upto:
                    return
                rows = await (await connection.execute(*self._step("opened", ids=list(ids)))).fetchall()
                known = [{"customer": r.customer, "channel": r.channel, "opened_at": r.opened_at.isoformat(), "conversation": r.conversation, **(r.row or {})} for r in rows]  # fmt: skip
                changed = [{**row, "tenant": self._tenant} for row in change(reached, known)]
                if changed:
                    await connection.execute(*self._step("drop_rows", ids=[row["conversation"] for row in changed]))
                    await connection.execute(*self._step("write_rows", rows=json_text(changed)))
                await connection.execute(*self._step("moved", name=name, position=upto))
        except psycopg.errors.ForeignKeyViolation as error:
            raise Conflict("a conversation was erased while it was counted: read it again") from error

    async def hear(self, name: str, upto: int, tones: Sequence[ToneRow]) -> None:
        """Keep tones and note the position."""
        rows = [{"conversation": t.conversation, "seq": t.seq, "at": t.at.isoformat(), "speaker": t.speaker, "label": t.label, "score": t.score} for t in tones]  # fmt: skip
        steps = [self._step("hold", name=name)]
        if rows:
            steps.append(self._step("write_tones", rows=json_text(rows)))
        try:
            await self._database.run(self._tenant, *steps, self._step("moved", name=name, position=upto))
        except psycopg.errors.ForeignKeyViolation as error:
            raise Conflict("a conversation was erased while it was heard: read it again") from error

    async def clear(self, name: str, *, tones: bool = False) -> None:
        """Forget what a consumer wrote and where it was, so that it begins again."""
        await self._database.run(self._tenant, self._step("clear_tones" if tones else "clear"), self._step("reset", name=name))

    async def rows(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        channel: str | None = None,
        intent: str | None = None,
        topic: str | None = None,
        desk: str | None = None,
        model: str | None = None,
        played: bool | None = None,
        ids: Sequence[ConversationId] | None = None,
        limit: int = _MOST,
    ) -> list[RowData]:
        """Rows of conversations opened in [since, until), the newest first. `played`: rehearsed ones alone, or none of them."""
        step = self._step(
            "rows", since=since, until=until, channel=channel, intent=intent, topic=topic, desk=desk, model=model, played=played,
            ids=None if ids is None else list(ids), limit=limit,
        )  # fmt: skip
        (rows,) = await self._database.read(self._tenant, step)
        return [row.row for row in rows]

    async def visits(self, *, since: datetime) -> list[Visit]:
        """Conversations of known customers opened since then, in order of time."""
        (rows,) = await self._database.read(self._tenant, self._step("visits", since=since))
        return [Visit(**row._asdict()) for row in rows]

    async def tones(self, ids: Sequence[ConversationId]) -> list[ToneRow]:
        """Tones of these conversations, in order."""
        (rows,) = await self._database.read(self._tenant, self._step("tones", ids=list(ids)))
        return [ToneRow(**row._asdict()) for row in rows]

    async def mood(
        self,
        *,
        seconds: float,
        by: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        channel: str | None = None,
        played: bool | None = None,
    ) -> list[MoodRow]:
        """Average tone over time, in stretches of `seconds`; `by`: channel, intent, topic, desk, model or nothing."""
        step = self._step("mood", seconds=seconds, by=by, since=since, until=until, channel=channel, played=played)
        (rows,) = await self._database.read(self._tenant, step)
        return [MoodRow(**row._asdict()) for row in rows]

    async def keep_score(self, score: ScoreRow) -> None:
        """Keep a conversation's newest score."""
        await self._database.run(
            self._tenant,
            self._step(
                "write_score",
                conversation=score.conversation,
                seq=score.seq,
                rubric=score.rubric,
                judge=score.judge,
                total=score.total,
                passed=score.passed,
                flags=list(score.flags),
                criteria=json_text(list(score.criteria)),
            ),
        )

    async def scores(
        self,
        *,
        ids: Sequence[ConversationId] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        flag: str | None = None,
        played: bool | None = None,
        limit: int = _MOST,
    ) -> list[ScoreRow]:
        """Scores, the lowest first."""
        step = self._step("scores", ids=None if ids is None else list(ids), since=since, until=until, flag=flag, played=played, limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [ScoreRow(**row._asdict()) for row in rows]

    async def unscored(self, *, rubric: str, quiet: datetime, rehearsed: datetime | None = None, limit: int = 200) -> list[ConversationId]:
        """Conversations without an up-to-date score in which nothing happened since `quiet`; in rehearsed ones, since `rehearsed`."""
        step = self._step("unscored", rubric=rubric, quiet=quiet, rehearsed=rehearsed or quiet, limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [ConversationId(row.conversation) for row in rows]

    async def label(self, conversation: ConversationId, *, criterion: str, passed: bool, note: str = "", by: str) -> bool:
        """Keep what a person says; False when there is no such conversation."""
        step = self._step("write_label", conversation=conversation, criterion=criterion, passed=passed, note=note, by=by)
        (rows,) = await self._database.run(self._tenant, step)
        return bool(rows)

    async def unlabel(self, conversation: ConversationId, *, criterion: str) -> bool:
        """Take a label back; False when there is none."""
        (rows,) = await self._database.run(self._tenant, self._step("drop_label", conversation=conversation, criterion=criterion))
        return bool(rows)

    async def labels(self, *, limit: int = _MOST) -> list[LabelRow]:
        """Labels, the newest first."""
        (rows,) = await self._database.read(self._tenant, self._step("labels", limit=limit))
        return [LabelRow(**row._asdict()) for row in rows]

    async def to_label(self, *, played: bool | None = None, limit: int = 50, seed: int = 7) -> list[ConversationId]:
        """Scored conversations that nobody labelled yet, drawn by lot."""
        (rows,) = await self._database.read(self._tenant, self._step("to_label", played=played, limit=limit, seed=seed))
        return [ConversationId(row.conversation) for row in rows]

    async def talk(
        self,
        kinds: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        played: bool | None = None,
        limit: int = 20_000,
    ) -> list[Recorded]:
        """Events of these kinds in conversations opened in [since, until), the newest first."""
        step = self._step("talk", kinds=list(kinds), since=since, until=until, played=played, limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [recorded(row, self._tenant) for row in rows]

    async def cited(
        self, source: str, *, title: str = "", since: datetime | None = None, limit: int = 10_000
    ) -> list[tuple[Recorded, CustomerId | None]]:
        """Replies that cite a source (and title), with whom they were given to, the newest first."""
        wanted = [{"source": source, **({"title": title} if title else {})}]
        (rows,) = await self._database.read(self._tenant, self._step("cited", source=json_text(wanted), since=since, limit=limit))
        return [(recorded(row, self._tenant), row.customer) for row in rows]

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}
