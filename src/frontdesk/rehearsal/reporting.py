"""How a rehearsal is told: JSON for programs, a table for people, JUnit for CI. Decides nothing but whether a gate holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from rich.console import Console
from rich.table import Table

from frontdesk.errors import BadInput
from frontdesk.rehearsal.scenarios import Script
from frontdesk.rehearsal.scoring import Score, score
from frontdesk.rehearsal.talk import CUSTOMER, Talk


def conversation(script: Script, talk: Talk) -> dict[str, Any]:
    """One conversation as the JSON report shows it. `turns` holds every message in order."""
    scenario = script.scenario(talk.scenario)
    judged = score(script.cast, scenario, talk)
    turns = [
        {
            "role": line.role,
            "text": line.text,
            "route": line.route or None,
            "seconds": round(line.seconds, 4),
            **(
                {"mood": line.mood, "by": line.by} if line.role == CUSTOMER else {"cites": list(line.cites), "tool_calls": list(line.calls)}
            ),
        }
        for line in talk.lines
    ]
    return {
        "id": talk.id,
        "number": talk.number,
        "scenario": talk.scenario,
        "seed": talk.seed,
        "outcome": judged.reason or None,
        "evidence": talk.outcome.evidence if talk.outcome else None,
        "passed": judged.passed,
        "faults": list(judged.faults),
        "breaches": list(judged.breaches),
        "handoff": judged.handoff or None,
        "goal": scenario.goal,
        "customer": {k: getattr(talk.role, k) for k in ("name", "mood", "persona", "product")},
        "conversation_id": talk.agent.get("conversation"),
        "turn_count": judged.turns,
        "failed_tries": list(talk.failures),
        "turns": turns,
    }


async def write_json(
    write: Callable[[str], object], script: Script, run: str, summary: Mapping[str, Any], talks: AsyncIterator[Talk]
) -> None:
    """The whole report, one conversation after another, so that its size does not matter."""
    write(f'{{"run": {json.dumps(run)},\n"summary": {json.dumps(summary, ensure_ascii=False)},\n"conversations": [')
    first = True
    async for talk in talks:
        write(("\n" if first else ",\n") + json.dumps(conversation(script, talk), ensure_ascii=False))
        first = False
    write("\n]}\n")


def read_json(path: Path) -> dict[str, Any]:
    """A report that `rehearse run --json` wrote. Raises BadInput."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        _ = found["summary"], found["conversations"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path}: is no report of a rehearsal: give a file that `rehearse run --json` wrote, or the name of a run") from None
    return dict(found)


def scores_of(report: Mapping[str, Any]) -> list[Score]:
    """The scores in a JSON report, as far as a comparison needs them."""
    return [
        Score(
            number=int(c["number"]),
            scenario=str(c["scenario"]),
            seed=str(c["seed"]),
            reason=str(c["outcome"] or ""),
            passed=bool(c["passed"]),
            reached=bool(c["passed"]),
            breaches=tuple(c.get("breaches", ())),
            faults=tuple(c["faults"]),
            handoff=str(c.get("handoff") or ""),
            slots_right=None,
            turns=int(c["turn_count"]),
            messages=len(c["turns"]),
            seconds=float(sum(t["seconds"] for t in c["turns"])),
            agent_seconds=(),
            lines=0,
            slot_lines=0,
            mood="",
            last_words="",
            in_order=True,
            phrased=0,
        )
        for c in report["conversations"]
    ]


