"""The overview: every figure of the ledger with what it is taken among, down to the conversations behind it; trends; what many ask about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.analytics.insight import Theme
from frontdesk.analytics.metrics import BY_NAME, MEANING, Outcome, Report, Seen
from frontdesk.analytics.service import BUCKETS, Period
from frontdesk.console import charts
from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html
from frontdesk.console.telling import ago, amount, basis_of, short, value_of
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.errors import FrontdeskError, NotFound

SPANS = {"1": "24 hours", "7": "7 days", "30": "30 days", "90": "90 days", "0": "all time"}
WHOSE_WORDS = {"customers": "Customers", "rehearsals": "Rehearsals", "all": "Both"}
FIRST = ("proved_resolution", "containment", "deflection", "satisfaction", "first_contact", "gap_rate", "first_response", "handed_over")
TRENDS = ("proved_resolution", "containment", "gap_rate")
COMPARED = ("containment", "gap_rate")
"""Figures that stand side by side for each part."""
PART_WORDS = {"channel": "channel", "intent": "intent", "topic": "source", "desk": "version of the desk", "model": "model"}
PARTS_SHOWN = 12
FEW = 10
"""Customers' conversations below which the page points to the rehearsed ones."""
SHOWN = 500


@dataclass(frozen=True)
class Looked:
    """What the address says one looks at: a span of days, and whose conversations."""

    days: str
    whose: str

    @property
    def period(self) -> Period:
        """As a period that ends now."""
        return Period(since=datetime.now(UTC) - timedelta(days=int(self.days)) if self.days != "0" else None, whose=self.whose)

    def at(self, address: str, **changed: str) -> str:
        """The address of a page that looks at the same, or at what is changed."""
        now = {"days": self.days, "whose": self.whose, **changed}
        return f"{address}?days={now['days']}&whose={now['whose']}"

    def href(self, address: str) -> str:
        """The same, for an attribute in HTML."""
        return escape(self.at(address))


def looked_at(visit: Visit) -> Looked:
    """What the address names; customers of the last seven days where it names nothing."""
    asked = visit.request.query_params
    days, whose = asked.get("days", "7"), asked.get("whose", "customers")
    return Looked(days if days in SPANS else "7", whose if whose in WHOSE_WORDS else "customers")


@page("", "Overview", icon="insights")
async def overview(visit: Visit) -> None:
    """Figures and trends of a period."""
    looked = looked_at(visit)
    days, period = looked.days, looked.period
    with content("Overview", f"What the log says about {visit.tenant.name}. Every figure opens down to its conversations.") as acts, acts:
        ui.toggle(WHOSE_WORDS, value=looked.whose, on_change=lambda e: lead_to(looked.at(visit.path(""), whose=e.value))).props("no-caps")
        ui.select(SPANS, value=days, on_change=lambda e: lead_to(looked.at(visit.path(""), days=e.value))).props(
            "dense outlined aria-label='Period'"
        )
        ui.button("Export", icon="download", on_click=lambda: _export(visit, period)).props("flat no-caps").tooltip(
            "One line for each conversation, as CSV"
        )
    report = await visit.analytics.report(visit.tenant.id, period)
    if not report.conversations:
        empty("No conversations in this period. Ask something on the chat page, or start a rehearsal, and the figures come by themselves.")
    if report.conversations < FEW and looked.whose == "customers":
        await _rehearsed(visit, period, looked)
    _figures(visit, report, looked)
    await _trends(visit, period, days)
    await _asked_about(visit, period)
    _all_figures(visit, report, looked)


async def _rehearsed(visit: Visit, period: Period, looked: Looked) -> None:
    """Where few customers have come yet, the way to the rehearsals that have more to show."""
    played = len(await visit.analytics.seen(visit.tenant.id, replace(period, whose="rehearsals")))
    if played:
        to = escape(looked.at(visit.path(""), whose="rehearsals"))
        markup(
            f'<p class="soft">Customers alone are counted. AI customers had {conversations_of(played)}: <a href="{to}">show those</a>.</p>'
        )


def conversations_of(count: int) -> str:
    """So many conversations, in words."""
    return f"{count} conversation{'s' * (count != 1)}"


def _figures(visit: Visit, report: Report, looked: Looked) -> None:
    with card(f"How {conversations_of(report.conversations)} ended", "Silence is never counted as confirmed."):
        if report.conversations:
            ui.echart(charts.outcomes(report.outcomes)).classes("chart-strip")
        cells = "".join(
            f'<a href="{looked.href(visit.path("behind", name))}" title="{escape(MEANING[Outcome(name)])}">'
            f"<b>{count}</b> {escape(name.replace('_', ' '))}</a>"
            for name, count in report.outcomes.items()
        )
        markup(f'<p class="outcomes">{cells}</p>')
    tiles = "".join(_tile(visit, report, name, looked) for name in FIRST)
    markup(f'<div class="tiles four">{tiles}</div>', "wide")


