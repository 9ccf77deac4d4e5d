"""The pages as HTTP sees them: what they may do, how long they are kept, what a demonstration offers and to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from frontdesk.domain.tenancy import Role, TenantId

from .conftest import ACME, OTHER, Served

STATIC = Path("src/frontdesk/server/static")


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=10) as client:
        yield client


@pytest.fixture
def demo(served: Served) -> Iterator[Mapping[TenantId, str]]:
    """The office as a demonstration of one of its two tenants, with one invented customer."""
    keys = {ACME: served.key(role=Role.WIDGET)}

    async def demo_keys() -> Mapping[TenantId, str]:
        return keys

    served.office.demo_keys = demo_keys  # type: ignore[attr-defined]
    served.office.demo_customers = lambda: {ACME: [{"id": "cust-1", "name": "Ann"}]}  # type: ignore[attr-defined]
    yield keys
    del served.office.demo_keys, served.office.demo_customers  # type: ignore[attr-defined]


def directives(answer: httpx.Response) -> dict[str, str]:
    pairs = (d.strip().partition(" ") for d in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in pairs}


def test_the_page_allows_scripts_and_calls_to_its_own_server_only(http: httpx.Client):
    policy = directives(http.get("/"))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"


def test_the_page_holds_no_inline_script_style_or_handler():
    html = (STATIC / "page.html").read_text()
    assert "<style" not in html
    assert " style=" not in html
    assert not re.search(r"<[^>]*\son\w+=", html)
    assert html.count("<script") == html.count("<script src=")


def test_no_script_turns_text_into_markup_or_code():
    for file in STATIC.glob("*.js"):
        source = file.read_text()
        for sink in ("innerHTML =", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "setHTML"):
            assert sink not in source, f"{file.name}: {sink}"


def test_a_page_names_its_files_by_content_so_that_they_are_kept_for_ever(http: httpx.Client):
    html = http.get("/").text
    for name in ("page.js", "page.css", "widget.js", "mark.svg"):
        address = html.partition(f'"/static/{name}?v=')[2].partition('"')[0]
        answer = http.get(f"/static/{name}", params={"v": address})
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content == (STATIC / name).read_bytes()


def test_a_file_under_an_old_version_is_kept_for_minutes_only(http: httpx.Client):
    assert "max-age=300" in http.get("/static/page.js?v=old").headers["cache-control"]


@pytest.mark.parametrize("path", ["/", "/widget.js", "/static/page.css"])
def test_what_a_browser_has_is_not_sent_again(http: httpx.Client, path: str):
    tag = http.get(path).headers["etag"]
    again = http.get(path, headers={"If-None-Match": f'W/"zzz", {tag}'})
    assert (again.status_code, again.content) == (304, b"")


def test_the_widget_can_be_included_from_any_site_with_a_pinned_hash(http: httpx.Client):
    answer = http.get("/widget.js", headers={"Origin": "https://anywhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_files_travel_packed_to_those_who_unpack(http: httpx.Client):
    packed = http.get("/widget.js", headers={"Accept-Encoding": "gzip"})
    plain = http.get("/widget.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content


@pytest.mark.parametrize("name", ["nothing.js", "page.html", "..%2f..%2fpages.py", "%2e%2e/pages.py"])
def test_only_the_page_s_own_files_are_served(http: httpx.Client, name: str):
    assert http.get(f"/static/{name}").status_code == 404


def test_a_server_that_is_no_demonstration_names_no_tenant(http: httpx.Client):
    assert http.get("/demo/tenants").json() == {"demo": False, "tenants": []}
    assert http.post("/demo/token", json={"tenant": ACME, "customer": "cust-1"}).status_code == 404


def test_a_demonstration_offers_the_tenants_it_has_keys_for(http: httpx.Client, demo: Mapping[TenantId, str]):
    offered = http.get("/demo/tenants")
    assert [(t["id"], t["key"], t["customers"]) for t in offered.json()["tenants"]] == [
        (ACME, demo[ACME], [{"id": "cust-1", "name": "Ann", "questions": []}])
    ]
    assert offered.headers["cache-control"] == "no-store"


def test_a_demonstration_signs_its_invented_customers_in(http: httpx.Client, demo: Mapping[TenantId, str]):
    token = http.post("/demo/token", json={"tenant": ACME, "customer": "cust-1"}).json()["token"]
    about = http.get("/api/me", headers={"Authorization": f"Bearer {demo[ACME]}", "X-Customer-Token": token})
    assert about.json()["customer"] == "cust-1"


@pytest.mark.parametrize(
    "body", [{"tenant": ACME, "customer": "cust-2"}, {"tenant": OTHER, "customer": "cust-1"}, {"tenant": "x", "customer": "cust-1"}]
)
def test_a_demonstration_signs_nobody_else_in(http: httpx.Client, demo: Mapping[TenantId, str], body: dict[str, str]):
    assert http.post("/demo/token", json=body).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"tenant": "acme"}', b"\xff", b"[" * 5000])
def test_a_token_request_that_cannot_be_read_is_a_bad_request(http: httpx.Client, demo: Mapping[TenantId, str], body: bytes):
    assert http.post("/demo/token", content=body).status_code == 400


def test_a_key_tells_its_own_tenant_and_nothing_of_others(served: Served, http: httpx.Client):
    about = http.get("/api/me", headers={"Authorization": f"Bearer {served.key(OTHER, Role.WIDGET)}"}).json()
    assert (about["tenant"], about["name"], about["customer"]) == (OTHER, "Other", None)
