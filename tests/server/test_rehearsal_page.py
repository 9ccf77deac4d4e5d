"""The page of a demonstration's rehearsal: there while one goes on, absent everywhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from .conftest import Served


class Going:
    """A rehearsal that shows two snapshots and goes on."""

    async def snapshots(self) -> AsyncIterator[dict[str, Any]]:
        for ended in (0, 1):
            yield {"ended": ended, "total": 12, "talks": [{"id": "r-1", "lines": [{"role": "customer", "text": "Où est‑il ? <b>"}]}]}
        await asyncio.sleep(3600)


@pytest.fixture
def rehearsing(served: Served) -> Iterator[Served]:
    served.office.rehearsal = Going()  # type: ignore[attr-defined]
    yield served
    del served.office.rehearsal  # type: ignore[attr-defined]


def test_snapshots_come_as_events(rehearsing: Served):
    seen: list[Any] = []
    with rehearsing.http.stream("GET", "/rehearsal/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                seen.append(json.loads(line[5:]))
            if len(seen) == 2:
                break
    assert [s["ended"] for s in seen] == [0, 1]
    assert seen[0]["talks"][0]["lines"][0]["text"] == "Où est‑il ? <b>"


def test_the_page_runs_only_its_own_files_and_finds_them(rehearsing: Served):
    page = rehearsing.http.get("/rehearsal")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("rehearsal.js", "rehearsal.css"):
        assert f"/static/{name}" in page.text
        assert rehearsing.http.get(f"/static/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/rehearsal", "/rehearsal/events"])
def test_a_server_without_a_rehearsal_has_no_such_page(served: Served, path: str):
    assert served.http.get(path).status_code == 404
