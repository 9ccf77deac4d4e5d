"""`serve` and `demo`: the HTTP server over a running office. Answers /healthz at once, /readyz when the tenants are synced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import uvicorn
from rich.console import Console
from watchfiles import awatch

from frontdesk import wiring
from frontdesk.cli_output import show_reply
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller, KeyId, Role, TenantId
from frontdesk.errors import FrontdeskError, PortInUse
from frontdesk.knowledge.tenants import load_tenants
from frontdesk.server.app import create_app
from frontdesk.settings import Settings

log = logging.getLogger(__name__)

DEMO_QUESTIONS = 3


def run_server(settings: Settings) -> None:
    """Serves until interrupted. Raises PortInUse before anything is started."""
    _configure(settings)
    with _bound(settings) as listener:
        asyncio.run(_serve(settings, listener))


def run_demo(settings: Settings) -> None:
    """Serves the example tenants with keys for the chat page, and asks them some questions in the terminal."""
    _configure(settings)
    with _bound(settings) as listener:
        asyncio.run(_serve(settings, listener, demo=True))


def _configure(settings: Settings) -> None:
    from frontdesk.server.logging_setup import configure

    configure(settings.log_level)


@contextlib.contextmanager
def _bound(settings: Settings) -> Any:
    """The listening socket, taken first so that a used port is told before models are loaded."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as why:
        listener.close()
        raise PortInUse(f"{settings.host}:{settings.port} cannot be listened on ({why.strerror}): choose another with --port") from None
    with listener:
        yield listener


async def _serve(settings: Settings, listener: socket.socket, *, demo: bool = False) -> None:
    console = Console(stderr=True)
    async with wiring.running(settings) as office:
        if demo:
            await office.open_demo()
        server = uvicorn.Server(uvicorn.Config(create_app(office), log_config=None, access_log=False, timeout_graceful_shutdown=5))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        preparing = asyncio.create_task(_prepare(office, console, demo=demo))
        watching = asyncio.create_task(_watch(office)) if settings.watch else None
        try:
            await serving
        finally:
            for task in (preparing, watching):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task


async def _prepare(office: wiring.Office, console: Console, *, demo: bool) -> None:
    try:
        await office.prepare()
    except FrontdeskError as problem:
        log.error("%s", problem)  # noqa: TRY400 - the sentence says it all
        return
    for tenant, report in office.reports.items():
        for source, reason in report.failed:
            console.print(f"[red]not read:[/] {tenant}/{source}: {reason}", highlight=False, soft_wrap=True)
    for tenant, catalog in office.catalogs.items():
        if catalog.disabled:
            console.print(f"[yellow]{tenant}:[/] {catalog.disabled}", highlight=False, soft_wrap=True)
    if demo:
        await _ask_three(office)
    settings = office.settings
    console.print(f"frontdesk answers at http://{settings.host}:{settings.port} (Ctrl-C stops it)", highlight=False)


async def _ask_three(office: wiring.Office) -> None:
    """One question from the FAQ, one from a document, one that nobody can answer, as the tenant's folder suggests them."""
    console = Console()
    for tenant, question in demo_questions(office):
        caller = Caller(tenant=tenant, key=KeyId("demo"), role=Role.SERVER)
        console.print(f"\n[bold]Customer of {office.tenants[tenant].name}:[/] {question}", highlight=False)
        async with contextlib.aclosing(office.front_office.talk(caller=caller, message=question, channel="demo")) as events:
            async for record in events:
                if isinstance(record.event, ReplySent):
                    show_reply(record.event, console)
    sys.stdout.flush()


def demo_questions(office: wiring.Office) -> Sequence[tuple[TenantId, str]]:
    """The questions that the tenants' own `demo: questions:` lists name."""
    found = [(t.id, str(q)) for t in office.tenants.values() for q in t.demo.get("questions", ())]
    return found[:DEMO_QUESTIONS]


async def _watch(office: wiring.Office) -> None:
    """Re-indexes a tenant when a file of its folder changes."""
    async for changes in _changes(office.settings):
        touched = {t.id for t in office.tenants.values() if t.folder and any(str(t.folder.resolve()) in path for _, path in changes)}
        for tenant in touched:
            try:
                fresh = {t.id: t for t in load_tenants(office.settings.tenants)}
                office.tenants[tenant] = fresh.get(tenant, office.tenants[tenant])
                office.reports[tenant] = await office.library.sync(office.tenants[tenant])
            except FrontdeskError as problem:
                log.error("%s: %s", tenant, problem)  # noqa: TRY400 - the sentence says it all


async def _changes(settings: Settings) -> AsyncGenerator[set[tuple[Any, str]]]:
    async for changes in awatch(settings.tenants, recursive=True, step=500):
        yield changes
