"""Curves of a run: drawn in the terminal with block characters, and as an SVG picture. Draws nothing for a run without steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

Event = Mapping[str, Any]
_BLOCKS = " ▁▂▃▄▅▆▇█"


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a curves file; a line that was cut off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def terminal(events: Sequence[Event], *, width: int = 64, height: int = 8) -> str:
    """Loss over the steps as a block chart, then one line per epoch. Empty when there is nothing to draw."""
    losses = [float(e["loss"]) for e in events if e.get("kind") == "step"]
    if not losses:
        return ""
    columns = _columns(losses, width)
    top, bottom = max(columns), min(0.0, min(columns))
    rows = []
    for level in range(height - 1, -1, -1):
        label = f"{bottom + (top - bottom) * (level + 1) / height:7.3f} ┤"
        rows.append(label + "".join(_block((c - bottom) / ((top - bottom) or 1) * height - level) for c in columns))
    rows.append(f"{'loss':>7} └{'─' * len(columns)} {len(losses)} steps")
    for e in (e for e in events if e.get("kind") == "epoch"):
        rows.append(
            f"  epoch {e['epoch']}: train loss {e['train_loss']:.3f}, held-out loss {_shown(e['held_out_loss'])}, "
            f"token accuracy {_shown(e['token_accuracy'])}, score {_shown(e['score'])}"
        )
    return "\n".join(rows)


def svg(events: Sequence[Event], *, title: str = "", width: int = 720, height: int = 360) -> str:
    """Loss per step and per epoch on the left axis, the score (recall) on the right one, as a picture that stands alone."""
    steps = [(int(e["step"]), float(e["loss"])) for e in events if e.get("kind") == "step"]
    epochs = [e for e in events if e.get("kind") == "epoch"]
    if not steps:
        return ""
    left, right, top, bottom = 56, width - 56, 40, height - 44
    last, most = steps[-1][0] or 1, max(loss for _, loss in steps) or 1.0
    per_epoch = last / max(1, len(epochs))

    def at(step: float, share: float) -> str:
        return f"{left + (right - left) * step / last:.1f},{bottom - (bottom - top) * min(1.0, max(0.0, share)):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/><text x="{left}" y="22" font-size="15" fill="#222">{escape(title)}</text>',
    ]
    for n in range(5):
        y = bottom - (bottom - top) * n / 4
        lines.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#246">{most * n / 4:.2f}</text>')
        lines.append(f'<text x="{right + 8}" y="{y + 4:.1f}" fill="#a40">{n / 4:.2f}</text>')
    lines.append(_line([at(s, loss / most) for s, loss in steps], "#9bc", 1))
    for name, colour in (("train_loss", "#246"), ("held_out_loss", "#393")):
        points = [at((n + 1) * per_epoch, e[name] / most) for n, e in enumerate(epochs) if _real(e[name])]
        lines.append(_line(points, colour, 2))
    scored = [(n, float(e["score"])) for n, e in enumerate(epochs) if _real(e["score"]) and e["score"] >= 0]
    lines.append(_line([at((n + 1) * per_epoch, s) for n, s in scored], "#a40", 2))
    names = (("loss per step", "#9bc"), ("train loss", "#246"), ("held-out loss", "#393"), ("score (right axis)", "#a40"))
    for n, (name, colour) in enumerate(names):
        lines.append(f'<text x="{left + n * 150}" y="{height - 10}" fill="{colour}">■ {name}</text>')
    lines.append(f'<text x="{right}" y="{bottom + 16}" text-anchor="end" fill="#555">{last} steps</text></svg>')
    return "\n".join(line for line in lines if line)


def _line(points: Sequence[str], colour: str, width: int) -> str:
    if not points:
        return ""
    dots = "".join(f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in points) if width > 1 else ""
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>{dots}'


def _columns(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]


def _block(share: float) -> str:
    return _BLOCKS[max(0, min(8, round(share * 8)))]


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value  # not NaN


def _shown(value: Any) -> str:
    return f"{value:.3f}" if _real(value) else "–"
