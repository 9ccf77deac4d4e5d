"""A caller around the courier's API, for the tests of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import settings
from tests.tools.courier import TOKEN, StubApi, tenant

from frontdesk.tools.calling import ToolCaller
from frontdesk.tools.catalog import Catalog, load_catalog

settings.register_profile("shared-machine", deadline=None)  # other work on the machine must not fail a property
settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(tenant(), {"COURIER_TOKEN": TOKEN})


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """The caller under test with its surroundings."""

    catalog: Catalog
    api: StubApi
    caller: ToolCaller
    clock: Clock
    http: httpx.AsyncClient

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None, customer: str | None = "AC10001", **more: Any) -> Any:
        operation = self.catalog.get(name)
        assert operation is not None
        return await self.caller.call(operation, arguments or {}, {"sub": customer} if customer else {}, **more)


@pytest.fixture
async def desk(catalog: Catalog) -> AsyncIterator[Desk]:
    api, clock = StubApi(), Clock()
    async with httpx.AsyncClient(transport=api) as http:
        yield Desk(catalog=catalog, api=api, caller=ToolCaller(catalog, http=http, clock=clock, seconds=5.0), clock=clock, http=http)
