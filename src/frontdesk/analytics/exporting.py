"""A tenant's log as tables that others can read: messages, turns, events, outcomes, as CSV, JSON lines or Parquet, and SQL over them.

What is written can be read back without loss: columns have types, a text is never missing, times are ISO 8601 in UTC. In CSV a cell that a
spreadsheet would run as a formula is written with an apostrophe before it. A query sees copies of one tenant's tables and nothing else:
no file, no network, no second statement. Refuses what is not a SELECT.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from frontdesk.analytics.export_choices import Format, What
from frontdesk.analytics.metrics import COLUMNS
from frontdesk.analytics.metrics import Row as LedgerRow
from frontdesk.analytics.service import Analytics
from frontdesk.domain.events import (
    AgentReplied,
    DraftRejected,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    Recorded,
    ReplySent,
    ToolCalled,
    TurnFailed,
    kind_of,
    to_json,
)
from frontdesk.domain.folding import as_corrected
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.store.store import Store

Row = dict[str, Any]
Kind = Literal["text", "int", "float", "bool", "time", "json"]
_SQL: Mapping[Kind, str] = {"text": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "time": "TIMESTAMP", "json": "JSON"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
PAGE = 2_000
"""Events read at once."""


_PLACE: tuple[tuple[str, Kind], ...] = (("conversation", "text"), ("turn", "text"))
SCHEMA: Mapping[What, tuple[tuple[str, Kind], ...]] = {
    What.MESSAGES: (
        ("position", "int"), *_PLACE, ("seq", "int"), ("at", "time"), ("role", "text"), ("text", "text"), ("route", "text"),
        ("confidence", "float"), ("citations", "json"), ("tool_calls", "json"), ("handoff", "bool"), ("language", "text"),
    ),
    What.TURNS: (
        *_PLACE, ("at", "time"), ("message", "text"), ("reply", "text"), ("route", "text"), ("intent", "text"), ("confidence", "float"),
        ("seconds", "float"), ("calls", "int"), ("calls_failed", "int"), ("rejected", "int"), ("gaps", "int"), ("handoff", "bool"),
        ("failed", "text"),
    ),
    What.EVENTS: (("position", "int"), *_PLACE, ("seq", "int"), ("at", "time"), ("kind", "text"), ("event", "json")),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one kind, with the types of their columns."""

    columns: tuple[tuple[str, Kind], ...]
    rows: list[Row]


async def table(store: Store, analytics: Analytics, tenant: TenantId, what: What, *, after: int = 0) -> Table:
    """One table of a tenant, oldest first; of what happened after a position of the log where that is given."""
    if what is What.OUTCOMES:
        return await _outcomes(analytics, tenant)
    made: Callable[[Sequence[Recorded]], Iterable[Row]] = {What.MESSAGES: _messages, What.EVENTS: _events, What.TURNS: _turns}[what]
    events = [e async for e in _log(store, tenant, after)]
    return Table(columns=SCHEMA[what], rows=list(made(events if what is What.EVENTS else as_corrected(events))))


async def _log(store: Store, tenant: TenantId, after: int) -> AsyncIterator[Recorded]:
    while True:
        events, reached = await store.log.read(after=after, tenant=tenant, limit=PAGE)
        for event in events:
            yield event
        if not events or reached <= after:
            return
        after = max(reached, events[-1].position)


def _events(events: Sequence[Recorded]) -> Iterator[Row]:
    for r in events:
        yield {"position": r.position, **_place(r), "seq": r.seq, "at": _iso(r.at), "kind": kind_of(r.event), "event": to_json(r.event)}


