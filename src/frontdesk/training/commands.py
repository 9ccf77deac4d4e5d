"""`frontdesk train …`: start runs from a file, follow them, stop and resume them, see what they learnt. Loads nothing heavy itself."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from frontdesk import settings as configuration
from frontdesk.errors import BadInput, NotFound, TrainingFailed
from frontdesk.settings import Settings
from frontdesk.training.toolformer_commands import app as toolformer_app

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the database and runs [FRONTDESK_DATA].")]
Tenants = Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
File = Annotated[Path, typer.Option("--file", "-f", help="The run file (YAML).")]
Overrides = Annotated[list[str] | None, typer.Option("--override", help="Set one value: section.key=value. May be repeated.")]
Name = Annotated[str, typer.Argument(help="Name of the run.")]
errors = Console(stderr=True)


class Models(Protocol):
    """What training needs of the rest of the program."""

    def model(self, settings: Settings) -> AbstractAsyncContextManager[Any]:
        """The configured language model, or None."""
        ...


def _async(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(command(*args, **kwargs))

    return run


@asynccontextmanager
async def _manager(settings: Settings) -> AsyncIterator[Any]:
    from frontdesk.store.store import Store
    from frontdesk.training.runs import RunManager

    store = await Store.open(settings)
    try:
        yield RunManager(store, settings)
    finally:
        await store.close()


def train_app(models: Callable[[], Models]) -> typer.Typer:
    """The commands. `models` is only called when a run file asks for a model's wordings."""
    app = typer.Typer(no_args_is_help=True, help="Train models on a company's own data.")
    get_app = typer.Typer(no_args_is_help=True, help="List things.")
    app.add_typer(get_app, name="get")
    app.add_typer(toolformer_app, name="toolformer")
    _starting(app, models)
    _watching(app, get_app)
    _steering(app)
    return app


def _starting(app: typer.Typer, models: Callable[[], Models]) -> None:
    @app.command("run")
    @_async
    async def train_run(
        file: File,
        override: Overrides = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Check everything, show the data report and the command, start nothing.")
        ] = False,
        follow: Annotated[bool, typer.Option("--follow", help="Stay and show progress until the run ends.")] = False,
        data: Data = None,
        tenants: Tenants = None,
    ) -> None:
        """Start a run from its file; the name is printed."""
        from frontdesk.training import rendering, runfile
        from frontdesk.training.runs import Place

        settings = configuration.load({"data": data, "tenants": tenants})
        run = runfile.read(file, override or ())
        prepared = await _prepared(run, settings, models)
        for line in prepared.report.lines() if prepared else ():
            errors.print(line, highlight=False, markup=False, soft_wrap=True)
        if said := _memory(run, settings):
            errors.print(said, highlight=False, soft_wrap=True)
        folder = settings.data.resolve() / "runs" / run.name
        if dry_run:
            print_out(json.dumps(run.to_json(), indent=2, ensure_ascii=False))
            print_out(shlex.join(rendering.command(run, folder, cache=settings.cache)))
            return
        if run.compute.nodes > 1:
            raise BadInput(
                f"{run.name} wants {run.compute.nodes} nodes: write a cluster file with `frontdesk train render -f {file} --as kubernetes`"
            )
        async with _manager(settings) as manager:
            place = await manager.start(run, prepare=lambda folder: prepared.write(folder) if prepared else None)
            print_out(run.name)
            if follow:
                await _follow(manager, Place(place.folder))

    @app.command("data")
    @_async
    async def train_data(
        file: File,
        override: Overrides = None,
        out: Annotated[Path | None, typer.Option("--out", help="Also write the examples there, as shards.")] = None,
        data: Data = None,
        tenants: Tenants = None,
        as_json: AsJson = False,
    ) -> None:
        """Build a run's examples and report on them: counts, lengths, duplicates, conflicts, missing facts."""
        from frontdesk.training import runfile, shards
        from frontdesk.training.data import to_json

        settings = configuration.load({"data": data, "tenants": tenants})
        run = runfile.read(file, override or ())
        prepared = await _prepared(run, settings, models)
        if prepared is None:
            raise BadInput(f"the recipe {run.recipe} reads its data file as it is: there is nothing to build")
        print_out(
            json.dumps(dataclasses.asdict(prepared.report), ensure_ascii=False, indent=2) if as_json else "\n".join(prepared.report.lines())
        )
        if out is not None:
            shards.write((to_json(e) for e in prepared.examples), out)

    @app.command("prepare")
    @_async
    async def train_prepare(
        file: File,
        out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
        override: Overrides = None,
        tenants: Tenants = None,
    ) -> None:
        """Write a run's folder without starting it, as cluster jobs do before the worker begins."""
        from frontdesk.training import runfile
        from frontdesk.training.runs import Place

        settings = configuration.load({"tenants": tenants})
        run = runfile.read(file, override or ())
        if (out / "run.json").exists():
            errors.print(f"{out} is prepared already: the run goes on from its checkpoint")
            return
        prepared = await _prepared(run, settings, models)
        out.mkdir(parents=True, exist_ok=True)
        if prepared:
            prepared.write(out)
        Place(out).write(run)

    @app.command("render")
    def train_render(
        file: File,
        kind: Annotated[str, typer.Option("--as", help="kubernetes or skypilot.")],
        override: Overrides = None,
    ) -> None:
        """Print the same run as a Kubernetes Job or a SkyPilot task."""
        from frontdesk.training import rendering, runfile

        print_out(rendering.render(runfile.read(file, override or ()), kind).rstrip())


