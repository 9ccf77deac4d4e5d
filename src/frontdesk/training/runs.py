"""The run manager: starts, follows, stops, resumes and deletes runs. One supervised process per run; states live in the database.

    PENDING     recorded                        TERMINATING  asked to stop, writes its checkpoint
    QUEUED      another run uses this machine   COMPLETED    done, with a verdict
    STARTING    the worker was started          STOPPED      stopped by somebody; may be resumed
    RUNNING     the worker beats                FAILED       crashed or vanished; the last lines are kept; may be resumed

A run's folder, `data/runs/NAME`, holds all that it reads and writes:

    run.json  log.txt  beat.json  curves.jsonl  curves.svg  checkpoint/  adapter/  report.json  data/

The supervisor (`frontdesk.training.supervising`) is a process of its own, so that a run goes on when the terminal is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import Conflict, NotFound, TrainingFailed
from frontdesk.settings import Settings, child_environment
from frontdesk.store.runs import Run, RunState, TrainingRuns
from frontdesk.store.store import Store
from frontdesk.training import erasing
from frontdesk.training.runfile import RunFile

SHARED = TenantId("_")
"""Under this name the database keeps runs that belong to no tenant."""
SILENT_SECONDS = 60.0
"""A run that beats no more for so long has lost its supervisor."""
BEAT_SECONDS = 1.0
ACTIVE = (RunState.PENDING, RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.TERMINATING)


@dataclass(frozen=True)
class Place:
    """A run's folder and what is in it."""

    folder: Path

    @property
    def run(self) -> RunFile:
        """What was asked for. Raises NotFound."""
        from frontdesk.training import runfile

        try:
            return runfile.from_json(json.loads((self.folder / "run.json").read_text(encoding="utf-8")))
        except OSError:
            raise NotFound(f"there is no run in {self.folder}: `frontdesk train get runs` lists them") from None

    @property
    def tenant(self) -> TenantId:
        """Under which the database keeps it."""
        return TenantId(self.run.tenant) if self.run.tenant else SHARED

    def write(self, run: RunFile) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text(json.dumps(run.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")

    def tail(self, lines: int = 12) -> str:
        """The last lines of the log."""
        log = self.folder / "log.txt"
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            kept = [line.rstrip() for line in file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()]
        return "\n".join([line for line in kept if line][-lines:])


class RunManager:
    """The runs of one data folder."""

    def __init__(self, store: Store, settings: Settings, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._store = store
        self._silent = silent_seconds
        self._settings = settings
        self._runs = settings.data.resolve() / "runs"

    def place(self, name: str) -> Place:
        """Where a run lies. Raises NotFound."""
        place = Place(self._runs / name)
        if not name or "/" in name or not (place.folder / "run.json").is_file():
            raise NotFound(f"there is no run called {name!r}: `frontdesk train get runs` lists them")
        return place

    def rows(self, place: Place) -> TrainingRuns:
        """The database's side of it."""
        return self._store.for_tenant(place.tenant).runs

    async def start(self, run: RunFile, *, prepare: Callable[[Path], object] | None = None) -> Place:
        """Record a run and start its supervisor; `prepare` writes into its folder first. Raises Conflict when the name is taken."""
        place = Place(self._runs / run.name)
        if (place.folder / "run.json").exists():
            raise Conflict(
                f"there is a run called {run.name!r} already: delete it with `frontdesk train delete {run.name}`, or choose another name"
            )
        shutil.rmtree(place.folder, ignore_errors=True)  # what an attempt left that never got its run.json
        try:
            place.folder.mkdir(parents=True)
            if prepare is not None:
                prepare(place.folder)
            place.write(run)
        except OSError as error:
            raise TrainingFailed(
                f"the run cannot be written to {place.folder} ({error.strerror or error}): free some space there"
            ) from error
        rows = self._store.for_tenant(place.tenant).runs
        await rows.create(name=run.name, recipe=run.recipe, model=run.model, config=run.to_json(), folder=str(place.folder))
        self._supervise(place)
        return place

    async def resume(self, name: str) -> Place:
        """Go on from the last checkpoint. Raises Conflict for a run that is not over, or that is complete."""
        place = self.place(name)
        run = await self.current(place)
        if not await self.rows(place).move(name, RunState.PENDING, expected=(RunState.STOPPED, RunState.FAILED)):
            raise Conflict(f"the run {name!r} is {run.state.value}: only a stopped or failed run can be resumed")
        (place.folder / "stop").unlink(missing_ok=True)
        self._supervise(place)
        return place

    async def stop(self, name: str) -> RunState:
        """Ask a run to stop after its step; its checkpoint stays. Raises Conflict when it is over already."""
        place = self.place(name)
        run = await self.current(place)
        if run.state.final:
            raise Conflict(f"the run {name!r} is {run.state.value} already: there is nothing to stop")
        (place.folder / "stop").touch()
        await self.rows(place).move(name, RunState.TERMINATING, expected=(RunState.RUNNING, RunState.STARTING))
        return (await self.current(place)).state

    async def delete(self, name: str) -> None:
        """Forget a run and everything in its folder. Raises Conflict while it is going on."""
        place = self.place(name)
        run = await self.current(place)
        if not run.state.final:
            raise Conflict(f"the run {name!r} is {run.state.value}: stop it first with `frontdesk train stop {name}`")
        await self.rows(place).delete(name)
        await asyncio.to_thread(shutil.rmtree, place.folder)

    def forget(self, conversation: str) -> dict[str, int]:
        """Take an erased conversation out of every run's data; run -> examples that went. What was trained on them should be trained again."""
        return erasing.forget(self._runs.parent, conversation)

    async def current(self, place: Place) -> Run:
        """A run as it is now; one whose supervisor vanished is FAILED from here on."""
        rows = self.rows(place)
        run = await rows.get(place.folder.name)
        if run.state in ACTIVE and run.silent_seconds > self._silent and not _held(place.folder):
            last = place.tail()
            said = f"the run vanished without a word: resume it with `frontdesk train resume {run.name}`" + (f"\n{last}" if last else "")
            await rows.move(run.name, RunState.FAILED, expected=ACTIVE, message=said)
            run = await rows.get(run.name)
        return run

    async def list(self) -> list[tuple[Place, Run]]:
        """Every run of this data folder, the newest first."""
        found = []
        for folder in sorted(self._runs.iterdir()) if self._runs.is_dir() else ():
            if (folder / "run.json").is_file():
                try:
                    found.append((Place(folder), await self.current(Place(folder))))
                except NotFound:
                    continue  # its row was deleted with another data base, or the run is being deleted
        return sorted(found, key=lambda pair: pair[1].created_at, reverse=True)

    async def follow(self, place: Place, *, seconds: float = 0.5) -> AsyncIterator[tuple[Run, dict[str, Any]]]:
        """The run and its last beat, again and again until it is over."""
        while True:
            run = await self.current(place)
            yield run, beat(place.folder)
            if run.state.final:
                return
            await asyncio.sleep(seconds)

    def _supervise(self, place: Place) -> None:
        supervisor = [
            sys.executable,
            "-m",
            "frontdesk.training.supervising",
            str(place.folder),
            "--data",
            str(self._settings.data.resolve()),
        ]
        if self._settings.database_url:
            supervisor.append("--database-url-on-stdin")
        with (place.folder / "log.txt").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own Python and module
                supervisor,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=child_environment(FRONTDESK_CACHE=str(self._settings.cache.resolve())),
            )
        assert child.stdin is not None  # noqa: S101 - asked for above
        child.stdin.write(self._settings.database_url.encode())
        child.stdin.close()
        child.returncode = 0  # it outlives this process on purpose


def beat(folder: Path) -> dict[str, Any]:
    """The worker's last beat; empty before the first."""
    try:
        found: dict[str, Any] = json.loads((folder / "beat.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def write_beat(folder: Path, **values: Any) -> None:
    """One beat, whole or not at all."""
    part = folder / f"beat.json.{os.getpid()}"  # with several GPUs there are several workers
    part.write_text(json.dumps(values), encoding="utf-8")
    part.rename(folder / "beat.json")


def _held(folder: Path) -> bool:
    """Whether a living process holds the run."""
    import fcntl

    lock = folder / "supervisor.lock"
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def finite(rows: Iterable[Any]) -> list[Any]:
    """Plain values with numbers that JSON lacks (NaN, infinity) as None."""

    def mend(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: mend(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [mend(v) for v in value]
        return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value

    return [mend(row) for row in rows]
