"""Work of many conversations done together: what comes while one group is being written waits and becomes the next one.

So groups grow with the load, and each giver pays its share of one round trip. Promises nothing before the group is through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
GATHER_SECONDS = 0.005
"""How long the first of an idle spell waits for others."""


class Together(Generic[Item, Result]):
    """Gives `work` whole groups of items, one group at a time, and everybody its own result."""

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        """`work` returns one result per item, in order; what it raises is raised to everybody in that group."""
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """The result for this item, once its group is through."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._groups())
        return await done

    async def _groups(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await self._work([item for item, _ in group])
            except Exception as why:  # noqa: BLE001 - each of the group raises it
                for _, done in group:
                    if not done.done():
                        done.set_exception(why)
                continue
            for (_, done), result in zip(group, results, strict=True):
                if not done.done():  # whoever was cancelled meanwhile needs none
                    done.set_result(result)