def _watching(app: typer.Typer, get_app: typer.Typer) -> None:
    @get_app.command("runs")
    @_async
    async def get_runs(data: Data = None, as_json: AsJson = False) -> None:
        """List the runs of this data folder, the newest first."""
        async with _manager(configuration.load({"data": data})) as manager:
            runs = [run for _, run in await manager.list()]
        rows = [
            {
                "name": r.name,
                "recipe": r.recipe,
                "model": r.model,
                "state": r.state.value,
                "step": f"{r.step}/{r.steps}",
                "loss": None if r.loss is None else round(r.loss, 3),
                "score": None if r.score is None else round(r.score, 3),
                "created": f"{r.created_at:%Y-%m-%d %H:%M}",
            }
            for r in runs
        ]
        _table(rows, as_json)

    @app.command("logs")
    @_async
    async def train_logs(
        name: Name, follow: Annotated[bool, typer.Option("--follow", help="Stay until the run ends.")] = False, data: Data = None
    ) -> None:
        """Print what a run said."""
        async with _manager(configuration.load({"data": data})) as manager:
            place = manager.place(name)
            shown = 0
            async for _run, _beat in manager.follow(place):
                log = place.folder / "log.txt"
                text = log.read_bytes()[shown:] if log.is_file() else b""
                shown += len(text)
                sys.stdout.write(text.decode("utf-8", "replace"))
                sys.stdout.flush()
                if not follow:
                    return

    @app.command("describe")
    @_async
    async def train_describe(name: Name, data: Data = None, as_json: AsJson = False) -> None:
        """Show a run's state, curves, figures, pitfalls and verdict."""
        from frontdesk.training import curves

        async with _manager(configuration.load({"data": data})) as manager:
            place = manager.place(name)
            run = await manager.current(place)
            if as_json:
                print_out(json.dumps(dataclasses.asdict(run), ensure_ascii=False, indent=2, default=str))
                return
            for key in ("name", "recipe", "model", "folder", "phase", "message"):
                if getattr(run, key):
                    print_out(f"{key:9} {getattr(run, key)}")
            print_out(f"{'state':9} {run.state.value}, step {run.step} of {run.steps}")
            if drawn := curves.terminal(curves.read(place.folder / "curves.jsonl")):
                print_out(drawn)
            show_report(run.report)


