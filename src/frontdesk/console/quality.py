"""How far scores are to be trusted: conversations drawn by lot, judged by people without seeing the score, and what that makes of the figures.

Refuses to show what the judge said before a person has spoken: who knows it agrees with it too easily.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from html import escape

from nicegui import ui

from frontdesk.analytics.criteria import MEANING as CRITERIA_MEANING
from frontdesk.analytics.score import ENOUGH, Calibration, Cut, Rate
from frontdesk.analytics.service import Period
from frontdesk.console.conversation import WINDOW, thread
from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html
from frontdesk.console.overview import WHOSE_WORDS
from frontdesk.console.telling import ago, short
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.staff import Right
from frontdesk.store.ledger import LabelRow

LISTED = 60
"""Judged conversations that the page lists."""
FLAGGED = 1000
"""Scores whose flags are counted."""


@page("quality", "Quality", icon="fact_check")
async def quality(visit: Visit) -> None:
    """Rates of the judge, what they make of the share that passes, and the next conversation to judge."""
    asked = visit.request.query_params
    whose = asked.get("whose", "customers") if asked.get("whose") in WHOSE_WORDS else "customers"
    criterion = asked.get("criterion", "") if asked.get("criterion") in CRITERIA_MEANING else ""
    period = Period(whose=whose)
    await visit.analytics.score_waiting(visit.tenant.id)

    def go(**changed: str) -> None:
        now = {"whose": whose, "criterion": criterion, **changed}
        lead_to(f"{visit.path('quality')}?" + "&".join(f"{k}={v}" for k, v in now.items() if v))

    lead = "Scores are held against what people say of conversations drawn by lot, and their figures corrected by it."
    with content("Quality", lead) as acts, acts:
        ui.toggle(WHOSE_WORDS, value=whose, on_change=lambda e: go(whose=e.value)).props("no-caps")
        words = {"": "As a whole", **{name: name.replace("_", " ").capitalize() for name in CRITERIA_MEANING}}
        ui.select(words, value=criterion, on_change=lambda e: go(criterion=e.value)).props(
            "dense outlined options-dense aria-label='What is judged'"
        )
    judging = Judging(visit, period, criterion)
    with ui.element("div").classes("two"):
        with ui.element("div").classes("main-side"):
            await judging.draw()
        aside = ui.element("div").classes("aside")
    below = ui.element("div").classes("wide")

    async def draw() -> None:
        aside.clear()
        below.clear()
        with aside:
            await _rates(visit, period, criterion)
            await _flags(visit, period)
        with below:
            await _judged(visit, period, criterion)

    judging.after = draw
    await draw()


class Judging:
    """One conversation after the other, for a person to judge."""

    def __init__(self, visit: Visit, period: Period, criterion: str) -> None:
        self._visit, self._period, self._criterion = visit, period, criterion
        self.after: Callable[[], Awaitable[None]] | None = None
        """What to do once somebody has spoken."""
        self._skipped: set[ConversationId] = set()
        self._shown: ConversationId | None = None

    async def draw(self) -> None:
        """Builds the box and shows the first."""
        about = f": {CRITERIA_MEANING[self._criterion]}" if self._criterion else ""
        with card("Judge the next", f"Drawn by lot; the score is hidden until you have spoken{about}."):
            self._told = markup("", "thread tall judged")
            self._acts = ui.row()
        with self._acts:
            self._note = (
                ui.input(placeholder="Why (may be left out)").props("dense outlined aria-label='Why' maxlength=500").classes("grow")
            )
            if self._visit.may(Right.LABEL):
                for good, says, icon in ((True, "Good", "thumb_up"), (False, "Not good", "thumb_down")):
                    ui.button(says, icon=icon, on_click=self._visit.doing(self._saying(good))).props("no-caps unelevated")
            ui.button("Skip", on_click=self._visit.doing(self._skip)).props("flat no-caps")
        await self._next()

    async def _next(self) -> None:
        drawn = await self._visit.analytics.to_label(self._visit.tenant.id, self._period, limit=ENOUGH + len(self._skipped))
        self._shown = next((id for id in drawn if id not in self._skipped), None)
        self._acts.set_visibility(self._shown is not None)
        if self._shown is None:
            self._told.set_content(
                '<p class="empty">Nothing is left to judge. Conversations are scored when they have been quiet a while.</p>'
            )
            return
        events = await self._visit.space.conversations.events(self._shown, after=0, limit=WINDOW)
        self._told.set_content(await thread(self._visit, events, (), why=False))

    async def _skip(self) -> None:
        if self._shown is not None:
            self._skipped.add(self._shown)
        await self._next()

    def _saying(self, good: bool) -> Callable[[], Awaitable[None]]:
        async def say() -> None:
            if self._shown is None:
                return
            visit, id, note = self._visit, self._shown, str(self._note.value or "").strip()
            staff = await visit.who(Right.LABEL)
            await visit.act(Right.LABEL, "conversation.label", id, passed=good, criterion=self._criterion)
            await visit.analytics.label(visit.tenant.id, id, passed=good, by=staff.name, criterion=self._criterion, note=note)
            if self._criterion:
                self._skipped.add(id)  # drawn are those that nobody judged as a whole
            self._note.set_value("")
            await self._next()
            if self.after is not None:
                await self.after()

        return say


async def _rates(visit: Visit, period: Period, criterion: str) -> None:
    found = await visit.analytics.calibration(visit.tenant.id, period, criterion=criterion)
    so_far = f"{found.labelled} of {ENOUGH}" if found.labelled < ENOUGH else str(found.labelled)
    with card("How far the scores hold", f"{so_far} conversations judged."):
        ui.linear_progress(min(1.0, found.labelled / ENOUGH), show_value=False).props("aria-label='Judged so far'")
        markup(rows_html(("Figure", "Value", "95 %", "Among"), _rows(found), label="Rates of the judge"))
        if found.advice:
            markup(f'<p class="advice">{escape(found.advice)}</p>')
        if found.cut is not None:
            markup(f'<p class="advice">{_cut(found.cut, visit.analytics.rubric(visit.tenant.id).passes)}</p>')


def _cut(cut: Cut, now: float) -> str:
    """A better total to pass from, in words."""
    pass_, fail = (f"{r.count} of {r.among}" for r in (cut.false_pass, cut.false_fail))
    return (
        f"To pass from {cut.passes:.0%} instead of {now:.0%} would fit these judgements best: false pass {pass_}, false fail {fail}. "
        f"<code>scoring: {{pass: {cut.passes:g}}}</code> in tenant.yaml sets it; then judge others, to see whether it holds for those too."
    )


def _rows(found: Calibration) -> list[list[str]]:
    told = (
        ("Passed by the score", found.apparent),
        ("False pass", found.false_pass),
        ("False fail", found.false_fail),
        ("Would pass by people", found.corrected),
    )
    return [[escape(name), *_cells(rate, count=rate is not found.corrected)] for name, rate in told]


def _cells(rate: Rate | None, *, count: bool) -> list[str]:
    if rate is None:
        return ["–", "", "nothing to count yet" if count else ""]
    return [f"<b>{rate.value:.0%}</b>", f"{rate.low:.0%} to {rate.high:.0%}", f"{rate.count} of {rate.among}" if count else "all scored"]


async def _flags(visit: Visit, period: Period) -> None:
    scores = await visit.analytics.scores(visit.tenant.id, period=period, limit=FLAGGED)
    counted = Counter(flag for s in scores for flag in s.flags)
    with card("Flags", "What the tenant's `scoring: flags:` and the desk look out for, in scored conversations."):
        if not counted:
            empty("None was raised.")
            return
        example = {flag: s.conversation for s in reversed(scores) for flag in s.flags}
        rows = [[escape(flag), str(n), link(visit, "read one", "conversations", example[flag])] for flag, n in counted.most_common(12)]
        markup(rows_html(("Flag", "Conversations", ""), rows, label="Flags"))


async def _judged(visit: Visit, period: Period, criterion: str) -> None:
    _, held = await visit.analytics.held_against(visit.tenant.id, period, criterion=criterion)
    with card("Judged so far", "Where a person and the score disagree first."):
        if not held:
            empty("Nobody has judged anything yet.")
            return
        ordered = sorted(held, key=lambda pair: pair[0].passed == pair[1])[:LISTED]
        head = ("Conversation", "A person says", "The score says", "", "By", "Why")
        markup(rows_html(head, [_line(visit, label, verdict) for label, verdict in ordered], label="Judged conversations"))


def _line(visit: Visit, label: LabelRow, verdict: bool) -> list[str]:
    agree = label.passed == verdict
    wrong = "" if agree else f"<mark>{'false pass' if verdict else 'false fail'}</mark>"
    words = {True: "good", False: "not good"}
    opened = link(visit, ago(label.at) if label.at else "read", "conversations", label.conversation)
    return [opened, words[label.passed], words[verdict], wrong, escape(label.by), escape(short(label.note, 120))]
