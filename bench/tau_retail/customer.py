"""The scripted customer: a task's writes as goals, its facts as answers, five ways of putting things. Says yes only to a correct confirmation.

It reads only the text of a reply. It knows what a customer who wrote the task down would know: who they are, the numbers in the reference
calls, and from their own orders what the things behind those numbers are. It never volunteers a number that the task does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.tau_retail.parity import owner
from bench.tau_retail.shop import Shop
from bench.tau_retail.tasks import Action, Task

MOST_TURNS = 30
PATIENCE = 4
"""Replies that lead nowhere before a goal is given up."""
PHRASINGS = 5
_VERBS: Mapping[str, tuple[str, ...]] = {
    "cancel_pending_order": ("cancel",),
    "exchange_delivered_order_items": ("exchange",),
    "modify_pending_order_address": ("delivery address",),
    "modify_pending_order_items": ("change items", "modify"),
    "modify_pending_order_payment": ("paid", "payment"),
    "modify_user_address": ("default address",),
    "return_delivered_order_items": ("return",),
}
"""Words of which one must stand in a confirmation of that act."""
_OPENINGS: Mapping[str, tuple[str, str, str, str, str]] = {
    "cancel_pending_order": (
        "Please cancel my order {order}. The reason: {reason}.",
        "Hello, I would like to cancel a pending order.",
        "cancel order {order} please, {reason}",
        "Good evening. {me} I placed order {order} and I want to cancel it, because it is {reason}.",
        "I want to cancel {order}",
    ),
    "exchange_delivered_order_items": (
        "Please exchange items {pairs} of my delivered order {order}, with {method} for the difference.",
        "Hello, I would like to exchange something from an order that was delivered.",
        "i want to exchange {things} from order {order}",
        "Good evening. {me} My order {order} has arrived and I want to exchange {swaps}.",
        "I want to exchange items of {order}",
    ),
    "modify_pending_order_items": (
        "Please change items {pairs} of my pending order {order}, with {method} for the difference.",
        "Hello, I would like to change something in an order that is still pending.",
        "please change {things} in my pending order {order}",
        "Good evening. {me} My order {order} is still pending and I want to change {swaps}.",
        "I want to change items of pending order {order}",
    ),
    "return_delivered_order_items": (
        "Please return items {items} of my delivered order {order}, refund to {method}.",
        "Hello, I would like to return something from an order that was delivered.",
        "i want to return {things} from order {order}",
        "Good evening. {me} My order {order} has arrived and I want to return {things}.",
        "I want to return items of {order}",
    ),
    "modify_pending_order_address": (
        "Please change where my pending order {order} is delivered: {address}.",
        "Hello, I would like to change where a pending order is delivered.",
        "please send my pending order {order} to a different address",
        "Good evening. {me} My order {order} is still pending and I want to change where it is delivered to {address}.",
        "I want to change the delivery address of {order}",
    ),
    "modify_user_address": (
        "Please change my default address: {address}.",
        "Hello, I would like to change the default address in my profile.",
        "please change the default address in my profile, i moved",
        "Good evening. {me} I want to change my default address to {address}.",
        "I want to change my default address",
    ),
    "modify_pending_order_payment": (
        "Please change how my pending order {order} is paid to {method}.",
        "Hello, I would like to change how a pending order is paid.",
        "please change the payment of my pending order {order}",
        "Good evening. {me} My order {order} is still pending and I want to change how it is paid to {method}.",
        "I want to change the payment method of {order}",
    ),
}
_YES = ("Yes.", "Yes, please go ahead.", "yes", "Yes, that is correct, please do it.", "Confirmed.")
_NO = "No, that is not what I asked for."


@dataclass(kw_only=True)
class Customer:
    """One customer in one conversation. `phrasing`: 0 numbers at once, 1 step by step, 2 casual, 3 wordy, 4 terse."""

    task: Task
    shop: Shop
    phrasing: int
    goal: int = 0
    patience: int = PATIENCE
    given_up: list[str] = field(default_factory=list)
    _asked: str = ""

    def __post_init__(self) -> None:
        self._user = owner(self.task, self.shop)
        self._goals = self.task.writes

    def opens(self) -> str | None:
        """The first message; None when there is nothing to ask for."""
        return self._opening() if self._goals else None

    def hears(self, reply: str, *, done: bool) -> str | None:
        """The next message; None when all goals are met or given up. `done`: the reply says that something was carried out."""
        if done:
            return self._next()
        if "shall i" in reply.lower():
            if self._correct(reply):
                return _YES[self.phrasing]
            return self._or_gives_up(reply, f"{_NO} {self._all_facts()}")
        answer = self._answer(reply)
        if answer is not None:
            return self._or_gives_up(reply, answer) if answer == self._asked else self._say(answer)
        return self._or_gives_up(reply, self._opening())

    def _say(self, text: str) -> str:
        self._asked = text
        return text

    def _next(self) -> str | None:
        self.goal += 1
        self.patience = PATIENCE
        return self._opening() if self.goal < len(self._goals) else None

    def _or_gives_up(self, reply: str, text: str) -> str | None:
        self.patience -= 1
        if self.patience > 0:
            return self._say(text)
        self.given_up.append(f"{self._now.name}: {reply[:300]}")
        return self._next()

    @property
    def _now(self) -> Action:
        return self._goals[self.goal]

    def _opening(self) -> str:
        wanted = self._now.arguments
        text = _OPENINGS[self._now.name][self.phrasing]
        return text.format(
            order=wanted.get("order_id", ""),
            reason=wanted.get("reason", ""),
            method=self._method(wanted.get("payment_method_id", "")),
            items=" and ".join(wanted.get("item_ids", ())),
            pairs=" and ".join(f"{a} for {b}" for a, b in self._pairs()),
            things=_and([self._thing(i) for i in wanted.get("item_ids", ())]),
            swaps=_and([f"{self._thing(a)} for {self._wish(a, b)}" for a, b in self._pairs()]),
            address=self._address(),
            me=f"My name is {self._name()}, zip code {self._user_record()['address']['zip']}." if self._user else "",
        )

    def _answer(self, reply: str) -> str | None:
        """What is asked, by the words of the question; None when nothing that this customer knows."""
        asked, wanted = reply.lower(), self._now.arguments
        place = re.search(r"in place of (\d{10})", asked)
        if place is not None:
            new = next((b for a, b in self._pairs() if a == place[1]), None)
            return None if new is None else new if self.phrasing in (0, 4) else f"The one with {self._options(new)}, please."
        if re.search(r"who you are|find you", asked) and self._user:
            return self._identity()
        for words, say in self._questions(wanted):
            if re.search(words, asked):
                return say
        return None

    def _questions(self, wanted: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        rows = []
        if "order_id" in wanted:
            rows.append(
                (r"order (?:number|id|no)|which order", f"It is {wanted['order_id']}." if self.phrasing != 4 else wanted["order_id"])
            )
        if "reason" in wanted:
            rows.append((r"reason|why", str(wanted["reason"])))
        if "payment_method_id" in wanted:
            rows.append((r"payment method|pay|refund", self._method(wanted["payment_method_id"])))
        if "item_ids" in wanted:
            by_code = self.phrasing in (0, 4)
            said = " and ".join(wanted["item_ids"]) if by_code else _and([self._thing(i) for i in wanted["item_ids"]])
            rows.append((r"which (?:are|items)|the items", said))
        if "address1" in wanted:
            rows.append((r"street|address|city|zip|state|country|flat", self._address()))
        return rows

    def _all_facts(self) -> str:
        wanted = self._now.arguments
        rows = [f"order {wanted['order_id']}"] if "order_id" in wanted else []
        rows += (
            [f"items {' and '.join(f'{a} for {b}' for a, b in self._pairs()) or ' and '.join(wanted['item_ids'])}"]
            if "item_ids" in wanted
            else []
        )
        rows += [str(wanted[n]) for n in ("payment_method_id", "reason") if n in wanted]
        rows += [self._address()] if "address1" in wanted else []
        return f"I mean {', '.join(rows)}."

    def _correct(self, reply: str) -> bool:
        """A confirmation is correct when it names the act and every value of it, and no other order or item."""
        wanted, said = self._now.arguments, reply.lower()
        if not any(v in said for v in _VERBS[self._now.name]):
            return False
        plain = [str(v) for k, v in wanted.items() if isinstance(v, str) and v and k not in ("user_id",)]
        if any(v.lower() not in said for v in plain):
            return False
        if any(o != wanted.get("order_id") for o in re.findall(r"#W\d{7}", reply)):
            return False
        named = re.findall(r"(?<!\d)\d{10}(?!\d)", reply)
        pairs = self._pairs()
        if pairs:
            half = len(pairs)
            shown = list(zip(named[::2], named[1::2], strict=False)), list(zip(named[:half], named[half:], strict=False))
            return len(named) == 2 * half and any(sorted(rows) == sorted(pairs) for rows in shown)
        return sorted(named) == sorted(wanted.get("item_ids", ()))

    def _pairs(self) -> list[tuple[str, str]]:
        wanted = self._now.arguments
        return list(zip(wanted.get("item_ids", ()), wanted.get("new_item_ids", ()), strict=False))

    def _user_record(self) -> Mapping[str, Any]:
        return self.shop.base("users")[self._user]

    def _name(self) -> str:
        name = self._user_record()["name"]
        return f"{name['first_name']} {name['last_name']}"

    def _identity(self) -> str:
        user = self._user_record()
        by_mail = any(a.name == "find_user_id_by_email" and a.arguments.get("email") == user["email"] for a in self.task.actions)
        if by_mail or user["email"] in self.task.known:
            return str(user["email"]) if self.phrasing in (2, 4) else f"My e-mail address is {user['email']}."
        if self.phrasing in (2, 4):
            return f"{self._name()}, {user['address']['zip']}"
        return f"My name is {self._name()} and my zip code is {user['address']['zip']}."

    def _thing(self, item_id: str) -> str:
        """What the customer calls one of their things: by name, and by what it is like where they have several of the kind."""
        order = self.shop.base("orders").get(self._now.arguments.get("order_id", ""), {"items": []})
        own = next((i for i in order["items"] if i["item_id"] == item_id), None)
        if own is None:
            return item_id
        same = [i for i in order["items"] if i["name"] == own["name"]]
        return f"the {own['name'].lower()}" + (f" ({', '.join(own['options'].values())})" if len(same) > 1 else "")

    def _wish(self, item_id: str, new: str) -> str:
        return f"one with {self._options(new)}"

    def _options(self, item_id: str) -> str:
        for product in self.shop.base("products").values():
            if item_id in product["variants"]:
                return _and([f"{k} {v}" for k, v in product["variants"][item_id]["options"].items()])
        return item_id

    def _method(self, method: str) -> str:
        """A payment method as one speaks of it; by its number where numbers are given anyway."""
        if self.phrasing in (0, 4) or not self._user:
            return method
        held = self._user_record()["payment_methods"]
        own = held.get(method)
        if own is None:
            return method
        kind = str(own["source"]).replace("_", " ")
        alone = sum(m["source"] == own["source"] for m in held.values()) == 1
        return f"my {kind}" if alone or "last_four" not in own else f"my {kind} ending in {own['last_four']}"

    def _address(self) -> str:
        a = self._now.arguments
        if "address1" not in a:
            return ""
        parts = [a["address1"], a.get("address2", ""), a["city"], f"{a['state']} {a['zip']}", a["country"]]
        return ", ".join(str(p) for p in parts if p)


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1] if parts else ""]))
