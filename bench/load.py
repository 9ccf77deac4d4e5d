"""Many customers at once: starts a desk with stub models, asks 60 turns a second in an open loop beside 200 open event streams.

    python -m bench.load --rate 60 --seconds 30 --streams 200

Client, server and database share this machine. Prints the table of `bench.server_load`; exit code 1 when any request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import yaml
from bench.server_load import measure
from tests.integration.server import Server, write_tenants


def main() -> int:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=60)
    arguments.add_argument("--seconds", type=float, default=30)
    arguments.add_argument("--streams", type=int, default=200)
    arguments.add_argument("--tenant", default="meridian-retail")
    arguments.add_argument("--tenants", type=Path, default=Path("examples"), help="`small`: two tiny tenants")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="frontdesk-load-", ignore_cleanup_errors=True) as folder:
        small = str(given.tenants) == "small"
        tenants = write_tenants(Path(folder) / "tenants") if small else given.tenants
        tenant = "acme" if small else given.tenant
        server = Server(Path(folder) / "data", tenants).start()
        try:
            pairs = yaml.safe_load((tenants / tenant / "faq.yaml").read_text())
            questions = Path(folder) / "questions.txt"
            questions.write_text("\n".join(" ".join(str(p["question"]).split()) for p in pairs[:40]))
            wanted = argparse.Namespace(
                url=server.url,
                key=server.key(tenant),
                model=tenant,
                questions=questions,
                rate=given.rate,
                seconds=given.seconds,
                streams=given.streams,
            )
            rows = asyncio.run(measure(wanted))
            used = sum(sum(p.cpu_times()[:2]) for p in [psutil.Process(server.process.pid)] if server.process)  # type: ignore[union-attr]
        finally:
            server.end()
    return report(rows, used)


def report(rows: list[dict[str, Any]], used: float) -> int:
    """The table; 1 when something failed."""
    print(f"{'milliseconds':42} {'count':>6} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}  errors")
    for row in rows:
        print(
            f"{row['what']:42} {row['count']:6} {row['p50']!s:>8} {row['p95']!s:>8} {row['p99']!s:>8} {row['max']!s:>8}  {row['errors'] or ''}"
        )
    print(f"processor time of the server from its start: {used:.1f} s")
    return int(any(row["errors"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
