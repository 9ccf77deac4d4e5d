"""The llama.cpp child: keeps serving when killed, keeps its key to itself, leaves nothing behind."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conformance.language_model import asked

from frontdesk.errors import ModelMissing, ModelUnavailable
from frontdesk.models.client import ChatClient
from frontdesk.models.local import LocalModel
from frontdesk.models.protocols import complete


@pytest.fixture
async def model(gguf, tmp_path):
    it = LocalModel(gguf, threads=1, slots=1, context=256, data=tmp_path)
    await it.start()
    yield it
    await it.stop()


async def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.02)


async def test_without_the_key_only_its_health_can_be_asked(local):
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{local.url}/health")).status_code == 200
        for path in ("/v1/models", "/props", "/slots", "/metrics"):
            assert (await http.get(local.url + path)).status_code in (401, 404, 501)
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert (await http.post(f"{local.url}/v1/chat/completions", json=body)).status_code == 401


async def test_the_key_and_our_settings_are_not_to_be_seen_in_the_process_list(local):
    process = psutil.Process(local.pid)
    assert local.key not in " ".join(process.cmdline())
    assert not any(local.key in value or name.startswith("FRONTDESK_") for name, value in process.environ().items())


async def test_it_listens_on_loopback_only_and_gives_way_to_the_desk(local):
    process = psutil.Process(local.pid)
    listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    assert process.nice() > psutil.Process().nice()
    assert os.getpgid(local.pid) != os.getpgrp()


async def test_its_log_names_no_words_of_a_customer(local, local_client):
    await complete(local_client, asked("my secret word is xylophone"))
    log = local.log.read_text()
    assert "llama.cpp starts" in log
    assert "xylophone" not in log
    assert stat.S_IMODE(local.log.stat().st_mode) == 0o600


async def test_a_killed_child_is_back_within_three_seconds_with_another_key(model):
    client = ChatClient(lambda: model.url, lambda: model.key, "m", first_token=5, between_tokens=5, total=10, slots=1, queue=1)
    before = model.key
    os.kill(model.pid, signal.SIGKILL)
    await until(lambda: not model.alive)
    with pytest.raises(ModelUnavailable, match="is starting"):
        await complete(client, asked("hello"))
    await until(lambda: model.alive, 3.0)
    assert model.key != before
    assert model.restarts == 1
    assert await complete(client, asked("hello", max_tokens=4))
    await client.close()


async def test_a_child_killed_in_the_middle_of_an_answer_ends_that_answer_clearly(model):
    client = ChatClient(lambda: model.url, lambda: model.key, "m", first_token=5, between_tokens=5, total=10, slots=1, queue=1)
    pieces = client.stream(asked("Count to one hundred.", max_tokens=200))
    await anext(pieces)
    os.kill(model.pid, signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match=r"broke"):
        async for _ in pieces:
            pass
    assert client.admission.inside == 0
    await client.close()


async def test_stopping_leaves_no_process(gguf, tmp_path):
    model = LocalModel(gguf, threads=1, slots=1, context=256, data=tmp_path)
    await model.start()
    pid = model.pid
    await model.stop()
    await model.stop()
    assert not psutil.pid_exists(pid)
    assert not model.alive


async def test_a_missing_file_is_said_before_anything_starts(tmp_path):
    with pytest.raises(ModelMissing, match="pull the model first"):
        await LocalModel(tmp_path / "no.gguf", threads=1, slots=1, context=256, data=tmp_path).start()


async def test_a_file_that_is_no_model_is_named_with_the_log(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really" * 100)
    model = LocalModel(broken, threads=1, slots=1, context=256, data=tmp_path)
    with pytest.raises(ModelUnavailable, match=r"cannot serve broken\.gguf.*llama\.log"):
        await model.start()
    assert model.pid is None


PARENT = """
import asyncio, json, sys, time
from pathlib import Path
from frontdesk.models.local import LocalModel

async def main():
    model = LocalModel(Path(sys.argv[1]), threads=1, slots=1, context=256, data=Path(sys.argv[2]))
    await model.start()
    print(json.dumps(model.pid), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_the_child_dies_with_its_parent_however_that_ends(gguf, tmp_path: Path, how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(gguf), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child = json.loads(await asyncio.to_thread(parent.stdout.readline))
    assert psutil.pid_exists(child)
    parent.send_signal(how)
    await asyncio.to_thread(parent.wait)
    await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 3.0)
