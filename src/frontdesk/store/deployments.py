"""Which adapters serve a tenant, with every version that ever did; and proposals for its knowledge. One serves, at most one is tried beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput, NotFound
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

_SQL = load("deployments")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One version of a tenant's tuned model."""

    version: int
    name: str
    adapter: str
    """Id of the adapter in the model server."""
    folder: str
    """Where its files lie, below the data folder's `adapters/`."""
    manifest: Mapping[str, Any]
    state: str
    """serving, canary, retired (replaced by a newer one) or withdrawn (taken back)."""
    share: float
    actor: str
    note: str
    created_at: datetime
    changed_at: datetime

    @property
    def label(self) -> str:
        """`name@version`, as events name it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A question and its answer (empty: still to be written) that may become knowledge once an operator says yes."""

    id: str
    kind: str
    """faq, or example (for training alone)."""
    source: str
    """gap, draft, agent or rehearsal."""
    question: str
    answer: str
    conversation: str
    count: int
    state: str
    decided_by: str
    created_at: datetime
    decided_at: datetime | None


class Deployments:
    """All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def all(self) -> list[Deployment]:
        """Every version, the newest first."""
        (rows,) = await self._database.read(self._tenant, self._step("all"))
        return [Deployment(**row._asdict()) for row in rows]

    async def live(self) -> list[Deployment]:
        """The one that serves and the one that is tried, as far as there are."""
        (rows,) = await self._database.read(self._tenant, self._step("live"))
        return [Deployment(**row._asdict()) for row in rows]

    async def add(
        self, *, name: str, adapter: str, folder: str, manifest: Mapping[str, Any], share: float = 1.0, actor: str, note: str = ""
    ) -> Deployment:
        """Put a new version into service; with `share` below 1 beside the one that serves. Raises BadInput for a share outside (0, 1]."""
        if not 0 < share <= 1:
            raise BadInput(f"a share of {share:g} is no share of conversations: give a number above 0 and up to 1")
        canary = share < 1
        steps = [
            self._step("lock"),
            self._step("leave", to="withdrawn", states=["canary"]),
            *([] if canary else [self._step("leave", to="retired", states=["serving"])]),
            self._step(
                "add",
                name=name,
                adapter=adapter,
                folder=folder,
                manifest=json_text(dict(manifest)),
                state="canary" if canary else "serving",
                share=share,
                actor=actor,
                note=note,
            ),
        ]
        results = await self._database.run(self._tenant, *steps)
        return Deployment(**results[-1][0]._asdict())

    async def promote(self) -> Deployment:
        """The canary serves everybody from now on. Raises NotFound when there is none."""
        results = await self._database.run(self._tenant, self._step("lock"), self._step("retire_for_canary"), self._step("promote"))
        if not results[-1]:
            raise NotFound(
                f"{self._tenant} has no canary: deploy one with `frontdesk models deploy NAME --tenant {self._tenant} --canary 0.1`"
            )
        return Deployment(**results[-1][0]._asdict())

    async def rollback(self) -> Deployment | None:
        """Take back the canary or, without one, the version that serves: the one before it serves again. None: the base model alone does.

        Raises NotFound when nothing is deployed.
        """
        live = {d.state: d for d in await self.live()}
        if not live:
            raise NotFound(f"nothing is deployed for {self._tenant}: its desk uses the base model")
        if "canary" in live:
            await self._database.run(self._tenant, self._step("lock"), self._step("leave", to="withdrawn", states=["canary"]))
            return live.get("serving")
        steps = [self._step("lock"), self._step("leave", to="withdrawn", states=["serving"]), self._step("bring_back")]
        results = await self._database.run(self._tenant, *steps)
        return Deployment(**results[-1][0]._asdict()) if results[-1] else None

    async def propose(self, *, kind: str, source: str, question: str, answer: str = "", conversation: str = "", count: int = 1) -> bool:
        """Keep a proposal; True when it is new. One that was refused stays refused."""
        folded = " ".join(question.lower().split()).strip(" ?!.")
        id = hashlib.sha256(f"{kind} {folded}".encode()).hexdigest()[:12]
        step = self._step(
            "propose", id=id, kind=kind, source=source, question=question, answer=answer, conversation=conversation, count=count
        )
        (rows,) = await self._database.run(self._tenant, step)
        return bool(rows[0].fresh)

    async def proposals(self, states: Sequence[str] = ("open",), *, limit: int = 500) -> list[Proposal]:
        """Proposals in these states (open, accepted, refused), the most asked first."""
        (rows,) = await self._database.read(self._tenant, self._step("proposals", states=list(states), limit=limit))
        return [Proposal(**row._asdict()) for row in rows]

    async def decide(self, proposal: str, *, accept: bool, actor: str, answer: str | None = None) -> Proposal:
        """An operator's yes or no, with the answer in his own words where he gives one. Raises NotFound for one that is not open."""
        step = self._step("decide", id=proposal, state="accepted" if accept else "refused", actor=actor, answer=answer)
        (rows,) = await self._database.run(self._tenant, step)
        if not rows:
            raise NotFound(f"{self._tenant} has no open proposal {proposal!r}: `frontdesk improve {self._tenant} --list` shows them")
        return Proposal(**rows[0]._asdict())

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}
