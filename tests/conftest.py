"""One embedded database for the whole suite, a fresh tenant for each test, and no way out to the network."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

import frontdesk.desk
from frontdesk import settings
from frontdesk.domain.tenancy import TenantId
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.settings import Settings
from frontdesk.store.embedded import Embedded
from frontdesk.store.store import Store, TenantStore


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What needs a broker is never left out in silence."""
    left = [r for r in terminalreporter.stats.get("skipped", []) if "kafka" in r.nodeid]
    if left:
        terminalreporter.section("KAFKA TESTS SKIPPED", red=True, bold=True)
        for reason in sorted({str(r.longrepr[2] if isinstance(r.longrepr, tuple) else r.longrepr) for r in left}):
            terminalreporter.write_line(reason)


LONG = ("integration", "server", "training", "desk", "rehearsal")
"""Rooms that take longest: where several workers share the suite, these begin first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a room stays with one of them, since its tests share a desk, a server or a browser."""
    here = Path(__file__).parent
    rooms = {item: item.path.relative_to(here).parts[0] for item in items}
    for item, room in rooms.items():
        item.add_marker(pytest.mark.xdist_group(room))
    items.sort(key=lambda item: LONG.index(rooms[item]) if rooms[item] in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrix products as the program itself does them: a second thread spins at barriers, and other tests run beside these."""
    threadpool_limits(1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests reach this machine only. Session fixtures (model downloads) are made before this holds."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(address: object) -> None:
        host = str(address[0]) if isinstance(address, tuple) else ""  # a Unix socket's address is a string
        if not host or host == "localhost":
            return
        try:
            local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        except ValueError:
            local = False
        if not local:
            raise OSError(f"tests may not connect to {host}")

    def guarded(self: socket.socket, address: object) -> None:
        check(address)
        return connect(self, address)

    def guarded_ex(self: socket.socket, address: object) -> int:
        check(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other users may pass through, as the embedded database needs when root runs the tests.

    Not below pytest's own: every pytest that starts takes that permission from it again.
    """
    with tempfile.TemporaryDirectory(prefix="frontdesk-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def database_data(open_folder: Path) -> Iterator[Path]:
    """Data folder of the suite's embedded database, which runs until the last test."""
    server = Embedded(open_folder / "database")
    server.start()
    yield server.data
    server.stop()


@pytest.fixture(scope="session")
def database_settings(database_data: Path) -> Settings:
    return Settings(data=database_data)


@pytest.fixture(scope="session")
async def store(database_settings: Settings) -> AsyncIterator[Store]:
    """The suite's store. Use a fresh `tenant` for everything."""
    opened = await Store.open(database_settings)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def database_url(store: Store) -> str:
    """Owner's URL of the suite's migrated database."""
    return store.url


@pytest.fixture
def tenant() -> TenantId:
    """A tenant that no other test has."""
    return TenantId(f"t{secrets.token_hex(6)}")


@pytest.fixture
def tenant_store(store: Store, tenant: TenantId) -> TenantStore:
    return store.for_tenant(tenant)


@pytest.fixture(scope="session")
def models_cache() -> Path:
    """Where tests find models; the first run fetches the defaults there."""
    from frontdesk.models import registry

    cache = settings.load().cache
    for name in (Settings().embeddings_model, Settings().llm_model):
        registry.pull(name, cache)
    return cache


@pytest.fixture(scope="session")
def encoder(models_cache: Path) -> Iterator[SentenceEncoder]:
    """The encoder that learnt how customers put things, as in service."""
    adapter = Path(frontdesk.desk.__file__).parent / "reading_encoder.safetensors"
    made = taught(adapter, models_cache, name="reading-encoder")
    yield made
    made.close()


@pytest.fixture(scope="session")
def matcher(models_cache: Path) -> Iterator[CrossEncoder]:
    """What reads a message and a text together, as in service."""
    adapter = Path(frontdesk.desk.__file__).parent / "reading_pairs.safetensors"
    made = CrossEncoder(models_cache / "models" / "all-minilm-l6-v2", adapter)
    yield made
    made.close()
