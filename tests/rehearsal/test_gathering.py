"""Work done together: everybody gets his own result, one group at a time, and a failure reaches those it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from frontdesk.rehearsal.gathering import Together


async def test_everybody_gets_his_own_result_and_what_comes_meanwhile_is_the_next_group():
    groups: list[list[int]] = []

    async def work(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        await asyncio.sleep(0.02)
        return [item * 10 for item in items]

    together = Together(work)

    async def later(item: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return await together.do(item)

    found = await asyncio.gather(*(later(n, 0.0) for n in range(3)), *(later(n, 0.012) for n in range(3, 6)))
    assert found == [0, 10, 20, 30, 40, 50]
    assert groups == [[0, 1, 2], [3, 4, 5]]


async def test_a_failed_group_fails_for_its_own_and_the_next_goes_on():
    async def work(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise ConnectionError("gone")
        return list(items)

    together = Together(work)
    failed = await asyncio.gather(together.do(0), together.do(1), return_exceptions=True)
    assert [type(why) for why in failed] == [ConnectionError, ConnectionError]
    assert await together.do(2) == 2


async def test_who_no_longer_waits_holds_nobody_up():
    done = asyncio.Event()

    async def work(items: Sequence[int]) -> list[int]:
        await done.wait()
        return list(items)

    together = Together(work)
    gone, stays = asyncio.create_task(together.do(1)), asyncio.create_task(together.do(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    done.set()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
