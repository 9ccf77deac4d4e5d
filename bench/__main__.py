"""Runs the benchmarks one after another and prints their tables. `make bench`, or `python -m bench [NAME ...] [--data DIR] [--list]`.

Figures depend on the machine and on what else runs on it: the head of the output says both. Benchmarks on public data need `--data`, the folder
that holds it. Exit status 1 when a benchmark failed; a missed bar is printed by the benchmark itself and fails nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
QUESTIONS = Path(__file__).parent / "questions/meridian.yaml"
LOAD_TENANT = "meridian-retail"
READY_SECONDS = 300


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


def answers(_data: Path | None) -> int:
    """The desk on the example tenants' own question file."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        _open_to_others(folder)
        where = ("--tenants", str(EXAMPLES), "--data", folder)
        return _python("-m", "frontdesk", "evaluate", "answers", "--questions", str(QUESTIONS), *where)


def load(_data: Path | None) -> int:
    """A server of its own without a language model, under open-loop load: the desk's own share."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        _open_to_others(folder)
        port = _free_port()
        environment = {**os.environ, "FRONTDESK_LLM_URL": "none", "FRONTDESK_RATE_PER_MINUTE": "0", "FRONTDESK_LOG_LEVEL": "error"}
        serve = [sys.executable, "-m", "frontdesk", "serve", "--tenants", str(EXAMPLES), "--data", folder, "--port", str(port)]
        server = subprocess.Popen(serve, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, server)
            create = [sys.executable, "-m", "frontdesk", "keys", "create", LOAD_TENANT, "--data", folder]
            key = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
            return _python("-m", "bench.server_load", "--url", url, "--key", key, "--model", LOAD_TENANT)
        finally:
            server.terminate()
            server.wait(30)


BENCHMARKS: Mapping[str, Benchmark] = {
    "answers": Benchmark("questions over the example tenants, judged by rule, in percent right by category", answers),
    "intent": Benchmark("intent with abstention on public data, beside a plain peer", on_data("intent"), public_data=True),
    "retrieval": Benchmark(
        "recall of search on a public knowledge base, beside BM25 and vectors alone", on_data("retrieval"), public_data=True
    ),
    "scale": Benchmark("search in a tenant of up to 100,000 passages: latency and recall", module("search_scale")),
    "sync": Benchmark("how fast a folder becomes searchable", module("sync_speed")),
    "tools": Benchmark("what reading and calling tools costs", module("tools_speed")),
    "models": Benchmark("latency of the embedded models alone and under load", module("model_threads")),
    "load": Benchmark("60 turns a second and 200 streams against a server of its own", load),
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


def _open_to_others(folder: str) -> None:
    Path(folder).chmod(0o755)  # the embedded database has a user of its own when root starts it


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(READY_SECONDS * 2):
        if server.poll() is not None:
            raise SystemExit(f"the server ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the server was not ready within {READY_SECONDS} s")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
