"""A canary beside the version that serves: the same desk, the same time, conversations drawn by their id. Decides nothing on few conversations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from frontdesk.domain.conversation import ConversationId, Route
from frontdesk.domain.events import DraftRejected, Event, HandedOff, MessageReceived, ModelPhrased, ReplySent, TurnFailed
from frontdesk.errors import NotFound
from frontdesk.models.tuned import drawn
from frontdesk.store.store import TenantStore

ENOUGH = 30
"""Conversations of each kind from which a comparison says anything."""
WORSE = 0.05
"""By how much a share may be worse before the canary is taken back."""
MOST = 5_000


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What happened in the conversations of one version."""

    label: str
    conversations: int = 0
    turns: int = 0
    worded: int = 0
    """Drafts by the tuned model."""
    objected: int = 0
    """Of those, what the guardrails did not let through."""
    unanswered: int = 0
    handed_off: int = 0
    failed: int = 0
    milliseconds: float = 0.0
    """Of all drafts together."""

    @property
    def kept(self) -> float:
        """Share of the tuned model's drafts that were shown."""
        return 1 - self.objected / self.worded if self.worded else 0.0

    def figures(self) -> dict[str, float | int | str]:
        """For people and programs; shares are of turns or conversations."""
        turns, conversations = max(1, self.turns), max(1, self.conversations)
        return {
            "version": self.label,
            "conversations": self.conversations,
            "turns": self.turns,
            "worded": self.worded,
            "kept": round(self.kept, 3),
            "unanswered": round(self.unanswered / turns, 3),
            "handed_off": round(self.handed_off / conversations, 3),
            "failed": round(self.failed / turns, 3),
            "milliseconds": round(self.milliseconds / max(1, self.worded), 1),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both arms and what follows: `promote`, `roll back` or `wait`, with the reason."""

    serving: Arm
    canary: Arm
    verdict: str
    reason: str


async def compare(store: TenantStore) -> Comparison:
    """The canary against what serves, over the conversations since it was deployed. Raises NotFound without a canary."""
    live = {d.state: d for d in await store.deployments.live()}
    if "canary" not in live:
        raise NotFound(f"{store.tenant} has no canary: deploy one with `frontdesk models deploy NAME --tenant {store.tenant} --canary 0.1`")
    canary = live["canary"]
    arms = {True: Arm(label=canary.label), False: Arm(label=live["serving"].label if "serving" in live else "base model")}
    for id in await _since(store, canary.changed_at):
        mine = drawn(id) < canary.share
        events = [r.event for r in await store.conversations.events(id, limit=10_000) if r.at >= canary.changed_at]
        arms[mine] = _counted(arms[mine], events)
    verdict, reason = judge(arms[False], arms[True])
    return Comparison(serving=arms[False], canary=arms[True], verdict=verdict, reason=reason)


def judge(serving: Arm, canary: Arm) -> tuple[str, str]:
    """What to do, and why."""
    few = min(serving.conversations, canary.conversations)
    if few < ENOUGH:
        return "wait", f"only {few} conversations of one of the two so far; {ENOUGH} are needed"
    theirs, mine = serving.figures(), canary.figures()
    for name in ("unanswered", "handed_off", "failed"):
        if float(mine[name]) > float(theirs[name]) + WORSE:
            return "roll back", f"{name.replace('_', ' ')}: {mine[name]} against {theirs[name]}"
    if serving.worded and canary.kept < serving.kept - WORSE:
        return "roll back", f"the guardrails let through {canary.kept:.2f} of its drafts against {serving.kept:.2f}"
    return "promote", "no share is worse"


async def _since(store: TenantStore, moment: datetime) -> list[ConversationId]:
    found: list[ConversationId] = []
    before = None
    while len(found) < MOST:
        rows = await store.conversations.list(limit=200, before=before)
        fresh = [r for r in rows if r.updated_at >= moment]
        found += [r.conversation_id for r in fresh]
        if len(fresh) < 200:
            break
        before = rows[-1].updated_at
    return found


def _counted(arm: Arm, events: Iterable[Event]) -> Arm:
    seen = dict.fromkeys(("turns", "worded", "objected", "unanswered", "handed_off", "failed"), 0)
    took, pending = 0.0, False
    for event in events:
        tuned = isinstance(event, ModelPhrased) and "+" in event.model
        if isinstance(event, ModelPhrased) and tuned:
            seen["worded"] += 1
            took += event.milliseconds
        seen["objected"] += isinstance(event, DraftRejected) and pending
        pending = tuned
        seen["turns"] += isinstance(event, MessageReceived)
        seen["unanswered"] += isinstance(event, ReplySent) and event.route is Route.REFUSE
        seen["handed_off"] += isinstance(event, HandedOff)
        seen["failed"] += isinstance(event, TurnFailed)
    if not seen["turns"]:
        return arm
    counts = {name: getattr(arm, name) + value for name, value in seen.items()}
    return replace(arm, conversations=arm.conversations + 1, milliseconds=arm.milliseconds + took, **counts)  # type: ignore[arg-type]
