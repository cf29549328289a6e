"""The main server's pages."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.events import events_router
from fanlight.consoles.main_server_pages import PAGES, record_pages
from fanlight.consoles.step_pages import Reader, Shown, step_router
from fanlight.consoles.study_pages import study_pages
from fanlight.consoles.the_round import titled
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.main_server import guide
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.overview import AGGREGATE, MEASURE, PUBLISH
from fanlight.services.main_server.service import PATIENCE_ROUNDS
from fanlight.services.server.digits_in_paths import device_in_path
from fanlight.services.server.numbers_in_paths import Which

STEPS: Final = titled("main", AGGREGATE, PUBLISH, MEASURE)
LINKS: Final = (*STEPS, *PAGES)
LAST_ROUNDS: Final = 5


def install(app: FastAPI, parts: MainServerParts) -> None:
    """Put the pages on the application."""
    console = Console("main", LINKS)
    app.include_router(pages(console, parts))
    app.include_router(record_pages(console, parts))
    app.include_router(study_pages(console, parts))
    app.include_router(events_router(parts.service.pages))
    console.install(app)


def pages(console: Console, parts: MainServerParts) -> APIRouter:
    """The start page, the pages of the steps, and the buttons "Measure", "Abandon" and "Go on"."""
    overview = parts.overview
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        status, steps = overview.status(), overview.steps()
        return console.page(
            request,
            owner,
            "main_server.html",
            status=status,
            demo=status["demo"],
            policy=parts.service.task.policy,
            patience=PATIENCE_ROUNDS,
            steps=steps,
            now=guide.now(status, steps),
            timeline=overview.timeline(),
            rounds=parts.records.rounds(size=LAST_ROUNDS),
            progress=overview.progress(),
            census=status["devices"],
            incidents=overview.incidents(),
        )

    @router.post(MEASURE)
    def measure(_owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        parts.steps.measure()
        return RedirectResponse(MEASURE, status_code=303)

    @router.post("/rounds/{number}/abandon")
    def abandon(number: Which, _owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        parts.conductor.abandon(number)
        return RedirectResponse(f"/rounds/{number}", status_code=303)

    @router.post("/go-on")
    def go_on(_owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        parts.conductor.go_on()
        return RedirectResponse("/", status_code=303)

    @router.post("/devices/{device}/readmit")
    def readmit(device: str, _owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        parts.service.readmit(device_in_path(device))
        return RedirectResponse("/devices", status_code=303)

    def read() -> Shown:
        status, steps = overview.status(), overview.steps()
        return Shown(steps, status["demo"], now=guide.now(status, steps))

    router.include_router(step_router(console, [route for route, _label in STEPS], read))
    return router
