"""Each task, once in each phrasing, from the untouched database: what the scripted customer reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.tau_retail.customer import MOST_TURNS, PHRASINGS, Customer
from bench.tau_retail.desk import Line, Reply
from bench.tau_retail.shop import Shop
from bench.tau_retail.tasks import WRITES, Task


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One conversation."""

    task: str
    phrasing: int
    reached: bool
    """The database ended as it must."""
    told: bool
    """Everything that had to be communicated stands in some reply."""
    turns: int
    given_up: tuple[str, ...]
    said: tuple[tuple[str, str], ...]


async def scripted(
    tasks: Sequence[Task],
    shop: Shop,
    line: Line,
    *,
    phrasings: Sequence[int] = tuple(range(PHRASINGS)),
    each: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """All trials, task by task."""
    found = []
    for task in tasks:
        for phrasing in phrasings:
            shop.reset()
            found.append(await _trial(task, shop, line, phrasing))
            each(found[-1])
    shop.reset()
    return found


async def _trial(task: Task, shop: Shop, line: Line, phrasing: int) -> Trial:
    customer = Customer(task=task, shop=shop, phrasing=phrasing)
    history: list[dict[str, str]] = []
    conversation = ""
    message = customer.opens()
    turns = 0
    while message is not None and turns < MOST_TURNS:
        history.append({"role": "user", "content": message})
        reply = await line.say(history, conversation)
        conversation = reply.conversation
        history.append({"role": "assistant", "content": reply.text})
        turns += 1
        message = customer.hears(reply.text, done=acted(reply))
    replies = " ".join(m["content"] for m in history if m["role"] == "assistant").replace(",", "").lower()
    return Trial(
        task=task.id,
        phrasing=phrasing,
        reached=shop.changed() == task.gold,
        told=all(c.replace(",", "").lower() in replies for c in task.communicate),
        turns=turns,
        given_up=tuple(customer.given_up),
        said=tuple((m["role"], m["content"]) for m in history),
    )


def acted(reply: Reply) -> bool:
    """Whether a reply reports a write that succeeded."""
    return any(c["name"] in WRITES and "error" not in c for c in reply.calls)
