"""Every route times everybody: a route without a row here fails, and so does one that serves the wrong party."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from frontdesk.domain.conversation import TurnId
from frontdesk.domain.events import KnowledgeGapFound
from frontdesk.domain.tenancy import CustomerId, Role

from .conftest import ACME, OTHER, Served

PUBLIC = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}


@dataclass(frozen=True, kw_only=True)
class Row:
    """How to call a route as its rightful caller, and what makes somebody else wrong."""

    own: int = 200
    staff: bool = False
    customer: bool = False
    """A conversation or data of one customer: another customer gets 404 (or their own, empty)."""
    foreign: int = 404
    """What the rightful role of another tenant gets for our ids."""
    body: dict[str, Any] | None = None
    params: dict[str, str] = field(default_factory=dict)
    audited: bool = False


CHAT = {"model": ACME, "messages": [{"role": "user", "content": "Hi"}]}
TABLE = {
    ("POST", "/v1/chat/completions"): Row(body=CHAT),
    ("GET", "/v1/models"): Row(foreign=200),
    ("GET", "/v1/models/{model}"): Row(),
    ("POST", "/api/conversations"): Row(own=201, foreign=201),
    ("POST", "/api/conversations/{conversation}/messages"): Row(own=202, customer=True, body={"text": "Hi"}),
    ("GET", "/api/conversations/{conversation}"): Row(customer=True),
    ("GET", "/api/conversations/{conversation}/events"): Row(customer=True),
    ("POST", "/api/conversations/{conversation}/handoff"): Row(own=202, customer=True),
    ("POST", "/api/voice"): Row(own=400, foreign=400),  # this office has no audio endpoint
    ("GET", "/api/me"): Row(foreign=200),
    ("GET", "/api/me/export"): Row(foreign=401),
    ("DELETE", "/api/me"): Row(foreign=401, audited=True),
    ("DELETE", "/api/me/conversations/{conversation}"): Row(foreign=401, audited=True),
    ("POST", "/api/me/conversations/{conversation}/corrections"): Row(
        own=404, foreign=401, body={"turn_id": "t1", "text": "Hi"}
    ),  # no message
    ("GET", "/api/conversations"): Row(staff=True, foreign=200),
    ("GET", "/api/handoffs"): Row(staff=True, foreign=200),
    ("POST", "/api/conversations/{conversation}/owner"): Row(staff=True, body={"owner": "queue"}, audited=True),
    ("POST", "/api/conversations/{conversation}/agent-messages"): Row(staff=True, own=409, body={"agent": "K", "text": "Hi"}),
    ("GET", "/api/knowledge"): Row(staff=True, foreign=200),
    ("POST", "/api/knowledge"): Row(staff=True, own=201, foreign=201, params={"source": "a.md"}, audited=True),
    ("DELETE", "/api/knowledge"): Row(staff=True, own=204, params={"source": "old.md"}, audited=True),
    ("POST", "/api/knowledge/sync"): Row(staff=True, foreign=200, audited=True),
    ("GET", "/api/gaps"): Row(staff=True, foreign=200),
    ("DELETE", "/api/gaps/{gap}"): Row(staff=True, own=204, audited=True),
    ("GET", "/api/audit"): Row(staff=True, foreign=200),
    ("GET", "/api/keys"): Row(staff=True, foreign=200),
    ("POST", "/api/keys"): Row(staff=True, own=201, foreign=201, body={"role": "server"}, audited=True),
    ("DELETE", "/api/keys/{key}"): Row(staff=True, own=204, audited=True),
    ("GET", "/api/figures"): Row(staff=True, foreign=200),
    ("GET", "/api/figures/{figure}/series"): Row(staff=True, foreign=200),
    ("GET", "/api/figures/{figure}/parts"): Row(staff=True, foreign=200),
    ("GET", "/api/figures/{figure}/conversations"): Row(staff=True, foreign=200),
    ("GET", "/api/ledger.csv"): Row(staff=True, foreign=200),
    ("GET", "/api/mood"): Row(staff=True, foreign=200),
    ("GET", "/api/conversations/{conversation}/insight"): Row(staff=True),
    ("GET", "/api/customers/{customer}/summary"): Row(staff=True, foreign=200),
    ("GET", "/api/scores"): Row(staff=True, foreign=200),
    ("GET", "/api/labels/next"): Row(staff=True, foreign=200),
    ("PUT", "/api/conversations/{conversation}/label"): Row(staff=True, own=204, body={"passed": True}, audited=True),
    ("GET", "/api/calibration"): Row(staff=True, foreign=200),
    ("GET", "/api/conversations/{conversation}/assist"): Row(staff=True),
    ("GET", "/api/conversations/{conversation}/note"): Row(staff=True),
    ("POST", "/api/conversations/{conversation}/suggestions"): Row(
        staff=True, own=204, body={"agent": "K", "suggestion": "Hi", "outcome": "rejected"}, audited=True
    ),
    ("POST", "/api/wording"): Row(staff=True, foreign=200, body={"text": "We guarantee it."}),
    ("GET", "/api/themes"): Row(staff=True, own=400, foreign=400),  # this office has no embedding model
    ("GET", "/api/contradictions"): Row(staff=True, own=400, foreign=400),
    ("GET", "/api/stale"): Row(staff=True, foreign=200),
    ("GET", "/api/recalls"): Row(staff=True, foreign=200, params={"source": "faq"}),
    ("GET", "/api/gaps/{gap}/draft"): Row(staff=True, own=400),
    ("POST", "/api/gaps/{gap}/accept"): Row(staff=True, own=400, body={"question": "Moon?", "answer": "No."}),
    ("POST", "/api/conversations/{conversation}/rating"): Row(own=204, customer=True, body={"score": 5}),
}


@dataclass
class World:
    """Our tenant's things, and the parties that try to reach them."""

    served: Served
    ids: dict[str, str]
    keys: dict[str, str]

    def call(self, route: tuple[str, str], key: str | None, customer: str | None = "cust-1", tenant: str = ACME) -> httpx.Response:
        method, path = route
        row = TABLE[route]
        head = {"Authorization": f"Bearer {key}"} if key else {}
        if customer:
            head["X-Customer-Token"] = self.served.token(customer, tenant)  # type: ignore[arg-type]
        url = path.format(**self.ids)
        with self.served.http.stream(method, url, headers=head, json=row.body, params=row.params) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return httpx.Response(answer.status_code)
            answer.read()
            return answer