def show(run: str, summary: Mapping[str, Any], console: Console) -> None:
    """The summary for people."""
    low, high = summary["pass_rate_interval"]
    table = Table(box=None, show_header=False)
    rows: list[tuple[str, str]] = [
        ("conversations", f"{summary['conversations']}, judged {summary['judged']}"),
        ("passed", f"{summary['passed']} ({_percent(summary['pass_rate'])}, 95 % interval {low:.0%} to {high:.0%})"),
        ("goal reached", _percent(summary["goal_reached"])),
        ("policy kept", _percent(summary["policy_kept"])),
        ("slots right", _percent(summary["slots_right"])),
        ("handoffs justified", _percent(summary["handoffs_justified"])),
        ("ended by", ", ".join(f"{k} {v}" for k, v in summary["reasons"].items())),
        ("stuck", str(summary["stuck"])),
        ("customer's turns", f"{summary['turns']:.1f}"),
        ("agent's seconds", f"median {summary['seconds_median']:.2f}, 95th percentile {summary['seconds_p95']:.2f}"),
        ("worded by the model", _percent(summary["phrased_by_model"])),
        ("simulator faults", f"{_percent(summary['fault_rate'])} {', '.join(f'{k} {v}' for k, v in summary['faults'].items())}".strip()),
        ("moods at the end", ", ".join(f"{k} {v}" for k, v in summary["moods_at_end"].items())),
    ]
    if summary["sentiment_at_end"] is not None:
        rows.append(("sentiment at the end", f"{summary['sentiment_at_end']:+.2f}"))
    rows += [(k, f"{v['value']:.2f} ({v['interval'][0]:.2f} to {v['interval'][1]:.2f})") for k, v in summary["reliability"].items()]
    for name, value in rows:
        table.add_row(name, value)
    console.print(f"[bold]rehearsal {run}[/]", highlight=False)
    console.print(table, highlight=False)
    weak = sorted(
        ((r["passed"] / r["judged"], n, r) for n, r in summary["scenarios"].items() if r["passed"] < r["judged"]), key=lambda x: x[:2]
    )
    for share, name, row in weak[:12]:
        console.print(f"  {name}: {row['passed']} of {row['judged']} passed ({share:.0%})", style="yellow", highlight=False, markup=False)


def show_comparison(found: Mapping[str, Any], console: Console) -> None:
    """Two runs of the same conversations, for people."""
    low, high = found["difference_interval"]
    said = "not by chance (p < 0.05)" if found["significant"] else "may be chance"
    console.print(f"{found['pairs']} pairs: passed {found['passed_before']} before, {found['passed_after']} after", highlight=False)
    console.print(
        f"difference {found['difference']:+.1%} (95 % interval {low:+.1%} to {high:+.1%}), McNemar p = {found['p']:.3f}: {said}",
        highlight=False,
    )
    for name, unit in (("turns", "turns"), ("seconds", "seconds")):
        low, high = found[f"{name}_interval"]
        console.print(f"{found[f'{name}_difference']:+.2f} {unit} a conversation ({low:+.2f} to {high:+.2f})", highlight=False)
    for key, label in (("newly_failing", "fails now"), ("newly_passing", "passes now")):
        if found[key]:
            console.print(f"{label}: {', '.join(map(str, found[key][:40]))}", highlight=False)


async def write_junit(path: Path, script: Script, run: str, talks: AsyncIterator[Talk]) -> None:
    """A JUnit file with one test case per conversation; those with a simulator's fault count as skipped."""
    suite = Xml.Element("testsuite", name=f"rehearsal {run}")
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    async for talk in talks:
        row = conversation(script, talk)
        case = Xml.SubElement(suite, "testcase", classname=talk.scenario, name=f"{talk.id} {talk.role.mood}", time=f"{talk.seconds:.3f}")
        counts["tests"] += 1
        kind, message = _failure(row)
        if kind:
            counts[{"failure": "failures", "error": "errors", "skipped": "skipped"}[kind]] += 1
            told = Xml.SubElement(case, kind, message=_clean(message))
            told.text = _clean("\n".join(f"{t['role']}: {t['text']}" for t in row["turns"]))
    for name, value in counts.items():
        suite.set(name, str(value))
    root = Xml.Element("testsuites")
    root.append(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def gate(summary: Mapping[str, Any], at_least: float | None) -> Sequence[str]:
    """Why the run does not pass; empty when it does. Without `at_least` only errors and stuck conversations count."""
    wrong: list[str] = []
    if errors := summary["reasons"].get("error", 0):
        wrong.append(f"{errors} conversations ended in an error")
    if summary["stuck"]:
        wrong.append(f"{summary['stuck']} conversations did not end")
    if at_least is None:
        return wrong
    rate = summary["pass_rate"] or 0.0
    if rate < at_least:
        wrong.append(f"the pass rate is {rate:.1%}, below {at_least:.1%}")
    if (summary["policy_kept"] if summary["policy_kept"] is not None else 1.0) < 1.0:
        wrong.append("the policy was broken")
    return wrong


def _failure(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["faults"]:
        return "skipped", f"the simulated customer was at fault: {'; '.join(row['faults'])}"
    if row["outcome"] == "error":
        return "error", str(row["evidence"])
    if row["passed"]:
        return "", ""
    why = "; ".join([*row["breaches"], *([f"handoff {row['handoff']}"] if row["handoff"] in ("unjustified", "missed") else [])])
    return "failure", f"{row['outcome']}: {row['evidence']}{'; ' + why if why else ''}"


def _clean(text: str) -> str:
    """Text without what XML cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
