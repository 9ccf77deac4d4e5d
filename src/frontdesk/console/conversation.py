"""One conversation: what was said, and below each answer why the desk gave it; its summary, score and sentiment; and the list of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from nicegui import ui

from frontdesk.analytics.criteria import MEANING as CRITERIA_MEANING
from frontdesk.analytics.service import Inside
from frontdesk.analytics.summary import Statement, Summary
from frontdesk.console import charts
from frontdesk.console.frame import card, content, empty, link, markup, page, rows_html
from frontdesk.console.telling import OWNERS, ROUTES, SILENT, ago, face, needed, place, short, steps
from frontdesk.console.visiting import Visit, lead_to
from frontdesk.desk import languages
from frontdesk.domain.conversation import ConversationId, Owner, Route
from frontdesk.domain.events import AgentReplied, HandedOff, MessageReceived, OwnerChanged, Recorded, ReplySent, TurnFailed
from frontdesk.domain.knowledge import PassageId
from frontdesk.domain.staff import Right
from frontdesk.domain.tenancy import CustomerId
from frontdesk.errors import BadInput
from frontdesk.models.protocols import LanguageModel
from frontdesk.store.conversations import ConversationSummary
from frontdesk.store.ledger import ToneRow
from frontdesk.tools.builtin import translated

WINDOW = 400
"""Events of a conversation that one page shows; longer ones are leafed through."""
SIZES = (50, 200, 1000)
TRANSLATED = 40
"""Latest utterances that are translated at once."""
LISTED = 8
"""Conversations of one customer, and promises to them, that are listed."""
_SAID = (MessageReceived, ReplySent, AgentReplied, TurnFailed, OwnerChanged, HandedOff)


# --- the list ---


@page("conversations", "Conversations", icon="forum")
async def conversations(visit: Visit) -> None:
    """All conversations, the latest activity first, leafed through in the database."""
    asked = visit.request.query_params
    owner = Owner(asked["owner"]) if asked.get("owner") in set(Owner) else None
    size = int(asked.get("size", "50")) if asked.get("size") in {str(s) for s in SIZES} else SIZES[0]
    before = _time(asked.get("before", ""))
    found = await visit.space.conversations.list(owner=owner, limit=size, before=before)
    words = {"": "all", **{o.value: OWNERS[o] for o in Owner}}

    def go(**changed: Any) -> None:
        now = {"owner": owner.value if owner else "", "size": str(size), **changed}
        lead_to(f"{visit.path('conversations')}?" + "&".join(f"{k}={v}" for k, v in now.items() if v))

    with content("Conversations", "The latest activity first.") as acts, acts:
        ui.input(placeholder="Open by id", on_change=None).props("dense outlined aria-label='Open by id'").on(
            "keydown.enter", lambda e: lead_to(visit.path("conversations", str(e.sender.value).strip()))
        )
        ui.select(words, value=owner.value if owner else "", on_change=lambda e: go(owner=e.value)).props(
            "dense outlined options-dense aria-label='With whom'"
        )
        ui.select({s: f"{s} a page" for s in SIZES}, value=size, on_change=lambda e: go(size=str(e.value))).props(
            "dense outlined options-dense aria-label='Rows'"
        )
    if not found:
        empty("No conversations here.")
        return
    _table(visit, found)
    links = [f'<a href="{visit.path("conversations")}">To the newest</a>'] if before else []
    if len(found) == size:
        older = found[-1].updated_at.isoformat().replace("+", "%2B")
        whose = owner.value if owner else ""
        links.append(f'<a href="{visit.path("conversations")}?size={size}&amp;owner={whose}&amp;before={older}">Older</a>')
    markup(f'<p class="pager">{" · ".join(links)}</p>')


def _table(visit: Visit, found: Sequence[ConversationSummary]) -> None:
    """A plain table: each row's link is reached by Tab, a thousand of them too."""
    now = datetime.now(UTC)
    rows = [
        [
            link(visit, short(c.preview, 90) or "(nothing said)", "conversations", c.conversation_id),
            escape(c.customer or "guest"),
            escape(c.channel),
            escape(c.agent or OWNERS[c.owner]),
            str(c.messages),
            escape(ago(c.updated_at, now)),
        ]
        for c in found
    ]
    head = ("Last message", "Customer", "Channel", "With", "Messages", "Last activity")
    markup(rows_html(head, rows, label="Conversations"), "conversations wide")


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# --- one conversation ---