@pytest.fixture(scope="module")
def parties(one_server: Served) -> dict[str, str]:
    """A key of each kind, ours and theirs, and one that was revoked."""
    keys = {role.value: one_server.key(role=role) for role in Role}
    keys |= {f"other {role.value}": one_server.key(OTHER, role) for role in Role}
    keys["revoked"] = one_server.key(role=Role.OPERATOR)
    one_server.do(_revoke(one_server, keys["revoked"]))
    return keys


async def _revoke(served: Served, secret: str) -> None:
    caller = await served.office.store.verify(secret)
    await served.office.store.for_tenant(caller.tenant).keys.revoke(caller.key)


@pytest.fixture
def world(served: Served, parties: dict[str, str]) -> World:
    """One conversation of cust-1, one gap, one key to revoke, one document, all acme's."""
    served.office.library.files[ACME, "old.md"] = b"x"
    return World(served, served.do(_things(served, parties["server"])), parties)


async def _things(served: Served, secret: str) -> dict[str, str]:
    store = served.office.store.for_tenant(ACME)
    caller = await served.office.store.verify(secret)
    conversation = await store.conversations.open(key=caller.key, customer=CustomerId("cust-1"), channel="chat")
    await store.conversations.append(conversation, TurnId("t1"), [KnowledgeGapFound(question="Moon?")])
    victim = await served.office.store.verify(await store.keys.create(Role.SERVER))
    named = {"model": ACME, "figure": "containment", "customer": "cust-1"}
    return {"conversation": conversation, "gap": (await store.desk.gaps())[0].id, "key": victim.key, **named}


def _routes(found: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, APIRoute):
            yield from ((method, prefix + route.path) for method in route.methods)
        elif inner := getattr(route, "original_router", None):
            yield from _routes(inner.routes, prefix)


