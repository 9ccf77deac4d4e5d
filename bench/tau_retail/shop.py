"""The shop behind the 16 tools: our own implementation over `db.json`, and the business API that it offers. Keeps the file's records as they are.

Every change is made to a copy; `reset` forgets them all. Refuses, with a sentence, what the shop's rules forbid.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from frontdesk.errors import BadInput
from frontdesk.tools.arithmetic import calculate

REASONS = ("no longer needed", "ordered by mistake")
Record = dict[str, Any]


class Refused(Exception):
    """The shop does not do that. `status`: 404 for what is not there, else 409."""

    def __init__(self, why: str, status: int = 409) -> None:
        super().__init__(why)
        self.status = status


class Shop:
    """Products, users and orders, with the changes made since the last `reset`."""

    def __init__(self, file: Path) -> None:
        self._base: dict[str, dict[str, Record]] = json.loads(file.read_text("utf-8"))
        self._touched: dict[str, dict[str, Record]] = {}
        self.calls = 0

    def reset(self) -> None:
        """Everything as the file says."""
        self._touched = {}
        self.calls = 0

    def changed(self) -> dict[str, dict[str, Record]]:
        """The records that differ from the file, whole, by table and key."""
        found = {t: {k: r for k, r in rows.items() if r != self._base[t][k]} for t, rows in self._touched.items()}
        return {t: rows for t, rows in found.items() if rows}

    def base(self, table: str) -> Mapping[str, Record]:
        """A table as the file has it."""
        return self._base[table]

    def look(self, table: str, key: str, owner: str | None = None) -> Record:
        """A record to read. With an owner, somebody else's is like none. Raises Refused."""
        record = self._touched.get(table, {}).get(key) or self._base[table].get(key)
        if record is None or (owner is not None and record.get("user_id") != owner):
            raise Refused(f"There is no such record in {table}", 404)
        return record

    def _edit(self, table: str, key: str, owner: str | None = None) -> Record:
        record = self.look(table, key, owner)
        rows = self._touched.setdefault(table, {})
        if key not in rows:
            rows[key] = copy.deepcopy(record)
        return rows[key]

    # reading

    def by_email(self, email: str) -> str:
        """Raises Refused."""
        return self._user_where(lambda u: u["email"].lower() == email.strip().lower())

    def by_name(self, first_name: str, last_name: str, zip_code: str) -> str:
        """Raises Refused."""
        wanted = (first_name.lower(), last_name.lower(), zip_code)
        return self._user_where(lambda u: (u["name"]["first_name"].lower(), u["name"]["last_name"].lower(), u["address"]["zip"]) == wanted)

    def _user_where(self, fits: Callable[[Record], bool]) -> str:
        for key in self._base["users"]:
            if fits(self.look("users", key)):
                return key
        raise Refused("There is no customer with these details", 404)

    def item(self, item_id: str) -> Record:
        """A variant of any product. Raises Refused."""
        for product in self._base["products"].values():
            if item_id in product["variants"]:
                return dict(product["variants"][item_id])
        raise Refused("There is no such item", 404)

    # acting

    def cancel(self, owner: str, order_id: str, reason: str) -> Record:
        """Raises Refused."""
        if self.look("orders", order_id, owner)["status"] != "pending":
            raise Refused("only a pending order can be cancelled")
        if reason not in REASONS:
            raise Refused("this is no reason for which an order can be cancelled")
        order = self._edit("orders", order_id, owner)
        back = []
        for paid in order["payment_history"]:
            method = paid["payment_method_id"]
            back.append({"transaction_type": "refund", "amount": paid["amount"], "payment_method_id": method})
            self._credit(order["user_id"], method, paid["amount"])
        order |= {"status": "cancelled", "cancel_reason": reason}
        order["payment_history"] += back
        return order

    def exchange(self, owner: str, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str) -> Record:
        """Raises Refused."""
        order = self.look("orders", order_id, owner)
        if order["status"] != "delivered":
            raise Refused("only a delivered order can be exchanged")
        exact, _ = self._swap(order, item_ids, new_item_ids)
        difference = round(exact, 2)
        self._affordable(order["user_id"], payment_method_id, difference)
        order = self._edit("orders", order_id, owner)
        order |= {
            "status": "exchange requested",
            "exchange_items": sorted(item_ids),
            "exchange_new_items": sorted(new_item_ids),
            "exchange_payment_method_id": payment_method_id,
            "exchange_price_difference": difference,
        }
        return order

    def give_back(self, owner: str, order_id: str, item_ids: list[str], payment_method_id: str) -> Record:
        """Starts a return. Raises Refused."""
        order = self.look("orders", order_id, owner)
        if order["status"] != "delivered":
            raise Refused("only a delivered order can be returned")
        method = self._method(order["user_id"], payment_method_id)
        if method["source"] != "gift_card" and payment_method_id != order["payment_history"][0]["payment_method_id"]:
            raise Refused("the refund goes to the original payment method or to a gift card")
        self._holds(order, item_ids)
        order = self._edit("orders", order_id, owner)
        order |= {"status": "return requested", "return_items": sorted(item_ids), "return_payment_method_id": payment_method_id}
        return order

    def change_items(self, owner: str, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str) -> Record:
        """Changes variants. Raises Refused.

        The end states were made by tools that write price and options of the last new variant into every changed line; so does this.
        """
        order = self.look("orders", order_id, owner)
        if order["status"] != "pending":
            raise Refused("only a pending order can be changed, and its items only once")
        difference, variants = self._swap(order, item_ids, new_item_ids)
        self._affordable(order["user_id"], payment_method_id, difference)
        order = self._edit("orders", order_id, owner)
        kind = "payment" if difference > 0 else "refund"
        order["payment_history"].append({"transaction_type": kind, "amount": abs(difference), "payment_method_id": payment_method_id})
        self._credit(order["user_id"], payment_method_id, -difference)
        for old, new in zip(item_ids, variants, strict=True):
            row = next(i for i in order["items"] if i["item_id"] == old)
            row |= {"item_id": new["item_id"], "price": variants[-1]["price"], "options": copy.deepcopy(variants[-1]["options"])}
        order["status"] = "pending (item modified)"
        return order

    def change_payment(self, owner: str, order_id: str, payment_method_id: str) -> Record:
        """Raises Refused."""
        order = self._pending(owner, order_id)
        method = self._method(order["user_id"], payment_method_id)
        paid = order["payment_history"]
        if len(paid) != 1 or paid[0]["transaction_type"] != "payment":
            raise Refused("this order has more than one payment")
        old, amount = paid[0]["payment_method_id"], paid[0]["amount"]
        if old == payment_method_id:
            raise Refused("the order is paid that way already")
        if method["source"] == "gift_card" and method["balance"] < amount:
            raise Refused("the gift card does not cover the order")
        order = self._edit("orders", order_id, owner)
        order["payment_history"] += [
            {"transaction_type": "payment", "amount": amount, "payment_method_id": payment_method_id},
            {"transaction_type": "refund", "amount": amount, "payment_method_id": old},
        ]
        self._credit(order["user_id"], payment_method_id, -amount)
        self._credit(order["user_id"], old, amount)
        return order

    def send_to(self, owner: str, order_id: str, address: Mapping[str, str]) -> Record:
        """Changes where a pending order goes. Raises Refused."""
        self._pending(owner, order_id)
        order = self._edit("orders", order_id, owner)
        order["address"] = dict(address)
        return order

    def move(self, user_id: str, address: Mapping[str, str]) -> Record:
        """Changes a user's own address. Raises Refused."""
        user = self._edit("users", user_id)
        user["address"] = dict(address)
        return user

    def _pending(self, owner: str, order_id: str) -> Record:
        order = self.look("orders", order_id, owner)
        if not order["status"].startswith("pending"):
            raise Refused("only a pending order can be changed")
        return order

    def _method(self, user_id: str, method: str) -> Record:
        found: Record | None = self.look("users", user_id)["payment_methods"].get(method)
        if found is None:
            raise Refused("this payment method is not in the customer's profile")
        return found

    def _credit(self, user_id: str, method: str, amount: float) -> None:
        """Gift cards hold their balance here; other ways of payment settle elsewhere."""
        if self._method(user_id, method)["source"] == "gift_card":
            card = self._edit("users", user_id)["payment_methods"][method]
            card["balance"] = round(card["balance"] + amount, 2)

    def _affordable(self, user_id: str, method: str, difference: float) -> None:
        found = self._method(user_id, method)
        if found["source"] == "gift_card" and found["balance"] < difference:
            raise Refused("the gift card does not cover the difference in price")

    @staticmethod
    def _holds(order: Record, item_ids: Sequence[str]) -> None:
        held = Counter(i["item_id"] for i in order["items"])
        if not item_ids or any(held[i] < n for i, n in Counter(item_ids).items()):
            raise Refused("the order does not hold all of these items", 404)

    def _swap(self, order: Record, item_ids: list[str], new_item_ids: list[str]) -> tuple[float, list[Record]]:
        """The difference in price, and the new variants. Raises Refused."""
        self._holds(order, item_ids)
        if len(item_ids) != len(new_item_ids):
            raise Refused("each item needs one new item")
        difference, variants = 0.0, []
        for old, new in zip(item_ids, new_item_ids, strict=True):
            row = next(i for i in order["items"] if i["item_id"] == old)
            variant = self._base["products"][row["product_id"]]["variants"].get(new)
            if variant is None or not variant["available"]:
                raise Refused("the new item is not available as a variant of the same product", 404)
            difference += variant["price"] - row["price"]
            variants.append(variant)
        return difference, variants


