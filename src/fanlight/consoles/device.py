"""A device's pages, for its owner."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.device_learning import CHARTED, LEARNING, learning_router
from fanlight.consoles.device_lists import lists_router
from fanlight.consoles.device_own import OWN, own_router
from fanlight.consoles.device_pictures import PICTURES, pictures_router
from fanlight.consoles.events import events_router
from fanlight.consoles.privacy import PRIVACY, privacy_router
from fanlight.consoles.step_pages import Reader, Shown, step_router
from fanlight.consoles.the_round import titled
from fanlight.services.device import guide
from fanlight.services.device import status as device_status
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.supply import STRIP, supply
from fanlight.services.http.owner import Owner, require_owner_post

STEPS: Final = titled("device", "/modeltrain", "/sendstatus", "/sendmodel")
LINKS: Final = ((PICTURES, "Pictures"), (OWN, "Own names"), (LEARNING, "Learning"), *STEPS, (PRIVACY, "Privacy"))
NEWEST: Final = 5
"""Lines of a list on the start page; the pages behind it have them all."""


def install(app: FastAPI, role: DeviceRole) -> None:
    """Put the pages on the application."""
    console = Console("device", LINKS, role.name)
    app.include_router(pages(console, role))
    app.include_router(learning_router(console, role))
    app.include_router(pictures_router(console, role))
    app.include_router(own_router(console, role))
    app.include_router(lists_router(console, role))
    app.include_router(privacy_router(console, role))
    app.include_router(events_router(role.pages))
    console.install(app)


def pages(console: Console, role: DeviceRole) -> APIRouter:
    """The start page and the pages of the three steps."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        learning, status = device_status.learning(role, CHARTED), device_status.status(role)
        found = supply(role, STRIP)
        now, steps = guide.now(role, found)
        return console.page(
            request,
            owner,
            "device.html",
            status=status,
            demo=is_demo(status),
            now=now,
            next_try=device_status.next_try_of(role),
            supply=found,
            steps=steps,
            learning=learning,
            sent=device_status.sent(role, NEWEST)["sent"][::-1],
            refusals=device_status.refusals(role)["refusals"],
            newest=NEWEST,
        )

    @router.post("/equivocation")
    def go_on(_owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        role.acknowledge_equivocation()
        return RedirectResponse("/", status_code=303)

    def read() -> Shown:
        found = supply(role)
        now, steps = guide.now(role, found)
        return Shown(steps, is_demo(device_status.status(role)), found, now)

    router.include_router(step_router(console, [route for route, _title in STEPS], read))
    return router


def is_demo(status: dict[str, Any]) -> bool:
    """Is the open round a demonstration's, or would its owner take part in one?"""
    offered = status["round"]
    return bool(status["floors"]["accept_demo"] if offered is None else offered["demo"])
