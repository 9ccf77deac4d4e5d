"""Quix's own sinks as the rehearsal sets them up: what a batch becomes in Redis, and in InfluxDB's line protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frontdesk.errors import BadInput

from .influx import influx, parsed

services = pytest.importorskip("frontdesk.rehearsal.services", reason="the kafka extra is not installed: pip install 'frontdesk[kafka]'")
pytestmark = pytest.mark.kafka
TEXT = 'He said: "two, or 3 = 4?" \\ and\nleft. It\'s 5 €, "\\"'


def message(number: int, role: str = "customer", conversation: str = "shop.r1-0", **more: Any) -> dict[str, Any]:
    line = {"text": f"{TEXT} {number}"}
    return {"id": f"{conversation}:{role}:{number}", "conversation": conversation, "run": "shop.r1", "role": role, "line": line, **more}


def sinks(**where: str) -> list[Any]:
    return services.quix_sinks(**{"influx": "", "influx_token": "", "influx_database": "", "redis": "", **where})


def given(sink: Any, messages: list[dict[str, Any]], *, at: int = 1_700_000_000_000) -> None:
    """The messages in one batch that arrived in one moment, as a checkpoint would flush them."""
    for offset, one in enumerate(messages):
        row = services.flat(one)
        sink.add(value=row, key=row["conversation"].encode(), timestamp=at, headers=[], topic="t", partition=0, offset=offset)
    sink.flush()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("redis", reason="the sinks extra is not installed: pip install 'frontdesk[sinks]'")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "s3cret", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://:s3cret@127.0.0.1:{port}/2"
    finally:
        server.kill()
        server.wait()


def test_each_message_is_a_key_of_its_own_in_redis_and_stays_one_when_it_comes_again(redis: str):
    import redis as client

    (sink,) = sinks(redis=redis)
    sink.setup()
    messages = [message(1, label="neutral", score=0.25, mean=0.25), message(1, "agent"), message(2)]
    given(sink, messages)
    given(sink, messages[1:])
    at = client.Redis.from_url(redis, decode_responses=True)
    assert sorted(at.keys()) == [f"frontdesk:shop.r1-0:shop.r1-0:{k}" for k in ("agent:1", "customer:1", "customer:2")]
    kept = json.loads(at.get("frontdesk:shop.r1-0:shop.r1-0:customer:1"))
    assert kept == services.flat(messages[0])
    assert kept["text"] == f"{TEXT} 1"


def test_a_redis_that_is_away_stops_the_sink_before_anything_is_counted(redis: str):
    (sink,) = sinks(redis="redis://127.0.0.1:9/0")
    with pytest.raises(Exception, match="refused"):
        sink.setup()


def test_messages_of_one_moment_stay_apart_in_influxdb_and_their_text_comes_through():
    pytest.importorskip("influxdb_client_3", reason="the sinks extra is not installed: pip install 'frontdesk[sinks]'")
    with influx() as kept:
        (sink,) = sinks(influx=kept.url, influx_token=kept.token, influx_database="talks")
        sink.setup()
        messages = [message(n, role, f"shop.r1-{n}", score=0.5) for n in range(3) for role in ("customer", "agent")]
        given(sink, messages)
        rows = kept.points["talks"]
        assert len(rows) == len(messages)
        assert {r["id"]: r["text"] for r in rows.values()} == {m["id"]: m["line"]["text"] for m in messages}
        assert {name for name, _, _ in rows} == {"conversations"}


def test_an_influxdb_that_is_full_is_given_time_and_one_that_refuses_the_token_is_told():
    pytest.importorskip("influxdb_client_3", reason="the sinks extra is not installed: pip install 'frontdesk[sinks]'")
    from quixstreams.sinks.base import SinkBackpressureError

    with influx() as kept:
        kept.busy = 1
        (sink,) = sinks(influx=kept.url, influx_token=kept.token, influx_database="talks")
        sink.setup()
        with pytest.raises(SinkBackpressureError):
            given(sink, [message(1)])
        assert not kept.points
        (wrong,) = sinks(influx=kept.url, influx_token="other", influx_database="talks")
        with pytest.raises(Exception, match="401"):
            wrong.setup()


@pytest.mark.parametrize("line", ["m", "m,a=1 b", "m,a b=1i 5", "m b=x 5", 'm b="open 5', "m b=1i now"])
def test_the_influxdb_of_these_tests_refuses_what_is_no_line_protocol(line: str):
    with pytest.raises(ValueError, match=r".+"):
        parsed(line)


def test_a_sink_whose_package_is_missing_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "quixstreams.sinks.community.redis", None)
    with pytest.raises(BadInput, match=r"frontdesk\[sinks\]"):
        sinks(redis="redis://127.0.0.1:6379/0")
