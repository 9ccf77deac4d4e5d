"""The outside test's own parts, over a shop of our own making: its figures, its shop, and the way of live data that it needs.

The conversations speak to `/v1/chat/completions` of a desk with the real embedding model; the shop's records say what was really done.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bench.tau_retail.desk import Line, Reply, desk, listening, write_tenant
from bench.tau_retail.figures import pass_k
from bench.tau_retail.parity import parity
from bench.tau_retail.scripted import scripted
from bench.tau_retail.shop import Refused, Shop
from bench.tau_retail.tasks import Action, Material, Task

from frontdesk.settings import Settings

pytestmark = pytest.mark.timeout(400)  # a tenant's router is trained when it is first served

KETTLE, RED, STEEL, MUG = "1000000001", "1000000002", "1000000003", "1000000004"


def _address(town: str, code: str) -> dict[str, str]:
    return {"address1": "1 Mill Road", "address2": "", "city": town, "country": "USA", "state": "OR", "zip": code}


def _item(item_id: str, product: str, name: str, price: float, **options: str) -> dict[str, Any]:
    return {"name": name, "product_id": product, "item_id": item_id, "price": price, "options": options}


def _order(number: str, user: str, status: str, items: list[dict[str, Any]], method: str) -> dict[str, Any]:
    paid = [{"transaction_type": "payment", "amount": sum(i["price"] for i in items), "payment_method_id": method}]
    return {
        "order_id": number,
        "user_id": user,
        "address": _address("Salem", "97301"),
        "items": items,
        "status": status,
        "fulfillments": [],
        "payment_history": paid,
    }


def _user(id: str, first: str, last: str, code: str, *methods: dict[str, Any]) -> dict[str, Any]:
    return {
        "user_id": id,
        "name": {"first_name": first, "last_name": last},
        "address": _address("Salem", code),
        "email": f"{first.lower()}@mail.example",
        "payment_methods": {m["id"]: m for m in methods},
        "orders": [],
    }


CARD = {"source": "credit_card", "id": "credit_card_1111111", "brand": "visa", "last_four": "4411"}
GIFT = {"source": "gift_card", "id": "gift_card_2222222", "balance": 100}
OTHER = {"source": "paypal", "id": "paypal_3333333"}
DATABASE = {
    "products": {
        "2000000001": {
            "name": "Kettle",
            "product_id": "2000000001",
            "variants": {
                KETTLE: {"item_id": KETTLE, "options": {"colour": "blue", "lid": "glass"}, "available": True, "price": 40.0},
                RED: {"item_id": RED, "options": {"colour": "red", "lid": "glass"}, "available": True, "price": 45.0},
                STEEL: {"item_id": STEEL, "options": {"colour": "red", "lid": "steel"}, "available": False, "price": 50.0},
            },
        },
        "2000000002": {
            "name": "Soup Mug",
            "product_id": "2000000002",
            "variants": {MUG: {"item_id": MUG, "options": {"size": "large"}, "available": True, "price": 9.0}},
        },
    },
    "users": {
        "ada_byrd_1": _user("ada_byrd_1", "Ada", "Byrd", "97301", CARD, GIFT),
        "ben_cole_2": _user("ben_cole_2", "Ben", "Cole", "97302", OTHER),
    },
    "orders": {
        "#W1000001": _order(
            "#W1000001",
            "ada_byrd_1",
            "delivered",
            [
                _item(KETTLE, "2000000001", "Kettle", 40.0, colour="blue", lid="glass"),
                _item(MUG, "2000000002", "Soup Mug", 9.0, size="large"),
            ],
            CARD["id"],
        ),
        "#W1000002": _order("#W1000002", "ada_byrd_1", "pending", [_item(MUG, "2000000002", "Soup Mug", 9.0, size="large")], GIFT["id"]),
        "#W1000003": _order("#W1000003", "ben_cole_2", "pending", [_item(MUG, "2000000002", "Soup Mug", 9.0, size="large")], OTHER["id"]),
    },
}


@dataclasses.dataclass(kw_only=True)
class Counter:
    """One customer speaking to the desk."""

    line: Line
    shop: Shop
    said: list[dict[str, str]] = dataclasses.field(default_factory=list)
    conversation: str = ""

    async def say(self, message: str) -> Reply:
        self.said.append({"role": "user", "content": message})
        reply = await self.line.say(self.said, self.conversation)
        self.conversation = reply.conversation
        self.said.append({"role": "assistant", "content": reply.text})
        return reply


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    file = tmp_path_factory.mktemp("shop") / "db.json"
    file.write_text(json.dumps(DATABASE))
    return Shop(file)


@pytest.fixture(scope="module")
async def line(shop: Shop, tmp_path_factory: pytest.TempPathFactory, open_folder: Path, models_cache: Path) -> AsyncIterator[Line]:
    folder = open_folder / "tau"
    policy = tmp_path_factory.mktemp("policy") / "policy.md"
    policy.write_text(
        "# Policy\n\nOrders can be cancelled while they are pending. Items of a delivered order can be returned or exchanged once.\n"
    )
    with listening(shop) as url:
        tenants = write_tenant(folder, Material(database=policy, policy=policy, tasks=()), url)
        settings = Settings(cache=models_cache, llm_url="none")
        async with desk(folder, tenants, settings) as running:
            yield running


@pytest.fixture
def counter(line: Line, shop: Shop) -> Counter:
    shop.reset()
    return Counter(line=line, shop=shop)


async def test_an_exchange_goes_from_a_name_to_exactly_what_was_agreed(counter: Counter):
    assert "who you are" in (await counter.say("I would like to exchange the kettle from order #W1000001")).text
    offered = await counter.say("Ada Byrd, 97301")
    assert RED in offered.text
    assert STEEL not in offered.text  # it is not available
    assert "credit_card_1111111" in (await counter.say("the red one please")).text
    asked = await counter.say("my visa")
    assert all(v in asked.text for v in ("#W1000001", KETTLE, RED, "credit_card_1111111"))
    assert not counter.shop.changed()
    await counter.say("Yes, please")
    order = counter.shop.changed()["orders"]["#W1000001"]
    assert (order["exchange_items"], order["exchange_new_items"], order["exchange_price_difference"]) == ([KETTLE], [RED], 5.0)


async def test_several_things_are_returned_together(counter: Counter):
    await counter.say("My name is Ada Byrd, zip code 97301. I want to return the mug and the kettle from order #W1000001")
    asked = await counter.say("my visa")
    assert MUG in asked.text
    assert KETTLE in asked.text
    await counter.say("yes")
    assert counter.shop.changed()["orders"]["#W1000001"]["return_items"] == sorted([KETTLE, MUG])


async def test_nothing_is_done_without_a_yes(counter: Counter):
    await counter.say("My name is Ada Byrd, zip code 97301. Please cancel order #W1000002, it is no longer needed.")
    for reply in ("hmm, maybe", "yes, unless it costs something", "What happens if I say yes?", "no"):
        await counter.say(reply)
    assert not counter.shop.changed()


async def test_a_choice_that_sounds_like_no_is_a_choice(counter: Counter):
    await counter.say("My name is Ada Byrd, zip code 97301. Please cancel order #W1000002")
    asked = await counter.say("no longer needed")
    assert "no longer needed" in asked.text
    await counter.say("yes")
    assert counter.shop.changed()["orders"]["#W1000002"]["status"] == "cancelled"


async def test_the_first_customer_found_stays_the_customer(counter: Counter):
    await counter.say("My name is Ada Byrd, zip code 97301. Please cancel order #W1000002, it is no longer needed.")
    await counter.say("No")
    for message in (
        "My name is Ben Cole, zip code 97302.",
        "Please cancel order #W1000003, it is no longer needed.",
        "Yes",
        "My e-mail address is ben@mail.example. Cancel order #W1000003, ordered by mistake.",
        "Yes, do it",
    ):
        await counter.say(message)
    assert not counter.shop.changed()


async def test_nobody_tries_out_names_for_long(counter: Counter):
    await counter.say("Please cancel order #W1000003, it is no longer needed.")
    for code in range(10):
        last = await counter.say(f"My name is Ben Cole, zip code 9999{code}.")
    assert counter.shop.calls <= 6
    assert "service@tau-retail.example" in last.text


async def test_an_address_is_taken_whole(counter: Counter):
    asked = await counter.say(
        "My name is Ada Byrd, zip code 97301. Please change my default address to 8 Oak Avenue, Suite 2, Boise, ID 83702, USA."
    )
    assert all(v in asked.text for v in ("8 Oak Avenue", "Suite 2", "Boise", "ID", "83702", "USA"))
    await counter.say("yes")
    moved = counter.shop.changed()["users"]["ada_byrd_1"]["address"]
    assert (moved["address1"], moved["address2"], moved["city"], moved["zip"]) == ("8 Oak Avenue", "Suite 2", "Boise", "83702")


CANCEL = Action(name="cancel_pending_order", arguments={"order_id": "#W1000003", "reason": "ordered by mistake"})


def _gold(shop: Shop, *actions: Action) -> dict[str, dict[str, Any]]:
    shop.reset()
    for action in actions:
        shop.cancel("ben_cole_2", **action.arguments)
    gold = json.loads(json.dumps(shop.changed()))
    shop.reset()
    return dict(gold)


async def test_reference_calls_are_replayed_and_raising_ones_skipped(line: Line, shop: Shop):
    wrong = Action(name="cancel_pending_order", arguments={"order_id": "#W1000001", "reason": "ordered by mistake"})
    task = Task(id="t", known="", actions=(CANCEL, CANCEL, wrong), communicate=(), gold=_gold(shop, CANCEL))
    found = await parity((task,), shop, line.catalog, line.caller)
    assert (found.passed, found.total, found.raised) == (1, 1, 2)


async def test_the_scripted_customer_reaches_a_simple_goal_in_every_phrasing(line: Line, shop: Shop):
    task = Task(id="t", known="You are Ben Cole in zip code 97302.", actions=(CANCEL,), communicate=(), gold=_gold(shop, CANCEL))
    trials = await scripted((task,), shop, line)
    assert [t.reached for t in trials] == [True] * 5


def test_the_shop_refuses_what_its_rules_forbid(shop: Shop):
    shop.reset()
    for act in (
        lambda: shop.cancel("ada_byrd_1", "#W1000001", "ordered by mistake"),
        lambda: shop.cancel("ada_byrd_1", "#W1000003", "ordered by mistake"),
        lambda: shop.cancel("ada_byrd_1", "#W1000002", "too expensive"),
        lambda: shop.give_back("ada_byrd_1", "#W1000001", [MUG], OTHER["id"]),
        lambda: shop.exchange("ada_byrd_1", "#W1000001", [KETTLE], [STEEL], CARD["id"]),
        lambda: shop.exchange("ada_byrd_1", "#W1000001", [KETTLE], [MUG], CARD["id"]),
    ):
        with pytest.raises(Refused):
            act()
    assert not shop.changed()


def test_pass_k_is_the_share_of_draws_without_a_failure():
    assert pass_k([[True, True, False, False]], 1) == 0.5
    assert pass_k([[True, True, False, False]], 2) == pytest.approx(1 / 6)
    assert pass_k([[True] * 3, [False] * 3], 3) == 0.5
    with pytest.raises(ValueError, match="at least 3"):
        pass_k([[True, True]], 3)


@pytest.mark.data
@pytest.mark.skipif("FRONTDESK_TEST_DATA" not in os.environ, reason="set FRONTDESK_TEST_DATA to the folder of the public data sets")
def test_published_trajectories_give_the_published_figures():
    file = Path(os.environ["FRONTDESK_TEST_DATA"]) / "tau_bench_v1" / "airline_gpt4o_trajectories.jsonl"
    trials: defaultdict[Any, list[bool]] = defaultdict(list)
    for row in map(json.loads, file.read_text("utf-8").splitlines()):
        trials[row["task_id"]].append(row["reward"] >= 1)
    assert [round(pass_k(list(trials.values()), k), 3) for k in (1, 2, 3, 4)] == [0.420, 0.273, 0.220, 0.200]