@page("conversations/{conversation}", "Conversation")
async def conversation(visit: Visit, conversation: str) -> None:
    """What was said, why, and what it amounts to."""
    id = ConversationId(conversation)
    inside = await visit.analytics.inside(visit.tenant.id, id)
    known = await visit.space.conversations.load(id, any_caller=True)
    last = inside.row.seq if inside.row else 0
    asked = visit.request.query_params.get("after", "")
    after = int(asked) if asked.isdigit() else max(0, last - WINDOW)
    events = await visit.space.conversations.events(id, after=after, limit=WINDOW)
    who = f"customer {known.customer}" if known.customer else "a guest"
    with content("Conversation", f"{who}, opened {ago(known.opened_at)}, with {known.agent or OWNERS[known.owner]}") as acts, acts:
        if known.owner is not Owner.CLOSED and visit.may(Right.ANSWER):
            ui.button("Work on it", icon="support_agent", on_click=lambda: lead_to(visit.path("inbox", id))).props("no-caps unelevated")
    with ui.element("div").classes("two"):
        with ui.element("div").classes("main-side"):
            _leafing(visit, id, after, last, len(events))
            markup(await thread(visit, events, inside.tones), "thread")
            _leafing(visit, id, after, last, len(events))
        with ui.element("div").classes("aside"):
            _summary(visit, id, inside)
            _translation(visit, events)
            await _customer(visit, id, known.customer)
            _score(visit, id, inside)


def _leafing(visit: Visit, id: str, after: int, last: int, shown: int) -> None:
    if after == 0 and shown < WINDOW:
        return
    links = []
    if after > 0:
        links.append(f'<a href="{visit.path("conversations", id)}?after={max(0, after - WINDOW)}">Earlier</a>')
    if after + shown < last:
        links.append(f'<a href="{visit.path("conversations", id)}?after={after + WINDOW}">Later</a>')
    markup(f'<p class="soft">Events {after + 1} to {after + shown} of {last}. {" · ".join(links)}</p>')


async def thread(visit: Visit, events: Sequence[Recorded], tones: Sequence[ToneRow], *, why: bool = True) -> str:
    """What was said, as HTML; with `why`, each turn can be opened to its trace."""
    found: Mapping[str, Any] = {}
    if why:
        ids = needed(events)[:400]
        found = {str(p.id): p for p in await visit.space.knowledge.passages([PassageId(i) for i in ids])} if ids else {}
    by_turn: dict[str, list[Recorded]] = {}
    for recorded in events:
        by_turn.setdefault(recorded.turn, []).append(recorded)
    heard = {t.seq: t for t in tones}
    parts: list[str] = []
    for recorded in events:
        if not isinstance(recorded.event, _SAID):
            continue
        parts.append(_said(recorded, heard.get(recorded.seq)))
        if why and recorded.turn and isinstance(recorded.event, (ReplySent, TurnFailed)):
            parts.append(_trace([r for r in by_turn[recorded.turn] if not isinstance(r.event, SILENT)], found))
    return "".join(parts) or '<p class="empty">Nothing was said.</p>'


def _said(recorded: Recorded, tone: ToneRow | None) -> str:
    event, at = recorded.event, recorded.at
    clock = f'<time datetime="{at.isoformat()}" title="{at:%Y-%m-%d %H:%M:%S} UTC">{at:%H:%M}</time>'
    if isinstance(event, OwnerChanged):
        words = {"desk": "back with the desk", "queue": "waiting for an agent", "agent": f"taken by {event.agent}", "closed": "closed"}
        note = f": {event.note}" if event.note else ""
        return f'<p class="note" data-seq="{recorded.seq}">{clock} {escape(words.get(event.owner, event.owner) + note)}</p>'
    if isinstance(event, HandedOff):
        return f'<p class="note" data-seq="{recorded.seq}">{clock} handed over to people: {escape(event.summary)}</p>'
    who, text, extra = _voice(event)
    if tone is not None and tone.speaker == "customer":
        extra += f' · <span class="tone {tone.label}" title="{tone.score:+.2f}">{face(tone.score)}</span>'
    words = {"customer": "Customer", "desk": "Desk"}
    name = words.get(who, getattr(event, "agent", "") or "Agent")
    body = escape(text).replace("\n", "<br>")
    return (
        f'<article class="msg {who}" data-seq="{recorded.seq}"><p class="by">{escape(name)} {clock}{extra}</p>'
        f'<div class="text" dir="auto">{body}</div>{_sources(event)}</article>'
    )


