"""`serve` and `demo`: the HTTP server over a running office. Answers /healthz at once, /readyz when the tenants are synced."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from watchfiles import awatch

from frontdesk import wiring
from frontdesk.cli_output import show_reply
from frontdesk.domain.events import ReplySent
from frontdesk.domain.staff import StaffRole
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, TenantId
from frontdesk.errors import Conflict, FrontdeskError
from frontdesk.knowledge.tenants import load_tenants
from frontdesk.server.app import create_app
from frontdesk.server.example_api import example_api
from frontdesk.server.logging_setup import configure
from frontdesk.server.serving import bind, serving
from frontdesk.settings import Settings
from frontdesk.store.staff import hashed, one_time_password

log = logging.getLogger(__name__)

DEMO_QUESTIONS = 3
DEMO_NAME = "demo"
"""Account of a demonstration's operator."""
REHEARSED = 12
"""Conversations of a demonstration's rehearsal."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds before tenants that could not be made ready are tried again."""
RETENTION_SECONDS = 3600.0
"""How often conversations are looked for that a tenant keeps no longer."""
LOOK_SECONDS = 3.0
"""How often cut-off turns are looked for."""


def run_server(settings: Settings) -> None:
    """Serves until interrupted. Raises PortInUse before anything is started."""
    configure(settings.log_level)
    with bind(settings.host, settings.port) as listening:
        _run(_until_told(_serve(settings, listening)))


