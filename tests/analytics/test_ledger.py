"""The ledger: what a conversation counts as, and that counting piecemeal gives the same as counting at once."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontdesk.analytics import metrics
from frontdesk.analytics.folding import COUNTED, LEDGER, Analyst, fold_rows, row_data, row_from
from frontdesk.analytics.metrics import Outcome, Row
from frontdesk.analytics.service import Analytics, Period
from frontdesk.domain import events as e
from frontdesk.domain.conversation import Route, TurnId
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.errors import BadInput
from frontdesk.models.scripted import HashEmbedder
from frontdesk.store.store import Store

from .telling import START, Tale

LATER = START + timedelta(days=30)


def row(tale: Tale) -> Row:
    return fold_rows(tale.events)[tale.id]


def ended(tale: Tale) -> Outcome:
    return metrics.outcome(row(tale), LATER)


def answered() -> Tale:
    return Tale().customer("How long does delivery take?", intent="faq").desk("Delivery takes 3 days.")


def test_an_answer_and_then_silence_is_assumed_and_never_confirmed():
    assert ended(answered()) is Outcome.ASSUMED


def test_a_conversation_with_recent_words_is_open():
    assert metrics.outcome(row(answered()), START + timedelta(minutes=5)) is Outcome.OPEN


def test_a_rehearsed_conversation_is_over_within_minutes():
    played = row(answered())
    played.channel = metrics.REHEARSED
    assert metrics.outcome(played, START + timedelta(minutes=1)) is Outcome.OPEN
    assert metrics.outcome(played, START + timedelta(minutes=5)) is Outcome.ASSUMED


def test_a_bare_thank_you_confirms_nothing():
    assert ended(answered().customer("Thank you!").desk("You are welcome.", route=Route.SMALLTALK)) is Outcome.ASSUMED


@pytest.mark.parametrize("words", ["That solved it, thanks", "works now!", "Great, that's exactly what I needed", "Das hat geholfen"])
def test_a_customer_who_says_it_is_solved_confirms(words):
    assert ended(answered().customer(words).desk("Glad to hear.", route=Route.SMALLTALK)) is Outcome.CONFIRMED


@pytest.mark.parametrize("words", ["That didn't help", "No, that is not what I asked", "it still doesn't work", "That hasn't solved it"])
def test_a_customer_who_says_it_is_not_solved_is_unsolved(words):
    assert ended(answered().customer(words).desk("I am sorry.", route=Route.SMALLTALK)) is Outcome.UNSOLVED


def test_solved_and_then_another_request_is_judged_by_the_other_request():
    tale = answered().customer("That solved it").desk("Fine.", route=Route.SMALLTALK)
    tale.customer("And do you ship to Malta?", intent="knowledge", route=Route.KNOWLEDGE).gap("Do you ship to Malta?")
    assert ended(tale.desk("I could not find that.", route=Route.REFUSE)) is Outcome.ABANDONED


def test_a_rating_outweighs_the_words():
    assert ended(answered().customer("that solved it").desk("Good.", route=Route.SMALLTALK).rated(2, solved=False)) is Outcome.UNSOLVED


def test_an_action_that_succeeded_is_verified_and_one_that_failed_is_not():
    def told(error: str | None) -> Tale:
        tale = Tale().customer("Cancel order A-17", intent="dynamic/action", route=Route.DYNAMIC)
        tale.calls("cancelOrder", None if error else {"status": "cancelled"}, error=error, writes=True, order_id="A-17")
        return tale.desk("Done.", route=Route.DYNAMIC)

    assert ended(told(None)) is Outcome.VERIFIED
    assert ended(told("the order is shipped already")) is Outcome.ASSUMED


@pytest.mark.parametrize(
    "tale",
    [
        Tale().customer("Where is my order?").asks("Which order do you mean?"),
        Tale().customer("Do you ship to Malta?").gap("Do you ship to Malta?").desk("I could not find that.", route=Route.REFUSE),
        Tale().customer("Hello? Where is it?"),
        Tale().customer("Where is it?").happens(e.TurnFailed(reason="away", apology="Sorry.")),
    ],
    ids=["question of the desk open", "gap", "no reply", "failure"],
)
def test_leaving_while_something_is_open_is_abandoned(tale):
    assert ended(tale) is Outcome.ABANDONED


def test_a_refusal_is_declined_and_a_greeting_is_no_request():
    assert ended(Tale().customer("Write my essay").desk("That I cannot do.", route=Route.REFUSE)) is Outcome.DECLINED
    assert ended(Tale().customer("Hi").desk("Hello!", route=Route.SMALLTALK)) is Outcome.NO_REQUEST
    assert metrics.outcome(Row(conversation="cv_0", opened_at=START, last_at=START), LATER) is Outcome.NO_REQUEST


def test_a_handoff_counts_at_once_and_human_time_is_measured_from_claim_to_close():
    tale = Tale().customer("A person please").handoff().owner("agent", "Dana", after=90).agent("Hi, Dana here.").owner("closed", after=300)
    assert ended(tale) is Outcome.HANDED_OVER
    got = row(tale)
    assert (got.queue_seconds, got.human_seconds, got.agent) == (90.0, 320.0, "Dana")
    assert got.first_agent_seconds == pytest.approx(111.0)


def test_who_came_back_is_known_only_for_known_customers_and_only_when_the_days_are_over():
    rows = [
        Row(conversation="a", customer="ada", opened_at=START, last_at=START, state="answered"),
        Row(conversation="b", customer="ada", opened_at=START + timedelta(days=3), last_at=START + timedelta(days=3), state="answered"),
        Row(conversation="c", opened_at=START, last_at=START, state="answered"),
    ]
    seen = {s.row.conversation: s.returned for s in metrics.seen(rows, now=START + timedelta(days=4))}
    assert seen == {"a": True, "b": None, "c": None}
    report = metrics.figures(metrics.seen(rows, now=LATER))
    assert (report["returned"].count, report["returned"].among) == (1, 2)
    assert (report["first_contact"].count, report["first_contact"].among) == (1, 2)


def test_every_figure_opens_to_exactly_the_conversations_that_it_counts():
    tales = [
        answered(),
        Tale("cv_2").customer("Malta?").gap("Malta?").desk("No idea.", route=Route.REFUSE),
        Tale("cv_3").customer("?").handoff(),
    ]
    rows = metrics.seen([row(t) for t in tales], now=LATER)
    report = metrics.figures(rows)
    for reading in report.readings:
        counted = metrics.behind(reading.figure, rows)
        among = metrics.behind(reading.figure, rows, counted=False)
        assert len(among) == reading.among
        assert len(counted) == reading.count
    assert sum(report.outcomes.values()) == report.conversations == 3


def test_no_figure_is_made_up_from_nothing():
    report = metrics.figures([])
    assert all(r.value is None and r.among == 0 for r in report.readings)


def test_an_unknown_figure_is_refused_with_the_names_there_are():
    with pytest.raises(BadInput, match="containment"):
        metrics.figure("happiness")


def test_a_bound_holds_the_share_and_is_wide_for_few():
    low, high = metrics.wilson(1, 1)
    assert low < 0.3
    assert high == 1.0
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_an_event_that_was_counted_is_not_counted_again():
    tale = answered()
    assert row_data(fold_rows([*tale.events, *tale.events])[tale.id]) == row_data(row(tale))


def test_a_row_survives_being_stored():
    got = row(Tale().customer("A person please").handoff().owner("agent", "Dana").agent("Hi"))
    assert row_data(row_from(row_data(got))) == row_data(got)


def any_event() -> st.SearchStrategy[e.Event]:
    text = st.sampled_from(["", "Hi", "that solved it", "that didn't help", "¿Dónde?", "?"])
    return st.one_of(
        st.builds(e.MessageReceived, text=text),
        st.builds(e.ReplySent, text=text, route=st.sampled_from(Route), confidence=st.just(0.5)),
        st.builds(e.OwnerChanged, owner=st.sampled_from(["desk", "queue", "agent", "closed"]), agent=st.just("D")),
        st.builds(e.HandedOff, category=st.just("requested"), summary=text),
        st.builds(e.KnowledgeGapFound, question=text),
        st.builds(e.AgentReplied, agent=st.just("D"), text=text),
        st.builds(e.CustomerRated, score=st.none() | st.integers(1, 5), solved=st.none() | st.booleans()),
        st.builds(e.TurnFailed, reason=text),
    )


@given(st.lists(any_event(), max_size=25))
@settings(max_examples=100, deadline=None)
def test_whatever_happens_in_whatever_order_there_is_one_outcome_and_no_negative_figure(told):
    tale = Tale()
    for event in told:
        tale.happens(event)
    rows = list(fold_rows(tale.events).values()) or [Row(conversation="x", opened_at=START, last_at=START)]
    report = metrics.figures(metrics.seen(rows, now=LATER))
    assert sum(report.outcomes.values()) == 1
    assert all(r.value is None or r.value >= 0 for r in report.readings)


async def tell(store: Store, tenant: TenantId, *, conversations: int, seed: int) -> None:
    """Conversations whose events are interleaved."""
    rng = random.Random(seed)
    space = store.for_tenant(tenant)
    ids = [
        await space.conversations.open(key=KeyId("k"), customer=rng.choice([None, "ada", "bob"]), channel="chat")
        for _ in range(conversations)
    ]
    tales = [
        Tale().customer("How long?", intent="faq").desk("3 days."),
        Tale().customer("Malta?").gap("Malta?").desk("No.", route=Route.REFUSE),
    ]
    for _ in range(conversations * 3):
        tale = rng.choice(tales)
        await space.conversations.append(rng.choice(ids), TurnId(f"t{rng.random()}"), [r.event for r in tale.events])


async def test_counting_piecemeal_gives_the_same_rows_as_counting_from_scratch(store, tenant):
    analyst, space = Analyst(store), store.for_tenant(tenant)
    for seed in range(3):
        await tell(store, tenant, conversations=4, seed=seed)
        await analyst.catch_up(tenant, batch=3)
    piecemeal = await space.ledger.rows()
    assert 3 <= len(piecemeal) <= 12
    assert await analyst.rebuild(tenant) > 0
    assert await space.ledger.rows() == piecemeal
    assert await analyst.catch_up(tenant) == 0


async def test_two_counters_at_once_count_nothing_twice(store, tenant):
    await tell(store, tenant, conversations=5, seed=9)
    await asyncio.gather(*(Analyst(store).catch_up(tenant, batch=4) for _ in range(3)))
    rows = await store.for_tenant(tenant).ledger.rows()
    await Analyst(store).rebuild(tenant)
    assert await store.for_tenant(tenant).ledger.rows() == rows


async def test_an_erased_conversation_takes_its_row_with_it_and_stops_nobody(store, tenant):
    space = store.for_tenant(tenant)
    await tell(store, tenant, conversations=4, seed=3)
    await Analyst(store).catch_up(tenant)
    before = await space.ledger.rows()
    await space.conversations.erase(id=before[0]["conversation"])
    assert await space.ledger.rows() == before[1:]
    await Analyst(store).rebuild(tenant)
    assert await space.ledger.rows() == before[1:]


async def test_a_row_holds_who_the_customer_is_and_the_channel_also_where_no_event_says_so(store, tenant):
    space = store.for_tenant(tenant)
    id = await space.conversations.open(key=KeyId("k"), customer="ada", channel="chat")
    await space.conversations.append(id, TurnId("t"), [e.MessageReceived(text="Hi")])
    await Analyst(store).catch_up(tenant)
    (data,) = await space.ledger.rows()
    assert (data["customer"], data["channel"]) == ("ada", "chat")
    assert await space.ledger.position(LEDGER) > 0


async def test_rehearsed_conversations_are_in_no_figure_of_customers_unless_they_are_asked_for(store, tenant):
    space = store.for_tenant(tenant)
    for channel in ("chat", "rehearsal", "rehearsal"):
        id = await space.conversations.open(key=KeyId("k"), customer=None, channel=channel)
        said = [e.MessageReceived(text="How long?"), e.ReplySent(text="3 days.", route=Route.FAQ, confidence=0.9)]
        await space.conversations.append(id, TurnId("t"), said)
    analytics = Analytics(store, {}, embedder=HashEmbedder())
    await analytics.analyst.listen(tenant)
    counted = {whose: (await analytics.report(tenant, Period(whose=whose))).conversations for whose in ("customers", "rehearsals", "all")}
    assert counted == {"customers": 1, "rehearsals": 2, "all": 3}
    assert (await analytics.report(tenant, Period(channel="rehearsal"))).conversations == 2, "a channel that is named says whose"
    heard = {whose: sum(m.utterances for m in await analytics.mood(tenant, period=Period(whose=whose))) for whose in counted}
    assert heard == {"customers": 2, "rehearsals": 4, "all": 6}
    await analytics.score_waiting(tenant, quiet=timedelta(0))
    assert len(await analytics.to_label(tenant)) <= 1
    assert len(await analytics.scores(tenant)) == 1
    with pytest.raises(BadInput, match="customers, rehearsals, all"):
        await analytics.report(tenant, Period(whose="nobody"))


async def test_figures_stand_side_by_side_for_each_part_and_one_exports_those_it_counts(store, tenant):
    space = store.for_tenant(tenant)
    for channel, handed in (("chat", False), ("chat", True), ("voice", False)):
        id = await space.conversations.open(key=KeyId("k"), customer=None, channel=channel)
        said: list[e.Event] = [e.MessageReceived(text="How long?"), e.ReplySent(text="3 days.", route=Route.FAQ, confidence=0.9)]
        await space.conversations.append(id, TurnId("t"), [*said, *([e.HandedOff(category="requested", summary="x")] if handed else [])])
    analytics = Analytics(store, {}, clock=lambda: datetime.now(UTC) + timedelta(days=1))
    found = await analytics.compare(tenant, ["containment", "handed_over"], "channel")
    assert [(part, count, [r.value for r in readings]) for part, count, readings in found] == [
        ("chat", 2, [0.5, 0.5]),
        ("voice", 1, [1, 0]),
    ]
    assert [(part, r.value) for part, r in await analytics.split(tenant, "containment", "channel")] == [("chat", 0.5), ("voice", 1.0)]
    lines = {name: len((await analytics.export(tenant, figure=name)).splitlines()) - 1 for name in ("", "containment", "handed_over")}
    assert lines == {"": 3, "containment": 2, "handed_over": 1}
    with pytest.raises(BadInput, match="no figure"):
        await analytics.export(tenant, figure="charm")


async def test_a_rehearsed_conversation_is_scored_minutes_after_it_ended_and_a_customers_later(store, tenant):
    space = store.for_tenant(tenant)
    for channel in ("chat", "rehearsal"):
        id = await space.conversations.open(key=KeyId("k"), customer=None, channel=channel)
        said = [e.MessageReceived(text="How long?"), e.ReplySent(text="3 days.", route=Route.FAQ, confidence=0.9)]
        await space.conversations.append(id, TurnId("t"), said)
    scored = []
    for minutes in (1, 4, 12):
        analytics = Analytics(store, {}, clock=lambda m=minutes: datetime.now(UTC) + timedelta(minutes=m))
        await analytics.refresh(tenant)
        scored.append(await analytics.score_waiting(tenant))
    assert scored == [0, 1, 1]


def test_what_is_counted_is_named():
    assert "customer_rated" in COUNTED
    assert "sentence_released" not in COUNTED


async def test_the_consumer_counts_and_hears_what_is_recorded_while_it_runs(store, tenant):
    analyst, space = Analyst(store, HashEmbedder()), store.for_tenant(tenant)
    running = asyncio.create_task(analyst.run(lambda: [tenant], pause=0.05))
    try:
        id = await space.conversations.open(key=KeyId("k"), customer=None, channel="chat")
        for count, text in enumerate(("This is terrible, I am furious!", "thank you, wonderful"), 1):
            await space.conversations.append(id, TurnId(text), [e.MessageReceived(text=text)])
            async with asyncio.timeout(60):
                while len(await space.ledger.tones([id])) < count or [r["messages"] for r in await space.ledger.rows()] != [count]:
                    await asyncio.sleep(0.05)
        assert [t.label for t in await space.ledger.tones([id])] == ["negative", "positive"]
    finally:
        running.cancel()
