"""The run manager, driven with workers that are a few lines of Python: states, beats, crashes, stops, queues, resumption."""

import asyncio
import json
import os
import secrets
import signal
import sys
from pathlib import Path

import pytest

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import Conflict, NotFound
from frontdesk.settings import Settings
from frontdesk.store.runs import RunState, TrainingRuns
from frontdesk.store.store import Store
from frontdesk.training import runfile
from frontdesk.training.runs import Place, RunManager, beat
from frontdesk.training.supervising import supervise

STEPS = """
import json, pathlib, sys, time
from frontdesk.training.runs import write_beat
folder = pathlib.Path(sys.argv[1])
def step(n, of=4, loss=1.0):
    write_beat(folder, phase="training", step=n, steps=of, loss=loss / n, score=None)
    with (folder / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "step", "step": n, "steps": of, "epoch": 1, "loss": loss / n, "rate": 0.1, "tokens": n, "seconds": n}) + "\\n")
"""


def worker(place: Place, body: str) -> list[str]:
    return [sys.executable, "-c", STEPS + body, str(place.folder)]


@pytest.fixture
def rows(store: Store, tenant: TenantId) -> TrainingRuns:
    return store.for_tenant(tenant).runs


@pytest.fixture
async def place(rows: TrainingRuns, tenant: TenantId, tmp_path: Path) -> Place:
    return await recorded(rows, tenant, tmp_path, "first")


async def recorded(rows: TrainingRuns, tenant: TenantId, tmp_path: Path, name: str) -> Place:
    made = Place(tmp_path / "runs" / name)
    run = runfile.parse(f"name: {name}\nrecipe: faq\ntenant: {tenant}\n", "f")
    made.write(run)
    await rows.create(name=name, recipe="faq", model=run.model, config=run.to_json(), folder=str(made.folder))
    return made


async def watch(rows: TrainingRuns, place: Place, body: str, **more: float) -> RunState:
    return await supervise(rows, place, worker(place, body), machine=place.folder.parent / ".machine.lock", beat_seconds=0.02, **more)


async def until(rows: TrainingRuns, name: str, state: RunState) -> None:
    async with asyncio.timeout(20):
        while (await rows.get(name)).state is not state:
            await asyncio.sleep(0.02)


async def test_a_run_passes_its_states_beats_and_keeps_report_and_curves(rows: TrainingRuns, place: Place) -> None:
    body = "for n in (1, 2, 3, 4): step(n); time.sleep(0.05)\n(folder / 'report.json').write_text(json.dumps({'verdict': 'ship: fine', 'x': float('nan')}))"
    assert await watch(rows, place, body) is RunState.COMPLETED
    run = await rows.get("first")
    assert (run.step, run.steps, run.loss, run.message) == (4, 4, 0.25, "ship: fine")
    assert run.report == {"verdict": "ship: fine", "x": None}
    assert len(run.curves or ()) == 4
    assert "<svg" in (place.folder / "curves.svg").read_text()
    assert run.started_at
    assert run.ended_at


async def test_a_crash_keeps_its_last_lines(rows: TrainingRuns, place: Place) -> None:
    assert await watch(rows, place, "step(1)\nprint('about to divide', flush=True)\n1 / 0") is RunState.FAILED
    message = (await rows.get("first")).message
    assert "status 1" in message
    assert "about to divide" in message
    assert "ZeroDivisionError" in message


