"""A device's long lists, whole and page by page: other pages show the newest of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.consoles.step_pages import Reader
from fanlight.services.device import status
from fanlight.services.device.role import DeviceRole
from fanlight.services.http.paging import PageNumber, paging

SIZE: Final = 50


@dataclass(frozen=True)
class LongList:
    """One of them.

    Attributes:
        path, title: of its page.
        back, back_title: the page that shows the newest.
        what: how it is drawn.
        total: how many lines it has. lines: so many, after so many newer ones, the newest first.
    """

    path: str
    title: str
    back: str
    back_title: str
    what: str
    total: Callable[[], int]
    lines: Callable[[int, int], Sequence[Any]]


def lists_of(role: DeviceRole) -> tuple[LongList, ...]:
    """The lists of a device."""
    store = role.store

    def problems() -> list[str]:
        found: list[str] = status.pictures(role)["problems"]
        return found

    return (
        LongList(
            "/privacy/sent",
            "What was sent",
            "/privacy#sent",
            "Privacy",
            "sent",
            store.past.count_reports,
            lambda size, skip: status.sent(role, size, skip)["sent"][::-1],
        ),
        LongList(
            "/privacy/refused",
            "What was refused, and why",
            "/privacy#refused",
            "Privacy",
            "refused",
            store.refusals.count,
            lambda size, skip: status.refusals(role, size, skip)["refusals"],
        ),
        LongList(
            "/learning/rounds",
            "Rounds",
            "/learning#rounds",
            "Learning",
            "rounds",
            store.past.count_rounds,
            lambda size, skip: [status.round_json(line) for line in store.past.rounds(size, skip)[::-1]],
        ),
        LongList(
            "/learning/problems",
            "Found in the pictures",
            "/",
            "Overview",
            "problems",
            lambda: len(problems()),
            lambda size, skip: problems()[skip : skip + size],
        ),
    )


def lists_router(console: Console, role: DeviceRole) -> APIRouter:
    """A page for each."""
    router = APIRouter(include_in_schema=False)
    for found in lists_of(role):
        router.add_api_route(found.path, _page(console, role, found), methods=["GET"], response_model=None)
    return router


def _page(console: Console, role: DeviceRole, found: LongList) -> Callable[..., Response]:
    def page(request: Request, owner: Reader, page: PageNumber = 1) -> Response:
        return console.page(
            request,
            owner,
            "device_list.html",
            title=found.title,
            back=found.back,
            back_title=found.back_title,
            what=found.what,
            found=paging(page, SIZE, found.total()),
            lines=found.lines(SIZE, (page - 1) * SIZE),
            leaving=status.leaving(role) if role.rounds.wishes.kept.left else None,
        )

    return page
