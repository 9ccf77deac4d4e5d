"""Listens on an address until told to stop. Refuses an address that is taken before anything else is started on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from frontdesk.errors import PortInUse
from frontdesk.server.access import Desk

DRAIN_SECONDS = 8
"""How long turns may go on after the stop."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: whoever runs the event loop decides when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises PortInUse."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as why:
        listening.close()
        raise PortInUse(
            f"{host}:{port} cannot be listened on ({why.strerror}): stop the other program or choose another with --port"
        ) from why
    return listening


@asynccontextmanager
async def serving(app: FastAPI, listening: socket.socket) -> AsyncIterator[str]:
    """Serves `app` on the socket while the block runs; gives its base URL.

    On leaving, event streams end at once and turns get some seconds to finish.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_SECONDS, timeout_keep_alive=30
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    up = asyncio.create_task(server.up.wait())
    await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
    try:
        host, port = listening.getsockname()[:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        up.cancel()
        desk: Desk = app.state.desk
        desk.stopping.set()
        server.should_exit = True
        await running
