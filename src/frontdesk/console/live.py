"""Live: conversations and rehearsals as they happen, and how customers sound over time. One picture is made for all who look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

from nicegui import ui

from frontdesk.analytics.service import Period
from frontdesk.console import charts
from frontdesk.console.feed import Feed, Going
from frontdesk.console.frame import card, content, markup, page
from frontdesk.console.telling import ROUTES, ago, face, short
from frontdesk.console.visiting import Visit
from frontdesk.domain.conversation import ConversationId, Owner, Route, Speaker

PAUSE = 0.25
"""Seconds between two pictures: events of a quarter second come together."""
CHART_SECONDS = 5.0
SHOWN = 12
LOOKED_BACK = timedelta(hours=3)
SHORTEST = timedelta(minutes=15)
"""Stretch of time that the chart shows at least."""
SILENCE = timedelta(minutes=10)
"""Without a word for so long, the chart's line breaks off rather than lead from one end of it to the other."""
_PLAYED = "rehearsal"


class Picture:
    """The page's moving part as HTML, drawn once per change however many look at it."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, bool, str], tuple[int, int, str]] = {}
        self.tones: dict[ConversationId, float] = {}

    def of(self, feed: Feed, base: str, *, played: bool | None, query: str = "") -> str:
        """The newest conversations; `played`: only rehearsals, or none; None: all."""
        key = (base, bool(played), f"{played}{query}")
        second = int(datetime.now(UTC).timestamp())
        before = self._drawn.get(key)
        if before is not None and before[:2] == (feed.version, second):
            return before[2]
        rows = [g for g in feed.newest(60) if played is None or (g.channel.startswith(_PLAYED) is played)]
        html = "".join(_going(g, base, self.tones.get(g.id)) for g in rows[:SHOWN])
        html = html or '<p class="empty">Nothing is going on. What customers or a rehearsal say appears here at once.</p>'
        if len(self._drawn) > 32:
            self._drawn.clear()
        self._drawn[key] = (feed.version, second, html)
        return html


_PICTURES: WeakKeyDictionary[Feed, Picture] = WeakKeyDictionary()


def _going(g: Going, base: str, tone: float | None) -> str:
    now = datetime.now(UTC)
    state = {Owner.QUEUE: "waits for an agent", Owner.AGENT: "with an agent", Owner.CLOSED: "closed"}.get(g.owner, "")
    pill = f'<span class="pill {g.owner.value}">{state}</span>' if state else ""
    lines = "".join(
        f'<p class="{line.speaker.value}" data-seq="{line.seq}">{escape(short(line.text, 240))}'
        f"{f' <small>({_route(line.route)})</small>' if line.speaker is Speaker.DESK and line.route else ''}</p>"
        for line in list(g.lines)[-4:]
    )
    heard = "" if tone is None else f'<span class="tone {face(tone)}">{face(tone)}</span>'
    doing = f'<span class="doing">the desk {escape(g.doing)}</span>' if g.doing and g.owner is Owner.DESK else ""
    return (
        f'<section class="live" data-conversation="{escape(g.id)}"><header><a href="{base}/{escape(g.id)}">{escape(g.customer or "Guest")}</a>'
        f"<span>{heard} {escape(g.channel)} · {ago(g.at, now)}</span></header>{pill}{lines}{doing}</section>"
    )


def _route(route: str) -> str:
    return ROUTES[Route(route)] if route in set(Route) else route


@page("live", "Live", icon="sensors")
async def live(visit: Visit) -> None:
    """What goes on now."""
    feed = visit.console.feeds.watch(visit.tenant.id)
    ui.context.client.on_delete(lambda: visit.console.feeds.leave(feed))
    picture = _PICTURES.setdefault(feed, Picture())
    base = visit.path("conversations")
    shown: dict[str, bool | None] = {"played": None}
    with content("Live", "Conversations as they happen; a message is here within a second.") as acts, acts:

        def choose(event: Any) -> None:
            shown["played"] = {"all": None, "customers": False, "rehearsals": True}[event.value]
            lives.set_content(picture.of(feed, base, played=shown["played"]))

        ui.toggle({"all": "All", "customers": "Customers", "rehearsals": "Rehearsals"}, value="all", on_change=choose).props("no-caps")
    numbers = markup("", "numbers wide")
    with card(
        "Sentiment over time", "Average tone per minute, from -1 (negative) to 1 (positive), of everything said in the last three hours."
    ):
        chart = ui.echart(charts.moods([])).classes("chart")
        quiet = ui.label("Nothing heard yet.").classes("empty")
    lives = markup(picture.of(feed, base, played=None), "lives")
    seen = {"version": -1, "drawn": ""}

    async def draw() -> None:
        html = picture.of(feed, base, played=shown["played"])
        if html != seen["drawn"]:
            seen["drawn"] = html
            lives.set_content(html)
        numbers.set_content(_numbers(feed, played=shown["played"]))

    async def draw_chart() -> None:
        await visit.console.feeds.tidy()
        whose = {None: "all", False: "customers", True: "rehearsals"}[shown["played"]]
        period = Period(since=datetime.now(UTC) - LOOKED_BACK, whose=whose)
        rows = await visit.analytics.mood(visit.tenant.id, "minute", period=period)
        quiet.set_visibility(not rows)
        chart.options.clear()
        chart.options.update(charts.moods(rows, silence=SILENCE))
        now = datetime.now(UTC)
        begin = min([r.at for r in rows] + [now - SHORTEST])
        chart.options["xAxis"] |= {"min": begin.isoformat(), "max": now.isoformat()}
        chart.update()
        picture.tones = dict(await _tones(visit, feed))

    await draw_chart()
    ui.timer(PAUSE, visit.doing(draw))
    ui.timer(CHART_SECONDS, visit.doing(draw_chart))


async def _tones(visit: Visit, feed: Feed) -> Mapping[ConversationId, float]:
    """The customer's average tone in each of the newest conversations."""
    ids = [g.id for g in feed.newest(60)]
    heard: dict[ConversationId, list[float]] = {}
    for tone in await visit.space.ledger.tones(ids) if ids else ():
        if tone.speaker == "customer":
            heard.setdefault(tone.conversation, []).append(tone.score)
    return {id: sum(scores) / len(scores) for id, scores in heard.items()}


def _numbers(feed: Feed, *, played: bool | None) -> str:
    going = [g for g in feed.going.values() if played is None or (g.channel.startswith(_PLAYED) is played)]
    recent = [g for g in going if (datetime.now(UTC) - g.at).total_seconds() < 120]
    waiting = sum(g.owner is Owner.QUEUE for g in going)
    trouble = f'<span class="pill bad">{escape(feed.trouble)}</span>' if feed.trouble else ""
    return (
        f"<span><b>{len(recent)}</b> active in the last two minutes</span><span><b>{waiting}</b> of those below waiting for an agent</span>"
        f"<span><b>{feed.rate():.1f}</b> events a second</span>{trouble}"
    )
