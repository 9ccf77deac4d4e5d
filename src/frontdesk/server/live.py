"""The page on which one watches a demonstration's rehearsal, and its stream of snapshots. There is none on a server that is no demonstration."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol, cast

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse

from frontdesk.errors import NotFound
from frontdesk.server.access import Desk, desk_of
from frontdesk.server.pages import PAGE_POLICY, Asset
from frontdesk.server.problems import NOWHERE
from frontdesk.server.turns import until

_PAGE = Asset.of((Path(__file__).parent / "static" / "rehearsal.html").read_bytes(), ".html")


class Watched(Protocol):
    """A rehearsal that goes on in this process."""

    def snapshots(self) -> AsyncIterator[dict[str, Any]]:
        """What there is to see, now and after each change."""
        ...


async def page(request: Request) -> Response:
    """The page that shows the conversations of the running rehearsal."""
    _watched(await desk_of(request))
    return _PAGE.answer(request, Cache_Control="no-cache", Content_Security_Policy=PAGE_POLICY)


async def stream(request: Request) -> Response:
    """Snapshots of the running rehearsal, as server-sent events."""
    desk = await desk_of(request)
    watched = _watched(desk)
    slot = desk.streams.take()

    async def events() -> AsyncIterator[dict[str, str]]:
        try:
            async for snapshot in until(watched.snapshots(), desk.stopping):
                yield {"data": json.dumps(snapshot, ensure_ascii=False)}
        finally:
            slot.release()

    async def gone(_message: Any) -> None:
        slot.release()

    return EventSourceResponse(events(), ping=15, sep="\n", client_close_handler_callable=gone)


# Plain routes, like everything that only a demonstration offers.
router = APIRouter()
router.add_route("/rehearsal", page, ["GET"])
router.add_route("/rehearsal/events", stream, ["GET"])


def _watched(desk: Desk) -> Watched:
    """The rehearsal of this demonstration. Raises NotFound where there is none."""
    found = getattr(desk.office, "rehearsal", None)
    if found is None:
        raise NotFound(NOWHERE)
    return cast("Watched", found)
