"""Runs the benchmarks one after another and prints their tables. `make bench`, or `python -m bench [NAME ...] [--data DIR] [--list]`.

Figures depend on the machine and on what else runs on it: the head of the output says both. Benchmarks on public data need `--data`, the folder
that holds it. Exit status 1 when a benchmark failed; a missed bar is printed by the benchmark itself and fails nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. `run` gets the folder with public data, or None."""

    about: str
    run: Callable[[Path | None], int]
    public_data: bool = False


def module(name: str, *arguments: str) -> Callable[[Path | None], int]:
    """Runs `python -m bench.NAME`."""
    return lambda _data: _python("-m", f"bench.{name}", *arguments)


def on_data(name: str) -> Callable[[Path | None], int]:
    """Runs `python -m bench.NAME --data DIR`."""
    return lambda data: _python("-m", f"bench.{name}", "--data", str(data))


BENCHMARKS: Mapping[str, Benchmark] = {
    "answers": Benchmark("questions over the example tenants: the desk, plain RAG and a search box", module("answers")),
    "latency": Benchmark("how long one customer waits, with the embedded models", module("turn_latency")),
    "share": Benchmark("the desk's own share of that wait", module("turn_latency", "--stub")),
    "console": Benchmark("how soon an event is on the live page, 50 operators looking", module("console")),
    "load": Benchmark("60 turns a second and 200 streams", module("load")),
    "crash": Benchmark("kill -9 at random moments: what is lost, how soon it is back", module("crash")),
    "intent": Benchmark("intent with abstention on public data, beside a plain peer", on_data("intent"), public_data=True),
    "retrieval": Benchmark("search on a public knowledge base, beside BM25 and vectors alone", on_data("retrieval"), public_data=True),
    "shelf": Benchmark("whether what answers is among the passages that the reader gets: search, shelf and both", module("shelf")),
    "scale": Benchmark("search in a tenant of up to 100,000 passages", module("search_scale")),
    "sync": Benchmark("how fast a folder becomes searchable", module("sync_speed")),
    "selection": Benchmark("which operation a message is about, one business left out at a time", module("tools_selection")),
    "hostile": Benchmark("1,000 calls of a hostile model and 500 persuasive dialogues, judged at the API's log", module("hostile")),
    "tools": Benchmark("what reading and calling tools costs", module("tools_speed")),
    "rehearsal": Benchmark(
        "a thousand rehearsed conversations; the embedded model as customer, beside the article's way", module("rehearsal")
    ),
    "kafka": Benchmark(
        "stream services on a real broker: messages a second, and kill -9 under load (needs Java and Maven)", module("kafka_crash")
    ),
    "tau": Benchmark(
        "an outside test: a shop's tasks by a scripted customer, and its policy under pressure", on_data("tau_retail"), public_data=True
    ),
    "insight": Benchmark("sentiment, scores, summaries and the ledger, beside plain peers", on_data("insight"), public_data=True),
    "training": Benchmark(
        "fine-tuning on the example bank, encoders and intents on public data (needs the train extra)",
        on_data("training"),
        public_data=True,
    ),
    "adapters": Benchmark("adapters per request: whose reply comes, what a switch costs, whether the export is true", module("adapters")),
    "toolformer": Benchmark("Toolformer on the mortgage example, step by step (needs the train extra)", module("toolformer")),
    "models": Benchmark("the embedded models alone and under load", module("model_threads")),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for, else everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--data", type=Path, help="folder with the public data sets")
    parser.add_argument("--list", action="store_true", help="show what there is")
    given = parser.parse_args(arguments)
    if given.list:
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:10} {benchmark.about}{' (needs --data)' if benchmark.public_data else ''}")
        return 0
    unknown = [n for n in given.names if n not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(BENCHMARKS)}")
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.python_version()}"
    )
    failed = [name for name in given.names or BENCHMARKS if not _one(name, given.data)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _one(name: str, data: Path | None) -> bool:
    benchmark = BENCHMARKS[name]
    print(f"\n## {name}: {benchmark.about}\n", flush=True)
    if benchmark.public_data and data is None:
        print("not run: name the folder with the public data, --data DIR", flush=True)
        return True
    started = time.monotonic()
    status = benchmark.run(data)
    print(f"\n({time.monotonic() - started:.0f} s)", flush=True)
    return status == 0


def _python(*arguments: str) -> int:
    return subprocess.run([sys.executable, *arguments], check=False).returncode


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
