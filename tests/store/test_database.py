"""The pool: what one statement's failure leaves to those that come after it on the same connection."""

from __future__ import annotations

import pytest

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.store.database import APP_ROLE, Database
from frontdesk.store.store import Store


@pytest.mark.parametrize("times", range(1, 9))
async def test_a_statement_behind_one_that_failed_can_be_used_again(store: Store, times: int):
    """Drivers prepare what is used often; the server skips what stands behind a failure."""
    database = Database(store.url, role=APP_ROLE, size=1, idle=1)
    await database.open()
    asked = f"select %(n)s::int + {times} as n"
    tenant = TenantId("pool")
    try:
        for _ in range(times):
            await database.run(tenant, (asked, {"n": 1}))
        with pytest.raises(BadInput):
            await database.run(tenant, ("select 1 / %(n)s::int", {"n": 0}), (asked, {"n": 1}))
        for _ in range(8):
            ((row,),) = await database.run(tenant, (asked, {"n": 1}))
            assert row.n == 1 + times
    finally:
        await database.close()