def _tile(visit: Visit, report: Report, name: str, looked: Looked) -> str:
    reading = report[name]
    return (
        f'<a class="tile" href="{looked.href(visit.path("behind", name))}" title="{escape(reading.figure.told)}">'
        f"<span>{escape(reading.figure.title)}</span><b>{value_of(reading)}</b><small>{basis_of(reading)}</small></a>"
    )


async def _trends(visit: Visit, period: Period, days: str) -> None:
    bucket = {"1": "hour", "7": "day", "30": "day"}.get(days, "week")
    series = {BY_NAME[n].title: await visit.analytics.series(visit.tenant.id, n, bucket, period) for n in TRENDS}
    volume = await visit.analytics.series(visit.tenant.id, "rated", bucket, period)
    span = span_of(period, bucket, [at for at, _ in volume])
    with ui.element("div").classes("grid"):
        with card("Conversations", f"With a message, per {bucket}."):
            _chart(charts.counts(volume, "Conversations", span, BUCKETS[bucket]), bool(volume))
        with card("Shares over time", "Of the conversations that are over and asked something."):
            _chart(charts.shares(series, span), any(series.values()))
        await _sentiment(visit, period, bucket, span)
        await _differences(visit, period)


def span_of(period: Period, bucket: str, points: Sequence[datetime]) -> charts.Span:
    """What the time axes show: the period, or from the first conversation on where it has no beginning; with room for the first bar."""
    now, step = datetime.now(UTC), BUCKETS[bucket]
    return (period.since or min(points, default=now)) - step, now + step / 2


async def _sentiment(visit: Visit, period: Period, bucket: str, span: charts.Span) -> None:
    """Tone over time, of speakers or of the customers in each part."""

    async def draw() -> None:
        moods = await visit.analytics.mood(visit.tenant.id, bucket, by=by.value or "", period=period)
        box.clear()
        with box:
            _chart(charts.moods(moods, span), bool(moods))

    with card("Sentiment", "Average tone of what was said, from -1 (negative) to 1 (positive)."):
        words = {"": "By speaker", **{part: f"Customers, by {word}" for part, word in PART_WORDS.items()}}
        by = ui.select(words, value="", on_change=visit.doing(draw)).props("dense outlined options-dense aria-label='Lines of the chart'")
        box = ui.element("div").classes("wide")
    await draw()


async def _differences(visit: Visit, period: Period) -> None:
    """Some figures side by side for each channel, intent, ..."""

    async def draw() -> None:
        found = await visit.analytics.compare(visit.tenant.id, COMPARED, by.value, period)
        moods: dict[str, list[tuple[float, int]]] = {}
        for m in await visit.analytics.mood(visit.tenant.id, "week", by=by.value, period=period):
            if m.speaker == "customer":
                moods.setdefault(m.part, []).append((m.score, m.utterances))
        rows = [
            [escape(short(part or charts.UNNAMED, 50)), str(count), *map(value_of, readings), _tone(moods.get(part, ()))]
            for part, count, readings in found[:PARTS_SHOWN]
        ]
        head = (PART_WORDS[by.value].capitalize(), "Conversations", *(BY_NAME[n].title for n in COMPARED), "Tone")
        told.set_content(rows_html(head, rows, label="Figures by part") if rows else '<p class="empty">Nothing to compare yet.</p>')

    with card("Where it differs", "The same figures for each part; each figure's own page has them with their bounds."):
        by = ui.select({part: f"By {word}" for part, word in PART_WORDS.items()}, value="channel", on_change=visit.doing(draw)).props(
            "dense outlined options-dense aria-label='Parts'"
        )
        told = markup("", "wide")
    await draw()


def _tone(heard: Sequence[tuple[float, int]]) -> str:
    utterances = sum(n for _, n in heard)
    return f"{sum(score * n for score, n in heard) / utterances:+.2f}" if utterances else "–"


def _chart(options: dict[str, Any], any_points: bool) -> None:
    if any_points:
        ui.echart(options).classes("chart")
    else:
        empty("Nothing to draw yet.")


async def _asked_about(visit: Visit, period: Period) -> None:
    gaps = await visit.space.desk.gaps(limit=8)
    with ui.element("div").classes("grid"):
        with card("What customers ask about", "Questions that are alike, most frequent first."):
            try:
                themes = (await visit.analytics.themes(visit.tenant.id, period))[:8]
            except FrontdeskError as problem:
                empty(str(problem))
            else:
                rows = [[_theme(t), f"{t.count}", f"{t.share:.0%}", "rising" if t.rising else "", f"{t.gaps}"] for t in themes]
                if rows:
                    markup(rows_html(("For example", "Asked", "Share", "Trend", "Without answer"), rows, label="Themes"))
                else:
                    empty("Nothing was asked three times yet.")
        with card("What no source answers", "Fair questions of customers and AI customers, most asked first. Add the answer to the FAQ."):
            rows = [[escape(short(g.question, 90)), str(g.count), link(visit, "read", "conversations", g.conversation)] for g in gaps]
            if rows:
                markup(rows_html(("Question", "Asked", ""), rows, label="Knowledge gaps"))
                markup(f"<p>{link(visit, 'Answer them on the knowledge page', 'knowledge')}</p>")
            else:
                empty("No gaps.")


