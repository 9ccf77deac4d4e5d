"""Training: runs with their curves, versions in service, deploy and roll back. Starts nothing that the command line would refuse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from frontdesk.console import charts
from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html, sure
from frontdesk.console.telling import ago, short
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.staff import Right
from frontdesk.errors import BadInput, NotFound
from frontdesk.store.runs import Run, RunState
from frontdesk.training import curves, deploying, runfile
from frontdesk.training.runs import SHARED, Place, RunManager

LOOK_SECONDS = 2.0
FILES = ("faq", "by_hand", "unseen", "dataset", "shards", "out_of_scope")
"""Parts of a run file that name files of the server; they belong on its command line."""
STATES = {
    RunState.PENDING: "recorded",
    RunState.QUEUED: "waits for another run",
    RunState.STARTING: "starts",
    RunState.RUNNING: "goes on",
    RunState.TERMINATING: "is stopping",
    RunState.COMPLETED: "is done",
    RunState.STOPPED: "was stopped",
    RunState.FAILED: "failed",
}


@page("training", "Training", icon="model_training")
async def training(visit: Visit) -> None:
    """Runs and versions."""
    with content(
        "Training", "Runs that teach a model this tenant's answers, and the versions that serve. The desk keeps checking every word."
    ):
        pass
    await _versions(visit)
    with card("Runs"):
        runs = [(p, r) for p, r in await RunManager(visit.office.store, visit.office.settings).list() if _theirs(visit, p)]
        rows = [
            [
                link(visit, r.name, "training", r.name),
                escape(r.recipe),
                escape(r.model),
                escape(STATES[r.state]),
                f"{r.step} of {r.steps}" if r.steps else "–",
                "–" if r.loss is None else f"{r.loss:.3f}",
                "–" if r.score is None else f"{r.score:.3f}",
                ago(r.created_at),
            ]
            for p, r in runs
        ]
        if rows:
            markup(rows_html(("Run", "Recipe", "Model", "State", "Step", "Loss", "Score", "Made"), rows, label="Training runs"))
        else:
            empty("No runs yet.")
    if visit.may(Right.TRAIN):
        _start(visit)


def _theirs(visit: Visit, place: Place) -> bool:
    with contextlib.suppress(NotFound):
        return place.tenant in (visit.tenant.id, SHARED)
    return False


def _start(visit: Visit) -> None:
    example = f"name: {visit.tenant.id}-faq-1\nrecipe: faq\ntenant: {visit.tenant.id}\n"
    with ui.expansion("Start a run from a run file", icon="add").classes("box wide"):
        ui.label("The same file as for `frontdesk train run`. It is checked before anything starts.").classes("soft")
        text = (
            ui.textarea(value=example).props("outlined autogrow aria-label='Run file' input-style='font-family: monospace'").classes("wide")
        )

        async def start() -> None:
            from frontdesk.training.preparing import prepare  # the heavy half, only when a run starts

            run = runfile.parse(text.value or "", "this run file")
            if run.tenant not in ("", visit.tenant.id):
                raise BadInput(f"This page starts runs of {visit.tenant.id}: the file names {run.tenant}.")
            named = [n for n in FILES if getattr(run.data, n)]
            if named or run.recipe not in ("faq", "dialogue"):
                raise BadInput(
                    f"This page trains on the tenant's own FAQ and log: start runs with {named[0] if named else run.recipe} on the command line."
                )
            settings = visit.office.settings
            prepared = await prepare(run, settings, store=visit.office.store, model=visit.office.model)
            await visit.act(Right.TRAIN, "training.start", run.name, recipe=run.recipe)
            manager = RunManager(visit.office.store, settings)
            await manager.start(run, prepare=prepared.write)
            lead_to(visit.path("training", run.name))

        ui.button("Check and start", icon="play_arrow", on_click=visit.doing(start)).props("no-caps unelevated")


async def _versions(visit: Visit) -> None:
    versions = await visit.space.deployments.all()
    states = {"serving": "serves", "canary": "is tried", "retired": "served before", "withdrawn": "was taken back"}
    with card("Versions in service", "With none, the base model words the answers."):
        if not versions:
            empty("Nothing is deployed.")
            return
        rows = [
            [
                f"{escape(v.name)} version {v.version}",
                f'<span class="pill {"good" if v.state == "serving" else ""}">{escape(states.get(v.state, v.state))}</span>',
                f"{v.share:.0%}" if v.state in ("serving", "canary") else "–",
                escape(v.actor),
                ago(v.changed_at),
                escape(short(v.note, 80)),
            ]
            for v in versions
        ]
        markup(rows_html(("Version", "State", "Share", "By", "Since", "Note"), rows, label="Versions"))
        live = {v.state for v in versions}
        if visit.may(Right.TRAIN):
            with ui.row():
                if "canary" in live:
                    ui.button("Promote the trial", on_click=visit.doing(lambda: _promote(visit))).props("no-caps unelevated")
                if live & {"canary", "serving"}:
                    ui.button("Roll back", icon="undo", on_click=visit.doing(lambda: _roll_back(visit))).props("no-caps flat")


async def _promote(visit: Visit) -> None:
    space = await visit.act(Right.TRAIN, "models.promote", visit.tenant.id)
    made = await space.deployments.promote()
    ui.notify(f"{made.label} serves everybody now.", type="positive")
    lead_to(visit.path("training"))


async def _roll_back(visit: Visit) -> None:
    if not await sure("Take the newest version back?", yes="Roll back", detail="The one before it serves again, or the base model."):
        return
    space = await visit.act(Right.TRAIN, "models.rollback", visit.tenant.id)
    now = await space.deployments.rollback()
    ui.notify(f"{now.label} serves again." if now else "The base model serves again.", type="positive")
    lead_to(visit.path("training"))


@page("training/{run}", "Training run")
async def training_run(visit: Visit, run: str) -> None:
    """One run: its curves, what it found, stop, resume, deploy."""
    manager = RunManager(visit.office.store, visit.office.settings)
    place = manager.place(run)
    if not _theirs(visit, place):
        raise NotFound("There is no such run.")
    now = await manager.current(place)
    with content(run, f"Recipe {now.recipe} on {now.model}, made {ago(now.created_at)}.") as acts:
        pass
    markup(f'<p class="crumbs">{link(visit, "Training", "training")}</p>')
    if visit.may(Right.TRAIN):
        with acts:
            _acts(visit, manager, now)
    state, bar = ui.label().classes("strong"), ui.linear_progress(0, show_value=False)
    with card("Curves"):
        chart = ui.echart(charts.curves({})).classes("chart")
    found = markup("", "wide")

    async def look() -> None:
        fresh = await manager.current(place)
        state.set_text(f"The run {STATES[fresh.state]}{f', step {fresh.step} of {fresh.steps}' if fresh.steps else ''}.")
        bar.set_value(fresh.step / fresh.steps if fresh.steps else 0)
        bar.set_visibility(not fresh.state.final)
        events = await asyncio.to_thread(curves.read, place.folder / "curves.jsonl")
        chart.options.clear()
        chart.options.update(charts.curves(series(events)))
        chart.update()
        found.set_content(_report_html(fresh))

    await look()
    if not now.state.final:
        ui.timer(LOOK_SECONDS, visit.doing(look))


def series(events: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Curves by name from the events of a curves file: the loss by step, and what was measured after each epoch at its last step."""
    found: dict[str, list[tuple[float, float]]] = {}
    step = 0.0
    for event in events:
        if event.get("kind") == "step":
            step = float(event["step"])
            found.setdefault("Loss", []).append((step, float(event["loss"])))
        elif event.get("kind") == "epoch":
            for key, title in (("held_out_loss", "Held-out loss"), ("token_accuracy", "Token accuracy"), ("score", "Score")):
                if event.get(key) is not None:
                    found.setdefault(title, []).append((step, float(event[key])))
    return found


