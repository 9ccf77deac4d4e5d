"""What every answer carries, who may call from a browser, what is counted, what is logged."""

from __future__ import annotations

import io
import json
import logging

import httpx
import pytest
import structlog

from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import KeyId
from frontdesk.errors import RateLimited, StoreUnavailable
from frontdesk.server.limits import RateLimits
from frontdesk.server.logging_setup import without_secrets

from .conftest import ACME, OTHER, REPLY, Served, eventually

SHOP = "https://shop.acme.example"
CHAT = {"model": ACME, "messages": [{"role": "user", "content": "Is card 4945 8073 0215 7365 of anna.meyer@example.org charged?"}]}


def chat(served: Served, **headers: str) -> httpx.Response:
    return served.http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {served.key()}", **headers})


def test_the_process_is_alive_without_a_key(served: Served):
    assert served.http.get("/healthz").json()["status"] == "ok"


def test_it_is_ready_only_when_the_office_is_and_says_why_not(served: Served):
    assert served.http.get("/readyz").json() == {"ready": True, "problems": [], "tenants": {ACME: "ready", OTHER: "ready"}}
    served.office.problems.append("acme: the tools are off because SHOP_KEY is not set")
    try:
        got = served.http.get("/readyz")
        assert (got.status_code, got.json()["problems"]) == (503, served.office.problems)
    finally:
        served.office.problems.clear()


def test_an_office_that_cannot_say_is_not_ready(served: Served):
    async def broken() -> dict[str, object]:
        raise StoreUnavailable("the database is away")

    served.office.readiness = broken  # type: ignore[method-assign]
    try:
        got = served.http.get("/readyz")
    finally:
        del served.office.readiness
    assert (got.status_code, got.json()["problems"]) == (503, ["the database is away"])


def test_turns_are_counted_by_tenant_and_route(served: Served):
    chat(served)
    page = served.http.get("/metrics").text
    assert 'frontdesk_turns_total{route="knowledge",tenant="acme"}' in page
    assert 'frontdesk_http_requests_total{method="POST",route="/v1/chat/completions",status="200"}' in page
    assert "frontdesk_first_sentence_seconds_bucket" in page
    served.http.get("/nowhere/at/all")
    assert "nowhere" not in served.http.get("/metrics").text


def test_every_answer_carries_security_headers_and_a_request_id(served: Served):
    for got in (served.http.get("/healthz"), served.http.get("/nowhere"), served.http.get("/v1/models"), chat(served)):
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
        assert len(got.headers["x-request-id"]) == 32


def test_a_callers_request_id_is_kept_when_it_is_harmless(served: Served):
    assert served.http.get("/healthz", headers={"X-Request-Id": "order-77-abc"}).headers["x-request-id"] == "order-77-abc"
    assert served.http.get("/healthz", headers={"X-Request-Id": "<script>alert(1)"}).headers["x-request-id"] != "<script>alert(1)"


def preflight(served: Served, origin: str, path: str = "/v1/chat/completions") -> httpx.Response:
    return served.http.options(path, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})


def test_browsers_may_call_from_the_origins_that_a_tenant_lists(served: Served):
    assert preflight(served, SHOP).headers["access-control-allow-origin"] == SHOP
    got = chat(served, Origin=SHOP)
    assert (got.status_code, got.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "X-Conversation-Id" in got.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.acme.example", "https://shop.acme.example.evil.example"])
def test_browsers_elsewhere_are_turned_away_before_anything_happens(served: Served, origin: str):
    assert "access-control-allow-origin" not in preflight(served, origin).headers
    got = chat(served, Origin=origin)
    assert (got.status_code, "access-control-allow-origin" in got.headers) == (403, False)
    assert not served.office.front_office.calls


def test_one_tenants_origin_does_not_open_another_tenants_desk(served: Served):
    assert chat(served, Origin="https://other.example").status_code == 403


def test_the_servers_own_pages_may_call_it(served: Served):
    assert chat(served, Origin=served.url).status_code == 200


def test_staff_endpoints_are_closed_to_other_origins(served: Served):
    assert "access-control-allow-origin" not in preflight(served, SHOP, "/api/keys").headers


def logged(logs: io.StringIO, start: int, word: str) -> str:
    """What was logged from `start` on, once it holds a word: the server writes its line beside the answer."""
    eventually(lambda: word in logs.getvalue()[start:])
    return logs.getvalue()[start:]


def test_logs_hold_the_request_and_neither_words_nor_secrets(served: Served, logs: io.StringIO):
    start = logs.tell()
    key, token = served.key(), served.token("cust-7")
    got = served.http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {key}", "X-Customer-Token": token})
    text = logged(logs, start, got.headers["x-request-id"])
    lines = [json.loads(line) for line in text[: text.rindex("\n")].splitlines()]
    mine = [line for line in lines if line.get("request_id") == got.headers["x-request-id"]]
    assert mine[-1] | {"tenant": ACME, "route": "/v1/chat/completions", "status": 200} == mine[-1]
    text = json.dumps(lines)
    assert not [word for word in ("4945", "anna.meyer", "charged", key[8:], token, "cust-7") if word in text]


def test_a_bug_is_logged_with_its_trace_and_masked(served: Served, logs: io.StringIO):
    def script(_m: str) -> list[ReplySent]:
        raise ZeroDivisionError("the card was 4945807302157365")

    served.office.front_office.script = script
    start = logs.tell()
    chat(served)
    text = logged(logs, start, "ZeroDivisionError")
    assert "ZeroDivisionError" in text
    assert "test_edge.py" in text
    assert "4945807302157365" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer abc"),
        ("customer_token", "abc"),
        ("password", "hunter2"),
        ("event", "key fd_acme_abcdefghijklmnopqrstuvwxyz0123456789_-AB was used"),
        ("event", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln was sent"),
        ("why", "postgresql://owner:hunter2@db/desk cannot be reached"),
        ("event", "Authorization: Bearer hunter2"),
    ],
)
def test_secrets_are_hidden_by_name_and_by_form(name: str, value: str):
    shown = without_secrets(None, "info", {name: value})[name]
    assert "[hidden]" in shown
    assert not [s for s in ("hunter2", "abc", "eyJ", "wxyz") if s in shown]


def test_records_of_other_libraries_are_json_too(logs: io.StringIO):
    start = logs.tell()
    logging.getLogger("somewhere").warning("mail %s came back", "anna.meyer@example.org")
    structlog.get_logger("here").warning("moved", tenant=ACME)
    first, second = (json.loads(line) for line in logs.getvalue()[start:].splitlines())
    assert first["event"] == "mail [email] came back"
    assert (second["event"], second["level"], second["tenant"]) == ("moved", "warning", ACME)


def test_a_bucket_fills_again_with_time():
    clock = [0.0]
    limits = RateLimits(60, clock=lambda: clock[0])
    refusals: list[RateLimited] = []
    for step in range(2 * 60 * 10):  # twice the rate for ten minutes
        clock[0] = step / 2
        try:
            limits.spend(KeyId("k"))
        except RateLimited as why:
            refusals.append(why)
    assert all(0 < why.retry_after <= 1 for why in refusals)
    allowed = 1200 - len(refusals)
    assert 600 <= allowed <= 660


def test_the_openapi_document_names_every_answer(served: Served):
    document = served.http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith(("/api", "/v1")):
                assert {"4XX", "5XX"} <= set(operation["responses"]), (method, path)
                assert "422" not in operation["responses"]
                assert operation["security"], (method, path)
            assert operation.get("description"), (method, path)
    assert REPLY.route.value in json.dumps(document["components"]["schemas"]["Route"])