def business_api(shop: Shop) -> Starlette:
    """The HTTP face of the shop, as `openapi.yaml` describes it. Who the customer is comes with the `X-User-Id` header or the path."""

    def route(path: str, method: str, act: Callable[[Mapping[str, str], Mapping[str, Any]], Any]) -> Route:
        async def answer(request: Request) -> JSONResponse:
            shop.calls += 1
            body = json.loads(await request.body() or b"{}") if method != "GET" else {}
            given = {**request.query_params, **request.path_params, "owner": request.headers.get("x-user-id", "")}
            try:
                return JSONResponse(act(given, body))
            except Refused as why:
                return JSONResponse({"detail": str(why)}, why.status)
            except (KeyError, TypeError, BadInput) as why:
                return JSONResponse({"detail": f"this request cannot be read: {why}"}, 422)

        return Route(path, answer, methods=[method])

    return Starlette(
        routes=[
            route("/users/by-email", "GET", lambda p, _: {"user_id": shop.by_email(p["email"])}),
            route("/users/by-name", "GET", lambda p, _: {"user_id": shop.by_name(p["first_name"], p["last_name"], p["zip"])}),
            route("/users/{user_id}", "GET", lambda p, _: _profile(shop.look("users", p["user_id"]))),
            route("/users/{user_id}/address", "PUT", lambda p, b: _profile(shop.move(p["user_id"], _address(b)))),
            route("/orders/{order_id}", "GET", lambda p, _: shop.look("orders", p["order_id"], p["owner"])),
            route("/orders/{order_id}/cancel", "POST", lambda p, b: shop.cancel(p["owner"], p["order_id"], b["reason"])),
            route("/orders/{order_id}/exchange", "POST", lambda p, b: shop.exchange(p["owner"], p["order_id"], **b)),
            route("/orders/{order_id}/return", "POST", lambda p, b: shop.give_back(p["owner"], p["order_id"], **b)),
            route("/orders/{order_id}/items", "PUT", lambda p, b: shop.change_items(p["owner"], p["order_id"], **b)),
            route("/orders/{order_id}/payment", "PUT", lambda p, b: shop.change_payment(p["owner"], p["order_id"], **b)),
            route("/orders/{order_id}/address", "PUT", lambda p, b: shop.send_to(p["owner"], p["order_id"], _address(b))),
            route("/products", "GET", lambda _p, _b: _product_list(shop)),
            route("/products/{product_id}", "GET", lambda p, _: _product(shop.look("products", p["product_id"]))),
            route("/items/{item_id}", "GET", lambda p, _: shop.item(p["item_id"])),
            route("/calculation", "GET", lambda p, _: {"result": float(calculate(p["expression"]))}),
            route("/transfers", "POST", lambda _p, b: {"transferred": bool(b["summary"])}),
        ]
    )


def _address(body: Mapping[str, str]) -> dict[str, str]:
    return {name: body.get(name, "") for name in ("address1", "address2", "city", "country", "state", "zip")}


def _profile(user: Record) -> Record:
    return {**user, "payment_methods": list(user["payment_methods"].values())}


def _product(product: Record) -> Record:
    return {**product, "variants": list(product["variants"].values())}


def _product_list(shop: Shop) -> Record:
    rows = [{"name": p["name"], "product_id": p["product_id"]} for p in shop.base("products").values()]
    return {"products": sorted(rows, key=lambda r: r["name"])}