def _voice(event: Any) -> tuple[str, str, str]:
    if isinstance(event, MessageReceived):
        return "customer", event.text, ""
    if isinstance(event, AgentReplied):
        return "agent", event.text, ""
    if isinstance(event, TurnFailed):
        return "desk", event.apology or "(no reply)", " · failed"
    return "desk", event.text, f" · from {ROUTES[Route(event.route)]}"


def _sources(event: Any) -> str:
    if not isinstance(event, ReplySent) or not event.citations:
        return ""
    rows = "".join(f"<li><b>{escape(place(c.source, c.title))}</b> “{escape(short(c.quote, 280))}”</li>" for c in event.citations)
    return f'<ul class="sources">{rows}</ul>'


def _trace(events: Sequence[Recorded], passages: Mapping[str, Any]) -> str:
    rows = []
    for s in steps(events, passages):
        lines = "".join(f"<li>{escape(x)}</li>" for x in s.lines)
        text = f"<p>{escape(s.text)}</p>" if s.text else ""
        rows.append(
            f'<li class="{s.kind}"><span class="material-icons" aria-hidden="true">{s.icon}</span>'
            f"<div><b>{escape(s.title)}</b>{text}{f'<ul>{lines}</ul>' if lines else ''}</div></li>"
        )
    return f'<details class="why"><summary>Why this answer</summary><ol>{"".join(rows)}</ol></details>'


def summary_html(s: Summary) -> str:
    """The statements of a summary with their turns, as HTML."""
    parts = [("What it is about", [s.reason]), ("What was done", list(s.done)), ("How it ended", [s.ending])]
    parts += [("Promised, not yet kept", list(s.promises)), ("Known", list(s.facts))]
    return "".join(f"<h3>{t}</h3><ul>{''.join(_statement(x) for x in rows)}</ul>" for t, rows in parts if rows)


def _summary(visit: Visit, id: ConversationId, inside: Inside) -> None:
    s = inside.summary
    with card("Summary", f"Outcome: {inside.outcome.replace('_', ' ')}. The numbers are turns."):
        markup(summary_html(s), "summary")
        said = s.phrased
        if said:
            markup(f"<p>{escape(said)}</p>")
    with card("Sentiment"):
        customer = inside.trend.get("customer")
        if customer is None:
            empty("Not heard yet.")
        else:
            words = {"worse": "got worse", "better": "got better", "steady": "stayed as it was"}
            turning = "" if customer.turning_point is None else f" It turned at their message {customer.turning_point + 1}."
            ui.label(f"The customer's tone {words.get(customer.direction, customer.direction)}.{turning}")
            points = [(float(n + 1), t.score) for n, t in enumerate(t for t in inside.tones if t.speaker == "customer")]
            if len(points) > 1:
                options = charts.curves({"Tone": points}, x="message")
                options["yAxis"] |= {"min": -1, "max": 1}
                options["xAxis"] |= {"min": 1, "minInterval": 1, "name": ""}
                ui.echart(options).classes("chart-small")


def _translation(visit: Visit, events: Sequence[Recorded]) -> None:
    """What was said, in the language of the tenant's staff, at the press of a button: a model may be slow, and costs."""
    model = visit.office.translator(visit.tenant)
    said = [r.event for r in events if isinstance(r.event, (MessageReceived, ReplySent, AgentReplied))][-TRANSLATED:]
    if model is None or not said:
        return
    own = visit.tenant.languages[0]
    language = languages.named([own], "en")

    async def show() -> None:
        button.disable()
        rows = [f"<li><b>{who}</b> {escape(text)}</li>" for who, text in [await _in_own(model, event, language) for event in said]]
        with box:
            markup(f'<ol lang="{escape(own)}">{"".join(rows)}</ol>', "summary")
        button.delete()

    with card(
        "Translation", f"By the model that `models: translate` names, into {language}. No translation is sent to the customer."
    ) as box:
        button = ui.button("Translate", icon="translate", on_click=visit.doing(show)).props("flat no-caps dense")


