"""Command line of the outside test; see the package's own text for what it measures."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench.tau_retail
from bench.tau_retail.customer import PHRASINGS
from bench.tau_retail.desk import desk, listening, write_tenant
from bench.tau_retail.figures import pass_k
from bench.tau_retail.parity import parity
from bench.tau_retail.pressure import pressure
from bench.tau_retail.scripted import Trial, scripted
from bench.tau_retail.shop import Shop
from bench.tau_retail.tasks import Material, load

from frontdesk import settings
from frontdesk.errors import FrontdeskError
from frontdesk.server.logging_setup import configure


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when parity is not whole or the policy was violated, 2 when files are missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.tau_retail", description=(bench.tau_retail.__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with db.json and policy.md")
    parser.add_argument("--tasks", type=Path, help="tasks (JSON lines); default: those beside db.json")
    parser.add_argument("--gold", type=Path, help="their end states (JSON lines); default: those beside db.json")
    parser.add_argument("--limit", type=int, help="only the first so many tasks")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--failures", type=Path, help="write what was said in trials that fell short to this file")
    given = parser.parse_args(arguments)
    try:
        material = load(given.data, given.tasks, given.gold)
    except (FileNotFoundError, KeyError, ValueError) as why:
        print(f"the task files cannot be read: {why}", file=sys.stderr)
        return 2
    if given.limit:
        material = Material(database=material.database, policy=material.policy, tasks=material.tasks[: given.limit])
    configure("error")
    try:
        found, trials, violations = asyncio.run(_measure(material))
    except FrontdeskError as why:
        print(why, file=sys.stderr)
        return 1
    if given.failures:
        given.failures.write_text("".join(_told(t) for t in trials if not t.reached), encoding="utf-8")
    print(json.dumps(found) if given.json else _table(found, trials))
    for violation in violations:
        print(f"VIOLATION ({violation.kind}): {' | '.join(violation.said)}", file=sys.stderr)
    return int(found["parity"]["passed"] < found["parity"]["total"] or found["pressure"]["violations"] > 0)


async def _measure(material: Material) -> tuple[dict[str, Any], list[Trial], list[Any]]:
    shop = Shop(material.database)
    with listening(shop) as url, tempfile.TemporaryDirectory(prefix="tau-retail-", ignore_cleanup_errors=True) as folder:
        async with desk(Path(folder), write_tenant(Path(folder), material, url), settings.load()) as line:
            replayed = await parity(material.tasks, shop, line.catalog, line.caller)
            _say(f"parity {replayed.passed} of {replayed.total}")
            tried, violations = await pressure(shop, line)
            _say(f"pressure: {len(violations)} violations in {tried} conversations")
            begun, every = time.monotonic(), len(material.tasks) * PHRASINGS
            done: list[Trial] = []

            def each(trial: Trial) -> None:
                done.append(trial)
                if len(done) % 25 == 0:
                    _say(f"{len(done)} of {every} conversations, {sum(t.reached for t in done)} reached, {time.monotonic() - begun:.0f} s")

            trials = await scripted(material.tasks, shop, line, each=each)
    untouched = [not t.gold for t in material.tasks]
    silent = [not t.gold and not t.communicate for t in material.tasks]
    by_task = [[t.reached for t in trials if t.task == task.id] for task in material.tasks]
    return (
        {
            "parity": {"passed": replayed.passed, "total": replayed.total, "raised": replayed.raised},
            "floor": {"db": _share(untouched), "db_communicate": _share(silent)},
            "scripted": {
                "db": _share([t.reached for t in trials]),
                "db_communicate": _share([t.reached and t.told for t in trials]),
                "pass_k": [round(pass_k(by_task, k), 4) for k in range(1, PHRASINGS + 1)],
            },
            "pressure": {"attempts": tried, "violations": len(violations)},
        },
        trials,
        violations,
    )


def _share(outcomes: Sequence[bool]) -> float:
    return round(sum(outcomes) / len(outcomes), 4) if outcomes else 0.0


def _table(found: dict[str, Any], trials: Sequence[Trial]) -> str:
    rows = [
        ("parity", f"{found['parity']['passed']} of {found['parity']['total']} tasks, {found['parity']['raised']} calls raised", "all"),
        ("floor (doing nothing)", f"db {found['floor']['db']:.3f}, db and communicated {found['floor']['db_communicate']:.3f}", ""),
        (
            "scripted customer",
            f"db {found['scripted']['db']:.3f}, db and communicated {found['scripted']['db_communicate']:.3f}",
            "clearly above",
        ),
        ("  pass^1..5", " ".join(f"{v:.3f}" for v in found["scripted"]["pass_k"]), ""),
    ]
    for phrasing in range(PHRASINGS):
        own = [t.reached for t in trials if t.phrasing == phrasing]
        rows.append((f"  phrasing {phrasing + 1}", f"db {_share(own):.3f}", ""))
    rows.append(("policy under pressure", f"{found['pressure']['violations']} violations in {found['pressure']['attempts']}", "0"))
    turns = sum(t.turns for t in trials)
    lines = [f"{name:24} {figure:52} {bar}" for name, figure, bar in rows]
    return "\n".join(
        [*lines, f"{len(trials)} conversations, {turns} turns. A scripted customer: not comparable with the published leaderboard."]
    )


def _told(trial: Trial) -> str:
    lines = [f"# task {trial.task}, phrasing {trial.phrasing + 1}: {'; '.join(trial.given_up) or 'another end state'}"]
    return "\n".join([*lines, *(f"{role}: {text}" for role, text in trial.said)]) + "\n\n"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
