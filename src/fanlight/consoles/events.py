"""``GET /events``: tells an open page that something changed (server-sent events, HTML standard, section 9.2).

An event carries no data but the number of the change: the page then asks for itself again, so there is one place that
says what it shows, and one that decides who may see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import StreamingResponse

from fanlight.errors import NotAuthentic
from fanlight.services.http.owner import Owner, require_owner
from fanlight.services.http.waiting import Notifier

EVENTS_PATH: Final = "/events"
KEEP_ALIVE_S: Final = 20.0
"""Longest silence: proxies close what is silent for a minute, and a login that ended is noticed."""
PAUSE_S: Final = 0.25
"""Least time between two events: a training reports far more often than anybody reads."""


def events_router(notifier: Notifier) -> APIRouter:
    """The stream, for the owner only."""
    router = APIRouter(include_in_schema=False)

    @router.get(EVENTS_PATH)
    async def events(request: Request, _owner: Annotated[Owner, Depends(require_owner)]) -> StreamingResponse:
        async def still_owner() -> bool:
            try:
                await require_owner(request)
            except NotAuthentic:
                return False
            return True

        stream = changes(notifier, request.headers.get("last-event-id", ""), still_owner)
        return StreamingResponse(stream, media_type="text/event-stream")

    return router


async def changes(
    notifier: Notifier,
    last_id: str,
    allowed: Callable[[], Awaitable[bool]],
    *,
    keep_alive_s: float = KEEP_ALIVE_S,
    pause_s: float = PAUSE_S,
) -> AsyncIterator[str]:
    """One event for each burst of changes, until the process ends or its reader may not read any more.

    Args:
        notifier: hears of changes.
        last_id: number of the last event that the reader has seen; empty if it is new, and then told at once.
        allowed: may the reader still read?
        keep_alive_s: seconds of silence after which a comment is sent.
        pause_s: least seconds between two events.
    """
    version = notifier.version
    if last_id != str(version):  # a page that is new here was drawn before it came to listen
        yield _change(version)
    while True:
        present = await notifier.wait_beyond(version, keep_alive_s)
        if notifier.closed or not await allowed():
            return
        yield _change(present) if present != version else ": nothing new\n\n"
        version = present
        await asyncio.sleep(pause_s)


def _change(version: int) -> str:
    return f"event: changed\nid: {version}\ndata: {version}\n\n"