def _theme(theme: Theme) -> str:
    """A theme's request in the middle, to be opened to others of it."""
    others = "".join(f"<li>{escape(short(x, 120))}</li>" for x in theme.examples if x != theme.example)
    first = escape(short(theme.example, 90))
    return f"<details><summary>{first}</summary><ul>{others}</ul></details>" if others else first


def _all_figures(visit: Visit, report: Report, looked: Looked) -> None:
    with ui.expansion("All figures with their definitions", icon="functions").classes("box wide"):
        rows = [
            [
                f'<a href="{looked.href(visit.path("behind", r.figure.name))}">{escape(r.figure.title)}</a>',
                f"<b>{value_of(r)}</b>",
                basis_of(r),
                escape(r.figure.told),
            ]
            for r in report.readings
        ]
        markup(rows_html(("Figure", "Value", "Among", "What is counted"), rows, label="All figures"))


async def _export(visit: Visit, period: Period, figure: str = "") -> None:
    text = await visit.analytics.export(visit.tenant.id, period, figure=figure)
    ui.download.content(text.encode(), f"{visit.tenant.id}-{figure or 'ledger'}.csv", "text/csv")


@page("behind/{figure}", "Behind a figure")
async def behind(visit: Visit, figure: str) -> None:
    """The conversations that one figure counts."""
    looked = looked_at(visit)
    period = looked.period
    known = BY_NAME.get(figure)
    if known is None and figure not in set(Outcome):
        raise NotFound(f"There is no figure {figure!r}.")
    title, told = (known.title, known.told) if known else (figure.replace("_", " ").capitalize(), MEANING[Outcome(figure)])
    counted = await visit.analytics.behind(visit.tenant.id, figure, period)
    among = counted if known is None else await visit.analytics.behind(visit.tenant.id, figure, period, counted=False)
    with content(title, told) as acts, acts:
        ui.button("Export these", icon="download", on_click=visit.doing(lambda: _export(visit, period, figure))).props("flat no-caps")
    back = f'<a href="{looked.href(visit.path(""))}">Overview</a>'
    markup(f'<p class="crumbs">{back} / {SPANS[looked.days]} / {WHOSE_WORDS[looked.whose]}</p>')
    if known is not None and among:
        await _by_part(visit, figure, period)
    with card(f"{len(counted)} of {conversations_of(len(among))}"):
        if counted:
            markup(seen_html(visit, counted[:SHOWN]))
            if len(counted) > SHOWN:
                empty(f"The newest {SHOWN} are shown. The export has all of them.")
        else:
            empty("None in this period.")


async def _by_part(visit: Visit, figure: str, period: Period) -> None:
    """The figure for each channel, intent, ..., with what it is taken among."""

    async def draw() -> None:
        parts = [(part, r) for part, r in await visit.analytics.split(visit.tenant.id, figure, by.value, period) if r.among]
        rows = [[escape(short(part or charts.UNNAMED, 60)), f"<b>{value_of(r)}</b>", basis_of(r)] for part, r in parts[:PARTS_SHOWN]]
        told.set_content(rows_html((PART_WORDS[by.value].capitalize(), "Value", "Among"), rows, label="The figure by part"))

    with card("By part"):
        by = ui.select({part: f"By {word}" for part, word in PART_WORDS.items()}, value="channel", on_change=visit.doing(draw)).props(
            "dense outlined options-dense aria-label='Parts'"
        )
        told = markup("", "wide")
    await draw()


def seen_html(visit: Visit, rows: list[Seen]) -> str:
    """Conversations as a table that leads to each."""
    now = datetime.now(UTC)
    cells = [
        [
            link(visit, ago(s.row.opened_at, now), "conversations", s.row.conversation),
            escape(s.row.customer or "guest"),
            escape(s.row.channel),
            escape(short(s.row.topic or s.row.intent or "–", 60)),
            escape(s.outcome.value.replace("_", " ")),
            f"{s.row.messages}",
            amount(s.row.first_reply_seconds, "seconds"),
            f"{s.row.rating} of 5" if s.row.rating else "–",
        ]
        for s in rows
    ]
    head = ("Opened", "Customer", "Channel", "About", "Outcome", "Messages", "First reply", "Rating")
    return rows_html(head, cells, label="Conversations")
