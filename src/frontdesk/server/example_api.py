"""The example business API beside a demonstration: a child process on this machine, started with the desk and stopped with it.

Refuses nothing and owes nothing: without the folder, or when the port is taken, the desk runs without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "business_api"
HOST, PORT = "127.0.0.1", 8901
"""Where the example tenants' `tools:` look for it."""
START_SECONDS = 15.0


@asynccontextmanager
async def example_api(tenants: Path | None) -> AsyncIterator[None]:
    """Runs `business_api/app.py` of the tenants' folder while the block runs; does nothing when there is none."""
    folder = (tenants / FOLDER).resolve() if tenants is not None else None
    if folder is None or not (folder / "app.py").is_file():
        yield
        return
    if _listens():
        log.warning("port %d is in use: the example tenants speak to what listens there", PORT)
        yield
        return
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(folder)),
        *("--host", HOST, "--port", str(PORT), "--log-level", "warning", "--no-access-log"),
    )
    try:
        await _until_up(child)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


async def _until_up(child: asyncio.subprocess.Process) -> None:
    waited = 0.0
    while waited < START_SECONDS and child.returncode is None:
        if _listens():
            return
        await asyncio.sleep(0.1)
        waited += 0.1
    log.warning("the example business API did not start: the example tenants answer without live data")


def _listens() -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, PORT)) == 0
