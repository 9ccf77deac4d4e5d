"""Charts, as options of ECharts. Colours read on dark and light."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from frontdesk.analytics.metrics import Reading
from frontdesk.store.ledger import MoodRow

GREY = "#7d8a86"
LINE = "rgba(125,138,134,.25)"
COLOURS = ("#2f9e83", "#d08a2e", "#4f7fd1", "#b3563f", "#8a63b8", "#6b8f2a", "#3c9fb3", "#a8a13b")
OUTCOME_COLOURS: Mapping[str, str] = {
    "confirmed": "#1f8a5f",
    "verified": "#43ad83",
    "assumed": "#a9cdbd",
    "unsolved": "#b3401f",
    "abandoned": "#d98a5b",
    "declined": "#c9b458",
    "handed_over": "#4f7fd1",
    "open": "#9aa6a2",
    "no_request": "#cfd6d3",
}
SPEAKERS = {"customer": "Customer", "desk": "Desk", "agent": "Agent"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNNAMED = "none"
"""What a part without a name is called."""
Span = tuple[datetime, datetime]


def base(
    *, legend: bool = True, percent: bool = False, low: float | None = None, high: float | None = None, span: Span | None = None
) -> dict[str, Any]:
    """Axes and manners that all have; with `span` the time axis shows all of it, however few points there are."""
    label = {"color": GREY, "fontSize": 11}
    axis: dict[str, Any] = {"type": "value", "axisLabel": label, "splitLine": {"lineStyle": {"color": LINE}}}
    if percent:
        axis |= {"min": 0, "max": 100, "axisLabel": {**label, "formatter": "{value} %"}}
    axis |= {k: v for k, v in (("min", low), ("max", high)) if v is not None}
    shown = {} if span is None else {"min": span[0].isoformat(), "max": span[1].isoformat()}
    return {
        "backgroundColor": "transparent",
        "animation": False,
        "color": list(COLOURS),
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 8, "right": 16, "top": 34 if legend else 12, "bottom": 8, "containLabel": True},
        "legend": {"show": legend, "top": 0, "left": 0, "itemWidth": 14, "itemHeight": 8, "textStyle": label, "type": "scroll"},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {"type": "time", "axisLabel": {**label, "hideOverlap": True}, "axisLine": {"lineStyle": {"color": LINE}}} | shown,
        "yAxis": axis,
        "series": [],
    }


def line(name: str, points: Sequence[tuple[datetime, float | None]], *, silence: timedelta | None = None, **more: Any) -> dict[str, Any]:
    """A line over time; it breaks off where nothing was known for longer than `silence`."""
    data: list[list[Any]] = []
    before: datetime | None = None
    for at, value in points:
        if silence and before and at - before > silence:
            data.append([(before + silence).isoformat(), None])
        data.append([at.isoformat(), None if value is None else round(value, 3)])
        before = at
    return {"name": name, "type": "line", "data": data, "showSymbol": len(data) < 30, "symbolSize": 5, "connectNulls": False, **more}


def shares(series: Mapping[str, Sequence[tuple[datetime, Reading]]], span: Span | None = None) -> dict[str, Any]:
    """Shares over time, in percent."""
    options = base(percent=True, span=span)
    options["series"] = [
        line(title, [(at, None if r.value is None else 100 * r.value) for at, r in points]) for title, points in series.items()
    ]
    return options


def counts(points: Sequence[tuple[datetime, Reading]], name: str, span: Span, step: timedelta) -> dict[str, Any]:
    """How many, as bars over time, one for each step of the span: the width of bars comes from how near they are."""
    options = base(legend=False, span=span)
    options["yAxis"] |= {"minInterval": 1}
    known = {at: r.among for at, r in points}
    first = EPOCH + ((span[0] - EPOCH) // step + 1) * step
    bars = [first + n * step for n in range(max(0, (span[1] - first) // step + 1))]
    data = [[at.isoformat(), known.get(at, 0)] for at in sorted({*bars, *known})]
    options["series"] = [{"name": name, "type": "bar", "data": data, "barMaxWidth": 22}]
    return options


def moods(rows: Sequence[MoodRow], span: Span | None = None, *, silence: timedelta | None = None) -> dict[str, Any]:
    """Average tone over time, from -1 to 1: one line for each speaker, or of the customers for each of the parts with the most to hear."""
    options = base(low=-1, high=1, span=span)
    parted = any(row.part for row in rows)
    by: dict[str, list[tuple[datetime, float | None]]] = {}
    heard: Counter[str] = Counter()
    for row in rows:
        if parted and row.speaker != "customer":
            continue
        name = (row.part or UNNAMED) if parted else SPEAKERS.get(row.speaker, row.speaker)
        by.setdefault(name, []).append((row.at, row.score))
        heard[name] += row.utterances
    shown = [name for name, _ in heard.most_common(len(COLOURS))]
    options["series"] = [line(name, by[name], silence=silence, smooth=True, smoothMonotone="x") for name in sorted(shown)]
    return options


def outcomes(counted: Mapping[str, int]) -> dict[str, Any]:
    """One bar that is divided by how conversations ended."""
    options = base()
    options["tooltip"] = {"trigger": "item", "confine": True}
    options["xAxis"] = {"type": "value", "show": False, "max": max(1, sum(counted.values()))}
    options["yAxis"] = {"type": "category", "data": [""], "show": False}
    options["grid"] = {"left": 0, "right": 0, "top": 46, "bottom": 4}
    options["series"] = [
        {
            "name": name.replace("_", " "),
            "type": "bar",
            "stack": "all",
            "data": [count],
            "barWidth": 26,
            "itemStyle": {"color": OUTCOME_COLOURS.get(name, GREY)},
        }
        for name, count in counted.items()
        if count
    ]
    return options


def curves(series: Mapping[str, Sequence[tuple[float, float]]], x: str = "step") -> dict[str, Any]:
    """Curves over steps, as of a training run."""
    options = base()
    options["xAxis"] = {"type": "value", "name": x, "axisLabel": {"color": GREY}, "splitLine": {"show": False}, "nameGap": 4}
    options["series"] = [
        {"name": name, "type": "line", "showSymbol": len(points) < 40, "symbolSize": 4, "data": [[a, round(b, 5)] for a, b in points]}
        for name, points in series.items()
    ]
    return options


def bars(names: Sequence[str], values: Mapping[str, Sequence[float | None]], *, percent: bool = False) -> dict[str, Any]:
    """Groups of bars, one group for each name."""
    options = base(percent=percent)
    options["xAxis"] = {"type": "category", "data": list(names), "axisLabel": {"color": GREY, "hideOverlap": True}}
    options["series"] = [
        {"name": n, "type": "bar", "data": [None if v is None else round(v, 3) for v in vs], "barMaxWidth": 26} for n, vs in values.items()
    ]
    return options
