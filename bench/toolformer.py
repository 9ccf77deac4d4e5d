"""Toolformer from texts to a tuned adapter on the mortgage example, step by step: time, counts and what the model writes in the end.

    python -m bench.toolformer [--texts 200] [--annotator catalog|model] [--tau-f 0.5] [--epochs 6] [--keep DIR]

Bars: 200 texts end to end on CPU in 90 minutes or less; after fine-tuning, on held-out texts and without a grammar, valid calls >= .90 and
the right operation >= .85. The catalog proposes the candidates unless `--annotator model`, and the table says so. Needs the train extra.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frontdesk.training import toolformer_commands as steps

TENANT = "meridian-mortgage"
EXAMPLES = Path(__file__).parents[1] / "examples"


def timed(name: str, step: Callable[..., None], out: Path, **options: Any) -> tuple[float, float]:
    """Runs a step and prints its times and figures: (seconds, processor seconds)."""
    wall, processor = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        step(TENANT, out, tenants=EXAMPLES, **options)
    took, used = time.perf_counter() - wall, time.process_time() - processor
    figures = json.loads((out / "about.json").read_text(encoding="utf-8"))[name]["figures"]
    shown = ", ".join(f"{k} {v}" for k, v in figures.items())
    print(f"{name:9} {took:8.1f} s {used:8.1f} s cpu   {shown}", flush=True)
    return took, used


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.toolformer", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--annotator", choices=("catalog", "model"), default="catalog")
    parser.add_argument("--places", type=int, default=2, help="most places per text (k)")
    parser.add_argument("--calls", type=int, default=5, help="calls sampled per place (m), for the annotator model")
    parser.add_argument("--tau-f", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--keep", type=Path, help="folder for the files of the pipeline")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as temporary:
        out = given.keep or Path(temporary)
        print(f"{given.texts} texts of {TENANT}, annotator {given.annotator}, tau_f {given.tau_f:g}, k {given.places}")
        rows = [
            timed("texts", steps.make_texts, out, count=given.texts, faq=given.texts // 20),
            timed("annotate", steps.annotate, out),
            timed("sample", steps.sample, out, annotator=given.annotator, k=given.places, m=given.calls),
            timed("execute", steps.execute, out),
            timed("filter", steps.filter_, out, tau_f=given.tau_f),
            timed("dataset", steps.dataset, out),
            timed("tune", steps.tune, out, epochs=given.epochs),
        ]
    wall, used = sum(r[0] for r in rows), sum(r[1] for r in rows)
    print(f"{'in all':9} {wall:8.1f} s {used:8.1f} s cpu")
    print(
        f"200 texts at this rate: {200 * wall / given.texts / 60:.0f} min, {200 * used / given.texts / 60:.0f} min of processor time (bar 90)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
