"""The desk under test: the shop's API on loopback, a tenant made of policy and OpenAPI document in a folder of its own, and the server's HTTP face."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from bench.tau_retail.shop import Shop, business_api
from bench.tau_retail.tasks import Material

from frontdesk import wiring
from frontdesk.domain.tenancy import Role, TenantId
from frontdesk.server.app import create_app
from frontdesk.settings import Settings
from frontdesk.tools.calling import ToolCaller, http_client
from frontdesk.tools.catalog import Catalog

HERE = Path(__file__).parent
TENANT = TenantId("tau-retail")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back to one message."""

    text: str
    route: str
    calls: tuple[dict[str, Any], ...]
    conversation: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A way to speak to the desk, as any client of `/v1/chat/completions` does."""

    client: httpx.AsyncClient
    catalog: Catalog
    caller: ToolCaller

    async def say(self, history: list[dict[str, str]], conversation: str = "") -> Reply:
        """Sends the conversation so far; raises httpx.HTTPStatusError."""
        body: dict[str, Any] = {"model": str(TENANT), "messages": history}
        if conversation:
            body["metadata"] = {"conversation_id": conversation}
        answer = await self.client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        data = answer.json()
        extra = data["frontdesk"]
        return Reply(
            text=data["choices"][0]["message"]["content"],
            route=extra["route"],
            calls=tuple(extra["tool_calls"]),
            conversation=extra["conversation_id"],
        )


@contextmanager
def listening(shop: Shop) -> Iterator[str]:
    """The shop's API on a free port of this machine, while the block runs."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(business_api(shop), log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, args=([port],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)


def write_tenant(folder: Path, material: Material, url: str) -> Path:
    """A folder of tenants with the one that is tested, in `folder`, which other users may pass through from now on."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # the embedded database runs as another user when root starts it
    tenant = folder / "tenants" / str(TENANT)
    (tenant / "knowledge").mkdir(parents=True)
    (tenant / "tools").mkdir()
    shutil.copyfile(material.policy, tenant / "knowledge" / "policy.md")
    shutil.copyfile(HERE / "openapi.yaml", tenant / "tools" / "openapi.yaml")
    text = (HERE / "tenant.yaml").read_text("utf-8")
    (tenant / "tenant.yaml").write_text(text.replace("http://127.0.0.1:9", url), encoding="utf-8")
    return folder / "tenants"


@asynccontextmanager
async def desk(folder: Path, tenants: Path, settings: Settings) -> AsyncIterator[Line]:
    """The desk over that tenant, answering while the block runs."""
    own = replace(settings, tenants=tenants, data=folder / "data", rate_per_minute=0)
    async with wiring.running(own) as office, http_client() as http:
        await office.prepare()
        key = await office.store.for_tenant(TENANT).keys.create(Role.SERVER, "benchmark")
        app = create_app(office)
        transport = httpx.ASGITransport(app=app)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://desk", headers=headers, timeout=60) as client:
            catalog = office.catalogs[TENANT]
            yield Line(client=client, catalog=catalog, caller=ToolCaller(catalog, http=http))