def _messages(events: Sequence[Recorded]) -> Iterator[Row]:
    for r in events:
        said = r.event
        if not isinstance(said, MessageReceived | ReplySent | AgentReplied):
            continue
        reply = said if isinstance(said, ReplySent) else None
        row: Row = {"position": r.position, **_place(r), "seq": r.seq, "at": _iso(r.at)}
        row["role"] = "customer" if isinstance(said, MessageReceived) else "desk" if reply else "agent"
        row |= {"text": said.text, "route": reply.route.value if reply else "", "confidence": reply.confidence if reply else None}
        plain = to_json(reply) if reply else {}
        row |= {"citations": plain.get("citations", []), "tool_calls": plain.get("tool_calls", [])}
        yield row | {"handoff": reply.handoff if reply else None, "language": reply.language if reply else ""}


def _turns(events: Sequence[Recorded]) -> Iterator[Row]:
    turns: dict[tuple[str, str], list[Recorded]] = {}
    for r in events:
        turns.setdefault((r.conversation, r.turn), []).append(r)
    for (conversation, turn), said in turns.items():
        first = next((r for r in said if isinstance(r.event, MessageReceived)), None)
        if first is None:
            continue
        replied = next((r for r in said if isinstance(r.event, ReplySent)), None)
        reply = replied.event if replied is not None and isinstance(replied.event, ReplySent) else None
        intent = next((r.event for r in said if isinstance(r.event, IntentRecognized)), None)
        calls = [r.event.call for r in said if isinstance(r.event, ToolCalled)]
        failed = next((r.event for r in said if isinstance(r.event, TurnFailed)), None)
        yield {
            "conversation": conversation,
            "turn": turn,
            "at": _iso(first.at),
            "message": "\n".join(r.event.text for r in said if isinstance(r.event, MessageReceived)),
            "reply": reply.text if reply else "",
            "route": reply.route.value if reply else "",
            "intent": intent.name if intent else "",
            "confidence": reply.confidence if reply else None,
            "seconds": round((replied.at - first.at).total_seconds(), 6) if replied else None,
            "calls": len(calls),
            "calls_failed": sum(bool(c.error) for c in calls),
            "rejected": sum(isinstance(r.event, DraftRejected) for r in said),
            "gaps": sum(isinstance(r.event, KnowledgeGapFound) for r in said),
            "handoff": any(isinstance(r.event, HandedOff) for r in said),
            "failed": json.dumps(to_json(failed)) if failed else "",
        }


async def _outcomes(analytics: Analytics, tenant: TenantId) -> Table:
    columns = (
        *((name, _kind(LedgerRow.__annotations__[name])) for name in COLUMNS),
        ("outcome", _kind("str")),
        ("returned", _kind("bool")),
    )
    seen = await analytics.seen(tenant)
    values = [{**{name: getattr(s.row, name) for name in COLUMNS}, "outcome": s.outcome.value, "returned": s.returned} for s in seen]
    return Table(columns=columns, rows=[{name: _plain(row[name], kind) for name, kind in columns} for row in values])


def _kind(annotation: str) -> Kind:
    """The type of a column of the ledger."""
    kinds: Mapping[str, Kind] = {"datetime": "time", "bool": "bool", "int": "int", "float": "float"}
    return kinds.get(str(annotation).split(" ")[0], "text")


def _place(r: Recorded) -> Row:
    return {"conversation": str(r.conversation), "turn": str(r.turn)}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _plain(value: Any, kind: Kind) -> Any:
    if value is None:
        return "" if kind == "text" else None
    return _iso(value) if kind == "time" else str(value) if kind == "text" else value


# --- files ---


def write(made: Table, path: Path, form: Format) -> None:
    """Writes a table whole or not at all: a file that is there has all its rows."""
    part = path.with_name(f".{path.name}.part")
    try:
        if form is Format.PARQUET:
            _write_parquet(made, part)
        else:
            part.write_text(text(made, form), encoding="utf-8", newline="")
        part.replace(path)
    except (OSError, duckdb.IOException) as e:
        part.unlink(missing_ok=True)
        raise BadInput(f"{path} cannot be written: name a file in a folder that exists, on a disk with room") from e


