"""Rehearsals: start one, watch it, read what it found, compare two runs of the same conversations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html
from frontdesk.console.telling import ago, amount, short
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.staff import Right
from frontdesk.errors import BadInput, Conflict, FrontdeskError, NotFound
from frontdesk.rehearsal.demo import SEED, rehearse_with
from frontdesk.rehearsal.live import Watch
from frontdesk.rehearsal.running import Run, tenant_of
from frontdesk.rehearsal.scoring import compare
from frontdesk.store.rehearsals import RehearsalRow

log = logging.getLogger(__name__)

MOST = 200
"""Conversations of a run that is started here; more from the command line."""
MOST_SEED = 1_000_000
SHOWN = 300
LISTED = 100
"""Conversations that a comparison lists of a kind."""


@page("rehearsals", "Rehearsals", icon="theater_comedy")
async def rehearsals(visit: Visit) -> None:
    """Runs, the newest first."""
    rows = await visit.space.rehearsals.list()
    with content("Rehearsals", "AI customers try the desk; a referee judges each conversation and the simulator is judged too."):
        pass
    if visit.may(Right.REHEARSE):
        _start(visit)
    if not rows:
        empty("No rehearsal yet.")
        return
    chosen: dict[str, bool] = {}

    def both() -> None:
        picked = [name for name, on in chosen.items() if on]
        if len(picked) != 2:
            ui.notify("Tick exactly two runs.", type="warning")
            return
        first, second = sorted(picked, key=[r.id for r in rows].index, reverse=True)
        lead_to(visit.path("rehearsals", "compare", first, second))

    with card("Runs", "Tick two runs of the same scenarios to compare them."):
        for row in rows:
            with ui.row().classes("wide nowrap run"):
                ui.checkbox(on_change=lambda e, name=row.id: chosen.__setitem__(name, bool(e.value))).props(
                    f'dense aria-label="Compare {escape(row.id)}"'
                )
                markup(_run_line(visit, row), "grow")
        ui.button("Compare two", icon="compare_arrows", on_click=both).props("no-caps flat")


def _run_line(visit: Visit, row: RehearsalRow) -> str:
    state = f"finished {ago(row.finished_at)}" if row.finished_at else "goes on, or was stopped"
    worded = {"guided": "worded by the model", "template": "worded by rule", "free": "played freely"}.get(str(row.plan.get("phrasing")), "")
    return (
        f"<b>{link(visit, row.id, 'rehearsals', row.id)}</b> "
        f'<span class="soft">{row.wanted} conversations, seed {row.plan.get("seed")}, {worded}; started {ago(row.started_at)}, {state}</span>'
    )


def _start(visit: Visit) -> None:
    note = "The same seed gives the same customers each time, so that two runs can be compared."
    with card("Start one", note), ui.row().classes("wide"):
        count = ui.number("Conversations", value=12, min=1, max=MOST, precision=0).props("dense outlined").classes("count")
        seed = ui.number("Seed", value=SEED, min=0, max=MOST_SEED, precision=0).props("dense outlined").classes("count")
        model = ui.switch("Let the language model word what customers say", value=False)
        if visit.office.model is None:
            model.disable()
        start = visit.doing(lambda: _started(visit, int(count.value or 0), int(seed.value or 0), bool(model.value)))
        ui.button("Start", icon="play_arrow", on_click=start).props("no-caps unelevated")


async def _started(visit: Visit, count: int, seed: int, model: bool) -> None:
    if not 1 <= count <= MOST:
        raise BadInput(f"Between 1 and {MOST} conversations: larger rehearsals run from the command line.")
    if not 0 <= seed <= MOST_SEED:
        raise BadInput(f"A seed between 0 and {MOST_SEED}.")
    going = visit.console.running.get(visit.tenant.id)
    if going is not None and not going.done():
        raise Conflict("A rehearsal of this tenant goes on: wait for it.")
    await visit.act(Right.REHEARSE, "rehearsal.start", visit.tenant.id, conversations=count, seed=seed)
    known = {r.id for r in await visit.space.rehearsals.list()}
    task = asyncio.create_task(_rehearse(visit, count, seed, model), name=f"rehearsal of {visit.tenant.id}")
    visit.console.running[visit.tenant.id] = task
    while True:
        over = task.done()
        fresh = [r.id for r in await visit.space.rehearsals.list() if r.id not in known]
        if fresh:
            lead_to(visit.path("rehearsals", fresh[0]))
            return
        if over:
            await task
            return
        await asyncio.sleep(0.2)


async def _rehearse(visit: Visit, count: int, seed: int, model: bool) -> None:
    office = visit.office
    try:
        await rehearse_with(
            {visit.tenant.id: visit.tenant},
            front_office=office.front_office,
            store=office.store,
            model=office.model if model else None,
            count=count,
            watch=Watch(total=count, title=visit.tenant.name),
            seed=seed,
        )
    except FrontdeskError:
        raise
    except Exception as why:
        # The page that started it may be gone; the log keeps what happened.
        log.exception("a rehearsal that was started in the console broke")
        raise BadInput("The rehearsal broke: see the log.") from why


@page("rehearsals/{run}", "Rehearsal")
async def rehearsal(visit: Visit, run: str) -> None:
    """One run: what it found, conversation by conversation."""
    row = await visit.space.rehearsals.one(run)
    with content(run, f"{row.wanted} conversations, started {ago(row.started_at)}.") as acts, acts:
        ui.button("Watch live", icon="sensors", on_click=lambda: lead_to(visit.path("live"))).props("flat no-caps")
    markup(f'<p class="crumbs">{link(visit, "Rehearsals", "rehearsals")}</p>')
    ended = len(await visit.space.rehearsals.ended(run))
    state = ui.label().classes("strong")
    bar = ui.linear_progress(ended / max(1, row.wanted), show_value=False)
    body = ui.column().classes("wide")
    seen = -1

    async def look() -> None:
        nonlocal seen
        done = len(await visit.space.rehearsals.ended(run))
        if done == seen:
            return
        seen = done
        bar.set_value(done / max(1, row.wanted))
        bar.set_visibility(done < row.wanted)
        state.set_text(f"{done} of {row.wanted} conversations have ended.")
        body.clear()
        with body:
            await _found(visit, run)

    await look()
    if ended < row.wanted:
        ui.timer(1.5, visit.doing(look))


async def _found(visit: Visit, run: str) -> None:
    found = await Run.stored(visit.office.store, run, visit.analytics.sentiment())
    s = found.summary
    low, high = s["pass_rate_interval"]
    tiles = [
        ("Passed", amount(s["pass_rate"], "share"), f"{s['passed']} of {s['judged']}, {low:.0%} to {high:.0%}"),
        ("Goal reached", amount(s["goal_reached"], "share"), f"of {s['judged']} judged"),
        ("Policy kept", amount(s["policy_kept"], "share"), f"of {s['judged']} judged"),
        ("Simulator at fault", amount(s["fault_rate"], "share"), f"of {s['conversations']}; they do not count"),
        ("Customer's turns", amount(s["turns"], "count"), "mean"),
        ("Desk's answer", amount(s["seconds_median"], "seconds"), f"median; 95th percentile {amount(s['seconds_p95'], 'seconds')}"),
    ]
    markup(
        '<div class="tiles three">'
        + "".join(f'<div class="tile"><span>{escape(t)}</span><b>{v}</b><small>{escape(n)}</small></div>' for t, v, n in tiles)
        + "</div>",
        "wide",
    )
    with card("Conversations"):
        rows: list[list[str]] = []
        async for talk in found.talks():
            if len(rows) >= SHOWN:
                break
            rows.append(_talk_cells(visit, found, talk))
        markup(rows_html(("No.", "Customer", "Wants", "Ended by", "Verdict", "Last words"), rows, label="Conversations of the run"))


def _talk_cells(visit: Visit, run: Run, talk: Any) -> list[str]:
    from frontdesk.rehearsal.scoring import score

    scenario = run.script.scenario(talk.scenario)
    judged = score(run.script.cast, scenario, talk) if talk.outcome else None
    known = str(talk.agent.get("conversation") or "")
    name = escape(f"{talk.role.name}, {talk.role.mood}")
    last = escape(short(talk.lines[-1].text, 90)) if talk.lines else ""
    if judged is None:
        verdict = '<span class="pill">goes on</span>'
    elif judged.faults:
        verdict = f'<span class="pill" title="{escape("; ".join(judged.faults))}">simulator at fault</span>'
    else:
        verdict = f'<span class="pill {"good" if judged.passed else "bad"}">{"passed" if judged.passed else "failed"}</span>'
    ended = f"{talk.outcome.reason.value.replace('_', ' ')}: {short(talk.outcome.evidence, 80)}" if talk.outcome else ""
    return [
        str(talk.number),
        link(visit, f"{talk.role.name}, {talk.role.mood}", "conversations", known) if known else name,
        escape(short(scenario.goal, 90)),
        escape(ended),
        verdict,
        last,
    ]


@page("rehearsals/compare/{first}/{second}", "Comparison")
async def comparison(visit: Visit, first: str, second: str) -> None:
    """Two runs of the same conversations, pair by pair."""
    for name in (first, second):
        if tenant_of(name) != visit.tenant.id:
            raise NotFound(f"There is no rehearsal {name!r} of {visit.tenant.name}.")
    before, after = [await Run.stored(visit.office.store, name) for name in (first, second)]
    found = compare(before.tally.scores, after.tally.scores)
    with content("Comparison", f"{first} before, {second} after."):
        pass
    markup(f'<p class="crumbs">{link(visit, "Rehearsals", "rehearsals")}</p>')
    if not found["pairs"]:
        empty("These runs have no conversation in common: compare runs of the same scenarios with the same seed.")
        return
    await _compared(visit, before, after, found)


async def _compared(visit: Visit, before: Run, after: Run, found: Mapping[str, Any]) -> None:
    low, high = found["difference_interval"]
    said = "This is not by chance (p below 0.05)." if found["significant"] else "This may be chance."
    with card(f"{found['passed_before']} of {found['pairs']} passed before, {found['passed_after']} after"):
        ui.label(f"Difference {found['difference']:+.1%} (95 % interval {low:+.1%} to {high:+.1%}), McNemar p = {found['p']:.3f}. {said}")
        rows = [
            [unit, f"{found[f'{n}_difference']:+.2f}", f"{found[f'{n}_interval'][0]:+.2f} to {found[f'{n}_interval'][1]:+.2f}"]
            for n, unit in (("turns", "Turns a conversation"), ("seconds", "Seconds a conversation"))
        ]
        markup(rows_html(("", "Difference", "95 % interval"), rows, label="Differences"))
    changed = {n for key in ("newly_failing", "newly_passing") for n in found[key][:LISTED]}
    then, now = [await _talks(run, changed) for run in (before, after)]
    for key, title in (("newly_failing", "Failed now, passed before"), ("newly_passing", "Passed now, failed before")):
        with card(title):
            rows = [
                [str(n), *(_side(visit, run, talks.get(n)) for run, talks in ((before, then), (after, now)))] for n in found[key][:LISTED]
            ]
            if rows:
                markup(rows_html(("No.", "Before", "After"), rows, label=title))
            else:
                empty("None.")


async def _talks(run: Run, numbers: Collection[int]) -> dict[int, Any]:
    """The conversations of a run with these numbers."""
    return {talk.number: talk async for talk in run.talks() if talk.number in numbers} if numbers else {}


def _side(visit: Visit, run: Run, talk: Any) -> str:
    """What became of one customer in one run, with the way to what was said."""
    if talk is None:
        return "–"
    _, customer, goal, ended, _, _ = _talk_cells(visit, run, talk)
    return f"{customer}: {goal}<br><small>{ended}</small>"
