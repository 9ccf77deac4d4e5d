"""PostgreSQL, embedded or served: schema, migrations, named queries, one way in per tenant."""

from frontdesk.store.conversations import NO_TURN, Conversations, ConversationSummary
from frontdesk.store.desk import AuditCheck, AuditEntry, DeskState, Gap, Handoff
from frontdesk.store.keys import KeyInfo, Keys
from frontdesk.store.knowledge import KnowledgeStore, NewDocument, passage_hash
from frontdesk.store.store import Store, TenantStore

__all__ = [
    "NO_TURN",
    "AuditCheck",
    "AuditEntry",
    "ConversationSummary",
    "Conversations",
    "DeskState",
    "Gap",
    "Handoff",
    "KeyInfo",
    "Keys",
    "KnowledgeStore",
    "NewDocument",
    "Store",
    "TenantStore",
    "passage_hash",
]
