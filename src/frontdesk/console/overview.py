"""The overview: every figure of the ledger with what it is taken among, down to the conversations behind it; trends; what many ask about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.analytics.metrics import BY_NAME, MEANING, Outcome, Report, Seen
from frontdesk.analytics.service import Period
from frontdesk.console import charts
from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html
from frontdesk.console.telling import ago, amount, basis_of, short, value_of
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.errors import FrontdeskError, NotFound

SPANS = {"1": "24 hours", "7": "7 days", "30": "30 days", "90": "90 days", "0": "all time"}
WHOSE_WORDS = {"customers": "Customers", "rehearsals": "Rehearsals", "all": "Both"}
FIRST = ("proved_resolution", "containment", "deflection", "satisfaction", "first_contact", "gap_rate", "first_response", "handed_over")
TRENDS = ("proved_resolution", "containment", "gap_rate")
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
    _figures(visit, report, looked)
    await _trends(visit, period, days)
    await _asked_about(visit, period)
    _all_figures(visit, report, looked)


def _figures(visit: Visit, report: Report, looked: Looked) -> None:
    with card(f"How {report.conversations} conversations ended", "Silence is never counted as confirmed."):
        if report.conversations:
            ui.echart(charts.outcomes(report.outcomes)).classes("chart-strip")
        cells = "".join(
            f'<a href="{looked.href(visit.path("behind", name))}" title="{escape(MEANING[Outcome(name)])}">'
            f"<b>{count}</b> {escape(name.replace('_', ' '))}</a>"
            for name, count in report.outcomes.items()
        )
        markup(f'<p class="outcomes">{cells}</p>')
    tiles = "".join(_tile(visit, report, name, looked) for name in FIRST)
    markup(f'<div class="tiles">{tiles}</div>', "wide")


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
    moods = await visit.analytics.mood(visit.tenant.id, "hour" if days == "1" else "day", period=period)
    with ui.element("div").classes("grid"):
        with card("Conversations", f"With a message, per {bucket}."):
            _chart(charts.counts(volume, "Conversations"), bool(volume))
        with card("Sentiment", "Average tone of what was said, from -1 (negative) to 1 (positive)."):
            _chart(charts.moods(moods), bool(moods))
        with card("Shares over time", "Of the conversations that are over and asked something."):
            _chart(charts.shares(series), any(series.values()))


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
                rows = [
                    [escape(short(t.example, 90)), f"{t.count}", f"{t.share:.0%}", "rising" if t.rising else "", f"{t.gaps}"]
                    for t in themes
                ]
                if rows:
                    markup(rows_html(("For example", "Asked", "Share", "Trend", "Without answer"), rows, label="Themes"))
                else:
                    empty("Nothing was asked three times yet.")
        with card("What no source answers", "Fair questions, most asked first. Add the answer to the FAQ."):
            rows = [[escape(short(g.question, 90)), str(g.count), link(visit, "read", "conversations", g.conversation)] for g in gaps]
            if rows:
                markup(rows_html(("Question", "Asked", ""), rows, label="Knowledge gaps"))
                markup(f"<p>{link(visit, 'Answer them on the knowledge page', 'knowledge')}</p>")
            else:
                empty("No gaps.")


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


async def _export(visit: Visit, period: Period) -> None:
    text = await visit.analytics.export(visit.tenant.id, period)
    ui.download.content(text.encode(), f"{visit.tenant.id}-ledger.csv", "text/csv")


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
    with content(title, told):
        pass
    markup(f'<p class="crumbs">{link(visit, "Overview", "")} / {SPANS[looked.days]} / {WHOSE_WORDS[looked.whose]}</p>')
    with card(f"{len(counted)} of {len(among)} conversations"):
        if counted:
            markup(seen_html(visit, counted[:SHOWN]))
            if len(counted) > SHOWN:
                empty(f"The newest {SHOWN} are shown. The export has all of them.")
        else:
            empty("None in this period.")


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
