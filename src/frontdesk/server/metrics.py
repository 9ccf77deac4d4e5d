"""What the server counts, as Prometheus reads it. One registry per app, so that two apps never mix; no customer in a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from frontdesk.domain.events import DraftRejected, Event, HandedOff, KnowledgeGapFound, ReplySent, TurnFailed
from frontdesk.domain.tenancy import TenantId

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.9, 2, 5, 10, 30)


class Metrics:
    """Counters, gauges and histograms of one app."""

    def __init__(self) -> None:
        kept = self.registry = CollectorRegistry()
        self.requests = Counter("frontdesk_http_requests", "Requests answered.", ["method", "route", "status"], registry=kept)
        self.latency = Histogram("frontdesk_http_seconds", "Time to the response's first byte.", ["route"], buckets=_SECONDS, registry=kept)
        self.turns = Counter("frontdesk_turns", "Turns that ended with a reply.", ["tenant", "route"], registry=kept)
        self.turn_seconds = Histogram("frontdesk_turn_seconds", "Time to the whole reply.", ["tenant"], buckets=_SECONDS, registry=kept)
        self.first_sentence = Histogram(
            "frontdesk_first_sentence_seconds", "Time to the first sentence.", ["tenant"], buckets=_SECONDS, registry=kept
        )
        self.turns_failed = Counter("frontdesk_turns_failed", "Turns that ended without an answer.", ["tenant"], registry=kept)
        self.handoffs = Counter("frontdesk_handoffs", "Conversations given to people.", ["tenant", "category"], registry=kept)
        self.gaps = Counter("frontdesk_knowledge_gaps", "Fair questions that no source answers.", ["tenant"], registry=kept)
        self.rejected = Counter("frontdesk_sentences_rejected", "Sentences a guardrail kept back.", ["tenant"], registry=kept)
        self.turns_running = Gauge("frontdesk_turns_running", "Turns in progress.", registry=kept)
        self.streams_open = Gauge("frontdesk_streams_open", "Open event streams.", registry=kept)

    def count(self, tenant: TenantId, event: Event, seconds: float) -> None:
        """Adds one event of a turn; `seconds` since the turn began."""
        match event:
            case ReplySent(route=route):
                self.turns.labels(tenant, route.value).inc()
                self.turn_seconds.labels(tenant).observe(seconds)
            case TurnFailed():
                self.turns_failed.labels(tenant).inc()
            case HandedOff(category=category):
                self.handoffs.labels(tenant, category).inc()
            case KnowledgeGapFound():
                self.gaps.labels(tenant).inc()
            case DraftRejected():
                self.rejected.labels(tenant).inc()
            case _:
                pass

    def page(self) -> bytes:
        """The text page that Prometheus scrapes."""
        return generate_latest(self.registry)
