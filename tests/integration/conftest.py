"""One running desk for all tests that only talk to it, with a key per role; tests that break something start their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from frontdesk.domain.tenancy import Role

from .server import ACME, OTHER, Server, copied, keys, tokens, write_tenants


@dataclass(frozen=True)
class Talking:
    """A running desk and who may talk to it."""

    server: Server
    http: httpx.Client
    key: str
    second_key: str
    widget: str
    operator: str
    foreign: str
    anna: str
    ben: str
    foreign_anna: str

    def head(self, key: str | None = None, customer: str | None = None, **more: str) -> dict[str, str]:
        token = {"X-Customer-Token": customer} if customer else {}
        return {"Authorization": f"Bearer {key or self.key}", **token, **more}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which only its user may enter."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-integration-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def tenants(folder: Path) -> Path:
    return write_tenants(folder / "tenants")


@pytest.fixture(scope="session")
def trained(folder: Path, tenants: Path) -> Path:
    """Data of a desk that was ready once and stopped."""
    server = Server(folder / "trained", tenants).start()
    assert server.stop() == 0
    return server.data


@pytest.fixture(scope="session")
def desk(folder: Path, tenants: Path, trained: Path) -> Iterator[Talking]:
    server = Server(copied(trained, folder / "desk"), tenants).start()
    try:
        made = keys(server.data, (ACME, Role.SERVER), (ACME, Role.SERVER), (ACME, Role.WIDGET), (ACME, Role.OPERATOR), (OTHER, Role.SERVER))
        signed = tokens(server.data, (ACME, "anna"), (ACME, "ben"), (OTHER, "anna"))
        with server.http as http:
            yield Talking(server, http, *made, *signed)
    finally:
        server.end()


@pytest.fixture
def new_server(folder: Path, tenants: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Makes servers that end with the test."""
    made: list[Server] = []

    def make(data: Path | None = None, **extra: str) -> Server:
        server = Server(data or folder / f"{request.node.name[:24]}{len(made)}", extra.pop("tenants", tenants), extra)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make
    for server in made:
        server.end()
