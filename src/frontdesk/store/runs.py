"""Training runs of a tenant: their states, heartbeats and results. A state changes only from those it may follow, so two supervisors never both win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import Conflict, NotFound
from frontdesk.store.database import Database, Step, clean, json_text
from frontdesk.store.queries import load

_SQL = load("runs")


class RunState(StrEnum):
    """Where a run is. The last three are final, unless it is resumed."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """Whether nothing happens any more by itself."""
        return self in (RunState.COMPLETED, RunState.STOPPED, RunState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run. `report` and `curves` are only there when one run is asked for."""

    name: str
    recipe: str
    model: str
    state: RunState
    config: Mapping[str, Any]
    folder: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    heartbeat_at: datetime | None
    step: int
    steps: int
    loss: float | None
    score: float | None
    phase: str
    message: str
    """Why it failed or stopped: a sentence, or the last lines of a crash."""
    report: Mapping[str, Any] | None
    curves: Sequence[Mapping[str, Any]] | None
    silent_seconds: float
    """Since the last heartbeat, or since it was recorded, by the database's clock."""


class TrainingRuns:
    """All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def create(self, *, name: str, recipe: str, model: str, config: Mapping[str, Any], folder: str) -> None:
        """A new run in PENDING. Raises Conflict when the name is taken."""
        step = self._step("create", name=name, recipe=recipe, model=model, config=json_text(dict(config)), folder=folder)
        (rows,) = await self._database.run(self._tenant, step)
        if not rows:
            raise Conflict(
                f"there is a run called {name!r} already: delete it with `frontdesk train delete {name}`, or choose another name"
            )

    async def get(self, name: str) -> Run:
        """Raises NotFound."""
        (rows,) = await self._database.read(self._tenant, self._step("get", name=name))
        if not rows:
            raise NotFound(f"there is no run called {name!r}: `frontdesk train get runs` lists them")
        return _run(rows[0])

    async def list(self, *, limit: int = 200) -> list[Run]:
        """The newest first."""
        (rows,) = await self._database.read(self._tenant, self._step("list", limit=limit))
        return [_run(row) for row in rows]

    async def move(self, name: str, state: RunState, *, expected: Sequence[RunState], message: str = "") -> bool:
        """Change the state if it is one of `expected`; False when it was another."""
        step = self._step("move", name=name, state=state.value, expected=[s.value for s in expected], message=clean(message))
        (rows,) = await self._database.run(self._tenant, step)
        return bool(rows)

    async def beat(self, name: str, *, step: int, steps: int, loss: float | None, score: float | None, phase: str) -> None:
        """A sign of life, with how far it is."""
        values = {"step": step, "steps": steps, "loss": loss, "score": score, "phase": phase}
        await self._database.run(self._tenant, self._step("beat", name=name, **values))

    async def put_report(self, name: str, report: Mapping[str, Any], curves: Sequence[Mapping[str, Any]]) -> None:
        """What was measured, and the curves."""
        values = {"report": json_text(dict(report)), "curves": json_text(list(curves))}
        await self._database.run(self._tenant, self._step("report", name=name, **values))

    async def delete(self, name: str) -> bool:
        """Forget a run; False when there is none."""
        (rows,) = await self._database.run(self._tenant, self._step("delete", name=name))
        return bool(rows)

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}


def _run(row: Any) -> Run:
    return Run(**{**row._asdict(), "state": RunState(row.state)})
