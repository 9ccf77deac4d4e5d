"""Parity: each task's reference calls through the desk's own tool path (catalog, argument check, binding, HTTP), against the end state.

The customer of the calls is whoever the task's own look-up finds, and where it has none the owner of the records. A call that raises is
counted and skipped, as upstream does.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.tau_retail.shop import Refused, Shop
from bench.tau_retail.tasks import Task

from frontdesk.errors import FrontdeskError
from frontdesk.tools.calling import ToolCaller
from frontdesk.tools.catalog import Catalog


@dataclass(kw_only=True)
class Parity:
    """How many tasks end as they must, and how many calls raised."""

    passed: int = 0
    total: int = 0
    raised: int = 0
    failed: list[str] | None = None


async def parity(tasks: tuple[Task, ...], shop: Shop, catalog: Catalog, caller: ToolCaller) -> Parity:
    """Replays every task from the untouched database."""
    found = Parity(failed=[])
    for task in tasks:
        shop.reset()
        customer = owner(task, shop)
        for action in task.actions:
            found.raised += not await _call(action.name, dict(action.arguments), customer, catalog, caller)
        found.total += 1
        if shop.changed() == task.gold:
            found.passed += 1
        else:
            found.failed.append(task.id)  # type: ignore[union-attr]
    shop.reset()
    return found


async def _call(name: str, arguments: dict[str, Any], customer: str, catalog: Catalog, caller: ToolCaller) -> bool:
    operation = catalog.get(name)
    if operation is None:
        return False
    try:
        outcome = await caller.call(operation, arguments, {"sub": customer} if customer else {})
    except FrontdeskError:
        return False
    return outcome.ok


def owner(task: Task, shop: Shop) -> str:
    """Whose matters a task is about; empty when its calls concern nobody's records."""
    for action in task.actions:
        known = action.arguments.get("user_id") or shop.base("orders").get(action.arguments.get("order_id", ""), {}).get("user_id")
        if known in shop.base("users"):
            return str(known)
    for action in task.actions:
        with suppress(Refused):  # a look-up that finds nobody is skipped
            if action.name == "find_user_id_by_email":
                return shop.by_email(action.arguments["email"])
            if action.name == "find_user_id_by_name_zip":
                return shop.by_name(action.arguments["first_name"], action.arguments["last_name"], action.arguments["zip"])
    return ""
