"""Tasks with their reference calls and end states, as tau2-bench writes them, and where their files are. Reads; judges an end state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = (
    "cancel_pending_order",
    "exchange_delivered_order_items",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_pending_order_payment",
    "modify_user_address",
    "return_delivered_order_items",
)


@dataclass(frozen=True, kw_only=True)
class Action:
    """One reference call."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a customer wants, and the state in which the shop must end."""

    id: str
    known: str
    actions: tuple[Action, ...]
    communicate: tuple[str, ...]
    gold: Mapping[str, Mapping[str, Any]]
    """Records that must have changed, whole, by table and key; everything else as at the start."""

    @property
    def writes(self) -> tuple[Action, ...]:
        """The reference calls that act."""
        return tuple(a for a in self.actions if a.name in WRITES)


@dataclass(frozen=True, kw_only=True)
class Material:
    """The files of one run."""

    database: Path
    policy: Path
    tasks: tuple[Task, ...]


def load(data: Path, tasks: Path | None, gold: Path | None) -> Material:
    """Finds `db.json` in `data`, in its `retail` or in its `tau2_bench/retail`. Raises FileNotFoundError naming what is missing."""
    folder = next((f for f in (data, data / "retail", data / "tau2_bench" / "retail") if (f / "db.json").is_file()), None)
    if folder is None:
        raise FileNotFoundError(f"{data} holds no db.json, neither itself nor in retail/ or tau2_bench/retail/: give --data another folder")
    states = {str(r["task_id"]): _without_nulls(r.get("changed_records") or {}) for r in _rows(gold or folder / "gold_end_states.jsonl")}
    found = tuple(_task(r, states) for r in _rows(tasks or folder / "tasks.jsonl"))
    return Material(database=folder / "db.json", policy=folder / "policy.md", tasks=found)


def _task(row: Mapping[str, Any], states: Mapping[str, Any]) -> Task:
    id, wanted = str(row["id"]), row["evaluation_criteria"]
    if id not in states:
        raise FileNotFoundError(f"the file of end states has none for task {id}: give --gold the one that belongs to --tasks")
    told = row["user_scenario"]["instructions"]
    return Task(
        id=id,
        known=str(told.get("known_info") or "") if isinstance(told, Mapping) else str(told),
        actions=tuple(Action(name=a["name"], arguments=a["arguments"]) for a in wanted.get("actions") or ()),
        communicate=tuple(str(c) for c in wanted.get("communicate_info") or ()),
        gold=states[id],
    )


def _without_nulls(node: Any) -> Any:
    """Upstream writes fields that a record does not have as null."""
    if isinstance(node, dict):
        return {k: _without_nulls(v) for k, v in node.items() if v is not None}
    return [_without_nulls(v) for v in node] if isinstance(node, list) else node


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
