"""Looks after one run: waits for the machine, starts the worker, passes its beats on, and records how it ended. Does no training itself.

    python -m frontdesk.training.supervising FOLDER --data DATA

Killed itself, the worker notices within a step and stops with a checkpoint; the run is then found FAILED and can be resumed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from frontdesk.errors import FrontdeskError
from frontdesk.settings import Settings, load
from frontdesk.store.runs import RunState, TrainingRuns
from frontdesk.store.store import Store
from frontdesk.training import curves
from frontdesk.training.rendering import command
from frontdesk.training.runs import BEAT_SECONDS, Place, beat, finite

STOP_SECONDS = 60.0
"""How long a worker may take to stop by itself before it is ended."""
STOPPED, REFUSED = 75, 2
"""Exit statuses of a worker: it stopped as asked; it refused what it was given."""


async def supervise(
    rows: TrainingRuns,
    place: Place,
    worker: Sequence[str],
    *,
    machine: Path,
    beat_seconds: float = BEAT_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> RunState:
    """Take a PENDING run to its end; the state it ended in. `machine`: lock file that only one running run holds."""
    name = place.folder.name
    with _lock(place.folder / "supervisor.lock", wait=False):
        if not await rows.move(name, RunState.QUEUED, expected=(RunState.PENDING,)):
            return (await rows.get(name)).state
        async with _turn(machine, rows, name, place, beat_seconds) as mine:
            if not mine:
                return await _end(rows, name, RunState.STOPPED, "stopped while it waited")
            if not await rows.move(name, RunState.STARTING, expected=(RunState.QUEUED,)):
                return (await rows.get(name)).state
            return await _work(rows, place, worker, beat_seconds, stop_seconds)


async def _work(rows: TrainingRuns, place: Place, worker: Sequence[str], beat_seconds: float, stop_seconds: float) -> RunState:
    name, log = place.folder.name, place.folder / "log.txt"
    (place.folder / "beat.json").unlink(missing_ok=True)
    with log.open("ab") as out:
        try:
            process = await asyncio.create_subprocess_exec(*worker, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out)
        except OSError as error:
            return await _end(rows, name, RunState.FAILED, f"the worker cannot be started ({error}): {shlex.join(worker)}")
    waiting = asyncio.create_task(process.wait())
    asked: float | None = None
    now = asyncio.get_running_loop().time
    while not waiting.done():
        await asyncio.wait([waiting], timeout=beat_seconds)
        last = beat(place.folder)
        if last:
            await rows.move(name, RunState.RUNNING, expected=(RunState.STARTING,))
            await _pass_on(rows, name, last)
        if (place.folder / "stop").exists() and not waiting.done():
            if asked is None:
                asked = now()
                await rows.move(name, RunState.TERMINATING, expected=(RunState.STARTING, RunState.RUNNING))
            elif now() - asked > stop_seconds:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
    if last := beat(place.folder):
        await _pass_on(rows, name, last)
    await _keep_results(rows, place)
    return await _ended(rows, place, process.returncode or 0, stopping=asked is not None)


async def _ended(rows: TrainingRuns, place: Place, status: int, *, stopping: bool) -> RunState:
    name = place.folder.name
    if status == 0:
        return await _end(rows, name, RunState.COMPLETED, _verdict(place.folder))
    if stopping or status == STOPPED:
        return await _end(
            rows, name, RunState.STOPPED, "stopped as asked" if status == STOPPED else f"ended after {STOP_SECONDS:.0f} s without stopping"
        )
    if status < 0:
        killed = signal.Signals(-status).name
        why = f"the worker was killed ({killed})" + (": perhaps the machine ran out of memory" if killed == "SIGKILL" else "")
    else:
        why = f"the worker ended with status {status}"
    return await _end(rows, name, RunState.FAILED, f"{why}\n{place.tail()}".strip())


async def _end(rows: TrainingRuns, name: str, state: RunState, message: str) -> RunState:
    expected = (RunState.PENDING, RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.TERMINATING)
    await rows.move(name, state, expected=expected, message=message)
    return state


async def _pass_on(rows: TrainingRuns, name: str, last: dict[str, object]) -> None:
    step, steps, loss, score, phase = finite([last.get(k) for k in ("step", "steps", "loss", "score", "phase")])
    await rows.beat(name, step=int(step or 0), steps=int(steps or 0), loss=loss, score=score, phase=str(phase or ""))


async def _keep_results(rows: TrainingRuns, place: Place) -> None:
    events = curves.read(place.folder / "curves.jsonl")
    if picture := curves.svg(events, title=place.folder.name):
        (place.folder / "curves.svg").write_text(picture, encoding="utf-8")
    report = place.folder / "report.json"
    if events or report.is_file():
        told = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
        await rows.put_report(place.folder.name, finite([told])[0], finite(events))


def _verdict(folder: Path) -> str:
    report = folder / "report.json"
    return str(json.loads(report.read_text(encoding="utf-8")).get("verdict", "")) if report.is_file() else ""


@contextlib.contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file for this process; the system lets go of it when the process dies. False: somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.asynccontextmanager
async def _turn(machine: Path, rows: TrainingRuns, name: str, place: Place, seconds: float):  # type: ignore[no-untyped-def]
    """Wait until no other run uses this machine; False when the run was stopped meanwhile."""
    while not (place.folder / "stop").exists():
        with _lock(machine, wait=False) as mine:
            if mine:
                yield True
                return
        await rows.beat(name, step=0, steps=0, loss=None, score=None, phase="waiting for another run")
        await asyncio.sleep(seconds)
    yield False


async def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise the run of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--database-url-on-stdin", action="store_true")
    options = parser.parse_args(arguments)
    url = sys.stdin.read() if options.database_url_on_stdin else ""
    settings: Settings = load({"data": options.data, "database_url": url or None})
    place = Place(options.folder)
    store = await Store.open(settings)
    try:
        rows = store.for_tenant(place.tenant).runs
        try:
            state = await supervise(
                rows, place, command(place.run, place.folder, cache=settings.cache), machine=options.data / "runs" / ".machine.lock"
            )
        except FrontdeskError as error:
            state = await _end(rows, place.folder.name, RunState.FAILED, str(error))
        return 0 if state is RunState.COMPLETED else 1
    finally:
        await store.close()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
