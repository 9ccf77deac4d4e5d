"""Erasure and retention: the database, training data and files of the data folder, with a receipt in the audit chain that names nobody.

Reaches: the log and all that is derived from it, gaps, handoffs, staff's drafts, copies in rehearsals, proposals to learn from, examples in
the data of training runs, and exports that lie in the data folder below `exports/`. Does not reach: weights that were trained already (the
receipt names the runs to train again), topics of Kafka, backups, and files that somebody wrote elsewhere.
Files go first: when a crash comes between, the conversations are still there to be asked for again.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.tenancy import CustomerId, Tenant
from frontdesk.store.store import TenantStore

BATCH = 200
"""Conversations that are erased in one transaction."""
EXPORTS = "exports"
"""Folder below the data folder in which exports are kept and reached by an erasure."""
Forget = Callable[[str], Mapping[str, int]]
"""Takes a conversation out of training data; run -> examples that went."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was erased where, without a word about whom. `sha256` is over the rest; `audit` is the chain's head with it in."""

    id: str
    at: str
    reason: str
    conversations: int
    places: Mapping[str, int]
    retrain: tuple[str, ...]
    """Training runs that had learnt from what was erased."""
    sha256: str = ""
    audit: str = ""


class Eraser:
    """Erases in one data folder. `forget` reaches the training data; without it only the database and exports are reached."""

    def __init__(self, data: Path, *, forget: Forget | None = None) -> None:
        self._data = data
        self._forget = forget

    async def customer(self, store: TenantStore, customer: CustomerId, *, actor: str) -> Receipt:
        """Forget a customer. Raises StoreUnavailable."""
        return await self._erase(store, "customer", actor, customer=customer)

    async def conversation(self, store: TenantStore, id: ConversationId, *, actor: str) -> Receipt:
        """Forget one conversation. Raises StoreUnavailable."""
        return await self._erase(store, "conversation", actor, id=id)

    async def retain(self, store: TenantStore, tenant: Tenant, *, actor: str) -> Receipt | None:
        """Forget what the tenant keeps no longer; None when it keeps everything or nothing is that old."""
        days = tenant.retention.days
        if days is None or not await store.rights.older(days):
            return None
        return await self._erase(store, "retention", actor, older_than_days=days)

    async def _erase(
        self,
        store: TenantStore,
        reason: str,
        actor: str,
        *,
        customer: CustomerId | None = None,
        id: ConversationId | None = None,
        older_than_days: int | None = None,
    ) -> Receipt:
        places: Counter[str] = Counter()
        retrain: set[str] = set()
        while ids := await store.rights.conversations(customer=customer, id=id, older_than_days=older_than_days, limit=BATCH):
            found, runs = await asyncio.to_thread(self._files, ids, await store.rights.proposed(ids))
            places.update(found)
            retrain |= runs
            gone = await store.rights.erase(ids)
            places.update(gone)
            if not gone["conversations"]:
                break  # another erasure got there first
        return await _kept(store, actor, _receipt(reason, places, retrain))

    def _files(self, ids: Sequence[ConversationId], questions: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        runs: Counter[str] = Counter()
        for id in ids if self._forget else ():
            runs.update(self._forget(id))  # type: ignore[misc]
        exported = sum(_without(path, set(ids)) for path in _files_below(self._data / EXPORTS))
        learnt = sum(_without(path, set(questions)) for path in _files_below(self._data / "improve", ".jsonl")) if questions else 0
        return {"training_examples": sum(runs.values()) + learnt, "export_rows": exported}, set(runs)


def _receipt(reason: str, places: Mapping[str, int], retrain: Iterable[str]) -> Receipt:
    receipt = Receipt(
        id=f"er_{secrets.token_hex(8)}",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason,
        conversations=places.get("conversations", 0),
        places={name: count for name, count in sorted(places.items()) if count and name != "conversations"},
        retrain=tuple(sorted(retrain)),
    )
    return replace(receipt, sha256=digest(vars(receipt)))


def digest(body: Mapping[str, object]) -> str:
    """SHA-256, in hex, of a receipt without its `sha256` and `audit`."""
    plain = {name: value for name, value in body.items() if name not in ("sha256", "audit")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def _kept(store: TenantStore, actor: str, receipt: Receipt) -> Receipt:
    detail = {k: v for k, v in vars(receipt).items() if k != "audit"}
    head = await store.desk.audit(actor=actor, action=f"{receipt.reason}.erase", subject=receipt.id, detail=detail)
    return replace(receipt, audit=head)


# --- files ---


def _files_below(folder: Path, *suffixes: str) -> list[Path]:
    wanted = suffixes or (".csv", ".jsonl", ".json", ".parquet")
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.suffix in wanted) if folder.is_dir() else []


def _without(path: Path, named: Set[str]) -> int:
    """Take the rows that name one of these out of an export; how many. A form without lines is deleted whole when it names one."""
    if path.suffix == ".parquet":
        return _without_parquet(path, named)
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        kept = [row for row in rows if not named & set(row)]
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\r\n" if "\r\n" in text else "\n").writerows(kept)
        gone, left = len(rows) - len(kept), out.getvalue()
    else:
        lines = text.splitlines(keepends=True)
        remaining = [line for line in lines if not _names(line, named)]
        gone, left = len(lines) - len(remaining), "".join(remaining)
    if gone:
        part = path.with_name(f".{path.name}.part")
        part.write_text(left, encoding="utf-8", errors="surrogateescape", newline="")
        part.replace(path)
    return gone


def _names(line: str, named: Set[str]) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return any(name in line for name in named)
    return isinstance(row, dict) and bool(named & {v for v in row.values() if isinstance(v, str)})


def _without_parquet(path: Path, named: Set[str]) -> int:
    import duckdb

    with duckdb.connect() as base:
        source = str(path).replace("'", "''")
        columns = {row[0] for row in base.execute(f"describe select * from read_parquet('{source}')").fetchall()}  # noqa: S608 - our own path
        if "conversation" not in columns:
            return 0
        asked = list(named)
        found = base.execute(f"select count(*) from read_parquet('{source}') where conversation in (select unnest(?))", [asked]).fetchone()  # noqa: S608
        gone = int(found[0]) if found else 0
        if gone:
            part = path.with_name(f".{path.name}.part")
            target = str(part).replace("'", "''")
            base.execute("create table gone as select unnest(?) as id", [asked])
            base.execute(
                f"copy (select * from read_parquet('{source}') where conversation is null or conversation not in (select id from gone))"  # noqa: S608
                f" to '{target}' (format parquet)"
            )
            part.replace(path)
    return gone