def text(made: Table, form: Format) -> str:
    """A table as CSV or JSON lines."""
    if form is Format.JSONL:
        return "".join(json.dumps({name: row[name] for name, _ in made.columns}, ensure_ascii=False) + "\n" for row in made.rows)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([name for name, _ in made.columns])
    writer.writerows([_cell(row[name], kind) for name, kind in made.columns] for row in made.rows)
    return out.getvalue()


def _cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    if kind == "bool":
        return "true" if value else "false"
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    plain = str(value)
    return f"'{plain}" if kind == "text" and plain.startswith(_FORMULA) else plain


def _write_parquet(made: Table, path: Path) -> None:
    with duckdb.connect() as db:
        _fill(db, "made", made)
        db.execute("COPY made TO $path (FORMAT parquet)", {"path": str(path)})


def read(path: Path, form: Format, columns: Sequence[tuple[str, Kind]]) -> list[Row]:
    """The rows that `write` wrote. Raises BadInput for another kind of file."""
    try:
        if form is Format.CSV:
            with path.open(newline="", encoding="utf-8") as file:
                heading, *lines = csv.reader(file)
                list(_named(columns, heading, heading))  # a file without rows is looked at too
                return [{name: _uncell(cell, kind) for (name, kind), cell in _named(columns, heading, line)} for line in lines]
        if form is Format.JSONL:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        with duckdb.connect() as db:
            found = db.execute("SELECT * FROM read_parquet($path)", {"path": str(path)}).fetchall()
            return [{n: _unparquet(v, kind) for (n, kind), v in zip(columns, row, strict=True)} for row in found]
    except (OSError, ValueError, KeyError, duckdb.Error) as e:
        raise BadInput(f"{path} is not a {form.value} file that `frontdesk export` wrote: export it again") from e


def _named(columns: Sequence[tuple[str, Kind]], heading: Sequence[str], line: Sequence[str]) -> Iterator[tuple[tuple[str, Kind], str]]:
    """Each cell with its column. Raises ValueError when the file has other columns."""
    for column, name, cell in zip(columns, heading, line, strict=True):
        if column[0] != name:
            raise ValueError(name)
        yield column, cell


def _uncell(cell: str, kind: Kind) -> Any:
    if kind == "text":
        return cell[1:] if cell.startswith("'") else cell
    if cell == "":
        return None
    if kind == "bool":
        return cell == "true"
    reads: Mapping[Kind, Callable[[str], Any]] = {"int": int, "float": float, "json": json.loads, "time": str}
    return reads[kind](cell)


def _unparquet(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    return json.loads(value) if kind == "json" else _iso(value.replace(tzinfo=UTC)) if kind == "time" else value


def _fill(db: duckdb.DuckDBPyConnection, name: str, made: Table) -> None:
    """A table of the database with these rows. The name and the columns are ours, never a customer's."""
    typed = ", ".join(f'"{column}" {_SQL[kind]}' for column, kind in made.columns)
    db.execute(f"CREATE TABLE {name} ({typed})")
    if not made.rows:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text(text(made, Format.JSONL), encoding="utf-8")
        types = {column: _SQL[kind] for column, kind in made.columns}
        db.execute(
            f"INSERT INTO {name} SELECT * FROM read_json($path, format='newline_delimited', columns={types!r}, maximum_object_size=67108864)",  # noqa: S608 - ours
            {"path": str(path)},
        )


# --- queries ---


def query(tables: Mapping[What, Table], sql: str, *, limit: int = 10_000) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and at most `limit` rows of one SELECT over the tables. Raises BadInput for anything else."""
    with duckdb.connect() as db:
        for what, made in tables.items():
            _fill(db, what.value, made)
        db.execute("SET enable_external_access=false")
        db.execute("SET lock_configuration=true")
        try:
            statements = db.extract_statements(sql)
            if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
                raise BadInput("only one SELECT is run, over the tables messages, turns, events and outcomes")
            found = db.execute(statements[0])
            return [column[0] for column in found.description or ()], found.fetchmany(limit)
        except duckdb.Error as e:
            raise BadInput(f"the query cannot be run: {str(e).splitlines()[0]}") from e
