"""A process that uses a store, for tests that kill one: prints `ready PID`, appends when told, leaves at the end of its input."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from frontdesk.domain.conversation import TurnId
from frontdesk.domain.events import MessageReceived
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.settings import Settings
from frontdesk.store import Store
from frontdesk.store.embedded import Embedded


async def main(data: Path) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, asyncio.current_task().cancel)
    store = await Store.open(Settings(data=data))
    try:
        server = Embedded(data)
        server.start()
        pid = server.pid
        server.stop()
        conversations = store.for_tenant(TenantId("acme")).conversations
        id = await conversations.open(key=KeyId("k"), customer=None, channel="api")
        print(f"ready {pid} {id}", flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        with contextlib.suppress(asyncio.CancelledError):
            while line := await lines.readline():
                added = await conversations.append(id, TurnId("t"), [MessageReceived(text=line.decode().strip())])
                print(f"kept {added[-1].seq}", flush=True)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