async def test_kill_9_is_a_failure_that_says_so(rows: TrainingRuns, place: Place) -> None:
    state = await watch(rows, place, "step(1); time.sleep(0.1)\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert state is RunState.FAILED
    assert "SIGKILL" in (await rows.get("first")).message


async def test_a_worker_that_cannot_be_started_is_a_failure(rows: TrainingRuns, place: Place) -> None:
    state = await supervise(rows, place, ["/no/such/python"], machine=place.folder / "m.lock", beat_seconds=0.02)
    assert state is RunState.FAILED
    assert "cannot be started" in (await rows.get("first")).message


async def test_a_stop_lets_the_worker_finish_its_step(rows: TrainingRuns, place: Place) -> None:
    task = asyncio.create_task(watch(rows, place, "step(1)\nwhile not (folder / 'stop').exists(): time.sleep(0.02)\nstep(2)\nsys.exit(75)"))
    await until(rows, "first", RunState.RUNNING)
    (place.folder / "stop").touch()
    assert await task is RunState.STOPPED
    assert (await rows.get("first")).step == 2


async def test_a_worker_that_does_not_stop_is_ended(rows: TrainingRuns, place: Place) -> None:
    task = asyncio.create_task(watch(rows, place, "step(1)\ntime.sleep(60)", stop_seconds=0.2))
    await until(rows, "first", RunState.RUNNING)
    (place.folder / "stop").touch()
    assert await task is RunState.STOPPED


async def test_one_machine_does_one_run_at_a_time(rows: TrainingRuns, place: Place, tenant: TenantId, tmp_path: Path) -> None:
    second = await recorded(rows, tenant, tmp_path, "second")
    wait = "step(1)\nwhile not (folder / 'go').exists(): time.sleep(0.02)"
    one = asyncio.create_task(watch(rows, place, wait))
    await until(rows, "first", RunState.RUNNING)
    two = asyncio.create_task(watch(rows, second, "step(1)"))
    await until(rows, "second", RunState.QUEUED)
    (place.folder / "go").touch()
    assert await asyncio.gather(one, two) == [RunState.COMPLETED, RunState.COMPLETED]


async def test_a_waiting_run_can_be_stopped(rows: TrainingRuns, place: Place, tenant: TenantId, tmp_path: Path) -> None:
    second = await recorded(rows, tenant, tmp_path, "second")
    one = asyncio.create_task(watch(rows, place, "step(1)\nwhile not (folder / 'go').exists(): time.sleep(0.02)"))
    await until(rows, "first", RunState.RUNNING)
    two = asyncio.create_task(watch(rows, second, "step(1)"))
    await until(rows, "second", RunState.QUEUED)
    (second.folder / "stop").touch()
    assert await two is RunState.STOPPED
    (place.folder / "go").touch()
    await one


async def test_only_the_first_of_two_supervisors_works(rows: TrainingRuns, place: Place) -> None:
    one = asyncio.create_task(watch(rows, place, "step(1)\nwhile not (folder / 'go').exists(): time.sleep(0.02)"))
    await until(rows, "first", RunState.RUNNING)
    assert await watch(rows, place, "raise SystemExit(9)") is RunState.RUNNING
    (place.folder / "go").touch()
    assert await one is RunState.COMPLETED


# --- the manager itself, with its own processes ---


@pytest.fixture
def manager(store: Store, database_settings: Settings) -> RunManager:
    return RunManager(store, database_settings, silent_seconds=0.2)


def unknown(tenant: TenantId) -> runfile.RunFile:
    """A run whose worker refuses at once, without torch."""
    return runfile.parse(f"name: r{secrets.token_hex(4)}\nrecipe: toolformer\ntenant: {tenant}\n", "f")


async def ended(manager: RunManager, place: Place) -> RunState:
    async with asyncio.timeout(60):
        async for run, _ in manager.follow(place, seconds=0.1):
            last = run
    return last.state


async def test_a_run_is_started_by_a_process_of_its_own_and_its_refusal_is_told(manager: RunManager, tenant: TenantId) -> None:
    place = await manager.start(unknown(tenant), prepare=lambda folder: (folder / "data.json").write_text("{}"))
    patient = RunManager(manager._store, manager._settings)
    assert await ended(patient, place) is RunState.FAILED
    name = place.folder.name
    run = await manager.current(place)
    assert "has commands of its own" in run.message
    assert name in [r.name for _, r in await manager.list()]
    with pytest.raises(Conflict, match="already"):
        await manager.start(unknown(tenant).__class__(**{**unknown(tenant).__dict__, "name": name}))
    with pytest.raises(Conflict, match="nothing to stop"):
        await manager.stop(name)
    await patient.resume(name)
    assert await ended(patient, place) is RunState.FAILED
    await manager.delete(name)
    with pytest.raises(NotFound, match="get runs"):
        manager.place(name)


async def test_a_run_whose_supervisor_vanished_is_found_failed(manager: RunManager, tenant: TenantId) -> None:
    run = unknown(tenant)
    place = Place(manager._runs / run.name)
    place.write(run)
    rows = manager.rows(place)
    await rows.create(name=run.name, recipe="faq", model="m", config={}, folder=str(place.folder))
    await rows.move(run.name, RunState.RUNNING, expected=(RunState.PENDING,))
    with pytest.raises(Conflict, match="stop it first"):
        await manager.delete(run.name)
    await asyncio.sleep(0.3)
    found = await manager.current(place)
    assert found.state is RunState.FAILED
    assert "vanished" in found.message
    await manager.delete(run.name)


async def test_kill_9_of_the_supervisor_leaves_a_run_that_can_be_resumed(
    manager: RunManager, tenant: TenantId, rows: TrainingRuns, place: Place
) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom frontdesk.settings import load\nfrom frontdesk.store.store import Store\n"
        "from frontdesk.training.runs import Place\nfrom frontdesk.training.supervising import supervise\n"
        "async def main():\n"
        "    store = await Store.open(load({'data': Path(sys.argv[1])}))\n"
        "    place = Place(Path(sys.argv[2]))\n"
        "    await supervise(store.for_tenant(place.tenant).runs, place, [sys.executable, '-c', sys.argv[3], str(place.folder)],\n"
        "                    machine=place.folder / 'm.lock', beat_seconds=0.05)\n"
        "asyncio.run(main())"
    )
    parent_gone = STEPS + "import os\nparent = os.getppid()\nstep(1)\nwhile os.getppid() == parent: time.sleep(0.02)\nstep(2); sys.exit(75)"
    data = str(manager._settings.data)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, data, str(place.folder), parent_gone)
    await until(rows, "first", RunState.RUNNING)
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    async with asyncio.timeout(20):
        while beat(place.folder).get("step") != 2:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert (await manager.current(place)).state is RunState.FAILED
    assert await rows.move("first", RunState.PENDING, expected=(RunState.FAILED,))
    assert await watch(rows, place, "step(3)") is RunState.COMPLETED


async def test_another_tenant_sees_no_run(store: Store, rows: TrainingRuns, place: Place) -> None:
    stranger = store.for_tenant(TenantId(f"t{secrets.token_hex(4)}")).runs
    assert await stranger.list() == []
    with pytest.raises(NotFound):
        await stranger.get("first")
    assert json.loads((place.folder / "run.json").read_text())["name"] == "first"