async def _in_own(model: LanguageModel, event: Any, language: str) -> tuple[str, str]:
    """Who spoke and what it means; a text whose numbers the model would change stays untranslated, and says so."""
    who, text, _ = _voice(event)
    try:
        return who.capitalize(), await translated(model, text, language)
    except BadInput as problem:
        return who.capitalize(), f"({problem}) {text}"


async def _customer(visit: Visit, id: ConversationId, customer: CustomerId | None) -> None:
    """What the customer's conversations amount to together, where there are several."""
    if customer is None:
        return
    told = await visit.analytics.customer(visit.tenant.id, customer)
    if len(told.conversations) < 2:
        return
    counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in told.outcomes.items())
    with card("This customer", f"The latest {len(told.conversations)} conversations: {counted}."):
        rows = [
            f"<li>{_opened(visit, s.opened_at, s.conversation, here=s.conversation == id)}: {escape(s.reason.text)} {escape(s.ending.text)}</li>"
            for s in told.conversations[:LISTED]
            if s.opened_at
        ]
        same: dict[str, list[ConversationId]] = {}
        for where, p in told.promises:
            same.setdefault(p.text, []).append(where)
        promised = [f"<li>{_promise(visit, text, places)}</li>" for text, places in list(same.items())[:LISTED]]
        again = [f"<li>{escape(topic)}</li>" for topic in told.recurring]
        parts = (("", rows), ("Promised, not yet kept", promised), ("Came up more than once", again))
        markup("".join(f"{f'<h3>{title}</h3>' if title else ''}<ul>{''.join(lines)}</ul>" for title, lines in parts if lines), "summary")


def _opened(visit: Visit, at: datetime, id: ConversationId, *, here: bool) -> str:
    when = f"{at:%Y-%m-%d %H:%M}"
    return f"{when} (this one)" if here else link(visit, when, "conversations", id)


def _promise(visit: Visit, text: str, places: Sequence[ConversationId]) -> str:
    """One promise and where it was made; what was promised again and again in the same words stands there once."""
    read = [link(visit, f"{n}" if n > 1 else "read", "conversations", id) for n, id in enumerate(places[:LISTED], 1)]
    return f"{escape(text)} {', '.join(read)}"


def _statement(s: Statement) -> str:
    turns = f' <small class="soft">({", ".join(map(str, s.turns[:6]))}{"…" if len(s.turns) > 6 else ""})</small>' if s.turns else ""
    return f"<li>{escape(s.text)}{turns}</li>"


def _score(visit: Visit, id: ConversationId, inside: Inside) -> None:
    score = inside.score
    total = (
        "nothing in it gives occasion for a score"
        if score.total is None
        else f"{score.total:.0%}, {'passed' if score.passed else 'not passed'}"
    )
    with card("Score", f"{total} (by {score.judge}).".capitalize()):
        rows = []
        for mark in inside.score.criteria():
            value = "–" if mark["value"] is None else f"{mark['value']:.0%}"
            told = CRITERIA_MEANING.get(mark["name"], "")
            rows.append(
                [
                    f'<span title="{escape(told)}">{escape(str(mark["name"]).replace("_", " "))}</span>',
                    value,
                    escape(str(mark.get("reason", ""))),
                ]
            )
        markup(rows_html(("Criterion", "Score", "Because"), rows, label="Score by criterion"))
        if score.flags:
            markup("<p>Flags: " + ", ".join(f"<mark>{escape(f)}</mark>" for f in score.flags) + "</p>")
        labelled = [
            f"{b.by}: {'good' if b.passed else 'not good'}{' (' + b.note + ')' if b.note else ''}" for b in inside.labels if not b.criterion
        ]
        ui.label("Judged by people: " + ("; ".join(labelled) or "nobody yet")).classes("soft")
        if visit.may(Right.LABEL):
            with ui.row():
                for good, says, icon in ((True, "Good", "thumb_up"), (False, "Not good", "thumb_down")):
                    ui.button(says, icon=icon, on_click=visit.doing(_labelling(visit, id, good))).props("flat no-caps dense")


def _labelling(visit: Visit, id: ConversationId, good: bool) -> Any:
    async def label() -> None:
        staff = await visit.who(Right.LABEL)
        await visit.act(Right.LABEL, "conversation.label", id, passed=good)
        await visit.analytics.label(visit.tenant.id, id, passed=good, by=staff.name)
        ui.notify("Kept. It counts for the calibration of scores.", type="positive")

    return label
