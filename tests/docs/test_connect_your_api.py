"""The page that connects an API, followed word by word: its files, its API, its conversation, with the real embedding model."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.blocks import blocks_of, write_files
from tests.docs.sections import ROOT

from frontdesk import wiring
from frontdesk.desk.recording import FrontOffice
from frontdesk.domain.events import ReplySent
from frontdesk.domain.tenancy import Caller, CustomerId, KeyId, Role, TenantId
from frontdesk.server.app import create_app
from frontdesk.server.auth import issue_customer_token
from frontdesk.server.serving import bind, serving
from frontdesk.settings import Settings

PAGE = ROOT / "docs/how-to/connect-your-api.md"
LIBRARY = TenantId("tool-library")
pytestmark = pytest.mark.timeout(400)  # a tenant's router is trained when it is first served


@pytest.fixture(scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory, database_settings: Settings, models_cache: Path) -> AsyncIterator[wiring.Office]:
    folder = tmp_path_factory.mktemp("library")
    write_files(PAGE, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tenant = folder / "tenants" / LIBRARY / "tenant.yaml"
    tenant.write_text(tenant.read_text().replace("8902", str(port)))
    api = subprocess.Popen(
        [sys.executable, str(folder / "library.py")], env={**os.environ, "LIBRARY_PORT": str(port)}, stderr=subprocess.DEVNULL
    )
    try:
        ours = dataclasses.replace(
            database_settings, tenants=folder / "tenants", cache=models_cache, llm_url="none", embeddings_url="", rate_per_minute=0
        )
        async with wiring.running(ours) as office:
            await office.prepare()
            yield office
    finally:
        api.terminate()
        api.wait(10)


async def asked(front_office: FrontOffice, question: str, customer: str | None) -> ReplySent:
    caller = Caller(tenant=LIBRARY, key=KeyId("docs"), role=Role.SERVER, customer=CustomerId(customer) if customer else None)
    return [r.event async for r in front_office.talk(caller=caller, message=question) if isinstance(r.event, ReplySent)][-1]


async def test_a_member_hears_of_their_own_loans_and_nobody_elses(office: wiring.Office):
    reply = await asked(office.front_office, "Which tools do I have on loan?", "ada")
    assert "cordless drill" in reply.text
    assert "6.50" in reply.text
    assert "tile cutter" not in reply.text


async def test_without_a_customer_nothing_is_called(office: wiring.Office):
    reply = await asked(office.front_office, "Which tools do I have on loan?", None)
    assert not reply.tool_calls
    assert "sign in" in reply.text


async def test_the_conversation_of_the_page_goes_as_the_page_says(office: wiring.Office, monkeypatch: pytest.MonkeyPatch):
    store = office.store
    token = issue_customer_token(await store.signing_secret(), LIBRARY, CustomerId("ada"), time.time())
    names: dict[str, Any] = {"__name__": "docs"}
    async with serving(create_app(office), bind("127.0.0.1", 0)) as url:
        monkeypatch.setenv("DESK_URL", url)
        monkeypatch.setenv("DESK_KEY", await store.for_tenant(LIBRARY).keys.create(Role.SERVER))
        monkeypatch.setenv("ADA", token)
        for block in [b for b in blocks_of(PAGE) if b.language == "py"]:
            code = compile("\n" * block.line + block.text, str(block), "exec")
            await asyncio.to_thread(exec, code, names)
