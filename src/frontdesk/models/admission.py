"""Who may call a model server now: a bounded number at once, a bounded queue behind them, and nobody while the server is failing.

Refuses at once rather than keep a customer waiting for nothing: TooBusy when the queue is full, ModelUnavailable while the breaker is open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from frontdesk.errors import ModelUnavailable, TooBusy


class Admission:
    """Slots and a queue. The decision to queue or refuse is made before the first await, so a burst cannot slip past the limit."""

    def __init__(self, *, slots: int, queue: int) -> None:
        self.slots = slots
        self.queue = queue
        self.inside = 0
        """Callers that hold a slot or wait for one."""
        self._free = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self, patience: float) -> AsyncIterator[None]:
        """Hold a slot. Raises TooBusy when the queue is full, or when no slot came free within `patience` seconds."""
        if self.inside >= self.slots + self.queue:
            raise TooBusy(f"{self.inside} model calls are waiting already: try again shortly", retry_after=1.0)
        self.inside += 1
        try:
            try:
                async with asyncio.timeout(patience):
                    await self._free.acquire()
            except TimeoutError:
                raise TooBusy(f"no model slot came free within {patience:g} s: try again shortly", retry_after=patience) from None
            try:
                yield
            finally:
                self._free.release()
        finally:
            self.inside -= 1

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return max(0, self.inside - self.slots)


class Breaker:
    """Opens after `failures` in a row; after `pause` seconds lets one call try, and closes when that one succeeds."""

    def __init__(self, what: str, *, failures: int = 5, pause: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._failed = 0
        self._opened = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._failed >= self._limit

    def enter(self) -> None:
        """Ask to make a call; follow it with `succeeded`, `failed` or `abandoned`. Raises ModelUnavailable while open."""
        if not self.open:
            return
        wait = self._opened + self._pause - self._clock()
        if wait > 0 or self._trying:
            raise ModelUnavailable(f"{self._what} failed {self._failed} times in a row and is left alone for {max(wait, 0.1):.1f} s more")
        self._trying = True

    def succeeded(self) -> None:
        """The call worked: everybody may pass."""
        self._failed = 0
        self._trying = False

    def failed(self) -> None:
        """The call failed by the server's fault."""
        self._failed += 1
        self._trying = False
        if self.open:
            self._opened = self._clock()

    def abandoned(self) -> None:
        """The call says nothing about the server: the caller left, or asked for something impossible."""
        self._trying = False
