"""Strings that only one tenant may ever see, looked for from everywhere else: S2 and S3 of the security list, at a moderate size."""

from __future__ import annotations

import asyncio
import random
import secrets

import numpy as np
import pytest

from frontdesk.domain.conversation import TurnId
from frontdesk.domain.events import HandedOff, MessageReceived
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.models.scripted import HashEmbedder
from frontdesk.store import NewDocument, Store
from frontdesk.store.database import APP_ROLE, Database

TENANTS, EACH, LOOKS = 50, 20, 200
CONNECTIONS, INTERLEAVED = 5, 1_000
KEY = KeyId("canary")


def passage(text: str, ordinal: int) -> Passage:
    return Passage(id=PassageId(""), document=DocumentId(""), source="", title="Notes", kind=PassageKind.PROSE, text=text, ordinal=ordinal)


@pytest.fixture(scope="module")
async def canaries(store: Store) -> dict[TenantId, list[str]]:
    """Twenty unique strings for each of fifty tenants: in a document, in a conversation, in what an agent is told."""
    embedder = HashEmbedder()
    hidden: dict[TenantId, list[str]] = {}
    for number in range(TENANTS):
        tenant = TenantId(f"canary{number}x{secrets.token_hex(4)}")
        words = hidden[tenant] = [f"canary{secrets.token_hex(8)}" for _ in range(EACH)]
        inside = store.for_tenant(tenant)
        texts = [f"The opening hours of {word} are kept here." for word in words[:-2]]
        vectors = await embedder.embed(texts)
        passages = [(passage(text, n), vector, text) for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))]
        await inside.knowledge.replace(NewDocument(source="notes.md", title="Notes", sha256=secrets.token_hex(32)), passages)
        said = await inside.conversations.open(key=KEY, customer=None, channel="api")
        told = HandedOff(category="requested", summary=words[-1], facts={"order": words[-1]}, promised="")
        await inside.conversations.append(said, TurnId("one"), [MessageReceived(text=words[-2]), told])
    return hidden


async def test_s2_no_string_of_one_tenant_is_found_by_another(store: Store, canaries: dict[TenantId, list[str]]) -> None:
    """S2: 50 tenants x 20 strings in documents, chats and handoffs; searches, lists and queues of the others hold none of them."""
    rng, embedder = random.Random(5), HashEmbedder()
    tenants = list(canaries)
    for _ in range(LOOKS):
        owner, other = rng.sample(tenants, 2)
        word = rng.choice(canaries[owner])
        question = f"The opening hours of {word} are kept here."
        (vector,) = await embedder.embed([question])
        hits = await store.for_tenant(other).knowledge.search(text=question, vector=vector, limit=EACH)
        assert hits
        assert not any(word in hit.passage.text for hit in hits)
    for other in rng.sample(tenants, 5):
        inside = store.for_tenant(other)
        rows, queue = await inside.conversations.list(limit=200), await inside.desk.handoffs()
        held = f"{[p for p, _ in await inside.knowledge.all_passages()]} {rows} {queue}"
        for row in rows:
            held += str(await inside.conversations.events(row.conversation_id))
        assert all(word in held for word in canaries[other])
        assert not any(word in held for owner in tenants if owner != other for word in canaries[owner])


async def test_s3_a_pooled_connection_keeps_nothing_of_the_tenant_before(store: Store, canaries: dict[TenantId, list[str]]) -> None:
    """S3: 1,000 interleaved requests of 50 tenants over 5 connections, some of them failing half-way; each sees its own rows only."""
    database = Database(store.url, role=APP_ROLE, size=CONNECTIONS, idle=CONNECTIONS)
    await database.open()
    rng = random.Random(7)
    look = "select tenant from passages union all select tenant from events union all select tenant from conversations"
    try:

        async def ask(tenant: TenantId, *, fails: bool) -> set[str]:
            if fails:
                with pytest.raises(Exception, match="division by zero"):
                    await database.run(tenant, (look, {}), ("select 1 / 0", {}))
                return {tenant}
            (rows,) = await database.run(tenant, (look, {}))
            return {row.tenant for row in rows}

        asked = [rng.choice(list(canaries)) for _ in range(INTERLEAVED)]
        seen = await asyncio.gather(*(ask(t, fails=n % 20 == 0) for n, t in enumerate(asked)))
        assert seen == [{t} for t in asked]
        (rows,) = await database.run(TenantId(""), (look, {}))
        assert rows == []
    finally:
        await database.close()


def test_vectors_of_the_canaries_are_all_alike_but_for_the_string() -> None:
    """What makes S2 hard: without tenancy the nearest passage of another tenant would be the answer."""
    embedder = HashEmbedder()
    one, other = asyncio.run(embedder.embed(["The opening hours of aaa are kept here.", "The opening hours of bbb are kept here."]))
    assert float(np.dot(one, other)) > 0.5