def run_demo(settings: Settings, *, scenes: bool = False) -> None:
    """Serves the example tenants with keys for the chat page, and asks them some questions in the terminal; `scenes`: plays theirs too."""
    configure("warning" if settings.log_level == "info" else settings.log_level)  # the terminal shows a conversation, not a log
    with bind(settings.host, settings.port) as listening:
        _run(_until_told(_serve(settings, listening, demo=True, scenes=scenes)))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run` on uvicorn's faster loop where there is one (not on Windows)."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.run(work)
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until it ends or a signal says so; then it gets the time it needs to stop what it started, however often one signals."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signal_, told.set)
    working, waiting = asyncio.create_task(work), asyncio.create_task(told.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
    finally:
        waiting.cancel()


async def _serve(settings: Settings, listening: socket.socket, *, demo: bool = False, scenes: bool = False) -> None:
    console = Console(stderr=True)
    async with wiring.running(settings) as office:
        if demo:
            await office.open_demo()
        app = create_app(office)
        password = await _with_console(office, app, demo=demo)
        async with (
            example_api(settings.tenants if demo else None),
            serving(app, listening) as url,
            asyncio.TaskGroup() as group,
        ):
            if settings.watch:
                group.create_task(_watch(office))
            group.create_task(app.state.desk.analytics.run())
            group.create_task(_retain(office))
            await _prepare(office, console, url, demo=demo)
            # What was loaded stays until the end. Looking through it again and again for garbage would cost a third of the processor time of
            # whoever reads a long log, and a tenth of a second at once to whoever answers meanwhile.
            gc.freeze()
            if scenes:
                await _play_scenes(office)
            console.print(
                f"the console is at {url}/console" + (f": sign in as demo with {password}" if demo else ""), highlight=False, soft_wrap=True
            )
            if demo:
                group.create_task(_rehearse(office, console, url))
            await _look_after(office)


async def _with_console(office: wiring.Office, app: FastAPI, *, demo: bool) -> str:
    """Mounts the console; in a demonstration with an account whose password is new with each start."""
    from frontdesk.console.mounting import mount  # its component framework takes a second to load

    ways = [("Sign in with your organisation", "/sign-in/staff")] if office.settings.staff_issuer else []
    mount(app, office, ways=lambda: ways, demo=demo)
    if not demo:
        return ""
    password = one_time_password()
    kept = await asyncio.to_thread(hashed, password)
    try:
        await office.store.staff.add(DEMO_NAME, StaffRole.OPERATOR, password=kept, must_change=False)
    except Conflict:
        await office.store.staff.set_password(DEMO_NAME, kept)
    return password


async def _prepare(office: wiring.Office, console: Console, url: str, *, demo: bool) -> None:
    """Makes every tenant ready; what a passing fault kept back is tried again, while the others answer. In a demonstration those come first
    that are asked something."""
    pause = FIRST_PAUSE
    shown = False
    if demo and (asked := {tenant for tenant, _ in demo_questions(office)}):
        asked |= {line for tenant in asked for line in office.tenants[tenant].lines}
        with _reading(console) as progress:
            shown = not await office.prepare(progress=progress, among=asked)
        if shown:
            await _ask_three(office)
    with _reading(console) as progress:
        while await office.prepare(progress=progress) and office.passing:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    _settle()
    for tenant, report in office.reports.items():
        for source, reason in report.failed:
            console.print(f"[red]not read:[/] {tenant}/{source}: {reason}", highlight=False, soft_wrap=True)
    for tenant, catalog in office.catalogs.items():
        if catalog.disabled:
            console.print(f"[yellow]{tenant}:[/] {catalog.disabled}", highlight=False, soft_wrap=True)
    if demo and not shown:
        await _ask_three(office)
    console.print(f"frontdesk answers at {url} (Ctrl-C stops it)", highlight=False)


def _settle() -> None:
    """What was made so far stays for good: looking for garbage among it would stop every customer for a fifth of a second now and then."""
    gc.collect()
    gc.freeze()


async def _rehearse(office: wiring.Office, console: Console, url: str) -> None:
    """Twelve AI customers at once against the tenants that are ready, to be watched here and on the page."""
    from frontdesk.rehearsal.demo import rehearse_with
    from frontdesk.rehearsal.live import Watch, shown, told

    office.rehearsal = watch = Watch(total=REHEARSED, title="rehearsal", shown=REHEARSED)
    console.print(f"twelve AI customers try the desk: watch them here or at {url}/rehearsal", highlight=False)
    try:
        async with wiring.patient(office) as model:
            with shown(watch, console):
                await rehearse_with(
                    {t: office.tenants[t] for t in office.tenants if t in office.reports and t not in office.problems},
                    front_office=office.front_office,
                    store=office.store,
                    model=model,
                    count=REHEARSED,
                    watch=watch,
                )
    except FrontdeskError as problem:
        log.warning("the rehearsal stopped: %s", problem)
    except Exception:
        # A fault in the rehearsal must not take the desk from its customers.
        log.exception("the rehearsal stopped")
    told(watch, console)


async def _look_after(office: wiring.Office) -> None:
    """Finishes, now and for ever, turns that a crash cut off, here or on another replica."""
    while True:
        with contextlib.suppress(FrontdeskError):
            if done := await office.front_office.finish_interrupted():
                log.warning("finished %d turns that had been cut off", done)
        await asyncio.sleep(LOOK_SECONDS)


async def _retain(office: wiring.Office, *, seconds: float = RETENTION_SECONDS) -> None:
    """Forgets, now and for ever, what the tenants keep no longer."""
    while True:
        for tenant in list(office.tenants.values()):
            try:
                receipt = await office.eraser.retain(office.store.for_tenant(tenant.id), tenant, actor="retention")
            except (FrontdeskError, OSError) as problem:
                log.warning("retention of %s is tried again later: %s", tenant.id, problem)
                continue
            if receipt is not None:
                log.info(
                    "%s keeps nothing older than %s days: %d conversations erased", tenant.id, tenant.retention.days, receipt.conversations
                )
        await asyncio.sleep(seconds)


@contextlib.contextmanager
def _reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar for as long as documents are read, in a terminal; nothing elsewhere."""
    columns = (TextColumn("reading the tenants' sources"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


async def _play_scenes(office: wiring.Office) -> None:
    """The conversations that the tenants' own `demo: scenes:` lists spell out, each with its signed-in customer."""
    console = Console()
    for tenant, scene in ((t, s) for t in office.tenants.values() for s in t.demo.get("scenes", ())):
        caller = Caller(tenant=tenant.id, key=KeyId("demo"), role=Role.SERVER, customer=CustomerId(str(scene["customer"])))
        console.print(f"\n[bold underline]{tenant.name}: {scene['title']}[/] (signed in as {scene['customer']})", highlight=False)
        conversation = None
        for message in scene["messages"]:
            console.print(f"\n[bold]Customer:[/] {message}", highlight=False)
            spoken = office.front_office.talk(caller=caller, message=str(message), conversation=conversation, channel="demo")
            async with contextlib.aclosing(spoken) as events:
                async for record in events:
                    conversation = record.conversation
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
