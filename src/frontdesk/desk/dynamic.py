"""Live data: answers from calls to the tenant's API. Values appear only as the platform rendered them, never as a model wrote them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.intent import Intent
from frontdesk.desk.understanding import Part
from frontdesk.domain.conversation import Conversation, Route
from frontdesk.domain.events import Event
from frontdesk.domain.tenancy import Caller


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What trying to answer from live data led to. No draft: this part is no matter for a tool."""

    events: tuple[Event, ...] = ()
    draft: Draft | None = None


class Dynamic:
    """Chooses an operation, finds its arguments, asks for what is missing, calls, and says what came back."""

    async def resume(
        self, briefing: Briefing, caller: Caller, conversation: Conversation, message: str, intent: Intent
    ) -> AsyncGenerator[Event]:
        """Takes the message as the answer to the pending question. Yields nothing when it is about something else."""
        return
        yield  # an async generator

    async def try_part(self, briefing: Briefing, caller: Caller, conversation: Conversation, part: Part, intent: Intent) -> Attempt:
        """Answers one part of a message by a call, when it asks for live data or an action."""
        if intent.name.startswith("dynamic/") and not len(briefing.catalog) and intent.confidence > 0.6 and intent.covered < 0.4:
            text = briefing.phrases.say("not_connected")
            return Attempt(draft=Draft(route=Route.DYNAMIC, sentences=(Sentence(text=text, factual=False),), confidence=intent.confidence))
        return Attempt()
