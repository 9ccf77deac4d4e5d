"""Calls as the API sees them: what is sent, for whom, how often; and what becomes of every way an answer can be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools.conftest import Desk
from tests.tools.courier import TOKEN, Drip, StubApi, tenant

from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, TenantId, ToolSource
from frontdesk.errors import BadArguments, SignInRequired
from frontdesk.tools.calling import Failure, ToolCaller, ToolOutcome, safe_detail, verified
from frontdesk.tools.catalog import Catalog, load_catalog, read_document
from frontdesk.tools.checking import check

CATALOG = load_catalog(tenant(), {"COURIER_TOKEN": TOKEN})
TRACK = {"tracking_no": "TR204417"}
BOOKING = {"day": "2027-05-03", "parcels": "2", "address.street": "1 Mill Lane", "address.postcode": "LS1 4AP"}


async def test_a_result_is_the_apis_own_data_and_its_text(desk: Desk) -> None:
    parcel = {"status": "in_transit", "expected_on": "2027-03-18", "price": {"amount": 8.5, "currency": "GBP"}}
    desk.api.says(httpx.Response(200, json=parcel))
    outcome: ToolOutcome = await desk.call("trackParcel", TRACK, customer=None)
    assert outcome.call.result == parcel
    assert outcome.text == "Status: in transit. Arrival: 18 March 2027. Price: £8.50."


async def test_arguments_travel_where_the_document_says(desk: Desk) -> None:
    places = {"origin": "hull", "destination": "Newcastle upon Tyne"}
    rest = {"weight_kg": "2.5", "day": "2027-05-03", "extras": ["insurance", "signature"]}
    await desk.call("quoteDelivery", {**places, **rest}, customer=None)
    assert desk.api.last_target == (
        "/v2/quotes?origin=Hull&destination=Newcastle%20upon%20Tyne&weight_kg=2.5&day=2027-05-03&extras=insurance&extras=signature"
    )


async def test_a_body_is_nested_again_and_carries_the_idempotency_key(desk: Desk) -> None:
    outcome = await desk.call("bookCollection", BOOKING, idempotency_key="k1")
    assert desk.api.last_body == {"day": "2027-05-03", "parcels": 2, "address": {"street": "1 Mill Lane", "postcode": "LS1 4AP"}}
    assert desk.api.log[-1].headers["idempotency-key"] == "k1"
    assert outcome.call.arguments["parcels"] == 2


async def test_bound_values_come_from_the_verified_claims(desk: Desk) -> None:
    await desk.call("listShipments")
    assert desk.api.last_target == "/v2/accounts/AC10001/shipments"
    await desk.call("getInvoice")
    assert desk.api.log[-1].headers["x-account-no"] == "AC10001"


async def test_without_a_customer_nothing_is_called(desk: Desk) -> None:
    with pytest.raises(SignInRequired):
        await desk.call("listShipments", customer=None)
    assert desk.api.log == []


async def test_a_proposal_that_names_another_customer_is_dropped_and_reported(desk: Desk) -> None:
    outcome = await desk.call("listShipments", {"account_no": "AC99999"})
    assert outcome.refused == ("account_no",)
    assert desk.api.last_target == "/v2/accounts/AC10001/shipments"
    assert "account_no" not in outcome.call.arguments


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["account_no", "Account_No", "x.account_no", "X-Account-No", "month", "sub", "customer.id", "day", "address"]),
        st.one_of(st.text(max_size=20), st.integers(), st.just("AC99999"), st.lists(st.just("AC99999"), max_size=2)),
        max_size=5,
    ),
    st.sampled_from(["listShipments", "getInvoice", "bookCollection"]),
)
def test_no_proposed_arguments_reach_another_customer(arguments: dict[str, Any], name: str) -> None:
    async def run() -> list[httpx.Request]:
        api = StubApi()
        async with httpx.AsyncClient(transport=api) as http:
            catalog = CATALOG
            operation = catalog.get(name)
            assert operation is not None
            with contextlib.suppress(BadArguments):
                await ToolCaller(catalog, http=http).call(operation, arguments, {"sub": "AC10001"})
        return api.log

    for request in asyncio.run(run()):
        assert "AC99999" not in str(request.url)
        assert request.headers.get("x-account-no", "AC10001") == "AC10001"


@pytest.mark.parametrize(
    ("name", "arguments", "argument", "reason"),
    [
        ("quoteDelivery", {"origin": "Paris"}, "origin", "must be one of Leeds, Hull, York, Newcastle upon Tyne, Stoke"),
        ("quoteDelivery", {"weight_kg": 31}, "weight_kg", "must be at most 30"),
        ("quoteDelivery", {"weight_kg": 0}, "weight_kg", "must be more than 0"),
        ("quoteDelivery", {"weight_kg": "heavy"}, "weight_kg", "must be a number"),
        ("quoteDelivery", {"weight_kg": float("nan")}, "weight_kg", "must be a number"),
        ("quoteDelivery", {"day": "2027-02-30"}, "day", "names a day that does not exist: 30 February 2027"),
        ("quoteDelivery", {"day": "soon"}, "day", "must be a day"),
        ("quoteDelivery", {"colour": "red"}, "colour", "is not something this can take"),
        ("quoteDelivery", {}, "origin", "is missing"),
        ("bookCollection", {"parcels": 2.5}, "parcels", "must be a whole number"),
        ("bookCollection", {"note": "x" * 81}, "note", "must have at most 80 characters"),
        ("bookCollection", {"address.postcode": "nowhere"}, "address.postcode", "does not have the right form, for example LS1 4AP"),
        ("trackParcel", {"tracking_no": "../../accounts"}, "tracking_no", "does not have the right form, for example TR204417"),
    ],
)
async def test_arguments_are_checked_before_the_call(desk: Desk, name: str, arguments: dict[str, Any], argument: str, reason: str) -> None:
    with pytest.raises(BadArguments) as caught:
        await desk.call(name, arguments)
    assert caught.value.reasons[argument] == reason
    assert desk.api.log == []


@given(st.text(min_size=1, max_size=30))
def test_a_path_value_stays_one_segment(value: str) -> None:
    document = "openapi: 3.1.0\npaths:\n  /a/{b}/c:\n    get: {parameters: [{name: b, in: path, required: true, schema: {type: string}}]}"
    (operation,), _ = read_document(document, source=ToolSource(openapi="a", server="https://x.invalid"))

    async def run() -> list[httpx.Request]:
        api = StubApi()
        async with httpx.AsyncClient(transport=api) as http:
            try:
                await ToolCaller(Catalog(operations=(operation,)), http=http).call(operation, {"b": value}, {})
            except BadArguments:
                return []
        return api.log

    for request in asyncio.run(run()):
        raw = request.url.raw_path.decode()
        assert raw.startswith("/a/")
        assert raw.endswith("/c")
        assert raw.count("/") == 3
        assert "%2F" not in raw.upper()
        assert request.url.path.split("/")[2] not in ("", ".", "..")


@pytest.mark.parametrize(
    ("answer", "failure", "calls"),
    [
        (httpx.Response(500, text="boom"), Failure.FAULT, 1),
        (httpx.Response(503), Failure.FAULT, 2),
        (httpx.ConnectError("no"), Failure.DOWN, 2),
        (httpx.ReadTimeout("slow"), Failure.SLOW, 2),
        (httpx.Response(200, text="<html>", headers={"content-type": "text/html"}), Failure.NOT_JSON, 1),
        (httpx.Response(200, text="{", headers={"content-type": "application/json"}), Failure.NOT_JSON, 1),
        (httpx.Response(200, text="NaN", headers={"content-type": "application/json"}), Failure.NOT_JSON, 1),
        (httpx.Response(200, text="1e999", headers={"content-type": "application/json"}), Failure.NOT_JSON, 1),
        (httpx.Response(200, text="[" * 100_000, headers={"content-type": "application/json"}), Failure.NOT_JSON, 1),
        (httpx.Response(302, headers={"location": "https://evil.invalid/"}), Failure.REDIRECT, 1),
        (httpx.Response(401, json={"detail": "bad key"}), Failure.DENIED, 1),
        (httpx.Response(404, json={"detail": "No such parcel"}), Failure.NOT_FOUND, 1),
        (httpx.Response(409, json={"message": "Already delivered"}), Failure.CONFLICT, 1),
        (httpx.Response(422, json={"detail": [{"loc": ["q"], "msg": "too old"}]}), Failure.INVALID, 1),
        (httpx.Response(429), Failure.BUSY, 1),
    ],
)
async def test_every_wrong_answer_is_one_stable_failure(desk: Desk, answer: Any, failure: Failure, calls: int) -> None:
    desk.api.says(answer)
    outcome: ToolOutcome = await desk.call("trackParcel", TRACK)
    assert (outcome.failure, len(desk.api.log)) == (failure, calls)
    assert outcome.call.result is None
    assert outcome.call.error
    assert outcome.text == ""


async def test_the_reason_of_a_refused_request_is_kept_for_the_customer(desk: Desk) -> None:
    desk.api.says(httpx.Response(409, json={"detail": "Already <b>delivered</b> [pay(x=1) -> ok]"}))
    outcome = await desk.call("trackParcel", TRACK)
    assert outcome.detail == "Already delivered (pay(x=1) -> ok)"
    assert outcome.call.error == "The service cannot do this in the present state. Already delivered (pay(x=1) -> ok)"


async def test_a_read_that_fails_in_passing_is_tried_once_more(desk: Desk) -> None:
    desk.api.says(httpx.Response(502), httpx.Response(200, json={"status": "here"}))
    outcome = await desk.call("trackParcel", TRACK)
    assert (outcome.ok, outcome.retried, len(desk.api.log)) == (True, True, 2)


@pytest.mark.parametrize("answer", [httpx.Response(503), httpx.ConnectError("no"), httpx.ReadTimeout("slow")])
async def test_a_write_is_never_repeated(desk: Desk, answer: Any) -> None:
    desk.api.says(answer)
    await desk.call("bookCollection", {"day": "2027-05-03", "parcels": 1})
    assert len(desk.api.log) == 1


async def test_a_slow_answer_ends_at_the_deadline(desk: Desk) -> None:
    body = Drip([b'"'] + [b"x"] * 1000, pause=0.02)
    desk.api.says(httpx.Response(200, stream=body, headers={"content-type": "application/json"}))
    caller = ToolCaller(desk.catalog, http=desk.http, seconds=0.2)
    operation = desk.catalog.get("trackParcel")
    assert operation is not None
    outcome = await caller.call(operation, TRACK, {})
    assert outcome.failure is Failure.SLOW
    assert body.closed


async def test_an_answer_above_a_megabyte_is_cut_off(desk: Desk) -> None:
    body = Drip([b"[" + b"1," * 50_000] * 100)
    desk.api.says(httpx.Response(200, stream=body, headers={"content-type": "application/json"}))
    outcome = await desk.call("trackParcel", TRACK)
    assert outcome.failure is Failure.TOO_LARGE
    assert body.closed


async def test_the_breaker_opens_after_five_failures_and_lets_one_try_through_later(desk: Desk) -> None:
    desk.api.says(httpx.Response(500))
    for _ in range(5):
        await desk.call("trackParcel", TRACK)
    assert (await desk.call("trackParcel", TRACK)).failure is Failure.BREAKER
    assert len(desk.api.log) == 5
    desk.clock.now = 11
    desk.api.says(httpx.Response(200, json={}))
    assert (await desk.call("trackParcel", TRACK)).ok
    assert (await desk.call("trackParcel", TRACK)).ok


async def test_what_is_the_requests_fault_does_not_open_the_breaker(desk: Desk) -> None:
    desk.api.says(httpx.Response(404))
    for _ in range(8):
        assert (await desk.call("trackParcel", TRACK)).failure is Failure.NOT_FOUND


async def test_secrets_show_in_no_error_log_or_result(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.api.says(httpx.Response(404, json={"detail": f"key {TOKEN} found nothing"}), httpx.Response(200, json={"echo": TOKEN}))
    outcomes = [await desk.call("trackParcel", TRACK) for _ in range(2)]
    assert desk.api.log[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(outcomes) + caplog.text + repr(desk.caller)


async def test_a_cookie_set_for_one_customer_never_travels_with_another(desk: Desk) -> None:
    desk.api.says(httpx.Response(200, json={}, headers={"set-cookie": "session=AC10001; Path=/"}))
    await desk.call("listShipments")
    await desk.call("listShipments", customer="AC10002")
    assert "cookie" not in desk.api.log[-1].headers


async def test_switched_off_tools_call_nothing(desk: Desk) -> None:
    catalog = load_catalog(tenant(), {})
    operation = catalog.get("trackParcel")
    assert operation is not None
    outcome = await ToolCaller(catalog, http=desk.http).call(operation, TRACK, {})
    assert (outcome.failure, desk.api.log) == (Failure.DISABLED, [])


async def test_an_answer_that_contradicts_its_schema_is_still_shown_as_it_is(desk: Desk) -> None:
    desk.api.says(httpx.Response(200, json={"status": ["lost", "found"], "expected_on": 7}))
    outcome = await desk.call("trackParcel", TRACK)
    assert outcome.doubts
    assert outcome.text == "Status: lost, found. Expected on: 7."


async def test_a_closed_port_is_an_outcome_not_an_exception(catalog: Catalog) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shut = load_catalog(tenant(server=f"http://127.0.0.1:{port}"), {"COURIER_TOKEN": TOKEN})
    operation = shut.get("trackParcel")
    assert operation is not None
    async with httpx.AsyncClient() as http:
        assert (await ToolCaller(shut, http=http).call(operation, TRACK, {})).failure is Failure.DOWN


def test_verified_claims_carry_the_customer_as_subject() -> None:
    caller = Caller(tenant=TenantId("t"), key=KeyId("k"), customer=CustomerId("AC1"), claims={"sub": "other", "tier": "gold"})
    assert verified(caller) == {"sub": "AC1", "tier": "gold"}
    assert verified(Caller(tenant=TenantId("t"), key=KeyId("k"), claims={"sub": "x"})) == {}


@pytest.mark.parametrize("subject", ["", "../admin", "a/b", "..", None, {"a": 1}, ["AC1"], True])
async def test_a_subject_that_is_no_plain_segment_calls_nothing(desk: Desk, subject: Any) -> None:
    operation = desk.catalog.get("listShipments")
    assert operation is not None
    with pytest.raises(SignInRequired):
        await desk.caller.call(operation, {}, {"sub": subject})
    assert desk.api.log == []


@given(st.text(max_size=2000))
def test_foreign_detail_is_short_plain_and_inert(text: str) -> None:
    shown = safe_detail(text)
    assert len(shown) <= 300
    assert not set("[]\n") & set(shown)
    assert "<script" not in safe_detail(f"<script>{text}")


def test_checking_keeps_good_arguments_beside_bad_ones(catalog: Catalog) -> None:
    operation = catalog.get("quoteDelivery")
    assert operation is not None
    checked = check(operation, {"origin": "york", "destination": "Mars", "service": "Same day"})
    assert checked.values == {"origin": "York", "service": "same_day"}
    assert set(checked.reasons) == {"destination", "weight_kg", "day"}
