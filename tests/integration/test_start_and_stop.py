"""Starting, stopping and bad surroundings: one clear sentence, the right exit code, nothing left running, nothing lost."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from frontdesk.domain.tenancy import Role

from .server import ACME, QUESTION, Server, chat, command, copied, keys, left_behind, write_tenants

pytestmark = pytest.mark.timeout(400)
NewServer = Callable[..., Server]


def reply(server: Server, key: str, text: str = QUESTION) -> httpx.Response:
    return server.http.post("/v1/chat/completions", json=chat(text), headers={"Authorization": f"Bearer {key}"})


def test_a_port_in_use_is_said_in_one_sentence(folder: Path, tenants: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command("serve", "--tenants", str(tenants), "--data", str(folder / "never"), "--port", port)
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "never").exists()


def test_a_malformed_tenant_is_refused_with_file_and_line(folder: Path):
    bad = write_tenants(folder / "bad-tenants")
    (bad / ACME / "tenant.yaml").write_text("id: acme\nname: Acme\ncolour: red\n")
    done = command("serve", "--tenants", str(bad), "--data", str(folder / "never"), "--port", "0")
    assert done.returncode == 2
    assert "tenant.yaml:3" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_used_is_said_in_one_sentence(tenants: Path):
    done = command("serve", "--tenants", str(tenants), "--data", "/proc/frontdesk", "--port", "0")
    assert done.returncode == 1
    assert "data folder" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def life(folder: Path, tenants: Path, trained: Path) -> dict[str, object]:
    """A server that is stopped, started, killed, started and stopped again; what was seen on the way."""
    server = Server(copied(trained, folder / "life"), tenants)
    seen: dict[str, object] = {}
    try:
        seen["key made before any start"] = (key := keys(server.data, (ACME, Role.SERVER))[0])
        server.start()
        first = reply(server, key)
        seen["answer"] = first.json()["choices"][0]["message"]["content"]
        seen["exit on SIGTERM"] = server.stop(signal.SIGTERM)
        seen["left after SIGTERM"] = left_behind(server.data)
        server.start()
        place = first.json()["frontdesk"]["conversation_id"]
        kept = server.http.get(f"/api/conversations/{place}", headers={"Authorization": f"Bearer {key}"}).json()
        seen["kept"] = [u["text"] for u in kept["utterances"]]
        server.kill()
        server.start()
        seen["exit on SIGINT"] = server.stop(signal.SIGINT)
        seen["left after SIGINT"] = left_behind(server.data)
        seen["log"] = server.log.read_text()
    finally:
        server.end()
    return seen


def test_a_key_made_while_nothing_runs_works_later(life: dict[str, object]):
    assert life["answer"]


def test_a_conversation_outlives_a_restart(life: dict[str, object]):
    assert life["kept"] == [QUESTION, life["answer"]]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_a_stop_ends_everything_that_was_started(life: dict[str, object], how: str):
    assert life[f"exit on {how}"] == 0
    assert life[f"left after {how}"] == []


def test_nothing_breaks_on_the_way(life: dict[str, object]):
    assert "Traceback" not in str(life["log"])


def test_each_start_becomes_ready(life: dict[str, object]):
    assert str(life["log"]).count("frontdesk answers at") == 3


def test_a_stop_during_the_start_leaves_nothing(new_server: NewServer):
    server = new_server().start(wait=False)  # over an empty folder: the database is made just now
    deadline = time.monotonic() + 200
    while not (server.data / "postgres.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    server.stop(signal.SIGTERM, seconds=200)
    assert left_behind(server.data) == []


@pytest.fixture(scope="module")
def odd(folder: Path, trained: Path) -> Iterator[tuple[Server, str]]:
    """A server over a tenant with a broken PDF, an unset variable and a good document."""
    tenants = write_tenants(folder / "odd-tenants")
    shutil.rmtree(tenants / "other-line")
    (tenants / ACME / "knowledge" / "broken.pdf").write_bytes(b"%PDF-1.4 this is none")
    (tenants / ACME / "tools").mkdir()
    (tenants / ACME / "tools" / "openapi.yaml").write_text(
        "openapi: 3.1.0\ninfo: {title: Orders, version: '1'}\npaths:\n  /orders:\n    get:\n      operationId: list_orders\n"
        "      summary: List orders\n      responses: {'200': {description: ok}}\n"
    )
    with (tenants / ACME / "tenant.yaml").open("a") as more:
        more.write(
            "tools:\n  - openapi: tools/openapi.yaml\n    server: http://127.0.0.1:9\n    headers:\n"
            "      Authorization: Bearer ${ACME_UNSET_TOKEN}\n"
        )
    server = Server(copied(trained, folder / "odd"), tenants).start()
    try:
        yield server, server.key()
    finally:
        server.end()


def test_a_bad_file_is_named_and_the_rest_answers(odd: tuple[Server, str]):
    server, key = odd
    state = server.http.get("/readyz").json()
    assert any("broken.pdf" in f for f in state["tenants"][ACME]["failed_documents"])
    assert reply(server, key).status_code == 200


def test_an_unset_variable_switches_tools_off_and_says_so(odd: tuple[Server, str]):
    server, _ = odd
    state = server.http.get("/readyz").json()
    assert state["ready"] is True
    assert any("ACME_UNSET_TOKEN" in p for p in state["problems"])
    assert "ACME_UNSET_TOKEN" in server.log.read_text()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    place = folder / "small-disk"
    place.mkdir(mode=0o755)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220m,mode=755", "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def fill(ballast: Path) -> None:
    """Takes all space there is."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)


@pytest.mark.slow
def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path, trained: Path, new_server: NewServer):
    server = new_server(copied(trained, small_disk / "data")).start()
    key = server.key()
    kept = reply(server, key).json()["frontdesk"]["conversation_id"]
    ballast = small_disk / "ballast"
    fill(ballast)
    statuses = set()
    deadline = time.monotonic() + 60
    while 503 not in statuses and time.monotonic() < deadline:
        answer = reply(server, key, "x" * 3900)
        statuses.add(answer.status_code)
    ballast.unlink()
    assert statuses <= {200, 503}
    deadline = time.monotonic() + 60
    while (answer := reply(server, key)).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert answer.status_code == 200
    assert server.http.get(f"/api/conversations/{kept}", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    server.stop()