def _steering(app: typer.Typer) -> None:
    @app.command("stop")
    @_async
    async def train_stop(name: Name, data: Data = None) -> None:
        """Stop a run after its step; it can be resumed."""
        async with _manager(configuration.load({"data": data})) as manager:
            print_out((await manager.stop(name)).value)

    @app.command("resume")
    @_async
    async def train_resume(
        name: Name, follow: Annotated[bool, typer.Option("--follow", help="Stay and show progress.")] = False, data: Data = None
    ) -> None:
        """Go on with a stopped or failed run from its last checkpoint."""
        async with _manager(configuration.load({"data": data})) as manager:
            place = await manager.resume(name)
            print_out(name)
            if follow:
                await _follow(manager, place)

    @app.command("forget")
    @_async
    async def train_forget(conversation: Annotated[str, typer.Argument(help="Id of an erased conversation.")], data: Data = None) -> None:
        """Take a conversation out of the data of every run; what was trained on it is named, to be trained again."""
        async with _manager(configuration.load({"data": data})) as manager:
            found = manager.forget(conversation)
        for name, count in found.items():
            print_out(f"{name}: {count} examples taken out")
        if not found:
            errors.print("no run learnt from it", highlight=False)

    @app.command("delete")
    @_async
    async def train_delete(name: Name, data: Data = None) -> None:
        """Delete a run that is over, with everything in its folder."""
        async with _manager(configuration.load({"data": data})) as manager:
            await manager.delete(name)


def show_report(report: Any) -> None:
    """What was measured, as tables."""
    if not report or "sides" not in report:
        for key, value in (report or {}).get("figures", {}).items():
            print_out(f"{key:28} {value}")
        if (report or {}).get("verdict"):
            print_out(report["verdict"])
        return
    sides = Table("answers by", "key facts told", "complete answers", "questions", box=None)
    for side in report["sides"]:
        sides.add_row(side["name"], f"{side['recall']:.3f}", f"{side['complete']:.3f}", str(side["questions"]))
    pitfalls = Table("pitfall", "measured", "that means", box=None)
    for row in report["pitfalls"]:
        pitfalls.add_row(*row)
    console = Console()
    console.print(sides)
    console.print(pitfalls)
    for sample in report["samples"][:4]:
        for key in ("question", "answer", "base", "tuned"):
            print_out(f"{key:9} {' '.join(sample[key].split())}")
        print_out("")
    for note in report["notes"]:
        print_out(note)
    print_out(report["verdict"])


async def _prepared(run: Any, settings: Settings, models: Callable[[], Models]) -> Any:
    """The run's examples; None for recipes that read their data file themselves."""
    from frontdesk.store.store import Store
    from frontdesk.training.preparing import prepare

    if run.recipe not in ("faq", "dialogue"):
        return None
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(models().model(settings)) if run.data.by_model else None
        store = None
        if run.data.log:
            store = await Store.open(settings)
            stack.push_async_callback(store.close)
        return await prepare(run, settings, store=store, model=model)


def _memory(run: Any, settings: Settings) -> str:
    """What the run needs, when its base lies here already. Raises TrainingFailed when that is more than there is."""
    from frontdesk.models import registry
    from frontdesk.training.memory import estimate

    base = Path(run.model)
    if not (base / "config.json").is_file():
        folder = settings.cache / "training"
        try:
            files = [f.name for f in registry.get(run.model).files]
        except NotFound:
            if run.recipe in ("faq", "dialogue") and not base.exists():
                raise
            return ""
        made = [f for f in sorted(folder.glob("*/config.json")) if any(f.parent.name.startswith(Path(n).stem) for n in files)]
        if not made:
            return ""
        base = made[0].parent
    return f"this run {estimate(base, run.parameters)}"


async def _follow(manager: Any, place: Any) -> None:
    """A bar while the run goes on; then its curves, or its last lines when it failed."""
    from frontdesk.store.runs import RunState
    from frontdesk.training import curves

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    run = None
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("PENDING", total=None)
        async for run, last in manager.follow(place):
            loss = f" loss {last['loss']:.3f}" if last.get("loss") is not None else ""
            speed = f" {last['tokens_per_second']:.0f} tokens/s" if last.get("tokens_per_second") else ""
            bar.update(
                task, description=f"{run.state.value} {last.get('phase', '')}{loss}{speed}", completed=run.step, total=run.steps or None
            )
    if drawn := curves.terminal(curves.read(place.folder / "curves.jsonl")):
        print_out(drawn)
    if run is None or run.state is RunState.FAILED:
        raise TrainingFailed(run.message if run else "the run is gone")
    show_report(run.report)
    print_out(f"{run.state.value}: {run.message}")


def _table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_out(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        errors.print("no run yet: start one with `frontdesk train run -f FILE`", highlight=False)
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*("" if v is None else str(v) for v in row.values()))
    Console().print(table)


def print_out(text: str) -> None:
    """A result, to stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