def test_every_route_has_a_row_and_every_row_a_route(served: Served):
    assert set(_routes(served.app.routes)) == set(TABLE) | PUBLIC


def test_every_staff_route_that_changes_something_is_audited():
    # Audited too, once the conversation is an agent's and once the tenant has a folder; the third changes nothing.
    refused = {("POST", "/api/conversations/{conversation}/agent-messages"), ("POST", "/api/gaps/{gap}/accept"), ("POST", "/api/wording")}
    assert {r for r in TABLE if TABLE[r].staff and r[0] != "GET"} - refused <= {r for r in TABLE if TABLE[r].audited}


@pytest.mark.parametrize("route", TABLE)
def test_the_rightful_caller_is_served(world: World, route: tuple[str, str]):
    assert world.call(route, world.keys["operator" if TABLE[route].staff else "server"]).status_code == TABLE[route].own


@pytest.mark.parametrize("route", TABLE)
def test_nobody_without_a_key_or_with_a_revoked_one_gets_in(world: World, route: tuple[str, str]):
    none, dead = world.call(route, None), world.call(route, world.keys["revoked"])
    assert (none.status_code, dead.status_code) == (401, 401)
    assert _plain(none) == _plain(dead)


@pytest.mark.parametrize("route", [r for r in TABLE if TABLE[r].staff])
@pytest.mark.parametrize("role", ["server", "widget"])
def test_staff_routes_are_for_operators(world: World, route: tuple[str, str], role: str):
    assert world.call(route, world.keys[role]).status_code == 403


@pytest.mark.parametrize("route", TABLE)
def test_another_tenant_reaches_nothing_of_ours(world: World, route: tuple[str, str]):
    key = world.keys["other operator" if TABLE[route].staff else "other server"]
    got = world.call(route, key, customer=None)
    assert got.status_code == TABLE[route].foreign
    for name in ("conversation", "gap", "key") if route[1] != "/api/audit" else ("key",):  # one's own attempts are on one's own trail
        assert world.ids[name] not in got.text
    if got.status_code == 404 and "{" in route[1]:
        world.ids = {**world.ids, **{k: v[:-3] + "zzz" for k, v in world.ids.items()}}
        assert _plain(got) == _plain(world.call(route, key, customer=None))


@pytest.mark.parametrize("route", [r for r in TABLE if TABLE[r].customer])
@pytest.mark.parametrize("customer", ["cust-2", None])
def test_another_customer_of_the_same_key_reaches_nothing_of_this_one(world: World, route: tuple[str, str], customer: str | None):
    got = world.call(route, world.keys["server"], customer)
    assert got.status_code == 404
    world.ids["conversation"] = "cv_unknown"
    assert _plain(got) == _plain(world.call(route, world.keys["server"], customer))


@pytest.mark.parametrize("route", [r for r in TABLE if TABLE[r].customer])
def test_another_key_of_the_same_tenant_does_not_reach_a_conversation(world: World, route: tuple[str, str]):
    assert world.call(route, world.keys["widget"]).status_code == 404


@pytest.mark.parametrize("route", TABLE)
def test_a_customer_token_of_another_tenant_is_401(world: World, route: tuple[str, str]):
    key = world.keys["operator" if TABLE[route].staff else "server"]
    assert world.call(route, key, "cust-1", OTHER).status_code == 401


@pytest.mark.parametrize("route", [r for r in TABLE if TABLE[r].audited])
def test_what_staff_change_is_on_the_audit_trail(world: World, route: tuple[str, str]):
    trail = world.served.office.store.for_tenant(ACME).desk.audit_trail
    before = len(world.served.do(trail(limit=10_000)))
    assert world.call(route, world.keys["operator" if TABLE[route].staff else "server"]).status_code == TABLE[route].own
    added = world.served.do(trail(limit=10_000))[before:]
    assert len(added) == 1
    assert added[0].actor in world.served.do(_key_ids(world))


async def _key_ids(world: World) -> list[str]:
    return [k.id for k in await world.served.office.store.for_tenant(ACME).keys.list()]


def _plain(answer: httpx.Response) -> Any:
    body = answer.json()
    body["error"].pop("request_id", None)
    return body
