"""Versions of a tenant's tuned model: one serves, one may be tried beside it, and the way back is one step."""

import pytest

from frontdesk.errors import BadInput, NotFound


async def deployed(tenant_store, name="faq", share=1.0):
    return await tenant_store.deployments.add(
        name=name, adapter=f"id-{name}", folder=name, manifest={"name": name}, share=share, actor="op"
    )


async def states(tenant_store):
    return {d.version: d.state for d in await tenant_store.deployments.all()}


async def test_a_new_version_replaces_the_one_that_serves(tenant_store):
    assert (await deployed(tenant_store)).label == "faq@1"
    await deployed(tenant_store)
    assert await states(tenant_store) == {1: "retired", 2: "serving"}


async def test_a_rollback_brings_the_version_before_back_and_at_last_the_base(tenant_store):
    for _ in range(3):
        await deployed(tenant_store)
    assert (await tenant_store.deployments.rollback()).version == 2
    assert (await tenant_store.deployments.rollback()).version == 1
    assert await tenant_store.deployments.rollback() is None
    assert set((await states(tenant_store)).values()) == {"withdrawn"}
    with pytest.raises(NotFound, match="nothing is deployed"):
        await tenant_store.deployments.rollback()


async def test_a_canary_stands_beside_the_version_that_serves_until_it_is_promoted(tenant_store):
    await deployed(tenant_store)
    await deployed(tenant_store, share=0.1)
    assert {d.state: d.share for d in await tenant_store.deployments.live()} == {"serving": 1.0, "canary": 0.1}
    promoted = await tenant_store.deployments.promote()
    assert (promoted.version, promoted.share) == (2, 1.0)
    assert await states(tenant_store) == {1: "retired", 2: "serving"}
    with pytest.raises(NotFound, match="no canary"):
        await tenant_store.deployments.promote()


async def test_a_rollback_takes_the_canary_back_first(tenant_store):
    await deployed(tenant_store)
    await deployed(tenant_store, share=0.5)
    assert (await tenant_store.deployments.rollback()).version == 1
    assert await states(tenant_store) == {1: "serving", 2: "withdrawn"}


async def test_a_second_canary_replaces_the_first(tenant_store):
    await deployed(tenant_store, share=0.5)
    await deployed(tenant_store, share=0.2)
    assert await states(tenant_store) == {1: "withdrawn", 2: "canary"}


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
async def test_a_share_that_is_none_is_refused(tenant_store, share):
    with pytest.raises(BadInput, match="no share of conversations"):
        await deployed(tenant_store, share=share)


async def test_a_proposal_waits_for_a_decision_and_a_refused_one_stays_refused(tenant_store):
    kept = tenant_store.deployments
    assert await kept.propose(kind="faq", source="gap", question="Do you sell maps?", count=2)
    assert not await kept.propose(kind="faq", source="gap", question="do you sell  maps", count=5)
    (open_,) = await kept.proposals()
    assert (open_.count, open_.answer) == (5, "")
    decided = await kept.decide(open_.id, accept=True, actor="op", answer="Yes, at £4.")
    assert (decided.state, decided.answer, decided.decided_by) == ("accepted", "Yes, at £4.", "op")
    with pytest.raises(NotFound, match="no open proposal"):
        await kept.decide(open_.id, accept=False, actor="op")
    assert await kept.proposals() == []
