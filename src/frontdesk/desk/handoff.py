"""Giving a conversation to a human so that nobody has to ask twice: category, summary, facts, promise. Decides nothing about routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from frontdesk.domain.conversation import Conversation, Speaker
from frontdesk.domain.events import HandedOff
from frontdesk.domain.tenancy import HandoffContact, Tenant


class Category(StrEnum):
    """Why a human is needed; kept as a category so that it can be counted."""

    REQUESTED = "requested"
    ANGER = "anger"
    COMPLAINT = "complaint"
    REPEATED_FAILURE = "repeated_failure"
    EMERGENCY = "emergency"
    POLICY = "policy"


WANTS_HUMAN = re.compile(
    r"\b(?:want|need|like|give me|get me|talk|speak|put me (?:through|on)|connect me|transfer me|pass me)\b(?: \w+){0,6}? "
    r"(?:humans?|human being|person|people|somebody|someone|agent|representative|rep|operator|manager|supervisor|employee|colleague|staff|boss|owner(?!['’])|director)\b"
    r"|\b(?:somebody|someone|anybody|anyone) (?:\w+ ){0,2}?(?:help|call|ring|phone|contact) me\b",
    re.IGNORECASE,
)
"""A wish for a person in so many words: whatever else a message tries, it is granted."""
PUT_THROUGH = re.compile(
    r"\b(?:put|patch) me (?:straight )?through to (?!(?:the )?(?:page|site|form|menu|website)\b)"
    r"|\b(?:want|need|give me|get me|speak (?:to|with)|talk to) (?:whoever (?:runs|owns|manages)|who(?:ever)?(?:['’]s| is) in charge)\b"
    r"|\b(?:want|need|fetch|give me|get me|speak (?:to|with)|talk (?:to|with)) your (?:boss|manager|supervisor)\b(?=\s*(?:[.!?,;)]|$)|\s+(?:now|please|pls|today|right|and|or|on|about|here)\b)",
    re.IGNORECASE,
)
"""The same, whatever the person is called: "put me through to the workshop", "I want whoever runs this place", "I want your boss"."""
GIVES_UP = 2
"""Unanswered turns in a row after which the desk offers to pass the conversation on; who takes the offer was not helped."""


def reach(contact: HandoffContact) -> str:
    """How the team is reached, as the end of a sentence: "by phone on 01 (Monday to Friday) or by e-mail at a@b"; empty if unknown."""
    ways = []
    if contact.phone:
        ways.append(f"by phone on {contact.phone}" + (f" ({contact.hours})" if contact.hours else ""))
    if contact.email:
        ways.append(f"by e-mail at {contact.email}")
    return " or ".join(ways)


def promise(tenant: Tenant) -> str:
    """What the customer is told about what happens next."""
    ways = reach(tenant.handoff)
    direct = f" You can also reach our team {ways}." if ways else ""
    return f"I am passing you on to a colleague on our team, who will see this whole conversation.{direct}"


def hand_off(tenant: Tenant, conversation: Conversation, message: str, category: Category) -> HandedOff:
    """The event that puts a conversation into the human queue, with all that an agent needs.

    A wish for a human after repeated failure is counted as that failure.
    """
    if category is Category.REQUESTED and conversation.failures >= GIVES_UP:
        category = Category.REPEATED_FAILURE
    return HandedOff(
        category=category.value,
        summary=summary(conversation, message),
        facts=_facts(conversation),
        promised=promise(tenant),
    )


def summary(conversation: Conversation, message: str) -> str:
    """What happened so far, from the events alone: what was asked, what was answered from where, what was done, what is open."""
    asked = [u.text for u in conversation.utterances if u.speaker is Speaker.CUSTOMER]
    lines = [f"The customer's latest message: {_short(message)}"]
    if asked:
        lines.append("Asked before: " + " / ".join(_short(text, 120) for text in asked[-4:]))
    told = [u for u in conversation.utterances if u.speaker is Speaker.DESK and u.citations]
    if told:
        lines.append("Told already: " + " / ".join(f"{_short(u.text, 120)} [{u.citations[0].source}]" for u in told[-3:]))
    if conversation.calls:
        lines.append("Calls made: " + ", ".join(f"{c.name} ({'failed' if c.error else 'done'})" for c in conversation.calls[-5:]))
    if conversation.pending:
        lines.append(f"Open question to the customer: {conversation.pending.question}")
    if conversation.failures:
        lines.append(f"Questions in a row without an answer: {conversation.failures}")
    return "\n".join(lines)


def _facts(conversation: Conversation) -> Mapping[str, Any]:
    facts: dict[str, Any] = dict(conversation.known)
    if conversation.customer:
        facts["customer"] = conversation.customer
    return facts


def _short(text: str, limit: int = 240) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