def _acts(visit: Visit, manager: RunManager, now: Run) -> None:
    def button(says: str, icon: str, does: Callable[[], Any], action: str) -> None:
        async def act() -> None:
            await visit.act(Right.TRAIN, action, now.name)
            await does()
            lead_to(visit.path("training", now.name))

        ui.button(says, icon=icon, on_click=visit.doing(act)).props("no-caps flat")

    if not now.state.final:
        button("Stop", "stop", lambda: manager.stop(now.name), "training.stop")
    if now.state in (RunState.STOPPED, RunState.FAILED):
        button("Resume", "play_arrow", lambda: manager.resume(now.name), "training.resume")
    if now.state is RunState.COMPLETED:
        share = ui.number("Share of conversations, %", value=10, min=1, max=100).props("dense outlined")
        ui.button("Deploy", icon="rocket_launch", on_click=visit.doing(lambda: _deploy(visit, now.name, float(share.value or 0)))).props(
            "no-caps unelevated"
        )


async def _deploy(visit: Visit, run: str, percent: float) -> None:
    staff = await visit.who(Right.TRAIN)
    folder: Path = deploying.find(run, visit.office.settings.data)
    made = await deploying.deploy(visit.space, visit.office.settings, folder, actor=f"staff:{staff.name}", share=percent / 100)
    ui.notify(f"{made.label} is in service for {made.share:.0%} of conversations.", type="positive")
    lead_to(visit.path("training"))


def _report_html(run: Run) -> str:
    parts = [f'<p class="alert">{escape(run.message)}</p>' if run.state is RunState.FAILED else f"<p>{escape(run.message)}</p>"]
    report = run.report or {}
    if report.get("verdict"):
        parts.append(f"<h2>Verdict</h2><p>{escape(str(report['verdict']))}</p>")
    if report.get("sides"):
        rows = [[escape(str(s["name"])), f"{s['recall']:.3f}", f"{s['complete']:.3f}", str(s["questions"])] for s in report["sides"]]
        parts.append(rows_html(("Answers by", "Key facts told", "Complete answers", "Questions"), rows, label="Sides"))
    for name, value in (report.get("figures") or {}).items():
        parts.append(f"<p>{escape(str(name))}: <b>{escape(str(value))}</b></p>")
    parts += [f'<p class="soft">{escape(str(n))}</p>' for n in report.get("notes", ())]
    return "".join(parts)
