"""The embedded server: shared by processes, gone with the last, back after any kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from frontdesk.domain import events as e
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.tenancy import KeyId, TenantId
from frontdesk.errors import NotFound, StoreUnavailable
from frontdesk.settings import Settings
from frontdesk.store import Store
from frontdesk.store.embedded import Embedded, ahead

ACME = TenantId("acme")


def servers(data: Path) -> set[int]:
    """Live postmasters of this folder (their children are not counted)."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            ours = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(data / "postgres")
            if ours and (parent is None or parent.name() != "postgres"):
                found.add(process.pid)
    return found


def gone(data: Path, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while servers(data) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not servers(data)


@pytest.fixture(scope="session")
async def made(open_folder: Path) -> Path:
    """A data folder in which a store was opened once and closed."""
    folder = open_folder / "made"
    await (await Store.open(Settings(data=folder))).close()
    return folder


@pytest.fixture
def empty(open_folder: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(made: Path, empty: Path) -> Iterator[Path]:
    folder = empty / "data"
    subprocess.run(["cp", "-a", made, folder], check=True)
    yield folder
    for pid in servers(folder):
        os.kill(pid, signal.SIGKILL)
    assert gone(folder)


class User:
    """Another process that uses the store in `data`."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "process.py"), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def tell(self, text: str) -> list[str]:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.read()

    def leave(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@pytest.fixture
def user(data: Path) -> Iterator[User]:
    process = User(data)
    yield process
    process.process.kill()
    process.process.wait()


def test_the_server_stops_with_its_only_user(data):
    server = Embedded(data)
    server.start()
    assert servers(data) == {server.pid}
    assert server.stop()
    assert servers(data) == set()


def test_stopping_twice_does_nothing(data):
    server = Embedded(data)
    server.start()
    assert server.stop()
    assert not server.stop()


def test_the_server_stays_for_those_who_still_use_it(data):
    first, second = Embedded(data), Embedded(data)
    first.start()
    second.start()
    assert first.pid == second.pid
    assert not first.stop()
    assert second.alive()
    assert second.stop()
    assert servers(data) == set()


def test_three_processes_that_start_at_once_share_one_server(data):
    users = [User(data) for _ in range(3)]
    try:
        pids = {user.read()[1] for user in users}
        assert len(pids) == 1
        assert users[0].leave() == 0
        assert users[1].tell("still there") == ["kept", "1"]
        assert [user.leave() for user in users[1:]] == [0, 0]
        assert servers(data) == set()
    finally:
        for user in users:
            user.process.kill()
            user.process.wait()


def test_ctrl_c_in_the_terminal_leaves_no_server(data, user):
    user.read()
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.process.wait(20) == 0
    assert gone(data, 0)


def test_a_killed_process_leaves_a_server_that_the_next_one_adopts_and_stops(data, user):
    _, pid, id = user.read()
    assert user.tell("hello") == ["kept", "1"]
    user.process.kill()
    user.process.wait()
    server = Embedded(data)
    server.start()
    assert server.pid == int(pid)
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("select count(*) from frontdesk.events where conversation = %s", [id]).fetchone() == (1,)
    assert server.stop()
    assert servers(data) == set()


def test_the_server_and_its_user_killed_together_come_back_with_everything_acknowledged(data, user):
    _, pid, id = user.read()
    for n in range(20):
        assert user.tell(f"message {n}") == ["kept", str(n + 1)]
    os.kill(int(pid), signal.SIGKILL)
    user.process.kill()
    user.process.wait()
    server = Embedded(data)
    server.start()
    assert server.pid != int(pid)
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("select count(*) from frontdesk.events where conversation = %s", [id]).fetchone() == (20,)
    server.stop()


def test_a_stale_pid_file_that_names_another_living_process_does_not_confuse(data):
    server = Embedded(data)
    server.start()
    text = (data / "postgres" / "postmaster.pid").read_text()
    server.stop()
    (data / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n" + text.partition("\n")[2])
    server.start()
    assert server.alive()
    server.stop()


@pytest.mark.parametrize("text", ["", "99999999\n"])
def test_a_damaged_pid_file_does_not_confuse(data, text):
    server = Embedded(data)
    server.start()
    server.stop()
    (data / "postgres" / "postmaster.pid").write_text(text)
    server.start()
    server.stop()


def test_what_an_interrupted_first_start_left_behind_is_swept_away(empty):
    data = empty / "fresh"
    (data / "postgres.new" / "base").mkdir(parents=True)
    server = Embedded(data)
    server.start()
    server.stop()
    assert not (data / "postgres.new").exists()


def test_a_data_folder_with_a_very_long_path_works_and_leaves_no_socket_folder_behind(empty):
    data = empty / ("deep " * 20) / ("deeper" * 20)
    server = Embedded(data)
    server.start()
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert server.stop()
    server.start()
    folder = Path(parse_qs(urlsplit(server.url("postgres")).query)["host"][0])
    assert folder.is_dir()
    assert server.stop()
    assert not folder.exists()


def test_nothing_listens_on_the_network_and_the_socket_is_private(data):
    server = Embedded(data)
    server.start()
    listening = [c for c in psutil.Process(server.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == []
    assert (data / "postgres").stat().st_mode & 0o077 == 0
    server.stop()


def test_a_data_folder_that_is_a_file_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Embedded(tmp_path / "data").start()


def test_a_folder_of_another_major_version_is_refused_with_a_remedy(data):
    (data / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(StoreUnavailable, match="PostgreSQL 12"):
        Embedded(data).start()


def test_a_data_folder_removed_under_the_server_takes_the_server_with_it(data):
    server = Embedded(data)
    server.start()
    pid = server.pid
    shutil.rmtree(data)
    assert server.stop()
    assert not psutil.pid_exists(pid)


def test_a_server_that_cannot_start_says_why(data):
    server = Embedded(data)
    server.start()
    server.stop()
    (data / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StoreUnavailable, match=r"no_such_setting|configuration file"):
        server.start()
    server.stop()


async def test_a_server_killed_under_a_running_store_is_back_within_seconds_with_everything_acknowledged(data):
    store = await Store.open(Settings(data=data))
    try:
        conversations = store.for_tenant(ACME).conversations
        id = await conversations.open(key=KeyId("k"), customer=None, channel="api")
        kept = [0]
        failures: list[BaseException] = []

        async def write() -> None:
            while True:
                try:
                    kept.append((await conversations.append(id, TurnId("t"), [e.SentenceReleased(text="x")]))[0].seq)
                except StoreUnavailable as error:
                    failures.append(error)
                await asyncio.sleep(0.005)

        writers = [asyncio.create_task(write()) for _ in range(4)]
        for _ in range(2):
            await asyncio.sleep(0.3)
            (pid,) = servers(data)
            os.kill(pid, signal.SIGKILL)
            before = len(kept)
            started = time.monotonic()
            while len(kept) < before + 20 or not servers(data):
                assert time.monotonic() - started < 10
                assert not any(writer.done() for writer in writers)
                await asyncio.sleep(0.02)
        for writer in writers:
            writer.cancel()
        stored = {r.seq for r in await conversations.events(id, limit=100_000)}
        assert set(kept) - {0} <= stored
        assert stored == set(range(1, len(stored) + 1))
        assert failures
    finally:
        await store.close()
    assert servers(data) == set()


async def test_one_killed_worker_of_the_server_interrupts_for_a_moment_only(data):
    store = await Store.open(Settings(data=data))
    try:
        (pid,) = servers(data)
        backend = next(p for p in psutil.Process(pid).children() if "frontdesk_app" in " ".join(p.cmdline()))
        backend.kill()
        deadline = time.monotonic() + 10
        while True:
            try:
                await store.for_tenant(ACME).conversations.load(ConversationId("none"), any_caller=True)
            except StoreUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            except NotFound:  # the answer of a store that works
                break
    finally:
        await store.close()


async def test_while_the_server_is_away_operations_say_so_with_a_clear_error(data):
    server = Embedded(data)
    server.start()
    store = await Store.open(Settings(data=data, database_url=server.url("postgres")))
    try:
        server.stop()
        with pytest.raises(StoreUnavailable, match="tried again"):
            await store.ping()
    finally:
        await store.close()


async def test_a_server_started_ahead_is_the_one_that_the_store_opens_and_goes_with_the_last_user(data: Path):
    with ahead(data):
        store = await Store.open(Settings(data=data))
        running = servers(data)
        await store.close()
        assert servers(data) == running
    assert len(running) == 1
    assert gone(data)


def test_nothing_is_made_ahead_where_there_was_no_database(empty: Path):
    with ahead(empty / "data"):
        pass
    assert not (empty / "data").exists()


def test_a_server_that_cannot_be_started_ahead_is_left_to_whoever_opens_it(data: Path):
    (data / "postgres.lock").unlink(missing_ok=True)
    (data / "postgres.lock").mkdir()
    with ahead(data):
        assert not servers(data)
    with pytest.raises(StoreUnavailable):
        Embedded(data).start()


async def test_a_server_started_ahead_and_killed_leaves_no_dead_entry_behind(data: Path):
    with ahead(data):
        store = await Store.open(Settings(data=data))
        (pid,) = servers(data)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert not psutil.pid_exists(pid)
        await store.close()
